"""The compiled step: bound executors, fed and read back.

A program is bound once per shape of its batch, every binding to the same state arrays. A run writes the batch into memory that MXNet reads, starts the
executors, and copies new values into the state; it waits for nothing but the run before it.

Where a step is so small that starting it costs more than computing it, several are bound as one program, for as many as come in at once.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import math
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from unimodel.backend import Backend, CompileOptions, Executable
from unimodel.errors import BackendError, UnimodelError
from unimodel.graph import Graph, Value
from unimodel.ops.definition import value_and_grad_op
from unimodel.passes import fuse_bias, prepare
from unimodel.passes.steps import several_steps
from unimodel.regions import every_node, has_control_flow
from unimodel_mxnet.arrays import MxnetStore, device_array, gradient_array, host_view, reason, shapes, shared_array
from unimodel_mxnet.control import held
from unimodel_mxnet.model import Build
from unimodel_mxnet.optimizer import Copies, carried_out, kernel
from unimodel_mxnet.shim import check_call, environment, library, mx
from unimodel_mxnet.stages import HostArithmetic, Stage, stages

AS_TRAINING = ctypes.c_int(1)  # in inference MXNet reorders weights in place, and with them memory that others read and write
KEPT_BINDINGS = 16
SMALL = 1 << 16
"""Up to so many numbers of state, and without convolutions, core differentiates, and several steps are bound as one program."""
TOGETHER = 16
"""So many."""
LOSING = frozenset(("relu", "max_pool"))
"""Ops whose fastest kernels turn NaN into numbers."""

FALLIBLE = frozenset(["take"])
"""Ops that check their inputs' values, so that a run can fail when it is under way."""


class Program(Executable):
    """A graph compiled for a store. ``differentiation`` says who differentiates it."""

    def __init__(self, backend: Backend, graph: Graph, store: MxnetStore, options: CompileOptions) -> None:
        self.backend = backend
        self.store = store
        self.graph, self.differentiation = prepared(backend, graph, options)
        self._batch = graph.of_kind("batch")
        self._reads = [e.name for e in graph.of_kind("state")]
        self.host = HostArithmetic(self.graph)
        self.kernels = carried_out(self.graph, self.host.results)
        self.stages = stages(self.graph, self.host, self.kernels)
        for stage in self.stages:
            backend.check(stage.nodes)
        nodes = list(every_node(self.graph))
        self.fallible = any(n.op.name in FALLIBLE for n in nodes)
        self.hasty = self.differentiation == "native" and any(n.op.name in LOSING and n.outputs[0].spec.dtype == "float32" for n in nodes)
        if not self.hasty:  # a program that looks after no NaN may put some into the state
            store.suspect.update(e.name for e, v in graph.updates if v.spec.is_float)
        self._bindings: dict[Any, Binding] = {}
        self.options = options
        light = small(graph) and not self.kernels and not any(n.op.name in HEAVY for n in nodes)
        self._several = light and bool(graph.updates) and self.differentiation == "core" and not (self.fallible or has_control_flow(self.graph))
        self._latest: weakref.ref[Results] | None = None
        self._lock = threading.Lock()  # one executor in two threads gives wrong numbers

    def run(self, batch: Sequence[np.ndarray], scalars: Sequence[float]) -> Results:
        with self._lock, self._guarded():
            self._settle()
            shapes, numbers = tuple([a.shape for a in batch]), self.host(scalars)
            hasty = self.hasty and self.store.suspect.isdisjoint(self._reads)
            binding = self._binding(shapes, hasty)
            binding.compute(batch, numbers)
            if hasty and not binding.sound(batch, numbers):  # nothing has been written yet: once more, with NaN where it belongs
                binding = self._binding(shapes, False)
                binding.compute(batch, numbers)
                self.store.suspect.update(e.name for e, _ in self.graph.updates)
            elif self.fallible:
                binding.wait()
            binding.update(numbers)
            results = Results(binding.results)
            self._latest = weakref.ref(results)
            return results

    @functools.cached_property
    def _together(self) -> Program:
        """A program of several of these steps."""
        return Program(self.backend, several_steps(self.graph, TOGETHER), self.store, CompileOptions("core"))

    def run_many(self, batches: Sequence[Sequence[np.ndarray]], scalars: Sequence[Sequence[float]]) -> list[Any]:
        handles: list[Any] = []
        for _, same in itertools.groupby(zip(batches, scalars, strict=True), lambda step: [a.shape for a in step[0]]):
            steps = list(same)
            while self._several and len(steps) >= TOGETHER:
                several, steps = steps[:TOGETHER], steps[TOGETHER:]
                whole = self._together.run([a for batch, _ in several for a in batch], [n for _, numbers in several for n in numbers])
                handles += [(self._together, whole, i) for i in range(TOGETHER)]
            handles += [self.run(batch, numbers) for batch, numbers in steps]
        return handles

    def read(self, handle: Any) -> list[np.ndarray]:
        if isinstance(handle, tuple):
            program, whole, i = handle
            if whole.numbers is None:
                whole.numbers = program.read(whole)
            count = len(self.graph.outputs)
            return [np.array(a) for a in whole.numbers[i * count : (i + 1) * count]]
        with self._lock:
            if handle.failure is not None:
                raise handle.failure
            if handle.numbers is not None:
                return [np.array(a) for a in handle.numbers]
            with self._guarded():
                return handle.fetch()

    def _waiting(self) -> Results | None:
        """The run before, if somebody still waits for its results."""
        latest = self._latest() if self._latest is not None else None
        return latest if latest is not None and latest.numbers is None else None

    def _settle(self) -> None:
        """Before arrays are written again: the run before is over, and its results are set aside."""
        latest = self._waiting()
        if latest is not None:
            latest.numbers = latest.fetch()
        for binding in self._bindings.values():
            binding.wait()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """After a failure an executor gives numbers that mean nothing, so all are dropped and bound anew; no state was written."""
        try:
            yield
        except (UnimodelError, mx.MXNetError, IndexError, ValueError) as error:
            failure = error
            if not isinstance(error, UnimodelError):
                suspects = [n.source for s in self.stages for n in s.nodes if n.op.name in FALLIBLE]
                source, remedy = suspects[0] if len(suspects) == 1 else None, "the state is as before the step"
                failure = BackendError("MXNet failed while running a step.", given=reason(error), remedy=remedy, source=source)
            latest = self._waiting()
            if latest is not None:
                latest.failure = failure
            self._latest = None
            self._bindings.clear()
            if failure is error:
                raise
            raise failure from error

    def _binding(self, batch_shapes: Any, hasty: bool) -> Binding:
        key = (self.store.version, batch_shapes, hasty)
        found = self._bindings.pop(key, None)
        if found is None:
            fresh = [k for k in self._bindings if k[0] == self.store.version]
            self._bindings = {k: self._bindings[k] for k in fresh[1 - KEPT_BINDINGS :]}
            found = Binding(self, dict(zip((e.name for e in self._batch), batch_shapes, strict=True)), hasty)
        self._bindings[key] = found  # the one used last stands last
        return found


class Binding:
    """A program at one shape of its batch: the memory it is fed through, its executors, and the copies that end a step."""

    def __init__(self, program: Program, shapes_by_name: dict[str, tuple[int, ...]], hasty: bool) -> None:
        graph = program.graph
        self._hasty = hasty
        self._sizes = graph.sizes(shapes_by_name)
        state = {e.value: program.store.arrays[e.name] for e in graph.of_kind("state")}
        self._arrays: dict[Value, Any] = dict(state)
        self._batch = [self._cell(e.value) for e in graph.of_kind("batch")]
        self._numbers = [self._cell(v) for v in program.host.results]
        self._backend = program.backend
        self._stages, self._pending = [], []
        for stage in program.stages:
            made, run = self._bind(stage, {**self._arrays, **{inner: self._arrays[outer] for inner, outer, _ in stage.wrt}})
            self._arrays.update(made)  # a copy, where a result is an input
            self._pending += made.values()
            self._stages.append(run)
        self._witnesses = [self._arrays[v] for s in program.stages for _, _, v in s.wrt]
        self.results = [self._arrays[v] for v in graph.outputs]
        done = {v for n in program.kernels for v in n.outputs}
        self._kernels = [kernel(n, self._arrays[n.inputs[1]], state, program.host.results) for n in program.kernels]
        self._copies = Copies([(self._arrays[v], state[e.value]) for e, v in graph.updates if v not in done])

    def _cell(self, value: Value) -> np.ndarray:
        host, self._arrays[value] = shared_array(value.spec.at(self._sizes))
        return host

    def _bind(self, stage: Stage, available: Mapping[Value, Any]) -> tuple[dict[Value, Any], Callable[[], None]]:
        """A stage bound to the arrays that there are: those that it makes, and what runs it."""
        if stage.held is not None:
            return held(self._backend, stage.held, self._sizes, [available[v] for v in stage.held.inputs if v is not None], self._bind)
        build = Build(self._backend.lowerings, self._sizes, stage, self._hasty)
        names = {value: f"input{i}" for i, value in enumerate(available)}
        for value, name in names.items():
            build.variable(value, name)
        build.run(stage.nodes)
        gradients = {gradient: gradient_array(gradient.spec.at(self._sizes), inner in stage.sparse) for inner, _, gradient in stage.wrt}
        wanted = {names[inner]: gradients[gradient] for inner, _, gradient in stage.wrt}
        symbol = build.group(stage.results, stage.loss)
        arrays = {names[v]: a for v, a in available.items()} | {n: device_array(a) for n, a in build.literals.items()}
        with _plain_binding(), build.blaming(), shapes():
            executor = symbol.bind(
                mx.cpu(),
                arrays,
                args_grad=wanted or None,
                grad_req={n: "write" if n in wanted else "null" for n in symbol.list_arguments()},
                aux_states={n: device_array(a) for n, a in build.auxiliary.items()},
            )
        outputs = executor.outputs if stage.loss is None else executor.outputs[1:]

        def run() -> None:
            check_call(library.MXExecutorForward(executor.handle, AS_TRAINING))  # Executor.forward makes new objects for all outputs at each call
            if wanted:
                executor.backward()

        return {**dict(zip(stage.results, outputs, strict=True)), **gradients}, run

    def compute(self, batch: Sequence[np.ndarray], numbers: Sequence[float]) -> None:
        """Everything but the updates: until those, a run can be given up."""
        for cell, array in zip(self._batch, batch, strict=True):
            cell[...] = array
        for cell, number in zip(self._numbers, numbers, strict=True):
            cell[...] = number
        for run in self._stages:
            run()

    def sound(self, batch: Sequence[np.ndarray], numbers: Sequence[float]) -> bool:
        """Whether all that went in, and the gradients that came out, are finite. A layer that loses NaN leaves it in the gradient of its weights."""
        with np.errstate(all="ignore"):
            squares = sum(float(a @ a) for a in (host_view(g) for g in self._witnesses))
        return math.isfinite(squares) and all(map(math.isfinite, numbers)) and all(bool(np.isfinite(a).all()) for a in batch if a.dtype.kind == "f")

    def update(self, numbers: Sequence[float]) -> None:
        self._copies.run()
        for update in self._kernels:
            update(numbers)

    def wait(self) -> None:
        for array in self._pending:
            array.wait_to_read()


class Results:
    """What a run will have computed: arrays of the executor until they are read, or until the next run needs them."""

    __slots__ = ("__weakref__", "_arrays", "failure", "numbers")

    def __init__(self, arrays: Sequence[Any]) -> None:
        self._arrays = arrays
        self.numbers: list[np.ndarray] | None = None
        self.failure: UnimodelError | None = None

    def fetch(self) -> list[np.ndarray]:
        return [a.asnumpy() for a in self._arrays]


_binding_lock = threading.Lock()


@contextmanager
def _plain_binding() -> Iterator[None]:
    """Bind as the graph stands; what MXNet would do to it, it reads from the environment.

    It would hand inference graphs to a backend of its own that keeps old weights, and look for equal expressions, which core has folded, in time that
    grows with the square of the graph.
    """
    with _binding_lock, environment(MXNET_SUBGRAPH_BACKEND="default", MXNET_SUBGRAPH_VERBOSE="0", MXNET_ELIMINATE_COMMON_EXPR="0"):
        yield


HEAVY = frozenset(("conv", "lstm", "gru", "rnn"))
"""What MXNet differentiates faster than core does: with these in a region it is the one who does."""


CORE_GRADIENT = frozenset(
    ("prod", "erfinv", "lgamma", "cholesky_factor", "triangular_solve", "solve_square", "thin_qr", "eigen_symmetric", "thin_svd", "slogdet")
)
"""Ops whose gradient MXNet lacks, has to float32's digits or has wrong (zeros without an error): programs that differentiate them are core's to differentiate."""


def small(graph: Graph) -> bool:
    """Whether starting a step may cost more than computing it."""
    return sum(math.prod(e.spec.shape) for e in graph.of_kind("state")) <= SMALL  # type: ignore[misc]  # state has no symbolic sizes


def prepared(backend: Backend, graph: Graph, options: CompileOptions) -> tuple[Graph, str]:
    """The graph ready to be lowered, and who differentiates it."""
    regions = [n for n in graph.nodes if n.op is value_and_grad_op]
    heavy = not small(graph) or any(n.op.name in HEAVY for r in regions for n in r.attrs["body"].nodes)
    if regions and (options.differentiation == "native" or (options.differentiation == "auto" and heavy)):
        native = prepare(graph, lambda node: node.op.name == "max_pool" or backend.lowerings.accepts(node), native_regions=True)
        if not any(n.op.name in CORE_GRADIENT for r in native.nodes if r.op is value_and_grad_op for n in every_node(r.attrs["body"])):
            return fuse_bias(native), "native"
    return fuse_bias(prepare(graph, backend.lowerings.accepts)), "core"

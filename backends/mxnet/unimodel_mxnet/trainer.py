"""The compiled step: bound executors, fed and read back.

A program is bound once per shape of its batch, every one to the same state arrays. A run writes the batch into memory that MXNet reads, starts the
executors, and copies new values into the state; it waits for nothing but the run before it.

Where a step is so small that starting it costs more than computing it, several are bound as one program, for as many as come in at once.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from unimodel.backend import Backend, CompileOptions, Executable
from unimodel.errors import BackendError, UnimodelError
from unimodel.graph import Graph, Value
from unimodel.op import value_and_grad_op
from unimodel.passes import fuse_bias, prepare
from unimodel.passes.empties import without_empties
from unimodel.passes.host import HostArithmetic
from unimodel.regions import bodies, every_node
from unimodel_mxnet.arrays import MxnetStore, device_array, gradient_array, host_view, reason, shapes, shared_array
from unimodel_mxnet.model import Build
from unimodel_mxnet.optimizer import Copies, carried_out, kernel
from unimodel_mxnet.shim import check_call, environment, library, mx
from unimodel_mxnet.stages import Stage, stages

AS_TRAINING = ctypes.c_int(1)  # in inference MXNet reorders weights in place, and with them memory that others read and write
SMALL = 1 << 16
"""Up to so many numbers of state, and without convolutions, core differentiates, and several steps are bound as one program."""
TOGETHER = 16
"""So many."""
LOSING = frozenset(("relu", "max_pool"))
"""Ops whose fastest kernels turn NaN into numbers."""

FALLIBLE = frozenset(["take"])
"""Ops that check their inputs' values, so that a run can fail when it is under way."""


class Program(Executable):
    """A graph without symbolic sizes, bound to a store. ``differentiation`` says who differentiates it."""

    def __init__(self, backend: Backend, graph: Graph, store: MxnetStore, differentiation: str) -> None:
        graph = without_empties(graph)
        self.backend, self.graph, self.store, self.differentiation = backend, graph, store, differentiation
        self._reads = [e.name for e in graph.of_kind("state")]
        self.host = HostArithmetic(graph)
        self.kernels = carried_out(graph, self.host.results)
        self.stages = stages(graph, self.host, self.kernels)
        nodes = list(every_node(graph))
        self._fallible = [n for n in nodes if n.op.name in FALLIBLE]
        self._hasty = differentiation == "native" and any(n.op.name in LOSING and n.outputs[0].spec.dtype == "float32" for n in nodes)
        if not self._hasty:  # a program that looks after no NaN may put some into the state
            store.suspect.update(e.name for e, v in graph.updates if v.spec.is_float)
        self._bindings: dict[tuple[int, bool], Binding] = {}

    def run(self, batch: Sequence[np.ndarray], scalars: Sequence[float]) -> list[Any]:
        with self._guarded():
            for binding in self._bindings.values():
                binding.wait()  # before arrays are written again, the run before is over
            numbers = self.host(scalars)
            hasty = self._hasty and self.store.suspect.isdisjoint(self._reads)
            binding = self._binding(hasty)
            binding.compute(batch, numbers)
            if hasty and not binding.sound(batch, numbers):  # nothing has been written yet: once more, with NaN where it belongs
                binding = self._binding(False)
                binding.compute(batch, numbers)
                self.store.suspect.update(e.name for e, _ in self.graph.updates)
            elif self._fallible:
                binding.wait()
            binding.update(numbers)
            return binding.results

    def read(self, handle: list[Any]) -> list[np.ndarray]:
        with self._guarded():
            return [a.asnumpy() for a in handle]

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """After a failure an executor gives numbers that mean nothing, so all are dropped and bound anew; no state was written."""
        try:
            yield
        except UnimodelError:
            self._bindings.clear()
            raise
        except (mx.MXNetError, IndexError, ValueError) as error:
            self._bindings.clear()
            source = self._fallible[0].source if len(self._fallible) == 1 else None
            raise BackendError("MXNet failed while running a step.", given=reason(error), remedy="the state is as before the step", source=source) from error

    def _binding(self, hasty: bool) -> Binding:
        key = (self.store.version, hasty)
        if key not in self._bindings:
            self._bindings = {k: found for k, found in self._bindings.items() if k[0] == self.store.version}
            self._bindings[key] = Binding(self, hasty)
        return self._bindings[key]


class Binding:
    """A program bound to the state's arrays: the memory it is fed through, its executors, and the copies that end a step."""

    def __init__(self, program: Program, hasty: bool) -> None:
        graph = program.graph
        state = {e.value: program.store.arrays[e.name] for e in graph.of_kind("state")}
        cells = {v: shared_array(v.spec) for v in (*(e.value for e in graph.of_kind("batch")), *program.host.results)}
        self._cells = [host for host, _ in cells.values()]
        arrays: dict[Value, Any] = state | {v: array for v, (_, array) in cells.items()}
        self._stages, self._pending = [], []
        for stage in program.stages:
            made, run = bound(program.backend, stage, {**arrays, **{inner: arrays[outer] for inner, outer, _ in stage.wrt}}, hasty)
            arrays.update(made)  # a copy, where a result is an input
            self._pending += made.values()
            self._stages.append(run)
        self._witnesses = [arrays[v] for s in program.stages for _, _, v in s.wrt]
        self.results = [arrays[v] for v in graph.outputs]
        done = {v for n in program.kernels for v in n.outputs}
        self._kernels = [kernel(n, arrays[n.inputs[1]], state, program.host.results) for n in program.kernels]
        self._copies = Copies([(arrays[v], state[e.value]) for e, v in graph.updates if v not in done])

    def compute(self, batch: Sequence[np.ndarray], numbers: Sequence[float]) -> None:
        """Everything but the updates: until those, a run can be given up."""
        for cell, given in zip(self._cells, (*batch, *numbers), strict=True):
            cell[...] = given
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


def bound(backend: Backend, stage: Stage, available: Mapping[Value, Any], hasty: bool) -> tuple[dict[Value, Any], Callable[[], None]]:
    """A stage bound to the arrays that there are: those that it makes, and what runs it."""
    build = Build(backend.lowerings, stage, hasty)
    names = {value: f"input{i}" for i, value in enumerate(available)}
    for value, name in names.items():
        build.variable(value, name)
    build.run(stage.nodes)
    gradients = {gradient: gradient_array(gradient.spec, inner in stage.sparse) for inner, _, gradient in stage.wrt}
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


CORE_DIFFERENTIATES = frozenset(("cholesky_factor", "triangular_solve", "solve_square", "thin_qr", "eigen_symmetric", "thin_svd", "slogdet"))
"""Ops whose gradient MXNet lacks or has wrong (zeros without an error): programs that differentiate them are core's to differentiate."""


def small(graph: Graph) -> bool:
    """Whether starting a step may cost more than computing it."""
    return sum(math.prod(e.spec.shape) for e in graph.of_kind("state")) <= SMALL  # type: ignore[misc]  # state has no symbolic sizes


def light(graph: Graph) -> bool:
    """Whether several steps are worth a program of their own."""
    return small(graph) and bool(graph.updates) and not any(n.op.name in HEAVY or n.op.name in FALLIBLE or bodies(n) for n in graph.nodes)


def prepared(backend: Backend, graph: Graph, options: CompileOptions) -> tuple[Graph, str]:
    """The graph ready to be lowered, and who differentiates it."""
    regions = [n for n in graph.nodes if n.op is value_and_grad_op]
    heavy = not small(graph) or any(n.op.name in HEAVY for r in regions for n in r.attrs["body"].nodes)
    if regions and (options.differentiation == "native" or (options.differentiation == "auto" and heavy)):
        native = prepare(
            graph, lambda node: node.op.name == "max_pool" or backend.lowerings.accepts(node), native_regions=True, core_gradient=backend.core_gradient
        )
        if not any(n.op.name in CORE_DIFFERENTIATES for r in native.nodes if r.op is value_and_grad_op for n in every_node(r.attrs["body"])):
            return fuse_bias(native), "native"
    return fuse_bias(prepare(graph, backend.lowerings.accepts)), "core"

"""Where models live on a backend: their state in its store, and the programs compiled for them.

A trainer has one runtime; a model that is called without a trainer gets a small one of its own. A program is one traced and compiled function for one
signature of its inputs. Plain Python attributes are constants of a trace: setting one on a model, or on whatever else the runtime watches,
makes the next call compare a fingerprint of them all, and trace anew only if it differs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unimodel import collector, nest, plugins, random, recording, reuse
from unimodel.backend import Backend, Capability, CompileOptions, Executable
from unimodel.data.bounds import IndexBound, index_bounds
from unimodel.dim import Dim
from unimodel.errors import BackendError, DataError, UnimodelError, UnsupportedError
from unimodel.graph import FLOATS, Array, TensorSpec
from unimodel.model import Model, State
from unimodel.passes.precision import GROWN, PRECISIONS, SCALE, SKIPPED, LossScale, as_bfloat16, lower_precision
from unimodel.tracing import Scalar, Traced, Variable, host_dtype, trace


@dataclass
class Program:
    """A compiled function: what it was traced from, and how its inputs are put in order."""

    traced: Traced
    executable: Executable
    bounds: dict[str, IndexBound]
    specs: tuple[TensorSpec, ...]
    """Specs of the data's leaves, in the order of the batch."""
    weighted: bool = False
    """Whether the last leaf of the batch weighs its samples."""

    def __post_init__(self) -> None:
        graph = self.traced.graph
        by_name = {n: i for i, n in enumerate(self.traced.batch)}
        draws = {d.name: d for d in self.traced.draws}
        self.inputs = graph.of_kind("batch")
        self.order = [by_name.get(e.name, -1) for e in self.inputs]
        self.draws = [(i, draws[e.name], e.spec) for i, e in enumerate(self.inputs) if e.name in draws]
        self.scalars = [self.traced.scalars[e.name] for e in graph.of_kind("scalar")]
        self.direct = self.order == list(range(len(self.order))) and not self.draws and not self.traced.guards
        self.symbol_places = [
            (next(iter(s.symbols)), leaf, axis) for leaf, spec in enumerate(self.specs) for axis, s in enumerate(spec.shape) if isinstance(s, Dim)
        ]

    def arrange(self, leaves: Sequence[Array], seed: int, step: int) -> list[Array]:
        """The executable's batch inputs: data leaves in its order and dtype, and this step's random numbers."""
        if self.direct and len(leaves) == len(self.order):
            return leaves if isinstance(leaves, list) else list(leaves)
        batch: list[Any] = [leaves[i] if i >= 0 else None for i in self.order]
        if self.draws or self.traced.guards:
            sizes = {name: leaves[leaf].shape[axis] for name, leaf, axis in self.symbol_places}
            for guard in self.traced.guards:
                guard.check(sizes)
            for place, drawn, spec in self.draws:
                batch[place] = random.draw(seed, drawn, step, spec.at(sizes))
        return batch

    def numbers(self) -> list[float]:
        """The host scalars, now."""
        return [s.value for s in self.scalars]


class Runtime:
    """State and programs of some models on one backend."""

    def __init__(
        self,
        models: Mapping[str, Model],
        backend: str | None,
        device: str,
        precision: str,
        seed: int,
        options: CompileOptions | None = None,
        loss_scale: LossScale | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise UnsupportedError("this precision is not known.", expected=", ".join(PRECISIONS), given=precision, remedy="choose one of these")
        self.backend: Backend = plugins.load(plugins.choose(backend))(device)
        if precision == "float64":
            self.backend.require(Capability.FLOAT64, "precision='float64'")
        self.options = options or CompileOptions()
        if self.options.differentiation == "native":
            self.backend.require(Capability.NATIVE_DIFFERENTIATION, "differentiation='native'")
        if self.options.compiler not in ("auto", "none", *self.backend.compilers):
            raise UnsupportedError(
                f"the backend {self.backend.name} has no compiler of this name.",
                expected=", ".join(["auto", "none", *self.backend.compilers]),
                given=f"compile={self.options.compiler!r}",
                remedy="leave compile out for the backend's own rule",
            )
        self.lower = PRECISIONS[precision]
        if self.lower.low:
            self.backend.require(Capability.MIXED_PRECISION, f"precision={precision!r}")
        self.loss_scale = loss_scale or LossScale()
        self.float_dtype = self.lower.dtype
        self.precision = precision
        self.seed = seed
        self.models = dict(models)
        self.names: dict[Variable, str] = {}
        self.variables: dict[str, State] = {}
        self.watched: list[object] = []
        self.stale = True
        self.calls = 0
        self._print = 0
        self._prints: dict[Any, int] = {}
        self._dtypes: dict[np.dtype[Any], np.dtype[Any]] = {}
        self.kept: OrderedDict[Any, Any] = OrderedDict()
        """What others keep beside these models for as long as they live here, such as the caches of a decoder."""
        self._programs: dict[Any, Program] = {}
        self.lock = threading.RLock()
        self.switched: dict[bool, list[list[Model]]] = {True: [], False: []}
        """By mode, for each who is inside of it now, the modules that were in the other mode before."""
        self.store = self.backend.store({})
        self.kept_in = self.lower.low if self.lower.throughout and self.lower.low in self.store.keeps else ""
        """The dtype of all floating state where it is one that NumPy lacks."""
        for key, model in self.models.items():
            prefix = f"{key}." if key else ""
            for path, module in model.named_modules():
                module.__dict__["_um_path"] = prefix + path
                module.__dict__["_um_runtime"] = self
            for state_kind in ("parameters", "buffers"):
                for path, state in getattr(model, f"named_{state_kind}")():
                    if state not in self.names:
                        self.add(prefix + path, state)
        if self.lower.scaled:
            for name, number in ((SCALE, self.loss_scale.init_scale), (GROWN, 0.0), (SKIPPED, 0.0)):
                self.add(name, State((), np.float64(number), "float32"))

    def _take(self, name: str, state: State) -> Array:
        """Register a cell under a name; returns its numbers in this runtime's precision."""
        dtype = self.float_dtype if state._dtype in FLOATS else state._dtype
        array = state.materialise(self.seed, name, dtype)
        if self.lower.throughout and dtype in FLOATS:
            array = as_bfloat16(array)
        state.name = name
        if hasattr(state, "_changed"):
            state._changed = self.changed
        self.names[state] = name
        self.variables[name] = state
        return array

    def add(self, name: str, state: State) -> None:
        """Take one more cell; one after the other, so that the drawn numbers of only one are beside those on the backend."""
        array = self._take(name, state)
        if self.kept_in and array.dtype.kind == "f":
            self.store.write_as(name, array, self.kept_in)
        else:
            self.store.write(name, array)
        state.move(self.store, name, array.dtype)

    # change
    def changed(self) -> None:
        """Something that a trace depends on may have changed."""
        self.stale = True

    def fingerprint(self) -> int:
        """A number for all plain attributes of everything watched, which are what a trace takes as constants: another number for other attributes."""
        if self.stale:
            objects: list[object] = [*self.watched]
            for model in self.models.values():
                objects += model.modules()
            self._print = self._prints.setdefault(tuple(_attributes(o) for o in objects), len(self._prints))
            self.stale = False
        return self._print

    # programs
    def leaves(self, batch: Any) -> list[Array]:
        """A batch's leaves as arrays in the dtypes programs take: floats in the precision, small integers widened."""
        if type(batch) is tuple and all(type(leaf) is np.ndarray for leaf in batch):  # as most batches are
            return [self._as_taken(leaf) for leaf in batch]
        return [self._as_taken(leaf if isinstance(leaf, np.ndarray) else as_array(leaf, path)) for path, leaf in nest.paths(batch)]

    def _as_taken(self, array: Array) -> Array:
        dtype = self._dtypes.get(array.dtype)
        if dtype is None:
            dtype = self._dtypes[array.dtype] = np.dtype(host_dtype(array.dtype, self.float_dtype))
        return array if array.dtype == dtype else array.astype(dtype)

    def program(self, kind: str, function: Callable[[Any], Any], batch: Any, leaves: Sequence[Array]) -> Program:
        """The compiled function for a batch of this signature; traced and compiled at the first one."""
        alike = len({a.shape[0] for a in leaves if a.ndim}) <= 1
        if not alike and not kind.startswith("call "):  # arguments of a call need not be samples: a recurrent layer's state begins with its layers
            raise DataError(
                "the arrays of one batch differ in length.",
                expected="one length for all",
                given=[a.shape for a in leaves],
                remedy="check how the batch was made",
            )
        shapes = tuple((a.shape[1:] if a.ndim and alike else a.shape if a.ndim else None, a.dtype.char) for a in leaves)
        key = (kind, (alike, *shapes), _structure(batch), self.fingerprint())
        found = self._programs.get(key)
        if found is None and leaves and leaves[0].ndim:
            found = self._programs.get((key, leaves[0].shape[0]))  # one that holds for this size only
        if found is not None:
            return found
        with self.lock:
            return self._compile(key, function, batch, leaves, alike)

    def _compile(self, key: Any, function: Callable[[Any], Any], batch: Any, leaves: Sequence[Array], alike: bool) -> Program:
        symbol = Dim.symbol("N")
        specs = tuple(TensorSpec((symbol, *a.shape[1:]) if a.ndim and alike else a.shape, a.dtype.name) for a in leaves)
        sizes = next(({"N": a.shape[0]} for a in leaves if a.ndim and alike), {})
        program = self.build(function, nest.rebuild(batch, iter(specs)), specs, sizes)
        fixed = bool(sizes) and "N" not in program.traced.graph.symbols and any(i >= 0 for i in program.order)
        self._programs[(key, sizes["N"]) if fixed else key] = program
        return program

    @collector.waiting()
    def build(self, function: Callable[[Any], Any], batch: Any, specs: tuple[TensorSpec, ...], sizes: Mapping[str, int]) -> Program:
        """A function of a nest of tensors, whose leaves have these specs, traced and compiled over the state that lives here."""
        traced = trace(function, batch, names=self.names, float_dtype=self.float_dtype, sizes=sizes)
        traced.graph = lower_precision(traced.graph, self.lower, self.loss_scale, self.kept_in)
        current = recording.current()
        if current is not None:
            current.graph(traced.graph)
        try:
            executable = reuse.compiled(self.backend, traced.graph, self.store, self.options)
        except UnimodelError:
            raise
        except Exception as error:
            raise BackendError(f"{self.backend.name} failed to compile the graph.", given=f"{type(error).__name__}: {error}") from error
        return Program(traced, executable, index_bounds(traced.graph), specs)

    def programs(self) -> Iterator[tuple[tuple[str, Any], Program]]:
        """What has been compiled: (kind, structure of the batch) and the program."""
        for key, program in self._programs.items():
            signature = key[0] if isinstance(key[0], tuple) else key
            yield (signature[0], signature[2]), program

    def check_indices(self, program: Program, leaves: Sequence[Array], offset: int = 0) -> None:
        """Refuse indices and labels outside their range, before a framework clips them or writes out of bounds."""
        for name, bound in program.bounds.items():
            bound.check(leaves[program.traced.batch.index(name)], name, offset)


def as_array(value: Any, path: str = "") -> Array:
    """Data of any origin as a NumPy array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if hasattr(value, "asnumpy"):
        value = value.asnumpy()
    try:
        array = np.asarray(value)
    except UnimodelError:
        raise
    except Exception as error:
        raise DataError(f"data{'.' + path if path else ''} does not convert to an array.", given=type(value).__name__, remedy="pass NumPy arrays") from error
    if array.dtype.kind not in "fiub":
        raise DataError(
            f"data{'.' + path if path else ''} holds no numbers.",
            expected="floats, integers or booleans",
            given=f"dtype {array.dtype}",
            remedy="encode text as integers; pad ragged lists to one length",
        )
    return array


def _structure(batch: Any) -> Any:
    if isinstance(batch, np.ndarray):
        return None
    if isinstance(batch, Mapping):
        return tuple((k, _structure(v)) for k, v in batch.items())
    if isinstance(batch, (tuple, list)):
        return tuple(_structure(v) for v in batch)
    return None


_SIMPLE = (int, float, str, bool, bytes, type(None), complex)


def _attributes(owner: object) -> Any:
    """An object's plain attributes in a form that compares by value; it may leave some out, and name what else a trace takes from it."""
    left_out = getattr(owner, "_um_left_out", ())
    more = getattr(owner, "_um_constants", tuple)
    return (*more(), *((name, _value(value)) for name, value in vars(owner).items() if not name.startswith("_um_") and name not in left_out))


def _value(value: Any) -> Any:
    if isinstance(value, _SIMPLE):
        return (type(value).__name__, value)
    if isinstance(value, (tuple, list)):
        return tuple(_value(v) for v in value)
    if isinstance(value, dict):
        return tuple((k, _value(v)) for k, v in value.items())
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype.str, value.tobytes())
    if isinstance(value, Variable):
        return (id(value), getattr(value, "requires_grad", None))
    if isinstance(value, Scalar):
        return id(value)
    return id(value)


def home_of(model: Model) -> Runtime:
    """Where a model lives: with its trainer, else in a runtime of its own on the current backend."""
    runtime: Runtime | None = model.__dict__.get("_um_runtime")
    if runtime is None or (isinstance(runtime, Loose) and runtime.backend.name != plugins.choose(None)):
        runtime = Loose({"": model}, None, "cpu", "float32", 0)
    return runtime


def call_model(model: Model, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A model on concrete arrays: on its trainer's backend, else on the current one. Buffers that forward updates are updated."""
    runtime = home_of(model)
    call = (args, kwargs)
    batch = tuple(as_array(v) for v in nest.leaves(call) if not isinstance(v, _SIMPLE))
    leaves = runtime.leaves(batch)

    def function(tensors: Any) -> Any:
        rest = iter(tensors)
        args, kwargs = nest.map_leaves(lambda v: v if isinstance(v, _SIMPLE) else next(rest), call)
        return model(*args, **kwargs)

    # plain numbers and texts among the arguments say how to compute: they are constants of the trace
    how = nest.map_leaves(lambda v: repr(v) if isinstance(v, _SIMPLE) else "", call)
    program = runtime.program(f"call {model.__dict__.get('_um_path', '')} {how}", function, batch, leaves)
    runtime.check_indices(program, leaves)
    handle = program.executable.run(program.arrange(leaves, runtime.seed, runtime.calls), program.numbers())
    runtime.calls += 1
    return nest.rebuild(program.traced.structure, iter(program.executable.read(handle)))


class Loose(Runtime):
    """The runtime of a model without a trainer."""

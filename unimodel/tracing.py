"""Tracing: user code runs once with symbolic tensors, and what it does is written down as a graph.

``Tensor`` is a value of the graph being traced, with the operators people expect. ``Variable`` is a cell of state (parameter, buffer, optimizer slot),
``Scalar`` a host number that may change from step to step. ``trace`` runs a function on tensors and returns the graph; ``value_and_grad``
records a region whose gradient is asked. Nothing here computes: a number that is needed now is an error that names the user's line.
"""

from __future__ import annotations

import random as python_random
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

import unimodel as um  # for um.ops: ops are made of tensors, so they are reached when they are called
from unimodel import nest
from unimodel.dim import Dim, Size, Specialise
from unimodel.errors import ShapeError, Source, TraceError, UnimodelError, user_source
from unimodel.graph import FLOATS, INTEGERS, ArrayLiteral, Graph, Input, InputKind, Node, TensorSpec, Value
from unimodel.op import Op, value_and_grad_op
from unimodel.regions import reached_values
from unimodel.tensor_operators import TensorLike


class Tensor(TensorLike):
    """A value in the graph that is being traced. Shapes are tuples in which the batch dimension may be a ``Dim``."""

    __slots__ = ("trace", "value")

    def __init__(self, trace: Trace, value: Value) -> None:
        self.trace = trace
        self.value = value

    @property
    def spec(self) -> TensorSpec:
        return self.value.spec

    @property
    def shape(self) -> tuple[Size, ...]:
        return self.value.spec.shape

    @property
    def dtype(self) -> str:
        return self.value.spec.dtype

    def __repr__(self) -> str:
        return f"Tensor({self.spec}, traced)"


class Variable(TensorLike):
    """A named cell of state. In a trace, reading it gives its current value and ``assign`` sets it for all reads after."""

    shape: tuple[int, ...]
    data: Any
    """The present numbers, as NumPy."""
    _dtype: str = "float32"

    @property
    def dtype(self) -> str:
        """The dtype; a floating one follows the precision of the trace that reads it."""
        trace = current_trace()
        return trace.root.float_dtype if trace is not None and self._dtype in FLOATS else self._dtype

    @dtype.setter
    def dtype(self, dtype: str) -> None:
        self._dtype = dtype

    @property
    def spec(self) -> TensorSpec:
        return TensorSpec(tuple(self.shape), self.dtype)

    def assign(self, value: Any) -> None:
        """Set the new value; takes effect for reads after this one and, once the step has run, for steps to come."""
        trace = current_trace()
        if trace is None:
            raise TraceError("assign() works inside forward() or step() only.", remedy="set .data to give concrete numbers")
        trace.write(self, value)


class Scalar(TensorLike):
    """A host number that code in a step may read and that may change between steps without tracing anew.

    >>> temperature = Scalar(0.1)
    >>> temperature.value = 0.05     # from the next step on
    """

    shape = ()

    @property
    def dtype(self) -> str:
        trace = current_trace()
        return trace.root.float_dtype if trace is not None else "float32"

    def __init__(self, value: float | Callable[[], float]) -> None:
        self._value = value

    @property
    def value(self) -> float:
        return float(self._value() if callable(self._value) else self._value)

    @value.setter
    def value(self, value: float) -> None:
        self._value = float(value)

    def __repr__(self) -> str:
        return f"Scalar({self.value})"


@dataclass(frozen=True, slots=True)
class Draw:
    """Random numbers that the host draws at each step: of which kind (see ``unimodel.random.draw``) and with which parameter; ``purpose`` names their stream."""

    name: str
    purpose: str
    kind: str
    parameter: float = 0.0


@dataclass(frozen=True, slots=True)
class Guard:
    """A size that must not be smaller, and the error if it is."""

    size: Dim
    least: int
    error: UnimodelError

    def check(self, sizes: Mapping[str, int]) -> None:
        if self.size.evaluate(sizes) < self.least:
            raise self.error.with_traceback(None)


@dataclass
class Root:
    """What belongs to a whole trace, its nested regions included."""

    float_dtype: str
    names: Mapping[Variable, str]
    inputs: dict[str, Input] = field(default_factory=dict)
    states: dict[str, Variable] = field(default_factory=dict)
    scalars: dict[str, Scalar] = field(default_factory=dict)
    scalar_names: dict[Scalar, str] = field(default_factory=dict)
    draws: list[Draw] = field(default_factory=list)
    calls: dict[Any, list[list[str]]] = field(default_factory=dict)
    """Each optimizer's updates in this trace; of each, the names of the parameters that it passes over."""
    guards: list[Guard] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    source: Source | None = None
    locate: bool = True

    @property
    def layer(self) -> str:
        """The innermost layer that is running."""
        return self.layers[-1] if self.layers else ""


class Trace:
    """A graph in the making. A region is a trace of its own, whose inputs are the values it captures from its parent."""

    def __init__(self, root: Root, parent: Trace | None = None) -> None:
        self.root = root
        self.parent = parent
        self.nodes: list[Node] = []
        self.captured: dict[Value, Tensor] = {}  # parent's value -> ours
        self.current: dict[Variable, Tensor] = {}
        self.written: dict[Variable, Tensor] = {}
        self.conditional: bool = parent is not None and parent.conditional
        """Whether it stands in a body that may run never, or more than once."""

    # nodes
    def emit(self, op: Op[Any], inputs: Sequence[Tensor | None], attrs: Mapping[str, Any], specs: tuple[TensorSpec, ...]) -> tuple[Tensor, ...]:
        root = self.root
        source = root.source or (user_source(root.layer) if root.locate else None)
        node = Node(op, tuple(None if t is None else t.value for t in inputs), attrs, specs, source)
        self.nodes.append(node)
        return tuple(Tensor(self, v) for v in node.outputs)

    def constant(self, value: Any, dtype: str) -> Tensor:
        return um.ops.constant(value=value, dtype=dtype)

    # inputs
    def input(self, kind: InputKind, name: str, spec: TensorSpec) -> Tensor:
        """A graph input by name, made at its first use and captured down to this trace."""
        if self.parent is not None:
            return self.capture(self.parent.input(kind, name, spec))
        entry = self.root.inputs.get(name)
        if entry is None:
            entry = self.root.inputs[name] = Input(kind, name, Value(spec))
        return Tensor(self, entry.value)

    def capture(self, tensor: Tensor) -> Tensor:
        """This trace's view of a tensor that belongs to it or to a trace around it."""
        if tensor.trace is self:
            return tensor
        if self.parent is None:
            raise TraceError(
                "A tensor is used outside the step or forward that made it.",
                given=repr(tensor),
                remedy="return it, or keep it in an um.Buffer if it must live from step to step",
                source=user_line(),
            )
        found = self.captured.get(tensor.value)
        if found is None:
            outer = self.parent.capture(tensor)
            found = self.captured.get(outer.value)
            if found is None:
                found = Tensor(self, Value(outer.spec))
                self.captured[outer.value] = found
        return found

    # state
    def read(self, variable: Variable) -> Tensor:
        if variable in self.current:
            return self.current[variable]
        if self.parent is not None:
            return self.capture(self.parent.read(variable))
        name = self.root.names.get(variable)
        if name is None:
            raise TraceError(
                f"{type(variable).__name__} {getattr(variable, 'name', '') or variable.shape} belongs to no model of this trainer.",
                expected="a parameter or buffer that is found through a model's attributes",
                given=repr(variable),
                remedy="assign it to an attribute of the model (self.weight = um.Parameter(...)); keep lists of layers in um.nn.ModuleList",
                source=user_line(),
            )
        self.root.states.setdefault(name, variable)
        return self.input("state", name, variable.spec)

    def write(self, variable: Variable, value: Any) -> None:
        before = self.read(variable)
        tensor = um.ops.astype(self.as_tensor(value), before.dtype)
        if tensor.shape != before.shape:
            raise ShapeError("A variable keeps its shape.", expected=before.spec, given=tensor.spec, remedy="reduce or broadcast the new value first")
        self.current[variable] = tensor
        self.written[variable] = tensor

    def scalar(self, scalar: Scalar) -> Tensor:
        root = self.root
        name = root.scalar_names.setdefault(scalar, f"scalar{len(root.scalar_names)}")
        root.scalars[name] = scalar
        return self.input("scalar", name, TensorSpec((), root.float_dtype))

    def draw(self, kind: str, shape: tuple[Size, ...], dtype: str, parameter: float = 0.0, key: str | None = None) -> Tensor:
        """Random numbers of this shape, drawn by the host at each step, from a stream of their own or the one that ``key`` names."""
        if self.parent is not None:
            return self.capture(self.parent.draw(kind, shape, dtype, parameter, key))
        draws = self.root.draws
        count = sum(d.kind == kind for d in draws)  # of its kind, so that other draws leave a stream alone
        name = f"{kind}{count}"
        draws.append(Draw(name, f"{kind}/{count}/{self.root.layer}" if key is None else f"{kind}/key/{key}", kind, parameter))
        return self.input("batch", name, TensorSpec(tuple(shape), dtype))

    # conversion
    def as_tensor(self, value: Any, dtype: str | None = None) -> Tensor:
        """Anything an op accepts, as a tensor of this trace. ``dtype`` is for Python numbers, which have none of their own."""
        if isinstance(value, Tensor):
            return self.capture(value)
        if isinstance(value, Variable):
            return self.read(value)
        if isinstance(value, Scalar):
            return self.scalar(value)
        if isinstance(value, Dim):
            return um.ops.extent(dim=value, dtype=dtype or "int64")
        if isinstance(value, (bool, int, float)):
            return self.constant(value, dtype or _python_dtype(value, self.root.float_dtype))
        if isinstance(value, (list, tuple)) and any(isinstance(v, TensorLike) for v in value):
            raise TraceError(
                "An op takes one tensor here.",
                expected="a tensor",
                given=f"a {type(value).__name__} of {len(value)}",
                remedy="take one of them, as in values, indices = um.ops.max_pool(x, 2) (um.ops.max_pool2d gives the values alone), or um.ops.stack them",
                source=user_line(),
            )
        if isinstance(value, (np.ndarray, np.generic, list, tuple)):
            array = np.asarray(value)
            return self.constant(ArrayLiteral(array), host_dtype(array.dtype, self.root.float_dtype))
        raise TraceError(
            "An op takes tensors, NumPy arrays and Python numbers.",
            given=f"a dict of {', '.join(map(repr, value))}" if isinstance(value, Mapping) else f"{type(value).__module__}.{type(value).__name__}",
            remedy="take one of its entries"
            if isinstance(value, Mapping)
            else "a function or forward that made it ends without return"
            if value is None
            else "pass it through the batch, or turn it into a NumPy array first",
            source=user_line(),
        )


def _python_dtype(value: bool | int | float, float_dtype: str) -> str:
    return "bool" if isinstance(value, bool) else "int64" if isinstance(value, int) else float_dtype


def host_dtype(dtype: np.dtype[Any], float_dtype: str) -> str:
    """The dtype in which a host array enters a graph: floats in the precision asked for, small integers widened."""
    kind = dtype.kind
    if kind == "f" or dtype.name == "bfloat16":
        return float_dtype
    if kind == "b":
        return "bool"
    if kind in "iu":
        return "int32" if dtype.itemsize < 4 or dtype.name == "int32" else "int64"
    raise ShapeError("Tensors hold floats, integers or booleans.", given=f"dtype {dtype}", remedy="encode text and objects as integers first")


_active = threading.local()
T = TypeVar("T", bound=Trace)


def current_trace() -> Trace | None:
    """The trace that is being recorded on this thread, if any."""
    stack = getattr(_active, "stack", None)
    return stack[-1] if stack else None


@contextmanager
def recording(trace: T) -> Iterator[T]:
    """Make ``trace`` the current one."""
    stack = _active.__dict__.setdefault("stack", [])
    stack.append(trace)
    try:
        yield trace
    finally:
        stack.pop()


_RANK = {name: i for i, name in enumerate(("bool", "int32", "int64", "float16", "bfloat16", "float32", "float64"))}


def user_line() -> Source | None:
    """The user's line, and the layer that is running."""
    trace = current_trace()
    return user_source(trace.root.layer if trace is not None else "")


def require_at_least(size: Size, least: int, error: UnimodelError) -> None:
    """Raise ``error`` where a size is smaller. One that is symbolic is checked on the host before each step."""
    try:
        if size >= least:
            return
    except Specialise:
        trace = current_trace()
        assert trace is not None and isinstance(size, Dim), "symbolic sizes belong to a trace"
        trace.root.guards.append(Guard(size, least, error))
        error.source = user_line()
        return
    error.source = user_line()
    raise error


def promote(dtypes: Sequence[str]) -> str:
    """The dtype two tensors meet in: the wider of one kind; a float wins over an integer, as in PyTorch."""
    if {"float16", "bfloat16"} <= set(dtypes):
        return "float32"
    return max(dtypes, key=_RANK.__getitem__)


def apply(op: Op[Any], tensors: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """Apply an op: add a node to the current trace, or compute at once on arrays where there is none."""
    trace = current_trace()
    if trace is None:
        from unimodel.eager import apply_now

        return apply_now(op, tensors, attrs)
    values = _promoted(trace, op, tensors) if op.promote else [None if t is None else trace.as_tensor(t) for t in tensors]
    specs = [None if v is None else v.spec for v in values]
    try:
        if op.canonical is not None:
            op.canonical(attrs, [s for s in specs if s is not None])
        if op.composite and any(isinstance(v, TensorLike) for v in attrs.values()):
            return op.rule(**op.arguments(values, attrs))  # a number that changes from step to step is no attribute: the body stands in the node's place
        results = op.infer(specs, attrs, trace.root.float_dtype)
    except UnimodelError as error:
        _locate(error, op, specs, trace)
        raise
    outputs = trace.emit(op, values, attrs, results)
    return outputs if len(outputs) > 1 else outputs[0]


def _locate(error: UnimodelError, op: Op[Any], specs: Sequence[TensorSpec | None], trace: Trace) -> None:
    if not getattr(error, "located", False):
        error.located = True  # type: ignore[attr-defined]  # the innermost op is the one to name
        error.message = f"{op.name}: {error.message}"
        if error.given is None:
            error.given = ", ".join(str(s) for s in specs if s is not None)
    if trace.root.locate:
        error.source = user_source(trace.root.layer) or error.source


def _promoted(trace: Trace, op: Op[Any], tensors: Sequence[Any]) -> list[Tensor | None]:
    names = op.tensors if not op.variadic else (op.tensors[0],) * len(tensors)
    joint = [n in op.promote for n in names]
    values: list[Any] = [
        t if isinstance(t, (bool, int, float, Dim)) and j else None if t is None else trace.as_tensor(t) for t, j in zip(tensors, joint, strict=True)
    ]
    have = [v.dtype for v, j in zip(values, joint, strict=True) if j and isinstance(v, Tensor)]
    weak = [
        "int64" if isinstance(v, Dim) else _python_dtype(v, trace.root.float_dtype)
        for v, j in zip(values, joint, strict=True)
        if j and isinstance(v, (bool, int, float, Dim))
    ]
    if not have and not weak:
        return values
    target = promote(have) if have else promote(weak)
    for dtype in weak:  # a Python number takes the tensors' dtype, unless it is of a higher kind
        if (dtype in FLOATS and target not in FLOATS) or (dtype in INTEGERS and target == "bool"):
            target = dtype
    result: list[Tensor | None] = []
    for value, j in zip(values, joint, strict=True):
        if not j or value is None:
            result.append(value)
        elif isinstance(value, Tensor):
            result.append(value if value.dtype == target else um.ops.astype(value, target))
        else:
            result.append(trace.as_tensor(value, target))
    return result


def live_nodes(nodes: Sequence[Node], outputs: Sequence[Value]) -> tuple[Node, ...]:
    """The nodes that the outputs need, in their order."""
    needed = set(outputs)
    kept: list[Node] = []
    for node in reversed(nodes):
        if any(v in needed for v in node.outputs):
            kept.append(node)
            needed.update(v for v in node.inputs if v is not None)
    return tuple(reversed(kept))


def trace_body(function: Callable[[list[Tensor | None]], Any], specs: Sequence[TensorSpec | None], float_dtype: str) -> Graph:
    """A function of tensors as a graph with one batch input per spec that is not None."""
    outer = current_trace()
    root = Root(float_dtype, {}, locate=False)
    if outer is not None:
        root.layers = outer.root.layers
    trace = Trace(root)
    with recording(trace):
        tensors = [None if s is None else trace.input("batch", f"x{i}", s) for i, s in enumerate(specs)]
        result = function(tensors)
        outputs = [trace.as_tensor(t).value for t in (result if isinstance(result, tuple) else (result,))]
    return Graph(tuple(root.inputs.values()), live_nodes(trace.nodes, outputs), tuple(outputs))


@dataclass
class Traced:
    """A traced function: its graph, how its results nest, and where its inputs come from."""

    graph: Graph
    structure: Any
    states: dict[str, Variable]
    scalars: dict[str, Scalar]
    draws: list[Draw]
    calls: dict[Any, list[list[str]]]
    batch: list[str]
    """Names of the batch inputs that are data, in order of the data's leaves; the others are draws."""
    guards: list[Guard]


def trace(
    function: Callable[[Any], Any],
    batch: Any,
    *,
    names: Mapping[Variable, str],
    float_dtype: str = "float32",
    sizes: Mapping[str, int] | None = None,
) -> Traced:
    """Run ``function`` once on symbolic tensors shaped like ``batch`` (a nest of ``TensorSpec``).

    ``sizes`` gives the present number of each symbol. Where user code asks for one, the function is traced anew with that number fixed;
    the graph then has no such symbol, which is how the caller sees that it holds for this size only.
    """
    fixed: dict[str, Size] = {}
    before = _draws()
    while True:
        root = Root(float_dtype, names)
        recorder = Trace(root)
        try:
            with recording(recorder):
                flat = []
                for path, spec in nest.paths(batch):
                    shape = tuple(s.substitute(fixed) if isinstance(s, Dim) else s for s in spec.shape)
                    flat.append(recorder.input("batch", f"batch.{path}" if path else "batch", TensorSpec(shape, spec.dtype)))
                result = function(nest.rebuild(batch, iter(flat)))
                outputs = [recorder.as_tensor(t).value for t in nest.leaves(result)]
        except Specialise as request:
            if not sizes or not request.symbols <= set(sizes) or request.symbols <= set(fixed):
                raise TraceError(f"The size {sorted(request.symbols)} is not known here.", remedy="keep to arithmetic that is exact for every size") from None
            fixed.update({s: sizes[s] for s in request.symbols})
            continue
        break
    if _draws() != before:
        warnings.warn(
            "NumPy's or Python's random numbers were drawn while a step was traced. They are constants of the trace: the same at every step. "
            "Write um.ops.random.normal(shape) or its kin for new ones at each step, or draw constants where the model is made.",
            stacklevel=2,
        )
    updates = tuple((root.inputs[names[v]], t.value) for v, t in recorder.written.items())
    nodes = live_nodes(recorder.nodes, outputs + [v for _, v in updates])
    graph = Graph(tuple(root.inputs.values()), nodes, tuple(outputs), updates, tuple(p for p, _ in nest.paths(result)))
    data = [f"batch.{path}" if path else "batch" for path, _ in nest.paths(batch)]
    return Traced(graph, nest.map_leaves(lambda _: None, result), root.states, root.scalars, root.draws, root.calls, data, root.guards)


def _draws() -> tuple[Any, ...]:
    """How far NumPy's and Python's own generators have come."""
    state: Any = np.random.get_state()
    return state[1].tobytes(), state[2:], python_random.getstate()


@contextmanager
def layer(name: str) -> Iterator[None]:
    """Name the layer that runs inside, for error messages and streams of random numbers."""
    recorder = current_trace()
    if recorder is None or not name:
        yield
        return
    recorder.root.layers.append(name)
    try:
        yield
    finally:
        recorder.root.layers.pop()


def value_and_grad(function: Callable[[], Any], wrt: Any, has_aux: bool = False) -> tuple[Any, Any]:
    """The value of a scalar function and its gradient.

    Parameters: ``function`` takes nothing and returns a 0-d float tensor (with ``has_aux=True`` a pair of that and any nest of tensors); ``wrt``
    is a parameter, a tensor, or a nest (or iterator) of them. Returns ``(value, gradients)`` or ``((value, aux), gradients)``; the gradients nest
    like ``wrt``. A gradient is None where the parameter is frozen or the value does not depend on it, as in PyTorch. Regions may nest.

    >>> import unimodel as um
    >>> import numpy as np
    >>> um.run(lambda x: um.value_and_grad(lambda: (x * x).sum(), wrt=x)[1], np.array([1.0, 2.0], "float32"))
    array([2., 4.], dtype=float32)
    """
    outer = current_trace()
    if outer is None:
        raise TraceError("value_and_grad works inside a Trainer's step, a Model's forward, or um.run.")
    if not callable(function):
        raise TraceError(
            "value_and_grad takes a function, and differentiates what is computed inside it.",
            expected="a function without arguments",
            given=str(function.spec) if isinstance(function, Tensor) else type(function).__name__,
            remedy="write value_and_grad(lambda: self.loss(self.model(x), y), wrt=...)",
            source=user_line(),
        )
    if not isinstance(wrt, (TensorLike, tuple, list, dict)):
        wrt = list(wrt)
    inner = Trace(outer.root, outer)
    with recording(inner):
        targets: list[Value | None] = []
        for target in nest.leaves(wrt):
            if isinstance(target, Variable) and not getattr(target, "requires_grad", True):
                targets.append(None)
                continue
            tensor = inner.as_tensor(target)
            if tensor.dtype not in FLOATS:
                raise TraceError("Gradients are taken with respect to floating tensors.", given=str(tensor.spec))
            targets.append(tensor.value)
        result = function()
        value, aux = result if has_aux else (result, None)
        loss = inner.as_tensor(value)
        if loss.shape != () or loss.dtype not in FLOATS:
            raise ShapeError(
                "value_and_grad differentiates a single number.",
                expected="a 0-d float tensor",
                given=str(loss.spec),
                remedy="reduce it with .mean() or .sum()",
            )
        extras = [inner.as_tensor(t) for t in nest.leaves(aux)] if has_aux else []
    writes = list(inner.written.items())
    outputs = [loss.value, *(t.value for t in extras), *(t.value for _, t in writes)]
    nodes = live_nodes(inner.nodes, outputs)
    reached = reached_values(nodes, [loss.value])
    asked = [v for v in dict.fromkeys(t for t in targets if t is not None) if v in reached]
    used = {v for n in nodes for v in n.inputs} | set(outputs) | set(asked)
    captures = [(o, t) for o, t in inner.captured.items() if t.value in used]
    position = {t.value: i for i, (_, t) in enumerate(captures)}
    body = Graph(tuple(Input("batch", f"x{i}", t.value) for i, (_, t) in enumerate(captures)), nodes, tuple(outputs))
    attrs = {"body": body, "wrt": tuple(position[v] for v in asked)}
    specs = tuple(v.spec for v in outputs) + tuple(v.spec for v in asked)
    results = outer.emit(value_and_grad_op, [Tensor(outer, o) for o, _ in captures], attrs, specs)
    for (variable, _), new in zip(writes, results[1 + len(extras) :], strict=False):
        outer.current[variable] = outer.written[variable] = new
    gradient = dict(zip(asked, results[len(outputs) :], strict=True))
    gradients = nest.rebuild(wrt, iter([None if v is None else gradient.get(v) for v in targets]))
    if has_aux:
        return (results[0], nest.rebuild(aux, iter(results[1 : 1 + len(extras)]))), gradients
    return results[0], gradients

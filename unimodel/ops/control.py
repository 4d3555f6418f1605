"""Control flow: branches and loops whose course is decided while the program runs, and recomputation.

Python's own ``if`` and ``for`` run while tracing: their course becomes part of the graph. These functions trace the bodies they are given, each once, into graphs
that travel on one node. Whatever a body uses from around it (tensors, parameters, host scalars) is captured by itself. What a body assigns to a variable
(a batch norm's statistics) is one more result of a branch, and one more carry of a loop: the next round reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from unimodel import nest
from unimodel.dim import Size
from unimodel.errors import ShapeError, TraceError
from unimodel.graph import FLOATS, INTEGERS, Graph, Input, TensorSpec, Value
from unimodel.op import checkpoint_op, cond_op, scan_op, while_loop_op
from unimodel.ops.rules import sizes_agree
from unimodel.tensor_operators import TensorLike
from unimodel.tracing import Tensor, Trace, Variable, current_trace, live_nodes, recording

__all__ = [
    "checkpoint",
    "cond",
    "scan",
    "while_loop",
]


def cond(pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], *operands: Any) -> Any:
    """``true_fn(*operands)`` where ``pred`` holds, else ``false_fn(*operands)``; only the one chosen runs.

    Parameters: ``pred`` a boolean of shape (); the functions return nests of tensors of the same structure, shapes and dtypes; ``operands`` are nests of
    tensors. Gradients flow through the branch that ran; what only the other one uses gets zeros. To choose element by element use ``um.ops.where``, which computes
    both sides. As ``jax.lax.cond``.

    Raises ``ShapeError`` where ``pred`` is no single boolean or the results differ.

    >>> import numpy as np
    >>> import unimodel as um
    >>> um.run(lambda x: um.ops.cond(um.ops.sum(x) > 0.0, um.ops.sqrt, um.ops.abs, x), np.array([-9.0, 4.0]))
    array([9., 4.])
    """
    outer = current_trace()
    if outer is None:
        return _now(lambda *given: cond(given[0], true_fn, false_fn, *given[1:]), pred, *operands)
    choice = outer.as_tensor(pred)
    if choice.shape != () or choice.dtype != "bool":
        raise ShapeError(
            "cond: the predicate is one boolean.",
            expected="bool ()",
            given=str(choice.spec),
            remedy="compare (x > 0), or reduce with um.ops.any or um.ops.all; to choose by element use um.ops.where",
        )
    branches, returned = [], []
    for function in (true_fn, false_fn):
        with recording(_Body(outer)) as body:
            returned.append(function(*operands))
        branches.append(body)
    _same_structure("cond", "the branches return different structures", *returned)
    results = [b.results(r, other) for b, r, other in zip(branches, returned, returned[::-1], strict=True)]
    for place, (one, two) in enumerate(zip(*results, strict=True)):
        if one.spec != two.spec:
            raise ShapeError(
                f"cond: the branches return different tensors{_place(returned[0], place)}.",
                expected="the same shapes and dtypes from true_fn and false_fn",
                given=f"{one.spec} from true_fn, {two.spec} from false_fn",
                remedy="reshape, broadcast or um.ops.astype one of them",
            )
    variables = list(dict.fromkeys(v for b in branches for v in b.written))
    finals = [[*r, *(b.now(v) for v in variables)] for b, r in zip(branches, results, strict=True)]
    captured = _captured(branches)
    graphs = [b.graph([], captured, f) for b, f in zip(branches, finals, strict=True)]
    specs = tuple(v.spec for v in graphs[0].outputs)
    found = outer.emit(cond_op, [choice, *_outside(outer, captured)], {"then": graphs[0], "otherwise": graphs[1]}, specs)
    _assign(outer, variables, found[len(results[0]) :])
    return _nested(returned[0], found[: len(results[0])])


def scan(f: Callable[[Any, Any], Any], init: Any, xs: Any = None, length: int | None = None, reverse: bool = False) -> Any:
    """A loop that carries a state and stacks what each round gives: ``carry, y = f(carry, x)`` for each ``x`` along the first axis of ``xs``.

    Parameters: ``init`` a nest of tensors, which ``f`` returns with the same structure, shapes and dtypes; ``xs`` a nest of tensors of shape
    (length, …), or None, then ``f`` gets None and ``length`` says how many rounds; ``reverse`` begins with the last slice (results stay at the place of
    their slice). ``f`` returns ``(carry, y)``; ``y`` is any nest of tensors, or None. Returns the last carry and the stacked ``y``. With no round at all the
    carry is ``init``. Semantics of ``jax.lax.scan``.

    Random numbers (dropout's masks among them) are other ones in each round. Variables that ``f`` assigns are carried from round to round. Gradients run the loop backwards, each round
    computed again from the carry that it began with.

    Raises ``ShapeError`` where the carry changes its shape or dtype or the lengths differ, ``TraceError`` where ``f`` does not return a pair.

    >>> import numpy as np
    >>> import unimodel as um
    >>> um.run(lambda x: um.ops.scan(lambda total, v: (total + v, total * v), 0.0, x), np.array([1.0, 2.0, 3.0]))
    (array(6.), array([0., 2., 9.]))
    """
    outer = current_trace()
    if outer is None:
        return _now(lambda init, xs: scan(f, init, xs, length, reverse), init, xs)
    start = _tensors(outer, init)
    stacked = _tensors(outer, xs)
    rounds = _length(stacked, length)
    given = [TensorSpec(t.shape[1:], t.dtype) for t in stacked]
    body = _Loop(outer, rounds)
    with recording(body):
        carry, slices = body.arguments(start), [body.argument(s) for s in given]
        returned = f(_nested(init, carry), _nested(xs, slices))
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise TraceError(
                "scan: f returns a pair.",
                expected="(carry, y); y may be None",
                given=type(returned).__name__ + (f" of {len(returned)}" if isinstance(returned, tuple) else ""),
                remedy="return carry, None where nothing is to be stacked",
            )
        carried, results = body.carried("scan", "f", init, start, returned[0]), _tensors(body, returned[1])
    variables = list(body.written)
    captured = _captured([body])
    begin = [*start, *(body.entered[v][0] for v in variables)]
    arguments = [*(t.value for t in carry), *(body.entered[v][1].value for v in variables), *(t.value for t in slices), *(own.value for _, own in body.drawn)]
    graph = body.graph(arguments, captured, [*carried, *(body.written[v] for v in variables), *results])
    attrs = {"body": graph, "carries": len(begin), "xs": len(stacked) + len(body.drawn), "length": rounds, "reverse": bool(reverse)}
    specs = tuple(t.spec for t in begin) + tuple(TensorSpec((rounds, *t.shape), t.dtype) for t in results)
    inputs = [*begin, *stacked, *(stack for stack, _ in body.drawn), *_outside(outer, captured)]
    found = outer.emit(scan_op, inputs, attrs, specs)
    _assign(outer, variables, found[len(start) : len(begin)])
    return _nested(init, found[: len(start)]), _nested(returned[1], found[len(begin) :])


def while_loop(cond_fn: Callable[[Any], Any], body_fn: Callable[[Any], Any], init: Any) -> Any:
    """A loop as long as ``cond_fn(state)`` holds: ``state = body_fn(state)``, from ``init`` on; returns the last state.

    Parameters: ``init`` a nest of tensors, which ``body_fn`` returns with the same structure, shapes and dtypes; ``cond_fn`` gives one boolean. Semantics of
    ``jax.lax.while_loop``. It has no gradient, because how many rounds to walk back is not known: use ``um.ops.scan`` where one is needed.

    Raises ``ShapeError`` where the state changes its shape or dtype.

    >>> import numpy as np
    >>> import unimodel as um
    >>> um.run(lambda n: um.ops.while_loop(lambda s: s < 100, lambda s: s * 2, n), np.array(3))
    array(192)
    """
    outer = current_trace()
    if outer is None:
        return _now(lambda init: while_loop(cond_fn, body_fn, init), init)
    start = _tensors(outer, init)
    body = _Loop(outer, None)
    with recording(body):
        state = body.arguments(start)
        carried = body.carried("while_loop", "body_fn", init, start, body_fn(_nested(init, state)))
    variables = list(body.written)
    condition = _Loop(outer, None)
    with recording(condition):
        asked = condition.arguments(start)
        answer = condition.as_tensor(cond_fn(_nested(init, asked)))
    if answer.shape != () or answer.dtype != "bool":
        raise ShapeError("while_loop: cond_fn gives one boolean.", expected="bool ()", given=str(answer.spec), remedy="compare, or reduce with um.ops.any")
    if condition.written:
        raise TraceError("while_loop: cond_fn only asks.", expected="no assignment", given="an assignment to a variable", remedy="assign in body_fn")
    captured = _captured([body, condition], without=variables)
    arguments = [*(t.value for t in state), *(body.entered[v][1].value for v in variables)]
    asking = [*(t.value for t in asked), *(condition.entered[v][1].value if v in condition.entered else Value(body.entered[v][0].spec) for v in variables)]
    attrs = {
        "condition": condition.graph(asking, captured, [answer]),
        "body": body.graph(arguments, captured, [*carried, *(body.written[v] for v in variables)]),
        "carries": len(arguments),
    }
    begin = [*start, *(body.entered[v][0] for v in variables)]
    found = outer.emit(while_loop_op, [*begin, *_outside(outer, captured)], attrs, tuple(t.spec for t in begin))
    _assign(outer, variables, found[len(start) :])
    return _nested(init, found[: len(start)])


def checkpoint(fn: Callable[..., Any], *args: Any) -> Any:
    """``fn(*args)``, of which nothing but the inputs is remembered for the gradient: there it runs again, with the same random numbers.

    It trades time for memory (Chen et al. 2016, "Training deep nets with sublinear memory cost"); the numbers are the same. How much memory that saves is
    the backend's matter: PyTorch's computes again, others may keep what they have. Named after ``torch.utils.checkpoint.checkpoint``.

    >>> import numpy as np
    >>> import unimodel as um
    >>> um.run(lambda x: um.value_and_grad(lambda: um.ops.sum(um.ops.checkpoint(um.ops.exp, x)), wrt=x)[1], np.zeros(2))
    array([1., 1.])
    """
    outer = current_trace()
    if outer is None:
        return fn(*args)
    with recording(_Body(outer, once=True)) as body:
        returned = fn(*args)
        results = _tensors(body, returned)
    variables = list(body.written)
    captured = _captured([body])
    graph = body.graph([], captured, [*results, *(body.written[v] for v in variables)])
    found = outer.emit(checkpoint_op, _outside(outer, captured), {"body": graph}, tuple(v.spec for v in graph.outputs))
    _assign(outer, variables, found[len(results) :])
    return _nested(returned, found[: len(results)])


# ------------------------------------------------------------------------------------------------------------ tracing a body


class _Body(Trace):
    """The trace of a body that runs where it stands: everything it uses is captured."""

    def __init__(self, outer: Trace, once: bool = False) -> None:
        super().__init__(outer.root, outer)
        self.conditional = outer.conditional or not once
        self.entered: dict[Variable, tuple[Tensor, Tensor]] = {}
        """Variables that enter by themselves: outside, inside."""

    def results(self, returned: Any, like: Any) -> list[Tensor]:
        """The leaves as tensors; a Python number takes the dtype of its counterpart."""
        with recording(self):
            pairs = zip(nest.leaves(returned), nest.leaves(like), strict=True)
            return [self.as_tensor(leaf, _dtype_for(leaf, other)) for leaf, other in pairs if leaf is not None]

    def now(self, variable: Variable) -> Tensor:
        with recording(self):
            return self.read(variable)

    def uses(self) -> list[Value | Variable]:
        """What it captures: values around it, and variables that entered and stay as they are."""
        return [*self.captured, *(v for v in self.entered if v not in self.written)]

    def graph(self, arguments: Sequence[Value], captured: Sequence[Value | Variable], outputs: Sequence[Tensor]) -> Graph:
        """The body as a graph: its own arguments, then what is captured, with a place also for what only another body uses."""
        inside = []
        for key in captured:
            own = self.captured.get(key) if isinstance(key, Value) else self.entered[key][1] if key in self.entered else None
            inside.append(own.value if own is not None else Value(key.spec))
        values = [t.value for t in outputs]
        inputs = tuple(Input("batch", f"x{i}", v) for i, v in enumerate((*arguments, *inside)))
        return Graph(inputs, live_nodes(self.nodes, values), tuple(values))


class _Loop(_Body):
    """The trace of a loop's round. Variables enter it each as a value of its own, because one that is assigned is another in the next round."""

    def __init__(self, outer: Trace, rounds: Size | None) -> None:
        super().__init__(outer)
        self.rounds = rounds
        self.drawn: list[tuple[Tensor, Tensor]] = []
        """Random numbers: stacked outside, of one round inside."""

    def argument(self, spec: TensorSpec) -> Tensor:
        return Tensor(self, Value(spec))

    def arguments(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [self.argument(t.spec) for t in tensors]

    def read(self, variable: Variable) -> Tensor:
        if variable not in self.current:
            assert self.parent is not None, "a loop stands in a trace"
            outer = self.parent.read(variable)
            self.current[variable] = own = self.argument(outer.spec)
            self.entered[variable] = outer, own
        return self.current[variable]

    def draw(self, kind: str, shape: tuple[Size, ...], dtype: str, parameter: float = 0.0, key: str | None = None) -> Tensor:
        """Other numbers in each round: the host draws them stacked."""
        if self.rounds is None:
            raise TraceError(
                "while_loop: random numbers are drawn before the loop, and how many it needs is not known.",
                remedy="use um.ops.scan, or draw them outside of the loop",
            )
        assert self.parent is not None, "a loop stands in a trace"
        stack = self.parent.draw(kind, (self.rounds, *shape), dtype, parameter, key)
        own = self.argument(TensorSpec(tuple(shape), dtype))
        self.drawn.append((stack, own))
        return own

    def carried(self, loop: str, function: str, init: Any, start: Sequence[Tensor], returned: Any) -> list[Tensor]:
        """What a round returns as the next state, which must be like the one that it got."""
        _same_structure(loop, f"{function} returns a state unlike init", init, returned)
        found = self.results(returned, _nested(init, start))
        for place, (before, after) in enumerate(zip(start, found, strict=True)):
            if before.spec != after.spec:
                raise ShapeError(
                    f"{loop}: the state changes from round to round{_place(init, place)}.",
                    expected=f"{before.spec}, as in init",
                    given=f"{after.spec} from {function}",
                    remedy="begin with a tensor of the shape and dtype that it will have (um.ops.zeros), or return it as it came (um.ops.astype, reshape)",
                )
        return found


def _dtype_for(leaf: Any, other: Any) -> str | None:
    """The dtype in which a Python number meets its counterpart; a number of a higher kind keeps its own, and is then refused."""
    if not isinstance(leaf, (bool, int, float)) or not isinstance(other, TensorLike):
        return None
    kind = 0 if isinstance(leaf, bool) else 1 if isinstance(leaf, int) else 2
    return other.dtype if kind <= (2 if other.dtype in FLOATS else 1 if other.dtype in INTEGERS else 0) else None


def _captured(bodies: Sequence[_Body], without: Sequence[Variable] = ()) -> list[Value | Variable]:
    """What bodies use of what is around them."""
    carried = set(without)
    return [key for key in dict.fromkeys(k for b in bodies for k in b.uses()) if key not in carried]


def _outside(outer: Trace, captured: Sequence[Value | Variable]) -> list[Tensor]:
    return [Tensor(outer, key) if isinstance(key, Value) else outer.read(key) for key in captured]


def _assign(outer: Trace, variables: Sequence[Variable], values: Sequence[Tensor]) -> None:
    for variable, value in zip(variables, values, strict=True):
        outer.current[variable] = outer.written[variable] = value


# --------------------------------------------------------------------------------------------------------------------- nests


def _tensors(trace: Trace, given: Any) -> list[Tensor]:
    """A nest's leaves as tensors; None is no leaf."""
    return [trace.as_tensor(leaf) for leaf in nest.leaves(given) if leaf is not None]


def _nested(pattern: Any, tensors: Sequence[Any]) -> Any:
    rest = iter(tensors)
    return nest.map_leaves(lambda leaf: None if leaf is None else next(rest), pattern)


def _same_structure(loop: str, what: str, first: Any, second: Any) -> None:
    paths = [[(path, leaf is None) for path, leaf in nest.paths(given)] for given in (first, second)]
    if paths[0] != paths[1]:
        raise ShapeError(
            f"{loop}: {what}.",
            expected=_shape_of(first),
            given=_shape_of(second),
            remedy="return the same nest of tuples, lists and dicts, with the same keys in the same order",
        )


def _shape_of(given: Any) -> str:
    if isinstance(given, dict):
        return "{" + ", ".join(f"{k!r}: {_shape_of(v)}" for k, v in given.items()) + "}"
    if isinstance(given, (tuple, list)):
        inner = ", ".join(map(_shape_of, given))
        return f"[{inner}]" if isinstance(given, list) else f"({inner}{',' if len(given) == 1 else ''})"
    return "None" if given is None else "a tensor"


def _place(pattern: Any, place: int) -> str:
    path = [path for path, leaf in nest.paths(pattern) if leaf is not None][place]
    return f" at {path}" if path else ""


def _length(stacked: Sequence[Tensor], length: int | None) -> Size:
    sizes: list[Size] = []
    for tensor in stacked:
        if not tensor.shape:
            raise ShapeError(
                "scan: xs are stacked along their first axis.", expected="at least one dimension", given=str(tensor.spec), remedy="capture it instead"
            )
        sizes.append(tensor.shape[0])
    if length is not None:
        sizes.insert(0, length)
    if not sizes:
        raise ShapeError("scan: there is nothing that says how many rounds.", expected="xs, or length", given="neither", remedy="pass length=")
    for size in sizes[1:]:
        if not sizes_agree(sizes[0], size):
            raise ShapeError(
                "scan: the lengths differ.",
                expected=f"{sizes[0]} slices" + ("" if length is None else ", as length says"),
                given=" and ".join(str(t.spec) for t in stacked),
                remedy="cut xs to one length",
            )
    return sizes[0]


def _now(function: Callable[..., Any], *arguments: Any) -> Any:
    """Outside of a trace: compute at once on arrays, as every op does."""
    from unimodel.eager import run

    patterns = []

    def flat(*tensors: Any) -> list[Any]:
        result = function(*_nested(arguments, tensors))
        patterns.append(nest.map_leaves(lambda leaf: None if leaf is None else True, result))
        return [leaf for leaf in nest.leaves(result) if leaf is not None]

    found = run(flat, *(leaf for leaf in nest.leaves(arguments) if leaf is not None))
    return _nested(patterns[-1], found)

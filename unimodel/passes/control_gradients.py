"""Gradients of nodes that hold bodies: each becomes a node of the same kind whose bodies are gradients of the bodies.

A branch's gradient is a branch: the one that was taken runs again and is walked backwards. A scan's is a scan in the other direction: the forward one also
keeps the carries that each round began with, and each round of the backward one runs that round again and walks it backwards. So what is
remembered of a loop is its carries, not everything inside. A checkpoint's gradient runs its body again in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from unimodel.errors import UnsupportedError
from unimodel.graph import Graph, Node, TensorSpec, Value
from unimodel.op import checkpoint_op, cond_op, scan_op
from unimodel.ops import broadcast_to
from unimodel.passes.differentiate import Tape
from unimodel.passes.rewrite import Rewriter, build
from unimodel.regions import bodies, body_inputs, loop_activity
from unimodel.tracing import Tensor

Backward = Callable[[list[Tensor | None]], Sequence[Any]]


def recorded(rewriter: Rewriter, node: Node, inputs: list[Tensor | None], active: set[Value]) -> tuple[Sequence[Tensor], Backward]:
    """The node emitted, so that it can be walked back: its results, and the function from their gradients to those of its inputs."""
    places = {i for i, v in enumerate(body_inputs(node)) if v in active and v is not None and v.spec.is_float}
    if node.op is scan_op:
        return _scan(rewriter, node, inputs, loop_activity(node, places)[0])
    results = rewriter.keep(node, inputs)
    if node.op is cond_op or node.op is checkpoint_op:
        return results, _once(rewriter, node, inputs, sorted(places))

    def refuse(incoming: list[Tensor | None]) -> Sequence[Any]:
        raise UnsupportedError(
            f"{node.op.name} has no gradient: how many rounds to walk back is not known.",
            given=repr(node),
            remedy="use um.ops.scan with a fixed length, and um.ops.where or um.ops.cond inside for what ends early; or stop_gradient where none is wanted",
            source=node.source,
        )

    return results, refuse


def _once(rewriter: Rewriter, node: Node, inputs: list[Tensor | None], wrt: list[int]) -> Backward:
    """A branch, or a checkpoint: with the gradients of the results as further inputs, each body gives those of its inputs."""
    lead = len(inputs) - len(body_inputs(node))
    given = [t for t in inputs[lead:] if t is not None]

    def backward(incoming: list[Tensor | None]) -> Sequence[Any]:
        seeds = [t for t in incoming if t is not None]
        specs = [t.spec for t in (*given, *seeds)]

        def gradient_of(body: Graph) -> Graph:
            def emit(inner: Rewriter, tensors: list[Tensor]) -> Sequence[Tensor]:
                tape = Tape(inner, body, tensors[: len(given)], wrt)
                gradients = tape.pull(_placed(incoming, tensors[len(given) :]))
                return [tape.dense(i, gradients) for i in wrt]

            return build(specs, rewriter.float_dtype, emit)

        attrs = {**node.attrs, **{name: gradient_of(body) for name, body in bodies(node).items()}}
        results = rewriter.trace.emit(node.op, [*inputs[:lead], *given, *seeds], attrs, tuple(given[i].spec for i in wrt))
        answers: list[Any] = [None] * len(inputs)
        for i, result in zip(wrt, results, strict=True):
            answers[lead + i] = result
        return answers

    return backward


def _scan(rewriter: Rewriter, node: Node, inputs: list[Tensor | None], active: set[int]) -> tuple[Sequence[Tensor], Backward]:
    body, carries, stacked, length = node.attrs["body"], node.attrs["carries"], node.attrs["xs"], node.attrs["length"]
    given = [t for t in inputs if t is not None]
    remembering = Graph(body.inputs, body.nodes, (*body.outputs, *(e.value for e in body.inputs[:carries])))
    specs = [v.spec for v in node.outputs] + [_stack(e.spec, length) for e in body.inputs[:carries]]
    emitted = rewriter.trace.emit(node.op, given, {**node.attrs, "body": remembering}, tuple(specs))
    results, begun = emitted[: len(node.outputs)], emitted[len(node.outputs) :]
    of_carry = [i for i in range(carries) if i in active]
    of_stack = [i for i in range(carries, carries + stacked) if i in active]
    of_capture = [i for i in range(carries + stacked, len(given)) if i in active]

    def backward(incoming: list[Tensor | None]) -> Sequence[Any]:
        def zeros(spec: TensorSpec) -> Tensor:
            return broadcast_to(rewriter.trace.constant(0.0, spec.dtype), spec.shape)

        starts = [incoming[i] for i in of_carry]
        loop = [zeros(given[i].spec) if t is None else t for i, t in zip(of_carry, starts, strict=True)] + [zeros(given[i].spec) for i in of_capture]
        slices = incoming[carries:]
        through = [*begun, *given[carries : carries + stacked], *(t for t in slices if t is not None)]
        captured = given[carries + stacked :]

        def emit(inner: Rewriter, tensors: list[Tensor]) -> Sequence[Tensor]:
            sums, rest = tensors[: len(loop)], tensors[len(loop) :]
            round_inputs = [*rest[: carries + stacked], *rest[len(through) :]]
            tape = Tape(inner, body, round_inputs, sorted(active))
            seeds: list[Tensor | None] = [None] * carries
            for i, total in zip(of_carry, sums, strict=False):
                seeds[i] = total
            gradients = tape.pull([*seeds, *_placed(slices, rest[carries + stacked : len(through)])])
            totals = [total if i not in gradients else total + tape.dense(i, gradients) for i, total in zip(of_capture, sums[len(of_carry) :], strict=True)]
            return [*(tape.dense(i, gradients) for i in of_carry), *totals, *(tape.dense(i, gradients) for i in of_stack)]

        specs = [*(t.spec for t in loop), *(t.spec.with_shape(*t.shape[1:]) for t in through), *(t.spec for t in captured)]
        attrs = {
            "body": build(specs, rewriter.float_dtype, emit),
            "carries": len(loop),
            "xs": len(through),
            "length": length,
            "reverse": not node.attrs["reverse"],
        }
        found = rewriter.trace.emit(node.op, [*loop, *through, *captured], attrs, tuple(given[i].spec for i in (*of_carry, *of_capture, *of_stack)))
        answers: list[Any] = [None] * len(inputs)
        for i, result in zip((*of_carry, *of_capture, *of_stack), found, strict=True):
            answers[i] = result
        return answers

    return results, backward


def _stack(spec: TensorSpec, length: Any) -> TensorSpec:
    return spec.with_shape(length, *spec.shape)


def _placed(pattern: Sequence[Tensor | None], tensors: Sequence[Tensor]) -> list[Tensor | None]:
    """The tensors in order where the pattern has some, None elsewhere."""
    rest = iter(tensors)
    return [None if t is None else next(rest) for t in pattern]

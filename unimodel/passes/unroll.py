"""A graph without control flow that gives the same results, for programs of frameworks that have none (native artifacts).

A scan of known length is written out round by round, a branch becomes both sides and a choice between their results. A loop whose rounds are counted while it
runs cannot be written out.
"""

from __future__ import annotations

from collections.abc import Sequence

from unimodel.errors import UnsupportedError
from unimodel.graph import Graph, Node
from unimodel.op import cond_op, scan_op, while_loop_op
from unimodel.ops import broadcast_to, concat, expand_dims, where
from unimodel.passes.differentiate import differentiate
from unimodel.passes.rewrite import Rewriter, rewrite
from unimodel.regions import has_control_flow
from unimodel.tracing import Tensor


def unroll(graph: Graph) -> Graph:
    """Raises ``UnsupportedError`` for loops whose length is not known while compiling."""

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        given = [t for t in inputs if t is not None]
        if node.op is cond_op:
            sides = [rewriter.inline(node.attrs[name], given[1:]) for name in ("then", "otherwise")]
            return [where(given[0], one, other) for one, other in zip(*sides, strict=True)]
        if node.op is scan_op:
            return _rounds(rewriter, node, given)
        if node.op is while_loop_op:
            raise _refusal(node, "how many rounds a while_loop makes")
        return None

    return rewrite(differentiate(graph), visit) if has_control_flow(graph) else graph


def _rounds(rewriter: Rewriter, node: Node, given: list[Tensor]) -> list[Tensor]:
    attrs, length = node.attrs, node.attrs["length"]
    if not isinstance(length, int):
        raise _refusal(node, f"the length {length} of a scan")
    carries, split = attrs["carries"], attrs["carries"] + attrs["xs"]
    state: Sequence[Tensor] = given[:carries]
    slices: list[Sequence[Tensor]] = [()] * length
    for i in reversed(range(length)) if attrs["reverse"] else range(length):
        results = rewriter.inline(attrs["body"], [*state, *(x[i] for x in given[carries:split]), *given[split:]])
        state, slices[i] = results[:carries], results[carries:]
    stacks = []
    for place, value in enumerate(node.outputs[carries:]):
        zeros = rewriter.trace.constant(0, value.spec.dtype)
        stacks.append(concat([expand_dims(s[place], 0) for s in slices], axis=0) if length else broadcast_to(zeros, value.spec.shape))
    return [*state, *stacks]


def _refusal(node: Node, what: str) -> UnsupportedError:
    return UnsupportedError(
        f"{what} is not known while compiling, and this program has no control flow.",
        given=repr(node),
        remedy="give the scan a fixed length, or use the trainer, which runs loops of any length",
        source=node.source,
    )

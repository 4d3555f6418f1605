"""Slices that take a tensor apart are one ``split_sizes``.

Queries, keys and values, a recurrent layer's gates, the steps of a sequence: the gradient of each slice is as large as the whole, zeros mostly, and all of these are
added up; that of the split is one ``concat``. Runs before differentiation.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from unimodel.graph import Graph, Node, Value
from unimodel.ops import split_sizes
from unimodel.passes.rewrite import Rewriter, rewrite
from unimodel.regions import bodies, every_node, with_bodies
from unimodel.tracing import Tensor


class Piece(NamedTuple):
    """What a slice takes, where it takes a part of one axis and all of the others."""

    value: Value
    axis: int
    start: int
    stop: int


def take_apart(graph: Graph) -> Graph:
    """The same graph with slices joined where they fill an axis, inside bodies too."""
    if not any(n.op.name == "slice" for n in every_node(graph)):
        return graph
    found: dict[Node, Piece] = {n: piece for n in graph.nodes if n.op.name == "slice" and (piece := _piece(n)) is not None}
    places: dict[tuple[Value, int], set[tuple[int, int]]] = defaultdict(set)
    for value, axis, start, stop in found.values():
        places[value, axis].add((start, stop))
    fills = {place: sorted(bounds) for place, bounds in places.items() if _fill(sorted(bounds), place[0].spec.shape[place[1]])}
    made: dict[tuple[Value, int], Sequence[Tensor]] = {}

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor | None] | None:
        if bodies(node):
            return rewriter.keep(node, inputs, with_bodies(node, take_apart))
        piece = found.get(node)
        if piece is None or piece[:2] not in fills:
            return None
        place, (x,) = piece[:2], inputs
        bounds = fills[place]
        if place not in made:
            made[place] = split_sizes(x, tuple(b - a for a, b in bounds), piece.axis)
        return (made[place][bounds.index((piece.start, piece.stop))],)

    return rewrite(graph, visit)


def _piece(node: Node) -> Piece | None:
    value = node.inputs[0]
    assert value is not None, "slice has one input"
    bounds = list(zip(*(node.attrs[k] for k in ("start", "stop", "step")), strict=True))
    parts = [i for i, (bound, size) in enumerate(zip(bounds, value.spec.shape, strict=True)) if bound != (0, size, 1)]
    if len(parts) != 1:
        return None
    (axis,) = parts
    start, stop, step = bounds[axis]
    return Piece(value, axis, start, stop) if step == 1 and isinstance(start, int) and isinstance(stop, int) and start < stop else None


def _fill(bounds: Sequence[tuple[int, int]], size: object) -> bool:
    """Whether these, in order, lie one beside the other from the axis's beginning to its end."""
    ends = [0, *itertools.chain.from_iterable(bounds), size]
    return all(a == b for a, b in zip(ends[::2], ends[1::2], strict=True))

"""The smallest input that still shows a fault: fewest samples first, then the smallest slice along every other axis.

Whatever is tried is run on both sides again, so that how candidates are made needs to be no more than plausible: an op that does not take a smaller input
refuses it while its shapes are inferred, and indices that would lie outside are never run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from unimodel.data.bounds import index_bounds
from unimodel.diff.judge import Finding, Judge
from unimodel.diff.piece import Piece, with_gradient
from unimodel.dim import Dim
from unimodel.errors import UnimodelError
from unimodel.graph import Array, Graph, Input, Node, TensorSpec, Value
from unimodel.op import regions

_MOST_TRIES = 400

Axis = tuple[str, int]
"""An input's name and one of its axes."""


def smallest(finding: Finding, judge: Judge) -> Finding:
    """The same finding on the smallest input that was found."""
    return Search(judge, finding).run()


class Search:
    def __init__(self, judge: Judge, finding: Finding) -> None:
        self.judge = judge
        self.best = finding
        self.tries = 0

    def run(self) -> Finding:
        if self.best.failure is not None:
            return self.best
        samples = self._sample_rows()
        if samples is not None:
            self._fewest(*samples)
        if len([n for n in self.best.piece.graph.nodes if n.op.name != "constant"]) == 1 and self.best.piece.node.op.name not in regions:
            for axes in self._groups():
                count = self.best.piece.arrays[axes[0][0]].shape[axes[0][1]]
                self._fewest(count, partial(sliced, self.best.piece, axes))
        return self.best

    def _sample_rows(self) -> tuple[int, Callable[[Sequence[int]], Piece | None]] | None:
        """How many samples there are, and the piece with some of them only."""
        place = self.best.place
        if place is None or len(place.sizes) != 1:
            return None
        ((symbol, count),) = place.sizes.items()
        dims = {s for v in place.node.inputs if v is not None for s in v.spec.shape if isinstance(s, Dim)}
        if not dims or any(not isinstance(d.substitute({symbol: 1}), int) for d in dims):
            return None

        def with_rows(rows: Sequence[int]) -> Piece | None:
            assert place is not None, "checked above"
            values = {v: _rows_of(place.values[v], v.spec, symbol, rows) for v in place.node.inputs if v is not None and v in place.values}
            piece = place.whole.cut([place.node], values, {symbol: len(rows)}).piece
            return with_gradient(piece) if self.best.native else piece

        return count, with_rows

    def _groups(self) -> list[list[Axis]]:
        """Axes that are likely to be cut together: all of one size, then each alone."""
        axes = [(name, i) for name, a in self.best.piece.arrays.items() for i in range(a.ndim)]
        size = {(name, i): self.best.piece.arrays[name].shape[i] for name, i in axes}
        together = [[a for a in axes if size[a] == n] for n in sorted(set(size.values()), reverse=True) if n > 1]
        return together + [[a] for a in axes if size[a] > 1]

    def _fewest(self, count: int, make: Callable[[Sequence[int]], Piece | None]) -> None:
        """Keep ever fewer of ``count`` indices for as long as the sides part: halves, then quarters, and so on."""
        kept = list(range(count))
        chunk = (count + 1) // 2
        while len(kept) > 1 and chunk >= 1:
            parts = [kept[i : i + chunk] for i in range(0, len(kept), chunk)]
            candidates = [*parts, *([i for i in kept if i not in part] for part in parts if len(parts) > 2)]
            for rows in candidates:
                found = self._try(make, rows)
                if self.tries > _MOST_TRIES:
                    return
                if found is not None:
                    self.best, kept = found, list(rows)
                    chunk = max(1, min(chunk, (len(kept) + 1) // 2))
                    break
            else:
                if chunk == 1:
                    return
                chunk = (chunk + 1) // 2

    def _try(self, make: Callable[[Sequence[int]], Piece | None], rows: Sequence[int]) -> Finding | None:
        self.tries += 1
        try:
            piece = make(rows)
            if piece is None:
                return None
            for name, bound in index_bounds(piece.graph).items():
                bound.check(piece.arrays[name], name)
        except (UnimodelError, ValueError, IndexError, TypeError, KeyError):
            return None
        found = self.judge.parts(piece, self.best.label, self.best.ways)
        if found is None or (math.isinf(found.apart.error) and math.isfinite(self.best.apart.error)):
            return None  # numbers that are not finite would hide what was wrong with those that were
        return replace(found, place=self.best.place, native=self.best.native)


def _rows_of(array: Array, spec: TensorSpec, symbol: str, rows: Sequence[int]) -> Array:
    """Some samples of an array, wherever its shape tells of them; ``3*N`` is taken as three for each."""
    for axis, size in enumerate(spec.shape):
        if isinstance(size, Dim):
            each = size.substitute({symbol: 1})
            assert isinstance(each, int), "checked before"
            array = np.take(array, [r * each + k for r in rows for k in range(each)], axis)
    return array


def sliced(piece: Piece, axes: Sequence[Axis], rows: Sequence[int]) -> Piece | None:
    """A piece of one op with only some indices along these axes of its inputs."""
    arrays = dict(piece.arrays)
    for name, axis in axes:
        if len(rows) and max(rows) >= arrays[name].shape[axis]:
            return None
        arrays[name] = np.take(arrays[name], list(rows), axis)
    graph = reshaped(piece.graph, arrays, piece.float_dtype)
    return Piece(graph, arrays, piece.scalars, piece.differentiation)


def reshaped(graph: Graph, arrays: Mapping[str, Array], float_dtype: str) -> Graph:
    """The graph for inputs of these shapes; raises ``ShapeError`` where an op does not take them."""
    new = {e.value: Value(e.spec if e.kind == "scalar" else TensorSpec(tuple(arrays[e.name].shape), e.spec.dtype)) for e in graph.inputs}
    inputs = {e: Input(e.kind, e.name, new[e.value]) for e in graph.inputs}
    nodes = []
    for node in graph.nodes:
        given = tuple(None if v is None else new[v] for v in node.inputs)
        specs = node.op.infer([None if v is None else v.spec for v in given], dict(node.attrs), float_dtype)
        nodes.append(Node(node.op, given, node.attrs, specs, node.source))
        new.update(zip(node.outputs, nodes[-1].outputs, strict=True))
    for entry, value in graph.updates:
        if new[value].spec != new[entry.value].spec:
            raise ValueError("a state keeps its shape")
    return Graph(tuple(inputs.values()), tuple(nodes), tuple(new[v] for v in graph.outputs), tuple((inputs[e], new[v]) for e, v in graph.updates))

"""The hunt for the first NaN: which op made it, from which numbers.

The step in which a number goes bad runs op by op on one backend. From a bad result the trail leads back, through ops that were given NaN already, to the
one that made NaN of numbers that were not; if some of these are infinite, the trail of the infinity is followed too. An infinity that reaches no result (a
mask's, say) is on no trail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from unimodel.diff.anatomy import dissect
from unimodel.diff.piece import Piece, Whole, known, opened
from unimodel.diff.side import Side
from unimodel.errors import Source
from unimodel.graph import Array, Graph, Node, Value

Bad = Callable[[Array], bool]


def has_nan(array: Array) -> bool:
    return array.dtype.kind == "f" and bool(np.isnan(array).any())


def not_finite(array: Array) -> bool:
    return array.dtype.kind == "f" and not bool(np.isfinite(array).all())


@dataclass(frozen=True, eq=False)
class Origin:
    """The op that made it, with what it was given; or an input of the step that was bad already (``entered``)."""

    what: str
    """NaN or infinity."""
    phase: str
    path: tuple[str, ...]
    """The op, inside of what, outermost first."""
    source: Source | None
    piece: Piece
    results: tuple[Array, ...]
    entered: str = ""


@dataclass
class Hunt:
    results: list[str] = field(default_factory=list)
    """What of the step went bad: outputs and states."""
    origins: list[Origin] = field(default_factory=list)
    """In the order of the step: where NaN, and infinities that led to it or to a result, were made."""
    alone: bool = True
    """False where the ops one by one are all finite, and only the step as a whole is not."""


def hunt(side: Side, step: Piece) -> Hunt:
    """Where the step's NaN or infinity came from; raises ``Failure`` where the backend does not run it."""
    found = Hunt()
    results = side.run(step)
    found.results = [label for label, a in zip(step.labels, results, strict=True) if not_finite(a)]
    anatomy = dissect(step.graph)
    whole = Whole(anatomy.graph)
    values, pieces = walk(side, whole, whole.values_of(step), step.sizes)
    order = {v: i for i, node in enumerate(anatomy.graph.nodes) for v in node.outputs}
    ends = [*anatomy.graph.outputs, *(v for _, v in anatomy.graph.updates)]
    tests: tuple[Bad, ...] = (has_nan, not_finite)
    starts = [next(((v, test) for v in ends if test(values[v])), None) for test in tests]
    origins: dict[Value, Bad] = {}
    for start in starts:
        while start is not None:
            bad, test = start
            end = trail(bad, values, test)
            if end in origins:
                break
            origins[end] = test
            # NaN of numbers that were infinite: where are these from?
            infinite = [v for v in (end.producer.inputs if end.producer is not None else ()) if v is not None and not_finite(values[v])]
            start = (infinite[0], not_finite) if infinite and test is has_nan else None
    for end, test in sorted(origins.items(), key=lambda item: order.get(item[0], -1)):
        found.origins.append(_origin(side, whole, end, anatomy.phases, values, pieces, test))
    found.alone = bool(found.origins) or not found.results
    return found


def _origin(side: Side, whole: Whole, end: Value, phases: Mapping[Node, str], values: Mapping[Value, Array], pieces: Mapping[Node, Piece], test: Bad) -> Origin:
    what = "NaN" if has_nan(values[end]) else "infinity"
    producer = end.producer
    if producer is None:
        entry = whole.entries[end]
        return Origin(what, "data", (), None, Piece(Graph((), (), ()), {entry.name: values[end]}), (values[end],), f"{entry.kind} {entry.name}")
    path, piece, results, source = _innermost(side, pieces[producer], tuple(values[v] for v in producer.outputs), test)
    return Origin(what, phases[producer], path, source, piece, results)


def walk(side: Side, whole: Whole, values: dict[Value, Array], sizes: Mapping[str, int]) -> tuple[dict[Value, Array], dict[Node, Piece]]:
    """Every op on one backend, each on the results of those before it."""
    pieces: dict[Node, Piece] = {}
    for node in whole.graph.nodes:
        cut = whole.cut([node], values, sizes)
        pieces[node] = cut.piece
        constant = known(node)
        values.update(zip(cut.made, side.run(cut.piece) if constant is None else [constant], strict=True))
    return values, pieces


def trail(end: Value, values: Mapping[Value, Array], bad: Bad) -> Value:
    """Back through ops that were given something bad, to a value that was made bad from good ones."""
    while end.producer is not None:
        before = next((v for v in end.producer.inputs if v is not None and bad(values[v])), None)
        if before is None:
            return end
        end = before
    return end


def _innermost(side: Side, piece: Piece, results: tuple[Array, ...], bad: Bad) -> tuple[tuple[str, ...], Piece, tuple[Array, ...], Source | None]:
    """The op inside a composite that made it, where its body makes it too."""
    path, source = [piece.node.op.name], piece.node.source
    while True:
        body = opened(piece)
        if body is None:
            break
        whole = Whole(body.graph)
        values, pieces = walk(side, whole, whole.values_of(body), {})
        ends = [v for v in (*body.graph.outputs, *(v for _, v in body.graph.updates)) if bad(values[v])]
        producer = trail(ends[0], values, bad).producer if ends else None
        if producer is None:
            break
        path.append(producer.op.name)
        piece, results, source = pieces[producer], tuple(values[v] for v in producer.outputs), producer.source or source
    return tuple(path), piece, results, source

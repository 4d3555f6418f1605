"""What a file holds, run again: on the backends it was found on, or on any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unimodel.diff.judge import Judge, Label
from unimodel.diff.measure import apart
from unimodel.diff.piece import Piece
from unimodel.diff.report import statistics_of
from unimodel.diff.side import Side
from unimodel.graph import Array


def run_again(piece: Piece, found: Mapping[str, Any], kept: Mapping[str, Sequence[Array]], sides: Sequence[Side]) -> dict[str, Any]:
    """Results on each side, how far two sides are apart, and how far each is from what the file keeps of it; raises ``Failure``."""
    results, answer = [], {}
    ways = found.get("ways", {})
    for side in sides:
        side.start()
        results.append(side.run(piece, ways.get(side.name)))
        answer[side.name] = {
            "version": side.version,
            "results": statistics_of(piece, results[-1]),
            "from_kept": max((apart(a, b).error for a, b in zip(results[-1], kept[side.name], strict=True)), default=0.0) if side.name in kept else None,
        }
    found_again: dict[str, Any] = {"backends": answer, "parted": False, "differences": {}}
    if len(sides) == 2:
        whole = found.get("phase") == "step"
        label = Label(str(found.get("phase")), str(found.get("op")), None, "step" if whole else "op")
        judge = Judge(sides[0], sides[1])
        found_again["parted"] = judge.compare(piece, label, (ways.get(sides[0].name, piece.differentiation),) * 2, results[0], results[1]) is not None
        found_again["differences"] = {
            name: {"difference": apart(a, b, before).error, "tolerance": judge.tolerance(a, label)}
            for name, a, b, before in zip(piece.labels, results[0], results[1], piece.before, strict=True)
        }
    return found_again

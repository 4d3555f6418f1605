"""This run beside an earlier one: what has become slower or faster, beyond what chance and the machine explain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unimodel.bench.intervals import FEWEST, Ratio, ratio
from unimodel.bench.record import SCHEMA
from unimodel.errors import DataError

LEAST = 0.05
"""A change smaller than this is never called one: two runs of one program at different times of day are as far apart."""


@dataclass(frozen=True)
class Change:
    """A contestant now, over then. ``verdict`` is slower, faster, same, or unclear, where there are too few processes to tell."""

    key: str
    ratio: Ratio
    verdict: str


def read(path: Path) -> dict[str, Any]:
    """An earlier run's record."""
    try:
        found = json.loads(path.read_text())
        schema = found["unimodel"]["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no record of a benchmark.", expected="a file that unimodel bench --json wrote", given=str(error)) from error
    if schema != SCHEMA:
        raise DataError(f"{path} has another schema.", expected=SCHEMA, given=schema, remedy="make it again with this version")
    return dict(found)


def compare(now: Mapping[str, Any], then: Mapping[str, Any]) -> tuple[list[Change], list[str]]:
    """The changes of all contestants that both runs timed, and sentences on what makes the comparison doubtful."""
    before = {entry["key"]: entry for entry in then["unimodel"]["contestants"]}
    changes, doubts = [], []
    if now["unimodel"]["machine"]["cpu"] != then["unimodel"]["machine"]["cpu"]:
        doubts.append(f"the processors differ: {then['unimodel']['machine']['cpu']} then, {now['unimodel']['machine']['cpu']} now")
    for side, which in ((then, "then"), (now, "now")):
        doubts += [f"{which}, {sentence}" for sentence in side["unimodel"]["noise"]]
    for entry in now["unimodel"]["contestants"]:
        earlier = before.get(entry["key"])
        if earlier is None or "processes" not in entry or "processes" not in earlier:
            continue
        found = ratio(_observations(entry), _observations(earlier), paired=False)
        if found.observations < FEWEST:
            verdict = "unclear"
        elif found.differs and found.value > 1 + LEAST:
            verdict = "slower"
        elif found.differs and found.value < 1 - LEAST:
            verdict = "faster"
        else:
            verdict = "same"
        changes.append(Change(entry["key"], found, verdict))
    return changes, doubts


def _observations(entry: Mapping[str, Any]) -> list[list[float]]:
    return [process["rounds"] for process in entry["processes"]]

"""The result of a run as JSON: what was tested, on what, and what became of each test.

One file holds one backend, since a process runs one. ``unimodel_conformance.merge`` puts several side by side.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unimodel_conformance import __version__
from unimodel_conformance.states import BROKEN, FAIL, KNOWN_DEFECT, NEWER, PASS, REFUSED, STATES

SCHEMA = 1
_WORST_FIRST = (BROKEN, FAIL, KNOWN_DEFECT, REFUSED, NEWER, PASS)


@dataclass
class Record:
    """One test: its id, what it is about (kind and name), and what became of it."""

    test: str
    kind: str
    name: str
    state: str
    reason: str = ""
    seconds: float = 0.0


def summary(states: Iterable[str]) -> str:
    """The state of a group: its worst, but ``refused`` only where nothing of it passed and ``pass`` where the rest is merely refused or newer."""
    found = set(states)
    if PASS in found and found <= {PASS, REFUSED, NEWER}:
        return PASS if found == {PASS} else "partly " + (REFUSED if REFUSED in found else NEWER)
    return next((s for s in _WORST_FIRST if s in found), PASS)


def build(stamp: Mapping[str, Any], records: Iterable[Record], seconds: float, status: str = "complete") -> dict[str, Any]:
    """The matrix as a JSON object."""
    every = sorted(records, key=lambda r: r.test)  # not in the order of a run, which several processes may share
    groups: dict[str, dict[str, Any]] = {}
    for record in every:
        entry = groups.setdefault(record.kind, {}).setdefault(record.name, {"counts": {}})
        entry["counts"][record.state] = entry["counts"].get(record.state, 0) + 1
        if record.state not in (PASS, NEWER):
            entry.setdefault("reasons", [])
            if record.reason not in entry["reasons"]:
                entry["reasons"].append(record.reason)
    for group in groups.values():
        for entry in group.values():
            entry["state"] = summary(entry["counts"])
    return {
        "schema": SCHEMA,
        **stamp,
        "suite_version": __version__,
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "status": status,
        "seconds": round(seconds, 1),
        "counts": {s: sum(r.state == s for r in every) for s in STATES},
        "groups": groups,
        "tests": [{k: v for k, v in vars(r).items() if v != ""} for r in every],
    }


def broken(backend: str, cause: str, **stamp: Any) -> dict[str, Any]:
    """The matrix of a backend that could not be loaded, or that took its process down."""
    return build({"backend": backend, **stamp}, [Record("", "backend", "load", BROKEN, cause)], 0.0, status=BROKEN)


def write(path: str | Path, matrix: Mapping[str, Any]) -> None:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(matrix, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

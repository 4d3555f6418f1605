"""A run as JSON: a pyperf benchmark suite, one value a process, with the whole record beside it under ``unimodel``.

pyperf (https://pyperf.readthedocs.io) reads the file as it is: ``pyperf stats``, ``pyperf compare_to``. The schema of our part stands in docs/benchmarks.md
and is versioned by ``schema``.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from unimodel.bench.intervals import Ratio, median, ratio, spread
from unimodel.bench.session import Entry, Session, group_name

SCHEMA = 1


def record(session: Session) -> dict[str, Any]:
    """Everything that a run found out, as plain data."""
    bases = baselines(session)
    entries = [_entry(session, entry, bases.get(entry.contestant.key)) for entry in session.entries.values()]
    started = datetime.fromtimestamp(session.began, timezone.utc).strftime("%Y-%m-%d %H:%M:%S.000000")
    benchmarks = []
    for entry in session.entries.values():
        if entry.processes:
            benchmarks.append(
                {
                    "metadata": {"name": entry.contestant.key, "unit": "second", "loops": 1},
                    "runs": [{"metadata": {"date": started}, "values": [statistics.median(p["rounds"])]} for p in entry.processes],
                }
            )
    plan = session.plan
    return {
        "version": "1.0",
        "metadata": {"cpu_model_name": session.facts["cpu"], "cpu_count": session.facts["cores"], "python_version": session.facts["python"]},
        "benchmarks": benchmarks,
        "unimodel": {
            "schema": SCHEMA,
            "date": started,
            "seconds": session.seconds,
            "machine": session.facts,
            "load": {"before": session.load_before, "after": session.load_after},
            "noise": session.noise,
            "ceiling": max(session.ceilings, default=None),
            "versions": session.versions,
            "plan": {
                "processes": plan.processes,
                "rounds": plan.rounds,
                "seconds": plan.seconds,
                "together": plan.together,
                "exact": plan.exact,
                "interpreters": plan.interpreters,
                "script": plan.script,
            },
            "references": session.references,
            "ranking": ranking(session),
            "contestants": entries,
        },
    }


def baselines(session: Session) -> dict[str, str]:
    """Whom each contestant is compared with, by keys: the hand-written loop of its framework where there is one, else the first of its group, in the same mode."""
    timed = [entry.contestant for entry in session.entries.values() if entry.processes]
    found = {}
    for contestant in timed:
        group = [c for c in timed if c.group == contestant.group and (c.mode == "inference") == (contestant.mode == "inference")]
        own = [c for c in group if c.backend == contestant.backend and c.kind == "native"]
        plain = [c for c in own if not c.tuned]
        same = [c for c in own if (c.precision, c.compile != "default") == (contestant.precision, contestant.compile != "default")]
        base = (same or plain or [c for c in group if c.mode == contestant.mode] or group)[0]
        found[contestant.key] = base.key
    return found


def ranking(session: Session) -> dict[str, list[list[str]]]:
    """By workload and mode, labels of the contestants from the fastest on; those in one list cannot be told apart from the fastest of them.

    Their order is that of ratios to one of them, sitting by sitting, which a busy machine moves less than it moves medians.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in session.entries.values():
        contestant = entry.contestant
        if entry.processes:
            words = [
                group_name(contestant),
                *([f"{contestant.threads} threads"] * (contestant.threads != 1)),
                *([contestant.mode] * (contestant.mode != "train")),
            ]
            groups.setdefault(", ".join(words), []).append(entry)
    found = {}
    for name, entries in groups.items():
        tiers: list[list[Entry]] = []
        for entry in sorted(entries, key=lambda e: _beside(e, entries[0]).value):
            if tiers and not _beside(entry, tiers[-1][0]).differs:
                tiers[-1].append(entry)
            else:
                tiers.append([entry])
        if len(entries) > 1:
            found[name] = [[e.contestant.label for e in tier] for tier in tiers]
    return found


def _entry(session: Session, entry: Entry, base: str | None) -> dict[str, Any]:
    contestant = entry.contestant
    reference = session.references[group_name(contestant)]
    found: dict[str, Any] = {
        "key": contestant.key,
        "label": contestant.label,
        **contestant.as_json(),
        "tuned": contestant.tuned,
        "failure": entry.failure,
        "disagrees": entry.disagrees,
        "float64_apart": entry.float64_apart,
        "no_float64": entry.no_float64,
        "apart": None,
        "baseline": None,
        "ratio": None,
    }
    if entry.start is not None:
        start = entry.start
        found["start"] = {
            "import_seconds": start["process"]["import_seconds"],
            "build_seconds": start["phases"]["build"],
            "first_step_seconds": start["phases"].get("first_step"),
            "until_first_step_seconds": _until_first_step(start),
            "peak_memory": start["peak_memory"],
            "memory_after_import": start["process"]["memory_after_import"],
        }
    if not entry.processes:
        return found
    first = entry.processes[0]
    seconds = median(entry.observations)
    work = reference.get("inference_flops") if contestant.mode == "inference" else reference.get("flops")
    ceiling = max(session.ceilings, default=None)
    size = contestant.batch_size or first.get("samples")
    found |= {
        "seconds": seconds,
        "spread": spread(entry.observations),
        "per_second": None if size is None else size / seconds,
        "flops": work,
        "flops_per_second": None if not work else work / seconds,
        "of_ceiling": None if not (work and ceiling) else work / seconds / ceiling,
        "joules_per_step": first["joules_per_step"],
        "apart": first.get("apart"),
        "losses": next((p["losses"] for p in entry.processes if "losses" in p), (entry.start or {}).get("losses")),
        "hashes": next((p["hashes"] for p in entry.processes if "hashes" in p), None),
        "masks": first.get("masks"),
        "differentiation": first.get("differentiation"),
        "compiler": first.get("compiler"),
        "settings": first["settings"],
        "to_target": first.get("to_target"),
        "processes": [
            {
                "sitting": p["sitting"],
                "rounds": p["rounds"],
                "calls": p["calls"],
                "phases": p["phases"],
                "latency": p["latency"],
                "peak_memory": p["peak_memory"],
                "load": p["process"]["load"],
                "cores": p["process"]["cores"],
            }
            for p in entry.processes
        ],
    }
    if base is not None:
        found["baseline"] = base
        found["ratio"] = as_json(_beside(entry, session.entries[base]))
    return found


def _until_first_step(start: dict[str, Any]) -> float | None:
    """Importing the framework (and unimodel), building, and the first step."""
    first = start["phases"].get("first_step")
    return None if first is None else float(start["process"]["import_seconds"] + start["phases"]["build"] + first)


def _beside(entry: Entry, base: Entry) -> Ratio:
    """Their ratio over the sittings that both were in."""
    mine, theirs = ({p["sitting"]: p["rounds"] for p in e.processes} for e in (entry, base))
    both = sorted(mine.keys() & theirs.keys())
    if not both:
        return ratio(entry.observations, base.observations, paired=False)
    return ratio([mine[i] for i in both], [theirs[i] for i in both])


def as_json(found: Ratio) -> dict[str, Any]:
    return {"value": found.value, "low": found.low, "high": found.high, "observations": found.observations, "differs": found.differs}


def finite(value: Any) -> Any:
    """The same with null for what is not a finite number, which JSON cannot say."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

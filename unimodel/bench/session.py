"""A whole run: who agrees with the reference, then who takes how long.

1. The reference trains each workload once: NumPy in float64 where it is installed, which runs core's own definitions.
2. Each backend's curve in float64 must be that curve, and what does not agree is reported and not timed.
3. Then the sittings, in which the losses in the precision to be timed are compared once more, in the very process that is timed.

A contestant that fails or crashes leaves all others' results standing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from unimodel import plugins
from unimodel.bench import machine
from unimodel.bench.plan import Contestant, Plan, Sitting
from unimodel.bench.sittings import Outcome, sit
from unimodel.bench.workloads import WORKLOADS
from unimodel.cli.agreement import FLOAT64_LIMIT, largest_relative_difference
from unimodel.errors import DataError

LIMITS = {"float64": 1e-6, "float32": 1e-3, "bf16-mixed": 5e-2, "bf16-true": 1e-1, "fp16-mixed": 2e-2}
"""How far the first losses may be from the reference's, as a share of the first, by precision."""
POOLING_LIMIT = 1e-2
"""With max-pooling: a near-tie in one window parts two right answers in float32; that the mathematics is one, float64 has shown."""
SCRIPT_STEPS = 5

Say = Callable[[str], None]


@dataclass
class Entry:
    """What is known of a contestant."""

    contestant: Contestant
    processes: list[dict[str, Any]] = field(default_factory=list)
    """One for each sitting in which it was timed."""
    start: dict[str, Any] | None = None
    """Its first sitting alone."""
    failure: str | None = None
    disagrees: str | None = None
    float64_apart: float | None = None
    no_float64: str | None = None

    @property
    def observations(self) -> list[list[float]]:
        return [p["rounds"] for p in self.processes]

    @property
    def out(self) -> bool:
        return self.failure is not None or self.disagrees is not None


@dataclass
class Session:
    """A run's results."""

    plan: Plan
    entries: dict[str, Entry]
    references: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the groups' text: the backend, its curve, the workload's arithmetic."""
    facts: dict[str, Any] = field(default_factory=dict)
    load_before: float | None = None
    load_after: float | None = None
    began: float = 0.0
    seconds: float = 0.0
    fixed_work: list[float] = field(default_factory=list)
    ceilings: list[float] = field(default_factory=list)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def noise(self) -> list[str]:
        return machine.noise(self.load_before, self.facts.get("cores"), self.fixed_work)

    @property
    def failed(self) -> bool:
        return any(entry.out for entry in self.entries.values())


def group_name(contestant: Contestant) -> str:
    """What is trained, whoever does it."""
    return contestant.workload + ("" if contestant.batch_size is None else f", batch {contestant.batch_size}")


def run(plan: Plan, say: Say) -> Session:
    """Carry out a plan; ``say`` is told what is being done. A script that never trains is a ``DataError``, before anything is timed."""
    session = Session(plan, {c.key: Entry(c) for c in plan.contestants}, facts=machine.facts(), load_before=machine.load_average(), began=time.time())
    started = time.perf_counter()
    for name, group in _groups(plan).items():
        session.references[name] = _reference(plan, group, say)
        if plan.exact:
            _compare_in_float64(session, name, group, say)
    starts = list(plan.starts())
    for i, sitting in enumerate(starts):
        _carry_out(session, sitting, f"start {i + 1} of {len(starts)}", say)
    longest: dict[Any, float] = {}
    standing = [entry.contestant for entry in session.entries.values() if not entry.out]
    sittings = list(plan.sittings(standing))
    for i, sitting in enumerate(sittings):
        key = frozenset(sitting.contestants)
        spent = time.perf_counter() - started
        if plan.budget is not None and sitting.number > 0 and spent + longest.get(key, 0.0) > plan.budget:
            continue
        began = time.perf_counter()
        _carry_out(session, sitting, f"sitting {i + 1} of {len(sittings)}", say)
        longest[key] = max(longest.get(key, 0.0), time.perf_counter() - began)
    session.seconds = time.perf_counter() - started
    session.load_after = machine.load_average()
    return session


def _groups(plan: Plan) -> dict[str, list[Contestant]]:
    groups: dict[str, list[Contestant]] = {}
    for contestant in plan.contestants:
        groups.setdefault(group_name(contestant), []).append(contestant)
    return groups


def _steps(contestant: Contestant) -> int:
    return WORKLOADS[contestant.workload].steps if contestant.workload in WORKLOADS else SCRIPT_STEPS


def _reference(plan: Plan, group: list[Contestant], say: Say) -> dict[str, Any]:
    """The curve that others are held to, from the first backend that gives one."""
    first, name = group[0], group_name(group[0])
    heavy = first.workload in WORKLOADS and not WORKLOADS[first.workload].exact
    taking_part = list(dict.fromkeys(c.backend for c in group))
    candidates = [plan.reference] if plan.reference else [*(["numpy"] if "numpy" in plugins.names() and "numpy" not in taking_part else []), *taking_part]
    if not plan.reference and "numpy" in taking_part:
        candidates = ["numpy", *(b for b in taking_part if b != "numpy")]
    cause = ""
    for backend in candidates:
        for precision in ("float32",) if heavy else ("float64", "float32"):
            chosen = [replace(first, backend=backend, kind="unimodel", mode="train", precision=precision, compile="default")]
            if any(c.mode == "inference" for c in group):
                chosen.append(replace(chosen[0], mode="inference"))
            say(f"{name}: the reference, {backend} in {precision}")
            outcome = sit(replace(plan, interpreters=plan.interpreters), chosen, purpose="reference", steps=_steps(first))
            found = None if outcome.result is None else outcome.result["contestants"][chosen[0].key]
            if found is not None and found.get("never_trains"):
                raise DataError(found["never_trains"])
            if found is not None and "error" not in found:
                assert outcome.result is not None
                answer = {"backend": backend, "precision": precision, **{k: found.get(k) for k in ("losses", "flops", "max_pooling", "hashes", "masks")}}
                if len(chosen) > 1:
                    inferred = outcome.result["contestants"][chosen[1].key]
                    answer |= {"prediction": inferred.get("prediction"), "inference_flops": inferred.get("flops")}
                return answer
            cause = cause or f"{backend}: {outcome.cause if found is None else found['error']}"
    return {"backend": None, "error": cause, "losses": None, "flops": None, "max_pooling": False, "hashes": None}


def _compare_in_float64(session: Session, name: str, group: list[Contestant], say: Say) -> None:
    """Whether each backend's mathematics is the reference's."""
    plan, reference = session.plan, session.references[name]
    if reference["losses"] is None or reference["precision"] != "float64":
        return
    for backend in dict.fromkeys(c.backend for c in group if c.ours):
        entries = [session.entries[c.key] for c in group if c.backend == backend and c.ours]
        if backend == reference["backend"]:
            for entry in entries:
                entry.float64_apart = 0.0
            continue
        contestant = replace(group[0], backend=backend, kind="unimodel", mode="train", precision="float64", compile="default")
        say(f"{name}: does {backend} agree in float64?")
        outcome = sit(plan, [contestant], purpose="reference", steps=_steps(contestant))
        found: dict[str, Any] = {"error": outcome.cause} if outcome.result is None else outcome.result["contestants"][contestant.key]
        if "error" in found:
            lacking = found["error"].startswith("UnsupportedError") and "float64" in found["error"]
            for entry in entries:
                if lacking:
                    entry.no_float64 = found["error"].splitlines()[0]
                else:
                    entry.failure = _cause(found["error"], outcome)
            continue
        apart = largest_relative_difference(found["losses"], reference["losses"], reference["losses"][0])
        for entry in entries:
            entry.float64_apart = apart
            if not apart <= FLOAT64_LIMIT:
                entry.disagrees = f"in float64 it is {apart:.2g} away from {reference['backend']}, relative, where {FLOAT64_LIMIT:g} is allowed"


def _limits(session: Session, sitting: Sitting) -> Mapping[str, float]:
    found = {}
    for contestant in sitting.contestants:
        reference = session.references[group_name(contestant)]
        if reference["losses"] is None:
            continue
        if reference["backend"] == contestant.backend and reference["precision"] == contestant.precision and contestant.ours:
            found[contestant.key] = float("inf")
        else:
            limit = LIMITS.get(contestant.precision, LIMITS["float32"])
            found[contestant.key] = max(limit, POOLING_LIMIT) if reference["max_pooling"] else limit
    return found


def _carry_out(session: Session, sitting: Sitting, place: str, say: Say) -> None:
    contestants = [c for c in sitting.contestants if not session.entries[c.key].out]
    if not contestants:
        return
    first = contestants[0]
    who = first.key if len(contestants) == 1 else f"{group_name(first)}: {', '.join(c.label for c in contestants)}"
    say(f"{place}: {who}")
    reference = session.references[group_name(first)]
    outcome = sit(
        session.plan,
        contestants,
        purpose="start" if sitting.start_only else "time",
        steps=_steps(first),
        reference={"losses": reference["losses"], "prediction": reference.get("prediction")},
        limits=_limits(session, replace(sitting, contestants=tuple(contestants))),
    )
    if outcome.result is None:
        for contestant in contestants:
            session.entries[contestant.key].failure = _cause(outcome.cause, outcome)
        return
    process = outcome.result["process"]
    session.fixed_work.append(process["fixed_work"])
    if process["ceiling"] is not None:
        session.ceilings.append(process["ceiling"])
    session.versions.setdefault(first.backend, {}).update(process["versions"])
    for contestant in contestants:
        entry, found = session.entries[contestant.key], outcome.result["contestants"][contestant.key]
        if "error" in found:
            entry.failure = found["error"]
        elif "disagrees" in found:
            entry.disagrees = found["disagrees"]
        else:
            record = found | {"process": process, "sitting": sitting.number}
            if len(contestants) == 1 and entry.start is None:
                entry.start = record
            if "rounds" in found:
                entry.processes.append(record)


def _cause(cause: str, outcome: Outcome) -> str:
    """With what the process said last: its error's own line, if it printed one."""
    if outcome.result is not None:
        return cause
    lines = [line for line in outcome.output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[A-Za-z_.]*(Error|Exception|Fault)\b.*:|Fatal ", line)]
    return f"{cause} ({(errors or lines)[-1].strip()[:200]})" if lines else cause

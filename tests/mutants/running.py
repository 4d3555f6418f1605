"""Many faults, several at a time, and the score."""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .fault import Fault
from .planting import REJECTED, ROTTEN, STILLBORN, SURVIVED, TIMEOUT, UNPOINTED, Outcome, Worker, copied

LEAST = 0.98
"""The share of faults that must be rejected."""
LIMIT = 30
"""Seconds of processor time that a fault's tests may take."""


def run(
    faults: Sequence[Fault], jobs: int = 1, limit: int = LIMIT, journal: Path | None = None, show: Callable[[Outcome], None] | None = None
) -> list[Outcome]:
    """What becomes of each fault. With a journal, what stands in it is not run again, and what is run is added to it."""
    known = {(o.name, o.key): o for o in _read(journal)}
    found = [known[f.name, f.key] for f in faults if (f.name, f.key) in known]
    rest = [f for f in faults if (f.name, f.key) not in known]
    for backend in dict.fromkeys(f.backend for f in rest):
        for outcome in _share_out([f for f in rest if f.backend == backend], backend, jobs, limit):
            found.append(outcome)
            if journal is not None:
                with journal.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(outcome)) + "\n")
            if show is not None:
                show(outcome)
    return found


def _read(journal: Path | None) -> list[Outcome]:
    if journal is None:
        return []
    journal.parent.mkdir(parents=True, exist_ok=True)
    return [Outcome(**json.loads(line)) for line in journal.read_text(encoding="utf-8").splitlines()] if journal.is_file() else []


def _share_out(faults: Sequence[Fault], backend: str, jobs: int, limit: int) -> Iterable[Outcome]:
    """Workers take faults one by one, so that none waits for the slowest."""
    context = multiprocessing.get_context("fork")
    waiting, done = context.SimpleQueue(), context.SimpleQueue()
    workers = [context.Process(target=_work, args=(faults, waiting, done, backend, limit)) for _ in range(min(jobs, len(faults)))]
    for worker in workers:
        worker.start()
    for number in [*range(len(faults)), *[None] * len(workers)]:
        waiting.put(number)
    for _ in faults:
        outcome = done.get()
        if isinstance(outcome, str):
            raise RuntimeError(f"a worker for {backend} ended: {outcome}")
        yield outcome
    for worker in workers:
        worker.join()


def _work(faults: Sequence[Fault], waiting: Any, done: Any, backend: str, limit: int) -> None:
    try:
        with copied() as tree:
            worker = Worker(tree, backend, limit)
            while (number := waiting.get()) is not None:
                done.put(worker.run(faults[number]))
    except Exception as error:
        done.put(f"{type(error).__name__}: {error}")


def score(outcomes: Iterable[Outcome]) -> float:
    """The share that was rejected, of those that run at all."""
    counts = Counter(o.state for o in outcomes)
    tried = sum(counts[s] for s in (REJECTED, SURVIVED, UNPOINTED, TIMEOUT))
    return counts[REJECTED] / tried if tried else 1.0


def line(outcome: Outcome) -> str:
    """One fault's line while they run."""
    hint = f"{outcome.test}: {' '.join(outcome.message.split())}"[:150] if outcome.test else " ".join(outcome.message.split())[:150]
    return f"{outcome.state:<10} {outcome.seconds:5.1f} s  {outcome.backend:<10} {outcome.name}  {hint}"


def summary(outcomes: Sequence[Outcome], groups: Callable[[Outcome], str]) -> str:
    """A table by group, and the names of all that were not rejected."""
    states = [s for s in (REJECTED, SURVIVED, UNPOINTED, TIMEOUT, STILLBORN, ROTTEN) if any(o.state == s for o in outcomes)]
    rows = []
    for group in [*dict.fromkeys(map(groups, outcomes)), "all"]:
        inside = [o for o in outcomes if group in (groups(o), "all")]
        counts = Counter(o.state for o in inside)
        rows.append(f"{group:<14}" + "".join(f"{counts[s]:>{max(len(s), 5) + 2}}" for s in states) + f"{100 * score(inside):>9.1f} %")
    lines = [" " * 14 + "".join(f"{s:>{max(len(s), 5) + 2}}" for s in states) + f"{'score':>11}", *rows]
    for outcome in outcomes:
        if outcome.state != REJECTED:
            lines.append(line(outcome))
    return "\n".join(lines)


def verdict(outcomes: Sequence[Outcome]) -> int:
    """0 where enough were rejected and none of the list is rotten."""
    return int(score(outcomes) < LEAST or any(o.state == ROTTEN for o in outcomes))


def follow(outcome: Outcome) -> None:
    print(line(outcome), file=sys.stderr, flush=True)

"""The process that measures: ``python -m unimodel.bench.worker TASK RESULT``, both JSON files; started by ``sittings.py``, never by a user.

Phases are kept apart: importing unimodel and the framework, building, the first step (tracing and compiling are in it), the warm-up, in which the losses are
compared, and the steady state. Contestants of one sitting take turns, A B C, then C B A.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
MOST_CALLS = 100_000
WARM_UP_SECONDS = 0.2
MOST_EPOCHS = 100
LEAST_CALLS = 3
"""In a turn, unless one call takes longer than the turn may."""
SLOW = 1.0
SLOW_ROUNDS = 3
"""Where a call takes longer than ``SLOW`` seconds, so many rounds must do."""


def main(task_file: str, result_file: str) -> None:
    task = json.loads(Path(task_file).read_text())
    result = measure(task)
    unfinished = Path(result_file).with_suffix(".part")
    unfinished.write_text(json.dumps(result))
    unfinished.replace(result_file)


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Everything that a sitting finds out, by contestants' keys."""
    importing = _seconds(lambda: importlib.import_module("unimodel.trainer"))  # unimodel itself loads what is asked for
    from unimodel.bench import machine
    from unimodel.bench.plan import Contestant

    cores = machine.pin(task["threads"])
    contestants = [Contestant(**fields) for fields in task["contestants"]]
    load = machine.load_average()
    fixed = machine.fixed_work()
    importing = (importing if contestants[0].ours else 0.0) + _seconds(lambda: _import(contestants[0]))
    after_import = machine.peak_memory()
    found: dict[str, Any] = {}
    turns: dict[str, tuple[Callable[[], Any], int]] = {}
    subjects: dict[Any, Any] = {}
    for contestant in contestants:
        try:
            found[contestant.key], turn = _prepare(task, contestant, subjects)
        except Exception as error:
            from unimodel.bench.subjects import NeverTrainsError

            found[contestant.key] = {"error": _describe(error), "never_trains": str(error) if isinstance(error, NeverTrainsError) else None}
            continue
        if turn is not None:
            turns[contestant.key] = turn
    ceiling = machine.matrix_ceiling() if turns else None
    if turns:
        _take_turns(turns, found, task["rounds"], task["seconds"])
    for key in found:
        found[key]["peak_memory"] = machine.peak_memory() if len(contestants) == 1 else None
    if len(contestants) == 1 and turns and contestants[0].mode == "train":
        _to_target(subjects, found)
    return {
        "contestants": found,
        "process": {
            "import_seconds": importing,
            "memory_after_import": after_import,
            "cores": cores,
            "load": load,
            "fixed_work": fixed,
            "ceiling": ceiling,
            "versions": _versions(contestants[0].backend),
        },
    }


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _import(contestant: Any) -> None:
    """The framework, and for ours its backend."""
    from unimodel import plugins
    from unimodel.bench import subjects

    if contestant.ours:
        plugins.load(contestant.backend)
    else:
        subjects.native_loops(contestant.backend, contestant.kind)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _prepare(task: dict[str, Any], contestant: Any, subjects: dict[Any, Any]) -> tuple[dict[str, Any], tuple[Callable[[], Any], int] | None]:
    """Build it, take the first steps, and compare them; what was found, and what to time (with the steps in one call), if it may be timed."""
    from unimodel.bench import subjects as building

    start = time.perf_counter()
    # the loop once more, and another mode of the same trainer, need not be built twice
    same = ("unimodel" if contestant.ours else contestant.kind.removesuffix(" again"), contestant.precision, contestant.compile)
    shared = subjects.get(same)
    if shared is not None:
        subject = shared
    elif task["script"] is not None:
        subject = building.build_from_script(task["script"], task["arguments"], contestant)
    elif contestant.ours:
        subject = building.build(contestant)
    else:
        subject = building.build_native(contestant)
    built = time.perf_counter()
    found: dict[str, Any] = {"phases": {"build": built - start - (subject.preparing if shared is None else 0.0)}, "samples": subject.samples}
    if shared is None:
        found["hashes"] = {"weights": building.fingerprint(subject.weights), "data": building.fingerprint([a for b in subject.batches for a in _leaves(b)])}
        began = time.perf_counter()
        if task["infers"] and subject.infer is not None:  # before training changes the weights
            subject.prediction = building.signature(subject.infer(subject.batches[0]))
            found["phases"]["first_inference"] = time.perf_counter() - began
    subjects[same] = subject
    limit, reference = task["limits"].get(contestant.key), task["reference"]
    if contestant.mode == "inference":
        if subject.infer is None:
            raise ValueError("it has no forward pass of one model to time")
        batch = subject.batches[0]
        found["prediction"] = subject.prediction
        found |= building.about(subject, "predict", count=task["purpose"] == "reference")
        call: Callable[[], Any] = lambda: subject.infer(batch)  # noqa: E731  one of two, chosen here
        steps = 1
        if reference is not None and limit is not None:
            found["apart"] = max(abs(a - b) for a, b in zip(found["prediction"], reference["prediction"], strict=True))
    else:
        if shared is None:
            _first_steps(subject, found, task["steps"])
            found |= building.about(subject, count=task["purpose"] == "reference")
            if reference is not None and limit is not None:
                found["apart"] = _apart(found["losses"], reference["losses"])
        batch, steps = subject.batches[0], 1
        call = lambda: subject.step(batch)  # noqa: E731  a body in one line
        if contestant.mode == "fit":
            if subject.fit is None:
                raise ValueError("it has no fit")
            call, steps = subject.fit, subject.fit_steps
            call()  # its program for several steps
    found["settings"] = subject.settings | {"compile": contestant.compile, "precision": contestant.precision, "threads": contestant.threads}
    if limit is not None and not found.get("apart", 0.0) <= limit:
        found["disagrees"] = f"it is {found['apart']:.2g} away from the reference, where {limit:.2g} is allowed"
        return found, None
    if task["purpose"] != "time":
        return found, None
    return found, (call, steps)


def _first_steps(subject: Any, found: dict[str, Any], count: int) -> None:
    losses, times = [], []
    for _ in range(count):
        began = time.perf_counter()
        losses.append(subject.step(subject.next_batch()))
        times.append(time.perf_counter() - began)
    found["losses"] = losses
    found["phases"]["first_step"] = times[0]
    found["phases"]["early_steps"] = sum(times[1:])


def _apart(losses: list[float], reference: list[float]) -> float:
    """The largest difference, as a share of the first loss."""
    if any(loss != loss for loss in losses):
        return float("inf")
    return max(abs(a - b) for a, b in zip(losses, reference, strict=False)) / (abs(reference[0]) or 1.0)


def _leaves(batch: Any) -> list[Any]:
    from unimodel import nest

    return nest.leaves(batch)


def _take_turns(turns: dict[str, tuple[Callable[[], Any], int]], found: dict[str, Any], rounds: int, seconds: float) -> None:
    from unimodel.bench.machine import Energy

    counts: dict[str, int] = {}
    times: dict[str, list[list[float]]] = {key: [] for key in turns}
    joules: dict[str, float] = {}
    slowest = 0.0
    for key, (call, _) in turns.items():
        began = time.perf_counter()
        calls, fastest = 0, float("inf")
        while calls < 1 or (calls < 1000 and time.perf_counter() - began < min(WARM_UP_SECONDS, seconds)):
            start = time.perf_counter()
            call()
            fastest = min(fastest, time.perf_counter() - start)
            calls += 1
        found[key]["phases"]["warm_up"] = time.perf_counter() - began
        found[key]["warm_up_calls"] = calls
        slowest = max(slowest, fastest)
        least = LEAST_CALLS if fastest < seconds else 1
        counts[key] = max(least, min(MOST_CALLS, int(seconds / max(fastest, 1e-7))))
    order = list(turns)
    for _ in range(rounds if slowest < SLOW else min(rounds, SLOW_ROUNDS)):
        for key in order:
            call, steps = turns[key]
            energy, taken = Energy(), []
            for _ in range(counts[key]):
                start = time.perf_counter()
                call()
                taken.append((time.perf_counter() - start) / steps)
            times[key].append(taken)
            used = energy.joules()
            if used is not None:
                joules[key] = joules.get(key, 0.0) + used
        order.reverse()
    for key, taken_per_round in times.items():
        every = sorted(value for taken in taken_per_round for value in taken)
        steps = turns[key][1]
        found[key] |= {
            "rounds": [statistics.median(taken) for taken in taken_per_round],
            "calls": len(every),
            "latency": [every[min(len(every) - 1, int(q * len(every)))] for q in QUANTILES],
            "phases": found[key]["phases"] | {"steady": sum(every) * steps},
            "joules_per_step": joules[key] / (len(every) * steps) if key in joules else None,
        }


def _to_target(subjects: dict[Any, Any], found: dict[str, Any]) -> None:
    """Where the workload has a test set: seconds of training, from fresh weights, until its accuracy is reached."""

    (subject,), (key,) = subjects.values(), found
    workload, trainer = subject.workload, subject.trainer
    if workload is None or workload.test is None or trainer is None or "rounds" not in found[key]:
        return
    import numpy as np

    (x, y), (test_x, test_y) = workload.test()
    fresh = workload.trainer(trainer.backend, precision=trainer.precision)
    seconds, epochs, accuracy = 0.0, 0, 0.0
    fresh.train_step((x[:64], y[:64]))  # compiled before the clock starts; the start's time is reported by itself
    while accuracy < workload.target and epochs < MOST_EPOCHS:
        began = time.perf_counter()
        fresh.fit((x, y), batch_size=64, verbose=False)
        seconds, epochs = seconds + time.perf_counter() - began, epochs + 1
        accuracy = float(np.mean(np.argmax(fresh.predict(test_x), axis=1) == test_y))
    found[key]["to_target"] = {"accuracy": workload.target, "reached": accuracy, "seconds": seconds, "epochs": epochs}


def _versions(backend: str) -> dict[str, str]:
    import unimodel
    from unimodel import plugins

    found = {"unimodel": unimodel.__version__, "python": sys.version.split()[0]}
    if backend in plugins.names():
        found[backend] = str(plugins.load(backend).framework_version())
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

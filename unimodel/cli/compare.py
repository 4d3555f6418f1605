"""``unimodel compare``: one script, many backends, one table."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from unimodel import plugins
from unimodel.backend import Capability
from unimodel.cli.agreement import FLOAT64_STEPS, Curves, Verdict, judge
from unimodel.cli.apart import Outcome, call_apart
from unimodel.cli.backends import installed_framework
from unimodel.cli.console import print_json, refuse, say, table, working
from unimodel.cli.script import Arguments, Script, known, run_recorded
from unimodel.errors import PluginError
from unimodel.recording import Recording


def _several(text: str | None) -> str | None:
    if text is not None:
        names = _names(text)
        for name in names:
            known(name)
        if len(names) < 2 or len(set(names)) < len(names):
            raise typer.BadParameter("name two different backends at least, as in --backends torch,numpy")
    return text


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@dataclass
class Side:
    """What one backend made of the script."""

    version: str | None
    error: str | None = None
    script_failed: bool = False
    """Whether the error is one that the script raised; else the backend, or its process, broke."""
    final: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    curves: Curves = field(default_factory=lambda: Curves(()))
    max_pooling: bool = False
    written_in_float64: bool = False

    def as_json(self) -> dict[str, Any]:
        if self.error is not None:
            return {"version": self.version, "error": self.error}
        return {"version": self.version, "losses": list(self.curves.as_written), "final": self.final, "seconds": self.seconds}


def compare(
    script: Script,
    backends: Annotated[
        str | None, typer.Option("--backends", metavar="A,B,C", callback=_several, show_default=False, help="The backends; all that are installed if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what the script prints, on standard error.")] = False,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", metavar="SECONDS", min=0.1, show_default=False, help="How long one run may take; no limit if left out.")
    ] = None,
    arguments: Arguments = None,
) -> None:
    """Run SCRIPT on several backends and compare the loss curves.

    Each backend runs it in a process of its own, as run does, and twice: as it is written, and with float64 forced on its Trainers, stopped after 200 steps
    (a script that computes in float64 itself runs once).

    The backends agree (exit status 0, else 1) if any two of them are within 1e-8, relative, at each of the 200 steps in float64, and as written within 1e-3 of
    the initial loss over the first 100 steps. A network with max-pooling is judged in float64 only.

    Seconds are the wall time of the script as written: its data, tracing, compiling and training, without the import of the backend and its framework.
    Metrics are those of the last epoch, and what evaluate returned last, evaluate_ before them.

    \b
    --json prints {
      "backends": {NAME: {"version": the framework's, "losses": [one a step],
                          "final": {metric: number}, "seconds": number}
                   or, where it failed, {"version", "error"}},
      "max_loss_difference": over the first 100 steps, between any two backends,
                             divided by the initial loss; null if there are no two,
                             or it is not finite
      "agree": true or false}
    """
    names = plugins.names() if backends is None else _names(backends)
    if len(names) < 2:
        refuse("there must be two installed backends to compare; unimodel backends lists them")
    sides = {name: _run(script, arguments or [], name, as_json, verbose, time_limit) for name in names}
    whole = {name: side for name, side in sides.items() if side.error is None}
    verdict = None
    if len(whole) > 1:
        verdict = judge(
            {name: side.curves for name, side in whole.items()},
            max_pooling=any(side.max_pooling for side in whole.values()),
            written_in_float64=all(side.written_in_float64 for side in whole.values()),
        )
    agree = verdict is not None and verdict.agree and len(whole) == len(sides)
    if as_json:
        print_json(
            {
                "backends": {name: side.as_json() for name, side in sides.items()},
                "max_loss_difference": None if verdict is None else verdict.max_loss_difference,
                "agree": agree,
            }
        )
    else:
        _show(script, sides, verdict, agree)
    if not agree:
        raise typer.Exit(1)


def _run(script: Path, arguments: list[str], backend: str, as_json: bool, verbose: bool, time_limit: float | None) -> Side:
    def once(what: str, precision: str | None, most_steps: int | None) -> Outcome:
        with working(f"{backend}: running {script} {what}", quiet=as_json and not verbose, live=not verbose):
            outcome = call_apart(
                record,
                time_limit=time_limit,
                verbose=verbose,
                script=str(script),
                arguments=arguments,
                backend=backend,
                precision=precision,
                most_steps=most_steps,
            )
        if (outcome.result is None or outcome.result["error"] is not None) and outcome.output:
            say(f"{backend}: the last lines that {script} printed:\n{outcome.output}")
        return outcome

    outcome = once("as written", None, None)
    if outcome.result is None:
        return Side(installed_framework(backend), outcome.cause)
    first = outcome.result
    side = Side(
        first["version"] or installed_framework(backend),
        first["error"],
        first["error"] is not None,
        first["final"],
        first["seconds"],
        max_pooling=first["max_pooling"],
        written_in_float64=first["precisions"] == ["float64"],
    )
    if side.error is not None:
        return side
    _refuse_untrained(script, first)
    losses, lacking = first["losses"], first["no_float64"]
    side.curves = Curves(losses, None, lacking or "")
    if lacking is None and not side.written_in_float64:
        outcome = once(f"in float64, {FLOAT64_STEPS} steps", "float64", FLOAT64_STEPS)
        side.error = outcome.cause if outcome.result is None else outcome.result["error"]
        if side.error is not None:
            side.error = f"in float64: {side.error}"
        elif outcome.result is not None:
            side.curves = Curves(losses, outcome.result["losses"])
    return side


def _refuse_untrained(script: Path, recording: dict[str, Any]) -> None:
    if not recording["trainers"]:
        refuse(f"{script} makes no um.Trainer, so that there is nothing to compare.")
    if not recording["steps"]:
        refuse(f"{script} makes a Trainer and never trains: it calls neither fit nor train_step.")
    if not recording["losses"]:
        refuse(f"the training steps of {script} return no loss: name one of the results of step(self, batch) loss.")


def record(script: str, arguments: list[str], backend: str, precision: str | None, most_steps: int | None) -> dict[str, Any]:
    """Run the script and return what its Trainers did; runs in a process of its own."""
    recording = Recording(precision=precision, most_steps=most_steps)
    started = time.perf_counter()
    error, _ = run_recorded(Path(script), arguments, backend, recording)
    seconds = time.perf_counter() - started - plugins.import_seconds.get(backend, 0.0)
    result = {
        "error": error,
        "trainers": recording.trainers,
        "steps": recording.steps,
        "losses": recording.losses,
        "final": {name: np.asarray(value).tolist() for name, value in recording.final.items()},
        "seconds": seconds,
        "precisions": sorted(recording.precisions),
        "max_pooling": any("max_pool" in op for op in recording.ops),
    }
    return result | _of_the_backend(backend)


def _of_the_backend(name: str) -> dict[str, str | None]:
    try:
        backend = plugins.load(name)
    except PluginError:
        return {"version": None, "no_float64": None}
    gap = backend.gap(Capability.FLOAT64)
    return {"version": str(backend.framework_version()), "no_float64": None if gap is None else str(gap)}


def _show(script: Path, sides: dict[str, Side], verdict: Verdict | None, agree: bool) -> None:
    metrics = list(dict.fromkeys(name for side in sides.values() for name in side.final if name != "loss" and side.error is None))
    columns = ["backend", "version", "final loss", *metrics, "largest loss difference", "seconds"]
    rows = []
    for name, side in sides.items():
        if side.error is not None:
            rows.append([name, side.version or "not known", "failed" if side.script_failed else "broken", *("" for _ in columns[3:])])
            continue
        losses = side.curves.as_written
        difference = "" if verdict is None else f"{verdict.differences[name]:.1e}"
        numbers = [side.final.get("loss", losses[-1]), *(side.final.get(metric) for metric in metrics)]
        rows.append([name, side.version or "not known", *map(_number, numbers), difference, f"{side.seconds:.2f}"])
    table(columns, rows, numeric=columns[2:])
    for name, side in sides.items():
        if side.error is not None:
            print(f"{script} failed on {name}: {side.error}" if side.script_failed else f"{name} is broken: {side.error}")
    for reason in () if verdict is None else verdict.reasons:
        print(reason)
    if all(side.script_failed for side in sides.values()):
        print(f"{script} fails on every backend, so that there is nothing to compare.")
    else:
        print("The backends agree." if agree else "The backends do not agree.")


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)

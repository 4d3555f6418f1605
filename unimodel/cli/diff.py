"""``unimodel diff``: where two backends part, and where the first NaN was made."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from unimodel import plugins
from unimodel.cli.apart import Outcome, call_apart
from unimodel.cli.console import explain, print_json, refuse, say, working
from unimodel.cli.diff_text import show, show_hunt, show_replay
from unimodel.cli.script import Arguments, known, run_recorded
from unimodel.errors import DataError, NonFiniteError

STEPS = 10
"""So many steps are compared if nothing else is asked for."""

_Script = Annotated[
    Path | None, typer.Argument(metavar="SCRIPT", exists=True, dir_okay=False, show_default=False, help="A Python script that trains; none with --replay.")
]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _installed(text: str) -> str:
    for name in _names(text):
        known(name)
    return text


def _reference(name: str | None) -> str | None:
    return None if name is None else known(name)


def diff(
    script: _Script = None,
    backends: Annotated[
        str,
        typer.Option("--backends", metavar="A,B", callback=_installed, show_default=False, help="The two backends; with --nan one, with --replay one or two."),
    ] = "",
    dtype: Annotated[
        str | None, typer.Option("--dtype", metavar="float64", show_default=False, help="The precision to train in, whatever the script asks for.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", min=1, show_default=False, help=f"Compare the first N steps; {STEPS} if left out, with --nan all.")
    ] = None,
    bisect: Annotated[bool, typer.Option("--bisect", help="Look for the smallest input that shows it.")] = False,
    nan: Annotated[bool, typer.Option("--nan", help="On one backend: find the op that made the first NaN or infinity.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE", dir_okay=False, show_default=False, help="Where to keep what was found; SCRIPT.diff.safetensors if left out."),
    ] = None,
    replay: Annotated[
        Path | None, typer.Option("--replay", metavar="FILE", exists=True, dir_okay=False, show_default=False, help="Run what such a file holds again.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="NAME", callback=_reference, show_default=False, help="A third backend, to ask in float64 which side is right."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what the script prints, on standard error.")] = False,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", metavar="SECONDS", min=0.1, show_default=False, help="How long the script, or one op, may take.")
    ] = None,
    arguments: Arguments = None,
) -> None:
    """Run SCRIPT's training on two backends in lockstep and find the first place where they part.

    The script runs on the first backend. Each training step is then taken apart, and every op of its forward pass, gradient and update runs on both backends on
    the same numbers, each backend in a process of its own; then the step runs as a whole, as the backends really run it. The first op whose results are
    beyond tolerance apart is named with its step, phase and line, and kept in a file, which --replay runs again on any backend.

    A difference counts if rounding cannot explain it: where the last bits of an op's input change its result as much, no program can do better.
    If nothing parts, the largest difference of each op is listed.

    Exit status: 0 if nothing parts (with --nan: if all is finite), 1 if something does, or fails, 2 for wrong usage.
    """
    names = _names(backends)
    if dtype not in (None, "float32", "float64"):
        raise typer.BadParameter("choose float32 or float64", param_hint="--dtype")
    if not names:
        refuse("name what to compare: --backends A,B, two of those that unimodel backends lists; with --nan one is enough.")
    if len(names) != len(set(names)) or len(names) > 2:
        raise typer.BadParameter("name two different backends, as in --backends torch,numpy", param_hint="--backends")
    if len(names) < 2 and not nan and replay is None:
        raise typer.BadParameter("two backends are compared, as in --backends torch,numpy; with --nan one is enough", param_hint="--backends")
    if nan and (len(names) > 1 or bisect):
        refuse("--nan looks at one backend, and takes no --bisect: name that backend alone.")
    if replay is not None:
        if script is not None or nan or bisect:
            refuse("--replay runs what a file holds: it takes no SCRIPT, no --nan and no --bisect.")
        raise typer.Exit(_replay(replay, names, as_json, time_limit))
    if script is None:
        refuse("name the SCRIPT whose training is to be compared, or a file with --replay.")
    task = Task(script, arguments or [], names, dtype, steps, as_json, verbose, time_limit)
    target = save or Path(f"{script.stem}.diff.safetensors")
    with tempfile.TemporaryDirectory(prefix="unimodel-") as folder:
        status = _hunt(task, Path(folder), target) if nan else _compare(task, Path(folder), target, bisect, reference)
    raise typer.Exit(status)


@dataclass(frozen=True)
class Task:
    script: Path
    arguments: list[str]
    names: list[str]
    dtype: str | None
    steps: int | None
    as_json: bool
    verbose: bool
    time_limit: float | None

    def capture(self, backend: str, folder: Path, until_bad: bool) -> Outcome:
        """Run the script on a backend and keep its steps in the folder."""
        most = self.steps if until_bad else self.steps or STEPS
        with working(f"{backend}: running {self.script}", quiet=self.as_json and not self.verbose, live=not self.verbose):
            outcome = call_apart(
                capture,
                time_limit=self.time_limit,
                verbose=self.verbose,
                script=str(self.script),
                arguments=self.arguments,
                backend=backend,
                precision=self.dtype,
                most_steps=most,
                until_bad=until_bad,
                folder=str(folder),
            )
        if (outcome.result is None or outcome.result["error"] is not None) and outcome.output:
            say(f"{backend}: the last lines that {self.script} printed:\n{outcome.output}")
        return outcome

    def refuse_untrained(self, outcome: Outcome) -> None:
        if outcome.result is not None and outcome.result["error"] is None:
            if not outcome.result["trainers"]:
                refuse(f"{self.script} makes no um.Trainer, so that there is nothing to compare.")
            refuse(f"{self.script} makes a Trainer and never trains: it calls neither fit nor train_step.")


def capture(script: str, arguments: list[str], backend: str, precision: str | None, most_steps: int | None, until_bad: bool, folder: str) -> dict[str, Any]:
    """Run the script and keep its training steps; runs in a process of its own."""
    from unimodel.diff.capture import Capture

    recording = Capture(precision=precision, most_steps=most_steps, folder=Path(folder), until_bad=until_bad)
    error, raised = run_recorded(Path(script), arguments, backend, recording)
    recording.finish(isinstance(raised, NonFiniteError))
    return {"error": error, "trainers": recording.trainers, "steps": recording.seen, "bad": recording.bad, "precisions": sorted(recording.precisions)}


def _cause(outcome: Outcome) -> str | None:
    """Why a script did not end as it should, or None."""
    return outcome.cause if outcome.result is None else outcome.result["error"]


# two backends
def _compare(task: Task, folder: Path, target: Path, bisect: bool, reference: str | None) -> int:
    from unimodel.diff import report
    from unimodel.diff.bisect import smallest
    from unimodel.diff.capture import captured, load
    from unimodel.diff.diagnosis import diagnose
    from unimodel.diff.lockstep import Lockstep
    from unimodel.diff.saved import write
    from unimodel.diff.side import Failure, Side

    with ExitStack() as stack:
        first, second = (stack.enter_context(Side(name, task.time_limit)) for name in task.names)
        first.spawn()
        second.spawn()
        for side in (first, second):
            try:
                side.start()
            except Failure as failure:
                return _nothing(task, {failure.backend: failure.cause})
            if task.dtype == "float64" and side.no_float64 is not None:
                refuse(f"{side.name} has no float64: {side.no_float64}")
        causes: dict[str, str] = {}
        for name in task.names:  # if the script does not get as far as a step on the first, the second's steps are taken
            outcome = task.capture(name, folder, until_bad=False)
            cause = _cause(outcome)
            if cause is not None:
                causes[name] = cause
            files = captured(folder)
            if files:
                break
            task.refuse_untrained(outcome)
        if not files:
            return _nothing(task, causes, "{script} failed on {name}: {cause}")
        lockstep = Lockstep(first, second)
        parted, found = None, []
        for file in files:
            number, step = load(file)
            with working(f"step {number} of {len(files)}: op by op on {first.name} and {second.name}", quiet=task.as_json):
                found = lockstep.compare(number, step)
            if found:
                break
        answer: dict[str, Any] = {
            "backends": {side.name: {"version": side.version, "differentiation": way} for side, way in zip((first, second), lockstep.ways, strict=True)},
            "precision": outcome.result["precisions"][0] if outcome.result is not None and outcome.result["precisions"] else task.dtype,
            "script_errors": causes,
            **report.healthy(lockstep),
            "parted": None,
            "also": [report.in_short(f) for f in found[1:50]],
            "also_count": max(len(found) - 1, 0),
        }
        if found:
            with working("looking into it" + (", and for the smallest input that shows it" if bisect else ""), quiet=task.as_json):

                def others() -> Iterator[Side]:
                    for name in _references(task.names, reference):
                        yield stack.enter_context(Side(name, task.time_limit))

                diagnosis = diagnose(found[0], lockstep.judge, others, *([smallest] if bisect else []))
            parted = report.parting(diagnosis, lockstep.judge) | {"script": str(task.script), "bisected": bisect}
            try:
                kept = dict(zip(task.names, diagnosis.finding.results, strict=True))
                write(target, diagnosis.finding.piece, parted | {"ways": dict(zip(task.names, diagnosis.finding.ways, strict=True))}, kept)
                parted["file"] = str(target)
            except DataError as error:
                say(explain(error))
                parted["file"] = None
            answer["parted"] = parted
    _print(task, answer, show)
    return 1 if parted is not None or causes else 0


def _references(names: Sequence[str], chosen: str | None) -> list[str]:
    """Whom to ask what is right: the one that was named, else those installed that take no part, NumPy first, which runs core's own definitions."""
    if chosen is not None:
        return [chosen]
    rest = [name for name in plugins.names() if name not in names]
    return sorted(rest, key=lambda name: name != "numpy")[:2]


def _nothing(task: Task, causes: dict[str, str], sentence: str = "{name} is broken: {cause}") -> int:
    """Why there is nothing to look at, by backend."""
    if task.as_json:
        print_json({"backends": {name: {"error": cause} for name, cause in causes.items()}, "parted": None})
    else:
        for name, cause in causes.items():
            print(sentence.format(script=task.script, name=name, cause=cause))
    return 1


def _print(task: Task, answer: dict[str, Any], show: Callable[[dict[str, Any], Path], None]) -> None:
    if task.as_json:
        print_json(answer)
    else:
        show(answer, task.script)


# NaN
def _hunt(task: Task, folder: Path, target: Path) -> int:
    from unimodel.diff import report
    from unimodel.diff.capture import file_of, load
    from unimodel.diff.nonfinite import hunt
    from unimodel.diff.saved import write
    from unimodel.diff.side import Failure, Side

    (name, *_) = task.names
    outcome = task.capture(name, folder, until_bad=True)
    cause = _cause(outcome)
    result = outcome.result
    if result is None or not result["steps"]:
        task.refuse_untrained(outcome)
        return _nothing(task, {name: cause or "it made no step"}, "{script} failed on {name}: {cause}")
    bad = result["bad"]
    answer: dict[str, Any] = {"backend": name, "steps": result["steps"], "step": bad, "results": [], "origins": [], "file": None, "error": None}
    if bad is None:
        answer["error"] = cause
        _print(task, answer, show_hunt)
        return 0 if cause is None else 1
    number, step = load(file_of(folder, bad))
    try:
        with Side(name, task.time_limit) as side, working(f"step {number}: op by op on {name}", quiet=task.as_json):
            found = hunt(side, step)
    except Failure as failure:
        return _nothing(task, {name: failure.cause})
    answer |= report.hunted(found)
    if found.origins and not found.origins[0].entered:
        origin = found.origins[0]
        try:
            write(target, origin.piece, report.origin(origin) | {"step": number, "script": str(task.script)}, {name: origin.results})
            answer["file"] = str(target)
        except DataError as error:
            say(explain(error))
    _print(task, answer, show_hunt)
    return 1


# again
def _replay(file: Path, names: list[str], as_json: bool, time_limit: float | None) -> int:
    from unimodel.diff.replay import run_again
    from unimodel.diff.saved import read
    from unimodel.diff.side import Failure, Side

    try:
        piece, found, recorded_results = read(file)
    except DataError as error:
        refuse(explain(error))
    with ExitStack() as stack:
        try:
            answer = run_again(piece, found, recorded_results, [stack.enter_context(Side(name, time_limit)) for name in names])
        except Failure as failure:
            answer = {"backends": {failure.backend: {"error": failure.cause}}, "parted": True}
    if as_json:
        print_json(answer)
    else:
        show_replay(answer, found)
    return 1 if answer["parted"] else 0

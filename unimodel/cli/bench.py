"""``unimodel bench``: how fast backends are, once they agree."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unimodel import plugins
from unimodel.cli.console import explain, print_json, refuse, say
from unimodel.errors import DataError, PluginError

if TYPE_CHECKING:
    from unimodel.bench.plan import Contestant, Plan

DEFAULT_WORKLOADS = ("regression", "mlp", "cnn", "gpt")


def _list(text: str | None) -> list[str]:
    return [] if text is None else list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def bench(
    workloads: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORKLOAD",
            show_default=False,
            help="Names of workloads, or one script of yours with its arguments (after -- also those that are options of this command); regression mlp cnn gpt if left out.",
        ),
    ] = None,
    backends: Annotated[
        str | None, typer.Option("--backends", metavar="A,B,C", show_default=False, help="The backends; all that are installed but numpy if left out.")
    ] = None,
    mode: Annotated[str, typer.Option("--mode", metavar="A,B", help="train (one step at a time), fit, inference.")] = "train",
    batch_sizes: Annotated[
        str | None, typer.Option("--batch-sizes", metavar="N,M", show_default=False, help="Several show how it scales; the workload's own if left out.")
    ] = None,
    precision: Annotated[str, typer.Option("--precision", metavar="A,B", help="The precisions to train in.")] = "float32",
    compiling: Annotated[
        str,
        typer.Option(
            "--compile", metavar="A,B", help="What the Trainer's compile= is to be; default leaves it out. --native takes the framework's compiler with it."
        ),
    ] = "default",
    threads: Annotated[int, typer.Option("--threads", metavar="N", min=1, help="Threads, and cores that a process is pinned to.")] = 1,
    native: Annotated[bool, typer.Option("--native", help="Beside them the loop written by hand in each framework (in a checkout of unimodel).")] = False,
    keras: Annotated[bool, typer.Option("--keras", help="Beside them Keras 3 on each framework that it runs on (in a checkout of unimodel).")] = False,
    again: Annotated[bool, typer.Option("--again", help="Measure the baselines twice: what the noise is.")] = False,
    processes: Annotated[
        int, typer.Option("--processes", metavar="N", min=1, help="Fresh processes for each contestant; under 7 no difference is called one.")
    ] = 7,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", min=1, help="Turns in each process.")] = 1,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", min=0.001, help="Seconds that a turn takes, about.")] = 0.5,
    together: Annotated[
        bool, typer.Option("--together", help="Contestants of one workload and framework take turns in one process, for ratios between them.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Compare curves in the timed precision only, not in float64 first.")] = False,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="S", show_default=False, help="Begin no second process that would not end within so many seconds.")
    ] = None,
    python: Annotated[
        list[str] | None,
        typer.Option(
            "--python",
            metavar="NAME=INTERPRETER",
            show_default=False,
            help="Run a backend in another interpreter, such as a virtual environment's; repeatable.",
        ),
    ] = None,
    isolated: Annotated[bool, typer.Option("--isolate", help="Make and use a virtual environment for each backend.")] = False,
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="NAME", show_default=False, help="The backend that others must agree with; numpy if installed.")
    ] = None,
    json_file: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", show_default=False, help="Where to write the record as JSON, which pyperf reads; - prints it and nothing else."),
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", dir_okay=False, show_default=False, help="Where to write a page with plots.")
    ] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", dir_okay=False, show_default=False, help="Where to write the tables as Markdown.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="FILE", exists=True, dir_okay=False, show_default=False, help="An earlier record to compare with.")
    ] = None,
    time_limit: Annotated[float, typer.Option("--time-limit", metavar="SECONDS", min=1, help="How long one process may take.")] = 900.0,
    list_workloads: Annotated[bool, typer.Option("--list", help="List the workloads, and end.")] = False,
) -> None:
    """Time WORKLOADs on several backends, each only after its loss curve has agreed with the reference.

    Every measurement is a fresh process, pinned to its cores, with fixed threads; contestants take turns, A B C, then C B A. A process counts once, with its
    median; ratios come with a 99 % bootstrap interval over processes. A backend that does not agree is reported and not timed.

    A WORKLOAD may be a script: it runs until its first Trainer trains, and that Trainer's step is timed on the script's own first batches. What is no option of
    bench is the script's, as in bench mine.py --epochs 2.

    Exit status: 0 if all were timed (and --against found nothing slower beyond noise), 1 if something failed, disagreed or became slower, 2 for wrong usage.
    """
    from unimodel.bench.workloads import WORKLOADS

    if list_workloads:
        for workload in WORKLOADS.values():
            print(f"{workload.name:<12} {workload.description}, batch {workload.batch_size}")
        return
    script, arguments, names = _what(workloads or list(DEFAULT_WORKLOADS), list(WORKLOADS))
    interpreters = _interpreters(python or [])
    chosen = _backends(backends, interpreters)
    if isolated:
        with _telling(json_file == "-") as tell:
            try:
                interpreters = isolate_all([b for b in chosen if b not in interpreters], tell) | interpreters
            except PluginError as error:
                refuse(explain(error))
    earlier = _earlier(against)
    plan = make_plan(
        script or names,
        chosen,
        modes=_checked("--mode", _list(mode), ("train", "fit", "inference")),
        batch_sizes=_sizes(batch_sizes),
        precisions=_checked("--precision", _list(precision), _precisions()),
        compiling=_list(compiling) or ["default"],
        threads=threads,
        native=native,
        keras=keras,
        again=again,
        processes=processes,
        rounds=rounds,
        seconds=seconds,
        together=together,
        exact=not quick,
        budget=budget,
        interpreters=interpreters,
        reference=None if reference is None else _known(reference, interpreters),
        arguments=arguments,
        time_limit=time_limit,
    )
    raise typer.Exit(carry_out(plan, json_file, html_file, markdown_file, earlier))


def isolate_all(backends: Sequence[str], tell: Callable[[str], None]) -> dict[str, str]:
    from unimodel.bench.isolation import isolate

    return isolate(backends, tell)


# what the user asked for
def _what(words: list[str], known: list[str]) -> tuple[str | None, tuple[str, ...], list[str]]:
    """A script and its arguments, or names of workloads."""
    if words[0].endswith(".py") or os.sep in words[0]:
        if not Path(words[0]).is_file():
            refuse(f"there is no script {words[0]}.")
        return words[0], tuple(words[1:]), []
    options = [word for word in words if word.startswith("-")]
    if options:
        refuse(f"No such option: {options[0]}\n  expected: options of this command (--help lists them), or, after the path of a script, the script's own")
    if words == ["all"]:
        return None, (), known
    wrong = [word for word in words if word not in known]
    if wrong:
        refuse(f"no workload is called {', '.join(wrong)}.\n  expected: {', '.join(known)}, all, or the path of a script")
    return None, (), list(dict.fromkeys(words))


def _interpreters(pairs: list[str]) -> dict[str, str]:
    from unimodel.bench.sittings import backends_there, without_unimodel

    found = {}
    for pair in pairs:
        name, separator, path = pair.partition("=")
        if not separator or not name or not path:
            raise typer.BadParameter(f"write a backend's name and a path, as in torch=/envs/torch/bin/python; given {pair!r}", param_hint="--python")
        interpreter = shutil.which(path)
        if interpreter is None:
            refuse(f"--python {pair}: there is no interpreter {path}.")
        cause = without_unimodel(interpreter)
        if cause is not None:
            refuse(f"--python {pair}: unimodel cannot be used there.\n  given:    {cause}\n  remedy:   {path} -m pip install unimodel unimodel-{name}")
        there = backends_there(interpreter)
        if name not in there:
            refuse(
                f"--python {pair}: the backend {name} is not installed there.\n  expected: {', '.join(there) or 'none is'}\n  remedy:   {path} -m pip install unimodel-{name}"
            )
        found[name] = interpreter
    return found


def _backends(text: str | None, interpreters: dict[str, str]) -> list[str]:
    if text is None:
        found = list(dict.fromkeys([*plugins.names(), *interpreters]))
        chosen = [name for name in found if name != "numpy"] or found
    else:
        chosen = [_known(name, interpreters) for name in _list(text)]
    if not chosen:
        refuse("no backend is installed, or none was named: pip install unimodel-torch (or -tensorflow, -mxnet, -numpy)")
    return chosen


def _known(name: str, interpreters: dict[str, str]) -> str:
    if name not in plugins.names() and name not in interpreters:
        try:
            plugins.load(name)
        except PluginError as error:
            refuse(explain(error))
    return name


def _checked(option: str, given: list[str], known: Sequence[str]) -> list[str]:
    wrong = [value for value in given if value not in known]
    if wrong or not given:
        raise typer.BadParameter(f"choose from {', '.join(known)}; given {', '.join(wrong) or 'nothing'}", param_hint=option)
    return given


def _precisions() -> tuple[str, ...]:
    from unimodel.passes.precision import PRECISIONS

    return tuple(PRECISIONS)


def _sizes(text: str | None) -> list[int | None]:
    if text is None:
        return [None]
    try:
        sizes = [int(part) for part in _list(text)]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise typer.BadParameter(f"write whole numbers of at least 1, as in 16,64,256; given {text!r}", param_hint="--batch-sizes")
    return list(sizes)


def _earlier(file: Path | None) -> dict[str, Any] | None:
    from unimodel.bench.against import read

    if file is None:
        return None
    try:
        return read(file)
    except DataError as error:
        refuse(explain(error))


def make_plan(
    what: str | Sequence[str],
    backends: Sequence[str],
    *,
    modes: Sequence[str] = ("train",),
    batch_sizes: Sequence[int | None] = (None,),
    precisions: Sequence[str] = ("float32",),
    compiling: Sequence[str] = ("default",),
    threads: int = 1,
    native: bool = False,
    keras: bool = False,
    again: bool = False,
    **settings: Any,
) -> Plan:
    """All contestants, in the order in which they are shown."""
    from unimodel.bench.plan import Contestant, Plan
    from unimodel.bench.subjects import repository
    from unimodel.bench.workloads import WORKLOADS

    if (native or keras) and repository() is None:
        refuse(
            f"--{'native' if native else 'keras'}: the loops written by hand are in unimodel's repository (benchmarks/native), not in the installed package.\n"
            "  remedy:   run it in a checkout (pip install --editable .), or leave the option out"
        )
    script = what if isinstance(what, str) else None
    if script is not None and (native or keras):
        refuse("--native and --keras go with the built-in workloads: nobody has written a loop by hand for a script of yours.")
    found: list[Contestant] = []
    for workload in [script] if script is not None else what:
        for size in batch_sizes:
            if size is None and script is None:
                size = WORKLOADS[workload].batch_size
            for backend in backends:
                found += _contestants(Contestant(workload, backend, batch_size=size, threads=threads), modes, precisions, compiling, native, keras, again)
    return Plan(found, script=script, **settings)


def _contestants(
    plain: Contestant, modes: Sequence[str], precisions: Sequence[str], compiling: Sequence[str], native: bool, keras: bool, again: bool
) -> Iterator[Contestant]:
    """One workload on one backend: what is written by hand first, then ours."""
    from dataclasses import replace

    from unimodel.bench.subjects import has_loop

    for mode in modes:
        if native and mode != "fit" and has_loop(plain, "native"):
            for compiled in compiling if has_loop(plain, "compiler") else compiling[:1]:
                yield replace(plain, kind="native", mode=mode, compile=compiled)
            if again:
                yield replace(plain, kind="native again", mode=mode)
        for precision in precisions:
            for compiled in compiling:
                yield replace(plain, mode=mode, precision=precision, compile=compiled)
        if again and not native:
            yield replace(plain, kind="again", mode=mode)
        if keras and has_loop(plain, "keras"):
            yield replace(plain, kind="keras", mode=mode)


# doing it
def carry_out(plan: Plan, json_file: str | None, html_file: Path | None, markdown_file: Path | None, earlier: dict[str, Any] | None) -> int:
    """Run a plan and write what was asked for; the exit status."""
    from unimodel.bench import html, text
    from unimodel.bench.record import finite, record
    from unimodel.bench.session import run

    quiet = json_file == "-"
    with _telling(quiet) as tell:
        try:
            session = run(plan, tell)
        except DataError as error:
            refuse(explain(error))
    found = finite(record(session))
    if quiet:
        print_json(found)
    else:
        text.show(found, wide=sys.stdout.isatty())
        if json_file is not None:
            Path(json_file).write_text(json.dumps(found, indent=1) + "\n")
    if html_file is not None:
        html_file.write_text(html.page(found), encoding="utf-8")
    if markdown_file is not None:
        markdown_file.write_text(text.markdown(found), encoding="utf-8")
    slower = earlier is not None and _changed(found, earlier, say if quiet else print)
    return 1 if slower or session.failed else 0


def _changed(now: dict[str, Any], then: dict[str, Any], tell: Callable[[str], None]) -> bool:
    """Say what changed against an earlier run; whether anything became slower."""
    from unimodel.bench.against import compare

    changes, doubts = compare(now, then)
    tell(f"\nAgainst the run of {then['unimodel']['date'][:16]}, now over then:")
    for change in changes:
        tell(f"  {change.key}: {change.ratio}  {change.verdict}")
    if not changes:
        tell("  the two runs have no contestant in common")
    for sentence in doubts:
        tell(f"  doubtful: {sentence}")
    slower = [change.key for change in changes if change.verdict == "slower"]
    tell(f"Slower beyond noise: {', '.join(slower)}." if slower else "Nothing is slower beyond noise.")
    return bool(slower)


@contextmanager
def _telling(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Where progress goes: a live line on a terminal, plain lines elsewhere, nowhere beside JSON on standard output."""
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.text import Text

        with Console(stderr=True).status("") as status:
            yield lambda line: status.update(Text(line))
    else:
        yield say

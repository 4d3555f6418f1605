"""A user's script, run as Python itself would run it: as ``__main__``, with its arguments, beside its own modules."""

from __future__ import annotations

import os
import runpy
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer

from unimodel import plugins
from unimodel.cli.console import explain
from unimodel.errors import PluginError, UnimodelError, user_code
from unimodel.recording import Recording, StopRecording, recorded

Script = Annotated[Path, typer.Argument(metavar="SCRIPT", exists=True, dir_okay=False, show_default=False, help="A Python script that trains.")]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="ARGS", show_default=False, help="The script's own arguments; after -- also those that are options of this command."),
]


def known(name: str) -> str:
    """The name of an installed backend; any other is wrong usage. Nothing is imported."""
    if name not in plugins.names():
        try:
            plugins.load(name)
        except PluginError as error:
            raise typer.BadParameter(explain(error)) from error
    return name


def run_as_main(script: Path, arguments: Sequence[str]) -> None:
    """Run it, and wait for the threads it leaves; what it raises, ``SystemExit`` included, comes through."""
    argv, path = sys.argv, list(sys.path)
    sys.argv = [str(script), *arguments]
    if not getattr(sys.flags, "safe_path", False):
        sys.path[:1] = [os.path.dirname(os.path.realpath(script))]
    before = set(threading.enumerate())
    try:
        runpy.run_path(str(script.absolute()), run_name="__main__")
        for thread in set(threading.enumerate()) - before:
            if not thread.daemon:
                thread.join()
    finally:
        sys.argv, sys.path[:] = argv, path


def run_recorded(script: Path, arguments: Sequence[str], backend: str, recording: Recording) -> tuple[str | None, BaseException | None]:
    """Run it on a backend, its Trainers recorded; why it did not end as it should, in a sentence, and what it raised. The recording may have stopped it."""
    with recorded(recording), plugins.forced_backend(backend):
        try:
            run_as_main(script, arguments)
        except StopRecording:
            pass
        except SystemExit as stop:
            status = exit_status(stop)
            return (f"the script ended with exit status {status}", stop) if status else (None, None)
        except (Exception, KeyboardInterrupt) as error:
            if not isinstance(error, UnimodelError):  # which say all there is to know
                show_error(error, script)
            return describe(error, script), error
    return None, None


def own_traceback(error: BaseException, script: Path) -> TracebackType | None:
    """The part of an error's traceback that begins in the script."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != str(script.absolute()):
        trace = trace.tb_next
    return trace


def own_line(error: BaseException, script: Path) -> str:
    """Where in the script an error came from, as ``script.py:12``, or nothing."""
    trace, line = own_traceback(error, script), None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(script.absolute()):
            line = trace.tb_lineno
        trace = trace.tb_next
    return "" if line is None else f"{script}:{line}"


def describe(error: BaseException, script: Path) -> str:
    """An error as one text, with the line of the script it came from."""
    if isinstance(error, UnimodelError):
        return f"{type(error).__name__}: {error}"
    place = own_line(error, script)
    return f"{type(error).__name__}: {error}" + (f" ({place})" if place else "")


def show_error(error: BaseException, script: Path, everything: bool = True) -> None:
    """As Python shows it, from the script on. Unless ``everything`` is asked for, an error of unimodel's, which says all there is to know, comes without the
    lines that are not the user's, and without what it was made of."""
    trace = own_traceback(error, script)
    if isinstance(error, UnimodelError) and not everything:
        trace = _of_the_user(trace)
        error.__cause__, error.__suppress_context__ = None, True
    sys.excepthook(type(error), error.with_traceback(trace), trace)


def _of_the_user(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the lines of unimodel, of backends and of Python's own library."""
    if trace is None:
        return None
    rest = _of_the_user(trace.tb_next)
    return TracebackType(rest, trace.tb_frame, trace.tb_lasti, trace.tb_lineno) if user_code(trace.tb_frame.f_code.co_filename) else rest


def exit_status(stop: SystemExit) -> int:
    """The status a process ends with that raises this; a message goes to standard error, as usual."""
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or 0
    print(stop.code, file=sys.stderr)
    return 1

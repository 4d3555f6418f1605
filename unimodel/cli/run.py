"""``unimodel run``: a script on a backend of the user's choice."""

from __future__ import annotations

from typing import Annotated

import typer

from unimodel import plugins
from unimodel.cli.script import Arguments, Script, exit_status, known, run_as_main, show_error

_INTERRUPTED = 130


def run(
    script: Script,
    backend: Annotated[str, typer.Option("--backend", metavar="NAME", callback=known, show_default=False, help="The backend to run it on.")],
    traceback: Annotated[
        bool, typer.Option("--traceback", envvar="UNIMODEL_TRACEBACK", help="Where unimodel refuses something, show its own lines too, not only the script's.")
    ] = False,
    arguments: Arguments = None,
) -> None:
    """Run SCRIPT so that all its Trainers use one backend.

    A backend= that the script names is overridden; nothing else changes: the script is __main__, has its arguments and its folder's modules, and its exit
    status is the command's.
    """
    with plugins.forced_backend(backend):
        try:
            run_as_main(script, arguments or ())
        except SystemExit as stop:
            raise typer.Exit(exit_status(stop)) from stop
        except BaseException as error:
            show_error(error, script, everything=traceback)
            raise typer.Exit(_INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1) from error

"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

import unimodel
from unimodel.cli import apart, backends, bench, compare, conformance, diff, new_backend, run

app = typer.Typer(
    help="Write one training script and run it on PyTorch, TensorFlow, MXNet or NumPy, with the same loss curve on each.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_SCRIPT = {"ignore_unknown_options": True}  # what is no option of ours is the script's

app.command()(backends.backends)
app.command(context_settings=_SCRIPT)(run.run)
app.command(context_settings=_SCRIPT)(compare.compare)
app.command(context_settings=_SCRIPT)(diff.diff)
app.command(context_settings=_SCRIPT)(bench.bench)
app.command()(conformance.conformance)
app.command("new-backend")(new_backend.new_backend)
app.command(hidden=True)(apart.worker)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"unimodel {unimodel.__version__}")
        raise typer.Exit


@app.callback()
def options(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print unimodel's version.")] = False) -> None:
    """The options before a command; each does its work in its callback."""

"""What is said, and where: results on standard output, everything else on standard error; live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from unimodel.errors import UnimodelError

_WIDTH_ELSEWHERE = 200
"""Columns for tables that go to a file or a pipe."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def refuse(message: str) -> NoReturn:
    """Wrong usage."""
    say(f"error: {message}")
    raise typer.Exit(2)


def explain(error: UnimodelError) -> str:
    """An error's message without the line of code, for what no line of the user's caused."""
    lines = [error.message]
    lines += [
        f"  {label + ':':<9} {what}" for label, what in (("expected", error.expected), ("given", error.given), ("remedy", error.remedy)) if what is not None
    ]
    return "\n".join(lines)


@contextmanager
def working(what: str, quiet: bool = False, live: bool = True) -> Iterator[None]:
    """Says that something takes its time: a spinner on a terminal, elsewhere a line (none if ``quiet``)."""
    if live and sys.stderr.isatty():
        from rich.console import Console
        from rich.text import Text

        with Console(stderr=True).status(Text(what)):
            yield
        return
    if not quiet:
        say(what)
    yield


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str] = ()) -> None:
    """A table on standard output."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table()
    for column in columns:
        drawn.add_column(column, justify="right" if column in numeric else "left")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE).print(drawn)


def print_json(value: Any) -> None:
    """JSON by the letter: a number that is not finite is null."""
    print(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

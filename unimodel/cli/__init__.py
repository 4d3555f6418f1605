"""The command ``unimodel``. One file a command; core never imports this package.

``backends.py``, ``run.py``, ``compare.py`` and ``diff.py`` are among the commands. They share ``script.py`` (a script run as Python itself would),
``apart.py`` (work in a process of its own, which may crash or hang) and ``console.py`` (what is said where). ``agreement.py`` is the arithmetic behind
compare's verdict, ``diff_text.py`` what diff found as text.

Exit status: 0 success, 1 the thing checked fell short, 2 wrong usage.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line; typer is imported only now."""
    from unimodel.cli.app import app

    app(prog_name="unimodel")

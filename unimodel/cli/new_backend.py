"""``unimodel new-backend``: a working distribution to start a backend from, and what to add to it next.

What it copies is ``backends/template`` of unimodel's repository: a backend like any other, installed and held to the suite as it stands, so the skeleton cannot
rot unnoticed. Nothing is generated: every "template" in its files and their names becomes the new name. An installed unimodel has the same files
as package data, put there when the wheel is built (``sources`` in pyproject.toml); in a checkout there is one copy, that of the repository.
"""

from __future__ import annotations

import keyword
from pathlib import Path
from typing import Annotated

import typer

import unimodel
from unimodel import plugins
from unimodel.backend import Backend, Capability
from unimodel.cli.console import refuse, table
from unimodel.cli.script import known
from unimodel.coverage import pieces, to_do
from unimodel.ops import catalogue

_PACKAGED = Path(__file__).parent / "backend_template"
_CHECKOUT = Path(unimodel.__file__).parents[1] / "backends" / "template"
FILES = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    ".github/workflows/conformance.yml",
    "unimodel_template/__init__.py",
    "unimodel_template/plugin.py",
    "unimodel_template/ops.py",
)
"""What is copied: the template's files, not what builds and tools leave beside them."""


def new_backend(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="The backend's name, as in Trainer(backend=NAME).")],
    into: Annotated[Path, typer.Option("--into", metavar="DIR", file_okay=False, help="Where the distribution's folder, unimodel-NAME, is made.")] = Path(),
    todo: Annotated[
        bool, typer.Option("--todo", help="Write nothing: list the primitives that the installed backend NAME lacks, what unlocks most first.")
    ] = False,
) -> None:
    """Write a working skeleton of a backend: entry point, hook, a table with ten primitives, README, CI.

    It installs and runs the conformance suite at once. With --todo, what to add to an installed backend's table next.
    """
    if todo:
        _show_to_do(plugins.load(known(name)))
        return
    if not name.isidentifier() or not name.islower() or keyword.iskeyword(name):
        refuse(f"a backend's name is a lower-case Python identifier, as it is part of a package's name; {name!r} is none.")
    if name in plugins.names():
        refuse(f"a backend called {name!r} is installed; two of one name cannot be used. What it lacks lists: unimodel new-backend {name} --todo")
    distribution = f"unimodel-{name.replace('_', '-')}"
    folder = into / distribution
    if folder.exists() and any(folder.iterdir()):
        refuse(f"{folder} exists and is not empty.")
    written = write_skeleton(name, folder)
    print(f"{folder}: {len(written)} files")
    print("\nnext:")
    for command in (
        f"cd {folder}",
        'pip install -e ".[test]"',
        "unimodel backends --check",
        f"pytest --pyargs unimodel_conformance --backend {name}",
        f"unimodel new-backend {name} --todo",
    ):
        print(f"  {command}")


def write_skeleton(name: str, folder: Path) -> list[Path]:
    """The template under another name in ``folder``; returns what was written."""
    source = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    if not source.is_dir():
        refuse("this installation of unimodel lacks the template; pip install --force-reinstall unimodel")
    written = []
    for file in FILES:
        target = folder / file.replace("template", name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_renamed((source / file).read_text(encoding="utf-8"), name), encoding="utf-8")
        written.append(target)
    return written


def _renamed(text: str, name: str) -> str:
    camel = "".join(part.capitalize() for part in name.split("_"))
    return text.replace("unimodel-template", f"unimodel-{name.replace('_', '-')}").replace("TemplateBackend", f"{camel}Backend").replace("template", name)


def _show_to_do(backend: type[Backend]) -> None:
    lowerings, training = backend.lowerings, backend.gap(Capability.TRAINING) is None
    primitives = [op.name for op in catalogue.values() if not op.composite]
    every, steps = pieces(lowerings, training), to_do(lowerings, training)
    done = sum(not piece.missing for piece in every)
    print(
        f"{backend.name} lowers {len(primitives) - len(steps)} of {len(primitives)} primitives; "
        f"{done} of {len(every)} composites, layers and losses {'train' if training else 'run'}."
    )
    if not steps:
        return
    shared = [step for step in steps if step.awaited_by]
    if shared:
        table(
            ("add", "then complete", "awaited by"), [(s.primitive, ", ".join(s.completes) or "-", str(s.awaited_by)) for s in shared], numeric=("awaited by",)
        )
    alone = [step.primitive for step in steps if not step.awaited_by]
    if alone:
        print(f"{'Then, which' if shared else 'Missing, and'} only those who call them need: {', '.join(alone)}")

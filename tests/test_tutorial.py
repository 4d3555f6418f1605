"""The tutorial's commands and code, executed as they stand, in the order in which a reader meets them.

A block's first line says what it is: ``sh`` is run, ``text`` is what the command before it prints (``...`` stands for anything), ``python file=F`` is saved
as F, ``append=F`` comes below what F has, ``in=F`` quotes it, and ``diff F`` changes it. Commands see a virtual environment of their own, in which
everything of this one is installed too, and no network.

The suite is run in part, ``UNIMODEL_TUTORIAL=whole`` runs it as written.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("unimodel_conformance")
TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial-backend.md"
A_PART = "-k '(test_sample or _gradient) and (matmul or take_gradient or gelu)'"
COMMANDS = {"pip": "pip._internal.cli.main:main", "pytest": "pytest:main", "unimodel": "unimodel.cli:main"}


@dataclass
class Block:
    """A fenced block: its language, what stands beside that, its text, and its line in the tutorial."""

    language: str
    note: str
    text: str
    line: int


def blocks() -> list[Block]:
    text = TUTORIAL.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w+)[ ]?(.*)\n((?:.*\n)*?)^```$", text, re.MULTILINE)
    return [Block(m[1], m[2], m[3], text[: m.start()].count("\n") + 1) for m in found]


class Reader:
    """Does what the tutorial says, in a folder and an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        environment = folder / "venv"
        venv.create(environment, with_pip=False, symlinks=True)
        paths = sysconfig.get_paths(vars={"base": str(environment), "platbase": str(environment)})
        ours = sysconfig.get_paths()["purelib"]
        (Path(paths["purelib"]) / "everything-here.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
        for name, target in COMMANDS.items():
            module, function = target.split(":")
            script = Path(paths["scripts"]) / name
            script.write_text(f"#!{paths['scripts']}/python\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n")
            script.chmod(0o755)
        self.environment = {
            **{k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "UNIMODEL_BACKEND")},
            "PATH": f"{paths['scripts']}{os.pathsep}{os.environ['PATH']}",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads the variable as the option it negates
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTEST_ADDOPTS": "-p no:cacheprovider" + ("" if os.environ.get("UNIMODEL_TUTORIAL") == "whole" else f" {A_PART}"),
        }
        self.printed = ""

    def follow(self, block: Block) -> None:
        kind, _, file = block.note.partition("=")
        if block.language == "sh":
            self.run(block.text)
        elif block.language == "text":
            self.compare(block.text)
        elif block.language == "diff":
            self.change(self.folder / block.note, block.text)
        elif kind == "file":
            (self.folder / file).write_text(block.text)
        elif kind == "append":
            path = self.folder / file
            apart = "\n\n" if re.match(r"@|def |class ", block.text) else "\n"
            path.write_text(f"{path.read_text()}{apart}{block.text}")
        elif kind == "in":
            quoted, there = ([line.strip() for line in text.splitlines() if line.strip()] for text in (block.text, (self.folder / file).read_text()))
            assert any(there[i : i + len(quoted)] == quoted for i in range(len(there))), f"{file} does not have what the tutorial quotes"
        else:
            pytest.fail(f"nothing says what to do with the {block.language} block")

    def run(self, commands: str) -> None:
        where = self.folder.parent / "where"
        script = f"set -e\n{commands}\npwd > {where}\n"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=900, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, f"{commands}{done.stdout}{done.stderr}"
        self.printed = done.stdout
        self.folder = Path(where.read_text().strip())

    def compare(self, expected: str) -> None:
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert doctest.OutputChecker().check_output(expected, self.printed, flags), f"expected:\n{expected}\nprinted:\n{self.printed}"

    @staticmethod
    def change(path: Path, difference: str) -> None:
        lines = difference.splitlines(keepends=True)
        before, after = ("".join(line[1:] for line in lines if line[0] in kept) for kept in ("- ", "+ "))
        text = path.read_text()
        assert text.count(before) == 1, f"{path.name} does not have, or has twice, what the tutorial changes:\n{before}"
        path.write_text(text.replace(before, after))


@pytest.mark.skipif(sys.platform == "win32", reason="the tutorial's commands are for a POSIX shell")
def test_every_step_of_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    for block in blocks():
        try:
            reader.follow(block)
        except Exception as error:
            raise AssertionError(f"{TUTORIAL.name}, line {block.line}: {error}") from error
    assert (reader.folder / "tiny.json").is_file()


def test_the_forward_only_backend_has_less_than_150_lines() -> None:
    (count,) = [b.text.strip() for b in blocks() if b.language == "text" and b.text.strip().isdigit()]  # which the test above holds to be true
    assert int(count) < 150

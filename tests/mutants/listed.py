"""The written list: faults that people make, or nearly made here. They stand in ``faults/``, a file for each part that can be at fault.

A fault is a name; ``in`` the file; ``run`` the tests that concern it (files of the suite or of the repository, and pytest's ``-k``); ``says``, a pattern that the rejection
must match, so that its message points at the fault; then, as in a patch, what stands there and what is put in its place. Blank lines part faults.
"""

from __future__ import annotations

import re
from pathlib import Path

from .fault import Fault

FOLDER = Path(__file__).with_name("faults")
BACKENDS = ("torch", "tensorflow", "mxnet")


def read(path: Path) -> list[Fault]:
    """The faults of one file. One that is named like a backend holds faults of that backend's own, tried on it; all others are tried on NumPy."""
    blocks = re.split(r"\n\s*\n", path.read_text(encoding="utf-8").strip("\n"))
    return [_fault(block.split("\n"), path.stem) for block in blocks]


def _fault(lines: list[str], area: str) -> Fault:
    name, *rest = lines
    fields = dict(line.split(" ", 1) for line in rest if line.split(" ", 1)[0] in ("in", "run", "says"))
    files, _, tests = fields["run"].partition(" -k ")
    file, _, count = fields["in"].partition(" ")
    old, new = ("\n".join(line[2:] for line in rest if line[:1] == sign) for sign in "-+")
    backend = area if area in BACKENDS else "numpy"
    return Fault(name, file, old, new, files, tests, fields.get("says", ""), backend, area, int(count.split()[0]) if count else 1)


FAULTS = [fault for path in sorted(FOLDER.glob("*.txt")) for fault in read(path)]

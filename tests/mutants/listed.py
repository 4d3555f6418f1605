"""The written list: faults that people make, or nearly made here. They stand in ``faults/``, a file for each part that can be at fault.

A fault is a name; ``in`` the file; ``run`` the tests that concern it (files of the suite or of the repository, and pytest's ``-k``); ``says``, a pattern that the rejection
must match, so that its message points at the fault; then, as in a patch, what stands there and what is put in its place. Blank lines part faults.
"""

from __future__ import annotations

import re
from pathlib import Path

from .fault import Fault

FOLDER = Path(__file__).with_name("faults")
BACKENDS = {"torch": "torch", "tensorflow": "tensorflow", "mxnet": "mxnet", "precision": "torch"}
"""Where faults of a part are tried, if not on NumPy, which runs core's own definitions (and has no half precisions)."""


def read(path: Path) -> list[Fault]:
    """The faults of one file."""
    blocks = re.split(r"\n\s*\n", path.read_text(encoding="utf-8").strip("\n"))
    return [_fault(block.split("\n"), path.stem) for block in blocks]


def _fault(lines: list[str], area: str) -> Fault:
    name, *rest = lines
    fields = dict(line.split(" ", 1) for line in rest if line.split(" ", 1)[0] in ("in", "run", "says"))
    files, _, tests = fields["run"].partition(" -k ")
    file, _, count = fields["in"].partition(" ")
    old, new = ("\n".join(line[2:] for line in rest if line[:1] == sign) for sign in "-+")
    count_text = count.split()[0] if count else "1"
    return Fault(name, file, old, new, files, tests, fields.get("says", ""), BACKENDS.get(area, "numpy"), area, int(count_text))


FAULTS = [fault for path in sorted(FOLDER.glob("*.txt")) for fault in read(path)]

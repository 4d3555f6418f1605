"""What a fault is: a change of one place in one file, and which tests are to notice it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The repository."""
SUITE = "conformance/unimodel_conformance/"


class Rotten(Exception):
    """A fault whose place is no longer there: the list is to be mended."""


@dataclass(frozen=True)
class Fault:
    """``old`` stands once in ``file`` and is replaced by ``new``.

    ``files`` are the test files that are run, those without a folder being the suite's; ``tests`` is pytest's ``-k``. ``says`` is a regular expression that the first
    failure, test and message together, must hold: a rejection has to point at the fault. ``backend`` is the one under test.
    """

    name: str
    file: str
    old: str
    new: str
    files: str
    tests: str = ""
    says: str = ""
    backend: str = "numpy"
    area: str = ""
    """What it is a fault of, for the summary."""
    count: int = 1
    """How often ``old`` stands in the file; all of them are replaced."""

    @property
    def key(self) -> str:
        """What tells a fault from an earlier one of its name."""
        return f"{zlib.crc32(repr(self).encode()):08x}"

    def apply(self, source: str) -> str:
        """The file's text with the fault in it."""
        found = source.count(self.old)
        if found != self.count:
            raise Rotten(f"{self.name}: {self.old!r} stands {found} times in {self.file}, not {self.count} time{'s' * (self.count > 1)}")
        changed = source.replace(self.old, self.new)
        if changed == source:
            raise Rotten(f"{self.name} changes nothing")
        return changed

    def arguments(self, tree: Path) -> list[str]:
        """pytest's arguments for the tests that concern it."""
        paths = [str(tree / (name if "/" in name else SUITE + name)) for name in self.files.split()]
        return [*(["-k", self.tests] if self.tests else []), *paths]

    def other_arguments(self, tree: Path) -> list[str]:
        """The same for where there turn out to be none of these tests; empty where that is a mistake."""
        return []

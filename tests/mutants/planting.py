"""A copy of the repository's packages with one fault in it, and the tests that concern the fault run on that copy.

The copy stands first on the path, so that installed packages are left alone. A worker loads the framework and pytest once and forks for each fault: what takes seconds is
done once, and nothing of one fault is left when the next is planted.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .fault import ROOT, Fault, Rotten

PARTS = (
    "unimodel",
    "backends/*/unimodel_*",
    "conformance/unimodel_conformance",
    "tests",
    "backends/*/tests",
    "examples",
    "docs",
    "pyproject.toml",
    "backends/*/pyproject.toml",
)
PACKAGES = (".", "conformance", "backends/numpy", "backends/torch", "backends/tensorflow", "backends/mxnet")
FIRST = {"torch": ("torch",), "tensorflow": ("tensorflow",)}
"""What a worker imports before it forks, beside NumPy, SciPy and pytest. (MXNet is imported by its backend only, which makes it fit for the NumPy there is.)"""

REJECTED, SURVIVED, STILLBORN, TIMEOUT, ROTTEN, UNPOINTED = "rejected", "survived", "does not import", "out of time", "rotten", "rejected without a hint"


@dataclass
class Outcome:
    """What became of a fault: the first test that failed and its message."""

    name: str
    state: str
    test: str = ""
    message: str = ""
    seconds: float = 0.0
    backend: str = "numpy"
    key: str = ""


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of the packages and their tests."""
    folder = Path(tempfile.mkdtemp(prefix="mutants-"))
    try:
        for pattern in PARTS:
            for source in ROOT.glob(pattern):
                target = folder / source.relative_to(ROOT)
                if source.is_dir():
                    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "mutants"))
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, target)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Worker:
    """Plants faults one at a time in a tree of its own."""

    def __init__(self, tree: Path, backend: str, limit: int) -> None:
        self.tree = tree
        self.backend = backend
        self.limit = limit
        sys.dont_write_bytecode = True
        for name in ("numpy", "scipy.special", "scipy.stats", "hypothesis", "pytest", "safetensors.numpy", "pluggy", "rich", "typer", *FIRST.get(backend, ())):
            __import__(name)

    def run(self, fault: Fault) -> Outcome:
        started = time.monotonic()
        path = self.tree / fault.file
        try:
            text = path.read_text(encoding="utf-8")
            path.write_text(fault.apply(text), encoding="utf-8")
        except (Rotten, OSError) as error:
            return Outcome(fault.name, ROTTEN, message=str(error), backend=self.backend, key=fault.key)
        try:
            state, found = self._tested(fault)
        finally:
            path.write_text(text, encoding="utf-8")
        seconds = round(time.monotonic() - started, 1)
        outcome = Outcome(fault.name, state, found.get("test", ""), found.get("message", ""), seconds, self.backend, fault.key)
        if outcome.state == REJECTED and fault.says and not _points(fault.says, outcome):
            outcome.state = UNPOINTED
        return outcome

    def _tested(self, fault: Fault) -> tuple[str, dict[str, str]]:
        state, found = self._run(fault.arguments(self.tree))
        other = fault.other_arguments(self.tree)
        return self._run(other) if state == ROTTEN and other else (state, found)

    def _run(self, arguments: Sequence[str]) -> tuple[str, dict[str, str]]:
        report = self.tree / "report.json"
        report.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            try:
                os.setsid()
                _child(self.tree, arguments, self.backend, report, self.limit)
            finally:
                os._exit(99)
        code = _wait(child, 4 * self.limit)
        found = json.loads(report.read_text()) if report.is_file() else {}
        if found.get("test"):
            return (STILLBORN if found.get("when") == "collect" else REJECTED), found
        if code is None or -code in (signal.SIGXCPU, signal.SIGKILL):
            return TIMEOUT, {}
        if code < 0:  # a fault that takes the process down is not overlooked
            return REJECTED, {"message": f"the process was ended by signal {-code}"}
        return {0: SURVIVED, 5: ROTTEN}.get(code, STILLBORN), {
            "message": "no test concerns it" if code == 5 else "" if code == 0 else f"pytest ended with {code}"
        }


def _points(says: str, outcome: Outcome) -> bool:
    return re.search(says, f"{outcome.test} {outcome.message}", re.IGNORECASE | re.DOTALL) is not None


def _wait(child: int, limit: float) -> int | None:
    """The exit code, minus a signal's number, or None where the time was up."""
    ends = time.monotonic() + limit
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _child(tree: Path, arguments: Sequence[str], backend: str, report: Path, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    sink = os.open(str(tree / "output.txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    paths = [str(tree / p) for p in PACKAGES]
    sys.path[:0] = paths
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.chdir(tree)
    import pytest

    code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--backend", backend, *arguments], plugins=[_FirstFailure(report)])
    sys.stdout.flush()
    os._exit(int(code))


class _FirstFailure:
    """Writes down the first test that fails, and what it says."""

    def __init__(self, report: Path) -> None:
        self.report = report
        self.written = False

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._write(report.nodeid or "collection", str(report.longrepr), "collect")

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self._write(report.nodeid, crash.message if crash is not None else str(report.longrepr), report.when)

    def _write(self, test: str, message: str, when: str) -> None:
        if not self.written:
            self.written = True
            self.report.write_text(json.dumps({"test": test.split("unimodel_conformance/")[-1], "message": message[:2000], "when": when}))

"""pytest's side of the suite: the options, the backend under test, and the state of each test.

The plugin is loaded by every pytest run in its environment, so it imports nothing of unimodel until ``--backend`` is given. With pytest-xdist (``-n 2``)
workers judge, and what they found travels with pytest's reports, as plain data, to the process that writes the matrix.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unimodel_conformance import matrix
from unimodel_conformance.states import BROKEN, FAIL, KNOWN_DEFECT, NEWER, PASS, REFUSED, STATES, Refused, Verdict, judge

if TYPE_CHECKING:
    from unimodel_conformance.subject import Subject

PACKAGE = Path(__file__).parent
_LETTERS = {PASS: (".", "green"), FAIL: ("F", "red"), REFUSED: ("r", "yellow"), NEWER: ("n", "yellow"), KNOWN_DEFECT: ("d", "yellow")}


@dataclass
class Run:
    """One run of the suite: the backend, what it declares, and the tests' states so far."""

    name: str
    subject: Subject | None = None
    cause: str = ""
    stamp: dict[str, Any] = field(default_factory=dict)
    records: dict[str, matrix.Record] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    journal: Path | None = None

    @property
    def declared(self) -> dict[str, Any]:
        return {} if self.subject is None else dict(self.subject.backend.known_defects)


_RUN = pytest.StashKey[Run]()
_THRESHOLD = pytest.StashKey[tuple[int, int, int]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("unimodel", "conformance of a unimodel backend")
    group.addoption("--backend", metavar="NAME", help="the installed backend that the suite is run against")
    group.addoption("--device", metavar="DEVICE", default="cpu", help="the backend's device (default: cpu)")
    group.addoption("--matrix", metavar="FILE", help="write what became of each test to this JSON file")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "concerns(kind, name=None): what a conformance test is about; the name is the first parameter's by default")
    config.addinivalue_line("markers", "needs(*capabilities): capabilities without which a conformance test cannot run")
    config.addinivalue_line("markers", "since(major, minor): the first version of the API that a conformance test is for")
    name = config.getoption("--backend")
    if name:
        run = config.stash[_RUN] = _load(name, config.getoption("--device"), None if _is_worker(config) else config.getoption("--matrix"))
        config.pluginmanager.register(_Records(run))


def _is_worker(config: pytest.Config) -> bool:
    """Whether this is one of pytest-xdist's workers."""
    return hasattr(config, "workerinput")


class _Records:
    """Keeps what became of each test, wherever it ran."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def pytest_runtest_logreport(self, report: Any) -> None:
        about = getattr(report, "conformance", None)
        if about is not None:
            self.run.records[about["test"]] = matrix.Record(**about)
        elif report.failed and report.when not in ("setup", "call", "teardown"):  # a worker died of it
            test = report.nodeid.rsplit("/", 1)[-1]
            self.run.records[test] = matrix.Record(test, "other", test, FAIL, str(report.longrepr))


def _load(name: str, device: str, target: str | None) -> Run:
    from unimodel import plugins
    from unimodel_conformance.subject import Subject, stamp, undeclarable

    if name not in plugins.names():
        raise pytest.UsageError(f"no backend is called {name!r}; installed are {', '.join(plugins.names())}")
    run = Run(name)
    try:
        kind = plugins.load(name)
        wrong = undeclarable(kind.tolerances)
        if wrong:
            raise pytest.UsageError(f"the backend {name}: {wrong}")
        run.subject = Subject(kind(device))
        run.stamp = stamp(run.subject)
    except pytest.UsageError:
        raise
    except Exception as error:
        run.cause = f"{type(error).__name__}: {error}"
        run.records["load"] = matrix.Record("", "backend", "load", BROKEN, run.cause)
    if target:
        run.journal = Path(str(target) + ".journal")
        run.journal.parent.mkdir(parents=True, exist_ok=True)
        run.journal.write_text("")
    return run


def run_of(config: pytest.Config) -> Run | None:
    return config.stash.get(_RUN, None)


@pytest.fixture(scope="session")
def subject(pytestconfig: pytest.Config) -> Subject:
    """The backend under test."""
    run = run_of(pytestconfig)
    assert run is not None and run.subject is not None, "collection stops before a test runs without a backend"
    return run.subject


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """Within the suite, whatever names no backend means the one under test; innermost, so that no fixture of somebody's conftest.py says otherwise."""
    run = run_of(item.config)
    if run is None or run.subject is None or not _ours(item):
        return (yield)
    from unimodel import plugins

    with plugins.use_backend(run.name):
        return (yield)


def _ours(item: pytest.Item) -> bool:
    return PACKAGE in item.path.parents


def test_id(item: pytest.Item) -> str:
    """``test_ops.py::test_sample[conv-0]``, wherever the suite is installed."""
    return f"{item.path.name}::{item.nodeid.split('::', 1)[1]}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [i for i in items if _ours(i)]
    if not ours:
        return
    run = run_of(config)
    if run is None:
        raise pytest.UsageError("the conformance suite needs to know which backend to test: --backend NAME")
    if run.subject is None:
        items[:] = [i for i in items if not _ours(i)]
        return
    _check_declared(config, run, ours)
    items.sort(key=_neighbours(items).__getitem__)


def _neighbours(items: Sequence[pytest.Item]) -> dict[pytest.Item, tuple[int, int]]:
    """An order in which the tests of one file that are about one thing run next to each other: programs and results that several look at are made once in a process."""
    files: dict[Path, int] = {}
    things: dict[Any, int] = {}
    return {i: (files.setdefault(i.path, len(files)), things.setdefault((i.path, *_about(i)) if _ours(i) else i, len(things))) for i in items}


def pytest_collection_finish(session: pytest.Session) -> None:
    """What frameworks and tests have loaded by now stays to the end. The suite makes and drops programs by the thousand, and need not look through all that each time."""
    if run_of(session.config) is not None:
        session.config.stash[_THRESHOLD] = gc.get_threshold()
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _THRESHOLD in config.stash:
        gc.unfreeze()
        gc.set_threshold(*config.stash[_THRESHOLD])


def _check_declared(config: pytest.Config, run: Run, items: list[pytest.Item]) -> None:
    """A known defect of a test that does not exist is a mistake; only whole files can tell."""
    ids = {test_id(i) for i in items}
    files = {i.path.name for i in items}
    chosen = {Path(str(a).split("::")[0]).name for a in config.args if "::" in str(a)}
    unknown = [d for d in run.declared if d not in ids and (not (PACKAGE / d.split("::")[0]).is_file() or d.split("::")[0] in files - chosen)]
    if unknown:
        raise pytest.UsageError(f"known_defects of the backend {run.name} name tests that the suite does not have: {', '.join(sorted(unknown))}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    run = run_of(item.config)
    if run is None or run.subject is None or not _ours(item):
        return
    if run.journal is not None:
        run.journal.write_text(test_id(item))
    for marker in item.iter_markers("needs"):
        for capability in marker.args:
            gap = run.subject.backend.gap(capability)
            if gap is not None:
                raise Refused(f"{capability.value}: {gap}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report: pytest.TestReport = yield
    run = run_of(item.config)
    if run is None or run.subject is None or not _ours(item) or (report.when != "call" and report.passed):
        return report
    from unimodel.errors import UnsupportedError

    since = item.get_closest_marker("since")
    verdict = judge(
        call.excinfo.value if call.excinfo is not None else None,
        test=test_id(item),
        declared=run.declared,
        missing=run.subject.missing,
        unsupported=UnsupportedError,
        newer=since is not None and tuple(since.args) > tuple(run.subject.backend.api),
    )
    _carry_out(report, verdict, item)
    kind, name = _about(item)
    record = matrix.Record(test_id(item), kind, name, verdict.state, verdict.reason, round(call.duration, 3))
    report.conformance = vars(record)  # type: ignore[attr-defined]  # read by _Records and for the status line
    return report


def _carry_out(report: pytest.TestReport, verdict: Verdict, item: pytest.Item) -> None:
    if verdict.state == FAIL and report.outcome != "failed":
        report.longrepr = verdict.reason
    elif verdict.state not in (PASS, FAIL):
        report.longrepr = (str(item.path), item.location[1] or 0, verdict.reason)
    report.outcome = {PASS: "passed", FAIL: "failed"}.get(verdict.state, "skipped")  # type: ignore[assignment]  # one of pytest's three


def _about(item: pytest.Item) -> tuple[str, str]:
    marker = item.get_closest_marker("concerns")
    kind = marker.args[0] if marker is not None else "other"
    if marker is not None and len(marker.args) > 1:
        return kind, marker.args[1]
    callspec = getattr(item, "callspec", None)
    first = next(iter(callspec.params.values()), None) if callspec is not None else None
    function = getattr(item, "originalname", item.name).removeprefix("test_").replace("_", " ")
    return kind, str(getattr(first, "about", None) or getattr(first, "name", None) or first or function)


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: Any) -> Any:
    state = getattr(report, "conformance", {"state": PASS})["state"]
    if state in (PASS, FAIL):
        return None
    letter, colour = _LETTERS[state]
    return state, letter, (state.upper(), {colour: True})


def pytest_sessionfinish(session: pytest.Session) -> None:
    run = run_of(session.config)
    if run is None or _is_worker(session.config):
        return
    if run.cause:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    target = session.config.getoption("--matrix")
    if target and run.records:
        status = BROKEN if run.cause else "complete"
        stamp = run.stamp or {"backend": run.name}
        matrix.write(target, matrix.build(stamp, run.records.values(), time.perf_counter() - run.started, status))
    if run.journal is not None:
        run.journal.unlink(missing_ok=True)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    run = run_of(config)
    if run is None or not run.records:
        return
    terminalreporter.section(f"conformance of {run.name}")
    if run.cause:
        terminalreporter.write_line(f"broken: {run.cause}", red=True)
        return
    for reason, count in _refusals(run).items():
        terminalreporter.write_line(f"{reason}: {count} tests")
    if run.subject is not None and run.subject.missing:
        terminalreporter.write_line(
            f"to do, what unlocks most first: {', '.join(_to_do(run.subject))} (what each completes: unimodel new-backend {run.name} --todo)"
        )
    counts = {s: sum(r.state == s for r in run.records.values()) for s in STATES}
    terminalreporter.write_line(", ".join(f"{n} {s}" for s, n in counts.items() if n) + f"  ({run.stamp.get('framework', '')})")


def _refusals(run: Run) -> dict[str, int]:
    found: dict[str, int] = {}
    for record in run.records.values():
        if record.state in (REFUSED, KNOWN_DEFECT):
            key = f"{record.state}, {record.reason}"
            found[key] = found.get(key, 0) + 1
    return found


def _to_do(subject: Subject) -> list[str]:
    """Primitives without a lowering, in the order of ``unimodel new-backend --todo``, whatever tests were run."""
    from unimodel.backend import Capability
    from unimodel.coverage import to_do

    return [step.primitive for step in to_do(subject.backend.lowerings, subject.claims(Capability.TRAINING))]

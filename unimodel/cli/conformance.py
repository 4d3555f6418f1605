"""``unimodel conformance``: the suite against one backend, or the results of several side by side.

The suite is a distribution of its own, ``unimodel-conformance``, and runs in a process of its own: a backend that takes its process down is reported as broken, with
the test that was running.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from unimodel.cli.apart import cause_of_death, end
from unimodel.cli.console import refuse, say
from unimodel.cli.script import known

_SUITE = "unimodel_conformance"


def conformance(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="The backend; with --merge, files that --json has written.")],
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write what became of each test to this file.")] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Put the results in these files side by side instead of running anything.")] = False,
    docs: Annotated[Path | None, typer.Option("--docs", metavar="FILE", help="With --merge: write the support page here.")] = None,
    check: Annotated[bool, typer.Option("--check", help="With --merge and --docs: only say whether the page is up to date.")] = False,
    device: Annotated[str, typer.Option("--device", help="The backend's device.")] = "cpu",
    select: Annotated[str | None, typer.Option("-k", metavar="EXPRESSION", help="Only tests whose names match, as pytest's -k.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Processes that share the tests; more than one needs pytest-xdist.")] = 1,
    time_limit: Annotated[float, typer.Option("--time-limit", metavar="SECONDS", min=1.0, help="How long the run may take.")] = 3600.0,
) -> None:
    """Run the conformance suite against a backend: every op, layer, loss and optimizer, training, errors and claims.

    Exit status 0 if nothing fails that the backend claims, 1 if something does or the backend is broken, 2 if the call or what the backend declares is wrong.

    \b
    unimodel conformance torch --json torch.json
    unimodel conformance --merge torch.json numpy.json --docs support.md
    """
    if importlib.util.find_spec(_SUITE) is None:
        refuse("the suite is not installed: pip install unimodel-conformance")
    if merge:
        missing = [n for n in names if not Path(n).is_file()]
        if missing:
            refuse(f"there is no file {missing[0]}")
        from unimodel_conformance.merge import run

        raise typer.Exit(run(names, docs, json_file, check))
    if len(names) != 1:
        refuse(f"one backend at a time, since a process runs one: {', '.join(names)}")
    if docs is not None or check:
        refuse("--docs and --check go with --merge")
    if jobs > 1 and importlib.util.find_spec("xdist") is None:
        refuse("--jobs needs pytest-xdist: pip install pytest-xdist")
    known(names[0])
    shared = ["-n", str(jobs), "--dist", "worksteal"] if jobs > 1 else []
    raise typer.Exit(_run(names[0], device, json_file, [*shared, *(["-k", select] if select else [])], time_limit))


def _run(name: str, device: str, json_file: Path | None, options: list[str], time_limit: float) -> int:
    """The suite in a process of its own, away from whatever project the present folder belongs to."""
    import unimodel_conformance

    package = Path(unimodel_conformance.__file__).parent
    with tempfile.TemporaryDirectory(prefix="unimodel-") as folder:
        matrix = Path(folder, "matrix.json")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "--pyargs",
            _SUITE,
            "--backend",
            name,
            "--device",
            device,
            f"--matrix={matrix}",
            "-q",
            "--no-header",
            "--tb=short",
        ]
        command += ["-p", "no:cacheprovider", "-c", str(package / "pytest.ini"), f"--rootdir={package}", *options]
        process = subprocess.Popen(command, cwd=folder, start_new_session=True)
        try:
            status = process.wait(time_limit)
            cause = cause_of_death(status)
        except subprocess.TimeoutExpired:
            status, cause = 1, f"it did not finish within {time_limit:g} s"
        finally:
            end(process)
        if not matrix.exists():
            if 1 < status < 5:
                return 2  # pytest has said what was wrong with the call
            _broken(matrix, name, cause, matrix.with_name(matrix.name + ".journal"))
            status = 1
        if json_file is not None:
            json_file.parent.mkdir(parents=True, exist_ok=True)
            json_file.write_bytes(matrix.read_bytes())
        result: dict[str, Any] = json.loads(matrix.read_text(encoding="utf-8"))
        say(f"{name}: {', '.join(f'{n} {state}' for state, n in result['counts'].items() if n)} in {result['seconds']} s")
        return int(bool(status))


def _broken(target: Path, name: str, cause: str, journal: Path) -> None:
    from unimodel_conformance import matrix

    during = journal.read_text() if journal.exists() else ""
    where = f" during {during}" if during else " while it was loaded"
    say(f"broken: {cause}{where}")
    matrix.write(target, matrix.broken(name, f"{cause}{where}"))

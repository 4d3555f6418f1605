"""``unimodel backends``: what is installed, and with ``--check`` what of it works."""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from unimodel import plugins
from unimodel.backend import API_VERSION
from unimodel.cli.apart import call_apart
from unimodel.cli.console import explain, print_json, say, table, working
from unimodel.errors import UnimodelError, UnsupportedError
from unimodel.plugins import Plugin

COLUMNS = ("backend", "distribution", "version", "API", "framework version", "devices", "status")


@dataclass
class Row:
    """One announced backend."""

    name: str
    distribution: str
    version: str
    api: str
    framework_version: str | None
    devices: list[str] | None
    status: str
    error: str | None = None


def backends(
    check: Annotated[bool, typer.Option("--check", help="Load each backend in a process of its own and compute something small on it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    time_limit: Annotated[float, typer.Option("--time-limit", metavar="SECONDS", min=0.1, help="How long a check may take.")] = 120.0,
) -> None:
    """List the installed backends: distribution, version, API, framework version, devices, status.

    Without --check nothing is imported: devices are not known then, and the framework's version is what its distribution says. With --check the exit status is
    1 if a backend of this API is broken, or none is installed.

    \b
    --json prints {"backends": [{
      "name", "distribution", "version", "api": text,
      "framework_version": text or null, "devices": [text] or null,
      "status": "installed", "ok", "broken", "duplicate name" or "another API version",
      "error": the cause in full, or null}]}
    """
    plugins_found = plugins.installed()
    rows = [_row(p, plugins_found) for p in plugins_found]
    if check:
        causes: dict[str, Row] = {}
        for row in rows:
            if row.status != ANOTHER_API:
                if row.name not in causes:
                    with working(f"{row.name}: checking", quiet=as_json):
                        _check(row, time_limit)
                    causes[row.name] = row
                else:
                    row.status, row.error = causes[row.name].status, causes[row.name].error
    if as_json:
        print_json({"backends": [asdict(row) for row in rows]})
    else:
        _show(rows)
    checked = [row for row in rows if row.status in ("ok", "broken")]
    if check and (not checked or any(row.status == "broken" for row in checked)):
        raise typer.Exit(1)


ANOTHER_API = "another API version"


def _row(plugin: Plugin, every: list[Plugin]) -> Row:
    if plugin.group != plugins.GROUP:
        status = ANOTHER_API
    elif sum(p.name == plugin.name and p.group == plugin.group for p in every) > 1:
        status = "duplicate name"
    else:
        status = "installed"
    return Row(plugin.name, plugin.distribution, plugin.version, plugin.api, installed_framework(plugin.name, plugin.distribution), None, status)


def installed_framework(backend: str, announced_by: str | None = None) -> str | None:
    """The version of the distribution that is called like the backend, or brings a package of its name: the framework's. Else, where it is said which
    distribution announces the backend, of what that one needs beside unimodel and NumPy, or of NumPy. Nothing is imported."""
    try:
        return importlib.metadata.version(backend)
    except importlib.metadata.PackageNotFoundError:
        pass
    for distribution in importlib.metadata.distributions():
        if backend in (distribution.read_text("top_level.txt") or "").split():
            return distribution.version
    return None if announced_by is None else _needed_by(announced_by)


def _needed_by(distribution: str) -> str | None:
    """The version of what a distribution needs first, unimodel itself left out and NumPy last."""
    try:
        requirements = [r for r in importlib.metadata.requires(distribution) or [] if "extra ==" not in r]
    except importlib.metadata.PackageNotFoundError:
        return None
    names = [match[0].lower().replace("_", "-") for r in requirements if (match := re.match(r"[A-Za-z0-9._-]+", r))]
    for name in sorted((n for n in names if not n.startswith("unimodel")), key="numpy".__eq__):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _check(row: Row, time_limit: float) -> None:
    outcome = call_apart(check_backend, name=row.name, time_limit=time_limit)
    if outcome.result is None:
        row.status, row.error = "broken", f"{outcome.cause}, while it was loaded and tried\n{outcome.output}".rstrip()
        return
    row.status, row.error = ("ok", None) if outcome.result["error"] is None else ("broken", outcome.result["error"])
    row.api = outcome.result["api"] or row.api
    row.framework_version = outcome.result["framework_version"] or row.framework_version
    row.devices = outcome.result["devices"]


def check_backend(name: str) -> dict[str, Any]:
    """What loading a backend and a small computation on it give; runs in a process of its own."""
    import numpy as np

    from unimodel import ops, run

    found: dict[str, Any] = {"api": None, "framework_version": None, "devices": None, "error": None}
    try:
        backend = plugins.load(name)
        found["api"] = f"{backend.api[0]}.{backend.api[1]}"
        found["framework_version"] = str(backend.framework_version())
        found["devices"] = [str(device) for device in backend.devices()]
        x = np.array([[1.0, -2.0], [3.0, 4.0]], "float32")
        w = np.array([[0.5, -1.0], [2.0, 0.25]], "float32")
        expected = np.maximum(x @ w, 0)
        result = run(lambda x, w: ops.relu(ops.matmul(x, w)), x, w, backend=name)
        if not np.allclose(result, expected, rtol=1e-5, atol=1e-6):
            found["error"] = f"a small computation on it gave {np.asarray(result).tolist()}, which should be {expected.tolist()}"
    except UnsupportedError:
        pass  # a backend whose table is still short says so, and is not broken: `unimodel new-backend NAME --todo` lists what it lacks
    except UnimodelError as error:
        found["error"] = explain(error)
    except Exception as error:
        found["error"] = f"a small computation on it failed: {type(error).__name__}: {error}"
    return found


def _show(rows: list[Row]) -> None:
    if not rows:
        say("no backend is installed: pip install unimodel-torch (or -tensorflow, -mxnet, -numpy)")
        return
    table(COLUMNS, [_cells(row) for row in rows])
    for row in {row.name: row for row in rows if row.error is not None}.values():
        print(f"\n{row.name}: {row.error}")
    if any(row.status == ANOTHER_API for row in rows):
        print(f"\nThis unimodel has API version {API_VERSION[0]}: backends for another one are not used.")


def _cells(row: Row) -> list[str]:
    return [
        row.name,
        row.distribution,
        row.version,
        row.api,
        row.framework_version or ("not checked" if row.devices is None else "not known"),
        ", ".join(row.devices or ()) or "not checked",
        row.status,
    ]

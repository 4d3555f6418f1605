"""A broken backend is named with its cause, by ``plugins.load`` and by ``unimodel backends --check``, and stops no other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_plugins import announce
from typer.testing import CliRunner

import unimodel as um
from unimodel import plugins
from unimodel.cli.app import app
from unimodel.errors import PluginError

PLUGINS = Path(__file__).with_name("plugins")

CAUSES = {
    "broken_import": ["failed while it was imported", "libframework.so: cannot open shared object file", "choose another backend"],
    "broken_lowering": ["failed while it was imported: a lowering names the op 'sqroot'", "did you mean 'sqrt'?"],
    "broken_missing_framework": ["a module it needs is missing", "pip install framework_that_nobody_installed"],
    "broken_exit": ["failed while it was imported", "this machine is not supported"],
    "broken_hook_name": ["does not implement the hook", "unimodel_bakcend"],
    "broken_no_hook": ["implements no hook named unimodel_backend", "@hookimpl"],
    "broken_no_class": ["returns no backend class", "subclass of unimodel.backend.Backend"],
    "broken_newer_api": ["another API version", "1.99", "upgrade unimodel"],
    "broken_api": ["does not say which API version", "'1.0'"],
    "broken_name": ["calls itself by another name", "'numpy'"],
    "broken_nowhere": ["a module it consists of is missing", "pip install --force-reinstall unimodel-broken_nowhere"],
    "twins": ["several distributions announce", "unimodel-one-twin 0.3, unimodel-other-twin 0.3", "uninstall all but one"],
}
"""What loading each of them says; those below are only noticed in a process of their own."""

NOTICED_AT_WORK = {
    "broken_segfault": ["SIGSEGV (segmentation fault)", "broken_segfault.py"],
    "broken_hang": ["did not finish within 10 s", "broken_hang.py"],
    "broken_numbers": ["a small computation on it gave", "which should be"],
    "broken_compile": ["a small computation on it failed: OSError: the driver is too old"],
}


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All of them installed, beside what really is."""
    for module in PLUGINS.glob("broken_*.py"):
        shutil.copy(module, tmp_path)
        announce(tmp_path, module.stem, module.stem)
    announce(tmp_path, "broken_nowhere", "broken_nowhere.plugin")
    (tmp_path / "broken_nowhere").mkdir()
    (tmp_path / "broken_nowhere" / "__init__.py").touch()
    announce(tmp_path, "of_tomorrow", "broken_segfault", group="unimodel.backends.v2")
    announce(tmp_path, "twins", "broken_import", distribution="unimodel-one-twin")
    announce(tmp_path, "twins", "broken_import", distribution="unimodel-other-twin")
    damaged = tmp_path / "damaged-1.0.dist-info"
    damaged.mkdir()
    (damaged / "entry_points.txt").write_text("[unimodel.backends.v1]\nno equals sign\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", CAUSES)
def test_asking_for_it_by_name_raises_one_error_with_distribution_version_cause_and_remedy(broken: Path, name: str) -> None:
    with pytest.raises(PluginError) as caught:
        plugins.load(name)
    for part in [name, *CAUSES[name]]:
        assert part in str(caught.value)
    if name != "twins":
        assert f"unimodel-{name} 0.3" in str(caught.value)


def test_a_backend_for_another_api_is_recognised_without_importing_it(broken: Path) -> None:
    with pytest.raises(PluginError, match="another API version") as caught:
        plugins.load("of_tomorrow")
    assert "unimodel-of_tomorrow 0.3, API version 2" in str(caught.value)
    assert "of_tomorrow" not in plugins.names()


def test_the_others_go_on_working(broken: Path) -> None:
    with pytest.raises(PluginError):
        plugins.load("broken_import")
    assert um.run(lambda x: x * 2, np.ones(2), backend="numpy").tolist() == [2.0, 2.0]
    assert plugins.choose(None) == "numpy"


def test_listing_imports_none_of_them(broken: Path) -> None:
    """Else the list would crash."""
    done = subprocess.run([sys.executable, "-m", "unimodel", "backends", "--json"], capture_output=True, text=True, env=os.environ, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = {row["distribution"]: row for row in json.loads(done.stdout)["backends"]}
    assert rows["unimodel-broken_segfault"]["status"] == "installed"
    assert rows["unimodel-of_tomorrow"] | {"status": "another API version", "api": "2"} == rows["unimodel-of_tomorrow"]
    assert rows["unimodel-one-twin"]["status"] == rows["unimodel-other-twin"]["status"] == "duplicate name"
    assert rows["unimodel-numpy"]["framework_version"] == np.__version__


@pytest.mark.parametrize("name", [*CAUSES, *NOTICED_AT_WORK])
def test_check_reports_it_by_name_and_cause_and_goes_on(broken: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [p for p in plugins.installed() if p.name in (name, "numpy")]
    monkeypatch.setattr(plugins, "installed", lambda: listed)
    limit = "10" if name == "broken_hang" else "60"
    result = CliRunner().invoke(app, ["backends", "--check", "--json", "--time-limit", limit])
    assert result.exit_code == 1
    rows = {row["name"]: row for row in json.loads(result.stdout)["backends"]}
    assert rows[name]["status"] == "broken"
    for part in CAUSES.get(name) or NOTICED_AT_WORK[name]:
        assert part in rows[name]["error"]
    if name != "broken_hang":  # whose limit may be short for an honest one on a busy machine
        assert rows["numpy"] | {"status": "ok", "error": None, "devices": ["cpu"], "api": "1.0"} == rows["numpy"]


def test_the_table_names_the_cause_below(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [p for p in plugins.installed() if p.name in ("broken_exit", "of_tomorrow")]
    monkeypatch.setattr(plugins, "installed", lambda: listed)
    result = CliRunner().invoke(app, ["backends", "--check"])
    assert result.exit_code == 1
    assert "broken_exit: the backend 'broken_exit' (unimodel-broken_exit 0.3) failed while it was imported." in result.stdout
    assert "another API version" in result.stdout
    assert "broken_exit: checking" in result.stderr


def test_only_a_backend_of_another_api_is_nothing_that_works(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [p for p in plugins.installed() if p.name == "of_tomorrow"]
    monkeypatch.setattr(plugins, "installed", lambda: listed)
    assert CliRunner().invoke(app, ["backends", "--check"]).exit_code == 1
    assert CliRunner().invoke(app, ["backends"]).exit_code == 0

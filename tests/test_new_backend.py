"""``unimodel new-backend``: what it writes installs, computes, trains, and passes the suite at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_plugins import announce
from typer.testing import CliRunner, Result

import unimodel as um
from unimodel import plugins
from unimodel.cli.app import app
from unimodel.cli.backends import check_backend
from unimodel.cli.new_backend import FILES

TEMPLATE = Path(__file__).parents[1] / "backends" / "template"
LEFT_BY_TOOLS = ("__pycache__", ".ruff_cache", ".mypy_cache", ".pytest_cache", "dist")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["new-backend", *map(str, arguments)])


@pytest.fixture
def skeleton(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new backend called my_own, discoverable as if it were installed."""
    result = invoke("my_own", "--into", tmp_path)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "unimodel-my-own"
    announce(folder, "my_own", "unimodel_my_own.plugin", distribution="unimodel-my-own")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    yield folder
    for module in [name for name in sys.modules if name.startswith("unimodel_my_own")]:
        del sys.modules[module]
    plugins._loaded.pop(("my_own", "unimodel_my_own.plugin"), None)


def python(*arguments: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)


# what is written
def test_the_list_of_files_is_the_template(tmp_path: Path) -> None:
    there = {str(p.relative_to(TEMPLATE)) for p in TEMPLATE.rglob("*") if p.is_file() and not set(p.parts) & set(LEFT_BY_TOOLS)}
    assert there == set(FILES)


def test_the_name_stands_everywhere_and_the_template_nowhere(skeleton: Path) -> None:
    tomllib = pytest.importorskip("tomllib")
    files = [p for p in skeleton.rglob("*") if p.is_file() and "dist-info" not in str(p)]
    assert len(files) == len(FILES)
    assert not [p for p in files if "template" in str(p.relative_to(skeleton)).lower() or "template" in p.read_text().lower()]
    project = tomllib.loads((skeleton / "pyproject.toml").read_text())["project"]
    assert project["name"] == "unimodel-my-own"
    assert project["entry-points"] == {"unimodel.backends.v1": {"my_own": "unimodel_my_own.plugin"}}
    assert "class MyOwnBackend(Backend):" in (skeleton / "unimodel_my_own" / "plugin.py").read_text()


def test_it_says_what_to_do_next(tmp_path: Path) -> None:
    output = invoke("mine", "--into", tmp_path).output
    assert f"cd {tmp_path / 'unimodel-mine'}" in output
    assert "pytest --pyargs unimodel_conformance --backend mine" in output


@pytest.mark.parametrize("name", ["My", "a-b", "2nd", "class", "a b", "../x"])
def test_a_name_that_is_no_module_name_is_wrong_usage(tmp_path: Path, name: str) -> None:
    result = invoke(name, "--into", tmp_path)
    assert result.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    invoke("mine", "--into", tmp_path)
    plugin = tmp_path / "unimodel-mine" / "unimodel_mine" / "plugin.py"
    plugin.write_text("precious")
    again = invoke("mine", "--into", tmp_path)
    assert again.exit_code == 2 and "is not empty" in again.output
    assert plugin.read_text() == "precious"


def test_an_installed_backends_name_is_refused(tmp_path: Path) -> None:
    result = invoke("numpy", "--into", tmp_path)
    assert result.exit_code == 2 and "is installed" in result.output


# what it can do at once
def test_it_passes_the_check(skeleton: Path) -> None:
    assert check_backend("my_own")["error"] is None
    (row,) = [p for p in plugins.installed() if p.name == "my_own"]
    assert row.distribution == "unimodel-my-own"


def test_its_ten_primitives_train_a_linear_regression_with_the_reference_numbers(skeleton: Path) -> None:
    assert len(plugins.load("my_own").lowerings) == 10
    rng = np.random.Generator(np.random.Philox(0))
    x = rng.standard_normal((64, 3))
    y = x @ np.array([[1.0], [-2.0], [0.5]]) + 3.0
    losses = {}
    for name in ("my_own", "numpy"):
        trainer = um.Trainer(um.nn.Linear(3, 1), loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.1), backend=name, precision="float64")
        losses[name] = trainer.fit((x, y), epochs=20, batch_size=10, verbose=False).history["loss"]
    assert losses["my_own"] == losses["numpy"]
    assert losses["my_own"][-1] < 1e-6


def test_it_passes_the_suite_for_what_it_has(skeleton: Path) -> None:
    pytest.importorskip("unimodel_conformance")
    done = python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "unimodel_conformance", "--backend", "my_own", "-k", "sample and (matmul or sum or exp)"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " pass" in done.stdout and " refused" in done.stdout and "no lowering for exp" in done.stdout


def test_the_to_do_list_of_a_skeleton_and_of_a_whole_backend(skeleton: Path) -> None:
    listed = invoke("my_own", "--todo")
    assert listed.exit_code == 0
    assert listed.output.startswith("my_own lowers 10 of ")
    assert listed.output.index("reshape") < listed.output.index("conv") < listed.output.index("Then, which only those who call them need")
    whole = invoke("numpy", "--todo").output
    assert whole.count("\n") == 1 and "lowers" in whole
    assert invoke("nobody", "--todo").exit_code == 2

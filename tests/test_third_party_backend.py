"""The backend in examples/third_party_backend, found and used as an outsider's would be: by its metadata, on the path."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_plugins import announce

import unimodel as um
from unimodel import plugins
from unimodel.cli.backends import check_backend

pytest.importorskip("autograd")
FOLDER = Path(__file__).parents[1] / "examples" / "third_party_backend"


@pytest.fixture(autouse=True)
def discoverable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if "autograd" not in plugins.names():
        announce(tmp_path, "autograd", "unimodel_autograd.plugin")
        for folder in (tmp_path, FOLDER):
            monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{FOLDER}")
    yield


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)


def test_it_is_short_and_core_does_not_know_it() -> None:
    assert sum(len(path.read_text().splitlines()) for path in FOLDER.rglob("*.py")) < 260
    core = Path(um.__file__).parent
    naming = [path.name for path in core.rglob("*.py") if "autograd" in path.read_text().lower()]
    assert naming == ["foreign_names.py"]  # where torch.autograd's name is explained


def test_it_passes_the_check() -> None:
    assert check_backend("autograd")["error"] is None


@pytest.mark.parametrize("way", ["native", "core"])
def test_it_trains_with_the_reference_numbers(way: str) -> None:
    rng = np.random.Generator(np.random.Philox(0))
    x, y = rng.standard_normal((60, 1, 6, 6)), rng.integers(0, 3, 60)
    curves = {}
    for name in ("autograd", "numpy"):
        net = um.nn.Sequential(
            um.nn.Conv2d(1, 4, 3, padding=1), um.nn.BatchNorm2d(4), um.nn.ReLU(), um.nn.MaxPool2d(2), um.nn.Flatten(), um.nn.Dropout(0.2), um.nn.Linear(36, 3)
        )
        loss, optimizer, chosen = um.losses.CrossEntropyLoss(), um.optim.Adam(lr=0.01), way if name == "autograd" else "core"
        trainer = um.Trainer(net, loss=loss, optimizer=optimizer, backend=name, precision="float64", differentiation=chosen)
        curves[name] = trainer.fit((x, y), epochs=5, batch_size=13, verbose=False).history["loss"]
    np.testing.assert_allclose(curves["autograd"], curves["numpy"], rtol=1e-9)
    assert curves["numpy"][-1] < curves["numpy"][0]


def test_it_passes_a_part_of_the_suite() -> None:
    pytest.importorskip("unimodel_conformance")
    done = python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "unimodel_conformance", "--backend", "autograd", "-k", "kinks or max_pool or prod or conv-"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " pass" in done.stdout and " refused" not in done.stdout

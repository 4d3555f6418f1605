"""What ``native()`` gives is torch's alone: saved, it is loaded where unimodel cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unimodel as um
from unimodel import plugins

ELSEWHERE = """
import sys

class Absent:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("unimodel", "unimodel_torch"):
            raise ImportError(name)

sys.meta_path.insert(0, Absent())
import numpy as np
import torch

folder = sys.argv[1]
x, y = torch.from_numpy(np.load(folder + "/x.npy")), np.load(folder + "/y.npy")
whole = torch.load(folder + "/whole.pt", weights_only=False)
exported = torch.export.load(folder + "/exported.pt2").module()
for module in (whole, exported):
    for rows in (len(x), 3):
        np.testing.assert_allclose(module(x[:rows]).detach().numpy(), y[:rows], rtol=1e-6, atol=1e-6)
assert dict(whole.named_parameters()).keys() == {"conv.weight", "conv.bias", "norm.weight", "norm.bias", "fc.weight", "fc.bias", "table"}
assert {"norm.running_mean", "norm.running_var"} <= dict(whole.named_buffers()).keys()
print("ran alone")
"""


class Net(um.Model):
    def __init__(self) -> None:
        self.conv, self.norm, self.fc = um.nn.Conv2d(1, 4, 3, padding="same"), um.nn.BatchNorm2d(4), um.nn.Linear(64, 3)
        self.drop, self.table = um.nn.Dropout(0.5), um.Parameter((4, 3))

    def forward(self, x: Any) -> Any:
        h = um.ops.max_pool2d(um.ops.relu(self.norm(self.conv(x))), 2)
        h = self.fc(self.drop(um.ops.flatten(h, 1)))
        row = um.ops.remainder(um.ops.arange(x.shape[0]), 4)  # a range as long as the batch
        return um.ops.softmax(h * np.array([1.0, 2.0, 3.0]) + um.ops.take(self.table, row, axis=0), axis=-1)


@pytest.fixture
def trained() -> tuple[um.Trainer, np.ndarray]:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((24, 1, 8, 8)).astype("float32"), rng.integers(0, 3, 24)
    trainer = um.Trainer(Net(), loss=um.losses.CrossEntropyLoss(), optimizer=um.optim.Adam(lr=0.01), backend="torch")
    trainer.fit((x, y), epochs=2, batch_size=8, verbose=False)
    return trainer, x


def test_runs_trains_and_is_saved(trained: tuple[um.Trainer, np.ndarray], tmp_path: Path) -> None:
    trainer, x = trained
    native, expected = trainer.native(), trainer.predict(x, batch_size=100)
    given = torch.from_numpy(x)
    np.testing.assert_allclose(native(given).detach().numpy(), expected, rtol=1e-6, atol=1e-7)
    native(given)[:, 0].sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in native.parameters())
    assert native.state_dict().keys() == {n for n in trainer.model.state_dict() if "num_batches_tracked" not in n}
    trainer.fit((x, np.zeros(24, "int64")), epochs=1, batch_size=8, verbose=False)
    np.testing.assert_allclose(native(given).detach().numpy(), expected, rtol=1e-6, atol=1e-7)  # its weights are its own

    torch.save(native, tmp_path / "whole.pt")
    torch.export.save(torch.export.export(native, (given,), dynamic_shapes=({0: torch.export.Dim("N")},)), tmp_path / "exported.pt2")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", expected)
    done = subprocess.run([sys.executable, "-c", ELSEWHERE, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout == "ran alone\n", done.stderr


def test_state_that_is_not_trained_is_a_buffer() -> None:
    from program import program

    p = program(lambda v, x: x * v["m.scale"] + v["shift"], {"m.scale": np.ones(3), "shift": np.ones(3)}, [np.ones(3)], "torch")
    module = plugins.load("torch")().native(p.traced.graph, p.store, buffers=["shift"])
    assert [n for n, _ in module.named_parameters()] == ["m.scale"]
    assert [n for n, _ in module.named_buffers()] == ["shift"]
    assert module(torch.ones(3, dtype=torch.float64)).tolist() == [2.0, 2.0, 2.0]

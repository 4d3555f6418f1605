"""Weights that come from elsewhere: mappings, tensors, safetensors files; and what is said where they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import unimodel as um
from unimodel.errors import CheckpointError
from unimodel.state_dict import renames


class Net(um.Model):
    def __init__(self) -> None:
        self.fc1 = um.nn.Linear(3, 2)
        self.fc2 = um.nn.Linear(2, 1)


WEIGHTS = {
    "fc1.weight": np.arange(6, dtype="float32").reshape(2, 3),
    "fc1.bias": np.array([1.0, -1.0], "float32"),
    "fc2.weight": np.array([[0.5, 0.25]], "float32"),
    "fc2.bias": np.array([3.0], "float32"),
}


def loaded(net: um.Model) -> None:
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(net.state_dict()[name], array, err_msg=name)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_safetensors_file(tmp_path: Path, kind: Any) -> None:
    save_file(WEIGHTS, tmp_path / "net.safetensors")
    net = Net()
    assert net.load_state_dict(kind(tmp_path / "net.safetensors")) == ([], [])
    loaded(net)


def test_a_trainers_checkpoint_gives_its_weights(tmp_path: Path) -> None:
    net = Net()
    net.load_state_dict(WEIGHTS)
    net.forward = lambda x: net.fc2(net.fc1(x))  # type: ignore[method-assign]  # only to have a step
    trainer = um.Trainer(net, loss=um.losses.MSELoss(), optimizer=um.optim.Adam(lr=0.0), backend="numpy")
    trainer.train_step((np.ones((4, 3), "float32"), np.ones((4, 1), "float32")))
    trainer.save(tmp_path / "run.um")
    other = Net()
    other.load_state_dict(tmp_path / "run.um")
    loaded(other)


@pytest.mark.torch_oracle
def test_pytorchs_tensors_and_a_file_in_bfloat16(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    from safetensors.torch import save_file as save_tensors

    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in WEIGHTS.items()}
    net = Net()
    net.load_state_dict(tensors)
    loaded(net)
    halves = {name: t.detach().to(torch.bfloat16) for name, t in tensors.items()}  # these numbers have few digits
    save_tensors(halves, tmp_path / "halves.safetensors")
    for source in (halves, tmp_path / "halves.safetensors"):
        net = Net()
        net.load_state_dict(source)
        loaded(net)


def refused(weights: Any, *lines: str, strict: bool = True) -> str:
    net = Net()
    before = net.state_dict()
    with pytest.raises(CheckpointError) as caught:
        net.load_state_dict(weights, strict)
    for line in lines:
        assert line in str(caught.value), f"{line!r} is not in:\n{caught.value}"
    assert caught.value.source is not None and caught.value.source.file == __file__
    assert all(np.array_equal(array, before[name]) for name, array in net.state_dict().items()), "something was loaded"
    return str(caught.value)


def test_renamed_entries_are_paired() -> None:
    weights = {name.replace("fc1", "layer1"): array for name, array in WEIGHTS.items()}
    refused(
        weights,
        "missing: fc1.weight (2, 3), perhaps given as layer1.weight",
        "unexpected: layer1.bias (2,), perhaps meant for fc1.bias",
        "rename the entries",
    )


def test_a_wrappers_prefix_is_named() -> None:
    refused({f"module.{name}": array for name, array in WEIGHTS.items()}, "perhaps given as module.fc2.weight", "take 'module.' off the given names")


def test_shapes_are_shown_beside_each_other_whether_strict_or_not() -> None:
    weights = {**WEIGHTS, "fc2.bias": np.zeros(4)}
    for strict in (True, False):
        refused(weights, "fc2.bias: expected (1,), given (4,)", "expected: 4 entries of Net", strict=strict)


def test_what_is_no_rename_is_not_taken_for_one() -> None:
    text = refused({**{n: a for n, a in WEIGHTS.items() if n != "fc2.bias"}, "head.scale": np.zeros(1), "fc3.bias": np.zeros(7)}, "missing: fc2.bias (1,)")
    assert "perhaps" not in text and "strict=False" in text
    assert renames({"a.weight": (2,), "b.weight": (2,)}, {"b.w.weight": (2,), "net.a.weight": (2,)}) == {"a.weight": "net.a.weight", "b.weight": "b.w.weight"}


def test_not_strict_says_what_is_left() -> None:
    net = Net()
    result = net.load_state_dict({"fc1.weight": WEIGHTS["fc1.weight"], "other": np.zeros(2)}, strict=False)
    assert result.missing_keys == ["fc1.bias", "fc2.weight", "fc2.bias"] and result.unexpected_keys == ["other"]
    np.testing.assert_array_equal(net.state_dict()["fc1.weight"], WEIGHTS["fc1.weight"])


def test_what_is_no_state_dict(tmp_path: Path) -> None:
    (tmp_path / "pickle.pt").write_bytes(b"PK\x03\x04 not safetensors at all")
    refused(tmp_path / "pickle.pt", "no safetensors file", "torch.load(path, weights_only=True)")
    refused(tmp_path / "absent", "no such file")
    refused([("fc1.weight", 1)], "these are no weights", "list")
    refused({**WEIGHTS, "fc2.bias": "text"}, "must be arrays", "fc2.bias: str")
    refused({**WEIGHTS, "fc2.bias": None}, "must be arrays", "fc2.bias")

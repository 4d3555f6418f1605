"""Lists and dicts of parameters, and weights made of other parameters, are PyTorch's."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel.errors import ShapeError
from unimodel.nn.utils.parametrizations import spectral_norm, weight_norm

torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
from torch_oracle import agree, close  # noqa: E402  needs torch

pytestmark = pytest.mark.torch_oracle
theirs = torch.nn.utils.parametrizations


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape)


LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda nn: nn.Linear(3, 4), (5, 3)),
    "conv": (lambda nn: nn.Conv2d(2, 3, 2), (2, 2, 4, 4)),
    "transposed": (lambda nn: nn.ConvTranspose1d(2, 3, 2), (2, 2, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dim", [0, 1, -1, None])
def test_weight_norm(name: str, dim: int | None) -> None:
    make, shape = LAYERS[name]
    module = theirs.weight_norm(make(torch.nn), dim=dim)
    for p in module.parameters():
        torch.nn.init.normal_(p)
    agree(weight_norm(make(um.nn), dim=dim), module, [normal(*shape)])


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("training", "iterations"), [(True, 1), (True, 3), (False, 1)])
def test_spectral_norm(name: str, training: bool, iterations: int) -> None:
    make, shape = LAYERS[name]
    module = theirs.spectral_norm(make(torch.nn), n_power_iterations=iterations).train(training)
    agree(spectral_norm(make(um.nn), n_power_iterations=iterations).train(training), module, [normal(*shape)], [normal(*shape)])


def test_at_the_start_the_weight_is_what_it_was_and_then_of_length_one() -> None:
    plain, layer = um.nn.Linear(3, 4), weight_norm(um.nn.Linear(3, 4))
    plain.load_state_dict({"weight": layer.state_dict()["parametrizations.weight.original1"], "bias": layer.state_dict()["bias"]})
    x = normal(2, 3).astype("float32")
    close(layer(x), plain(x), "weight norm at the start", 1e-6)
    close(copy.deepcopy(layer)(x), plain(x), "a copy", 1e-6)
    layer = spectral_norm(um.nn.Linear(3, 4, bias=False)).eval()
    singular = np.linalg.svd(layer(np.eye(3, dtype="float32")))[1]
    assert abs(singular[0] - 1.0) < 0.05


def test_what_has_no_such_weight() -> None:
    for call in (lambda: weight_norm(um.nn.ReLU()), lambda: spectral_norm(um.nn.Linear(1, 1), "scale"), lambda: weight_norm(um.nn.Linear(1, 1), dim=2)):
        with pytest.raises(ShapeError) as caught:
            call()
        assert caught.value.source is not None and caught.value.source.file == __file__


def test_lists_and_dicts_of_parameters() -> None:
    def net(base: Any, nn: Any, parameter: Any) -> Any:
        class Net(base):  # type: ignore[misc]  # of either side
            def __init__(self) -> None:
                super().__init__()
                self.scales = nn.ParameterList([parameter(np.array([float(i), 1.0])) for i in range(2)])
                self.named = nn.ParameterDict({"shift": parameter(np.ones(2))})

            def forward(self, x: Any) -> Any:
                for scale in self.scales:
                    x = x * scale + self.named["shift"]
                return x * self.scales[-1]

        return Net()

    ours = net(um.Model, um.nn, um.Parameter)
    agree(ours, net(torch.nn.Module, torch.nn, lambda a: torch.nn.Parameter(torch.tensor(a))), [normal(3, 2)])
    assert len(ours.scales) == 2 and len(ours.scales[:1]) == 1 and list(ours.named) == ["shift"] and "shift" in ours.named
    ours.scales[0] = np.zeros(2)
    ours.named["bias"] = np.zeros(1)
    del ours.named["shift"]
    assert list(ours.state_dict()) == ["scales.0", "scales.1", "named.bias"]

"""The activations beyond the first ten equal PyTorch's, results and gradients, at random and at special values, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unimodel as um
from unimodel.errors import ShapeError

torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
from torch_oracle import agree, close, results_of, torch_results_of  # noqa: E402  needs torch

pytestmark = pytest.mark.torch_oracle

ACTIVATIONS: list[tuple[str, dict[str, Any]]] = [
    ("ReLU6", {}),
    ("Hardtanh", {}),
    ("Hardtanh", {"min_val": -0.3, "max_val": 2.0}),
    ("Hardsigmoid", {}),
    ("Hardswish", {}),
    ("Hardshrink", {}),
    ("Hardshrink", {"lambd": 1.0}),
    ("Softshrink", {}),
    ("Softshrink", {"lambd": 1.0}),
    ("Tanhshrink", {}),
    ("Threshold", {"threshold": 0.1, "value": -2.0}),
    ("Threshold", {"threshold": 1.0, "value": 3.0}),
    ("SELU", {}),
    ("CELU", {}),
    ("CELU", {"alpha": 0.4}),
    ("ELU", {"alpha": 3.0}),
    ("Mish", {}),
    ("Softsign", {}),
    ("Softmin", {"dim": 1}),
    ("LogSigmoid", {}),
    ("PReLU", {}),
    ("PReLU", {"init": -0.5}),
    ("RReLU", {}),
    ("RReLU", {"lower": 0.3, "upper": 0.3}),
]
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 5)


def pair(name: str, arguments: dict[str, Any]) -> tuple[um.Model, Any]:
    ours, theirs = getattr(um.nn, name)(**arguments), getattr(torch.nn, name)(**arguments)
    return ours.train(name != "RReLU"), theirs.train(name != "RReLU")


def compare(name: str, arguments: dict[str, Any], x: np.ndarray, float32: bool = True) -> None:
    ours, theirs = pair(name, arguments)
    if name == "Hardsigmoid" or arguments == {"alpha": 0.4}:  # PyTorch keeps 1/6 and 1/alpha in float32
        expected = torch_results_of(theirs.double(), [x])
        for key, array in results_of(ours, [x]).items():
            close(array, expected[key], key, 1e-7)
    else:
        agree(ours, theirs, [x], float32=float32)


@pytest.mark.parametrize(("name", "arguments"), ACTIVATIONS, ids=str)
@given(seed=seeds, shape=st.lists(sizes, min_size=2, max_size=4), scale=st.sampled_from([0.5, 3.0, 30.0]))
def test_at_random(name: str, arguments: dict[str, Any], seed: int, shape: list[int], scale: float) -> None:
    compare(name, arguments, scale * np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize(("name", "arguments"), ACTIVATIONS, ids=str)
def test_at_joints_far_out_and_at_nan(name: str, arguments: dict[str, Any]) -> None:
    values = [[0.0, 1.0, -1.0], [80.0, -80.0, 800.0], [-0.0, 1e-20, -1e-20], [3.0, -3.0, 6.0], [0.5, -0.5, -800.0], [2.0, -2.0, 0.1]]
    compare(name, arguments, np.array(values), float32=False)
    if name != "Softmin":
        x = np.array([np.inf, -np.inf, np.nan])
        ours, theirs = pair(name, arguments)
        close(um.run(ours.forward, x) if name != "PReLU" else ours(x), theirs.double()(torch.tensor(x)), name)


@given(seeds, st.integers(1, 4), st.lists(sizes, max_size=2), st.booleans())
def test_prelu_per_channel(seed: int, channels: int, tail: list[int], one: bool) -> None:
    rng = np.random.default_rng(seed)
    module = torch.nn.PReLU(1 if one else channels)
    torch.nn.init.normal_(module.weight)
    agree(um.nn.PReLU(1 if one else channels), module, [rng.standard_normal((3, channels, *tail))])


@given(seeds, st.integers(1, 3), st.lists(sizes, min_size=1, max_size=3), st.data())
def test_glu(seed: int, half: int, shape: list[int], data: st.DataObject) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    shape[dim] = 2 * half
    agree(um.nn.GLU(dim), torch.nn.GLU(dim), [np.random.default_rng(seed).standard_normal(shape)])


@given(seeds, st.lists(sizes, min_size=3, max_size=4))
def test_softmax2d(seed: int, shape: list[int]) -> None:
    agree(um.nn.Softmax2d(), torch.nn.Softmax2d(), [np.random.default_rng(seed).standard_normal(shape)])


REFUSED: list[Callable[[], Any]] = [
    lambda: um.nn.CELU(alpha=0.0),
    lambda: um.nn.Hardtanh(1.0, -1.0),
    lambda: um.nn.Softshrink(-1.0),
    lambda: um.nn.Hardshrink(-0.1),
    lambda: um.nn.PReLU(0),
    lambda: um.nn.RReLU(0.5, 0.1),
    lambda: um.nn.GLU()(np.ones((2, 3))),
    lambda: um.nn.Softmax2d()(np.ones((2, 3))),
    lambda: um.nn.PReLU(4)(np.ones((2, 3))),
]


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_bad_arguments_are_refused_at_the_users_line(index: int) -> None:
    with pytest.raises(ShapeError) as caught:
        REFUSED[index]()
    assert caught.value.source is not None and caught.value.source.file == __file__


def test_random_slopes_are_drawn_anew_at_each_step_and_have_gradients() -> None:
    class Slopes(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            total, grad = um.value_and_grad(lambda: um.ops.sum(self.model(batch)), wrt=batch)
            return {"total": total, "grad": grad}

    trainer = Slopes(um.nn.RReLU(0.2, 0.6), backend="numpy")
    first, second = (np.asarray(trainer.train_step(-np.ones((50, 4), "float32"))["grad"]) for _ in range(2))
    assert not np.array_equal(first, second) and abs(first.mean() - 0.4) < 0.05
    assert first.min() >= 0.2 and first.max() <= 0.6

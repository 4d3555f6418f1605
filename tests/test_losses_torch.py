"""Every loss equals PyTorch's of the same name, value and gradients, for any arguments, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import unimodel as um

torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
from effort import few  # noqa: E402  beside the tests
from torch_oracle import agree  # noqa: E402  needs torch

pytestmark = pytest.mark.torch_oracle

seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4)
reductions = st.sampled_from(["mean", "sum", "none"])
scales = st.sampled_from([1.0, 30.0, 1000.0])


class Ours(um.Model):
    def __init__(self, loss: um.Loss) -> None:
        self.loss = loss

    def forward(self, input: Any, target: Any) -> Any:
        return self.loss(input, target)


class Theirs(torch.nn.Module):
    """PyTorch's loss, held in a list so that its weights are no entries of the state dict."""

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.held = [loss.double()]

    def forward(self, input: Any, target: Any) -> Any:
        return self.held[0](input, target)


def tensor(array: np.ndarray | None) -> Any:
    return None if array is None else torch.tensor(array)


@pytest.mark.parametrize("name", ["MSELoss", "L1Loss"])
@given(seeds, shapes, reductions)
def test_regression_losses(name: str, seed: int, shape: list[int], reduction: str) -> None:
    rng = np.random.default_rng(seed)
    agree(
        Ours(getattr(um.losses, name)(reduction=reduction)),
        Theirs(getattr(torch.nn, name)(reduction=reduction)),
        [rng.standard_normal(shape), rng.standard_normal(shape)],
    )


@given(seeds, st.sampled_from([(), (1,), (5,), (4, 2), (3, 2, 2)]), st.integers(1, 5), st.booleans(), st.booleans(), st.floats(0, 1), reductions, scales)
def test_cross_entropy_of_class_indices(
    seed: int, shape: tuple[int, ...], classes: int, weighted: bool, ignoring: bool, smoothing: float, reduction: str, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.2, 2.0, classes) if weighted else None
    arguments: dict[str, Any] = {"label_smoothing": smoothing, "reduction": reduction}
    target = np.asarray(rng.integers(0, classes, shape))
    if ignoring and target.size > 1:
        arguments["ignore_index"] = int(rng.choice([-100, -1, 0, classes - 1, 255]))
        ignored = rng.random(shape) < 0.4
        target = np.where(ignored, arguments["ignore_index"], target)
        assume((target != arguments["ignore_index"]).any())  # the mean of no sample at all is NaN
    logits = scale * rng.standard_normal((*shape[:1], classes, *shape[1:]))
    agree(
        Ours(um.losses.CrossEntropyLoss(weight=weight, **arguments)),
        Theirs(torch.nn.CrossEntropyLoss(weight=tensor(weight), **arguments)),
        [logits, target],
    )


@given(seeds, st.sampled_from([(), (1,), (5,), (4, 2)]), st.integers(1, 5), st.booleans(), st.floats(0, 1), reductions)
def test_cross_entropy_of_probabilities(seed: int, shape: tuple[int, ...], classes: int, weighted: bool, smoothing: float, reduction: str) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.2, 2.0, classes) if weighted else None
    full = (*shape[:1], classes, *shape[1:])
    arguments: dict[str, Any] = {"label_smoothing": smoothing, "reduction": reduction}
    agree(
        Ours(um.losses.CrossEntropyLoss(weight=weight, **arguments)),
        Theirs(torch.nn.CrossEntropyLoss(weight=tensor(weight), **arguments)),
        [rng.standard_normal(full), rng.uniform(0.05, 1.0, full)],
    )


@given(seeds, shapes, st.sampled_from(["none", "element", "last"]), st.sampled_from(["none", "number", "last"]), reductions, scales)
def test_bce_with_logits(seed: int, shape: list[int], weighted: str, positive: str, reduction: str, scale: float) -> None:
    rng = np.random.default_rng(seed)
    weight = {"none": None, "element": rng.uniform(0.2, 2.0, shape), "last": rng.uniform(0.2, 2.0, shape[-1:])}[weighted]
    pos_weight = {"none": None, "number": rng.uniform(0.2, 3.0, 1), "last": rng.uniform(0.2, 3.0, shape[-1:])}[positive]
    agree(
        Ours(um.losses.BCEWithLogitsLoss(weight=weight, reduction=reduction, pos_weight=pos_weight)),
        Theirs(torch.nn.BCEWithLogitsLoss(weight=tensor(weight), reduction=reduction, pos_weight=tensor(pos_weight))),
        [scale * rng.standard_normal(shape), rng.uniform(0, 1, shape)],
    )


CLASS_LOSS = {"label_smoothing": 0.1, "weight": np.array([1.0, 2.0, 0.5])}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("MSELoss", {}), ("L1Loss", {}), ("BCEWithLogitsLoss", {}), ("CrossEntropyLoss", {}), ("CrossEntropyLoss", CLASS_LOSS)],
    ids=lambda value: value if isinstance(value, str) else "-".join(value) or "plain",
)
@few
@given(seed=seeds, weights=st.lists(st.integers(0, 3), min_size=4, max_size=4).filter(any))
def test_a_sample_of_weight_k_counts_as_k_samples(name: str, arguments: dict[str, Any], seed: int, weights: list[int]) -> None:
    """Weight 2 is the sample twice, weight 0 is the sample absent: in the loss and in its gradient."""
    rng = np.random.default_rng(seed)
    input, target = rng.standard_normal((4, 3)), rng.uniform(0, 1, (4, 3))
    if name == "CrossEntropyLoss":
        target = rng.integers(0, 3, 4)
    loss = getattr(um.losses, name)(**arguments)
    rows = np.repeat(np.arange(4), weights)
    value, gradient = um.run(lambda i, t, w: um.value_and_grad(lambda: loss(i, t, w), wrt=i), input, target, np.array(weights, "float64"))
    expected, expected_gradient = um.run(lambda i, t: um.value_and_grad(lambda: loss(i, t), wrt=i), input[rows], target[rows])
    gathered = np.zeros_like(input)
    np.add.at(gathered, rows, expected_gradient)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient, gathered, rtol=1e-10, atol=1e-12)

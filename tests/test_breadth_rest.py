"""Layers and options that few models have: PyTorch's results, gradients, buffers and keys, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import assume, given
from hypothesis import strategies as st

import unimodel as um
from unimodel.errors import DataError, ShapeError

torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
from torch_oracle import agree, close  # noqa: E402  needs torch

pytestmark = [pytest.mark.torch_oracle, pytest.mark.filterwarnings("ignore::UserWarning")]

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 4)
flags = st.booleans()


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def randomised(module: Any) -> Any:
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


@given(seeds, st.sets(st.integers(1, 11), min_size=1, max_size=3), st.sampled_from([1.5, 2.0]), flags)
@examples(15)
def test_adaptive_log_softmax(seed: int, cutoffs: set[int], div_value: float, head_bias: bool) -> None:
    arguments: dict[str, Any] = {"cutoffs": sorted(cutoffs), "div_value": div_value, "head_bias": head_bias}
    theirs = randomised(torch.nn.AdaptiveLogSoftmaxWithLoss(9, 12, **arguments))
    agree(
        um.nn.AdaptiveLogSoftmaxWithLoss(9, 12, **arguments), theirs, [normal(seed, 12, 9), np.random.default_rng(seed).permutation(12)]
    )  # of each class one: for a cluster without samples PyTorch has no gradient


class Everything(um.Model):
    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer.log_prob(x), self.layer.predict(x), tuple(self.layer(x[0], um.ops.asarray(np.array(7))))


def test_adaptive_log_softmax_of_all_classes_and_of_one_sample() -> None:
    theirs = randomised(torch.nn.AdaptiveLogSoftmaxWithLoss(9, 12, [2, 5], div_value=2.0).double())
    ours = um.nn.AdaptiveLogSoftmaxWithLoss(9, 12, [2, 5], div_value=2.0)
    ours.load_state_dict(theirs.state_dict())
    x = normal(0, 3, 9)
    log_prob, best, one = Everything(ours)(x)
    close(log_prob, theirs.log_prob(torch.tensor(x)), tolerance=1e-6)
    np.testing.assert_array_equal(best, theirs.predict(torch.tensor(x)).numpy())
    wanted = theirs(torch.tensor(x[0]), torch.tensor(7))
    close(one[0], wanted.output, tolerance=1e-6)
    close(one[1], wanted.loss, tolerance=1e-6)


@examples(25)
@given(seeds, st.sampled_from([2, 3]), st.integers(1, 3), st.integers(1, 3), flags, flags, st.data())
def test_fractional_max_pool(seed: int, rank: int, channels: int, kernel: int, ratio: bool, batch: bool, data: st.DataObject) -> None:
    spatial = [data.draw(st.integers(kernel + 1, 7)) for _ in range(rank)]
    given_size: dict[str, Any] = (
        {"output_ratio": 0.6} if ratio else {"output_size": [data.draw(st.integers(1, s - kernel + (rank == 2))) for s in spatial]}
    )  # PyTorch takes no more in 3-D
    assume(not ratio or all(1 <= int(s * 0.6) <= s - kernel for s in spatial))
    samples = np.random.default_rng(seed).random((2 if batch else 1, channels, rank))
    shape = (*((2,) if batch else ()), channels, *spatial)

    def make(nn: Any, samples: Any = None) -> Any:
        return getattr(nn, f"FractionalMaxPool{rank}d")(kernel, **given_size, return_indices=True, _random_samples=samples)

    x = np.random.default_rng(seed).permutation(int(np.prod(shape))).reshape(shape) / 10
    if batch:
        theirs = make(torch.nn)
        del theirs._random_samples
        theirs.__dict__["_random_samples"] = torch.tensor(samples)  # which is no buffer of ours
        agree(make(um.nn, samples), theirs, [x], float32=False)
    else:
        values, indices = um.run(make(um.nn, samples).forward, x)
        wanted = make(torch.nn, torch.tensor(samples))(torch.tensor(x))
        close(values, wanted[0])
        np.testing.assert_array_equal(indices, wanted[1].numpy())


def test_fractional_windows_are_drawn_anew_and_the_same_on_every_run() -> None:
    x = np.arange(400, dtype="float64").reshape(1, 1, 20, 20)
    pool = um.nn.FractionalMaxPool2d(2, output_ratio=0.7)

    class Step(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            return {"y": self.model(batch)}

    runs = [
        [np.asarray(t.train_step(x)["y"]) for _ in range(2)]
        for t in (Step(pool, precision="float64"), Step(um.nn.FractionalMaxPool2d(2, output_ratio=0.7), precision="float64"))
    ]
    assert not np.array_equal(*runs[0])
    np.testing.assert_array_equal(runs[0], runs[1])


@given(seeds, st.sampled_from(["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "GroupNorm"]), flags, flags)
@examples(20)
def test_norms_without_bias(seed: int, name: str, affine: bool, training: bool) -> None:
    rank = 2 if name == "GroupNorm" else int(name[-2])
    sizes = (2, 4) if name == "GroupNorm" else (4,)
    theirs = randomised(getattr(torch.nn, name)(*sizes, affine=affine, bias=False))
    agree(getattr(um.nn, name)(*sizes, affine=affine, bias=False).train(training), theirs.train(training), [normal(seed, 3, 4, *(3,) * rank)])


options = {"max_norm": st.sampled_from([None, 0.5, 1.0]), "norm_type": st.sampled_from([2.0, 1.0, 3.0]), "scale_grad_by_freq": flags}


@given(seeds, st.integers(2, 6), sizes, st.fixed_dictionaries(options), st.data())
def test_embedding_options(seed: int, rows: int, width: int, arguments: dict[str, Any], data: st.DataObject) -> None:
    padding = data.draw(st.none() | st.integers(-rows, rows - 1))
    batches = [[np.random.default_rng(seed + i).integers(0, rows, (2, 3))] for i in range(2)]
    theirs = randomised(torch.nn.Embedding(rows, width, padding, **arguments))
    agree(um.nn.Embedding(rows, width, padding, **arguments), theirs, *batches)


@given(seeds, st.integers(2, 6), sizes, st.sampled_from(["sum", "mean", "max"]), st.fixed_dictionaries(options))
@examples(20)
def test_embedding_bag_options(seed: int, rows: int, width: int, mode: str, arguments: dict[str, Any]) -> None:
    del arguments["scale_grad_by_freq"]
    batches = [[np.random.default_rng(seed + i).integers(0, rows, (2, 3))] for i in range(2)]
    agree(um.nn.EmbeddingBag(rows, width, mode=mode, **arguments), randomised(torch.nn.EmbeddingBag(rows, width, mode=mode, **arguments)), *batches)


@given(seeds, st.integers(2, 6), sizes, st.sampled_from(["sum", "mean"]), flags, st.data())
@examples(30)
def test_a_bag_whose_gradient_is_scaled_by_frequency(seed: int, rows: int, width: int, mode: str, weighted: bool, data: st.DataObject) -> None:
    """PyTorch's own bag (2.13, on a CPU) divides by another index's frequency unless all are equally frequent; its embedding, added up, divides as documented."""
    padding = data.draw(st.none() | st.integers(0, rows - 1))
    rng = np.random.default_rng(seed)
    even = data.draw(flags)
    indices = rng.permutation(np.repeat(np.arange(rows), 2)).reshape(2, rows) if even else rng.integers(0, rows, (2, 3))
    weights = [rng.uniform(0.5, 2.0, indices.shape)] if weighted and mode == "sum" else []

    class Ours(um.Model):
        def __init__(self) -> None:
            self.bag = um.nn.EmbeddingBag(rows, width, scale_grad_by_freq=True, mode=mode, padding_idx=padding)

        def forward(self, input: Any, weights: Any = None) -> Any:
            return self.bag(input, per_sample_weights=weights)

    class Theirs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag = torch.nn.EmbeddingBag(rows, width, scale_grad_by_freq=True, mode=mode, padding_idx=padding)

        def forward(self, input: Any, weights: Any = None) -> Any:
            if even:
                return self.bag(input, per_sample_weights=weights)
            found = torch.nn.functional.embedding(input, self.bag.weight, padding, scale_grad_by_freq=True)
            counted = (input != padding).to(found.dtype)[..., None] if padding is not None else torch.ones(*input.shape, 1, dtype=found.dtype)
            total = (found * counted * (1.0 if weights is None else weights[..., None])).sum(1)
            return total if mode == "sum" else total / counted.sum(1).clamp(min=1)

    agree(Ours(), Theirs(), [indices, *weights])


def test_rows_that_are_renormalised_are_trained_and_stay_so() -> None:
    layer = um.nn.Embedding(4, 3, max_norm=1.0)
    layer.load_state_dict({"weight": np.full((4, 3), 2.0, "float32")})
    trainer = um.Trainer(um.nn.Sequential(layer, um.nn.Flatten(), um.nn.Linear(6, 1)), um.losses.MSELoss(), um.optim.SGD(lr=0.0), backend="numpy")
    trainer.train_step((np.array([[0, 1]]), np.zeros((1, 1), "float32")))
    norms = np.linalg.norm(layer.state_dict()["weight"], axis=1)
    np.testing.assert_allclose(norms, [1, 1, 12**0.5, 12**0.5], rtol=1e-6)


@pytest.mark.parametrize("freeze", [True, False])
def test_an_embedding_from_rows_that_others_have_trained(freeze: bool) -> None:
    rows = normal(0, 5, 3).astype("float32")
    layer = um.nn.Embedding.from_pretrained(rows, freeze)
    np.testing.assert_array_equal(layer(np.array([4, 0])), rows[[4, 0]])
    bag = um.nn.EmbeddingBag.from_pretrained(rows, freeze, mode="sum")
    np.testing.assert_array_equal(bag(np.array([[4, 0]])), rows[[4]] + rows[[0]])
    assert layer.weight.requires_grad is bag.weight.requires_grad is not freeze


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "no cutoffs": (lambda: um.nn.AdaptiveLogSoftmaxWithLoss(8, 9, []), "rising integers"),
    "cutoffs that fall": (lambda: um.nn.AdaptiveLogSoftmaxWithLoss(8, 9, [5, 3]), "below n_classes=9"),
    "a cutoff at the end": (lambda: um.nn.AdaptiveLogSoftmaxWithLoss(8, 9, [3, 9]), "below n_classes=9"),
    "no features left": (lambda: um.nn.AdaptiveLogSoftmaxWithLoss(8, 9, [3, 6]), "cluster 1"),
    "features": (lambda: um.nn.AdaptiveLogSoftmaxWithLoss(8, 9, [3])(np.ones((2, 7)), np.array([1, 2])), "in_features"),
    "targets": (lambda: um.nn.AdaptiveLogSoftmaxWithLoss(8, 9, [3])(np.ones((2, 8)), np.array([[1], [2]])), "one class for each sample"),
    "two sizes": (lambda: um.nn.FractionalMaxPool2d(2, 3, 0.5), "either output_size or output_ratio"),
    "no size": (lambda: um.nn.FractionalMaxPool3d(2), "either output_size or output_ratio"),
    "a ratio above 1": (lambda: um.nn.FractionalMaxPool2d(2, output_ratio=1.5), "in (0, 1)"),
    "windows too many": (lambda: um.nn.FractionalMaxPool2d(2, 5)(np.ones((1, 1, 5, 5))), "do not fit"),
    "rank": (lambda: um.nn.FractionalMaxPool2d(2, 5)(np.ones((1, 5))), "4 dimensions"),
    "max_norm": (lambda: um.nn.Embedding(3, 2, max_norm=0.0), "max_norm"),
    "a scaled maximum": (lambda: um.nn.EmbeddingBag(3, 2, mode="max", scale_grad_by_freq=True), "modes 'sum' and 'mean'"),
    "no matrix": (lambda: um.nn.Embedding.from_pretrained(np.ones(3)), "num_embeddings, embedding_dim"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit(name: str) -> None:
    call, words = REFUSED[name]
    with pytest.raises(ShapeError) as caught:
        call()
    assert words in str(caught.value) and caught.value.source is not None and caught.value.source.file == __file__


def test_a_target_out_of_range_is_found_on_the_host() -> None:
    with pytest.raises(DataError, match="index 9"):
        um.nn.AdaptiveLogSoftmaxWithLoss(8, 9, [3])(np.ones((2, 8), "float32"), np.array([1, 9]))

"""Norms, dropouts, distances, embeddings and image layers equal PyTorch's: results, gradients, buffers and state-dict keys, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import unimodel as um
from unimodel.errors import ShapeError

torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
from torch_oracle import agree, close  # noqa: E402  needs torch

pytestmark = [pytest.mark.torch_oracle, pytest.mark.filterwarnings("ignore::UserWarning")]

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 5)
ranks = st.sampled_from([1, 2, 3])
flags = st.booleans()


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def randomised(module: Any) -> Any:
    """The module with no parameter or running statistic at its usual start."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    for name, buffer in module.named_buffers():
        if "var" in name:
            torch.nn.init.uniform_(buffer, 0.5, 2.0)
        elif "mean" in name:
            torch.nn.init.normal_(buffer)
    return module


def both(name: str, *args: Any, training: bool = True, **kwargs: Any) -> tuple[um.Model, Any]:
    return getattr(um.nn, name)(*args, **kwargs).train(training), randomised(getattr(torch.nn, name)(*args, **kwargs)).train(training)


@given(seeds, st.integers(1, 3), st.lists(st.integers(2, 3), min_size=1, max_size=2), flags, st.sampled_from([0.1, 0.5, None]), flags, flags)
def test_batch_norm3d(seed: int, channels: int, batches: list[int], training: bool, momentum: Any, affine: bool, track: bool) -> None:
    layers = both("BatchNorm3d", channels, momentum=momentum, affine=affine, track_running_stats=track, training=training)
    agree(*layers, *([normal(seed + n, n, channels, 2, 1, 2)] for n in batches))


@given(seeds, st.integers(1, 3), st.integers(1, 3), st.lists(sizes, max_size=3), st.sampled_from([1e-5, 0.1]), flags)
def test_group_norm(seed: int, groups: int, per_group: int, tail: list[int], eps: float, affine: bool) -> None:
    assume(per_group * int(np.prod(tail)) > 1)
    agree(*both("GroupNorm", groups, groups * per_group, eps=eps, affine=affine), [normal(seed, 3, groups * per_group, *tail)])


@given(seeds, ranks, st.integers(1, 3), st.integers(2, 4), flags, flags, flags, flags, st.sampled_from([0.1, 0.5, None]))
def test_instance_norm(seed: int, rank: int, channels: int, size: int, batch: bool, training: bool, affine: bool, track: bool, momentum: Any) -> None:
    layers = both(f"InstanceNorm{rank}d", channels, momentum=momentum, affine=affine, track_running_stats=track, training=training)
    shape = (*((3,) if batch else ()), channels, *(size,) * rank)
    agree(*layers, [normal(seed, *shape)], [normal(seed + 1, *shape)])


@given(seeds, st.lists(sizes, max_size=2), st.lists(sizes, min_size=1, max_size=3), st.sampled_from([None, 1e-5, 0.1]), flags)
def test_rms_norm(seed: int, lead: list[int], shape: list[int], eps: float | None, affine: bool) -> None:
    normalized: Any = shape[0] if len(shape) == 1 else tuple(shape)
    agree(*both("RMSNorm", normalized, eps=eps, elementwise_affine=affine), [normal(seed, *lead, *shape)], float32=eps is not None and int(np.prod(shape)) > 1)


@given(seeds, st.integers(1, 6), st.integers(1, 5), st.lists(sizes, min_size=1, max_size=2), st.sampled_from([1e-4, 0.5]), st.sampled_from([1.0, 2.0]))
def test_local_response_norm(seed: int, channels: int, size: int, tail: list[int], alpha: float, k: float) -> None:
    agree(*both("LocalResponseNorm", size, alpha=alpha, k=k), [normal(seed, 2, channels, *tail)])


@given(seeds, sizes, sizes, sizes, flags, st.lists(sizes, min_size=1, max_size=3))
def test_bilinear(seed: int, first: int, second: int, outputs: int, bias: bool, lead: list[int]) -> None:
    agree(*both("Bilinear", first, second, outputs, bias=bias), [normal(seed, *lead, first), normal(seed + 1, *lead, second)])


@given(seeds, st.lists(sizes, min_size=1, max_size=4), st.data())
def test_cosine_similarity(seed: int, shape: list[int], data: st.DataObject) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x1, x2 = normal(seed, *shape), normal(seed + 1, *shape)
    if data.draw(flags):
        x1[0] = 0.0
    agree(*both("CosineSimilarity", dim, eps=data.draw(st.sampled_from([1e-8, 0.5]))), [x1, x2])


@given(seeds, st.lists(sizes, min_size=1, max_size=3), st.sampled_from([2.0, 1.0, 3.0, 1.5, float("inf")]), flags)
def test_pairwise_distance(seed: int, shape: list[int], p: float, keepdim: bool) -> None:
    agree(*both("PairwiseDistance", p, keepdim=keepdim), [normal(seed, *shape), normal(seed + 1, *shape)])


@given(seeds, st.sampled_from([2.0, 1.0, 3.0, 1.5, float("inf"), -float("inf")]), st.lists(sizes, min_size=1, max_size=3), flags, st.data())
def test_vector_norm(seed: int, ord: float, shape: list[int], zeros: bool, data: st.DataObject) -> None:
    dim = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    x = normal(seed, *shape)
    if zeros:
        x[0] = 0.0

    class Ours(um.Model):
        def forward(self, x: Any) -> Any:
            return um.ops.vector_norm(x, axis=dim, ord=ord)

    class Theirs(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.linalg.vector_norm(x, ord, dim)

    agree(Ours(), Theirs(), [x])


def test_how_many_are_not_zero() -> None:
    np.testing.assert_array_equal(um.ops.vector_norm(np.array([[0.0, 1.0], [2.0, -3.0]]), axis=1, ord=0), [1.0, 2.0])


@given(seeds, st.integers(2, 7), sizes, st.sampled_from(["sum", "mean", "max"]), st.integers(1, 4), st.integers(1, 4), flags, st.data())
def test_embedding_bag(seed: int, rows: int, width: int, mode: str, bags: int, length: int, weighted: bool, data: st.DataObject) -> None:
    padding = data.draw(st.none() | st.integers(-rows, rows - 1))
    indices = np.random.default_rng(seed).integers(0, rows, (bags, length))
    weights = [normal(seed, bags, length)] if weighted and mode == "sum" else []

    class Ours(um.Model):
        def __init__(self) -> None:
            self.bag = um.nn.EmbeddingBag(rows, width, mode=mode, padding_idx=padding)

        def forward(self, input: Any, weights: Any = None) -> Any:
            return self.bag(input, per_sample_weights=weights)

    class Theirs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag = torch.nn.EmbeddingBag(rows, width, mode=mode, padding_idx=padding)

        def forward(self, input: Any, weights: Any = None) -> Any:
            return self.bag(input, per_sample_weights=weights)

    agree(Ours(), Theirs(), [indices, *weights])


@given(seeds, st.lists(sizes, max_size=2), st.integers(1, 2), st.integers(1, 3), sizes, sizes)
def test_pixel_shuffles(seed: int, lead: list[int], channels: int, factor: int, height: int, width: int) -> None:
    lead = lead or [2]
    agree(*both("PixelShuffle", factor), [normal(seed, *lead, channels * factor**2, height, width)])
    agree(*both("PixelUnshuffle", factor), [normal(seed, *lead, channels, height * factor, width * factor)])


@given(seeds, st.integers(1, 3), st.integers(1, 3), st.lists(sizes, min_size=2, max_size=2))
def test_channel_shuffle(seed: int, groups: int, per_group: int, tail: list[int]) -> None:
    agree(*both("ChannelShuffle", groups), [normal(seed, 2, groups * per_group, *tail)])


def pair(low: int, high: int) -> st.SearchStrategy[Any]:
    return st.one_of(st.integers(low, high), st.tuples(st.integers(low, high), st.integers(low, high)))


def two(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


@given(seeds, flags, st.integers(1, 2), st.tuples(st.integers(3, 6), st.integers(3, 6)), pair(1, 3), pair(1, 2), pair(0, 2), pair(1, 3))
def test_fold_and_unfold(seed: int, batch: bool, channels: int, size: tuple[int, int], kernel: Any, dilation: Any, padding: Any, stride: Any) -> None:
    numbers = [two(v) for v in (kernel, dilation, padding, stride)]
    outs = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(size, *numbers, strict=True)]
    assume(min(outs) >= 1)
    arguments = {"dilation": dilation, "padding": padding, "stride": stride}
    lead = (2,) if batch else ()
    agree(*both("Unfold", kernel, **arguments), [normal(seed, *lead, channels, *size)])
    columns = channels * numbers[0][0] * numbers[0][1]
    agree(*both("Fold", size, kernel, **arguments), [normal(seed, *lead, columns, outs[0] * outs[1])])


MODES = {
    1: ["nearest", "nearest-exact", "linear", "area"],
    2: ["nearest", "nearest-exact", "bilinear", "bicubic", "area"],
    3: ["nearest", "nearest-exact", "trilinear", "area"],
}


@given(seeds, ranks, st.data())
def test_upsample(seed: int, rank: int, data: st.DataObject) -> None:
    shape = [data.draw(st.integers(1, 6 if rank < 3 else 3)) for _ in range(rank)]
    mode = data.draw(st.sampled_from(MODES[rank]))
    arguments: dict[str, Any] = {"mode": mode}
    if data.draw(flags):
        one = st.integers(1, 9 if rank < 3 else 4)
        arguments["size"] = data.draw(st.one_of(one, st.tuples(*[one] * rank)))
    else:
        one = st.sampled_from([1.0, 2.0, 3.0, 0.5, 1.5, 2.7])
        arguments["scale_factor"] = data.draw(st.one_of(one, st.tuples(*[one] * rank)))
        factors = arguments["scale_factor"]
        assume(min(int(n * f) for n, f in zip(shape, (factors,) * rank if isinstance(factors, float) else factors, strict=True)) > 0)
        arguments["recompute_scale_factor"] = data.draw(st.sampled_from([None, True])) if mode != "area" else None
    if "linear" in mode or mode == "bicubic":
        arguments["align_corners"] = data.draw(flags)
    agree(*both("Upsample", **arguments), [normal(seed, 2, 2, *shape)])


def test_fixed_upsamplings() -> None:
    x = normal(0, 2, 3, 4, 5)
    agree(*both("UpsamplingNearest2d", scale_factor=2), [x])
    agree(*both("UpsamplingBilinear2d", size=(7, 9)), [x])


@given(seeds, st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(-3, 2))
def test_unflatten(seed: int, shape: list[int], dim: int) -> None:
    shape = [2, *shape]
    assume(-len(shape) <= dim < len(shape))
    shape[dim] *= 6
    agree(*both("Unflatten", dim, (2, -1, 3)), [normal(seed, *shape)])


@pytest.mark.parametrize("name", ["Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"])
def test_dropouts_do_nothing_in_eval_mode_and_all_or_nothing_at_the_ends(name: str) -> None:
    shape = (3, 4, *(2,) * (int(name[-2]) if name[-1] == "d" else 1))
    for p in (0.0, 0.5, 1.0):
        agree(*both(name, p, training=False), [normal(0, *shape)])
    for p in (0.0, 1.0):
        agree(*both(name, p), [normal(0, *shape)])


@pytest.mark.parametrize(
    ("name", "shape"), [("Dropout1d", (50, 40, 3)), ("Dropout2d", (50, 40, 3, 2)), ("Dropout2d", (50, 40, 3)), ("Dropout3d", (50, 40, 1, 2, 3))]
)
def test_channel_dropouts_drop_whole_channels(name: str, shape: tuple[int, ...]) -> None:
    y = getattr(um.nn, name)(0.3)(np.ones(shape, "float32")).reshape(50, 40, -1)
    assert (y == y[..., :1]).all()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs((y != 0).mean() - 0.7) < 0.04


def test_alpha_dropout_keeps_mean_and_variance_and_has_pytorchs_values() -> None:
    x = np.random.default_rng(0).standard_normal((300, 200)).astype("float32")
    y = um.nn.AlphaDropout(0.3)(x)
    assert abs(y.mean()) < 0.02 and abs(y.var() - 1) < 0.03
    theirs = torch.nn.AlphaDropout(0.3)(torch.ones(1000)).unique()
    close(np.unique(um.nn.AlphaDropout(0.3)(np.ones((1000,), "float32"))), theirs, tolerance=1e-6)
    z = um.nn.FeatureAlphaDropout(0.3)(np.ones((50, 40, 3), "float32"))
    assert (z == z[..., :1]).all() and len(np.unique(z)) == 2


ONES = np.ones((2, 3, 4, 4), "float32")
REFUSED: list[Callable[[], Any]] = [
    lambda: um.nn.GroupNorm(2, 3),
    lambda: um.nn.GroupNorm(2, 4)(ONES),
    lambda: um.nn.InstanceNorm1d(3)(ONES),
    lambda: um.nn.InstanceNorm2d(4)(ONES),
    lambda: um.nn.InstanceNorm1d(3)(np.ones((2, 3, 1))),
    lambda: um.nn.RMSNorm(5)(ONES),
    lambda: um.nn.RMSNorm(0),
    lambda: um.nn.LocalResponseNorm(0),
    lambda: um.nn.BatchNorm3d(3)(ONES),
    lambda: um.nn.Dropout2d(1.5),
    lambda: um.nn.Dropout3d()(np.ones((2, 3))),
    lambda: um.nn.Bilinear(2, 0, 3),
    lambda: um.nn.Bilinear(2, 3, 3)(np.ones((2, 3)), np.ones((2, 3))),
    lambda: um.nn.EmbeddingBag(3, 2, mode="median"),
    lambda: um.nn.EmbeddingBag(3, 2, padding_idx=3),
    lambda: um.nn.EmbeddingBag(3, 2)(np.zeros(4, "int64"), np.zeros(4, "int64")),
    lambda: um.nn.PixelShuffle(2)(ONES),
    lambda: um.nn.PixelUnshuffle(3)(ONES),
    lambda: um.nn.ChannelShuffle(2)(ONES),
    lambda: um.nn.Unfold(5)(ONES),
    lambda: um.nn.Fold((4, 4), 2)(np.ones((2, 12, 5))),
    lambda: um.nn.Unflatten(1, (-1, -1)),
    lambda: um.nn.Unflatten(1, (2, 2))(ONES),
    lambda: um.nn.Upsample(),
    lambda: um.nn.Upsample(size=4, scale_factor=2),
    lambda: um.nn.Upsample(2, mode="cubic"),
    lambda: um.nn.Upsample(2, mode="trilinear")(ONES),
    lambda: um.nn.Upsample(2, align_corners=True)(ONES),
    lambda: um.nn.Upsample(scale_factor=0.1)(ONES),
]


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_bad_arguments_are_refused_at_the_users_line(index: int) -> None:
    with pytest.raises(ShapeError) as caught:
        REFUSED[index]()
    assert caught.value.source is not None and caught.value.source.file == __file__

"""Every layer equals PyTorch's layer of the same name: results, gradients, buffers and state-dict keys, for any arguments, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import unimodel as um

torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
from effort import few  # noqa: E402  beside the tests
from torch_oracle import agree, close  # noqa: E402  needs torch

pytestmark = pytest.mark.torch_oracle

sizes = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def pair(low: int, high: int) -> st.SearchStrategy[Any]:
    """A number, or one per dimension."""
    return st.one_of(st.integers(low, high), st.tuples(st.integers(low, high), st.integers(low, high)))


def both(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


@given(seeds, sizes, sizes, st.booleans(), st.lists(sizes, max_size=3))
def test_linear(seed: int, inputs: int, outputs: int, bias: bool, lead: list[int]) -> None:
    agree(um.nn.Linear(inputs, outputs, bias=bias), torch.nn.Linear(inputs, outputs, bias=bias), [normal(seed, *lead, inputs)])


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@given(
    seeds,
    st.integers(1, 3),
    sizes,
    st.sampled_from([1, 2, 3]),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pair(1, 3),
    pair(1, 3),
    st.one_of(pair(0, 2), st.sampled_from(["same", "valid"])),
    pair(1, 2),
    st.booleans(),
    st.tuples(st.integers(3, 8), st.integers(3, 8)),
)
def test_conv2d(
    seed: int, batch: int, _: int, groups: int, per_group: tuple[int, int], kernel: Any, stride: Any, padding: Any, dilation: Any, bias: bool, size: Any
) -> None:
    if padding == "same":
        stride = 1
    channels_in, channels_out = groups * per_group[0], groups * per_group[1]
    reach = [d * (k - 1) + 1 for k, d in zip(both(kernel), both(dilation), strict=True)]
    extra = [0, 0] if padding == "valid" else reach if padding == "same" else [2 * p for p in both(padding)]
    assume(all(n + e >= r for n, e, r in zip(size, extra, reach, strict=True)))
    arguments = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "bias": bias}
    agree(
        um.nn.Conv2d(channels_in, channels_out, kernel, **arguments),
        torch.nn.Conv2d(channels_in, channels_out, kernel, **arguments),
        [normal(seed, batch, channels_in, *size)],
    )


pools = (seeds, st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(4, 9), st.integers(4, 9)), pair(1, 4), st.none() | pair(1, 4), pair(0, 2))


@given(*pools, pair(1, 2), st.booleans(), st.booleans())
def test_max_pool2d(seed: int, shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, return_indices: bool) -> None:
    reach = [d * (k - 1) + 1 for k, d in zip(both(kernel), both(dilation), strict=True)]
    assume(all(p <= k // 2 and n + 2 * p >= r for p, k, n, r in zip(both(padding), both(kernel), shape[2:], reach, strict=True)))
    arguments = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode, "return_indices": return_indices}
    agree(um.nn.MaxPool2d(kernel, **arguments), torch.nn.MaxPool2d(kernel, **arguments), [normal(seed, *shape)])


@given(*pools, st.booleans(), st.booleans(), st.none() | st.integers(1, 7))
def test_avg_pool2d(seed: int, shape: Any, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool, divisor: Any) -> None:
    assume(all(p <= k // 2 and n + 2 * p >= k for p, k, n in zip(both(padding), both(kernel), shape[2:], strict=True)))
    arguments = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode, "count_include_pad": count_include_pad, "divisor_override": divisor}
    agree(um.nn.AvgPool2d(kernel, **arguments), torch.nn.AvgPool2d(kernel, **arguments), [normal(seed, *shape)])


def batch_norms(ours: Any, theirs: Any, seed: int, shapes: list[tuple[int, ...]], training: bool, **arguments: Any) -> None:
    model, module = ours(shapes[0][1], **arguments), theirs(shapes[0][1], **arguments)
    if module.affine:
        torch.nn.init.normal_(module.weight)
        torch.nn.init.normal_(module.bias)
    if module.running_mean is not None:
        torch.nn.init.normal_(module.running_mean)
        torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    model.train(training)
    module.train(training)
    agree(model, module, *([normal(seed + i, *shape)] for i, shape in enumerate(shapes)))


norms = {
    "eps": st.sampled_from([1e-5, 1e-3, 0.1]),
    "momentum": st.sampled_from([0.1, 0.5, 1.0, 0.0, None]),
    "affine": st.booleans(),
    "track_running_stats": st.booleans(),
}


@given(
    seeds, st.integers(1, 4), st.lists(st.integers(2, 6), min_size=1, max_size=3), st.none() | st.integers(1, 4), st.booleans(), st.fixed_dictionaries(norms)
)
def test_batch_norm1d(seed: int, channels: int, batches: list[int], length: int | None, training: bool, arguments: Any) -> None:
    tail = () if length is None else (length,)
    shapes = [(n, channels, *tail) for n in batches]
    batch_norms(um.nn.BatchNorm1d, torch.nn.BatchNorm1d, seed, shapes, training, **arguments)


@given(seeds, st.integers(1, 3), st.lists(st.integers(2, 4), min_size=1, max_size=3), st.integers(1, 3), st.booleans(), st.fixed_dictionaries(norms))
def test_batch_norm2d(seed: int, channels: int, batches: list[int], side: int, training: bool, arguments: Any) -> None:
    batch_norms(um.nn.BatchNorm2d, torch.nn.BatchNorm2d, seed, [(n, channels, side, 2) for n in batches], training, **arguments)


@given(seeds, st.lists(sizes, max_size=2), st.lists(sizes, min_size=1, max_size=3), st.sampled_from([1e-5, 1e-2]), st.booleans(), st.booleans())
def test_layer_norm(seed: int, lead: list[int], shape: list[int], eps: float, affine: bool, bias: bool) -> None:
    normalized: Any = shape[0] if len(shape) == 1 else tuple(shape)
    module = torch.nn.LayerNorm(normalized, eps=eps, elementwise_affine=affine, bias=bias)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    agree(um.nn.LayerNorm(normalized, eps=eps, elementwise_affine=affine, bias=bias), module, [normal(seed, *lead, *shape)])


@given(seeds, st.integers(2, 7), sizes, st.lists(sizes, min_size=1, max_size=3), st.data())
def test_embedding(seed: int, rows: int, width: int, shape: list[int], data: st.DataObject) -> None:
    padding = data.draw(st.none() | st.integers(-rows, rows - 1))
    indices = np.random.default_rng(seed).integers(0, rows, shape)
    agree(um.nn.Embedding(rows, width, padding_idx=padding), torch.nn.Embedding(rows, width, padding_idx=padding), [indices])


@given(seeds, st.lists(st.integers(1, 3), min_size=2, max_size=5), st.data())
def test_flatten(seed: int, shape: list[int], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(shape) - 1))
    end = data.draw(st.integers(start, len(shape) - 1))
    if data.draw(st.booleans()):
        start, end = start - len(shape), end - len(shape)
    agree(um.nn.Flatten(start, end), torch.nn.Flatten(start, end), [normal(seed, *shape)])


ACTIVATIONS = [
    ("ReLU", {}),
    ("ReLU", {"inplace": False}),
    ("LeakyReLU", {}),
    ("LeakyReLU", {"negative_slope": 0.3}),
    ("ELU", {}),
    ("ELU", {"alpha": 0.4}),
    ("GELU", {}),
    ("GELU", {"approximate": "tanh"}),
    ("SiLU", {}),
    ("Tanh", {}),
    ("Sigmoid", {}),
    ("Softplus", {}),
    ("Softplus", {"beta": 2.0, "threshold": 3.0}),
    ("Softmax", {"dim": 1}),
    ("Softmax", {"dim": -1}),
    ("Softmax", {"dim": 0}),
    ("LogSoftmax", {"dim": 1}),
    ("LogSoftmax", {"dim": -1}),
    ("Identity", {}),
]


@pytest.mark.parametrize(("name", "arguments"), ACTIVATIONS, ids=lambda v: str(v))
@few
@given(seed=seeds, shape=st.lists(sizes, min_size=2, max_size=4), scale=st.sampled_from([1.0, 10.0]))
def test_activations(name: str, arguments: dict[str, Any], seed: int, shape: list[int], scale: float) -> None:
    agree(getattr(um.nn, name)(**arguments), getattr(torch.nn, name)(**arguments), [scale * normal(seed, *shape)])


@pytest.mark.parametrize("name", sorted({name for name, _ in ACTIVATIONS}))
def test_activations_at_special_values(name: str) -> None:
    """Zeros (the kink), large numbers, infinities and NaN give PyTorch's results and gradients."""
    arguments = {"dim": 1} if "Softmax" in name else {}
    values = [[0.0, 1.0, -1.0], [80.0, -80.0, 800.0], [-0.0, 1e-20, -1e-20]]
    agree(getattr(um.nn, name)(**arguments), getattr(torch.nn, name)(**arguments), [np.array(values)])
    if "Softmax" not in name:
        x = np.array([np.inf, -np.inf, np.nan])
        close(getattr(um.nn, name)()(x), getattr(torch.nn, name)()(torch.tensor(x)))


def test_dropout_does_nothing_in_eval_mode_and_scales_in_train_mode() -> None:
    x = np.ones((200, 50), "float32")
    np.testing.assert_array_equal(um.nn.Dropout(0.3).eval()(x), x)
    dropped = um.nn.Dropout(0.3)(x)
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs((dropped != 0).mean() - 0.7) < 0.02
    for p in (0.0, 1.0):
        agree(um.nn.Dropout(p), torch.nn.Dropout(p), [normal(0, 3, 4)])


@given(
    seeds,
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from(["none", "causal", "bool", "float"]),
    st.none() | st.floats(0.1, 2),
)
def test_attention(seed: int, batch: int, heads: int, queries: int, keys: int, width: int, mask: str, scale: float | None) -> None:
    rng = np.random.default_rng(seed)
    q, k, v = (rng.standard_normal((batch, heads, n, width)) for n in (queries, keys, keys))
    attn_mask = {"bool": rng.random((queries, keys)) < 0.6, "float": rng.standard_normal((queries, keys))}.get(mask)
    if mask == "bool":
        attn_mask[:, 0] = True  # a row that may look nowhere has no meaning

    class Ours(um.Model):
        def forward(self, q: Any, k: Any, v: Any) -> Any:
            return um.ops.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask, is_causal=mask == "causal", scale=scale)

    class Theirs(torch.nn.Module):
        def forward(self, q: Any, k: Any, v: Any) -> Any:
            given = None if attn_mask is None else torch.tensor(attn_mask)
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=given, is_causal=mask == "causal", scale=scale)

    agree(Ours(), Theirs(), [q, k, v])


@few
@given(seeds, st.booleans())
def test_layers_together(seed: int, training: bool) -> None:
    """A convolutional classifier: nested containers, shared batch sizes, one state dict."""

    def net(nn: Any) -> Any:
        return nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
            nn.Sequential(nn.Conv2d(4, 6, 3), nn.GELU(), nn.AvgPool2d(2)),
            nn.Flatten(),
            nn.Linear(6, 5),
            nn.LayerNorm(5),
            nn.Linear(5, 3, bias=False),
        )

    torch.manual_seed(seed % 1000)
    ours, theirs = net(um.nn), net(torch.nn)
    ours.train(training)
    theirs.train(training)
    agree(ours, theirs, [normal(seed, 4, 1, 8, 8)], [normal(seed + 1, 7, 1, 8, 8)])

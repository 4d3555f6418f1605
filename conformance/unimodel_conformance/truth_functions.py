"""More functions of ``ops`` beside what NumPy makes of them: those that make, cut and join arrays, and those over windows, channels, vectors and sequences.

``test_functions.py`` runs them with its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unimodel import ops
from unimodel.graph import Array


@dataclass
class Function:
    """A call of ops, what NumPy makes of it, the arrays for both, and whether its gradient is checked."""

    call: Callable[..., Any]
    truth: Callable[..., Any]
    arrays: tuple[Array, ...]
    gradient: bool = True


_RNG = np.random.Generator(np.random.Philox(12))
X = (_RNG.permutation(12) - 5.7).reshape(3, 4) * 0.3
Y = _RNG.uniform(0.2, 0.9, (3, 4)) * _RNG.choice([-1.0, 1.0], (3, 4))
CUBE = ((_RNG.permutation(24) - 11.3) * 0.17).reshape(2, 3, 4)
IMAGE = ((_RNG.permutation(2 * 4 * 5 * 6) - 119.7) * 0.021).reshape(2, 4, 5, 6)
LINE = ((_RNG.permutation(2 * 2 * 9) - 17.7) * 0.11).reshape(2, 2, 9)
KERNEL = _RNG.uniform(-0.5, 0.5, (4, 2, 3, 2))
ROWS = _RNG.uniform(-1.0, 1.0, (5, 3))
BAGS = np.array([[0, 3, 3], [4, 1, 0]])
LENGTHS = np.array([3, 1, 4])
STATES = _RNG.uniform(-1.0, 1.0, (4, 3, 2))
"""Four steps of three sequences of two numbers."""


def _per(value: Any, rank: int = 2) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _windows(spatial: Sequence[int], kernel: Any, dilation: Any, padding: Any, stride: Any) -> list[tuple[int, int, tuple[int, ...]]]:
    """Each place of each window: the window's number, the place's number in it, and where that is in the image."""
    rank = len(spatial)
    k, d, p, s = (_per(v, rank) for v in (kernel, dilation, padding, stride))
    outs = [(n + 2 * p[i] - d[i] * (k[i] - 1) - 1) // s[i] + 1 for i, n in enumerate(spatial)]
    found = []
    for window, out in enumerate(itertools.product(*map(range, outs))):
        for place, offset in enumerate(itertools.product(*map(range, k))):
            where = tuple(out[i] * s[i] - p[i] + offset[i] * d[i] for i in range(rank))
            if all(0 <= w < n for w, n in zip(where, spatial, strict=True)):
                found.append((window, place, where))
    return found


def _unfold(x: Array, kernel: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Array:
    places = _windows(x.shape[2:], kernel, dilation, padding, stride)
    count = math.prod(_per(kernel))
    result = np.zeros((*x.shape[:2], count, 1 + max(w for w, _, _ in places)))
    for window, place, where in places:
        result[:, :, place, window] = x[(slice(None), slice(None), *where)]
    return result.reshape(x.shape[0], x.shape[1] * count, -1)


def _fold(x: Array, size: Any, kernel: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Array:
    count = math.prod(_per(kernel))
    columns = x.reshape(x.shape[0], -1, count, x.shape[2])
    result = np.zeros((x.shape[0], columns.shape[1], *_per(size)))
    for window, place, where in _windows(_per(size), kernel, dilation, padding, stride):
        result[(slice(None), slice(None), *where)] += columns[:, :, place, window]
    return result


def _conv_transpose(x: Array, weight: Array, size: Sequence[int], stride: Any, padding: Any, dilation: Any = 1, groups: int = 1) -> Array:
    """What an input adds at each place that a convolution of these numbers would have taken it from."""
    kernel, outputs = weight.shape[2:], weight.shape[1]
    result = np.zeros((x.shape[0], outputs * groups, *size))
    flat = x.reshape(*x.shape[:2], -1)
    per = x.shape[1] // groups
    for window, place, where in _windows(size, kernel, dilation, padding, stride):
        if window < flat.shape[2]:
            for group in range(groups):
                taken = flat[:, group * per : (group + 1) * per, window] @ weight[group * per : (group + 1) * per].reshape(per, outputs, -1)[:, :, place]
                result[(slice(None), slice(group * outputs, (group + 1) * outputs), *where)] += taken
    return result


def _pooled(x: Array, kernel: Any, stride: Any, padding: Any = 0, dilation: Any = 1) -> tuple[Array, Array]:
    """The largest of each window, and where it is in the flattened image."""
    spatial, best = x.shape[2:], {}
    for window, _, where in _windows(spatial, kernel, dilation, padding, stride):
        best.setdefault(window, []).append(int(np.ravel_multi_index(where, spatial)))
    flat = x.reshape(*x.shape[:2], -1)
    indices = np.stack([np.take(np.array(w), np.argmax(flat[:, :, w], axis=2)) for w in best.values()], axis=2)
    k, d, p, s = (_per(v, len(spatial)) for v in (kernel, dilation, padding, stride))
    outs = [(n + 2 * p[i] - d[i] * (k[i] - 1) - 1) // s[i] + 1 for i, n in enumerate(spatial)]
    shape = (*x.shape[:2], *outs)
    return np.take_along_axis(flat, indices, 2).reshape(shape), indices.reshape(shape)


def _unpooled(values: Array, indices: Array, size: Sequence[int]) -> Array:
    result = np.zeros((*values.shape[:2], math.prod(size)))
    np.put_along_axis(result, indices.reshape(*values.shape[:2], -1), values.reshape(*values.shape[:2], -1), 2)
    return result.reshape(*values.shape[:2], *size)


def _adaptive(x: Array, size: int, function: Callable[..., Any]) -> Array:
    n = x.shape[2]
    return np.stack([function(x[:, :, i * n // size : -(-(i + 1) * n // size)], axis=2) for i in range(size)], axis=2)


def _affine_grid(maps: Array, rows: Sequence[float], columns: Sequence[float]) -> Array:
    """Where each map takes the places, whose coordinates are given from the last row to the first, and from the last column to the first."""
    return np.array([[[m @ (x, y, 1.0) for x in columns[::-1]] for y in rows[::-1]] for m in maps])


def _neighbours(x: Array, size: int) -> Array:
    """The mean of squares over neighbouring channels, zeros beyond the ends."""
    padded = np.pad(x**2, ((0, 0), (size // 2, (size - 1) // 2), *((0, 0),) * (x.ndim - 2)))
    return sum(padded[:, i : i + x.shape[1]] for i in range(size)) / size


def _norm(x: Array, p: float, axis: int, keepdims: bool = False) -> Array:
    return np.sum(np.abs(x) ** p, axis=axis, keepdims=keepdims) ** (1 / p)


def _shuffled(x: Array, r: int) -> Array:
    n, c, h, w = x.shape
    return x.reshape(n, c // (r * r), r, r, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, c // (r * r), h * r, w * r)


def _unshuffled(x: Array, r: int) -> Array:
    n, c, h, w = x.shape
    return x.reshape(n, c, h // r, r, w // r, r).transpose(0, 1, 3, 5, 2, 4).reshape(n, c * r * r, h // r, w // r)


def _reversed(x: Array, lengths: Array) -> Array:
    result = np.array(x)
    for i, n in enumerate(lengths):
        result[:n, i] = x[:n, i][::-1]
    return result


def _within(lengths: Array, most: int) -> Array:
    return np.arange(most)[:, None] < lengths


def _softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _attention(q: Array, k: Array, v: Array, scale: float, causal: bool = False) -> Array:
    scores = q @ np.swapaxes(k, -1, -2) * scale
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    return _softmax(scores, -1) @ v


F = Function
MORE: dict[str, Function] = {
    # made
    "arange": F(
        lambda x: (x + ops.arange(4.0), ops.arange(5), ops.arange(2, 9, 3), ops.arange(4, -3, -2), x[0] * ops.arange(0.1, 1.2, 0.3)),
        lambda x: (x + np.arange(4.0), np.arange(5), np.arange(2, 9, 3), np.arange(4, -3, -2), x[0] * np.arange(0.1, 1.2, 0.3)),
        (X,),
    ),
    "full": F(
        lambda x: (
            ops.full((2, 3), 7),
            ops.ones((2,), dtype="int64"),
            ops.zeros((2, 1), dtype="bool"),
            x * ops.full((4,), 2.5),
            x + ops.ones((3, 1)),
            x + ops.zeros(4),
        ),
        lambda x: (np.full((2, 3), 7), np.ones(2, "int64"), np.zeros((2, 1), "bool"), x * 2.5, x + 1.0, x),
        (X,),
    ),
    "full_like": F(
        lambda x, m: (
            ops.full_like(x, 2.5),
            ops.ones_like(x),
            ops.zeros_like(x),
            ops.full_like(x, 3, dtype="int64"),
            ops.ones_like(m),
            ops.zeros_like(m),
            ops.zeros_like(x, dtype="int32"),
        ),
        lambda x, m: (
            np.full_like(x, 2.5),
            np.ones_like(x),
            np.zeros_like(x),
            np.full_like(x, 3, "int64"),
            np.ones_like(m),
            np.zeros_like(m),
            np.zeros_like(x, "int32"),
        ),
        (X, X > 0),
        False,
    ),
    "eye": F(
        lambda x: (x @ ops.eye(4), ops.eye(2, 3, dtype="int64"), ops.eye(3, k=-1, dtype="bool"), x @ ops.eye(4, 3, k=1)),
        lambda x: (x, np.eye(2, 3, dtype="int64"), np.eye(3, k=-1, dtype="bool"), x @ np.eye(4, 3, k=1)),
        (X,),
    ),
    "astype": F(
        lambda x, m: (ops.astype(x, "int64"), ops.astype(m, "int32"), ops.astype(x, "bool"), ops.asarray(m)),
        lambda x, m: (x.astype("int64"), m.astype("int32"), x.astype("bool"), m),
        (X * 3, X > 0),
        False,
    ),
    # cut, joined, moved
    "tril and triu": F(
        lambda x, c: (ops.tril(x), ops.triu(x), ops.tril(x, -1), ops.triu(x, 2), ops.tril(c, 1), ops.triu(c, -1)),
        lambda x, c: (np.tril(x), np.triu(x), np.tril(x, -1), np.triu(x, 2), np.tril(c, 1), np.triu(c, -1)),
        (X, CUBE),
    ),
    "stack": F(
        lambda x, y: (ops.stack([x, y]), ops.stack([x, y], axis=1), ops.stack([x, y, x], axis=-1)),
        lambda x, y: (np.stack([x, y]), np.stack([x, y], 1), np.stack([x, y, x], -1)),
        (X, Y),
    ),
    "split": F(
        lambda x: (*ops.split(x, 2), *ops.split(x, [1, 3], dim=1), *ops.chunk(x, 2, dim=-1), *ops.chunk(x, 2)),
        lambda x: (x[:2], x[2:], x[:, :1], x[:, 1:], x[:, :2], x[:, 2:], x[:2], x[2:]),
        (X,),
    ),
    "flatten": F(
        lambda c: (
            ops.flatten(c),
            ops.flatten(c, 1),
            ops.flatten(c, 0, 1),
            ops.expand_dims(c, 1),
            ops.expand_dims(c, -1),
            ops.squeeze(c[:, :1], 1),
            ops.squeeze(c[:1, :, :1], (0, -1)),
        ),
        lambda c: (c.ravel(), c.reshape(2, 12), c.reshape(6, 4), c[:, None], c[..., None], c[:, 0], c[0, :, 0]),
        (CUBE,),
    ),
    "moveaxis": F(
        lambda c: (ops.moveaxis(c, 0, 2), ops.moveaxis(c, -1, 0), ops.swapaxes(c, 0, 2), ops.swapaxes(c, -1, 1), ops.matrix_transpose(c)),
        lambda c: (np.moveaxis(c, 0, 2), np.moveaxis(c, -1, 0), np.swapaxes(c, 0, 2), np.swapaxes(c, -1, 1), np.swapaxes(c, 1, 2)),
        (CUBE,),
    ),
    "pad": F(
        lambda x, c: (
            ops.pad(x, (1, 2)),
            ops.pad(x, (0, 1, 2, 0), value=1.5),
            ops.pad(c, (2, 1), mode="reflect"),
            ops.pad(c, (1, 3), mode="replicate"),
            ops.pad(c, (3, 2), mode="circular"),
        ),
        lambda x, c: (
            np.pad(x, ((0, 0), (1, 2))),
            np.pad(x, ((2, 0), (0, 1)), constant_values=1.5),
            *(np.pad(c, ((0, 0), (0, 0), w), mode=m) for w, m in (((2, 1), "reflect"), ((1, 3), "edge"), ((3, 2), "wrap"))),
        ),
        (X, CUBE),
    ),
    "broadcasts back and forth": F(
        lambda c: (
            ops.reshape(c, (2, 1, 3, 1, 4, 1)) * ops.reshape(c, (1, 2, 1, 3, 1, 4)),
            ops.broadcast_to(ops.reshape(c[:, :1, :2], (2, 1, 1, 1, 2, 1)), (2, 2, 1, 2, 2, 2)),
        ),
        lambda c: (c.reshape(2, 1, 3, 1, 4, 1) * c.reshape(1, 2, 1, 3, 1, 4), np.broadcast_to(c[:, :1, :2].reshape(2, 1, 1, 1, 2, 1), (2, 2, 1, 2, 2, 2))),
        (CUBE,),
    ),
    "getitem": F(
        lambda c, i: (c[1], c[..., 2], c[:, 1:], c[:, ::2, None], c[-1, :, -2], c[:, i], c[:, :, ::-1], ops.getitem(c, (0, slice(0, 3, 2)))),
        lambda c, i: (c[1], c[..., 2], c[:, 1:], c[:, ::2, None], c[-1, :, -2], c[:, i], c[:, :, ::-1], c[0, 0:3:2]),
        (CUBE, np.array([2, 0, 2])),
    ),
    "argmax": F(
        lambda x: (ops.argmax(x), ops.argmax(x, axis=0), ops.argmin(x), ops.argmin(x, axis=1, keepdims=True), ops.argmax(x, 1, True)),
        lambda x: (np.argmax(x), np.argmax(x, 0), np.argmin(x), np.argmin(x, 1, keepdims=True), np.argmax(x, 1, keepdims=True)),
        (X,),
        False,
    ),
    # element by element, and along vectors
    "clamp": F(
        lambda x: (ops.clamp(x, -0.5, 0.7), ops.clamp(x, min=0.2), ops.clamp(x, max=-0.1), ops.relu6(4 * x), ops.tanhshrink(x), ops.logsigmoid(5 * x)),
        lambda x: (np.clip(x, -0.5, 0.7), np.maximum(x, 0.2), np.minimum(x, -0.1), np.clip(4 * x, 0, 6), x - np.tanh(x), -np.logaddexp(0, -5 * x)),
        (X,),
    ),
    "divide": F(lambda x, y, i: (ops.divide(x, y), ops.divide(i, 4), ops.bitwise_not(i)), lambda x, y, i: (x / y, i / 4, ~i), (X, Y, np.array([7, -2, 4]))),
    "std": F(
        lambda x: (ops.std(x), ops.std(x, axis=1, correction=1), ops.std(x, axis=0, keepdims=True)),
        lambda x: (np.std(x), np.std(x, axis=1, ddof=1), np.std(x, axis=0, keepdims=True)),
        (X,),
    ),
    "softmin": F(lambda x: (ops.softmin(x), ops.softmin(x, axis=0)), lambda x: (_softmax(-x, 1), _softmax(-x, 0)), (X,)),
    "glu": F(lambda x: (ops.glu(x), ops.glu(x[:2], dim=0)), lambda x: (x[:, :2] / (1 + np.exp(-x[:, 2:])), x[0:1] / (1 + np.exp(-x[1:2]))), (X,)),
    "normalize": F(
        lambda x: (ops.normalize(x), ops.normalize(x, dim=0), ops.normalize(x, p=3.0), ops.normalize(x, p=1.0, dim=-1), ops.normalize(x, eps=5.0)),
        lambda x: (
            x / _norm(x, 2, 1, True),
            x / _norm(x, 2, 0, True),
            x / _norm(x, 3, 1, True),
            x / _norm(x, 1, 1, True),
            x / np.maximum(_norm(x, 2, 1, True), 5.0),
        ),
        (X,),
    ),
    "cosine_similarity": F(
        lambda x, y: (ops.cosine_similarity(x, y), ops.cosine_similarity(x, y, dim=0)),
        lambda x, y: tuple((x * y).sum(a) / (_norm(x, 2, a) * _norm(y, 2, a)) for a in (1, 0)),
        (X, Y),
    ),
    "cosine_similarity held above eps": F(
        lambda x, y: ops.cosine_similarity(x, y, eps=3.0),
        lambda x, y: (x * y).sum(1) / (np.maximum(_norm(x, 2, 1), 3.0) * np.maximum(_norm(y, 2, 1), 3.0)),
        (X, Y),
        False,
    ),
    "pairwise_distance": F(
        lambda x, y: (ops.pairwise_distance(x, y), ops.pairwise_distance(x, y, p=1.0, keepdim=True), ops.pairwise_distance(x, y, p=3.0, eps=0.1)),
        lambda x, y: (_norm(x - y + 1e-6, 2, 1), _norm(x - y + 1e-6, 1, 1, True), _norm(x - y + 0.1, 3, 1)),
        (X, Y),
    ),
    # channels
    "channel_shuffle": F(lambda x: (ops.channel_shuffle(x, 2), ops.channel_shuffle(x, 4)), lambda x: (x[:, [0, 2, 1, 3]], x), (IMAGE,)),
    "pixel_shuffle": F(
        lambda x: (ops.pixel_shuffle(x, 2), ops.pixel_unshuffle(x[:, :1, :4], 2)), lambda x: (_shuffled(x, 2), _unshuffled(x[:, :1, :4], 2)), (IMAGE,)
    ),
    "local_response_norm": F(
        lambda x: (ops.local_response_norm(x, 3), ops.local_response_norm(x, 2, alpha=0.5, beta=0.6, k=2.0)),
        lambda x: (x / (1 + 1e-4 * _neighbours(x, 3)) ** 0.75, x / (2 + 0.5 * _neighbours(x, 2)) ** 0.6),
        (IMAGE,),
    ),
    # windows
    "unfold": F(
        lambda x: (ops.unfold(x, 2), ops.unfold(x, (3, 2), padding=(1, 0), stride=(2, 1)), ops.unfold(x, 2, dilation=(2, 3))),
        lambda x: (_unfold(x, 2), _unfold(x, (3, 2), 1, (1, 0), (2, 1)), _unfold(x, 2, (2, 3))),
        (IMAGE,),
    ),
    "fold": F(
        lambda x: (
            ops.fold(ops.reshape(x[:, :, :4, :], (2, 4, 24)), (5, 7), 2),
            ops.fold(ops.reshape(x[:, :, :2, :2], (2, 4, 4)), (5, 3), 2, stride=(2, 1)),
            ops.fold(ops.reshape(x[:, :, :2, :4], (2, 4, 8)), (2, 4), 2, dilation=2, padding=1),
        ),
        lambda x: (
            _fold(x[:, :, :4, :].reshape(2, 4, 24), (5, 7), 2),
            _fold(x[:, :, :2, :2].reshape(2, 4, 4), (5, 3), 2, stride=(2, 1)),
            _fold(x[:, :, :2, :4].reshape(2, 4, 8), (2, 4), 2, 2, 1),
        ),
        (IMAGE,),
    ),
    "conv_transpose": F(
        lambda x, w: (
            ops.conv_transpose2d(x, w, stride=2, padding=1),
            ops.conv_transpose2d(x, w, stride=(2, 3), padding=1, output_padding=(1, 2)),
            ops.conv_transpose2d(x, w, groups=2, dilation=(1, 2)) + 0.0,
        ),
        lambda x, w: (_conv_transpose(x, w, (9, 10), 2, 1), _conv_transpose(x, w, (10, 17), (2, 3), 1), _conv_transpose(x, w, (7, 8), 1, 0, (1, 2), 2)),
        (IMAGE, KERNEL),
    ),
    "max_pool with indices": F(
        lambda x, v: (
            *ops.max_pool2d(x, 2, return_indices=True),
            *ops.max_pool2d(x, (3, 2), stride=(2, 1), padding=(1, 0), return_indices=True),
            *ops.max_pool1d(v, 3, stride=2, dilation=2, return_indices=True),
        ),
        lambda x, v: (*_pooled(x, 2, 2), *_pooled(x, (3, 2), (2, 1), (1, 0)), *_pooled(v, 3, 2, 0, 2)),
        (IMAGE, LINE),
    ),
    "max_unpool": F(
        lambda v: (
            ops.max_unpool(*ops.max_pool1d(v, 3, return_indices=True), 3),
            ops.max_unpool(*ops.max_pool1d(v, 2, return_indices=True), 2, output_size=(9,)),
        ),
        lambda v: (_unpooled(*_pooled(v, 3, 3), (9,)), _unpooled(*_pooled(v, 2, 2), (9,))),
        (LINE,),
    ),
    "adaptive pools": F(
        lambda v: (ops.adaptive_avg_pool(v, 4), ops.adaptive_avg_pool(v, 3), ops.adaptive_max_pool(v, 4), ops.adaptive_max_pool(v, 2, return_indices=True)[0]),
        lambda v: (_adaptive(v, 4, np.mean), _adaptive(v, 3, np.mean), _adaptive(v, 4, np.max), _adaptive(v, 2, np.max)),
        (LINE,),
    ),
    "lp_pool": F(
        lambda v: (ops.lp_pool(v * v + 0.1, 3.0, 3), ops.lp_pool(v, 2.0, 2, stride=3)),
        lambda v: (
            np.sum((v**2 + 0.1).reshape(2, 2, 3, 3) ** 3.0, 3) ** (1 / 3),
            np.sqrt(np.stack([v[:, :, i] ** 2 + v[:, :, i + 1] ** 2 for i in (0, 3, 6)], 2)),
        ),
        (LINE,),
    ),
    "interpolate": F(
        lambda v: (ops.interpolate(v, size=4), ops.interpolate(v, scale_factor=2), ops.interpolate(v, size=17, mode="linear", align_corners=True)),
        lambda v: (
            v[:, :, [i * 9 // 4 for i in range(4)]],
            np.repeat(v, 2, 2),
            np.stack([(v[:, :, i // 2] + v[:, :, (i + 1) // 2]) / 2 for i in range(17)], 2),
        ),
        (LINE,),
    ),
    "affine_grid": F(
        lambda v: (ops.affine_grid(v[:, :, :3], (2, 1, 3, 2)), ops.affine_grid(v[:, :, 2:5], (2, 5, 2, 1), align_corners=True)),
        lambda v: (_affine_grid(v[:, :, :3], (2 / 3, 0.0, -2 / 3), (0.5, -0.5)), _affine_grid(v[:, :, 2:5], (1.0, -1.0), (0.0,))),
        (LINE,),
    ),
    # rows and sequences
    "embedding_bag": F(
        lambda w, i, s: (
            ops.embedding_bag(i, w),
            ops.embedding_bag(i, w, mode="sum", per_sample_weights=s),
            ops.embedding_bag(i, w, mode="max"),
            ops.embedding_bag(i, w, padding_idx=3),
        ),
        lambda w, i, s: (w[i].mean(1), (w[i] * s[..., None]).sum(1), w[i].max(1), np.stack([w[[0]].mean(0), w[[4, 1, 0]].mean(0)])),
        (ROWS, BAGS, _RNG.uniform(0.5, 1.5, (2, 3))),
    ),
    "sequences": F(
        lambda x, f, n: (ops.sequence_mask(n, 4), ops.within_lengths(x, n), ops.reverse_sequences(x, n), ops.state_at(x, f, n), ops.state_at(x, f, n * 0)),
        lambda x, f, n: (_within(n, 4), x * _within(n, 4)[..., None], _reversed(x, n), np.stack([x[k - 1, i] for i, k in enumerate(n)]), f),
        (STATES, X[:, :2], LENGTHS),
    ),
    "rnn_cell": F(
        lambda x, h, w: (ops.rnn_cell(x, h, w), ops.rnn_cell(x, h, w, b_hh=w[0], nonlinearity="relu")),
        lambda x, h, w: (np.tanh(x + h @ w.T), np.maximum(x + h @ w.T + w[0], 0)),
        (Y[:, :2] * 3, X[:, :2], X[:2, :2]),
    ),
    "scaled_dot_product_attention": F(
        lambda q, k: (
            ops.scaled_dot_product_attention(q, k, k),
            ops.scaled_dot_product_attention(q, k, q, scale=0.7),
            ops.scaled_dot_product_attention(q, k, k, is_causal=True),
        ),
        lambda q, k: (_attention(q, k, k, 0.5), _attention(q, k, q, 0.7), _attention(q, k, k, 0.5, True)),
        (CUBE, CUBE[::-1] * 0.7),
    ),
}

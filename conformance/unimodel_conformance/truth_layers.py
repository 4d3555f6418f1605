"""The truths of what layers are made of: products, convolutions, pools, norms, attention and recurrence. See ``truth``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.special
import scipy.stats

from unimodel_conformance.truth import TRUTH, truth

# ------------------------------------------------------------------------------------------------- products and convolution


@truth("matmul")
def _(x1: Any, x2: Any) -> Any:
    a = x1 if x1.ndim > 1 else x1[None, :]
    b = x2 if x2.ndim > 1 else x2[:, None]
    result = np.sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)
    if x1.ndim == 1:
        result = result[..., 0, :]
    return result[..., 0] if x2.ndim == 1 else result


@truth("linear")
def _(x: Any, weight: Any, bias: Any = None) -> Any:
    result = np.einsum("...i,oi->...o", x, weight)
    return result if bias is None else result + bias


@truth("embedding")
def _(input: Any, weight: Any, padding_idx: int | None = None) -> Any:
    return np.array([weight[int(i)] for i in input.flat], weight.dtype).reshape(*input.shape, weight.shape[1])


def _per_dimension(value: Any, rank: int) -> tuple[Any, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _pairs(padding: Any, rank: int) -> tuple[tuple[int, int], ...]:
    return tuple((p, p) if isinstance(p, int) else tuple(p) for p in _per_dimension(padding, rank))


def _contributions(spatial: Any, kernel: Any, outs: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """Every (output place, kernel place, input place) of a convolution; kernel places in the padding are left out."""
    for out in np.ndindex(*outs):
        for place in np.ndindex(*kernel):
            source = tuple(o * s - lo + k * d for o, k, s, (lo, _), d in zip(out, place, stride, padding, dilation, strict=True))
            if all(0 <= i < n for i, n in zip(source, spatial, strict=True)):
                yield out, place, source


def _conv_outs(spatial: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> list[int]:
    return [(n + lo + hi - d * (k - 1) - 1) // s + 1 for n, k, s, (lo, hi), d in zip(spatial, kernel, stride, padding, dilation, strict=True)]


_ALL = slice(None)


def _of_group(array: Any, axis: int, group: int, groups: int) -> Any:
    size = array.shape[axis] // groups
    return array[(_ALL,) * axis + (slice(group * size, (group + 1) * size),)]


@truth("conv")
def _(x: Any, weight: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    rank = x.ndim - 2
    stride, dilation, padding = _per_dimension(stride, rank), _per_dimension(dilation, rank), _pairs(padding, rank)
    outs = _conv_outs(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    result = np.zeros((x.shape[0], weight.shape[0], *outs), x.dtype)
    for out, place, source in _contributions(x.shape[2:], weight.shape[2:], outs, stride, padding, dilation):
        for group in range(groups):
            image = _of_group(x, 1, group, groups)[(_ALL, _ALL, *source)]
            kernel = _of_group(weight, 0, group, groups)[(_ALL, _ALL, *place)]
            _of_group(result, 1, group, groups)[(_ALL, _ALL, *out)] += image @ kernel.T
    return result


@truth("conv_input_gradient")
def _(g: Any, weight: Any, spatial: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    result = np.zeros((g.shape[0], weight.shape[1] * groups, *spatial), g.dtype)
    for out, place, source in _contributions(spatial, weight.shape[2:], g.shape[2:], stride, padding, dilation):
        for group in range(groups):
            kernel = _of_group(weight, 0, group, groups)[(_ALL, _ALL, *place)]
            _of_group(result, 1, group, groups)[(_ALL, _ALL, *source)] += _of_group(g, 1, group, groups)[(_ALL, _ALL, *out)] @ kernel
    return result


@truth("conv_weight_gradient")
def _(x: Any, g: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    result = np.zeros((g.shape[1], x.shape[1] // groups, *kernel), x.dtype)
    for out, place, source in _contributions(x.shape[2:], kernel, g.shape[2:], stride, padding, dilation):
        for group in range(groups):
            image = _of_group(x, 1, group, groups)[(_ALL, _ALL, *source)]
            _of_group(result, 0, group, groups)[(_ALL, _ALL, *place)] += _of_group(g, 1, group, groups)[(_ALL, _ALL, *out)].T @ image
    return result


@truth("conv_gradients")
def _(g: Any, x: Any, weight: Any, **window: Any) -> Any:
    dx = TRUTH["conv_input_gradient"](g, weight, spatial=x.shape[2:], **window)
    return dx, TRUTH["conv_weight_gradient"](x, g, kernel=weight.shape[2:], **window)


# ------------------------------------------------------------------------------------------------------------------- pooling


def _pool_outs(spatial: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> list[int]:
    outs = []
    for n, k, s, (lo, hi), d in zip(spatial, kernel, stride, padding, dilation, strict=True):
        room = n + lo + hi - d * (k - 1) - 1
        out = (-(-room // s) if ceil_mode else room // s) + 1
        while ceil_mode and (out - 1) * s >= n + lo:
            out -= 1
        outs.append(out)
    return outs


@truth("max_pool")
def _(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> Any:
    rank = x.ndim - 2
    kernel = _per_dimension(kernel_size, rank)
    stride = kernel if stride is None else _per_dimension(stride, rank)
    padding, dilation = _pairs(padding, rank), _per_dimension(dilation, rank)
    outs = _pool_outs(x.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    values = np.full((*x.shape[:2], *outs), -np.inf, x.dtype)
    indices = np.full(values.shape, -1, "int64")
    flat = np.arange(int(np.prod(x.shape[2:]))).reshape(x.shape[2:])
    for out, _, source in _contributions(x.shape[2:], kernel, outs, stride, padding, dilation):
        here, before = x[(_ALL, _ALL, *source)], values[(_ALL, _ALL, *out)]
        better = (here > before) | (np.isnan(here) & ~np.isnan(before)) | (indices[(_ALL, _ALL, *out)] < 0)
        indices[(_ALL, _ALL, *out)][better] = flat[source]
        values[(_ALL, _ALL, *out)][better] = here[better]
    return values, indices


@truth("max_pool_gradient")
def _(g: Any, x: Any, values: Any, indices: Any, **geometry: Any) -> Any:
    result = np.zeros(x.shape, g.dtype).reshape(*x.shape[:2], -1)
    for place in np.ndindex(g.shape):
        result[(*place[:2], indices[place])] += g[place]
    return result.reshape(x.shape)


def _divisors(spatial: Any, kernel: Any, stride: Any, padding: Any, outs: Any, count_include_pad: bool, divisor_override: int | None) -> Any:
    counts = np.zeros(outs)
    for out in np.ndindex(*outs):
        count = 1
        for o, n, k, s, (lo, hi) in zip(out, spatial, kernel, stride, padding, strict=True):
            places = range(o * s - lo, o * s - lo + k)
            count *= sum(-lo <= p < n + hi if count_include_pad else 0 <= p < n for p in places)
        counts[out] = divisor_override or count
    return counts


@truth("avg_pool")
def _(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    rank = x.ndim - 2
    kernel = _per_dimension(kernel_size, rank)
    stride = kernel if stride is None else _per_dimension(stride, rank)
    padding, ones = _pairs(padding, rank), (1,) * rank
    outs = _pool_outs(x.shape[2:], kernel, stride, padding, ones, ceil_mode)
    total = np.zeros((*x.shape[:2], *outs), x.dtype)
    for out, _, source in _contributions(x.shape[2:], kernel, outs, stride, padding, ones):
        total[(_ALL, _ALL, *out)] += x[(_ALL, _ALL, *source)]
    return (total / _divisors(x.shape[2:], kernel, stride, padding, outs, count_include_pad, divisor_override)).astype(x.dtype)


@truth("avg_pool_gradient")
def _(g: Any, spatial: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool, divisor_override: int | None) -> Any:
    rank = g.ndim - 2
    kernel, stride, padding, ones = _per_dimension(kernel_size, rank), _per_dimension(stride, rank), _pairs(padding, rank), (1,) * rank
    share = g / _divisors(spatial, kernel, stride, padding, g.shape[2:], count_include_pad, divisor_override)
    result = np.zeros((*g.shape[:2], *spatial), g.dtype)
    for out, _, source in _contributions(spatial, kernel, g.shape[2:], stride, padding, ones):
        result[(_ALL, _ALL, *source)] += share[(_ALL, _ALL, *out)]
    return result


# ------------------------------------------------------------------------------------------------------------- normalisation


def _per_channel(v: Any, rank: int) -> Any:
    return np.asarray(v).reshape(-1, *(1,) * (rank - 2))


@truth("batch_norm_inference")
def _(x: Any, mean: Any, variance: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    y = (x - _per_channel(mean, x.ndim)) / np.sqrt(_per_channel(variance, x.ndim) + eps)
    y = y if weight is None else y * _per_channel(weight, x.ndim)
    return y if bias is None else y + _per_channel(bias, x.ndim)


@truth("batch_norm_training")
def _(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    channels = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
    count = channels.shape[1]
    mean = channels.sum(1) / count
    variance = (channels**2).sum(1) / count - mean**2  # fine for the tame numbers it is used on, also complex ones
    return TRUTH["batch_norm_inference"](x, mean, variance, weight, bias, eps), mean, variance


def adjoint(function: Callable[[Any], Any], x: Any, g: Any) -> Any:
    """The gradient of ``sum(function(x) * g)``, exact to rounding by complex steps (Squire and Trapp 1998)."""
    result = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        moved = x.astype("complex128")
        moved[place] += 1e-30j
        result[place] = np.sum(function(moved) * g).imag / 1e-30
    return result.astype(x.dtype)


@truth("batch_norm_gradient")
def _(g: Any, x: Any, mean: Any, variance: Any, weight: Any = None, eps: float = 1e-5) -> Any:
    # the statistics are given: dx is that of normalising by x's own statistics with these numbers in their place
    axes = (0, *range(2, x.ndim))
    count = x.size // x.shape[1]
    centred = x - _per_channel(mean, x.ndim)
    deviation = np.sqrt(_per_channel(variance, x.ndim) + eps)
    scaled = g if weight is None else g * _per_channel(weight, x.ndim)
    dx = (scaled - scaled.sum(axes, keepdims=True) / count) / deviation - centred * (scaled * centred).sum(axes, keepdims=True) / count / deviation**3
    return dx, (g * centred / deviation).sum(axes), g.sum(axes)


@truth("layer_norm")
def _(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    rows = input.reshape(-1, int(np.prod(shape)))
    mean = rows.sum(1, keepdims=True) / rows.shape[1]
    variance = ((rows - mean) ** 2).sum(1, keepdims=True) / rows.shape[1]
    y = ((rows - mean) / np.sqrt(variance + eps)).reshape(input.shape)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@truth("layer_norm_gradient")
def _(g: Any, x: Any, weight: Any = None, *, normalized_shape: Any, eps: float = 1e-5) -> Any:
    normalised = TRUTH["layer_norm"](x, normalized_shape, eps=eps)
    lead = tuple(range(x.ndim - len(normalized_shape)))
    dx = adjoint(lambda v: TRUTH["layer_norm"](v, normalized_shape, weight, eps=eps), x, g)
    return dx, (g * normalised).sum(lead), g.sum(lead)


# ---------------------------------------------------------------------------------------------------------------- attention


@truth("attention")
def _(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Any:
    scores = np.einsum("...le,...se->...ls", query, key) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = scores + np.where(np.tri(scores.shape[-2], scores.shape[-1], dtype=bool), 0, -np.inf)
    if attn_mask is not None:
        scores = scores + (np.where(attn_mask, 0, -np.inf) if attn_mask.dtype == bool else attn_mask)
    weights = np.exp(scores - scipy.special.logsumexp(scores, axis=-1, keepdims=True))
    if dropout_mask is not None:
        weights = np.where(dropout_mask, weights / (1 - dropout_p), 0)
    return np.einsum("...ls,...se->...le", weights, value).astype(query.dtype)


# ---------------------------------------------------------------------------------------------------------------- recurrence


def _gates(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, count: int) -> tuple[list[Any], list[Any]]:
    """What the input and the state say about each gate of one sample, element by element."""
    size = len(w_hh) // count
    sides = []
    for v, w, b in ((x, w_ih, b_ih), (h, w_hh, b_hh)):
        sums = np.array([sum(w[row, i] * v[i] for i in range(len(v))) + (0 if b is None else b[row]) for row in range(len(w))])
        sides.append([sums[k * size : (k + 1) * size] for k in range(count)])
    return sides[0], sides[1]


def _recur(x: Any, starts: Sequence[Any], reverse: bool, step: Callable[..., Any]) -> tuple[Any, ...]:
    """Each sample alone, one time after the other. A step gives the states and what else is to be kept of it; all of that is (L, N, ...)."""
    length, count = x.shape[:2]
    kept: dict[tuple[int, int], list[Any]] = {}
    lasts = []
    for n in range(count):
        states = [s[n] for s in starts]
        for t in range(length - 1, -1, -1) if reverse else range(length):
            kept[t, n] = step(x[t, n], *states)
            states = kept[t, n][: len(starts)]
        lasts.append(states)
    output, *others = (np.array([[kept[t, n][k] for n in range(count)] for t in range(length)]) for k in range(len(kept[0, 0])))
    return output, *(np.array([states[k] for states in lasts]) for k in range(len(starts))), *others


@truth("rnn")
def _(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None, nonlinearity: str = "tanh", reverse: bool = False) -> Any:
    def step(x: Any, h: Any) -> Any:
        (a,), (b,) = _gates(x, h, w_ih, w_hh, b_ih, b_hh, 1)
        return [np.tanh(a + b) if nonlinearity == "tanh" else (a + b) * (a + b > 0)]

    return _recur(x, [h], reverse, step)


@truth("lstm")
def _(x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None, w_hr: Any = None, reverse: bool = False) -> Any:
    def step(x: Any, h: Any, c: Any) -> Any:
        ours, theirs = _gates(x, h, w_ih, w_hh, b_ih, b_hh, 4)
        i, f, g, o = (a + b for a, b in zip(ours, theirs, strict=True))
        i, f, o = (1 / (1 + np.exp(-v)) for v in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        return [h if w_hr is None else w_hr @ h, c, np.concatenate([i, f, np.tanh(g), o])]

    return _recur(x, [h, c], reverse, step)


@truth("gru")
def _(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None, reverse: bool = False) -> Any:
    def step(x: Any, h: Any) -> Any:
        ours, theirs = _gates(x, h, w_ih, w_hh, b_ih, b_hh, 3)
        r, z = (scipy.special.expit(a + b) for a, b in zip(ours[:2], theirs[:2], strict=True))
        n = np.tanh(ours[2] + r * theirs[2])
        return [(1 - z) * n + z * h, np.concatenate([r, z, n, theirs[2]])]

    return _recur(x, [h], reverse, step)

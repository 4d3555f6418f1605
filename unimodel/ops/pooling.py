"""Pooling, of any spatial rank, decomposed into strided slices; backends have kernels for it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import unimodel.ops as ops
from unimodel.dim import Size, product
from unimodel.errors import ShapeError
from unimodel.graph import TensorSpec
from unimodel.op import Application, composite
from unimodel.ops.indexing import cut, cut_axis, spread
from unimodel.ops.rules import (
    canonical_spatial,
    known,
    need_float,
)
from unimodel.ops.samples import Sample, distinct, integers, normal
from unimodel.tracing import Tensor

__all__ = [
    "avg_pool",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "avg_pool_gradient",
    "lp_pool",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_pool_gradient",
    "max_unpool",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]


def pool_geometry(
    spatial: Sequence[Size], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[Any], dilation: Sequence[int], ceil_mode: bool
) -> tuple[list[int], list[tuple[int, int]]]:
    """Output sizes, and how far to pad on both sides so that every window is inside (PyTorch's rule for ``ceil_mode``)."""
    outs, pads = [], []
    for size, k, s, (lo, hi), d in zip(spatial, kernel, stride, padding, dilation, strict=True):
        n = known(size)
        span = d * (k - 1) + 1
        if max(lo, hi) > k // 2:
            raise ShapeError(
                "padding must be at most half the kernel.",
                given=f"padding {lo}, kernel {k}",
                remedy="make the padding smaller, or pad with um.ops.pad_constant",
            )
        room = n + lo + hi - span
        if room < 0:
            raise ShapeError(
                "the window is larger than the padded input.",
                expected=f"a padded size of at least {span}",
                given=n,
                remedy="make the window smaller, or leave out a pooling before",
            )
        out = (room + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (out - 1) * s >= n + lo:  # the last window must begin inside the input or its left padding
            out -= 1
        outs.append(out)
        pads.append((lo, max(hi, (out - 1) * s + span - n - lo)))
    return outs, pads


def _windows(x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], outs: Sequence[int]) -> list[Tensor]:
    """For each place in the window, the elements of all windows at that place; row-major over the window."""
    found = []
    for offset in itertools.product(*(range(k) for k in kernel)):
        start = [0, 0, *(o * d for o, d in zip(offset, dilation, strict=True))]
        stop = [*x.shape[:2], *(a + (n - 1) * s + 1 for a, n, s in zip(start[2:], outs, stride, strict=True))]
        found.append(cut(x, start, stop, [1, 1, *stride]))
    return found


_canonical_window = canonical_spatial("kernel_size", "stride", "padding", "dilation")


def _canonical_pool(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    if attrs["stride"] is None:
        attrs["stride"] = attrs["kernel_size"]
    attrs.setdefault("dilation", 1)
    _canonical_window(attrs, specs)


def _canonical_average(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    _canonical_pool(attrs, specs)
    del attrs["dilation"]


@composite(
    canonical=_canonical_pool,
    samples=[
        Sample(distinct(2, 3, 6, 6), 2),
        Sample(distinct(1, 2, 7, 6), 3, stride=2, padding=1),
        Sample(distinct(1, 2, 6, 7), (2, 3), stride=(2, 2), padding=(1, 0), ceil_mode=True),
        Sample(distinct(1, 1, 7, 7), 2, stride=1, dilation=2),
    ],
)
def max_pool(x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> Any:
    """The largest of each window, and its index in the flattened input plane (int64); the first of equals."""
    need_float(x.spec)
    spatial = [known(s) for s in x.shape[2:]]
    outs, pads = pool_geometry(spatial, kernel_size, stride, padding, dilation, ceil_mode)
    padded = ops.pad_constant(x, ((0, 0), (0, 0), *pads), value=-math.inf) if any(p != (0, 0) for p in pads) else x
    stacked = ops.stack(_windows(padded, kernel_size, stride, dilation, outs), axis=0)
    which = ops.argmax(stacked, axis=0)
    # index of each window's corner, and of each place in it, in the flattened plane
    strides = [int(np.prod(spatial[i + 1 :])) for i in range(len(spatial))]
    corner = np.zeros(outs, "int64")
    for axis, (n, s, (lo, _)) in enumerate(zip(outs, stride, pads, strict=True)):
        shape = [1] * len(outs)
        shape[axis] = n
        corner = corner + ((np.arange(n) * s - lo) * strides[axis]).reshape(shape)
    places = [sum(o * d * st for o, d, st in zip(offset, dilation, strides, strict=True)) for offset in itertools.product(*(range(k) for k in kernel_size))]
    return ops.max(stacked, axis=0), ops.take(np.asarray(places, "int64"), which) + corner


@max_pool.vjp
def _(node: Application, g: Tensor, _: Any) -> Any:
    return max_pool_gradient(g, node.inputs[0], node.outputs[0], node.outputs[1], **node.attrs)


@composite(
    samples=[
        Sample(
            normal(1, 2, 3, 3),
            normal(1, 2, 6, 6),
            normal(1, 2, 3, 3),
            integers(0, 36, 1, 2, 3, 3),
            kernel_size=(2, 2),
            stride=(2, 2),
            padding=((0, 0), (0, 0)),
            dilation=(1, 1),
            ceil_mode=False,
        )
    ]
)
def max_pool_gradient(
    g: Tensor, x: Tensor, values: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Tensor:
    """``g`` added at the place each window's largest element came from. Only ``indices`` decides; ``x`` and ``values`` are for fused kernels."""
    plane = product(tuple(x.shape[2:]))
    lead = (x.shape[0], x.shape[1])
    flat = ops.take_along_axis_gradient(ops.reshape(g, (*lead, -1)), ops.reshape(indices, (*lead, -1)), axis=2, size=plane)
    return ops.reshape(flat, x.shape)


@composite(
    canonical=_canonical_average,
    samples=[
        Sample(normal(2, 3, 6, 6), 2),
        Sample(normal(1, 2, 7, 6), 3, stride=2, padding=1),
        Sample(normal(1, 2, 7, 6), 3, stride=2, padding=1, count_include_pad=False),
        Sample(normal(1, 2, 6, 7), 3, stride=2, padding=1, ceil_mode=True),
    ],
)
def avg_pool(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window; padding counts as zeros, or not at all with ``count_include_pad=False``."""
    need_float(x.spec)
    dilation = (1,) * len(kernel_size)
    outs, pads = pool_geometry(x.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    if not plain_average(padding, ceil_mode, divisor_override):  # the plain one, for which there are kernels, of the padded image, and what corrects it
        padded = ops.pad_constant(x, ((0, 0), (0, 0), *pads)) if any(p != (0, 0) for p in pads) else x
        scale = _pool_scale(x.shape[2:], kernel_size, stride, padding, outs, count_include_pad, divisor_override)
        found = avg_pool(padded, kernel_size, stride)
        return found if scale is None else ops.multiply(found, scale)
    windows = _windows(x, kernel_size, stride, dilation, outs)
    total = windows[0]
    for window in windows[1:]:
        total = total + window
    return ops.multiply(total, 1.0 / math.prod(kernel_size))


def plain_average(padding: Sequence[Any], ceil_mode: bool, divisor_override: int | None) -> bool:
    """Whether every window of an average pooling is whole, and divided by its size."""
    return all(p == (0, 0) for p in padding) and not ceil_mode and divisor_override is None


def _pool_scale(
    spatial: Sequence[Size],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Any],
    outs: Sequence[int],
    count_include_pad: bool,
    divisor_override: int | None,
) -> Any:
    """The size of a window over the number of elements that count in it: a number where it is the same for all, else an array; None where it is 1 everywhere."""
    counts = np.ones(list(outs))
    for axis, (n, k, s, (lo, hi), out) in enumerate(zip(spatial, kernel, stride, padding, outs, strict=True)):
        start = np.arange(out) * s - lo
        stop = np.minimum(start + k, known(n) + hi)
        if not count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, known(n))
        shape = [1] * len(outs)
        shape[axis] = out
        counts = counts * (stop - start).reshape(shape)
    if divisor_override is not None:
        counts[...] = divisor_override
    scale = math.prod(kernel) / counts
    uniform = bool((counts == counts.flat[0]).all())
    return (None if scale.flat[0] == 1.0 else float(scale.flat[0])) if uniform else scale


@avg_pool.vjp
def _(node: Application, g: Tensor) -> Any:
    return avg_pool_gradient(g, spatial=node.inputs[0].shape[2:], **node.attrs)


@composite(
    samples=[
        Sample(
            normal(1, 2, 3, 3),
            spatial=(6, 6),
            kernel_size=(2, 2),
            stride=(2, 2),
            padding=((0, 0), (0, 0)),
            ceil_mode=False,
            count_include_pad=True,
            divisor_override=None,
        ),
        Sample(
            normal(1, 2, 4, 3),
            spatial=(7, 6),
            kernel_size=(3, 3),
            stride=(2, 2),
            padding=((1, 1), (1, 1)),
            ceil_mode=False,
            count_include_pad=False,
            divisor_override=None,
        ),
    ]
)
def avg_pool_gradient(
    g: Tensor, spatial: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool, divisor_override: int | None
) -> Tensor:
    """Each window's share of ``g`` spread evenly over its elements."""
    dilation = (1,) * len(kernel_size)
    outs, pads = pool_geometry(spatial, kernel_size, stride, padding, dilation, ceil_mode)
    full = [lo + known(n) + hi for n, (lo, hi) in zip(spatial, pads, strict=True)]
    if not plain_average(padding, ceil_mode, divisor_override):
        scale = _pool_scale(spatial, kernel_size, stride, padding, outs, count_include_pad, divisor_override)
        found = avg_pool_gradient(g if scale is None else g * scale, full, kernel_size, stride, ((0, 0),) * len(pads), False, True, None)
        start = [0, 0, *(lo for lo, _ in pads)]
        return cut(found, start, [*g.shape[:2], *(lo + known(n) for n, (lo, _) in zip(spatial, pads, strict=True))])
    g = g * (1.0 / math.prod(kernel_size))
    for axis, s in enumerate(stride):
        if s != 1:
            g = spread(g, axis + 2, s)
            g = cut_axis(g, axis + 2, 0, (outs[axis] - 1) * s + 1)
    total = None
    for offset in itertools.product(*(range(k) for k in kernel_size)):
        widths = [(o, f - o - m) for o, f, m in zip(offset, full, g.shape[2:], strict=True)]
        piece = ops.pad_constant(g, ((0, 0), (0, 0), *widths))
        total = piece if total is None else total + piece
    assert total is not None, "a window has at least one element"
    return total


def _max_pool(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False, return_indices: bool = False
) -> Any:
    """The largest of each window of (N, C, *spatial); with ``return_indices`` also where it was."""
    values, indices = max_pool(input, kernel_size, stride, padding, dilation, ceil_mode)
    return (values, indices) if return_indices else values


max_pool1d = max_pool2d = max_pool3d = _max_pool  # the rank is the input's
avg_pool1d = avg_pool2d = avg_pool3d = avg_pool


def lp_pool(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """The ``norm_type``-norm of each window of (N, C, *spatial): of the elements themselves, as in PyTorch, not of their magnitudes, unless infinite."""
    kernel = (kernel_size,) * (input.ndim - 2) if isinstance(kernel_size, int) else tuple(kernel_size)
    if math.isinf(norm_type):
        values, _ = max_pool(ops.abs(input), kernel, stride, 0, 1, ceil_mode)
        return ops.asarray(values)
    mean = avg_pool(ops.pow(input, norm_type), kernel, stride, 0, ceil_mode)
    return ops.pow(mean * float(math.prod(kernel)), 1.0 / norm_type)


def max_unpool(input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Sequence[int] | None = None) -> Tensor:
    """The values of ``max_pool`` put back where they came from, zeros elsewhere; equal values that share a place are put there once."""
    rank = input.ndim - 2
    kernel, steps, pads = ((v,) * rank if isinstance(v, int) else tuple(v) for v in (kernel_size, kernel_size if stride is None else stride, padding))
    spatial = [(known(n) - 1) * s - 2 * p + k for n, k, s, p in zip(input.shape[2:], kernel, steps, pads, strict=True)]
    if output_size is not None:
        wanted = list(output_size)[-rank:]
        if len(output_size) < rank or any(not n - s < w < n + s for n, w, s in zip(spatial, wanted, steps, strict=True)):
            raise ShapeError("output_size is out of reach.", expected=f"less than a stride from {spatial}", given=tuple(output_size))
        spatial = wanted
    lead, plane = (input.shape[0], input.shape[1]), math.prod(spatial)
    flat, places = ops.reshape(input, (*lead, -1)), ops.reshape(indices, (*lead, -1))
    total, count = (ops.take_along_axis_gradient(t, places, axis=2, size=plane) for t in (flat, ops.ones_like(flat)))
    return ops.reshape(total / ops.maximum(count, 1.0), (*lead, *spatial))


lp_pool1d = lp_pool2d = lp_pool3d = lp_pool
max_unpool1d = max_unpool2d = max_unpool3d = max_unpool

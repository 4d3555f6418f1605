"""Images taken apart and put together: channels into places, windows into columns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import unimodel.ops as ops
from unimodel.dim import Size
from unimodel.errors import ShapeError
from unimodel.ops.indexing import cut, cut_axis, spread
from unimodel.ops.rules import known
from unimodel.tracing import Tensor

__all__ = [
    "channel_shuffle",
    "fold",
    "pixel_shuffle",
    "pixel_unshuffle",
    "unfold",
]


def pixel_shuffle(input: Any, upscale_factor: int) -> Tensor:
    """(..., C * r * r, H, W) as (..., C, H * r, W * r) (Shi et al. 2016)."""
    x, r = ops.asarray(input), upscale_factor
    *lead, channels, height, width = x.shape
    if known(channels) % (r * r):
        raise ShapeError("the channels must be a multiple of the factor squared.", expected=f"a multiple of {r * r}", given=str(x.spec))
    split = ops.reshape(x, (*lead, known(channels) // (r * r), r, r, height, width))
    n = len(lead)
    moved = ops.permute_dims(split, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return ops.reshape(moved, (*lead, known(channels) // (r * r), height * r, width * r))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Tensor:
    """(..., C, H * r, W * r) as (..., C * r * r, H, W): the inverse of ``pixel_shuffle``."""
    x, r = ops.asarray(input), downscale_factor
    *lead, channels, height, width = x.shape
    if known(height) % r or known(width) % r:
        raise ShapeError("height and width must be multiples of the factor.", expected=f"multiples of {r}", given=str(x.spec))
    split = ops.reshape(x, (*lead, channels, known(height) // r, r, known(width) // r, r))
    n = len(lead)
    moved = ops.permute_dims(split, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return ops.reshape(moved, (*lead, channels * r * r, known(height) // r, known(width) // r))


def channel_shuffle(input: Any, groups: int) -> Tensor:
    """(N, C, *) with its channels dealt out: the first of each group, then the second of each (Zhang et al. 2018)."""
    x = ops.asarray(input)
    channels = known(x.shape[1])
    if channels % groups:
        raise ShapeError("groups must divide the channels.", expected=f"a multiple of {groups} channels", given=str(x.spec))
    split = ops.reshape(x, (x.shape[0], groups, channels // groups, *x.shape[2:]))
    return ops.reshape(ops.swapaxes(split, 1, 2), x.shape)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _places(size: Sequence[int], kernel: Any, dilation: Any, padding: Any, stride: Any) -> list[int]:
    """How many windows fit in each dimension."""
    numbers = zip(size, kernel, dilation, padding, stride, strict=True)
    outs = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in numbers]
    if min(outs) < 1:
        raise ShapeError("the window is larger than the padded image.", given=f"image {tuple(size)}, kernel {kernel}, dilation {dilation}, padding {padding}")
    return outs


def unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The windows of (N, C, H, W) as columns: (N, C * kernel, windows)."""
    x = ops.asarray(input)
    kernel, dilations, paddings, strides = (_pair(v) for v in (kernel_size, dilation, padding, stride))
    outs = _places([known(s) for s in x.shape[2:]], kernel, dilations, paddings, strides)
    padded = ops.pad_constant(x, ((0, 0), (0, 0), *((p, p) for p in paddings)))
    parts = []
    for offset in itertools.product(*(range(k) for k in kernel)):
        start: list[Size] = [0, 0, *(o * d for o, d in zip(offset, dilations, strict=True))]
        stop = [*x.shape[:2], *(int(a) + (n - 1) * s + 1 for a, n, s in zip(start[2:], outs, strides, strict=True))]
        parts.append(cut(padded, start, stop, [1, 1, *strides]))
    return ops.reshape(ops.stack(parts, axis=2), (x.shape[0], x.shape[1] * math.prod(kernel), math.prod(outs)))


def fold(input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Columns (N, C * kernel, windows) added up at the places in (N, C, *output_size) that ``unfold`` takes them from."""
    x = ops.asarray(input)
    kernel, dilations, paddings, strides, size = (_pair(v) for v in (kernel_size, dilation, padding, stride, output_size))
    outs = _places(size, kernel, dilations, paddings, strides)
    count = math.prod(kernel)
    if x.ndim != 3 or known(x.shape[1]) % count or known(x.shape[2]) != math.prod(outs):
        raise ShapeError("these are not the columns of such an image.", expected=f"(N, a multiple of {count}, {math.prod(outs)})", given=str(x.spec))
    channels = known(x.shape[1]) // count
    columns = ops.reshape(x, (x.shape[0], channels, count, *outs))
    for axis, s in enumerate(strides):
        if s != 1:
            columns = cut_axis(spread(columns, axis + 3, s), axis + 3, 0, (outs[axis] - 1) * s + 1)
    full = [n + 2 * p for n, p in zip(size, paddings, strict=True)]
    total = None
    for i, offset in enumerate(itertools.product(*(range(k) for k in kernel))):
        part = columns[:, :, i]
        widths = [(o * d, f - o * d - known(m)) for o, d, f, m in zip(offset, dilations, full, part.shape[2:], strict=True)]
        part = ops.pad_constant(part, ((0, 0), (0, 0), *widths))
        total = part if total is None else total + part
    assert total is not None, "a window has at least one element"
    return cut(total, [0, 0, *paddings], [x.shape[0], channels, *(p + n for n, p in zip(size, paddings, strict=True))])

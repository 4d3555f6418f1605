"""Padding by what the tensor holds already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.ops.indexing import cut_axis
from unimodel.ops.rules import known
from unimodel.tracing import Tensor

__all__ = [
    "pad",
]


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """PyTorch's pad: (before, after) of the last dimension, then of the last but one, and so on.

    ``mode`` is "constant" (``value``, by default 0), "reflect" (without the edge), "replicate" (the edge) or "circular" (the other end). None may be negative.
    """
    x = ops.asarray(input)
    pairs = list(zip(pad[::2], pad[1::2], strict=False))
    if len(pad) % 2 or len(pairs) > x.ndim:
        raise ShapeError("pad has two numbers per dimension, from the last.", expected=f"at most {2 * x.ndim} numbers, evenly many", given=pad)
    if any(n < 0 for n in pad):
        raise ShapeError("padding cannot be negative.", given=pad, remedy="slice instead")
    if mode == "constant":
        widths = ((0, 0),) * (x.ndim - len(pairs)) + tuple(reversed(pairs))
        return ops.pad_constant(x, widths, value=0.0 if value is None else value) if any(pad) else x
    if mode not in _EDGES or value is not None:
        raise ShapeError("mode is 'constant' with a value, or 'reflect', 'replicate' or 'circular' without.", given=f"mode={mode!r}, value={value!r}")
    for i, (before, after) in enumerate(pairs):
        if before or after:
            x = ops.concat(_EDGES[mode](x, x.ndim - 1 - i, before, after), axis=x.ndim - 1 - i)
    return x


def _reflect(x: Tensor, axis: int, before: int, after: int) -> list[Tensor]:
    n = known(x.shape[axis])
    if max(before, after) >= n:
        raise ShapeError("reflected padding must be smaller than the size.", expected=f"at most {n - 1}", given=(before, after))
    left = ops.flip(cut_axis(x, axis, 1, before + 1), axis=axis)
    right = ops.flip(cut_axis(x, axis, n - 1 - after, n - 1), axis=axis)
    return [part for part, width in ((left, before), (x, n), (right, after)) if width]


def _replicate(x: Tensor, axis: int, before: int, after: int) -> list[Tensor]:
    n = known(x.shape[axis])

    def edge(place: int, width: int) -> Tensor:
        return ops.broadcast_to(cut_axis(x, axis, place, place + 1), tuple(width if i == axis else s for i, s in enumerate(x.shape)))

    return [*([edge(0, before)] if before else []), x, *([edge(n - 1, after)] if after else [])]


def _circular(x: Tensor, axis: int, before: int, after: int) -> list[Tensor]:
    n = known(x.shape[axis])
    if max(before, after) > n:
        raise ShapeError("circular padding must be at most the size.", expected=f"at most {n}", given=(before, after))
    left, right = cut_axis(x, axis, n - before, n), cut_axis(x, axis, 0, after)
    return [part for part, width in ((left, before), (x, n), (right, after)) if width]


_EDGES = {"reflect": _reflect, "replicate": _replicate, "circular": _circular}

"""Images read at places between their pixels: the two halves of a spatial transformer (Jaderberg et al. 2015, https://arxiv.org/abs/1506.02025).

A place is a row of coordinates from -1 to 1 across the image. Along each dimension it is turned into a few neighbouring pixels and what each of them counts; all their
combinations are read by one gather of rows, and added up. Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grid_sample.html
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import unimodel.ops as ops
from unimodel.dim import product
from unimodel.errors import ShapeError
from unimodel.graph import Array, TensorSpec
from unimodel.op import composite
from unimodel.ops.resizing import cubic_weights
from unimodel.ops.rules import known, need_float, sizes_agree
from unimodel.ops.samples import Sample, distinct, normal
from unimodel.tracing import Tensor

__all__ = [
    "affine_grid",
    "grid_sample",
]


def affine_grid(theta: Any, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The grid that makes ``grid_sample`` an affine map: theta (N, 2, 3) and size (N, C, H, W) give (N, H, W, 2), or (N, 3, 4) and (N, C, D, H, W) give (N, D, H, W, 3).

    Each place is ``theta[n] @ (x, y, 1)`` of a pixel of the result, whose coordinates run from -1 to 1, first to last. ``align_corners`` (False, as in PyTorch, where
    nothing is given) says whether -1 and 1 are the outermost pixels' centres or their outer edges: give ``grid_sample`` the same.
    """
    theta = ops.asarray(theta)
    need_float(theta.spec, "theta")
    rank = len(size) - 2
    if rank not in (2, 3) or theta.ndim != 3 or tuple(theta.shape[1:]) != (rank, rank + 1):
        raise ShapeError(
            "an affine map has a row per dimension of the image, and a column more.",
            expected="theta (N, 2, 3) with size (N, C, H, W), or theta (N, 3, 4) with size (N, C, D, H, W)",
            given=f"theta {theta.shape}, size {tuple(size)}",
        )
    if not sizes_agree(theta.shape[0], size[0]):
        raise ShapeError("there is a map for each image.", expected=f"{size[0]} maps, as size says", given=f"theta {theta.shape}")
    spatial = [known(n) for n in size[2:]]
    if min(spatial) < 1:
        raise ShapeError("a grid has at least one place.", expected="sizes of at least 1", given=tuple(size))
    lines = [_line(n, align_corners) for n in spatial]
    places = np.stack([*np.meshgrid(*lines, indexing="ij")[::-1], np.ones(spatial)], axis=-1)  # x, the last dimension, comes first
    grid = ops.matmul(places.reshape(-1, rank + 1), ops.matrix_transpose(theta))
    return ops.reshape(grid, (theta.shape[0], *spatial, rank))


def _line(n: int, align_corners: bool | None) -> Array:
    line = np.linspace(-1.0, 1.0, n) if n > 1 else np.zeros(1)
    return line if align_corners else line * ((n - 1) / n)


def _canonical_corners(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    attrs["align_corners"] = bool(attrs["align_corners"])


@composite(
    canonical=_canonical_corners,
    samples=[  # places inside and outside, none of them upon a pixel, midway between two, or at an edge, where there is a joint
        Sample(normal(2, 2, 3, 4), distinct(2, 3, 4, 2)),
        Sample(normal(2, 2, 3, 4), distinct(2, 3, 4, 2), padding_mode="border", align_corners=True),
        Sample(normal(1, 2, 4, 3), distinct(1, 4, 6, 2), padding_mode="reflection"),
        Sample(normal(1, 2, 4, 3), distinct(1, 4, 5, 2), mode="nearest", align_corners=True),
        Sample(normal(1, 2, 4, 5), distinct(1, 4, 4, 2), mode="bicubic", padding_mode="reflection", align_corners=True),
        Sample(normal(1, 2, 2, 3, 4), distinct(1, 2, 3, 2, 3), align_corners=True),
        Sample(normal(1, 2, 2, 3, 4), distinct(1, 2, 3, 2, 3), mode="nearest", padding_mode="reflection"),
    ],
)
def grid_sample(input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = False) -> Tensor:
    """Pixels of ``input`` (N, C, H, W) at the places ``grid`` (N, H', W', 2) says: (N, C, H', W'). With a dimension more, (N, C, D, H, W) and (N, D', H', W', 3).

    A place is (x, y) or (x, y, z), -1 to 1 from the first to the last column, row, slice; ``align_corners`` (False where nothing is given) says whether these are the
    outermost pixels' centres or their outer edges. ``mode`` is "bilinear" (of volumes trilinear), "nearest" or, for images, "bicubic". Outside, ``padding_mode``
    "zeros" reads 0, "border" the nearest pixel, "reflection" the image mirrored as often as is needed. Where it is "nearest" the grid has no gradient.
    """
    rank = input.ndim - 2
    modes = {2: ("bilinear", "nearest", "bicubic"), 3: ("bilinear", "nearest")}
    if rank not in modes or grid.ndim != input.ndim or grid.shape[-1] != rank:
        raise ShapeError(
            "a grid gives each place as many coordinates as the image has dimensions.",
            expected="input (N, C, H, W) with grid (N, H', W', 2), or input (N, C, D, H, W) with grid (N, D', H', W', 3)",
            given=f"input {input.shape}, grid {grid.shape}",
            remedy="the coordinates are the grid's last dimension; um.ops.affine_grid makes one",
        )
    if mode not in modes[rank] or padding_mode not in ("zeros", "border", "reflection"):
        raise ShapeError(
            "grid_sample does not know this mode.",
            expected=f"mode {', '.join(modes[rank])} for {rank} dimensions; padding_mode zeros, border, reflection",
            given=f"mode={mode!r}, padding_mode={padding_mode!r}",
        )
    for x, what in ((input, "an image"), (grid, "a grid")):
        need_float(x.spec, what)
    spatial = [known(n) for n in input.shape[2:]]
    if not sizes_agree(input.shape[0], grid.shape[0]) or min(spatial) < 1:
        raise ShapeError(
            "there is a grid for each image, and a pixel in it.", expected=f"grid ({input.shape[0]}, …)", given=f"input {input.shape}, grid {grid.shape}"
        )
    count, channels, many = input.shape[0], input.shape[1], product(grid.shape[1:-1])
    places = ops.reshape(grid, (count * many, rank))
    index = ops.reshape(ops.broadcast_to(ops.expand_dims(ops.arange(count), 1), (count, many)), (1, count * many))
    weight = ops.ones((1, 1), dtype=grid.dtype)
    for i, n in enumerate(spatial):  # the pixels of one more dimension, for each that the dimensions before have
        pixel, share = _taps(places[:, rank - 1 - i], n, mode, padding_mode, align_corners)
        index = ops.reshape(ops.expand_dims(index, 1) * n + ops.astype(pixel, "int64"), (-1, count * many))
        weight = ops.reshape(ops.expand_dims(weight, 1) * share, (-1, count * many))
    rows = ops.reshape(ops.moveaxis(input, 1, -1), (count * math.prod(spatial), channels))
    read = ops.take(rows, index, axis=0) * ops.expand_dims(ops.astype(weight, input.dtype), 2)
    return ops.moveaxis(ops.reshape(ops.sum(read, axis=0), (*grid.shape[:-1], channels)), -1, 1)


def _taps(coordinates: Tensor, n: int, mode: str, padding_mode: str, align_corners: bool | None) -> tuple[Tensor, Tensor]:
    """The pixels along one dimension of size n that each coordinate reads, whole floats (pixels, places), and what each of them counts."""
    place = (coordinates + 1.0) * ((n - 1) / 2) if align_corners else ((coordinates + 1.0) * n - 1.0) / 2
    if mode != "bicubic":
        place = _padded(place, n, padding_mode, align_corners)
    if mode == "nearest":
        shares = {0: ops.ones_like(place)}
        pixels = ops.expand_dims(ops.round(place), 0)
    else:
        floor = ops.floor(place)
        part = place - floor
        shares = cubic_weights(part) if mode == "bicubic" else {0: 1.0 - part, 1: part}
        pixels = floor + np.array([*shares], "float32")[:, None]
    if mode == "bicubic":  # it reads beyond the edge, and pads pixel by pixel
        pixels = _padded(pixels, n, padding_mode, align_corners)
    inside = ops.logical_and(ops.greater_equal(pixels, 0.0), ops.less_equal(pixels, n - 1.0))  # else the first pixel, which counts nothing
    return ops.where(inside, pixels, 0.0), ops.where(inside, ops.stack([*shares.values()]), 0.0)


def _padded(place: Tensor, n: int, padding_mode: str, align_corners: bool | None) -> Tensor:
    """Where a place outside reads. At the edge itself the gradient is that of outside, as in PyTorch."""
    if padding_mode == "zeros":
        return place
    if padding_mode == "reflection":
        place = _reflected(place, 0.0, n - 1.0) if align_corners else _reflected(place, -0.5, n - 0.5)
    return ops.where(ops.less_equal(place, 0.0), 0.0, ops.where(ops.greater_equal(place, n - 1.0), n - 1.0, place))


def _reflected(place: Tensor, low: float, high: float) -> Tensor:
    """A place mirrored at two edges until it lies between them."""
    span = high - low
    if span == 0.0:
        return ops.zeros_like(place)
    away = place - low
    away = ops.where(ops.less(away, 0.0), -away, away)
    flips = ops.floor(away / span)
    rest = away - flips * span
    odd = ops.not_equal(flips, 2.0 * ops.floor(0.5 * flips))
    return ops.where(odd, high - rest, rest + low)

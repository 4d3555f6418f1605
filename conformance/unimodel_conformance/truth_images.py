"""The truth of images read between their pixels: of each place, what every pixel of a line counts, dimension by dimension. See ``truth``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from unimodel_conformance.truth import truth


@truth("grid_sample")
def _(x: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None) -> Any:
    result = np.zeros((*x.shape[:2], *grid.shape[1:-1]))
    for at in np.ndindex(grid.shape[:-1]):
        image = x[at[0]]
        for coordinate in grid[at]:  # x first, and it is of the last dimension
            image = image @ _line(float(coordinate), image.shape[-1], mode, padding_mode, bool(align_corners))
        result[(at[0], slice(None), *at[1:])] = image
    return result


def _line(coordinate: float, n: int, mode: str, padding_mode: str, align_corners: bool) -> Any:
    """What each of a line's n pixels counts."""
    place = (coordinate + 1) / 2 * (n - 1) if align_corners else (coordinate + 1) / 2 * n - 0.5
    counts = np.zeros(n)
    if mode == "bicubic":
        for pixel in range(math.floor(place) - 1, math.floor(place) + 3):
            read = _read(float(pixel), n, padding_mode, align_corners)
            if 0 <= read < n:
                counts[round(read)] += _keys(abs(place - pixel))
        return counts
    read = _read(place, n, padding_mode, align_corners)
    distances = np.abs(np.arange(n) - (np.rint(read) if mode == "nearest" else read))
    return np.maximum(0.0, 1.0 - distances)


def _read(place: float, n: int, padding_mode: str, align_corners: bool) -> float:
    if padding_mode == "zeros":
        return place
    if padding_mode == "reflection":
        low, high = (0.0, n - 1.0) if align_corners else (-0.5, n - 0.5)
        if high == low:
            return 0.0
        wave = (place - low) % (2 * (high - low))
        place = low + min(wave, 2 * (high - low) - wave)
    return min(max(place, 0.0), n - 1.0)


def _keys(d: float, a: float = -0.75) -> float:
    """Keys's kernel at a distance."""
    return (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a

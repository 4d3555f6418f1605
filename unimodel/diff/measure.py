"""How far two results are apart, what is allowed, and what can be said of an array in one line.

Distances are norm-wise: the largest difference by the largest number, or the differences' norm by the results' norm, whichever is more. A new value of a
state is measured by how much it changed, since that is what the step computed. Numbers so small that a float has no full precision left count as zero;
where one side is NaN or infinite and the other is not, the distance is infinite; integers and booleans must be equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from unimodel.graph import Array

OP_TOLERANCE = {"float64": 1e-11, "float32": 1e-5, "float16": 5e-3, "bfloat16": 4e-2}
"""What one op may be off, relative; a backend that declares more in ``tolerances`` may be off that much."""
STEP_TOLERANCE = {"float64": 1e-8, "float32": 1e-4, "float16": 5e-2, "bfloat16": 4e-1}
"""What a whole step may be off, in which rounding adds up."""


def op_tolerance(dtype: str, *declared: Mapping[str, float]) -> float:
    """For a single op on backends that declare these tolerances."""
    return max(OP_TOLERANCE[dtype], *(d.get(dtype, 0.0) for d in declared))


@dataclass(frozen=True, slots=True)
class Apart:
    """The distance of two results, and where it is largest; ``first`` and ``second`` are the two sides' numbers there."""

    error: float
    place: tuple[int, ...] = ()
    first: float = 0.0
    second: float = 0.0
    count: int = 0
    """How many elements differ by more than the last few bits."""
    what: str = ""
    """What is wrong, where it is not the numbers: another shape, another dtype."""


def apart(a: Array, b: Array, before: Array | None = None) -> Apart:
    """The distance of two arrays. ``before`` is the state's old value, where they are its new one."""
    if a.shape != b.shape:
        return Apart(math.inf, what=f"shape {a.shape} and {b.shape}")
    if a.dtype != b.dtype:
        return Apart(math.inf, what=f"dtype {a.dtype} and {b.dtype}")
    if not a.size:
        return Apart(0.0)
    if a.dtype.kind != "f":
        wrong = a != b
        return Apart(float(wrong.mean()), *_at(a, b, wrong.astype("float64")), int(wrong.sum())) if wrong.any() else Apart(0.0)
    epsilon = float(np.finfo(a.dtype).eps)
    smallest = float(np.finfo(a.dtype).tiny) / epsilon
    x, y = a.astype("float64"), b.astype("float64")
    with np.errstate(all="ignore"):
        finite = np.isfinite(x) & np.isfinite(y)
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        distance = np.where(same, 0.0, np.where(finite, np.abs(x - y), np.inf))
        if not np.isfinite(distance).all():
            return Apart(math.inf, *_at(a, b, distance), int(np.isinf(distance).sum()))
        x, y = np.where(finite, x, 0.0), np.where(finite, y, 0.0)
        if before is not None:
            old = np.where(finite, before.astype("float64"), 0.0)
            distance = np.maximum(distance - 4 * epsilon * np.abs(old), 0.0)  # the new value is rounded to the old one's precision
            x, y = x - old, y - old
        largest = max(float(np.abs(x).max()), float(np.abs(y).max()), smallest)
        norm = max(float(np.linalg.norm(x / largest)), float(np.linalg.norm(y / largest)), smallest / largest)
        error = max(float(distance.max()) / largest, float(np.linalg.norm(distance / largest)) / norm)
        return Apart(error, *_at(a, b, distance), int((distance > 8 * epsilon * largest).sum()))


def _at(a: Array, b: Array, distance: Array) -> tuple[tuple[int, ...], float, float]:
    place = tuple(int(i) for i in np.unravel_index(int(np.argmax(distance)), distance.shape))
    return place, float(a[place]), float(b[place])


def statistics(array: Array) -> dict[str, Any]:
    """What an array is like: shape, dtype, range, mean and spread of its finite numbers, and how many are not finite, the first of them where."""
    found: dict[str, Any] = {"shape": list(array.shape), "dtype": array.dtype.name}
    numbers = array.astype("float64").ravel()
    finite = numbers[np.isfinite(numbers)]
    if finite.size:
        found |= {"min": float(finite.min()), "max": float(finite.max()), "mean": float(finite.mean()), "std": float(finite.std())}
    found |= {"zeros": int((numbers == 0).sum()), "nan": int(np.isnan(numbers).sum()), "inf": int(np.isinf(numbers).sum())}
    if finite.size < numbers.size:
        found["first_at"] = [int(i) for i in np.unravel_index(int(np.argmin(np.isfinite(numbers))), array.shape)]
    if array.size <= 8:
        found["values"] = array.tolist()
    return found

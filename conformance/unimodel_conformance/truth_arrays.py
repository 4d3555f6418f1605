"""The truths of array ops beyond the first ones: other elementwise functions, orders and runs, decompositions of matrices. See ``truth``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.special

from unimodel_conformance.truth import TRUTH, truth

TRUTH.update(
    atan2=lambda x1, x2: np.vectorize(math.atan2, otypes=["float64"])(x1, x2).astype(np.result_type(x1, x2)),
    asinh=np.arcsinh,
    hypot=np.hypot,
    logaddexp=np.logaddexp,
    erfinv=lambda x: scipy.special.ndtri((x + 1) / 2) / np.sqrt(2),
    erfc=lambda x: 2 * scipy.special.ndtr(-np.sqrt(2) * x),
    lgamma=scipy.special.gammaln,
    digamma=scipy.special.psi,
    bitwise_and=lambda x1, x2: np.bitwise_and(x1, x2),
)


@truth("arg_sort")
def _(x: Any, axis: int, descending: bool = False) -> Any:
    def order(row: Any) -> list[int]:
        keys = [(math.isnan(v), 0.0 if math.isnan(v) else float(v)) for v in row.tolist()]
        return sorted(range(len(keys)), key=lambda i: keys[i]) if not descending else sorted(range(len(keys)), key=lambda i: (-keys[i][0], -keys[i][1]))

    return np.apply_along_axis(order, axis, x).astype("int64") if x.size else np.zeros(x.shape, "int64")


@truth("cumulative_prod")
def _(x: Any, axis: int = -1) -> Any:
    return np.cumprod(x, axis=axis)

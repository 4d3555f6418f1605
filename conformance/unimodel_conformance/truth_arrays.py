"""The truths of array ops beyond the first ones: other elementwise functions, orders and runs, decompositions of matrices. See ``truth``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.linalg
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


# ------------------------------------------------------------------------------------------------------------------ matrices


def _each(function: Any, *arrays: Any) -> Any:
    """A function of matrices, for each of a batch."""
    lead = arrays[0].shape[:-2]
    found = [function(*(a[place] for a in arrays)) for place in np.ndindex(lead)]
    if isinstance(found[0], tuple):
        return tuple(np.array([f[i] for f in found]).reshape((*lead, *np.shape(found[0][i]))) for i in range(len(found[0])))
    return np.array(found).reshape((*lead, *np.shape(found[0])))


@truth("triangular_solve")
def _(a: Any, b: Any, upper: bool = False) -> Any:
    return _each(lambda m, v: scipy.linalg.solve_triangular(m, v, lower=not upper), a, b)


@truth("solve_square")
def _(a: Any, b: Any) -> Any:
    return _each(lambda m, v: scipy.linalg.inv(m) @ v, a, b)


@truth("slogdet")
def _(x: Any) -> Any:
    def each(m: Any) -> Any:
        value = scipy.linalg.det(m)
        return np.sign(value), np.log(abs(value))

    return _each(each, x)


@truth("cholesky")
def _(x: Any, upper: bool = False) -> Any:
    """Element by element (Cholesky and Banachiewicz)."""

    def each(m: Any) -> Any:
        factor = np.zeros_like(m)
        for i, j in zip(*np.tril_indices(len(m)), strict=True):
            rest = m[i, j] - factor[i, :j] @ factor[j, :j]
            factor[i, j] = np.sqrt(rest) if i == j else rest / factor[j, j]
        return factor.T if upper else factor

    return _each(each, (x + np.swapaxes(x, -1, -2)) / 2)


@truth("eigh")
def _(x: Any) -> Any:
    def each(m: Any) -> Any:
        values, vectors = scipy.linalg.eig(m)
        order = np.argsort(values.real)
        vectors = vectors.real[:, order]
        return values.real[order], vectors * np.sign(vectors[np.abs(vectors).argmax(0), range(len(m))])

    return _each(each, (x + np.swapaxes(x, -1, -2)) / 2)


@truth("qr")
def _(x: Any) -> Any:
    """Gram and Schmidt, twice, for the digits."""

    def each(m: Any) -> Any:
        columns: list[Any] = []
        for column in m.T[: len(m)]:
            for _ in range(2):
                column = column - sum(((c @ column) * c for c in columns), np.zeros(len(m)))
            columns.append(column / np.linalg.norm(column))
        q = np.stack(columns, axis=1)
        return q, np.triu(q.T @ m)

    return _each(each, x)


@truth("svd")
def _(x: Any) -> Any:
    def each(m: Any) -> Any:
        u, s, vh = scipy.linalg.svd(m, full_matrices=False, lapack_driver="gesvd")
        signs = np.sign(u[np.abs(u).argmax(0), range(u.shape[1])])
        return u * signs, s, vh * signs[:, None]

    return _each(each, x)

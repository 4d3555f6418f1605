"""The functions of ``ops`` that are no node of their own: PyTorch's and the Array API's names for what the catalogue's ops make.

Each stands beside the NumPy or SciPy expression that it must equal. They compile fast together, so all of them are one program: run in the most exact dtype and in
float32, and differentiated by every way the backend has, held against finite differences of the reference's own values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

from unimodel import ops
from unimodel.backend import Capability
from unimodel.graph import Array
from unimodel_conformance.cases import finite_difference, loss_of
from unimodel_conformance.subject import Subject, as_dtype, difference
from unimodel_conformance.truth_functions import MORE, Function

pytestmark = pytest.mark.concerns("op", "functions")

RNG = np.random.Generator(np.random.Philox(11))
X = (RNG.permutation(12) - 5.7).reshape(3, 4) * 0.3
"""Distinct numbers between -1.8 and 1.6, none near 0 or a half."""
Y = RNG.uniform(0.2, 0.9, (3, 4)) * RNG.choice([-1.0, 1.0], (3, 4))
POSITIVE = RNG.uniform(0.2, 3.0, (3, 4))
V = RNG.uniform(0.5, 2.0, 5) * np.array([1.0, -1.0, 1.0, 1.0, -1.0])
I = np.array([[2, 0, 1, 2], [0, 0, 2, 1]])  # noqa: E741  the indices of gather and scatter
BATCH = RNG.uniform(0.2, 1.0, (2, 2, 3))
SQUARE = RNG.uniform(-0.4, 0.4, (3, 3)) + np.diag([1.0, 1.7, -2.3])
INTS = np.array([[-9, 5, 3, 12], [7, -1, 0, 6]])
MASK = X > 0
NAN = np.where(MASK, X, np.nan)


def _scattered(x: Array, dim: int, index: Array, src: Any, add: bool) -> Array:
    result = np.array(x)
    for place in np.ndindex(index.shape):
        value = src[place] if isinstance(src, np.ndarray) else src
        target = tuple(int(index[place]) if i == dim else p for i, p in enumerate(place))
        result[target] = result[target] + value if add else value
    return result


def _at(x: Array, key: Any, value: Any) -> Array:
    result = np.array(x)
    result[key] = value
    return result


F = Function
FUNCTIONS: dict[str, Function] = {
    # element by element
    "tan": F(lambda x: ops.tan(x), np.tan, (Y,)),
    "asin": F(lambda x: ops.asin(x), np.arcsin, (Y,)),
    "acos": F(lambda x: ops.acos(x), np.arccos, (Y,)),
    "atan": F(lambda x: ops.atan(x), np.arctan, (X,)),
    "sinh": F(lambda x: ops.sinh(x), np.sinh, (X,)),
    "cosh": F(lambda x: ops.cosh(x), np.cosh, (X,)),
    "acosh": F(lambda x: ops.acosh(x), np.arccosh, (POSITIVE + 1,)),
    "atanh": F(lambda x: ops.atanh(x), np.arctanh, (Y,)),
    "log2": F(lambda x: ops.log2(x), np.log2, (POSITIVE,)),
    "log10": F(lambda x: ops.log10(x), np.log10, (POSITIVE,)),
    "exp2": F(lambda x: ops.exp2(x), np.exp2, (X,)),
    "logit": F(lambda x: (ops.logit(x), ops.logit(x, eps=0.2)), lambda x: (scipy.special.logit(x), scipy.special.logit(np.clip(x, 0.2, 0.8))), (np.array([0.1, 0.35, 0.7, 0.95]),)),
    "xlogy": F(lambda x, y: ops.xlogy(x, y), scipy.special.xlogy, (np.where(MASK, X, 0), POSITIVE), False),
    "positive": F(lambda x: ops.positive(x), np.positive, (X,)),
    "reciprocal": F(lambda x: ops.reciprocal(x), np.reciprocal, (X,)),
    "trunc": F(lambda x: (ops.trunc(x), ops.frac(x)), lambda x: (np.trunc(x), x - np.trunc(x)), (X,)),
    "trunc of integers": F(lambda x: ops.trunc(x), lambda x: x, (INTS,)),
    "isinf": F(lambda x: ops.isinf(x), np.isinf, (np.array([1.0, np.inf, -np.inf, np.nan]),), False),
    "isinf of integers": F(lambda x: ops.isinf(x), np.isinf, (INTS,)),
    "signbit": F(lambda x: ops.signbit(x), lambda x: np.signbit(x), (np.array([1.0, -2.0, 0.0, -0.0, np.inf, -np.inf]),), False),
    "copysign": F(lambda x, y: ops.copysign(x, y), np.copysign, (X, Y)),
    "copysign of zeros": F(lambda x: ops.copysign(2.5, x), lambda x: np.copysign(2.5, x), (np.array([0.0, -0.0]),), False),
    "nan_to_num": F(lambda x: ops.nan_to_num(x, 7.0, 8.0, -9.0), lambda x: np.nan_to_num(x, True, 7.0, 8.0, -9.0), (np.array([1.5, np.nan, np.inf, -np.inf]),), False),
    "lerp": F(lambda x, y, w: ops.lerp(x, y, w), lambda x, y, w: x + w * (y - x), (X, Y, POSITIVE)),
    "addcmul": F(lambda x, y, z: ops.addcmul(x, y, z, value=0.5), lambda x, y, z: x + 0.5 * y * z, (X, Y, POSITIVE)),
    "addcdiv": F(lambda x, y, z: ops.addcdiv(x, y, z, value=0.5), lambda x, y, z: x + 0.5 * y / z, (X, Y, POSITIVE)),
    "clip by tensors": F(lambda x, y: ops.clip(x, -0.5, y), lambda x, y: np.minimum(np.maximum(x, -0.5), y), (X, np.abs(Y))),
    "bits": F(
        lambda a: (ops.bitwise_or(a, 6), ops.bitwise_xor(a, 5), ops.bitwise_invert(a), ops.bitwise_left_shift(a, 3), ops.bitwise_right_shift(a, 2), a & 3, a | 8, a ^ 1, ~a, a << 2, a >> 1),
        lambda a: (a | 6, a ^ 5, ~a, a << 3, a >> 2, a & 3, a | 8, a ^ 1, ~a, a << 2, a >> 1),
        (INTS,),
    ),
    "bits of booleans": F(lambda a, b: (ops.bitwise_or(a, b), ops.bitwise_xor(a, b), ~a, a & b), lambda a, b: (a | b, a ^ b, ~a, a & b), (MASK, Y > 0)),
    "shifts by tensors": F(lambda a, b: (ops.bitwise_left_shift(a, b), ops.bitwise_right_shift(a, b)), lambda a, b: (a << b, a >> b), (INTS, np.array([0, 1, 2, 3]))),
    # reductions and runs
    "amax": F(lambda x: (ops.amax(x, dim=(0, 1)), ops.amin(x, 1, True)), lambda x: (x.max(), x.min(1, keepdims=True)), (X,)),
    "count_nonzero": F(lambda x: (ops.count_nonzero(x), ops.count_nonzero(x, axis=1)), lambda x: (np.count_nonzero(x), np.count_nonzero(x, axis=1)), (INTS,)),
    "nansum": F(lambda x: (ops.nansum(x, axis=1), ops.nanmean(x)), lambda x: (np.nansum(x, axis=1), np.nanmean(x)), (NAN,), False),
    "cumsum": F(lambda x: (ops.cumsum(x, 1), ops.cumprod(x, 0)), lambda x: (np.cumsum(x, 1), np.cumprod(x, 0)), (X,)),
    "logcumsumexp": F(lambda x: ops.logcumsumexp(x, axis=1), lambda x: np.logaddexp.accumulate(x, axis=1), (X,)),
    "diff": F(lambda x, y: (ops.diff(x), ops.diff(x, axis=0, n=2), ops.diff(x, prepend=y, append=y)), lambda x, y: (np.diff(x), np.diff(x, axis=0, n=2), np.diff(x, prepend=y, append=y)), (X, Y)),
    # order
    "sort": F(lambda x: (ops.sort(x), ops.sort(x, axis=0, descending=True)), lambda x: (np.sort(x), -np.sort(-x, axis=0)), (X,)),
    "argsort": F(lambda x: ops.argsort(x, axis=0, descending=True), lambda x: np.argsort(-x, axis=0), (X,), False),
    "topk": F(lambda x: ops.topk(x, 2), lambda x: (-np.sort(-x)[:, :2], np.argsort(-x)[:, :2]), (X,)),
    "topk of the smallest": F(lambda x: ops.topk(x, 2, dim=0, largest=False), lambda x: (np.sort(x, 0)[:2], np.argsort(x, 0)[:2]), (X,)),
    "kthvalue": F(lambda x: ops.kthvalue(x, 2), lambda x: (np.sort(x)[:, 1], np.argsort(x)[:, 1]), (X,)),
    "quantile": F(
        lambda x: (ops.quantile(x, 0.4), ops.quantile(x, [0.0, 0.3, 1.0], axis=1), ops.quantile(x, 0.3, axis=0, keepdims=True, interpolation="midpoint")),
        lambda x: (np.quantile(x, 0.4), np.quantile(x, [0.0, 0.3, 1.0], axis=1), np.quantile(x, 0.3, axis=0, keepdims=True, method="midpoint")),
        (X,),
    ),
    "quantile by neighbours": F(
        lambda x: tuple(ops.quantile(x, 0.45, axis=1, interpolation=m) for m in ("lower", "higher", "nearest")),
        lambda x: tuple(np.quantile(x, 0.45, axis=1, method=m) for m in ("lower", "higher", "nearest")),
        (X,),
    ),
    "median": F(lambda x: (ops.median(x), ops.median(x, axis=1, keepdims=True)), lambda x: (np.sort(x.ravel())[5], np.sort(x)[:, 1:2]), (X,)),
    "median of NaN": F(lambda x: ops.median(x, axis=1), lambda x: np.where(np.isnan(x).any(1), np.nan, np.sort(x)[:, 1]), (np.where(X > 1.2, np.nan, X),), False),
    "searchsorted": F(
        lambda b, x: (ops.searchsorted(b, x), ops.searchsorted(b, x, side="right"), ops.bucketize(x, b, right=True)),
        lambda b, x: (np.searchsorted(b, x), np.searchsorted(b, x, side="right"), np.searchsorted(b, x, side="right")),
        (np.array([-1.0, 0.0, 0.0, 1.0]), np.array([[0.0, -2.0, 0.5], [1.0, 3.0, -1.0]])),
        False,
    ),
    # places
    "roll": F(lambda x: (ops.roll(x, 2), ops.roll(x, -1, axis=1), ops.roll(x, (1, 2), axis=(0, 1))), lambda x: (np.roll(x, 2), np.roll(x, -1, 1), np.roll(x, (1, 2), (0, 1))), (X,)),
    "repeat": F(
        lambda x: (ops.repeat(x, 2), ops.repeat(x, 3, axis=1), ops.repeat(x, [2, 0, 1], axis=0), ops.repeat_interleave(x, 2, 0)),
        lambda x: (np.repeat(x, 2), np.repeat(x, 3, 1), np.repeat(x, [2, 0, 1], 0), np.repeat(x, 2, 0)),
        (X,),
    ),
    "tile": F(lambda x: (ops.tile(x, (2, 1)), ops.tile(x, (3,)), ops.tile(x, (2, 1, 2))), lambda x: (np.tile(x, (2, 1)), np.tile(x, 3), np.tile(x, (2, 1, 2))), (X,)),
    "unstack": F(lambda x: (*ops.unstack(x, axis=1), *ops.unbind(x)), lambda x: (*(x[:, i] for i in range(4)), *x), (X,)),
    "narrow": F(lambda x: ops.narrow(x, 1, 1, 2), lambda x: x[:, 1:3], (X,)),
    "broadcast_arrays": F(lambda x, y: ops.broadcast_arrays(x, y), lambda x, y: tuple(np.broadcast_arrays(x, y)), (X, Y[:, :1])),
    "expand": F(lambda x: ops.expand(x, 2, -1, 4), lambda x: np.broadcast_to(x, (2, 3, 4)), (Y[:, :1],)),
    "meshgrid": F(lambda x, y: (*ops.meshgrid(x, y), *ops.meshgrid(x, y, indexing="ij")), lambda x, y: (*np.meshgrid(x, y), *np.meshgrid(x, y, indexing="ij")), (V, X[0])),
    "linspace": F(
        lambda a, b: (a * 0.0 + ops.linspace(1.0, 2.0, 5), ops.linspace(a, b, 4), ops.linspace(a, b, 4, endpoint=False)),
        lambda a, b: (np.linspace(1.0, 2.0, 5), np.linspace(a, b, 4), np.linspace(a, b, 4, endpoint=False)),
        (np.array(0.3), np.array(2.1)),
    ),
    "ravel": F(lambda x: (ops.ravel(x), ops.unflatten(x, 1, (2, -1))), lambda x: (x.ravel(), x.reshape(3, 2, 2)), (X,)),
    "movedim": F(lambda x: (ops.movedim(x[None], 0, 2), ops.movedim(x[None], (0, 1), (2, 0))), lambda x: (np.moveaxis(x[None], 0, 2), np.moveaxis(x[None], (0, 1), (2, 0))), (X,)),
    "rot90": F(lambda x: tuple(ops.rot90(x, k) for k in range(-1, 4)), lambda x: tuple(np.rot90(x, k) for k in range(-1, 4)), (X,)),
    "atleast": F(lambda x, y: (ops.atleast_1d(y), ops.atleast_2d(x), ops.atleast_3d(x)), lambda x, y: (np.atleast_1d(y), np.atleast_2d(x), np.atleast_3d(x)), (V, np.array(2.0))),
    "stacks": F(
        lambda x, y, v: (ops.hstack([x, y]), ops.hstack([v, v]), ops.vstack([v, v]), ops.dstack([x, y])),
        lambda x, y, v: (np.hstack([x, y]), np.hstack([v, v]), np.vstack([v, v]), np.dstack([x, y])),
        (X, Y, V),
    ),
    # indices
    "gather": F(lambda x, i: ops.gather(x, 0, i), lambda x, i: np.take_along_axis(x, i, 0), (X, I)),
    "gather of a part": F(lambda x, i: ops.gather(x, 0, i), lambda x, i: np.take_along_axis(x[:, :2], i, 0), (X, I[:, :2])),
    "take_along_dim": F(lambda x, i: (ops.take_along_dim(x, i, 0), ops.take_along_dim(x, i)), lambda x, i: (np.take_along_axis(x, i, 0), x.ravel()[i.ravel()]), (X, I)),
    "index_select": F(lambda x, i: ops.index_select(x, 1, i), lambda x, i: x[:, i], (X, np.array([3, 0, 3]))),
    "masked_fill": F(lambda x, m: ops.masked_fill(x, m, -7.5), lambda x, m: np.where(m, -7.5, x), (X, MASK)),
    "scatter": F(lambda x, i, s: ops.scatter(x, 0, i, s), lambda x, i, s: _scattered(x, 0, i, s, False), (X, I, Y)),
    "scatter of a number": F(lambda x, i: ops.scatter(x, 1, i, 2.5), lambda x, i: _scattered(x, 1, i, 2.5, False), (X, I)),
    "scatter of integers": F(lambda x, i: ops.scatter(x, 1, i, 4), lambda x, i: _scattered(x, 1, i, 4, False), (INTS, I)),
    "scatter_add": F(lambda x, i, s: ops.scatter_add(x, 0, i, s), lambda x, i, s: _scattered(x, 0, i, s, True), (X, I[:, :3], Y)),
    "index_add": F(lambda x, s: ops.index_add(x, 0, np.array([2, 0, 2]), s, alpha=2.0), lambda x, s: x + 2 * np.array([s[1], 0 * s[0], s[0] + s[2]]), (X, Y)),
    "index_copy": F(lambda x, s: ops.index_copy(x, 0, np.array([2, 0]), s[:2]), lambda x, s: np.array([s[1], x[1], s[0]]), (X, Y)),
    "index_fill": F(lambda x: ops.index_fill(x, 1, np.array([3, 0]), 1.5), lambda x: _at(x, (slice(None), [3, 0]), 1.5), (X,)),
    "at": F(
        lambda x, v: (x.at[1].set(v[:4]), x.at[:, ::2].set(0.5), x.at[np.array([0, 0])].add(1.0), x.at[..., -1].multiply(3.0), x.at[0, 1].divide(2.0)),
        lambda x, v: (_at(x, 1, v[:4]), _at(x, (slice(None), slice(None, None, 2)), 0.5), x + 2.0 * np.eye(3)[0][:, None], x * np.array([1, 1, 1, 3.0]), _at(x, (0, 1), x[0, 1] / 2)),
        (X, V),
    ),
    # products and matrices
    "outer": F(lambda v, x: (ops.outer(v, x[0]), ops.vecdot(x, x[0]), ops.kron(x, x[:2, :2])), lambda v, x: (np.outer(v, x[0]), x @ x[0], np.kron(x, x[:2, :2])), (V, X)),
    "tensordot": F(
        lambda x, y: (ops.tensordot(x, y), ops.tensordot(x, y, axes=([0], [0])), ops.tensordot(x, y, axes=0)),
        lambda x, y: (np.tensordot(x, y), np.tensordot(x, y, axes=([0], [0])), np.tensordot(x, y, axes=0)),
        (X, Y),
    ),
    **{
        f"einsum {e}": F(lambda *a, e=e: ops.einsum(e, *a), lambda *a, e=e: np.einsum(e, *a), arrays)
        for e, arrays in {
            "ij,ij->": (X, Y), "ij,kj->ik": (X, Y), "ij,kj": (X, Y), "ii->i": (X[:, :3],), "ij->ji": (X,), "ij,j->i": (X, X[0]), "i,j->ij": (V, X[0]), "ij,ij->ij": (X, Y),
            "...ij,...kj->...ik": (BATCH, BATCH * BATCH), "bij,bjk,kl->bil": (BATCH, np.swapaxes(BATCH, 1, 2), X[:2, :2]), "iij->j": (np.stack([X[:, :3]] * 3),),
            "bij,ij->b": (BATCH, BATCH[0]), "...i,i": (BATCH, BATCH[0, 0]),
        }.items()
    },
    "diagonal": F(
        lambda x, v: (ops.diagonal(x), ops.diagonal(x, 1), ops.diagonal(x, -1), ops.diag(v, 1), ops.diag(x), ops.diag_embed(x, -1)[0], ops.trace(x)),
        lambda x, v: (np.diagonal(x), np.diagonal(x, 1), np.diagonal(x, -1), np.diag(v, 1), np.diag(x), np.diag(x[0], -1), np.trace(x)),
        (X, V),
    ),
    "cross": F(lambda x, y: ops.cross(x, y, axis=0), lambda x, y: np.cross(x, y, axis=0), (X, Y)),
    "matrix_power": F(
        lambda a: tuple(ops.matrix_power(a, n) for n in (-2, 0, 1, 2, 5)), lambda a: tuple(np.linalg.matrix_power(a, n) for n in (-2, 0, 1, 2, 5)), (SQUARE,)
    ),
    "matrix_norm": F(
        lambda x: tuple(ops.matrix_norm(x, ord=o) for o in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)),
        lambda x: tuple(np.linalg.norm(x, ord=o) for o in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)),
        (X,),
    ),
    "solve": F(
        lambda a, x: (ops.solve(a, x), ops.solve(a, x[:, 0]), ops.inv(a), ops.det(a), ops.solve_triangular(a, x, upper=True)),
        lambda a, x: (np.linalg.solve(a, x), np.linalg.solve(a, x[:, 0]), np.linalg.inv(a), np.linalg.det(a), np.linalg.solve(np.triu(a), x)),
        (SQUARE, X),
    ),
    "masked update": F(
        lambda x: (x.at[x > 0].set(0.5), x.at[x > 0].add(1.0)), lambda x: (np.where(x > 0, 0.5, x), np.where(x > 0, x + 1, x)), (X,)
    ),
    "lstsq": F(lambda x: (ops.lstsq(x, x[:, :1]).solution, ops.matrix_cond(x.mT @ x, 1)), lambda x: (np.eye(x.shape[1])[:, :1], np.linalg.cond(x.T @ x, 1)), ((X + Y).T,)),
    "pinv": F(lambda x: (ops.pinv(x), ops.svdvals(x), ops.matrix_rank(x)), lambda x: (np.linalg.pinv(x), np.linalg.svd(x)[1], np.int64(3)), (X + Y,)),
    "eigvalsh": F(lambda a: ops.eigvalsh(a), lambda a: np.linalg.eigvalsh((a + a.T) / 2), (SQUARE,)),
    **MORE,
}  # fmt: skip  # a table reads better in rows


def _tuple(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def _programs(subject: Subject, dtype: str, names: list[str], body: Callable[[Function, Any], Any], way: str = "auto") -> dict[str, Any]:
    """Every function's results from one program; where that fails, each from its own, with the exception in place of what failed."""
    arrays = [as_dtype(a, dtype) for n in names for a in FUNCTIONS[n].arrays]

    def everything(*tensors: Any) -> Any:
        rest = iter(tensors)
        return tuple(body(FUNCTIONS[n], [next(rest) for _ in FUNCTIONS[n].arrays]) for n in names)

    try:
        return dict(zip(names, subject.compile(everything, arrays, dtype, way)(*arrays), strict=True))
    except Exception as error:
        if len(names) == 1:
            return {names[0]: error}
    return {n: r for name in names for n, r in _programs(subject, dtype, [name], body, way).items()}


def _values(subject: Subject, dtype: str) -> dict[str, Any]:
    key = ("functions", dtype)
    if key not in subject.cache:
        subject.cache[key] = _programs(subject, dtype, list(FUNCTIONS), lambda f, tensors: _tuple(f.call(*tensors)))
    found: dict[str, Any] = subject.cache[key]
    return found


def _answer(found: dict[str, Any], name: str) -> Any:
    if isinstance(found[name], Exception):
        raise found[name]
    return found[name]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(subject: Subject, name: str) -> None:
    """In the most exact dtype and in float32, against NumPy."""
    function = FUNCTIONS[name]
    for dtype in dict.fromkeys((subject.best, "float32")):
        with np.errstate(all="ignore"):
            wanted = _tuple(function.truth(*(as_dtype(as_dtype(a, dtype), "float64") for a in function.arrays)))
        for i, (a, e) in enumerate(zip(_answer(_values(subject, dtype), name), wanted, strict=True)):
            e = np.asarray(e).astype(dtype) if np.asarray(e).dtype.kind == "f" else np.asarray(e)
            assert not (found := difference(a, e, 4 * subject.tolerance(dtype))), f"{name}, result {i}, {dtype}: {found}"


DIFFERENTIABLE = [n for n, f in FUNCTIONS.items() if f.gradient and any(a.dtype.kind == "f" for a in f.arrays)]


def _gradients(function: Function, tensors: list[Any]) -> Any:
    from unimodel import value_and_grad

    wrt = [t for t in tensors if t.spec.is_float]
    loss, grads = value_and_grad(lambda: loss_of(_tuple(function.call(*tensors))), wrt=wrt)
    return (loss, *(0.0 * t if g is None else g for g, t in zip(grads, wrt, strict=True)))


def _slopes(name: str) -> list[float]:
    """The derivatives of the reference's own values along one direction in each float array."""
    function = FUNCTIONS[name]
    found = []

    def loss(arrays: Any) -> float:
        with np.errstate(all="ignore"):
            results = _tuple(function.truth(*arrays))
        return sum(
            float(np.sum(r * np.cos(1.0 + 0.7 * np.arange(np.size(r)) + j).reshape(np.shape(r))))
            for j, r in enumerate(results)
            if np.asarray(r).dtype.kind == "f"
        )

    for place, array in enumerate(function.arrays):
        if array.dtype.kind == "f":
            found.append(float(finite_difference(loss, function.arrays, place, _direction(array))))
    return found


def _direction(array: Array) -> Array:
    return np.asarray(0.3 * np.where(np.arange(array.size) % 3 == 0, -1.0, 1.0).reshape(array.shape))


@pytest.mark.needs(Capability.TRAINING)
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_of_a_function(subject: Subject, name: str) -> None:
    """By every way the backend has, against finite differences of NumPy's values."""
    slopes = _slopes(name)
    tolerance = 1e-7 if subject.best == "float64" else 1e-3
    for way in subject.ways:
        key = ("gradients of functions", way)
        if key not in subject.cache:
            subject.cache[key] = _programs(subject, subject.best, DIFFERENTIABLE, _gradients, way)
        _, *grads = _answer(subject.cache[key], name)
        floats = [a for a in FUNCTIONS[name].arrays if a.dtype.kind == "f"]
        for i, (g, a, slope) in enumerate(zip(grads, floats, slopes, strict=True)):
            given = float(np.sum(g * _direction(a)))
            assert abs(given - slope) <= tolerance * max(1.0, abs(slope)), (
                f"{name} ({way}), array {i}: the gradient along a direction is {given}, finite differences give {slope}"
            )

"""Matrices solved, inverted and factored, batched: a few primitives that every framework has a kernel for, and what follows from them.

A factorization is fixed up to signs only, and kernels differ in them. Here they are part of the definition, so that every backend gives the same factors: the diagonal
of a triangular factor is not negative, and the largest component of each eigenvector or left singular vector is positive. Symmetric arguments are taken
as ``(x + xᵀ) / 2``, so their gradients are symmetric. Where eigenvalues or singular values are equal, the gradient of the vectors does not exist and is infinite or NaN.
Gradient rules: Giles 2008 (triangular systems, Cholesky), Townsend 2016 (singular values), Walter and Lehmann 2012 (QR).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.graph import TensorSpec
from unimodel.op import Application, composite, primitive
from unimodel.ops.rules import EPSILON, broadcast_shapes, need_float, shapes_agree, sizes_agree
from unimodel.ops.samples import Sample, definite, normal, uniform
from unimodel.tracing import Tensor

__all__ = [
    "cholesky",
    "cholesky_factor",
    "det",
    "eigen_symmetric",
    "eigh",
    "eigvalsh",
    "inv",
    "lstsq",
    "matrix_rank",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_square",
    "solve_triangular",
    "svd",
    "svdvals",
    "thin_qr",
    "thin_svd",
    "triangular_solve",
]


def _square(x: TensorSpec) -> TensorSpec:
    need_float(x, "a matrix")
    if x.ndim < 2 or not sizes_agree(x.shape[-1], x.shape[-2]):
        raise ShapeError("the matrix must be square.", expected="(..., n, n)", given=str(x), remedy="um.ops.pinv and um.ops.svd take other matrices")
    return x


def _symmetric(x: Any) -> Tensor:
    x = ops.asarray(x)
    _square(x.spec)
    return ops.multiply(0.5, x + x.mT)


def _half_below(x: Any) -> Any:
    """The lower triangle with half its diagonal."""
    return 0.5 * (ops.tril(x) + ops.tril(x, -1))


# ------------------------------------------------------------------------------------------------------------------- systems


@primitive(samples=[Sample(definite(2, 3, 3), normal(2, 3, 2)), Sample(definite(3, 3), normal(3, 1), upper=True)])
def triangular_solve(a: TensorSpec, b: TensorSpec, upper: bool = False) -> TensorSpec:
    """x with ``a @ x = b``, reading one triangle of ``a`` (..., n, n) only; ``b`` is (..., n, k) with the same leading dimensions."""
    return _system(a, b)


def _system(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    _square(a)
    if b.ndim != a.ndim or not shapes_agree(a.shape[:-1], b.shape[:-1]):
        raise ShapeError("the right side must have the matrix's rows.", expected=f"(..., {a.shape[-1]}, k)", given=f"{a} and {b}")
    return b


@triangular_solve.vjp
def _(node: Application, g: Tensor) -> Any:
    upper = node.attrs["upper"]
    gb = triangular_solve(ops.matrix_transpose(node.inputs[0]), g, upper=not upper)
    ga = -ops.matmul(gb, ops.matrix_transpose(node.outputs[0]))
    return ops.triu(ga) if upper else ops.tril(ga), gb


@primitive(samples=[Sample(definite(2, 3, 3), normal(2, 3, 2))])
def solve_square(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    """x with ``a @ x = b``: ``a`` (..., n, n), ``b`` (..., n, k) with the same leading dimensions; the backend's side of ``solve``."""
    return _system(a, b)


@solve_square.vjp
def _(node: Application, g: Tensor) -> Any:
    gb = solve_square(ops.matrix_transpose(node.inputs[0]), g)
    return -ops.matmul(gb, ops.matrix_transpose(node.outputs[0])), gb


def _broadcast(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    lead = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return ops.broadcast_to(a, (*lead, *a.shape[-2:])), ops.broadcast_to(b, (*lead, *b.shape[-2:]))


def solve(x1: Any, x2: Any) -> Tensor:
    """x with ``x1 @ x = x2``: ``x1`` (..., n, n); ``x2`` a vector (n,) or matrices (..., n, k); leading dimensions broadcast."""
    a, b = ops.asarray(x1), ops.asarray(x2)
    if b.ndim == 1:
        return ops.squeeze(solve(a, ops.expand_dims(b, 1)), -1)
    return solve_square(*_broadcast(a, b))


def solve_triangular(input: Any, B: Any, *, upper: bool) -> Tensor:
    """x with ``input @ x = B``, of which only one triangle of ``input`` is read; leading dimensions broadcast."""
    return triangular_solve(*_broadcast(ops.asarray(input), ops.asarray(B)), upper=upper)


def inv(x: Any) -> Tensor:
    """The inverse of square matrices (..., n, n). To solve a system, ``solve`` is more exact."""
    x = ops.asarray(x)
    _square(x.spec)
    return solve_square(x, ops.broadcast_to(ops.eye(x.shape[-1], dtype=x.dtype), x.shape))


@primitive(samples=[Sample(definite(2, 3, 3)), Sample(normal(4, 4))])
def slogdet(x: TensorSpec) -> Any:
    """The determinant of square matrices as its sign (-1, 0 or 1) and the logarithm of its magnitude."""
    _square(x)
    return x.with_shape(*x.shape[:-2]), x.with_shape(*x.shape[:-2])


@slogdet.vjp
def _(node: Application, g_sign: Any, g: Any) -> Any:
    if g is None:
        return None
    return ops.expand_dims(ops.expand_dims(g, -1), -1) * ops.matrix_transpose(inv(node.inputs[0]))


def det(x: Any) -> Tensor:
    """The determinant of square matrices. Its gradient exists here where it is not 0."""
    sign, log_size = slogdet(x)
    return ops.multiply(sign, ops.exp(log_size))


# ------------------------------------------------------------------------------------------------------------------- factors


@primitive(samples=[])
def cholesky_factor(x: TensorSpec) -> TensorSpec:
    """The lower triangular factor of symmetric, positive definite matrices; the backend's side of ``cholesky``."""
    return _square(x)


@cholesky_factor.vjp
def _(node: Application, g: Tensor) -> Any:
    factor = node.outputs[0]
    flipped = ops.matrix_transpose(factor)
    inner = _half_below(ops.matmul(flipped, ops.tril(g)))
    left = triangular_solve(flipped, inner, upper=True)
    full = ops.matrix_transpose(triangular_solve(flipped, ops.matrix_transpose(left), upper=True))
    return 0.5 * (full + ops.matrix_transpose(full))


@composite(samples=[Sample(definite(2, 3, 3)), Sample(definite(3, 3), upper=True)])
def cholesky(x: Tensor, upper: bool = False) -> Tensor:
    """L with ``L @ L.mT = x``, lower triangular with a positive diagonal, of symmetric, positive definite matrices (..., n, n); or its transpose."""
    factor = cholesky_factor(_symmetric(x))
    return ops.matrix_transpose(factor) if upper else factor


@primitive(samples=[])
def eigen_symmetric(x: TensorSpec) -> Any:
    """Eigenvalues in ascending order and eigenvectors, of any sign, of symmetric matrices; the backend's side of ``eigh``."""
    _square(x)
    return x.with_shape(*x.shape[:-1]), x


@eigen_symmetric.vjp
def _(node: Application, g_values: Any, g_vectors: Any) -> Any:
    values, vectors = node.outputs
    flipped = ops.matrix_transpose(vectors)
    inner: Any = 0.0
    if g_values is not None:
        inner = ops.diag_embed(g_values)
    if g_vectors is not None:
        inner = inner + _apart(values) * ops.matmul(flipped, g_vectors)
    return ops.matmul(ops.matmul(vectors, inner), flipped)


def _apart(values: Any) -> Any:
    """1 / (v_j - v_i), and 0 on the diagonal."""
    difference = ops.expand_dims(values, -2) - ops.expand_dims(values, -1)
    same = ops.astype(ops.eye(values.shape[-1]), "bool")
    return ops.where(same, 0.0, 1.0 / ops.where(same, 1.0, difference))


def _signs(vectors: Any) -> Any:
    """The sign of the largest component of each column, (..., 1, n)."""
    largest = ops.argmax(ops.abs(vectors), axis=-2, keepdims=True)
    return ops.stop_gradient(ops.sign(ops.take_along_axis(vectors, largest, axis=-2)))


@composite(samples=[Sample(normal(2, 3, 3))])
def eigh(x: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending (..., n), and eigenvectors as columns (..., n, n) of symmetric matrices."""
    values, vectors = eigen_symmetric(_symmetric(x))
    return values, vectors * _signs(vectors)


def eigvalsh(x: Any) -> Tensor:
    """The eigenvalues of symmetric matrices in ascending order."""
    return eigh(x)[0]


@primitive(samples=[])
def thin_qr(x: TensorSpec) -> Any:
    """Orthonormal columns and an upper triangle, of any signs, of matrices (..., m, n) with m >= n; the backend's side of ``qr``."""
    n = x.shape[-1]
    return x, x.with_shape(*x.shape[:-2], n, n)


@thin_qr.vjp
def _(node: Application, gq: Any, gr: Any) -> Any:
    q, r = node.outputs
    gq, gr = ops.zeros_like(q) if gq is None else gq, ops.zeros_like(r) if gr is None else gr
    m = ops.matmul(r, ops.matrix_transpose(ops.triu(gr))) - ops.matmul(ops.matrix_transpose(gq), q)
    symmetric = ops.tril(m) + ops.matrix_transpose(ops.tril(m, -1))
    inner = gq + ops.matmul(q, symmetric)
    return ops.matrix_transpose(triangular_solve(r, ops.matrix_transpose(inner), upper=True))


@composite(samples=[Sample(normal(2, 4, 3)), Sample(normal(2, 4))])
def qr(x: Tensor) -> tuple[Tensor, Tensor]:
    """Q (..., m, k) with orthonormal columns and R (..., k, n), upper triangular, whose product is ``x``; k is the smaller of m and n ("reduced")."""
    m, n = x.shape[-2:]
    wide = m < n
    q, r = thin_qr(x[..., :m] if wide else x)
    diagonal = ops.diagonal(r)
    signs = ops.stop_gradient(ops.where(ops.less(diagonal, 0.0), -ops.ones_like(diagonal), 1.0))
    q, r = q * ops.expand_dims(signs, -2), r * ops.expand_dims(signs, -1)
    return q, ops.concat([r, ops.matmul(ops.matrix_transpose(q), x[..., m:])], axis=-1) if wide else r


@primitive(samples=[])
def thin_svd(x: TensorSpec) -> Any:
    """U, the singular values and Vᵀ, of any signs, of matrices (..., m, n) with m <= n; the backend's side of ``svd``."""
    m = x.shape[-2]
    return x.with_shape(*x.shape[:-1], m), x.with_shape(*x.shape[:-1]), x


@thin_svd.vjp
def _(node: Application, gu: Any, gs: Any, gv: Any) -> Any:
    u, s, vh = node.outputs
    ut, v = ops.matrix_transpose(u), ops.matrix_transpose(vh)
    row, column = ops.expand_dims(s, -2), ops.expand_dims(s, -1)
    inner: Any = 0.0 if gs is None else ops.diag_embed(gs)
    apart = _apart(s * s)
    if gu is not None:
        part = ops.matmul(ut, gu)
        inner = inner + apart * (part - ops.matrix_transpose(part)) * row
    if gv is not None:
        part = ops.matmul(gv, v)  # (Vᵀ of the gradient of V), transposed
        inner = inner + column * (apart * (ops.matrix_transpose(part) - part))
    result = ops.matmul(ops.matmul(u, inner), vh)
    if gv is not None:
        outside = gv - ops.matmul(ops.matmul(gv, v), vh)
        result = result + ops.matmul(u, outside / column)
    return result


@composite(samples=[Sample(normal(2, 2, 3)), Sample(uniform(0.2, 2.0, 4, 2))])
def svd(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U (..., m, k), the singular values, descending (..., k), and Vᵀ (..., k, n), whose product is ``x``; k is the smaller of m and n (not "full")."""
    tall = x.shape[-2] > x.shape[-1]
    u, s, vh = thin_svd(ops.matrix_transpose(x) if tall else x)
    if tall:
        u, vh = ops.matrix_transpose(vh), ops.matrix_transpose(u)
    signs = _signs(u)
    return u * signs, s, vh * ops.matrix_transpose(signs)


def svdvals(x: Any) -> Tensor:
    """The singular values in descending order."""
    return svd(x)[1]


def matrix_rank(x: Any, rtol: float | None = None) -> Tensor:
    """How many singular values are above ``rtol`` times the largest; int64."""
    x = ops.asarray(x)
    values = svdvals(x)
    return ops.count_nonzero(ops.greater(values, _least(x, rtol) * ops.max(values, axis=-1, keepdims=True)), axis=-1)


def _least(x: Tensor, rtol: float | None) -> float:
    """The share of the largest singular value up to which one counts as 0."""
    return max(int(x.shape[-1]), int(x.shape[-2])) * EPSILON[x.dtype] if rtol is None else rtol


def pinv(x: Any, rtol: float | None = None) -> Tensor:
    """The pseudo-inverse (Moore and Penrose) of matrices (..., m, n); singular values below ``rtol`` times the largest count as 0."""
    x = ops.asarray(x)
    u, s, vh = svd(x)
    none = ops.less_equal(s, _least(x, rtol) * ops.max(s, axis=-1, keepdims=True))
    inverse = ops.where(none, 0.0, 1.0 / ops.where(none, 1.0, s))
    return ops.matmul(ops.matrix_transpose(vh), ops.expand_dims(inverse, -1) * ops.matrix_transpose(u))


class LeastSquares(NamedTuple):
    """What ``lstsq`` finds: the solution, and the squared lengths of what it leaves over."""

    solution: Any
    residuals: Any


def lstsq(A: Any, B: Any) -> LeastSquares:
    """The X for which ``A @ X`` is nearest to ``B``; of several the shortest. A (..., m, n) has full rank, B is (..., m, k) or, without batch, (m,).

    ``residuals`` (..., k) are the columns' squared lengths of ``B - A @ X``. By QR, as PyTorch's driver "gels"; where A may lack rank, ``pinv(A) @ B`` is the shortest X.
    """
    a, b = ops.asarray(A), ops.asarray(B)
    need_float(a.spec, "a matrix")
    column = b.ndim == 1
    b = ops.expand_dims(b, 1) if column else b
    if a.ndim < 2 or b.ndim < 2 or not sizes_agree(a.shape[-2], b.shape[-2]):
        raise ShapeError("B has another number of rows than A.", expected="A (..., m, n), B (..., m, k) or (m,)", given=f"{a.spec} and {b.spec}")
    if a.shape[-2] >= a.shape[-1]:
        q, r = qr(a)
        x = solve_triangular(r, ops.matmul(q.mT, b), upper=True)
    else:
        q, r = qr(a.mT)
        x = ops.matmul(q, solve_triangular(r.mT, b, upper=False))
    left = ops.sum(ops.square(b - ops.matmul(a, x)), axis=-2)
    return LeastSquares(ops.squeeze(x, -1), ops.squeeze(left, -1)) if column else LeastSquares(x, left)

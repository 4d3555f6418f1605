"""Products of tensors beyond the matrix product, and the diagonals of matrices: all of them ``matmul``, sums and places."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import unimodel.ops as ops
from unimodel.dim import Size, product
from unimodel.errors import ShapeError
from unimodel.ops.rules import axis_index, known, shapes_agree
from unimodel.tracing import Tensor

__all__ = [
    "cross",
    "diag",
    "diag_embed",
    "diagonal",
    "einsum",
    "kron",
    "matrix_cond",
    "matrix_norm",
    "matrix_power",
    "outer",
    "tensordot",
    "trace",
    "vecdot",
]


def outer(x1: Any, x2: Any) -> Tensor:
    """Each element of the vector ``x1`` times each of ``x2``: (n,) and (m,) give (n, m)."""
    x1, x2 = ops.asarray(x1), ops.asarray(x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ShapeError("outer takes vectors.", expected="(n,) and (m,)", given=f"{x1.spec} and {x2.spec}", remedy="flatten them with um.ops.ravel")
    return ops.multiply(ops.expand_dims(x1, 1), x2)


def vecdot(x1: Any, x2: Any, axis: int = -1) -> Tensor:
    """The sum of products along one axis, the other dimensions broadcast."""
    return ops.sum(ops.asarray(x1) * x2, axis=axis)


def tensordot(x1: Any, x2: Any, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> Tensor:
    """The sum of products over several axes: the last ``axes`` of ``x1`` with the first of ``x2``, or the pairs named."""
    x1, x2 = ops.asarray(x1), ops.asarray(x2)
    if isinstance(axes, int):
        left, right = list(range(x1.ndim - axes, x1.ndim)), list(range(axes))
    else:
        left, right = ([axis_index(a, x.ndim) for a in each] for x, each in zip((x1, x2), axes, strict=True))
    if not shapes_agree(tuple(x1.shape[a] for a in left), tuple(x2.shape[a] for a in right)):
        raise ShapeError("the axes that are summed over must have equal sizes.", given=f"{x1.spec} along {left}, {x2.spec} along {right}")
    kept = [i for i in range(x1.ndim) if i not in left], [i for i in range(x2.ndim) if i not in right]
    count = product(tuple(x1.shape[a] for a in left))
    shapes = [tuple(x.shape[i] for i in k) for x, k in zip((x1, x2), kept, strict=True)]
    a = ops.reshape(ops.permute_dims(x1, (*kept[0], *left)), (product(shapes[0]), count))
    b = ops.reshape(ops.permute_dims(x2, (*right, *kept[1])), (count, product(shapes[1])))
    return ops.reshape(ops.matmul(a, b), (*shapes[0], *shapes[1]))


def einsum(equation: str, *operands: Any) -> Tensor:
    """Einstein's summation, as NumPy and PyTorch write it: ``einsum("bij,bjk->bik", x, y)``, with ``...`` for dimensions that broadcast.

    Operands are contracted two at a time from the left, each pair as one batched matrix product; an index repeated in an operand takes its diagonal. Without ``->``
    the result has the indices that occur once, in alphabetic order.
    """
    tensors = [ops.asarray(o) for o in operands]
    terms, result = _terms(equation, tensors)
    pairs = [_diagonals(list(t), x) for t, x in zip(terms, tensors, strict=True)]
    labels, x = pairs[0]
    for i, (more, y) in enumerate(pairs[1:], 1):
        wanted = {*result, *(label for rest, _ in pairs[i + 1 :] for label in rest)}
        labels, x = _contracted(labels, x, more, y, wanted)
    labels, x = _summed(labels, x, set(result))
    return ops.permute_dims(x, tuple(labels.index(label) for label in result)) if labels != result else x


def _terms(equation: str, tensors: Sequence[Tensor]) -> tuple[list[list[str]], list[str]]:
    """The indices of each operand and of the result; those of an ellipsis are numbers, counted from its end."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    inputs = left.split(",")
    if len(inputs) != len(tensors):
        raise ShapeError("each operand needs its indices.", expected=f"{len(tensors)} terms", given=equation)
    widest, terms = 0, []
    for term, x in zip(inputs, tensors, strict=True):
        named = term.replace("...", "")
        free = x.ndim - len(named)
        if not (named.isalpha() or not named) or free < 0 or (free and "..." not in term):
            raise ShapeError("the indices are not those of the operand.", expected=f"{x.ndim} letters, or ... among them", given=f"{term!r} for {x.spec}")
        widest = builtins.max(widest, free)
        before, _, after = term.partition("...") if "..." in term else (term, "", "")
        terms.append([*before, *(str(i) for i in range(free, 0, -1)), *after])
    dots = [str(i) for i in range(widest, 0, -1)]
    if arrow:
        before, ellipsis, after = right.partition("...")
        result = [*before, *(dots if ellipsis else []), *after]
    else:
        every = [label for t in terms for label in t]
        result = dots + sorted(label for label in dict.fromkeys(every) if label.isalpha() and every.count(label) == 1)
    unknown = [label for label in result if label not in {i for t in terms for i in t}]
    if unknown or len(set(result)) != len(result):
        raise ShapeError("an index of the result must be one of an operand, once.", given=equation)
    return terms, result


def _diagonals(labels: list[str], x: Tensor) -> tuple[list[str], Tensor]:
    """Indices that an operand repeats are made one."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            rest = [i for i in range(len(labels)) if i not in (first, second)]
            x = diagonal(ops.permute_dims(x, (*rest, first, second)))
            labels = [*(labels[i] for i in rest), label]
    return labels, x


def _summed(labels: list[str], x: Tensor, wanted: set[str]) -> tuple[list[str], Tensor]:
    """Indices that nobody asks for again are summed over."""
    gone = tuple(i for i, label in enumerate(labels) if label not in wanted)
    return [label for label in labels if label in wanted], ops.sum(x, axis=gone) if gone else x


def _contracted(left: list[str], x: Tensor, right: list[str], y: Tensor, wanted: set[str]) -> tuple[list[str], Tensor]:
    """Two operands as one batched matrix product: shared and kept indices are the batch, shared and dropped ones are summed over."""
    left, x = _summed(left, x, wanted | set(right))
    right, y = _summed(right, y, wanted | set(left))
    shared = [label for label in left if label in right]
    batch, over = ([label for label in shared if (label in wanted) is kept] for kept in (True, False))
    rows, columns = ([label for label in labels if label not in shared] for labels in (left, right))
    sizes: dict[str, Size] = {}
    for label in [*left, *right]:
        each = [t.shape[labels.index(label)] for labels, t in ((left, x), (right, y)) if label in labels]
        wide = [s for s in each if s != 1] or [1]
        if not shapes_agree(tuple(wide[:1]), tuple(wide[-1:])):
            raise ShapeError(f"the index {label!r} has two sizes.", given=f"{each[0]} and {each[1]}", remedy="check the order of the operands' indices")
        sizes[label] = wide[0]
    x, y = (_arranged(t, labels, order, sizes) for t, labels, order in ((x, left, [*batch, *rows, *over]), (y, right, [*batch, *over, *columns])))
    lead = tuple(sizes[label] for label in batch)
    n, k, m = (product(tuple(sizes[label] for label in part)) for part in (rows, over, columns))
    if x.dtype != y.dtype:
        x, y = x + ops.zeros((), dtype=y.dtype), y + ops.zeros((), dtype=x.dtype)
    if not over:  # an outer product needs no sum
        z = ops.reshape(x, (*lead, n, 1)) * ops.reshape(y, (*lead, 1, m))
    else:
        z = ops.matmul(ops.reshape(x, (*lead, n, k)), ops.reshape(y, (*lead, k, m)))
    labels = [*batch, *rows, *columns]
    return labels, ops.reshape(z, tuple(sizes[label] for label in labels))


def _arranged(x: Tensor, labels: list[str], order: list[str], sizes: dict[str, Size]) -> Tensor:
    axes = tuple(labels.index(label) for label in order)
    x = ops.permute_dims(x, axes) if axes != tuple(range(len(axes))) else x
    shape = tuple(sizes[label] for label in order)
    return x if x.shape == shape else ops.broadcast_to(x, shape)


# ------------------------------------------------------------------------------------------------------------------ matrices


def diagonal(x: Any, offset: int = 0) -> Tensor:
    """The diagonal of the last two dimensions, ``offset`` places above the main one: (..., n, m) gives (..., d)."""
    x = ops.asarray(x)
    if x.ndim < 2:
        raise ShapeError("a diagonal needs a matrix.", expected="at least 2 dimensions", given=str(x.spec), remedy="um.ops.diag makes a matrix of a vector")
    n, m = known(x.shape[-2]), known(x.shape[-1])
    first = (builtins.max(-offset, 0), builtins.max(offset, 0))
    count = builtins.max(0, builtins.min(n - first[0], m - first[1]))
    places = (first[0] * m + first[1]) + np.arange(count) * (m + 1)
    return ops.take(ops.reshape(x, (*x.shape[:-2], n * m)), places, axis=x.ndim - 2)


def diag_embed(input: Any, offset: int = 0) -> Tensor:
    """Matrices with the last dimension on their diagonal and zeros elsewhere: (..., n) gives (..., n + |offset|, n + |offset|)."""
    x = ops.asarray(input)
    n = known(x.shape[-1]) + builtins.abs(offset)
    before = (builtins.max(offset, 0), builtins.max(-offset, 0))
    wide = ops.pad_constant(x, (*((0, 0),) * (x.ndim - 1), before))
    return ops.where(ops.astype(ops.eye(n, k=offset), "bool"), ops.expand_dims(wide, x.ndim - 1), 0)


def diag(input: Any, diagonal: int = 0) -> Tensor:
    """A vector as the diagonal of a matrix, or a matrix's diagonal as a vector."""
    x = ops.asarray(input)
    return diag_embed(x, diagonal) if x.ndim == 1 else _diagonal(x, diagonal)


_diagonal = diagonal


def trace(x: Any, offset: int = 0) -> Tensor:
    """The sum of the diagonal of the last two dimensions."""
    return ops.sum(diagonal(x, offset), axis=-1)


def cross(x1: Any, x2: Any, axis: int = -1) -> Tensor:
    """The vector product in three dimensions along one axis."""
    x1, x2 = ops.asarray(x1), ops.asarray(x2)
    for x in (x1, x2):
        if known(x.shape[axis]) != 3:
            raise ShapeError("the cross product is one of vectors of three numbers.", expected=f"size 3 along axis {axis}", given=str(x.spec))
    return ops.roll(x1, -1, axis) * ops.roll(x2, -2, axis) - ops.roll(x1, -2, axis) * ops.roll(x2, -1, axis)


def kron(x1: Any, x2: Any) -> Tensor:
    """The Kronecker product of two tensors of as many dimensions: each element of ``x1`` times all of ``x2``, in place."""
    x1, x2 = ops.asarray(x1), ops.asarray(x2)
    if x1.ndim != x2.ndim:
        raise ShapeError("both need as many dimensions.", given=f"{x1.spec} and {x2.spec}", remedy="add leading ones with um.ops.expand_dims")
    a = ops.reshape(x1, tuple(n for s in x1.shape for n in (s, 1)))
    b = ops.reshape(x2, tuple(n for s in x2.shape for n in (1, s)))
    return ops.reshape(a * b, tuple(s * t for s, t in zip(x1.shape, x2.shape, strict=True)))


def matrix_power(x: Any, n: int) -> Tensor:
    """A square matrix times itself, ``n`` factors in all, by repeated squaring; the inverse's power for negative ``n``."""
    x = ops.asarray(x)
    if n < 0:
        return matrix_power(ops.inv(x), -n)
    if n == 0:
        return ops.broadcast_to(ops.eye(x.shape[-1], dtype=x.dtype), x.shape)
    half = x if n == 1 else matrix_power(x, n // 2)
    square = x if n == 1 else ops.matmul(half, half)
    return ops.matmul(square, x) if n > 1 and n % 2 else square


def matrix_norm(x: Any, keepdims: bool = False, ord: float | str = "fro") -> Tensor:
    """The norm of the matrices in the last two dimensions: "fro" (of all elements), "nuc" (the sum of singular values), 1 and inf (of columns' and rows' sums of
    magnitudes, the largest; -1 and -inf the smallest), 2 and -2 (the largest and smallest singular value)."""
    x = ops.asarray(x)
    rows, columns = x.ndim - 2, x.ndim - 1
    if ord == "fro":
        return ops.vector_norm(x, axis=(rows, columns), keepdims=keepdims)
    if ord in ("nuc", 2, -2):
        values = ops.svdvals(x)
        found = ops.sum(values, axis=-1) if ord == "nuc" else (ops.max if ord == 2 else ops.min)(values, axis=-1)
    elif ord in (1, -1, math.inf, -math.inf):
        first, second = (rows, columns - 1) if ord in (1, -1) else (columns, rows)
        sums = ops.sum(ops.abs(x), axis=first)
        found = (ops.max if float(ord) > 0 else ops.min)(sums, axis=second)
    else:
        raise ShapeError("this norm is not known.", expected="'fro', 'nuc', 1, -1, 2, -2, inf or -inf", given=repr(ord))
    return ops.reshape(found, (*x.shape[:-2], 1, 1)) if keepdims else found


def matrix_cond(x: Any, p: float | str | None = None) -> Tensor:
    """How far errors grow when a system with these matrices is solved: by default the largest singular value over the smallest, else ``norm(x) * norm(inv(x))`` for a
    norm that ``matrix_norm`` knows. PyTorch's ``linalg.cond``; infinite for a singular matrix with p=None, where the others refuse or overflow as the backend does."""
    x = ops.asarray(x)
    if p is None or p in (2, -2):
        values = ops.svdvals(x)
        largest, smallest = ops.max(values, axis=-1), ops.min(values, axis=-1)
        return smallest / largest if p == -2 else largest / smallest
    return matrix_norm(x, ord=p) * matrix_norm(ops.inv(x), ord=p)

"""Elements read and written at indices, PyTorch's and JAX's ways, and what no traced program can do: results whose shape depends on values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import unimodel.ops as ops
from unimodel.dim import Size, product
from unimodel.errors import ShapeError, UnsupportedError
from unimodel.ops.indexing import cut, getitem
from unimodel.ops.rules import axis_index, known, shapes_agree
from unimodel.tracing import Tensor

__all__ = [
    "argwhere",
    "gather",
    "index_add",
    "index_copy",
    "index_fill",
    "index_select",
    "index_update",
    "masked_fill",
    "masked_select",
    "nonzero",
    "scatter",
    "scatter_add",
    "take_along_dim",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]


def gather(input: Any, dim: int, index: Any) -> Tensor:
    """For each place of ``index``, the element of ``input`` at that index along ``dim`` and the same place otherwise.

    ``index`` may be smaller than ``input`` in the other dimensions. Indices are in [0, size).
    """
    x, index = ops.asarray(input), ops.asarray(index)
    return ops.take_along_axis(_corner(x, index, dim), index, axis=dim)


def _corner(x: Tensor, index: Tensor, dim: int) -> Tensor:
    """The part of ``x`` that an index of this shape reaches."""
    axis = axis_index(dim, x.ndim)
    if index.ndim != x.ndim:
        raise ShapeError("the index needs as many dimensions as the input.", expected=f"{x.ndim} dimensions", given=f"{x.spec} and {index.spec}")
    return cut(x, [0] * x.ndim, [s if i == axis else index.shape[i] for i, s in enumerate(x.shape)])


def take_along_dim(input: Any, indices: Any, dim: int | None = None) -> Tensor:
    """PyTorch's ``take_along_axis``; without ``dim`` of the flattened tensor."""
    x, indices = ops.asarray(input), ops.asarray(indices)
    return ops.take_along_axis(x, indices, axis=dim) if dim is not None else ops.take(ops.ravel(x), ops.ravel(indices))


def index_select(input: Any, dim: int, index: Any) -> Tensor:
    """PyTorch's ``take`` of a vector of indices along one dimension."""
    return ops.take(input, index, axis=dim)


def masked_fill(input: Any, mask: Any, value: Any) -> Tensor:
    """``value`` where the mask holds, ``input`` elsewhere."""
    return ops.where(mask, value, input)


def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Tensor:
    """``input`` with each element of ``src`` added at its index along ``dim`` and the same place otherwise; equal indices add up."""
    x, index = ops.asarray(input), ops.asarray(index)
    axis = axis_index(dim, x.ndim)
    _corner(x, index, dim)
    src = _like_index(src, index, x.dtype)
    total = ops.take_along_axis_gradient(src, index, axis=axis, size=x.shape[axis])
    return x + _grown(total, x.shape)


def _like_index(src: Any, index: Tensor, dtype: str) -> Tensor:
    """The numbers to write: a number for all, or the part of a tensor that the index reaches."""
    src = ops.astype(ops.asarray(src), dtype)
    return ops.broadcast_to(src, index.shape) if src.ndim == 0 else cut(src, [0] * src.ndim, list(index.shape))


def _grown(x: Tensor, shape: tuple[Size, ...]) -> Tensor:
    if x.shape == shape:
        return x
    return ops.pad_constant(x, tuple((0, n - m) for n, m in zip(shape, x.shape, strict=True)))


def scatter(input: Any, dim: int, index: Any, src: Any) -> Tensor:
    """``input`` with the elements of ``src`` (a number, or a tensor) written at their indices along ``dim`` and the same place otherwise.

    Of equal indices the last counts, on every backend; PyTorch leaves open which does.
    """
    x, index = ops.asarray(input), ops.asarray(index)
    axis = axis_index(dim, x.ndim)
    _corner(x, index, dim)
    src = _like_index(src, index, x.dtype)
    order = ops.arg_sort(index, axis)  # equal indices side by side, the last one last
    index, src = ops.take_along_axis(index, order, axis=axis), ops.take_along_axis(src, order, axis=axis)
    counts = _last_of_equals(index, axis)

    def placed(values: Tensor) -> Tensor:
        return _grown(ops.take_along_axis_gradient(values, index, axis=axis, size=x.shape[axis]), x.shape)

    written = ops.greater(placed(ops.astype(counts, "int64" if x.dtype == "bool" else x.dtype)), 0)
    return ops.where(written, placed(ops.where(counts, src, 0)), x)


def _last_of_equals(ordered: Tensor, axis: int) -> Tensor:
    size = known(ordered.shape[axis])
    here, there = ([slice(None)] * ordered.ndim for _ in range(2))
    here[axis], there[axis] = slice(0, size - 1), slice(1, size)
    last = [1 if i == axis else s for i, s in enumerate(ordered.shape)]
    return ops.concat([ops.not_equal(ordered[tuple(here)], ordered[tuple(there)]), ops.full(tuple(last), True)], axis=axis)


def _flat(input: Any, dim: int, index: Any) -> tuple[Tensor, int, Tensor]:
    """A vector of indices along one dimension as the index of a scatter."""
    x, index = ops.asarray(input), ops.asarray(index)
    axis = axis_index(dim, x.ndim)
    shape = tuple(index.shape[0] if i == axis else s for i, s in enumerate(x.shape))
    return x, axis, ops.broadcast_to(ops.reshape(index, tuple(-1 if i == axis else 1 for i in range(x.ndim))), shape)


def index_add(input: Any, dim: int, index: Any, source: Any, alpha: float = 1.0) -> Tensor:
    """``input`` with the slices of ``source`` added at the indices along ``dim``, a vector; equal indices add up."""
    x, index = ops.asarray(input), ops.asarray(index)
    axis = axis_index(dim, x.ndim)
    total = ops.take_gradient(ops.astype(ops.asarray(source), x.dtype), index, axis=axis, size=x.shape[axis])
    return x + (total if alpha == 1 else alpha * total)


def index_copy(input: Any, dim: int, index: Any, source: Any) -> Tensor:
    """``input`` with the slices of ``source`` written at the indices along ``dim``, a vector; of equal indices the last counts."""
    x, axis, places = _flat(input, dim, index)
    return scatter(x, axis, places, source)


def index_fill(input: Any, dim: int, index: Any, value: Any) -> Tensor:
    """``input`` with one number written at the indices along ``dim``, a vector."""
    x, axis, places = _flat(input, dim, index)
    return scatter(x, axis, places, value)


def index_update(x: Any, key: Any, value: Any, mode: str = "set") -> Tensor:
    """``x`` with ``x[key]`` replaced by ``value``, which broadcasts to it: what ``x[key] = value`` would do, as a new tensor (``x.at[key].set(value)``).

    ``mode``: "set" (of equal indices the last counts), or "add" (they add up), "multiply" and "divide" (of equal indices the last counts).
    ``key`` is whatever indexing takes, or a boolean mask of x's first dimensions; then ``value`` broadcasts to x itself, of which the mask chooses.
    """
    x = ops.asarray(x)
    if mode not in ("set", "add", "multiply", "divide"):
        raise ShapeError("this update is not known.", expected="'set', 'add', 'multiply' or 'divide'", given=repr(mode))
    if str(getattr(key, "dtype", "")) == "bool":
        return _masked_update(x, ops.asarray(key), ops.astype(ops.asarray(value), x.dtype), mode)
    count = product(x.shape)
    places = getitem(ops.reshape(ops.arange(count), x.shape), key)
    value = ops.broadcast_to(ops.astype(ops.asarray(value), x.dtype), places.shape)
    if mode in ("multiply", "divide"):
        value = x[key] * value if mode == "multiply" else x[key] / value
    flat, where, value = ops.ravel(x), ops.ravel(places), ops.ravel(value)
    changed = scatter_add(flat, 0, where, value) if mode == "add" else scatter(flat, 0, where, value)
    return ops.reshape(changed, x.shape)


def _masked_update(x: Tensor, mask: Tensor, value: Tensor, mode: str) -> Tensor:
    if mask.ndim > x.ndim or not shapes_agree(mask.shape, x.shape[: mask.ndim]) or not mask.ndim > 0 or value.ndim > x.ndim:
        raise ShapeError(
            "a mask has the shape of what it chooses from, and the value broadcasts to it.",
            expected=f"a mask of the first dimensions of {x.shape}, a value that broadcasts to {x.shape}",
            given=f"mask {mask.shape}, value {value.shape}",
            remedy="how many elements a mask chooses is not known while tracing: give a value for each place, chosen or not",
        )
    value = ops.broadcast_to(value, x.shape)
    new = value if mode == "set" else x + value if mode == "add" else x * value if mode == "multiply" else x / value
    return ops.where(ops.reshape(mask, (*mask.shape, *[1] * (x.ndim - mask.ndim))), new, x)


# ------------------------------------------------------------------------------------- shapes that would depend on the values


def _refused(name: str, remedy: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise UnsupportedError(
            f"{name} has a result whose shape depends on the values, which a program that is traced once cannot have.",
            expected="an op whose result's shape follows from its inputs' shapes",
            given=f"um.ops.{name}",
            remedy=remedy,
        )

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"Refused: the result's shape would depend on the values. Instead: {remedy}."
    return refuse


_MASK = "keep every element and choose with um.ops.where(mask, x, other), or weigh by the mask: um.ops.sum(x * mask) / um.ops.sum(mask)"
_HOST = "find them on the host while preparing the data (np.unique), or count with um.ops.sum(um.ops.one_hot(x, classes), axis=0)"
nonzero = _refused("nonzero", f"{_MASK}; the first k places are um.ops.topk(um.ops.astype(mask, 'int32'), k)")
argwhere = _refused("argwhere", f"{_MASK}; the first k places are um.ops.topk(um.ops.astype(mask, 'int32'), k)")
masked_select = _refused("masked_select", _MASK)
unique = _refused("unique", _HOST)
unique_all = _refused("unique_all", _HOST)
unique_counts = _refused("unique_counts", _HOST)
unique_inverse = _refused("unique_inverse", _HOST)
unique_values = _refused("unique_values", _HOST)

"""What makes tensors out of nothing: constants, ranges, filled shapes."""

from __future__ import annotations

import builtins
from math import e, inf, nan, pi
from typing import Any

import unimodel.ops as ops
from unimodel.dim import Dim, Size
from unimodel.errors import TraceError
from unimodel.graph import ArrayLiteral, TensorSpec
from unimodel.op import primitive
from unimodel.ops.samples import Sample
from unimodel.tensor_operators import TensorLike
from unimodel.tracing import Tensor, current_trace

__all__ = [
    "arange",
    "asarray",
    "constant",
    "e",
    "extent",
    "eye",
    "full",
    "full_like",
    "inf",
    "iota",
    "nan",
    "newaxis",
    "ones",
    "ones_like",
    "pi",
    "zeros",
    "zeros_like",
]

newaxis = None
"""A new dimension of size 1, in an index; the constants e, inf, nan and pi are the standard's too."""


@primitive(samples=[Sample(value=2.5, dtype="float32", gradient=False), Sample(value=3, dtype="int64", gradient=False)])
def constant(*, value: Any, dtype: str) -> TensorSpec:
    """A number or array fixed in the graph. A Python number makes a 0-d tensor."""
    return TensorSpec(value.array.shape if isinstance(value, ArrayLiteral) else (), dtype)


@primitive(samples=[])
def extent(*, dim: Any, dtype: str) -> TensorSpec:
    """A symbolic size as a 0-d tensor, for arithmetic with it."""
    return TensorSpec((), dtype)


@primitive(samples=[Sample(start=0, stop=5, step=1, dtype="int64", gradient=False), Sample(start=1.0, stop=2.0, step=0.25, dtype="float32", gradient=False)])
def iota(*, start: Any, stop: Any, step: Any, dtype: str) -> TensorSpec:
    """Evenly spaced numbers in [start, stop), 1-d; the backend's side of ``arange``."""
    size: Size = stop - start if step == 1 and (isinstance(stop, (Dim, int)) and isinstance(start, (Dim, int))) else max_size(start, stop, step)
    return TensorSpec((size,), dtype)


def max_size(start: Any, stop: Any, step: Any) -> int:
    return builtins.max(0, -int((start - stop) // step))


def arange(start: Any, stop: Any = None, step: Any = 1, *, dtype: str | None = None) -> Tensor:
    """Evenly spaced numbers in [start, stop), shape (ceil((stop - start) / step),); with one argument from 0. int64 for integers."""
    if stop is None:
        start, stop = 0, start
    if dtype is None:
        floats = builtins.any(isinstance(v, float) for v in (start, stop, step))
        dtype = default_float() if floats else "int64"
    return iota(start=start, stop=stop, step=step, dtype=dtype)


def full(shape: Any, fill_value: Any, *, dtype: str | None = None) -> Tensor:
    """A tensor of one value."""
    shape = (shape,) if isinstance(shape, (int, Dim)) else tuple(shape)
    if not isinstance(fill_value, TensorLike) and dtype is None:
        dtype = "bool" if isinstance(fill_value, bool) else "int64" if isinstance(fill_value, int) else default_float()
    value = ops.astype(fill_value, dtype) if isinstance(fill_value, TensorLike) and dtype else fill_value
    return ops.broadcast_to(value if isinstance(value, TensorLike) else constant(value=value, dtype=str(dtype)), shape)


def zeros(shape: Any, *, dtype: str | None = None) -> Tensor:
    """A tensor of zeros, by default of the trainer's precision."""
    return full(shape, 0, dtype=dtype or default_float())


def ones(shape: Any, *, dtype: str | None = None) -> Tensor:
    """A tensor of ones, by default of the trainer's precision."""
    return full(shape, 1, dtype=dtype or default_float())


def full_like(x: Any, fill_value: Any, *, dtype: str | None = None) -> Tensor:
    """A tensor of one value, of x's shape and, unless ``dtype`` says another, dtype."""
    return full(x.shape, fill_value, dtype=dtype or x.dtype)


def zeros_like(x: Any, *, dtype: str | None = None) -> Tensor:
    """Zeros of x's shape and dtype."""
    return full_like(x, 0, dtype=dtype)


def ones_like(x: Any, *, dtype: str | None = None) -> Tensor:
    """Ones of x's shape and dtype."""
    return full_like(x, 1, dtype=dtype)


def eye(n_rows: Size, n_cols: Size | None = None, *, k: int = 0, dtype: str | None = None) -> Tensor:
    """Ones on the k-th diagonal, zeros elsewhere."""
    columns = n_rows if n_cols is None else n_cols
    return ops.astype(ops.equal(ops.expand_dims(arange(n_rows), 1) + k, arange(columns)), dtype or default_float())


def default_float() -> str:
    trace = current_trace()
    return trace.root.float_dtype if trace is not None else "float32"


def asarray(x: Any, *, dtype: str | None = None) -> Tensor:
    """Anything an op accepts, as a tensor of the current trace."""
    trace = current_trace()
    if trace is None:
        raise TraceError("asarray works inside a trace.", remedy="outside of step() and forward() use NumPy's")
    tensor = trace.as_tensor(x)
    return ops.astype(tensor, dtype) if dtype else tensor

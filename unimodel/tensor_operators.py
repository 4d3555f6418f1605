"""What Python's operators and protocols do with a tensor: each operator is an op of the catalogue; what only a number can do is refused, with the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

import unimodel as um  # for um.ops: ops are made of tensors, so they are reached when an operator is called
from unimodel import nest
from unimodel.errors import TraceError, user_source
from unimodel.graph import Array
from unimodel.tensor_methods import TensorMethods

if TYPE_CHECKING:
    from unimodel.dim import Size
    from unimodel.tracing import Tensor

_ALTERNATIVES = "use um.ops.where(condition, a, b) to choose by element, um.ops.cond to choose a branch, um.ops.scan to loop"


class TensorLike(TensorMethods):
    """The operators and methods that tensors, variables and scalars share; each one is an op of the catalogue."""

    __slots__ = ()
    __array_priority__ = 1000
    if TYPE_CHECKING:

        @property
        def shape(self) -> tuple[Size, ...]: ...

        @property
        def dtype(self) -> str: ...

    @property
    def ndim(self) -> int:
        return len(self.shape)

    # arithmetic
    def __add__(self, other: Any) -> Tensor:
        return um.ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return um.ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return um.ops.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return um.ops.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return um.ops.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return um.ops.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return um.ops.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return um.ops.divide(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return um.ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return um.ops.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return um.ops.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return um.ops.remainder(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return um.ops.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return um.ops.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return um.ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return um.ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return um.ops.negative(self)

    def __pos__(self) -> TensorLike:
        return self

    def __abs__(self) -> Tensor:
        return um.ops.abs(self)

    # comparison and logic
    def __lt__(self, other: Any) -> Tensor:
        return um.ops.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return um.ops.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return um.ops.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return um.ops.greater_equal(self, other)

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]  # elementwise, as in every array library
        return um.ops.equal(self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]  # elementwise, as in every array library
        return um.ops.not_equal(self, other)

    def __hash__(self) -> int:
        return id(self)

    def __and__(self, other: Any) -> Tensor:
        return um.ops.logical_and(self, other) if self.dtype == "bool" else um.ops.bitwise_and(self, other)

    def __or__(self, other: Any) -> Tensor:
        return um.ops.logical_or(self, other) if self.dtype == "bool" else um.ops.bitwise_or(self, other)

    def __xor__(self, other: Any) -> Tensor:
        return um.ops.logical_xor(self, other) if self.dtype == "bool" else um.ops.bitwise_xor(self, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> Tensor:
        return um.ops.logical_not(self) if self.dtype == "bool" else um.ops.bitwise_invert(self)

    def __lshift__(self, other: Any) -> Tensor:
        return um.ops.bitwise_left_shift(self, other)

    def __rshift__(self, other: Any) -> Tensor:
        return um.ops.bitwise_right_shift(self, other)

    def __getitem__(self, key: Any) -> Tensor:
        return um.ops.getitem(self, key)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        for i in range(len(self)):
            yield self[i]

    # what only a concrete number can do
    def _refuse(self, what: str, remedy: str = _ALTERNATIVES) -> TraceError:
        from unimodel.tracing import user_line

        return TraceError(
            f"{what} needs a number, but this tensor is traced: it stands for the numbers of every step to come.",
            expected="an op on the tensor",
            given=f"a traced {self.dtype} tensor of shape {self.shape}",
            remedy=remedy,
            source=user_line(),
        )

    def __format__(self, spec: str) -> str:
        if spec:
            raise self._refuse("formatting", "return the tensor from step(), and print what train_step or fit gives back")
        return str(self)

    def __bool__(self) -> bool:
        raise self._refuse("if, while, and, or, not")

    def __float__(self) -> float:
        raise self._refuse("float()", "return the tensor from step(), and read it from what train_step or fit gives back")

    def __int__(self) -> int:
        raise self._refuse("int()", "use um.ops.astype(x, 'int64') to change the dtype; read numbers from what train_step gives back")

    __index__ = __int__

    def item(self) -> Any:
        raise self._refuse("item()", "return the tensor from step(), and read it from what train_step or fit gives back")

    def numpy(self) -> Array:
        raise self._refuse("numpy()", "return the tensor from step(), or predict() with a trainer")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        raise self._refuse("NumPy", "use the op of the same name in um.ops instead of NumPy's function")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        function = _UFUNC_OPERATORS.get(ufunc.__name__)
        if method == "__call__" and function is not None and not kwargs:  # array + tensor, which Python asks NumPy for first
            return getattr(um.ops, function)(*inputs)
        raise self._refuse(f"np.{ufunc.__name__}", _op_instead_of(ufunc.__name__))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise self._refuse(f"np.{function.__name__}", _op_instead_of(function.__name__))

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """PyTorch asks this of what one of its functions is given and does not know."""
        traced = next((a for a in nest.leaves((args, kwargs or {})) if isinstance(a, TensorLike)), None)
        if traced is None:
            return NotImplemented
        error = traced._refuse(f"torch.{function.__name__}", _op_instead_of(function.__name__, "PyTorch's"))
        error.source = user_source(beyond="torch")
        raise error


def _op_instead_of(name: str, names: str = "the Array API's") -> str:
    """What to use for a function of NumPy or PyTorch: the op of the same name, or of the Array API's."""
    name = _ARRAY_API_NAMES.get(name, name)
    return f"use um.ops.{name}" if hasattr(um.ops, name) else f"write it with the ops of um.ops, which have {names} names"


_ARRAY_API_NAMES = {
    "absolute": "abs",
    "amax": "max",
    "amin": "min",
    "concatenate": "concat",
    "cumsum": "cumulative_sum",
    "power": "pow",
    "rint": "round",
    "transpose": "permute_dims",
}
_UFUNC_OPERATORS = {
    "add": "add",
    "subtract": "subtract",
    "multiply": "multiply",
    "divide": "divide",
    "true_divide": "divide",
    "floor_divide": "floor_divide",
    "remainder": "remainder",
    "power": "pow",
    "matmul": "matmul",
    "less": "less",
    "less_equal": "less_equal",
    "greater": "greater",
    "greater_equal": "greater_equal",
    "equal": "equal",
    "not_equal": "not_equal",
}

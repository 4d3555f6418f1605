"""What users of PyTorch and NumPy write as methods of a tensor. Each is an op of the catalogue and does nothing of its own.

Reductions take NumPy's ``axis`` and ``keepdims`` or PyTorch's ``dim`` and ``keepdim``; where the two differ in what they mean, a method is PyTorch's and the function
in ``um.ops`` the Array API's: ``x.max(dim)`` is a pair of values and indices, ``x.std()`` divides by n - 1. A traced tensor never changes: PyTorch's methods that end in ``_`` are not
here, and ``x.at[key].set(value)`` gives a new tensor where NumPy would write ``x[key] = value``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import unimodel as um  # for um.ops: ops are made of tensors, so they are reached when a method is called
from unimodel.errors import ShapeError, TraceError
from unimodel.names import ExplainsNames

if TYPE_CHECKING:
    from unimodel.dim import Size
    from unimodel.tracing import Tensor


def _reduction(name: str) -> Callable[..., Tensor]:
    """A reduction as a method, with the arguments of either library."""

    def method(self: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False, **options: Any) -> Tensor:
        result: Tensor = getattr(um.ops, name)(self, axis=axis if dim is None else dim, keepdims=keepdims or keepdim, **options)
        return result

    method.__name__, method.__doc__ = name, f"``um.ops.{name}`` of this tensor; ``dim`` and ``keepdim`` are PyTorch's names for ``axis`` and ``keepdims``."
    return method


class Selected(NamedTuple):
    """What ``max``, ``min`` and ``median`` along one dimension choose, and where it stood; as PyTorch's pairs."""

    values: Tensor
    indices: Tensor


def _selection(name: str, where: Callable[[Any, int], Tensor], elementwise: str | None = None) -> Callable[..., Any]:
    """PyTorch's reduction that chooses an element: of all without ``dim``, else a pair along it, whose gradient goes to the chosen one; ``where`` finds it."""

    def method(self: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False) -> Any:
        if dim is None or not isinstance(dim, int):
            if elementwise is not None and hasattr(dim, "dtype"):
                return getattr(um.ops, elementwise)(self, dim)
            if dim is None:
                return getattr(um.ops, name)(self, axis=axis, keepdims=keepdims or keepdim)
            raise ShapeError(
                f"{name} along a dimension chooses one element of it.",
                expected="an integer",
                given=f"dim={dim!r}",
                remedy=f"write x.a{name}(dim) for the values alone" if elementwise else "take one dimension at a time",
            )
        indices = where(self, dim)
        values = um.ops.take_along_axis(self, indices, axis=dim)
        return Selected(values, indices) if keepdim else Selected(um.ops.squeeze(values, dim), um.ops.squeeze(indices, dim))

    method.__name__ = name
    method.__doc__ = (
        f"PyTorch's: without ``dim`` ``um.ops.{name}`` of all; along ``dim`` a pair of values and int64 indices. ``axis`` gives the values alone, as NumPy."
    )
    return method


def _place_of_median(x: Any, dim: int) -> Tensor:
    middle = um.ops.median(x, axis=dim, keepdims=True)
    return um.ops.argmax(
        um.ops.astype(um.ops.logical_or(um.ops.equal(x, middle), um.ops.logical_and(um.ops.isnan(x), um.ops.isnan(middle))), "int64"), dim, True
    )


def _unary(name: str) -> Callable[[Any], Tensor]:
    def method(self: Any) -> Tensor:
        result: Tensor = getattr(um.ops, name)(self)
        return result

    method.__name__, method.__doc__ = name, f"``um.ops.{name}`` of this tensor."
    return method


def _binary(name: str) -> Callable[[Any, Any], Tensor]:
    def method(self: Any, other: Any) -> Tensor:
        result: Tensor = getattr(um.ops, name)(self, other)
        return result

    method.__name__, method.__doc__ = name, f"``um.ops.{name}`` of this tensor and another."
    return method


class TensorMethods(ExplainsNames):
    """The methods that tensors, variables and scalars share."""

    __slots__ = ()
    _um_kind = "Tensor"
    if TYPE_CHECKING:

        @property
        def shape(self) -> tuple[Size, ...]: ...

        @property
        def dtype(self) -> str: ...

        @property
        def ndim(self) -> int: ...

    # shapes
    @property
    def T(self) -> Tensor:
        return um.ops.permute_dims(self, tuple(reversed(range(self.ndim))))

    def t(self) -> Tensor:
        """PyTorch's: a matrix's transpose, and a vector itself."""
        return um.ops.permute_dims(self, tuple(reversed(range(self.ndim)))) if self.ndim < 3 else um.ops.matrix_transpose(self)

    @property
    def mT(self) -> Tensor:
        return um.ops.matrix_transpose(self)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.ndim

    def numel(self) -> Size:
        from unimodel.dim import product

        return product(self.shape)

    def reshape(self, *shape: Any) -> Tensor:
        return um.ops.reshape(self, _sizes(shape))

    view = reshape

    def view_as(self, other: Any) -> Tensor:
        return um.ops.reshape(self, other.shape)

    def permute(self, *axes: Any) -> Tensor:
        return um.ops.permute_dims(self, _sizes(axes))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        return um.ops.swapaxes(self, dim0, dim1)

    swapaxes = transpose

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        return um.ops.flatten(self, start_dim, end_dim)

    def unflatten(self, dim: int, sizes: Sequence[int]) -> Tensor:
        return um.ops.unflatten(self, dim, sizes)

    def unsqueeze(self, dim: int) -> Tensor:
        return um.ops.expand_dims(self, dim)

    def squeeze(self, dim: int | tuple[int, ...] | None = None) -> Tensor:
        return um.ops.squeeze(self, tuple(i for i, s in enumerate(self.shape) if isinstance(s, int) and s == 1) if dim is None else dim)

    def expand(self, *sizes: Any) -> Tensor:
        return um.ops.expand(self, *sizes)

    def expand_as(self, other: Any) -> Tensor:
        return um.ops.broadcast_to(self, other.shape)

    def repeat(self, *sizes: Any) -> Tensor:
        """PyTorch's: the whole tensor several times along each dimension (``um.ops.tile``)."""
        return um.ops.tile(self, _sizes(sizes))

    def repeat_interleave(self, repeats: Any, dim: int | None = None) -> Tensor:
        return um.ops.repeat(self, repeats, dim)

    def split(self, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
        return um.ops.split(self, split_size, dim)

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        return um.ops.chunk(self, chunks, dim)

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        return um.ops.unstack(self, dim)

    def roll(self, shifts: Any, dims: Any = None) -> Tensor:
        return um.ops.roll(self, shifts, dims)

    def movedim(self, source: Any, destination: Any) -> Tensor:
        return um.ops.movedim(self, source, destination)

    def narrow(self, dim: int, start: int, length: int) -> Tensor:
        return um.ops.narrow(self, dim, start, length)

    def flip(self, *dims: Any) -> Tensor:
        return um.ops.flip(self, axis=_sizes(dims))

    # tensors of this one's dtype
    def new_zeros(self, *size: Any) -> Tensor:
        return um.ops.zeros(_sizes(size), dtype=self.dtype)

    def new_ones(self, *size: Any) -> Tensor:
        return um.ops.ones(_sizes(size), dtype=self.dtype)

    def new_full(self, size: Any, fill_value: Any) -> Tensor:
        return um.ops.full(size, fill_value, dtype=self.dtype)

    def contiguous(self) -> Any:
        """The tensor itself: how a traced tensor lies in memory is the backend's to decide."""
        return self

    # reductions
    sum = _reduction("sum")
    mean = _reduction("mean")
    prod = _reduction("prod")
    max = _selection("max", lambda x, dim: um.ops.argmax(x, dim, True), "maximum")
    min = _selection("min", lambda x, dim: um.ops.argmin(x, dim, True), "minimum")
    amax = _reduction("max")
    amin = _reduction("min")
    all = _reduction("all")
    any = _reduction("any")
    argmax = _reduction("argmax")
    argmin = _reduction("argmin")
    logsumexp = _reduction("logsumexp")
    median = _selection("median", _place_of_median)

    def var(self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False, correction: float = 1.0) -> Tensor:
        """The variance, divided by n - ``correction``: PyTorch's default is 1, where ``um.ops.var``'s is the Array API's 0."""
        return um.ops.var(self, axis=axis if dim is None else dim, keepdims=keepdims or keepdim, correction=correction)

    def std(self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False, correction: float = 1.0) -> Tensor:
        """The square root of ``var``."""
        return um.ops.std(self, axis=axis if dim is None else dim, keepdims=keepdims or keepdim, correction=correction)

    def norm(self, p: float = 2.0, dim: Any = None, keepdim: bool = False) -> Tensor:
        return um.ops.vector_norm(self, axis=dim, keepdims=keepdim, ord=p)

    def cumsum(self, dim: int) -> Tensor:
        return um.ops.cumulative_sum(self, axis=dim)

    def cumprod(self, dim: int) -> Tensor:
        return um.ops.cumulative_prod(self, axis=dim)

    # element by element
    abs = _unary("abs")
    ceil = _unary("ceil")
    cos = _unary("cos")
    erf = _unary("erf")
    exp = _unary("exp")
    expm1 = _unary("expm1")
    floor = _unary("floor")
    isfinite = _unary("isfinite")
    isnan = _unary("isnan")
    log = _unary("log")
    log1p = _unary("log1p")
    neg = _unary("negative")
    reciprocal = _unary("reciprocal")
    relu = _unary("relu")
    round = _unary("round")
    rsqrt = _unary("rsqrt")
    sigmoid = _unary("sigmoid")
    sign = _unary("sign")
    sin = _unary("sin")
    sqrt = _unary("sqrt")
    square = _unary("square")
    tanh = _unary("tanh")
    acos = _unary("acos")
    acosh = _unary("acosh")
    asin = _unary("asin")
    asinh = _unary("asinh")
    atan = _unary("atan")
    atanh = _unary("atanh")
    cosh = _unary("cosh")
    digamma = _unary("digamma")
    erfc = _unary("erfc")
    erfinv = _unary("erfinv")
    exp2 = _unary("exp2")
    frac = _unary("frac")
    isinf = _unary("isinf")
    lgamma = _unary("lgamma")
    log10 = _unary("log10")
    log2 = _unary("log2")
    sinh = _unary("sinh")
    tan = _unary("tan")
    trunc = _unary("trunc")

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        return um.ops.clip(self, min, max)

    clip = clamp

    def pow(self, exponent: Any) -> Tensor:
        return um.ops.pow(self, exponent)

    def softmax(self, dim: int) -> Tensor:
        return um.ops.softmax(self, axis=dim)

    def log_softmax(self, dim: int) -> Tensor:
        return um.ops.log_softmax(self, axis=dim)

    def where(self, condition: Any, other: Any) -> Tensor:
        return um.ops.where(condition, self, other)

    def masked_fill(self, mask: Any, value: Any) -> Tensor:
        return um.ops.masked_fill(self, mask, value)

    # arithmetic and comparison by name
    add = _binary("add")
    sub = _binary("subtract")
    mul = _binary("multiply")
    div = _binary("divide")
    remainder = _binary("remainder")
    maximum = _binary("maximum")
    minimum = _binary("minimum")
    eq = _binary("equal")
    ne = _binary("not_equal")
    lt = _binary("less")
    le = _binary("less_equal")
    gt = _binary("greater")
    ge = _binary("greater_equal")
    logical_and = _binary("logical_and")
    logical_or = _binary("logical_or")
    logical_xor = _binary("logical_xor")
    logical_not = _unary("logical_not")
    atan2 = _binary("atan2")
    hypot = _binary("hypot")
    logaddexp = _binary("logaddexp")
    xlogy = _binary("xlogy")
    outer = _binary("outer")
    copysign = _binary("copysign")

    def lerp(self, end: Any, weight: Any) -> Tensor:
        return um.ops.lerp(self, end, weight)

    def nan_to_num(self, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Tensor:
        return um.ops.nan_to_num(self, nan, posinf, neginf)

    def addcmul(self, tensor1: Any, tensor2: Any, value: Any = 1.0) -> Tensor:
        return um.ops.addcmul(self, tensor1, tensor2, value)

    def addcdiv(self, tensor1: Any, tensor2: Any, value: Any = 1.0) -> Tensor:
        return um.ops.addcdiv(self, tensor1, tensor2, value)

    def diff(self, n: int = 1, dim: int = -1) -> Tensor:
        return um.ops.diff(self, dim, n)

    def quantile(self, q: Any, dim: int | None = None, keepdim: Any = False) -> Tensor:
        return um.ops.quantile(self, q, dim, keepdim)

    # products
    def matmul(self, other: Any) -> Tensor:
        return um.ops.matmul(self, other)

    mm = bmm = dot = matmul

    def tril(self, diagonal: int = 0) -> Tensor:
        return um.ops.tril(self, diagonal)

    def triu(self, diagonal: int = 0) -> Tensor:
        return um.ops.triu(self, diagonal)

    # order and indices
    def sort(self, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
        """PyTorch's: the elements in order, and their indices."""
        return um.ops.topk(self, int(self.shape[dim]), dim, descending)

    def argsort(self, dim: int = -1, descending: bool = False) -> Tensor:
        return um.ops.argsort(self, dim, descending)

    def topk(self, k: int, dim: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
        return um.ops.topk(self, k, dim, largest)

    def gather(self, dim: int, index: Any) -> Tensor:
        return um.ops.gather(self, dim, index)

    def scatter(self, dim: int, index: Any, src: Any) -> Tensor:
        return um.ops.scatter(self, dim, index, src)

    def scatter_add(self, dim: int, index: Any, src: Any) -> Tensor:
        return um.ops.scatter_add(self, dim, index, src)

    def masked_select(self, mask: Any) -> Any:
        return um.ops.masked_select(self, mask)

    def nonzero(self) -> Any:
        return um.ops.nonzero(self)

    def unique(self, *args: Any, **kwargs: Any) -> Any:
        return um.ops.unique(self, *args, **kwargs)

    def index_select(self, dim: int, index: Any) -> Tensor:
        return um.ops.index_select(self, dim, index)

    def index_add(self, dim: int, index: Any, source: Any, alpha: float = 1.0) -> Tensor:
        return um.ops.index_add(self, dim, index, source, alpha)

    @property
    def at(self) -> At:
        """Updates at an index that give a new tensor: ``x.at[key].set(value)``, ``add``, ``multiply``, ``divide`` (JAX's way)."""
        return At(self)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TraceError(
            "a traced tensor cannot be changed in place.",
            expected="an op that gives a new tensor",
            given="x[key] = value",
            remedy="write x = x.at[key].set(value), or choose by a mask with um.ops.where(mask, value, x)",
        )

    # dtypes
    def astype(self, dtype: Any) -> Tensor:
        return um.ops.astype(self, dtype)

    to = type = astype

    def type_as(self, other: Any) -> Tensor:
        return um.ops.astype(self, other.dtype)

    def float(self) -> Tensor:
        """The tensor in the trainer's float dtype."""
        from unimodel.ops.creation import default_float

        return um.ops.astype(self, default_float())

    def double(self) -> Tensor:
        return um.ops.astype(self, "float64")

    def long(self) -> Tensor:
        return um.ops.astype(self, "int64")

    def bool(self) -> Tensor:
        return um.ops.astype(self, "bool")

    def detach(self) -> Tensor:
        return um.ops.stop_gradient(self)


class At:
    """A tensor of which a part is to be updated: ``x.at``, then ``x.at[key]``."""

    __slots__ = ("key", "tensor")

    def __init__(self, tensor: Any, key: Any = ...) -> None:
        self.tensor = tensor
        self.key = key

    def __getitem__(self, key: Any) -> At:
        return At(self.tensor, key)

    def set(self, value: Any) -> Tensor:
        return um.ops.index_update(self.tensor, self.key, value)

    def add(self, value: Any) -> Tensor:
        return um.ops.index_update(self.tensor, self.key, value, "add")

    def multiply(self, value: Any) -> Tensor:
        return um.ops.index_update(self.tensor, self.key, value, "multiply")

    def divide(self, value: Any) -> Tensor:
        return um.ops.index_update(self.tensor, self.key, value, "divide")


def _sizes(given: tuple[Any, ...]) -> Any:
    """PyTorch's two ways of giving several numbers: one by one, or as one tuple."""
    return given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given

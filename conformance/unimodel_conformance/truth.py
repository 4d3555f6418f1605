"""What every op of the catalogue is, said a second time and in another way.

NumPy's backend runs core's own definitions, so it cannot see a fault in them. Here stand closed forms, SciPy's functions and plain loops over elements, each taking
an op's arguments (arrays and attributes as users write them) and giving arrays. They import nothing of unimodel.
Slow and obvious is the aim. ``TRUTH`` maps op names to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.special
import scipy.stats

TRUTH: dict[str, Callable[..., Any]] = {}


def truth(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the truth of these ops."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        TRUTH.update(dict.fromkeys(names, function))
        return function

    return register


# ---------------------------------------------------------------------------------------------------------- element by element

TRUTH.update(
    add=lambda x1, x2: np.add(x1, x2),
    subtract=lambda x1, x2: np.subtract(x1, x2),
    multiply=lambda x1, x2: np.multiply(x1, x2),
    true_divide=lambda x1, x2: np.divide(x1, x2),
    floor_divide=lambda x1, x2: np.floor_divide(x1, x2),
    remainder=lambda x1, x2: np.mod(x1, x2),
    pow=lambda x1, x2: np.power(x1, x2),
    maximum=lambda x1, x2: np.where(np.isnan(x1), x1, np.where(np.isnan(x2), x2, np.where(np.greater(x1, x2), x1, x2))),
    minimum=lambda x1, x2: np.where(np.isnan(x1), x1, np.where(np.isnan(x2), x2, np.where(np.less(x1, x2), x1, x2))),
    negative=lambda x: x * np.asarray(-1, np.asarray(x).dtype),
    abs=lambda x: np.where(x < 0, -x, x),
    sign=lambda x: np.where(np.isnan(x), x, 1.0 * (x > 0) - 1.0 * (x < 0)).astype(np.asarray(x).dtype),
    exp=np.exp,
    expm1=np.expm1,
    log=np.log,
    log1p=np.log1p,
    sqrt=np.sqrt,
    sin=np.sin,
    cos=np.cos,
    tanh=np.tanh,
    sigmoid=scipy.special.expit,
    erf=scipy.special.erf,
    floor=np.floor,
    ceil=np.ceil,
    round=np.rint,
    square=lambda x: x * x,
    rsqrt=lambda x: 1 / np.sqrt(x),
    equal=np.equal,
    not_equal=np.not_equal,
    less=np.less,
    less_equal=np.less_equal,
    greater=np.greater,
    greater_equal=np.greater_equal,
    logical_and=lambda x1, x2: x1 & x2,
    logical_or=lambda x1, x2: x1 | x2,
    logical_xor=lambda x1, x2: x1 ^ x2,
    logical_not=lambda x: ~x,
    isnan=lambda x: x != x,
    isfinite=lambda x: np.isfinite(x),
    where=lambda condition, x1, x2: np.where(condition, x1, x2),
    stop_gradient=lambda x: x,
)


@truth("relu")
def _(x: Any) -> Any:
    return np.where(np.isnan(x), x, np.clip(x, 0, np.inf))


@truth("relu_gradient")
def _(g: Any, y: Any) -> Any:
    return np.where(np.isnan(y) | (y > 0), g, 0)


@truth("leaky_relu")
def _(x: Any, negative_slope: float = 0.01) -> Any:
    return np.where(x < 0, negative_slope * x, x)


@truth("elu")
def _(x: Any, alpha: float = 1.0) -> Any:
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


@truth("gelu")
def _(x: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return x * scipy.special.expit(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    return x * scipy.special.ndtr(x)


@truth("gelu_gradient")
def _(g: Any, x: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        u = 2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
        s = scipy.special.expit(u)
        return g * (s + x * s * (1 - s) * 2 * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2))
    return g * (scipy.special.ndtr(x) + x * scipy.stats.norm.pdf(x))


@truth("selu")
def _(x: Any) -> Any:
    # the two constants solve the fixed-point equations of Klambauer et al. 2017
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    return scale * np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


@truth("celu")
def _(x: Any, alpha: float = 1.0) -> Any:
    return np.maximum(x, 0) + np.minimum(alpha * np.expm1(x / alpha), 0)


@truth("mish")
def _(x: Any) -> Any:
    square = np.square(1 + np.exp(-np.abs(x)))
    tail = np.exp(-2 * np.abs(x))
    # tanh(log(1 + e**x)) is ((1 + e**x)**2 - 1) / ((1 + e**x)**2 + 1), here with all divided by e**(2x) where x is positive
    below = np.square(1 + np.exp(np.minimum(x, 0)))
    return x * np.where(x > 0, (square - tail) / (square + tail), (below - 1) / (below + 1))


@truth("softsign")
def _(x: Any) -> Any:
    return np.sign(x) * (1 - 1 / (1 + np.abs(x)))


@truth("hardtanh")
def _(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    return np.clip(x, min_val, max_val)


@truth("hardsigmoid")
def _(x: Any) -> Any:
    return np.clip(x + 3, 0, 6) / 6


@truth("hardswish")
def _(x: Any) -> Any:
    return x * np.clip(x + 3, 0, 6) / 6


@truth("hardshrink")
def _(x: Any, lambd: float = 0.5) -> Any:
    return x * (np.abs(x) > lambd)


@truth("softshrink")
def _(x: Any, lambd: float = 0.5) -> Any:
    return np.sign(x) * np.maximum(np.abs(x) - lambd, 0)


@truth("threshold")
def _(x: Any, threshold: float, value: float) -> Any:
    return np.where(x > threshold, x, value)


@truth("prelu")
def _(x: Any, weight: Any) -> Any:
    slope = weight if len(weight) == 1 else weight.reshape(-1, *(1,) * (x.ndim - 2))
    return np.maximum(x, 0) + slope * np.minimum(x, 0)


@truth("silu")
def _(x: Any) -> Any:
    return x * scipy.special.expit(x)


@truth("softplus")
def _(x: Any) -> Any:
    return -scipy.special.log_expit(-x)


@truth("masked_dropout")
def _(x: Any, mask: Any, p: float) -> Any:
    return np.where(mask, x / (1 - p), 0.0)


@truth("squared_error")
def _(input: Any, target: Any) -> Any:
    return (input - target) ** 2


@truth("absolute_error")
def _(input: Any, target: Any) -> Any:
    return np.where(input > target, input - target, target - input)


@truth("cast")
def _(x: Any, dtype: str) -> Any:
    return np.trunc(x).astype(dtype) if dtype.startswith("int") and x.dtype.kind == "f" else (x != 0) if dtype == "bool" else x.astype(dtype)


# ------------------------------------------------------------------------------------------------------------------ creation


@truth("constant")
def _(*, value: Any, dtype: str) -> Any:
    return np.array(value, dtype)


@truth("extent")
def _(*, dim: Any, dtype: str) -> Any:
    return np.array(dim, dtype)


@truth("iota")
def _(*, start: Any, stop: Any, step: Any, dtype: str) -> Any:
    count = max(0, int(np.ceil((stop - start) / step)))
    return np.array([start + i * step for i in range(count)], dtype)


@truth("one_hot")
def _(x: Any, num_classes: int, dtype: str | None = None) -> Any:
    result = np.zeros((*x.shape, num_classes), dtype or "float64")
    for place in np.ndindex(x.shape):
        if 0 <= x[place] < num_classes:
            result[(*place, x[place])] = 1
    return result


# ---------------------------------------------------------------------------------------------------------------- reductions


def _axes(axis: Any, rank: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(rank))
    return tuple(a % rank for a in ((axis,) if isinstance(axis, int) else axis))


def _groups(x: Any, axis: Any, keepdims: bool, function: Callable[[Any], Any], dtype: Any = None) -> Any:
    """``function`` of the elements of each group that a reduction over ``axis`` makes one."""
    axes = _axes(axis, x.ndim)
    kept = [i for i in range(x.ndim) if i not in axes]
    rows = np.transpose(x, (*kept, *axes)).reshape(*(x.shape[i] for i in kept), int(np.prod([x.shape[i] for i in axes])))
    result = np.empty(rows.shape[:-1], dtype or x.dtype)
    for place in np.ndindex(result.shape):
        result[place] = function(rows[place])
    return result.reshape([1 if i in axes else s for i, s in enumerate(x.shape)]) if keepdims else result


def _sum(values: Any) -> Any:
    if values.dtype.kind != "f":
        return sum(int(v) for v in values)
    return float(np.sum(values.astype("longdouble")))


@truth("sum")
def _(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _groups(x, axis, keepdims, _sum, "int64" if x.dtype.kind in "bi" else None)


@truth("prod")
def _(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    def product(values: Any) -> Any:
        total = x.dtype.type(1)
        for value in values:
            total = total * value
        return total

    return _groups(x, axis, keepdims, product)


@truth("max")
def _(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _groups(x, axis, keepdims, lambda values: np.sort(values)[-1])  # NaN sorts last


@truth("min")
def _(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _groups(x, axis, keepdims, lambda values: np.nan if (values != values).any() else np.sort(values)[0])


@truth("all")
def _(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _groups(x, axis, keepdims, lambda values: all(bool(v) for v in values))


@truth("any")
def _(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _groups(x, axis, keepdims, lambda values: any(bool(v) for v in values))


@truth("arg_max")
def _(x: Any, axis: int, keepdims: bool = False) -> Any:
    return _groups(x, axis, keepdims, lambda values: max(range(len(values)), key=lambda i: (values[i], -i)), "int64")


@truth("arg_min")
def _(x: Any, axis: int, keepdims: bool = False) -> Any:
    return _groups(x, axis, keepdims, lambda values: min(range(len(values)), key=lambda i: (values[i], i)), "int64")


@truth("mean")
def _(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _groups(x, axis, keepdims, lambda values: _sum(values) / len(values), "float64" if x.dtype.kind != "f" else None)


@truth("var")
def _(x: Any, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    def variance(values: Any) -> Any:
        wide = values.astype("longdouble")
        return np.sum((wide - wide.sum() / len(wide)) ** 2) / (len(wide) - correction)

    return _groups(x, axis, keepdims, variance)


@truth("logsumexp")
def _(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _groups(x, axis, keepdims, scipy.special.logsumexp)


@truth("vector_norm")
def _(x: Any, axis: Any = None, keepdims: bool = False, ord: float = 2.0) -> Any:
    return _groups(x, axis, keepdims, lambda values: np.linalg.norm(values, ord=ord))


@truth("cumulative_sum")
def _(x: Any, axis: int = -1) -> Any:
    result = np.zeros(x.shape, "int64" if x.dtype.kind in "bi" else x.dtype)
    source, target = np.moveaxis(x, axis, 0), np.moveaxis(result, axis, 0)
    total: Any = np.zeros(source.shape[1:], result.dtype)
    for i in range(len(source)):
        total = total + source[i]
        target[i] = total
    return result


@truth("softmax")
def _(x: Any, axis: int = -1) -> Any:
    return scipy.special.softmax(x, axis=axis).astype(x.dtype)


@truth("log_softmax")
def _(x: Any, axis: int = -1) -> Any:
    return (x - scipy.special.logsumexp(x, axis=axis, keepdims=True)).astype(x.dtype)


@truth("softmax_gradient")
def _(g: Any, y: Any, axis: int) -> Any:
    g, y = np.moveaxis(g, axis, -1), np.moveaxis(y, axis, -1)
    jacobian = y[..., :, None] * np.eye(y.shape[-1]) - y[..., :, None] * y[..., None, :]
    return np.moveaxis(np.einsum("...i,...ij->...j", g, jacobian), -1, axis).astype(g.dtype)


@truth("log_softmax_gradient")
def _(g: Any, y: Any, axis: int) -> Any:
    g, y = np.moveaxis(g, axis, -1), np.moveaxis(y, axis, -1)
    jacobian = np.eye(y.shape[-1]) - np.exp(y)[..., None, :]
    return np.moveaxis(np.einsum("...i,...ij->...j", g, jacobian), -1, axis).astype(g.dtype)


# --------------------------------------------------------------------------------------------------- shapes, places, indices


@truth("reshape")
def _(x: Any, shape: Any) -> Any:
    return np.array(list(x.flat), x.dtype).reshape(shape)


@truth("permute_dims")
def _(x: Any, axes: Any) -> Any:
    axes = _axes(axes, x.ndim)
    result = np.empty([x.shape[a] for a in axes], x.dtype)
    for place in np.ndindex(x.shape):
        result[tuple(place[a] for a in axes)] = x[place]
    return result


@truth("broadcast_to")
def _(x: Any, shape: Any) -> Any:
    result = np.empty(shape, x.dtype)
    for place in np.ndindex(result.shape):
        result[place] = x[tuple(0 if s == 1 else p for s, p in zip(x.shape, place[len(shape) - x.ndim :], strict=True))]
    return result


@truth("concat")
def _(arrays: Sequence[Any], axis: int = 0) -> Any:
    return np.moveaxis(np.array([row for a in arrays for row in np.moveaxis(a, axis, 0)], arrays[0].dtype), 0, axis % arrays[0].ndim)


@truth("split_sizes")
def _(x: Any, sizes: Any, axis: int) -> Any:
    return tuple(np.take(x, range(sum(sizes[:i]), sum(sizes[: i + 1])), axis=axis) for i in range(len(sizes)))


@truth("flip")
def _(x: Any, axis: Any = None) -> Any:
    for a in _axes(axis, x.ndim):
        x = np.take(x, range(x.shape[a] - 1, -1, -1), axis=a)
    return x


@truth("pad_constant")
def _(x: Any, widths: Any, value: float = 0.0) -> Any:
    result = np.full([s + lo + hi for s, (lo, hi) in zip(x.shape, widths, strict=True)], value, x.dtype)
    for place in np.ndindex(x.shape):
        result[tuple(p + lo for p, (lo, _) in zip(place, widths, strict=True))] = x[place]
    return result


@truth("slice")
def _(x: Any, start: Any, stop: Any, step: Any) -> Any:
    return x[np.ix_(*(range(a, b, s) for a, b, s in zip(start, stop, step, strict=True)))]


@truth("take")
def _(x: Any, indices: Any, axis: int = 0) -> Any:
    axis %= x.ndim
    result = np.empty((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype)
    for place in np.ndindex(result.shape):
        middle = place[axis : axis + indices.ndim]
        result[place] = x[(*place[:axis], int(indices[middle]), *place[axis + indices.ndim :])]
    return result


@truth("take_gradient")
def _(g: Any, indices: Any, axis: int, size: int) -> Any:
    result = np.zeros((*g.shape[:axis], size, *g.shape[axis + indices.ndim :]), g.dtype)
    for place in np.ndindex(g.shape):
        middle = place[axis : axis + indices.ndim]
        result[(*place[:axis], int(indices[middle]), *place[axis + indices.ndim :])] += g[place]
    return result


@truth("take_along_axis")
def _(x: Any, indices: Any, axis: int = -1) -> Any:
    axis %= x.ndim
    result = np.empty(indices.shape, x.dtype)
    for place in np.ndindex(indices.shape):
        result[place] = x[(*place[:axis], int(indices[place]), *place[axis + 1 :])]
    return result


@truth("take_along_axis_gradient")
def _(g: Any, indices: Any, axis: int, size: int) -> Any:
    result = np.zeros([size if i == axis else s for i, s in enumerate(g.shape)], g.dtype)
    for place in np.ndindex(g.shape):
        result[(*place[:axis], int(indices[place]), *place[axis + 1 :])] += g[place]
    return result


# ---------------------------------------------------------------------------------------------------------------- optimizers


@truth("sgd_update")
def _(
    param: Any,
    grad: Any,
    lr: Any,
    damping: Any = None,
    momentum_buffer: Any = None,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> Any:
    direction = (-1.0 if maximize else 1.0) * grad + weight_decay * param
    if momentum_buffer is None:
        return param - lr * direction
    buffer = momentum * momentum_buffer + damping * direction
    return param - lr * (direction + momentum * buffer if nesterov else buffer), buffer


@truth("adam_update")
def _(
    param: Any,
    grad: Any,
    exp_avg: Any,
    exp_avg_sq: Any,
    lr: Any,
    correction1: Any,
    correction2: Any,
    max_exp_avg_sq: Any = None,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    maximize: bool = False,
) -> Any:
    direction = -grad if maximize else grad
    start = param * (1 - lr * weight_decay) if decoupled else param
    direction = direction if decoupled else direction + weight_decay * param
    first = beta1 * exp_avg + (1 - beta1) * direction
    second = beta2 * exp_avg_sq + (1 - beta2) * direction**2
    largest = second if max_exp_avg_sq is None else np.maximum(max_exp_avg_sq, second)
    new = start - lr * (first / correction1) / (np.sqrt(largest / correction2) + eps)
    return (new, first, second) if max_exp_avg_sq is None else (new, first, second, largest)


def expected(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The truth of a call as a tuple of arrays."""
    with np.errstate(all="ignore"):
        result = TRUTH[name](*args, **kwargs)
    return tuple(np.asarray(r) for r in (result if isinstance(result, tuple) else (result,)))

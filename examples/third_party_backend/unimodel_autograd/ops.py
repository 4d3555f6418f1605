"""Every primitive in autograd's NumPy, so that autograd can differentiate it. Composites are taken apart by core, but for two.

What a lowering calls must have a gradient in autograd where the op has one, and must be opaque to it where the op has none. The gradient primitives, which
core's differentiation asks for, are autograd's own gradients of the forward ones (``pullback``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import autograd.numpy as np
import numpy
from autograd import make_vjp
from autograd.extend import notrace_primitive as opaque
from autograd.scipy.special import erf, erfinv, expit, gammaln

from unimodel.backend import Lowerings, literal
from unimodel.ops.pooling import pool_geometry

lower = Lowerings()

SAME_NAME = """
    add subtract multiply true_divide floor_divide remainder maximum minimum matmul negative sign exp expm1 log log1p sqrt sin cos tanh floor ceil round
    equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor logical_not isnan isfinite
"""

lower.calls(**{name: getattr(np, name) for name in SAME_NAME.split()}, pow=np.power, sigmoid=expit, erf=erf, erfinv=erfinv, lgamma=gammaln)
lower.calls(atan2=np.arctan2, bitwise_and=opaque(numpy.bitwise_and), cholesky_factor=np.linalg.cholesky, solve_square=np.linalg.solve)
lower.calls(slogdet=np.linalg.slogdet, eigen_symmetric=np.linalg.eigh, thin_svd=lambda x: np.linalg.svd(x, full_matrices=False))
lower("triangular_solve")(lambda node, a, b: np.linalg.solve((np.triu if node.attrs["upper"] else np.tril)(a), b))
lower("constant")(literal)
lower("extent")(lambda node: np.array(node.attrs["dim"], node.attrs["dtype"]))
lower("iota")(lambda node: np.arange(node.attrs["start"], node.attrs["stop"], node.attrs["step"]).astype(node.attrs["dtype"]))
lower("reshape")(lambda node, x: np.reshape(x, node.attrs["shape"]))
lower("permute_dims")(lambda node, x: np.transpose(x, node.attrs["axes"]))
lower("concat")(lambda node, *arrays: np.concatenate(arrays, axis=node.attrs["axis"]))
lower("abs")(lambda node, x: x * np.sign(x) + np.zeros_like(x))  # autograd's own gradient, x / abs(x), is NaN at infinity; the sum makes 0 of -0
lower("pad_constant")(lambda node, x: np.pad(x, node.attrs["widths"], mode="constant", constant_values=node.attrs["value"]) if x.ndim else x)
lower("broadcast_to")(lambda node, x: _broadcast(x, node.attrs["shape"]))
lower("take")(lambda node, x, indices: _rows(x, indices, node.attrs["axis"]))
lower("take_along_axis")(lambda node, x, indices: _along(x, indices, node.attrs["axis"]))
lower("conv")(lambda node, x, weight: _conv(node.attrs, x, weight))
lower("stop_gradient")(lambda node, x: opaque(lambda array: array)(x))  # a composite, whose body is x itself: whoever differentiates natively must cut it


def pullback(function: Callable[[Any], Any], shape: Sequence[int], gradient: Any) -> Any:
    """``gradient`` brought back through ``function``, which is linear, to an input of this shape."""
    return make_vjp(function)(np.zeros(shape, gradient.dtype))[0](gradient)


@lower("cast")
def _(node: Any, x: Any) -> Any:
    def convert(x: Any) -> Any:
        return x.astype(node.attrs["dtype"])

    return convert(x) if node.outputs[0].spec.is_float else opaque(convert)(x)


@lower("where")
def _(node: Any, condition: Any, x1: Any, x2: Any) -> Any:
    shape = np.broadcast_shapes(condition.shape, x1.shape, x2.shape)
    return np.where(condition, _broadcast(x1, shape), _broadcast(x2, shape))


def _broadcast(x: Any, shape: Sequence[int]) -> Any:
    """autograd differentiates a broadcast along dimensions that are there, not one that adds some."""
    return np.broadcast_to(np.reshape(x, (1,) * (len(shape) - x.ndim) + x.shape), shape)


@lower("sum", "prod", "max", "min", "all", "any")
def _(node: Any, x: Any) -> Any:
    dtype = {"dtype": node.outputs[0].spec.dtype} if node.op.name in ("sum", "prod") else {}
    return getattr(np, node.op.name)(x, axis=node.attrs["axis"], keepdims=node.attrs["keepdims"], **dtype)


@lower("arg_max", "arg_min")
def _(node: Any, x: Any) -> Any:
    return getattr(np, node.op.name.replace("_", ""))(x, axis=node.attrs["axis"], keepdims=node.attrs["keepdims"])


@lower("cumulative_sum")
def _(node: Any, x: Any) -> Any:
    dtype = node.outputs[0].spec.dtype
    return np.cumsum(x, node.attrs["axis"], *([] if x.dtype == dtype else [dtype]))


@lower("thin_qr")
def _(node: Any, x: Any) -> Any:
    r = np.swapaxes(np.linalg.cholesky(np.matmul(np.swapaxes(x, -1, -2), x)), -1, -2)  # autograd has no gradient of QR
    return np.swapaxes(np.linalg.solve(np.swapaxes(r, -1, -2), np.swapaxes(x, -1, -2)), -1, -2), r


@lower("arg_sort")
def _(node: Any, x: Any) -> Any:
    order = opaque(lambda x: numpy.unique(x, return_inverse=True)[1].reshape(x.shape))(x)  # whole numbers, which a stable sort can turn round
    return numpy.argsort(-order if node.attrs["descending"] else order, axis=node.attrs["axis"], kind="stable")


@lower("flip")
def _(node: Any, x: Any) -> Any:
    return x[tuple(slice(None, None, -1 if i in node.attrs["axis"] else 1) for i in range(x.ndim))]


@lower("slice")
def _(node: Any, x: Any) -> Any:
    return x[tuple(itertools.starmap(slice, zip(node.attrs["start"], node.attrs["stop"], node.attrs["step"], strict=True)))]


@lower("take_gradient")
def _(node: Any, g: Any, indices: Any) -> Any:
    axis = node.attrs["axis"]
    shape = (*g.shape[:axis], node.attrs["size"], *g.shape[axis + indices.ndim :])
    return pullback(lambda x: _rows(x, indices, axis), shape, g)


def _rows(x: Any, indices: Any, axis: int) -> Any:
    return x[(slice(None),) * axis + (indices,)]


@lower("take_along_axis_gradient")
def _(node: Any, g: Any, indices: Any) -> Any:
    axis = node.attrs["axis"]
    shape = [node.attrs["size"] if i == axis else n for i, n in enumerate(g.shape)]
    return pullback(lambda x: _along(x, indices, axis), shape, g)


def _along(x: Any, indices: Any, axis: int) -> Any:
    places = list(np.indices(indices.shape, sparse=True))
    places[axis] = indices
    return x[tuple(places)]


@lower("conv_input_gradient")
def _(node: Any, g: Any, weight: Any) -> Any:
    shape = (g.shape[0], weight.shape[1] * node.attrs["groups"], *node.attrs["spatial"])
    return pullback(lambda x: _conv(node.attrs, x, weight), shape, g)


@lower("conv_weight_gradient")
def _(node: Any, x: Any, g: Any) -> Any:
    shape = (g.shape[1], x.shape[1] // node.attrs["groups"], *node.attrs["kernel"])
    return pullback(lambda weight: _conv(node.attrs, x, weight), shape, g)


def _conv(attrs: Any, x: Any, weight: Any) -> Any:
    """A sum over the places in the kernel, each a product of matrices for every group."""
    groups, kernel, stride, dilation = attrs["groups"], weight.shape[2:], attrs["stride"], attrs["dilation"]
    x = np.pad(x, ((0, 0), (0, 0), *attrs["padding"]), mode="constant")
    outs = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)]
    x = np.reshape(x, (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]))
    weight = np.reshape(weight, (groups, -1, *weight.shape[1:]))
    total = 0.0
    for place, window in _windows(kernel, stride, dilation, outs):
        total = total + np.matmul(weight[place], np.reshape(x[window], (*x.shape[:3], math.prod(outs))))
    return np.reshape(total, (x.shape[0], groups * weight.shape[1], *outs))


def _windows(kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], outs: Sequence[int]) -> list[tuple[Any, Any]]:
    """Each place in the kernel, and the elements of a padded image that it meets as it moves."""
    steps = list(zip(stride, dilation, outs, strict=True))
    return [
        ((..., *place), (..., *(slice(o * d, o * d + (n - 1) * s + 1, s) for o, (s, d, n) in zip(place, steps, strict=True))))
        for place in itertools.product(*map(range, kernel))
    ]


@lower("max_pool")
def _(node: Any, x: Any) -> Any:
    # lowered whole because of ties: the first of equals gets the gradient, which np.max would share
    a, spatial = node.attrs, x.shape[2:]
    outs, pads = pool_geometry(spatial, a["kernel_size"], a["stride"], a["padding"], a["dilation"], a["ceil_mode"])
    padded = np.pad(x, ((0, 0), (0, 0), *pads), mode="constant", constant_values=-math.inf)
    plane = np.pad(np.arange(math.prod(spatial)).reshape(spatial), pads)
    windows = [window for _, window in _windows(a["kernel_size"], a["stride"], a["dilation"], outs)]
    stacked = np.stack([padded[window] for window in windows])
    which = np.argmax(stacked, axis=0)[None]
    indices = np.broadcast_to(np.stack([plane[window] for window in windows])[:, None, None], stacked.shape)
    return _along(stacked, which, 0)[0], _along(indices, which, 0)[0]

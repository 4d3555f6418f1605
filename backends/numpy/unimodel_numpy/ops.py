"""Every primitive in NumPy: the shortest right answer, not the fastest. Composites are decomposed by core."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from unimodel.backend import Lowerings, literal

lower = Lowerings()

lower.calls(
    add=np.add, subtract=np.subtract, multiply=np.multiply, true_divide=np.true_divide, floor_divide=np.floor_divide,
    remainder=np.remainder, pow=np.power, maximum=np.maximum, minimum=np.minimum,
    negative=np.negative, abs=np.abs, sign=np.sign, exp=np.exp, expm1=np.expm1, log=np.log, log1p=np.log1p,
    sqrt=np.sqrt, sin=np.sin, cos=np.cos, tanh=np.tanh, floor=np.floor, ceil=np.ceil, round=np.round,
    equal=np.equal, not_equal=np.not_equal, less=np.less, less_equal=np.less_equal, greater=np.greater, greater_equal=np.greater_equal,
    logical_and=np.logical_and, logical_or=np.logical_or, logical_xor=np.logical_xor, logical_not=np.logical_not,
    isnan=np.isnan, isfinite=np.isfinite, where=np.where, matmul=np.matmul, atan2=np.arctan2, bitwise_and=np.bitwise_and,
    cholesky_factor=np.linalg.cholesky, solve_square=np.linalg.solve, slogdet=np.linalg.slogdet, eigen_symmetric=np.linalg.eigh, thin_qr=np.linalg.qr,
    thin_svd=lambda x: np.linalg.svd(x, full_matrices=False),
)  # fmt: skip  # a table reads better in rows

lower("constant")(literal)
lower("extent")(lambda node: np.asarray(node.attrs["dim"], node.attrs["dtype"]))
lower("cast")(lambda node, x: x.astype(node.attrs["dtype"]))
lower("cumulative_sum")(lambda node, x: np.cumsum(x, axis=node.attrs["axis"], dtype=node.outputs[0].spec.dtype))
lower("reshape")(lambda node, x: np.reshape(x, node.attrs["shape"]))
lower("permute_dims")(lambda node, x: np.transpose(x, node.attrs["axes"]))
lower("broadcast_to")(lambda node, x: np.broadcast_to(x, node.attrs["shape"]))
lower("concat")(lambda node, *arrays: np.concatenate(arrays, axis=node.attrs["axis"]))
lower("flip")(lambda node, x: np.flip(x, node.attrs["axis"]))
lower("triangular_solve")(lambda node, a, b: np.linalg.solve(np.triu(a) if node.attrs["upper"] else np.tril(a), b))
lower("take")(lambda node, x, indices: np.take(x, indices, axis=node.attrs["axis"]))
lower("take_along_axis")(lambda node, x, indices: np.take_along_axis(x, indices, axis=node.attrs["axis"]))


@lower("iota")
def _(node: Any) -> Any:
    a = node.attrs
    return np.arange(a["start"], a["stop"], a["step"]).astype(a["dtype"])


@lower("sigmoid")
def _(node: Any, x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return (np.where(x < 0, e, 1.0) / (1.0 + e)).astype(x.dtype)


@lower("erf", "erfinv", "lgamma", "digamma", "erfc")
def _(node: Any, x: Any) -> Any:
    import scipy.special

    return getattr(scipy.special, {"lgamma": "gammaln"}.get(node.op.name, node.op.name))(x)


@lower("arg_sort")
def _(node: Any, x: Any) -> Any:
    axis = node.attrs["axis"]
    if not node.attrs["descending"]:
        return np.argsort(x, axis=axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)  # equal elements keep their order


@lower("sum", "prod", "max", "min", "all", "any")
def _(node: Any, x: Any) -> Any:
    return np.asarray(getattr(np, node.op.name)(x, axis=node.attrs["axis"], keepdims=node.attrs["keepdims"]), node.outputs[0].spec.dtype)


@lower("arg_max", "arg_min")
def _(node: Any, x: Any) -> Any:
    find = np.argmax if node.op.name == "arg_max" else np.argmin
    return find(x, axis=node.attrs["axis"], keepdims=node.attrs["keepdims"])


@lower("pad_constant")
def _(node: Any, x: Any) -> Any:
    return np.pad(x, node.attrs["widths"], constant_values=node.attrs["value"]) if x.ndim else x


@lower("slice")
def _(node: Any, x: Any) -> Any:
    a = node.attrs
    return x[tuple(slice(*bounds) for bounds in zip(a["start"], a["stop"], a["step"], strict=True))]


@lower("take_gradient")
def _(node: Any, g: Any, indices: Any) -> Any:
    axis = node.attrs["axis"]
    moved = np.moveaxis(g.reshape(*g.shape[:axis], indices.size, *g.shape[axis + indices.ndim :]), axis, 0)
    total = np.zeros((node.attrs["size"], *moved.shape[1:]), g.dtype)
    np.add.at(total, indices.reshape(-1), moved)
    return np.moveaxis(total, 0, axis)


@lower("take_along_axis_gradient")
def _(node: Any, g: Any, indices: Any) -> Any:
    axis = node.attrs["axis"]
    places = list(np.indices(indices.shape, sparse=True))
    places[axis] = indices
    total = np.zeros([node.attrs["size"] if i == axis else s for i, s in enumerate(g.shape)], g.dtype)
    np.add.at(total, tuple(places), g)
    return total


def _patches(node: Any, x: Any, kernel: Any, outs: Any) -> Any:
    """A view of the padded input with a window at each output place: (N, C, *outs, *kernel)."""
    a = node.attrs
    x = np.pad(x, ((0, 0), (0, 0), *a["padding"]))
    steps = x.strides[2:]
    strides = (*x.strides[:2], *(st * s for st, s in zip(steps, a["stride"], strict=True)), *(st * d for st, d in zip(steps, a["dilation"], strict=True)))
    return np.lib.stride_tricks.as_strided(x, (*x.shape[:2], *outs, *kernel), strides, writeable=False)


def _groups(x: Any, axis: int, groups: int) -> list[Any]:
    return np.split(x, groups, axis=axis)


@lower("conv")
def _(node: Any, x: Any, weight: Any) -> Any:
    rank = x.ndim - 2
    patches = _patches(node, x, weight.shape[2:], node.outputs[0].spec.shape[2:])
    axes = [1, *range(2 + rank, 2 + 2 * rank)]
    pairs = zip(_groups(patches, 1, node.attrs["groups"]), _groups(weight, 0, node.attrs["groups"]), strict=True)
    parts = [np.tensordot(p, w, (axes, [1, *range(2, 2 + rank)])) for p, w in pairs]
    return np.ascontiguousarray(np.moveaxis(np.concatenate(parts, axis=-1), -1, 1))


@lower("conv_weight_gradient")
def _(node: Any, x: Any, g: Any) -> Any:
    rank = x.ndim - 2
    patches = _patches(node, x, node.attrs["kernel"], g.shape[2:])
    axes = [0, *range(2, 2 + rank)]
    pairs = zip(_groups(patches, 1, node.attrs["groups"]), _groups(g, 1, node.attrs["groups"]), strict=True)
    return np.concatenate([np.tensordot(h, p, (axes, axes)) for p, h in pairs], axis=0)


@lower("conv_input_gradient")
def _(node: Any, g: Any, weight: Any) -> Any:
    a, rank = node.attrs, g.ndim - 2
    kernel = weight.shape[2:]
    padded = [n + lo + hi for n, (lo, hi) in zip(a["spatial"], a["padding"], strict=True)]
    pairs = zip(_groups(g, 1, a["groups"]), _groups(weight, 0, a["groups"]), strict=True)
    spread = np.concatenate([np.moveaxis(np.tensordot(h, w, ([1], [0])), 1 + rank, 1) for h, w in pairs], axis=1)  # (N, C, *outs, *kernel)
    total = np.zeros((*spread.shape[:2], *padded), g.dtype)
    for offset in itertools.product(*(range(k) for k in kernel)):
        place = tuple(slice(o * d, o * d + (n - 1) * s + 1, s) for o, d, n, s in zip(offset, a["dilation"], g.shape[2:], a["stride"], strict=True))
        total[(slice(None), slice(None), *place)] += spread[(..., *offset)]
    crop = tuple(slice(lo, lo + n) for n, (lo, _) in zip(a["spatial"], a["padding"], strict=True))
    return total[(slice(None), slice(None), *crop)]

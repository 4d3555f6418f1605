"""Every primitive, and every composite that torch has a fused kernel for.

A lowering runs once per node while a program is written, on torch.fx proxies, and is never seen again: what it calls becomes a line of the program.
It also runs on real tensors, where all inputs are constants. ``NUMBERS`` says which inputs may be Python numbers; elsewhere they arrive as tensors.
"""

from __future__ import annotations

import functools
import operator
from typing import Any

import torch
import torch.nn.functional as F

from unimodel.backend import Lowerings
from unimodel.errors import UnsupportedError
from unimodel.ops import catalogue
from unimodel_torch.arrays import DTYPES

lower = Lowerings()
aten = torch.ops.aten

NUMBERS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("add", "subtract", "multiply", "pow"), (0, 1)),
    **dict.fromkeys(("true_divide", "floor_divide", "remainder"), (1,)),  # a number over a tensor would become a reciprocal, rounded twice
    **dict.fromkeys(("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"), (1,)),
    "where": (1, 2),
}
"""Inputs that torch takes as Python numbers, with the result's dtype decided by the other input, which must be a tensor."""

WHOLE_GROUPS = frozenset(["sgd_update", "adam_update"])
"""Composites whose lowerings, in ``optimizer``, take a whole group of nodes; alone they are decomposed."""


def with_attributes(function: Any, *names: str) -> Any:
    """A lowering to a function of the inputs, then of these attributes."""
    return lambda node, *inputs: function(*inputs, *(node.attrs[name] for name in names))


lower.calls(
    add=operator.add, subtract=operator.sub, multiply=operator.mul, true_divide=operator.truediv, floor_divide=torch.floor_divide,
    remainder=torch.remainder, pow=torch.pow, maximum=torch.maximum, minimum=torch.minimum,
    negative=operator.neg, abs=torch.abs, exp=torch.exp, expm1=torch.expm1, log=torch.log, log1p=torch.log1p,
    sqrt=torch.sqrt, sin=torch.sin, cos=torch.cos, tanh=torch.tanh, sigmoid=torch.sigmoid, erf=torch.erf,
    floor=torch.floor, ceil=torch.ceil, round=torch.round, square=torch.square, rsqrt=torch.rsqrt,
    equal=operator.eq, not_equal=operator.ne, less=operator.lt, less_equal=operator.le, greater=operator.gt, greater_equal=operator.ge,
    logical_and=torch.logical_and, logical_or=torch.logical_or, logical_xor=torch.logical_xor, logical_not=torch.logical_not,
    isnan=torch.isnan, isfinite=torch.isfinite, where=torch.where, stop_gradient=torch.detach,
    relu=torch.relu, silu=F.silu, linear=F.linear, atan2=torch.atan2, bitwise_and=torch.bitwise_and, asinh=torch.asinh, hypot=torch.hypot,
    logaddexp=torch.logaddexp, erfinv=torch.erfinv, erfc=torch.erfc, lgamma=torch.lgamma,
    cholesky_factor=torch.linalg.cholesky, solve_square=torch.linalg.solve, slogdet=torch.linalg.slogdet, eigen_symmetric=torch.linalg.eigh,
    thin_qr=torch.linalg.qr,
)  # fmt: skip  # a table reads better in rows


for _name, (_function, *_attributes) in {
    "reshape": (torch.reshape, "shape"),
    "broadcast_to": (torch.broadcast_to, "shape"),
    "split_sizes": (torch.split_with_sizes, "sizes", "axis"),
    "flip": (torch.flip, "axis"),
    "cumulative_sum": (torch.cumsum, "axis"),
    "arg_max": (torch.argmax, "axis", "keepdims"),
    "arg_min": (torch.argmin, "axis", "keepdims"),
    "softmax": (torch.softmax, "axis"),
    "log_softmax": (torch.log_softmax, "axis"),
    "leaky_relu": (F.leaky_relu, "negative_slope"),
    "grid_sample": (F.grid_sample, "mode", "padding_mode", "align_corners"),
}.items():
    lower(_name)(with_attributes(_function, *_attributes))


@lower("constant")
def _(node: Any) -> Any:
    value, dtype = node.attrs["value"], node.attrs["dtype"]
    if hasattr(value, "array"):
        return torch.tensor(value.array, dtype=DTYPES[dtype])
    return bool(value) if dtype == "bool" else int(value) if dtype.startswith("int") else float(value)


@lower("extent")
def _(node: Any) -> Any:
    return node.attrs["dim"]


@lower("iota")
def _(node: Any) -> Any:
    bounds = [node.attrs[name] for name in ("start", "stop", "step")]
    exact = torch.arange(*bounds, dtype=torch.float64 if any(isinstance(v, float) for v in bounds) else torch.int64)
    return exact.to(DTYPES[node.attrs["dtype"]])


@lower("cast")
def _(node: Any, x: Any) -> Any:
    return x.to(DTYPES[node.attrs["dtype"]])


@lower("sign")
def _(node: Any, x: Any) -> Any:
    return torch.where(x == x, torch.sign(x), x) if node.outputs[0].spec.is_float else torch.sign(x)  # torch's sign of NaN is 0


# -------------------------------------------------------------------------------------------------------------- reductions


@lower("sum", "mean", "max", "min", when=lambda node: node.op.name != "mean" or node.inputs[0].spec.is_float)
def _(node: Any, x: Any) -> Any:
    reduce = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin}[node.op.name]
    return reduce(x, node.attrs["axis"], node.attrs["keepdims"])


@lower("prod", "all", "any")
def _(node: Any, x: Any) -> Any:
    reduce = {"prod": torch.prod, "all": torch.all, "any": torch.any}[node.op.name]
    for axis in reversed(node.attrs["axis"]):  # these take one axis at a time
        x = reduce(x, axis, node.attrs["keepdims"])
    return x.to(DTYPES[node.outputs[0].spec.dtype])


# ------------------------------------------------------------------------------------------------- manipulation and indexing


@lower("arg_sort")
def _(node: Any, x: Any) -> Any:
    return torch.argsort(x, dim=node.attrs["axis"], descending=node.attrs["descending"], stable=True)


@lower("permute_dims")
def _(node: Any, x: Any) -> Any:
    return x.t() if node.attrs["axes"] == (1, 0) else x.permute(node.attrs["axes"])


@lower("concat")
def _(node: Any, *arrays: Any) -> Any:
    return torch.cat(arrays, node.attrs["axis"])


@lower("pad_constant")
def _(node: Any, x: Any) -> Any:
    widths = [n for pair in reversed(node.attrs["widths"]) for n in pair]
    return torch.constant_pad_nd(x, widths, node.attrs["value"])


@lower("slice")
def _(node: Any, x: Any) -> Any:
    a = node.attrs
    return x[tuple(slice(*bounds) for bounds in zip(a["start"], a["stop"], a["step"], strict=True))]


@lower("take")
def _(node: Any, x: Any, indices: Any) -> Any:
    source, index = node.inputs
    if source.spec.ndim == 2 and node.attrs["axis"] == 0:
        return torch.embedding(x, indices)
    taken = torch.index_select(x, node.attrs["axis"], indices.reshape(-1))
    return taken if index.spec.ndim == 1 else taken.reshape(node.shape)


@lower("take_gradient")
def _(node: Any, g: Any, indices: Any) -> Any:
    axis, rank = node.attrs["axis"], node.inputs[1].spec.ndim
    if axis == 0 and node.outputs[0].spec.ndim == 2:
        return aten.embedding_dense_backward.default(g, indices, node.attrs["size"], -1, False)
    rows = g.flatten(axis, axis + rank - 1) if rank else g.unsqueeze(axis)
    return g.new_zeros(node.shape).index_add(axis, indices.reshape(-1), rows)


@lower("take_along_axis")
def _(node: Any, x: Any, indices: Any) -> Any:
    return torch.gather(x, node.attrs["axis"], _int64(node.inputs[1], indices))


@lower("take_along_axis_gradient")
def _(node: Any, g: Any, indices: Any) -> Any:
    return g.new_zeros(node.shape).scatter_add(node.attrs["axis"], _int64(node.inputs[1], indices), g)


def _int64(value: Any, tensor: Any) -> Any:
    return tensor if value.spec.dtype == "int64" else tensor.to(torch.int64)


@lower("embedding")
def _(node: Any, indices: Any, weight: Any) -> Any:
    row = node.attrs["padding_idx"]
    return torch.embedding(weight, indices, -1 if row is None else row % node.inputs[1].spec.shape[0])


# ----------------------------------------------------------------------------------------------------------- linear algebra


@lower("triangular_solve")
def _(node: Any, a: Any, b: Any) -> Any:
    return torch.linalg.solve_triangular(a, b, upper=node.attrs["upper"])


@lower("thin_svd")
def _(node: Any, x: Any) -> Any:
    return torch.linalg.svd(x, full_matrices=False)


@lower("matmul")
def _(node: Any, x1: Any, x2: Any) -> Any:
    multiply = torch.mm if all(v.spec.ndim == 2 for v in node.inputs) else torch.matmul
    return multiply(x1, x2)


def _rank(node: Any) -> int:
    return int(node.inputs[0].spec.ndim) - 2


def _even(node: Any) -> bool:
    """Whether the padding is the same on both sides, all that torch's own padding can say, in one to three dimensions."""
    return all(before == after for before, after in node.attrs["padding"]) and 1 <= _rank(node) <= 3


def _before(node: Any) -> list[int]:
    return [before for before, _ in node.attrs["padding"]]


def _padding(node: Any, x: Any) -> tuple[Any, list[int]]:
    """An input and the padding left to the kernel: uneven padding is done beforehand."""
    if not 1 <= _rank(node) <= 3:
        raise UnsupportedError("torch has convolutions in one to three dimensions.", given=f"{_rank(node)} spatial dimensions", source=node.source)
    pairs = node.attrs["padding"]
    if _even(node):
        return x, _before(node)
    return torch.constant_pad_nd(x, [n for pair in reversed(pairs) for n in pair], 0.0), [0] * len(pairs)


@lower("conv")
def _(node: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    """``bias`` comes from ``passes.fuse_bias``."""
    a = node.attrs
    x, padding = _padding(node, x)
    return (torch.conv1d, torch.conv2d, torch.conv3d)[_rank(node) - 1](x, weight, bias, a["stride"], padding, a["dilation"], a["groups"])


@lower("conv_input_gradient")
def _(node: Any, g: Any, weight: Any) -> Any:
    a = node.attrs
    pairs = [(0, 0)] * _rank(node) if _even(node) else a["padding"]
    padding = _before(node) if _even(node) else [0] * _rank(node)
    spatial = [n + before + after for n, (before, after) in zip(a["spatial"], pairs, strict=True)]
    like = g.new_empty(()).expand((*node.shape[:2], *spatial))  # only its shape is used
    dx, _ = _backward(node, g, like, weight, padding, True, False)
    if _even(node):
        return dx
    return dx[(..., *(slice(before, before + n) for n, (before, _) in zip(a["spatial"], pairs, strict=True)))]


@lower("conv_weight_gradient")
def _(node: Any, x: Any, g: Any) -> Any:
    x, padding = _padding(node, x)
    return _backward(node, g, x, g.new_empty(()).expand(node.shape), padding, False, True)[1]


@lower("conv_gradients", when=_even)
def _(node: Any, g: Any, x: Any, weight: Any) -> Any:
    return _backward(node, g, x, weight, _before(node), *node.asked)


def _backward(node: Any, g: Any, x: Any, weight: Any, padding: list[int], *asked: bool) -> tuple[Any, ...]:
    """The gradients of a convolution with respect to its input and its weight, those that are asked."""
    a = node.attrs
    mask = [*asked, False]
    found = aten.convolution_backward.default(g, x, weight, None, a["stride"], padding, a["dilation"], False, [0] * _rank(node), a["groups"], mask)
    return tuple(found[i] if wanted else None for i, wanted in enumerate(asked))


# ----------------------------------------------------------------------------------------------------------- fused composites


@lower("gelu")
def _(node: Any, x: Any) -> Any:
    return F.gelu(x, approximate=node.attrs["approximate"])


@lower("relu_gradient")
def _(node: Any, g: Any, y: Any) -> Any:
    return aten.threshold_backward.default(g, y, 0)


@lower("gelu_gradient")
def _(node: Any, g: Any, x: Any) -> Any:
    return aten.gelu_backward.default(g, x, approximate=node.attrs["approximate"])


@lower("softmax_gradient", "log_softmax_gradient")
def _(node: Any, g: Any, y: Any) -> Any:
    kernel = aten._softmax_backward_data if node.op.name == "softmax_gradient" else aten._log_softmax_backward_data
    return kernel.default(g, y, node.attrs["axis"], DTYPES[node.outputs[0].spec.dtype])


@lower("masked_dropout")
def _(node: Any, x: Any, mask: Any) -> Any:
    return (x * mask).mul_(1.0 / (1.0 - node.attrs["p"]))


def _same_leads(node: Any) -> bool:
    """Attention without masks, of equal batch dimensions: what torch computes exactly so. (Its rows that a mask empties are 0, not NaN.)"""
    query, key, value, attn_mask, dropout_mask = node.inputs
    return attn_mask is None and dropout_mask is None and query.spec.shape[:-2] == key.spec.shape[:-2] == value.spec.shape[:-2]


@lower("attention", when=_same_leads)
def _(node: Any, query: Any, key: Any, value: Any, attn_mask: Any, dropout_mask: Any) -> Any:
    return F.scaled_dot_product_attention(query, key, value, is_causal=node.attrs["is_causal"], scale=node.attrs["scale"])


@lower("max_pool", when=_even)
def _(node: Any, x: Any) -> Any:
    a = node.attrs
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[_rank(node) - 1]
    return pool(x, a["kernel_size"], a["stride"], _before(node), a["dilation"], ceil_mode=a["ceil_mode"], return_indices=True)


@lower("max_pool_gradient", when=lambda node: _even(node) and _rank(node) > 1)
def _(node: Any, g: Any, x: Any, values: Any, indices: Any) -> Any:
    a = node.attrs
    kernel = aten.max_pool2d_with_indices_backward if _rank(node) == 2 else aten.max_pool3d_with_indices_backward
    return kernel.default(g, x, a["kernel_size"], a["stride"], _before(node), a["dilation"], a["ceil_mode"], indices)


def _average(node: Any) -> list[Any]:
    a = node.attrs
    return [a["kernel_size"], a["stride"], _before(node), a["ceil_mode"], a["count_include_pad"], a["divisor_override"]]


@lower("avg_pool", when=lambda node: _even(node) and _rank(node) > 1)
def _(node: Any, x: Any) -> Any:
    return (F.avg_pool2d if _rank(node) == 2 else F.avg_pool3d)(x, *_average(node))


@lower("avg_pool_gradient", when=lambda node: _even(node) and _rank(node) > 1)
def _(node: Any, g: Any) -> Any:
    kernel = aten.avg_pool2d_backward if _rank(node) == 2 else aten.avg_pool3d_backward
    return kernel.default(g, g.new_empty(()).expand(node.shape), *_average(node))


@lower("layer_norm")
def _(node: Any, x: Any, weight: Any, bias: Any) -> Any:
    return torch.native_layer_norm(x, node.attrs["normalized_shape"], weight, bias, node.attrs["eps"])[0]


@lower("layer_norm_gradient", when=lambda node: node.inputs[2] is not None)
def _(node: Any, g: Any, x: Any, weight: Any) -> Any:
    shape, eps = node.attrs["normalized_shape"], node.attrs["eps"]
    _, mean, scale = _statistics(x, shape, eps)
    return aten.native_layer_norm_backward.default(g, x, shape, mean, scale, weight, weight, [True, True, True])


def _statistics(x: Any, shape: Any, eps: float) -> Any:
    """The layer norm that the program already holds for ``x``, else a new one: its statistics depend on neither weight nor bias."""
    for user in x.node.users if isinstance(x, torch.fx.Proxy) else ():
        if user.target is torch.native_layer_norm and user.args[1] == shape and user.args[4] == eps:
            found = torch.fx.Proxy(user, x.tracer)
            return found[0], found[1], found[2]
    found = torch.native_layer_norm(x, shape, None, None, eps)
    return found[0], found[1], found[2]


@lower("batch_norm_inference")
def _(node: Any, x: Any, mean: Any, variance: Any, weight: Any, bias: Any) -> Any:
    return torch.batch_norm(x, weight, bias, mean, variance, False, 0.0, node.attrs["eps"], False)


@lower("batch_norm_training")
def _(node: Any, x: Any, weight: Any, bias: Any) -> Any:
    found = torch.batch_norm_update_stats(x, None, None, 0.0)
    mean, variance = found[0], found[1]
    return torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, node.attrs["eps"])[0], mean, variance


@lower("batch_norm_gradient")
def _(node: Any, g: Any, x: Any, mean: Any, variance: Any, weight: Any) -> Any:
    eps = node.attrs["eps"]
    return aten.native_batch_norm_backward.default(g, x, weight, None, None, mean, torch.rsqrt(variance + eps), True, eps, [True, True, True])


# -------------------------------------------------------------------------------------------------------- recurrent layers


RECURRENT = {"lstm": torch.lstm, "gru": torch.gru, "rnn": torch.rnn_tanh}


def _states_alone(node: Any) -> bool:
    """A recurrent layer of which only states are asked, not what made them, with two biases or none, without projection: what torch's kernels are for."""
    states = 2 if node.op.name == "lstm" else 1
    biases = {b is None for b in node.inputs[3 + states : 5 + states]}
    return len(biases) == 1 and node.inputs[5 + states :] in ((), (None,)) and not any(v.users for v in node.outputs[1 + states :])


def _recurrent(node: Any, x: Any, *rest: Any, train: bool = False) -> Any:
    """``train`` keeps what torch's own gradient needs."""
    name, reverse = node.op.name, node.attrs["reverse"]
    count = 2 if name == "lstm" else 1
    states = [s.unsqueeze(0) for s in rest[:count]]
    weights = [w for w in rest[count:] if w is not None]
    layer = torch.rnn_relu if node.attrs.get("nonlinearity") == "relu" else RECURRENT[name]
    biased = node.inputs[3 + count] is not None
    found = layer(torch.flip(x, (0,)) if reverse else x, states if count == 2 else states[0], weights, biased, 1, 0.0, train, False, False)
    return torch.flip(found[0], (0,)) if reverse else found[0], *(found[1 + i].squeeze(0) for i in range(count)), *(None,) * (len(node.outputs) - 1 - count)


lower(*RECURRENT, when=_states_alone)(_recurrent)


# ------------------------------------------------------------------------------------------- where torch itself differentiates

_GRADIENTS = frozenset(name for name in lower if name.endswith(("_gradient", "_gradients")) and catalogue[name].composite)
NOT_COMPILED = frozenset(["batch_norm_training"])
"""What TorchInductor does not know the kernel of."""

NOT_DIFFERENTIABLE = _GRADIENTS - {"stop_gradient"} | {"batch_norm_inference"}
"""Fused kernels that torch differentiates with respect to some of their inputs only, or not at all: decomposed there."""

differentiable: dict[str, Any] = {}
"""Lowerings that take another's place there."""


def _batch_norm_differentiable(node: Any, x: Any, weight: Any, bias: Any) -> Any:
    axes = [0, *range(2, node.inputs[0].spec.ndim)]
    found = torch.var_mean(x, axes, correction=0)
    return torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, node.attrs["eps"])[0], found[1], found[0]


differentiable["batch_norm_training"] = _batch_norm_differentiable
differentiable.update(dict.fromkeys(RECURRENT, functools.partial(_recurrent, train=True)))

"""Neural primitives, and the composites that MXNet has one kernel for.

A fused kernel is used where it is right: oneDNN's kernels are float32 only, and several of MXNet's take their parameters in float32, so most composites are
decomposed in float64. Native kernels that lose NaN are given it back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unimodel.dim import Dim
from unimodel.graph import Node
from unimodel_mxnet.matrices import lower  # one table, with the ops of arrays and matrices in it by now
from unimodel_mxnet.model import Call
from unimodel_mxnet.ops import activation, cast, cut, internal, legacy, npx, of_rows, pad, reshape, select, snp, sym, transpose

equal = sym._internal._equal  # compares to floats, and is skipped in differentiation, which BlockGrad is not


def float32(node: Node) -> bool:
    return node.outputs[0].spec.dtype == "float32"


# ------------------------------------------------------------------------------------------------------------- activations

BLOCKED_SIZE = 2**14
"""Elements from which an op of oneDNN's is worth its overhead; after a convolution it also keeps that kernel's own memory layout."""


@lower("relu")
def _(call: Call, x: Any) -> Any:
    size, dtype = math.prod(call.out.shape), call.out.dtype
    blocked = dtype == "float32" and (isinstance(size, Dim) or size >= BLOCKED_SIZE)
    if call.build.hasty:
        return legacy(sym.Activation, x, act_type="relu") if blocked else legacy(sym.relu, x)
    if blocked:
        return legacy(sym.LeakyReLU, x, act_type="elu", slope=0.0)  # oneDNN's relu turns NaN into 0, its elu with a flat left side does not
    return select(internal.less_equal_scalar(x, scalar=0.0), snp.zeros_like(x), x)  # MXNet's own has no gradient at NaN


@lower("gelu", when=lambda node: float32(node) and node.attrs["approximate"] == "none")
def _(call: Call, x: Any) -> Any:
    return activation(call, sym.LeakyReLU, x, act_type="gelu")


@lower("softmax")
def _(call: Call, x: Any) -> Any:
    return along_last(call, lambda x: npx.softmax(x, axis=-1), x)


def along_last(call: Call, function: Callable[[Any], Any], x: Any) -> Any:
    """An op along ``axis`` with that axis moved to the end, where oneDNN is twenty times as fast. The result is kept in that order too: ``take_along_axis`` looks for it."""
    shape, axis, before = call.specs[0].shape, call.attrs["axis"], call.made_by(0, "permute_dims")
    order = [*(i for i in range(len(shape)) if i != axis), axis]
    if before is not None and [before.attrs["axes"][i] for i in order] == list(range(len(shape))):
        moved = function(call.build.symbol(before.inputs[0]))
    else:
        moved = function(transpose(call, x, shape, order))
    call.build.kept["axis last", call.node.outputs[0], axis] = moved
    return transpose(call, moved, [shape[i] for i in order], [order.index(i) for i in range(len(shape))])


@lower("log_softmax", when=float32)
def _(call: Call, x: Any) -> Any:
    def last(x: Any) -> Any:
        y = legacy(sym.log_softmax, x, axis=-1)  # each row off by up to 3e-6, which is seen where it is largest: there the logarithm is exact
        largest = legacy(sym.topk, legacy(sym.BlockGrad, x), axis=-1, k=1, ret_typ="indices", dtype="int32")
        there, exact = (npx.pick(v, largest, axis=-1, keepdims=True) for v in (y, npx.softmax(x, axis=-1)))
        error = there - snp.log(exact)
        if call.backward:  # repeated by a matrix product: the gradient of a difference of two shapes is slow, even where nobody asks for it
            size = call.out.shape[call.attrs["axis"]]
            error = legacy(sym.FullyConnected, error, call.build.literal(np.ones((size, 1), "float32")), num_hidden=size, no_bias=True, flatten=False)
        return y - legacy(sym.BlockGrad, error)

    return along_last(call, last, x)


@lower("stop_gradient")
def _(call: Call, x: Any) -> Any:
    return legacy(sym.BlockGrad, x) if call.build.flowing else x


# ------------------------------------------------------------------------------------------------------ linear, convolution


@lower("linear")
def _(call: Call, x: Any, weight: Any, bias: Any) -> Any:
    inputs = (x, weight) if bias is None else (x, weight, bias)
    return legacy(sym.FullyConnected, *inputs, num_hidden=call.out.shape[-1], no_bias=bias is None, flatten=False)


def _symmetric(padding: Sequence[Any]) -> bool:
    return all(lo == hi for lo, hi in padding)


def _geometry(call: Call, pads: Sequence[int]) -> dict[str, Any]:
    """What MXNet's convolution and its transpose are both told."""
    a = call.attrs
    return {"kernel": call.specs[1].shape[2:], "stride": a["stride"], "dilate": a["dilation"], "pad": tuple(pads), "num_group": a["groups"]}


@lower("conv")
def _(call: Call, x: Any, weight: Any, bias: Any = None) -> Any:
    """``bias`` comes from ``passes.fuse_bias``."""
    pads, padding = [lo for lo, _ in call.attrs["padding"]], call.attrs["padding"]
    if not _symmetric(padding):
        x, pads = pad(call, x, call.specs[0].shape, ((0, 0), (0, 0), *padding)), [0] * len(padding)
    inputs = (x, weight) if bias is None else (x, weight, bias)
    return legacy(sym.Convolution, *inputs, num_filter=call.out.shape[1], no_bias=bias is None, **_geometry(call, pads))


def _deconvolves(node: Node) -> bool:
    """Deconvolution lacks three dimensions, and in float64 is wrong for strides with dilation."""
    strides, dilation = node.attrs["stride"], node.attrs["dilation"]
    return len(strides) <= 2 and (max(strides) == 1 or max(dilation) == 1)


@lower("conv_input_gradient", when=_deconvolves)
def _(call: Call, g: Any, weight: Any) -> Any:
    a, outs, kernel, lead = call.attrs, call.specs[0].shape[2:], call.specs[1].shape[2:], call.out.shape[:2]
    origin = [lo for lo, _ in a["padding"]]
    pads = origin if _symmetric(a["padding"]) else [0] * len(kernel)
    full = [(m - 1) * s + d * (k - 1) + 1 - 2 * p for m, s, d, k, p in zip(outs, a["stride"], a["dilation"], kernel, pads, strict=True)]
    origin = [lo - p for lo, p in zip(origin, pads, strict=True)]
    end = [lo + n for lo, n in zip(origin, a["spatial"], strict=True)]
    missing = tuple(max(0, e - f) for e, f in zip(end, full, strict=True))
    x = legacy(sym.Deconvolution, g, weight, adj=missing, num_filter=lead[1], no_bias=True, **_geometry(call, pads))
    return cut(call, x, (*lead, *(f + m for f, m in zip(full, missing, strict=True))), (0, 0, *origin), (*lead, *end))


# ---------------------------------------------------------------------------------------------------------------- pooling


def _pools_whole(node: Node) -> bool:
    """Whether MXNet's window sizes and padding are the catalogue's for this node; its ceil mode has another rule for the last window."""
    a = node.attrs
    return len(a["kernel_size"]) <= 2 and not a["ceil_mode"] and _symmetric(a["padding"]) and all(d == 1 for d in a.get("dilation", ()))


def _pool(call: Call, x: Any, kind: str) -> Any:
    a = call.attrs
    return legacy(sym.Pooling, x, pool_type=kind, kernel=a["kernel_size"], stride=a["stride"], pad=tuple(lo for lo, _ in a["padding"]))


@lower("max_pool", when=lambda node: _pools_whole(node) and not node.outputs[1].users)
def _(call: Call, x: Any) -> Any:
    indices = call.build.later(call.node, 1)
    if not _pools_whole(call.node):  # MXNet differentiates, and a maximum's gradient would be shared among equals: the first has it all
        (n, channels, *spatial), out = call.specs[0].shape, call.out.shape
        return reshape(call, of_rows(call, x, reshape(call, indices(), (n * channels, math.prod(out[2:]))), n * channels, math.prod(spatial)), out), indices
    values = _pool(call, x, "max")
    if not call.build.hasty:  # MXNet's maximum passes over NaN, which a mean does not: 0 / (mean == mean) is 0, or NaN
        mean = _pool(call, x, "avg")
        values = values + internal.rtrue_divide_scalar(legacy(equal, mean, mean), scalar=0.0)
    if call.only_for("relu") or call.made_by(0, "relu"):
        return values, indices
    least = float(np.finfo(call.out.dtype).min)  # which is what MXNet finds among nothing but -inf; to relu it is the same
    return values + internal.multiply_scalar(cast(internal.less_equal_scalar(values, scalar=least), call.out.dtype), scalar=least), indices


def _averages_whole(node: Node) -> bool:
    padded = any(p != (0, 0) for p in node.attrs["padding"])
    return _pools_whole(node) and node.attrs["divisor_override"] is None and (node.attrs["count_include_pad"] or not padded)  # else MXNet prints a line


@lower("avg_pool", when=_averages_whole)
def _(call: Call, x: Any) -> Any:
    return _pool(call, x, "avg")


# ---------------------------------------------------------------------------------------------------------- normalisation


def _affine(call: Call, size: int, weight: Any, bias: Any) -> tuple[Any, Any]:
    dtype = call.out.dtype
    weight = call.build.literal(np.ones(size, dtype)) if weight is None else weight
    return weight, call.build.literal(np.zeros(size, dtype)) if bias is None else bias


def normalized(call: Call, channels: int, x: Any, weight: Any, bias: Any) -> list[Any]:
    """MXNet's batch norm: the result, the means, and what it calls variances, which are one over their roots."""
    running = [call.build.auxiliary_state(np.zeros(channels, call.out.dtype)) for _ in range(2)]
    inputs = [s.as_nd_ndarray() for s in (x, weight, bias)]
    return [s.as_np_ndarray() for s in sym.BatchNorm(*inputs, *running, eps=call.attrs["eps"], fix_gamma=False, output_mean_var=True)]


@lower("batch_norm_training")
def _(call: Call, x: Any, weight: Any, bias: Any) -> Any:
    if any(call.flows(i) for i in (1, 2)):  # MXNet's BatchNorm has no gradient through its statistics
        return call.build.inline(call.node)
    channels = call.specs[0].shape[1]
    y, mean, scale = normalized(call, channels, x, *_affine(call, channels, weight, bias))
    return y, mean, 1.0 / (scale * scale) - call.attrs["eps"]


@lower("layer_norm", when=float32)
def _(call: Call, x: Any, weight: Any, bias: Any) -> Any:
    shape, size = call.specs[0].shape, math.prod(call.attrs["normalized_shape"])
    lead = shape[: len(shape) - len(call.attrs["normalized_shape"])]
    rows = math.prod(lead)
    if not call.backward:
        weight, bias = _affine(call, size, *(w if w is None else reshape(call, w, (size,)) for w in (weight, bias)))
        return reshape(call, legacy(sym.LayerNorm, reshape(call, x, (*lead, size)), weight, bias, axis=-1, eps=call.attrs["eps"]), shape)
    # The gradient of MXNet's own takes thirteen times as long as what it is of. Rows taken for channels, oneDNN's batch norm is the same, but for what
    # it is scaled by: that is repeated for each row by a matrix product, whose gradient is the sum over rows that MXNet is slow at.
    y = reshape(call, normalized(call, rows, reshape(call, x, (1, rows, size)), *_affine(call, rows, None, None))[0], (rows, size))
    ones = call.build.literal(np.ones((rows, 1), "float32"))
    weight, bias = (w if w is None else legacy(sym.FullyConnected, ones, reshape(call, w, (size, 1)), num_hidden=size, no_bias=True) for w in (weight, bias))
    y = y if weight is None else legacy(sym.elemwise_mul, y, weight)
    return reshape(call, y if bias is None else legacy(sym.elemwise_add, y, bias), shape)


# -------------------------------------------------------------------------------------------------------- recurrent layers


def _states_alone(node: Node) -> bool:
    """A recurrent layer of which only states are asked, not what made them: all that MXNet's kernel gives. It does not project."""
    states = 2 if node.op.name == "lstm" else 1
    plain = len(node.inputs) < 8 or node.inputs[7] is None
    return plain and node.attrs.get("nonlinearity") != "relu" and not any(v.users for v in node.outputs[1 + states :])


def _once(call: Call, index: int, x: Any) -> Any:
    """An input for the kernel alone, which refuses to add its gradient to another's: the sum must be made elsewhere.

    The attribute is never read; it keeps MXNet from merging what stands before two kernels into one.
    """
    attribute = {"__before__": f"{len(call.build.symbols)}.{index}"}
    if call.node.inputs[index] in call.build.flowing:
        return legacy(sym._internal._mul_scalar, x, scalar=1.0, attr=attribute)
    return legacy(sym.BlockGrad, x, attr=attribute)


@lower("lstm", "gru", "rnn", when=_states_alone)
def _(call: Call, x: Any, *rest: Any) -> Any:
    name, reverse = call.node.op.name, call.attrs["reverse"]
    count = 2 if name == "lstm" else 1
    states = [reshape(call, _once(call, 1 + i, s), (1, *call.outputs[1 + i].shape)) for i, s in enumerate(rest[:count])]
    x = snp.flip(x, axis=0) if reverse else _once(call, 0, x)
    rows = call.specs[1 + count].shape[0]
    none = call.build.literal(np.zeros(rows, call.out.dtype))
    parts = [reshape(call, none if w is None else w, (-1, rows)) for w in rest[count : count + 4]]  # of two dimensions: oneDNN joins no others
    found = sym.RNN(
        *(s.as_nd_ndarray() for s in (x, reshape(call, legacy(sym.concat, *parts, dim=0), (-1,)), *states)),
        state_size=call.out.shape[-1],
        num_layers=1,
        mode={"rnn": "rnn_tanh"}.get(name, name),
        state_outputs=True,
    )
    output, *last = (s.as_np_ndarray() for s in found)
    last = [reshape(call, s, spec.shape) for s, spec in zip(last, call.outputs[1:], strict=False)]
    return snp.flip(output, axis=0) if reverse else output, *last, *(call.build.later(call.node, i) for i in range(1 + count, len(call.outputs)))

"""Convolution, pooling and batch norm: TensorFlow's CPU kernels want channels last.

Core's tensors are (N, C, *spatial). Where ``passes.channels_last`` has marked a node, its images come and go as (N, *spatial, C); elsewhere they are moved around the
kernel. 1-d images are 2-d ones with a dimension of size 1. Padding is ``SAME`` where that happens to be the padding asked for, else it is done beforehand: the kernels'
explicit padding takes a path that is several times slower.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from unimodel.errors import UnsupportedError
from unimodel.graph import Graph, Node, TensorSpec
from unimodel.ops.pooling import plain_average, pool_geometry
from unimodel_tensorflow.arrays import tf
from unimodel_tensorflow.kernels import raw
from unimodel_tensorflow.ops import constant, lower, reshape, shape_tensor, total, transpose

Pads = Sequence[tuple[int, int]]


def marked(node: Any) -> bool:
    return bool(node.attrs.get("channels_last"))


def image(node: Any, x: Any) -> Any:
    """A node's image as (N, *spatial, C), with two spatial dimensions at least."""
    x = x if marked(node) else transpose(x, [0, *range(2, x.shape.rank), 1])
    return raw.ExpandDims(input=x, axis=constant(1, "int32")) if x.shape.rank == 3 else x


def result(node: Any, y: Any, rank: int) -> Any:
    """An image made by a kernel in the form that the node's results have."""
    y = raw.Squeeze(input=y, axis=[1]) if rank == 3 else y
    return y if marked(node) else transpose(y, [0, rank - 1, *range(1, rank - 1)])


def spatial(node: Any, which: int = 0) -> list[int]:
    """The spatial sizes of one of a node's inputs, which are never symbolic."""
    shape = node.inputs[which].spec.shape
    return list(shape[1:-1] if marked(node) else shape[2:])


def wide(values: Iterable[Any], filler: Any = 1) -> list[Any]:
    """What holds per spatial dimension, for two of them where there is one."""
    found = list(values)
    return [filler, *found] if len(found) == 1 else found


def pad(x: Any, pads: Pads, value: float = 0.0) -> Any:
    if all(p == (0, 0) for p in pads):
        return x
    return raw.PadV2(input=x, paddings=constant([(0, 0), *pads, (0, 0)]), constant_values=constant(value, x.dtype.name))


def crop(x: Any, pads: Pads, sizes: Sequence[int]) -> Any:
    if all(p == (0, 0) for p in pads):
        return x
    return raw.Slice(input=x, begin=constant([0, *(lo for lo, _ in pads), 0]), size=constant([-1, *sizes, -1]))


def shaped(x: Any, shape: list[int]) -> Any:
    return x if x.shape.as_list() == shape else raw.Reshape(tensor=x, shape=constant(shape))


def kernel_padding(sizes: Sequence[int], window: Sequence[int], stride: Sequence[int], pads: Pads) -> tuple[str, Pads]:
    """The padding a kernel can do itself, and what is left to be done before it."""
    same = []
    for n, k, s in zip(sizes, window, stride, strict=True):
        missing = (-(-n // s) - 1) * s + k - n
        same.append((missing // 2, missing - missing // 2))
    return ("SAME", [(0, 0)] * len(sizes)) if list(pads) == same else ("VALID", pads)


# ------------------------------------------------------------------------------------------------------------ convolution


KERNELS = {
    "depthwise": (raw.DepthwiseConv2dNative, raw.DepthwiseConv2dNativeBackpropInput, raw.DepthwiseConv2dNativeBackpropFilter),
    "2-d": (raw.Conv2D, raw.Conv2DBackpropInput, raw.Conv2DBackpropFilter),
    "3-d": (raw.Conv3D, raw.Conv3DBackpropInputV2, raw.Conv3DBackpropFilterV2),
}
"""A convolution's kernel, and those of its gradients by images and by filters."""


class Convolution:
    """One convolution's geometry, and which kernels are for it, on images of (N, *spatial, C) and weights of (*kernel, C / groups, out)."""

    def __init__(self, node: Any, sizes: Sequence[int], weight: Sequence[int]) -> None:
        attrs, (outs, channels, *kernel) = node.attrs, weight
        self.rank = len(weight)
        if self.rank > 5:
            raise UnsupportedError("TensorFlow convolves over 1 to 3 dimensions.", given=f"{len(kernel)} spatial dimensions", source=node.source)
        self.sizes, self.kernel, stride, self.dilation = wide(sizes), wide(kernel), wide(attrs["stride"]), wide(attrs["dilation"])
        self.extent = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        padding, self.pads = kernel_padding(self.sizes, self.extent, stride, wide(attrs["padding"], (0, 0)))
        self.padded = [n + lo + hi for n, (lo, hi) in zip(self.sizes, self.pads, strict=True)]
        self.options = {"strides": [1, *stride, 1], "padding": padding}
        groups = attrs["groups"]
        # where each channel is a group of its own there are kernels for all groups at once; they take one stride for both dimensions
        depthwise = groups > 1 and channels == 1 and self.rank < 5 and stride[0] == stride[1]
        self.pieces = 1 if depthwise else groups
        self.forward_kernel, self.input_kernel, self.filter_kernel = KERNELS["depthwise" if depthwise else "3-d" if self.rank == 5 else "2-d"]
        self.held = [*kernel, channels, outs]
        self.ends = [groups, outs // groups] if depthwise else [channels, outs]
        """What comes after the kernel's dimensions in a filter."""

    def taps(self) -> dict[str, Any]:
        """The slice of a dilated filter that holds the weight's numbers."""
        bounds = {"begin": [0] * len(self.extent + self.ends), "end": [*self.extent, *self.ends], "strides": [*self.dilation, 1, 1]}
        return {k: constant(v) for k, v in bounds.items()}

    def weight(self, w: Any) -> Any:
        """(*kernel, C / groups, out) as the kernels want it, dilation filled in with zeros, since no gradient's kernel knows dilation."""
        w = shaped(w, [*self.kernel, *self.ends])
        return w if self.extent == self.kernel else raw.StridedSliceGrad(shape=constant([*self.extent, *self.ends]), dy=w, **self.taps())

    def unweight(self, w: Any) -> Any:
        """The way back, for a weight's gradient."""
        return shaped(w if self.extent == self.kernel else raw.StridedSlice(input=w, **self.taps()), self.held)

    def by_group(self, kernel: Callable[..., Any], pair: dict[str, Any], **sizes: Any) -> Any:
        """A kernel without groups, group by group: of each in a pair the last dimension is what divides, images by channels, weights by outputs."""
        if self.pieces == 1:
            return kernel(**pair, **sizes, **self.options)
        pieces = [raw.Split(axis=constant(t.shape.rank - 1, "int32"), value=t, num_split=self.pieces) for t in pair.values()]
        parts = [kernel(**dict(zip(pair, p, strict=True)), **sizes, **self.options) for p in zip(*pieces, strict=True)]
        return raw.ConcatV2(values=parts, axis=constant(parts[0].shape.rank - 1, "int32"))


def used_as_filters(graph: Graph) -> set[str]:
    """The state that is better held as filters: the weights of convolutions, and what has their shapes, which is their optimizer's."""
    weights = [n.inputs[1] for n in graph.nodes if n.op.name in ("conv", "conv_input_gradient")]
    sources = [v.producer.inputs[0] if v is not None and v.producer is not None and v.producer.op.name == "cast" else v for v in weights]
    shapes = {e.spec.shape for e in graph.of_kind("state") if e.value in sources}
    return {e.name for e in graph.of_kind("state") if e.spec.shape in shapes and e.spec.is_float}


@lower("conv")
def _(node: Any, x: Any, weight: Any) -> Any:
    c = Convolution(node, spatial(node), node.inputs[1].spec.shape)
    pair = {"input": pad(image(node, x), c.pads), "filter": c.weight(node.filters(1, weight))}
    return result(node, c.by_group(c.forward_kernel, pair), c.rank)


@lower("conv_input_gradient")
def _(node: Any, g: Any, weight: Any) -> Any:
    c = Convolution(node, node.attrs["spatial"], node.inputs[1].spec.shape)
    pair = {"out_backprop": image(node, g), "filter": c.weight(node.filters(1, weight))}
    sizes = shape_tensor([node.shape[0], *c.padded, c.ends[0]], "int32")
    return result(node, crop(c.by_group(c.input_kernel, pair, input_sizes=sizes), c.pads, c.sizes), c.rank)


@lower("conv_weight_gradient")
def _(node: Any, x: Any, g: Any) -> Any:
    c = Convolution(node, spatial(node), node.outputs[0].spec.shape)
    pair = {"input": pad(image(node, x), c.pads), "out_backprop": image(node, g)}
    sizes = constant([*c.extent, c.ends[0], c.ends[1] // c.pieces], "int32")
    return node.of_filters(c.unweight(c.by_group(c.filter_kernel, pair, filter_sizes=sizes)))


# ---------------------------------------------------------------------------------------------------------------- pooling


class Pool:
    """One pooling's geometry: output sizes, padding, and the options of TensorFlow's kernels."""

    def __init__(self, node: Any, sizes: Sequence[int]) -> None:
        a = node.attrs
        self.rank = len(sizes) + 2
        outs, pads = pool_geometry(sizes, a["kernel_size"], a["stride"], a["padding"], (1,) * len(sizes), a["ceil_mode"])
        self.sizes, self.outs, window, stride, self.pads = wide(sizes), wide(outs), wide(a["kernel_size"]), wide(a["stride"]), wide(pads, (0, 0))
        self.options = {"ksize": [1, *window, 1], "strides": [1, *stride, 1], "padding": "VALID"}

    def disjoint(self) -> bool:
        """Whether each element is in one window at most, and none is padding."""
        return self.options["ksize"] == self.options["strides"] and all(p == (0, 0) for p in self.pads)

    def corners(self, x: Any) -> list[Any]:
        """Of disjoint windows, their first elements, their second ones and so on, each as (N, *outs, C)."""
        _, kh, kw, _ = self.options["ksize"]
        h, w = self.outs
        return [x[:, i : h * kh : kh, j : w * kw : kw] for i in range(kh) for j in range(kw)]


def larger(a: Any, b: Any) -> Any:
    """The larger of two, or NaN: XLA's maximum loses the one of its second operand."""
    return raw.SelectV2(condition=raw.LogicalOr(x=raw.GreaterEqual(x=a, y=b), y=raw.IsNan(x=a)), t=a, e=b)


def _has_kernel(node: Node) -> bool:
    return len(node.attrs["kernel_size"]) <= 2 and set(node.attrs.get("dilation", (1,))) == {1}


@lower("max_pool", when=_has_kernel)
def _(node: Any, x: Any) -> Any:
    pool = Pool(node, spatial(node))
    padded = pad(image(node, x), pool.pads, -math.inf)

    def indices() -> Any:
        (spec,), axes = node.specs, list(range(pool.rank))
        first = [0, axes[-1], *axes[1:-1]] if marked(node) else axes
        found = node.decomposed([TensorSpec(tuple(spec.shape[i] for i in first), spec.dtype)], transpose(x, first))[1]
        return transpose(found, [first.index(i) for i in axes])

    if node.writer.xla and pool.disjoint():  # XLA's own pooling loses NaN, and its gradient scatters elements one by one
        return result(node, functools.reduce(larger, pool.corners(padded)), pool.rank), indices
    values = raw.MaxPool(input=padded, **pool.options)

    def exact() -> Any:
        """That kernel passes over NaN, and its least result is finite; a mean of values between 0 and 6 is NaN just where one of them is."""
        bounded = raw.AvgPool(value=raw.Relu6(features=padded), **pool.options)
        least = raw.Fill(dims=raw.Shape(input=values), value=constant(-math.inf, x.dtype.name))
        floored = raw.Select(condition=raw.Equal(x=values, y=constant(x.dtype.min, x.dtype.name)), x=least, y=values)
        return raw.AddV2(x=floored, y=raw.Mul(x=bounded, y=constant(0.0, x.dtype.name)))

    # a sum of squares is finite where nothing needs that care, and is the cheapest way to see
    values = tf.cond(raw.IsFinite(x=raw.L2Loss(t=x)), lambda: values, exact)

    return result(node, values, pool.rank), indices


def _of_max_pool(node: Node) -> bool:
    """Whether a max-pool's gradient is that of a max-pool in the graph, whose indices then need not be known."""
    _, x, values, indices = node.inputs
    producer = None if indices is None else indices.producer
    if producer is None or producer.op.name != "max_pool" or not _has_kernel(node):
        return False
    return producer.inputs == (x,) and producer.outputs == (values, indices) and dict(producer.attrs) == dict(node.attrs)


def of_winners(pool: Pool, g: Any, x: Any, values: Any) -> Any:
    """Each window's gradient at its first largest element, or first of all where there is NaN."""
    _, kh, kw, _ = pool.options["ksize"]
    winner = constant(0, "int32")
    for i, corner in reversed([*enumerate(pool.corners(x))]):
        winner = raw.SelectV2(condition=raw.Less(x=corner, y=values), t=winner, e=constant(i, "int32"))
    wins = raw.Equal(x=winner[:, :, None, :, None], y=constant(np.arange(kh * kw).reshape(kh, 1, kw, 1), "int32"))
    found = raw.SelectV2(condition=wins, t=g[:, :, None, :, None], e=constant(0, g.dtype.name))
    inner = [n * k for n, k in zip(pool.outs, (kh, kw), strict=True)]
    found = raw.Reshape(tensor=found, shape=constant([-1, *inner, x.shape[-1]]))
    return pad(found, [(0, n - m) for n, m in zip(pool.sizes, inner, strict=True)])


@lower("max_pool_gradient", when=_of_max_pool)
def _(node: Any, g: Any, x: Any, values: Any, indices: Any) -> Any:
    pool = Pool(node, spatial(node, 1))
    padded = pad(image(node, x), pool.pads, -math.inf)
    if node.writer.xla and pool.disjoint():
        return result(node, of_winners(pool, image(node, g), padded, image(node, values)), pool.rank)
    forward = raw.MaxPool(input=padded, **pool.options)  # the forward pass's own, once TensorFlow has merged equal ops; the two kernels work in a pair
    found = raw.MaxPoolGrad(orig_input=padded, orig_output=forward, grad=image(node, g), **pool.options)
    return result(node, crop(found, pool.pads, pool.sizes), pool.rank)


def _plain(node: Node) -> bool:
    return _has_kernel(node) and plain_average(*(node.attrs[name] for name in ("padding", "ceil_mode", "divisor_override")))


@lower("avg_pool", when=_plain)
def _(node: Any, x: Any) -> Any:
    pool = Pool(node, spatial(node))
    return result(node, raw.AvgPool(value=image(node, x), **pool.options), pool.rank)


@lower("avg_pool_gradient", when=_plain)
def _(node: Any, g: Any) -> Any:
    pool, shape = Pool(node, node.attrs["spatial"]), node.shape
    sizes = shape_tensor([shape[0], *pool.sizes, shape[-1 if marked(node) else 1]], "int32")
    return result(node, raw.AvgPoolGrad(orig_input_shape=sizes, grad=image(node, g), **pool.options), pool.rank)


# ------------------------------------------------------------------------------------------------------------- batch norm


def _single(node: Node) -> bool:
    """The kernels are for float32."""
    return node.outputs[0].spec.dtype == "float32"


def _rows(node: Any, x: Any) -> Any:
    """A batch of any rank as (N, 1, spatial, C)."""
    x = image(node, x) if x.shape.rank > 2 else x
    return raw.Reshape(tensor=x, shape=constant([-1, 1, math.prod(x.shape[1:-1]), x.shape[-1]]))


def _unrows(node: Any, rows: Any) -> Any:
    shape, rank = node.shape, len(node.shape)
    if marked(node) or rank == 2:
        return reshape(rows, shape)
    return transpose(reshape(rows, [shape[0], *shape[2:], shape[1]]), [0, rank - 1, *range(1, rank - 1)])


def _normalised(node: Any, rows: Any, mean: Any, variance: Any, weight: Any, bias: Any) -> Any:
    weight = constant(np.ones(rows.shape[-1]), "float32") if weight is None else weight
    bias = constant(np.zeros(rows.shape[-1]), "float32") if bias is None else bias
    return raw.FusedBatchNormV3(x=rows, scale=weight, offset=bias, mean=mean, variance=variance, epsilon=node.attrs["eps"], is_training=False)[0]


@lower("batch_norm_inference", when=_single)
def _(node: Any, x: Any, mean: Any, variance: Any, weight: Any, bias: Any) -> Any:
    return _unrows(node, _normalised(node, _rows(node, x), mean, variance, weight, bias))


@lower("batch_norm_training", when=_single)
def _(node: Any, x: Any, weight: Any, bias: Any) -> Any:
    # the kernel's own statistics add up one by one, which costs digits: 3e-5 of the result at 2**18 elements per channel
    rows = _rows(node, x)
    count = raw.Cast(x=raw.Size(input=rows), DstT=tf.float32) / rows.shape[-1]
    mean = raw.RealDiv(x=total(rows, [0, 1, 2]), y=count)
    centred = raw.BiasAdd(value=rows, bias=raw.Neg(x=mean))
    variance = raw.RealDiv(x=total(raw.Square(x=centred), [0, 1, 2]), y=count)
    return _unrows(node, _normalised(node, rows, mean, variance, weight, bias)), mean, variance


@lower("batch_norm_gradient", when=_single)
def _(node: Any, g: Any, x: Any, mean: Any, variance: Any, weight: Any) -> Any:
    rows = _rows(node, x)
    weight = constant(np.ones(rows.shape[-1]), "float32") if weight is None else weight
    statistics = {"reserve_space_1": mean, "reserve_space_2": variance, "reserve_space_3": constant([], "float32")}
    dx, dw, db, *_ = raw.FusedBatchNormGradV3(y_backprop=_rows(node, g), x=rows, scale=weight, epsilon=node.attrs["eps"], is_training=True, **statistics)
    return _unrows(node, dx), dw, db

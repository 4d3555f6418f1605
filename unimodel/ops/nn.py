"""Neural-network ops, with PyTorch's names, arguments and meaning (https://pytorch.org/docs/stable/nn.functional.html).

Images are (N, C, *spatial) on every backend; a backend whose kernels want another order moves the axes in its own lowering. Convolution is one
primitive and its two gradients, each the gradient of the other two. Everything else is a composite with a gradient rule of its own where
a fused backward kernel exists somewhere.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from unimodel.dim import Size, product
from unimodel.errors import ShapeError
from unimodel.graph import TensorSpec
from unimodel.ops import array as ops
from unimodel.ops.definition import Application, composite, primitive
from unimodel.ops.rules import canonical_axis, canonical_spatial, known, need_float, need_integer
from unimodel.ops.samples import Sample, booleans, distinct, integers, nonzero, normal, uniform
from unimodel.tracing import Tensor

__all__ = [
    "attention",
    "avg_pool",
    "avg_pool2d",
    "avg_pool_gradient",
    "batch_norm_gradient",
    "batch_norm_inference",
    "batch_norm_training",
    "conv",
    "conv2d",
    "conv_input_gradient",
    "conv_weight_gradient",
    "elu",
    "embedding",
    "gelu",
    "gelu_gradient",
    "layer_norm",
    "layer_norm_gradient",
    "leaky_relu",
    "linear",
    "log_softmax",
    "log_softmax_gradient",
    "logsigmoid",
    "masked_dropout",
    "max_pool",
    "max_pool2d",
    "max_pool_gradient",
    "relu",
    "relu_gradient",
    "same_padding",
    "scaled_dot_product_attention",
    "silu",
    "softmax",
    "softmax_gradient",
    "softplus",
]

# ------------------------------------------------------------------------------------------------------------- activations


@composite(samples=[Sample(nonzero(2, 3))])
def relu(x: Tensor) -> Tensor:
    """``max(x, 0)``; NaN stays NaN, the gradient at 0 is 0."""
    return ops.where(ops.less_equal(x, 0), 0, x)


@relu.vjp
def _(node: Application, g: Tensor) -> Any:
    return relu_gradient(g, node.outputs[0])


@composite(samples=[Sample(normal(2, 3), nonzero(2, 3))])
def relu_gradient(g: Tensor, y: Tensor) -> Tensor:
    """``g`` where relu's result ``y`` is positive (or NaN), 0 elsewhere."""
    return ops.where(ops.less_equal(y, 0), 0, g)


@composite(samples=[Sample(nonzero(2, 3)), Sample(nonzero(4), negative_slope=0.2)])
def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """``x`` where positive, ``negative_slope * x`` elsewhere."""
    return ops.where(ops.greater(x, 0), x, x * negative_slope)


@composite(samples=[Sample(nonzero(2, 3)), Sample(nonzero(4), alpha=0.5)])
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """``x`` where positive, ``alpha * (exp(x) - 1)`` elsewhere (Clevert et al. 2015)."""
    positive = ops.greater(x, 0)
    return ops.where(positive, x, alpha * ops.expm1(ops.where(positive, 0, x)))


@composite(samples=[Sample(normal(2, 3)), Sample(normal(2, 3), approximate="tanh")])
def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """``x`` times the normal distribution function at x; ``approximate="tanh"`` is the tanh formula (Hendrycks and Gimpel 2016)."""
    if approximate == "tanh":
        return 0.5 * x * (1.0 + ops.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))
    if approximate != "none":
        raise ShapeError("approximate is 'none' or 'tanh'.", given=approximate)
    return 0.5 * x * (1.0 + ops.erf(x * math.sqrt(0.5)))


@gelu.vjp
def _(node: Application, g: Tensor) -> Any:
    return gelu_gradient(g, node.inputs[0], node.attrs["approximate"])


@composite(samples=[Sample(normal(2, 3), normal(2, 3)), Sample(normal(2, 3), normal(2, 3), approximate="tanh")])
def gelu_gradient(g: Tensor, x: Tensor, approximate: str = "none") -> Tensor:
    """The gradient of gelu at x, times ``g``."""
    if approximate == "tanh":
        scale = math.sqrt(2.0 / math.pi)
        t = ops.tanh(scale * (x + 0.044715 * x * x * x))
        inner = scale * (1.0 + 3 * 0.044715 * x * x)
        return g * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner)
    density = ops.exp(-0.5 * x * x) * (1.0 / math.sqrt(2.0 * math.pi))
    return g * (0.5 * (1.0 + ops.erf(x * math.sqrt(0.5))) + x * density)


@composite(samples=[Sample(normal(2, 3))])
def silu(x: Tensor) -> Tensor:
    """``x * sigmoid(x)``, also called swish."""
    return x * ops.sigmoid(x)


@composite(samples=[Sample(normal(2, 3)), Sample(uniform(-40, 40, 5), gradient=False)])
def softplus(x: Tensor) -> Tensor:
    """``log(1 + exp(x))``, without overflow and exact for large negative x."""
    return relu(x) + ops.log1p(ops.exp(-ops.abs(x)))


@softplus.vjp
def _(node: Application, g: Tensor) -> Any:
    return g * ops.sigmoid(node.inputs[0])


def logsigmoid(x: Any) -> Tensor:
    """``log(sigmoid(x))``, without overflow."""
    return -softplus(-x)


@composite(canonical=canonical_axis, samples=[Sample(normal(2, 5)), Sample(normal(2, 3, 4), axis=1), Sample(uniform(-400, 400, 3, 4), gradient=False)])
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Exponentials that add up to 1 along ``axis``, without overflow."""
    e = ops.exp(x - ops.max(x, axis=axis, keepdims=True))
    return e / ops.sum(e, axis=axis, keepdims=True)


@softmax.vjp
def _(node: Application, g: Tensor) -> Any:
    return softmax_gradient(g, node.outputs[0], axis=node.attrs["axis"])


@composite(samples=[Sample(normal(2, 5), uniform(0.1, 0.4, 2, 5), axis=1)])
def softmax_gradient(g: Tensor, y: Tensor, axis: int) -> Tensor:
    """The gradient of softmax whose result is ``y``."""
    return y * (g - ops.sum(g * y, axis=axis, keepdims=True))


@composite(canonical=canonical_axis, samples=[Sample(normal(2, 5)), Sample(normal(2, 3, 4), axis=1), Sample(uniform(-400, 400, 3, 4), gradient=False)])
def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """``log(softmax(x))``, without overflow."""
    shifted = x - ops.max(x, axis=axis, keepdims=True)
    return shifted - ops.log(ops.sum(ops.exp(shifted), axis=axis, keepdims=True))


@log_softmax.vjp
def _(node: Application, g: Tensor) -> Any:
    return log_softmax_gradient(g, node.outputs[0], axis=node.attrs["axis"])


@composite(samples=[Sample(normal(2, 5), uniform(-3.0, -0.5, 2, 5), axis=1)])
def log_softmax_gradient(g: Tensor, y: Tensor, axis: int) -> Tensor:
    """The gradient of log_softmax whose result is ``y``."""
    return g - ops.exp(y) * ops.sum(g, axis=axis, keepdims=True)


# ------------------------------------------------------------------------------------------------------ linear, embedding


@composite(
    samples=[
        Sample(normal(4, 3), normal(2, 3), normal(2)),
        Sample(normal(4, 3), normal(2, 3)),
        Sample(normal(2, 4, 3), normal(2, 3), normal(2)),
        Sample(normal(3), normal(2, 3), normal(2)),
    ]
)
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias``: x (..., in_features), weight (out_features, in_features), bias (out_features,)."""
    if x.ndim == 0 or weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            "the input's last size is not the layer's in_features.",
            expected=f"(..., {weight.shape[-1]})",
            given=str(x.spec),
            remedy="make in_features equal to the features of what comes in, or reshape what comes in (um.nn.Flatten)",
        )
    y = ops.matmul(x, ops.matrix_transpose(weight))
    return y if bias is None else y + bias


@linear.vjp
def _(node: Application, g: Tensor) -> Any:
    x, weight, bias = node.inputs
    flat_x = ops.reshape(x, (-1, x.shape[-1]))
    flat_g = ops.reshape(g, (product(tuple(g.shape[:-1])), g.shape[-1]))
    dx = ops.matmul(g, weight)
    dw = ops.matmul(ops.matrix_transpose(flat_g), flat_x)
    return dx, dw, None if bias is None else ops.sum(flat_g, axis=0)


@composite(samples=[Sample(integers(0, 5, 2, 3), normal(5, 4)), Sample(integers(0, 5, 3), normal(5, 2), padding_idx=1)])
def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of ``weight`` (num_embeddings, dim) at integer indices: (..., dim). The row ``padding_idx`` gets no gradient."""
    need_integer(input.spec, "indices of an embedding")
    if padding_idx is not None:
        row = padding_idx % known(weight.shape[0])
        keep = ops.expand_dims(ops.equal(ops.arange(weight.shape[0]), row), 1)
        weight = ops.where(keep, ops.stop_gradient(weight), weight)
    return ops.take(weight, input, axis=0)


# ------------------------------------------------------------------------------------------------------------ convolution


def _conv_size(size: Size, kernel: Size, stride: int, padding: tuple[int, int], dilation: int) -> Size:
    span = dilation * (known(kernel) - 1) + 1
    out = (known(size) + padding[0] + padding[1] - span) // stride + 1
    if out < 1:
        raise ShapeError(
            "the kernel is larger than the padded input.",
            expected=f"a padded size of at least {span}",
            given=f"{known(size)} with padding {padding}",
            remedy="make the kernel smaller or the padding larger",
        )
    return out


CONV = [
    Sample(normal(2, 3, 6, 5), normal(4, 3, 3, 3)),
    Sample(normal(2, 3, 6, 5), normal(4, 3, 3, 2), stride=2, padding=1),
    Sample(normal(1, 2, 7, 7), normal(3, 2, 3, 3), stride=(2, 1), padding=((1, 2), (0, 1)), dilation=2),
    Sample(normal(2, 4, 5, 5), normal(6, 2, 3, 3), padding=1, groups=2),
    Sample(normal(2, 3, 8), normal(4, 3, 3), stride=2, padding=1),
    Sample(normal(2, 3, 5, 5), normal(2, 3, 1, 1)),
]
_canonical_conv = canonical_spatial("stride", "padding", "dilation")


@primitive(canonical=_canonical_conv, samples=CONV)
def conv(x: TensorSpec, weight: TensorSpec, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> TensorSpec:
    """Cross-correlation: x (N, C, *spatial), weight (out, C / groups, *kernel). Padding is a number, or (before, after) pairs, per dimension."""
    need_float(x)
    if weight.ndim != x.ndim:
        raise ShapeError(
            f"the input must have {weight.ndim} dimensions.",
            expected=f"(N, {weight.shape[1] * groups}, *spatial)",
            given=str(x),
            remedy="add the batch or channel dimension",
        )
    if x.shape[1] != weight.shape[1] * groups:
        raise ShapeError(
            "the input's channels are not the layer's in_channels.",
            expected=f"{weight.shape[1] * groups} channels in dimension 1",
            given=str(x),
            remedy="images are (N, C, H, W); move the channels with um.ops.moveaxis(x, -1, 1) if they come last",
        )
    if known(weight.shape[0]) % groups:
        raise ShapeError("groups must divide the output channels.", given=f"{weight.shape[0]} channels, {groups} groups")
    spatial = (_conv_size(*p) for p in zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True))
    return x.with_shape(x.shape[0], weight.shape[0], *spatial)


def _conv_attrs(node: Application) -> dict[str, Any]:
    return {k: node.attrs[k] for k in ("stride", "padding", "dilation", "groups")}


@conv.vjp
def _(node: Application, g: Tensor) -> Any:
    x, weight = node.inputs
    attrs = _conv_attrs(node)
    return conv_input_gradient(g, weight, spatial=x.shape[2:], **attrs), conv_weight_gradient(x, g, kernel=weight.shape[2:], **attrs)


@primitive(
    samples=[
        Sample(normal(2, 4, 4, 3), normal(4, 3, 3, 3), spatial=(6, 5), stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1),
        Sample(normal(2, 4, 3, 3), normal(4, 3, 3, 3), spatial=(6, 6), stride=(2, 2), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1),
        Sample(normal(2, 6, 5, 5), normal(6, 2, 3, 3), spatial=(5, 5), stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=2),
    ]
)
def conv_input_gradient(g: TensorSpec, weight: TensorSpec, spatial: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> TensorSpec:
    """The gradient of ``conv`` with respect to its input, whose spatial sizes are ``spatial``; also a transposed convolution."""
    return g.with_shape(g.shape[0], weight.shape[1] * groups, *spatial)


@conv_input_gradient.vjp
def _(node: Application, h: Tensor) -> Any:
    g, weight = node.inputs
    attrs = _conv_attrs(node)
    return conv(h, weight, **attrs), conv_weight_gradient(h, g, kernel=weight.shape[2:], **attrs)


@primitive(
    samples=[
        Sample(normal(2, 3, 6, 5), normal(2, 4, 4, 3), kernel=(3, 3), stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1),
        Sample(normal(2, 3, 6, 6), normal(2, 4, 3, 3), kernel=(3, 3), stride=(2, 2), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1),
        Sample(normal(2, 4, 5, 5), normal(2, 6, 5, 5), kernel=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=2),
    ]
)
def conv_weight_gradient(x: TensorSpec, g: TensorSpec, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> TensorSpec:
    """The gradient of ``conv`` with respect to its weight, whose spatial sizes are ``kernel``."""
    return x.with_shape(g.shape[1], known(x.shape[1]) // groups, *kernel)


@conv_weight_gradient.vjp
def _(node: Application, h: Tensor) -> Any:
    x, g = node.inputs
    attrs = _conv_attrs(node)
    return conv_input_gradient(g, h, spatial=x.shape[2:], **attrs), conv(x, h, **attrs)


def conv2d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Tensor:
    """2-d convolution with a bias per output channel; ``padding="same"`` keeps the size at stride 1, ``"valid"`` is none."""
    if isinstance(padding, str):
        padding = same_padding(padding, weight.shape[2:], stride, dilation)
    y = conv(input, weight, stride, padding, dilation, groups)
    return y if bias is None else y + ops.reshape(bias, (-1,) + (1,) * (y.ndim - 2))


def same_padding(padding: str, kernel: Sequence[Size], stride: Any, dilation: Any) -> Any:
    """PyTorch's ``"same"`` and ``"valid"`` as (before, after) pairs; an odd total is padded more after."""
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding != "same":
        raise ShapeError("padding is a number, one per dimension, 'same' or 'valid'.", given=padding)
    if any(s != 1 for s in ((stride,) if isinstance(stride, int) else stride)):
        raise ShapeError("padding='same' needs stride 1, as in PyTorch.", given=f"stride {stride}", remedy="give the padding as numbers")
    dilations = (dilation,) * len(kernel) if isinstance(dilation, int) else tuple(dilation)
    totals = [d * (known(k) - 1) for d, k in zip(dilations, kernel, strict=True)]
    return tuple((t // 2, t - t // 2) for t in totals)


# ---------------------------------------------------------------------------------------------------------------- pooling


def pool_geometry(
    spatial: Sequence[Size], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[Any], dilation: Sequence[int], ceil_mode: bool
) -> tuple[list[int], list[tuple[int, int]]]:
    """Output sizes, and how far to pad on both sides so that every window is inside (PyTorch's rule for ``ceil_mode``)."""
    outs, pads = [], []
    for size, k, s, (lo, hi), d in zip(spatial, kernel, stride, padding, dilation, strict=True):
        n = known(size)
        span = d * (k - 1) + 1
        if max(lo, hi) > k // 2:
            raise ShapeError("padding must be at most half the kernel.", given=f"padding {lo}, kernel {k}")
        room = n + lo + hi - span
        if room < 0:
            raise ShapeError("the window is larger than the padded input.", expected=f"a padded size of at least {span}", given=n)
        out = (room + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (out - 1) * s >= n + lo:  # the last window must begin inside the input or its left padding
            out -= 1
        outs.append(out)
        pads.append((lo, max(hi, (out - 1) * s + span - n - lo)))
    return outs, pads


def _windows(x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], outs: Sequence[int]) -> list[Tensor]:
    """For each place in the window, the elements of all windows at that place; row-major over the window."""
    found = []
    for offset in itertools.product(*(range(k) for k in kernel)):
        start = [0, 0, *(o * d for o, d in zip(offset, dilation, strict=True))]
        stop = [*x.shape[:2], *(a + (n - 1) * s + 1 for a, n, s in zip(start[2:], outs, stride, strict=True))]
        found.append(ops._slice(x, start, stop, [1, 1, *stride]))
    return found


_canonical_window = canonical_spatial("kernel_size", "stride", "padding", "dilation")


def _canonical_pool(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    if attrs["stride"] is None:
        attrs["stride"] = attrs["kernel_size"]
    attrs.setdefault("dilation", 1)
    _canonical_window(attrs, specs)


def _canonical_average(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    _canonical_pool(attrs, specs)
    del attrs["dilation"]


@composite(
    canonical=_canonical_pool,
    samples=[
        Sample(distinct(2, 3, 6, 6), 2),
        Sample(distinct(1, 2, 7, 6), 3, stride=2, padding=1),
        Sample(distinct(1, 2, 6, 7), (2, 3), stride=(2, 2), padding=(1, 0), ceil_mode=True),
        Sample(distinct(1, 1, 7, 7), 2, stride=1, dilation=2),
    ],
)
def max_pool(x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> Any:
    """The largest of each window, and its index in the flattened input plane (int64); the first of equals."""
    spatial = [known(s) for s in x.shape[2:]]
    outs, pads = pool_geometry(spatial, kernel_size, stride, padding, dilation, ceil_mode)
    padded = ops.pad_constant(x, ((0, 0), (0, 0), *pads), value=-math.inf) if any(p != (0, 0) for p in pads) else x
    stacked = ops.stack(_windows(padded, kernel_size, stride, dilation, outs), axis=0)
    which = ops.argmax(stacked, axis=0)
    # index of each window's corner, and of each place in it, in the flattened plane
    strides = [int(np.prod(spatial[i + 1 :])) for i in range(len(spatial))]
    corner = np.zeros(outs, "int64")
    for axis, (n, s, (lo, _)) in enumerate(zip(outs, stride, pads, strict=True)):
        shape = [1] * len(outs)
        shape[axis] = n
        corner = corner + ((np.arange(n) * s - lo) * strides[axis]).reshape(shape)
    places = [sum(o * d * st for o, d, st in zip(offset, dilation, strides, strict=True)) for offset in itertools.product(*(range(k) for k in kernel_size))]
    return ops.max(stacked, axis=0), ops.take(np.asarray(places, "int64"), which) + corner


@max_pool.vjp
def _(node: Application, g: Tensor, _: Any) -> Any:
    return max_pool_gradient(g, node.inputs[0], node.outputs[0], node.outputs[1], **node.attrs)


@composite(
    samples=[
        Sample(
            normal(1, 2, 3, 3),
            normal(1, 2, 6, 6),
            normal(1, 2, 3, 3),
            integers(0, 36, 1, 2, 3, 3),
            kernel_size=(2, 2),
            stride=(2, 2),
            padding=((0, 0), (0, 0)),
            dilation=(1, 1),
            ceil_mode=False,
        )
    ]
)
def max_pool_gradient(
    g: Tensor, x: Tensor, values: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Tensor:
    """``g`` added at the place each window's largest element came from. Only ``indices`` decides; ``x`` and ``values`` are for fused kernels."""
    plane = product(tuple(x.shape[2:]))
    lead = (x.shape[0], x.shape[1])
    flat = ops.take_along_axis_gradient(ops.reshape(g, (*lead, -1)), ops.reshape(indices, (*lead, -1)), axis=2, size=plane)
    return ops.reshape(flat, x.shape)


@composite(
    canonical=_canonical_average,
    samples=[
        Sample(normal(2, 3, 6, 6), 2),
        Sample(normal(1, 2, 7, 6), 3, stride=2, padding=1),
        Sample(normal(1, 2, 7, 6), 3, stride=2, padding=1, count_include_pad=False),
        Sample(normal(1, 2, 6, 7), 3, stride=2, padding=1, ceil_mode=True),
    ],
)
def avg_pool(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window; padding counts as zeros, or not at all with ``count_include_pad=False``."""
    dilation = (1,) * len(kernel_size)
    outs, pads = pool_geometry(x.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    padded = ops.pad_constant(x, ((0, 0), (0, 0), *pads)) if any(p != (0, 0) for p in pads) else x
    windows = _windows(padded, kernel_size, stride, dilation, outs)
    weights = pool_weights(x.shape[2:], kernel_size, stride, padding, outs, count_include_pad, divisor_override)
    total = windows[0]
    for window in windows[1:]:
        total = total + window
    return ops.multiply(total, weights)


def pool_weights(
    spatial: Sequence[Size],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Any],
    outs: Sequence[int],
    count_include_pad: bool,
    divisor_override: int | None,
) -> Any:
    """One over the number of elements that count in each window: a number where it is the same for all, else an array."""
    counts = np.ones(list(outs))
    for axis, (n, k, s, (lo, hi), out) in enumerate(zip(spatial, kernel, stride, padding, outs, strict=True)):
        start = np.arange(out) * s - lo
        stop = np.minimum(start + k, known(n) + hi)
        if not count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, known(n))
        shape = [1] * len(outs)
        shape[axis] = out
        counts = counts * (stop - start).reshape(shape)
    if divisor_override is not None:
        return 1.0 / divisor_override
    return float(1.0 / counts.flat[0]) if (counts == counts.flat[0]).all() else 1.0 / counts


@avg_pool.vjp
def _(node: Application, g: Tensor) -> Any:
    return avg_pool_gradient(g, spatial=node.inputs[0].shape[2:], **node.attrs)


@composite(
    samples=[
        Sample(
            normal(1, 2, 3, 3),
            spatial=(6, 6),
            kernel_size=(2, 2),
            stride=(2, 2),
            padding=((0, 0), (0, 0)),
            ceil_mode=False,
            count_include_pad=True,
            divisor_override=None,
        ),
        Sample(
            normal(1, 2, 4, 3),
            spatial=(7, 6),
            kernel_size=(3, 3),
            stride=(2, 2),
            padding=((1, 1), (1, 1)),
            ceil_mode=False,
            count_include_pad=False,
            divisor_override=None,
        ),
    ]
)
def avg_pool_gradient(
    g: Tensor, spatial: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool, divisor_override: int | None
) -> Tensor:
    """Each window's share of ``g`` spread evenly over its elements."""
    dilation = (1,) * len(kernel_size)
    outs, pads = pool_geometry(spatial, kernel_size, stride, padding, dilation, ceil_mode)
    g = g * pool_weights(spatial, kernel_size, stride, padding, outs, count_include_pad, divisor_override)
    for axis, s in enumerate(stride):
        if s != 1:
            g = ops.spread(g, axis + 2, s)
            g = ops._slice_axis(g, axis + 2, 0, (outs[axis] - 1) * s + 1)
    total = None
    full = [lo + known(n) + hi for n, (lo, hi) in zip(spatial, pads, strict=True)]
    for offset in itertools.product(*(range(k) for k in kernel_size)):
        widths = [(o, f - o - m) for o, f, m in zip(offset, full, g.shape[2:], strict=True)]
        piece = ops.pad_constant(g, ((0, 0), (0, 0), *widths))
        total = piece if total is None else total + piece
    assert total is not None, "a window has at least one element"
    start = [0, 0, *(lo for lo, _ in pads)]
    stop = [*g.shape[:2], *(lo + known(n) for n, (lo, _) in zip(spatial, pads, strict=True))]
    return ops._slice(total, start, stop)


def max_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False, return_indices: bool = False
) -> Any:
    """The largest of each window of (N, C, H, W); with ``return_indices`` also where it was."""
    values, indices = max_pool(input, kernel_size, stride, padding, dilation, ceil_mode)
    return (values, indices) if return_indices else values


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of (N, C, H, W)."""
    return avg_pool(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


# ---------------------------------------------------------------------------------------------------------- normalisation


def _channelwise(v: Tensor, rank: int) -> Tensor:
    return ops.reshape(v, (-1,) + (1,) * (rank - 2)) if rank > 2 else v


@composite(
    samples=[Sample(normal(4, 3, 2, 2), normal(3), uniform(0.5, 2, 3), normal(3), normal(3)), Sample(normal(4, 3), normal(3), uniform(0.5, 2, 3), eps=1e-3)]
)
def batch_norm_inference(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """x (N, C, *) normalised per channel with given statistics, then scaled and shifted."""
    scale = ops.rsqrt(variance + eps)
    if weight is not None:
        scale = scale * weight
    y = (x - _channelwise(mean, x.ndim)) * _channelwise(scale, x.ndim)
    return y if bias is None else y + _channelwise(bias, x.ndim)


BATCH_NORM = [Sample(normal(4, 3, 2, 2), normal(3), normal(3)), Sample(normal(5, 3), normal(3), normal(3), eps=1e-3), Sample(normal(5, 3))]


@composite(samples=BATCH_NORM)
def batch_norm_training(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Any:
    """x (N, C, *) normalised per channel with the batch's own statistics; returns (y, mean, biased variance) (Ioffe and Szegedy 2015)."""
    axes = (0, *range(2, x.ndim))
    mean = ops.mean(x, axis=axes)
    centred = x - _channelwise(mean, x.ndim)
    variance = ops.mean(centred * centred, axis=axes)
    scale = ops.rsqrt(variance + eps)
    if weight is not None:
        scale = scale * weight
    y = centred * _channelwise(scale, x.ndim)
    return (y if bias is None else y + _channelwise(bias, x.ndim)), mean, variance


@batch_norm_training.vjp
def _(node: Application, g: Tensor | None, g_mean: Tensor | None, g_variance: Tensor | None) -> Any:
    x, weight, bias = node.inputs
    _, mean, variance = node.outputs
    dx = dw = db = None
    if g is not None:
        dx, dw, db = batch_norm_gradient(g, x, mean, variance, weight, eps=node.attrs["eps"])
    count = product(tuple(x.shape[i] for i in range(x.ndim) if i != 1))
    if g_mean is not None:
        extra = ops.broadcast_to(_channelwise(g_mean / count, x.ndim), x.shape)
        dx = extra if dx is None else dx + extra
    if g_variance is not None:
        extra = _channelwise(g_variance * 2.0 / count, x.ndim) * (x - _channelwise(mean, x.ndim))
        dx = extra if dx is None else dx + extra
    return dx, None if weight is None else dw, None if bias is None else db


@composite(samples=[Sample(normal(4, 3, 2, 2), normal(4, 3, 2, 2), normal(3), uniform(0.5, 2, 3), normal(3), gradient=False)])
def batch_norm_gradient(g: Tensor, x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None = None, eps: float = 1e-5) -> Any:
    """The gradients of batch_norm_training for (x, weight, bias), given the batch's statistics."""
    axes = (0, *range(2, x.ndim))
    scale = ops.rsqrt(variance + eps)
    normalised = (x - _channelwise(mean, x.ndim)) * _channelwise(scale, x.ndim)
    db = ops.sum(g, axis=axes)
    dw = ops.sum(g * normalised, axis=axes)
    count = product(tuple(x.shape[i] for i in axes))
    inner = g - _channelwise(db / count, x.ndim) - normalised * _channelwise(dw / count, x.ndim)
    return inner * _channelwise(scale if weight is None else scale * weight, x.ndim), dw, db


LAYER_NORM = [
    Sample(normal(4, 6), (6,), normal(6), normal(6)),
    Sample(normal(2, 3, 4), (3, 4), normal(3, 4), normal(3, 4), eps=1e-3),
    Sample(normal(2, 5), (5,)),
]


def _canonical_layer_norm(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    shape = attrs["normalized_shape"]
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    attrs["normalized_shape"] = shape
    if tuple(specs[0].shape[specs[0].ndim - len(shape) :]) != shape:
        raise ShapeError("the input's last sizes are not the layer's normalized_shape.", expected=f"(..., {', '.join(map(str, shape))})", given=str(specs[0]))


@composite(canonical=_canonical_layer_norm, samples=LAYER_NORM)
def layer_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """The last dimensions normalised to mean 0 and (biased) variance 1, then scaled and shifted (Ba et al. 2016)."""
    axes = tuple(range(input.ndim - len(normalized_shape), input.ndim))
    centred = input - ops.mean(input, axis=axes, keepdims=True)
    y = centred * ops.rsqrt(ops.mean(centred * centred, axis=axes, keepdims=True) + eps)
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


@layer_norm.vjp
def _(node: Application, g: Tensor) -> Any:
    x, weight, bias = node.inputs
    dx, dw, db = layer_norm_gradient(g, x, weight, **node.attrs)
    return dx, None if weight is None else dw, None if bias is None else db


@composite(samples=[Sample(normal(4, 6), normal(4, 6), normal(6), normalized_shape=(6,), gradient=False)])
def layer_norm_gradient(g: Tensor, x: Tensor, weight: Tensor | None = None, *, normalized_shape: Any, eps: float = 1e-5) -> Any:
    """The gradients of layer_norm for (input, weight, bias)."""
    axes = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    lead = tuple(range(x.ndim - len(normalized_shape)))
    centred = x - ops.mean(x, axis=axes, keepdims=True)
    scale = ops.rsqrt(ops.mean(centred * centred, axis=axes, keepdims=True) + eps)
    normalised = centred * scale
    dw = ops.sum(g * normalised, axis=lead)
    db = ops.sum(g, axis=lead)
    inner = g if weight is None else g * weight
    mean_inner = ops.mean(inner, axis=axes, keepdims=True)
    mean_product = ops.mean(inner * normalised, axis=axes, keepdims=True)
    return scale * (inner - mean_inner - normalised * mean_product), dw, db


# ------------------------------------------------------------------------------------------------------ dropout, attention


@composite(samples=[Sample(normal(2, 3), booleans(2, 3), 0.25)])
def masked_dropout(x: Tensor, mask: Tensor, p: float) -> Tensor:
    """``x / (1 - p)`` where the mask holds, 0 elsewhere (Srivastava et al. 2014)."""
    return x * (ops.astype(mask, x.dtype) * (1.0 / (1.0 - p)))


@masked_dropout.vjp
def _(node: Application, g: Tensor) -> Any:
    return masked_dropout(g, node.inputs[1], node.attrs["p"]), None


ATTENTION = [
    Sample(normal(2, 2, 4, 3), normal(2, 2, 5, 3), normal(2, 2, 5, 3)),
    Sample(normal(1, 2, 4, 3), normal(1, 2, 4, 3), normal(1, 2, 4, 3), is_causal=True),
    Sample(normal(2, 4, 3), normal(2, 5, 3), normal(2, 5, 2), normal(4, 5), scale=0.3),
]


@composite(samples=ATTENTION)
def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """``softmax(query @ key.T * scale + mask) @ value``; the one node behind ``scaled_dot_product_attention``."""
    factor = 1.0 / math.sqrt(known(query.shape[-1])) if scale is None else scale
    scores = ops.matmul(query * factor, ops.matrix_transpose(key))
    if is_causal:
        scores = ops.where(ops.less_equal(ops.arange(key.shape[-2]), ops.expand_dims(ops.arange(query.shape[-2]), 1)), scores, -math.inf)
    if attn_mask is not None:
        scores = ops.where(attn_mask, scores, -math.inf) if attn_mask.dtype == "bool" else scores + attn_mask
    weights = softmax(scores, axis=-1)
    if dropout_mask is not None:
        weights = masked_dropout(weights, dropout_mask, dropout_p)
    return ops.matmul(weights, value)


def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """Attention (Vaswani et al. 2017): query (..., L, E), key (..., S, E), value (..., S, Ev) give (..., L, Ev).

    ``attn_mask`` broadcasts to (..., L, S): booleans say which places take part, floats are added to the scores. ``scale`` is ``1 / sqrt(E)``
    by default. With ``dropout_p`` above 0 the weights are dropped with core's portable masks, as in PyTorch whatever the mode.
    """
    if is_causal and attn_mask is not None:
        raise ShapeError("give attn_mask or is_causal, not both.", remedy="put the causal mask into attn_mask")
    mask = None
    if dropout_p:
        from unimodel.ops.random import keep_mask

        mask = keep_mask((*query.shape[:-1], key.shape[-2]), 1.0 - dropout_p)
    return attention(query, key, value, attn_mask, mask, dropout_p, is_causal, scale)

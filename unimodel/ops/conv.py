"""Convolution: one primitive and its two gradients, each the gradient of the other two, and each a convolution again; frameworks have kernels for them.

Images are (N, C, *spatial) on every backend; a backend whose kernels want another order moves the axes in its own lowering.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import unimodel.ops as ops
from unimodel.dim import Size
from unimodel.errors import ShapeError
from unimodel.graph import TensorSpec
from unimodel.op import Application, composite, primitive
from unimodel.ops.indexing import cut, spread
from unimodel.ops.rules import (
    canonical_spatial,
    known,
    need_float,
    sizes_agree,
)
from unimodel.ops.samples import Sample, normal
from unimodel.tracing import Tensor

__all__ = [
    "conv",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_gradients",
    "conv_input_gradient",
    "conv_transpose",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "conv_weight_gradient",
    "convolution",
]


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
_canonical_window = canonical_spatial("stride", "padding", "dilation")


def _canonical_conv(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    x, weight = specs
    if weight.ndim != x.ndim:
        raise ShapeError(
            f"the input must have {weight.ndim} dimensions.",
            expected=f"(N, {weight.shape[1] * attrs['groups']}, *spatial)",
            given=str(x),
            remedy="add the batch or channel dimension",
        )
    _canonical_window(attrs, specs)


@primitive(canonical=_canonical_conv, samples=CONV)
def conv(x: TensorSpec, weight: TensorSpec, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> TensorSpec:
    """Cross-correlation: x (N, C, *spatial), weight (out, C / groups, *kernel). Padding is a number, or (before, after) pairs, per dimension."""
    need_float(x)
    if not sizes_agree(x.shape[1], weight.shape[1] * groups):
        raise ShapeError(
            "the input's channels are not the layer's in_channels.",
            expected=f"{weight.shape[1] * groups} channels in dimension 1",
            given=str(x),
            remedy="images are (N, C, H, W); move the channels with um.ops.moveaxis(x, -1, 1) if they come last",
        )
    if known(weight.shape[0]) % groups:
        raise ShapeError(
            "groups must divide the output channels.", given=f"{weight.shape[0]} channels, {groups} groups", remedy="choose a divisor of both channel counts"
        )
    spatial = (_conv_size(*p) for p in zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True))
    return x.with_shape(x.shape[0], weight.shape[0], *spatial)


def _conv_attrs(node: Application) -> dict[str, Any]:
    return {k: node.attrs[k] for k in ("stride", "padding", "dilation", "groups")}


@conv.vjp
def _(node: Application, g: Tensor) -> Any:
    x, weight = node.inputs
    return conv_gradients(g, x, weight, **_conv_attrs(node))


def _of_this(g: Tensor, spatial: Sequence[Size], kernel: Sequence[Size], attrs: Sequence[Any]) -> None:
    """Whether ``g`` has the spatial sizes that a convolution of this geometry gives."""
    given = [_conv_size(*p) for p in zip(spatial, kernel, *attrs, strict=True)]
    if given != list(g.shape[2:]):
        raise ShapeError("g has other spatial sizes than that convolution's result.", expected=tuple(given), given=str(g.spec))


@composite(
    samples=[
        Sample(normal(2, 4, 4, 3), normal(4, 3, 3, 3), spatial=(6, 5), stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1),
        Sample(normal(2, 4, 3, 3), normal(4, 3, 3, 3), spatial=(6, 6), stride=(2, 2), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1),
        Sample(normal(2, 6, 5, 5), normal(6, 2, 3, 3), spatial=(5, 5), stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=2),
    ]
)
def conv_input_gradient(g: Tensor, weight: Tensor, spatial: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Tensor:
    """The gradient of ``conv`` with respect to its input, whose spatial sizes are ``spatial``; also a transposed convolution.

    A convolution of ``g``, its elements a stride apart, with the kernel turned round.
    """
    (filters, depth, *kernel), rank = weight.shape, len(stride)
    _of_this(g, spatial, kernel, (stride, padding, dilation))
    for axis, step in enumerate(stride, 2):
        g = spread(g, axis, step) if step > 1 else g
    weight = ops.reshape(weight, (groups, known(filters) // groups, depth, *kernel))
    weight = ops.reshape(ops.permute_dims(weight, (0, 2, 1, *range(3, 3 + rank))), (groups * depth, known(filters) // groups, *kernel))
    weight = ops.flip(weight, axis=tuple(range(2, 2 + rank)))
    reach = [d * (known(k) - 1) for d, k in zip(dilation, kernel, strict=True)]
    after = [max(r, lo + known(n) - m) for r, (lo, _), n, m in zip(reach, padding, spatial, g.shape[2:], strict=True)]
    found = conv(g, weight, 1, tuple(zip(reach, after, strict=True)), dilation, groups)
    start = [lo for lo, _ in padding]
    return cut(found, [0, 0, *start], [*found.shape[:2], *(lo + known(n) for lo, n in zip(start, spatial, strict=True))])


@conv_input_gradient.vjp
def _(node: Application, h: Tensor) -> Any:
    g, weight = node.inputs
    attrs = _conv_attrs(node)
    return conv(h, weight, **attrs), conv_weight_gradient(h, g, kernel=weight.shape[2:], **attrs)


@composite(
    samples=[
        Sample(normal(2, 3, 6, 5), normal(2, 4, 4, 3), kernel=(3, 3), stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1),
        Sample(normal(2, 3, 6, 6), normal(2, 4, 3, 3), kernel=(3, 3), stride=(2, 2), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1),
        Sample(normal(2, 4, 5, 5), normal(2, 6, 5, 5), kernel=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=2),
    ]
)
def conv_weight_gradient(x: Tensor, g: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Tensor:
    """The gradient of ``conv`` with respect to its weight, whose spatial sizes are ``kernel``.

    A convolution in which examples take the place of channels and ``g`` that of the kernel; stride and dilation change roles.
    """
    (n, channels, *spatial), rank = x.shape, len(stride)
    _of_this(g, spatial, kernel, (stride, padding, dilation))
    depth = known(channels) // groups
    x = ops.permute_dims(ops.reshape(x, (n, groups, depth, *spatial)), (2, 1, 0, *range(3, 3 + rank)))
    swap = (1, 0, *range(2, 2 + rank))
    found = conv(ops.reshape(x, (depth, groups * n, *spatial)), ops.permute_dims(g, swap), dilation, padding, stride, groups)
    return ops.permute_dims(cut(found, [0] * found.ndim, [*found.shape[:2], *kernel]), swap)


@conv_weight_gradient.vjp
def _(node: Application, h: Tensor) -> Any:
    x, g = node.inputs
    attrs = _conv_attrs(node)
    return conv_input_gradient(g, h, spatial=x.shape[2:], **attrs), conv(x, h, **attrs)


@composite(
    samples=[
        Sample(normal(2, 4, 4, 3), normal(2, 3, 6, 5), normal(4, 3, 3, 3), stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1),
        Sample(normal(2, 6, 3, 3), normal(2, 4, 6, 6), normal(6, 2, 3, 3), stride=(2, 2), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=2),
        Sample(normal(1, 3, 3, 6), normal(1, 2, 7, 7), normal(3, 2, 3, 3), stride=(2, 1), padding=((1, 2), (0, 1)), dilation=(2, 1), groups=1),
    ]
)
def conv_gradients(g: Tensor, x: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> tuple[Tensor, Tensor]:
    """Both gradients of ``conv``, with respect to its input and to its weight, for kernels that share what the two need."""
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return conv_input_gradient(g, weight, spatial=x.shape[2:], **attrs), conv_weight_gradient(x, g, kernel=weight.shape[2:], **attrs)


def convolution(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Tensor:
    """Convolution of any rank with a bias per output channel; ``padding="same"`` keeps the size at stride 1, ``"valid"`` is none."""
    if isinstance(padding, str):
        padding = same_padding(padding, weight.shape[2:], stride, dilation)
    return _with_bias(conv(input, weight, stride, padding, dilation, groups), bias)


def _with_bias(y: Tensor, bias: Any) -> Tensor:
    return y if bias is None else y + ops.reshape(bias, (-1,) + (1,) * (y.ndim - 2))


conv1d = conv2d = conv3d = convolution  # the rank is the weight's


def conv_transpose(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1
) -> Tensor:
    """Transposed convolution of any rank: input (N, in, *), weight (in, out / groups, *kernel) give (N, out, *).

    Each spatial size n becomes ``(n - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + output_padding``.
    """
    x, rank = ops.asarray(input), weight.ndim - 2
    if x.ndim != weight.ndim or not sizes_agree(x.shape[1], weight.shape[0]):
        raise ShapeError("the input's channels are not the layer's in_channels.", expected=f"(N, {weight.shape[0]}, *spatial)", given=str(x.spec))
    strides, paddings, extras, dilations = ((v,) * rank if isinstance(v, int) else tuple(v) for v in (stride, padding, output_padding, dilation))
    spatial, crops, zeros = [], [], []
    for n, k, s, p, extra, d in zip(x.shape[2:], weight.shape[2:], strides, paddings, extras, dilations, strict=True):
        after = p if extra < s else max(p - extra, 0)  # more than a stride is not what a convolution leaves over: it crops less, or adds zeros
        left = 0 if extra < s else max(extra - p, 0)
        size = (known(n) - 1) * s + d * (known(k) - 1) + 1 - p - after + (extra if extra < s else 0)
        if size + left < 1:
            raise ShapeError("nothing is left of the output.", expected="a smaller padding", given=f"size {n}, kernel {k}, padding {p}")
        spatial.append(size)
        crops.append((p, after))
        zeros.append((0, left))
    y = conv_input_gradient(x, weight, tuple(spatial), strides, tuple(crops), dilations, groups)
    if any(z != (0, 0) for z in zeros):
        y = ops.pad_constant(y, ((0, 0), (0, 0), *zeros))
    return _with_bias(y, bias)


conv_transpose1d = conv_transpose2d = conv_transpose3d = conv_transpose


def same_padding(padding: str, kernel: Sequence[Size], stride: Any, dilation: Any) -> Any:
    """PyTorch's ``"same"`` and ``"valid"`` as (before, after) pairs; an odd total is padded more after."""
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding != "same":
        raise ShapeError("padding is a number, one per dimension, 'same' or 'valid'.", given=padding, remedy="write padding='same', or give numbers")
    if any(s != 1 for s in ((stride,) if isinstance(stride, int) else stride)):
        raise ShapeError("padding='same' needs stride 1, as in PyTorch.", given=f"stride {stride}", remedy="give the padding as numbers")
    dilations = (dilation,) * len(kernel) if isinstance(dilation, int) else tuple(dilation)
    totals = [d * (known(k) - 1) for d, k in zip(dilations, kernel, strict=True)]
    return tuple((t // 2, t - t // 2) for t in totals)

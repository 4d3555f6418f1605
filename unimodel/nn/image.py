"""Layers that resize images, or take them apart and put them together."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.errors import ShapeError
from unimodel.model import Model
from unimodel.nn.arguments import positive, tuple_of
from unimodel.nn.batch import batched
from unimodel.tracing import Tensor

MODES = ("nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic", "area")


class Upsample(Model):
    """(N, C, *spatial) at another size: ``size``, or ``scale_factor`` times what comes in; one number, or one per dimension.

    ``mode`` is "nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic" or "area". Source:
    https://pytorch.org/docs/stable/generated/torch.nn.Upsample.html
    """

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None, recompute_scale_factor: bool | None = None
    ) -> None:
        if (size is None) == (scale_factor is None):
            raise ShapeError("give size or scale_factor.", given=f"size={size}, scale_factor={scale_factor}")
        if mode not in MODES:
            raise ShapeError("this mode is not known.", expected=", ".join(MODES), given=repr(mode))
        self.size = size
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Any) -> Tensor:
        size, factor = self.size, self.scale_factor
        if self.recompute_scale_factor and factor is not None:
            rank = input.ndim - 2
            factors = (factor,) * rank if isinstance(factor, (int, float)) else factor
            size, factor = tuple(int(n * f) for n, f in zip(input.shape[2:], factors, strict=True)), None
        return ops.interpolate(input, size, factor, self.mode, self.align_corners)

    def extra_repr(self) -> str:
        return f"size={self.size}, scale_factor={self.scale_factor}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Upsample with mode "nearest"."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """Upsample with mode "bilinear" and aligned corners."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "bilinear", True)


class PixelShuffle(Model):
    """(..., C * r * r, H, W) as (..., C, H * r, W * r). Source: https://pytorch.org/docs/stable/generated/torch.nn.PixelShuffle.html"""

    def __init__(self, upscale_factor: int) -> None:
        positive(upscale_factor=upscale_factor)
        self.upscale_factor = upscale_factor

    def forward(self, input: Any) -> Tensor:
        return ops.pixel_shuffle(input, self.upscale_factor)


class PixelUnshuffle(Model):
    """(..., C, H * r, W * r) as (..., C * r * r, H, W). Source: https://pytorch.org/docs/stable/generated/torch.nn.PixelUnshuffle.html"""

    def __init__(self, downscale_factor: int) -> None:
        positive(downscale_factor=downscale_factor)
        self.downscale_factor = downscale_factor

    def forward(self, input: Any) -> Tensor:
        return ops.pixel_unshuffle(input, self.downscale_factor)


class ChannelShuffle(Model):
    """(N, C, *) with its channels dealt out over ``groups``. Source: https://pytorch.org/docs/stable/generated/torch.nn.ChannelShuffle.html"""

    def __init__(self, groups: int) -> None:
        positive(groups=groups)
        self.groups = groups

    def forward(self, input: Any) -> Tensor:
        return ops.channel_shuffle(input, self.groups)


class Unfold(Model):
    """The windows of (N, C, H, W), or of one image without N, as columns: (N, C * kernel, windows). Source:
    https://pytorch.org/docs/stable/generated/torch.nn.Unfold.html
    """

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        self.kernel_size = tuple_of(kernel_size, 2, "kernel_size", 1)
        self.dilation = tuple_of(dilation, 2, "dilation", 1)
        self.padding = tuple_of(padding, 2, "padding", 0)
        self.stride = tuple_of(stride, 2, "stride", 1)

    def forward(self, input: Any) -> Tensor:
        result: Tensor = batched(lambda x: ops.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride), input, 3)
        return result


class Fold(Unfold):
    """Columns (N, C * kernel, windows), or one sample without N, added up at their places in (N, C, *output_size). Source:
    https://pytorch.org/docs/stable/generated/torch.nn.Fold.html
    """

    def __init__(self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = tuple_of(output_size, 2, "output_size", 1)

    def forward(self, input: Any) -> Tensor:
        def folded(x: Any) -> Tensor:
            return ops.fold(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

        result: Tensor = batched(folded, input, 2)
        return result

"""Images at other sizes, with PyTorch's arguments, of which the layers are the definition."""

from __future__ import annotations

from typing import Any

from unimodel.errors import UnsupportedError
from unimodel.nn.fractional_pooling import FractionalMaxPool2d, FractionalMaxPool3d
from unimodel.nn.image import Upsample


def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """(N, C, *spatial) at another size, as ``um.nn.Upsample`` has it."""
    if antialias:
        raise UnsupportedError("interpolate has no antialias.", given="antialias=True", remedy="smooth first, with um.ops.avg_pool2d, or take mode='area'")
    return Upsample(size, scale_factor, mode, align_corners, recompute_scale_factor).forward(input)


def fractional_max_pool2d(
    input: Any, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False, _random_samples: Any = None
) -> Any:
    """The largest of each of ``output_size`` windows at random places, as ``um.nn.FractionalMaxPool2d`` has it."""
    return FractionalMaxPool2d(kernel_size, output_size, output_ratio, return_indices, _random_samples).forward(input)


def fractional_max_pool3d(
    input: Any, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False, _random_samples: Any = None
) -> Any:
    """The largest of each of ``output_size`` windows at random places, as ``um.nn.FractionalMaxPool3d`` has it."""
    return FractionalMaxPool3d(kernel_size, output_size, output_ratio, return_indices, _random_samples).forward(input)

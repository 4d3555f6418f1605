"""U-Net: down to what is in an image, up again to where it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unimodel import nn, ops
from unimodel.model import Model


class DoubleConv(Model):
    """Two 3 x 3 convolutions, each with batch norm and relu."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        self.double_conv = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )

    def forward(self, x: Any) -> Any:
        return self.double_conv(x)


class Down(Model):
    """Half the size, then two convolutions."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(in_channels, out_channels))

    def forward(self, x: Any) -> Any:
        return self.maxpool_conv(x)


class Up(Model):
    """Twice the size, joined with what was there on the way down, then two convolutions."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        self.up = nn.ConvTranspose2d(in_channels, in_channels // 2, 2, stride=2)
        self.conv = DoubleConv(in_channels, out_channels)

    def forward(self, x: Any, skip: Any) -> Any:
        x = self.up(x)
        high, wide = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]  # 1 where a size was odd on the way down
        if high or wide:
            x = ops.pad_constant(x, ((0, 0), (0, 0), (high // 2, high - high // 2), (wide // 2, wide - wide // 2)))
        return self.conv(ops.concat([skip, x], axis=1))


class OutConv(Model):
    """Logits at each place."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Any) -> Any:
        return self.conv(x)


class UNet(Model):
    """Images (N, n_channels, H, W) give logits (N, n_classes, H, W) for each place; H and W at least 16.

    ``widths`` are the channels on the way down. State-dict keys are those of https://github.com/milesial/Pytorch-UNet without ``bilinear``:
    ``inc.double_conv.0.weight``, ``down1.maxpool_conv.1.…``, ``up1.up.weight``, ``outc.conv.weight``. Paper: Ronneberger, Fischer and Brox 2015,
    "U-Net: convolutional networks for biomedical image segmentation".
    """

    def __init__(self, n_channels: int = 3, n_classes: int = 2, widths: Sequence[int] = (64, 128, 256, 512, 1024)) -> None:
        self.depth = len(widths) - 1
        self.inc = DoubleConv(n_channels, widths[0])
        for i in range(self.depth):
            setattr(self, f"down{i + 1}", Down(widths[i], widths[i + 1]))
        for i in range(self.depth):
            setattr(self, f"up{i + 1}", Up(widths[self.depth - i], widths[self.depth - i - 1]))
        self.outc = OutConv(widths[0], n_classes)

    def forward(self, x: Any) -> Any:
        x = self.inc(x)
        skips = []
        for i in range(self.depth):
            skips.append(x)
            x = getattr(self, f"down{i + 1}")(x)
        for i in range(self.depth):
            x = getattr(self, f"up{i + 1}")(x, skips.pop())
        return self.outc(x)

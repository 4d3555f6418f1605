"""MobileNetV2: narrow between wide layers, convolved channel by channel, for devices with little memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unimodel import init, nn, ops
from unimodel.model import Model, Parameter

# expansion, channels, blocks, stride of the first block: the paper's table 2
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def divisible(value: float, divisor: int = 8) -> int:
    """The multiple of ``divisor`` nearest to ``value``, but not more than 10 % below it."""
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * value else nearest


def conv_bn_relu6(inputs: int, outputs: int, kernel_size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, stride, padding=(kernel_size - 1) // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs), nn.ReLU6()
    )


class InvertedResidual(Model):
    """Wider by ``expand_ratio``, one 3 x 3 filter per channel, narrow again; beside a shortcut where the shapes allow."""

    def __init__(self, inp: int, oup: int, stride: int, expand_ratio: int) -> None:
        hidden = inp * expand_ratio
        layers: list[Model] = [] if expand_ratio == 1 else [conv_bn_relu6(inp, hidden, kernel_size=1)]
        layers += [conv_bn_relu6(hidden, hidden, stride=stride, groups=hidden), nn.Conv2d(hidden, oup, 1, bias=False), nn.BatchNorm2d(oup)]
        self.conv = nn.Sequential(*layers)
        self.use_res_connect = stride == 1 and inp == oup

    def forward(self, x: Any) -> Any:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(Model):
    """Images (N, 3, H, W) give logits (N, num_classes); H and W at least 32, 224 in the paper.

    ``width_mult`` scales the channels, ``stages`` replaces the paper's table. State-dict keys are torchvision's (``torchvision.models.mobilenet_v2``):
    ``features.0.0.weight``, …, ``classifier.1.weight``; weights drawn as there. Paper: Sandler, Howard, Zhu, Zhmoginov and Chen 2018, "MobileNetV2:
    inverted residuals and linear bottlenecks".
    """

    def __init__(self, num_classes: int = 1000, width_mult: float = 1.0, stages: Sequence[tuple[int, int, int, int]] = STAGES, dropout: float = 0.2) -> None:
        channels, last = divisible(32 * width_mult), divisible(1280 * max(1.0, width_mult))
        features: list[Model] = [conv_bn_relu6(3, channels, stride=2)]
        for expansion, width, blocks, stride in stages:
            outputs = divisible(width * width_mult)
            for i in range(blocks):
                features.append(InvertedResidual(channels, outputs, stride if i == 0 else 1, expansion))
                channels = outputs
        features.append(conv_bn_relu6(channels, last, kernel_size=1))
        self.features = nn.Sequential(*features)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.weight = Parameter(module.weight.shape, init.kaiming_normal(mode="fan_out"))
            elif isinstance(module, nn.Linear):
                module.weight = Parameter(module.weight.shape, init.normal(0.0, 0.01))
                module.bias = Parameter((module.out_features,), init.zeros)

    def forward(self, x: Any) -> Any:
        return self.classifier(ops.flatten(self.pool(self.features(x)), 1))


def mobilenet_v2(num_classes: int = 1000) -> MobileNetV2:
    """MobileNetV2 1.0, 3.5 million parameters."""
    return MobileNetV2(num_classes)

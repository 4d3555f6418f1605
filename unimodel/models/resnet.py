"""Residual networks: blocks that add to what comes in, so that depth does not hurt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unimodel import init, nn, ops
from unimodel.model import Model, Parameter


class BasicBlock(Model):
    """Two 3 x 3 convolutions beside a shortcut: (N, inplanes, H, W) gives (N, planes, H / stride, W / stride)."""

    expansion = 1

    def __init__(self, inplanes: int, planes: int, stride: int = 1, downsample: Model | None = None) -> None:
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: Any) -> Any:
        y = ops.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return ops.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(Model):
    """1 x 1, 3 x 3 and 1 x 1 convolutions beside a shortcut; the stride is in the 3 x 3, as in torchvision ("ResNet V1.5")."""

    expansion = 4

    def __init__(self, inplanes: int, planes: int, stride: int = 1, downsample: Model | None = None) -> None:
        self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.downsample = downsample

    def forward(self, x: Any) -> Any:
        y = ops.relu(self.bn1(self.conv1(x)))
        y = ops.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return ops.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(Model):
    """Images (N, 3, H, W) give logits (N, num_classes); H and W at least 32, 224 in the paper.

    ``layers`` says how many blocks the four stages have, of ``width`` to 8 ``width`` planes. State-dict keys are torchvision's
    (``torchvision.models.resnet``), weights drawn as there. Paper: He, Zhang, Ren and Sun 2015, "Deep residual learning for image recognition".
    """

    def __init__(self, block: type[BasicBlock] | type[Bottleneck], layers: Sequence[int], num_classes: int = 1000, width: int = 64) -> None:
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inplanes = width
        for i, count in enumerate(layers):
            stage = []
            for j in range(count):
                planes, stride = width << i, 2 if i and not j else 1
                downsample = None
                if stride != 1 or inplanes != planes * block.expansion:
                    downsample = nn.Sequential(nn.Conv2d(inplanes, planes * block.expansion, 1, stride, bias=False), nn.BatchNorm2d(planes * block.expansion))
                stage.append(block(inplanes, planes, stride, downsample))
                inplanes = planes * block.expansion
            setattr(self, f"layer{i + 1}", nn.Sequential(*stage))
        self.stages = len(layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inplanes, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.weight = Parameter(module.weight.shape, init.kaiming_normal(mode="fan_out", nonlinearity="relu"))

    def forward(self, x: Any) -> Any:
        x = self.maxpool(ops.relu(self.bn1(self.conv1(x))))
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(ops.flatten(self.avgpool(x), 1))


def resnet18(num_classes: int = 1000) -> ResNet:
    """ResNet-18, 11.7 million parameters."""
    return ResNet(BasicBlock, [2, 2, 2, 2], num_classes)


def resnet50(num_classes: int = 1000) -> ResNet:
    """ResNet-50, 25.6 million parameters."""
    return ResNet(Bottleneck, [3, 4, 6, 3], num_classes)

"""LeNet-5: the first convolutional network that read digits."""

from __future__ import annotations

from typing import Any

from unimodel import nn, ops
from unimodel.model import Model


class LeNet5(Model):
    """x (N, 1, 32, 32) gives logits (N, num_classes).

    The form that PyTorch's tutorial "Neural Networks" made common, relu and max-pooling in the place of squashed averages, with its state-dict keys:
    ``conv1``, ``conv2``, ``fc1``, ``fc2``, ``fc3``. Paper: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition".
    Implementation: https://pytorch.org/tutorials/beginner/blitz/neural_networks_tutorial.html
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        self.conv1 = nn.Conv2d(in_channels, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Any) -> Any:
        x = self.pool(ops.relu(self.conv1(x)))
        x = self.pool(ops.relu(self.conv2(x)))
        x = ops.relu(self.fc1(ops.flatten(x, 1)))
        return self.fc3(ops.relu(self.fc2(x)))

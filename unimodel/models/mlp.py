"""Multilayer perceptron: linear layers with activations between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unimodel import nn
from unimodel.model import Model


class MLP(nn.Sequential):
    """x (N, in_channels) gives (N, hidden_channels[-1]).

    Each of ``hidden_channels`` but the last is a linear layer, a normalisation where ``norm_layer`` makes one, an activation and a dropout; the last is a
    linear layer and a dropout. State-dict keys are those of torchvision's ``torchvision.ops.MLP``: ``0.weight``, ``3.weight``, …
    Paper: Rosenblatt 1958, "The perceptron"; Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors".

    >>> import numpy as np
    >>> MLP(8, [16, 16, 3])(np.zeros((4, 8), "float32")).shape
    (4, 3)
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: Sequence[int],
        norm_layer: Callable[[int], Model] | None = None,
        activation_layer: Callable[[], Model] = nn.ReLU,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        layers: list[Model] = []
        for channels in hidden_channels[:-1]:
            layers.append(nn.Linear(in_channels, channels, bias))
            if norm_layer is not None:
                layers.append(norm_layer(channels))
            layers += [activation_layer(), nn.Dropout(dropout)]
            in_channels = channels
        super().__init__(*layers, nn.Linear(in_channels, hidden_channels[-1], bias), nn.Dropout(dropout))

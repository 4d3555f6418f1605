"""ConvNeXt: a convolutional network with a transformer's proportions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unimodel import init, nn, ops
from unimodel.model import Model, Parameter


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of (N, C, H, W)."""

    def forward(self, input: Any) -> Any:
        return ops.permute_dims(super().forward(ops.permute_dims(input, (0, 2, 3, 1))), (0, 3, 1, 2))


class Permute(Model):
    """The dimensions in another order."""

    def __init__(self, dims: Sequence[int]) -> None:
        self.dims = tuple(dims)

    def forward(self, x: Any) -> Any:
        return ops.permute_dims(x, self.dims)


class StochasticDepth(Model):
    """In train mode drops whole samples with probability ``p`` and scales the rest by 1 / (1 - p) (Huang et al. 2016)."""

    def __init__(self, p: float) -> None:
        self.p = p

    def forward(self, x: Any) -> Any:
        return ops.feature_dropout(x, self.p, self.training, lead=1)


class CNBlock(Model):
    """A 7 x 7 filter per channel, then a two-layer network at each place, scaled by ``layer_scale`` and added to what came in."""

    def __init__(self, dim: int, layer_scale: float = 1e-6, stochastic_depth_prob: float = 0.0) -> None:
        self.layer_scale = Parameter((dim, 1, 1), init.constant(layer_scale))
        self.block = nn.Sequential(
            nn.Conv2d(dim, dim, 7, padding=3, groups=dim),
            Permute([0, 2, 3, 1]),
            nn.LayerNorm(dim, eps=1e-6),
            nn.Linear(dim, 4 * dim),
            nn.GELU(),
            nn.Linear(4 * dim, dim),
            Permute([0, 3, 1, 2]),
        )
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob)

    def forward(self, x: Any) -> Any:
        return x + self.stochastic_depth(self.layer_scale * self.block(x))


class ConvNeXt(Model):
    """Images (N, 3, H, W) give logits (N, num_classes); H and W multiples of 32, 224 in the paper.

    ``stages`` are (channels, blocks). State-dict keys are torchvision's (``torchvision.models.convnext``): ``features.0.0.weight``, …,
    ``classifier.2.weight``; weights drawn as there. Paper: Liu, Mao, Wu, Feichtenhofer, Darrell and Xie 2022, "A ConvNet for the 2020s".
    """

    def __init__(self, stages: Sequence[tuple[int, int]], num_classes: int = 1000, stochastic_depth_prob: float = 0.0, layer_scale: float = 1e-6) -> None:
        first = stages[0][0]
        features: list[Model] = [nn.Sequential(nn.Conv2d(3, first, 4, stride=4), LayerNorm2d(first, eps=1e-6))]
        total, done = sum(blocks for _, blocks in stages), 0
        for (channels, blocks), (following, _) in zip(stages, [*stages[1:], (0, 0)], strict=True):
            drops = [stochastic_depth_prob * (done + i) / max(total - 1, 1) for i in range(blocks)]
            features.append(nn.Sequential(*(CNBlock(channels, layer_scale, p) for p in drops)))
            done += blocks
            if following:
                features.append(nn.Sequential(LayerNorm2d(channels, eps=1e-6), nn.Conv2d(channels, following, 2, stride=2)))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        last = stages[-1][0]
        self.classifier = nn.Sequential(LayerNorm2d(last, eps=1e-6), nn.Flatten(1), nn.Linear(last, num_classes))
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.weight = Parameter(module.weight.shape, init.normal(0.0, 0.02))
                module.bias = Parameter(module.weight.shape[:1], init.zeros)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.avgpool(self.features(x)))


def convnext_tiny(num_classes: int = 1000, stochastic_depth_prob: float = 0.1) -> ConvNeXt:
    """ConvNeXt-T, 28.6 million parameters."""
    return ConvNeXt([(96, 3), (192, 3), (384, 9), (768, 3)], num_classes, stochastic_depth_prob)

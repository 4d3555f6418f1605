"""DCGAN: a generator of images and a discriminator that tells them from real ones, both convolutional."""

from __future__ import annotations

from typing import Any

from unimodel import init, nn, ops
from unimodel.model import Model, Parameter


class _Drawn(Model):
    """Weights drawn as in the paper: convolutions from a normal of deviation 0.02, batch norm's scale around 1."""

    def _draw(self) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                module.weight = Parameter(module.weight.shape, init.normal(0.0, 0.02))
            elif isinstance(module, nn.BatchNorm2d):
                module.weight = Parameter((module.num_features,), init.normal(1.0, 0.02))


class DCGANGenerator(_Drawn):
    """Noise (N, nz, 1, 1) gives images (N, nc, 64, 64) in [-1, 1].

    State-dict keys are those of PyTorch's example (https://github.com/pytorch/examples/tree/main/dcgan): ``main.0.weight``, ``main.1.weight``, …
    Paper: Radford, Metz and Chintala 2015, "Unsupervised representation learning with deep convolutional generative adversarial networks".
    """

    def __init__(self, nz: int = 100, ngf: int = 64, nc: int = 3) -> None:
        layers: list[Model] = []
        channels = nz
        for i, width in enumerate((8 * ngf, 4 * ngf, 2 * ngf, ngf)):
            stride, padding = (1, 0) if i == 0 else (2, 1)
            layers += [nn.ConvTranspose2d(channels, width, 4, stride, padding, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(channels, nc, 4, 2, 1, bias=False), nn.Tanh())
        self._draw()

    def forward(self, input: Any) -> Any:
        return self.main(input)


class DCGANDiscriminator(_Drawn):
    """Images (N, nc, 64, 64) give the probability (N,) that each is real. State-dict keys and source as the generator's."""

    def __init__(self, nc: int = 3, ndf: int = 64) -> None:
        layers: list[Model] = [nn.Conv2d(nc, ndf, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        for width in (ndf, 2 * ndf, 4 * ndf):
            layers += [nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2)]
        self.main = nn.Sequential(*layers, nn.Conv2d(8 * ndf, 1, 4, 1, 0, bias=False), nn.Sigmoid())
        self._draw()

    def forward(self, input: Any) -> Any:
        return ops.reshape(self.main(input), (-1,))

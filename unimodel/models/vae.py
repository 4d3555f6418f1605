"""Variational autoencoder: images from a normal distribution, and back."""

from __future__ import annotations

from typing import Any

from unimodel import nn, ops
from unimodel.model import Model
from unimodel.tracing import Tensor


class VAE(Model):
    """Images (N, features), flattened and in [0, 1], give (reconstruction (N, features), mean (N, latent), log variance (N, latent)).

    In train mode the latent vector is drawn from the normal distribution that the encoder found, in eval mode it is its mean; ``decode`` makes an image of a
    latent vector, ``vae_loss`` is what training minimises. State-dict keys are those of PyTorch's example (https://github.com/pytorch/examples/tree/main/vae): ``fc1``,
    ``fc21``, ``fc22``, ``fc3``, ``fc4``. Paper: Kingma and Welling 2013, "Auto-encoding variational Bayes".
    """

    def __init__(self, features: int = 784, hidden: int = 400, latent: int = 20) -> None:
        self.fc1 = nn.Linear(features, hidden)
        self.fc21 = nn.Linear(hidden, latent)
        self.fc22 = nn.Linear(hidden, latent)
        self.fc3 = nn.Linear(latent, hidden)
        self.fc4 = nn.Linear(hidden, features)

    def encode(self, x: Any) -> tuple[Any, Any]:
        h = ops.relu(self.fc1(x))
        return self.fc21(h), self.fc22(h)

    def reparameterize(self, mu: Any, logvar: Any) -> Any:
        return ops.random.normal(mu.shape, mu, ops.exp(0.5 * logvar)) if self.training else mu

    def decode(self, z: Any) -> Any:
        return ops.sigmoid(self.fc4(ops.relu(self.fc3(z))))

    def forward(self, x: Any) -> Any:
        mu, logvar = self.encode(ops.reshape(x, (-1, self.fc1.in_features)))
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


def vae_loss(output: Any, x: Any) -> Tensor:
    """What a VAE's forward gives and the images: binary cross-entropy, plus the divergence of the latent distribution from a standard normal (appendix B)."""
    reconstruction, mu, logvar = output
    entropy = ops.sum(ops.binary_cross_entropy(reconstruction, ops.reshape(x, reconstruction.shape)))
    return entropy - 0.5 * ops.sum(1.0 + logvar - mu * mu - ops.exp(logvar))

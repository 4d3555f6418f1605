"""Activations as layers; the formulas stand beside the ops of the same names."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.errors import ShapeError
from unimodel.model import Model
from unimodel.nn.functional.activation import softplus


class ReLU(Model):
    """``max(x, 0)``."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace  # accepted as in PyTorch; a traced program has nothing to overwrite

    def forward(self, input: Any) -> Any:
        return ops.relu(input)


class LeakyReLU(Model):
    """``x`` where positive, ``negative_slope * x`` elsewhere."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope = negative_slope

    def forward(self, input: Any) -> Any:
        return ops.leaky_relu(input, self.negative_slope)


class ELU(Model):
    """``x`` where positive, ``alpha * (exp(x) - 1)`` elsewhere."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha = alpha

    def forward(self, input: Any) -> Any:
        return ops.elu(input, self.alpha)


class GELU(Model):
    """``x`` times the normal distribution function at x, exact or by tanh."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, input: Any) -> Any:
        return ops.gelu(input, self.approximate)


class SiLU(Model):
    """``x * sigmoid(x)``."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return ops.silu(input)


class Tanh(Model):
    """The hyperbolic tangent."""

    def forward(self, input: Any) -> Any:
        return ops.tanh(input)


class Sigmoid(Model):
    """``1 / (1 + exp(-x))``."""

    def forward(self, input: Any) -> Any:
        return ops.sigmoid(input)


class Softplus(Model):
    """``log(1 + exp(beta * x)) / beta``; as in PyTorch it is x itself where ``beta * x > threshold``."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Any) -> Any:
        return softplus(input, self.beta, self.threshold)


class Softmax(Model):
    """Exponentials that add up to 1 along ``dim``."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return ops.softmax(input, self.dim)


class LogSoftmax(Model):
    """The logarithm of softmax along ``dim``."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return ops.log_softmax(input, self.dim)


class LogSigmoid(Model):
    """``log(sigmoid(x))``, without overflow."""

    def forward(self, input: Any) -> Any:
        return ops.logsigmoid(input)


class Softmin(Model):
    """Softmax of ``-x`` along ``dim``."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return ops.softmin(input, self.dim)


class Softmax2d(Model):
    """Softmax over the channels of (N, C, H, W) or (C, H, W)."""

    def forward(self, input: Any) -> Any:
        if input.ndim not in (3, 4):
            raise ShapeError("Softmax2d is for images.", expected="(N, C, H, W) or (C, H, W)", given=f"{input.dtype} {input.shape}")
        return ops.softmax(input, -3)


class Mish(Model):
    """``x * tanh(softplus(x))``."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return ops.mish(input)


class Softsign(Model):
    """``x / (1 + abs(x))``."""

    def forward(self, input: Any) -> Any:
        return ops.softsign(input)


class Tanhshrink(Model):
    """``x - tanh(x)``."""

    def forward(self, input: Any) -> Any:
        return ops.tanhshrink(input)


class GLU(Model):
    """The first half along ``dim`` times the sigmoid of the second."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return ops.glu(input, self.dim)


class SELU(Model):
    """ELU with the scale and alpha that keep mean 0 and variance 1."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return ops.selu(input)


class CELU(Model):
    """``x`` where positive, ``alpha * (exp(x / alpha) - 1)`` elsewhere."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        if alpha == 0:
            raise ShapeError("alpha divides, and cannot be 0.", given=repr(alpha))
        self.alpha = alpha

    def forward(self, input: Any) -> Any:
        return ops.celu(input, self.alpha)

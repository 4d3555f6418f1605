"""Initial values of parameters, with PyTorch's names and formulas (https://pytorch.org/docs/stable/nn.init.html).

An initializer is called with a shape and a ``Stream`` of core's random numbers and returns a float64 array.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from unimodel import random
from unimodel.graph import Array


@dataclass(frozen=True)
class Stream:
    """The random numbers of one parameter: named by the trainer's seed and the parameter's path."""

    seed: int
    purpose: str

    def uniform(self, shape: Sequence[int]) -> Array:
        return random.uniform(self.seed, self.purpose, shape)

    def normal(self, shape: Sequence[int]) -> Array:
        return random.normal(self.seed, self.purpose, shape)


Initializer = Callable[[tuple[int, ...], Stream], Array]


def constant(value: float) -> Initializer:
    return lambda shape, stream: np.full(shape, value, "float64")


zeros = constant(0.0)
ones = constant(1.0)


def uniform(a: float = 0.0, b: float = 1.0) -> Initializer:
    """Evenly in [a, b)."""
    return lambda shape, stream: a + (b - a) * stream.uniform(shape)


def normal(mean: float = 0.0, std: float = 1.0) -> Initializer:
    return lambda shape, stream: mean + std * stream.normal(shape)


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """How many inputs and outputs a weight of this shape connects: (fan_in, fan_out) of (out, in, *kernel)."""
    if len(shape) < 2:
        raise ValueError(f"fan in and fan out need at least 2 dimensions, not the shape {tuple(shape)}")
    receptive = math.prod(shape[2:])
    return shape[1] * receptive, shape[0] * receptive


def gain(nonlinearity: str, param: float | None = None) -> float:
    """PyTorch's ``calculate_gain``."""
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    known = {"linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 0.75}
    return known[nonlinearity]


def kaiming_uniform(a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Initializer:
    """He et al. 2015."""

    def initialise(shape: tuple[int, ...], stream: Stream) -> Array:
        fan = fans(shape)[0 if mode == "fan_in" else 1]
        bound = gain(nonlinearity, a) * math.sqrt(3.0 / fan)
        return uniform(-bound, bound)(shape, stream)

    return initialise


def kaiming_normal(a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Initializer:
    """He et al. 2015."""

    def initialise(shape: tuple[int, ...], stream: Stream) -> Array:
        fan = fans(shape)[0 if mode == "fan_in" else 1]
        return normal(0.0, gain(nonlinearity, a) / math.sqrt(fan))(shape, stream)

    return initialise


def xavier_uniform(gain: float = 1.0) -> Initializer:
    """Glorot and Bengio 2010."""

    def initialise(shape: tuple[int, ...], stream: Stream) -> Array:
        bound = gain * math.sqrt(6.0 / sum(fans(shape)))
        return uniform(-bound, bound)(shape, stream)

    return initialise


def xavier_normal(gain: float = 1.0) -> Initializer:
    """Glorot and Bengio 2010."""
    return lambda shape, stream: normal(0.0, gain * math.sqrt(2.0 / sum(fans(shape))))(shape, stream)

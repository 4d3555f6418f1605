"""Initial values of parameters, with PyTorch's names and formulas (https://pytorch.org/docs/stable/nn.init.html).

An initializer is called with a shape and a ``Stream`` of core's random numbers and returns an array of the caller's own: float64, or of the
stream's ``dtype`` where it has computed in float64 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unimodel import random
from unimodel.graph import Array
from unimodel.names import missing

if TYPE_CHECKING:
    from unimodel.model import Parameter


@dataclass(frozen=True)
class Stream:
    """The random numbers of one parameter: named by the trainer's seed and the parameter's path.

    ``dtype`` is what the parameter will be kept in. Numbers are float64; with ``then``, a function of them one by one, they are what it makes of them, in
    ``dtype``, and no large array of float64 is needed on the way.
    """

    seed: int
    purpose: str
    dtype: str = "float64"

    def uniform(self, shape: Sequence[int], then: random.Each | None = None) -> Array:
        return random.uniform(self.seed, self.purpose, shape, 0, then, "float64" if then is None else self.dtype)

    def normal(self, shape: Sequence[int], then: random.Each | None = None) -> Array:
        return random.normal(self.seed, self.purpose, shape, 0, then, "float64" if then is None else self.dtype)


Initializer = Callable[[tuple[int, ...], Stream], Array]


def constant(value: float) -> Initializer:
    """One number everywhere; it stands in memory once, until a backend has written it out."""
    return lambda shape, stream: np.broadcast_to(np.asarray(value, stream.dtype), shape)


zeros = constant(0.0)
ones = constant(1.0)


def uniform(a: float = 0.0, b: float = 1.0) -> Initializer:
    """Evenly in [a, b)."""
    return lambda shape, stream: stream.uniform(shape, lambda u: a + (b - a) * u)


def normal(mean: float = 0.0, std: float = 1.0) -> Initializer:
    return lambda shape, stream: stream.normal(shape, lambda z: mean + std * z)


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


def trunc_normal(mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Initializer:
    """Normal numbers of which none is outside [a, b]: the distribution's inverse at numbers drawn evenly between its values there."""

    def initialise(shape: tuple[int, ...], stream: Stream) -> Array:
        low, high = (0.5 * (1.0 + math.erf((bound - mean) / (std * math.sqrt(2.0)))) for bound in (a, b))
        return stream.uniform(shape, lambda u: np.clip(mean + std * random.normal_quantile(low + (high - low) * u), a, b))

    return initialise


def orthogonal(gain: float = 1.0) -> Initializer:
    """Rows (or columns, if there are fewer) of length ``gain``, at right angles; dimensions after the first are one (Saxe et al. 2014)."""

    def initialise(shape: tuple[int, ...], stream: Stream) -> Array:
        if len(shape) < 2:
            raise ValueError(f"an orthogonal matrix needs at least 2 dimensions, not the shape {tuple(shape)}")
        drawn = stream.normal((shape[0], math.prod(shape[1:])))
        tall = drawn if drawn.shape[0] >= drawn.shape[1] else drawn.T
        q, r = np.linalg.qr(tall)
        q = q * np.sign(np.diagonal(r))  # makes the draw uniform over all such matrices
        return np.asarray(gain * (q if tall is drawn else q.T).reshape(shape))

    return initialise


def eye() -> Initializer:
    """Ones on the diagonal of a matrix."""

    def initialise(shape: tuple[int, ...], stream: Stream) -> Array:
        if len(shape) != 2:
            raise ValueError(f"an identity needs 2 dimensions, not the shape {tuple(shape)}")
        return np.eye(*shape)

    return initialise


def dirac(groups: int = 1) -> Initializer:
    """A convolution (out, in / groups, *kernel) that hands on as many of its input's channels as it can, in each group."""

    def initialise(shape: tuple[int, ...], stream: Stream) -> Array:
        if len(shape) not in (3, 4, 5) or shape[0] % groups:
            raise ValueError(f"a convolution's weight has 3 to 5 dimensions, the first a multiple of groups={groups}, not the shape {tuple(shape)}")
        array = np.zeros(shape)
        per_group = shape[0] // groups
        centre = tuple(k // 2 for k in shape[2:])
        for group in range(groups):
            for i in range(min(per_group, shape[1])):
                array[(group * per_group + i, i, *centre)] = 1.0
        return array

    return initialise


def sparse(sparsity: float, std: float = 0.01) -> Initializer:
    """Normal numbers in a matrix, in each column of which this share (rounded up) is zero (Martens 2010)."""

    def initialise(shape: tuple[int, ...], stream: Stream) -> Array:
        if len(shape) != 2:
            raise ValueError(f"a sparse matrix has 2 dimensions, not the shape {tuple(shape)}")
        array = std * stream.normal(shape)
        order = np.argsort(Stream(stream.seed, f"{stream.purpose}/zeros").uniform(shape), axis=0, kind="stable")
        np.put_along_axis(array, order[: math.ceil(sparsity * shape[0])], 0.0, axis=0)
        return array

    return initialise


calculate_gain = gain


def _starts(make: Callable[..., Initializer]) -> Callable[..., Any]:
    def start(tensor: Parameter, *args: Any, **kwargs: Any) -> Parameter:
        tensor.start(make(*args, **kwargs))
        return tensor

    start.__doc__ = f"``{make.__name__}`` for a parameter that no trainer has taken yet; PyTorch's function of this name."
    return start


uniform_, normal_, constant_, trunc_normal_ = _starts(uniform), _starts(normal), _starts(constant), _starts(trunc_normal)
xavier_uniform_, xavier_normal_ = _starts(xavier_uniform), _starts(xavier_normal)
kaiming_uniform_, kaiming_normal_ = _starts(kaiming_uniform), _starts(kaiming_normal)
orthogonal_, eye_, dirac_, sparse_ = _starts(orthogonal), _starts(eye), _starts(dirac), _starts(sparse)


def zeros_(tensor: Parameter) -> Parameter:
    """``zeros`` for a parameter that no trainer has taken yet; PyTorch's function of this name."""
    tensor.start(zeros)
    return tensor


def ones_(tensor: Parameter) -> Parameter:
    """``ones`` for a parameter that no trainer has taken yet; PyTorch's function of this name."""
    tensor.start(ones)
    return tensor


__getattr__ = missing("um.init")

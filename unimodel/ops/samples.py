"""Sample inputs for an op: small descriptions beside its definition, turned into arrays by whoever checks the op.

A sample is a call: its positional and keyword arguments, where a ``Draw`` stands for an array. The draws keep away from places where the op is not
differentiable (ties, kinks), unless a sample says that it is only for values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unimodel.graph import Array


@dataclass(frozen=True)
class Draw:
    """An array still to be drawn: a kind of distribution, its bounds and a shape."""

    kind: str
    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0

    def array(self, rng: np.random.Generator, float_dtype: str = "float64") -> Array:
        if self.kind == "integers":
            return np.asarray(rng.integers(int(self.low), int(self.high), self.shape), dtype="int64")
        if self.kind == "booleans":
            return np.asarray(rng.random(self.shape) < 0.5)
        size = int(np.prod(self.shape))
        if self.kind == "distinct":  # every pair at least 0.1 apart, so that finite differences never change an order
            values = (rng.permutation(size) - size / 2 + 0.25) * 0.1
        elif self.kind == "definite":
            factor = rng.standard_normal(self.shape)
            return np.asarray(factor @ np.swapaxes(factor, -1, -2) / self.shape[-1] + np.eye(self.shape[-1]), dtype=float_dtype)
        elif self.kind == "nonzero":
            values = rng.uniform(0.1, 2.0, size) * rng.choice([-1.0, 1.0], size)
        elif self.kind == "uniform":
            values = rng.uniform(self.low, self.high, size)
        else:
            values = rng.standard_normal(size)
        return np.asarray(values.reshape(self.shape), dtype=float_dtype)


def normal(*shape: int) -> Draw:
    return Draw("normal", shape)


def uniform(low: float, high: float, *shape: int) -> Draw:
    return Draw("uniform", shape, low, high)


def nonzero(*shape: int) -> Draw:
    """Values between 0.1 and 2 in magnitude, of both signs."""
    return Draw("nonzero", shape)


def distinct(*shape: int) -> Draw:
    """Values no two of which are closer than 0.1."""
    return Draw("distinct", shape)


def definite(*shape: int) -> Draw:
    """Symmetric, positive definite matrices."""
    return Draw("definite", shape)


def integers(low: int, high: int, *shape: int) -> Draw:
    """int64 in [low, high)."""
    return Draw("integers", shape, low, high)


def booleans(*shape: int) -> Draw:
    return Draw("booleans", shape)


class Sample:
    """One call of an op. ``gradient=False`` where the result has no gradient or the inputs sit on a kink."""

    __slots__ = ("args", "gradient", "kwargs")

    def __init__(self, *args: Any, gradient: bool = True, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs
        self.gradient = gradient

    def arguments(self, seed: int = 0, float_dtype: str = "float64") -> tuple[list[Any], dict[str, Any]]:
        """The call's arguments with every draw made, the same for the same seed."""
        rng = np.random.Generator(np.random.Philox(seed))

        def draw(value: Any) -> Any:
            if isinstance(value, Draw):
                return value.array(rng, float_dtype)
            if isinstance(value, list):
                return [draw(v) for v in value]
            return value

        return [draw(a) for a in self.args], {k: draw(v) for k, v in self.kwargs.items()}

    def __repr__(self) -> str:
        parts = [repr(a) for a in self.args] + [f"{k}={v!r}" for k, v in self.kwargs.items()]
        return f"Sample({', '.join(parts)})"

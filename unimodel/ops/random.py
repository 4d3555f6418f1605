"""Random numbers inside a step: fresh at each step, the same on every backend.

The host draws them from core's generator (``unimodel.random``), keyed by (the trainer's seed, the draw's place in the program, the step), and feeds them like
data; so a script gives the same numbers on every backend, and a run that is continued goes on with the numbers it would have had. Everything here works inside
a ``step`` or ``forward``. ``key`` names a stream: two draws with one key, shape and kind give the same numbers in a step, wherever they stand.

>>> import numpy as np
>>> import unimodel as um
>>> um.run(lambda x: x + um.ops.random.normal(x.shape), np.zeros(2, "float32")).shape
(2,)
"""

from __future__ import annotations

from typing import Any

import unimodel.ops as ops
from unimodel.dim import Dim, Size
from unimodel.errors import ShapeError, TraceError
from unimodel.ops.creation import default_float
from unimodel.tensor_operators import TensorLike
from unimodel.tracing import Tensor, Trace, current_trace

__all__ = [
    "bernoulli",
    "keep_mask",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "randperm",
]


def normal(shape: Any, mean: Any = 0.0, std: Any = 1.0, *, dtype: str | None = None, key: str | None = None) -> Tensor:
    """Normal numbers of this shape; ``mean`` and ``std`` are numbers or tensors that broadcast to it, and gradients flow to them.

    >>> def reparametrised(mean, log_variance):     # what a variational autoencoder samples
    ...     return normal(mean.shape, mean, ops.exp(0.5 * log_variance))
    """
    drawn = _trace().draw("normal", _shape(shape), dtype or default_float(), key=key)
    return _moved(drawn if _is(std, 1) else drawn * std, mean)


def uniform(shape: Any, low: Any = 0.0, high: Any = 1.0, *, dtype: str | None = None, key: str | None = None) -> Tensor:
    """Uniform numbers in [low, high); the bounds are numbers or tensors that broadcast to ``shape``."""
    drawn = _trace().draw("uniform", _shape(shape), dtype or default_float(), key=key)
    return _moved(drawn if _is(low, 0) and _is(high, 1) else drawn * (high - low), low)


def bernoulli(p: Any, shape: Any = None, *, key: str | None = None) -> Tensor:
    """Booleans that are True with probability ``p``, a number or a tensor; ``shape`` is p's by default. No gradient flows to p."""
    if isinstance(p, TensorLike):
        return ops.less(uniform(p.shape if shape is None else shape, dtype=p.dtype, key=key), p)
    if not 0.0 <= p <= 1.0:
        raise ShapeError("p is a probability.", expected="0 <= p <= 1", given=repr(p), remedy="pass a logit through um.ops.sigmoid first")
    return _trace().draw("mask", _shape(() if shape is None else shape), "bool", float(p), key)


def randint(low: int, high: int | None = None, shape: Any = (), *, dtype: str = "int64", key: str | None = None) -> Tensor:
    """Integers in [low, high), or in [0, low) where only one bound is given, each equally likely."""
    low, high = (0, low) if high is None else (low, high)
    if not low < high:
        raise ShapeError(
            "there is no integer between the bounds.", expected="low < high", given=f"low={low}, high={high}", remedy="the upper bound is not drawn"
        )
    drawn = _trace().draw("integers", _shape(shape), dtype, float(high - low), key)
    return _moved(drawn, low)


def permutation(n: Size, *, key: str | None = None) -> Tensor:
    """The numbers 0 to n - 1 in random order, int64: ``x[permutation(x.shape[0])]`` shuffles a batch."""
    return _trace().draw("permutation", (n,), "int64", key=key)


def gumbel(shape: Any, *, dtype: str | None = None, key: str | None = None) -> Tensor:
    """Standard Gumbel numbers, ``-log(-log(u))``: added to logits, their softmax is the Gumbel-softmax (Jang et al. 2017)."""
    tiny = 1e-7 if (dtype or default_float()) != "float64" else 1e-15
    return -ops.log(-ops.log(ops.clip(uniform(shape, dtype=dtype, key=key), tiny, 1.0 - tiny)))


def categorical(logits: Any, axis: int = -1, *, key: str | None = None) -> Tensor:
    """Indices along ``axis``, each with the probability that softmax gives its logit (int64, without that axis)."""
    x = ops.asarray(logits)
    return ops.argmax(x + gumbel(x.shape, dtype=x.dtype, key=key), axis=axis)


def keep_mask(shape: Any, keep: float) -> Tensor:
    """A boolean mask that is True with probability ``keep``, drawn anew at each step: what dropout multiplies by."""
    return _trace().draw("mask", _shape(shape), "bool", keep)


def randn(*shape: Any, dtype: str | None = None) -> Tensor:
    """PyTorch's name for standard ``normal`` numbers."""
    return normal(_sizes(shape), dtype=dtype)


def rand(*shape: Any, dtype: str | None = None) -> Tensor:
    """PyTorch's name for ``uniform`` numbers in [0, 1)."""
    return uniform(_sizes(shape), dtype=dtype)


def randn_like(x: Any) -> Tensor:
    """Standard normal numbers of x's shape and dtype."""
    return normal(x.shape, dtype=x.dtype)


def rand_like(x: Any) -> Tensor:
    """Uniform numbers in [0, 1) of x's shape and dtype."""
    return uniform(x.shape, dtype=x.dtype)


randperm = permutation
"""PyTorch's name for ``permutation``."""


def _trace() -> Trace:
    trace = current_trace()
    if trace is None:
        raise TraceError(
            "random numbers of um.ops belong to a step or a forward, which has a seed and a step number.",
            remedy="call it inside step() or forward(); outside use um.random.normal(seed, purpose, shape) and its like, which give NumPy arrays",
        )
    return trace


def _shape(shape: Any) -> tuple[Size, ...]:
    return (shape,) if isinstance(shape, (int, Dim)) else tuple(shape)


def _sizes(shape: tuple[Any, ...]) -> Any:
    """PyTorch's two ways of giving sizes: one by one, or as one tuple."""
    return shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape


def _is(value: Any, number: float) -> bool:
    return isinstance(value, (int, float)) and value == number


def _moved(drawn: Tensor, by: Any) -> Tensor:
    return drawn if _is(by, 0) else drawn + by

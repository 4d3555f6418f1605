"""The loops that experts of each framework would write by hand, idiomatic and without unimodel.

Each module has ``LOOPS``: from a workload's name to a function of (weights by PyTorch's names, compile) that returns a ``Loop``. ``compile`` is None for the
framework's usual way, or names its compiler, as in the Trainer's ``compile=``. ``pin(threads)`` sets the threads; ``settings()`` says what is set that costs or saves time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FRAMEWORKS = ("torch", "tensorflow", "mxnet")
COMPILERS = ("torch", "tensorflow")
"""Those with a compiler to ask for: torch.compile, XLA."""
KERAS_BACKENDS = ("torch", "tensorflow")
KERAS_WORKLOADS = ("regression", "mlp", "cnn", "gpt", "recommender", "digits")


@dataclass(frozen=True)
class Loop:
    """``step(inputs, target)`` takes NumPy arrays and gives the loss as a float, once it is there; ``predict(inputs)`` gives a NumPy array.

    ``fit(inputs, target, batch_size)`` is an epoch by the framework's own loop, where it has one.
    """

    step: Callable[[Any, Any], float]
    predict: Callable[[Any], Any]
    fit: Callable[[Any, Any, int], Any] | None = None

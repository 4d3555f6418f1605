"""Recording what trainers do, for tools that run a script and compare: the losses of every step, and the final numbers.

A recording is current for the whole process, so that what a script does in its threads is recorded too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from unimodel.graph import Array, Graph

if TYPE_CHECKING:
    from unimodel.backend import CompileOptions, Store


class StopRecording(BaseException):
    """Ends a recorded script once enough steps have been seen; not an Exception, so that scripts do not catch it."""


@dataclass
class Recording:
    """Filled in by every trainer that runs while it is current."""

    precision: str | None = None
    """Overrides the precision trainers ask for."""
    most_steps: int | None = None
    """Stop after so many."""
    trainers: int = 0
    steps: int = 0
    losses: list[float] = field(default_factory=list)
    """One number a step, see ``loss_of``; of all trainers, in the order in which they were read back."""
    final: dict[str, Any] = field(default_factory=dict)
    """The last epoch's logs, and ``evaluate_`` before what evaluate returned last."""
    precisions: set[str] = field(default_factory=set)
    """The precisions trainers ran in."""
    ops: set[str] = field(default_factory=set)
    """The names of the ops in everything that was traced."""
    step_by_step: bool = False
    """Run training steps one at a time, and announce each by ``before_step``."""

    def trainer(self, precision: str) -> str:
        """A trainer is made that asks for this precision; returns the one it gets."""
        self.trainers += 1
        self.precisions.add(self.precision or precision)
        return self.precision or precision

    def graph(self, graph: Graph) -> None:
        """A program was traced."""
        for node in graph.nodes:
            self.ops.add(node.op.name)
            for body in node.attrs.values():
                if isinstance(body, Graph):
                    self.graph(body)

    def before_step(self, graph: Graph, options: CompileOptions, store: Store, batch: Sequence[Array], scalars: Sequence[float]) -> None:
        """A training step is about to run on this batch and these host numbers, in the order of the graph's inputs; ``store`` holds the state before it.

        Only called where ``step_by_step``; for a subclass to keep what it wants of it.
        """

    def step(self, results: Mapping[str, Any]) -> None:
        """A step's results were read back."""
        self.steps += 1
        loss = loss_of(results)
        if loss is not None:
            self.losses.append(loss)
        if self.most_steps is not None and self.steps >= self.most_steps:
            raise StopRecording


def loss_of(results: Mapping[str, Any]) -> float | None:
    """The number that stands for a step in its curve: its ``loss``, else the sum of all it names a loss (``loss_d``, ``loss_g``).

    >>> loss_of({"loss_d": 1.0, "loss_g": 0.5, "accuracy": 0.9})
    1.5
    """
    named = [results["loss"]] if "loss" in results else [value for name, value in results.items() if "loss" in name.lower()]
    return float(sum(float(np.mean(value)) for value in named)) if named else None


_current: Recording | None = None


def current() -> Recording | None:
    return _current


@contextmanager
def recorded(recording: Recording) -> Iterator[Recording]:
    global _current
    before, _current = _current, recording
    try:
        yield recording
    finally:
        _current = before

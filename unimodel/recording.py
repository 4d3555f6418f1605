"""Recording what trainers do, for tools that run a script and compare: the losses of every step, and the final numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


class StopRecording(BaseException):
    """Ends a recorded script once enough steps have been seen; not an Exception, so that scripts do not catch it."""


@dataclass
class Recording:
    """Filled in by every trainer that runs while it is current."""

    losses: list[float] = field(default_factory=list)
    final: dict[str, float] = field(default_factory=dict)
    trainers: int = 0
    precision: str | None = None
    """Overrides the precision trainers ask for."""
    most_steps: int | None = None

    def step(self, loss: float) -> None:
        self.losses.append(loss)
        if self.most_steps is not None and len(self.losses) >= self.most_steps:
            raise StopRecording


_current: ContextVar[Recording | None] = ContextVar("unimodel_recording", default=None)


def current() -> Recording | None:
    return _current.get()


@contextmanager
def recorded(recording: Recording) -> Iterator[Recording]:
    token = _current.set(recording)
    try:
        yield recording
    finally:
        _current.reset(token)

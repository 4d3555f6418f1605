"""The loop around a trainer's programs: an epoch of training, and a data set run through a forward program.

It feeds several steps at a time where nobody looks between them, and reads results back late, at the latest at the end of the epoch.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from unimodel import random, recording
from unimodel.callbacks.callback import Callback
from unimodel.data.batches import ArrayData, StreamData
from unimodel.data.feeding import Feed
from unimodel.errors import DataError
from unimodel.graph import Array
from unimodel.results import Totals
from unimodel.runtime import Program

if TYPE_CHECKING:
    from unimodel.trainer import Trainer

STEPS_PER_CALL = 32
"""At most so many steps are handed to the backend at once."""
UNREAD_STEPS = 512
"""Results of at most so many steps wait to be read; then the oldest are."""


def epoch(
    trainer: Trainer, source: ArrayData | StreamData, batch_size: int, shuffle: bool, callbacks: Sequence[Callback], most: float
) -> tuple[dict[str, float], dict[str, Any]]:
    """At most ``most`` training steps over the data set; returns sample-weighted means, and how it was fed."""
    watching = [c for c in callbacks if type(c).on_step_end is not Callback.on_step_end]
    totals = Totals({m.name: m for m in trainer.metrics})
    unread: deque[tuple[Program, Any, int, float]] = deque()
    current = recording.current()
    apart = bool(watching) or (current is not None and current.step_by_step)
    at_once = apart or (current is not None and current.most_steps is not None)

    def read(keep: int) -> None:
        while len(unread) > keep:
            program, handle, step, weight = unread.popleft()
            values = trainer._read(program, handle, step)
            totals.add(values, weight)
            if current is not None:
                current.step(values)
            for callback in watching:
                callback.on_step_end(trainer, step, totals.single(values))

    checked: Program | None = None
    feed = batches(trainer, source, batch_size, shuffle, 1 if apart else STEPS_PER_CALL, most, reuse=current is None)
    for batch, steps in feed.items:
        program = trainer._program("train", trainer._traced_step, batch, steps[0])
        if isinstance(source, StreamData):
            trainer._um_runtime.check_indices(program, steps[0])
        elif program is not checked:
            trainer._um_runtime.check_indices(program, trainer._um_runtime.leaves(source.data))
            checked = program
        first = trainer._um_steps + 1
        weights = [weight_of(program, leaves) for leaves in steps]
        for i, handle in enumerate(trainer._run_steps(program, steps)):
            unread.append((program, handle, first + i, weights[i]))
        if at_once:
            read(0)
        elif len(unread) > UNREAD_STEPS:
            read(UNREAD_STEPS // 2)
    read(0)
    return totals.results(), feed.how


class Batches:
    """Batches in order: each item a batch's structure and the leaves of one or more batches of it. ``how`` says how they are fed."""

    def __init__(self, items: Iterator[tuple[Any, list[list[Array]]]], **how: Any) -> None:
        self.items = items
        self.how = how


def batches(trainer: Trainer, source: ArrayData | StreamData, batch_size: int, shuffle: bool, together: int, most: float, reuse: bool = True) -> Batches:
    """The batches of a data set; the order of an epoch is the permutation that (seed, epoch) names."""
    runtime = trainer._um_runtime
    if isinstance(source, StreamData):
        return Batches(_streamed(trainer, source, most), threaded=False, steps_per_call=1)
    order = random.permutation(runtime.seed, "shuffle", trainer._um_epoch, source.length) if shuffle else None
    count = int(min(source.length, most * batch_size))
    feed = Feed(runtime.leaves(source.data), order, count, batch_size, together, reuse)
    return Batches(((source.data, steps) for steps in feed), threaded=feed.threaded, steps_per_call=feed.together)


def _streamed(trainer: Trainer, source: StreamData, most: float) -> Iterator[tuple[Any, list[list[Array]]]]:
    for count, batch in enumerate(source):
        if count >= most:
            return
        leaves = trainer._um_runtime.leaves(batch)
        if not leaves or any(a.ndim and a.shape[0] == 0 for a in leaves):
            raise DataError(
                f"batch {count} of {source.what} is empty.",
                expected="at least one sample",
                given=[a.shape for a in leaves],
                remedy="leave empty batches out",
            )
        yield batch, [leaves]


def forward(
    trainer: Trainer, kind: str, function: Callable[[Any], Any], source: ArrayData | StreamData, batch_size: int
) -> Iterator[tuple[Program, Any, float]]:
    """A forward program over a data set: for each batch the program, its results, and what the batch counts with.

    A batch runs while the results of the one before are read. Each draws random numbers of its own, and none are those of a training step.
    """
    runtime = trainer._um_runtime
    last: tuple[Program, Any, float] | None = None
    for count, (batch, (leaves,)) in enumerate(batches(trainer, source, batch_size, False, 1, math.inf).items, 1):
        program = trainer._program(kind, function, batch, leaves)
        runtime.check_indices(program, leaves)
        handle = program.executable.run(program.arrange(leaves, runtime.seed, random.beside(trainer._um_steps, count)), program.numbers())
        if last is not None:
            yield last[0], last[0].executable.read(last[1]), last[2]
        last = program, handle, weight_of(program, leaves)
    if last is not None:
        yield last[0], last[0].executable.read(last[1]), last[2]


def weight_of(program: Program, leaves: Sequence[Array]) -> float:
    """What a batch counts with in an epoch's mean: its samples, or the sum of their weights."""
    if program.weighted:
        return float(leaves[-1].sum())
    return float(next((len(a) for a in leaves if a.ndim), 1))

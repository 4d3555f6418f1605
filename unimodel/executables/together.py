"""Several steps by one program, for a backend to which starting a step costs more than computing it.

``Together`` does ``count`` of them at once, written one after the other, and what is left one by one. ``stacked`` is for a program that is a loop itself, and does any number.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from unimodel.backend import Executable, Store
from unimodel.graph import Array, Graph
from unimodel.passes.steps import several_steps


class Together(Executable):
    """The executable of a graph, with a second one for ``count`` of its steps, which ``compile`` makes over the store when it is first needed."""

    def __init__(self, graph: Graph, count: int, compile: Callable[[Graph, Any], Executable], store: Any) -> None:
        self.graph = graph
        self._count = count
        self._compile = compile
        self._store = store
        self.one = compile(graph, store)
        self.compiler = self.one.compiler

    @functools.cached_property
    def several(self) -> Executable:
        return self._compile(several_steps(self.graph, self._count), self._store)

    def over(self, store: Store | None) -> Together:
        other = Together(self.graph, self._count, self._compile, store)
        other.differentiation = self.differentiation
        return other

    def run(self, batch: Sequence[Array], scalars: Sequence[float]) -> Any:
        return self.one.run(batch, scalars)

    def run_many(self, batches: Sequence[Sequence[Array]], scalars: Sequence[Sequence[float]]) -> list[Any]:
        handles: list[Any] = []
        outputs = len(self.graph.outputs)
        for _, same in itertools.groupby(zip(batches, scalars, strict=True), lambda step: [a.shape for a in step[0]]):
            steps = list(same)
            while len(steps) >= self._count:
                now, steps = steps[: self._count], steps[self._count :]
                whole = Whole(self.several, self.several.run([a for batch, _ in now for a in batch], [n for _, numbers in now for n in numbers]))
                handles += [Step(whole, i * outputs, (i + 1) * outputs) for i in range(self._count)]
            handles += [self.one.run(batch, numbers) for batch, numbers in steps]
        return handles

    def read(self, handle: Any) -> list[Array]:
        return handle.read() if isinstance(handle, Step) else self.one.read(handle)


class Whole:
    """The outputs of several steps, read when the first of them is."""

    def __init__(self, program: Executable, handle: Any) -> None:
        self._program, self._handle = program, handle

    @functools.cached_property
    def arrays(self) -> list[Array]:
        return self._program.read(self._handle)


class Step(NamedTuple):
    """One step's outputs among those of all."""

    whole: Whole
    start: int
    stop: int

    def read(self) -> list[Array]:
        return [np.array(a) for a in self.whole.arrays[self.start : self.stop]]


class Slice(NamedTuple):
    """One step's outputs where those of all are stacked."""

    whole: Whole
    place: int

    def read(self) -> list[Array]:
        return [np.array(a[self.place]) for a in self.whole.arrays]


def stacked(
    program: Executable,
    start: Callable[[Sequence[Array], Sequence[Sequence[float]]], Any],
    batches: Sequence[Sequence[Array]],
    scalars: Sequence[Sequence[float]],
    dtypes: Sequence[Any],
) -> list[Any]:
    """The handles of steps, of which those with batches of equal shapes are one call of ``start``, with their arrays stacked; ``program`` reads what that gives."""
    handles: list[Any] = []
    for _, same in itertools.groupby(zip(batches, scalars, strict=True), lambda step: [a.shape for a in step[0]]):
        group, numbers = zip(*same, strict=True)
        whole = Whole(program, start([np.array(a, d) for a, d in zip(zip(*group, strict=True), dtypes, strict=True)], numbers))
        handles += [Slice(whole, i) for i in range(len(group))]
    return handles

"""Several steps by one program, for a backend to which starting a step costs more than computing it: as many as ``count`` at once, and what is left one by one."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from unimodel.backend import Executable
from unimodel.graph import Array, Graph
from unimodel.passes.steps import several_steps


class Together(Executable):
    """The executable of a graph, with a second one for ``count`` of its steps, which ``compile`` makes when it is first needed."""

    def __init__(self, graph: Graph, count: int, compile: Callable[[Graph], Executable]) -> None:
        self.graph = graph
        self._count = count
        self._compile = compile
        self.one = compile(graph)
        self.compiler = self.one.compiler

    @functools.cached_property
    def several(self) -> Executable:
        return self._compile(several_steps(self.graph, self._count))

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

"""A program for each shape of the batch, for frameworks that compile, or bind, for sizes that are numbers; of segments, where there is control flow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from unimodel import collector
from unimodel.backend import Executable, Store
from unimodel.executables.segments import Segments
from unimodel.graph import Array, Graph
from unimodel.passes.sizes import sized
from unimodel.regions import has_control_flow

KEPT = 16
Shapes = tuple[tuple[int, ...], ...]


class PerShape(Executable):
    """A graph of any size of batch. ``compile`` makes a program of a graph without symbolic sizes, and without control flow, over a store; the 16 that were used last
    are kept.
    """

    def __init__(self, graph: Graph, compile: Callable[[Graph, Any], Executable], store: Any) -> None:
        self.graph = graph
        self._compile = compile
        self._store = store
        self._names = [e.name for e in graph.of_kind("batch")]
        self._lock = threading.Lock()
        self._programs: dict[Shapes, Executable] = {}
        self._latest: tuple[Shapes | None, Any] = None, None

    def run(self, batch: Sequence[Array], scalars: Sequence[float]) -> Any:
        shapes = tuple([a.shape for a in batch])
        used, program = self._latest  # one tuple, so that threads see shapes and program that belong together
        if used != shapes:
            program = self._program(shapes)
            self._latest = shapes, program
        return program, program.run(batch, scalars)

    def _program(self, shapes: Shapes) -> Executable:
        with self._lock:
            program = self._programs.pop(shapes, None)
            if program is None:
                sizes = self.graph.sizes(dict(zip(self._names, shapes, strict=True)))
                with collector.waiting():
                    graph = sized(self.graph, sizes) if sizes else self.graph
                    program = Segments(graph, self._straight) if has_control_flow(graph) else self._straight(graph)
                if len(self._programs) >= KEPT:
                    self._programs.pop(next(iter(self._programs)))
            self._programs[shapes] = program  # the one used last stands last
            return program

    def _straight(self, graph: Graph) -> Executable:
        return self._compile(graph, self._store)

    def over(self, store: Store | None) -> PerShape:
        """The same graph; its programs are bound to arrays, and are made anew."""
        other = PerShape(self.graph, self._compile, store)
        other.compiler, other.differentiation = self.compiler, self.differentiation
        return other

    def read(self, handle: Any) -> list[Array]:
        program, inner = handle
        return list(program.read(inner))

"""Capturing a script's training steps while it runs: each step as a piece, the whole step on the numbers that went in, in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unimodel.backend import CompileOptions, Store
from unimodel.diff.piece import Piece
from unimodel.diff.saved import read, write
from unimodel.graph import Array, Graph, Node
from unimodel.passes import rewrite
from unimodel.passes.rewrite import Rewriter
from unimodel.recording import Recording, StopRecording
from unimodel.tracing import Tensor


@dataclass
class Capture(Recording):
    """Writes every step into ``folder``; with ``until_bad`` only the first that makes a number which is not finite, and stops there."""

    step_by_step: bool = True
    folder: Path = Path()
    until_bad: bool = False
    seen: int = 0
    """Steps begun."""
    bad: int | None = None
    """The number of the step that made a number which is not finite."""
    _last: dict[int, tuple[int, Store, Piece]] = field(default_factory=dict, repr=False)
    """By store, as there is one a trainer: its last step."""

    def before_step(self, graph: Graph, options: CompileOptions, store: Store, batch: Sequence[Array], scalars: Sequence[float]) -> None:
        state = {e.name: store.read(e.name) for e in graph.of_kind("state")}
        if self.until_bad and id(store) in self._last:
            self._look(self._last[id(store)][0], state)
        self.seen += 1
        arrays = state | {e.name: np.array(a, e.spec.dtype) for e, a in zip(graph.of_kind("batch"), batch, strict=True)}
        numbers = dict(zip((e.name for e in graph.of_kind("scalar")), scalars, strict=True))
        piece = Piece(graph, arrays, numbers, options.differentiation)
        self._last[id(store)] = self.seen, store, piece
        if not self.until_bad:
            self._keep(self.seen, piece)

    def step(self, results: Mapping[str, Any]) -> None:
        if self.until_bad:
            self._look(self.seen, {name: np.asarray(value) for name, value in results.items()})
        super().step(results)

    def _look(self, number: int, arrays: Mapping[str, Array]) -> None:
        if self.bad is None and any(a.dtype.kind == "f" and not np.isfinite(a).all() for a in arrays.values()):
            self.bad = number
            raise StopRecording

    def _keep(self, number: int, piece: Piece) -> None:
        whole = Piece(of_the_catalogue(piece.graph), piece.arrays, piece.scalars, piece.differentiation)
        write(file_of(self.folder, number), whole, {"step": number})

    def finish(self, not_finite: bool) -> None:
        """The script has ended: look at what the last steps left. ``not_finite`` tells that a trainer has said its loss is not."""
        if not self.until_bad:
            return
        if self.bad is None and not_finite:
            self.bad = self.seen
        for number, store, piece in self._last.values():
            try:
                self._look(number, {e.name: store.read(e.name) for e, _ in piece.graph.updates})
            except StopRecording:
                break
        for number, _, piece in self._last.values():
            if number == self.bad:
                self._keep(number, piece)


def file_of(folder: Path, number: int) -> Path:
    return folder / f"step{number:09d}.safetensors"


def captured(folder: Path) -> list[Path]:
    """The steps' files, in order."""
    return sorted(folder.glob("step*.safetensors"))


def load(path: Path) -> tuple[int, Piece]:
    """A captured step and its number."""
    piece, found, _ = read(path)
    return int(found["step"]), piece


def of_the_catalogue(graph: Graph) -> Graph:
    """The graph without composites that a script has defined itself: no other process knows them."""

    def own(inside: Graph) -> bool:
        return any(_is_own(n) or any(own(b) for b in n.attrs.values() if isinstance(b, Graph)) for n in inside.nodes)

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        if _is_own(node):
            return rewriter.inline(node.op.decompose(node.specs, dict(node.attrs), rewriter.float_dtype), inputs)
        if any(isinstance(v, Graph) for v in node.attrs.values()):
            return rewriter.keep(node, inputs, {k: of_the_catalogue(v) if isinstance(v, Graph) else v for k, v in node.attrs.items()})
        return None

    return rewrite(graph, visit) if own(graph) else graph


def _is_own(node: Node) -> bool:
    return node.op.composite and node.op.__module__.partition(".")[0] != "unimodel"

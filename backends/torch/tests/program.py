"""A traced and compiled function of some variables and a batch, for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unimodel import plugins
from unimodel.backend import CompileOptions, Executable, Store
from unimodel.dim import Dim
from unimodel.graph import TensorSpec
from unimodel.tracing import Traced, Variable, trace


class Cell(Variable):
    def __init__(self, array: np.ndarray) -> None:
        self.shape = array.shape
        self.dtype = array.dtype.name


Variables = Mapping[str, Cell]


@dataclass
class Program:
    traced: Traced
    executable: Any
    store: Store

    def run(self, batch: Sequence[np.ndarray]) -> Any:
        return self.executable.run(self.order(batch), self.scalars())

    def order(self, batch: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [batch[self.traced.batch.index(e.name)] for e in self.traced.graph.of_kind("batch")]

    def scalars(self) -> list[float]:
        return [self.traced.scalars[e.name].value for e in self.traced.graph.of_kind("scalar")]

    def __call__(self, *batch: np.ndarray) -> list[np.ndarray]:
        return self.executable.read(self.run(batch))


def program(
    function: Callable[..., Any],
    state: Mapping[str, np.ndarray],
    batch: Sequence[np.ndarray],
    backend: str,
    who: str = "auto",
    symbolic: bool = False,
    store: Store | None = None,
) -> Program:
    """``function(variables, *batch)`` on a backend; numpy always differentiates with core."""
    cells = {name: Cell(np.asarray(a)) for name, a in state.items()}
    floats = [a.dtype.name for a in (*state.values(), *batch) if a.dtype.kind == "f"]
    specs = tuple(TensorSpec((Dim.symbol("N"), *a.shape[1:]) if symbolic else a.shape, a.dtype.name) for a in batch)
    sizes = {"N": len(batch[0])} if symbolic else {}
    names = {cell: name for name, cell in cells.items()}
    traced = trace(lambda b: function(cells, *b), specs, names=names, float_dtype=floats[0] if floats else "float32", sizes=sizes)
    chosen = plugins.load(backend)()
    store = chosen.store(state) if store is None else store
    options = CompileOptions(differentiation=who if backend != "numpy" else "core")  # type: ignore[arg-type]  # one of its words
    executable: Executable = chosen.compile(traced.graph, store, options)
    return Program(traced, executable, store)


def assert_same(found: Sequence[np.ndarray], reference: Sequence[np.ndarray], tolerance: float) -> None:
    """Shapes and dtypes the same, numbers within the tolerance of the largest."""
    assert len(found) == len(reference)
    for f, r in zip(found, reference, strict=True):
        assert (f.shape, f.dtype) == (r.shape, r.dtype)
        finite = np.abs(r[np.isfinite(r)])
        np.testing.assert_allclose(f, r, rtol=tolerance, atol=tolerance * max(1.0, float(finite.max(initial=0.0))))

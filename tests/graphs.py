"""Graphs of functions, and what they compute: by these a pass is judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unimodel import plugins
from unimodel.backend import Interpreter
from unimodel.graph import Graph, TensorSpec
from unimodel.passes import decompose, differentiate
from unimodel.tracing import trace


def traced(function: Callable[..., Any], *arrays: np.ndarray) -> Graph:
    specs = tuple(TensorSpec(a.shape, a.dtype.name) for a in arrays)
    return trace(lambda batch: function(*batch), specs, names={}, float_dtype="float64").graph


def plain(graph: Graph) -> Graph:
    """Primitives only, nothing folded: what every pass is judged by."""
    return decompose(differentiate(graph), lambda node: False)


def run(graph: Graph, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    backend = plugins.load("numpy")()
    by_name = {f"batch.{i}": a for i, a in enumerate(arrays)}
    executable = Interpreter(backend, graph, backend.store({}))
    return executable.read(executable.run([by_name[e.name] for e in graph.of_kind("batch")], [0.5] * len(graph.of_kind("scalar"))))


def same(graph: Graph, other: Graph, arrays: Sequence[np.ndarray], rtol: float = 1e-13) -> None:
    for ours, theirs in zip(run(graph, arrays), run(other, arrays), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-14)


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]

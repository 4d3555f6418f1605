"""A broadcast or reduction whose dimensions take turns more often than kernels can follow is carried out in stretches, to the same numbers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from unimodel import ops
from unimodel.graph import Graph, TensorSpec
from unimodel.passes.stretches import STRETCHES, in_stretches
from unimodel.tracing import trace


def traced(function: Any, *shapes: tuple[int, ...]) -> Graph:
    return trace(lambda tensors: function(*tensors), tuple(TensorSpec(s, "float64") for s in shapes), names={}, float_dtype="float64").graph


def stretches(shapes: list[tuple[int, ...]], result: tuple[int, ...]) -> int:
    padded = [(1,) * (len(result) - len(s)) + s for s in shapes]
    patterns = [tuple(p[i] == 1 for p in padded) for i, n in enumerate(result) if n != 1]
    return len([1 for a, b in zip([None, *patterns], patterns, strict=False) if a != b])


def evaluated(graph: Graph, arrays: list[np.ndarray]) -> list[np.ndarray]:
    from unimodel.plugins import load

    backend = load("numpy")()
    executable = backend.compile(graph, backend.store({}))
    return executable.read(executable.run(arrays, []))


@given(st.integers(0, 2**32 - 1), st.integers(5, 9), st.sampled_from(["add", "where", "broadcast_to"]))
@examples(60)
def test_any_broadcast(seed: int, rank: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    full = rng.choice([1, 2, 2, 3], rank)
    sides = [tuple(int(n) for n in np.where(rng.random(rank) < 0.5, 1, full)[rng.integers(0, 2) :]) for _ in range(2)]
    result = np.broadcast_shapes(*sides, tuple(full)) if kind == "broadcast_to" else np.broadcast_shapes(*sides)
    call = {
        "add": lambda x, y: x + y,
        "where": lambda x, y: ops.where(x > 0, x, y),
        "broadcast_to": lambda x, y: (ops.broadcast_to(x, result), ops.broadcast_to(y, result)),
    }[kind]
    before = traced(call, *sides)
    after = in_stretches(before)
    for node in after.nodes:
        if node.op.promote or node.op in (ops.broadcast_to, ops.where):
            assert stretches([v.spec.shape for v in node.inputs if v is not None], node.outputs[0].spec.shape) <= STRETCHES
    arrays = [rng.standard_normal(s) for s in sides]
    truth = {
        "add": lambda x, y: [x + y],
        "where": lambda x, y: [np.where(x > 0, x, y)],
        "broadcast_to": lambda x, y: [np.broadcast_to(x, result), np.broadcast_to(y, result)],
    }[kind](*arrays)
    for one, other in zip(evaluated(after, arrays), truth, strict=True):
        np.testing.assert_array_equal(one, other)


@given(st.integers(0, 2**32 - 1), st.integers(5, 9), st.sampled_from(["sum", "max", "prod", "any"]), st.booleans())
@examples(60)
def test_any_reduction(seed: int, rank: int, kind: str, keepdims: bool) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.choice([1, 2, 2, 3], rank))
    axes = tuple(int(i) for i in np.flatnonzero(rng.random(rank) < 0.5))
    graph = in_stretches(traced(lambda x: getattr(ops, kind)(x > 0 if kind == "any" else x, axis=axes, keepdims=keepdims), shape))
    for node in graph.nodes:
        if node.op.name == kind:
            pattern = [i in node.attrs["axis"] for i, n in enumerate(node.specs[0].shape) if n != 1]
            assert sum(a != b for a, b in itertools.pairwise(pattern)) < STRETCHES
    x = rng.standard_normal(shape)
    np.testing.assert_allclose(evaluated(graph, [x])[0], getattr(np, kind)(x > 0 if kind == "any" else x, axis=axes, keepdims=keepdims), rtol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 1, 3, 1, 4, 1)])
def test_usual_graphs_stay_as_they_are(shape: tuple[int, ...]) -> None:
    graph = traced(lambda x, y: x + y, shape, shape[1:])
    assert in_stretches(graph) is graph

"""Ops on more dimensions than kernels take are carried out on fewer, to the same numbers, on every backend; their gradients too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

import unimodel as um
from unimodel import ops
from unimodel.dim import Dim
from unimodel.graph import Graph, TensorSpec
from unimodel.passes.dimensions import merge_dimensions
from unimodel.plugins import load
from unimodel.regions import every_node
from unimodel.tracing import trace

SHAPE = (2, 1, 3, 2, 2, 1, 2, 2)
X = np.random.default_rng(0).standard_normal(SHAPE).astype("float32")
Y = np.random.default_rng(1).standard_normal((3, 1, 2, 1, 2, 2)).astype("float32")

VALUES: dict[str, tuple[Any, Any]] = {
    "add": (lambda x, y: x + y, X + Y),
    "where": (lambda x, y: ops.where(x > 0, x, y), np.where(X > 0, X, Y)),
    "clip": (lambda x, y: ops.clip(x, -1.0, 0.5), np.clip(X, -1, 0.5)),
    "broadcast_to": (lambda x, y: ops.broadcast_to(y, (2, 2, *y.shape[:1], 2, *y.shape[2:])), np.broadcast_to(Y, (2, 2, 3, 2, 2, 1, 2, 2))),
    "sum": (lambda x, y: x.sum(axis=(0, 3, 4, 7)), X.sum((0, 3, 4, 7))),
    "max": (lambda x, y: ops.max(x, axis=(2, 3, 6), keepdims=True), X.max((2, 3, 6), keepdims=True)),
    "any": (lambda x, y: ops.any(x > 1.5, axis=(1, 3, 6)), (X > 1.5).any((1, 3, 6))),
    "argmax": (lambda x, y: ops.argmax(x, axis=3), X.argmax(3)),
    "sort": (lambda x, y: ops.sort(x, axis=2), np.sort(X, 2)),
    "concat": (lambda x, y: ops.concat([x, x * 2.0], axis=4), np.concatenate([X, X * 2], 4)),
    "stack": (lambda x, y: ops.stack([x, x], axis=2), np.stack([X, X], 2)),
    "flip": (lambda x, y: ops.flip(x, axis=(2, 3, 6)), np.flip(X, (2, 3, 6))),
    "slice": (lambda x, y: x[1:, :, ::2, :, :, :, 0:1], X[1:, :, ::2, :, :, :, 0:1]),
    "pad": (lambda x, y: ops.pad(x, (1, 0, 0, 0, 0, 2)), np.pad(X, [(0, 0)] * 5 + [(0, 2), (0, 0), (1, 0)])),
    "tile": (lambda x, y: ops.tile(x, (1, 2, 1, 2, 1, 2, 1, 2)), np.tile(X, (1, 2, 1, 2, 1, 2, 1, 2))),
    "cumulative_sum": (lambda x, y: ops.cumulative_sum(x, axis=2), X.cumsum(2)),
    "softmax": (lambda x, y: ops.softmax(x, axis=2), np.exp(X) / np.exp(X).sum(2, keepdims=True)),
}
GRADIENTS = ["where", "sum", "max", "concat", "stack", "flip", "slice", "pad", "tile"]


def traced(function: Any, *shapes: tuple[Any, ...]) -> Graph:
    return trace(lambda tensors: function(*tensors), tuple(TensorSpec(s, "float32") for s in shapes), names={}, sizes={"N": 2}).graph


def gradient(name: str) -> Any:
    function = VALUES[name][0]
    return lambda x, y: um.value_and_grad(lambda: (function(x, y) * function(x, y)).sum(), wrt=x)[1]


@pytest.mark.parametrize("backend", ["numpy", "torch", "tensorflow", "mxnet"])
def test_eight_dimensions(backend: str) -> None:
    if backend != "numpy":
        pytest.importorskip(f"unimodel_{backend}", reason=f"framework missing: {backend}")
    with um.use_backend(backend):
        for name, (function, truth) in VALUES.items():
            found = um.run(function, X, Y)
            assert found.shape == truth.shape and found.dtype.kind == truth.dtype.kind
            np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-6, err_msg=name)
        gradients = [um.run(gradient(name), X, Y) for name in GRADIENTS]
    with um.use_backend("numpy"):
        for name, found in zip(GRADIENTS, gradients, strict=True):
            np.testing.assert_allclose(found, um.run(gradient(name), X, Y), rtol=1e-5, atol=1e-5, err_msg=name)


@given(st.integers(0, 2**32 - 1), st.integers(7, 9), st.sampled_from(["add", "sum", "any", "concat", "flip", "slice", "pad"]))
@examples(60)
def test_any_axes(seed: int, rank: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.choice([1, 2, 2, 3], rank))
    chosen = rng.random(rank) < 0.5
    axes = tuple(int(a) for a in np.flatnonzero(chosen))
    x = rng.standard_normal(shape).astype("float32")
    y = rng.standard_normal(tuple(1 if c else n for c, n in zip(chosen, shape, strict=True))).astype("float32")
    ends = tuple(slice(0, n, 2) if c else slice(None) for c, n in zip(chosen, shape, strict=True))
    widths = [(1, 2) if c else (0, 0) for c in chosen]
    call, truth = {
        "add": (lambda x, y: x + y, x + y),
        "sum": (lambda x, y: ops.sum(x, axis=axes), x.sum(axes)),
        "any": (lambda x, y: ops.any(x > 1, axis=axes, keepdims=True), (x > 1).any(axes, keepdims=True)),
        "concat": (lambda x, y: ops.concat([x, x], axis=seed % rank), np.concatenate([x, x], seed % rank)),
        "flip": (lambda x, y: ops.flip(x, axis=axes), np.flip(x, axes)),
        "slice": (lambda x, y: x[ends], x[ends]),
        "pad": (lambda x, y: ops.pad(x, tuple(n for pair in reversed(widths) for n in pair)), np.pad(x, widths)),
    }[kind]
    before = traced(call, shape, y.shape)
    after = merge_dimensions(before)
    assert str(merge_dimensions(after)) == str(after), "what could be merged has been"
    for one in (before, after):
        backend = load("numpy")()
        executable = backend.compile(one, backend.store({}))
        used = {e.name for e in one.inputs}
        (found,) = executable.read(executable.run([a for a, name in ((x, "batch.0"), (y, "batch.1")) if name in used], []))
        np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-6)


def test_neighbours_that_are_treated_alike_are_one_dimension() -> None:
    graph = merge_dimensions(traced(lambda x: (ops.concat([x, x], axis=3), ops.sum(x, axis=(3, 4, 5)), ops.flip(x, axis=(0, 1))), SHAPE))
    found = {node.op.name: node.outputs[0].spec.shape for node in graph.nodes if node.op.name != "reshape"}
    assert found == {"concat": (6, 4, 8), "sum": (6, 4), "flip": (2, 48)}


def test_a_symbolic_size_is_merged_too() -> None:
    graph = merge_dimensions(traced(lambda x: ops.concat([x, x], axis=3), (Dim.symbol("N"), *SHAPE[1:])))
    (concat,) = [node for node in graph.nodes if node.op is ops.concat]
    assert concat.outputs[0].spec.shape == (Dim.symbol("N") * 3, 4, 8)


def test_bodies_are_merged_too() -> None:
    graph = merge_dimensions(traced(lambda x: ops.cond(ops.sum(x) > 0, lambda: ops.flip(x, axis=0), lambda: x), SHAPE))
    assert [node.outputs[0].spec.ndim for node in every_node(graph) if node.op is ops.flip] == [2]


def test_usual_graphs_stay_as_they_are() -> None:
    graph = traced(lambda x: ops.sum(x[1:] + 1.0, axis=(1, 3)), SHAPE[2:])
    assert merge_dimensions(graph) is graph

"""Control flow in core: what mistakes say, how graphs with bodies read, and what passes do to them. Values and gradients are the conformance suite's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import plugins
from unimodel.backend import Backend, Capability, not_implemented
from unimodel.diff.wire import pack, unpack
from unimodel.dim import Dim
from unimodel.errors import DataError, ShapeError, TraceError, UnimodelError, UnsupportedError
from unimodel.graph import Graph, TensorSpec
from unimodel.op import checkpoint_op, cond_op, scan_op
from unimodel.passes import differentiate, prepare, unroll
from unimodel.regions import every_node
from unimodel.tracing import trace

ops = um.ops
X = np.ones((4, 3))


def traced(function: Callable[..., Any], *arrays: Any) -> Graph:
    specs = tuple(TensorSpec(np.shape(a), np.asarray(a).dtype.name) for a in arrays)
    return trace(lambda batch: function(*batch), specs, names={}, float_dtype="float64").graph


# ------------------------------------------------------------------------------------------------------------------ mistakes

MISTAKES: dict[str, tuple[type[UnimodelError], Callable[[Any], Any], str]] = {
    "a predicate of many": (ShapeError, lambda x: ops.cond(x > 0.0, lambda: x, lambda: x), r"one boolean.*bool \(4, 3\).*um.ops.any or um.ops.all"),
    "a predicate that is a number": (ShapeError, lambda x: ops.cond(ops.sum(x), lambda: x, lambda: x), r"one boolean.*float64 \(\).*compare"),
    "branches of different structure": (
        ShapeError,
        lambda x: ops.cond(ops.sum(x) > 0.0, lambda: (x, x), lambda: x),
        r"different structures.*\(a tensor, a tensor\).*a tensor.*same nest",
    ),
    "branches with different keys": (ShapeError, lambda x: ops.cond(ops.sum(x) > 0.0, lambda: {"a": x}, lambda: {"b": x}), r"different structures.*'a'.*'b'"),
    "one branch without a result": (ShapeError, lambda x: ops.cond(ops.sum(x) > 0.0, lambda: x, lambda: None), r"different structures.*None"),
    "branches of different shapes": (
        ShapeError,
        lambda x: ops.cond(ops.sum(x) > 0.0, lambda: {"y": x}, lambda: {"y": x[0]}),
        r"different tensors at y.*float64 \(4, 3\) from true_fn, float64 \(3,\) from false_fn.*reshape",
    ),
    "branches of different dtypes": (ShapeError, lambda x: ops.cond(ops.sum(x) > 0.0, lambda: x > 0.0, lambda: x), r"bool \(4, 3\) from true_fn.*astype"),
    "a carry that grows": (
        ShapeError,
        lambda x: ops.scan(lambda c, r: (ops.concat([c, r]), None), x[0], x),
        r"changes from round to round.*float64 \(3,\), as in init.*float64 \(6,\) from f",
    ),
    "a carry that becomes a float": (ShapeError, lambda x: ops.scan(lambda c, r: (c + ops.sum(r), None), 0, x), r"int64 \(\), as in init.*float64 \(\) from f"),
    "an integer carry given a fraction": (ShapeError, lambda x: ops.scan(lambda c, r: (0.5, None), 0, x), r"int64 \(\), as in init.*float64 \(\) from f"),
    "a carry of another structure": (
        ShapeError,
        lambda x: ops.scan(lambda c, r: ((c, c), None), 0.0, x),
        r"f returns a state unlike init.*\(a tensor, a tensor\)",
    ),
    "no pair": (TraceError, lambda x: ops.scan(lambda c, r: c, 0.0, x), r"f returns a pair.*return carry, None"),
    "lengths that differ": (ShapeError, lambda x: ops.scan(lambda c, r: (c, None), 0.0, (x, x[1:])), r"lengths differ.*4 slices.*\(3, 3\)"),
    "another length than said": (ShapeError, lambda x: ops.scan(lambda c, r: (c, None), 0.0, x, length=7), r"lengths differ.*7 slices, as length says"),
    "nothing that says how long": (ShapeError, lambda x: ops.scan(lambda c, r: (c, None), 0.0), r"how many rounds.*pass length="),
    "a slice of nothing": (ShapeError, lambda x: ops.scan(lambda c, r: (c, None), 0.0, ops.sum(x)), r"first axis.*float64 \(\)"),
    "a condition of many": (ShapeError, lambda x: ops.while_loop(lambda v: v < 1.0, lambda v: v, x), r"cond_fn gives one boolean.*bool \(4, 3\)"),
    "a state that changes": (
        ShapeError,
        lambda x: ops.while_loop(lambda v: ops.sum(v) < 1.0, lambda v: v[1:], x),
        r"while_loop: the state changes.*\(3, 3\) from body_fn",
    ),
    "random numbers in a while_loop": (
        TraceError,
        lambda x: ops.while_loop(lambda v: ops.sum(v) < 1.0, lambda v: ops.dropout(v, 0.5), x),
        r"while_loop: random numbers are drawn before the loop.*um.ops.scan",
    ),
    "the gradient of a while_loop": (
        UnsupportedError,
        lambda x: um.value_and_grad(lambda: ops.sum(ops.while_loop(lambda v: ops.sum(v) < 1.0, lambda v: v * 2.0, x)), wrt=x)[1],
        r"while_loop has no gradient.*um.ops.scan",
    ),
    "a tensor that leaves its loop": (TraceError, lambda x: _leaks(x), r"outside the step or forward that made it"),
}


def _leaks(x: Any) -> Any:
    kept = []
    ops.scan(lambda c, r: (c, kept.append(r)), 0.0, x)
    return kept[0] * 2.0


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_refused_with_both_sides_the_line_and_the_remedy(what: str) -> None:
    kind, function, pattern = MISTAKES[what]
    with pytest.raises(kind) as caught:
        um.run(function, X)
    assert re.search(pattern, str(caught.value), re.DOTALL), str(caught.value)
    assert caught.value.source is not None and caught.value.source.file == __file__ and caught.value.remedy


def test_a_mistake_inside_a_body_names_the_line_inside() -> None:
    def f(c: Any, row: Any) -> Any:
        wrong = c + row[:2]  # the line inside
        return wrong, None

    with pytest.raises(ShapeError, match="the line inside"):
        um.run(lambda x: ops.scan(f, x[0], x), X)


def test_what_fails_while_a_body_runs_names_the_line_inside() -> None:
    graph = traced(lambda x: ops.scan(lambda c, row: (c + ops.exp(row), None), x[0], x)[0], X)  # where the exp is
    (exp,) = [n for n in every_node(graph) if n.op.name == "exp"]
    assert "where the exp is" in str(exp.source)


def test_branching_on_a_traced_value_names_what_exists() -> None:
    with pytest.raises(TraceError) as caught:
        um.run(lambda x: x if ops.sum(x) > 0.0 else -x, X)
    named = re.findall(r"um\.ops\.(\w+)", str(caught.value))
    assert {"where", "cond", "scan"} <= set(named) and all(callable(getattr(ops, name)) for name in named)


def test_an_update_in_a_branch_is_refused() -> None:
    class Sometimes(um.Trainer):
        def step(self, batch: Any) -> Any:
            x, y = batch
            loss, grads = um.value_and_grad(lambda: self.loss(self.model(x), y), wrt=self.model.parameters())
            ops.cond(loss > 1.0, lambda: self.optimizer.update(grads), lambda: None)
            return {"loss": loss}

    trainer = Sometimes(um.nn.Linear(3, 1), um.losses.MSELoss(), um.optim.SGD(lr=0.1))
    with pytest.raises(TraceError, match="branch or a loop"):
        trainer.train_step((X, X[:, :1]))


def test_a_backend_that_does_not_claim_control_flow_refuses_it_at_the_users_line() -> None:
    numpy: Any = plugins.load("numpy")

    class Straight(numpy):
        name = "straight"
        capabilities = {**numpy.capabilities, Capability.CONTROL_FLOW: not_implemented("it goes straight on")}

    backend: Backend = Straight()
    for function in (
        lambda x: ops.cond(ops.sum(x) > 0.0, lambda: x, lambda: -x),
        lambda x: ops.scan(lambda c, r: (c, r), 0.0, x)[1],
        lambda x: ops.while_loop(lambda v: ops.sum(v) < 0.0, lambda v: v, x),
        lambda x: ops.checkpoint(lambda: ops.scan(lambda c, r: (c, r), 0.0, x)[1]),
    ):
        with pytest.raises(UnsupportedError, match="needs control flow, which the backend straight does not have") as caught:
            backend.compile(traced(function, X), backend.store({}))
        assert caught.value.source is not None and caught.value.source.file == __file__
    backend.compile(traced(lambda x: ops.checkpoint(ops.exp, x), X), backend.store({}))


def test_an_index_out_of_range_is_refused_for_a_table_looked_up_in_a_body() -> None:
    class Words(um.Model):
        def __init__(self) -> None:
            self.embed = um.nn.Embedding(5, 2)

        def forward(self, ids: Any) -> Any:
            return ops.scan(lambda c, i: (c + self.embed(i), None), ops.zeros((2,)), ids)[0]

    words = um.Trainer(Words())
    with pytest.raises(DataError, match=r"\[0, 5\)"):
        words.predict(np.array([0, 5, 1]))


# --------------------------------------------------------------------------------------------------------- outside of a trace


def test_on_arrays_it_computes_at_once() -> None:
    total, every = ops.scan(lambda c, v: (c + v, {"was": c, "none": None}), 0.0, np.arange(4.0))
    assert float(total) == 6 and every["was"].tolist() == [0, 0, 1, 3] and every["none"] is None
    assert ops.cond(np.array(True), lambda v: v + 1.0, lambda v: v, np.array([1.0])).tolist() == [2]
    assert int(ops.while_loop(lambda n: n < 100, lambda n: n * 3, np.array(2))) == 162
    assert ops.checkpoint(ops.exp, np.zeros(2)).tolist() == [1, 1]


# -------------------------------------------------------------------------------------------------------------------- graphs


def looped(x: Any) -> Any:
    return ops.cond(ops.sum(x) > 0.0, lambda: ops.scan(lambda c, r: (c * ops.gelu(r), c), ops.sum(x, axis=0), x)[1], lambda: ops.checkpoint(ops.sin, x))


def test_a_graph_with_bodies_reads_as_a_program() -> None:
    text = str(traced(looped, X))
    assert re.search(r"= cond\(.*\n    then:.*\n(    .*\n)*        body:", text), text
    assert "scan(" in text and "carries=1" in text and "checkpoint(" in text


def test_a_graph_with_bodies_travels() -> None:
    graph = traced(lambda x: um.value_and_grad(lambda: ops.sum(looped(x)), wrt=x)[1], X)
    arrays: dict[str, Any] = {}
    assert str(unpack(pack(graph, arrays), arrays)) == str(graph)


def test_bodies_are_decomposed_and_folded_like_the_rest() -> None:
    graph = prepare(traced(looped, X), lambda node: False)
    names = [n.op.name for n in every_node(graph)]
    assert "gelu" not in names and "checkpoint" not in names and "erf" in names
    kept = prepare(traced(looped, X), lambda node: node.op is checkpoint_op or node.op.name == "gelu")
    assert {"gelu", "checkpoint"} <= {n.op.name for n in every_node(kept)}


def test_a_gradient_of_a_loop_is_a_loop_the_other_way() -> None:
    graph = differentiate(traced(lambda x: um.value_and_grad(lambda: ops.sum(ops.scan(lambda c, r: (ops.sin(c * r), None), x[0], x)[0]), wrt=x)[1], X))
    forward, backward = [n for n in graph.nodes if n.op is scan_op]
    assert (forward.attrs["reverse"], backward.attrs["reverse"]) == (False, True)
    assert forward.source is not None and backward.source == forward.source


def test_what_nobody_needs_is_not_stacked() -> None:
    """A prediction keeps no carries, and a result that is thrown away costs nothing."""
    whole = prepare(traced(lambda x: ops.scan(lambda c, r: (c + r, (ops.exp(c), r * 2.0)), x[0], x)[1][1], X), lambda node: False)
    (loop,) = [n for n in whole.nodes if n.op is scan_op]
    assert (loop.attrs["carries"], len(loop.outputs)) == (0, 1) and "exp" not in [n.op.name for n in every_node(whole)]

    def gradient(x: Any, w: Any) -> Any:
        return um.value_and_grad(lambda: ops.sum(ops.scan(lambda c, r: (c + r * w, None), ops.zeros((3,), dtype="float64"), x)[0]), wrt=w)[1]

    graph = prepare(traced(gradient, X, X[0]), lambda node: False)
    assert all(len(n.outputs) <= 2 for n in graph.nodes if n.op is scan_op), "the gradient of a sum needs no carry of the loop"


def test_a_checkpoint_computes_again_what_it_does_not_keep() -> None:
    def function(x: Any) -> Any:
        return um.value_and_grad(lambda: ops.sum(ops.checkpoint(lambda v: ops.sin(ops.exp(v)), x)), wrt=x)[1]

    kept = prepare(traced(function, X), lambda node: node.op is checkpoint_op)
    again = [n for n in kept.nodes if n.op is checkpoint_op]
    assert len(again) == 1 and [n.op.name for n in again[0].attrs["body"].nodes].count("exp") == 1, "the value itself is not needed here"
    both = prepare(traced(lambda x: um.value_and_grad(lambda: ops.sum(ops.checkpoint(ops.exp, x)), wrt=x), X), lambda node: node.op is checkpoint_op)
    assert [n.op for n in both.nodes].count(checkpoint_op) == 2
    inlined = prepare(traced(function, X), lambda node: False)
    assert [n.op.name for n in inlined.nodes].count("exp") == 1, "a backend that keeps no checkpoints computes nothing twice"


def test_unrolled_it_gives_the_same_without_control_flow() -> None:
    def program(x: Any) -> Any:
        return ops.scan(lambda c, r: (ops.cond(ops.sum(r) > 0.0, lambda: c + r, lambda: c * r), c), x[0], x, reverse=True)

    x = np.random.default_rng(0).standard_normal((4, 3))
    graph = traced(program, x)
    plain = unroll(graph)
    assert not any(n.op in (scan_op, cond_op) for n in every_node(plain))
    backend = plugins.load("numpy")()
    given = [e.read(e.run([x], [])) for e in (backend.compile(g, backend.store({})) for g in (graph, plain))]
    for a, b in zip(*given, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)
    empty = unroll(traced(lambda x: ops.scan(lambda c, r: (c, r), 0.0, x[:0])[1], x))
    executable = backend.compile(empty, backend.store({}))
    assert executable.read(executable.run([x], []))[0].shape == (0, 3)


def test_what_cannot_be_unrolled_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="how many rounds a while_loop makes"):
        unroll(traced(lambda x: ops.while_loop(lambda v: ops.sum(v) < 0.0, lambda v: v, x), X))
    specs = (TensorSpec((Dim.symbol("N"), 3), "float64"),)
    graph = trace(
        lambda batch: ops.scan(lambda c, r: (c + r, None), ops.zeros((3,), dtype="float64"), batch[0])[0], specs, names={}, float_dtype="float64"
    ).graph
    with pytest.raises(UnsupportedError, match="the length N of a scan"):
        unroll(graph)

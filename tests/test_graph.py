"""The graph prints as a program a person can read, knows its inputs by kind, and says which state changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel.dim import Dim
from unimodel.errors import ShapeError
from unimodel.graph import ArrayLiteral, Graph, TensorSpec
from unimodel.tracing import Traced, Variable, trace

N = Dim.symbol("N")


class Cell(Variable):
    """State without a trainer."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape


def training_step() -> tuple[Traced, Cell]:
    weight, rate = Cell(3, 2), um.Scalar(0.1)

    def step(batch: Any) -> dict[str, Any]:
        x, y = batch
        loss, gradient = um.value_and_grad(lambda: um.losses.MSELoss()(x @ weight, y), wrt=weight)
        weight.assign(weight - rate * gradient)
        return {"loss": loss, "twice": 2 * weight}

    return trace(step, (TensorSpec((N, 3), "float32"), TensorSpec((N, 2), "float32")), names={weight: "w"}, sizes={"N": 4}), weight


def test_a_graph_reads_as_a_program() -> None:
    traced, _ = training_step()
    assert str(traced.graph) == (
        "batch %batch.0: float32 (N, 3)\n"
        "batch %batch.1: float32 (N, 2)\n"
        "state %w: float32 (3, 2)\n"
        "scalar %scalar0: float32 ()\n"
        "%0: float32 (), %1: float32 (3, 2) = value_and_grad(%w, %batch.0, %batch.1, wrt=(0,))\n"
        "    body:\n"
        "    batch %x0: float32 (3, 2)\n"
        "    batch %x1: float32 (N, 3)\n"
        "    batch %x2: float32 (N, 2)\n"
        "    %0: float32 (N, 2) = matmul(%x1, %x0)\n"
        "    %1: float32 (N, 2) = squared_error(%0, %x2)\n"
        "    %2: float32 () = mean(%1, axis=(0, 1), keepdims=False)\n"
        "    return %2\n"
        "%2: float32 (3, 2) = multiply(%scalar0, %1)\n"
        "%3: float32 (3, 2) = subtract(%w, %2)\n"
        "%4: float32 () = constant(value=2, dtype='float32')\n"
        "%5: float32 (3, 2) = multiply(%4, %3)\n"
        "%w <- %3\n"
        "return %0, %5"
    )


def test_inputs_are_known_by_kind_and_updates_by_state() -> None:
    graph = training_step()[0].graph
    assert {kind: [e.name for e in graph.of_kind(kind)] for kind in ("state", "batch", "scalar")} == {
        "state": ["w"],
        "batch": ["batch.0", "batch.1"],
        "scalar": ["scalar0"],
    }
    ((entry, value),) = graph.updates
    assert entry.name == "w" and value.producer is not None and value.producer.op.name == "subtract"
    assert graph.output_names == ("loss", "twice")


def test_every_value_knows_its_users() -> None:
    graph = training_step()[0].graph
    for value in graph.values():
        assert value.users == [node for node in graph.nodes for v in node.inputs if v is value]
    (weight,) = graph.of_kind("state")
    assert [node.op.name for node in weight.value.users] == ["value_and_grad", "subtract"]


def test_nodes_stand_in_an_order_in_which_they_can_run() -> None:
    def check(graph: Graph) -> None:
        known = {e.value for e in graph.inputs}
        for node in graph.nodes:
            assert all(v is None or v in known for v in node.inputs)
            known.update(node.outputs)
            for body in node.attrs.values():
                if isinstance(body, Graph):
                    check(body)
        assert set(graph.outputs) <= known and {v for _, v in graph.updates} <= known

    check(training_step()[0].graph)


def test_what_nothing_needs_is_not_in_the_graph() -> None:
    def step(x: Any) -> Any:
        um.ops.exp(x)
        return {"y": x + 1.0}

    graph = trace(step, TensorSpec((N,), "float32"), names={}).graph
    assert [node.op.name for node in graph.nodes] == ["constant", "add"]


def test_nodes_remember_the_users_line() -> None:
    def step(x: Any) -> Any:
        return um.ops.tanh(x)  # this line

    (node,) = trace(step, TensorSpec((2,), "float32"), names={}).graph.nodes
    assert node.source is not None and node.source.function == "step" and "um.ops.tanh(x)  # this line" in str(node.source)


def test_sizes_of_the_symbols_are_read_off_the_batch() -> None:
    graph = training_step()[0].graph
    assert graph.symbols == ("N",)
    assert graph.sizes({"batch.0": (7, 3), "batch.1": (7, 2)}) == {"N": 7}
    for wrong in ({"batch.0": (7, 3), "batch.1": (6, 2)}, {"batch.0": (7, 3), "batch.1": (7,)}):
        with pytest.raises(ShapeError, match=r"batch\.1 has another shape"):
            graph.sizes(wrong)


def test_specs_print_and_count() -> None:
    spec = TensorSpec((N, 3), "float32")
    assert str(spec) == "float32 (N, 3)" and str(TensorSpec((5,), "int64")) == "int64 (5,)" and str(TensorSpec((), "bool")) == "bool ()"
    assert (spec.ndim, spec.size, spec.is_float) == (2, 3 * N, True)
    assert spec.at({"N": 4}) == TensorSpec((4, 3), "float32") == spec.with_shape(4, 3)
    assert spec.with_dtype("int32") == TensorSpec((N, 3), "int32") and not spec.with_dtype("int32").is_float


def test_array_constants_are_equal_by_content_and_the_graphs_own() -> None:
    array = np.array([1.0, 2.0])
    one, other = ArrayLiteral(array), ArrayLiteral(np.array([1.0, 2.0]))
    assert one == other and hash(one) == hash(other)
    assert one != ArrayLiteral(np.array([1.0, 2.0], "float32")) and one != ArrayLiteral(np.array([[1.0, 2.0]]))
    array[0] = 9.0
    assert one.array[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        one.array[0] = 3.0

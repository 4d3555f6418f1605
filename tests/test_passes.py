"""Passes change the graph and not its meaning: what runs before a pass and what runs after it give the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from effort import few
from graphs import names, plain, run, same, traced
from hypothesis import given
from hypothesis import strategies as st

import unimodel as um
from unimodel.dim import Dim
from unimodel.errors import ShapeError
from unimodel.graph import Node, TensorSpec
from unimodel.op import value_and_grad_op
from unimodel.ops import catalogue
from unimodel.ops.samples import Sample
from unimodel.passes import SCALAR_ARITHMETIC, decompose, differentiate, fold, fuse_bias, prepare
from unimodel.passes.empties import without_empties
from unimodel.passes.in_place import in_place, tables
from unimodel.regions import active_values
from unimodel.tracing import Variable, trace

N = Dim.symbol("N")


def everything(_: Node) -> bool:
    return True


# -------------------------------------------------------------------------------------------------------- random programs

SHAPES = [(), (3,), (2, 1), (2, 3)]
X = [np.random.default_rng(i).uniform(0.5, 2.0, shape) for i, shape in enumerate(SHAPES)]
CONSTANTS = [0.0, -0.0, 1.0, 2, -1.5, True]

BINARY = ["add", "subtract", "multiply", "divide", "maximum", "less", "where"]
UNARY = ["negative", "exp", "tanh", "square", "relu", "softmax", "sum", "mean", "flat", "wide", "twice wide", "transposed and back", "cast", "copy", "stop"]
instructions = st.lists(st.tuples(st.sampled_from(BINARY + UNARY), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=12)


def binary(name: str, a: Any, b: Any) -> Any:
    ops = um.ops
    first = ops.asarray(a) * 1.0
    if name == "where":
        return ops.where(ops.greater(first, 0.7), b, 0.0)
    if name == "less":
        return ops.astype(ops.less(first, b), "float64")
    if name == "divide":
        return first / (2.0 + ops.square(ops.asarray(b) * 1.0))
    return getattr(ops, name)(first, b)


def unary(name: str, x: Any) -> Any:
    ops = um.ops
    match name:
        case "negative":
            return -x
        case "exp":
            return ops.exp(ops.minimum(x, 1.0))
        case "square":
            return ops.square(ops.tanh(x))
        case "tanh" | "relu" | "sum":
            return getattr(ops, name)(x)
        case "softmax":
            return ops.softmax(ops.reshape(x, (-1,)))
        case "mean":
            return ops.mean(x, keepdims=True)
        case "flat":
            return ops.reshape(ops.reshape(x, (-1,)), x.shape)
        case "wide":
            return ops.broadcast_to(x, (2, 3))
        case "twice wide":
            return ops.broadcast_to(ops.broadcast_to(x, (1, 2, 3)), (4, 2, 3))[0]
        case "transposed and back":
            backwards = tuple(range(x.ndim))[::-1]
            return ops.permute_dims(ops.permute_dims(x, backwards), backwards)
        case "cast":
            return ops.astype(ops.astype(x, "float32"), "float64")
        case "copy":
            return x + 0.0
        case "stop":
            return ops.stop_gradient(x) * x
    raise AssertionError(name)


def program(steps: Sequence[tuple[str, int, int]], *inputs: Any) -> Any:
    """Runs instructions over a growing list of tensors and constants; each takes operands by number and appends its result."""
    values = [*inputs, *CONSTANTS]
    for name, i, j in steps:
        a, b = values[i % len(values)], values[j % len(values)]
        result = binary(name, a, b) if name in BINARY else unary(name, um.ops.asarray(a) * 1.0)
        values.append(result if result.shape in SHAPES else um.ops.sum(result))
    total = values[-1]
    for value in values[len(inputs) + len(CONSTANTS) : -1]:
        total = total + 0.1 * um.ops.sum(value)
    return total


@given(instructions)
def test_folding_a_random_program_changes_nothing(steps: list[tuple[str, int, int]]) -> None:
    graph = traced(lambda *xs: program(steps, *xs), *X)
    base = plain(graph)
    folded = fold(base)
    same(folded, base, X)
    assert len(folded.nodes) <= len(base.nodes)
    assert str(fold(folded)) == str(folded), "folding once is enough"


@few
@given(instructions)
def test_differentiating_a_random_program_before_or_after_folding_and_decomposing(steps: list[tuple[str, int, int]]) -> None:
    def gradients(*xs: Any) -> Any:
        value, found = um.value_and_grad(lambda: um.ops.sum(program(steps, *xs)), wrt=list(xs))
        return value, [um.ops.zeros_like(x) if g is None else g for x, g in zip(xs, found, strict=True)]

    graph = traced(gradients, *X)
    base = plain(graph)
    for other in (
        plain(fold(graph)),
        fold(base),
        plain(decompose(graph, lambda node: False)),
        decompose(prepare(graph, everything), lambda node: False),
        plain(prepare(graph, lambda node: False, native_regions=True)),
        plain(prepare(graph, everything, native_regions=True)),
    ):
        same(other, base, X, rtol=1e-6)  # a cast rounds gradients too, before or after they are added up


def test_pooling_before_relu_changes_nothing() -> None:
    """Same bits, gradients included, also where a window has no positive element; not where the indices are looked at, or relu's result."""
    x = np.round(np.random.default_rng(3).standard_normal((2, 3, 6, 6)) - 0.7, 1)

    def gradient(x: Any, used: bool) -> Any:
        def loss() -> Any:
            y = um.ops.relu(x * 1.0)
            values, indices = um.ops.max_pool(y, 3, stride=2, padding=1)
            return um.ops.sum(um.ops.square(values) + um.ops.astype(indices, "float64")) if used else um.ops.sum(um.ops.square(values))

        return um.value_and_grad(loss, wrt=x)

    for used in (False, True):
        graph = traced(lambda x, used=used: gradient(x, used), x)
        found = names(prepare(graph, everything))
        assert (found.index("max_pool") < found.index("relu")) is not used
        for ours, plainly in zip(run(prepare(graph, lambda node: False), [x]), run(plain(graph), [x]), strict=True):
            np.testing.assert_array_equal(ours, plainly)


@pytest.mark.parametrize(("kernel", "stride", "padding", "ceil"), [(2, 2, 0, False), (3, 2, 1, False), (3, 1, 0, False), (2, 2, 0, True), (2, 3, 0, False)])
@pytest.mark.parametrize("axis", [(0, 2, 3), (2, 3), (0, 1, 2, 3), (0, 2)])
def test_what_pooling_spreads_over_an_image_is_added_up_before(kernel: int, stride: int, padding: int, ceil: bool, axis: tuple[int, ...]) -> None:
    """A bias's gradient does not pass over the larger image, also where windows overlap or leave something out; other sums are as they were."""
    x = np.random.default_rng(5).standard_normal((2, 3, 7, 7))
    bias = np.zeros([1 if i in axis else n for i, n in enumerate(x.shape)])

    def gradient(x: Any, bias: Any) -> Any:
        return um.value_and_grad(lambda: um.ops.sum(um.ops.square(um.ops.max_pool(x + bias, kernel, stride, padding, ceil_mode=ceil)[0])), wrt=bias)

    graph = traced(gradient, x, bias)
    prepared = prepare(graph, everything)
    sources = [n.inputs[0].producer for n in prepared.nodes if n.op.name == "sum" and n.inputs[0] is not None]
    assert ("max_pool_gradient" in [n.op.name for n in sources if n is not None]) is (axis == (0, 2))
    same(decompose(prepared, lambda node: False), plain(graph), [x, bias])


SAMPLES = [pytest.param(name, i, id=f"{name}-{i}") for name, op in catalogue.items() for i in range(len(op.samples))]


@pytest.mark.parametrize(("name", "i"), SAMPLES)
def test_every_op_prepared_equals_its_decomposition(name: str, i: int) -> None:
    """Also one level at a time: a backend that keeps some composites and not others sees the same numbers."""
    op, sample = catalogue[name], catalogue[name].samples[i]
    assert isinstance(sample, Sample)
    args, kwargs = sample.arguments()
    flat = [*args[0], *args[1:]] if op.variadic else args
    arrays = [a for a in flat if isinstance(a, np.ndarray)]

    def function(*tensors: Any) -> Any:
        rest = iter(tensors)
        full = [next(rest) if isinstance(a, np.ndarray) else a for a in flat]
        return op(*([full[: len(args[0])], *full[len(args[0]) :]] if op.variadic else full), **kwargs)

    graph = traced(function, *arrays)
    base = plain(graph)
    assert not any(node.op.composite for node in base.nodes)
    same(prepare(graph, lambda node: False), base, arrays)
    if op.composite:
        once = decompose(graph, lambda node: node.op is not op)
        assert all(node.op is not op for node in once.nodes)
        same(plain(once), base, arrays)
        assert [node.op for node in decompose(graph, everything).nodes].count(op) >= 1


# -------------------------------------------------------------------------------------------------------------- decompose


def test_what_a_backend_keeps_stays_whole_and_the_rest_goes_down_to_primitives() -> None:
    def function(x: Any) -> Any:
        return um.ops.softmax(um.ops.gelu(x))

    graph = traced(function, X[3])
    assert names(prepare(graph, everything)) == ["gelu", "softmax"]
    assert names(prepare(graph, lambda node: node.op.name == "gelu"))[0] == "gelu"
    assert "softmax" not in names(prepare(graph, lambda node: node.op.name == "gelu"))
    assert all(not node.op.composite for node in prepare(graph, lambda node: False).nodes)


def test_nodes_of_a_decomposition_remember_the_users_line() -> None:
    graph = prepare(traced(lambda x: um.ops.layer_norm(x, (3,)), X[3]), lambda node: False)  # the one line
    assert all("the one line" in str(node.source) for node in graph.nodes)


def test_gradient_nodes_remember_the_line_whose_gradient_they_are() -> None:
    def function(x: Any) -> Any:
        def inner() -> Any:
            y = um.ops.exp(x)  # first
            return um.ops.sum(um.ops.sin(y))  # second

        return um.value_and_grad(inner, wrt=x)[1]

    graph = differentiate(traced(function, X[3]))
    (cosine,) = [node for node in graph.nodes if node.op.name == "cos"]
    assert "# second" in str(cosine.source)


# ---------------------------------------------------------------------------------------------------------- differentiate


def test_differentiating_leaves_no_region_and_touches_nothing_without_one() -> None:
    graph = traced(lambda x: um.value_and_grad(lambda: um.ops.sum(um.value_and_grad(lambda: um.ops.sum(x**3.0), wrt=x)[1]), wrt=x)[1], X[3])
    assert any(node.op is value_and_grad_op for node in graph.nodes)
    assert not any(node.op is value_and_grad_op for node in differentiate(graph).nodes)
    simple = traced(lambda x: um.ops.exp(x), X[3])
    assert differentiate(simple) is simple


def test_native_regions_stay_with_their_bodies_prepared_and_inner_ones_expanded() -> None:
    def function(x: Any) -> Any:
        def outer() -> Any:
            return um.ops.sum(um.value_and_grad(lambda: um.ops.sum(um.ops.gelu(x)), wrt=x)[1])

        return um.value_and_grad(outer, wrt=x)[1]

    graph = prepare(traced(function, X[3]), lambda node: False, native_regions=True)
    (region,) = [node for node in graph.nodes if node.op is value_and_grad_op]
    body = region.attrs["body"]
    assert not any(node.op.composite or node.op is value_and_grad_op for node in body.nodes)


def test_only_what_gradients_need_is_differentiated() -> None:
    """A branch that leads to no parameter costs nothing backwards: no exp's gradient, one matmul's only."""

    def function(x: Any, w: Any) -> Any:
        return um.value_and_grad(lambda: um.ops.sum(um.ops.exp(x) @ w), wrt=w)[1]

    graph = prepare(traced(function, np.ones((2, 3)), np.ones((3, 2))), lambda node: False)
    assert names(graph).count("matmul") == 1, "the forward product is not needed for the gradient, nor is the gradient of x"


# -------------------------------------------------------------------------------------------------------------------- fold


class Cell(Variable):
    def __init__(self, *shape: int) -> None:
        self.shape = shape


FOLDS: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "constants are computed": (lambda x: x * (um.ops.asarray(2.0) * 3.0 + um.ops.sqrt(um.ops.asarray(4.0))), ["constant", "multiply"]),
    "times one": (lambda x: x * 1.0, []),
    "one times": (lambda x: 1 * x, []),
    "over one": (lambda x: x / 1, []),
    "plus zero": (lambda x: x + 0, []),
    "minus zero": (lambda x: x - 0.0, []),
    "to the first power": (lambda x: x**1.0, []),
    "reshape to the same shape": (lambda x: um.ops.reshape(x, (2, 3)), []),
    "broadcast to the same shape": (lambda x: um.ops.broadcast_to(x, (2, 3)), []),
    "identity permutation": (lambda x: um.ops.permute_dims(x, (0, 1)), []),
    "cast to the same dtype": (lambda x: um.ops.cast(x, "float64"), []),
    "reshapes in a row": (lambda x: um.ops.reshape(um.ops.reshape(um.ops.reshape(x, (6,)), (3, 2)), (1, 6)), ["reshape"]),
    "reshape and back": (lambda x: um.ops.reshape(um.ops.reshape(x, (6,)), (2, 3)), []),
    "broadcasts in a row": (lambda x: um.ops.broadcast_to(um.ops.broadcast_to(x, (1, 2, 3)), (4, 2, 3)), ["broadcast_to"]),
    "a broadcast that addition does by itself": (lambda x: x + um.ops.broadcast_to(um.ops.exp(x[0]), (2, 3)), ["slice", "reshape", "exp", "add"]),
    "the same computed twice": (lambda x: um.ops.exp(x) + um.ops.exp(x), ["exp", "add"]),
    "the same constants": (lambda x: (x * 3.0) + um.ops.sin(x * 3.0), ["constant", "multiply", "sin", "add"]),
    "stop_gradient": (lambda x: um.ops.stop_gradient(x) * 2.0, ["constant", "multiply"]),
}


@pytest.mark.parametrize("name", FOLDS)
def test_folds(name: str) -> None:
    function, expected = FOLDS[name]
    graph = traced(function, X[3])
    folded = prepare(graph, lambda node: False)
    assert sorted(names(folded)) == sorted(expected)
    same(folded, plain(graph), X[3:])


KEPT: dict[str, Callable[[Any], Any]] = {
    "one of a wider shape": lambda x: x[0] * um.ops.ones((2, 3)),
    "zero of a wider shape": lambda x: x[0] + um.ops.zeros((2, 3)),
    "one of another dtype": lambda x: um.ops.astype(x, "int64") * 1.0,
    "one, an integer or true": lambda x: um.ops.stack([um.ops.astype(um.ops.asarray(v), "float64") / (i + 1) for i, v in enumerate((1, 1.0, True))]),
    "zero of either sign": lambda x: (
        1.0 / (um.ops.full((1,), 0.0) * x[0, :1]) + um.ops.where(x[0, :1] > 0, 1.0 / (um.ops.asarray(-0.0) * x[0, :1]), 1.0) * 0.0 + x[0, :1]
    ),
    "infinities": lambda x: x + um.ops.log(um.ops.asarray(0.0)),
    "not a number": lambda x: x * um.ops.sqrt(um.ops.asarray(-1.0)),
    "overflow": lambda x: x * um.ops.exp(um.ops.asarray(1000.0)),
    "division by zero": lambda x: x * (um.ops.asarray(1.0) / 0.0),
    "root of a negative number": lambda x: x * um.ops.asarray(-8.0) ** 0.5,
    "two tensors that are constants of one value and other shapes": lambda x: um.ops.sum(um.ops.ones((2,))) * x + um.ops.sum(um.ops.ones((3,))),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_only_looks_alike_is_kept_apart(name: str) -> None:
    graph = traced(KEPT[name], X[3])
    same(prepare(graph, lambda node: False), plain(graph), X[3:])


def test_zeros_of_either_sign_are_two_constants() -> None:
    graph = traced(lambda x: (x / um.ops.asarray(0.0), x / um.ops.asarray(-0.0)), X[3])
    plus, minus = run(fold(graph), X[3:])
    assert (plus == np.inf).all() and (minus == -np.inf).all()


def test_integers_are_folded_as_integers() -> None:
    graph = traced(lambda x: um.ops.astype(x, "int64") * (um.ops.asarray(3) * 2) // 2, X[3])
    same(fold(graph), graph, X[3:])
    assert run(fold(graph), X[3:])[0].dtype == "int64"


def test_integers_and_booleans_have_simpler_ops() -> None:
    """Whole numbers have no fraction and are all finite, and the order of booleans is logic."""
    integers, a, b = np.array([-3, 0, 2]), np.array([[False], [True]]), np.array([False, True])
    graph = traced(lambda x: [um.ops.floor(x), um.ops.ceil(x), um.ops.round(x), um.ops.isnan(x), um.ops.isfinite(x)], integers)
    assert names(fold(graph)) == ["not_equal", "equal"]
    for found, wanted in zip(run(fold(graph), [integers]), [integers] * 3 + [integers != integers, integers == integers], strict=True):
        assert found.dtype == wanted.dtype and (found == wanted).all()
    orders = ("maximum", "minimum", "less", "less_equal", "greater", "greater_equal", "bitwise_and")
    graph = traced(lambda a, b: [getattr(um.ops, name)(a, b) for name in orders], a, b)
    assert set(names(fold(graph))) == {"logical_and", "logical_or", "logical_not"}
    same(fold(graph), graph, [a, b])


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((3,), (4, 3, 2)), ((4, 2, 3), (3,))])
def test_products_with_vectors_are_products_of_matrices(shapes: Any) -> None:
    x, y = (np.random.default_rng(i).standard_normal(s) for i, s in enumerate(shapes))
    graph = traced(lambda x, y: x @ y, x, y)
    (product,) = [node for node in fold(graph).nodes if node.op.name == "matmul"]
    assert min(v.spec.ndim for v in product.inputs if v is not None) >= 2
    same(fold(graph), graph, [x, y])


def test_what_undoes_a_permutation_takes_its_place() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    there, back = (1, 2, 0), (2, 0, 1)
    assert names(fold(traced(lambda x: um.ops.permute_dims(um.ops.permute_dims(x, there), back) + 1.0, x))) == ["constant", "add"]
    kept = traced(lambda x: um.ops.permute_dims(um.ops.permute_dims(x, there), there), x)
    assert names(fold(kept)) == ["permute_dims", "permute_dims"]
    same(fold(kept), kept, [x])


@pytest.mark.parametrize("shapes", [((4, 3), (4, 2)), ((5, 4, 3), (5, 4, 2))])
def test_a_transposed_product_of_a_transposed_matrix(shapes: Any) -> None:
    """It is a product of what was transposed: the gradient of ``x @ x.mT`` has one. Where the product is used as it is too, it is left alone."""
    x, y = (np.random.default_rng(i).standard_normal(s) for i, s in enumerate(shapes))
    for function, wanted in (
        (lambda x, y: um.ops.matrix_transpose(um.ops.matrix_transpose(x) @ y), ["permute_dims", "matmul"]),
        (lambda x, y: um.ops.matrix_transpose(um.ops.matrix_transpose(y) @ x), ["permute_dims", "matmul"]),
        (lambda x, y: um.ops.matrix_transpose(um.ops.matrix_transpose(x) @ um.ops.matrix_transpose(um.ops.matrix_transpose(y))), ["permute_dims", "matmul"]),
        (lambda x, y: [um.ops.matrix_transpose(z) + um.ops.sum(z) for z in [um.ops.matrix_transpose(x) @ y]], None),
    ):
        graph = traced(function, x, y)
        folded = fold(graph)
        assert [n for n in names(folded) if n in ("permute_dims", "matmul")] == (wanted or ["permute_dims", "matmul", "permute_dims"])
        same(folded, graph, [x, y])


# ---------------------------------------------------------------------------------------------------------------- in place


def test_what_may_be_updated_in_place() -> None:
    """Not what somebody else reads, what is also a result, or what is to become two states."""
    states = dict(zip("abcdef", (Cell(3) for _ in range(6)), strict=True))

    def step(batch: Any) -> Any:
        a, b, c, d, e, f = states.values()
        lr = um.Scalar(0.1)
        new_a, buffer = um.ops.sgd_update(a, batch, lr, um.Scalar(1.0), b, momentum=0.9)
        read, shown, twice = (um.ops.sgd_update(x, batch, lr) for x in (c, d, e))
        a.assign(new_a)
        b.assign(buffer)
        c.assign(read)
        d.assign(shown)
        e.assign(twice)
        f.assign(twice)
        return shown, read * 2.0

    graph = trace(step, TensorSpec((3,), "float64"), names={v: n for n, v in states.items()}, float_dtype="float64").graph
    entries = {entry.value: entry.name for entry in graph.inputs}
    assert [[entries[v] for v in old] for old in in_place(graph).values()] == [["a", "b"]]


def test_which_state_is_a_table() -> None:
    """Not what somebody reads whole, what is a result or another state's next value as it is, and what an update changes that writes all of it."""
    states = {name: Cell(5, 2) for name in ("read", "learned", "decayed", "twice", "summed", "shown", "copied", "copy")}
    states["images"] = Cell(5, 2, 3)
    rate = Cell()

    def step(batch: Any) -> Any:
        rows = {name: um.ops.take(cell, batch, axis=0) for name, cell in states.items() if name != "copy"}  # a backend may hold images in an order of its own
        learned = [states[name] for name in ("learned", "decayed", "twice")]
        loss, gradients = um.value_and_grad(lambda: sum((um.ops.take(c, batch, axis=0) ** 2).sum() for c in (*learned, states["twice"])), wrt=learned)
        for cell, gradient, decay in zip(learned, gradients, (0.0, 0.1, 0.0), strict=True):
            cell.assign(um.ops.sgd_update(cell, gradient, rate, weight_decay=decay))
        states["copy"].assign(states["copied"])
        return loss, *rows.values(), um.ops.sum(states["summed"]), states["shown"]

    graph = trace(step, TensorSpec((3,), "int64"), names={v: n for n, v in {**states, "rate": rate}.items()}, float_dtype="float64").graph
    graph = prepare(graph, lambda node: node.op.name == "sgd_update")
    names = {entry.value: entry.name for entry in graph.inputs}
    assert {names[v]: spread is not None for v, spread in tables(graph).items()} == {"read": False, "learned": True}


# ------------------------------------------------------------------------------------------------------------------- prune


def test_what_no_result_and_no_update_needs_falls_away() -> None:
    weight, unused = Cell(3), Cell(3)

    def step(x: Any) -> Any:
        um.ops.exp(x + unused)
        weight.assign(weight + um.ops.sum(x, axis=0))
        return {"loss": um.ops.mean(x)}

    graph = trace(step, TensorSpec((N, 3), "float32"), names={weight: "w", unused: "u"}).graph
    for g in (graph, plain(graph), prepare(graph, everything)):
        assert "exp" not in names(g)
        assert [(e.name, e.kind) for e, _ in g.updates] == [("w", "state")]
        assert g.output_names == ("loss",)


def test_inputs_keep_names_kinds_and_order_through_every_pass() -> None:
    weight, rate = Cell(3, 2), um.Scalar(0.1)

    def step(batch: Any) -> dict[str, Any]:
        x, y = batch
        loss, gradient = um.value_and_grad(lambda: um.losses.MSELoss()(x @ weight, y), wrt=weight)
        weight.assign(weight - rate * gradient)
        return {"loss": loss}

    graph = trace(step, (TensorSpec((N, 3), "float32"), TensorSpec((N, 2), "float32")), names={weight: "w"}).graph
    expected = [(e.kind, e.name, e.spec) for e in graph.inputs]
    for g in (plain(graph), fold(graph), prepare(graph, everything), prepare(graph, lambda node: False, native_regions=True)):
        assert [(e.kind, e.name, e.spec) for e in g.inputs] == expected
        assert [e.name for e, _ in g.updates] == ["w"] and all(v.spec == e.spec for e, v in g.updates)
        assert g.symbols == ("N",)


def test_passes_leave_the_graph_they_are_given_as_it_was() -> None:
    graph = traced(lambda x: um.value_and_grad(lambda: um.ops.sum(um.ops.gelu(x) * 1.0), wrt=x), X[3])
    before = str(graph)
    for _ in range(2):
        prepare(graph, everything)
        prepare(graph, lambda node: False, native_regions=True)
    assert str(graph) == before


def test_a_bias_becomes_part_of_the_convolution_that_nobody_else_reads() -> None:
    x, weight, bias = np.ones((2, 3, 5, 4)), np.ones((6, 3, 3, 3)), np.arange(6.0)
    alone = fuse_bias(fold(traced(lambda x, w, b: um.ops.conv2d(x, w, b), x, weight, bias)))
    assert [(n.op.name, len(n.inputs)) for n in alone.nodes if n.op.name in ("conv", "add")] == [("conv", 3)]

    def read_twice(x: Any, w: Any, b: Any) -> Any:
        y = um.ops.conv2d(x, w)
        return y + um.ops.reshape(b, (6, 1, 1)), y

    twice = fuse_bias(fold(traced(read_twice, x, weight, bias)))
    assert [len(n.inputs) for n in twice.nodes if n.op.name in ("conv", "add")] == [2, 2]


def test_arithmetic_on_numbers_knows_infinity_and_nan() -> None:
    a = SCALAR_ARITHMETIC
    assert a["true_divide"](1.0, 0.0) == a["exp"](1e4) == np.inf
    assert a["log"](0.0) == -np.inf
    assert np.isnan([a["sqrt"](-1.0), a["pow"](-8.0, 1 / 3), a["true_divide"](0.0, 0.0)]).all()


def test_a_convolutions_gradient_is_refused_for_another_geometry() -> None:
    geometry = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    g, weight = np.ones((2, 4, 4, 3)), np.ones((4, 3, 3, 3))
    assert um.ops.conv_input_gradient(g, weight, spatial=(6, 5), **geometry).shape == (2, 3, 6, 5)
    with pytest.raises(ShapeError, match=r"expected: \(4, 3\)\n.*given: +float64 \(2, 4, 5, 5\)"):
        um.ops.conv_input_gradient(np.ones((2, 4, 5, 5)), weight, spatial=(6, 5), **geometry)
    with pytest.raises(ShapeError, match=r"expected: \(4, 3\)"):
        um.ops.conv_weight_gradient(np.ones((2, 3, 6, 5)), np.ones((2, 4, 5, 5)), kernel=(3, 3), **geometry)


def test_a_product_with_a_vector_is_one_of_matrices() -> None:
    vector, matrix, stack = np.arange(3.0), np.arange(12.0).reshape(3, 4), np.arange(24.0).reshape(2, 4, 3)
    for x, y in ((vector, vector), (vector, matrix), (matrix.T, vector), (stack, vector), (vector, np.swapaxes(stack, 1, 2))):
        graph = fold(traced(um.ops.matmul, x, y))
        assert all(v.spec.ndim > 1 for n in graph.nodes if n.op.name == "matmul" for v in n.inputs if v is not None)
        np.testing.assert_allclose(run(graph, [x, y])[0], x @ y)


# ------------------------------------------------------------------------------------- gradients by core's rules, and tensors without elements

OWN = ["maximum", "minimum", "max", "prod", "pow", "erf"]
T = np.array([[0.0, 1.0, 1.0], [2.0, 0.0, 0.0]])


@pytest.mark.parametrize("name", OWN)
def test_straight_through_gives_the_rules_gradients_and_lets_no_other_through(name: str) -> None:
    """At ties, zeros and broadcasts, where frameworks' own gradients differ."""
    ops = um.ops
    call: dict[str, Callable[[Any, Any], Any]] = {
        "max": lambda x, y: ops.max(x * y, axis=1) * 2.0,
        "prod": lambda x, y: ops.prod(x + y, axis=(0,), keepdims=True),
        "erf": lambda x, y: ops.erf(x) * y,
    }
    function = call.get(name, getattr(ops, name))
    arrays = [T, np.array([1.0, 0.0, 1.0])]
    graph = traced(lambda x, y: _loss_and_gradients(function, x, y), *arrays)
    ((region,),) = ([n for n in graph.nodes if n.op is value_and_grad_op],)
    prepared = prepare(graph, lambda node: not node.op.composite, native_regions=True, core_gradient=lambda node: node.op.name == name)
    ((inside,),) = ([n for n in prepared.nodes if n.op is value_and_grad_op],)
    body = inside.attrs["body"]
    own = [n for n in body.nodes if n.op.name == name]
    assert own and not any(v in active_values(body, inside.attrs["wrt"]) for n in own for v in n.outputs)
    assert any(v in active_values(region.attrs["body"], region.attrs["wrt"]) for n in region.attrs["body"].nodes if n.op.name == name for v in n.outputs)
    same(plain(prepared), plain(graph), arrays)


def _loss_and_gradients(function: Callable[[Any, Any], Any], x: Any, y: Any) -> list[Any]:
    value, gradients = um.value_and_grad(lambda: um.ops.sum(function(x, y) * 3.0), wrt=[x, y])
    return [value, *gradients]


def test_infinite_numbers_and_slopes_leave_the_value() -> None:
    x = np.array([np.inf, -np.inf, 0.0, 4.0])
    graph = traced(lambda x: _loss_and_gradients(lambda x, y: um.ops.maximum(um.ops.pow(x, y), 0.0), x, x * 0.0 + 0.5)[:2], x)
    prepared = prepare(graph, lambda node: not node.op.composite, native_regions=True, core_gradient=lambda node: node.op.name in ("maximum", "pow"))
    value, gradient = run(plain(prepared), [x])
    assert np.array_equal(run(plain(graph), [x])[0], value, equal_nan=True)
    assert np.isfinite(gradient[2:]).all()


def test_what_comes_of_nothing_is_known() -> None:
    ops = um.ops
    empty, full = np.zeros((0, 3)), np.arange(6.0).reshape(2, 3)

    def everything_of(x: Any, y: Any) -> list[Any]:
        return [
            ops.sum(x, axis=0), ops.prod(x), ops.any(x > 0.0, axis=0), ops.all(x > 0.0), ops.matmul(ops.permute_dims(x, (1, 0)), x), ops.concat([x, y, x]),
            ops.pad(x, (0, 0, 1, 1), value=7.0), ops.exp(x) + 1.0, y * 2.0,
        ]  # fmt: skip  # one a line would hide the list

    graph = plain(traced(everything_of, empty, full))
    found = without_empties(graph)
    assert not any(0 in s.shape for n in found.nodes for s in n.specs if s is not None)
    same(found, graph, [empty, full])
    whole = plain(traced(lambda x: x + 1.0, full))
    assert without_empties(whole) is whole


def test_odd_cases_of_ops_are_plain_ones_of_others() -> None:
    ops = um.ops
    x = np.arange(6.0).reshape(1, 2, 3)
    graph = plain(traced(lambda x: [ops.sum(x, axis=()), ops.max(x, axis=()), ops.any(x > 2.0, axis=()), ops.flip(x, axis=()), ops.argsort(x, axis=0)], x))
    found = fold(graph)
    assert not {"sum", "max", "any", "flip", "arg_sort"} & set(names(found))
    same(found, graph, [x])

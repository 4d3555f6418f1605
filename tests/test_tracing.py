"""Tracing writes down what user code does: Python's operators and indexing mean what they mean in NumPy, dtypes meet as in PyTorch,
constants and closures are captured as they are, and code is traced once for every batch size unless it asks for the number."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from effort import few
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import unimodel as um
from unimodel.dim import Dim
from unimodel.errors import ShapeError, TraceError
from unimodel.graph import DTYPES, Graph, TensorSpec
from unimodel.tracing import current_trace, promote, trace

N = Dim.symbol("N")


def arrays(shape: Any = (2, 3), seed: int = 0, count: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.5, 3.0, shape) for _ in range(count)]


def same(ours: Any, expected: Any) -> None:
    np.testing.assert_allclose(ours, expected, rtol=1e-14)
    assert np.shape(ours) == np.shape(expected)


# ------------------------------------------------------------------------------------------------------------- operators

ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow]
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


@pytest.mark.parametrize("op", [*ARITHMETIC, *COMPARISONS], ids=lambda op: op.__name__)
@few
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3), seed=st.integers(0, 100))
def test_operators_are_numpys_with_broadcasting(op: Callable[[Any, Any], Any], shapes: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (rng.choice([-2.5, -1.0, 0.5, 1.0, 2.0, 3.75], shape) for shape in shapes.input_shapes)
    if op is operator.pow:
        x = np.abs(x)
    expected = op(x, y)
    same(um.run(op, x, y), expected)
    same(um.run(lambda x: op(x, y), x), expected), "an array on the right"
    same(um.run(lambda y: op(x, y), y), expected), "an array on the left, which NumPy is asked about first"


@pytest.mark.parametrize("op", [*ARITHMETIC, *COMPARISONS], ids=lambda op: op.__name__)
@pytest.mark.parametrize("number", [2, 1.5, np.float32(1.5), np.int64(3)], ids=repr)
def test_operators_take_numbers_on_either_side(op: Callable[[Any, Any], Any], number: Any) -> None:
    (x,) = arrays(count=1)
    same(um.run(lambda x: op(x, number), x), op(x, float(number)))
    same(um.run(lambda x: op(number, x), x), op(float(number), x))


@pytest.mark.parametrize("op", [operator.and_, operator.or_, operator.xor], ids=lambda op: op.__name__)
def test_logic(op: Callable[[Any, Any], Any]) -> None:
    x, y = np.array([True, True, False, False]), np.array([True, False, True, False])
    np.testing.assert_array_equal(um.run(op, x, y), op(x, y))
    np.testing.assert_array_equal(um.run(operator.invert, x), ~x)


@pytest.mark.parametrize("op", [operator.neg, operator.pos, abs], ids=lambda op: op.__name__)
def test_unary_operators(op: Callable[[Any], Any]) -> None:
    x = np.array([[-1.5, 0.0, 2.0]])
    same(um.run(op, x), op(x))


def test_integers_divide_and_take_remainders_as_python_does() -> None:
    x, y = np.array([7, -7, 7, -7]), np.array([2, 2, -2, -2])
    np.testing.assert_array_equal(um.run(lambda x, y: x // y, x, y), [7 // 2, -7 // 2, 7 // -2, -7 // -2])
    np.testing.assert_array_equal(um.run(lambda x, y: x % y, x, y), [7 % 2, -7 % 2, 7 % -2, -7 % -2])
    same(um.run(lambda x, y: x / y, x, y), np.float32([3.5, -3.5, -3.5, 3.5]))


@given(st.sampled_from([((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((4, 2, 3), (3, 5)), ((2, 1, 2, 3), (4, 3, 2))]), st.integers(0, 9))
def test_matmul_is_numpys(shapes: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (rng.standard_normal(shape) for shape in shapes)
    same(um.run(operator.matmul, x, y), x @ y)
    same(um.run(lambda y: x @ y, y), x @ y)


METHODS: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], Any]]] = {
    "T": (lambda x: x.T, lambda x: x.T),
    "mT": (lambda x: x.mT, lambda x: np.swapaxes(x, -1, -2)),
    "reshape": (lambda x: x.reshape(4, -1), lambda x: x.reshape(4, -1)),
    "reshape of a tuple": (lambda x: x.reshape((3, 8)), lambda x: x.reshape(3, 8)),
    "view": (lambda x: x.view(-1), lambda x: x.reshape(-1)),
    "permute": (lambda x: x.permute(2, 0, 1), lambda x: x.transpose(2, 0, 1)),
    "permute of a tuple": (lambda x: x.permute((2, -3, 1)), lambda x: x.transpose(2, 0, 1)),
    "transpose": (lambda x: x.transpose(0, -1), lambda x: np.swapaxes(x, 0, -1)),
    "flatten": (lambda x: x.flatten(1), lambda x: x.reshape(2, 12)),
    "unsqueeze": (lambda x: x.unsqueeze(-2), lambda x: np.expand_dims(x, -2)),
    "squeeze": (lambda x: x[:, :1].squeeze(1), lambda x: x[:, 0]),
    "sum": (lambda x: x.sum(), lambda x: x.sum()),
    "sum along": (lambda x: x.sum(axis=(0, -1), keepdims=True), lambda x: x.sum(axis=(0, -1), keepdims=True)),
    "mean": (lambda x: x.mean(1), lambda x: x.mean(1)),
    "max": (lambda x: x.max(axis=2), lambda x: x.max(axis=2)),
    "min": (lambda x: x.min(), lambda x: x.min()),
    "argmax": (lambda x: x.argmax(axis=1), lambda x: x.argmax(axis=1)),
    "argmax of all": (lambda x: x.argmax(), lambda x: x.argmax()),
    "astype": (lambda x: x.astype("int64"), lambda x: x.astype("int64")),
    "detach": (lambda x: x.detach(), lambda x: x),
    "sizes": (lambda x: um.ops.asarray([x.size(0), x.size()[1], x.shape[-1], len(x), x.ndim]), lambda x: np.array([2, 3, 4, 2, 3])),
    "iteration": (lambda x: sum(row * (i + 1) for i, row in enumerate(x)), lambda x: x[0] + 2 * x[1]),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods(name: str) -> None:
    ours, theirs = METHODS[name]
    x = np.random.default_rng(0).uniform(-3, 3, (2, 3, 4))
    same(um.run(ours, x), theirs(x))


# -------------------------------------------------------------------------------------------------------------- indexing


@st.composite
def shapes_and_keys(draw: st.DrawFn) -> tuple[tuple[int, ...], Any]:
    """A shape, and a key with integers, slices of any step, ``...``, None; or slices and one array of integers."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5))
    key = draw(hnp.basic_indices(shape, allow_newaxis=True))
    if draw(st.booleans()):
        axis = draw(st.integers(0, len(shape) - 1))
        indices = draw(hnp.arrays("int64", hnp.array_shapes(min_dims=1, max_dims=2, max_side=3), elements=st.integers(0, shape[axis] - 1)))
        keys = [slice(None) if i != axis else indices for i in range(draw(st.integers(axis + 1, len(shape))))]
        for i in range(len(keys)):
            if i != axis and draw(st.booleans()):
                keys[i] = draw(st.slices(shape[i]))
        key = tuple(keys)
    return shape, key


@given(shapes_and_keys())
def test_getitem_is_numpys(case: tuple[tuple[int, ...], Any]) -> None:
    shape, key = case
    x = np.arange(float(np.prod(shape))).reshape(shape)
    expected = x[key]
    same(um.run(lambda t: t[key], x), expected)
    same(um.run(lambda t: um.ops.asarray(t)[key], x), expected)


@given(shapes_and_keys(), st.integers(1, 6))
def test_getitem_differentiates(case: tuple[tuple[int, ...], Any], seed: int) -> None:
    """The gradient of a selection puts each number back where it came from, adding up what was taken twice."""
    shape, key = case
    x = np.arange(float(np.prod(shape))).reshape(shape)
    weights = np.random.default_rng(seed).standard_normal(x[key].shape)
    expected = np.zeros(shape)
    np.add.at(expected, key, weights)
    gradient = um.run(lambda t: um.value_and_grad(lambda: um.ops.sum(t[key] * weights) + 0.0 * um.ops.sum(t), wrt=t)[1], x)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-12)


bounds = st.none() | st.integers(-4, 4)
keys_of_two_dimensions = st.lists(
    st.one_of(st.just(Ellipsis), st.none(), st.integers(-2, 1), st.builds(slice, bounds, bounds, st.sampled_from([None, 1, 2, -1, -3]))), max_size=3
)


@given(keys_of_two_dimensions, st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_getitem_of_a_symbolic_batch_is_right_for_every_size(keys: list[Any], batches: list[int]) -> None:
    assume(sum(k is Ellipsis for k in keys) <= 1 and sum(k is not None and k is not Ellipsis for k in keys) <= 2)
    key = tuple(keys)

    class Select(um.Model):
        def forward(self, x: Any) -> Any:
            return x[key]

    model = Select()
    for n in batches:
        x = np.arange(3.0 * n).reshape(n, 3)
        try:
            expected = x[key]
        except IndexError:
            with pytest.raises(ShapeError, match="out of range"):
                model(x)
        else:
            same(model(x), expected)


def test_getitem_by_a_tensor_of_the_batch() -> None:
    class Rows(um.Model):
        def forward(self, x: Any, rows: Any) -> Any:
            return x[:, 1:][rows]

    x = np.arange(12.0).reshape(4, 3)
    rows = np.array([3, 0, 0, 1])
    same(Rows()(x, rows), x[:, 1:][rows])
    same(um.run(lambda t, i: t[..., i], x, np.array([[2, 0], [1, 1]])), x[..., [[2, 0], [1, 1]]])
    same(um.run(lambda t: t[[2, 0]], x), x[[2, 0]])


@pytest.mark.parametrize("negative", [np.array([-1, 0, -4]), [-1]])
def test_negative_indices_in_arrays_count_from_the_end(negative: Any) -> None:
    x = np.arange(8.0).reshape(4, 2)
    same(um.run(lambda t: t[negative], x), x[negative])
    same(um.run(lambda t: t[np.asarray(negative) % 4], x), x[negative])


@pytest.mark.torch_oracle
def test_an_integer_beside_an_array_keeps_its_place_as_in_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    x, i = np.arange(24.0).reshape(2, 3, 4), np.array([1, 3, 0])
    for ours, theirs in (
        (um.run(lambda t: t[0, :, i], x), torch.tensor(x)[0, :, torch.tensor(i)]),
        (um.run(lambda t: t[:, 1, i], x), torch.tensor(x)[:, 1, torch.tensor(i)]),
        (um.run(lambda t: t[1, i % 3], x), torch.tensor(x)[1, torch.tensor(i % 3)]),
    ):
        same(ours, theirs.numpy())


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ((0, 0, 0), "too many indices"),
        ((Ellipsis, Ellipsis), "indices"),
        (2, "index 2 is out of range"),
        ((0, -4), "index -4 is out of range"),
        ("a", "this is no index"),
        (1.0, "this is no index"),
        (slice(0, 2, 0), "step"),
        (([0], None, [1]), "side by side"),
        (np.array([True, False]), "this is no index"),
        (np.array([0.5]), "this is no index"),
        (np.array([0, 2]), "an index is out of range"),
        ([0, -3], "an index is out of range"),
    ],
    ids=repr,
)
def test_keys_that_cannot_be(key: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message) as caught:
        um.run(lambda t: t[key], np.zeros((2, 3)))
    assert "t[key]" in str(caught.value)


# ---------------------------------------------------------------------------------------------------------------- dtypes


@pytest.mark.torch_oracle
def test_dtypes_meet_where_pytorchs_meet() -> None:
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    for a in DTYPES:
        for b in DTYPES:
            theirs = torch.promote_types(getattr(torch, a), getattr(torch, b))
            assert promote([a, b]) == str(theirs).removeprefix("torch."), (a, b)


NUMBERS = [True, 2, 0.5]
TENSORS = ["bool", "int32", "int64", "float32"]


def traced_dtype(function: Callable[..., Any], *dtypes: str) -> str:
    """The dtype of a result, in a float32 trace."""
    (value,) = trace(lambda xs: function(*xs), tuple(TensorSpec((2, 2), d) for d in dtypes), names={}).graph.outputs
    return value.spec.dtype


def torch_dtype(function: Callable[..., Any], *dtypes: str) -> str:
    import torch

    return str(function(*(torch.ones((2, 2), dtype=getattr(torch, d)) for d in dtypes)).dtype).removeprefix("torch.")


BINARY = {
    "add": operator.add,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "less": operator.lt,
    "equal": operator.eq,
}


@pytest.mark.torch_oracle
@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("first", TENSORS)
def test_result_dtypes_of_operators_are_pytorchs(name: str, first: str) -> None:
    pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    op = BINARY[name]
    for second in TENSORS:
        assert traced_dtype(op, first, second) == torch_dtype(op, first, second), (name, first, second)
    for number in NUMBERS:
        assert traced_dtype(lambda x, n=number: op(x, n), first) == torch_dtype(lambda x, n=number: op(x, n), first), (name, first, number)
        assert traced_dtype(lambda x, n=number: op(n, x), first) == torch_dtype(lambda x, n=number: op(n, x), first), (name, number, first)


REDUCTIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sum": (lambda x: um.ops.sum(x), lambda x: x.sum()),
    "prod": (lambda x: um.ops.prod(x), lambda x: x.prod()),
    "cumulative_sum": (lambda x: um.ops.cumulative_sum(x, axis=0), lambda x: x.cumsum(0)),
    "argmax": (lambda x: um.ops.argmax(x, axis=0), lambda x: x.argmax(0)),
    "max": (lambda x: um.ops.max(x), lambda x: x.amax()),
    "abs": (lambda x: um.ops.abs(x), lambda x: x.abs()),
    "negative": (lambda x: -x, lambda x: -x),
    "floor": (lambda x: um.ops.floor(x), lambda x: x.floor()),
    "power": (lambda x: x**2, lambda x: x**2),
    "maximum": (lambda x: um.ops.maximum(x, x + 1), lambda x: x.maximum(x + 1)),
}


@pytest.mark.torch_oracle
@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_result_dtypes_of_functions_are_pytorchs(name: str, dtype: str) -> None:
    pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    ours, theirs = REDUCTIONS[name]
    assert traced_dtype(ours, dtype) == torch_dtype(theirs, dtype)


@pytest.mark.parametrize("name", ["sum", "prod", "cumulative_sum"])
def test_booleans_are_counted_in_int64(name: str) -> None:
    assert traced_dtype(REDUCTIONS[name][0], "bool") == "int64"
    assert um.run(REDUCTIONS[name][0], np.array([True, True, True])).max() == {"prod": 1}.get(name, 3)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_what_has_no_dtype_of_its_own_takes_the_traces_precision(precision: str) -> None:
    def function(x: Any) -> Any:
        made = [um.ops.zeros((2,)), um.ops.ones((2,)), um.ops.eye(2), um.ops.arange(0.0, 1.0, 0.5), um.ops.full((2,), 1.5), um.Scalar(0.5) * 1.0]
        made += [um.ops.asarray(0.5), um.ops.asarray(np.float64(0.5)), um.ops.mean(um.ops.arange(4)), um.ops.arange(4) / 2, um.ops.one_hot(um.ops.arange(2), 3)]
        assert {t.dtype for t in made} == {precision}
        assert {t.dtype for t in (um.ops.arange(3), um.ops.asarray(3), um.ops.full((2,), 7))} == {"int64"}
        return x

    trace(function, TensorSpec((2,), precision), names={}, float_dtype=precision)


# -------------------------------------------------------------------------------------------------- constants and closures


def test_closures_are_captured_when_they_are_used() -> None:
    table = np.array([1.0, 2.0, 3.0])
    graph = trace(lambda x: x * table + 1.0, TensorSpec((N, 3), "float32"), names={}).graph
    table[:] = np.nan
    constants = [node.attrs["value"] for node in graph.nodes if node.op.name == "constant"]
    assert any(np.array_equal(getattr(c, "array", None), [1.0, 2.0, 3.0]) for c in constants)


def test_python_values_of_any_kind_are_constants() -> None:
    x = np.array([2.0])
    for value in (3, 3.0, np.float32(3), np.int8(3), [3.0], (3,), np.array([3]), np.array(3.0)):
        same(um.run(lambda x, v=value: x * v, x), np.array([6.0]))
    assert um.run(lambda x: um.ops.where(True, x, 0.0), x) == 2.0


def test_python_control_flow_over_python_values_is_free() -> None:
    def function(x: Any) -> Any:
        for power in range(1, 4):
            if power != 2:
                x = x + power
        return x if x.ndim == 1 else None

    same(um.run(function, np.array([1.0])), np.array([5.0]))


def test_results_nest_as_they_were_returned() -> None:
    result = um.run(lambda x: {"a": x, "b": (x + 1, [x + 2, 3.0])}, np.array([1.0]))
    assert list(result) == ["a", "b"] and isinstance(result["b"], tuple) and isinstance(result["b"][1], list)
    assert [float(v.item()) for v in (result["a"], result["b"][0], result["b"][1][0], result["b"][1][1])] == [1.0, 2.0, 3.0, 3.0]


# ------------------------------------------------------------------------------------------------- batch sizes and retracing


class Counted(um.Model):
    """Runs a function and counts how often it is traced."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self._um_traces = 0

    def forward(self, x: Any) -> Any:
        self._um_traces += 1
        return self.function(x)


INDEPENDENT: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], Any]]] = {
    "flatten": (lambda x: um.ops.flatten(x, 1), lambda x: x.reshape(len(x), -1)),
    "reshape by size": (lambda x: x.reshape(x.shape[0], 4), lambda x: x.reshape(len(x), 4)),
    "reshape by minus one": (lambda x: x.reshape(-1, 2), lambda x: x.reshape(-1, 2)),
    "batch folded and unfolded": (lambda x: x.reshape(x.shape[0] * 2, 2).reshape(x.shape[0], 2, 2), lambda x: x),
    "mean over the batch": (lambda x: x - x.mean(axis=0), lambda x: x - x.mean(axis=0)),
    "size as a number in arithmetic": (lambda x: x * x.shape[0], lambda x: x * len(x)),
    "zeros of the batch's size": (lambda x: um.ops.zeros((x.shape[0], 1)) + x[:, 0], lambda x: x[:, 0]),
    "arange over the batch": (lambda x: um.ops.arange(x.shape[0]), lambda x: np.arange(len(x))),
    "concat along the batch": (lambda x: um.ops.concat([x, x]), lambda x: np.concatenate([x, x])),
    "gram matrix": (lambda x: x.reshape(-1, 4) @ x.reshape(-1, 4).T, lambda x: x.reshape(-1, 4) @ x.reshape(-1, 4).T),
    "softmax over the batch": (lambda x: um.ops.softmax(x, axis=0), lambda x: np.exp(x) / np.exp(x).sum(axis=0)),
    "a row": (lambda x: x[0], lambda x: x[0]),
    "the last row": (lambda x: x[-1], lambda x: x[-1]),
    "reversed": (lambda x: x[::-1], lambda x: x[::-1]),
    "variance": (lambda x: um.ops.var(x, axis=0, correction=0), lambda x: x.var(axis=0)),
}


@pytest.mark.parametrize("name", INDEPENDENT)
def test_one_program_serves_every_batch_size(name: str) -> None:
    ours, theirs = INDEPENDENT[name]
    model = Counted(ours)
    for n in (3, 1, 8, 3):
        x = np.random.default_rng(n).standard_normal((n, 2, 2)).astype("float32")
        np.testing.assert_allclose(model(x), theirs(x), rtol=1e-5, atol=1e-6)
    assert model._um_traces == 1


DEPENDENT: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], Any]]] = {
    "range": (lambda x: sum((x[i] * (i + 1) for i in range(x.shape[0])), 0.0 * x[0]), lambda x: sum(x[i] * (i + 1) for i in range(len(x)))),
    "iteration": (lambda x: um.ops.stack([row * 2 for row in x]), lambda x: x * 2),
    "len": (lambda x: x * len(x), lambda x: x * len(x)),
    "branch": (lambda x: x if x.shape[0] > 2 else -x, lambda x: x if len(x) > 2 else -x),
    "half": (lambda x: x[: x.shape[0] // 2], lambda x: x[: len(x) // 2]),
    "float": (lambda x: x / float(x.shape[0]) ** 0.5, lambda x: x / len(x) ** 0.5),
    "clipped slice": (lambda x: x[1:], lambda x: x[1:]),
    "every other": (lambda x: x[::2], lambda x: x[::2]),
    "list": (lambda x: um.ops.asarray([1.0] * x.shape[0]), lambda x: np.ones(len(x))),
}


@pytest.mark.parametrize("name", DEPENDENT)
def test_asking_for_the_size_traces_for_that_size_and_keeps_it(name: str) -> None:
    """A guard: another size is traced anew, one met before is not, and each is right."""
    ours, theirs = DEPENDENT[name]
    model = Counted(ours)
    traces = []
    for n in (4, 3, 6, 4, 3, 6):
        x = np.random.default_rng(n).standard_normal((n, 2)).astype("float32")
        np.testing.assert_allclose(model(x), theirs(x), rtol=1e-6)
        traces.append(model._um_traces)
    assert traces[2] == traces[3] == traces[4] == traces[5], "sizes met before are not traced again"
    assert traces[0] < traces[1] < traces[2], "a new size is"


FIXED: dict[str, Callable[[Any], Any]] = {
    "reshape": lambda x: x.reshape(4, 2, 1),
    "matmul": lambda x: np.ones((1, 4), "float32") @ x,
    "matmul on the left": lambda x: x.T @ np.ones((4, 1), "float32"),
    "concat": lambda x: um.ops.concat([x, um.ops.ones((4, 1))], axis=1),
    "addition": lambda x: x + np.ones((4, 1), "float32"),
    "broadcast": lambda x: um.ops.broadcast_to(x[:, 0], (2, 4)),
    "loss": lambda x: um.losses.MSELoss(reduction="none")(x, um.ops.ones((4, 2))),
    "where": lambda x: um.ops.where(np.ones((4, 2), bool), x, 0.0),
}


@pytest.mark.parametrize("name", FIXED)
def test_code_written_for_one_batch_size_runs_at_that_size_and_is_refused_at_others(name: str) -> None:
    model = Counted(FIXED[name])
    assert model(np.ones((4, 2), "float32")).size
    with pytest.raises(ShapeError):
        model(np.ones((3, 2), "float32"))
    assert model(np.ones((4, 2), "float32")).size


def test_squeezing_a_batch_of_one() -> None:
    model = Counted(lambda x: x.squeeze(0))
    assert model(np.ones((1, 3), "float32")).shape == (3,)
    with pytest.raises(ShapeError, match="size 1"):
        model(np.ones((2, 3), "float32"))


def test_a_traced_graph_names_the_symbol_or_is_fixed() -> None:
    def graph(function: Callable[[Any], Any]) -> Graph:
        return trace(function, TensorSpec((N, 2), "float32"), names={}, sizes={"N": 5}).graph

    assert graph(lambda x: x * 2).symbols == ("N",)
    assert graph(lambda x: x * len(x)).symbols == ()
    assert graph(lambda x: x * len(x)).inputs[0].spec.shape == (5, 2)


def test_a_size_that_is_nowhere_known() -> None:
    with pytest.raises(TraceError, match="not known here"):
        trace(lambda x: x * len(x), TensorSpec((N, 2), "float32"), names={})


def test_a_changed_attribute_traces_anew_and_nothing_else_does() -> None:
    class Scaled(um.Model):
        def __init__(self) -> None:
            self.factor, self.shape_of = 2.0, {"rows": [1, 2]}
            self.layer = um.nn.Linear(2, 2)
            self._um_traces = 0

        def forward(self, x: Any) -> Any:
            self._um_traces += 1
            return self.layer(x) * self.factor

    model, x = Scaled(), np.ones((3, 2), "float32")
    first = model(x)
    for _ in range(3):
        model(x + 1)
    model.layer.weight.data = model.layer.weight.data * 2
    model.factor = 2.0
    model(x)
    assert model._um_traces == 1
    model.factor = 4.0
    model.layer.weight.data = model.layer.weight.data / 2
    np.testing.assert_allclose(model(x), 2 * first, rtol=1e-6)
    assert model._um_traces == 2
    model.layer.eval()
    model(x)
    assert model._um_traces == 3
    model.shape_of = {"rows": [1, 3]}
    model(x)
    assert model._um_traces == 4
    model.shape_of = {"rows": [1, 2]}
    model.factor, model.layer.training = 2.0, True
    model(x)
    assert model._um_traces == 4


def test_another_dtype_rank_or_feature_size_is_another_program() -> None:
    model = Counted(lambda x: x * 2)
    for x in (np.ones((2, 3), "float32"), np.ones((2, 4), "float32"), np.ones(2, "float32"), np.ones((2, 3), "int64")):
        assert model(x).shape == x.shape
    assert model._um_traces == 4


# ------------------------------------------------------------------------------------------------------------- boundaries


def test_a_tensor_kept_after_its_trace_is_refused() -> None:
    kept: list[Any] = []
    um.run(lambda x: kept.append(x * 2) or x, np.ones(2))
    with pytest.raises(TraceError, match="outside the step"):
        um.run(lambda x: x + kept[0], np.ones(2))


def test_strange_objects_are_refused_by_name() -> None:
    for strange in ({1, 2}, object(), lambda: 1, "text"):
        with pytest.raises((TraceError, ShapeError)):
            um.run(lambda x, s=strange: um.ops.add(x, s), np.ones(2))


def test_threads_trace_for_themselves() -> None:
    barrier, results, errors = threading.Barrier(4), {}, []

    def work(i: int) -> None:
        try:

            def function(x: Any) -> Any:
                barrier.wait(timeout=20)
                y = x * i
                barrier.wait(timeout=20)
                return y + current_trace().root.inputs["batch.0"].spec.shape[0]  # type: ignore[union-attr]  # inside a trace

            results[i] = um.run(function, np.ones(i + 1), backend="numpy")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not errors
    for i in range(4):
        np.testing.assert_array_equal(results[i], np.full(i + 1, i + i + 1))


def test_outside_a_trace_ops_compute_at_once() -> None:
    x = np.array([1.0, -2.0])
    np.testing.assert_array_equal(um.ops.relu(x), [1.0, 0.0])
    assert isinstance(um.ops.relu(x), np.ndarray)
    np.testing.assert_array_equal(um.ops.add(x, 1), x + 1)
    np.testing.assert_array_equal(um.ops.concat([x, x]), [1.0, -2.0, 1.0, -2.0])
    assert um.ops.softmax(x.astype("float32")).dtype == "float32"

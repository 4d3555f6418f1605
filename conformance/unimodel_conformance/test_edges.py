"""Ops at the places where frameworks part.

Zero sizes, no dimensions, other strides, NaN and infinity, integers that no float32 holds, numbers at which a careless formula overflows or cancels, and sizes that are
known only when the program runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

from unimodel import ops, value_and_grad
from unimodel.dim import Dim
from unimodel.graph import Array, TensorSpec
from unimodel.ops import catalogue
from unimodel_conformance.cases import Case, results, run_together, sample_cases
from unimodel_conformance.subject import Subject, as_dtype, assert_close, difference
from unimodel_conformance.test_ops import check
from unimodel_conformance.truth import expected

pytestmark = pytest.mark.concerns("op")

NAN, INF = math.nan, math.inf


def run_case(subject: Subject, dtype: str, name: str, *args: Any, **kwargs: Any) -> tuple[Array, ...]:
    """One call of an op on the backend, checked against truth."""
    return run_cases(subject, dtype, name, [(args, kwargs)])[0]


def run_cases(subject: Subject, dtype: str, name: str, calls: Any) -> list[tuple[Array, ...]]:
    cases = [Case(catalogue[name], args, kwargs) for args, kwargs in calls]
    found = []
    for case, outcome in zip(cases, run_together(subject, cases, dtype), strict=True):
        given = results(outcome)
        check(name, given, case.truth(dtype), subject, dtype, repr(case))
        found.append(given)
    return found


# ------------------------------------------------------------------------------------------------- zero sizes, no dimensions

Z = np.zeros
EMPTY: dict[str, list[tuple[list[Any], dict[str, Any]]]] = {
    "sum": [([Z((0, 3))], {"axis": 0}), ([Z((0, 3))], {"axis": 1}), ([Z((0,))], {}), ([Z((2, 0), "int64")], {"axis": (0, 1), "keepdims": True})],
    "prod": [([Z((0, 3))], {"axis": 0}), ([Z((0,))], {})],
    "all": [([Z((0, 2), bool)], {"axis": 0})],
    "any": [([Z((0, 2), bool)], {"axis": 0})],
    "max": [([Z((0, 3))], {"axis": 1})],
    "min": [([Z((2, 0, 3))], {"axis": 2})],
    "cumulative_sum": [([Z((0, 3))], {"axis": 0})],
    "matmul": [([Z((0, 3)), np.ones((3, 2))], {}), ([np.ones((2, 0)), np.ones((0, 3))], {}), ([Z((0, 2, 3)), np.ones((0, 3, 1))], {})],
    "linear": [([Z((0, 3)), np.ones((2, 3)), np.ones(2)], {})],
    "concat": [([[Z((0, 2)), np.ones((3, 2))]], {}), ([[Z((0,)), Z((0,))]], {})],
    "reshape": [([Z((0, 4)), (2, 0, 2)], {}), ([Z((3, 0)), (0,)], {})],
    "permute_dims": [([Z((0, 2, 3)), (2, 0, 1)], {})],
    "broadcast_to": [([Z((1, 3)), (0, 3)], {}), ([np.ones(()), (2, 0)], {})],
    "pad_constant": [([Z((0, 2)), ((1, 1), (0, 1))], {"value": 2})],
    "slice": [([np.ones((3, 4))], {"start": (1, 2), "stop": (1, 4), "step": (1, 1)})],
    "flip": [([Z((0, 2))], {})],
    "take": [([np.ones((3, 2)), Z((0,), "int64")], {}), ([Z((0, 2)), Z((0,), "int64")], {"axis": 0})],
    "take_gradient": [([Z((0, 2)), Z((0,), "int64")], {"axis": 0, "size": 3})],
    "take_along_axis": [([np.ones((3, 4)), Z((3, 0), "int64")], {"axis": 1})],
    "where": [([Z((0, 2), bool), np.ones((1, 2)), Z((0, 1))], {})],
    "add": [([Z((0, 3)), np.ones(3)], {}), ([Z((0,)), 2.0], {})],
    "exp": [([Z((2, 0))], {})],
    "relu": [([Z((0, 3))], {})],
    "sigmoid": [([Z((0,))], {})],
    "less": [([Z((0, 3)), 1.0], {})],
    "cast": [([Z((0, 2)), "int64"], {})],
    "softmax": [([Z((0, 5))], {})],
    "log_softmax": [([Z((0, 5))], {})],
    "logsumexp": [([Z((0, 5))], {"axis": 1})],
    "one_hot": [([Z((0,), "int64"), 3], {"dtype": "int64"})],
    "iota": [([], {"start": 0, "stop": 0, "step": 1, "dtype": "int64"})],
    "conv": [([Z((0, 2, 4, 4)), np.ones((3, 2, 3, 3))], {"padding": 1})],
    "max_pool": [([Z((0, 2, 4, 4)), 2], {})],
    "avg_pool": [([Z((0, 2, 4, 4)), 2], {})],
    "embedding": [([Z((0, 3), "int64"), np.ones((4, 2))], {})],
    "layer_norm": [([Z((0, 3)), (3,), np.ones(3), np.ones(3)], {})],
    "batch_norm_inference": [([Z((0, 3)), np.ones(3), np.ones(3)], {})],
    "attention": [([Z((0, 2, 3)), Z((0, 4, 3)), Z((0, 4, 3))], {})],
    "cross_entropy": [([Z((0, 3)), Z((0,), "int64")], {})],
    "squared_error": [([Z((0, 3)), Z((0, 3))], {})],
    "arg_sort": [([Z((0, 3)), 1], {}), ([Z((2, 0)), 1], {})],
    "cumulative_prod": [([Z((0, 3))], {"axis": 1}), ([Z((2, 0))], {"axis": 1})],
    "atan2": [([Z((0, 3)), 1.0], {})],
    "digamma": [([Z((0, 3))], {})],
    "bitwise_and": [([Z((0, 3), "int64"), Z((1,), "int64")], {})],
}


@pytest.mark.parametrize("op", EMPTY)
def test_zero_size(subject: Subject, op: str) -> None:
    """Arrays without elements go through, with the shapes they should have; and an op after them is not disturbed."""
    with np.errstate(all="ignore"):
        run_cases(subject, subject.best, op, EMPTY[op])
    given = subject.run(lambda x: ops.sum(x * 2.0), np.arange(6.0))
    assert given == 30.0, f"after {op} on empty arrays, sum(2 * arange(6)) is {given}"


NUMBERS = {
    "unary": ["negative", "abs", "exp", "tanh", "sigmoid", "sqrt", "floor", "relu", "square", "softplus", "gelu", "isnan", "stop_gradient"],
    "binary": ["add", "subtract", "multiply", "true_divide", "maximum", "pow", "less", "equal"],
}


@pytest.mark.concerns("op", "0-d arrays")
@pytest.mark.parametrize(
    "op", NUMBERS["unary"] + NUMBERS["binary"] + ["sum", "max", "reshape", "broadcast_to", "where", "cast", "flip", "pad_constant", "slice"]
)
def test_no_dimensions(subject: Subject, op: str) -> None:
    x, y = np.array(0.7), np.array(1.9)
    calls: dict[str, Any] = {
        "sum": ([x], {}),
        "max": ([x], {}),
        "reshape": ([x, (1, 1)], {}),
        "broadcast_to": ([x, (2, 2)], {}),
        "where": ([np.array(True), x, y], {}),
        "cast": ([y, "int64"], {}),
        "flip": ([x], {}),
        "pad_constant": ([x, ()], {}),
        "slice": ([x, (), (), ()], {}),
    }
    run_cases(subject, subject.best, op, [calls.get(op, ([x, y] if op in NUMBERS["binary"] else [x], {}))])


@pytest.mark.concerns("op", "0-d arrays")
@pytest.mark.parametrize("op", ["sum", "prod", "max", "min", "mean", "all", "any", "flip"])
def test_no_axes(subject: Subject, op: str) -> None:
    """A reduction over no axes reduces nothing; its result is an array of its own."""
    x = np.array([[1.5, -2.0, 0.5], [4.0, 0.25, 3.0]])
    x = x > 1 if op in ("all", "any") else x
    run_cases(subject, subject.best, op, [([x], {"axis": ()}), ([x], {"axis": (), **({} if op == "flip" else {"keepdims": True})}), ([x[0, 0]], {"axis": ()})])


@pytest.mark.concerns("op", "non-contiguous arrays")
@pytest.mark.parametrize("op", ["add", "exp", "sum", "matmul", "conv", "take", "softmax", "concat", "max_pool", "linear", "reshape"])
def test_other_strides(subject: Subject, op: str) -> None:
    """Views with strides of their own (transposed, stepped, reversed, Fortran order, read-only) hold the numbers they show."""
    case = sample_cases(op)[0]
    compiled = subject.compile(lambda *t: case.call(t), case.in_dtype(subject.best), subject.best)
    expected_values = compiled(*case.in_dtype(subject.best))
    for how, view in {"Fortran order": np.asfortranarray, "stepped": _stepped, "reversed": _reversed, "read-only": _read_only}.items():
        given = compiled(*(view(a) for a in case.in_dtype(subject.best)))
        assert_close(given, expected_values, 4 * subject.tolerance(subject.best), f"{op} on {how} arrays")


def _stepped(a: Array) -> Array:
    wide = np.zeros([2 * s for s in a.shape], a.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def _reversed(a: Array) -> Array:
    return np.ascontiguousarray(a[..., ::-1])[..., ::-1] if a.ndim else a


def _read_only(a: Array) -> Array:
    copy = a.copy()
    copy.setflags(write=False)
    return copy


# -------------------------------------------------------------------------------------------- NaN, infinity, large and small

FLOATS_OF_NOTE = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1e-9, -1e-9, 1e-20, 30.0, -30.0, 88.0, -88.0, 120.0, -120.0, 1e4, -1e4, 1e30, -1e30, INF, -INF, NAN]
)
WHOLE_LINE = (
    "negative", "abs", "sign", "exp", "expm1", "log", "log1p", "sqrt", "tanh", "sigmoid", "erf", "floor", "ceil", "round", "square", "isnan", "isfinite", "relu",
    "leaky_relu", "softplus", "stop_gradient", "elu", "asinh", "erfc",
)  # fmt: skip
_TINY = {"float64": 1e-305, "float32": 1e-36, "float16": 7e-5, "bfloat16": 1e-36}


@pytest.mark.parametrize("op", WHOLE_LINE)
def test_whole_line(subject: Subject, op: str) -> None:
    """NaN, infinities, large and small numbers: each element right to its own size."""
    for dtype in subject.floats:
        x = as_dtype(FLOATS_OF_NOTE, dtype)
        x = x[np.isfinite(x) == np.isfinite(FLOATS_OF_NOTE)]
        with np.errstate(all="ignore"):
            (wide,) = expected(op, [x.astype("float64")], {})
            wanted = wide.astype(dtype) if wide.dtype.kind == "f" else wide
        (given,) = _one(subject, dtype, op, x)
        if given.dtype.kind == "f":  # what underflows may be flushed to zero
            small = np.abs(wide) < _TINY[dtype]
            given, wanted = np.where(small & (np.abs(given) <= _TINY[dtype]), 0, given), np.where(small, 0, wanted)
        found = difference(given, wanted.astype(given.dtype), 4 * subject.tolerance(dtype) if given.dtype.kind == "f" else 0, relative="element")
        assert not found, f"{op} of {x.tolist()} in {dtype}: {found}"


def _one(subject: Subject, dtype: str, op: str, *arrays: Any, **kwargs: Any) -> tuple[Array, ...]:
    case = Case(catalogue[op], arrays, kwargs)
    found: tuple[Array, ...] = results(run_together(subject, [case], dtype)[0])
    return found


PAIRS = np.array([(a, b) for a in (0.0, 1.0, -2.0, INF, -INF, NAN) for b in (0.0, 1.0, -2.0, 0.5, INF, -INF, NAN)]).T


@pytest.mark.parametrize(
    "op",
    ["add", "subtract", "multiply", "true_divide", "pow", "maximum", "minimum", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]
    + ["hypot", "logaddexp", "atan2"],
)
def test_pairs_of_note(subject: Subject, op: str) -> None:
    """Every pair of zero, one, a negative number, infinities and NaN, as IEEE 754 and C's pow say."""
    for dtype in subject.floats:
        x1, x2 = (as_dtype(p, dtype) for p in PAIRS)
        (given,) = _one(subject, dtype, op, x1, x2)
        (wanted,) = expected(op, [x1, x2], {})
        found = difference(given, wanted, 4 * subject.tolerance(dtype), relative="element")
        assert not found, f"{op} in {dtype}: {found}, for the pairs {list(zip(x1.tolist(), x2.tolist(), strict=True))}"


SPECIAL_ROWS = np.array([[1.0, NAN, 2.0], [INF, 1.0, -1.0], [-INF, 0.5, 1.0], [INF, -INF, 1.0], [-INF, -INF, -INF], [0.0, 2.0, NAN]])


@pytest.mark.parametrize("op", ["sum", "prod", "max", "min", "mean", "logsumexp", "cumulative_sum"])
def test_reductions_of_nan_and_infinity(subject: Subject, op: str) -> None:
    """NaN comes out of every reduction it goes into; infinities as the arithmetic says."""
    for dtype in subject.floats:
        for rows in (SPECIAL_ROWS, SPECIAL_ROWS.T):
            x = as_dtype(rows, dtype)
            with np.errstate(all="ignore"):
                (wanted,) = expected(op, [x.astype("float64")], {"axis": 1})
            (given,) = _one(subject, dtype, op, x, axis=1)
            assert not (found := difference(given, wanted.astype(dtype), 8 * subject.tolerance(dtype), relative="element")), (
                f"{op} of {x.tolist()} in {dtype}: {found}"
            )


@pytest.mark.parametrize("op", ["arg_max", "arg_min"])
def test_place_of_nan(subject: Subject, op: str) -> None:
    """The first NaN is both the largest and the smallest, as in NumPy and PyTorch; infinities are in their order."""
    for dtype in subject.floats:
        for rows in (SPECIAL_ROWS, SPECIAL_ROWS.T, np.array([[2.0, NAN, NAN], [NAN, -INF, INF]])):
            x = as_dtype(rows, dtype)
            (given,) = _one(subject, dtype, op, x, 1)
            wanted = (np.argmax if op == "arg_max" else np.argmin)(x.astype("float64"), axis=1)
            assert given.tolist() == wanted.tolist(), f"{op} of {x.tolist()} in {dtype} is {given.tolist()}, expected {wanted.tolist()}"


@pytest.mark.concerns("op", "arg_sort")
@pytest.mark.parametrize("descending", [False, True])
def test_order_of_nan(subject: Subject, descending: bool) -> None:
    """NaN is the largest, infinities are in their order, and zeros of either sign keep the order they had."""
    for dtype in subject.floats:
        for rows in (SPECIAL_ROWS, np.array([[0.0, -0.0, NAN, -1.0, INF, NAN, -INF, -0.0, 0.5]])):
            x = as_dtype(rows, dtype)
            ((given,), (wanted,)) = _one(subject, dtype, "arg_sort", x, 1, descending), expected("arg_sort", [x], {"axis": 1, "descending": descending})
            assert given.tolist() == wanted.tolist(), f"arg_sort of {x.tolist()} in {dtype} is {given.tolist()}, expected {wanted.tolist()}"


@pytest.mark.concerns("op", "max_pool")
def test_pooling_of_nan_and_infinity(subject: Subject) -> None:
    """A window with NaN pools to NaN, one of nothing but -inf to -inf; neither touches other windows."""
    x = np.array([[NAN, 1.0, -INF, -INF], [2.0, 3.0, -INF, -INF], [0.0, -1.0, INF, 5.0], [-4.0, -2.0, 1.0, 1.0]])[None, None]
    for dtype in subject.floats:
        values, _ = _one(subject, dtype, "max_pool", as_dtype(x, dtype), 2)
        assert not (found := difference(values, as_dtype([[[[NAN, -INF], [0.0, INF]]]], dtype), 0.0)), f"max_pool in {dtype}: {found}"
        (averages,) = _one(subject, dtype, "avg_pool", as_dtype(x, dtype), 2)
        assert not (found := difference(averages, as_dtype([[[[NAN, -INF], [-1.75, INF]]]], dtype), 0.0)), f"avg_pool in {dtype}: {found}"
    above, pooled = subject.run(lambda x: ((p := ops.max_pool2d(x, 2)).relu(), p), x)  # a kernel that joins the two still has to give both
    wanted = np.array([[[[NAN, -INF], [0.0, INF]]]])
    assert not (found := difference(pooled, wanted, 0.0)), f"max_pool that relu reads too: {found}"
    assert not (found := difference(above, np.maximum(wanted, 0.0), 0.0)), f"relu of max_pool: {found}"


@pytest.mark.concerns("op", "conv")
def test_products_of_nan_and_infinity(subject: Subject) -> None:
    """NaN spreads to what it is multiplied into and to nothing else."""
    x = np.ones((3, 2))
    x[1, 0] = NAN
    given = subject.run(lambda a, b: ops.matmul(a, b), x, np.ones((2, 2)))
    assert np.isnan(given).tolist() == [[False, False], [True, True], [False, False]], "matmul"
    image = np.ones((1, 1, 5, 5))
    image[0, 0, 0, 0] = NAN
    given = subject.run(lambda a, b: ops.conv(a, b, padding=1), image, np.ones((1, 1, 3, 3)))
    assert np.isnan(given[0, 0]).sum() == 4, f"conv: NaN in one corner reaches {np.isnan(given).sum()} outputs, not 4"


@pytest.mark.parametrize(
    ("op", "rows"),
    [
        ("softmax", [[1000.0, 0.0, -1000.0], [-1000.0, -1000.0, -999.0], [1e30, 1e30, 0.0], [88.8, 88.9, 89.0]]),
        ("log_softmax", [[1000.0, 0.0, -1000.0], [-1000.0, -1000.0, -999.0], [1e30, 1e30, 0.0], [20.0, 0.0, 0.0]]),
        ("logsumexp", [[1000.0, 0.0, -1000.0], [-1000.0, -1000.0, -999.0], [1e30, 1e30, 0.0], [-INF, 0.0, 1.0]]),
    ],
)
def test_large_magnitudes(subject: Subject, op: str, rows: Any) -> None:
    """Exponentials that would overflow do not."""
    for dtype in subject.floats:
        if dtype == "float16":
            continue  # 1e30 is no number there
        x = as_dtype(rows, dtype)
        (wanted,) = expected(op, [x.astype("float64")], {"axis": 1})
        (given,) = _one(subject, dtype, op, x, axis=1)
        found = difference(given, wanted.astype(dtype), 8 * subject.tolerance(dtype))
        assert not found, f"{op} of {x.tolist()} in {dtype}: {found}"


@pytest.mark.concerns("op", "cross_entropy")
def test_losses_of_large_logits(subject: Subject) -> None:
    """Cross-entropies stay finite and right at logits of 1e4, their gradients too where the backend differentiates."""
    logits = np.array([[1e4, 0.0, -1e4], [-1e4, 1e4, 1e4], [300.0, -300.0, 0.0]])
    target = np.array([2, 0, 0])
    binary, labels = np.array([1e4, -1e4, 1e4, -1e4, 800.0]), np.array([0.0, 1.0, 1.0, 0.0, 0.0])
    for dtype in subject.floats:
        if dtype not in ("float32", "float64"):
            continue
        cross, _ = _one(subject, dtype, "cross_entropy", as_dtype(logits, dtype), target)
        assert not (found := difference(cross, as_dtype([2e4, 2e4 + math.log(2), 0.0], dtype), 4 * subject.tolerance(dtype))), (
            f"cross_entropy in {dtype}: {found}"
        )
        (bce,) = _one(subject, dtype, "binary_cross_entropy_with_logits", as_dtype(binary, dtype), as_dtype(labels, dtype))
        assert not (found := difference(bce, as_dtype([1e4, 1e4, 0.0, 0.0, 800.0], dtype), 4 * subject.tolerance(dtype))), f"binary in {dtype}: {found}"
    for way in subject.ways:
        grad = subject.run(lambda x: value_and_grad(lambda: ops.sum(ops.cross_entropy(x, target)[0]), wrt=x)[1], logits, differentiation=way)
        wanted = scipy.special.softmax(logits, axis=1) - np.eye(3)[target]
        assert_close(grad, wanted.astype(grad.dtype), 1e-6, f"gradient of cross_entropy ({way})")
        grad = subject.run(
            lambda x: value_and_grad(lambda: ops.sum(ops.binary_cross_entropy_with_logits(x, labels.astype(subject.best))), wrt=x)[1],
            binary,
            differentiation=way,
        )
        assert_close(grad, (scipy.special.expit(binary) - labels).astype(grad.dtype), 1e-6, f"gradient of binary cross-entropy ({way})")


@pytest.mark.concerns("op", "sum")
def test_long_sums(subject: Subject) -> None:
    """Sums of a million float32 numbers are right to a few parts in a million: no naive running sum."""
    x = np.full((2, 1_000_000), 0.1, "float32")
    given = subject.run(lambda x: (ops.sum(x, axis=1), ops.mean(x, axis=1), ops.sum(x)), x, dtype="float32")
    assert_close(given, (np.full(2, 1e5, "float32"), np.full(2, 0.1, "float32"), np.array(2e5, "float32")), 1e-5, "sum, mean and full sum of 0.1")


@pytest.mark.concerns("op", "var")
def test_variance_of_far_numbers(subject: Subject) -> None:
    """A variance is that of the deviations: no difference of two large squares."""
    x = np.array([1e4, 1e4 + 1, 1e4 + 2, 1e4 + 3], "float32")
    given = subject.run(lambda x: ops.var(x), x, dtype="float32")
    assert abs(float(given) - 1.25) < 1e-3, f"var of {x.tolist()} is {given}, not 1.25"
    rows = np.tile(x, (2, 1))
    given = subject.run(lambda x: ops.layer_norm(x, (4,)), rows, dtype="float32")
    assert_close(given, np.tile(np.array([-1.34163542, -0.44721181, 0.44721181, 1.34163542], "float32"), (2, 1)), 1e-3, "layer_norm of numbers around 1e4")
    images = np.tile(x.reshape(4, 1), (1, 2))
    y, mean, variance = subject.run(lambda x: ops.batch_norm_training(x), images, dtype="float32")
    assert_close((mean, variance), (np.full(2, 10001.5, "float32"), np.full(2, 1.25, "float32")), 1e-3, "batch_norm_training of numbers around 1e4")


# ------------------------------------------------------------------------------------------------------------------ integers


@pytest.mark.concerns("op", "integers")
def test_integers_stay_exact(subject: Subject) -> None:
    """int32 and int64 are computed as integers: nothing goes through a float."""
    big = np.array([2**53 + 1, -(2**53) - 3, 2**40 + 7, 5], "int64")
    odd = np.array([2**24 + 1, -(2**24) - 3, 7, -7], "int32")
    given = subject.run(
        lambda a, b: (
            a + 1,
            a - a,
            a * 3,
            ops.sum(a),
            ops.max(a),
            ops.min(a),
            ops.cumulative_sum(a, axis=0),
            ops.flip(a),
            b + b,
            ops.maximum(b, 2**24),
            -b,
            ops.abs(b),
        ),
        big,
        odd,
    )
    wanted = (
        big + 1, big - big, big * 3, big.sum(), big.max(), big.min(), np.cumsum(big), big[::-1], odd + odd, np.maximum(odd, 2**24), -odd, np.abs(odd),
    )  # fmt: skip
    for i, (a, e) in enumerate(zip(given, wanted, strict=True)):
        assert not (found := difference(a, np.asarray(e, a.dtype), 0)), f"result {i}: {found}"
    compared = subject.run(lambda a: (ops.equal(a, 2**53), ops.greater(a, 2**53), ops.take(a, np.array([1, 0])), ops.argmax(a), ops.concat([a, a])), big)
    assert compared[0].tolist() == [False] * 4 and compared[1].tolist() == [True, False, False, False], "comparison of integers beyond 2**53"
    assert compared[2].tolist() == [big[1], big[0]] and compared[3] == 0 and compared[4].tolist() == [*big, *big]


@pytest.mark.concerns("op", "integers")
def test_integer_division(subject: Subject) -> None:
    """Division rounds down and the remainder has the divisor's sign, for every pair of signs; what overflows a float does not matter."""
    a = np.array([7, -7, 7, -7, 0, 2**53 + 1], "int64")
    b = np.array([2, 2, -2, -2, 5, 2], "int64")
    for dtype in ("int32", "int64"):
        x, y = (a, b) if dtype == "int64" else (a[:5].astype(dtype), b[:5].astype(dtype))
        quotient, rest = subject.run(lambda x, y: (x // y, x % y), x, y)
        assert quotient.tolist() == (x // y).tolist() and rest.tolist() == (x % y).tolist(), f"{dtype}: {quotient.tolist()}, {rest.tolist()}"


@pytest.mark.concerns("op", "integers")
def test_integer_powers(subject: Subject) -> None:
    """Powers of integers are exact as long as a float64 holds them."""
    for dtype, numbers in (("int32", [4097, -5003, 0, 46340]), ("int64", [3_000_001, -4097, 46341, 94_906_265])):
        x = np.array(numbers, dtype)
        given, cubes = subject.run(lambda x: (ops.pow(x, 2), ops.pow(x // 1000, 3)), x)
        assert given.dtype == dtype and given.tolist() == [n**2 for n in numbers], f"squares of {dtype} {numbers}: {given.tolist()}"
        assert cubes.tolist() == [(n // 1000) ** 3 for n in numbers], f"cubes of {dtype} {[n // 1000 for n in numbers]}: {cubes.tolist()}"


@pytest.mark.concerns("op", "floor_divide")
def test_division_of_floats_rounds_down(subject: Subject) -> None:
    """The quotient of floats is the floor of the exact one, not of the rounded one: 1 // 0.1 is 9; remainder and quotient belong together."""
    x, y = np.array([1.0, 0.3, 6.0, -1.0, 1.0, -7.5, 7.5, 0.9]), np.array([0.1, 0.1, 0.1, 0.1, -0.1, 2.0, -2.0, 0.3])
    for dtype in ("float32", "float64") if subject.best == "float64" else ("float32",):
        run_case(subject, dtype, "floor_divide", x, y)
        run_case(subject, dtype, "remainder", x, y)


@pytest.mark.concerns("op", "integers")
def test_promotion(subject: Subject) -> None:
    """Which dtype meets which: an integer with a float is that float, a Python number takes the tensor's dtype unless it is of a higher kind."""
    i32, i64, flag, x = np.array([1, -2], "int32"), np.array([3, 4], "int64"), np.array([True, False]), np.array([0.5, 2.0])
    f = subject.best
    given = subject.run(
        lambda a, b, c, x: (
            a + b, a + x, b * 2, b * 2.5, a / b, x * 3, c + 1, ops.where(c, a, b), ops.sum(c), ops.mean(b), ops.maximum(a, 0.5), ops.equal(a, 1.0), b + True,
        ),
        i32, i64, flag, x,
    )  # fmt: skip
    wanted = [
        (i32 + i64, "int64"), (i32 + x, f), (i64 * 2, "int64"), (i64 * 2.5, f), (i32 / i64, f), (x * 3, f), (flag + 1, "int64"), (np.where(flag, i32, i64), "int64"),
        (1, "int64"), (3.5, f), (np.maximum(i32, 0.5), f), (i32 == 1, "bool"), (i64 + 1, "int64"),
    ]  # fmt: skip
    for k, (a, (e, dtype)) in enumerate(zip(given, wanted, strict=True)):
        assert a.dtype == dtype, f"result {k} has dtype {a.dtype}, expected {dtype}"
        assert np.allclose(a, e, rtol=1e-6), f"result {k} is {a}, expected {e}"


@pytest.mark.concerns("op", "cast")
def test_casts(subject: Subject) -> None:
    """Floats become integers by truncation towards zero and booleans by ``!= 0``; a wide integer becomes the nearest float; float64 to float32 rounds."""
    x = np.array([2.7, -2.7, 0.4, -0.4, 0.0, 1e6 + 0.9])
    given = subject.run(lambda x: (ops.astype(x, "int64"), ops.astype(x, "int32"), ops.astype(x, "bool"), ops.astype(ops.astype(x, "bool"), "int32")), x)
    assert given[0].tolist() == given[1].tolist() == [2, -2, 0, 0, 0, 1000000]
    assert given[2].tolist() == [True, True, True, True, False, True] and given[3].tolist() == [1, 1, 1, 1, 0, 1]
    assert [g.dtype.name for g in given] == ["int64", "int32", "bool", "int32"]
    big = np.array([2**24 + 1, 2**31 + 5, -(2**40) - 1], "int64")
    given = subject.run(lambda i: ops.astype(i, "float32"), big)
    assert given.tolist() == big.astype("float32").tolist() and given.dtype == "float32"


# ---------------------------------------------------------------------------------------------- sizes known at run time only

N = Dim.symbol("N")
ANY_SIZE: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[int, ...]]] = {
    "sum": (lambda x: ops.sum(x, axis=0), lambda x: x.sum(0), (3,)),
    "mean": (lambda x: (ops.mean(x), ops.mean(x, axis=0), ops.mean(x, axis=1)), lambda x: (x.mean(), x.mean(0), x.mean(1)), (3,)),
    "var": (lambda x: ops.var(x, axis=0, correction=1), lambda x: x.var(0, ddof=1), (3,)),
    "max": (lambda x: (ops.max(x, axis=0), ops.max(x, axis=1)), lambda x: (x.max(0), x.max(1)), (3,)),
    "arg_max": (lambda x: ops.argmax(x, axis=0), lambda x: x.argmax(0), (3,)),
    "softmax": (lambda x: ops.softmax(x, axis=0), lambda x: scipy.special.softmax(x, axis=0), (3,)),
    "cumulative_sum": (lambda x: ops.cumulative_sum(x, axis=0), lambda x: np.cumsum(x, axis=0), (3,)),
    "reshape": (lambda x: (ops.reshape(x, (-1,)), ops.flatten(x, 1), ops.reshape(x, (x.shape[0] * 2, -1))), lambda x: (x.ravel(), x.reshape(len(x), -1), x.reshape(2 * len(x), -1)), (2, 3)),
    "permute_dims": (lambda x: ops.permute_dims(x, (1, 0)), lambda x: x.T, (3,)),
    "broadcast_to": (lambda x: (ops.broadcast_to(ops.sum(x), (x.shape[0], 2)), x + ops.zeros((x.shape[0], 1))), lambda x: (np.full((len(x), 2), x.sum()), x), (3,)),
    "concat": (lambda x: ops.concat([x, x * 2.0]), lambda x: np.concatenate([x, 2 * x]), (3,)),
    "slice": (lambda x: (x[:, 1:], x[-1], x[:, ::2]), lambda x: (x[:, 1:], x[-1], x[:, ::2]), (3,)),
    "pad_constant": (lambda x: ops.pad_constant(x, ((1, 0), (0, 2))), lambda x: np.pad(x, ((1, 0), (0, 2))), (3,)),
    "flip": (lambda x: ops.flip(x, axis=0), lambda x: x[::-1], (3,)),
    "iota": (lambda x: x * ops.astype(ops.expand_dims(ops.arange(x.shape[0]), 1), x.dtype), lambda x: x * np.arange(len(x))[:, None], (3,)),
    "extent": (lambda x: x * x.shape[0], lambda x: x * len(x), (3,)),
    "matmul": (lambda x: (ops.matmul(x, x.mT), ops.matmul(x.mT, x)), lambda x: (x @ x.T, x.T @ x), (3,)),
    "take": (lambda x: ops.take(x, np.array([0, 2, 2]), axis=1), lambda x: x[:, [0, 2, 2]], (3,)),
    "conv": (lambda x: ops.conv(x, np.ones((2, 3, 2, 2)), padding=1), lambda x: expected("conv", [x, np.ones((2, 3, 2, 2))], {"padding": 1})[0], (3, 4, 4)),
    "max_pool": (lambda x: ops.max_pool2d(x, 2), lambda x: expected("max_pool", [x, 2], {})[0], (3, 4, 4)),
    "avg_pool": (lambda x: ops.avg_pool2d(x, 3, 2, 1), lambda x: expected("avg_pool", [x, 3, 2, 1], {})[0], (3, 5, 4)),
    "batch_norm_training": (lambda x: ops.batch_norm_training(x), lambda x: expected("batch_norm_training", [x], {}), (3, 2)),
    "layer_norm": (lambda x: ops.layer_norm(x, (3,)), lambda x: expected("layer_norm", [x, (3,)], {})[0], (3,)),
    "attention": (lambda x: ops.scaled_dot_product_attention(x, x, x, is_causal=True), lambda x: expected("attention", [x, x, x], {"is_causal": True})[0], (4, 3)),
    "linear": (lambda x: ops.linear(x, np.ones((2, 3)), np.ones(2)), lambda x: x @ np.ones((3, 2)) + 1, (3,)),
}  # fmt: skip


@pytest.mark.parametrize("op", ANY_SIZE)
def test_any_batch_size(subject: Subject, op: str) -> None:
    """One program serves every batch size, in any order, with right answers at each."""
    function, wanted, shape = ANY_SIZE[op]
    compiled = subject.compile_specs(function, [TensorSpec((N, *shape), subject.best)], subject.best)
    for size in (4, 7, 2, 4):
        x = as_dtype(np.random.default_rng(size).standard_normal((size, *shape)), subject.best)
        with np.errstate(all="ignore"):
            answer = wanted(x)
        given = compiled(x)
        for i, (a, e) in enumerate(zip(*(v if isinstance(v, tuple) else (v,) for v in (given, answer)), strict=True)):
            assert not (found := difference(a, np.asarray(e, a.dtype), 8 * subject.tolerance(subject.best))), f"{op} at batch size {size}, result {i}: {found}"


@pytest.mark.parametrize("op", [n for n in ANY_SIZE if n not in ("arg_max", "iota")])
def test_gradients_at_any_batch_size(subject: Subject, op: str) -> None:
    """The same of gradients: by either way, the program for every size agrees with a program made for one size."""
    function, _, shape = ANY_SIZE[op]

    def gradient(x: Any) -> Any:
        def loss() -> Any:
            out = function(x)
            return sum(ops.sum(ops.sin(o)) for o in (out if isinstance(out, tuple) else (out,)))

        return value_and_grad(loss, wrt=x)

    for way in subject.ways:
        compiled = subject.compile_specs(gradient, [TensorSpec((N, *shape), subject.best)], subject.best, way)
        for size in (5, 3):
            x = as_dtype(np.random.default_rng(size).standard_normal((size, *shape)), subject.best)
            assert_close(compiled(x), subject.run(gradient, x, differentiation=way), 50 * subject.tolerance(subject.best), f"{op} ({way}) at batch size {size}")


# ------------------------------------------------------------------------------------------------------------ plain manners


@pytest.mark.concerns("op", "results")
def test_same_bits_twice(subject: Subject) -> None:
    """Equal inputs give equal bits, and inputs are left alone."""
    cases = [c for n in ("matmul", "conv", "softmax", "sum", "gelu", "layer_norm", "max_pool") for c in sample_cases(n)]
    arrays = [a for c in cases for a in c.in_dtype("float32")]
    before = [a.copy() for a in arrays]
    from unimodel_conformance.cases import compiled

    program = compiled(subject, cases, "float32", lambda case, tensors: case.call(tensors))
    first, second = program(*arrays), program(*arrays)
    assert_close(second, first, 0.0, "the second run")
    for a, b in zip(arrays, before, strict=True):
        assert np.array_equal(a, b), "an input array was changed"


@pytest.mark.concerns("op", "results")
def test_results_are_the_callers(subject: Subject) -> None:
    """What is read back is the caller's own: writable, of NumPy, not overwritten by the next run, and not a view of an input."""
    fixed = np.array([7.0, 8.0], "float32")

    def function(x: Any) -> Any:
        return x * 2.0, x, ops.reshape(x, (4,)), ops.sum(x), ops.ones((2,)), ops.asarray(fixed), ops.sum(x, axis=()), ops.broadcast_to(x[0], (3, 2))

    compiled = subject.compile(function, [np.ones((2, 2), "float32")], "float32")
    x = np.arange(4, dtype="float32").reshape(2, 2)
    first = compiled(x)
    kept = [a.copy() for a in first]
    x[...] = 77
    compiled(x)
    for a, b in zip(first, kept, strict=True):
        assert type(a) is np.ndarray, f"a result is a {type(a).__name__}"
        assert np.array_equal(a, b), "a result changed after it was read"
        a[...] = -5
    again = compiled(np.arange(4, dtype="float32").reshape(2, 2))
    assert_close(again, tuple(kept), 0.0, "after results were overwritten")

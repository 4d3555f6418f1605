"""The functions and methods for arrays: that the Array API's are all there, what they refuse, and grouped-query attention against PyTorch.

Their numbers are the conformance suite's to check, on every backend.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import ops
from unimodel.errors import ShapeError, TraceError, UnsupportedError

STANDARD = """
    arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like tril triu zeros zeros_like
    astype broadcast_arrays broadcast_to can_cast finfo iinfo isdtype result_type
    abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert bitwise_or bitwise_right_shift bitwise_xor ceil clip conj copysign cos
    cosh divide equal exp expm1 floor floor_divide greater greater_equal hypot imag isfinite isinf isnan less less_equal log log1p log2 log10 logaddexp logical_and
    logical_not logical_or logical_xor maximum minimum multiply negative not_equal positive pow real remainder round sign signbit sin sinh square sqrt subtract tan
    tanh trunc take matmul matrix_transpose tensordot vecdot cholesky cross det diagonal eigh eigvalsh inv matrix_norm matrix_power matrix_rank outer pinv qr slogdet
    solve svd svdvals trace vector_norm concat expand_dims flip moveaxis permute_dims repeat reshape roll squeeze stack tile unstack argmax argmin nonzero searchsorted
    where unique_all unique_counts unique_inverse unique_values argsort sort cumulative_sum max mean min prod std sum var all any
    count_nonzero cumulative_prod diff nextafter reciprocal take_along_axis
"""
"""The functions of the Array API standard 2023.12, and of 2024.12 in the last line (https://data-apis.org/array-api/2024.12/API_specification/index.html)."""

ABSENT = {
    "empty": "a tensor of no particular numbers has no place in a graph that gives the same ones everywhere",
    "empty_like": "as empty",
    "from_dlpack": "arrays come in as NumPy's",
    "conj": "there are no complex numbers",
    "imag": "there are no complex numbers",
    "real": "there are no complex numbers",
    "nextafter": "it has no gradient and MXNet no kernel for it",
}


@pytest.mark.parametrize("name", STANDARD.split())
def test_the_standards_functions_are_there(name: str) -> None:
    assert hasattr(ops, name) != (name in ABSENT), ABSENT.get(name, f"um.ops.{name} is missing")
    if name not in ABSENT:
        assert getattr(ops, name).__doc__, f"um.ops.{name} has no docstring"


def run(function: Any, *arrays: Any) -> Any:
    return um.run(function, *arrays, backend="numpy")


X, V, I = np.arange(12.0).reshape(3, 4), np.arange(4.0), np.array([[0, 1], [1, 0]])  # noqa: E741  indices


@pytest.mark.parametrize("name", ["nonzero", "argwhere", "masked_select", "unique", "unique_all", "unique_counts", "unique_inverse", "unique_values"])
def test_shapes_that_depend_on_values_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{name} has a result whose shape depends on the values") as caught:
        run(lambda x: getattr(ops, name)(x), X)
    assert "um.ops." in str(caught.value).split("remedy")[1]


def test_indexing_by_a_mask_names_where() -> None:
    with pytest.raises(ShapeError, match="this is no index") as caught:
        run(lambda x: x[x > 2.0], X)
    assert "um.ops.where" in str(caught.value)


@pytest.mark.parametrize("mode", ["set", "add", "multiply", "divide"])
def test_updating_where_a_mask_says(mode: str) -> None:
    mask, rows = X > 0.1, np.arange(X.shape[0]) % 2 == 0
    change = {"set": lambda x, v: v + 0 * x, "add": np.add, "multiply": np.multiply, "divide": np.divide}[mode]
    np.testing.assert_allclose(run(lambda x: getattr(x.at[x > 0.1], mode)(3.0), X), np.where(mask, change(X, 3.0), X), rtol=1e-6)
    np.testing.assert_allclose(run(lambda x: getattr(x.at[rows], mode)(2.0 * x + 5.0), X), np.where(rows[:, None], change(X, 2 * X + 5), X), rtol=1e-5)


def test_a_mask_of_another_shape_is_refused() -> None:
    for key, value in ((np.ones(X.shape[0] + 1, bool), 1.0), (np.ones(X.shape, bool), np.ones((2, *X.shape)))):
        with pytest.raises(ShapeError, match="a mask has the shape of what it chooses from"):
            run(lambda x, key=key, value=value: x.at[key].set(value), X)


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (3, 3), (2, 4, 2), (2, 2, 4)])
def test_least_squares_are_numpys(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(shape), rng.standard_normal((*shape[:-1], 2))
    x, left = run(lambda a, b: tuple(ops.lstsq(a, b)), a, b)
    np.testing.assert_allclose(x, np.linalg.pinv(a) @ b, atol=1e-12)
    np.testing.assert_allclose(left, ((b - a @ x) ** 2).sum(-2), atol=1e-12)
    if len(shape) == 2:
        np.testing.assert_allclose(run(lambda a, b: ops.lstsq(a, b).solution, a, b[:, 0]), x[:, 0], atol=1e-12)
    with pytest.raises(ShapeError, match="another number of rows"):
        run(lambda a, b: ops.lstsq(a, b).solution, a, b[..., 1:, :])


@pytest.mark.parametrize("p", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_condition_numbers_are_numpys(p: Any) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 3))
    np.testing.assert_allclose(run(lambda x: ops.matrix_cond(x, p), x), [np.linalg.cond(m, p) for m in x], rtol=1e-9)


def test_what_is_among_the_elements() -> None:
    x = np.array([[1, 5, 2], [7, 2, 0]])
    for invert in (False, True):
        np.testing.assert_array_equal(run(lambda x, invert=invert: ops.isin(x, np.array([2, 7]), invert=invert), x), np.isin(x, [2, 7], invert=invert))


def test_functions_with_the_rank_in_their_name_are_those_of_any_rank() -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 6, 6))
    values, indices = run(lambda x: ops.adaptive_max_pool2d(x, 3, return_indices=True), x)
    np.testing.assert_array_equal(values, run(lambda x: ops.max_pool2d(x, 2), x))
    np.testing.assert_array_equal(run(lambda v, i: ops.max_unpool2d(v, i, 2), values, indices).sum(), values.sum())
    np.testing.assert_array_equal(run(lambda x: ops.adaptive_avg_pool2d(x, 2), x), ops.avg_pool2d(x, 3))
    np.testing.assert_allclose(run(lambda x: ops.lp_pool2d(x, 2.0, 2), x), np.sqrt(4 * ops.avg_pool2d(x * x, 2)), rtol=1e-12)
    assert ops.dropout2d(x, 0.5, training=False) is x and ops.feature_alpha_dropout(x, 0.5, training=False) is x


def test_writing_in_place_names_at() -> None:
    def function(x: Any) -> Any:
        x[0] = 1.0
        return x

    with pytest.raises(TraceError, match="cannot be changed in place") as caught:
        run(function, X)
    assert "x.at[key].set(value)" in str(caught.value)


REFUSED = {
    "several shifts need as many axes": lambda x: ops.roll(x, (1, 2)),
    "each axis needs a shift": lambda x: ops.roll(x, (1, 2), (0,)),
    "each element needs a count": lambda x: ops.repeat(x, [1, 2], 0),
    "the part goes past the end": lambda x: ops.narrow(x, 0, 2, 2),
    "this indexing is not known": lambda x: ops.meshgrid(x[0], indexing="yx"),
    "coordinates of an axis are 1-d": lambda x: ops.meshgrid(x),
    "fewer elements than asked for": lambda x: ops.topk(x, 5),
    "there is no such element": lambda x: ops.kthvalue(x, 0),
    "a quantile asks for a share": lambda x: ops.quantile(x, 1.5),
    "a side is left or right": lambda x: ops.searchsorted(x[0], x, side="middle"),
    "as many dimensions as the input": lambda x: ops.gather(x, 0, I[0]),
    "this update is not known": lambda x: ops.index_update(x, 0, 1.0, "append"),
    "bits are those of integers": lambda x: x & 1,
    "outer takes vectors": lambda x: ops.outer(x, x),
    "the axes that are summed over": lambda x: ops.tensordot(x, x, axes=([0], [1])),
    "each operand needs its indices": lambda x: ops.einsum("ij,jk", x),
    "the indices are not those of the operand": lambda x: ops.einsum("ijk->i", x),
    "must be one of an operand": lambda x: ops.einsum("ij->ik", x),
    "has two sizes": lambda x: ops.einsum("ij,jk->ik", x, x),
    "a diagonal needs a matrix": lambda x: ops.diagonal(x[0]),
    "vectors of three numbers": lambda x: ops.cross(x, x),
    "both need as many dimensions": lambda x: ops.kron(x, x[0]),
    "this norm is not known": lambda x: ops.matrix_norm(x, ord=3),
    "the matrix must be square": lambda x: ops.cholesky(x),
    "must have the matrix's rows": lambda x: ops.solve(x[:, :3], x[:2]),
    "each head of key and value": lambda x: ops.scaled_dot_product_attention(*(ops.zeros((heads, 2, 4)) for heads in (3, 2, 2)), enable_gqa=True),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_is_refused_while_tracing(message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        run(REFUSED[message], X)


def test_pytorchs_names_of_arguments_are_taken() -> None:
    for name in ("sum", "softmax", "std", "argmax", "sort", "squeeze"):
        x = X[:1] if name == "squeeze" else X
        function = getattr(ops, name)
        np.testing.assert_array_equal(function(x, dim=0), function(x, axis=0), err_msg=name)
    np.testing.assert_array_equal(ops.mean(X, dim=1, keepdim=True), ops.mean(X, axis=1, keepdims=True))
    np.testing.assert_array_equal(ops.concat([X, X], dim=1), np.concatenate([X, X], axis=1))
    np.testing.assert_array_equal(ops.stack([X, X], dim=1), np.stack([X, X], axis=1))


def test_methods_are_the_ops_of_their_names() -> None:
    """One program of all of them, against NumPy."""
    names = [
        "abs",
        "ceil",
        "cos",
        "erf",
        "exp",
        "expm1",
        "floor",
        "isfinite",
        "isnan",
        "log",
        "log1p",
        "neg",
        "reciprocal",
        "relu",
        "round",
        "rsqrt",
        "sigmoid",
        "sign",
        "sin",
        "sqrt",
        "square",
        "tanh",
    ]
    given = run(lambda x: tuple(getattr(x, n)() for n in names), X + 0.5)
    wanted = run(lambda x: tuple(getattr(ops, {"neg": "negative"}.get(n, n))(x) for n in names), X + 0.5)
    for a, b in zip(given, wanted, strict=True):
        np.testing.assert_array_equal(a, b)

    def others(x: Any, v: Any) -> Any:
        return (
            x.T, x.mT, x.view(2, -1), x.view_as(x.T), x.permute(1, 0), x.transpose(0, 1), x.flatten(), x.unflatten(1, (2, 2)), x.unsqueeze(0), x.unsqueeze(0).squeeze(),
            v.expand(3, -1), v.expand_as(x), v.repeat(2, 1), v.repeat_interleave(2), *x.split(2, 1), *x.chunk(2, 1), *x.unbind(), x.roll(1, 0), x.flip(0), x.contiguous(),
            x.sum(dim=1, keepdim=True), x.sum(1), x.mean(axis=0), x.prod(dim=0), x.max(dim=1)[0], x.min(), x.amax(1), x.amin(0), (x > 3).all(), (x > 3).any(dim=1),
            x.argmax(dim=1), x.argmin(0), x.logsumexp(dim=1), x.median(), x.var(dim=0, correction=1), x.std(correction=0), x.norm(dim=1), x.cumsum(1), x.cumprod(0),
            x.clamp(2.0, 5.0), x.pow(2), x.softmax(1), x.log_softmax(1), x.where(x > 3, 0.0), x.masked_fill(x > 3, 0.0), x.matmul(v), x.mm(x.T), x.tril(), x.triu(1),
            *x.sort(descending=True), x.argsort(), *x.topk(2), x.gather(0, I), x.scatter(0, I, 9.0), x.scatter_add(0, I, 1.0), x.index_select(1, np.array([2, 0])),
            x.index_add(0, np.array([0, 0]), x[:2]), x.float(), x.long(), x.bool(), x.to("int32"), x.type_as(x.long()), x.detach(), x.at[0, 1].set(7.0), x.ndim + x * 0.0,
        )  # fmt: skip

    results = run(others, X, V)
    e = np.exp(X - X.max(1, keepdims=True))
    scattered, added = X.copy(), X.copy()
    for i in range(2):
        for j in range(2):
            scattered[I[i, j], j] = 9.0
            added[I[i, j], j] += 1
    at = X.copy()
    at[0, 1] = 7.0
    wanted = (
        X.T, X.T, X.reshape(2, -1), X.reshape(4, 3), X.T, X.T, X.ravel(), X.reshape(3, 2, 2), X[None], X,
        np.tile(V, (3, 1)), np.tile(V, (3, 1)), np.tile(V, (2, 1)), np.repeat(V, 2), X[:, :2], X[:, 2:], X[:, :2], X[:, 2:], *X, np.roll(X, 1, 0), X[::-1], X,
        X.sum(1, keepdims=True), X.sum(1), X.mean(0), X.prod(0), X.max(1), X.min(), X.max(1), X.min(0), False, (X > 3).any(1),
        X.argmax(1), X.argmin(0), np.log(np.exp(X).sum(1)), 5.0, X.var(0, ddof=1), X.std(), np.linalg.norm(X, axis=1), X.cumsum(1), X.cumprod(0),
        X.clip(2, 5), X**2, e / e.sum(1, keepdims=True), np.log(e / e.sum(1, keepdims=True)), np.where(X > 3, X, 0), np.where(X > 3, 0, X), X @ V, X @ X.T, np.tril(X), np.triu(X, 1),
        X[:, ::-1], np.tile([3, 2, 1, 0], (3, 1)), np.tile([0, 1, 2, 3], (3, 1)), X[:, :1:-1], np.tile([3, 2], (3, 1)), np.take_along_axis(X[:, :2], I, 0), scattered, added, X[:, [2, 0]],
        X + np.array([[1.0], [0], [0]]) * (X[0] + X[1]), X, X, X != 0, X, X, X, at, np.full_like(X, 2),
    )  # fmt: skip
    for i, (a, b) in enumerate(zip(results, wanted, strict=True)):
        np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=f"result {i}")


def test_sizes_as_pytorch_says_them() -> None:
    def function(x: Any) -> Any:
        assert (x.dim(), x.numel(), x.size(), x.size(1)) == (2, 12, (3, 4), 4)
        return x

    run(function, X)


def test_einsum_of_any_batch_size() -> None:
    class Net(um.Model):
        def forward(self, x: Any) -> Any:
            return ops.einsum("bi,ij,bj->b", x, np.eye(3), x)

    trainer = um.Trainer(Net(), backend="numpy")
    for size in (2, 5):
        x = np.random.default_rng(size).standard_normal((size, 3)).astype("float32")
        np.testing.assert_allclose(trainer.predict(x), (x * x).sum(1), rtol=1e-5)


def test_grouped_query_attention_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((2, 6, 4, 3)), rng.standard_normal((2, 2, 5, 3)), rng.standard_normal((2, 2, 5, 3))
    given = run(lambda q, k, v: ops.scaled_dot_product_attention(q, k, v, scale=0.3, enable_gqa=True), q, k, v)
    wanted = torch.nn.functional.scaled_dot_product_attention(*map(torch.tensor, (q, k, v)), scale=0.3, enable_gqa=True)
    np.testing.assert_allclose(given, wanted.numpy(), rtol=1e-10, atol=1e-12)

"""Sizes at which a backend may change to another kernel: tens of thousands of elements, and matrices and images that are worth a library's overhead.

Small cases, of which the other files are made, do not reach kernels that are chosen by size. Here every kind of kernel is run large, in float32 and with gradients, beside the
float64 NumPy reference, which has no such choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import ops, value_and_grad
from unimodel.backend import Capability
from unimodel.graph import Array
from unimodel_conformance.subject import Subject, as_dtype, difference
from unimodel_conformance.tables import MATRICES_ONLY, OPTIMIZERS, Entry
from unimodel_conformance.test_ops import _reference
from unimodel_conformance.test_optimizers import make

pytestmark = pytest.mark.concerns("op", "large arrays")


def _normal(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).standard_normal(shape)


def _labels(count: int, classes: int) -> Array:
    return np.random.default_rng(3).integers(0, classes, count)


WIDE = (150, 257)
"""38,550 elements, in rows that no vector unit divides."""
LARGE: dict[str, tuple[Callable[..., Any], list[Array]]] = {
    "elementwise": (lambda x: {"relu": ops.relu(x), "tanh": ops.tanh(x), "sigmoid": ops.sigmoid(x), "exp": ops.exp(x), "abs": ops.abs(x)}, [_normal(*WIDE)]),
    "arithmetic": (lambda x, y: (x * y + 1.5, x - 2.0 * y, x / (y * y + 1.0), x**2, ops.maximum(x, y)), [_normal(*WIDE), _normal(*WIDE)[::-1]]),
    "activations": (lambda x: {"gelu": ops.gelu(x), "gelu by tanh": ops.gelu(x, approximate="tanh"), "silu": ops.silu(x), "softplus": ops.softplus(x)}, [_normal(*WIDE)]),
    "broadcasting": (lambda x, row, column: (x + row, x * column, ops.where(x > column, x, row)), [_normal(*WIDE), _normal(257), _normal(150, 1)]),
    "reductions": (lambda x: (ops.sum(x, axis=0), ops.sum(x, axis=1), ops.mean(x), ops.max(x, axis=0), ops.var(x, axis=1), ops.logsumexp(x, axis=1)), [_normal(*WIDE)]),
    "softmax": (lambda x: (ops.softmax(x, axis=1), ops.log_softmax(x, axis=1), ops.softmax(x, axis=0)), [_normal(*WIDE)]),
    "moved": (lambda x: (ops.permute_dims(x, (1, 0)), ops.flip(x, axis=0), ops.concat([x, x[:, :100]], axis=1), ops.reshape(x, (257, 150))), [_normal(*WIDE)]),
    "cut": (lambda x: (x[::2, 5:200:3], ops.cumulative_sum(x, axis=1), ops.pad_constant(x, ((1, 2), (0, 3)))), [_normal(*WIDE)]),
    "matmul": (lambda a, b: (ops.matmul(a, b), ops.matmul(b.T, a.T), ops.matmul(a, a.T)), [_normal(130, 96), _normal(96, 70)]),
    "batches of matrices": (lambda a, b: (ops.matmul(a, b), ops.matmul(a, b[0])), [_normal(6, 40, 33), _normal(6, 33, 50)]),
    "linear": (lambda x, w, b: ops.linear(x, w, b), [_normal(128, 60), _normal(90, 60), _normal(90)]),
    "conv": (lambda x, w: ops.relu(ops.conv(x, w, padding=1)), [_normal(4, 8, 24, 24), _normal(16, 8, 3, 3) / 8]),
    "grouped and strided conv": (lambda x, w: ops.conv(x, w, stride=2, padding=1, groups=4), [_normal(4, 8, 24, 24), _normal(16, 2, 3, 3) / 8]),
    "pooling": (lambda x: (ops.max_pool2d(x, 2), ops.avg_pool2d(x, 3, 2, 1), ops.max_pool2d(x, 3, 2, 1)), [_normal(4, 8, 24, 24)]),
    "norms": (lambda x, w: (ops.layer_norm(x, (257,), w, w), ops.batch_norm_training(x, w, w)[0]), [_normal(*WIDE), _normal(257)]),
    "norms of images": (lambda x, w: (ops.batch_norm_training(x, w, w)[0], ops.batch_norm_inference(x, w, w * w + 0.5, w, w)), [_normal(8, 8, 20, 20), _normal(8)]),
    "rows by index": (lambda w: (ops.take(w, _labels(500, 150)), ops.embedding(_labels(500, 150), w)), [_normal(*WIDE)]),
    "elements by index": (lambda x: ops.take_along_axis(x, _labels(150 * 40, 257).reshape(150, 40), axis=1), [_normal(*WIDE)]),
    "cross_entropy": (lambda x: ops.cross_entropy(x, _labels(150, 257))[0], [_normal(*WIDE)]),
    "attention": (lambda q, k: ops.scaled_dot_product_attention(q, k, k, is_causal=True), [_normal(2, 4, 64, 16), _normal(2, 4, 64, 16)[::-1]]),
}  # fmt: skip  # a table reads better in rows


@pytest.mark.parametrize("what", LARGE)
def test_large(subject: Subject, what: str) -> None:
    """Values, and where the backend trains gradients by each way, in float32."""
    function, arrays = LARGE[what]
    rounded = [as_dtype(a, "float32") for a in arrays]

    def values(*xs: Any) -> Any:
        return _named(function(*xs))

    def gradients(*xs: Any) -> Any:
        """Of each result, since one sum of all would hide a small one's."""
        return {f"{name}, input {i}": g for name in _named(function(*xs)) for i, g in enumerate(_gradients(function, name, xs)) if g is not None}

    wanted = _reference(subject).run(values, *rounded, dtype="float64")
    _compare(subject.run(values, *rounded, dtype="float32"), wanted, what, 20 * subject.tolerance("float32"))
    if subject.ways:
        wanted = _reference(subject).run(gradients, *rounded, dtype="float64", differentiation="core")
    for way in subject.ways:
        _compare(
            subject.run(gradients, *rounded, dtype="float32", differentiation=way), wanted, f"gradient of {what} ({way})", 100 * subject.tolerance("float32")
        )


def _named(results: Any) -> dict[str, Any]:
    if isinstance(results, dict):
        return results
    return {f"result {i}": r for i, r in enumerate(results if isinstance(results, tuple) else (results,))}


def _gradients(function: Callable[..., Any], name: str, xs: Any) -> Any:
    """Those of one result's sum, each element of it with a weight of its own."""

    def weighted() -> Any:
        out = _named(function(*xs))[name]
        return ops.sum(out * np.cos(0.37 * np.arange(int(np.prod(out.shape)))).reshape(out.shape))

    return value_and_grad(weighted, wrt=list(xs))[1]


def _compare(given: Any, wanted: Any, what: str, tolerance: float) -> None:
    for name, e in wanted.items():
        found = difference(given[name], np.asarray(e).astype(given[name].dtype), tolerance)
        assert not found, f"{what} at large sizes, {name}: {found}"


@pytest.mark.concerns("op", "large arrays")
def test_large_with_nan_and_infinity(subject: Subject) -> None:
    """A fast kernel loses neither NaN nor infinity, and spreads them to no other element."""
    x = as_dtype(_normal(*WIDE), "float32")
    x[3, 7], x[100, 200], x[149, 256] = np.nan, np.inf, -np.inf
    functions: dict[str, Any] = {
        "relu": ops.relu, "abs": ops.abs, "maximum": lambda v: ops.maximum(v, 0.5), "tanh": ops.tanh, "sum": lambda v: ops.sum(v, axis=0), "max": lambda v: ops.max(v, axis=1),
        "leaky_relu": ops.leaky_relu, "multiply": lambda v: v * 2.0,
    }  # fmt: skip  # a table reads better in rows
    given = subject.run(lambda v: [f(v) for f in functions.values()], x, dtype="float32")
    wanted = _reference(subject).run(lambda v: [f(v) for f in functions.values()], x, dtype="float64")
    for name, a, e in zip(functions, given, wanted, strict=True):
        found = difference(a, e.astype("float32"), 20 * subject.tolerance("float32"))
        assert not found, f"{name} of a large array with NaN and infinities: {found}"


class Wide(um.Model):
    """Matrices large enough for a kernel of their own, and a bias that is not."""

    def __init__(self, matrices_only: bool, rows: int) -> None:
        self.first = um.Parameter((rows, 150), um.init.uniform(-0.1, 0.1))
        self.second = um.Parameter((8, rows), um.init.uniform(-0.1, 0.1))
        if not matrices_only:
            self.bias = um.Parameter((rows,), um.init.uniform(-0.1, 0.1))
        self.matrices_only = matrices_only

    def forward(self, x: Any) -> Any:
        h = x @ self.first.T
        return ops.tanh(h if self.matrices_only else h + self.bias) @ self.second.T


class WideBench(um.Trainer):
    """Trains each of several models with its own optimizer on the same batch, all in one program."""

    def step(self, batch: Any) -> dict[str, Any]:
        found = {}
        for name, optimizer in self.optimizers.items():
            model = self.models[name]
            found[name], grads = um.value_and_grad(lambda model=model: ops.mean(model(batch) ** 2), wrt=list(model.parameters()))
            optimizer.update(grads)
        return found


@pytest.mark.needs(Capability.TRAINING)
@pytest.mark.concerns("optimizer")
@pytest.mark.parametrize("name", sorted({e.name for e in OPTIMIZERS}))
def test_large_parameters(subject: Subject, name: str) -> None:
    """Each optimizer, with every set of options there is a golden case for, moves large parameters in float32 as the reference does in float64.

    By 1e-3 of the norm of the movement: elements whose gradient is nearly 0 go where rounding says.
    """
    entries = [e for e in OPTIMIZERS if e.name == name]
    batches = [_normal(16, 150) * (1.0 + 0.5 * i) for i in range(4)]
    given, wanted = (_steps(entries, batches, backend, precision) for backend, precision in ((None, "float32"), ("numpy", "float64")))
    for entry in entries:
        for parameter, path in wanted[entry.id].items():
            start, *after = path
            for step, (a, e) in enumerate(zip(given[entry.id][parameter][1:], after, strict=True), 1):
                moved, error = float(np.linalg.norm(e - start)), float(np.linalg.norm(a - e))
                assert error <= 1e-3 * moved, f"{entry.id}, {parameter} {e.shape} after step {step}: off by {error / moved:.1e} of what it has moved"


def _steps(entries: list[Entry], batches: list[Array], backend: str | None, precision: str) -> dict[str, dict[str, list[Array]]]:
    """Of each entry's model, every parameter at the start and after each step."""
    # Adam's parameters are large enough for updates in several pieces; of optimizers that go by signs, more elements have more that are nearly 0
    models = {e.id: Wide(e.name in MATRICES_ONLY, 450 if e.name in ("Adam", "AdamW") else 130) for e in entries}
    bench = WideBench(models, optimizer={e.id: make(e) for e in entries}, backend=backend, precision=precision)
    found = {e.id: {n: [a] for n, a in models[e.id].state_dict().items()} for e in entries}
    for batch in batches:
        bench.train_step(batch)
        for entry in entries:
            for parameter, array in models[entry.id].state_dict().items():
                found[entry.id][parameter].append(array)
    return found


class Table(um.Model):
    """A table of which a step reads few rows, some of them twice."""

    def __init__(self) -> None:
        self.rows = um.nn.Embedding(1100, 64)

    def forward(self, indices: Any) -> Any:
        return ops.sum(self.rows(indices), axis=1)


@pytest.mark.needs(Capability.TRAINING)
@pytest.mark.concerns("optimizer", "large arrays")
@pytest.mark.parametrize("options", [{}, {"maximize": True}, {"weight_decay": 0.1}, {"momentum": 0.9}], ids=repr)
def test_rows_of_a_large_table(subject: Subject, options: dict[str, Any]) -> None:
    """A gradient may leave out the rows that are 0 only where an update leaves those alone; rows that are read twice move twice as far."""
    batches = [np.random.default_rng(i).integers(10 * i, 10 * i + 30, (40, 3)) for i in range(3)]
    found = {}
    for backend, precision in ((None, "float32"), ("numpy", "float64")):
        trainer = um.Trainer(Table(), um.losses.MSELoss(), um.optim.SGD(lr=0.5, **options), backend=backend, precision=precision, seed=1)
        start = trainer.model.state_dict()["rows.weight"]
        for batch in batches:
            trainer.train_step((batch, np.ones((40, 64), precision)))
        found[precision] = start, trainer.model.state_dict()["rows.weight"]
    (start, given), (_, wanted) = found["float32"], found["float64"]
    failed = difference(given, wanted.astype("float32"), 20 * subject.tolerance("float32"))
    assert not failed, f"a table under SGD({options}): {failed}"
    assert options or np.array_equal(given[60:], start[60:]), "rows that were never read have moved"


class Remembering(um.Trainer):
    """A trainer whose steps also return the weight as it was before."""

    def step(self, batch: Any) -> dict[str, Any]:
        before = self.model.weight + 0.0
        return {**super().step(batch), "before": before}


@pytest.mark.needs(Capability.TRAINING)
@pytest.mark.concerns("optimizer", "large arrays")
@pytest.mark.parametrize("optimizer", [um.optim.SGD(lr=0.5, momentum=0.9), um.optim.Adam()], ids=lambda o: type(o).__name__)
def test_what_a_large_parameter_was_before_a_step(subject: Subject, optimizer: Any) -> None:
    """An update in place changes the parameter, and nothing that a step has returned of it."""
    trainer = Remembering(um.nn.Linear(150, 150), um.losses.MSELoss(), optimizer, seed=1)
    batch = _normal(8, 150), np.ones((8, 150))
    for _ in range(2):
        before = trainer.model.state_dict()["weight"]
        returned, after = trainer.train_step(batch)["before"], trainer.model.state_dict()["weight"]
        assert np.array_equal(returned, before) and not np.array_equal(after, before)

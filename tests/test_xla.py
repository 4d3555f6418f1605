"""TensorFlow's XLA is refused where it would compute something else, and falls back for the batches it has not been compiled for."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import ops, reuse
from unimodel.errors import UnsupportedError

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

X = np.random.default_rng(0).standard_normal((6, 4)).astype("float32")


class Of(um.Model):
    def __init__(self, function: Any) -> None:
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("cast", lambda x: ops.astype(x, "int64")),
        ("floor_divide", lambda x: ops.floor_divide(ops.astype(x > 0, "int64"), 2)),
        ("take", lambda x: ops.take(x, ops.astype(x[:, 0] > 0, "int64") * 7, axis=1)),
    ],
)
def test_what_means_something_else_is_refused(name: str, function: Any) -> None:
    with pytest.raises(UnsupportedError, match=f"{name} means something else under XLA(.|\n)*test_xla.py(.|\n)*leave out compile='xla'"):
        um.Trainer(Of(function), backend="tensorflow", compile="xla").predict(X)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.max(x, axis=1),
        lambda x: ops.min(x),
        lambda x: ops.maximum(x, x[::-1]),
        lambda x: ops.minimum(x[::-1], x),
        lambda x: um.value_and_grad(lambda: ops.relu(x).sum(), wrt=x)[1],
    ],
)
def test_nan_is_what_it_is_without_a_compiler(function: Any) -> None:
    x = X.copy()
    x[2, 1] = np.nan
    plain, compiled = (um.Trainer(Of(function), backend="tensorflow", compile=c).predict(x) for c in ("none", "xla"))
    np.testing.assert_array_equal(plain, compiled)


@pytest.mark.parametrize(("window", "stride"), [((2, 2), (2, 2)), ((2, 3), (2, 3)), ((3, 3), (2, 2))])
def test_pooling_is_what_it_is_without_a_compiler(window: Any, stride: Any) -> None:
    """Disjoint windows are not XLA's own pooling: NaN, windows of -inf, ties, and sizes that windows do not divide."""
    x = np.random.default_rng(0).integers(0, 4, (2, 3, 9, 8)).astype("float32")
    x[1, 2, :4, :4] = -np.inf

    def pooled(x: Any) -> Any:
        return ops.max_pool2d(x, window, stride)

    def gradient(x: Any) -> Any:
        return um.value_and_grad(lambda: (pooled(x) * np.arange(1.0, 1.0 + pooled(x).shape[-1])).sum(), wrt=x)[1]

    for function in (pooled, gradient):
        plain, compiled = (um.Trainer(Of(function), backend="tensorflow", compile=c).predict(x) for c in ("none", "xla"))
        np.testing.assert_array_equal(plain, compiled)
    x[0, 1, 2, 3] = np.nan
    plain, compiled = (um.Trainer(Of(pooled), backend="tensorflow", compile=c).predict(x) for c in ("none", "xla"))
    np.testing.assert_array_equal(plain, compiled)
    assert np.isnan(compiled).sum() == np.isnan(plain).sum() > 0


def test_another_batch_size_is_not_compiled_anew() -> None:
    trainer = um.Trainer(um.nn.Linear(4, 2), backend="tensorflow", compile="xla")
    whole = trainer.predict(X)
    ((_, program),) = trainer._um_runtime.programs()
    assert "_function" not in vars(program.executable)
    np.testing.assert_allclose(trainer.predict(X[:2]), whole[:2], rtol=1e-6)
    assert "_function" in vars(program.executable), "the second size did not run the function without XLA"


def weights_after_a_step(compile: str) -> Any:
    trainer = um.Trainer(um.nn.Linear(4, 3), um.losses.MSELoss(), um.optim.SGD(lr=0.1), backend="tensorflow", compile=compile, seed=3)
    trainer.train_step((X, X[:, :3] * 2))
    return trainer.model.state_dict()["weight"], trainer


def test_a_transposed_factor_of_a_product_is_written_out_with_or_without_the_private_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight's gradient is one."""
    plain, _ = weights_after_a_step("none")
    for gone in (False, True):
        reuse.forget()
        if gone:
            monkeypatch.setitem(sys.modules, "tensorflow.compiler.tf2xla.ops.gen_xla_ops", None)
        compiled, trainer = weights_after_a_step("xla")
        np.testing.assert_allclose(compiled, plain, rtol=1e-5, atol=1e-7)
        ((_, program),) = trainer._um_runtime.programs()
        written = {op.type for op in program.executable._first.concrete.graph.get_operations()}
        assert ("XlaOptimizationBarrier" in written) is not gone

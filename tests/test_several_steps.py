"""Several steps as one graph are the steps one by one."""

from __future__ import annotations

import numpy as np
import pytest

import unimodel as um
from unimodel.backend import CompileOptions
from unimodel.passes.steps import several_steps

X = np.random.default_rng(0).standard_normal((5, 8, 3)).astype("float32")
Y = X.sum(-1, keepdims=True)


def trainer(backend: str) -> um.Trainer:
    model = um.nn.Sequential(um.nn.Linear(3, 4), um.nn.BatchNorm1d(4), um.nn.Tanh(), um.nn.Dropout(0.3), um.nn.Linear(4, 1))
    return um.Trainer(model, um.losses.MSELoss(), um.optim.Adam(lr=0.02), backend=backend)


def test_unrolled_steps_leave_the_same_state_and_results() -> None:
    one, many = trainer("numpy"), trainer("numpy")
    many.train_step((X[0], Y[0]))
    one.train_step((X[0], Y[0]))
    ((_, program),) = many._um_runtime.programs()
    runtime = many._um_runtime
    together = runtime.backend.compile(several_steps(program.traced.graph, 4), runtime.store, CompileOptions("core"))
    batches, numbers = [], []
    for x, y in zip(X[1:], Y[1:], strict=True):
        batches += program.arrange([x, y], runtime.seed, many._um_steps)
        numbers += program.numbers()
        many.optimizer.advance([[]])
        many._um_steps += 1
    losses = [float(a) for a in together.read(together.run(batches, numbers))]
    assert losses == [float(one.train_step((x, y))["loss"]) for x, y in zip(X[1:], Y[1:], strict=True)]
    for name, array in one.model.state_dict().items():
        assert np.array_equal(many.model.state_dict()[name], array), name


@pytest.mark.parametrize("backend", ["mxnet", "torch", "tensorflow"])
def test_fit_is_its_steps_to_the_bit(backend: str) -> None:
    """38 batches: two calls of sixteen, and what is left; the last batch is smaller."""
    pytest.importorskip(backend, reason=f"{backend} is not installed") if backend != "mxnet" else pytest.importorskip("unimodel_mxnet", reason="no MXNet")
    x, y = np.concatenate([X.reshape(-1, 3)] * 8)[:301], np.concatenate([Y.reshape(-1, 1)] * 8)[:301]
    fitted, stepped = trainer(backend), trainer(backend)
    fitted.fit((x, y), batch_size=8, shuffle=False, verbose=False)
    for i in range(0, 301, 8):
        stepped.train_step((x[i : i + 8], y[i : i + 8]))
    for name, array in stepped.model.state_dict().items():
        assert np.array_equal(fitted.model.state_dict()[name], array), name

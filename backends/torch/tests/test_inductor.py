"""What TorchInductor compiles: once for all batch sizes and all learning rates; the optimizer's kernels stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import unimodel as um
from unimodel.errors import UnsupportedError

X = np.random.default_rng(0).standard_normal((20, 4)).astype("float32")
Y = X.sum(1, keepdims=True)


class Warm(um.Trainer):
    """A step that reads a host number in its loss, and reports another."""

    def step(self, batch: Any) -> dict[str, Any]:
        x, y = batch
        factor = um.ops.minimum(self.global_step / 10.0, 1.0)
        loss, grads = um.value_and_grad(lambda: factor * um.ops.mean((self.model(x) - y) ** 2), wrt=self.model.parameters())
        self.optimizer.update(grads)
        return {"loss": loss, "factor": factor, "largest": um.ops.max(um.ops.abs(y))}


def run(compiler: str) -> tuple[list[list[float]], um.Trainer]:
    trainer = Warm(um.nn.Linear(4, 1), optimizer=um.optim.SGD(lr=0.05, momentum=0.9), backend="torch", compile=compiler)
    logs = []
    for size in (8, 5, 8, 13, 20):
        trainer.optimizer.lr *= 0.9
        logs.append([float(v) for v in trainer.train_step((X[:size], Y[:size])).values()])
    return logs, trainer


def test_one_compilation_serves_all_sizes_and_numbers() -> None:
    torch._dynamo.utils.counters.clear()
    compiled, trainer = run("inductor")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    np.testing.assert_allclose(compiled, run("none")[0], rtol=1e-5)
    ((_, program),) = trainer._um_runtime.programs()
    assert "_fused_sgd_" in program.executable.source and "linear" not in program.executable.source


def test_native_differentiation_is_refused() -> None:
    trainer = um.Trainer(um.nn.Linear(4, 1), um.losses.MSELoss(), um.optim.SGD(lr=0.1), backend="torch", compile="inductor", differentiation="native")
    with pytest.raises(UnsupportedError, match=r"does not differentiate inside a program(.|\n)*leave differentiation out"):
        trainer.train_step((X, Y))

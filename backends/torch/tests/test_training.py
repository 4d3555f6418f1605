"""Fifty steps of whole models, in float64, are the NumPy backend's, whoever differentiates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import unimodel as um


class Perceptron(um.Model):
    def __init__(self) -> None:
        self.fc1, self.fc2, self.drop = um.nn.Linear(10, 20), um.nn.Linear(20, 1), um.nn.Dropout(0.2)

    def forward(self, x: Any) -> Any:
        return self.fc2(self.drop(um.ops.relu(self.fc1(x))))


class Convolutions(um.Model):
    def __init__(self) -> None:
        self.conv1, self.norm, self.conv2 = um.nn.Conv2d(1, 4, 3, padding=1), um.nn.BatchNorm2d(4), um.nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.fc = um.nn.Linear(32, 3)

    def forward(self, x: Any) -> Any:
        x = um.ops.max_pool2d(um.ops.relu(self.norm(self.conv1(x))), 2)
        return self.fc(um.ops.flatten(um.ops.gelu(self.conv2(x)), 1))


RNG = np.random.default_rng(1)
REGRESSION = RNG.standard_normal((40, 10)), RNG.standard_normal((40, 1))
IMAGES = RNG.standard_normal((40, 1, 8, 8)), RNG.integers(0, 3, 40)
TASKS = {"regression": (Perceptron, um.losses.MSELoss, REGRESSION), "images": (Convolutions, um.losses.CrossEntropyLoss, IMAGES)}
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: um.optim.SGD(lr=0.05),
    "momentum": lambda: um.optim.SGD(lr=0.05, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "nesterov": lambda: um.optim.SGD(lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda: um.optim.Adam(lr=0.01, weight_decay=0.01),
    "adamw": lambda: um.optim.AdamW(lr=0.01),
    "amsgrad": lambda: um.optim.Adam(lr=0.01, amsgrad=True),
    "rmsprop": lambda: um.optim.RMSprop(lr=0.01),
}


def train(task: str, optimizer: str, backend: str, precision: str, who: str = "auto") -> tuple[list[float], dict[str, np.ndarray]]:
    model, loss, data = TASKS[task]
    net = model()
    trainer = um.Trainer(net, loss=loss(), optimizer=OPTIMIZERS[optimizer](), backend=backend, precision=precision, seed=3, differentiation=who)
    history = trainer.fit(data, epochs=10, batch_size=9, verbose=False)  # 5 steps an epoch, the last one on 4 samples
    return history.history["loss"], net.state_dict()


@pytest.mark.parametrize("who", ["core", "native"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_float64_is_numpys(task: str, optimizer: str, who: str) -> None:
    losses, state = train(task, optimizer, "torch", "float64", who)
    expected, reference = train(task, optimizer, "numpy", "float64")
    np.testing.assert_allclose(losses, expected, rtol=1e-8)
    for name, array in reference.items():
        if name != "conv1.bias":  # its gradient, before batch norm, is rounding alone, which Adam makes steps of
            np.testing.assert_allclose(state[name], array, rtol=1e-7, atol=1e-8 * np.abs(array).max(), err_msg=name)


@pytest.mark.parametrize("task", TASKS)
def test_float32_is_near(task: str) -> None:
    losses, _ = train(task, "momentum", "torch", "float32")
    expected, _ = train(task, "momentum", "numpy", "float64")
    np.testing.assert_allclose(losses, expected, atol=1e-3 * expected[0])


def test_state_in_bfloat16_is_updated_where_it_lives() -> None:
    """bf16-true: weights and Adam's averages take two bytes a number, the kernel gets them as they are, and the module handed out has them too."""
    model = um.nn.Sequential(um.nn.Linear(4, 8), um.nn.ReLU(), um.nn.Linear(8, 2))
    trainer = um.Trainer(model, um.losses.CrossEntropyLoss(), um.optim.AdamW(lr=1e-2), backend="torch", precision="bf16-true")
    x, y = np.random.default_rng(0).standard_normal((16, 4)).astype("float32"), np.arange(16) % 2
    losses = [float(trainer.train_step((x, y))["loss"]) for _ in range(30)]
    assert losses[-1] < 0.8 * losses[0]
    state = trainer._um_runtime.store.arrays
    assert len(state) == 12 and {t.dtype for t in state.values()} == {torch.bfloat16}
    ((_, program),) = trainer._um_runtime.programs()
    (update,) = (line for line in program.executable.source.splitlines() if "_fused_adamw_(" in line)
    assert "[state_0_weight, state_0_bias, state_2_weight, state_2_bias]" in update, "the kernel gets something else than the state"
    module = trainer.native(x)
    assert {p.dtype for p in module.parameters()} == {torch.bfloat16}
    np.testing.assert_allclose(module(torch.from_numpy(x)).detach().numpy(), trainer.predict(x), rtol=1e-6)

"""A linear regression, its trainer, and its descent written out in NumPy (``Descent``): the judge of what trainers compute."""

from __future__ import annotations

from typing import Any

import numpy as np

import unimodel as um

RNG = np.random.default_rng(0)
X = RNG.standard_normal((23, 3))
Y = X @ np.array([[1.0], [-2.0], [0.5]]) + 0.3 + 0.1 * RNG.standard_normal((23, 1))


def trainer(model: um.Model | None = None, **options: Any) -> um.Trainer:
    defaults = {"loss": um.losses.MSELoss(), "optimizer": um.optim.SGD(lr=0.1), "backend": "numpy", "precision": "float64"}
    return um.Trainer(model or um.nn.Linear(3, 1), **{**defaults, **options})


class Descent:
    """Linear regression by gradient descent on the mean squared error, by hand."""

    def __init__(self, weights: dict[str, np.ndarray], lr: float = 0.1) -> None:
        self.weight, self.bias, self.lr = weights["weight"].copy(), weights["bias"].copy(), lr

    def loss(self, x: np.ndarray, y: np.ndarray) -> float:
        return float(((x @ self.weight.T + self.bias - y) ** 2).mean())

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        error = x @ self.weight.T + self.bias - y
        loss = float((error**2).mean())
        self.weight -= self.lr * 2 * error.T @ x / error.size
        self.bias -= self.lr * 2 * error.sum(axis=0) / error.size
        return loss

    def agrees(self, model: um.Model) -> None:
        np.testing.assert_allclose(model.state_dict()["weight"], self.weight, rtol=1e-12)
        np.testing.assert_allclose(model.state_dict()["bias"], self.bias, rtol=1e-12)

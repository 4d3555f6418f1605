"""Three small real problems, as ``golden/make.py`` has them in PyTorch: regression, images, and sequences with attention; dropout in all. And two whose results a line of NumPy gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import unimodel as um
from unimodel import ops
from unimodel.graph import Array
from unimodel.optim import lr_scheduler
from unimodel_conformance import golden

SEED = 11


class Diabetes(um.Model):
    def __init__(self) -> None:
        self.fc1 = um.nn.Linear(10, 32)
        self.drop1 = um.nn.Dropout(0.2)
        self.fc2 = um.nn.Linear(32, 16)
        self.drop2 = um.nn.Dropout(0.1)
        self.fc3 = um.nn.Linear(16, 1)

    def forward(self, x: Any) -> Any:
        x = self.drop1(ops.tanh(self.fc1(x)))
        return self.fc3(self.drop2(ops.relu(self.fc2(x))))


class Digits(um.Model):
    def __init__(self) -> None:
        self.conv1 = um.nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn1 = um.nn.BatchNorm2d(8)
        self.conv2 = um.nn.Conv2d(8, 12, 3, padding=1, bias=False)
        self.bn2 = um.nn.BatchNorm2d(12)
        self.drop = um.nn.Dropout(0.25)
        self.fc = um.nn.Linear(48, 10)

    def forward(self, x: Any) -> Any:
        x = ops.max_pool2d(ops.relu(self.bn1(self.conv1(x))), 2)
        x = ops.avg_pool2d(ops.relu(self.bn2(self.conv2(x))), 2)
        return self.fc(self.drop(ops.flatten(x, 1)))


class Attend(um.Model):
    heads = 2

    def __init__(self, width: int) -> None:
        self.qkv = um.nn.Linear(width, 3 * width, bias=False)
        self.out = um.nn.Linear(width, width)

    def forward(self, x: Any) -> Any:
        n, length, width = x.shape
        q, k, v = (t.reshape(n, length, self.heads, width // self.heads).transpose(1, 2) for t in ops.split(self.qkv(x), width, dim=-1))
        y = ops.scaled_dot_product_attention(q, k, v, dropout_p=0.1 if self.training else 0.0)
        return self.out(y.transpose(1, 2).reshape(n, length, width))


class Sequence(um.Model):
    width = 16

    def __init__(self) -> None:
        width = self.width
        self.embed = um.nn.Embedding(17, width)
        self.positions = um.Parameter((16, width), um.init.uniform(-0.1, 0.1))
        self.drop1 = um.nn.Dropout(0.1)
        self.norm1 = um.nn.LayerNorm(width)
        self.attend = Attend(width)
        self.norm2 = um.nn.LayerNorm(width)
        self.up = um.nn.Linear(width, 2 * width)
        self.down = um.nn.Linear(2 * width, width)
        self.drop2 = um.nn.Dropout(0.1)
        self.norm3 = um.nn.LayerNorm(width)
        self.head = um.nn.Linear(width, 10)

    def forward(self, x: Any) -> Any:
        h = self.drop1(self.embed(x) + self.positions)
        h = h + self.attend(self.norm1(h))
        h = h + self.drop2(self.down(ops.gelu(self.up(self.norm2(h)))))
        return self.head(self.norm3(h).mean(axis=1))


def _diabetes() -> dict[str, Any]:
    optimizer = um.optim.SGD(lr=0.05, momentum=0.9, weight_decay=1e-3, nesterov=True)
    lr_scheduler.StepLR(optimizer, 10, 0.5)
    return {"loss": um.losses.MSELoss(), "optimizer": optimizer, "metrics": [um.metrics.MeanAbsoluteError("metric")], "clip_grad_norm": 1.0}


def _digits() -> dict[str, Any]:
    optimizer = um.optim.Adam(lr=3e-3, weight_decay=1e-4)
    return {"loss": um.losses.CrossEntropyLoss(label_smoothing=0.1), "optimizer": optimizer, "metrics": [um.metrics.Accuracy(name="metric")]}


def _sequence() -> dict[str, Any]:
    optimizer = um.optim.AdamW(lr=4e-3, weight_decay=0.05)
    lr_scheduler.CosineAnnealingLR(optimizer, 250, interval="step")
    return {"loss": um.losses.CrossEntropyLoss(), "optimizer": optimizer, "metrics": [um.metrics.Accuracy(name="metric")], "clip_grad_norm": 1.0}


@dataclass(frozen=True)
class Problem:
    """What is trained, how long, and whether its network has so many maxima that a near-tie will part two honest float32 kernels once in a while."""

    name: str
    model: Callable[[], um.Model]
    options: Callable[[], dict[str, Any]]
    epochs: int
    batch_size: int
    max_pooling: bool = False

    @property
    def golden(self) -> Mapping[str, Array]:
        return golden.part("training", self.name)

    @property
    def data(self) -> tuple[Array, Array]:
        return self.golden["x"], self.golden["y"]

    @property
    def validation(self) -> tuple[Array, Array]:
        return self.golden["xv"], self.golden["yv"]

    def trainer(self, kind: type[um.Trainer] = um.Trainer, **options: Any) -> um.Trainer:
        return kind(self.model(), **{"seed": SEED, **self.options(), **options})

    def fit(self, trainer: um.Trainer, epochs: int | None = None, **options: Any) -> um.History:
        return trainer.fit(self.data, epochs=self.epochs if epochs is None else epochs, batch_size=self.batch_size, verbose=False, **options)

    @property
    def losses(self) -> Array:
        """Of every step, PyTorch's."""
        return self.golden["losses"]


PROBLEMS = [
    Problem("diabetes", Diabetes, _diabetes, 29, 64),
    Problem("digits", Digits, _digits, 20, 48, max_pooling=True),
    Problem("sequence", Sequence, _sequence, 25, 32),
]


class Losses(um.callbacks.Callback):
    """Keeps the loss of every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_step_end(self, trainer: um.Trainer, step: int, logs: dict[str, float]) -> None:
        self.values.append(float(logs["loss"]))


class Line(um.Model):
    """y = w · x + b from given numbers."""

    def __init__(self, w: Any = (0.5, -1.0), b: float = 0.25) -> None:
        self.w = um.Parameter(np.array(w, "float32"))
        self.b = um.Parameter(np.array(b, "float32"))

    def forward(self, x: Any) -> Any:
        return x @ self.w + self.b


def line_data(count: int = 10) -> tuple[Array, Array]:
    rng = np.random.default_rng(count)
    return rng.standard_normal((count, 2)).astype("float32"), rng.standard_normal(count).astype("float32")


def line(lr: float = 0.1, **options: Any) -> um.Trainer:
    return um.Trainer(Line(), um.losses.MSELoss(), um.optim.SGD(lr=lr), **options)


def descend(batches: list[tuple[Array, Array]], lr: float = 0.1, weights: list[Array] | None = None) -> tuple[Array, float, list[float]]:
    """Gradient descent on the line by hand, in float64."""
    w, b, losses = np.array([0.5, -1.0]), 0.25, []
    for i, (x, y) in enumerate(batches):
        share = np.full(len(x), 1 / len(x)) if weights is None else weights[i] / weights[i].sum()
        error = x.astype("float64") @ w + b - y
        losses.append(float(np.sum(share * error**2)))
        w, b = w - lr * 2 * (x.T @ (share * error)), b - lr * 2 * float(np.sum(share * error))
    return w, b, losses


class Sum(um.Model):
    """Its prediction is the sum of a batch's features; one idle parameter."""

    def __init__(self) -> None:
        self.w = um.Parameter(np.array(0.0))

    def forward(self, x: Any) -> Any:
        return ops.sum(x, axis=1) + self.w

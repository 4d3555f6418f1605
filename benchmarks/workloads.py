"""The workloads: each a model, a loss, an optimizer and one batch, in unimodel. The hand-written loops in ``native/`` take the same weights and batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import unimodel as um


@dataclass(frozen=True)
class Workload:
    name: str
    model: Callable[[], um.Model]
    loss: Callable[[], Any]
    optimizer: Callable[[], um.Optimizer]
    batch: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]

    def trainer(self, backend: str, **options: Any) -> um.Trainer:
        return um.Trainer(self.model(), loss=self.loss(), optimizer=self.optimizer(), backend=backend, **options)

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        return self.batch(np.random.Generator(np.random.Philox(0)))


class Regression(um.Model):
    """10-20-1."""

    def __init__(self) -> None:
        self.fc1 = um.nn.Linear(10, 20)
        self.fc2 = um.nn.Linear(20, 1)

    def forward(self, x):
        return self.fc2(um.ops.relu(self.fc1(x)))


class MLP(um.Model):
    """784-512-512-10."""

    def __init__(self) -> None:
        self.fc1 = um.nn.Linear(784, 512)
        self.fc2 = um.nn.Linear(512, 512)
        self.fc3 = um.nn.Linear(512, 10)

    def forward(self, x):
        return self.fc3(um.ops.relu(self.fc2(um.ops.relu(self.fc1(x)))))


class CNN(um.Model):
    """Two convolutions with max-pooling on 28 by 28, then two linear layers."""

    def __init__(self) -> None:
        self.conv1 = um.nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = um.nn.Conv2d(32, 64, 3, padding=1)
        self.fc1 = um.nn.Linear(64 * 7 * 7, 128)
        self.fc2 = um.nn.Linear(128, 10)

    def forward(self, x):
        x = um.ops.max_pool2d(um.ops.relu(self.conv1(x)), 2)
        x = um.ops.max_pool2d(um.ops.relu(self.conv2(x)), 2)
        return self.fc2(um.ops.relu(self.fc1(um.ops.flatten(x, 1))))


class Block(um.Model):
    def __init__(self, width: int, heads: int) -> None:
        self.heads = heads
        self.ln1 = um.nn.LayerNorm(width)
        self.qkv = um.nn.Linear(width, 3 * width)
        self.proj = um.nn.Linear(width, width)
        self.ln2 = um.nn.LayerNorm(width)
        self.up = um.nn.Linear(width, 4 * width)
        self.down = um.nn.Linear(4 * width, width)

    def forward(self, x):
        n, t, width = x.shape
        qkv = self.qkv(self.ln1(x)).reshape(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = um.ops.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True)
        x = x + self.proj(y.permute(0, 2, 1, 3).reshape(n, t, width))
        return x + self.down(um.ops.gelu(self.up(self.ln2(x))))


class GPT(um.Model):
    """A decoder of 4 blocks of width 128 over 256 symbols."""

    def __init__(self, layers: int = 4, width: int = 128, heads: int = 4, length: int = 64, symbols: int = 256) -> None:
        self.tokens = um.nn.Embedding(symbols, width)
        self.positions = um.nn.Embedding(length, width)
        self.blocks = um.nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.ln = um.nn.LayerNorm(width)
        self.head = um.nn.Linear(width, symbols, bias=False)

    def forward(self, x):
        h = self.tokens(x) + self.positions(um.ops.arange(x.shape[1]))
        for block in self.blocks:
            h = block(h)
        return um.ops.moveaxis(self.head(self.ln(h)), -1, 1)


def _images(rng: np.random.Generator, size: int, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal((size, *shape)).astype("float32"), rng.integers(0, 10, size)


WORKLOADS = {
    w.name: w
    for w in (
        Workload(
            "regression",
            Regression,
            um.losses.MSELoss,
            lambda: um.optim.SGD(lr=0.01),
            lambda rng: (rng.standard_normal((32, 10)).astype("float32"), rng.standard_normal((32, 1)).astype("float32")),
        ),
        Workload("mlp", MLP, um.losses.CrossEntropyLoss, lambda: um.optim.Adam(lr=1e-3), lambda rng: _images(rng, 128, 784)),
        Workload("cnn", CNN, um.losses.CrossEntropyLoss, lambda: um.optim.Adam(lr=1e-3), lambda rng: _images(rng, 64, 1, 28, 28)),
        Workload(
            "gpt",
            GPT,
            um.losses.CrossEntropyLoss,
            lambda: um.optim.AdamW(lr=3e-4),
            lambda rng: (rng.integers(0, 256, (8, 64)), rng.integers(0, 256, (8, 64))),
        ),
    )
}

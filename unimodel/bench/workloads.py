"""The workloads that come with unimodel: each a model, a loss, an optimizer and batches made from a seed. Nothing is downloaded.

They live in the package, so that ``unimodel bench`` has something to run wherever unimodel is installed. The loops written by hand in each framework live in the
repository, under ``benchmarks/native/``, and take the same weights and batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import unimodel as um
from unimodel.errors import DataError
from unimodel.graph import Array

Batch = tuple[Any, Array]
"""Inputs (an array, or a tuple of them) and target."""


@dataclass(frozen=True)
class Workload:
    """``batch`` makes one batch of a size. ``steps`` is how many losses must agree before anything is timed."""

    name: str
    description: str
    model: Callable[[], um.Model]
    loss: Callable[[], Any]
    optimizer: Callable[[], um.Optimizer]
    batch: Callable[[np.random.Generator, int], Batch]
    batch_size: int
    steps: int
    exact: bool = True
    """Whether the curve is also compared in float64; False where that takes too much memory."""
    target: float | None = None
    """The test accuracy to which the time is taken, where there is a test set."""
    test: Callable[[], tuple[Batch, Batch]] | None = None
    """All training data, and the test set."""

    def trainer(self, backend: str, **options: Any) -> um.Trainer:
        return um.Trainer(self.model(), loss=self.loss(), optimizer=self.optimizer(), backend=backend, **options)

    def batches(self, batch_size: int | None = None, count: int = 4) -> list[Batch]:
        """The first ``count`` batches; the same numbers in every process and for every contestant."""
        rng = np.random.Generator(np.random.Philox(0))
        return [self.batch(rng, batch_size or self.batch_size) for _ in range(count)]

    def data(self) -> Batch:
        """The first batch, of the workload's own size."""
        return self.batches(count=1)[0]


class Regression(um.Model):
    """10-20-1."""

    def __init__(self) -> None:
        self.fc1 = um.nn.Linear(10, 20)
        self.fc2 = um.nn.Linear(20, 1)

    def forward(self, x: Any) -> Any:
        return self.fc2(um.ops.relu(self.fc1(x)))


class MLP(um.Model):
    """Three linear layers with relu between them."""

    def __init__(self, inputs: int = 784, hidden: int = 512, outputs: int = 10) -> None:
        self.fc1 = um.nn.Linear(inputs, hidden)
        self.fc2 = um.nn.Linear(hidden, hidden)
        self.fc3 = um.nn.Linear(hidden, outputs)

    def forward(self, x: Any) -> Any:
        return self.fc3(um.ops.relu(self.fc2(um.ops.relu(self.fc1(x)))))


class CNN(um.Model):
    """Two convolutions with max-pooling on 28 by 28, then two linear layers."""

    def __init__(self) -> None:
        self.conv1 = um.nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = um.nn.Conv2d(32, 64, 3, padding=1)
        self.fc1 = um.nn.Linear(64 * 7 * 7, 128)
        self.fc2 = um.nn.Linear(128, 10)

    def forward(self, x: Any) -> Any:
        x = um.ops.max_pool2d(um.ops.relu(self.conv1(x)), 2)
        x = um.ops.max_pool2d(um.ops.relu(self.conv2(x)), 2)
        return self.fc2(um.ops.relu(self.fc1(um.ops.flatten(x, 1))))


class Residual(um.Model):
    """Two convolutions of 3 by 3 beside an identity, or beside a convolution of 1 by 1 where sizes change (He et al. 2015, arXiv:1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        self.conv1 = um.nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = um.nn.BatchNorm2d(outputs)
        self.conv2 = um.nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = um.nn.BatchNorm2d(outputs)
        if stride != 1 or inputs != outputs:
            self.downsample = um.nn.Sequential(um.nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), um.nn.BatchNorm2d(outputs))

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(um.ops.relu(self.bn1(self.conv1(x)))))
        return um.ops.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet18(um.Model):
    """He et al. 2015, table 1, for 10 classes; on 32 by 32 the last stage sees one pixel.

    With batch norm over so few values, one relu whose input is 0 but for rounding parts two right float32 curves at the third step, so two are compared.
    """

    def __init__(self) -> None:
        self.conv1 = um.nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = um.nn.BatchNorm2d(64)
        widths = (64, 64, 128, 256, 512)
        self.layers = um.nn.ModuleList(
            [um.nn.Sequential(Residual(a, b, 1 if i == 0 else 2), Residual(b, b, 1)) for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False))]
        )
        self.fc = um.nn.Linear(512, 10)

    def forward(self, x: Any) -> Any:
        x = um.ops.max_pool2d(um.ops.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        for layer in self.layers:
            x = layer(x)
        return self.fc(um.ops.mean(x, axis=(2, 3)))


class Block(um.Model):
    def __init__(self, width: int, heads: int) -> None:
        self.heads = heads
        self.ln1 = um.nn.LayerNorm(width)
        self.qkv = um.nn.Linear(width, 3 * width)
        self.proj = um.nn.Linear(width, width)
        self.ln2 = um.nn.LayerNorm(width)
        self.up = um.nn.Linear(width, 4 * width)
        self.down = um.nn.Linear(4 * width, width)

    def forward(self, x: Any) -> Any:
        n, t, width = x.shape
        qkv = self.qkv(self.ln1(x)).reshape(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = um.ops.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True)
        x = x + self.proj(y.permute(0, 2, 1, 3).reshape(n, t, width))
        return x + self.down(um.ops.gelu(self.up(self.ln2(x))))


class GPT(um.Model):
    """A decoder of blocks with the norms before (Radford et al. 2019), without dropout; ``tied`` scores symbols with the embedding's own weights."""

    def __init__(self, layers: int = 4, width: int = 128, heads: int = 4, length: int = 64, symbols: int = 256, tied: bool = False) -> None:
        self.tokens = um.nn.Embedding(symbols, width)
        self.positions = um.nn.Embedding(length, width)
        self.blocks = um.nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.ln = um.nn.LayerNorm(width)
        self.head = None if tied else um.nn.Linear(width, symbols, bias=False)
        if tied:  # scores of unit embeddings would start in the hundreds
            self.tokens.weight = um.Parameter((symbols, width), um.init.normal(std=0.02))

    def forward(self, x: Any) -> Any:
        h = self.tokens(x) + self.positions(um.ops.arange(x.shape[1]))
        for block in self.blocks:
            h = block(h)
        h = self.ln(h)
        scores = um.ops.linear(h, self.tokens.weight) if self.head is None else self.head(h)
        return um.ops.moveaxis(scores, -1, 1)


class SequenceClassifier(um.Model):
    """An LSTM of two layers, and a linear layer on its last state."""

    def __init__(self, features: int = 64, width: int = 256, classes: int = 10) -> None:
        self.lstm = um.nn.LSTM(features, width, num_layers=2, batch_first=True)
        self.fc = um.nn.Linear(width, classes)

    def forward(self, x: Any) -> Any:
        states, _ = self.lstm(x)
        return self.fc(states[:, -1])


class Recommender(um.Model):
    """Tables for the categories, a small network for the numbers, products of all pairs of vectors, and a network on top (Naumov et al. 2019, arXiv:1906.00091)."""

    def __init__(self, tables: int = 8, rows: int = 10_000, width: int = 16, numbers: int = 13) -> None:
        self.tables = um.nn.ModuleList([um.nn.Embedding(rows, width) for _ in range(tables)])
        self.bottom1, self.bottom2 = um.nn.Linear(numbers, 64), um.nn.Linear(64, width)
        self.top1, self.top2 = um.nn.Linear(width + (tables + 1) ** 2, 64), um.nn.Linear(64, 1)

    def forward(self, numbers: Any, categories: Any) -> Any:
        dense = um.ops.relu(self.bottom2(um.ops.relu(self.bottom1(numbers))))
        vectors = um.ops.stack([dense, *(table(categories[:, i]) for i, table in enumerate(self.tables))], axis=1)
        pairs = um.ops.flatten(um.ops.matmul(vectors, vectors.permute(0, 2, 1)), 1)
        return self.top2(um.ops.relu(self.top1(um.ops.concat([dense, pairs], axis=1))))


def _images(*shape: int) -> Callable[[np.random.Generator, int], Batch]:
    return lambda rng, n: (rng.standard_normal((n, *shape)).astype("float32"), rng.integers(0, 10, n))


def _text(symbols: int, length: int) -> Callable[[np.random.Generator, int], Batch]:
    return lambda rng, n: (rng.integers(0, symbols, (n, length)), rng.integers(0, symbols, (n, length)))


def _regression(rng: np.random.Generator, n: int) -> Batch:
    return rng.standard_normal((n, 10)).astype("float32"), rng.standard_normal((n, 1)).astype("float32")


def _clicks(rng: np.random.Generator, n: int) -> Batch:
    inputs = (rng.standard_normal((n, 13)).astype("float32"), rng.integers(0, 10_000, (n, 8)))
    return inputs, rng.integers(0, 2, (n, 1)).astype("float32")


def digits() -> tuple[Batch, Batch]:
    """scikit-learn's 1,797 images of handwritten digits, 8 by 8, in a fixed order: the first 1,437 to train on, the others to test."""
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # scikit-learn ships no types
    except ImportError as error:
        raise DataError("the workload digits needs scikit-learn, which holds the images.", remedy="pip install scikit-learn") from error
    x, y = load_digits(return_X_y=True)
    order = np.random.Generator(np.random.Philox(0)).permutation(len(x))
    x, y = (x[order] / 16).astype("float32"), y[order].astype("int64")
    return (x[:1437], y[:1437]), (x[1437:], y[1437:])


def _digits(rng: np.random.Generator, n: int) -> Batch:
    (x, y), _ = digits()
    rows = rng.integers(0, len(x), n)
    return x[rows], y[rows]


_cross_entropy = um.losses.CrossEntropyLoss
WORKLOADS: dict[str, Workload] = {
    w.name: w
    for w in (
        Workload("regression", "10-20-1, SGD", Regression, um.losses.MSELoss, lambda: um.optim.SGD(lr=0.01), _regression, 32, 100),
        Workload("mlp", "784-512-512-10, Adam", MLP, _cross_entropy, lambda: um.optim.Adam(lr=1e-3), _images(784), 128, 10),
        Workload("cnn", "two convolutions on 28×28, Adam", CNN, _cross_entropy, lambda: um.optim.Adam(lr=1e-3), _images(1, 28, 28), 64, 5),
        Workload("resnet18", "ResNet-18 on 32×32, SGD", ResNet18, _cross_entropy, lambda: um.optim.SGD(lr=0.01, momentum=0.9), _images(3, 32, 32), 16, 2),
        Workload("gpt", "4 blocks of 128, T 64, AdamW", GPT, _cross_entropy, lambda: um.optim.AdamW(lr=3e-4), _text(256, 64), 8, 5),
        Workload(
            "gpt2-small",
            "12 blocks of 768, T 128, 124 M parameters, AdamW",
            lambda: GPT(12, 768, 12, 1024, 50257, tied=True),
            _cross_entropy,
            lambda: um.optim.AdamW(lr=3e-4),
            _text(50257, 128),
            1,
            2,
            exact=False,
        ),
        Workload("lstm", "LSTM, 2 layers of 256, T 64, Adam", SequenceClassifier, _cross_entropy, lambda: um.optim.Adam(lr=1e-3), _images(64, 64), 16, 5),
        Workload(
            "recommender",
            "8 tables of 10,000 × 16, products of pairs, SGD",
            Recommender,
            um.losses.BCEWithLogitsLoss,
            lambda: um.optim.SGD(lr=0.01),
            _clicks,
            128,
            10,
        ),
        Workload(
            "digits",
            "64-64-64-10 on real digits, Adam, to 97 % on the test set",
            lambda: MLP(64, 64),
            _cross_entropy,
            lambda: um.optim.Adam(lr=3e-3),
            _digits,
            64,
            20,
            target=0.97,
            test=digits,
        ),
    )
}
"""By name, in the order in which they are shown."""

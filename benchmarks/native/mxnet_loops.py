"""MXNet: a Gluon block hybridized with static allocation, autograd.record, and gluon.Trainer."""

from __future__ import annotations

import numpy as np

_alias = "bool" not in np.__dict__
if _alias:
    np.bool = np.bool_  # MXNet 1.9.1 reads it while it is imported
import mxnet as mx  # noqa: E402  the alias must stand first
from mxnet import autograd, gluon  # noqa: E402  the alias must stand first
from mxnet.gluon import nn  # noqa: E402  the alias must stand first

if _alias:
    del np.bool


def pin() -> None:
    pass  # OMP_NUM_THREADS is set before the process starts


def wait(loss) -> float:
    return float(loss.asscalar())


class Regression(nn.HybridBlock):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Dense(20, in_units=10, activation="relu"), nn.Dense(1, in_units=20)

    def hybrid_forward(self, F, x):
        return self.fc2(self.fc1(x))


class MLP(nn.HybridBlock):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Dense(512, in_units=784, activation="relu")
        self.fc2 = nn.Dense(512, in_units=512, activation="relu")
        self.fc3 = nn.Dense(10, in_units=512)

    def hybrid_forward(self, F, x):
        return self.fc3(self.fc2(self.fc1(x)))


class CNN(nn.HybridBlock):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2D(32, 3, padding=1, in_channels=1, activation="relu")
        self.conv2 = nn.Conv2D(64, 3, padding=1, in_channels=32, activation="relu")
        self.fc1 = nn.Dense(128, in_units=64 * 7 * 7, activation="relu")
        self.fc2 = nn.Dense(10, in_units=128)
        self.pool = nn.MaxPool2D(2)

    def hybrid_forward(self, F, x):
        return self.fc2(self.fc1(self.pool(self.conv2(self.pool(self.conv1(x))))))


class Block(nn.HybridBlock):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(in_channels=width), nn.LayerNorm(in_channels=width)
        self.qkv = nn.Dense(3 * width, in_units=width, flatten=False)
        self.proj = nn.Dense(width, in_units=width, flatten=False)
        self.up = nn.Dense(4 * width, in_units=width, flatten=False)
        self.down = nn.Dense(width, in_units=4 * width, flatten=False)

    def hybrid_forward(self, F, x, mask):
        qkv = F.transpose(F.reshape(self.qkv(self.ln1(x)), (0, 0, 3, self.heads, -1)), (2, 0, 3, 1, 4))
        q, k, v = F.split(qkv, 3, axis=0, squeeze_axis=True)
        q, k, v = (F.reshape(a, (-3, 0, 0)) for a in (q, k, v))
        scores = F.batch_dot(q, k, transpose_b=True) / np.sqrt(32)
        y = F.batch_dot(F.softmax(F.broadcast_add(scores, mask)), v)
        y = F.reshape(F.transpose(F.reshape(y, (-4, -1, self.heads, 0, 0)), (0, 2, 1, 3)), (0, 0, -3))
        x = x + self.proj(y)
        return x + self.down(F.LeakyReLU(self.up(self.ln2(x)), act_type="gelu"))


class GPT(nn.HybridBlock):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(256, 128), nn.Embedding(64, 128)
        self.blocks = nn.HybridSequential()
        for _ in range(4):
            self.blocks.add(Block(128, 4))
        self.ln, self.head = nn.LayerNorm(in_channels=128), nn.Dense(256, in_units=128, flatten=False, use_bias=False)

    def hybrid_forward(self, F, x, places, mask):
        h = F.broadcast_add(self.tokens(x), F.expand_dims(self.positions(places), 0))
        for block in self.blocks:
            h = block(h, mask)
        return self.head(self.ln(h))


def _load(net, weights):
    for name, array in weights.items():
        *path, last = name.split(".")
        block = net
        for part in path:
            block = block[int(part)] if part.isdigit() else getattr(block, part)
        if last == "weight" and hasattr(block, "gamma"):
            last = "gamma"
        if last == "bias" and hasattr(block, "beta"):
            last = "beta"
        getattr(block, last).set_data(mx.nd.array(array, dtype="float32"))


def _loop(block, loss, optimizer, options, extra=()):
    def build(weights):
        net = block()
        net.initialize()
        _load(net, weights)
        net.hybridize(static_alloc=True, static_shape=True)
        loss.hybridize(static_alloc=True, static_shape=True)
        trainer = gluon.Trainer(net.collect_params(), optimizer, options, kvstore=None)
        more = [f() for f in extra]

        def step(x, y):
            x, y = mx.nd.array(x, dtype=x.dtype), mx.nd.array(y, dtype=y.dtype)
            with autograd.record():
                value = loss(net(x, *more), y).mean()
            value.backward()
            trainer.step(1)
            return value

        return step

    return build


class HalfFree(gluon.loss.L2Loss):
    """Gluon's L2Loss without its factor of one half."""

    def __init__(self):
        super().__init__(weight=2.0)


LOOPS = {
    "regression": _loop(Regression, HalfFree(), "sgd", {"learning_rate": 0.01}),
    "mlp": _loop(MLP, gluon.loss.SoftmaxCrossEntropyLoss(), "adam", {"learning_rate": 1e-3}),
    "cnn": _loop(CNN, gluon.loss.SoftmaxCrossEntropyLoss(), "adam", {"learning_rate": 1e-3}),
    "gpt": _loop(
        GPT,
        gluon.loss.SoftmaxCrossEntropyLoss(),
        "adam",
        {"learning_rate": 3e-4},
        extra=(
            lambda: mx.nd.arange(64),
            lambda: mx.nd.array(np.where(np.tril(np.ones((64, 64))) > 0, 0.0, -1e30)[None], dtype="float32"),
        ),
    ),
}

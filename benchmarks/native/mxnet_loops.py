"""MXNet: a Gluon block hybridized with static allocation, autograd.record, and gluon.Trainer. It has no compiler to ask for."""

from __future__ import annotations

import numpy as np

_alias = "bool" not in np.__dict__
if _alias:
    np.bool = np.bool_  # MXNet 1.9.1 reads it while it is imported
import mxnet as mx  # noqa: E402  the alias must stand first
from mxnet import autograd, gluon  # noqa: E402  the alias must stand first
from mxnet.gluon import nn  # noqa: E402  the alias must stand first

from benchmarks.native import Loop  # noqa: E402  the alias must stand first

if _alias:
    del np.bool


def pin(threads: int) -> None:
    pass  # OMP_NUM_THREADS is set before the process starts


def settings() -> dict[str, object]:
    return {"static_alloc": True, "static_shape": True, "onednn": mx.runtime.Features().is_enabled("MKLDNN")}


class Regression(nn.HybridBlock):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Dense(20, in_units=10, activation="relu"), nn.Dense(1, in_units=20)

    def hybrid_forward(self, F, x):
        return self.fc2(self.fc1(x))


class MLP(nn.HybridBlock):
    def __init__(self, inputs=784, hidden=512, outputs=10):
        super().__init__()
        self.fc1 = nn.Dense(hidden, in_units=inputs, activation="relu")
        self.fc2 = nn.Dense(hidden, in_units=hidden, activation="relu")
        self.fc3 = nn.Dense(outputs, in_units=hidden)

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


def _conv(inputs, outputs, kernel, stride, pad):
    return nn.Conv2D(outputs, kernel, stride, pad, in_channels=inputs, use_bias=False)


def _norm(channels):
    return nn.BatchNorm(momentum=0.9, epsilon=1e-5, in_channels=channels)


class Residual(nn.HybridBlock):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, outputs, 3, stride, 1), _norm(outputs)
        self.conv2, self.bn2 = _conv(outputs, outputs, 3, 1, 1), _norm(outputs)
        self.downsample = nn.HybridSequential()
        if stride != 1 or inputs != outputs:
            self.downsample.add(_conv(inputs, outputs, 1, stride, 0), _norm(outputs))

    def hybrid_forward(self, F, x):
        y = self.bn2(self.conv2(F.Activation(self.bn1(self.conv1(x)), act_type="relu")))
        return F.Activation(y + self.downsample(x), act_type="relu")


class ResNet18(nn.HybridBlock):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.pool = _conv(3, 64, 7, 2, 3), _norm(64), nn.MaxPool2D(3, 2, 1)
        self.layers = nn.HybridSequential()
        widths = (64, 64, 128, 256, 512)
        for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
            layer = nn.HybridSequential()
            layer.add(Residual(a, b, 1 if i == 0 else 2), Residual(b, b, 1))
            self.layers.add(layer)
        self.average, self.fc = nn.GlobalAvgPool2D(), nn.Dense(10, in_units=512)

    def hybrid_forward(self, F, x):
        x = self.pool(F.Activation(self.bn1(self.conv1(x)), act_type="relu"))
        return self.fc(self.average(self.layers(x)))


class Block(nn.HybridBlock):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.scale = heads, 1 / np.sqrt(width // heads)
        self.ln1, self.ln2 = nn.LayerNorm(in_channels=width), nn.LayerNorm(in_channels=width)
        self.qkv = nn.Dense(3 * width, in_units=width, flatten=False)
        self.proj = nn.Dense(width, in_units=width, flatten=False)
        self.up = nn.Dense(4 * width, in_units=width, flatten=False)
        self.down = nn.Dense(width, in_units=4 * width, flatten=False)

    def hybrid_forward(self, F, x, mask):
        qkv = F.transpose(F.reshape(self.qkv(self.ln1(x)), (0, 0, 3, self.heads, -1)), (2, 0, 3, 1, 4))
        q, k, v = F.split(qkv, 3, axis=0, squeeze_axis=True)
        q, k, v = (F.reshape(a, (-3, 0, 0)) for a in (q, k, v))
        scores = F.batch_dot(q, k, transpose_b=True) * self.scale
        y = F.batch_dot(F.softmax(F.broadcast_add(scores, mask)), v)
        y = F.reshape(F.transpose(F.reshape(y, (-4, -1, self.heads, 0, 0)), (0, 2, 1, 3)), (0, 0, -3))
        x = x + self.proj(y)
        return x + self.down(F.LeakyReLU(self.up(self.ln2(x)), act_type="gelu"))


class GPT(nn.HybridBlock):
    def __init__(self, layers=4, width=128, heads=4, length=64, symbols=256, tied=False):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(symbols, width), nn.Embedding(length, width)
        self.blocks = nn.HybridSequential()
        for _ in range(layers):
            self.blocks.add(Block(width, heads))
        self.ln = nn.LayerNorm(in_channels=width)
        shared = {"params": self.tokens.params} if tied else {}
        self.head = nn.Dense(symbols, in_units=width, flatten=False, use_bias=False, **shared)

    def hybrid_forward(self, F, x, places, mask):
        h = F.broadcast_add(self.tokens(x), F.expand_dims(self.positions(places), 0))
        for block in self.blocks:
            h = block(h, mask)
        return self.head(self.ln(h))


class SequenceClassifier(nn.HybridBlock):
    def __init__(self, features=64, width=256, classes=10):
        super().__init__()
        self.lstm, self.fc = gluon.rnn.LSTM(width, 2, layout="NTC", input_size=features), nn.Dense(classes, in_units=width)

    def hybrid_forward(self, F, x):
        return self.fc(F.squeeze(F.slice_axis(self.lstm(x), axis=1, begin=-1, end=None), axis=1))


class Recommender(nn.HybridBlock):
    """The tables' gradients are sparse: only the rows that a batch names are updated."""

    def __init__(self, tables=8, rows=10_000, width=16, numbers=13):
        super().__init__()
        self.tables = nn.HybridSequential()
        for _ in range(tables):
            self.tables.add(nn.Embedding(rows, width, sparse_grad=True))
        self.bottom1, self.bottom2 = nn.Dense(64, in_units=numbers, activation="relu"), nn.Dense(width, in_units=64, activation="relu")
        self.top1, self.top2 = nn.Dense(64, in_units=width + (tables + 1) ** 2, activation="relu"), nn.Dense(1, in_units=64)

    def hybrid_forward(self, F, numbers, categories):
        dense = self.bottom2(self.bottom1(numbers))
        columns = F.split(categories, len(self.tables), axis=1, squeeze_axis=True)
        vectors = F.stack(dense, *(table(column) for table, column in zip(self.tables, columns, strict=True)), axis=1)
        pairs = F.flatten(F.batch_dot(vectors, vectors, transpose_b=True))
        return self.top2(self.top1(F.concat(dense, pairs, dim=1)))


def _load(net, weights):
    for name, array in weights.items():
        *path, last = name.split(".")
        if last == "num_batches_tracked":
            continue
        block = net
        for part in path:
            block = block[int(part)] if part.isdigit() else getattr(block, part)
        if last.endswith(("_l0", "_l1")):  # weight_ih_l0 is l0_i2h_weight here
            kind, gate, layer = last.split("_")
            last = f"{layer}_{'i2h' if gate == 'ih' else 'h2h'}_{kind}"
        if hasattr(block, "gamma"):
            last = {"weight": "gamma", "bias": "beta"}.get(last, last)
        getattr(block, last).set_data(mx.nd.array(array, dtype="float32"))


def _loop(block, loss, optimizer, options, extra=lambda x: (), turned=False):
    def build(weights, compile=None):
        if compile is not None:
            raise ValueError("MXNet has no compiler to ask for: leave compile out")
        net = block()
        net.initialize()
        _load(net, weights)
        net.hybridize(static_alloc=True, static_shape=True)
        loss.hybridize(static_alloc=True, static_shape=True)
        trainer = gluon.Trainer(net.collect_params(), optimizer, options, kvstore=None)
        more = None

        def arrays(inputs):
            nonlocal more
            inputs = inputs if isinstance(inputs, tuple) else (inputs,)
            if more is None:
                more = extra(inputs[0])
            return [mx.nd.array(a, dtype=a.dtype) for a in inputs] + list(more)

        def step(x, y):
            x, y = arrays(x), mx.nd.array(y, dtype=y.dtype)
            with autograd.record():
                value = loss(net(*x), y).mean()
            value.backward()
            trainer.step(1)
            found = float(value.asscalar())
            mx.nd.waitall()  # the loss is there long before the weights are: a call that is timed ends with them
            return found

        def predict(x):
            result = net(*arrays(x)).asnumpy()
            return result.swapaxes(1, 2) if turned else result

        return Loop(step, predict)

    return build


class HalfFree(gluon.loss.L2Loss):
    """Gluon's L2Loss without its factor of one half."""

    def __init__(self):
        super().__init__(weight=2.0)


def _places_and_mask(x):
    t = x.shape[1]
    return mx.nd.arange(t), mx.nd.array(np.where(np.tril(np.ones((t, t))) > 0, 0.0, -1e30)[None], dtype="float32")


_cross_entropy = gluon.loss.SoftmaxCrossEntropyLoss
_decoder = {"extra": _places_and_mask, "turned": True}


@mx.optimizer.register
class Decoupled(mx.optimizer.Adam):
    """Adam with PyTorch's decoupled decay: the weights shrink by lr * wd first, then the fused update runs without one."""

    def __init__(self, decay=0.01, **others):
        super().__init__(**others)
        self.decay = decay

    def update(self, index, weight, grad, state):
        weight *= 1 - self._get_lr(index) * self.decay
        super().update(index, weight, grad, state)


_adamw = ("decoupled", {"learning_rate": 3e-4, "decay": 0.01})
LOOPS = {
    "regression": _loop(Regression, HalfFree(), "sgd", {"learning_rate": 0.01}),
    "mlp": _loop(MLP, _cross_entropy(), "adam", {"learning_rate": 1e-3}),
    "cnn": _loop(CNN, _cross_entropy(), "adam", {"learning_rate": 1e-3}),
    "resnet18": _loop(ResNet18, _cross_entropy(), "sgd", {"learning_rate": 0.01, "momentum": 0.9}),
    "gpt": _loop(GPT, _cross_entropy(), *_adamw, **_decoder),
    "gpt2-small": _loop(lambda: GPT(12, 768, 12, 1024, 50257, tied=True), _cross_entropy(), *_adamw, **_decoder),
    "lstm": _loop(SequenceClassifier, _cross_entropy(), "adam", {"learning_rate": 1e-3}),
    "recommender": _loop(Recommender, gluon.loss.SigmoidBinaryCrossEntropyLoss(), "sgd", {"learning_rate": 0.01}),
    "digits": _loop(lambda: MLP(64, 64), _cross_entropy(), "adam", {"learning_rate": 3e-3}),
}

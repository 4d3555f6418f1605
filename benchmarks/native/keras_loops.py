"""Keras 3 on whatever ``KERAS_BACKEND`` says: a functional model, compiled, ``train_on_batch`` and ``fit``.

Images are channels first on PyTorch and last on TensorFlow, as each one's kernels want them. Keras's LSTM has one bias where PyTorch's has two,
so that Adam moves it by half as much: another training run, which is why it is not here.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from benchmarks.native import Loop

_FIRST = keras.backend.backend() == "torch"


def pin(threads: int) -> None:
    if _FIRST:
        import torch

        torch.set_num_threads(threads)


def settings() -> dict[str, object]:
    return {"keras": keras.__version__, "layout": "NCHW" if _FIRST else "NHWC"}


def _dense(weights, name, units, activation=None):
    layer = layers.Dense(units, activation=activation, use_bias=f"{name}.bias" in weights, name=name.replace(".", "_"))
    arrays = [weights[f"{name}.weight"].T] + ([weights[f"{name}.bias"]] if f"{name}.bias" in weights else [])
    return layer, arrays


class _Net:
    """A functional model and the arrays that its layers are to start from."""

    def __init__(self, weights):
        self.weights, self.todo = weights, []

    def dense(self, name, x, units, activation=None):
        layer, arrays = _dense(self.weights, name, units, activation)
        return self.apply(layer, arrays, x)

    def apply(self, layer, arrays, x):
        y = layer(x)
        self.todo.append((layer, arrays))
        return y

    def finish(self, inputs, outputs):
        for layer, arrays in self.todo:
            layer.set_weights(arrays)
        return keras.Model(inputs, outputs)


def _regression(weights):
    net, x = _Net(weights), keras.Input((10,))
    return net.finish(x, net.dense("fc2", net.dense("fc1", x, 20, "relu"), 1))


def _mlp(inputs, hidden, outputs):
    def build(weights):
        net, x = _Net(weights), keras.Input((inputs,))
        h = net.dense("fc2", net.dense("fc1", x, hidden, "relu"), hidden, "relu")
        return net.finish(x, net.dense("fc3", h, outputs))

    return build


def _cnn(weights):
    order = "channels_first" if _FIRST else "channels_last"
    net, x = _Net(weights), keras.Input((1, 28, 28) if _FIRST else (28, 28, 1))
    h = x
    for name, filters in (("conv1", 32), ("conv2", 64)):
        layer = layers.Conv2D(filters, 3, padding="same", activation="relu", data_format=order)
        h = net.apply(layer, [weights[f"{name}.weight"].transpose(2, 3, 1, 0), weights[f"{name}.bias"]], h)
        h = layers.MaxPooling2D(2, data_format=order)(h)
    if not _FIRST:  # the flattened planes come channels last
        weights = {**weights, "fc1.weight": weights["fc1.weight"].reshape(-1, 64, 7, 7).transpose(0, 2, 3, 1).reshape(128, -1)}
        net.weights = weights
    h = layers.Reshape((64 * 7 * 7,))(h)
    return net.finish(x, net.dense("fc2", net.dense("fc1", h, 128, "relu"), 10))


class _Attention(layers.Layer):
    def __init__(self, heads, **others):
        super().__init__(**others)
        self.heads = heads

    def call(self, qkv):
        n, t, width = ops.shape(qkv)[0], qkv.shape[1], qkv.shape[2] // 3
        qkv = ops.reshape(qkv, (n, t, 3, self.heads, width // self.heads))
        y = ops.dot_product_attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], is_causal=True)
        return ops.reshape(y, (n, t, width))


class _Positions(layers.Layer):
    def __init__(self, length, width, **others):
        super().__init__(**others)
        self.table = self.add_weight(shape=(length, width), name="table")

    def call(self, x):
        return x + self.table[: x.shape[1]]


def _gpt(weights, depth=4, width=128, heads=4, length=64, symbols=256):
    net, x = _Net(weights), keras.Input((length,), dtype="int64")

    def norm(name, h):
        return net.apply(layers.LayerNormalization(epsilon=1e-5), [weights[f"{name}.weight"], weights[f"{name}.bias"]], h)

    h = net.apply(layers.Embedding(symbols, width), [weights["tokens.weight"]], x)
    h = net.apply(_Positions(length, width), [weights["positions.weight"]], h)
    for i in range(depth):
        b = f"blocks.{i}"
        a = _Attention(heads)(net.dense(f"{b}.qkv", norm(f"{b}.ln1", h), 3 * width))
        h = layers.Add()([h, net.dense(f"{b}.proj", a, width)])
        up = layers.Activation(lambda z: ops.gelu(z, approximate=False))(net.dense(f"{b}.up", norm(f"{b}.ln2", h), 4 * width))
        h = layers.Add()([h, net.dense(f"{b}.down", up, width)])
    return net.finish(x, net.dense("head", norm("ln", h), symbols))


def _recommender(weights, tables=8, rows=10_000, width=16):
    net, numbers, categories = _Net(weights), keras.Input((13,)), keras.Input((tables,), dtype="int64")
    dense = net.dense("bottom2", net.dense("bottom1", numbers, 64, "relu"), width, "relu")
    vectors = [dense] + [net.apply(layers.Embedding(rows, width), [weights[f"tables.{i}.weight"]], categories[:, i]) for i in range(tables)]
    stacked = ops.stack(vectors, axis=1)
    pairs = ops.reshape(ops.matmul(stacked, ops.transpose(stacked, (0, 2, 1))), (-1, (tables + 1) ** 2))
    return net.finish([numbers, categories], net.dense("top2", net.dense("top1", ops.concatenate([dense, pairs], axis=1), 64, "relu"), 1))


def _loop(make, loss, optimizer, images=False, turned=False):
    def build(weights, compile=None):
        model = make(weights)
        model.compile(optimizer=optimizer(), loss=loss(), **({} if compile is None else {"jit_compile": True}))

        def arrays(x):
            if isinstance(x, tuple):
                return list(x)
            return x.transpose(0, 2, 3, 1) if images and not _FIRST else x

        def step(x, y):
            return float(model.train_on_batch(arrays(x), y))

        def predict(x):
            result = np.asarray(model.predict_on_batch(arrays(x)))
            return result.swapaxes(1, 2) if turned else result

        return Loop(step, predict, lambda x, y, batch_size: model.fit(arrays(x), y, batch_size=batch_size, verbose=0))

    return build


def _cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _adam(lr):
    return lambda: keras.optimizers.Adam(lr, epsilon=1e-8)


LOOPS = {
    "regression": _loop(_regression, keras.losses.MeanSquaredError, lambda: keras.optimizers.SGD(0.01)),
    "mlp": _loop(_mlp(784, 512, 10), _cross_entropy, _adam(1e-3)),
    "cnn": _loop(_cnn, _cross_entropy, _adam(1e-3), images=True),
    "gpt": _loop(_gpt, _cross_entropy, lambda: keras.optimizers.AdamW(3e-4, weight_decay=0.01, epsilon=1e-8), turned=True),
    "recommender": _loop(_recommender, lambda: keras.losses.BinaryCrossentropy(from_logits=True), lambda: keras.optimizers.SGD(0.01)),
    "digits": _loop(_mlp(64, 64, 10), _cross_entropy, _adam(3e-3)),
}

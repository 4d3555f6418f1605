"""TensorFlow: one tf.function with a GradientTape, variables, and Keras-free optimizer updates as an expert writes them.

Images are NHWC here, as TensorFlow's CPU kernels want them; the loop transposes once when it takes PyTorch's weights, never in the step.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def pin() -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def wait(loss) -> float:
    return float(loss.numpy())


def _linear(v, name, x):
    y = tf.matmul(x, v[f"{name}.weight"], transpose_b=True) if x.shape.rank == 2 else tf.einsum("nti,oi->nto", x, v[f"{name}.weight"])
    return y + v[f"{name}.bias"] if f"{name}.bias" in v else y


def _norm(v, name, x):
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, v[f"{name}.bias"], v[f"{name}.weight"], 1e-5)


def _regression(v, x, y):
    return tf.reduce_mean(tf.square(_linear(v, "fc2", tf.nn.relu(_linear(v, "fc1", x))) - y))


def _cross_entropy(logits, y):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))


def _mlp(v, x, y):
    h = tf.nn.relu(_linear(v, "fc2", tf.nn.relu(_linear(v, "fc1", x))))
    return _cross_entropy(_linear(v, "fc3", h), y)


def _cnn(v, x, y):
    for name in ("conv1", "conv2"):
        x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, v[f"{name}.weight"], 1, "SAME"), v[f"{name}.bias"]))
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
    h = tf.nn.relu(_linear(v, "fc1", tf.reshape(x, (-1, 64 * 7 * 7))))
    return _cross_entropy(_linear(v, "fc2", h), y)


def _gpt(v, x, y):
    n, t, width, heads = 8, 64, 128, 4
    h = tf.gather(v["tokens.weight"], x) + v["positions.weight"]
    causal = tf.linalg.band_part(tf.ones((t, t)), -1, 0) > 0
    for i in range(4):
        b = f"blocks.{i}"
        qkv = tf.transpose(tf.reshape(_linear(v, f"{b}.qkv", _norm(v, f"{b}.ln1", h)), (n, t, 3, heads, width // heads)), (2, 0, 3, 1, 4))
        scores = tf.matmul(qkv[0], qkv[1], transpose_b=True) / np.float32(np.sqrt(width // heads))
        a = tf.matmul(tf.nn.softmax(tf.where(causal, scores, -np.inf)), qkv[2])
        h = h + _linear(v, f"{b}.proj", tf.reshape(tf.transpose(a, (0, 2, 1, 3)), (n, t, width)))
        h = h + _linear(v, f"{b}.down", tf.nn.gelu(_linear(v, f"{b}.up", _norm(v, f"{b}.ln2", h))))
    return _cross_entropy(_linear(v, "head", _norm(v, "ln", h)), y)


def _sgd(variables, grads, _):
    for p, g in zip(variables, grads, strict=True):
        p.assign_sub(0.01 * g)


def _adam(lr, decay=0.0):
    def update(variables, grads, slots):
        slots["t"].assign_add(1.0)
        step = lr * tf.sqrt(1 - 0.999 ** slots["t"]) / (1 - 0.9 ** slots["t"])
        for p, g, m, s in zip(variables, grads, slots["m"], slots["v"], strict=True):
            g = tf.convert_to_tensor(g)
            if decay:
                p.assign_sub(lr * decay * p)
            m.assign(0.9 * m + 0.1 * g)
            s.assign(0.999 * s + 0.001 * tf.square(g))
            p.assign_sub(step * m / (tf.sqrt(s) + 1e-8))

    return update


def _loop(loss_function, update, images=False):
    def build(weights):
        v = {}
        for name, array in weights.items():
            if array.ndim == 4:
                array = array.transpose(2, 3, 1, 0)
            if images and name == "fc1.weight":  # the flattened planes come channels last
                array = array.reshape(-1, 64, 7, 7).transpose(0, 2, 3, 1).reshape(array.shape)
            v[name] = tf.Variable(array)
        variables = list(v.values())
        slots = {k: [tf.Variable(tf.zeros_like(p)) for p in variables] for k in "mv"} | {"t": tf.Variable(0.0)}

        @tf.function
        def train(x, y):
            with tf.GradientTape() as tape:
                loss = loss_function(v, x, y)
            update(variables, tape.gradient(loss, variables), slots)
            return loss

        def step(x, y):
            return train(tf.constant(x.transpose(0, 2, 3, 1)) if images else tf.constant(x), tf.constant(y))

        return step

    return build


LOOPS = {
    "regression": _loop(_regression, _sgd),
    "mlp": _loop(_mlp, _adam(1e-3)),
    "cnn": _loop(_cnn, _adam(1e-3), images=True),
    "gpt": _loop(_gpt, _adam(3e-4, 0.01)),
}

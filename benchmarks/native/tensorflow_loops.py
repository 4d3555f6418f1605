"""TensorFlow: one tf.function with a GradientTape, variables, and Keras-free optimizer updates as an expert writes them; ``jit_compile`` on request.

Images are NHWC here, as TensorFlow's CPU kernels want them; the loop transposes once when it takes PyTorch's weights, never in the step.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from benchmarks.native import Loop


def pin(threads: int) -> None:
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        pass  # another contestant of this sitting has set them


def settings() -> dict[str, object]:
    return {
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "layout": "NHWC",
    }


def _linear(v, name, x):
    weight = v[f"{name}.weight"]
    y = tf.matmul(x, weight, transpose_b=True) if x.shape.rank == 2 else tf.einsum("nti,oi->nto", x, weight)
    return y + v[f"{name}.bias"] if f"{name}.bias" in v else y


def _norm(v, name, x):
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, v[f"{name}.bias"], v[f"{name}.weight"], 1e-5)


def _regression(v, x, training):
    return _linear(v, "fc2", tf.nn.relu(_linear(v, "fc1", x)))


def _mlp(v, x, training):
    h = tf.nn.relu(_linear(v, "fc2", tf.nn.relu(_linear(v, "fc1", x))))
    return _linear(v, "fc3", h)


def _cnn(v, x, training):
    for name in ("conv1", "conv2"):
        x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, v[f"{name}.weight"], 1, "SAME"), v[f"{name}.bias"]))
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
    h = tf.nn.relu(_linear(v, "fc1", tf.reshape(x, (-1, 64 * 7 * 7))))
    return _linear(v, "fc2", h)


def _resnet18(v, x, training):
    def norm(name, x):
        mean, variance = v[f"{name}.running_mean"], v[f"{name}.running_var"]
        if not training:
            return tf.compat.v1.nn.fused_batch_norm(x, v[f"{name}.weight"], v[f"{name}.bias"], mean, variance, 1e-5, is_training=False)[0]
        y, m, s = tf.compat.v1.nn.fused_batch_norm(x, v[f"{name}.weight"], v[f"{name}.bias"], epsilon=1e-5, is_training=True)
        mean.assign(0.9 * mean + 0.1 * m)
        variance.assign(0.9 * variance + 0.1 * s)
        return y

    def conv(name, x, stride, pad):
        if stride == 1:
            return tf.nn.conv2d(x, v[f"{name}.weight"], 1, "SAME")
        # "SAME" pads even sizes on one side only; a padding of its own keeps oneDNN's kernels, which explicit paddings do not
        return tf.nn.conv2d(tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]]), v[f"{name}.weight"], stride, "VALID")

    x = tf.nn.relu(norm("bn1", conv("conv1", x, 2, 3)))
    x = tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")  # of what relu gave: zeros are its least
    for layer in range(4):
        for part in range(2):
            name = f"layers.{layer}.{part}"
            stride = 2 if layer > 0 and part == 0 else 1
            y = tf.nn.relu(norm(f"{name}.bn1", conv(f"{name}.conv1", x, stride, 1)))
            y = norm(f"{name}.bn2", conv(f"{name}.conv2", y, 1, 1))
            if f"{name}.downsample.0.weight" in v:
                x = norm(f"{name}.downsample.1", conv(f"{name}.downsample.0", x, stride, 0))
            x = tf.nn.relu(x + y)
    return _linear(v, "fc", tf.reduce_mean(x, (1, 2)))


def _gpt(layers, heads):
    def forward(v, x, training):
        n, t = x.shape
        width = v["tokens.weight"].shape[1]
        h = tf.gather(v["tokens.weight"], x) + v["positions.weight"][:t]
        causal = tf.linalg.band_part(tf.ones((t, t)), -1, 0) > 0
        for i in range(layers):
            b = f"blocks.{i}"
            qkv = tf.transpose(tf.reshape(_linear(v, f"{b}.qkv", _norm(v, f"{b}.ln1", h)), (n, t, 3, heads, width // heads)), (2, 0, 3, 1, 4))
            scores = tf.matmul(qkv[0], qkv[1], transpose_b=True) / np.float32(np.sqrt(width // heads))
            a = tf.matmul(tf.nn.softmax(tf.where(causal, scores, -np.inf)), qkv[2])
            h = h + _linear(v, f"{b}.proj", tf.reshape(tf.transpose(a, (0, 2, 1, 3)), (n, t, width)))
            h = h + _linear(v, f"{b}.down", tf.nn.gelu(_linear(v, f"{b}.up", _norm(v, f"{b}.ln2", h))))
        h = _norm(v, "ln", h)
        return _linear(v, "head", h) if "head.weight" in v else tf.einsum("nti,oi->nto", h, v["tokens.weight"])

    return forward


def _lstm(v, x, training):
    """One product for the inputs of all times, then a loop over time."""
    x = tf.transpose(x, (1, 0, 2))
    for layer in range(2):
        w, u = v[f"lstm.weight_ih_l{layer}"], v[f"lstm.weight_hh_l{layer}"]
        before = tf.einsum("tni,oi->tno", x, w) + (v[f"lstm.bias_ih_l{layer}"] + v[f"lstm.bias_hh_l{layer}"])
        width = u.shape[1]
        turned = tf.transpose(u)

        def cell(state, gates, turned=turned):
            h, c = state
            i, f, g, o = tf.split(gates + tf.matmul(h, turned), 4, axis=1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            return tf.sigmoid(o) * tf.tanh(c), c

        zero = tf.zeros((x.shape[1], width))
        x, _ = tf.scan(cell, before, (zero, zero))
    return _linear(v, "fc", x[-1])


def _recommender(v, inputs, training):
    numbers, categories = inputs
    dense = tf.nn.relu(_linear(v, "bottom2", tf.nn.relu(_linear(v, "bottom1", numbers))))
    vectors = tf.stack([dense, *(tf.gather(v[f"tables.{i}.weight"], categories[:, i]) for i in range(8))], 1)
    pairs = tf.reshape(tf.matmul(vectors, vectors, transpose_b=True), (-1, 81))
    return _linear(v, "top2", tf.nn.relu(_linear(v, "top1", tf.concat([dense, pairs], 1))))


def _cross_entropy(logits, y):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))


def _squares(prediction, y):
    return tf.reduce_mean(tf.square(prediction - y))


def _binary(logits, y):
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(y, logits))


def _sgd(lr, momentum=0.0):
    def update(variables, grads, slots):
        for p, g, m in zip(variables, grads, slots["m"] if momentum else variables, strict=True):
            if isinstance(g, tf.IndexedSlices):  # only the rows that a batch names
                p.scatter_sub(tf.IndexedSlices(lr * g.values, g.indices))
            elif momentum:
                m.assign(momentum * m + g)
                p.assign_sub(lr * m)
            else:
                p.assign_sub(lr * g)

    return update


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


def _loop(forward, loss_function, update, images=False, slots="", turn=None):
    def build(weights, compile=None):
        v = {}
        for name, array in weights.items():
            if array.ndim == 4:
                array = array.transpose(2, 3, 1, 0)
            if name.endswith("num_batches_tracked"):
                continue
            if turn is not None and name == turn:  # the flattened planes come channels last
                array = array.reshape(-1, 64, 7, 7).transpose(0, 2, 3, 1).reshape(array.shape)
            v[name] = tf.Variable(array, trainable="running_" not in name)
        variables = [p for p in v.values() if p.trainable]
        state = {k: [tf.Variable(tf.zeros_like(p)) for p in variables] for k in slots} | {"t": tf.Variable(0.0)}

        @tf.function(jit_compile=compile is not None)
        def train(x, y):
            with tf.GradientTape() as tape:
                loss = loss_function(forward(v, x, True), y)
            update(variables, tape.gradient(loss, variables), state)
            return loss

        @tf.function(jit_compile=compile is not None)
        def infer(x):
            return forward(v, x, False)

        def tensors(x):
            if isinstance(x, tuple):
                return tuple(tf.constant(a) for a in x)
            return tf.constant(x.transpose(0, 2, 3, 1)) if images else tf.constant(x)

        return Loop(lambda x, y: float(train(tensors(x), tf.constant(y)).numpy()), lambda x: infer(tensors(x)).numpy())

    return build


def _tokens_second(build):
    """Predictions in unimodel's order of axes, (N, symbols, T); a view."""

    def built(weights, compile=None):
        loop = build(weights, compile)
        return Loop(loop.step, lambda x: loop.predict(x).swapaxes(1, 2))

    return built


LOOPS = {
    "regression": _loop(_regression, _squares, _sgd(0.01)),
    "mlp": _loop(_mlp, _cross_entropy, _adam(1e-3), slots="mv"),
    "cnn": _loop(_cnn, _cross_entropy, _adam(1e-3), images=True, slots="mv", turn="fc1.weight"),
    "resnet18": _loop(_resnet18, _cross_entropy, _sgd(0.01, 0.9), images=True, slots="m"),
    "gpt": _tokens_second(_loop(_gpt(4, 4), _cross_entropy, _adam(3e-4, 0.01), slots="mv")),
    "gpt2-small": _tokens_second(_loop(_gpt(12, 12), _cross_entropy, _adam(3e-4, 0.01), slots="mv")),
    "lstm": _loop(_lstm, _cross_entropy, _adam(1e-3), slots="mv"),
    "recommender": _loop(_recommender, _binary, _sgd(0.01)),
    "digits": _loop(_mlp, _cross_entropy, _adam(3e-3), slots="mv"),
}

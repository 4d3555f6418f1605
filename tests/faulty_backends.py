"""The NumPy backend with one kernel replaced by a wrong one, each under a name of its own, for tools that must find which.

A fault is the source of the kernel; the plugin module that holds it copies NumPy's table and overwrites one entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fake_plugins import install

PLUGIN = """
import numpy as np
from unimodel.backend import Lowerings
from unimodel.plugins import hookimpl
from unimodel_numpy.ops import lower as right
from unimodel_numpy.plugin import NumpyBackend

lower = Lowerings()
for name in right:
    lower(name)(right[name])


{kernel}


class Faulty(NumpyBackend):
    name = "{name}"
    lowerings = lower
{body}

@hookimpl
def unimodel_backend():
    return Faulty
"""


def plant(folder: Path, name: str, kernel: str, body: str = "") -> None:
    """Install a backend of this name with the fault in it."""
    install(folder, name, PLUGIN.format(name=name, kernel=kernel, body=body))


@dataclass(frozen=True)
class Fault:
    """A wrong kernel, and where it must be found: the script that runs it, the phase, the op, and a part of the user's line."""

    kernel: str
    script: str
    phase: str
    op: str
    line: str


MLP = """
import numpy as np
import unimodel as um

class Net(um.Model):
    def __init__(self):
        self.fc1, self.fc2, self.fc3 = um.nn.Linear(4, 8), um.nn.Linear(8, 8), um.nn.Linear(8, 3)
        self.norm, self.dropout = um.nn.LayerNorm(8), um.nn.Dropout(0.25)

    def forward(self, x):
        h = self.fc1(x)
        h = um.ops.relu(h)
        h = self.norm(h)
        h = self.fc2(h)
        h = self.dropout(h)
        p = um.ops.softmax(h, axis=-1)
        spread = um.ops.exp(-um.ops.abs(h))
        h = h - um.ops.mean(h, axis=1, keepdims=True)
        return self.fc3(p + spread + um.ops.tanh(h))

rng = np.random.Generator(np.random.Philox(0))
x, y = rng.standard_normal((40, 4)), rng.integers(0, 3, 40)
loss = um.losses.CrossEntropyLoss(weight=np.array([0.5, 1.0, 2.0]))
trainer = um.Trainer(Net(), loss=loss, optimizer=um.optim.SGD(lr=0.05, momentum=0.9))
trainer.fit((x, y), epochs=2, batch_size=16)
"""

CNN = """
import numpy as np
import unimodel as um

class Net(um.Model):
    def __init__(self):
        self.conv, self.norm = um.nn.Conv2d(1, 4, 3, padding=1), um.nn.BatchNorm2d(4)
        self.pool, self.fc = um.nn.MaxPool2d(2), um.nn.Linear(36, 3)

    def forward(self, x):
        x = self.conv(x)
        x = self.norm(x)
        x = um.ops.relu(x)
        x = self.pool(x)
        return self.fc(x.flatten(1))

rng = np.random.Generator(np.random.Philox(0))
x, y = rng.standard_normal((24, 1, 6, 6)), rng.integers(0, 3, 24)
trainer = um.Trainer(Net(), loss=um.losses.CrossEntropyLoss(), optimizer=um.optim.Adam(lr=0.01))
trainer.fit((x, y), epochs=2, batch_size=10)
"""

WORDS = """
import numpy as np
import unimodel as um

class Net(um.Model):
    def __init__(self):
        self.words, self.fc = um.nn.Embedding(11, 5), um.nn.Linear(5, 1)

    def forward(self, x):
        found = self.words(x)
        total = um.ops.sum(found * found + 1.0, axis=1)
        return self.fc(total)

rng = np.random.Generator(np.random.Philox(0))
x, y = rng.integers(0, 11, (30, 7)), rng.standard_normal((30, 1))
trainer = um.Trainer(Net(), loss=um.losses.MSELoss(), optimizer=um.optim.AdamW(lr=0.01))
trainer.fit((x, y), epochs=2, batch_size=8)
"""

FAULTS = {
    "relu-mask": Fault("lower('relu_gradient')(lambda node, g, y: g)", MLP, "gradient", "relu_gradient", "um.ops.relu(h)"),
    "exp": Fault("lower('exp')(lambda node, x: np.exp(x) * np.asarray(1.001, x.dtype))", MLP, "forward", "exp", "um.ops.exp(-um.ops.abs(h))"),
    "matmul-square": Fault(
        "lower('matmul')(lambda node, a, b: a @ (np.swapaxes(b, -1, -2) if b.shape[-1] == b.shape[-2] else b))", MLP, "forward", "matmul", "self.fc2(h)"
    ),
    "softmax-axis": Fault(
        "lower('softmax')(lambda node, x: np.exp(x - x.max(0)) / np.exp(x - x.max(0)).sum(0))", MLP, "forward", "softmax", "um.ops.softmax(h, axis=-1)"
    ),
    "mean-divisor": Fault(
        "lower('mean')(lambda node, x: np.sum(x, node.attrs['axis'], keepdims=node.attrs['keepdims'], dtype=x.dtype)"
        " / np.asarray(np.prod([x.shape[i] for i in node.attrs['axis']]) - 1, x.dtype))",
        MLP, "forward", "mean", "self.norm(h)",
    ),
    "tanh-flush": Fault("lower('tanh')(lambda node, x: np.where(np.abs(x) < 1e-2, 0, np.tanh(x)).astype(x.dtype))", MLP, "forward", "tanh", "um.ops.tanh(h)"),
    "conv-shift": Fault("lower('conv')(lambda node, x, w: np.roll(right['conv'](node, x, w), 1, -1))", CNN, "forward", "conv", "self.conv(x)"),
    "conv-weight-gradient": Fault(
        "lower('conv_weight_gradient')(lambda node, x, g: right['conv_weight_gradient'](node, x, g)[..., ::-1].copy())",
        CNN, "gradient", "conv_weight_gradient", "self.conv(x)",
    ),
    "batch-norm-eps": Fault(
        """
def channels(v):
    return np.reshape(v, (-1, 1, 1))

@lower('batch_norm_training')
def _(node, x, weight, bias):
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    return (x - channels(mean)) / np.sqrt(channels(variance) + np.asarray(1e-3, x.dtype)) * channels(weight) + channels(bias), mean, variance
""",
        CNN, "forward", "batch_norm_training", "self.norm(x)",
    ),
    "layer-norm-unbiased": Fault(
        """
@lower('layer_norm')
def _(node, x, weight, bias):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, ddof=1, keepdims=True) + np.asarray(1e-5, x.dtype)) * weight + bias
""",
        MLP, "forward", "layer_norm", "self.norm(h)",
    ),
    "pool-gradient": Fault(
        "lower('take_along_axis_gradient')(lambda node, g, i: np.roll(right['take_along_axis_gradient'](node, g, i), 1, node.attrs['axis']))",
        CNN, "gradient", "take_along_axis_gradient", "trainer.fit",
    ),
    "dropout-scale": Fault("lower('masked_dropout')(lambda node, x, mask: x * mask)", MLP, "forward", "masked_dropout", "self.dropout(h)"),
    "class-weight": Fault(
        "lower('take')(lambda node, x, i: np.ones(i.shape, x.dtype) if x.ndim == 1 else right['take'](node, x, i))", MLP, "forward", "take", "trainer.fit"
    ),
    "cross-entropy-kernel": Fault(
        """
@lower('cross_entropy')
def _(node, x, target, weight):
    x = x - x.max(1, keepdims=True)
    picked = np.take_along_axis(x - np.log(np.exp(x).sum(1, keepdims=True)), target[:, None], 1)[:, 0]
    return -picked, np.ones_like(picked)
""",
        MLP, "forward", "cross_entropy", "trainer.fit",
    ),
    "sgd-half-rate": Fault(
        """
@lower('sgd_update')
def _(node, param, grad, lr, damping, buffer):
    buffer = np.asarray(node.attrs['momentum'], param.dtype) * buffer + damping * grad
    return param - lr / 2 * buffer, buffer
""",
        MLP, "update", "sgd_update", "trainer.fit",
    ),
    "adam-epsilon": Fault(
        """
@lower('adam_update')
def _(node, p, g, m, v, lr, c1, c2, largest):
    a = node.attrs
    if a['decoupled']:
        p = p * (1 - lr * np.asarray(a['weight_decay'], p.dtype))
    one, two = np.asarray(a['beta1'], p.dtype), np.asarray(a['beta2'], p.dtype)
    m, v = one * m + (1 - one) * g, two * v + (1 - two) * g * g
    return (p - lr * (m / c1) / np.sqrt(v / c2 + np.asarray(1e-3, p.dtype))).astype(p.dtype), m, v
""",
        CNN, "update", "adam_update", "trainer.fit",
    ),
    "sum-half-precision": Fault(
        "lower('sum')(lambda node, x: np.asarray(np.sum(x.astype('float16'), node.attrs['axis'], keepdims=node.attrs['keepdims']), x.dtype)"
        " if x.dtype.kind == 'f' else right['sum'](node, x))",
        WORDS, "forward", "sum", "um.ops.sum(found * found + 1.0, axis=1)",
    ),
    "embedding-gradient": Fault(
        """
@lower('take_gradient')
def _(node, g, indices):
    total = np.zeros((node.attrs['size'], *g.shape[indices.ndim:]), g.dtype)
    total[indices] = g
    return total
""",
        WORDS, "gradient", "take_gradient", "self.words(x)",
    ),
}  # fmt: skip  # one fault an entry, its kernel and then where it must be found
"""Planted faults, by name."""

"""The promise of one curve: a digits CNN with batch norm and dropout, on every installed backend, in one process.

The three senses of "same numbers" are those of ``docs/design.md``. The reference is NumPy in float64.
"""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

import unimodel as um
from unimodel import plugins

BACKENDS = plugins.names()
PAIRS = list(itertools.combinations(BACKENDS, 2))


class DigitsCNN(um.Model):
    def __init__(self, activation=um.ops.relu):
        self.activation = activation
        self.conv1 = um.nn.Conv2d(1, 8, 3, padding=1)
        self.norm1 = um.nn.BatchNorm2d(8)
        self.conv2 = um.nn.Conv2d(8, 16, 3, padding=1, stride=2, bias=False)
        self.norm2 = um.nn.BatchNorm2d(16)
        self.dropout = um.nn.Dropout(0.3)
        self.fc = um.nn.Linear(16 * 4 * 4, 10)

    def forward(self, x):
        x = self.activation(self.norm1(self.conv1(x)))
        x = self.activation(self.norm2(self.conv2(x)))
        return self.fc(self.dropout(um.ops.flatten(x, 1)))


class WithGradients(um.Trainer):
    """Returns every gradient beside the loss."""

    def step(self, batch):
        x, y = batch
        parameters = dict(self.model.named_parameters())
        loss, grads = um.value_and_grad(lambda: self.loss(self.model(x), y), wrt=list(parameters.values()))
        self.optimizer.update(grads)
        return {"loss": loss, **dict(zip(parameters, grads, strict=True))}


def digits():
    images, labels = load_digits(return_X_y=True)
    return images.reshape(-1, 1, 8, 8) / 16, labels


def trainer(backend, precision="float32", kind=um.Trainer, model=DigitsCNN):
    return kind(
        model(),
        loss=um.losses.CrossEntropyLoss(label_smoothing=0.1),
        optimizer=um.optim.AdamW(lr=2e-3),
        backend=backend,
        precision=precision,
        seed=3,
    )


def losses(trained, epochs, batch_size=64, max_steps=None):
    """The loss of every step."""
    seen = []

    class Watch(um.callbacks.Callback):
        def on_step_end(self, trainer, step, logs):
            seen.append(logs["loss"])

    trained.fit(digits(), epochs=epochs, batch_size=batch_size, callbacks=[Watch()], verbose=False, max_steps=max_steps)
    return np.array(seen)


@pytest.fixture(scope="module")
def double():
    """200 steps in float64 on every backend, all in this process."""
    return {b: losses(trainer(b, "float64"), 8, max_steps=200) for b in BACKENDS}


@pytest.fixture(scope="module")
def single():
    """100 steps in float32 on every backend, all in this process."""
    return {b: losses(trainer(b), 4, max_steps=100) for b in BACKENDS}


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_float64_curves_are_one(double, a, b):
    assert len(double[a]) == 200
    np.testing.assert_allclose(double[a], double[b], rtol=1e-8)


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_float32_curves_stay_together(single, a, b):
    assert len(single[a]) == 100
    assert np.abs(single[a] - single[b]).max() <= 1e-3 * single[a][0]


def test_curves_go_down(single):
    for curve in single.values():
        assert curve[-10:].mean() < 0.5 * curve[0]


def smooth():
    """With GELU: at a ReLU's kink a rounding of 1e-6 switches a unit, and its whole gradient with it, for which no kernel can be blamed."""
    return DigitsCNN(um.ops.gelu)


def test_float32_in_lockstep():
    """From each of 200 states along the float64 path, one step on every backend in float32."""
    reference = trainer("numpy", "float64", WithGradients, smooth)
    others = {b: trainer(b, "float32", WithGradients, smooth) for b in BACKENDS}
    x, y = digits()
    rng = np.random.Generator(np.random.Philox(7))
    for state in range(200):
        rows = rng.permutation(len(x))[:32]
        before = {n: reference._um_runtime.store.read(n) for n in reference._um_runtime.variables}
        expected = {k: np.asarray(v) for k, v in reference.train_step((x[rows], y[rows])).items()}
        after = reference.model.state_dict()
        norm = np.sqrt(sum((expected[n] ** 2).sum() for n in expected if n != "loss"))
        for backend, other in others.items():
            runtime = other._um_runtime
            if state == 0:
                other.train_step((x[rows], y[rows]))  # makes the optimizer's slots
                before = {n: before.get(n, np.zeros(v.shape)) for n, v in runtime.variables.items()}
            for name, array in before.items():
                runtime.store.write(name, array.astype(runtime.store.read(name).dtype))
            other._um_steps, other.optimizer.__dict__["_um_steps"] = state, state
            got = {k: np.asarray(v) for k, v in other.train_step((x[rows], y[rows])).items()}
            assert abs(got["loss"] - expected["loss"]) <= 2e-6 * abs(expected["loss"]), (backend, state)
            for name, gradient in expected.items():
                if name != "loss":
                    floor = max(np.linalg.norm(gradient), 1e-6 * norm)
                    assert np.linalg.norm(got[name] - gradient) <= 1e-4 * floor or np.linalg.norm(gradient) < 1e-6 * norm, (backend, state, name)
            for name, array in other.model.state_dict().items():
                quiet = name in expected and np.linalg.norm(expected[name]) < 1e-6 * norm  # Adam makes full steps of noise here
                if not quiet and name != "norm1.num_batches_tracked":
                    assert np.linalg.norm(array - after[name]) <= 1e-4 * max(np.linalg.norm(after[name]), 1e-8), (backend, state, name)


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(BACKENDS, 2)))
def test_a_run_continues_on_another_backend(tmp_path, double, first, second):
    begun = trainer(first, "float64")
    start = losses(begun, 3)
    begun.save(tmp_path / "run.um")
    rest = losses(trainer(second, "float64").load(tmp_path / "run.um"), 6, max_steps=200 - len(start))
    np.testing.assert_allclose(np.concatenate([start, rest]), double[second], rtol=1e-8)


@pytest.mark.parametrize("backend", BACKENDS)
def test_alone_in_a_process_a_backend_gives_the_same_curve(single, backend):
    code = (
        f"import sys; sys.path.insert(0, {str(__file__).rpartition('/')[0]!r}); import test_same_numbers as t; print(list(t.losses(t.trainer({backend!r}), 1)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    alone = np.array(eval(done.stdout.strip().splitlines()[-1], {"np": np}))
    np.testing.assert_allclose(alone, single[backend][: len(alone)], rtol=1e-5)

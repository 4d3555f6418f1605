"""What users of PyTorch, Lightning and Keras write by habit gives what they expect, or an error that says what to write; never another number in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import unimodel as um
from unimodel import ops
from unimodel.errors import CheckpointError, DataError, NonFiniteError, ShapeError, TraceError

RNG = np.random.Generator(np.random.Philox(0))
X = RNG.standard_normal((12, 4)).astype("float32")
Y = (X.sum(1, keepdims=True) > 0).astype("float32")


def trainer(net: Any = None, loss: Any = None, **options: Any) -> um.Trainer:
    return um.Trainer(net or um.nn.Linear(4, 1), loss=loss or um.losses.MSELoss(), **{"optimizer": um.optim.SGD(lr=0.1), **options})


def run(function: Any, *arrays: Any) -> Any:
    with um.use_backend("numpy"):
        return um.run(function, *arrays)


# ------------------------------------------------------------------------------------------------------------------ tensors


@pytest.mark.parametrize("name", ["max", "min", "median"])
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("keepdim", [False, True])
def test_an_extreme_along_a_dimension_is_a_pair_as_in_pytorch(name: str, dim: int, keepdim: bool) -> None:
    x = np.array([[3.0, 1.0, 3.0], [np.nan, 5.0, 2.0], [0.0, -1.0, 7.0], [2.0, 2.0, 2.0]], "float32")
    values, indices = run(lambda x: getattr(x, name)(dim, keepdim), x)
    wanted = getattr(torch.from_numpy(x), name)(dim, keepdim)
    np.testing.assert_array_equal(values, wanted.values.numpy())
    assert values.shape == indices.shape
    chosen = np.take_along_axis(x, indices if keepdim else np.expand_dims(indices, dim), dim)
    np.testing.assert_array_equal(chosen if keepdim else chosen.squeeze(dim), values)
    if name != "median":  # of equal elements in the middle PyTorch takes any
        np.testing.assert_array_equal(indices, wanted.indices.numpy())


@pytest.mark.parametrize("name", ["max", "min", "median"])
def test_its_gradient_goes_to_the_element_it_chose(name: str) -> None:
    x = np.array([[3.0, 1.0, 2.0], [0.5, 5.0, 2.5]], "float32")
    given = run(lambda x: um.value_and_grad(lambda: (getattr(x, name)(1)[0] * np.array([1.0, 2.0], "float32")).sum(), wrt=x)[1], x)
    t = torch.from_numpy(x).requires_grad_()
    (getattr(t, name)(1)[0] * torch.tensor([1.0, 2.0])).sum().backward()
    np.testing.assert_array_equal(given, t.grad.numpy())


def test_the_pair_has_pytorchs_names_and_without_a_dimension_there_is_none() -> None:
    x = X[:3]
    named = run(
        lambda x: (
            x.max(1).values,
            x.min(1).indices,
            x.max(),
            x.min(),
            x.median(),
            x.max(axis=1),
            x.max(x * 0.0),
            x.min(x * 0.0),
            x.std(),
            x.var(0),
            x.std(dim=1),
        ),
        x,
    )
    t = torch.from_numpy(x)
    wanted = (t.max(1).values, t.min(1).indices, t.max(), t.min(), t.median(), t.amax(1), t.max(t * 0), t.min(t * 0), t.std(), t.var(0), t.std(dim=1))
    for given, expected in zip(named, wanted, strict=True):
        np.testing.assert_allclose(given, expected.numpy(), rtol=1e-6)
    with pytest.raises(ShapeError, match=r"amax\(dim\)"):
        run(lambda x: x.max((0, 1)), x)


@pytest.mark.parametrize(
    "index",
    [
        lambda i, j: (i, j),
        lambda i, j: (i[:, None], j),
        lambda i, j: (slice(None), i % 2, j),
        lambda i, j: (slice(1, 4), i % 2, j, 0),
        lambda i, j: (i % 2, j % 3, j % 2),
        lambda i, j: (Ellipsis, i % 2, j % 3),
    ],
)
def test_several_tensor_indices_side_by_side(index: Any) -> None:
    """As NumPy and PyTorch: broadcast together, and what they choose stands in their place; gradients add up where an index comes twice."""
    x = RNG.standard_normal((5, 4, 6, 3)).astype("float32")[:, :, :4]
    i, j = np.array([0, 3, 3, 1]), np.array([2, 0, 0, 1])
    wanted = x[index(i, j)]
    given, gradient = run(lambda x, i, j: um.value_and_grad(lambda: ((y := x[index(i, j)]) * y).sum(), wrt=x)[::1], x, i, j)
    np.testing.assert_array_equal(run(lambda x, i, j: x[index(i, j)], x, i, j), wanted)
    t = torch.from_numpy(x).requires_grad_()
    (t[index(torch.from_numpy(i), torch.from_numpy(j))] ** 2).sum().backward()
    np.testing.assert_allclose(gradient, t.grad.numpy(), rtol=1e-6)
    np.testing.assert_allclose(given, (wanted**2).sum(), rtol=1e-5)


def test_tensor_indices_that_are_apart_are_refused() -> None:
    with pytest.raises(ShapeError, match="side by side"):
        run(lambda x, i: x[i, :, i], np.zeros((3, 3, 3)), np.array([0, 1]))


# ------------------------------------------------------------------------------------------------------------------ metrics


class Shaped(um.Model):
    def __init__(self) -> None:
        self.fc = um.nn.Linear(4, 1)

    def forward(self, x: Any) -> Any:
        return ops.sigmoid(self.fc(x)).reshape(-1)


@pytest.mark.parametrize("kind", ["sigmoid", "reshaped", "logits"])
def test_what_a_sigmoid_made_is_judged_as_a_probability(kind: str) -> None:
    nets: dict[str, Any] = {"sigmoid": um.nn.Sequential(um.nn.Linear(4, 1), um.nn.Sigmoid()), "reshaped": Shaped(), "logits": um.nn.Linear(4, 1)}
    y = Y[:, 0] if kind == "reshaped" else Y
    loss = um.losses.BCEWithLogitsLoss() if kind == "logits" else um.losses.BCELoss()
    metrics = [um.metrics.Accuracy(), um.metrics.F1Score(), um.metrics.ConfusionMatrix(), um.metrics.Accuracy(threshold=0.9, name="strict")]
    t = trainer(nets[kind], loss, metrics=metrics)
    t.fit((X, y), epochs=3, verbose=False)
    found, p = t.evaluate((X, y)), t.predict(X)
    right = (p > (0.0 if kind == "logits" else 0.5)) == (y > 0.5)
    assert right.mean() > 0 and found["accuracy"] == pytest.approx(right.mean())
    assert found["confusion_matrix"].trace() == right.sum()
    assert found["strict"] == pytest.approx(((p > 0.9) == (y > 0.5)).mean())
    assert t.fit((X, y), batch_size=12, verbose=False).history["accuracy"] == [pytest.approx(right.mean())]


class TwoHeads(um.Model):
    def __init__(self) -> None:
        self.a, self.b = um.nn.Linear(4, 1), um.nn.Linear(4, 1)

    def forward(self, x: Any) -> Any:
        return {"a": self.a(x), "b": self.b(x)}


def test_a_metric_of_a_dict_says_how_to_choose() -> None:
    class OfA(um.metrics.MeanAbsoluteError):
        def measure(self, input: Any, target: Any, sample_weight: Any = None) -> Any:
            return super().measure(input["a"], target, sample_weight)

    def loss(output: Any, target: Any) -> Any:
        return ((output["a"] - target) ** 2).mean() + ((output["b"] - target) ** 2).mean()

    assert trainer(TwoHeads(), loss, metrics=[OfA(name="a")]).evaluate((X, Y))["a"] > 0
    with pytest.raises(DataError, match="forward returned several"):
        trainer(TwoHeads(), loss, metrics=[um.metrics.Accuracy()]).evaluate((X, Y))


# ----------------------------------------------------------------------------------------------------------------- schedules


def test_two_schedules_of_one_optimizer_are_refused_unless_combined_or_chosen() -> None:
    def made() -> tuple[um.Trainer, Any, Any]:
        optimizer = um.optim.SGD(lr=0.1)
        t = trainer(optimizer=optimizer)
        return t, um.optim.lr_scheduler.StepLR(optimizer, 1), um.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

    t, _, _ = made()
    with pytest.raises(DataError, match="follows one") as caught:
        t.fit((X, Y), verbose=False)
    assert "StepLR, ExponentialLR" in str(caught.value)

    t, a, b = made()
    um.optim.lr_scheduler.ChainedScheduler([a, b])
    t.fit((X, Y), epochs=2, verbose=False)
    assert t.optimizer.lr == pytest.approx(0.1 * 0.1**2 * 0.9**2)

    t, a, b = made()
    t.optimizer.scheduler = b
    t.fit((X, Y), epochs=2, verbose=False)
    assert t.optimizer.lr == pytest.approx(0.1 * 0.9**2)
    um.optim.lr_scheduler.StepLR(t.optimizer, 1)  # for a second phase: the one before has run
    t.fit((X, Y), verbose=False)


# ---------------------------------------------------------------------------------------------------------------- training


def test_a_loss_that_depends_on_no_parameter_is_refused() -> None:
    with pytest.raises(TraceError, match="depends on no parameter"):
        trainer(loss=lambda output, target: target.mean()).fit((X, Y), verbose=False)
    with pytest.raises(TraceError, match="the loss returned None"):
        trainer(loss=lambda output, target: None).fit((X, Y), verbose=False)
    frozen = um.nn.Linear(4, 1).requires_grad_(False)
    trainer(frozen).fit((X, Y), verbose=False)  # nothing to train is what was asked for


def test_a_step_that_updates_nothing_is_noticed() -> None:
    class Forgets(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            loss, _ = um.value_and_grad(lambda: self.loss(self.model(batch[0]), batch[1]), wrt=self.model.parameters())  # type: ignore[misc]  # the loss is given
            return {"loss": loss}

    with pytest.warns(UserWarning, match="updates no parameter"):
        Forgets(um.nn.Linear(4, 1), loss=um.losses.MSELoss(), optimizer=um.optim.SGD()).train_step((X, Y))


def test_value_and_grad_of_a_result_says_to_pass_a_function() -> None:
    with pytest.raises(TraceError, match="takes a function") as caught:
        run(lambda x: um.value_and_grad((x * x).sum(), wrt=x), X)
    assert "lambda" in str(caught.value.remedy)


def test_lightnings_methods_and_keras_events_are_told_apart_from_ours() -> None:
    with pytest.raises(TraceError, match="training_step would never be called"):

        class Lit(um.Trainer):
            def training_step(self, batch: Any, index: int) -> Any:
                return None

    class Events(um.callbacks.Callback):
        def on_batch_end(self, *args: Any) -> None:
            raise AssertionError

    with pytest.raises(DataError, match="on_batch_end would never be called") as caught:
        trainer().fit((X, Y), verbose=False, callbacks=[Events()])
    assert "on_step_end" in str(caught.value.expected)


def test_targets_given_to_predict_are_refused() -> None:
    batches = [(X[:4], Y[:4]), (X[4:], Y[4:])]
    for data in ((X, Y), batches):
        with pytest.raises(DataError, match="does not take these inputs") as caught:
            trainer().predict(data)
        assert "predict(x)" in str(caught.value.remedy)
    with pytest.raises(TraceError, match="a dict of 'image', 'mask'"):
        trainer(TwoHeads()).predict({"image": X, "mask": X})


def test_nan_in_the_data_is_named() -> None:
    x = X.copy()
    x[7, 2] = np.nan
    with pytest.raises(NonFiniteError) as caught:
        trainer().fit((x, Y), verbose=False)
    assert "(7, 2) of data.0" in str(caught.value.given)
    with pytest.raises(NonFiniteError) as caught:
        trainer(optimizer=um.optim.SGD(lr=1e30)).fit((X, Y), epochs=5, verbose=False)
    assert "learning rate" in str(caught.value.remedy)


@pytest.mark.parametrize("draw", [lambda: np.random.standard_normal(4).astype("float32"), lambda: __import__("random").random()])
def test_random_numbers_of_numpy_in_forward_are_noticed(draw: Any) -> None:
    class Noisy(um.Model):
        def __init__(self) -> None:
            self.fc = um.nn.Linear(4, 1)

        def forward(self, x: Any) -> Any:
            return self.fc(x + draw())

    with pytest.warns(UserWarning, match="the same at every step"):
        trainer(Noisy()).train_step((X, Y))


# ------------------------------------------------------------------------------------------------------------------- state


class Counting(um.Model):
    def __init__(self) -> None:
        self.fc = um.nn.Linear(4, 1)
        self.seen = um.Buffer((), init=0.0)

    def forward(self, x: Any) -> Any:
        self.seen = self.seen + 1.0
        return self.fc(x)


def test_a_buffer_is_set_by_assignment_as_in_pytorch() -> None:
    net = Counting()
    t = trainer(net)
    t.fit((X, Y), epochs=3, batch_size=6, verbose=False)
    assert isinstance(net.seen, um.Buffer) and net.seen.data == 6.0 == net.state_dict()["seen"]


def test_numbers_of_a_parameter_cannot_be_written_into_in_silence() -> None:
    net = um.nn.Linear(4, 1)
    for _ in range(2):
        with pytest.raises(ValueError, match="read-only"):
            net.weight.data[:] = 0
        net.weight.data = net.weight.data * 0
        assert not net.weight.data.any()
        net.state_dict()["weight"][:] = 1  # a dict of one's own
        trainer(net)


def test_weights_for_another_last_layer(tmp_path: Path) -> None:
    """load_state_dict refuses other shapes, strict or not, as PyTorch; load_weights leaves them out."""
    ten, five = (um.nn.Sequential(um.nn.Linear(4, 8), um.nn.Linear(8, n)) for n in (10, 5))
    save_file(ten.state_dict(), tmp_path / "ten.safetensors")
    with pytest.raises(CheckpointError) as caught:
        five.load_state_dict(tmp_path / "ten.safetensors", strict=False)
    assert "load_weights" in str(caught.value.remedy)
    found = um.models.load_weights(five, tmp_path / "ten.safetensors", strict=False)
    assert found.missing_keys == ["1.weight", "1.bias"]
    np.testing.assert_array_equal(five.state_dict()["0.weight"], ten.state_dict()["0.weight"])
    with pytest.raises(CheckpointError):
        um.models.load_weights(five, tmp_path / "ten.safetensors")

"""Errors: each of the contract, of its class, early, saying what was expected, what came and what to do; and nothing is broken afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import errors, ops
from unimodel.backend import Capability
from unimodel_conformance.subject import Subject, assert_close

pytestmark = pytest.mark.concerns("error")

F = np.float32


def refuses(kind: type[errors.UnimodelError], action: Callable[[], Any], *words: str) -> errors.UnimodelError:
    """The action raises this class, with these words in the message and the lines that every message has."""
    with pytest.raises(kind) as caught:
        action()
    error = caught.value
    assert type(error) is kind, f"a {type(error).__name__} was raised, expected {kind.__name__}"
    text = str(error)
    assert all(w in text for w in words), f"the message does not say {words}: {text}"
    assert error.message and (error.expected is not None or error.given is not None), f"the message names neither what was expected nor what came: {text}"
    return error


def here(error: errors.UnimodelError) -> None:
    assert error.source is not None and error.source.file == __file__, f"the error speaks of {error.source}, not of the line that caused it"


# ------------------------------------------------------------------------------------------------------- shapes, while tracing

SHAPES: dict[str, Callable[[], Any]] = {
    "Linear": lambda: um.nn.Linear(3, 2)(np.ones((4, 5), F)),
    "Conv2d": lambda: um.nn.Conv2d(3, 2, 3)(np.ones((1, 1, 8, 8), F)),
    "Conv2d of a matrix": lambda: um.nn.Conv2d(3, 2, 3)(np.ones((8, 8), F)),
    "Conv2d of small images": lambda: um.nn.Conv2d(1, 2, 5)(np.ones((1, 1, 3, 3), F)),
    "BatchNorm2d": lambda: um.nn.BatchNorm2d(3)(np.ones((2, 4, 5, 5), F)),
    "LayerNorm": lambda: um.nn.LayerNorm(3)(np.ones((2, 4), F)),
    "MaxPool2d": lambda: um.nn.MaxPool2d(5)(np.ones((1, 1, 3, 3), F)),
    "Embedding of floats": lambda: um.nn.Embedding(3, 2)(np.ones((2,), F)),
    "add": lambda: ops.add(np.ones((2, 3), F), np.ones((4,), F)),
    "matmul": lambda: ops.matmul(np.ones((2, 3), F), np.ones((2, 3), F)),
    "concat": lambda: ops.concat([np.ones((2, 3), F), np.ones((2, 4), F)]),
    "reshape": lambda: ops.reshape(np.ones((2, 3), F), (4,)),
    "permute_dims": lambda: ops.permute_dims(np.ones((2, 3), F), (0, 0)),
    "sum": lambda: ops.sum(np.ones((2, 3), F), axis=2),
    "where": lambda: ops.where(np.ones(3, F), np.ones(3, F), np.ones(3, F)),
    "take": lambda: ops.take(np.ones(3, F), np.ones(2, F)),
    "exp of integers": lambda: ops.exp(np.ones(3, "int64")),
    "logic of numbers": lambda: ops.logical_and(np.ones(3, F), np.ones(3, F)),
    "MSELoss": lambda: um.run(lambda a, b: um.losses.MSELoss()(a, b), np.ones((4, 1), F), np.ones((4,), F)),
    "CrossEntropyLoss": lambda: um.run(lambda a, b: um.losses.CrossEntropyLoss()(a, b), np.ones((4, 3), F), np.ones((4, 1), "int64")),
    "CrossEntropyLoss weight": lambda: um.run(lambda a, b: um.losses.CrossEntropyLoss(weight=np.ones(2))(a, b), np.ones((4, 3), F), np.ones(4, "int64")),
    "a gradient of many numbers": lambda: um.run(lambda x: um.value_and_grad(lambda: x * 2.0, wrt=x)[1], np.ones(3, F)),
    "a layer's sizes": lambda: um.nn.Linear(0, 2),
    "groups": lambda: um.nn.Conv2d(3, 4, 3, groups=2),
    "a probability": lambda: um.nn.Dropout(1.5),
}


@pytest.mark.concerns("error", "ShapeError")
@pytest.mark.parametrize("what", SHAPES)
def test_shapes_that_do_not_fit(subject: Subject, what: str) -> None:
    refuses(errors.ShapeError, SHAPES[what])


@pytest.mark.concerns("error", "ShapeError")
def test_the_users_line_is_named(subject: Subject) -> None:
    """The error names the line of the forward that made the op, the layer, and both shapes; nothing of the model has changed."""

    class Net(um.Model):
        def __init__(self) -> None:
            self.first = um.nn.Linear(3, 4)
            self.second = um.nn.Linear(5, 1)

        def forward(self, x: Any) -> Any:
            h = self.first(x)
            return self.second(h)

    net = Net()
    error = refuses(errors.ShapeError, lambda: net(np.ones((2, 3), F)), "5", "4")
    here(error)
    assert "second" in str(error.source), f"the layer is not named: {error}"
    before = net.state_dict()
    trainer = um.Trainer(net)
    refuses(errors.ShapeError, lambda: trainer.predict(np.ones((2, 3), F)))
    assert_close(net.state_dict(), before, 0.0, "weights after an error")


# ------------------------------------------------------------------------------------------------------- numbers, while tracing


class Odd(um.Model):
    """Its forward does what the test says."""

    def __init__(self, action: Callable[[Any], Any]) -> None:
        self.action = action

    def forward(self, x: Any) -> Any:
        return self.action(x)


TRACED: dict[str, Callable[[Any], Any]] = {
    "if": lambda x: x if ops.sum(x) > 0 else -x,
    "float": lambda x: x * float(ops.sum(x)),
    "int": lambda x: x * int(ops.sum(x)),
    "item": lambda x: x * ops.sum(x).item(),
    "numpy": lambda x: np.exp(x),
    "np.sum": lambda x: np.sum(x),
    "asarray": lambda x: np.asarray(x),
    "an object": lambda x: x + object(),
    "a foreign parameter": lambda x: x + um.Parameter((3,), 0.0),
}


@pytest.mark.concerns("error", "TraceError")
@pytest.mark.parametrize("what", TRACED)
def test_traced_values_have_no_numbers(subject: Subject, what: str) -> None:
    """Branching on a traced value, turning it into a number, or handing it to NumPy is refused with the remedy."""
    error = refuses(errors.TraceError, lambda: Odd(TRACED[what])(np.ones((2, 3), F))) if what != "an object" else _object_error()
    here(error)
    assert error.remedy, "no remedy"
    if what == "if":
        assert "um.ops.where" in str(error)


def _object_error() -> errors.UnimodelError:
    with pytest.raises(errors.TraceError) as caught:
        Odd(TRACED["an object"])(np.ones((2, 3), F))
    return caught.value


@pytest.mark.concerns("error", "TraceError")
def test_outside_a_step(subject: Subject) -> None:
    """Gradients, assignments and escaped tensors belong in a step."""
    with pytest.raises(errors.TraceError):
        um.value_and_grad(lambda: 1.0, wrt=np.ones(2))
    with pytest.raises(errors.TraceError):
        um.Buffer((2,)).assign(np.ones(2))
    kept: list[Any] = []
    Odd(lambda x: kept.append(x) or x)(np.ones((1, 2), F))
    with pytest.raises(errors.TraceError):
        Odd(lambda x: x + kept[0])(np.ones((1, 2), F))


# ------------------------------------------------------------------------------------------------------------------- data


class Line(um.Model):
    def __init__(self) -> None:
        self.layer = um.nn.Linear(2, 3)

    def forward(self, x: Any) -> Any:
        return self.layer(x)


def trainer(loss: Any = None, **options: Any) -> um.Trainer:
    return um.Trainer(Line(), loss or um.losses.CrossEntropyLoss(), um.optim.SGD(lr=0.1, momentum=0.9), **options)


X, Y = np.ones((4, 2), F), np.array([0, 1, 2, 0])
NEEDS = pytest.mark.needs(Capability.TRAINING)


def data_errors(t: um.Trainer) -> dict[str, Callable[[], Any]]:
    def fit(*data: Any, **options: Any) -> Callable[[], Any]:
        return lambda: t.fit(*data, verbose=False, **options)

    return {
        "a class that is too large": fit((X, np.array([0, 1, 3, 0]))),
        "a negative class": fit((X, np.array([0, -1, 2, 0]))),
        "a late class that is too large": fit((np.ones((50, 2), F), np.array([0] * 49 + [5])), batch_size=4),
        "lengths that differ": fit((X, Y[:3])),
        "no samples": fit((X[:0], Y[:0])),
        "no data": fit(None),
        "an empty list": fit([]),
        "an empty batch": lambda: t.train_step((X[:0], Y[:0])),
        "text": fit((np.array([["a", "b"]] * 4), Y)),
        "a single array": fit(X),
        "a batch size of 0": fit((X, Y), batch_size=0),
        "negative epochs": fit((X, Y), epochs=-1),
        "weights of another shape": fit((X, Y), sample_weight=np.ones((4, 2))),
        "a batch of differing lengths": lambda: t.train_step((X, Y[:2])),
    }


@NEEDS
@pytest.mark.concerns("error", "DataError")
@pytest.mark.parametrize("what", data_errors(None))  # type: ignore[arg-type]  # only the names are taken here
def test_data_that_cannot_be_trained_on(subject: Subject, what: str) -> None:
    """Refused on the host, before a step runs; the trainer is as it was and trains on."""
    t = trainer()
    t.train_step((X, Y))
    before, steps = t.model.state_dict(), t.global_step
    with pytest.raises(errors.DataError) as caught:
        data_errors(t)[what]()
    assert caught.value.message, "no message"
    assert t.global_step == steps, f"{t.global_step - steps} steps were made before the error"
    assert_close(t.model.state_dict(), before, 0.0, "weights after refused data")
    t.train_step((X, Y))
    assert t.global_step == steps + 1


@pytest.mark.concerns("error", "DataError")
def test_indices_out_of_range(subject: Subject) -> None:
    """An embedding's index out of range is refused with its value and place, whatever the framework would do with it; in predict too."""

    class Words(um.Model):
        def __init__(self) -> None:
            self.embed = um.nn.Embedding(5, 2)

        def forward(self, ids: Any) -> Any:
            return self.embed(ids)

    words = um.Trainer(Words())
    for wrong in (5, -1, 1000):
        ids = np.array([[0, 4], [wrong, 1]])
        refuses(errors.DataError, lambda ids=ids: words.predict(ids), str(wrong), "[0, 5)")
        refuses(errors.DataError, lambda ids=ids: words.model(ids), str(wrong))
    assert words.predict(np.array([[0, 4]])).shape == (1, 2, 2)


@NEEDS
@pytest.mark.concerns("error", "DataError")
def test_ignored_targets_pass(subject: Subject) -> None:
    """The ignored class is no index out of range."""
    t = trainer(um.losses.CrossEntropyLoss(ignore_index=-7))
    t.fit((X, np.array([0, -7, 2, -7])), verbose=False)
    refuses(errors.DataError, lambda: t.fit((X, np.array([0, -100, 2, -7])), verbose=False), "-100")


@NEEDS
@pytest.mark.concerns("error", "other shapes")
def test_batches_of_another_kind(subject: Subject) -> None:
    """Another feature shape or rank is refused; another length is fine, and so are float64 and small integers."""
    t = trainer()
    t.train_step((X, Y))
    with pytest.raises((errors.ShapeError, errors.DataError)):
        t.train_step((np.ones((4, 3), F), Y))
    with pytest.raises((errors.ShapeError, errors.DataError)):
        t.train_step((np.ones((4, 2, 2), F), Y))
    t.train_step((X[:3].astype("float64"), Y[:3].astype("uint8")))
    assert t.global_step == 2


# --------------------------------------------------------------------------------------------- arguments, plugins, capabilities


@NEEDS
@pytest.mark.concerns("error", "arguments")
def test_arguments_of_a_trainer(subject: Subject) -> None:
    """A class in place of an instance, a limit that is not positive, an optimizer of a strange model."""
    for make in (
        lambda: um.Trainer("model"),
        lambda: um.Trainer(Line(), loss=um.losses.MSELoss),
        lambda: um.Trainer(Line(), optimizer="adam"),
        lambda: trainer(clip_grad_norm=0.0),
        lambda: trainer(clip_grad_value=-1.0),
        lambda: um.Trainer({"a": Line()}, optimizer={"b": um.optim.SGD()}),
        lambda: um.Trainer(Line(), optimizer=um.optim.SGD([um.Parameter((2,))])),
        lambda: um.losses.MSELoss(reduction="average"),
    ):
        with pytest.raises(errors.DataError):
            make()


@pytest.mark.concerns("error", "UnsupportedError")
def test_unknown_device_and_precision(subject: Subject) -> None:
    """A device or a precision that is not there is refused when the trainer is made."""
    refuses(errors.UnsupportedError, lambda: um.Trainer(Line(), device="device that is not there"), "cpu")
    refuses(errors.UnsupportedError, lambda: um.Trainer(Line(), precision="float8"), "float32")


@pytest.mark.concerns("error", "PluginError")
def test_unknown_backend(subject: Subject) -> None:
    error = refuses(errors.PluginError, lambda: um.Trainer(Line(), backend="no such backend"), subject.name)
    assert error.remedy, "no remedy"


@NEEDS
@pytest.mark.concerns("error", "UnsupportedError")
def test_sample_weights_need_terms(subject: Subject) -> None:
    """A loss without a value per sample cannot be weighed, and says so instead of ignoring the weights."""

    class Whole(um.Loss):
        def forward(self, input: Any, target: Any) -> Any:
            return ops.mean((input - target) ** 2)

    t = um.Trainer(Line(), Whole(), um.optim.SGD(lr=0.1))
    with pytest.raises((errors.UnsupportedError, errors.DataError)):
        t.fit((X, np.ones((4, 3), F)), sample_weight=np.ones(4), verbose=False)
    assert t.global_step == 0


@NEEDS
@pytest.mark.concerns("error", "after an error")
def test_training_goes_on_after_errors(subject: Subject) -> None:
    """Errors of every kind between steps leave the curve as it is without them."""
    calm, troubled = trainer(), trainer()

    def curve(t: um.Trainer, trouble: bool) -> list[float]:
        found = []
        for i in range(4):
            if trouble:
                for batch in ((np.ones((4, 5), F), Y), (X, np.array([0, 9, 1, 1])), (X[:0], Y[:0])):
                    with pytest.raises(errors.UnimodelError):
                        t.train_step(batch)
            found.append(float(t.train_step((X + i, Y))["loss"]))
        return found

    assert curve(troubled, True) == curve(calm, False)


@pytest.mark.concerns("error", "messages")
def test_messages_are_the_same_as_on_the_reference(subject: Subject) -> None:
    """Errors are raised by core before any framework runs, so that NumPy's message is this backend's."""

    def message(backend: str | None, action: Callable[[um.Trainer], Any]) -> str:
        with pytest.raises(errors.UnimodelError) as caught:
            action(um.Trainer(Line(), backend=backend))
        return f"{type(caught.value).__name__}: {caught.value}"

    actions: list[Callable[[um.Trainer], Any]] = [
        lambda t: t.predict(np.ones((2, 7), F)),
        lambda t: t.predict(np.ones((0, 2), F)),
        lambda t: t.model.load_state_dict({"layer.weight": np.ones((9, 9))}),
    ]
    for action in actions:
        assert message(None, action) == message("numpy", action)

"""Every mistake a user can make is met by an error of the promised class, that shows the user's own line and says what to do.

Each case is a small function; the line at fault ends in the comment ``here``, and must be in the message.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from error_checks import IMAGES, LABELS, Forward, X, Y, classifier, says, trainer

import unimodel as um
from unimodel import nn, ops
from unimodel.errors import (
    DataError,
    NonFiniteError,
    ShapeError,
    TraceError,
)

# ------------------------------------------------------------------------------------------------------- what goes into a model


class Net(um.Model):
    def __init__(self) -> None:
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(5, 1)

    def forward(self, x: Any) -> Any:
        x = ops.relu(self.first(x))
        return self.second(x)  # here


def test_sizes_that_do_not_fit_inside_a_model() -> None:
    error = says(ShapeError, lambda: trainer(Net()).fit((X, Y), verbose=False), "in_features", "(..., 5)", "float32 (N, 4)", "[layer second]")
    assert error.source is not None and error.source.function == "forward"


def test_wrong_feature_size() -> None:
    def fit() -> Any:
        return trainer(nn.Linear(4, 1)).fit((X, Y), verbose=False)  # here

    says(ShapeError, fit, "in_features", "(..., 4)", "float32 (N, 3)")


@pytest.mark.parametrize("use", ["fit", "train_step", "evaluate", "predict", "call"])
def test_wrong_feature_size_after_a_right_one_wherever_it_comes_in(use: str) -> None:
    t = trainer()
    t.train_step((X, Y))
    wrong = X[:, :2]

    def run() -> Any:
        if use == "call":
            return t.model(wrong)  # here
        if use == "predict":
            return t.predict(wrong)  # here
        return getattr(t, use)((wrong, Y))  # here

    says(ShapeError, run, "float32 (N, 2)")
    assert math.isfinite(t.train_step((X, Y))["loss"]), "the trainer goes on"


CALLS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "rank for a convolution": (lambda: nn.Conv2d(3, 4, 3)(IMAGES[:, 0]), ["4 dimensions", "(N, 3, *spatial)"]),  # here
    "channels last for a convolution": (lambda: nn.Conv2d(3, 4, 3)(IMAGES.transpose(0, 2, 3, 1)), ["in_channels", "moveaxis"]),  # here
    "kernel larger than the image": (lambda: nn.Conv2d(3, 4, 7)(IMAGES), ["kernel is larger"]),  # here
    "window larger than the image": (lambda: nn.MaxPool2d(6)(IMAGES), ["larger"]),  # here
    "padding of more than half a window": (lambda: nn.AvgPool2d(2, padding=2)(IMAGES), ["half the kernel"]),  # here
    "rank for batch norm": (lambda: nn.BatchNorm2d(3)(X), ["BatchNorm2d", "(N, 3, H, W)"]),  # here
    "channels for batch norm": (lambda: nn.BatchNorm1d(4)(X), ["(N, 4)"]),  # here
    "one value per channel for batch norm": (lambda: nn.BatchNorm1d(3)(X[:1]), ["more than one value", "a batch of 1", "eval()"]),  # here
    "one value per channel for batch norm of images": (lambda: nn.BatchNorm2d(3)(IMAGES[:1, :, :1, :1]), ["more than one value"]),  # here
    "size for layer norm": (lambda: nn.LayerNorm(4)(X), ["normalized_shape", "(..., 4)"]),  # here
    "floats for an embedding": (lambda: nn.Embedding(5, 2)(X), ["integers", "int64"]),  # here
    "integers for a convolution": (lambda: nn.Conv2d(3, 4, 3)(IMAGES.astype("int64")), ["floating"]),  # here
    "axis of a softmax": (lambda: nn.Softmax(dim=2)(X), ["axis 2"]),  # here
    "index of an embedding": (lambda: nn.Embedding(5, 2)(np.array([1, 5])), ["index 5", "[0, 5)"]),  # here
}


@pytest.mark.parametrize("name", CALLS)
def test_what_does_not_fit_a_layer(name: str) -> None:
    call, words = CALLS[name]
    with pytest.raises((ShapeError, DataError)) as caught:
        call()
    text = str(caught.value)
    assert "# here" in text and (caught.value.remedy or caught.value.given), text
    assert all(word in text for word in words), text


OPS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "broadcasting": (lambda x: x + np.ones((4,)), "do not broadcast"),  # here
    "matmul": (lambda x: x @ np.ones((2, 2)), "inner sizes"),  # here
    "reshape": (lambda x: x.reshape(2, 13), "number of elements"),  # here
    "reshape with a free size": (lambda x: x.reshape(-1, 7), "fill this shape"),  # here
    "two free sizes": (lambda x: x.reshape(-1, -1), "one size"),  # here
    "concat": (lambda x: ops.concat([x, x[:, :2]]), "must agree"),  # here
    "concat of nothing": (lambda x: ops.concat([]), "nothing to join"),  # here
    "axis": (lambda x: ops.sum(x, axis=2), "axis 2 does not exist"),  # here
    "axis named twice": (lambda x: ops.sum(x, axis=(0, -2)), "named twice"),  # here
    "permutation": (lambda x: ops.permute_dims(x, (0, 0)), "every dimension once"),  # here
    "squeeze": (lambda x: x.squeeze(1), "size 1"),  # here
    "condition": (lambda x: ops.where(x, x, 0.0), "boolean"),  # here
    "logic on numbers": (lambda x: x & (x > 0), "booleans"),  # here
    "function of integers": (lambda x: ops.exp(ops.astype(x, "int64")), "floating"),  # here
    "float indices": (lambda x: ops.take(x, x[0], axis=0), "integers"),  # here
    "split": (lambda x: ops.split(x, [1, 1], dim=1), "add up"),  # here
    "unknown option": (lambda x: ops.gelu(x, approximate="fast"), "approximate"),  # here
    "probability": (lambda x: ops.dropout(x, 1.5), "probability"),  # here
    "mask and causal": (lambda x: ops.scaled_dot_product_attention(x, x, x, attn_mask=x, is_causal=True), "not both"),  # here
}


@pytest.mark.parametrize("name", OPS)
def test_what_does_not_fit_an_op(name: str) -> None:
    function, word = OPS[name]
    with pytest.raises(ShapeError) as caught:
        um.run(function, X)
    text = str(caught.value)
    assert "# here" in text and word in text, text
    assert caught.value.remedy or caught.value.given, text


def test_missing_arguments_are_pythons_own_errors() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'weight'"):
        um.run(lambda x: ops.linear(x), X)
    with pytest.raises(TypeError, match=r"takes no argument .axes"):
        um.run(lambda x: ops.softmax(x, axes=1), X)
    with pytest.raises(TypeError, match="multiple values"):
        um.run(lambda x: ops.softmax(x, 1, axis=1), X)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        um.run(lambda x: ops.stack([x], dim=1, axis=1), X)


def test_a_last_batch_of_one_sample_for_batch_norm() -> None:
    """As in PyTorch it is refused; and nothing of it is left in the running statistics."""
    t = trainer(nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)))

    def fit() -> Any:
        return t.fit((X[:5], Y[:5]), batch_size=4, shuffle=False, verbose=False)  # here

    says(ShapeError, fit, "more than one value per channel", "batch_size", "[layer 0]")
    assert np.isfinite(t.predict(X[:1])).all(), "one sample is fine in eval mode"
    assert math.isfinite(t.train_step((X[:2], Y[:2]))["loss"]), "and two are in train mode"
    images = trainer(nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(75, 1)))
    assert math.isfinite(images.train_step((IMAGES[:1], Y[:1]))["loss"]), "an image has many values per channel"


# ------------------------------------------------------------------------------------------------------------- losses and labels


def test_targets_of_another_shape_than_predictions() -> None:
    """The classic: (N,) against (N, 1) would broadcast to (N, N) and train on nonsense."""

    def fit() -> Any:
        return trainer().fit((X, Y[:, 0]), verbose=False)  # here

    says(ShapeError, fit, "same shape", "(N, 1)", "float32 (N,)", "reshape")


def test_float_labels_for_cross_entropy() -> None:
    def fit() -> Any:
        return classifier().fit((X, LABELS.astype("float32")), verbose=False)  # here

    says(ShapeError, fit, "class indices", "int64", "float32 (N,)", "y.astype('int64')")


def test_labels_of_shape_n_1_for_cross_entropy() -> None:
    def fit() -> Any:
        return classifier().fit((X, LABELS[:, None]), verbose=False)  # here

    says(ShapeError, fit, "int64 (N, 1)", "reshape(-1)")


@pytest.mark.parametrize("label", [3, -1, 1000, -100000])
@pytest.mark.parametrize("use", ["fit", "fit a stream", "train_step", "evaluate"])
def test_labels_out_of_range(label: int, use: str) -> None:
    labels = LABELS.copy()
    labels[5] = label
    t = classifier()
    before = t.model.state_dict()

    def run() -> Any:
        if use == "fit":
            return t.fit((X, labels), batch_size=3, verbose=False)  # here
        if use == "fit a stream":
            return t.fit([(X, labels)], verbose=False)  # here
        return getattr(t, use)((X, labels))  # here

    says(DataError, run, f"class index {label}", "position 5", "[0, 3)", "batch.1")
    assert all(np.array_equal(value, before[name]) for name, value in t.model.state_dict().items()), "refused before anything ran"


def test_ignored_labels_are_in_range() -> None:
    labels = LABELS.copy()
    labels[3] = -100
    assert math.isfinite(classifier().train_step((X, labels))["loss"])


def test_class_weights_of_another_number() -> None:
    with pytest.raises(ShapeError, match="one number per class") as caught:
        trainer(nn.Linear(3, 3), loss=um.losses.CrossEntropyLoss(weight=np.ones(4))).fit((X, LABELS), verbose=False)  # here
    assert "# here" in str(caught.value) and (caught.value.expected, caught.value.given) == ("(3,)", (4,))


def test_a_loss_that_is_no_single_number() -> None:
    def fit() -> Any:
        return trainer(loss=um.losses.MSELoss(reduction="none")).fit((X, Y), verbose=False)  # here

    says(ShapeError, fit, "single number", "(N, 1)", ".mean()")


# ---------------------------------------------------------------------------------------------- Python and NumPy on traced values

MISUSES: dict[str, Callable[[Any], Any]] = {
    "if": lambda x: x if x > 0 else -x,  # here
    "while": lambda x: next(iter([x]) if not (x < 0) else iter([])),  # here
    "and": lambda x: (x > 0) and (x < 1),  # here
    "or": lambda x: (x > 0) or (x < 1),  # here
    "not": lambda x: not x,  # here
    "in": lambda x: 1.0 in x,  # here
    "chained comparison": lambda x: 0 < x < 1,  # here
    "max": lambda x: max(x, 0.0),  # here
    "float": lambda x: float(ops.sum(x)),  # here
    "int": lambda x: int(ops.sum(x)),  # here
    "index": lambda x: [1, 2, 3][ops.argmax(x)],  # here
    "range": lambda x: range(ops.argmax(x)),  # here
    "item": lambda x: ops.sum(x).item(),  # here
    "numpy": lambda x: x.numpy(),  # here
    "asarray": lambda x: np.asarray(x),  # here
    "np.exp": lambda x: np.exp(x),  # here
    "np.mean": lambda x: np.mean(x),  # here
    "np.concatenate": lambda x: np.concatenate([x, x]),  # here
    "np.where": lambda x: np.where(x > 0, x, 0.0),  # here
    "np.sum with an axis": lambda x: np.sum(x, axis=0),  # here
    "math": lambda x: math.sqrt(ops.sum(x)),  # here
    "format": lambda x: f"{ops.sum(x):.3f}",  # here
}


@pytest.mark.parametrize("name", MISUSES)
def test_asking_a_traced_value_for_a_number(name: str) -> None:
    says(TraceError, lambda: um.run(MISUSES[name], X), "traced")


REMEDIES = [
    ("if", "um.ops.where"),
    ("if", "um.ops.cond"),
    ("while", "um.ops.scan"),
    ("np.exp", "um.ops.exp"),
    ("np.concatenate", "um.ops.concat"),
    ("float", "return the tensor from step"),
]


@pytest.mark.parametrize(("name", "remedy"), REMEDIES)
def test_remedies_name_the_alternative(name: str, remedy: str) -> None:
    assert remedy in (says(TraceError, lambda: um.run(MISUSES[name], X)).remedy or "")


def test_the_alternatives_that_remedies_name_exist() -> None:
    coming = {"cond", "scan"}
    for name in MISUSES:
        with pytest.raises(TraceError) as caught:
            um.run(MISUSES[name], X)
        for op in re.findall(r"um\.ops\.(\w+)", caught.value.remedy or ""):
            assert hasattr(ops, op) or op in coming, f"{name}: um.ops.{op}"


def test_inside_a_trainers_step_the_line_of_the_model_is_shown() -> None:
    class Branching(um.Model):
        def forward(self, x: Any) -> Any:
            if ops.mean(x) > 0:  # here
                return x
            return -x

    error = says(TraceError, lambda: trainer(nn.Sequential(nn.Linear(3, 1), Branching())).fit((X, Y), verbose=False), "if, while", "[layer 1]")
    assert error.source is not None and error.source.function == "forward"


def test_errors_of_user_code_come_through_as_they_are() -> None:
    def broken(x: Any) -> Any:
        raise KeyError("mine")

    for use in (lambda m: trainer(m).fit((X, Y), verbose=False), lambda m: m(X), lambda m: trainer(m).predict(X)):
        with pytest.raises(KeyError, match="mine"):
            use(Forward(broken))
    with pytest.raises(AttributeError, match="no_such_op"):
        um.run(lambda x: ops.no_such_op(x), X)


def test_a_model_without_forward() -> None:
    class Empty(um.Model):
        pass

    with pytest.raises(NotImplementedError, match="Empty defines no forward"):
        Empty()(X)


# -------------------------------------------------------------------------------------------------------------------------- data

DATA: dict[str, tuple[Any, str]] = {
    "no samples": ((X[:0], Y[:0]), "empty"),
    "an empty list": ([], "empty"),
    "an empty tuple": ((), "no arrays"),
    "an empty dict": ({}, "no arrays"),
    "nothing": (None, "None"),
    "an iterable that yields nothing": (iter(()), "yields no batch"),
    "an empty batch in a stream": ([(X, Y), (X[:0], Y[:0])], "batch 1"),
    "lengths that differ": ((X, Y[:5]), "differ in length"),
    "lengths that differ in a stream": ([(X, Y[:5])], "differ in length"),
    "text": ((np.array(["a"] * 8), Y), "no numbers"),
    "a list of text": ((["a"] * 8, Y), "no numbers"),
    "objects": ((np.array([{}] * 8), Y), "no numbers"),
    "dates": ((np.array(["2020-01-01"] * 8, "datetime64[D]"), Y), "no numbers"),
    "complex numbers": ((X.astype("complex64"), Y), "no numbers"),
    "ragged lists": (([[1.0, 2.0], [3.0]], [1.0, 2.0]), "convert"),
    "a single number": ((3.0, 4.0), "single number"),
    "an array alone": (X, "(inputs, target)"),
    "four arrays": ((X, Y, Y[:, 0], Y), "(inputs, target)"),
    "a dict": ({"x": X, "y": Y}, "(inputs, target)"),
    "no data at all": (42, "no kind that can be fed"),
}


@pytest.mark.parametrize("name", DATA)
def test_data_that_cannot_be_trained_on(name: str) -> None:
    data, word = DATA[name]

    def fit() -> Any:
        return trainer().fit(data, verbose=False)  # here

    says(DataError, fit, word)


def test_data_of_evaluation_and_prediction_is_checked_as_well() -> None:
    t = trainer()
    for use in (lambda: t.evaluate((X[:0], Y[:0])), lambda: t.predict(X[:0]), lambda: t.train_step((X[:0], Y[:0]))):  # here
        says(DataError, use, "empty")

    def fit() -> Any:
        return t.fit((X, Y), validation_data=(X[:0], Y[:0]), verbose=False)  # here

    says(DataError, fit, "validation_data is empty")


@pytest.mark.parametrize(
    ("weight", "word"), [(np.ones(5), "differ in length"), (np.ones((8, 1)), "one number per sample"), (np.array(["a"] * 8), "no numbers")]
)
def test_sample_weights_that_do_not_fit(weight: np.ndarray, word: str) -> None:
    def fit() -> Any:
        return trainer().fit((X, Y), sample_weight=weight, verbose=False)  # here

    says(DataError, fit, word)


def test_sample_weights_of_data_that_is_not_x_and_y() -> None:
    def fit() -> Any:
        return trainer().fit([(X, Y)], sample_weight=np.ones(8), verbose=False)  # here

    says(DataError, fit, "(x, y)")


def test_not_a_number_in_the_loss_names_the_step() -> None:
    x = X.copy()
    x[6, 1] = np.nan

    def fit() -> Any:
        return trainer().fit((x, Y), batch_size=2, shuffle=False, verbose=False)  # here

    says(NonFiniteError, fit, "nan at step 4", "(6, 1) of data.0", "check_finite=False")

    def diverge() -> Any:
        t = trainer(optimizer=um.optim.SGD(lr=1e30))
        for _ in range(5):
            loss = t.train_step((X, Y))["loss"]
        return float(loss)  # here

    says(NonFiniteError, diverge, "step")

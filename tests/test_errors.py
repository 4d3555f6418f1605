"""Every mistake a user can make is met by an error of the promised class, that shows the user's own line and says what to do.

Each case is a small function; the line at fault ends in the comment ``here``, and must be in the message.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import errors, nn, ops, plugins
from unimodel.errors import (
    BackendError,
    CheckpointError,
    DataError,
    NonFiniteError,
    PluginError,
    ShapeError,
    TraceError,
    UnimodelError,
    UnsupportedError,
)

X = np.random.default_rng(0).standard_normal((8, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1])
IMAGES = np.zeros((8, 3, 5, 5), "float32")


def trainer(model: um.Model | None = None, **options: Any) -> um.Trainer:
    defaults: dict[str, Any] = {"loss": um.losses.MSELoss(), "optimizer": um.optim.SGD(lr=0.1), "backend": "numpy"}
    return um.Trainer(model or nn.Linear(3, 1), **{**defaults, **options})


def classifier() -> um.Trainer:
    return trainer(nn.Linear(3, 3), loss=um.losses.CrossEntropyLoss())


class Forward(um.Model):
    """A model that is one function."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        self.function = function
        self.__dict__.update(parts)

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


def says(kind: type[UnimodelError], function: Callable[[], Any], *words: str) -> UnimodelError:
    """Runs it, and checks the class, the user's line, that there is a remedy, and that the message has these words."""
    with pytest.raises(UnimodelError) as caught:
        function()
    error, text = caught.value, str(caught.value)
    assert type(error) is kind, text
    assert "# here" in text, text
    assert error.remedy, text
    for word in words:
        assert word in text, f"{word!r} is not in:\n{text}"
    return error


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
    with pytest.raises(TypeError, match="unexpected keyword argument"):
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

    says(NonFiniteError, fit, "nan at step 4", "learning rate", "check_finite=False")

    def diverge() -> Any:
        t = trainer(optimizer=um.optim.SGD(lr=1e30))
        for _ in range(5):
            loss = t.train_step((X, Y))["loss"]
        return float(loss)  # here

    says(NonFiniteError, diverge, "step")


# ---------------------------------------------------------------------------------------------------------- models and parameters


def test_a_parameter_in_a_plain_list() -> None:
    class Listed(um.Model):
        def __init__(self) -> None:
            self.weights = [um.Parameter((3, 1))]

        def forward(self, x: Any) -> Any:
            return x @ self.weights[0]  # here

    says(TraceError, lambda: trainer(Listed()).fit((X, Y), verbose=False), "Parameter", "belongs to no model", "ModuleList")
    says(TraceError, lambda: Listed()(X), "belongs to no model")


def test_layers_in_a_plain_list() -> None:
    class Listed(um.Model):
        def __init__(self) -> None:
            self.layers = [nn.Linear(3, 3), nn.Linear(3, 1)]

        def forward(self, x: Any) -> Any:
            for layer in self.layers:
                x = layer(x)  # here
            return x

    says(TraceError, lambda: trainer(Listed()).fit((X, Y), verbose=False), "ModuleList")


def test_a_parameter_of_another_model() -> None:
    other = nn.Linear(3, 1)

    def forward(x: Any) -> Any:
        return x @ other.weight.T  # here

    says(TraceError, lambda: Forward(forward)(X), "belongs to no model")


def test_assigning_outside_a_step() -> None:
    def assign() -> Any:
        nn.BatchNorm1d(3).running_mean.assign(np.zeros(3))  # here

    says(TraceError, assign, "assign()", ".data")


def test_assigning_another_shape() -> None:
    class Counting(um.Model):
        def __init__(self) -> None:
            self.last = um.Buffer((3,))

        def forward(self, x: Any) -> Any:
            self.last.assign(x)  # here
            return x

    says(ShapeError, lambda: Counting()(X), "keeps its shape", "float32 (3,)")


def test_a_tensor_kept_from_an_earlier_step() -> None:
    class Keeping(um.Model):
        def forward(self, x: Any) -> Any:
            x = x + getattr(self, "_um_kept", 0.0)  # here
            self._um_kept = x
            return x

    model = Keeping()
    model(X)
    says(TraceError, lambda: model(X[:, :1]), "outside the step", "um.Buffer")


LAYERS: dict[str, tuple[Callable[[], Any], str]] = {
    "no features": (lambda: nn.Linear(0, 2), "in_features"),  # here
    "negative features": (lambda: nn.Linear(2, -1), "out_features"),  # here
    "features as text": (lambda: nn.Linear("3", 2), "in_features"),  # here
    "fractional features": (lambda: nn.Linear(3.5, 2), "in_features"),  # here
    "true features": (lambda: nn.Linear(True, 2), "in_features"),  # here
    "groups": (lambda: nn.Conv2d(3, 4, 3, groups=2), "groups must divide"),  # here
    "kernel": (lambda: nn.Conv2d(3, 4, 0), "kernel_size"),  # here
    "kernel of three numbers": (lambda: nn.Conv2d(3, 4, (1, 2, 3)), "kernel_size"),  # here
    "kernel as text": (lambda: nn.Conv2d(3, 4, "3"), "kernel_size"),  # here
    "stride": (lambda: nn.Conv2d(3, 4, 3, stride=0), "stride"),  # here
    "padding": (lambda: nn.Conv2d(3, 4, 3, padding=-1), "padding"),  # here
    "padding by name": (lambda: nn.Conv2d(3, 4, 3, padding="full"), "'same' or 'valid'"),  # here
    "same padding with a stride": (lambda: nn.Conv2d(3, 4, 3, padding="same", stride=2), "stride 1"),  # here
    "padding mode": (lambda: nn.Conv2d(3, 4, 3, padding_mode="wrap"), "padding_mode"),  # here
    "window": (lambda: nn.MaxPool2d(-1), "kernel_size"),  # here
    "probability": (lambda: nn.Dropout(1.5), "probability"),  # here
    "negative probability": (lambda: nn.Dropout(-0.1), "probability"),  # here
    "probability as text": (lambda: nn.Dropout("0.5"), "probability"),  # here
    "channels": (lambda: nn.BatchNorm1d(0), "num_features"),  # here
    "normalized shape": (lambda: nn.LayerNorm((3, 0)), "normalized_shape"),  # here
    "rows": (lambda: nn.Embedding(0, 3), "num_embeddings"),  # here
    "padding row": (lambda: nn.Embedding(3, 2, padding_idx=3), "padding_idx"),  # here
    "parameter's shape": (lambda: um.Parameter((2, -1)), "at least 0"),  # here
    "parameter's initial array": (lambda: um.Parameter((2, 2), init=np.zeros(3)), "parameter's shape"),  # here
    "parameter's initializer": (lambda: um.Parameter((2,), init=lambda shape, stream: np.zeros(3)).data, "must return"),  # here
}


@pytest.mark.parametrize("name", LAYERS)
def test_arguments_of_layers(name: str) -> None:
    build, word = LAYERS[name]
    with pytest.raises(ShapeError) as caught:
        build()
    text = str(caught.value)
    assert "# here" in text and word in text and ("given" in text), text


# ------------------------------------------------------------------------------------------------- trainers, losses, optimizers

NET = nn.Linear(3, 1)

SET_UPS: dict[str, tuple[Callable[[], Any], str]] = {
    "a class for a model": (lambda: um.Trainer(nn.Linear), "no Model"),  # type: ignore[arg-type]  # here
    "a class for an optimizer": (lambda: um.Trainer(NET, optimizer=um.optim.SGD), "instance"),  # here
    "an optimizer's name": (lambda: um.Trainer(NET, optimizer="sgd"), "instance"),  # here
    "a class for a loss": (lambda: um.Trainer(NET, loss=um.losses.MSELoss), "instance"),  # here
    "a loss's name": (lambda: um.Trainer(NET, loss="mse"), "callable"),  # here
    "a class for a metric": (lambda: um.Trainer(NET, metrics=[um.metrics.Accuracy]), "instance"),  # here
    "a metric's name": (lambda: um.Trainer(NET, metrics=["accuracy"]), "instance"),  # here
    "an optimizer of no model": (lambda: um.Trainer({"a": nn.Linear(3, 1)}, optimizer={"b": um.optim.SGD(lr=0.1)}, backend="numpy"), "like no model"),  # here
    "clipping to nothing": (lambda: um.Trainer(NET, clip_grad_norm=0.0), "positive"),  # here
    "negative clipping": (lambda: um.Trainer(NET, clip_grad_value=-1.0), "positive"),  # here
    "learning rate in PyTorch's place of parameters": (lambda: um.optim.SGD(0.1), "SGD(lr=0.1)"),  # here
    "negative learning rate": (lambda: um.optim.SGD(lr=-0.1), "learning rate"),  # here
    "learning rate as text": (lambda: um.optim.Adam(lr="0.1"), "learning rate"),  # here
    "negative momentum": (lambda: um.optim.SGD(lr=0.1, momentum=-1), "momentum"),  # here
    "Nesterov without momentum": (lambda: um.optim.SGD(lr=0.1, nesterov=True), "Nesterov"),  # here
    "betas": (lambda: um.optim.Adam(betas=(0.9, 1.0)), "betas"),  # here
    "negative weight decay": (lambda: um.optim.AdamW(weight_decay=-1), "weight_decay"),  # here
    "reduction": (lambda: um.losses.MSELoss(reduction="average"), "reduction"),  # here
    "label smoothing": (lambda: um.losses.CrossEntropyLoss(label_smoothing=2.0), "label_smoothing"),  # here
    "a schedule of no optimizer": (lambda: um.optim.lr_scheduler.StepLR(0.1, 3), "optimizer"),  # type: ignore[arg-type]  # here
    "a schedule's interval": (lambda: um.optim.lr_scheduler.StepLR(um.optim.SGD(lr=0.1), 3, interval="batch"), "interval"),  # here
    "a callback's mode": (lambda: um.callbacks.EarlyStopping(mode="sideways"), "mode"),  # here
    "no epochs at all": (lambda: trainer().fit((X, Y), epochs=-1), "epochs"),  # here
    "fractional epochs": (lambda: trainer().fit((X, Y), epochs=1.5), "epochs"),  # type: ignore[arg-type]  # here
    "batches of nothing": (lambda: trainer().fit((X, Y), batch_size=0), "batch_size"),  # here
    "batches of nothing to evaluate": (lambda: trainer().evaluate((X, Y), batch_size=0), "batch_size"),  # here
    "batches of nothing to predict": (lambda: trainer().predict(X, batch_size=-1), "batch_size"),  # here
    "a class for a callback": (lambda: trainer().fit((X, Y), callbacks=[um.callbacks.EarlyStopping]), "callback"),  # type: ignore[list-item]  # here
}


@pytest.mark.parametrize("name", SET_UPS)
def test_arguments_of_training(name: str) -> None:
    build, word = SET_UPS[name]
    with pytest.raises(UnimodelError) as caught:
        build()
    text = str(caught.value)
    assert type(caught.value) in (DataError, ShapeError)
    assert "# here" in text and word in text and "given" in text, text


def test_a_parameter_in_two_groups() -> None:
    model = nn.Linear(3, 1)

    def build() -> Any:
        return um.Trainer(model, optimizer=um.optim.SGD([{"params": [model.weight]}, {"params": model.parameters()}], lr=0.1))  # here

    says(DataError, build, "two groups")


def test_parameters_of_another_model_in_an_optimizer() -> None:
    def build() -> Any:
        return um.Trainer(nn.Linear(3, 1), optimizer=um.optim.SGD(nn.Linear(3, 1).parameters(), lr=0.1))  # here

    says(DataError, build, "models do not have")


def test_no_loss_no_optimizer_no_single_model() -> None:
    for kind, build, word in (
        (TraceError, lambda: trainer(loss=None).fit((X, Y), verbose=False), "loss"),  # here
        (TraceError, lambda: trainer(optimizer=None).fit((X, Y), verbose=False), "optimizer"),  # here
        (TraceError, lambda: um.Trainer({"a": nn.Linear(3, 1), "b": nn.Linear(3, 1)}, backend="numpy").predict(X), "several models"),  # here
        (TraceError, lambda: um.optim.SGD(lr=0.1).param_groups, "once a Trainer has taken it"),  # here
        (TraceError, lambda: um.optim.SGD(lr=0.1).update([]), "inside a Trainer's step"),  # here
    ):
        says(kind, build, word)


def test_steps_that_return_something_else() -> None:
    for result in (None, 1.0, [1.0]):

        class Odd(um.Trainer):
            def step(self, batch: Any, result: Any = result) -> Any:
                return result

        t = Odd(nn.Linear(3, 1), backend="numpy")
        says(TraceError, lambda t=t: t.fit((X, Y), verbose=False), "must return a dict")  # here


def test_gradients_of_another_number_than_parameters() -> None:
    class Short(um.Trainer):
        def step(self, batch: Any) -> Any:
            loss, grads = um.value_and_grad(lambda: self.loss(self.model(batch[0]), batch[1]), wrt=[self.model.weight])
            self.optimizer.update(grads)  # here
            return {"loss": loss}

    t = Short(nn.Linear(3, 1), loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.1), backend="numpy")
    says(TraceError, lambda: t.fit((X, Y), verbose=False), "2 gradients", "1 gradients")


def test_an_optimizer_without_a_rule() -> None:
    class Empty(um.Optimizer):
        pass

    with pytest.raises(NotImplementedError, match="Empty defines no update_param"):
        trainer(optimizer=Empty(lr=0.1)).fit((X, Y), verbose=False)


def test_a_loss_without_terms_or_forward() -> None:
    class Empty(um.Loss):
        pass

    with pytest.raises(NotImplementedError, match="Empty"):
        trainer(loss=Empty()).fit((X, Y), verbose=False)


# ---------------------------------------------------------------------------------------------------------------------- backends


def test_an_unknown_backend_names_the_installed_ones_and_how_to_install_the_known_ones() -> None:
    def build() -> Any:
        return um.Trainer(NET, backend="nowhere")  # here

    error = says(PluginError, build, "'nowhere'", "numpy")
    for name in ("torch", "tensorflow", "mxnet", "numpy"):
        assert f"unimodel-{name}" in str(error)

    def use() -> Any:
        with um.use_backend("nowhere"):  # here
            pass

    says(PluginError, use, "'nowhere'")


def test_an_unknown_backend_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    token = plugins._chosen.set(None)
    try:
        monkeypatch.setenv("UNIMODEL_BACKEND", "nowhere")

        def build() -> Any:
            return um.Trainer(nn.Linear(3, 1))  # here

        says(PluginError, build, "'nowhere'")
    finally:
        plugins._chosen.reset(token)


def test_devices_precisions_and_differentiations_that_are_not_there() -> None:
    says(UnsupportedError, lambda: um.Trainer(NET, backend="numpy", device="tpu"), "'tpu'", "cpu")  # here
    says(UnsupportedError, lambda: um.Trainer(NET, backend="numpy", precision="float8"), "float32", "float64")  # here
    says(UnsupportedError, lambda: um.Trainer(NET, backend="numpy", differentiation="magic"), "auto, native, core")  # here
    says(UnsupportedError, lambda: um.Trainer(NET, backend="numpy", differentiation="native"), "native differentiation")  # here


# ------------------------------------------------------------------------------------------------------------- the errors themselves

KINDS = [ShapeError, TraceError, UnsupportedError, BackendError, PluginError, CheckpointError, DataError, NonFiniteError]


def test_one_root_for_all() -> None:
    every = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert all(issubclass(kind, UnimodelError) for kind in every)
    assert set(KINDS) <= set(every)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_has_four_parts_and_survives_pickling(kind: type[UnimodelError]) -> None:
    error = kind("it broke", expected="this", given="that", remedy="do so")  # here
    lines = str(error).splitlines()
    assert lines[0] == "it broke"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["expected", "given", "at", "remedy"]
    assert "# here" in lines[3]
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is kind and str(twin) == str(error)


def test_parts_that_were_not_given_are_left_out() -> None:
    text = str(DataError("it broke"))
    assert len(text.splitlines()) == 2


def test_the_users_line_is_neither_pythons_nor_a_backends_nor_that_of_a_neighbour(tmp_path: Path) -> None:
    """Frames of the standard library, of unimodel and of backends are skipped; a folder whose name only begins alike is the user's."""

    def raised_in(file: str) -> str:
        space: dict[str, Any] = {"DataError": DataError}
        exec(compile("def fail():\n    raise DataError('it broke')", file, "exec"), space)
        with pytest.raises(DataError) as caught:
            space["fail"]()  # the caller's line
        return str(caught.value)

    core = str(Path(errors.__file__).parent)
    for inside in (core + "/anything.py", contextlib.__file__):
        assert "the caller's line" in raised_in(inside), inside
    errors.is_not_user_code(str(tmp_path / "unimodel_mine"))
    assert "the caller's line" in raised_in(str(tmp_path / "unimodel_mine" / "ops.py"))
    assert "unimodel_mine_too/train.py" in raised_in(str(tmp_path / "unimodel_mine_too" / "train.py"))
    assert "unimodel_extra/train.py" in raised_in(core + "_extra/train.py")


def test_a_loaded_backend_is_no_user_code() -> None:
    import unimodel_numpy.ops

    plugins.load("numpy")
    assert not errors.user_code(unimodel_numpy.ops.__file__)
    assert errors.user_code(__file__)

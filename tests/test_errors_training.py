"""Mistakes in models, trainers and backends, and what every error has; as in test_errors.py the line at fault ends in the comment ``here``."""

import contextlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from error_checks import Forward, X, Y, says, trainer

import unimodel as um
from unimodel import errors, nn, plugins
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

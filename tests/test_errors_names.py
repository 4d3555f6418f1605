"""Names and arguments that are not here: PyTorch's and Keras's get what to write instead, misspelt ones the one that was meant."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from error_checks import X, Y, says, trainer

import unimodel as um
from unimodel import arguments, names, nn
from unimodel.errors import ArgumentError, DataError, UnknownNameError, UnsupportedError
from unimodel.foreign_names import FOREIGN

OBJECTS: dict[str, Any] = {
    "Tensor": nn.Linear(3, 1).weight,
    "Model": nn.Linear(3, 1),
    "Optimizer": um.optim.SGD(lr=0.1),
    "Trainer": trainer(),
}
MODULES: dict[str, Any] = {room: eval(room) for room in names.ROOMS}


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda: um.nn.CrossEntropyLoss(), "it is um.losses.CrossEntropyLoss here"),  # here
        (lambda: um.Module, "it is um.Model here"),  # here
        (lambda: um.nn.Dense(3), "um.nn.Linear(in_features, out_features)"),  # here
        (lambda: um.nn.Linaer(3, 1), "did you mean um.nn.Linear?"),  # here
        (lambda: um.functional.relu(X), "it is um.nn.functional here"),  # here
        (lambda: um.nn.functional.cros_entropy, "did you mean um.nn.functional.cross_entropy?"),  # here
        (lambda: um.nn.init, "it is um.init here"),  # here
        (lambda: um.nn.Parameter(3), "it is um.Parameter here"),  # here
        (lambda: um.nn.relu(X), "it is um.ops.relu here"),  # here
        (lambda: um.ops.cat([X, X]), "it is um.ops.concat here"),  # here
        (lambda: um.ops.sofmax(X), "did you mean um.ops.softmax?"),  # here
        (lambda: um.no_grad(), "nothing is needed"),  # here
        (lambda: um.save({}, "net.pt"), "trainer.save"),  # here
        (lambda: um.tensor([1.0]), "NumPy arrays"),  # here
        (lambda: um.losses.MSE(), "um.losses.MSELoss"),  # here
        (lambda: um.optim.StepLR, "it is um.optim.lr_scheduler.StepLR here"),  # here
        (lambda: um.metrics.accuracy, "did you mean um.metrics.Accuracy?"),  # here
        (lambda: um.init.xavier, "um.init.xavier_"),  # here
        (lambda: um.callbacks.EarlyStoping(), "did you mean um.callbacks.EarlyStopping?"),  # here
        (lambda: nn.Linear(3, 1).cuda(), "device="),  # here
        (lambda: nn.Linear(3, 1).to("cuda"), "device="),  # here
        (lambda: nn.Linear(3, 1).register_buffer("x", X), "self.name = um.Buffer"),  # here
        (lambda: nn.Linear(3, 1).weigth, "did you mean weight?"),  # here
        (lambda: nn.Linear(3, 1).fit((X, Y)), "trainer.fit((x, y))"),  # here
        (lambda: um.optim.SGD(lr=0.1).zero_grad(), "leave it out"),  # here
        (lambda: um.optim.SGD(lr=0.1).step(), "self.optimizer.update(grads)"),  # here
        (lambda: trainer().compile(), "um.Trainer(net, loss="),  # here
        (lambda: um.run(lambda x: x.sum().backward(), X), "um.value_and_grad"),  # here
        (lambda: um.run(lambda x: x.relu_(), X), "x = x.relu(…)"),  # here
        (lambda: um.run(lambda x: x.silu_(), X), "x = um.ops.silu(…)"),  # here
        (lambda: um.run(lambda x: x.gelu(), X), "um.ops.gelu(x, …)"),  # here
        (lambda: um.run(lambda x: x.sigmiod(), X), "did you mean sigmoid?"),  # here
        (lambda: um.run(lambda x: x.unheard_of(), X), "um.ops"),  # here
    ],
)
def test_a_name_of_another_library_or_misspelt(call: Callable[[], Any], remedy: str) -> None:
    error = says(UnknownNameError, call, "has no attribute", remedy)
    assert isinstance(error, AttributeError)


def test_it_stays_what_python_expects_of_a_missing_attribute() -> None:
    for thing in (*OBJECTS.values(), *MODULES.values()):
        assert not hasattr(thing, "cuda_") and getattr(thing, "cuda_", 7) == 7
        with pytest.raises(AttributeError) as caught:
            thing._repr_html_  # noqa: B018  IPython asks
        assert type(caught.value) is AttributeError
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    for twin in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(twin(X), net(X))
    error = pickle.loads(pickle.dumps(says(UnknownNameError, lambda: um.nn.Linaer, "Linear")))  # here
    assert "did you mean um.nn.Linear?" in str(error)


def test_what_a_property_lacks_is_told_not_the_property() -> None:
    class Net(um.Model):
        @property
        def width(self) -> int:
            return int(self.widht_of_it)

    with pytest.raises(UnknownNameError, match="no attribute 'widht_of_it'"):
        Net().width  # noqa: B018  the property is what is asked for


def _mentioned(text: str) -> Iterator[str]:
    yield from re.findall(r"\bum(?:\.\w+)+", text)


@pytest.mark.parametrize("place", FOREIGN)
def test_the_table_names_what_is_not_here_by_what_is(place: str) -> None:
    assert place in MODULES or place in OBJECTS
    for name, remedy in FOREIGN[place].items():
        thing = MODULES[place] if place in MODULES else OBJECTS[place]
        assert not hasattr(thing, name) or inspect.ismodule(getattr(thing, name)), f"{place} has {name}"
        for path in _mentioned(remedy):
            assert eval(path) is not None


def test_the_tables_of_arguments_point_to_what_is_here() -> None:
    for remedy in arguments.INSTEAD.values():
        for path in _mentioned(remedy):
            assert eval(path) is not None
    assert not arguments.ALSO_CALLED.keys() & arguments.INSTEAD.keys()
    assert all(name == name.lower() for name in arguments.ALSO_CALLED)


@pytest.mark.parametrize(
    ("call", "who", "remedy"),
    [
        (lambda: trainer().fit((X, Y), class_weight={0: 1.0}), "fit", "sample_weight"),  # here
        (lambda: trainer().fit((X, Y), validation_split=0.1), "fit", "validation_data"),  # here
        (lambda: trainer().fit((X, Y), epoch=2), "fit", "did you mean epochs=?"),  # here
        (lambda: trainer().fit(x=X, y=Y), "fit", "fit((x, y))"),  # here
        (lambda: trainer().evaluate((X, Y), batchsize=2), "evaluate", "did you mean batch_size=?"),  # here
        (lambda: trainer().predict(X, verbose=0), "predict", "leave it out"),  # here
        (lambda: um.Trainer(nn.Linear(3, 1), optimiser=None), "Trainer", "did you mean optimizer=?"),  # here
        (lambda: um.optim.Adam(learning_rate=0.1), "Adam", "did you mean lr=?"),  # here
        (lambda: um.optim.Adam(beta_1=0.8), "Adam", "betas=("),  # here
        (lambda: um.metrics.F1Score(num_classes=3), "F1Score", "leave it out"),  # here
        (lambda: nn.Linear(3, 1, biass=False), "Linear", "did you mean bias=?"),  # here
        (lambda: um.losses.MSELoss(reductoin="sum"), "MSELoss", "did you mean reduction=?"),  # here
        (lambda: um.callbacks.EarlyStopping(patiance=3), "EarlyStopping", "did you mean patience=?"),  # here
        (lambda: um.optim.lr_scheduler.StepLR(um.optim.SGD(lr=0.1), stepsize=3), "StepLR", "did you mean step_size=?"),  # here
        (lambda: um.ops.softmax(X, dimm=1), "um.ops.softmax", "did you mean dim=?"),  # here
    ],
)
def test_an_argument_of_another_library_or_misspelt(call: Callable[[], Any], who: str, remedy: str) -> None:
    error = says(ArgumentError, call, f"{who} takes no argument", remedy)
    assert isinstance(error, TypeError)


def test_constructors_still_refuse_what_python_would() -> None:
    class Plain(um.Model):
        def forward(self, x: Any) -> Any:
            return x

    class Open(um.Model):
        def __init__(self, **options: Any) -> None:
            self.options = options

    with pytest.raises(TypeError, match="takes no arguments"):
        Plain(3)
    with pytest.raises(ArgumentError, match="Plain takes no argument 'width'"):
        Plain(width=3)
    with pytest.raises(TypeError):
        nn.Linear()  # type: ignore[call-arg]  # which is the fault
    assert Open(anything=1).options == {"anything": 1}
    assert list(inspect.signature(um.Trainer.fit).parameters)[:3] == ["self", "data", "epochs"]
    assert list(inspect.signature(nn.Linear).parameters)[:2] == ["in_features", "out_features"]


def test_a_model_where_parameters_belong() -> None:
    net = nn.Linear(3, 1)
    says(DataError, lambda: um.optim.Adam(net), "the first argument of Adam is the parameters", "Adam(net.parameters())")  # here
    says(DataError, lambda: um.optim.Adam(net.parameters), "Adam(net.parameters())")  # here


@pytest.mark.parametrize("limit", ["1", True, 0, -1.0])
def test_a_limit_of_gradients_that_is_no_number(limit: Any) -> None:
    says(DataError, lambda: um.Trainer(nn.Linear(3, 1), clip_grad_norm=limit), "clip_grad_norm must be positive", repr(limit))  # here


def test_a_data_set_as_a_list_or_a_function() -> None:
    def batches() -> Iterator[Any]:
        yield X, Y

    says(DataError, lambda: trainer().fit([X, Y], verbose=False), "one array, float32 (N, 3)", "fit((x, y))", "a list of batches")  # here
    says(DataError, lambda: trainer().fit(batches, verbose=False), "the data set is a function", "batches()")  # here
    assert len(trainer().fit(batches(), verbose=False).history["loss"]) == 1


METHODS: dict[str, Callable[[Any], Any]] = {
    "t": lambda x: x.t(), "eq": lambda x: x.eq(x), "ne": lambda x: x.ne(1), "gt": lambda x: x.gt(0), "ge": lambda x: x.ge(x), "lt": lambda x: x.lt(0.5), "le": lambda x: x.le(x),
    "add": lambda x: x.add(1), "sub": lambda x: x.sub(x), "mul": lambda x: x.mul(2), "div": lambda x: x.div(3), "remainder": lambda x: x.remainder(0.3),
    "maximum": lambda x: x.maximum(x * 0), "minimum": lambda x: x.minimum(-x), "lerp": lambda x: x.lerp(x * 2, 0.25), "nan_to_num": lambda x: (x / 0).nan_to_num(1.0, 2.0, 3.0),
    "new_zeros": lambda x: x.new_zeros((2, 3)), "new_ones": lambda x: x.new_ones(2, 3), "new_full": lambda x: x.new_full((2,), 7.0), "double": lambda x: x.double(),
    "logical_and": lambda x: (x > 0).logical_and(x < 1), "logical_or": lambda x: (x > 1).logical_or(x < 0), "logical_not": lambda x: (x > 0).logical_not(),
    "logical_xor": lambda x: (x > 0).logical_xor(x < 1), "hypot": lambda x: x.hypot(x * 2), "logaddexp": lambda x: x.logaddexp(x * 2), "copysign": lambda x: x.copysign(-x),
    "atan2": lambda x: x.atan2(x * 2 + 5), "xlogy": lambda x: x.xlogy(x * x + 1), "outer": lambda x: x[0].outer(x[1]), "movedim": lambda x: x.movedim(0, 1),
    "addcmul": lambda x: x.addcmul(x, x, value=0.5), "addcdiv": lambda x: x.addcdiv(x, x * x + 1, value=0.5), "narrow": lambda x: x.narrow(0, 1, 3),
    "diff": lambda x: x.diff(dim=0), "diff twice": lambda x: x.diff(2, 0), "quantile": lambda x: x.quantile(0.25, 1, True), "isinf": lambda x: (x / 0).isinf(),
    **{name: lambda x, name=name: getattr(x.abs() / 4, name)() for name in (
        "acos", "asin", "asinh", "atan", "atanh", "cosh", "digamma", "erfc", "erfinv", "exp2", "frac", "lgamma", "log10", "log2", "sinh", "tan", "trunc")},
    "acosh": lambda x: (x.abs() + 1).acosh(),
}  # fmt: skip  # a table reads better in rows


@pytest.mark.parametrize("method", ["nonzero", "unique"])
def test_methods_whose_shape_would_depend_on_values(method: str) -> None:
    says(UnsupportedError, lambda: um.run(lambda x: getattr(x, method)(), X), method)  # here


@pytest.mark.torch_oracle
@pytest.mark.parametrize("name", METHODS)
def test_methods_of_tensors_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    ours, theirs = um.run(METHODS[name], X), METHODS[name](torch.tensor(X)).numpy()
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)

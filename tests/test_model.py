"""Models find what they are made of, speak PyTorch's state dicts, and draw their weights late and always the same."""

from __future__ import annotations

import copy
import math
import pickle
import tracemalloc
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unimodel as um
from unimodel import init, nn, random
from unimodel.errors import CheckpointError, ShapeError

X = np.ones((2, 3), "float32")

# ------------------------------------------------------------------------------------------------------------- state dicts

LAYERS: dict[str, Any] = {
    "Linear": lambda nn: nn.Linear(3, 2),
    "Linear without bias": lambda nn: nn.Linear(3, 2, bias=False),
    "Conv2d": lambda nn: nn.Conv2d(4, 6, (3, 2), groups=2),
    "Embedding": lambda nn: nn.Embedding(5, 3, padding_idx=1),
    "BatchNorm1d": lambda nn: nn.BatchNorm1d(3),
    "BatchNorm2d": lambda nn: nn.BatchNorm2d(3),
    "BatchNorm2d, plain": lambda nn: nn.BatchNorm2d(3, affine=False, track_running_stats=False),
    "LayerNorm": lambda nn: nn.LayerNorm((3, 2)),
    "LayerNorm without bias": lambda nn: nn.LayerNorm(3, bias=False),
    "Sequential": lambda nn: nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))),
    "Sequential by name": lambda nn: nn.Sequential(OrderedDict(first=nn.Linear(3, 3), act=nn.Tanh(), last=nn.Linear(3, 1))),
    "ModuleList": lambda nn: nn.ModuleList([nn.Linear(3, 1), nn.Dropout(0.1), nn.Embedding(2, 2)]),
    "ModuleDict": lambda nn: nn.ModuleDict({"a": nn.Linear(3, 1), "b": nn.Conv2d(1, 1, 1)}),
}


@pytest.mark.torch_oracle
@pytest.mark.parametrize("name", LAYERS)
def test_state_dicts_have_pytorchs_keys_order_shapes_and_kinds(name: str) -> None:
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    theirs = LAYERS[name](torch.nn).state_dict()
    ours = LAYERS[name](nn).state_dict()
    assert list(ours) == list(theirs)
    for key, tensor in theirs.items():
        assert ours[key].shape == tuple(tensor.shape) and str(ours[key].dtype) == str(tensor.dtype).removeprefix("torch."), key


@pytest.mark.torch_oracle
@pytest.mark.parametrize("name", LAYERS)
def test_pytorchs_state_dict_goes_in_and_comes_out(name: str) -> None:
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    module, model = LAYERS[name](torch.nn), LAYERS[name](nn)
    model.load_state_dict(module.state_dict())
    for key, tensor in module.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[key], tensor.numpy())
    module.load_state_dict({key: torch.tensor(value) for key, value in model.state_dict().items()})


@pytest.mark.torch_oracle
@pytest.mark.parametrize("name", LAYERS)
def test_parameters_buffers_and_modules_are_named_as_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    module, model = LAYERS[name](torch.nn), LAYERS[name](nn)
    for method in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        assert [n for n, _ in getattr(model, method)()] == [n for n, _ in getattr(module, method)()], method
    assert len(list(model.parameters())) == len(list(module.parameters()))


def test_state_dict_gives_copies() -> None:
    model = nn.Linear(3, 2)
    for taken in (False, True):
        if taken:
            um.Trainer(model, backend="numpy")
        weights = model.state_dict()
        weights["weight"][:] = np.nan
        with pytest.raises(ValueError, match="read-only"):
            model.weight.data[:] = np.nan
        assert np.isfinite(model.state_dict()["weight"]).all()


def test_what_is_loaded_is_copied_and_used() -> None:
    model, weights = nn.Linear(3, 2), {"weight": np.ones((2, 3)), "bias": np.zeros(2)}
    model.load_state_dict(weights)
    weights["weight"][:] = np.nan
    np.testing.assert_array_equal(model(X), [[3, 3], [3, 3]])
    um.Trainer(model, backend="numpy", seed=4)
    np.testing.assert_array_equal(model(X), [[3, 3], [3, 3]])
    model.load_state_dict({"weight": 2 * np.ones((2, 3)), "bias": np.zeros(2)})
    np.testing.assert_array_equal(model(X), [[6, 6], [6, 6]])


def test_a_double_precision_state_dict_keeps_its_digits_in_a_double_precision_trainer() -> None:
    model, weight = nn.Linear(1, 1, bias=False), np.array([[1 / 3]])
    model.load_state_dict({"weight": weight})
    um.Trainer(model, backend="numpy", precision="float64")
    np.testing.assert_array_equal(model.state_dict()["weight"], weight)


def test_mismatches_are_listed_in_a_readable_diff() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    weights = model.state_dict()
    before = {name: value.copy() for name, value in weights.items()}
    weights["0.weight"] = np.zeros((5, 3))
    del weights["1.running_mean"]
    weights["head.weight"] = np.zeros((2, 2))
    with pytest.raises(CheckpointError, match="another model") as caught:
        model.load_state_dict(weights)
    text = str(caught.value)
    for line in ("missing: 1.running_mean (2,)", "unexpected: head.weight (2, 2)", "0.weight: expected (2, 3), given (5, 3)", "strict=False"):
        assert line in text
    assert all(np.array_equal(value, before[name]) for name, value in model.state_dict().items()), "nothing was loaded"
    with pytest.raises(CheckpointError, match="another model"):
        model.load_state_dict(weights, strict=False)
    del weights["0.weight"]
    weights["0.bias"] = np.array([5.0, 6.0])
    model.load_state_dict(weights, strict=False)
    np.testing.assert_array_equal(model.state_dict()["0.bias"], [5, 6])
    np.testing.assert_array_equal(model.state_dict()["0.weight"], before["0.weight"])


def test_a_long_diff_is_cut_short() -> None:
    with pytest.raises(CheckpointError) as caught:
        nn.Sequential(*(nn.Linear(1, 1) for _ in range(40))).load_state_dict({})
    assert str(caught.value).count("missing:") == 20 and "and 60 more" in str(caught.value)


def test_values_that_are_no_arrays() -> None:
    with pytest.raises(CheckpointError):
        nn.Linear(1, 1).load_state_dict({"weight": "text", "bias": np.zeros(1)})


# --------------------------------------------------------------------------------------------------------------- structure


class Tied(um.Model):
    """An encoder whose layer is used twice, and a decoder that shares the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.layer = nn.Linear(3, 3)
        self.again = self.layer
        self.decoder = nn.Linear(3, 5, bias=False)
        self.decoder.weight = self.embedding.weight

    def forward(self, x: Any) -> Any:
        return self.decoder(self.again(um.ops.tanh(self.layer(self.embedding(x)))))


def test_shared_parameters_are_one_and_listed_under_every_name() -> None:
    model = Tied()
    assert [n for n, _ in model.named_parameters()] == ["embedding.weight", "layer.weight", "layer.bias"]
    assert list(model.state_dict()) == ["embedding.weight", "layer.weight", "layer.bias", "again.weight", "again.bias", "decoder.weight"]
    weights = model.state_dict()
    np.testing.assert_array_equal(weights["decoder.weight"], weights["embedding.weight"])
    t = um.Trainer(model, loss=um.losses.CrossEntropyLoss(), optimizer=um.optim.SGD(lr=0.1), backend="numpy")
    t.train_step((np.array([0, 1, 2]), np.array([1, 2, 3])))
    after = model.state_dict()
    np.testing.assert_array_equal(after["decoder.weight"], after["embedding.weight"])
    np.testing.assert_array_equal(after["again.weight"], after["layer.weight"])
    assert not np.array_equal(after["layer.weight"], weights["layer.weight"])


@pytest.mark.torch_oracle
def test_tied_state_dict_is_pytorchs() -> None:
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")

    class TorchTied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(5, 3)
            self.layer = torch.nn.Linear(3, 3)
            self.again = self.layer
            self.decoder = torch.nn.Linear(3, 5, bias=False)
            self.decoder.weight = self.embedding.weight

    assert list(Tied().state_dict()) == list(TorchTied().state_dict())
    assert [n for n, _ in Tied().named_parameters()] == [n for n, _ in TorchTied().named_parameters()]


def test_super_init_is_allowed_and_unnecessary() -> None:
    class With(um.Model):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

    class Without(um.Model):
        def __init__(self) -> None:
            self.layer = nn.Linear(3, 1)

    assert list(With().state_dict()) == list(Without().state_dict()) == ["layer.weight", "layer.bias"]


def test_parameters_and_buffers_of_ones_own() -> None:
    class Net(um.Model):
        def __init__(self) -> None:
            self.scale = um.Parameter((3,), init=2.0)
            self.table = um.Parameter(np.arange(3.0))
            self.fixed = um.Parameter((3,), init=init.ones, requires_grad=False)
            self.count = um.Buffer((), 0, dtype="int64")
            self.scratch = um.Buffer((3,), 0.0, persistent=False)

        def forward(self, x: Any) -> Any:
            self.count.assign(self.count + 1)
            self.scratch.assign(x[0])
            return x * self.scale + self.table * self.fixed

    net = Net()
    assert list(net.state_dict()) == ["scale", "table", "fixed", "count"]
    assert [n for n, _ in net.named_buffers()] == ["count", "scratch"]
    np.testing.assert_array_equal(net(X), [[2, 3, 4], [2, 3, 4]])
    net(2 * X)
    assert net.count.data == 2 and net.state_dict()["count"].dtype == "int64"
    np.testing.assert_array_equal(net.scratch.data, [2, 2, 2])


def test_containers() -> None:
    layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(2)])
    layers.append(nn.Linear(3, 1))
    layers.extend([nn.ReLU()])
    assert len(layers) == 4 and [type(x).__name__ for x in layers] == ["Linear"] * 3 + ["ReLU"]
    assert layers[0] is next(iter(layers)) and layers[-1] is list(layers)[-1]
    layers[0] = nn.Linear(3, 3, bias=False)
    assert list(layers.state_dict()) == ["0.weight", "1.weight", "1.bias", "2.weight", "2.bias"]
    named = nn.ModuleDict({"a": nn.Linear(3, 1)})
    named["b"] = nn.ReLU()
    assert list(named) == list(named.keys()) == ["a", "b"] and named["b"] is list(named.values())[1] and dict(named.items())["a"] is named["a"]
    chain = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
    np.testing.assert_array_equal(chain[:2](X), chain[1](chain[0](X)))
    for container in (nn.ModuleList(), nn.Sequential()):
        with pytest.raises(TypeError, match="wrap a function in a Model"):
            container.append(lambda x: x)


@pytest.mark.torch_oracle
@pytest.mark.parametrize("build", [lambda nn, *layers: nn.ModuleList(layers), lambda nn, *layers: nn.Sequential(*layers)], ids=["ModuleList", "Sequential"])
def test_slices_are_containers_of_the_same_kind_named_as_in_pytorch(build: Any) -> None:
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    ours, theirs = (build(n, n.Linear(3, 3), n.ReLU(), n.Linear(3, 1)) for n in (nn, torch.nn))
    for part in (slice(1, None), slice(None, 2), slice(None, None, -1), slice(3, None)):
        assert type(ours[part]) is type(ours) and list(ours[part].state_dict()) == list(theirs[part].state_dict())


def test_train_and_eval_reach_every_layer_and_can_be_set_per_module() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3)))
    assert model.train() is model and all(m.training for m in model.modules())
    assert model.eval() is model and not any(m.training for m in model.modules())
    model[1].train()
    assert [m.training for m in model.modules()] == [False, False, True, True, True]


def test_apply_calls_the_innermost_first() -> None:
    seen: list[str] = []
    nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU())).apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "ReLU", "Sequential", "Sequential"]


def test_requires_grad_of_a_whole_model() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]


def test_a_model_prints_its_layers() -> None:
    text = repr(nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.ReLU())))
    assert text == "Sequential(\n  (0): Linear(in_features=3, out_features=2, bias=True)\n  (1): Sequential(\n    (0): ReLU()\n  )\n)"


@pytest.mark.parametrize("taken", [False, True], ids=["fresh", "taken by a trainer"])
def test_a_deep_copy_is_a_model_of_its_own_with_the_same_numbers(taken: bool) -> None:
    """For target networks and averages of weights."""
    model = Tied()
    t = um.Trainer(model, loss=um.losses.CrossEntropyLoss(), optimizer=um.optim.SGD(lr=0.5), backend="numpy", seed=3) if taken else None
    batch = (np.array([0, 1, 2]), np.array([1, 2, 3]))
    if t is not None:
        t.train_step(batch)
    twin = copy.deepcopy(model)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(twin.state_dict()[name], value)
    assert twin.decoder.weight is twin.embedding.weight is not model.embedding.weight
    np.testing.assert_array_equal(twin(batch[0]), model(batch[0]))
    before = twin.state_dict()
    (t or um.Trainer(model, loss=um.losses.CrossEntropyLoss(), optimizer=um.optim.SGD(lr=0.5), backend="numpy")).train_step(batch)
    assert all(np.array_equal(value, before[name]) for name, value in twin.state_dict().items())
    assert not np.array_equal(model.state_dict()["layer.weight"], before["layer.weight"])


def test_a_trained_model_pickles() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    um.Trainer(model, backend="numpy", seed=3)
    twin = pickle.loads(pickle.dumps(model))
    assert all(np.array_equal(value, twin.state_dict()[name]) for name, value in model.state_dict().items())


# ------------------------------------------------------------------------------------------------------------------ weights


@given(st.integers(0, 10), st.integers(0, 10))
def test_weights_are_named_by_seed_and_path(seed: int, other: int) -> None:
    def weights(seed: int) -> dict[str, np.ndarray]:
        return um.Trainer(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), backend="numpy", seed=seed).model.state_dict()

    one, same, different = weights(seed), weights(seed), weights(other)
    for name in one:
        assert np.array_equal(one[name], same[name])
        assert np.array_equal(one[name], different[name]) == (seed == other)
    assert not np.array_equal(one["0.weight"], one["1.weight"])


def test_weights_do_not_depend_on_the_rest_of_the_model() -> None:
    small, large = nn.Sequential(nn.Linear(3, 3)), nn.Sequential(nn.Linear(3, 3), nn.Conv2d(1, 1, 1), nn.Linear(4, 4))
    np.testing.assert_array_equal(small.state_dict()["0.weight"], large.state_dict()["0.weight"])


def test_weights_are_the_same_in_both_precisions_but_for_rounding() -> None:
    double = um.Trainer(nn.Linear(3, 3), backend="numpy", precision="float64", seed=2).model.state_dict()
    single = um.Trainer(nn.Linear(3, 3), backend="numpy", seed=2).model.state_dict()
    for name, value in double.items():
        assert value.dtype == "float64" and single[name].dtype == "float32"
        np.testing.assert_array_equal(value.astype("float32"), single[name])


def test_a_trainer_holds_its_numbers_once_and_draws_them_one_parameter_at_a_time() -> None:
    """Besides what lives on the backend, no more than one parameter's numbers at a time; and nothing for the optimizer's state, which starts at zeros."""

    def net() -> um.Model:
        return nn.Sequential(*(nn.Linear(256, 256, bias=False) for _ in range(12)))

    x = np.zeros((1, 256), "float32")
    trainer = um.Trainer(net(), um.losses.MSELoss(), um.optim.Adam(), backend="numpy")
    assert float(trainer.train_step((x, x))["loss"]) == 0.0  # what is imported and remembered once
    one, model = 256 * 256 * 4, net()
    tracemalloc.start()
    try:
        trainer = um.Trainer(model, um.losses.MSELoss(), um.optim.Adam(), backend="numpy")
        held, most = tracemalloc.get_traced_memory()
        assert 12 * one < held < 12.5 * one, "the store's arrays"
        assert most < 12 * one + 3 * one + 3 * 8 * random.PIECE, "a parameter on its way, and the pieces it is made of"
        trainer._um_runtime.program("train", trainer._traced_step, (x, x), [x, x])
        held, most = tracemalloc.get_traced_memory()
        assert 36 * one < held < 40 * one, "weights and two slots, and the program"
    finally:
        tracemalloc.stop()


def test_weights_are_drawn_late() -> None:
    """Building a model draws nothing; a large one costs nothing until somebody needs its numbers."""
    drawn: list[Any] = []

    def counting(shape: tuple[int, ...], stream: init.Stream) -> np.ndarray:
        drawn.append((stream.seed, stream.purpose))
        return np.zeros(shape)

    class Net(um.Model):
        def __init__(self) -> None:
            self.weight = um.Parameter((3,), init=counting)

    net = Net()
    assert drawn == []
    um.Trainer(net, backend="numpy", seed=7)
    assert drawn == [(7, "init/weight")]
    net.state_dict()
    assert len(drawn) == 1


@pytest.mark.torch_oracle
@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (lambda nn: nn.Linear(50, 400), ["weight", "bias"]),
        (lambda nn: nn.Conv2d(8, 300, (3, 2), groups=2), ["weight", "bias"]),
        (lambda nn: nn.Embedding(100, 200, padding_idx=3), ["weight"]),
        (lambda nn: nn.BatchNorm2d(400), ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]),
        (lambda nn: nn.LayerNorm(400), ["weight", "bias"]),
    ],
    ids=["Linear", "Conv2d", "Embedding", "BatchNorm2d", "LayerNorm"],
)
def test_weights_start_from_pytorchs_distributions(build: Any, parameters: list[str]) -> None:
    """The same bounds (uniform) and the same mean and spread, on enough numbers to tell."""
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    torch.manual_seed(0)
    ours, theirs = build(nn).state_dict(), {name: tensor.numpy() for name, tensor in build(torch.nn).state_dict().items()}
    for name in parameters:
        a, b = ours[name].astype("float64"), theirs[name].astype("float64")
        if b.std() == 0:
            np.testing.assert_array_equal(a, b)
            continue
        error = 8 * b.std() / math.sqrt(b.size)
        assert abs(a.mean() - b.mean()) < error and abs(a.std() - b.std()) < error, name
        if name != "weight" or "Embedding" not in repr(build(nn)):
            assert abs(np.abs(a).max() / np.abs(b).max() - 1) < 20 / b.size, f"{name}: other bounds"
        assert ((a == 0).all(axis=-1) == (b == 0).all(axis=-1)).all(), "padding_idx"


INITIALIZERS: dict[str, tuple[Any, Any]] = {
    "uniform": (init.uniform(-0.3, 0.7), lambda i, w: i.uniform_(w, -0.3, 0.7)),
    "normal": (init.normal(0.5, 2.0), lambda i, w: i.normal_(w, 0.5, 2.0)),
    "constant": (init.constant(0.25), lambda i, w: i.constant_(w, 0.25)),
    "zeros": (init.zeros, lambda i, w: i.zeros_(w)),
    "ones": (init.ones, lambda i, w: i.ones_(w)),
    "kaiming_uniform": (init.kaiming_uniform(nonlinearity="relu"), lambda i, w: i.kaiming_uniform_(w, nonlinearity="relu")),
    "kaiming_uniform fan_out": (init.kaiming_uniform(a=0.2, mode="fan_out"), lambda i, w: i.kaiming_uniform_(w, a=0.2, mode="fan_out")),
    "kaiming_normal": (init.kaiming_normal(), lambda i, w: i.kaiming_normal_(w)),
    "xavier_uniform": (init.xavier_uniform(gain=1.5), lambda i, w: i.xavier_uniform_(w, gain=1.5)),
    "xavier_normal": (init.xavier_normal(), lambda i, w: i.xavier_normal_(w)),
}


@pytest.mark.torch_oracle
@pytest.mark.parametrize("name", INITIALIZERS)
@pytest.mark.parametrize("shape", [(200, 300), (40, 20, 7, 5)])
def test_initializers_are_pytorchs(name: str, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    ours, theirs = INITIALIZERS[name]
    torch.manual_seed(0)
    a, b = ours(shape, init.Stream(0, name)), theirs(torch.nn.init, torch.empty(shape, dtype=torch.float64)).numpy()
    error = 8 * b.std() / math.sqrt(b.size)
    assert a.shape == shape and abs(a.mean() - b.mean()) <= error and abs(a.std() - b.std()) <= error
    if "normal" not in name:
        assert abs(a.max() - b.max()) <= 1e-3 * abs(b.max()) and abs(a.min() - b.min()) <= 1e-3 * abs(b.min())


@pytest.mark.torch_oracle
@pytest.mark.parametrize("nonlinearity", ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains_are_pytorchs(nonlinearity: str) -> None:
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    assert init.gain(nonlinearity) == pytest.approx(torch.nn.init.calculate_gain(nonlinearity), rel=1e-15)
    assert init.gain("leaky_relu", 0.3) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.3), rel=1e-15)


# ------------------------------------------------------------------------------------------------------------------- calls


def test_a_model_computes_on_arrays_without_a_trainer() -> None:
    model = nn.Linear(3, 2)
    weights = model.state_dict()
    np.testing.assert_allclose(model(X), X @ weights["weight"].T + weights["bias"], rtol=1e-6)
    assert isinstance(model(X), np.ndarray) and model(X).dtype == "float32"
    one = model(X[0])
    assert one.shape == (2,), "one sample without a batch dimension, as in PyTorch"
    np.testing.assert_array_equal(one, model(X)[0])


def test_a_model_follows_the_current_backend_and_its_own_trainers() -> None:
    model = nn.Linear(3, 1)
    with um.use_backend("numpy"):
        assert isinstance(model(X), np.ndarray)
    um.Trainer(model, backend="numpy", precision="float64")
    assert model(X).dtype == "float64"


def test_a_layer_inside_a_taken_model_computes_with_its_weights() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    um.Trainer(model, backend="numpy", seed=5)
    np.testing.assert_allclose(model[1](model[0](X)), model(X), rtol=1e-6)


def test_arguments_may_be_named_and_optional() -> None:
    class Net(um.Model):
        def forward(self, x: Any, scale: Any = None, *, shift: Any = None) -> Any:
            x = x if scale is None else x * scale
            return x if shift is None else x + shift

    net = Net()
    np.testing.assert_array_equal(net(X, X * 2, shift=X), 3 * X)
    np.testing.assert_array_equal(net(X, shift=X), 2 * X)
    np.testing.assert_array_equal(net(x=X), X)


def test_setting_data_reaches_the_backend_and_checks_the_shape() -> None:
    model = nn.Linear(3, 1)
    for taken in (False, True):
        if taken:
            um.Trainer(model, backend="numpy")
        model.weight.data = np.full((1, 3), 5.0)
        model.bias.data = np.zeros(1)
        np.testing.assert_array_equal(model(X), [[15], [15]])
        with pytest.raises(ShapeError, match="shape"):
            model.weight.data = np.zeros((3, 1))


def test_numbers_looked_at_before_the_model_is_used_are_those_that_it_begins_with() -> None:
    def net() -> um.Model:
        return um.nn.Sequential(um.nn.Linear(2, 2), um.nn.ModuleList([um.nn.Linear(2, 2)])[0])

    looked_at = net()
    first, second = (layer.weight.data for layer in looked_at)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(looked_at.state_dict()["0.weight"], first)
    np.testing.assert_array_equal(net().state_dict()["0.weight"], first)
    np.testing.assert_array_equal(net()[0].state_dict()["weight"], first)


def test_a_model_that_nobody_has_used_is_pickled_with_the_numbers_that_it_would_have_drawn() -> None:
    net = um.nn.Sequential(um.nn.Linear(2, 3), um.nn.Linear(3, 2))
    twin = pickle.loads(pickle.dumps(net))
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(twin.state_dict()[name], array)


@pytest.mark.parametrize("read", [float, lambda p: p.numpy(), np.asarray], ids=["float", "numpy", "asarray"])
def test_a_parameter_read_as_a_number_says_where_its_numbers_are(read: Any) -> None:
    with pytest.raises(um.errors.TraceError, match="of a parameter") as caught:
        read(um.Parameter((1,)))
    assert ".data" in (caught.value.remedy or "")

"""The pass that lowers precision: which ops compute in half the bits, what numbers do to a dtype, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import op, ops
from unimodel.errors import UnsupportedError
from unimodel.graph import Graph, TensorSpec
from unimodel.passes.precision import PRECISIONS, LossScale, as_bfloat16, lower_precision
from unimodel.tracing import trace


def lowered(function: Any, *shapes: tuple[int, ...], precision: str = "fp16-mixed") -> Graph:
    specs = tuple(TensorSpec(s, "float32") for s in shapes)
    graph = trace(lambda batch: function(*batch), specs, names={}).graph
    return lower_precision(graph, PRECISIONS[precision], LossScale())


def dtype_of(graph: Graph, name: str) -> set[str]:
    return {n.outputs[0].spec.dtype for n in graph.nodes if n.op.name == name}


def test_products_are_low_and_what_follows_stays_until_it_must_not() -> None:
    graph = lowered(lambda a, b: ops.softmax(ops.relu(a @ b) + 1.0, -1), (4, 4), (4, 4))
    assert dtype_of(graph, "matmul") == dtype_of(graph, "relu") == dtype_of(graph, "add") == {"float16"}
    assert dtype_of(graph, "softmax") == {"float32"}
    assert [v.spec.dtype for v in graph.outputs] == ["float32"]


def test_a_tensor_in_float32_widens_and_a_number_does_not() -> None:
    assert dtype_of(lowered(lambda a, b: (a @ a) * b, (4, 4), (4, 4)), "multiply") == {"float32"}
    assert dtype_of(lowered(lambda a: (a @ a) * 0.5, (4, 4)), "multiply") == {"float16"}


@pytest.mark.parametrize("number", [1e-9, 1e9, -1e6])
def test_a_number_that_float16_does_not_have_widens(number: float) -> None:
    assert dtype_of(lowered(lambda a: (a @ a) * number, (4, 4)), "multiply") == {"float32"}
    assert dtype_of(lowered(lambda a: (a @ a) * number, (4, 4), precision="bf16-mixed"), "multiply") == {"bfloat16"}


def test_a_composite_that_multiplies_matrices_inside_is_taken_apart() -> None:
    @op.composite(register=False)
    def product_of_both(a: um.Tensor, b: um.Tensor) -> Any:
        return ops.exp(ops.matmul(a, b))

    graph = lowered(product_of_both, (4, 4), (4, 4), precision="bf16-mixed")
    assert dtype_of(graph, "matmul") == {"bfloat16"} and dtype_of(graph, "exp") == {"float32"}


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_are_low_as_a_whole(name: str) -> None:
    shapes = {"LSTM": ((2, 3), (2, 3), (12, 4), (12, 3)), "GRU": ((2, 3), (9, 4), (9, 3)), "RNN": ((2, 3), (3, 4), (3, 3))}[name]
    graph = lowered(getattr(ops, name.lower()), (5, 2, 4), *shapes)
    assert dtype_of(graph, name.lower()) == {"float16"}
    assert {v.spec.dtype for v in graph.outputs} == {"float32"}


@pytest.mark.parametrize("precision", ["bf16-mixed", "fp16-mixed"])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_train_in_low_precision_as_in_float32(name: str, precision: str) -> None:
    pytest.importorskip("unimodel_torch", reason="framework missing: PyTorch is not installed")
    x = np.random.default_rng(0).standard_normal((32, 4, 3)).astype("float32")
    lengths = np.arange(32) % 4 + 1

    class Net(um.Model):
        def __init__(self) -> None:
            self.layer = getattr(um.nn, name)(3, 6, batch_first=True)

        def forward(self, x: Any, lengths: Any) -> Any:
            return self.layer(x, lengths=lengths)[0]

    def losses(precision: str) -> list[float]:
        trainer = um.Trainer(Net(), um.losses.MSELoss(), um.optim.SGD(lr=0.5), backend="torch", precision=precision)
        return trainer.fit(((x, lengths), x.mean(2, keepdims=True) + np.zeros((1, 1, 6), "float32")), epochs=4, verbose=False).history["loss"]

    np.testing.assert_allclose(losses(precision), losses("float32"), rtol=0.02)


def test_throughout_everything_is_low() -> None:
    graph = lowered(lambda a, b: ops.softmax(ops.relu(a @ b), -1), (4, 4), (4, 4), precision="bf16-true")
    assert dtype_of(graph, "matmul") == dtype_of(graph, "softmax") == {"bfloat16"} and graph.outputs[0].spec.dtype == "float32"


def test_float32_is_left_alone() -> None:
    graph = trace(lambda x: ops.exp(x), TensorSpec((3,), "float32"), names={}).graph
    assert lower_precision(graph, PRECISIONS["float32"], LossScale()) is graph


def test_bfloat16_rounds_to_nearest_even() -> None:
    numbers = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -3.1415927, 0.0, -0.0, np.inf, np.nan, 2.0**127], "float32")
    expected = np.array([1.0, 1.0, 1 + 4 * 2**-8, 1 + 2**-7, -3.140625, 0.0, -0.0, np.inf, np.nan, 2.0**127], "float32")
    assert np.array_equal(as_bfloat16(numbers), expected, equal_nan=True)
    assert as_bfloat16(np.float32(1.0).reshape(())).shape == ()


@pytest.mark.parametrize("precision", ["fp16-mixed", "bf16-mixed", "bf16-true"])
def test_numpy_refuses_with_its_reason(precision: str) -> None:
    with pytest.raises(UnsupportedError, match=f"precision='{precision}' needs mixed precision.*numpy(.|\n)*never: NumPy has no bfloat16"):
        um.Trainer(um.nn.Linear(2, 1), backend="numpy", precision=precision)


def test_an_unknown_precision_is_refused_with_all_names() -> None:
    with pytest.raises(UnsupportedError, match="float32, float64, bf16-mixed, fp16-mixed, bf16-true"):
        um.Trainer(um.nn.Linear(2, 1), backend="numpy", precision="float8")


def test_an_unknown_compiler_is_refused_with_what_there_is() -> None:
    with pytest.raises(UnsupportedError, match=r"the backend numpy has no compiler of this name(.|\n)*auto, none(.|\n)*compile='xla'"):
        um.Trainer(um.nn.Linear(2, 1), backend="numpy", compile="xla")


def test_skipped_steps_are_those_of_pytorchs_grad_scaler() -> None:
    """A loop by hand with autocast and a GradScaler, from the same weights: as many steps overflow, and the others are Adam's first ones."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("unimodel_torch")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 3)).astype("float32"), rng.standard_normal((8, 2)).astype("float32")
    model = um.nn.Sequential(um.nn.Linear(3, 4), um.nn.Tanh(), um.nn.Linear(4, 2))
    scale = LossScale(init_scale=2.0**22, growth_interval=3)
    trainer = um.Trainer(model, um.losses.MSELoss(), um.optim.Adam(lr=0.02), backend="torch", precision="fp16-mixed", loss_scale=scale)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    net.load_state_dict({k: torch.tensor(v) for k, v in model.state_dict().items()})
    optimizer, scaler = torch.optim.Adam(net.parameters(), lr=0.02), torch.amp.GradScaler("cpu", init_scale=2.0**22, growth_interval=3)
    scales = []
    for _ in range(14):
        trainer.train_step((x, y))
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            prediction = net(torch.from_numpy(x))
        scaler.scale(torch.nn.functional.mse_loss(prediction.float(), torch.from_numpy(y))).backward()
        scaler.step(optimizer)
        scaler.update()
        scales.append((trainer.loss_scale, scaler.get_scale()))
    assert [ours for ours, _ in scales] == [theirs for _, theirs in scales]
    steps = {int(state["step"]) for state in optimizer.state.values()}
    assert steps == {trainer.optimizer.steps} and 0 < trainer.optimizer.steps < 14
    for name, weight in net.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[name], weight.numpy(), atol=2e-3)

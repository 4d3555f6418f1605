"""The short ways around TensorFlow's Python give what the public ones give, and where they are gone the public ones are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import nn

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

from unimodel_tensorflow import kernels, trainer  # noqa: E402  # needs TensorFlow

X = np.random.default_rng(0).standard_normal((4, 6)).astype("float32")
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "an input renamed in Python": lambda raw, x: raw.Sum(input=x, axis=tf.constant([1]), keep_dims=True),
    "two inputs renamed": lambda raw, x: raw.Select(condition=x > 0, x=x, y=-x),
    "a list of inputs": lambda raw, x: raw.ConcatV2(values=[x, x + 1], axis=tf.constant(1)),
    "a list of results": lambda raw, x: raw.Split(axis=tf.constant(1), value=x, num_split=3)[1],
    "results with names": lambda raw, x: raw.TopKV2(input=x, k=tf.constant(2), sorted=True).indices,
    "attributes of all kinds": lambda raw, x: raw.Conv2D(input=tf.reshape(x, (1, 4, 6, 1)), filter=tf.ones((3, 3, 1, 2)), strides=[1, 1, 1, 1], padding="SAME"),
    "a dtype": lambda raw, x: raw.Cast(x=x, DstT=tf.float64),
    "a number for a tensor": lambda raw, x: raw.AddV2(x=x, y=1.0),
    "what comes from outside": lambda raw, x: raw.Mul(x=x, y=OUTSIDE),
}
OUTSIDE = tf.constant(X)


@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
def test_a_kernel_gives_what_the_raw_op_gives(call: Callable[[Any, Any], Any]) -> None:
    assert kernels.short_way() is not None, "TensorFlow's private names have changed"
    ours = tf.function(lambda x: call(kernels.raw, x), autograph=False)(X)
    public = tf.function(lambda x: call(tf.raw_ops, x), autograph=False)(X)
    assert ours.dtype == public.dtype
    np.testing.assert_allclose(ours, public, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(call(kernels.raw, tf.constant(X)), public, rtol=1e-5, atol=1e-6, err_msg="outside a function")


def test_kernels_wait_for_control_dependencies() -> None:
    variable = tf.Variable(1.0)

    @tf.function(autograph=False)
    def step() -> Any:
        before = kernels.raw.ReadVariableOp(resource=variable.handle, dtype=tf.float32)
        with tf.control_dependencies([before]):
            written = kernels.raw.AssignVariableOp(resource=variable.handle, value=kernels.raw.AddV2(x=before, y=before))
        assert before.op in written.control_inputs or before.op in written.inputs[1].op.control_inputs
        return before

    assert (float(step()), float(variable.numpy())) == (1.0, 2.0)


def test_an_error_while_building_names_the_op() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="MatMul"):
        tf.function(lambda x: kernels.raw.MatMul(a=x, b=x), autograph=False)(X)


@pytest.fixture
def the_public_way(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(kernels, "short_way", lambda: None)
    monkeypatch.setattr(trainer, "fast_path", lambda: None)
    kernels.raw.__dict__.clear()
    yield
    kernels.raw.__dict__.clear()


def losses() -> list[float]:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * 1 * 2, 3))
    one = um.Trainer(net, um.losses.CrossEntropyLoss(), um.optim.AdamW(lr=0.01), backend="tensorflow", precision="float64")
    return [float(one.train_step((X.reshape(1, 1, 4, 6).repeat(3, 0), np.array([0, 1, 2])))["loss"]) for _ in range(3)]


@pytest.fixture
def by_the_short_way() -> list[float]:
    return losses()


def test_the_public_way_is_taken_where_private_names_are_gone(by_the_short_way: list[float], the_public_way: None) -> None:
    assert kernels.raw.Relu is tf.raw_ops.Relu
    np.testing.assert_allclose(losses(), by_the_short_way, rtol=1e-12)


def test_tables_are_read_and_written_by_rows() -> None:
    """Once a step has written some rows, TensorFlow copies the variable for whoever reads it whole, in any function."""
    net = nn.Sequential(nn.Embedding(1100, 64), nn.Flatten(), nn.Linear(3 * 64, 2))
    one = um.Trainer(net, um.losses.MSELoss(), um.optim.SGD(lr=0.1), backend="tensorflow")
    rows = np.array([[0, 1, 1], [5, 0, 7]])
    one.train_step((rows, np.ones((2, 2), "float32")))
    one.predict(rows)
    found = [program.executable._function.concrete.graph.get_operations() for _, program in one._um_runtime.programs()]
    assert [sum(op.type == "ResourceScatterSub" for op in ops) for ops in found] == [1, 0]
    for ops in found:
        assert [tuple(op.outputs[0].shape) for op in ops if op.type == "ReadVariableOp" and op.outputs[0].shape.rank == 2] == [(2, 3 * 64)]

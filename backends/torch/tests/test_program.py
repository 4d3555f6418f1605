"""What a compiled program promises: any batch size, arrays that belong to who holds them, one state for all, errors with the user's line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from program import Variables, assert_same, program

import unimodel as um
from unimodel import ops, plugins
from unimodel.errors import BackendError
from unimodel.tracing import Scalar

RNG = np.random.default_rng(0)
STATE = {"weight": RNG.standard_normal((3, 4)), "bias": RNG.standard_normal(3)}


def step(v: Variables, x: Any, y: Any) -> Any:
    """Sizes in every role: in shapes, as divisors, as numbers, in a range."""
    rows = x.shape[0]

    def loss() -> Any:
        out = ops.linear(ops.reshape(x, (rows * 2, 4)), v["weight"], v["bias"])
        place = ops.astype(ops.arange(rows * 2), "float64") / rows
        error = ops.reshape(out, (rows, 6)) - y
        return (error * error).mean() + (ops.expand_dims(place, 1) * out).sum() / (rows * 3) + ops.where(x > 0, x, 0.0).sum() * 1e-3

    value, grads = um.value_and_grad(loss, wrt=list(v.values()))
    for cell, g in zip(v.values(), grads, strict=True):
        cell.assign(ops.sgd_update(cell, g, Scalar(0.1)))
    return value, ops.concat([x, ops.broadcast_to(1.5, (rows, 1))], axis=1), rows * 2


def batch(rows: int) -> list[np.ndarray]:
    return [RNG.standard_normal((rows, 8)), RNG.standard_normal((rows, 6))]


@pytest.mark.parametrize("who", ["core", "native"])
def test_one_program_for_every_batch_size(who: str) -> None:
    ours, reference = (program(step, STATE, batch(5), backend, who, symbolic=True) for backend in ("torch", "numpy"))
    for rows in (5, 1, 32, 3):
        arrays = batch(rows)
        assert_same(ours(*arrays), reference(*arrays), 1e-12)
    assert_same(*([p.store.read(n) for n in STATE] for p in (ours, reference)), 1e-12)


def test_many_steps_are_one_step_many_times() -> None:
    one, many = (program(step, STATE, batch(5), "torch", symbolic=True) for _ in range(2))
    batches = [batch(4), batch(7), batch(4)]
    singly = [one(*b) for b in batches]
    handles = many.executable.run_many([many.order(b) for b in batches], [many.scalars()] * 3)
    for s, h in zip(singly, handles, strict=True):
        assert_same(many.executable.read(h), s, 0.0)


def test_batch_arrays_may_be_overwritten_and_results_are_the_callers() -> None:
    p = program(lambda v, x: (x, ops.reshape(x, (-1,)), x + 1.0), {}, [np.ones(3)], "torch")
    x = np.arange(3.0)
    handle = p.run([x])
    x[:] = 99.0
    first, second = p.executable.read(handle), p.executable.read(handle)
    first[2][:] = -1.0
    assert_same(second, [np.arange(3.0), np.arange(3.0), np.arange(3.0) + 1.0], 0.0)


@pytest.mark.parametrize("make", [lambda a: a[::-1], lambda a: np.asfortranarray(a), lambda a: a.astype("float32"), lambda a: np.broadcast_to(a[:1], a.shape)])
def test_batch_arrays_of_any_layout(make: Any) -> None:
    p = program(lambda v, x: x * 2.0, {}, [np.ones((3, 2))], "torch")
    array = make(np.arange(6.0).reshape(3, 2))
    assert_same(p(array), [array.astype("float64") * 2.0], 0.0)
    array = array.copy()
    array.flags.writeable = False
    assert_same(p(array), [array.astype("float64") * 2.0], 0.0)


def test_programs_of_a_store_see_each_others_updates() -> None:
    train = program(step, STATE, batch(5), "torch", symbolic=True)
    look = program(lambda v, x: v["weight"] * 1.0, STATE, [np.ones(1)], "torch", store=train.store)
    before = train.store.read("weight")
    train(*batch(5))
    (seen,) = look(np.ones(1))
    assert_same([seen], [train.store.read("weight")], 0.0)
    assert np.abs(seen - before).max() > 0
    train.store.write("weight", before)
    assert_same(look(np.ones(1)), [before], 0.0)
    train.store.write("bias", np.zeros(3, "float32"))  # another dtype: another tensor
    assert train.store.read("bias").dtype == "float32"


def test_host_numbers_are_exact_and_never_raise() -> None:
    zero, third = Scalar(0.0), Scalar(1.0 / 3.0)

    def numbers(v: Variables, x: Any) -> Any:
        return (
            1.0 / zero,
            ops.sqrt(zero - 1.0),
            ops.log(zero),
            ops.exp(third * 1e6),
            (zero - 8.0) ** third,
            third * 3.0,
            x * third,
            ops.where(x > 0, third, 2.0),
        )

    x = np.array([1.0, -2.0])
    with np.errstate(all="ignore"):
        assert_same(program(numbers, {}, [x], "torch")(x), program(numbers, {}, [x], "numpy")(x), 1e-15)


def test_failure_names_the_users_line() -> None:
    def function(v: Variables, x: Any, indices: Any) -> Any:
        y = x * 2.0
        return ops.take(y, indices, axis=0)  # the line

    p = program(function, {}, [np.ones((3, 2)), np.array([0, 1])], "torch")
    with pytest.raises(BackendError, match="IndexError") as caught:
        p(np.ones((3, 2)), np.array([0, 7]))
    assert caught.value.source is not None and "test_program.py" in caught.value.source.file
    assert caught.value.source.line == function.__code__.co_firstlineno + 2
    assert_same(p(np.ones((3, 2)), np.array([0, 2])), [np.full((2, 2), 2.0)], 0.0)


@pytest.mark.parametrize("who", ["core", "native"])
def test_gradients_stop(who: str) -> None:
    x = np.array([1.0, 3.0])
    p = program(lambda v, x: um.value_and_grad(lambda: (x * ops.stop_gradient(x)).sum(), wrt=[x])[1], {}, [x], "torch", who)
    assert_same(p(x), [x], 0.0)


def test_who_differentiates() -> None:
    def attends(v: Variables, x: Any) -> Any:
        return um.value_and_grad(lambda: ops.scaled_dot_product_attention(x, x, x).sum(), wrt=[x])[1]

    x = RNG.standard_normal((2, 4, 3))
    assert program(attends, {}, [x], "torch").executable.differentiation == "native"
    assert program(attends, {}, [x], "torch", "core").executable.differentiation == "core"
    assert program(step, STATE, batch(3), "torch").executable.differentiation == "core"


def gradients_of(wanted: Sequence[int]) -> Callable[..., Any]:
    def convolves(v: Variables, x: Any, w: Any) -> Any:
        given = [x, w]
        return um.value_and_grad(lambda: (ops.conv2d(x, w, stride=2, padding=1) ** 2).sum(), wrt=[given[i] for i in wanted])[1]

    return convolves


@pytest.mark.parametrize("wanted", [(0, 1), (0,), (1,)])
def test_gradients_of_a_convolution_are_one_call(wanted: Sequence[int]) -> None:
    """The kernel arranges what both need once; what nobody asks it does not compute."""
    arrays = [RNG.standard_normal((2, 3, 6, 6)), RNG.standard_normal((4, 3, 3, 3))]
    found = program(gradients_of(wanted), {}, arrays, "torch", "core")
    assert_same(found(*arrays), program(gradients_of(wanted), {}, arrays, "numpy")(*arrays), 1e-12)
    assert found.executable.source.count("convolution_backward.default(") == 1
    assert str([0 in wanted, 1 in wanted, False]) in found.executable.source


def test_devices() -> None:
    backend = plugins.load("torch")
    assert backend.devices()[0] == "cpu"
    for device in backend.devices():
        p = backend(device)
        assert p.to_numpy(p.from_numpy(np.arange(3.0))).tolist() == [0.0, 1.0, 2.0]

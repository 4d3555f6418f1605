"""Updates are carried out in place, and nobody who needs the old numbers gets the new ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from program import Variables, assert_same, program

import unimodel as um
from unimodel import ops
from unimodel.tracing import Scalar

LR = Scalar(0.1)
A, B = np.array([1.0, 2.0, 3.0]), np.array([-0.5, 0.25, 4.0])


def gradients(v: Variables, loss: Callable[[], Any]) -> dict[str, Any]:
    value, grads = um.value_and_grad(loss, wrt=list(v.values()))
    return {"": value, **dict(zip(v, grads, strict=True))}


def plain(v: Variables, x: Any) -> Any:
    g = gradients(v, lambda: ((v["a"] * x + v["b"]) ** 2).sum())
    for name in v:
        v[name].assign(ops.sgd_update(v[name], g[name], LR))
    return g[""]


def gradient_is_the_other(v: Variables, x: Any) -> Any:
    g = gradients(v, lambda: (v["a"] * v["b"]).sum())
    for name in v:
        v[name].assign(ops.sgd_update(v[name], g[name], LR))
    return g[""]


def old_value_is_returned(v: Variables, x: Any) -> Any:
    before, view = v["a"] * 1.0, ops.reshape(v["a"], (3, 1))
    old = ops.stop_gradient(v["b"])
    plain(v, x)
    return before, view, old, v["a"], ops.reshape(v["b"], (1, 3))


def old_value_is_read_later(v: Variables, x: Any) -> Any:
    old = ops.reshape(v["a"], (3, 1))
    plain(v, x)
    after = (v["b"] * x).sum()
    return after + (old * 2.0).sum()


def two_players(v: Variables, x: Any) -> Any:
    first, (ga,) = um.value_and_grad(lambda: (v["a"] * v["b"] * x).sum(), wrt=[v["a"]])
    v["a"].assign(ops.sgd_update(v["a"], ga, LR))
    second, (gb,) = um.value_and_grad(lambda: (v["a"] * v["b"] * v["b"] * x).sum(), wrt=[v["b"]])
    v["b"].assign(ops.sgd_update(v["b"], gb, LR))
    return first, second


def twice(v: Variables, x: Any) -> Any:
    middle = ops.sgd_update(v["a"], v["a"] * x, LR)
    v["a"].assign(ops.sgd_update(middle, middle * x + v["b"], LR))
    return middle.sum()


def looks_ahead(v: Variables, x: Any) -> Any:
    ahead = ops.sgd_update(v["a"], v["a"] * x, LR)
    _, (g,) = um.value_and_grad(lambda: (v["b"] * v["b"] * ahead).sum(), wrt=[v["b"]])
    v["b"].assign(ops.sgd_update(v["b"], g, LR))
    return ahead


def exchange(v: Variables, x: Any) -> Any:
    a, b = v["a"] * 1.0, v["b"] * 1.0
    v["a"].assign(ops.stop_gradient(v["b"]))
    v["b"].assign(a)
    return b


def follows(v: Variables, x: Any) -> Any:
    v["b"].assign(v["b"])
    v["a"].assign(ops.sgd_update(v["a"], v["a"] * x, LR))
    v["b"].assign(v["a"])
    return v["b"]


def gradient_with_strides(v: Variables, x: Any) -> Any:
    square = ops.permute_dims(ops.expand_dims(v["a"], 1) * ops.expand_dims(v["b"], 0), (1, 0))
    v["a"].assign(ops.adam_update(square, square * x, square * 0.5, square * square, LR, 0.1, 0.2)[0][0])
    return ops.sgd_update(square, ops.broadcast_to(x, (3, 3)), LR, 1.0, ops.permute_dims(square, (1, 0)), momentum=0.9)


def rate_is_a_tensor(v: Variables, x: Any) -> Any:
    g = gradients(v, lambda: (v["a"] * x).sum() + (v["b"] ** 2).sum())
    v["a"].assign(ops.sgd_update(v["a"], g["a"], (v["b"] * v["b"]).sum() * 0.01))
    v["b"].assign(LR * 2.0 + ops.zeros_like(v["b"]))
    return LR * 3.0, 1.5


def one_tensor_in_two_places(v: Variables, x: Any) -> Any:
    new = ops.adam_update(v["a"], v["b"] * x, v["a"], v["a"] * v["a"], LR, 0.5, 0.75, weight_decay=0.1, decoupled=True)
    v["a"].assign(new[0])
    v["b"].assign(ops.sgd_update(v["b"], v["b"], LR))
    return new[1], new[2]


def looks_ahead_from_the_new(v: Variables, x: Any) -> Any:
    v["a"].assign(ops.sgd_update(v["a"], v["a"] * x, LR))
    return ops.sgd_update(v["a"], v["b"] * x, LR)


def region_hands_on(v: Variables, x: Any) -> Any:
    (loss, aux), (g,) = um.value_and_grad(lambda: ((v["a"] * x).sum(), [ops.reshape(v["a"], (3, 1)), v["a"] * x, v["b"]]), wrt=[v["a"]], has_aux=True)
    v["a"].assign(ops.sgd_update(v["a"], g, LR))
    v["b"].assign(ops.sgd_update(v["b"], g, LR))
    return loss, *aux


STEPS = [plain, gradient_is_the_other, old_value_is_returned, old_value_is_read_later, two_players, twice, looks_ahead, exchange, follows]
STEPS += [gradient_with_strides, rate_is_a_tensor, one_tensor_in_two_places, looks_ahead_from_the_new, region_hands_on]


@pytest.mark.parametrize("who", ["core", "native"])
@pytest.mark.parametrize("step", STEPS, ids=lambda f: f.__name__)
def test_same_as_numpy(step: Callable[..., Any], who: str) -> None:
    x = np.array([0.3, -0.7, 0.2])
    runs = [program(step, {"a": A, "b": B}, [x], backend, who) for backend in ("numpy", "torch")]
    handles = [[p.run([x]) for _ in range(4)] for p in runs]
    for reference, found in zip(*([p.executable.read(h) for h in hs] for p, hs in zip(runs, handles, strict=True)), strict=True):
        assert_same(found, reference, 1e-12)
    assert_same(*([p.store.read(name) for name in ("a", "b")] for p in reversed(runs)), 1e-12)


def test_optimizers_write_in_place_in_one_kernel() -> None:
    p = program(plain, {"a": A, "b": B}, [A], "torch")
    tensors = dict(p.store.arrays)
    p.run([A])
    assert p.executable.source.count("torch._fused_sgd_") == 1 and "clone" not in p.executable.source
    assert all(p.store.arrays[name] is tensor for name, tensor in tensors.items())

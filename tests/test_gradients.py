"""Core's differentiation is right: finite differences in float64 judge every op of the catalogue, in first and second order.

Every sample of every op that claims a gradient is checked along random directions; then what regions promise beyond ops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel.dim import product
from unimodel.errors import ShapeError, TraceError
from unimodel.op import Op
from unimodel.ops import catalogue
from unimodel.ops.samples import Sample

STEP = 1e-5


class Case:
    """One sample of an op as a function of its floating arrays, to a scalar that depends on every element of every floating result."""

    def __init__(self, op: Op[Any], sample: Sample) -> None:
        args, self.kwargs = sample.arguments()
        self.op = op
        self.args = [*args[0], *args[1:]] if op.variadic else args
        self.split = len(args[0]) if op.variadic else 0
        self.places = [i for i, a in enumerate(self.args) if isinstance(a, np.ndarray) and a.dtype == "float64"]
        self.arrays = [self.args[i] for i in self.places]

    def value(self, *arrays: Any) -> Any:
        args = list(self.args)
        for place, array in zip(self.places, arrays, strict=True):
            args[place] = array
        if self.split:
            args = [args[: self.split], *args[self.split :]]
        result = self.op(*args, **self.kwargs)
        total: Any = 0.0
        for i, tensor in enumerate(result if isinstance(result, tuple) else (result,)):
            if tensor.dtype == "float64":
                weights = um.ops.cos(um.ops.arange(product(tensor.shape), dtype="float64") + i)
                total = total + um.ops.sum(tensor * um.ops.reshape(weights, tensor.shape))
        return total

    def gradient(self, *arrays: Any) -> tuple[Any, ...]:
        _, gradients = um.value_and_grad(lambda: self.value(*arrays), wrt=list(arrays))
        return tuple(um.ops.zeros_like(a) if g is None else g for a, g in zip(arrays, gradients, strict=True))

    def slope(self, directions: list[np.ndarray], *arrays: Any) -> Any:
        """The derivative along some directions; its own gradient is the second order."""
        terms = [um.ops.sum(g * d) for g, d in zip(self.gradient(*arrays), directions, strict=True)]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def directions(self, seed: int) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        return [rng.standard_normal(a.shape) for a in self.arrays]


def difference(function: Callable[..., Any], arrays: list[np.ndarray], directions: list[np.ndarray], step: float = STEP) -> np.ndarray:
    """The derivative of a function along directions, by central differences of fourth order."""

    def at(t: float) -> np.ndarray:
        return np.asarray(um.run(function, *(a + t * d for a, d in zip(arrays, directions, strict=True))))

    return (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)


def agree(exact: Any, approximate: Any, what: str) -> None:
    scale = max(1.0, float(np.abs(approximate).max(initial=0.0)))
    np.testing.assert_allclose(exact, approximate, rtol=0, atol=1e-7 * scale, err_msg=what)


CASES = [
    pytest.param(name, i, id=f"{name}-{i}")
    for name, op in catalogue.items()
    for i, sample in enumerate(op.samples)
    if sample.gradient and Case(op, sample).arrays
]


@pytest.mark.parametrize(("name", "i"), CASES)
def test_gradient_of_every_op(name: str, i: int) -> None:
    case = Case(catalogue[name], catalogue[name].samples[i])
    gradients = um.run(case.gradient, *case.arrays)
    for place, gradient in enumerate(gradients):
        alone = [np.zeros_like(a) for a in case.arrays]
        alone[place] = case.directions(place)[place]
        agree(float((gradient * alone[place]).sum()), difference(case.value, case.arrays, alone), f"gradient of input {place}")


@pytest.mark.parametrize(("name", "i"), CASES)
def test_second_order_of_every_op(name: str, i: int) -> None:
    case = Case(catalogue[name], catalogue[name].samples[i])
    along, probe = case.directions(1), case.directions(2)

    def slope(*arrays: Any) -> Any:
        return case.slope(along, *arrays)

    def second(*arrays: Any) -> tuple[Any, ...]:
        _, gradients = um.value_and_grad(lambda: slope(*arrays), wrt=list(arrays))
        return tuple(um.ops.zeros_like(a) if g is None else g for a, g in zip(arrays, gradients, strict=True))

    exact = sum(float((g * p).sum()) for g, p in zip(um.run(second, *case.arrays), probe, strict=True))
    agree(exact, difference(slope, case.arrays, probe), "second derivative")


def test_every_op_with_a_gradient_rule_has_a_sample_for_it() -> None:
    """A rule that no sample reaches is a rule nobody checks. Indices, masks and flat functions have none."""
    reached = {case.values[0] for case in CASES}
    untested = [name for name, op in catalogue.items() if op.vjp_rule is not None and name not in reached and any("float" in str(s) for s in float_specs(op))]
    assert untested == ["cast", "stop_gradient"], "their gradients are tested below"


def float_specs(op: Op[Any]) -> list[str]:
    return [a.dtype.name for sample in op.samples for a in sample.arguments()[0] if isinstance(a, np.ndarray)]


def test_cast_between_floats_passes_the_gradient_and_through_integers_none() -> None:
    x = np.array([1.25, -2.5])
    through = um.run(lambda x: um.value_and_grad(lambda: um.ops.sum(um.ops.astype(um.ops.astype(x, "float32"), "float64") * x), wrt=x)[1], x)
    np.testing.assert_array_equal(through, 2 * x)
    rounded = um.run(lambda x: um.value_and_grad(lambda: um.ops.sum(um.ops.astype(um.ops.astype(x, "int64"), "float64") * x), wrt=x)[1], x)
    np.testing.assert_array_equal(rounded, [1.0, -2.0])


# ---------------------------------------------------------------------------------------------------- ties and corners


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (lambda x: um.ops.sum(um.ops.relu(x)), [0.0, -0.0, 1.0], [0.0, 0.0, 1.0]),
        (lambda x: um.ops.sum(um.ops.abs(x)), [0.0, -3.0], [0.0, -1.0]),
        (lambda x: um.ops.max(x), [2.0, 2.0, 1.0], [0.5, 0.5, 0.0]),
        (lambda x: um.ops.min(x), [2.0, 1.0, 1.0, 1.0], [0.0, 1 / 3, 1 / 3, 1 / 3]),
        (lambda x: um.ops.sum(um.ops.maximum(x, 1.0)), [0.0, 1.0, 2.0], [0.0, 0.5, 1.0]),
        (lambda x: um.ops.sum(um.ops.minimum(x, 1.0)), [0.0, 1.0, 2.0], [1.0, 0.5, 0.0]),
        (lambda x: um.ops.sum(um.ops.clip(x, -1.0, 1.0)), [-2.0, -1.0, 0.0, 1.0, 2.0], [0.0, 1.0, 1.0, 1.0, 0.0]),
        (lambda x: um.ops.prod(x), [0.0, 2.0, 3.0], [6.0, 0.0, 0.0]),
        (lambda x: um.ops.prod(x), [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]),
        (lambda x: um.ops.sum(x**2.0), [0.0, -3.0], [0.0, -6.0]),
        (lambda x: um.ops.sum(x**0.0), [0.0, 2.0], [0.0, 0.0]),
        (lambda x: um.ops.sum(um.ops.where(x > 0, um.ops.sqrt(um.ops.where(x > 0, x, 1.0)), 0.0)), [0.0, 4.0], [0.0, 0.25]),
    ],
)
def test_gradient_at_ties_and_corners(function: Any, x: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(um.run(lambda t: um.value_and_grad(lambda: function(t), wrt=t)[1], np.array(x)), expected, rtol=1e-15)


def test_a_tensor_used_many_times_gathers_all_its_gradients() -> None:
    x = np.array([0.3, -1.2])
    value, gradient = um.run(lambda x: um.value_and_grad(lambda: um.ops.sum(x * x * x + 2 * x - x / 3), wrt=x), x)
    np.testing.assert_allclose(gradient, 3 * x**2 + 2 - 1 / 3, rtol=1e-14)
    assert value == pytest.approx(float((x**3 + 2 * x - x / 3).sum()))


# -------------------------------------------------------------------------------------------------------------- regions


class Net(um.Model):
    def __init__(self) -> None:
        self.used, self.unused, self.frozen = (um.Parameter((2,), init=um.init.ones) for _ in range(3))
        self.frozen.requires_grad = False
        self.calls = um.Buffer((), 0.0)
        self.mean = um.Buffer((2,), 0.0)

    def forward(self, x: Any) -> Any:
        return um.ops.sum(x * self.used * self.frozen)


def in_step(step: Callable[[Net, Any], dict[str, Any]], x: np.ndarray, steps: int = 1) -> tuple[dict[str, Any], Net]:
    """What a step written for the occasion reports in float64, and the model afterwards."""

    class Once(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            return step(self.model, batch)

    net = Net()
    t = Once(net, backend="numpy", precision="float64")
    for _ in range(steps):
        logs = {name: np.asarray(value) for name, value in t.train_step(x).items()}
    return logs, net


X = np.array([[1.0, 2.0], [3.0, 4.0]])


def test_gradient_is_none_for_what_is_frozen_or_unused() -> None:
    seen: list[Any] = []

    def step(net: Net, x: Any) -> dict[str, Any]:
        loss, gradients = um.value_and_grad(lambda: net(x), wrt=[net.used, net.unused, net.frozen])
        seen.extend(g is None for g in gradients)
        return {"gradient": gradients[0], "value": loss}

    logs, _ = in_step(step, X)
    assert seen == [False, True, True]
    np.testing.assert_array_equal(logs["gradient"], [4.0, 6.0])
    assert logs["value"] == 10.0


def test_gradients_nest_like_what_they_are_asked_for() -> None:
    def step(net: Net, x: Any) -> dict[str, Any]:
        _, single = um.value_and_grad(lambda: net(x), wrt=net.used)
        _, nested = um.value_and_grad(lambda: net(x), wrt={"a": net.used, "b": (x, [net.used])})
        _, all_of_them = um.value_and_grad(lambda: net(x), wrt=net.parameters())
        assert isinstance(nested["b"], tuple) and isinstance(nested["b"][1], list) and isinstance(all_of_them, list)
        return {"single": single, "a": nested["a"], "x": nested["b"][0], "again": nested["b"][1][0], "listed": all_of_them[0]}

    logs, _ = in_step(step, X)
    for name in ("single", "a", "again", "listed"):
        np.testing.assert_array_equal(logs[name], [4.0, 6.0])
    np.testing.assert_array_equal(logs["x"], np.ones((2, 2)))


def test_a_tensor_made_outside_a_region_can_be_differentiated_by_and_others_are_constants() -> None:
    def step(net: Net, x: Any) -> dict[str, Any]:
        outside = x * net.used
        _, gradient = um.value_and_grad(lambda: um.ops.sum(outside * outside * net.used), wrt=outside)
        _, by_parameter = um.value_and_grad(lambda: um.ops.sum(outside * net.used), wrt=net.used)
        return {"by tensor": gradient, "by parameter": by_parameter}

    logs, _ = in_step(step, X)
    np.testing.assert_array_equal(logs["by tensor"], 2 * X)
    np.testing.assert_array_equal(logs["by parameter"], X.sum(axis=0), "what was computed before the region does not depend on its parameters")


def test_has_aux_gives_any_nest_of_extras() -> None:
    def step(net: Net, x: Any) -> dict[str, Any]:
        (loss, aux), gradient = um.value_and_grad(lambda: (net(x), {"twice": 2 * x, "pair": (x[0], um.ops.sum(x))}), wrt=net.used, has_aux=True)
        return {"loss": loss, "gradient": gradient, "twice": aux["twice"], "row": aux["pair"][0], "sum": aux["pair"][1] + 1.0}

    logs, _ = in_step(step, X)
    np.testing.assert_array_equal(logs["twice"], 2 * X)
    np.testing.assert_array_equal(logs["row"], X[0])
    assert (logs["sum"], logs["loss"]) == (11.0, 10.0)


def test_regions_nest_to_any_depth() -> None:
    """The n-th derivative of x ** 5."""

    def derivative(function: Callable[[Any], Any], x: Any) -> Any:
        return um.value_and_grad(lambda: um.ops.sum(function(x)), wrt=x)[1]

    functions: list[Callable[[Any], Any]] = [lambda x: x * x * x * x * x]
    for _ in range(4):
        functions.append(lambda x, f=functions[-1]: derivative(f, x))
    x = np.array([0.5, -2.0])
    for n, (function, factor) in enumerate(zip(functions, (1, 5, 20, 60, 120), strict=True)):
        np.testing.assert_allclose(um.run(function, x), factor * x ** (5 - n), rtol=1e-12)


def test_inner_region_differentiates_by_its_own_target_only() -> None:
    def function(x: Any, y: Any) -> Any:
        def outer() -> Any:
            _, inner = um.value_and_grad(lambda: um.ops.sum(x * x * y), wrt=x)  # 2xy
            return um.ops.sum(inner * inner)  # 4x²y²

        return um.value_and_grad(outer, wrt=[x, y])[1]

    x, y = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    by_x, by_y = um.run(function, x, y)
    np.testing.assert_allclose(by_x, 8 * x * y**2)
    np.testing.assert_allclose(by_y, 8 * x**2 * y)


def test_stop_gradient_blocks_one_path() -> None:
    x = np.array([2.0, 5.0])
    gradient = um.run(lambda x: um.value_and_grad(lambda: um.ops.sum(x * um.ops.stop_gradient(x)), wrt=x)[1], x)
    np.testing.assert_array_equal(gradient, x)
    none = um.run(lambda x: 1.0 * (um.value_and_grad(lambda: um.ops.sum(x.detach()) + 0.0, wrt=x)[1] is None), x)
    assert none == 1.0


def test_buffer_writes_in_a_region_are_its_ordered_results() -> None:
    def step(net: Net, x: Any) -> dict[str, Any]:
        def objective() -> Any:
            net.calls.assign(net.calls + 1.0)
            net.mean.assign(net.mean * 0.5 + um.ops.mean(x, axis=0))
            net.calls.assign(net.calls * 10.0)
            return net(x) + um.ops.sum(net.mean) * 0.0

        before = net.calls * 1.0
        _, first = um.value_and_grad(objective, wrt=net.used)
        between = net.calls * 1.0
        um.value_and_grad(objective, wrt=net.used)
        return {"before": before, "between": between, "after": net.calls * 1.0, "gradient": first}

    logs, net = in_step(step, X)
    assert [float(logs[name]) for name in ("before", "between", "after")] == [0.0, 10.0, 110.0]
    assert net.calls.data == 110.0
    np.testing.assert_array_equal(net.mean.data, [3.0, 4.5])
    np.testing.assert_array_equal(logs["gradient"], [4.0, 6.0])


def test_a_parameter_assigned_in_a_region_flows_on() -> None:
    """Reading after assigning gives the assigned value, and the gradient goes through it to what it was made of."""

    def step(net: Net, x: Any) -> dict[str, Any]:
        def objective() -> Any:
            net.mean.assign(net.used * 3.0)
            return um.ops.sum(net.mean * net.mean)

        _, gradient = um.value_and_grad(objective, wrt=net.used)
        return {"gradient": gradient}

    logs, net = in_step(step, X)
    np.testing.assert_array_equal(logs["gradient"], [18.0, 18.0])
    np.testing.assert_array_equal(net.mean.data, [3.0, 3.0])


def test_nested_buffer_writes_reach_the_step() -> None:
    def step(net: Net, x: Any) -> dict[str, Any]:
        def inner() -> Any:
            net.calls.assign(net.calls + 1.0)
            return net(x)

        def outer() -> Any:
            _, gradient = um.value_and_grad(inner, wrt=net.used)
            net.calls.assign(net.calls * 2.0)
            return um.ops.sum(gradient * net.used)

        _, gradient = um.value_and_grad(outer, wrt=net.used)
        return {"gradient": gradient}

    logs, net = in_step(step, X, steps=2)
    assert net.calls.data == 6.0
    np.testing.assert_array_equal(logs["gradient"], [4.0, 6.0])


# --------------------------------------------------------------------------------------------------------------- misuse


def test_only_a_single_number_is_differentiated() -> None:
    with pytest.raises(ShapeError, match="single number") as caught:
        um.run(lambda x: um.value_and_grad(lambda: x * 2.0, wrt=x)[1], X)
    assert "mean" in caught.value.remedy and "float64 (2, 2)" in str(caught.value)


def test_only_floats_are_differentiated_by() -> None:
    with pytest.raises(TraceError, match="floating"):
        um.run(lambda x, i: um.value_and_grad(lambda: um.ops.sum(x), wrt=i)[1], X, np.array([1, 2]))


def test_regions_belong_to_a_trace() -> None:
    with pytest.raises(TraceError, match="value_and_grad works inside"):
        um.value_and_grad(lambda: 1.0, wrt=X)

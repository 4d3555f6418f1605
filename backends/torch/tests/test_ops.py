"""Every op of the catalogue against the NumPy backend, and its gradient by torch's autograd and by core's rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from program import assert_same, program
from unimodel_torch.ops import lower

import unimodel as um
from unimodel import ops
from unimodel.ops import catalogue
from unimodel.ops.samples import Sample

SAMPLES = [pytest.param(op, sample, id=f"{op.name}-{i}") for op in catalogue.values() for i, sample in enumerate(op.samples)]
GRADIENTS = [p for p in SAMPLES if p.values[1].gradient]
TOLERANCES = {"float64": 1e-12, "float32": 2e-6}


def call(op: Any, sample: Sample, dtype: str) -> tuple[Any, list[np.ndarray]]:
    """A sample as a function of its arrays, and the arrays."""
    args, kwargs = sample.arguments(float_dtype=dtype)
    flat = [*args[0], *args[1:]] if op.variadic else args

    def function(_: Any, *arrays: Any) -> Any:
        rest = iter(arrays)
        given = [next(rest) if isinstance(a, np.ndarray) else a for a in flat]
        result = op(given, **kwargs) if op.variadic else op(*given, **kwargs)
        return result

    return function, [a for a in flat if isinstance(a, np.ndarray)]


def weighed(results: Any, dtype: str) -> Any:
    """One number that depends on every float element of some results, each in its own way."""
    total: Any = 0.0
    for i, r in enumerate(results if isinstance(results, tuple) else (results,)):
        if r.dtype == dtype:
            total = total + ops.sum(r * np.cos(np.arange(int(np.prod(r.shape))) + i).reshape(r.shape))
    return total


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("op", "sample"), SAMPLES)
def test_values(op: Any, sample: Sample, dtype: str) -> None:
    function, arrays = call(op, sample, dtype)
    assert_same(program(function, {}, arrays, "torch")(*arrays), program(function, {}, arrays, "numpy")(*arrays), TOLERANCES[dtype])


@pytest.mark.parametrize(("op", "sample"), [p for p in SAMPLES if p.values[0].composite and p.values[0].name in lower])
def test_fused_is_decomposed(op: Any, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    function, arrays = call(op, sample, "float64")
    fused = program(function, {}, arrays, "torch")(*arrays)
    monkeypatch.setattr(lower, "accepts", lambda node: not node.op.composite)
    assert_same(fused, program(function, {}, arrays, "torch")(*arrays), 1e-12)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("who", ["core", "native"])
@pytest.mark.parametrize(("op", "sample"), GRADIENTS)
def test_gradients(op: Any, sample: Sample, who: str, dtype: str) -> None:
    function, arrays = call(op, sample, dtype)

    def gradient(_: Any, *xs: Any) -> Any:
        value, grads = um.value_and_grad(lambda: weighed(function(_, *xs), dtype), wrt=[x for x in xs if x.dtype == dtype])
        return value, *(g for g in grads if g is not None)

    found, reference = program(gradient, {}, arrays, "torch", who)(*arrays), program(gradient, {}, arrays, "numpy")(*arrays)
    assert_same(found[:1], reference[:1], 16 * TOLERANCES[dtype])  # a sum over all elements, in which numbers of both signs cancel
    assert_same(found[1:], reference[1:], 4 * TOLERANCES[dtype])


@pytest.mark.parametrize("who", ["core", "native"])
@pytest.mark.parametrize(("op", "sample"), GRADIENTS)
def test_gradients_of_gradients(op: Any, sample: Sample, who: str) -> None:
    function, arrays = call(op, sample, "float64")

    def penalty(_: Any, *xs: Any) -> Any:
        wrt = [x for x in xs if x.dtype == "float64"]

        def outer() -> Any:
            value, grads = um.value_and_grad(lambda: weighed(function(_, *xs), "float64"), wrt=wrt)
            return sum((ops.sum(g * g) for g in grads if g is not None), value * 0.5)

        value, grads = um.value_and_grad(outer, wrt=wrt)
        return value, *(g for g in grads if g is not None)

    assert_same(program(penalty, {}, arrays, "torch", who)(*arrays), program(penalty, {}, arrays, "numpy")(*arrays), 1e-10)

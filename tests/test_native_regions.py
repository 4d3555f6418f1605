"""The default ``compile`` with a library that differentiates: regions go to ``Backend.value_and_grad``, everything else is as without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import plugins
from unimodel.backend import Backend, Capability, CompileOptions
from unimodel.dim import Dim
from unimodel.errors import UnsupportedError
from unimodel.graph import TensorSpec
from unimodel.tracing import trace

Numpy: Any = plugins.load("numpy")


class Claims(Numpy):
    """Claims that its library differentiates, and does not say how."""

    capabilities = {**Numpy.capabilities, Capability.NATIVE_DIFFERENTIATION: True}


class Differences(Claims):
    """Its "library" differentiates by central differences, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def value_and_grad(self, function: Callable[..., list[Any]], inputs: Sequence[Any], wrt: Sequence[int]) -> tuple[list[Any], list[Any]]:
        self.asked += 1
        gradients = []
        for place in wrt:
            gradient = np.zeros_like(inputs[place])
            for index in np.ndindex(gradient.shape):
                losses = []
                for step in (1e-6, -1e-6):
                    moved = [np.array(array) for array in inputs]
                    moved[place][index] += step
                    losses.append(function(*moved)[0])
                gradient[index] = (losses[0] - losses[1]) / 2e-6
            gradients.append(gradient)
        return function(*inputs), gradients


def step(tensors: tuple[um.Tensor, um.Tensor]) -> Any:
    """The mean over a batch of open size, its gradients, and an extra that is no number."""
    x, w = tensors
    (value, extra), (dw,) = um.value_and_grad(lambda: (um.ops.mean(um.ops.tanh(x @ w)), x > 0.0), wrt=[w], has_aux=True)
    return [value, extra, dw * 2.0]


def run(backend: Backend, way: Any) -> tuple[str, list[Any]]:
    specs = (TensorSpec((Dim.symbol("N"), 3), "float64"), TensorSpec((3, 2), "float64"))
    traced = trace(step, specs, names={}, float_dtype="float64", sizes={"N": 5})
    executable = backend.compile(traced.graph, backend.store({}), CompileOptions(way))
    rng = np.random.Generator(np.random.Philox(0))
    w = rng.standard_normal((3, 2))
    answers = [executable.read(executable.run([rng.standard_normal((n, 3)), w], [])) for n in (5, 2)]
    return executable.differentiation, [array for each in answers for array in each]  # type: ignore[attr-defined]  # every executable of ours says it


@pytest.mark.parametrize(("way", "chosen", "asked"), [("auto", "native", 2), ("native", "native", 2), ("core", "core", 0)])
def test_the_library_differentiates_where_it_is_claimed_to_unless_core_is_asked_for(way: str, chosen: str, asked: int) -> None:
    backend = Differences()
    given, answers = run(backend, way)
    assert (given, backend.asked) == (chosen, asked)
    for a, e in zip(answers, run(Numpy(), "core")[1], strict=True):
        assert a.dtype == e.dtype
        np.testing.assert_allclose(a, e, rtol=1e-8)


def test_left_open_core_differentiates_for_a_library_that_cannot() -> None:
    assert run(Numpy(), "auto")[0] == "core"
    with pytest.raises(UnsupportedError, match="native differentiation"):
        run(Numpy(), "native")


def test_a_claim_without_the_means_is_an_error_of_the_backend() -> None:
    with pytest.raises(NotImplementedError, match="Claims claims native differentiation and overrides neither"):
        run(Claims(), "auto")


def test_a_missing_lowering_inside_a_region_is_refused_before_anything_runs() -> None:
    class Short(Differences):
        lowerings = type(Numpy.lowerings)()

    with pytest.raises(UnsupportedError, match="no lowering for"):
        run(Short(), "native")


def test_a_trainer_refuses_at_its_door_what_its_backend_does_not_claim() -> None:
    with pytest.raises(UnsupportedError, match="differentiation='native' needs native differentiation"):
        um.Trainer(um.nn.Linear(2, 1), loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.1), backend="numpy", differentiation="native")

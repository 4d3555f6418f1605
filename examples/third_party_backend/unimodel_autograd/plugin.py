"""The backend: arrays are NumPy's, and gradients are autograd's own wherever a step asks for them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from autograd import make_vjp
from autograd.tracer import getval

from unimodel.backend import Backend, Capability, Gap, never
from unimodel.graph import Node
from unimodel.passes.straight_through import varying_power
from unimodel.plugins import hookimpl
from unimodel_autograd.ops import lower


class AutogradBackend(Backend):
    name = "autograd"
    lowerings = lower
    capabilities: ClassVar[Mapping[Capability, Literal[True] | Gap]] = {
        Capability.TRAINING: True,
        Capability.FLOAT64: True,
        Capability.NATIVE_DIFFERENTIATION: True,
        Capability.NATIVE_ARTIFACT: never("autograd has functions, no model object"),
        Capability.MIXED_PRECISION: never("autograd computes on NumPy arrays, which have no bfloat16"),
        Capability.CONTROL_FLOW: True,  # by the contract's default program
        Capability.ACCELERATOR: never("autograd runs on the CPU only"),
    }

    @classmethod
    def framework_version(cls) -> str:
        return importlib.metadata.version("autograd")

    def from_numpy(self, array: np.ndarray) -> np.ndarray:
        return array

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def scope(self) -> Any:
        return np.errstate(all="ignore")  # infinities and NaN are results here

    def core_gradient(self, node: Node) -> bool:
        """Of products autograd's divides by the factors, which may be zero; of powers it is NaN where the base is negative."""
        return node.op.name == "prod" or varying_power(node)

    def value_and_grad(self, function: Callable[..., list[Any]], inputs: Sequence[Any], wrt: Sequence[int]) -> tuple[list[Any], list[Any]]:
        results: list[Any] = []

        def loss(chosen: Sequence[Any]) -> Any:
            given = list(inputs)
            for place, array in zip(wrt, chosen, strict=True):
                given[place] = array
            boxed = function(*given)
            results[:] = [getval(array) for array in boxed]
            return boxed[0]

        backward, value = make_vjp(loss)(tuple(inputs[place] for place in wrt))
        gradients = backward(np.ones_like(value))
        return results, [np.asarray(g, inputs[place].dtype) for g, place in zip(gradients, wrt, strict=True)]


@hookimpl
def unimodel_backend() -> type[AutogradBackend]:
    return AutogradBackend

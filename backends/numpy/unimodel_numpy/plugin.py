"""The NumPy backend: forward lowerings, core's differentiation, float64 for reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from unimodel.backend import Backend, Capability, never
from unimodel.plugins import hookimpl
from unimodel_numpy.ops import lower


class NumpyBackend(Backend):
    name = "numpy"
    lowerings = lower
    capabilities = {
        Capability.TRAINING: True,
        Capability.FLOAT64: True,
        Capability.NATIVE_DIFFERENTIATION: never("NumPy has no automatic differentiation; core's is used"),
        Capability.NATIVE_ARTIFACT: never("NumPy has no model object of its own"),
        Capability.MIXED_PRECISION: never("NumPy has no bfloat16 and computes float16 in software"),
        Capability.CONTROL_FLOW: True,
        Capability.ACCELERATOR: never("NumPy runs on the CPU only"),
    }

    @classmethod
    def framework_version(cls) -> str:
        return np.__version__

    def from_numpy(self, array: np.ndarray) -> np.ndarray:
        return array

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def scope(self) -> Any:
        return np.errstate(all="ignore")  # infinities and NaN are results here, as on every other backend


@hookimpl
def unimodel_backend() -> type[NumpyBackend]:
    return NumpyBackend

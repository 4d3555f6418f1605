"""The backend: its name, what it can do, and how arrays go in and out."""

from __future__ import annotations

from typing import Any

import numpy as np  # the array library beneath: put yours in its place

from unimodel.backend import Backend, Capability, not_implemented
from unimodel.plugins import hookimpl
from unimodel_template.ops import lower


class TemplateBackend(Backend):
    name = "template"
    lowerings = lower
    # True, or the reason why not: not_implemented (ours to do), not_yet (the library lacks it), never. The suite holds you to both.
    capabilities = {
        Capability.TRAINING: True,  # core writes the gradients
        Capability.FLOAT64: True,
        Capability.NATIVE_DIFFERENTIATION: not_implemented("core's differentiation is used"),
        Capability.NATIVE_ARTIFACT: not_implemented("no model object of the library's own yet"),
        Capability.MIXED_PRECISION: not_implemented("float32 and float64 only"),
        Capability.CONTROL_FLOW: True,  # the default compile runs branches and loops; what these need of the table is refused by name until it is there
        Capability.ACCELERATOR: not_implemented("the CPU only"),
    }
    # relative error per dtype, only where the suite's default is too strict for the library: tolerances = {"float32": 5e-6}
    # tests that fail here, each with a reason: known_defects = {"test_ops.py::test_sample[erf-0]": not_yet("wrong below -3", "https://...")}

    @classmethod
    def framework_version(cls) -> str:
        return np.__version__

    def from_numpy(self, array: np.ndarray) -> Any:
        return array  # a native array of the same dtype; it may share the memory

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def scope(self) -> Any:
        return np.errstate(all="ignore")  # what native calls run inside: here infinities and NaN are results, not warnings


@hookimpl
def unimodel_backend() -> type[TemplateBackend]:
    return TemplateBackend

"""The backend under test: running functions on it, and comparing what comes back.

A ``Subject`` runs any function of ops on the backend, in any precision and with either way of differentiation. The float64 NumPy backend, which runs
core's own definitions, is a second subject, the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from unimodel import __version__ as unimodel_version
from unimodel import nest
from unimodel.backend import API_VERSION, Backend, Capability, CompileOptions, Executable
from unimodel.graph import FLOATS, Array, TensorSpec
from unimodel.ops import catalogue
from unimodel.tracing import Traced, trace

DEFAULT_TOLERANCE = {"float64": 1e-12, "float32": 2e-6}
"""The relative error allowed to a single op where the backend declares none."""
CAP = {"float64": 1e-11, "float32": 1e-5, "float16": 5e-3, "bfloat16": 4e-2}
"""The most a backend may declare."""


def undeclarable(tolerances: Mapping[str, float]) -> str:
    """What is wrong with the tolerances that a backend declares, as a clause; empty where nothing is."""
    for dtype, asked in tolerances.items():
        if dtype not in CAP:
            return f"tolerances name {dtype!r}, which is no float dtype; those are {', '.join(CAP)}"
        if isinstance(asked, bool) or not isinstance(asked, (int, float)) or not 0 <= asked <= CAP[dtype]:
            return f"the tolerance for {dtype} is {asked!r}; the suite allows numbers from 0 to {CAP[dtype]:g} there"
    return ""


class Compiled:
    """A function compiled on the backend; calling it takes arrays and gives arrays, nested as the function's result."""

    def __init__(self, traced: Traced, executable: Executable) -> None:
        self.traced = traced
        self.executable = executable
        self._batch = traced.graph.of_kind("batch")

    def __call__(self, *arrays: Array) -> Any:
        by_name = dict(zip(self.traced.batch, arrays, strict=True))
        handle = self.executable.run([by_name[e.name] for e in self._batch], [s.value for s in self.scalars])
        return nest.rebuild(self.traced.structure, iter(self.executable.read(handle)))

    @property
    def scalars(self) -> list[Any]:
        return [self.traced.scalars[e.name] for e in self.traced.graph.of_kind("scalar")]


class Subject:
    """A backend as the suite uses it."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.name = backend.name
        self.cache: dict[Any, Any] = {}
        """What several tests look at and is computed once."""

    @property
    def missing(self) -> list[str]:
        """Primitives without a lowering."""
        return [n for n, op in catalogue.items() if not op.composite and n not in self.backend.lowerings]

    def claims(self, capability: Capability) -> bool:
        return self.backend.gap(capability) is None

    @property
    def best(self) -> str:
        """The most exact float dtype the backend claims."""
        return "float64" if self.claims(Capability.FLOAT64) else "float32"

    @property
    def floats(self) -> list[str]:
        """The float dtypes the backend claims: float32, float64 by its capability, others by declaring a tolerance."""
        return [
            d for d in FLOATS if d == "float32" or (d == "float64" and self.claims(Capability.FLOAT64)) or (d != "float64" and d in self.backend.tolerances)
        ]

    @property
    def ways(self) -> list[str]:
        """The ways of differentiation the backend has."""
        if not self.claims(Capability.TRAINING):
            return []
        return ["core", "native"] if self.claims(Capability.NATIVE_DIFFERENTIATION) else ["core"]

    def tolerance(self, dtype: str) -> float:
        return self.backend.tolerances.get(dtype, DEFAULT_TOLERANCE.get(dtype, 0.0))

    def compile(self, function: Callable[..., Any], arrays: Sequence[Array], dtype: str = "float64", differentiation: Any = "auto") -> Compiled:
        """``function`` of tensors, compiled for arrays of these shapes and dtypes."""
        specs = tuple(TensorSpec(a.shape, a.dtype.name) for a in arrays)
        return self.compile_specs(function, specs, dtype, differentiation)

    def compile_specs(
        self,
        function: Callable[..., Any],
        specs: Sequence[TensorSpec],
        dtype: str = "float64",
        differentiation: Any = "auto",
        sizes: dict[str, int] | None = None,
    ) -> Compiled:
        traced = trace(lambda tensors: function(*tensors), tuple(specs), names={}, float_dtype=dtype, sizes=sizes)
        return Compiled(traced, self.backend.compile(traced.graph, self.backend.store({}), CompileOptions(differentiation)))

    def run(self, function: Callable[..., Any], *arrays: Array, dtype: str | None = None, differentiation: Any = "auto") -> Any:
        """``function`` once on arrays; floats are cast to ``dtype``, by default the most exact one claimed."""
        dtype = dtype or self.best
        given = [as_dtype(a, dtype) for a in arrays]
        return self.compile(function, given, dtype, differentiation)(*given)


def as_dtype(array: Any, float_dtype: str) -> Array:
    """A float array in this dtype, any other as it is."""
    result = np.asarray(array)
    return result.astype(float_dtype) if result.dtype.kind == "f" else result


def reference() -> Subject:
    """The float64 NumPy backend."""
    from unimodel import plugins

    return Subject(plugins.load("numpy")())


def stamp(subject: Subject) -> dict[str, Any]:
    """What a matrix says of the run it belongs to."""
    backend = subject.backend
    return {
        "backend": backend.name,
        "distribution": backend.distribution,
        "framework": f"{backend.name} {backend.framework_version()}",
        "framework_version": backend.framework_version(),
        "device": backend.device,
        "unimodel_version": unimodel_version,
        "api": ".".join(map(str, API_VERSION)),
        "backend_api": ".".join(map(str, backend.api)),
        "tolerances": {d: subject.tolerance(d) for d in subject.floats},
        "capabilities": {c.value: True if subject.claims(c) else str(backend.gap(c)) for c in Capability},
        "lowered": {
            "primitives": sum(not op.composite and n in backend.lowerings for n, op in catalogue.items()),
            "of": sum(not op.composite for op in catalogue.values()),
            "fused composites": sum(op.composite and n in backend.lowerings for n, op in catalogue.items()),
        },
        "fused": sorted(n for n, op in catalogue.items() if op.composite and n in backend.lowerings),
        "known_defects": {test: {"kind": gap.kind, "reason": gap.reason, "link": gap.link} for test, gap in backend.known_defects.items()},
    }


def difference(given: Any, expected: Any, tolerance: float, *, relative: str = "array") -> str:
    """Where two arrays part by more than ``tolerance``, as a sentence; empty where they do not.

    ``relative`` is "element" where each element must be right to its own size; or "array" where errors count relative to the largest element, or to 1 where that is smaller:
    for sums and products of numbers around 1, in which large terms may cancel.
    """
    a, e = np.asarray(given), np.asarray(expected)
    if a.shape != e.shape:
        return f"the shape is {a.shape}, expected {e.shape}"
    if a.dtype != e.dtype:
        return f"the dtype is {a.dtype}, expected {e.dtype}"
    if not e.size:
        return ""
    if e.dtype.kind not in "fV":
        wrong = a != e
        return "" if not wrong.any() else _worst(a, e, wrong.astype(float), wrong, "exactly equal")
    a, e = a.astype("float64"), e.astype("float64")
    with np.errstate(all="ignore"):
        finite = np.isfinite(e)
        scale = np.abs(e[finite]).max(initial=1.0) if relative == "array" else 0.0
        error = np.where(finite, np.abs(a - e) / np.maximum(np.abs(e), max(scale, np.finfo("float64").tiny)), 0.0)
        same = np.where(finite, error <= tolerance, (a == e) | (np.isnan(a) & np.isnan(e)))
    return "" if same.all() else _worst(a, e, np.where(same, -1.0, np.where(np.isnan(error), np.inf, error)), ~same, f"relative error at most {tolerance:.1e}")


def _worst(a: Array, e: Array, error: Array, wrong: Array, allowed: str) -> str:
    place = tuple(int(i) for i in np.unravel_index(np.argmax(error), error.shape))
    where = f"at {place[0] if len(place) == 1 else place} " if place else ""
    return f"{int(wrong.sum())} of {wrong.size} elements differ; {where}given {a[place]!r}, expected {e[place]!r} (error {error[place]:.1e}; {allowed})"


def assert_close(given: Any, expected: Any, tolerance: float, what: str = "", *, relative: str = "array") -> None:
    """Fail with a sentence where two nests of arrays part."""
    pairs = list(zip(nest.paths(given), nest.leaves(expected), strict=True))
    for (path, a), e in pairs:
        found = difference(a, e, tolerance, relative=relative)
        assert not found, f"{what}{f' [{path}]' if path else ''}: {found}"

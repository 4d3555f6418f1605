"""What steps give back: numbers read when somebody looks at them, and their means over an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from unimodel.graph import Array
from unimodel.metrics import Metric


class Totals:
    """Sums over the batches of an epoch, in float64 on the host."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.metrics = metrics
        self.sums: dict[str, Any] = {}
        self.weights: dict[str, float] = {}

    def add(self, values: Mapping[str, Array], weight: float) -> None:
        for name, value in values.items():
            metric = self.metrics.get(name)
            if metric is not None:
                self.sums[name] = metric.merge(self.sums.get(name), value.astype("float64"))
            else:
                self.sums[name] = self.sums.get(name, 0.0) + (float(value) if value.ndim == 0 else value.astype("float64")) * weight
            self.weights[name] = self.weights.get(name, 0.0) + weight

    def results(self) -> dict[str, Any]:
        return {n: self.metrics[n].result(s) if n in self.metrics else _plain(s / self.weights[n]) for n, s in self.sums.items()}

    def single(self, values: Mapping[str, Array]) -> dict[str, Any]:
        return {n: m.result(m.merge(None, v.astype("float64"))) if (m := self.metrics.get(n)) is not None else _plain(v) for n, v in values.items()}


def _plain(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else np.asarray(value)


class PendingResults:
    """A step's results, read back from the backend at the first look."""

    def __init__(self, read: Callable[[], dict[str, Array]], metrics: Sequence[Metric]) -> None:
        self._read: Callable[[], dict[str, Array]] | None = read
        self._metrics = metrics
        self._values: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if self._read is not None:
            self._values = Totals({m.name: m for m in self._metrics}).single(self._read())
            self._read = None  # lets go of the program
        return self._values[name]


class PendingNumber:
    """A number that a step returned; ``float()`` and NumPy read it."""

    __slots__ = ("_name", "_results")

    def __init__(self, results: PendingResults, name: str) -> None:
        self._results = results
        self._name = name

    @property
    def value(self) -> Any:
        return self._results[self._name]

    def __float__(self) -> float:
        return float(self.value)

    def item(self) -> float:
        return float(self.value)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return np.asarray(self.value, dtype)

    def __repr__(self) -> str:
        return repr(self.value)

    def __hash__(self) -> int:
        return hash(self.value)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)

    def __reduce__(self) -> Any:
        return (_identity, (self.value,))


def _identity(value: Any) -> Any:
    return value


_ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
_OPERATORS = (*_ARITHMETIC, *(f"r{name}" for name in _ARITHMETIC), "lt", "le", "gt", "ge", "eq", "ne", "neg", "pos", "abs", "bool", "int", "round")
for _name in _OPERATORS:

    def _operator(self: PendingNumber, *others: Any, _method: str = f"__{_name}__") -> Any:
        values = [o.value if isinstance(o, PendingNumber) else o for o in others]
        return getattr(self.value, _method)(*values)

    setattr(PendingNumber, f"__{_name}__", _operator)

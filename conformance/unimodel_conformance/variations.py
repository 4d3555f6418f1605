"""Calls made by rule from those that somebody thought of: other dtypes, and one attribute changed on the same arrays.

Only calls that core takes and for which there is truth are kept: what core should have refused is no backend's fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from unimodel.graph import Array, TensorSpec
from unimodel.ops import catalogue
from unimodel.tracing import trace
from unimodel_conformance.cases import Case, sample_cases
from unimodel_conformance.truth import TRUTH

MOST = 8
"""So many changes of one call's attributes are kept."""


BOOLEANS = frozenset(
    ["where", "reshape", "permute_dims", "broadcast_to", "concat", "flip", "pad_constant", "slice", "take", "take_along_axis", "stop_gradient"]
    + ["equal", "not_equal", "logical_and", "logical_or", "logical_xor", "logical_not", "all", "any", "split_sizes", "one_hot"]
)
"""Ops that are for booleans as well: moves, choices, equality and logic. Elsewhere the Array API standard asks for numbers."""


FLOATS_ONLY = frozenset(["max_pool"])
"""Core takes integers here, for which not all frameworks have a kernel; nobody has promised them."""


def of_other_dtypes(name: str) -> Iterator[Case]:
    """An op's samples with integers or booleans for all their floats, where that gives integers or booleans: moves, choices, comparisons, arithmetic of whole numbers."""
    for i, case in enumerate(sample_cases(name)):
        for dtype in () if name in FLOATS_ONLY else ("int64", "int32", "bool") if name in BOOLEANS else ("int64", "int32"):
            args, kwargs = case.with_arrays([_cast(a, dtype) if a.dtype.kind == "f" else a for a in case.arrays])
            other = Case(case.op, args, kwargs, f"sample {i} with {dtype} for floats")
            truth = _truth(other) if any(a.dtype.kind == "f" for a in case.arrays) else None
            if (
                truth is not None
                and all(r.dtype.kind in "bi" for r in truth)
                and all(s.dtype == r.dtype.name for s, r in zip(_specs(other), truth, strict=True))
            ):
                yield other


def _cast(array: Array, dtype: str) -> Array:
    """Another kind of numbers, and not only zeros."""
    return array > 0 if dtype == "bool" else np.asarray(np.rint(3 * array), dtype)


def with_one_attribute_changed(case: Case) -> list[Case]:
    """A call, and the calls on the same arrays that differ from it in one attribute."""
    op, given = case.op, {**dict(zip(case.op.parameters, case.args, strict=False)), **case.kwargs}
    found = [case]
    for name in op.attributes:
        for value in _others(given.get(name, op.__signature__.parameters[name].default)):
            other = Case(op, [], {**given, name: value}, f"{case.label} with {name}={value!r}", case.gradient)
            if len(found) <= MOST and _truth(other) is not None:
                found.append(other)
    return found


def with_six_dimensions(case: Case) -> Case | None:
    """A call with more dimensions before each array's own, of size 2 for one array and of size 1 for the next; None where core does not take it."""
    args, kwargs = case.with_arrays([_widened(a, first=i % 2 == 0) for i, a in enumerate(case.arrays)])
    other = Case(case.op, args, kwargs)
    return other if _truth(other) is not None else None


def _widened(array: Array, first: bool) -> Array:
    """(2, 2, 1, …) or (1, 1, 2, …) before the array's own dimensions, six in all; every other part comes in another order."""
    lead = [2 if (i < 2) == first else 1 for i in range(6 - array.ndim)]
    halves = [array if i % 2 == 0 else array[::-1] if array.ndim else array for i in range(int(np.prod(lead)))]
    return np.stack(halves).reshape(*lead, *array.shape)


def _others(value: Any) -> Iterator[Any]:
    """The other truth value, another number, other numbers or the same in another order."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, float):
        yield value * 1.5 if value else 0.5
    elif isinstance(value, int):
        yield from (value + 1, value - 1)
    elif isinstance(value, tuple) and value and all(isinstance(v, int) for v in value):
        yield from {value[::-1], tuple(v + 1 for v in value)} - {value}


def _truth(case: Case) -> tuple[Array, ...] | None:
    """The results, None where core does not take the call, or where there are none."""
    if case.op.name not in TRUTH:
        return None
    try:
        specs, truth = _specs(case), case.truth("float64")
    except Exception:
        return None
    return truth if [s.shape for s in specs] == [r.shape for r in truth] else None


def _specs(case: Case) -> list[TensorSpec]:
    specs = tuple(TensorSpec(a.shape, a.dtype.name) for a in case.arrays)
    return [v.spec for v in trace(lambda tensors: case.call(tensors), specs, names={}, float_dtype="float64").graph.outputs]


def all_of(calls: Sequence[Case], tensors: Sequence[Any], call: Callable[[Case, Sequence[Any]], tuple[Any, ...]] = Case.call) -> tuple[Any, ...]:
    """The results of several calls on the same tensors, one after the other."""
    return tuple(result for each in calls for result in call(each, tensors))


CALLED = [n for n, op in catalogue.items() if op.samples and n in TRUTH and not n.endswith(("_gradient", "_gradients"))]
"""Ops that users call. The others are called by gradient rules alone, which hand them nothing else than what belongs together."""

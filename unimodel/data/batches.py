"""Data sets as batches.

A nest of arrays (tuple, dict) is one data set, held in memory and indexed; anything else that can be iterated yields batches as it likes (a PyTorch
``DataLoader``, a ``tf.data.Dataset``, a generator). A pandas frame or a Hugging Face data set is taken as arrays. None of these libraries is
imported here: they are known by what they can do.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from unimodel import nest
from unimodel.errors import DataError
from unimodel.graph import Array
from unimodel.runtime import as_array


class ArrayData:
    """A nest of arrays of one length."""

    def __init__(self, data: Any, what: str) -> None:
        self.data = nest.rebuild(data, iter([as_array(leaf, path) for path, leaf in nest.paths(data)]))
        self.leaves: list[Array] = nest.leaves(self.data)
        if not self.leaves:
            raise DataError(
                f"{what} holds no arrays.", expected="arrays with one sample per row", given=f"an empty {type(data).__name__}", remedy="pass (x, y)"
            )
        if any(a.ndim == 0 for a in self.leaves):
            raise DataError(
                f"{what} holds a single number where an array of samples is expected.",
                expected="arrays with one sample per row",
                given=f"shapes {[a.shape for a in self.leaves][:4]}",
                remedy="put single samples into arrays of one row",
            )
        lengths = [len(a) for a in self.leaves]
        if len(set(lengths)) > 1:
            raise DataError(
                f"the arrays of {what} differ in length.",
                expected="one sample per row in each",
                given=f"lengths {lengths}",
                remedy="check how the data was split",
            )
        self.length = lengths[0]
        if self.length == 0:
            raise DataError(
                f"{what} is empty.",
                expected="at least one sample",
                given=f"arrays of shapes {[a.shape for a in self.leaves]}",
                remedy="check how the data was loaded or filtered",
            )

    def not_finite(self) -> str | None:
        """The first number that is not finite, and where it stands; None where all are."""
        for path, array in nest.paths(self.data):
            finite = np.isfinite(array) if array.dtype.kind == "f" else np.True_
            if not finite.all():
                where = tuple(int(i) for i in np.argwhere(~finite)[0])
                return f"{array[where]} at index {where} of data{'.' + path if path else ''}, and {int((~finite).sum()) - 1} more"
        return None

    def rows(self, index: Any) -> list[Array]:
        """These rows of every leaf."""
        return [a[index] for a in self.leaves]


class StreamData:
    """Anything that yields batches; iterated anew for each epoch."""

    def __init__(self, batches: Iterable[Any], what: str) -> None:
        self.batches = batches
        self.what = what

    def __iter__(self) -> Iterator[Any]:
        empty = True
        for batch in self.batches:
            empty = False
            yield tuple(batch) if isinstance(batch, list) else batch
        if empty:
            raise DataError(
                f"{self.what} yields no batch.",
                expected="an iterable that can be iterated once per epoch",
                given=type(self.batches).__name__,
                remedy="a generator is used up after one epoch: pass a list of batches, or an object whose __iter__ starts anew",
            )


def dataset(data: Any, what: str = "the data set") -> ArrayData | StreamData:
    """What a user passed to fit, evaluate or predict."""
    if data is None:
        raise DataError(f"{what} is None.", expected="arrays, or an iterable of batches", remedy="check that what loads it returns it")
    if isinstance(data, (ArrayData, StreamData)):
        return data
    if hasattr(data, "to_numpy") and hasattr(data, "columns"):  # a data frame
        return ArrayData(data.to_numpy(), what)
    if hasattr(data, "column_names") and hasattr(data, "with_format"):  # a Hugging Face data set
        return ArrayData({name: np.asarray(data[:][name]) for name in data.column_names}, what)
    if isinstance(data, (tuple, Mapping)):
        return ArrayData(_arrays(data), what)
    if isinstance(data, np.ndarray) or (hasattr(data, "__array__") and not hasattr(data, "__next__")):
        return ArrayData(data, what)
    if isinstance(data, list) and data and not isinstance(data[0], (tuple, list, dict, np.ndarray)) and not hasattr(data[0], "__array__"):
        return ArrayData(as_array(data), what)
    if isinstance(data, list) and not data:
        raise DataError(f"{what} is empty.", expected="at least one batch", given="[]", remedy="check how the data was loaded or filtered")
    if isinstance(data, Iterable):
        return StreamData(data, what)
    if inspect.isroutine(data):
        name = getattr(data, "__name__", "it")
        raise DataError(
            f"{what} is a function.",
            expected="arrays, or an iterable of batches",
            given=f"the function {name}",
            remedy=f"call it, {name}(), for one epoch; for several pass a list of batches, or an object whose __iter__ is a generator function",
        )
    raise DataError(
        f"{what} is of no kind that can be fed.", expected="arrays, nests of arrays, or an iterable of batches", given=type(data).__name__, remedy="pass (x, y)"
    )


def _arrays(data: Any) -> Any:
    """A nest with its columns and its lists of numbers as arrays."""
    if isinstance(data, Mapping):
        return {key: _arrays(value) for key, value in data.items()}
    if isinstance(data, tuple):
        values = [_arrays(value) for value in data]
        return type(data)(*values) if hasattr(data, "_fields") else tuple(values)
    if isinstance(data, list):
        return as_array(data) if _is_array_like(data) else [_arrays(value) for value in data]
    return data.to_numpy() if hasattr(data, "to_numpy") else data


def _is_array_like(data: Any) -> bool:
    """Whether a list is an array written out: numbers, or lists of them."""
    while isinstance(data, list) and data:
        data = data[0]
    return isinstance(data, (int, float, str, np.generic))


def chunks(order: Array, batch_size: int, most: int) -> Iterator[Array]:
    """Rows of one or several whole batches; the last, smaller batch comes alone."""
    whole = len(order) // batch_size * batch_size
    span = batch_size * most
    for start in range(0, whole, span):
        yield order[start : min(start + span, whole)]
    if whole < len(order):
        yield order[whole:]

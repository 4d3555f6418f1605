"""Where numbers live: state in MXNet arrays that are never replaced, fed data in memory that NumPy and MXNet share.

Executors are bound to arrays, not to names, so a state array is written in place for ever: every program and every batch size bound to it sees each
update. What is fed anew at each step is written by NumPy into memory that MXNet reads as it is, which costs a copy and no call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from unimodel.backend import Backend, Store
from unimodel.data.feeding import aligned
from unimodel.errors import BackendError
from unimodel.graph import TensorSpec
from unimodel_mxnet.shim import check_call, library, mx

DTYPES = frozenset(("bool", "int32", "int64", "float32", "float64"))


def shapes() -> Any:
    """The scope in which () is a shape of its own and 0 a size, as in NumPy. It is kept per thread, so it is entered for each piece of work."""
    return mx.util.np_shape(True)


@contextmanager
def failures(what: str) -> Iterator[None]:
    """MXNet's errors as ours. They surface where a result is first waited for."""
    try:
        yield
    except (mx.MXNetError, IndexError, ValueError) as error:
        raise BackendError(f"MXNet failed while {what}.", given=reason(error)) from error


def reason(error: Exception) -> str:
    """The line of MXNet's message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if "Error" in line or "rror:" in line]
    return lines[-1] if lines else str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def device_array(array: np.ndarray) -> Any:
    """An MXNet array with a copy of these numbers and their dtype."""
    with shapes():
        if array.size > 1 and not any(array.strides):  # one number everywhere, as optimizers' state begins
            return mx.nd.full(array.shape, array.flat[0], dtype=array.dtype)
        result = mx.nd.empty(array.shape, dtype=array.dtype)
        if array.size:
            result._sync_copyfrom(array)  # what result[:] = array does in the end, at a tenth of the time
    return result


def host_array(array: Any) -> np.ndarray:
    """A NumPy array of the caller's own; waits for the numbers, and raises what went wrong on the way to them."""
    with shapes(), failures("computing a result"):
        return array.asnumpy()


def gradient_array(spec: TensorSpec, sparse: bool) -> Any:
    """Memory for a gradient; a sparse one holds the rows that are not 0."""
    with shapes():
        return mx.nd.zeros(spec.shape, dtype=spec.dtype, stype="row_sparse" if sparse else "default")  # what no gradient reaches, MXNet leaves as it is


def host_view(array: Any) -> np.ndarray:
    """All elements of an array in one row, until MXNet writes there again; waits for them."""
    address = ctypes.c_void_p()
    array.wait_to_read()
    if array.stype == "row_sparse":
        array = array.data
    check_call(library.MXNDArrayGetData(array.handle, ctypes.byref(address)))
    return np.frombuffer((ctypes.c_char * (array.size * np.dtype(array.dtype).itemsize)).from_address(address.value or 0), array.dtype)


def shared_array(spec: TensorSpec) -> tuple[np.ndarray, Any]:
    """Zeros of this shape and dtype in one piece of memory, seen from NumPy (writable) and from MXNet."""
    host = aligned([int(s) for s in spec.shape], np.dtype(spec.dtype))
    host[...] = 0
    with shapes():
        return host, mx.nd.from_numpy(host.view(), zero_copy=True)  # of a view, because MXNet locks the array that it is given


class MxnetStore(Store):
    """State by name, each in one MXNet array for as long as its shape and dtype last."""

    def __init__(self, backend: Backend, arrays: Mapping[str, np.ndarray]) -> None:
        self.version = 0
        """Counts the times an array was replaced; programs bound to an older version bind anew."""
        self.suspect: set[str] = set()
        """The names of float arrays that may hold NaN or infinities."""
        super().__init__(backend, arrays)

    def read(self, name: str) -> np.ndarray:
        return host_array(self.arrays[name])

    def write(self, name: str, array: np.ndarray) -> None:
        array = np.asarray(array)
        sound = np.isfinite(array).all() if any(array.strides) else np.isfinite(array.flat[:1]).all()
        (self.suspect.discard if sound else self.suspect.add)(name)
        held = self.arrays.get(name)
        with shapes(), failures(f"writing {name}"):
            if held is not None and held.shape == array.shape and held.dtype == array.dtype:
                if array.size:
                    held._sync_copyfrom(array)
                return
        self.arrays[name] = device_array(array)
        self.version += 1

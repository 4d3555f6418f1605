"""TensorFlow itself, imported without noise, and arrays on their way in and out of it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from unimodel.backend import Backend, Store
from unimodel.errors import BackendError

CPU = "/job:localhost/replica:0/task:0/device:CPU:0"
_NOISE = ("WARNING: All log messages before absl::InitializeLog()", "I0", "To enable the following instructions")
_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@contextmanager
def quietly() -> Iterator[None]:
    """While TensorFlow is imported, what its libraries write to the process's stderr is held back; all but the greetings is then passed on.

    They write to the file descriptor itself, before any setting of theirs can be reached from Python.
    """
    given = os.environ.get(_LEVEL)
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (OSError, AttributeError, ValueError):  # no stderr to protect
        yield
        return
    os.environ.setdefault(_LEVEL, "2")
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            if given is None:
                del os.environ[_LEVEL]
            held.seek(0)
            for line in held:
                if not line.startswith(tuple(n.encode() for n in _NOISE)):
                    os.write(2, line)


with quietly():
    try:
        import tensorflow as tf
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        remedy = "TensorFlow is not installed: pip install 'unimodel-tensorflow[cpu]' (or [full], for accelerators)"
        raise ModuleNotFoundError(remedy, name="tensorflow") from error


def spare_accelerators() -> None:
    """Keep TensorFlow, when it starts, from reserving all memory of accelerators that nothing here uses."""
    for device in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(device, True)
        except RuntimeError:  # it has started already, as whoever started it wanted
            return


def filters_axes(rank: int) -> list[int]:
    """A convolution's weight is (out, in, *kernel) in core, and (*kernel, in, out) for TensorFlow's kernels."""
    return [*range(2, rank), 1, 0]


def weight_axes(rank: int) -> list[int]:
    """The way back."""
    return [rank - 1, rank - 2, *range(rank - 2)]


class VariableStore(Store):
    """State as variables on the CPU, made eagerly: a variable made while a function is traced would not be initialised.

    Convolutions' weights, and what optimizers keep for each of their numbers, are held as the kernels want them, since moving them takes a sixth of a ResNet's step.
    The first program that uses a variable decides; ``read`` and ``write`` speak core's order always.
    """

    keeps = ("bfloat16",)

    def __init__(self, backend: Backend, arrays: Mapping[str, np.ndarray]) -> None:
        self.filters: set[str] = set()
        self._settled: set[str] = set()
        super().__init__(backend, arrays)

    def take(self, names: Sequence[str], filters: Collection[str]) -> list[Any]:
        """The variables of a program, which keeps them from now on. Those named in ``filters`` are better held as such."""
        for name in names:
            if name in filters and name not in self._settled:
                array, dtype = self.read(name), self.arrays[name].dtype.name
                del self.arrays[name]
                self.filters.add(name)
                self.write_as(name, array, dtype)
        self._settled.update(names)
        return [self.arrays[name] for name in names]

    def read(self, name: str) -> np.ndarray:
        array = self.arrays[name].numpy()
        array = array.astype("float32") if self.arrays[name].dtype == tf.bfloat16 else array
        return np.array(array.transpose(weight_axes(array.ndim)) if name in self.filters else array, order="C")

    def write_as(self, name: str, array: np.ndarray, dtype: str) -> None:
        self.write(name, array.astype(tf.as_dtype(dtype).as_numpy_dtype))

    def write(self, name: str, array: np.ndarray) -> None:
        found = self.arrays.get(name)
        if found is not None and found.dtype == tf.bfloat16 and array.dtype.kind == "f":
            array = array.astype(found.dtype.as_numpy_dtype)
        array = array.transpose(filters_axes(array.ndim)) if name in self.filters else array
        with tf.init_scope(), tf.device(CPU):
            if found is None:
                self.arrays[name] = tf.Variable(np.asarray(array), dtype=tf.as_dtype(array.dtype), trainable=False)
            elif found.shape != array.shape or found.dtype != array.dtype:
                raise BackendError(
                    "state keeps its shape and dtype.", expected=f"{name}: {found.dtype.name} {tuple(found.shape)}", given=f"{array.dtype} {array.shape}"
                )
            else:
                found.assign(array)


def to_tensor(array: np.ndarray) -> Any:
    """A tensor that may be given to functions many times."""
    with tf.init_scope(), tf.device(CPU):
        return tf.constant(array)


def to_numpy(tensor: Any) -> np.ndarray:
    """A tensor's numbers as an array of the caller's own."""
    return np.asarray(tensor.numpy())

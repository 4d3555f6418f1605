"""How updates are carried out: new values come out of the executor and are copied into the state's own arrays, most of them in one call.

Large arrays are updated in place, in a third of the time: descent by the BLAS, Adam by NumPy in MXNet's memory, for ``adam_update`` takes its roots one by one.
In float64 everything is composed.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from unimodel.data.feeding import cores
from unimodel.graph import Graph, Node, Value
from unimodel.passes.in_place import in_place
from unimodel_mxnet.arrays import host_view, shapes
from unimodel_mxnet.model import Call
from unimodel_mxnet.ops import lower
from unimodel_mxnet.shim import check_call, library, mx

LARGE = 2**14
"""Elements from which a kernel's call costs less than the passes over memory that it saves."""
PIECE = 2**16
"""Elements whose weights, gradients and moments a core's cache holds."""


def _large(node: Node) -> bool:
    spec = node.outputs[0].spec
    largest = len(node.outputs) > 3  # Adam's, of all second moments
    return spec.dtype == "float32" and isinstance(spec.size, int) and spec.size >= LARGE and not largest


@lower("sgd_update", "adam_update", when=_large)
def _(call: Call, *inputs: Any) -> Any:
    return call.build.inline(call.node)  # where the result is also used otherwise, or does not go where the kernel would put it


def carried_out(graph: Graph, numbers: Sequence[Value]) -> list[Node]:
    """The updates of a prepared graph that a kernel carries out in place, with numbers of the host's for rates."""
    return [node for node, state in in_place(graph).items() if all(v in numbers or v in state for i, v in enumerate(node.inputs) if v is not None and i != 1)]


def kernel(node: Node, gradient: Any, state: Mapping[Value, Any], numbers: Sequence[Value]) -> Callable[[Sequence[float]], None]:
    """The call that carries out one update, once it is given the host's numbers."""
    attrs = node.attrs
    places = [numbers.index(v) for v in node.inputs if v in numbers]
    weight, *moments = (state[v] for i, v in enumerate(node.inputs) if i != 1 and v in state)
    sign = -1.0 if attrs["maximize"] else 1.0
    if node.op.name == "sgd_update":
        return descent(attrs, places, sign, weight, gradient, *moments)
    arrays = weight, gradient, *moments

    def adam(given: Sequence[float]) -> None:
        for array in arrays:
            check_call(library.MXNDArrayWaitToWrite(array.handle))  # whoever still reads it has to be done, too
        rows = [host_view(a) for a in arrays]
        pieces = [[row[start : start + PIECE] for row in rows] for start in range(0, weight.size, PIECE)]
        update = functools.partial(adam_piece, attrs, *(given[i] for i in places))
        for _ in (map if len(pieces) == 1 else at_once())(update, pieces):
            pass

    return adam


@functools.cache
def at_once() -> Callable[..., Iterable[Any]]:
    """``map``, on as many threads as MXNet would use; NumPy lets them run side by side."""
    threads = int(os.environ.get("OMP_NUM_THREADS") or cores())
    return map if threads == 1 else ThreadPoolExecutor(threads).map


def adam_piece(attrs: Mapping[str, Any], lr: float, correction1: float, correction2: float, piece: Sequence[np.ndarray]) -> None:
    """Adam in MXNet's memory, in passes over what a core's cache holds."""
    weight, gradient, mean, square = piece
    decay, goal, spare = attrs["weight_decay"], gradient, np.empty((2, weight.size), weight.dtype)
    number = weight.dtype.type
    if attrs["maximize"]:
        goal = np.negative(goal, spare[0])
    if decay and attrs["decoupled"]:
        np.multiply(weight, number(1.0 - lr * decay), weight)
    elif decay:
        goal = np.add(goal, np.multiply(weight, number(decay), spare[1]), spare[0])
    step = np.subtract(goal, mean, spare[1])
    np.add(mean, np.multiply(step, number(1.0 - attrs["beta1"]), step), mean)
    step = np.subtract(np.multiply(goal, goal, spare[1]), square, spare[1])
    np.add(square, np.multiply(step, number(1.0 - attrs["beta2"]), step), square)
    root = math.sqrt(correction2)  # mean / (sqrt(square) / root + eps), with both sides times root
    step = np.add(np.sqrt(square, step), number(attrs["eps"] * root), step)
    np.subtract(weight, np.multiply(np.divide(mean, step, step), number(lr * root / correction1), step), weight)


def in_one_row(array: Any) -> Any:
    """The same memory as a matrix of one row."""
    with shapes():
        return array.reshape((1, -1))


@functools.cache
def _one() -> Any:
    return mx.nd.ones((1, 1))


def blend(target: Any, keep: float, source: Any, factor: float) -> None:
    """``target = keep * target + factor * source``, rows both. A matrix product with 1 is the BLAS's way to it, in a third of the time that ``sgd_update`` takes."""
    mx.nd.linalg.gemm(_one(), source, target, alpha=factor, beta=keep, out=target)


def descent(attrs: Mapping[str, Any], places: Sequence[int], sign: float, weight: Any, gradient: Any, buffer: Any = None) -> Callable[[Sequence[float]], None]:
    """Gradient descent as sums of two arrays."""
    momentum, decay = attrs["momentum"], attrs["weight_decay"]
    if gradient.stype == "row_sparse":
        return lambda given: mx.nd.sgd_update(weight, gradient, lr=given[places[0]], rescale_grad=sign, out=weight)
    w, g, m = (None if a is None else in_one_row(a) for a in (weight, gradient, buffer))

    def plain(given: Sequence[float]) -> None:
        lr = given[places[0]]
        blend(w, 1.0 - lr * decay, g, -lr * sign)

    def with_momentum(given: Sequence[float]) -> None:
        lr, damping = (given[i] for i in places)
        blend(m, momentum, g, damping * sign)
        if decay:
            blend(m, 1.0, w, damping * decay)
        if attrs["nesterov"]:
            plain(given)
        blend(w, 1.0, m, -lr * (momentum if attrs["nesterov"] else 1.0))

    return plain if buffer is None else with_momentum


class Copies:
    """Copies between arrays that stay the same from step to step."""

    def __init__(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        many, self._alone = [], []
        for source, target in pairs:
            together = target.dtype.__name__ == "float32" and 0 < len(target.shape) < 6 and target.size > 0
            (many if together else self._alone).append((source, target))
        self._many = cast_together(*zip(*many, strict=True)) if many else None

    def run(self) -> None:
        if self._many is not None:
            self._many()
        if self._alone:
            with shapes():
                for source, target in self._alone:
                    source.copyto(target)


def cast_together(sources: Sequence[Any], targets: Sequence[Any]) -> Callable[[], None]:
    """A cast of many float32 arrays to the type they have: MXNet's one copy of many, called without Python's part of a call, which is most of it."""
    op, count, kinds = ctypes.c_void_p(), ctypes.c_int(len(sources)), ctypes.POINTER(ctypes.c_int)()
    check_call(library.NNGetOpHandle(b"amp_multicast", ctypes.byref(op)))
    given, taken = ((ctypes.c_void_p * len(arrays))(*(a.handle for a in arrays)) for arrays in (sources, targets))
    place = ctypes.cast(taken, ctypes.POINTER(ctypes.c_void_p))
    names, values = (ctypes.c_char_p * 1)(b"num_outputs"), (ctypes.c_char_p * 1)(str(len(sources)).encode())
    owners = sources, targets  # the handles are theirs

    def call() -> None:
        check_call(library.MXImperativeInvokeEx(op, len(owners[0]), given, ctypes.byref(count), ctypes.byref(place), 1, names, values, ctypes.byref(kinds)))

    return call

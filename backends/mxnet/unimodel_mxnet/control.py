"""Control flow between executors: a body is bound executors of its own, and Python branches and loops around them.

MXNet's symbolic loops trace bodies with arrays of their own making and know no boolean predicates; here each body is bound to the arrays it reads. What it captures
it reads where that is; carries and slices are copied into its arguments, each result out of its outputs. The engine keeps those copies and the executors
in order, so only a predicate is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from unimodel.backend import Backend
from unimodel.dim import concrete
from unimodel.graph import Graph, Node, TensorSpec, Value
from unimodel.ops.definition import cond_op, scan_op
from unimodel_mxnet.arrays import device_array, shapes
from unimodel_mxnet.stages import HostArithmetic, Stage, stages

Run = Callable[[], None]
Bind = Callable[[Stage, Mapping[Value, Any]], tuple[dict[Value, Any], Run]]
"""Binds a stage to the arrays that there are; gives those that it makes, and what runs it."""


def held(backend: Backend, node: Node, sizes: Mapping[str, int], arrays: Sequence[Any], bind: Bind) -> tuple[dict[Value, Any], Run]:
    """A node that holds bodies, on these inputs: the arrays of its results, and what computes them."""
    outputs = [_empty(v.spec.at(sizes)) for v in node.outputs]
    maker = _cond if node.op is cond_op else _scan if node.op is scan_op else _while
    run = maker(backend, node, sizes, arrays, outputs, bind)

    def compute() -> None:
        with shapes():
            run()

    return dict(zip(node.outputs, outputs, strict=True)), compute


class Part:
    """A body bound to the arrays of its inputs."""

    def __init__(self, backend: Backend, body: Graph, arrays: Sequence[Any], bind: Bind) -> None:
        found: dict[Value, Any] = dict(zip((e.value for e in body.inputs), arrays, strict=True))
        self._runs: list[Run] = []
        for stage in stages(body, HostArithmetic(body)):
            backend.check(stage.nodes)
            made, run = bind(stage, found)
            found.update(made)
            self._runs.append(run)
        self.outputs = [found[v] for v in body.outputs]

    def __call__(self) -> None:
        for run in self._runs:
            run()


def _empty(spec: TensorSpec) -> Any:
    return device_array(np.zeros([int(s) for s in spec.shape], spec.dtype))


def _copy(source: Any, target: Any) -> None:
    if target.size:
        source.copyto(target)


def _rows(array: Any, count: int) -> list[Any]:
    """Views of an array's slices along its first axis, each of length 1 there."""
    return [array._slice(i, i + 1) for i in range(count)] if array.size else []


def _cond(backend: Backend, node: Node, sizes: Mapping[str, int], arrays: Sequence[Any], outputs: Sequence[Any], bind: Bind) -> Run:
    then, otherwise = (Part(backend, node.attrs[name], arrays[1:], bind) for name in ("then", "otherwise"))

    def run() -> None:
        part = then if arrays[0].asnumpy() else otherwise
        part()
        for source, target in zip(part.outputs, outputs, strict=True):
            _copy(source, target)

    return run


def _while(backend: Backend, node: Node, sizes: Mapping[str, int], arrays: Sequence[Any], outputs: Sequence[Any], bind: Bind) -> Run:
    carries = node.attrs["carries"]  # the results' own arrays are what is carried
    condition, body = (Part(backend, node.attrs[name], [*outputs, *arrays[carries:]], bind) for name in ("condition", "body"))

    def run() -> None:
        for source, target in zip(arrays, outputs, strict=False):
            _copy(source, target)
        while True:
            condition()
            if not condition.outputs[0].asnumpy():
                return
            body()
            for source, target in zip(body.outputs, outputs, strict=True):
                _copy(source, target)

    return run


def _scan(backend: Backend, node: Node, sizes: Mapping[str, int], arrays: Sequence[Any], outputs: Sequence[Any], bind: Bind) -> Run:
    attrs, body = node.attrs, node.attrs["body"]
    carries, split, length = attrs["carries"], attrs["carries"] + attrs["xs"], int(concrete(attrs["length"], sizes))
    state, stacks = outputs[:carries], outputs[carries:]
    if length == 0:
        return lambda: [_copy(source, target) for source, target in zip(arrays, state, strict=False)] and None
    slices = [_empty(e.spec.at(sizes)) for e in body.inputs[carries:split]]
    part = Part(backend, body, [*state, *slices, *arrays[split:]], bind)
    with shapes():
        entering = [(_rows(x, length), s.reshape((1, *s.shape))) for x, s in zip(arrays[carries:split], slices, strict=True) if s.size]
        leaving = [(y.reshape((1, *y.shape)), _rows(stack, length)) for y, stack in zip(part.outputs[carries:], stacks, strict=True) if y.size]
    order = list(reversed(range(length)) if attrs["reverse"] else range(length))

    def run() -> None:
        for source, target in zip(arrays, state, strict=False):
            _copy(source, target)
        for i in order:
            for rows, target in entering:
                rows[i].copyto(target)
            part()
            for source, rows in leaving:
                source.copyto(rows[i])
            for source, target in zip(part.outputs, state, strict=False):
                _copy(source, target)

    return run

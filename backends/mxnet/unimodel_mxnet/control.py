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
Parts = Callable[[str, Sequence[Any]], "Part"]
"""The body of this name, bound to the arrays of its inputs."""


def held(backend: Backend, node: Node, sizes: Mapping[str, int], arrays: Sequence[Any], bind: Bind) -> tuple[dict[Value, Any], Run]:
    """A node that holds bodies, on these inputs: the arrays of its results, and what computes them."""
    outputs = [_empty(v.spec.at(sizes)) for v in node.outputs]

    def part(name: str, arrays: Sequence[Any]) -> Part:
        return Part(backend, node.attrs[name], arrays, bind)

    if node.op is cond_op:
        run = _cond(part, arrays, outputs)
    else:
        run = _scan(node, sizes, part, arrays, outputs) if node.op is scan_op else _while(node, part, arrays, outputs)

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


def _copy(sources: Sequence[Any], targets: Sequence[Any]) -> None:
    """Arrays into others, as many as there are of the fewer."""
    for source, target in zip(sources, targets, strict=False):
        if target.size:
            source.copyto(target)


def _rows(array: Any, count: int) -> list[Any]:
    """Views of an array's slices along its first axis, each of length 1 there."""
    return [array._slice(i, i + 1) for i in range(count)] if array.size else []


def _cond(part: Parts, arrays: Sequence[Any], outputs: Sequence[Any]) -> Run:
    then, otherwise = part("then", arrays[1:]), part("otherwise", arrays[1:])

    def run() -> None:
        chosen = then if arrays[0].asnumpy() else otherwise
        chosen()
        _copy(chosen.outputs, outputs)

    return run


def _while(node: Node, part: Parts, arrays: Sequence[Any], outputs: Sequence[Any]) -> Run:
    captured = arrays[node.attrs["carries"] :]  # the results' own arrays are what is carried
    condition, body = (part(name, [*outputs, *captured]) for name in ("condition", "body"))

    def run() -> None:
        _copy(arrays, outputs)
        condition()
        while condition.outputs[0].asnumpy():
            body()
            _copy(body.outputs, outputs)
            condition()

    return run


def _scan(node: Node, sizes: Mapping[str, int], part: Parts, arrays: Sequence[Any], outputs: Sequence[Any]) -> Run:
    attrs, length = node.attrs, int(concrete(node.attrs["length"], sizes))
    carries, split = attrs["carries"], attrs["carries"] + attrs["xs"]
    state, stacks = outputs[:carries], outputs[carries:]
    if length == 0:
        return lambda: _copy(arrays, state)
    slices = [_empty(e.spec.at(sizes)) for e in attrs["body"].inputs[carries:split]]
    body = part("body", [*state, *slices, *arrays[split:]])
    with shapes():
        entering = [(_rows(x, length), s.reshape((1, *s.shape))) for x, s in zip(arrays[carries:split], slices, strict=True) if s.size]
        leaving = [(y.reshape((1, *y.shape)), _rows(stack, length)) for y, stack in zip(body.outputs[carries:], stacks, strict=True) if y.size]

    def run() -> None:
        _copy(arrays, state)
        for i in reversed(range(length)) if attrs["reverse"] else range(length):
            for rows, target in entering:
                rows[i].copyto(target)
            body()
            for source, rows in leaving:
                source.copyto(rows[i])
            _copy(body.outputs, state)

    return run

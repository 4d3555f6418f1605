"""Numbers that follow from host scalars by arithmetic alone, worked out in Python: a program is fed the few that its own nodes use."""

from __future__ import annotations

from collections.abc import Sequence

from unimodel.graph import Graph, Node, Value
from unimodel.passes.fold import SCALAR_ARITHMETIC


class HostArithmetic:
    """``nodes`` are those that the host works out; ``results`` are the values that other nodes, or the graph's results, need of it. A call gives these, for the graph's scalars."""

    def __init__(self, graph: Graph) -> None:
        self._scalars = [e.value for e in graph.of_kind("scalar")]
        constants = [n for n in graph.nodes if n.op.name == "constant" and isinstance(n.attrs["value"], (int, float))]
        self._constants: dict[Value | None, float] = {n.outputs[0]: n.attrs["value"] for n in constants}
        self.nodes: dict[Node, None] = {}
        known = dict.fromkeys(self._scalars)
        for node in graph.nodes:
            inputs = set(node.inputs)
            if node.op.name in SCALAR_ARITHMETIC and inputs & known.keys() and inputs <= known.keys() | self._constants.keys():
                self.nodes[node] = known[node.outputs[0]] = None
        self._steps = [(SCALAR_ARITHMETIC[n.op.name], n.inputs, n.outputs[0]) for n in self.nodes]
        final = {*graph.outputs, *(v for _, v in graph.updates)}
        self.results = [v for v in known if v in final or any(n not in self.nodes for n in v.users)]

    def __call__(self, scalars: Sequence[float]) -> list[float]:
        numbers = self._constants | dict(zip(self._scalars, map(float, scalars), strict=True))
        for function, inputs, result in self._steps:
            numbers[result] = function(*[numbers[v] for v in inputs])
        return [numbers[v] for v in self.results]

"""A program compiled by TorchInductor: all but the optimizer's updates, which have fused kernels of their own and take numbers that change from step to step.

The batch's open sizes are marked dynamic, so that another batch size does not compile anew. Host numbers that the compiled part reads come in as 0-d tensors:
as Python numbers they would be constants, and each change of one would compile anew.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import torch
from torch.fx import GraphModule

from unimodel.dim import Dim
from unimodel.errors import UnsupportedError
from unimodel.graph import Graph, Input, Node, Value
from unimodel.op import CONTROL_FLOW, value_and_grad_op
from unimodel.tracing import live_nodes
from unimodel_torch.arrays import DTYPES
from unimodel_torch.model import Writer, lowers
from unimodel_torch.ops import NOT_COMPILED
from unimodel_torch.optimizer import PAIRS, roots


def lowers_for_inductor(node: Node) -> bool:
    """What stays whole where torch compiles: not the kernels that its compiler does not know."""
    return lowers(node) and node.op.name not in NOT_COMPILED


class Front:
    """The compiled part of a graph; called with state, batch and host numbers, it gives what the rest takes in place of the batch."""

    def __init__(self, graph: Graph, device: str) -> None:
        self.device = device
        self.scalars = graph.of_kind("scalar")
        batch = graph.of_kind("batch")
        # numbers as tensors: there is no arithmetic on the host in here
        inputs = (*graph.of_kind("state"), *batch, *(Input("batch", e.name, e.value) for e in self.scalars))
        self.dynamic = [[axis for axis, size in enumerate(e.spec.shape) if isinstance(size, Dim)] for e in batch]
        graph = Graph(inputs, graph.nodes, graph.outputs)
        writer = Writer(graph, device, {"true_divide": operator.truediv, "pow": operator.pow, "sqrt": math.sqrt, "exp": math.exp, "log": math.log})
        for entry in graph.inputs:
            writer.placeholder(entry)
        for node in graph.nodes:
            writer.write(node)
        shared, entries = roots(graph), {e.value for e in graph.inputs}
        results = [writer.tensor(v) for v in graph.outputs]
        results = [r.clone() if shared.get(v, v) in entries else r for r, v in zip(results, graph.outputs, strict=True)]
        writer.program.output(tuple(r.node for r in results))
        module = torch.nn.Module()
        for name, tensor in writer.tracer.constants.items():
            module.register_buffer(name, tensor.to(device))
        self.run = torch.compile(GraphModule(module, writer.program), fullgraph=True)

    def __call__(self, state: Sequence[torch.Tensor], batch: Sequence[torch.Tensor], numbers: Sequence[float]) -> Sequence[torch.Tensor]:
        for tensor, axes in zip(batch, self.dynamic, strict=True):
            for axis in axes:
                torch._dynamo.maybe_mark_dynamic(tensor, axis)
        scalars = [torch.tensor(n, dtype=DTYPES[e.spec.dtype], device=self.device) for e, n in zip(self.scalars, numbers, strict=True)]
        results: Sequence[torch.Tensor] = self.run(*state, *batch, *scalars)
        return results


def split(graph: Graph, device: str) -> tuple[Front, Graph]:
    """A prepared graph as its compiled part, and a graph of what is left: updates, with what the compiled part makes as their batch."""
    loops = [n for n in graph.nodes if n.op in CONTROL_FLOW]
    if loops:
        raise UnsupportedError(
            f"{loops[0].op.name} does not go through torch's compiler here.",
            given=repr(loops[0]),
            remedy="leave out compile='inductor'",
            source=loops[0].source,
        )
    regions = [n for n in graph.nodes if n.op is value_and_grad_op]
    if regions:
        raise UnsupportedError(
            "torch's compiler does not differentiate inside a program.",
            expected="differentiation='core' or 'auto' with compile='inductor'",
            given="differentiation='native'",
            remedy="leave differentiation out",
            source=regions[0].source,
        )
    known: set[Value] = {e.value for e in graph.of_kind("scalar")}
    on_host: list[Node] = []
    late: list[Node] = []
    for node in graph.nodes:
        given = {v for v in node.inputs if v is not None}
        if given <= known and all(isinstance(s, int) for v in node.outputs for s in v.spec.shape) and not _sized(node):
            on_host.append(node)
            known.update(node.outputs)
        elif node.op.name in PAIRS or any(v.producer in late for v in given):
            late.append(node)
    host, rest = set(on_host), set(late)
    heavy = [n for n in graph.nodes if n not in host and n not in rest]
    made = {v for n in heavy for v in n.outputs}
    wanted = dict.fromkeys([*(v for n in late for v in n.inputs), *(v for _, v in graph.updates), *graph.outputs])
    crossing = [v for v in wanted if v in made]
    crossing += [e.value for e in graph.of_kind("batch") if e.value in wanted]
    front = Front(Graph(graph.inputs, live_nodes([n for n in graph.nodes if n not in rest], crossing), tuple(crossing)), device)
    inputs = (*graph.of_kind("state"), *(Input("batch", f"made{i}", v) for i, v in enumerate(crossing)), *graph.of_kind("scalar"))
    nodes = live_nodes([n for n in graph.nodes if n in host or n in rest], [*graph.outputs, *(v for _, v in graph.updates)])
    return front, Graph(inputs, nodes, graph.outputs, graph.updates, graph.output_names)


def _sized(node: Node) -> bool:
    return node.op.name == "extent" or any(isinstance(s, Dim) for v in node.attrs.values() if isinstance(v, tuple) for s in v)

"""A step's graph taken apart: differentiated by core, every node with the phase it belongs to, and the bodies of its regions as they were written.

Core's gradient is the one that both backends can be asked about op by op. What a backend differentiates itself is looked at through the regions' bodies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from unimodel.graph import Graph, Node, Value
from unimodel.op import value_and_grad_op
from unimodel.passes.differentiate import differentiate, expand_region
from unimodel.passes.rewrite import Rewriter, float_dtype_of
from unimodel.regions import bodies, with_bodies
from unimodel.tracing import Tensor, live_nodes, recording

Phase = Literal["forward", "gradient", "update"]


@dataclass(frozen=True, eq=False)
class Region:
    """A ``value_and_grad`` of the step: its body, and the differentiated graph's values that enter it."""

    body: Graph
    entering: tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class Anatomy:
    graph: Graph
    phases: dict[Node, Phase]
    regions: tuple[Region, ...]


def dissect(step: Graph) -> Anatomy:
    """The step differentiated. Composites stay whole, so that a backend's kernels for them are seen."""
    phases: dict[Node, Phase] = {}
    regions: list[tuple[Node, tuple[Value, ...]]] = []

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Any] | None:
        if node.op is not value_and_grad_op:
            return rewriter.keep(node, inputs, with_bodies(node, differentiate)) if bodies(node) else None
        regions.append((node, tuple(t.value for t in inputs if t is not None)))
        start = len(rewriter.trace.nodes)
        results = expand_region(rewriter, node, inputs)
        emitted = rewriter.trace.nodes[start:]
        forward = set(live_nodes(emitted, [t.value for t in results[: len(node.attrs["body"].outputs)]]))
        phases.update((n, "forward" if n in forward else "gradient") for n in emitted)
        return results

    rewriter = Rewriter(visit, float_dtype_of(step))
    with recording(rewriter.trace):
        environment = {e.value: rewriter.trace.input(e.kind, e.name, e.spec) for e in step.inputs}
        rewriter.run(step.nodes, environment)
    inputs = rewriter.trace.root.inputs
    outputs = tuple(environment[v].value for v in step.outputs)
    updates = tuple((inputs[e.name], environment[v].value) for e, v in step.updates)
    entering = [v for _, values in regions for v in values]
    nodes = live_nodes(rewriter.trace.nodes, [*outputs, *(v for _, v in updates), *entering])
    graph = Graph(tuple(inputs.values()), nodes, outputs, updates, step.output_names)
    _outside(graph, phases)
    return Anatomy(graph, phases, tuple(Region(node.attrs["body"], values) for node, values in regions))


def _outside(graph: Graph, phases: dict[Node, Phase]) -> None:
    """Phases of nodes outside of regions: an update is what leads from a gradient to a state's new value."""
    leading = set(live_nodes(graph.nodes, [v for _, v in graph.updates]))
    moved: set[Value] = set()
    for node in graph.nodes:
        if phases.get(node) == "gradient" or any(v in moved for v in node.inputs if v is not None):
            moved.update(node.outputs)
        if node not in phases:
            phases[node] = "update" if node in leading and any(v in moved for v in node.outputs) else "forward"

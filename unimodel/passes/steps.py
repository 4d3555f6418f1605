"""Several steps as one graph, for backends whose programs cost more to start than to run: the state that one step leaves is what the next one reads."""

from __future__ import annotations

from unimodel.graph import Graph
from unimodel.passes.rewrite import Rewriter, float_dtype_of
from unimodel.tracing import live_nodes, recording


def several_steps(graph: Graph, count: int) -> Graph:
    """``count`` steps in order. Batch and scalar inputs of step i, counted from 0, are named ``i/name``; outputs come step by step."""
    rewriter = Rewriter(lambda rewriter, node, inputs: None, float_dtype_of(graph))
    outputs, news = [], {}
    with recording(rewriter.trace):
        state = {e.value: rewriter.trace.input("state", e.name, e.spec) for e in graph.of_kind("state")}
        for i in range(count):
            environment = dict(state)
            environment.update((e.value, rewriter.trace.input(e.kind, f"{i}/{e.name}", e.spec)) for e in graph.inputs if e.kind != "state")
            rewriter.run(graph.nodes, environment)
            outputs += [environment[v].value for v in graph.outputs]
            for entry, value in graph.updates:
                state[entry.value] = news[entry.name] = environment[value]
    inputs = rewriter.trace.root.inputs
    updates = tuple((inputs[name], tensor.value) for name, tensor in news.items())
    nodes = live_nodes(rewriter.trace.nodes, [*outputs, *(v for _, v in updates)])
    return Graph(tuple(inputs.values()), nodes, tuple(outputs), updates)

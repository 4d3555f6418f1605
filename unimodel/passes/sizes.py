"""Nodes as a graph of their own, in which symbolic sizes are numbers: for what is compiled once per shape of the batch, or in parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from unimodel.graph import Graph, Input, InputKind, Node, Value
from unimodel.regions import bodies
from unimodel.walk import at_sizes


def sized(graph: Graph, sizes: Mapping[str, int]) -> Graph:
    """The graph for these numbers of its symbols."""
    return excerpt(graph.nodes, {e.value: (e.kind, e.name) for e in graph.inputs}, graph.outputs, graph.updates, sizes)


def excerpt(
    nodes: Iterable[Node],
    given: Mapping[Value, tuple[InputKind, str]],
    outputs: Sequence[Value],
    updates: Sequence[tuple[Input, Value]] = (),
    sizes: Mapping[str, int] = {},
) -> Graph:
    """A graph of copies of these nodes. ``given`` are the values that become its inputs, each with a kind and a name; the state that ``updates`` change is among them."""
    entries = {v: Input(kind, name, Value(v.spec.at(sizes))) for v, (kind, name) in given.items()}
    copies: list[Node] = []
    new = {v: e.value for v, e in entries.items()}
    for node in nodes:
        attrs = {**at_sizes(node, sizes).attrs, **{name: sized(body, sizes) for name, body in bodies(node).items()}}
        copies.append(
            Node(node.op, tuple(None if v is None else new[v] for v in node.inputs), attrs, tuple(v.spec.at(sizes) for v in node.outputs), node.source)
        )
        new.update(zip(node.outputs, copies[-1].outputs, strict=True))
    changes = tuple((entries[e.value], new[v]) for e, v in updates)
    return Graph(tuple(entries.values()), tuple(copies), tuple(new[v] for v in outputs), changes)

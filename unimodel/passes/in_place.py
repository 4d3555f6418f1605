"""Updates of state that may be carried out in the state's own memory, for backends whose kernels do so."""

from __future__ import annotations

from collections import defaultdict

from unimodel.graph import Graph, Node, Value

RENEWED = {"sgd_update": (0, 4), "adam_update": (0, 2, 3, 7)}
"""Composites of which frameworks have such kernels: the inputs that their results take the place of, in the order of the results."""


def in_place(graph: Graph) -> dict[Node, list[Value]]:
    """The nodes of these composites that may be carried out so, each with the state it changes: their results go there and nowhere else."""
    homes: dict[Value, list[Value]] = defaultdict(list)
    for entry, value in graph.updates:
        homes[value].append(entry.value)
    found = {}
    for node in graph.nodes:
        old = [v for v in (node.inputs[i] for i in RENEWED.get(node.op.name, ())) if v is not None]
        if old and all(homes[new] == [value] and not new.users and new not in graph.outputs for new, value in zip(node.outputs, old, strict=True)):
            found[node] = old
    return found

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


def subtracts(update: Node) -> bool:
    """Whether an update leaves alone what has a gradient of 0: then, of a table whose rows were read, it need write no others."""
    return update.op.name == "sgd_update" and len(update.outputs) == 1 and not update.attrs["weight_decay"]


def by_rows(graph: Graph) -> dict[Node, Node]:
    """The updates of tables that need write only the rows that were read, each with the ``take_gradient`` that would spread these over zeros for nobody else."""
    spread = {n.outputs[0]: n for n in graph.nodes if n.op.name == "take_gradient" and n.attrs["axis"] == 0 and n.outputs[0].spec.ndim == 2}
    wanted = {*graph.outputs, *(v for _, v in graph.updates)}
    updates = [(n, n.inputs[1]) for n in graph.nodes if subtracts(n)]
    return {n: spread[g] for n, g in updates if g in spread and g.users == [n] and g not in wanted}


def tables(graph: Graph) -> dict[Value, Node | None]:
    """The matrices of state of which rows are read, and which are never read or written whole: each with the ``take_gradient`` whose rows its update subtracts, if there is one."""
    places, wanted = in_place(graph), {*graph.outputs, *(v for _, v in graph.updates)}
    updates = {places[n][0]: (n, spread) for n, spread in by_rows(graph).items() if n in places}
    written = {e.value for e, _ in graph.updates} - updates.keys()
    found: dict[Value, Node | None] = {}
    for value in {e.value for e in graph.of_kind("state") if e.spec.ndim == 2} - wanted - written:
        update, spread = updates.get(value, (None, None))
        if all(n is update or (n.op.name == "take" and n.attrs["axis"] == 0 and n.inputs[1] is not value) for n in value.users):
            found[value] = spread
    return found

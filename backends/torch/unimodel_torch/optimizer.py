"""The graph's updates: fused in-place kernels for optimizer steps, copies for everything else.

Update nodes of the same kind wait until something needs their results, or the program ends, and are then carried out together, one ``torch._foreach`` call
per operation, writing on the state's own tensors. That is right only where nobody still reads the old numbers: ``Updates`` knows who reads what, views
included, and gives a kernel a copy to write on where somebody does. Plain descent of a table whose rows were read writes these rows alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import Proxy

from unimodel.graph import Graph, Node, Value
from unimodel.passes import rewrite
from unimodel.passes.in_place import by_rows
from unimodel.passes.rewrite import Rewriter
from unimodel.tracing import Tensor
from unimodel_torch.model import Number, Writer
from unimodel_torch.ops import lower
from unimodel_torch.views import roots

PAIRS = {"sgd_update": {0: 0, 4: 1}, "adam_update": {0: 0, 2: 1, 3: 2, 7: 3}}
"""For each update, which input is written on for which output."""

SCALARS = {"sgd_update": (2, 3), "adam_update": (4, 5, 6)}
"""Inputs that are one number for all parameters of a group."""

ENDLESS = torch.tensor(float("inf"))


@lower("sgd_update", when=lambda node: bool(node.attrs["momentum"]) == (node.inputs[4] is not None))
def _(node: Any, params: Any, grads: Any, lr: Any, damping: Any, buffers: Any) -> Any:
    a = node.attrs
    dampening = 0.0 if damping is None else 1.0 - damping
    plain = {name: a[name] for name in ("weight_decay", "momentum", "nesterov", "maximize")}
    torch._fused_sgd_(params, grads, buffers or [], lr=lr, dampening=dampening, is_first_step=False, **plain)


@lower("adam_update")
def _(node: Any, params: Any, grads: Any, averages: Any, squares: Any, lr: Any, correction1: Any, correction2: Any, largest: Any) -> Any:
    """torch's kernel corrects by the step's number, and not at all at step infinity: the corrections are put into its other numbers."""
    a = node.attrs
    root = correction2**0.5
    plain = {name: a[name] for name in ("beta1", "beta2", "maximize")}
    weight_decay = a["weight_decay"] * correction1 / root if a["decoupled"] and a["weight_decay"] else a["weight_decay"]
    update = torch._fused_adamw_ if a["decoupled"] else torch._fused_adam_
    update(
        params, grads, averages, squares, largest or [], [ENDLESS] * len(params),
        lr=lr * root / correction1, eps=a["eps"] * root, weight_decay=weight_decay, amsgrad=largest is not None, **plain,
    )  # fmt: skip  # the lists, then the numbers


def narrowed(graph: Graph) -> Graph:
    """The same graph with updates of state in bfloat16 carried out by the kernel that computes in float32 inside: not on float32 copies of all of it.

    That is Adam's; SGD's computes in bfloat16.
    """

    def low(value: Value | None) -> bool:
        maker = None if value is None else value.producer
        return value is None or (maker is not None and maker.op.name == "cast" and maker.inputs[0] is not None and maker.inputs[0].spec.dtype == "bfloat16")

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        if node.op.name == "cast" and inputs[0] is not None and inputs[0].dtype == node.attrs["dtype"]:
            return [inputs[0]]
        if node.op.name != "adam_update":
            return None
        tensors = [i for i in range(len(node.inputs)) if i not in SCALARS[node.op.name]]
        stored = all(u.op.name == "cast" and u.attrs["dtype"] == "bfloat16" for v in node.outputs for u in v.users) and kept.isdisjoint(node.outputs)
        if not stored or not all(low(node.inputs[i]) for i in tensors):
            return None
        given = [t if t is None or i not in tensors else Tensor(rewriter.trace, t.value.producer.inputs[0]) for i, t in enumerate(inputs)]
        return rewriter.trace.emit(node.op, given, node.attrs, tuple(v.spec.with_dtype("bfloat16") for v in node.outputs))

    kept = {*graph.outputs, *(v for _, v in graph.updates)}
    held = any(e.spec.dtype == "bfloat16" for e in graph.of_kind("state"))
    return rewrite(graph, visit) if held else graph


class Updates:
    """Writes a whole graph: its nodes in order, waiting updates as late as can be, at the end the copies into state."""

    def __init__(self, graph: Graph, writer: Writer) -> None:
        self.graph = graph
        self.writer = writer
        self.changing = {e.value for e, _ in graph.updates}
        self.homes: dict[Value, list[Value]] = defaultdict(list)
        """For each new value, the state inputs it is for."""
        for entry, new in graph.updates:
            self.homes[new].append(entry.value)
        self.memory = {e.value for e in graph.inputs}
        """Values whose memory somebody may write on: what enters, and what a kernel has left in place."""
        self.place: dict[Value, Value] = {}
        """Results that a kernel has left in the tensor of a state input."""
        self.roots = roots(graph)
        self.readers: dict[Value, list[Node]] = defaultdict(list)
        for node in graph.nodes:
            for value in node.inputs:
                if value is not None:
                    self.readers[self.roots.get(value, value)].append(node)
        self.rows = by_rows(graph) if writer.device == "cpu" else {}  # elsewhere equal rows would be added up in any order
        for node, spread in self.rows.items():
            for value in spread.inputs:
                assert value is not None, "take_gradient has two inputs"
                self.readers[self.roots.get(value, value)].append(node)
        self.written: set[Node] = set()
        self.waiting: list[Node] = []
        self.late: set[Value | None] = set()
        self.kept: dict[Value, Any] = {}

    def write(self) -> None:
        for entry in self.graph.inputs:
            self.keep(entry.value)
        for node in self.graph.nodes:
            if not self.late.isdisjoint(node.inputs):
                self.carry_out()
            if self.can_wait(node):
                self.waiting.append(node)
                self.late.update(node.outputs)
                continue
            self.writer.write(node)
            self.written.add(node)
            for value in node.outputs:
                self.keep(value)
        self.carry_out()
        self.copy()
        self.writer.program.output(tuple(self.writer.result(v, self.kept) for v in self.graph.outputs))

    def keep(self, value: Value) -> None:
        """A copy of a result that shares memory which may change before it is read."""
        elsewhere = [home for home in self.homes.get(value, ()) if home not in (value, self.place.get(value))]
        if (elsewhere or value in self.graph.outputs) and self.roots.get(value, value) in self.memory and isinstance(self.writer.values[value], Proxy):
            self.kept[value] = self.writer.tensor(value).clone()

    def can_wait(self, node: Node) -> bool:
        if node.op.name not in PAIRS:
            return False
        scalars = [node.inputs[i] for i in SCALARS[node.op.name]]
        widened = any(_is_cast(node.inputs[i]) for i in PAIRS[node.op.name])  # copies that would all wait with it
        return not widened and all(v is None or isinstance(self.writer.values[v], (int, float, Number)) for v in scalars)

    def carry_out(self) -> None:
        """The lines of all waiting updates, one group of kernels for those that differ in nothing but their tensors."""
        groups: dict[Any, list[Node]] = defaultdict(list)
        for node in self.waiting:
            if node in self.rows:
                self.writer.tracer.source = node.source
                self.descend(node, self.rows[node])
                continue
            scalars = tuple(node.inputs[i] for i in SCALARS[node.op.name])
            given = tuple(v is None for v in node.inputs)
            groups[node.op.name, tuple(node.attrs.values()), scalars, given].append(node)
        for nodes in groups.values():
            self.writer.tracer.source = nodes[0].source
            self.group(nodes[0].op.name, nodes)
        self.written.update(self.waiting)
        self.waiting = []
        self.late = set()

    def group(self, name: str, nodes: list[Node]) -> None:
        columns: list[Any] = []
        for i, first in enumerate(nodes[0].inputs):
            if first is None:
                columns.append(None)
            elif i in SCALARS[name]:
                columns.append(self.writer.values[first])
            elif i in PAIRS[name]:
                columns.append([self.target(node, i) for node in nodes])
            else:
                columns.append([self.writer.tensor(node.inputs[i]).contiguous() for node in nodes])  # the kernels do not look at strides
        lower[name](nodes[0], *columns)
        for i, o in PAIRS[name].items():
            for node, tensor in zip(nodes, columns[i] or (), strict=False):
                self.writer.values[node.outputs[o]] = tensor
        for node in nodes:
            for value in node.outputs:
                self.keep(value)

    def descend(self, node: Node, spread: Node) -> None:
        """Plain descent of the rows that were read; those read more than once are added to as often. The line that spreads them over zeros is taken back."""
        rows, places = (self.writer.tensor(v) for v in spread.inputs if v is not None)
        table, lr = self.target(node, 0), self.writer.values[node.inputs[2]]
        table.index_add_(0, places.reshape(-1), rows.reshape(-1, node.outputs[0].spec.shape[1]), alpha=lr if node.attrs["maximize"] else -lr)
        whole = self.writer.values[spread.outputs[0]]
        if isinstance(whole, Proxy):
            self.writer.program.erase_node(whole.node)
        self.writer.values[node.outputs[0]] = table
        self.keep(node.outputs[0])

    def target(self, node: Node, i: int) -> Any:
        """What a kernel writes on for an input: the state's own tensor, or a copy where somebody still needs the old numbers."""
        value = node.inputs[i]
        assert value is not None, "an optional state is given for all of a group, or for none"
        home = value if value in self.changing else self.place.get(value)
        readers = self.readers[value]
        free = readers.count(node) == 1 and all(r is node or r in self.written for r in readers)
        if home is None or not free or value in self.homes:
            return self.writer.tensor(value).clone(memory_format=torch.contiguous_format)
        result = node.outputs[PAIRS[node.op.name][i]]
        self.place[result] = home
        self.memory.add(result)
        return self.writer.values[value]

    def copy(self) -> None:
        """The lines that copy new state which no kernel has written in place."""
        targets, sources = [], []
        for entry, value in self.graph.updates:
            target, found = self.writer.values[entry.value], self.kept.get(value, self.writer.values[value])
            if isinstance(found, (bool, int, float, Number)):
                target.fill_(found)
            elif value is not entry.value and self.place.get(value) is not entry.value:
                targets.append(target)
                sources.append(found if isinstance(found, Proxy) else self.writer.tensor(value))
        if targets:
            torch._foreach_copy_(targets, sources)


def _is_cast(value: Value | None) -> bool:
    return value is not None and value.producer is not None and value.producer.op.name == "cast"

"""Branches and loops for a backend whose programs have none: the graph is cut at them, each segment between is a program, and Python goes from one to the next.

Between programs numbers travel as NumPy arrays. State stays in the store, where all programs that use it read it, those of bodies too; only the last segment writes any, so that a
run which fails on its way leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from unimodel.backend import Executable
from unimodel.graph import Array, Graph, Input, InputKind, Node, Value
from unimodel.op import CONTROL_FLOW, cond_op, scan_op
from unimodel.passes.host import HostArithmetic
from unimodel.passes.sizes import excerpt
from unimodel.regions import bodies, body_inputs

Compile = Callable[[Graph], Executable]
"""A graph without control flow as a program on the store."""
Known = dict[Value | None, Any]
"""The arrays, or host numbers, of values."""


class Segments(Executable):
    """A prepared graph with control flow, but without symbolic sizes, run by the programs that ``compile`` makes of its parts."""

    def __init__(self, graph: Graph, compile: Compile) -> None:
        self.graph = graph
        self._batch, self._scalars = ([e.value for e in graph.of_kind(kind)] for kind in ("batch", "scalar"))
        self._part = Part(graph, {e.value: e.name for e in graph.of_kind("state")}, compile)

    def run(self, batch: Sequence[Array], scalars: Sequence[float]) -> list[Array]:
        return self._part({**dict(zip(self._batch, batch, strict=True)), **dict(zip(self._scalars, scalars, strict=True))})

    def read(self, handle: Any) -> list[Array]:
        return [np.array(a) for a in handle]


class Part:
    """A graph, or a body, cut into segments. ``state`` are those of its inputs that are read from the store, by their names there."""

    def __init__(self, graph: Graph, state: Mapping[Value, str], compile: Compile) -> None:
        self._graph = graph
        self._state = state
        self._scalars = {e.value for e in graph.of_kind("scalar")}
        self._portable: dict[Value, Node] = {}
        """What follows from constants and host numbers alone: it is computed wherever it is used, so that updates see host numbers."""
        self._steps: list[Callable[[Known], None]] = []
        host = HostArithmetic(graph)
        straight: list[Node] = []
        for i, node in enumerate(graph.nodes):
            if node.op.name == "constant" or node in host.nodes:
                self._portable[node.outputs[0]] = node
            elif node.op not in CONTROL_FLOW:
                straight.append(node)
            else:
                later = {v for n in graph.nodes[i:] for v in n.inputs} | {*graph.outputs, *(v for _, v in graph.updates)}
                held = _Held(node, state, compile)
                self._add(straight, later, held.reads, compile)
                self._steps.append(held)
                straight = []
        self._add(straight, set(graph.outputs), graph.outputs, compile, graph.updates)

    def __call__(self, known: Known) -> list[Array]:
        for step in self._steps:
            step(known)
        return [known[v] for v in self._graph.outputs]

    def on(self, arrays: Iterable[Array | None]) -> list[Array]:
        """The outputs for these inputs; those that are state are None."""
        return self(dict(zip((e.value for e in self._graph.inputs), arrays, strict=True)))

    def _add(
        self, nodes: Sequence[Node], later: set[Value | None], read: Iterable[Value], compile: Compile, updates: Sequence[tuple[Input, Value]] = ()
    ) -> None:
        """A program of these nodes. It gives what is used ``later``, and what is ``read`` at once and is in no array yet: state, and what is portable."""
        made = dict.fromkeys(v for n in nodes for v in n.outputs)
        results = [v for v in made if v in later]
        results += [v for v in dict.fromkeys(read) if v in self._state or v in self._portable]
        if not results and not updates:
            return
        used = dict.fromkeys([*(v for n in nodes for v in n.inputs if v is not None), *results, *(v for _, v in updates)])
        portable: dict[Node, None] = {}
        for value in used:
            self._bring(value, portable)
        whole = [*portable, *nodes]
        made.update((v, None) for n in portable for v in n.outputs)
        given: dict[Value, tuple[InputKind, str]] = {e.value: ("state", e.name) for e, _ in updates}
        for value in dict.fromkeys([*used, *(v for n in portable for v in n.inputs if v is not None)]):
            if value not in made and value not in given:
                kind: InputKind = "state" if value in self._state else "scalar" if value in self._scalars else "batch"
                given[value] = kind, self._state.get(value, f"x{len(given)}")
        batch, scalars = ([v for v, (kind, _) in given.items() if kind == wanted] for wanted in ("batch", "scalar"))
        program = compile(excerpt(whole, given, results, updates))

        def run(known: Known) -> None:
            handle = program.run([known[v] for v in batch], [float(known[v]) for v in scalars])
            known.update(zip(results, program.read(handle), strict=True))

        self._steps.append(run)

    def _bring(self, value: Value, found: dict[Node, None]) -> None:
        node = self._portable.get(value)
        if node is not None and node not in found:
            for before in node.inputs:
                if before is not None:
                    self._bring(before, found)
            found[node] = None


class _Held:
    """A branch or loop. What its bodies capture of the state they read from the store; ``reads`` are the values whose arrays it needs."""

    def __init__(self, node: Node, state: Mapping[Value, str], compile: Compile) -> None:
        self._node = node
        inputs = [v for v in body_inputs(node) if v is not None]
        first = node.attrs.get("carries", 0) + node.attrs.get("xs", 0)
        captured = {i: state[v] for i, v in enumerate(inputs) if i >= first and v in state}
        self.reads = [v for i, v in enumerate(inputs) if i not in captured] + ([v for v in node.inputs[:1] if v is not None] if node.op is cond_op else [])
        self._inputs = [None if i in captured else v for i, v in enumerate(inputs)]
        self._bodies = {name: Part(body, {body.inputs[i].value: n for i, n in captured.items()}, compile) for name, body in bodies(node).items()}

    def __call__(self, known: Known) -> None:
        node, inputs = self._node, [None if v is None else np.asarray(known[v], v.spec.dtype) for v in self._inputs]
        run = self._cond if node.op is cond_op else self._scan if node.op is scan_op else self._while
        known.update(zip(node.outputs, run(known, inputs), strict=True))

    def _cond(self, known: Known, inputs: Sequence[Array | None]) -> Sequence[Array]:
        return self._bodies["then" if known[self._node.inputs[0]] else "otherwise"].on(inputs)

    def _while(self, known: Known, inputs: Sequence[Any]) -> Sequence[Array]:
        carries = self._node.attrs["carries"]
        state, captured = inputs[:carries], inputs[carries:]
        while self._bodies["condition"].on([*state, *captured])[0]:
            state = self._bodies["body"].on([*state, *captured])
        return state

    def _scan(self, known: Known, inputs: Sequence[Any]) -> Sequence[Array]:
        attrs, carries = self._node.attrs, self._node.attrs["carries"]
        split, length = carries + attrs["xs"], int(attrs["length"])
        state, stacked, captured = inputs[:carries], inputs[carries:split], inputs[split:]
        results = [np.empty([int(s) for s in v.spec.shape], v.spec.dtype) for v in self._node.outputs[carries:]]
        for i in reversed(range(length)) if attrs["reverse"] else range(length):
            found = self._bodies["body"].on([*state, *(x[i] for x in stacked), *captured])
            state = found[:carries]
            for whole, row in zip(results, found[carries:], strict=True):
                whole[i] = row
        return [*state, *results]

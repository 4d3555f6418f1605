"""A piece of a step: a graph with the numbers to run it on, and so all that is needed to see a fault again.

Most pieces are one op (``cut`` from a step, with the numbers that reached it there), some are a whole step. What comes of a piece is its graph's outputs
and then its updates' new states. A piece is a value: the functions here make other pieces of it, in float64, with a composite opened, with the gradient
asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unimodel import ops, random
from unimodel.backend import at_sizes, literal
from unimodel.graph import Array, Graph, Input, Node, TensorSpec, Value
from unimodel.op import regions
from unimodel.passes import decompose, rewrite
from unimodel.passes.rewrite import Rewriter, float_dtype_of
from unimodel.tracing import Tensor, current_trace, trace, value_and_grad


@dataclass(frozen=True, eq=False)
class Piece:
    """``arrays`` are the batch and state inputs' numbers by name, ``scalars`` the host numbers'."""

    graph: Graph
    arrays: Mapping[str, Array]
    scalars: Mapping[str, float] = field(default_factory=dict)
    differentiation: str = "auto"

    @property
    def labels(self) -> list[str]:
        """What each result is: an output by its name, a state's new value."""
        names = self.graph.output_names or tuple(f"output {i}" if len(self.graph.outputs) > 1 else "output" for i in range(len(self.graph.outputs)))
        return [*names, *(f"new {entry.name}" for entry, _ in self.graph.updates)]

    @property
    def before(self) -> list[Array | None]:
        """For each result, the state's old value where it is a new one."""
        return [*(None for _ in self.graph.outputs), *(self.arrays[entry.name] for entry, _ in self.graph.updates)]

    @property
    def float_dtype(self) -> str:
        return float_dtype_of(self.graph)

    @property
    def node(self) -> Node:
        """The op that the piece is about: the last one, constants before it."""
        return self.graph.nodes[-1]

    @property
    def sizes(self) -> dict[str, int]:
        return self.graph.sizes({e.name: self.arrays[e.name].shape for e in self.graph.of_kind("batch")})

    def with_arrays(self, change: Callable[[Array], Array]) -> Piece:
        """The same with other numbers in its float arrays."""
        changed = {name: change(a) if a.dtype.kind == "f" else a for name, a in self.arrays.items()}
        return Piece(self.graph, changed, self.scalars, self.differentiation)


@dataclass(frozen=True, eq=False)
class Cut:
    """A piece cut out of a larger graph, and which of that graph's values its results are."""

    piece: Piece
    made: tuple[Value, ...]


class Whole:
    """A graph to cut pieces from: it knows where each value comes from."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.entries = {e.value: e for e in graph.inputs}
        self.homes: dict[Value, Input] = {}
        """For each new value of a state, the state."""
        for entry, value in graph.updates:
            self.homes.setdefault(value, entry)
        self.numbers = {e.value for e in graph.of_kind("scalar")}
        """Values that are host numbers, or are computed from them alone: they reach ops as numbers, not as tensors."""
        for node in graph.nodes:
            given = [v for v in node.inputs if v is not None]
            single = all(v.spec.shape == () and v.spec.is_float for v in node.outputs)
            if single and any(v in self.numbers for v in given) and all(v in self.numbers or _is_constant(v) for v in given):
                self.numbers.update(node.outputs)

    def values_of(self, piece: Piece) -> dict[Value, Array]:
        """The numbers of the inputs of a piece which has this graph."""
        found = {e.value: piece.arrays[e.name] for e in self.graph.inputs if e.kind != "scalar"}
        found.update((e.value, np.asarray(piece.scalars[e.name], e.spec.dtype)) for e in self.graph.of_kind("scalar"))
        return found

    def cut(self, nodes: Sequence[Node], values: Mapping[Value, Array], sizes: Mapping[str, int], wanted: Sequence[Value] = ()) -> Cut:
        """These nodes alone, on the numbers that are known of the values around them; ``wanted`` are their results, of the last node if left out."""
        wanted = wanted or nodes[-1].outputs
        inputs: list[Input] = []
        arrays: dict[str, Array] = {}
        scalars: dict[str, float] = {}
        emitted: list[Node] = []
        new: dict[Value, Value] = {}
        own = {v for n in nodes for v in n.outputs}

        def bring(value: Value, name: str) -> Value:
            if value in new:
                return new[value]
            if _is_constant(value):
                assert value.producer is not None, "a constant is made by a node"
                emitted.append(Node(value.producer.op, (), at_sizes(value.producer, sizes).attrs, (value.spec.at(sizes),), value.producer.source))
                new[value] = emitted[-1].outputs[0]
                return new[value]
            spec, entry = value.spec.at(sizes), self.entries.get(value)
            state = entry is not None and entry.kind == "state"
            name = entry.name if entry is not None and state else name
            while name in arrays or name in scalars:
                name += "_"
            new[value] = Value(spec)
            if value in self.numbers:
                inputs.append(Input("scalar", name, new[value]))
                scalars[name] = float(values[value])
            else:
                inputs.append(Input("state" if state else "batch", name, new[value]))
                arrays[name] = values[value]
            return new[value]

        for node in nodes:
            given = []
            for value, name in zip(node.inputs, _names(node), strict=True):
                given.append(None if value is None else new[value] if value in own else bring(value, name))
            specs = tuple(v.spec.at(sizes) for v in node.outputs)
            emitted.append(Node(node.op, tuple(given), dict(at_sizes(node, sizes).attrs), specs, node.source))
            new.update(zip(node.outputs, emitted[-1].outputs, strict=True))
        by_name = {e.name: e for e in inputs}
        homes = {v: by_name[self.homes[v].name] for v in wanted if v in self.homes and self.homes[v].name in by_name and self.homes[v].value in new}
        outputs = [v for v in wanted if v not in homes]
        graph = Graph(tuple(inputs), tuple(emitted), tuple(new[v] for v in outputs), tuple((homes[v], new[v]) for v in homes))
        return Cut(Piece(graph, arrays, scalars), (*outputs, *homes))


def _is_constant(value: Value) -> bool:
    return value.producer is not None and value.producer.op.name == "constant"


def known(node: Node) -> Array | None:
    """What a constant is, or None where it must be computed."""
    return literal(node) if node.op.name == "constant" else None


def _names(node: Node) -> Iterator[str]:
    """Each input's name in the op's signature."""
    names = node.op.tensors
    if node.op.name in regions or not names:
        yield from (f"value{i}" for i in range(len(node.inputs)))
    elif node.op.variadic:
        several = len(node.inputs) - (len(names) - 1)
        yield from (f"{names[0]}{i}" for i in range(several))
        yield from names[1:]
    else:
        yield from names


def opened(piece: Piece) -> Piece | None:
    """The piece with its op replaced by that op's body, or None where it has none."""
    target = piece.node
    if not target.op.composite:
        return None

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        if node is not target:
            return None
        return rewriter.inline(node.op.decompose(node.specs, dict(node.attrs), rewriter.float_dtype), inputs)

    return Piece(rewrite(piece.graph, visit), piece.arrays, piece.scalars, piece.differentiation)


def in_primitives(piece: Piece) -> Piece:
    """The piece with nothing left for a fused kernel."""
    return Piece(decompose(piece.graph, lambda node: False), piece.arrays, piece.scalars, piece.differentiation)


def in_float64(piece: Piece) -> Piece:
    """The same computation on the same numbers with float64 wherever a float was."""

    def wide(spec: TensorSpec) -> TensorSpec:
        return spec.with_dtype("float64") if spec.is_float else spec

    def convert(graph: Graph) -> Graph:
        new = {e.value: Value(wide(e.spec)) for e in graph.inputs}
        nodes = []
        for node in graph.nodes:
            attrs = {
                k: convert(v) if isinstance(v, Graph) else "float64" if k == "dtype" and TensorSpec((), str(v)).is_float else v for k, v in node.attrs.items()
            }
            given = tuple(None if v is None else new[v] for v in node.inputs)
            nodes.append(Node(node.op, given, attrs, tuple(wide(v.spec) for v in node.outputs), node.source))
            new.update(zip(node.outputs, nodes[-1].outputs, strict=True))
        inputs = {e: Input(e.kind, e.name, new[e.value]) for e in graph.inputs}
        updates = tuple((inputs[e], new[v]) for e, v in graph.updates)
        return Graph(tuple(inputs.values()), tuple(nodes), tuple(new[v] for v in graph.outputs), updates, graph.output_names)

    arrays = {name: a.astype("float64") if a.dtype.kind == "f" else a for name, a in piece.arrays.items()}
    return Piece(convert(piece.graph), arrays, piece.scalars, piece.differentiation)


def with_gradient(piece: Piece) -> Piece | None:
    """The op's results and the gradient of their sum, each element weighed by a number of its own; None where there is no gradient to ask for."""
    graph = piece.graph
    floats = [e for e in graph.inputs if e.kind != "scalar" and e.spec.is_float]
    results = [*graph.outputs, *(v for _, v in graph.updates)]
    if not floats or not any(v.spec.is_float for v in results):
        return None

    def function(tensors: dict[str, Any]) -> list[Any]:
        recorder = current_trace()
        assert recorder is not None, "this is being traced"
        recorder.root.source = piece.node.source

        def objective() -> tuple[Any, list[Any]]:
            inner = current_trace()
            assert inner is not None, "this is being traced"
            environment = {e.value: inner.as_tensor(tensors[e.name]) for e in graph.inputs}
            for node in graph.nodes:
                made = inner.emit(node.op, [None if v is None else environment[v] for v in node.inputs], node.attrs, tuple(v.spec for v in node.outputs))
                environment.update(zip(node.outputs, made, strict=True))
            total: Any = 0.0
            for i, value in enumerate(results):
                if value.spec.is_float:
                    shape = [int(s) for s in value.spec.shape]
                    total = total + ops.sum(environment[value] * random.normal(0, f"weights of result {i}", shape).astype(value.spec.dtype))
            return total, [environment[v] for v in results]

        (_, made), gradients = value_and_grad(objective, wrt=[tensors[e.name] for e in floats], has_aux=True)
        names.extend([*piece.labels, *(f"gradient for {e.name}" for e, g in zip(floats, gradients, strict=True) if g is not None)])
        return [*made, *(g for g in gradients if g is not None)]

    names: list[str] = []
    arrays = {**piece.arrays, **{n: np.asarray(v, piece.float_dtype) for n, v in piece.scalars.items()}}
    specs = {name: TensorSpec(tuple(a.shape), a.dtype.name) for name, a in arrays.items()}
    traced = trace(function, specs, names={}, float_dtype=piece.float_dtype)
    found = traced.graph
    if len(names) == len(results):
        return None
    plain = {f"batch.{name}": a for name, a in arrays.items()}
    return Piece(Graph(found.inputs, found.nodes, found.outputs, (), tuple(names)), {e.name: plain[e.name] for e in found.inputs}, {}, "native")

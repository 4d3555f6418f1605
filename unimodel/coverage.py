"""What a table of lowerings makes work, and what it still lacks, in the order in which adding it pays.

A composite works on a backend once every primitive of its decomposition has a lowering; a layer or loss once every op of its graph has, and, on a backend
that trains, of its gradient's graph. So what a new primitive unlocks can be counted, without the backend and without a test. For authors
of backends (``unimodel new-backend NAME --todo``) and for reports; core itself never asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from unimodel import losses, nn, tracing
from unimodel.backend import Lowerings
from unimodel.dim import Dim
from unimodel.graph import Graph, TensorSpec
from unimodel.ops import Op, catalogue
from unimodel.ops import sum as sum_of
from unimodel.passes import prepare

_N = Dim.symbol("N")


def _floats(*shape: int) -> TensorSpec:
    return TensorSpec((_N, *shape), "float32")


def _classes(*shape: int) -> TensorSpec:
    return TensorSpec((_N, *shape), "int64")


Example = tuple[Callable[[], Any], tuple[TensorSpec, ...]]

LAYERS: dict[str, Example] = {
    "Identity": (nn.Identity, (_floats(3),)),
    "Flatten": (nn.Flatten, (_floats(3, 2),)),
    "Linear": (partial(nn.Linear, 3, 2), (_floats(3),)),
    "Embedding": (partial(nn.Embedding, 5, 2), (_classes(3),)),
    "Conv2d": (partial(nn.Conv2d, 2, 3, 3, padding=1), (_floats(2, 5, 5),)),
    "MaxPool2d": (partial(nn.MaxPool2d, 2), (_floats(2, 4, 4),)),
    "AvgPool2d": (partial(nn.AvgPool2d, 2), (_floats(2, 4, 4),)),
    "BatchNorm1d": (partial(nn.BatchNorm1d, 3), (_floats(3),)),
    "BatchNorm2d": (partial(nn.BatchNorm2d, 3), (_floats(3, 4, 4),)),
    "LayerNorm": (partial(nn.LayerNorm, 3), (_floats(3),)),
    "Dropout": (nn.Dropout, (_floats(3),)),
    "ReLU": (nn.ReLU, (_floats(3),)),
    "LeakyReLU": (nn.LeakyReLU, (_floats(3),)),
    "ELU": (nn.ELU, (_floats(3),)),
    "GELU": (nn.GELU, (_floats(3),)),
    "SiLU": (nn.SiLU, (_floats(3),)),
    "Sigmoid": (nn.Sigmoid, (_floats(3),)),
    "Softplus": (nn.Softplus, (_floats(3),)),
    "Tanh": (nn.Tanh, (_floats(3),)),
    "Softmax": (partial(nn.Softmax, 1), (_floats(3),)),
    "LogSoftmax": (partial(nn.LogSoftmax, 1), (_floats(3),)),
}
"""Layers that most models are made of, and what goes into each. A layer that is not here counts through the composites it calls."""

LOSSES: dict[str, Example] = {
    "MSELoss": (losses.MSELoss, (_floats(3), _floats(3))),
    "L1Loss": (losses.L1Loss, (_floats(3), _floats(3))),
    "CrossEntropyLoss": (losses.CrossEntropyLoss, (_floats(3), _classes())),
    "BCEWithLogitsLoss": (losses.BCEWithLogitsLoss, (_floats(3), _floats(3))),
}
"""The commonest losses, with input and target."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Something users ask for: a composite op (``gelu``), a layer (``nn.Linear``) or a loss, and the primitives it still waits for."""

    name: str
    missing: frozenset[str]


@dataclass(frozen=True, slots=True)
class Step:
    """One primitive to add: what is complete once it is there (and those before it in the list), and how many pieces wait for it."""

    primitive: str
    completes: tuple[str, ...]
    awaited_by: int


def pieces(lowerings: Lowerings, training: bool = False) -> list[Piece]:
    """Every composite, layer and loss with what this table lacks for it; with ``training``, for the gradients of layers and losses too."""

    def missing(graphs: Iterator[Graph]) -> frozenset[str]:
        needed = {node.op.name for graph in graphs for node in prepare(graph, lowerings.accepts).nodes}
        return frozenset(name for name in needed if name not in lowerings)

    found = [Piece(op.name, missing(_samples_of(op))) for op in catalogue.values() if op.composite]
    for room, examples in (("nn", LAYERS), ("losses", LOSSES)):
        found += [Piece(f"{room}.{name}", missing(_graphs_of(example, training))) for name, example in examples.items()]
    return found


def to_do(lowerings: Lowerings, training: bool = False) -> list[Step]:
    """The primitives without a lowering, each time the one that unlocks most next.

    A piece that waits for this primitive alone counts 1, one that waits for two 1/2, and so on: so what many pieces share comes before what finishes few.
    """
    waiting = pieces(lowerings, training)
    awaited = {name: sum(name in piece.missing for piece in waiting) for name in _missing_primitives(lowerings)}
    rest, steps = list(awaited), []
    while rest:
        waiting = [piece for piece in waiting if piece.missing]
        worth = {name: sum(1 / len(piece.missing) for piece in waiting if name in piece.missing) for name in rest}
        chosen = max(rest, key=lambda name: worth[name])  # among equals the catalogue's order decides
        waiting = [Piece(piece.name, piece.missing - {chosen}) for piece in waiting]
        steps.append(Step(chosen, tuple(piece.name for piece in waiting if not piece.missing), awaited[chosen]))
        rest.remove(chosen)
    return steps


def _missing_primitives(lowerings: Lowerings) -> list[str]:
    return [name for name, op in catalogue.items() if not op.composite and name not in lowerings]


def _samples_of(op: Op[Any], dtype: str = "float64") -> Iterator[Graph]:
    """One graph per sample beside the op's definition."""
    for sample in op.samples:
        args, kwargs = sample.arguments(float_dtype=dtype)
        inputs, attrs = op.bind(tuple(args), kwargs)
        given = [value for value in inputs if value is not None]
        specs = tuple(TensorSpec(value.shape, value.dtype.name) if hasattr(value, "dtype") else TensorSpec((), dtype) for value in given)

        def call(tensors: Sequence[Any], inputs: list[Any] = inputs, attrs: dict[str, Any] = attrs) -> Any:
            rest = iter(tensors)
            return tracing.apply(op, [None if value is None else next(rest) for value in inputs], dict(attrs))

        yield tracing.trace(call, specs, names={}, float_dtype=dtype).graph


def _graphs_of(example: Example, training: bool) -> Iterator[Graph]:
    """The forward graph of a layer or loss, and with ``training`` that of its gradient."""
    make, specs = example
    module = make()
    names = {state: path for named in ("named_parameters", "named_buffers") for path, state in getattr(module, named, tuple)()}

    def gradient(tensors: Sequence[Any]) -> Any:
        floats = [tensor for tensor in tensors if tensor.spec.is_float]
        wrt = [*floats, *(state for state in names if getattr(state, "requires_grad", False))]
        return [g for g in tracing.value_and_grad(lambda: sum_of(module(*tensors)), wrt=wrt)[1] if g is not None]

    for function in (lambda tensors: module(*tensors), gradient) if training else (lambda tensors: module(*tensors),):
        yield tracing.trace(function, specs, names=names, sizes={"N": 4}).graph


# --------------------------------------------------------------------------------------------- how each thing is carried out

Manner = str
"""One of ``MANNERS``."""

MANNERS = {
    "native": "a primitive, for which the backend has a lowering of its own; or made of nothing but those",
    "fused": "a composite that a kernel of the framework computes whole, or a piece all of whose composites are",
    "partly fused": "whole for some inputs or attributes, for some of its composites; the rest is decomposed",
    "decomposed": "by its definition, from primitives",
    "refused": "not at all: an op it needs has no lowering",
}
"""How a backend carries out an op, a layer, a loss or an optimizer, and what that means."""


def manner_of_op(op: Op[Any], lowerings: Lowerings) -> Manner:
    """How a backend with these lowerings carries out an op, judged by the samples beside its definition in float32."""
    if not op.composite:
        return "native" if op.name in lowerings else "refused"
    graphs = list(_samples_of(op, "float32"))
    if any(node.op.name not in lowerings for graph in graphs for node in prepare(graph, lowerings.accepts).nodes):
        return "refused"
    whole = [lowerings.accepts(node) for graph in graphs for node in graph.nodes if node.op is op]
    if op.name in lowerings:
        return "fused" if all(whole) else "partly fused"
    return "decomposed"


def manner_of_graph(graph: Graph, lowerings: Lowerings) -> Manner:
    """How a backend with these lowerings carries out a piece whose forward pass is this graph."""
    if any(node.op.name not in lowerings for node in prepare(graph, lowerings.accepts).nodes):
        return "refused"
    whole = [lowerings.accepts(node) for node in graph.nodes if node.op.composite]
    if not whole:
        return "native"
    return "fused" if all(whole) else "partly fused" if any(whole) else "decomposed"


def forward_graph(make: Callable[[], Any], specs: tuple[TensorSpec, ...]) -> Graph:
    """The graph of a layer or loss on inputs of these specs."""
    return next(_graphs_of((make, specs), training=False))

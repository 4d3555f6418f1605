"""Mixed precision: a graph traced in float32 is rewritten so that its heavy ops compute in half the bits.

The rule is PyTorch's autocast (https://docs.pytorch.org/docs/stable/amp.html): matrix products, convolutions and attention take and give the low dtype;
what moves elements about or is harmless takes what comes; everything else, softmax, norms, reductions, losses above all, is computed in
float32. An op in neither list whose body multiplies matrices is taken apart first. State stays float32, so gradients and updates are float32 too.

float16 has so little range that small gradients vanish: its loss is scaled up before it is differentiated and the gradients down after, and a step whose
gradients overflow changes nothing. The scale is state of the program; after each step the trainer looks whether it was skipped, as PyTorch's GradScaler does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unimodel import ops
from unimodel.graph import FLOATS, Array, Graph, Node, TensorSpec, Value
from unimodel.op import Op, value_and_grad_op
from unimodel.passes.rewrite import Rewriter, float_dtype_of
from unimodel.regions import bodies, with_bodies
from unimodel.tracing import Tensor, live_nodes, recording


@dataclass(frozen=True)
class Precision:
    """What a trainer's ``precision`` means: the dtype of traces and state, and of the heavy ops within."""

    dtype: str
    low: str = ""
    throughout: bool = False
    """Whether everything that is differentiated is computed in the low dtype, and parameters are rounded to it."""
    scaled: bool = False
    """Whether the loss is scaled."""


PRECISIONS = {
    "float32": Precision("float32"),
    "float64": Precision("float64"),
    "bf16-mixed": Precision("float32", "bfloat16"),
    "fp16-mixed": Precision("float32", "float16", scaled=True),
    "bf16-true": Precision("float32", "bfloat16", throughout=True),
}

LOW = frozenset(["linear", "matmul", "bilinear", "conv", "conv_gradients", "conv_input_gradient", "conv_weight_gradient", "attention", "lstm", "gru", "rnn"])
"""Ops that take and give the low dtype."""

AS_GIVEN = frozenset([
    "reshape", "permute_dims", "broadcast_to", "concat", "split_sizes", "flip", "pad_constant", "slice", "take", "take_along_axis", "where", "stop_gradient",
    "relu", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "hardtanh", "hardsigmoid", "hardswish", "threshold", "tanh", "sigmoid", "negative", "abs",
    "add", "subtract", "multiply", "maximum", "minimum", "max_pool", "avg_pool", "masked_dropout", "max", "min", "equal", "not_equal", "less", "less_equal",
    "greater", "greater_equal", "isnan", "isfinite", "floor", "ceil", "round", "sign",
])  # fmt: skip  # a table reads better in rows
"""Ops that take their tensors in the widest dtype among them, and give that."""

SCALE, GROWN, SKIPPED = "loss_scale/scale", "loss_scale/grown", "loss_scale/skipped"
"""State of a program whose loss is scaled: the present scale, the steps since it changed, and 1 if the last step changed nothing, for the host that counts updates."""


@dataclass(frozen=True)
class LossScale:
    """How the scale of the loss moves, with PyTorch's GradScaler's names and defaults."""

    init_scale: float = 65536.0
    growth_factor: float = 2.0
    backoff_factor: float = 0.5
    growth_interval: int = 2000


def as_bfloat16(array: Array) -> Array:
    """float32 numbers rounded to the nearest that bfloat16 has, to even ones between two; NaN stays NaN."""
    bits = np.ascontiguousarray(array, "float32").view("uint32")
    rounded = ((bits + (0x7FFF + ((bits >> 16) & 1))) & 0xFFFF0000).astype("uint32").view("float32").reshape(array.shape)
    return np.where(np.isnan(array), array, rounded)


def lower_precision(graph: Graph, precision: Precision, scale: LossScale, kept_in: str = "") -> Graph:
    """The graph in this precision; inputs and outputs keep their dtypes, but for floating state where that is kept in another."""
    if not precision.low:
        return graph
    trains = any(n.op is value_and_grad_op for n in graph.nodes)
    graph = _rewritten(graph, _Autocast(precision.low, precision.throughout and not trains, precision.throughout), precision, kept_in)
    return _scaled(graph, scale) if precision.scaled and trains else graph


class _Autocast:
    def __init__(self, low: str, throughout: bool, regions_throughout: bool) -> None:
        self.low = low
        self.throughout = throughout
        self.regions_throughout = regions_throughout

    def visit(self, rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        op, attrs = node.op, node.attrs
        if op is value_and_grad_op:
            given = [t if _kept(t, self.low) else o for t, o in zip(inputs, self.original(node, inputs), strict=True)]
            dtypes = [None if t is None else t.dtype for t in given]
            body = _rewritten(attrs["body"], _Autocast(self.low, self.regions_throughout, self.regions_throughout), dtypes=dtypes)
            results = [v.spec for v in node.outputs]
            for place, i in enumerate(attrs["wrt"], len(body.outputs)):  # gradients are as wide as what they are of
                results[place] = results[place].with_dtype(dtypes[i] or results[place].dtype)
            return rewriter.trace.emit(op, given, {**attrs, "body": body}, tuple(results))
        if bodies(node):
            return rewriter.keep(node, self.original(node, inputs), with_bodies(node, lambda body: _rewritten(body, self)))
        if op.name == "cast":
            return [ops.astype(t, attrs["dtype"]) for t in inputs if t is not None]
        if op.name in LOW or (self.throughout and not (op.composite and op.name.endswith("_update"))):
            return self.emit(rewriter, op, self.to(self.low, inputs), attrs)
        if op.name in AS_GIVEN:
            return self.emit(rewriter, op, self.to(self.widest(inputs), inputs), attrs)
        if op.composite and _multiplies(op, node, rewriter.float_dtype):
            return rewriter.inline(op.decompose(node.specs, dict(attrs), rewriter.float_dtype), self.original(node, inputs))
        return rewriter.keep(node, self.original(node, inputs))

    def emit(self, rewriter: Rewriter, op: Op[Any], inputs: Sequence[Tensor | None], attrs: Any) -> Sequence[Tensor]:
        specs = op.infer([None if t is None else t.spec for t in inputs], dict(attrs), rewriter.float_dtype)
        return rewriter.trace.emit(op, inputs, attrs, specs)

    def to(self, dtype: str, inputs: Sequence[Tensor | None]) -> list[Tensor | None]:
        return [ops.astype(t, dtype) if t is not None and t.dtype in FLOATS and dtype else t for t in inputs]

    def original(self, node: Node, inputs: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The inputs in the dtypes that the node was traced with."""
        return [t if t is None or v is None else ops.astype(t, v.spec.dtype) for t, v in zip(inputs, node.inputs, strict=True)]

    def widest(self, inputs: Sequence[Tensor | None]) -> str:
        """The dtype that tensors meet in. Single numbers have no say, as in PyTorch."""
        floats = [t for t in inputs if t is not None and t.dtype in FLOATS]
        numbers = [t for t in floats if not t.ndim or _number(t) is not None]
        dtypes = {t.dtype for t in floats if all(t is not n for n in numbers)} or {t.dtype for t in floats}
        fit = all(_fits(_number(t), self.low) for t in numbers)
        return self.low if dtypes == {self.low} and fit else max({*dtypes, *(() if fit else ("float32",))}, key=FLOATS.index, default="")


def _kept(tensor: Tensor | None, low: str) -> bool:
    """Whether a tensor is state that is kept in the low dtype."""
    return tensor is not None and tensor.dtype == low and tensor.value.producer is None


def _number(tensor: Tensor) -> Value | None:
    """The single number that a tensor holds in every place."""
    value = tensor.value
    while value.spec.shape != ():
        producer = value.producer
        if producer is None or producer.op.name not in ("broadcast_to", "reshape", "cast") or producer.inputs[0] is None:
            return None
        value = producer.inputs[0]
    return value


def _fits(value: Value | None, dtype: str) -> bool:
    """Whether a number is more than nothing, and less than infinity, in this dtype too; one that is not known is taken to be."""
    producer = None if value is None else value.producer
    number = producer.attrs["value"] if producer is not None and producer.op.name == "constant" else 0.0
    return dtype != "float16" or not isinstance(number, float) or number == 0 or not math.isfinite(number) or 6e-5 < abs(number) < 65504


def _multiplies(op: Op[Any], node: Node, float_dtype: str) -> bool:
    """Whether a composite's body multiplies matrices somewhere."""
    body = op.decompose(node.specs, dict(node.attrs), float_dtype)
    return any(n.op.name in LOW or (n.op.composite and _multiplies(n.op, n, float_dtype)) for n in body.nodes)


def _rewritten(graph: Graph, autocast: _Autocast, rounded: Precision | None = None, kept_in: str = "", dtypes: Sequence[str | None] | None = None) -> Graph:
    """``rewrite``, with results in the dtypes they had. With ``rounded`` new floating state is rounded where that is asked for throughout.

    Floating state is taken and given in ``kept_in``, where that is said, and inputs are taken in ``dtypes``.
    """
    rewriter = Rewriter(autocast.visit, float_dtype_of(graph))
    wanted = dtypes or [kept_in if e.kind == "state" and e.spec.dtype in FLOATS else None for e in graph.inputs]
    with recording(rewriter.trace):
        environment = {
            e.value: rewriter.trace.input(e.kind, e.name, e.spec.with_dtype(dtype or e.spec.dtype)) for e, dtype in zip(graph.inputs, wanted, strict=True)
        }
        rewriter.run(graph.nodes, environment)
        outputs = tuple(ops.astype(environment[v], v.spec.dtype).value for v in graph.outputs)
        news = [ops.astype(environment[v], e.spec.dtype) for e, v in graph.updates]
        if rounded is not None and rounded.throughout:
            news = [ops.astype(ops.astype(t, rounded.low), kept_in or t.dtype) if t.dtype in FLOATS else t for t in news]
    return _graph(rewriter, graph, outputs, [(e.name, t.value) for (e, _), t in zip(graph.updates, news, strict=True)])


def _graph(rewriter: Rewriter, graph: Graph, outputs: tuple[Value, ...], news: Sequence[tuple[str, Value]]) -> Graph:
    inputs = rewriter.trace.root.inputs
    updates = tuple((inputs[name], value) for name, value in news)
    nodes = live_nodes(rewriter.trace.nodes, [*outputs, *(v for _, v in updates)])
    return Graph(tuple(inputs.values()), _narrowed_at_once(nodes, [v for _, v in updates]), outputs, updates, graph.output_names)


def _narrowed_at_once(nodes: Sequence[Node], news: Sequence[Value]) -> tuple[Node, ...]:
    """The nodes with casts of new state right behind what they cast, so that few of the wide numbers are there at a time."""
    casts = {v.producer for v in news if v.producer is not None and v.producer.op.name == "cast"}
    behind: dict[Node, list[Node]] = {}
    for node in nodes:
        maker = node.inputs[0].producer if node in casts and node.inputs[0] is not None else None
        if maker is not None:
            behind.setdefault(maker, []).append(node)
    moved = {n for group in behind.values() for n in group}
    return tuple(n for node in nodes if node not in moved for n in (node, *behind.get(node, ())))


def _scaled(graph: Graph, how: LossScale) -> Graph:
    """The graph with every region's loss scaled, and with updates that hold only where all gradients are finite."""
    finite: list[Tensor] = []
    from_gradients: set[Value] = set()

    def visit(rewriter: Rewriter, node: Node, inputs: list[Tensor | None]) -> Sequence[Tensor] | None:
        if node.op is not value_and_grad_op:
            if any(v in from_gradients for v in node.inputs):
                from_gradients.update(node.outputs)
            return None
        body = node.attrs["body"]
        specs = (TensorSpec((), "float32"), *(v.spec for v in node.outputs))
        results = rewriter.trace.emit(node.op, [*inputs, scale], {**node.attrs, "body": _with_scale(body)}, specs)
        inverse = ops.divide(1.0, scale)
        gradients = [ops.multiply(g, inverse) for g in results[1 + len(body.outputs) :]]
        finite.extend(ops.all(ops.isfinite(g)) for g in gradients)
        from_gradients.update(node.outputs[len(body.outputs) :])
        return [*results[1 : 1 + len(body.outputs)], *gradients]

    rewriter = Rewriter(visit, "float32")
    with recording(rewriter.trace):
        environment = {e.value: rewriter.trace.input(e.kind, e.name, e.spec) for e in graph.inputs}
        scale, grown, _ = (rewriter.trace.input("state", name, TensorSpec((), "float32")) for name in (SCALE, GROWN, SKIPPED))
        rewriter.run(graph.nodes, environment)
        sound: Any = rewriter.trace.constant(True, "bool")
        for each in finite:
            sound = ops.logical_and(sound, each)
        news = []
        for entry, value in graph.updates:
            new = environment[value]
            news.append((entry.name, (ops.where(sound, new, environment[entry.value]) if value in from_gradients else new).value))
        count = ops.add(grown, 1.0)
        enough = ops.greater_equal(count, float(how.growth_interval))
        larger = ops.where(enough, ops.multiply(scale, how.growth_factor), scale)
        news.append((SCALE, ops.where(sound, larger, ops.multiply(scale, how.backoff_factor)).value))
        news.append((SKIPPED, ops.where(sound, ops.multiply(scale, 0.0), 1.0).value))
        news.append((GROWN, ops.where(ops.logical_and(sound, ops.logical_not(enough)), count, ops.multiply(count, 0.0)).value))
    return _graph(rewriter, graph, tuple(environment[v].value for v in graph.outputs), news)


def _with_scale(body: Graph) -> Graph:
    """A region's body whose loss is scaled by one more input; the loss itself is the next result."""
    rewriter = Rewriter(lambda rewriter, node, inputs: None, "float32")
    with recording(rewriter.trace):
        environment = {e.value: rewriter.trace.input(e.kind, e.name, e.spec) for e in body.inputs}
        scale = rewriter.trace.input("batch", "scale", TensorSpec((), "float32"))
        rewriter.run(body.nodes, environment)
        scaled = ops.multiply(environment[body.outputs[0]], scale)
    outputs = (scaled.value, *(environment[v].value for v in body.outputs))
    return Graph(tuple(rewriter.trace.root.inputs.values()), live_nodes(rewriter.trace.nodes, outputs), outputs, (), ())

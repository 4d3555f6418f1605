"""A prepared graph written as TensorFlow ops, and the artifact made of a forward graph: a ``tf.Module`` that runs without unimodel."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unimodel.backend import Store
from unimodel.dim import Dim
from unimodel.errors import BackendError, UnimodelError, UnsupportedError
from unimodel.graph import Graph, Input, Node, TensorSpec, Value
from unimodel.op import regions, value_and_grad_op
from unimodel.passes import channels_last, prepare
from unimodel.passes.differentiate import rule_graph
from unimodel.passes.layout import ELEMENTWISE, IMAGES, REDUCTIONS
from unimodel_tensorflow.arrays import CPU, filters_axes, tf, weight_axes
from unimodel_tensorflow.control import control
from unimodel_tensorflow.images import lower
from unimodel_tensorflow.kernels import raw
from unimodel_tensorflow.ops import cast, constant, open_shape, transpose

CORE_GRADIENT = frozenset(
    ["maximum", "minimum", "pow", "prod", "floor_divide", "conv", "conv_input_gradient", "conv_weight_gradient"]
    + ["batch_norm_training", "relu", "take_along_axis", "lstm"]
    + ["cholesky_factor", "triangular_solve", "solve_square", "slogdet", "eigen_symmetric", "thin_qr", "thin_svd"]
)
"""Ops whose kernels TensorFlow differentiates otherwise than core does (ties, zeros, NaN), or not in all cases: they keep core's rule."""

UNREAD = {"max_pool_gradient": (3,), "matmul": (0, 1), "conv": (1,), "conv_input_gradient": (1,)}
"""Inputs, by position, that a lowering does not look at, or asks for itself."""


LOSES_NAN = frozenset(["max", "min", "maximum", "minimum"])
"""Ops that give a number for NaN once XLA compiles them."""


def with_nan(node: Node, inputs: Sequence[Any], result: Any) -> Any:
    """The largest or smallest, of two or along axes, that is NaN where there is one among them."""
    among, *other = [raw.IsNan(x=x) for x in inputs]
    axes = {"axis": constant(node.attrs.get("axis", ()), "int32"), "keep_dims": node.attrs.get("keepdims", False)}
    among = raw.LogicalOr(x=among, y=other[0]) if other else raw.Any(input=among, **axes)
    return raw.SelectV2(condition=among, t=constant(math.nan, result.dtype.name), e=result)


def refuse_under_xla(nodes: Iterable[Node]) -> None:
    """Refuse what means something else under XLA: it clamps an index that is out of range, drops what is scattered there, and divides integers by 0."""
    for node in nodes:
        floats = [v.spec.is_float for v in node.inputs if v is not None]
        integer = (node.op.name in ("floor_divide", "remainder") and not all(floats)) or (
            node.op.name == "cast" and floats[0] and not node.outputs[0].spec.is_float and node.outputs[0].spec.dtype != "bool"
        )
        index = node.inputs[0 if node.op.name == "embedding" else 1] if node.op.name in ("take", "take_along_axis", "embedding") else None
        if integer or (index is not None and not _in_range(index)):
            raise UnsupportedError(
                f"{node.op.name} means something else under XLA, which raises no error at run time.",
                given=repr(node),
                remedy="leave out compile='xla'" if integer else "leave out compile='xla', or take the indices from the batch, where they are checked",
                source=node.source,
            )


def _in_range(index: Value) -> bool:
    """Whether indices come with the batch, whose values are checked before each step, or are known."""
    producer = index.producer
    if producer is None or producer.op.name in ("constant", "iota", "arg_max", "arg_min"):
        return True
    return producer.op.name in ("reshape", "cast", "permute_dims", "slice", "broadcast_to") and all(v is not None and _in_range(v) for v in producer.inputs)


class View:
    """A node as a lowering sees it: sizes that are symbolic in the graph are tensors here."""

    __slots__ = ("attrs", "node", "writer")

    def __init__(self, node: Node, writer: Writer) -> None:
        self.node = node
        self.writer = writer
        self.attrs = {k: writer.resolve(v) for k, v in node.attrs.items()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.node, name)

    @property
    def shape(self) -> Any:
        """The first result's shape."""
        return self.writer.resolve(self.node.outputs[0].spec.shape)

    def matrix(self, i: int) -> tuple[Any, bool]:
        """An input, and whether it is to be transposed: before the ``permute_dims`` that only does this."""
        value = self.node.inputs[i]
        rank, producer = value.spec.ndim, value.producer
        if producer is not None and producer.op.name == "permute_dims" and producer.attrs["axes"] == (*range(rank - 2), rank - 1, rank - 2):
            return self.writer.tensor(producer.inputs[0]), True
        return self.writer.tensor(value), False

    def filters(self, i: int, given: Any) -> Any:
        """An input that is a convolution's weight, as (*kernel, in, out); ``given`` is what the lowering got for it, where that is not left to it."""
        return self.writer.filters(self.node.inputs[i]) if given is None else transpose(given, filters_axes(given.shape.rank))

    def of_filters(self, tensor: Any) -> Any:
        """The result of a node, made as filters."""
        return self.writer.hold(self.node.outputs[0], tensor)

    def decomposed(self, specs: Sequence[TensorSpec | None], *inputs: Any) -> Sequence[Any]:
        """A composite's results by its definition."""
        attrs = {k: v for k, v in self.node.attrs.items() if k != "channels_last"}
        dtype = next(s.dtype for s in specs if s is not None and s.is_float)
        return self.writer.inline(self.node.op.decompose(specs, attrs, dtype), [t for t in inputs if t is not None])


class Writer:
    """Writes nodes into the function being traced. ``values`` maps each value of the graph to its tensor, or to a function that makes it when needed."""

    def __init__(self, sizes: Mapping[str, Any], journal: list[Node], functions: list[Any], xla: bool = False) -> None:
        self.xla = xla
        self.values: dict[Value, Any] = {}
        self.held: dict[Value, Any] = {}
        """What there is as filters, (*kernel, in, out); in ``values`` stands what makes a weight of it, should somebody want one."""
        self.sizes = sizes
        self.journal = journal
        self.functions = functions
        """The functions that the one being traced calls, which must live as long."""
        self.latest: list[Any] = []
        self._sizes: dict[Dim, Any] = {}

    def inside(self, sizes: Mapping[str, Any]) -> Writer:
        """A writer for a body, which is another function: its tensors are its own."""
        return Writer(sizes, self.journal, self.functions, self.xla)

    def resolve(self, attribute: Any) -> Any:
        if isinstance(attribute, tuple):
            return tuple(map(self.resolve, attribute))
        if not isinstance(attribute, Dim):
            return attribute
        if attribute not in self._sizes:
            self._sizes[attribute] = attribute.evaluate(self.sizes)
        return self._sizes[attribute]

    def tensor(self, value: Value) -> Any:
        found = self.values[value]
        if callable(found):
            found = self.values[value] = found()
        return found

    def hold(self, value: Value, tensor: Any) -> Any:
        self.held[value] = tensor
        return functools.partial(transpose, tensor, weight_axes(value.spec.ndim))

    def filters(self, value: Value) -> Any:
        if value not in self.held:
            self.held[value] = transpose(self.tensor(value), filters_axes(value.spec.ndim))
        return self.held[value]

    def _among_filters(self, node: Node) -> bool:
        """Whether a node can work on filters as they are held, and some of its operands are: elementwise, or a reduction to one number."""
        held = next((v for v in node.inputs if v in self.held), None)
        if held is None or any(v is None or v.spec.ndim not in (0, held.spec.ndim) for v in node.inputs):
            return False
        whole = node.op.name in REDUCTIONS and not node.attrs["keepdims"] and len(node.attrs["axis"]) == held.spec.ndim
        alike = all(v is not None and v.spec.shape in ((), held.spec.shape) for v in node.inputs)
        return whole or (alike and node.op.name in ELEMENTWISE)

    def write(self, nodes: Iterable[Node], native: bool = False) -> None:
        """The ops of these nodes; ``native`` where TensorFlow is to differentiate them."""
        for node in nodes:
            if node.op is value_and_grad_op:
                results: Any = self.region(node)
            elif node.op.name in regions:
                results = control(self, node)
            elif node.op.name == "permute_dims":  # mostly for a matrix product, which transposes by itself
                results = (functools.partial(self.transposed, node),)
            elif node.op.name == "cast" and node.inputs[0].producer is None and node.inputs[0] not in self.held and node.inputs[0].spec.dtype == "bfloat16":
                results = (functools.partial(self.widened, node),)
            else:
                by_rule, filters = native and node.op.name in CORE_GRADIENT, not native and self._among_filters(node)
                unread = () if by_rule else UNREAD.get(node.op.name, ())
                of = [self.filters if filters and v is not None and v.spec.ndim else self.tensor for v in node.inputs]
                inputs = [None if v is None or i in unread else of[i](v) for i, v in enumerate(node.inputs)]
                self.journal.append(node)
                with tf.name_scope(f"n{len(self.journal) - 1}"):  # by which an error at run time finds the node again
                    try:
                        results = with_core_gradient(self, node, inputs) if by_rule else self.lowered(node, inputs)
                        if filters:
                            results = [self.hold(v, r) if v.spec.ndim else r for v, r in zip(node.outputs, results, strict=True)]
                    except UnimodelError:
                        raise
                    except Exception as error:
                        raise BackendError(
                            f"tensorflow failed to build {node.op.name}.", given=f"{node!r}: {type(error).__name__}: {error}", source=node.source
                        ) from error
                self.latest = [r for r in results if not callable(r)][:1] or self.latest
            self.values.update(zip(node.outputs, results, strict=True))

    def transposed(self, node: Node) -> Any:
        return transpose(self.tensor(node.inputs[0]), node.attrs["axes"])

    def widened(self, node: Node) -> Any:
        """State kept in bfloat16, widened when whoever reads it is at hand: left alone, TensorFlow widens all state at the start of a step."""
        with tf.control_dependencies(self.latest):
            return cast(self.tensor(node.inputs[0]), node.attrs["dtype"])

    def lowered(self, node: Node, inputs: Sequence[Any]) -> Sequence[Any]:
        result = lower[node.op.name](View(node, self), *inputs)
        if self.xla and node.op.name in LOSES_NAN and inputs[-1].dtype.is_floating:
            result = with_nan(node, inputs, result)
        return (result,) if len(node.outputs) == 1 else result

    def inline(self, body: Graph, inputs: Sequence[Any]) -> list[Any]:
        """A body of core's making, at once."""
        prepared = prepare(body, lower.accepts)
        self.values.update(zip((e.value for e in prepared.inputs), inputs, strict=True))
        self.write(prepared.nodes)
        return [self.tensor(v) for v in prepared.outputs]

    def region(self, node: Node) -> list[Any]:
        """A region that TensorFlow differentiates."""
        body, wrt = node.attrs["body"], node.attrs["wrt"]
        for i, (entry, outer) in enumerate(zip(body.inputs, node.inputs, strict=True)):
            # what is asked for gets a name of its own in here, so that the gradient is of its use in this region
            self.values[entry.value] = raw.Identity(input=self.tensor(outer)) if i in wrt else self.tensor(outer)
        self.write(body.nodes, native=True)
        leaves = [self.tensor(body.inputs[i].value) for i in wrt]
        outputs = [self.tensor(v) for v in body.outputs]
        gradients = tf.gradients(outputs[0], leaves, unconnected_gradients=tf.UnconnectedGradients.ZERO) if wrt else []
        return [*outputs, *map(tf.convert_to_tensor, gradients)]  # a gather's gradient is sparse


def with_core_gradient(writer: Writer, node: Node, inputs: Sequence[Any]) -> Sequence[Any]:
    """A node that TensorFlow differentiates by core's rule."""
    places = [i for i, t in enumerate(inputs) if t is not None and t.dtype.is_floating]
    real = [i for i, v in enumerate(node.outputs) if v.spec.is_float]

    @tf.custom_gradient
    def call(*floats: Any) -> Any:
        given = list(inputs)
        for i, tensor in zip(places, floats, strict=True):
            given[i] = tensor
        results = [r() if callable(r) else r for r in writer.lowered(node, given)]

        def gradient(*incoming: Any) -> Any:
            answers = apply_rule(writer, node, given, results, [incoming[i] for i in real])
            return [answers[i] for i in places]

        return results, gradient

    return call(*[inputs[i] for i in places])


def apply_rule(writer: Writer, node: Node, inputs: Sequence[Any], results: Sequence[Any], incoming: Sequence[Any]) -> list[Any]:
    """The gradients of a node's inputs by core's rule, None where there is none, written as ops."""
    body, places = rule_graph(node)
    found = dict(zip(places, writer.inline(body, [t for t in (*inputs, *results, *incoming) if t is not None]), strict=True))
    return [found.get(i) for i in range(len(inputs))]


def signature(entry: Input) -> Any:
    """What a function takes for a batch input: symbolic sizes are open."""
    return tf.TensorSpec(open_shape(entry.spec), tf.as_dtype(entry.spec.dtype))


def sizes_of(graph: Graph, tensors: Sequence[Any]) -> dict[str, Any]:
    """The number of each symbol as an int64 tensor, read off the batch; host scalars may follow."""
    given = dict(zip(graph.of_kind("batch"), tensors, strict=False))
    shapes = {symbol: raw.Shape(input=given[entry], out_type=tf.int64) for symbol, (entry, _) in graph.places.items()}
    return {symbol: raw.GatherV2(params=shapes[symbol], indices=constant(axis), axis=constant(0, "int32")) for symbol, (_, axis) in graph.places.items()}


def native_module(graph: Graph, store: Store) -> Any:
    """A forward graph as a ``tf.Module``: called with the batch inputs in order, of any batch size, it gives the outputs, alone where there is one.

    Its variables are copies, at their own names (``fc1.weight`` is attribute ``weight`` of a submodule ``fc1``), so ``tf.saved_model.save`` keeps them.
    """
    forward = channels_last(prepare(Graph(graph.inputs, graph.nodes, graph.outputs), lower.accepts), IMAGES)
    if forward.of_kind("scalar"):
        raise UnsupportedError(
            "this forward reads host numbers that change from step to step; an artifact has no host.", given=forward.of_kind("scalar")[0].name
        )
    batch = forward.of_kind("batch")
    functions: list[Any] = []

    class Native(tf.Module):
        @tf.function(input_signature=[signature(e) for e in batch], autograph=False)
        def __call__(self, *arguments: Any) -> Any:
            writer = Writer(sizes_of(forward, arguments), [], functions)
            writer.values.update({value: variable.read_value() for value, variable in variables.items()})
            writer.values.update(zip((e.value for e in batch), arguments, strict=True))
            writer.write(forward.nodes)
            outputs = tuple(writer.tensor(v) for v in forward.outputs)
            return outputs[0] if len(outputs) == 1 else outputs

    with tf.init_scope(), tf.device(CPU):
        variables = {e.value: tf.Variable(tf.cast(store.read(e.name), e.spec.dtype), e.spec.is_float, name=e.name) for e in forward.of_kind("state")}
    root = Native()
    for entry in forward.of_kind("state"):
        *path, last = entry.name.split(".")
        place = root
        for part in path:
            if not hasattr(place, part):
                setattr(place, part, tf.Module())
            place = getattr(place, part)
        setattr(place, last, variables[entry.value])
    return root

"""Control flow as TensorFlow's functional ops: a branch is ``If``, a loop is ``While``, and each body is a function of its own.

All that a body uses is among its inputs, also the numbers that symbolic sizes have. The ops stay whole, because the executor for small programs knows no other form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from unimodel.graph import Graph, Node
from unimodel.ops.definition import cond_op, scan_op
from unimodel_tensorflow.arrays import tf
from unimodel_tensorflow.kernels import raw
from unimodel_tensorflow.ops import constant, shape_tensor

if TYPE_CHECKING:
    from unimodel_tensorflow.model import Writer


def control(writer: Writer, node: Node) -> Sequence[Any]:
    """The results of a node that holds bodies."""
    inputs = [writer.tensor(v) for v in node.inputs if v is not None]
    if node.op is cond_op:
        return _cond(writer, node, inputs)
    return _scan(writer, node, inputs) if node.op is scan_op else _while(writer, node, inputs)


def _sizes(writer: Writer) -> list[Any]:
    return list(writer.sizes.values())


def _function(writer: Writer, function: Callable[..., Any], inputs: Sequence[Any]) -> Any:
    """A function of tensors like these, which is kept as long as the program."""
    specs = [tf.TensorSpec(t.shape, t.dtype, f"x{i}") for i, t in enumerate(inputs)]
    made = tf.function(function, autograph=False).get_concrete_function(*specs)
    writer.functions.append(made)
    return made


def _body(writer: Writer, body: Graph, inputs: Sequence[Any], sizes: Sequence[Any]) -> list[Any]:
    """A body's nodes, written into the function that is being traced."""
    inner = writer.inside(dict(zip(writer.sizes, sizes, strict=True)))
    inner.values.update(zip((e.value for e in body.inputs), inputs, strict=True))
    inner.write(body.nodes)
    results = [inner.tensor(v) for v in body.outputs]
    for tensor, value in zip(results, body.outputs, strict=True):
        tensor.set_shape([s if isinstance(s, int) else None for s in value.spec.shape])
    return results


def _shapes(node: Node, start: int = 0) -> list[Any]:
    return [tf.TensorShape([s if isinstance(s, int) else None for s in v.spec.shape]) for v in node.outputs[start:]]


def _cond(writer: Writer, node: Node, inputs: Sequence[Any]) -> Sequence[Any]:
    sizes = _sizes(writer)
    given = [*inputs[1:], *sizes]
    sides = []
    for name in ("then", "otherwise"):

        def side(*tensors: Any, body: Graph = node.attrs[name]) -> list[Any]:
            split = len(tensors) - len(sizes)
            return [raw.Identity(input=t) for t in _body(writer, body, tensors[:split], tensors[split:])]

        sides.append(_function(writer, side, given))
    dtypes = [tf.as_dtype(v.spec.dtype) for v in node.outputs]
    found = raw.If(cond=inputs[0], input=given, Tout=dtypes, then_branch=sides[0], else_branch=sides[1], output_shapes=_shapes(node))
    return list(found)


def _while(writer: Writer, node: Node, inputs: Sequence[Any]) -> Sequence[Any]:
    carries, sizes = node.attrs["carries"], _sizes(writer)
    given = [*inputs, *sizes]
    split = len(inputs)

    def more(*tensors: Any) -> Any:
        return _body(writer, node.attrs["condition"], tensors[:split], tensors[split:])[0]

    def once(*tensors: Any) -> list[Any]:
        return [*_body(writer, node.attrs["body"], tensors[:split], tensors[split:]), *tensors[carries:]]

    return _loop(writer, given, more, once, [*_shapes(node), *(t.shape for t in given[carries:])])[:carries]


def _scan(writer: Writer, node: Node, inputs: Sequence[Any]) -> Sequence[Any]:
    attrs, body, sizes = node.attrs, node.attrs["body"], _sizes(writer)
    carries, xs = attrs["carries"], attrs["xs"]
    length = writer.resolve(attrs["length"])
    length = constant(length, "int32") if isinstance(length, int) else raw.Cast(x=length, DstT=tf.int32)
    stacks = [v.spec for v in node.outputs[carries:]]
    shapes = [_int32(writer.resolve(s.shape[1:])) for s in stacks]
    lists = [
        raw.TensorListReserve(element_shape=shape, num_elements=length, element_dtype=tf.as_dtype(s.dtype)) for shape, s in zip(shapes, stacks, strict=True)
    ]
    given = [constant(0, "int32"), length, *lists, *inputs, *sizes]
    first, end = 2 + len(lists), 2 + len(lists) + len(inputs)

    def more(done: Any, length: Any, *_: Any) -> Any:
        return raw.Less(x=done, y=length)

    def once(done: Any, length: Any, *rest: Any) -> list[Any]:
        one = constant(1, "int32")
        place = raw.Sub(x=raw.Sub(x=length, y=done), y=one) if attrs["reverse"] else done
        lists, tensors, sizes = rest[: first - 2], rest[first - 2 : end - 2], rest[end - 2 :]
        slices = [raw.GatherV2(params=x, indices=place, axis=constant(0, "int32")) for x in tensors[carries : carries + xs]]
        results = _body(writer, body, [*tensors[:carries], *slices, *tensors[carries + xs :]], sizes)
        filled = [raw.TensorListSetItem(input_handle=a, index=place, item=t) for a, t in zip(lists, results[carries:], strict=True)]
        return [raw.AddV2(x=done, y=one), length, *filled, *results[:carries], *tensors[carries:], *sizes]

    steady = [t.shape for t in given]
    found = _loop(writer, given, more, once, [*steady[:first], *_shapes(node)[:carries], *steady[first + carries :]])
    stacked = [
        raw.TensorListStack(input_handle=a, element_shape=shape, element_dtype=tf.as_dtype(s.dtype))
        for a, shape, s in zip(found[2:first], shapes, stacks, strict=True)
    ]
    for tensor, shape in zip(stacked, _shapes(node, carries), strict=True):
        tensor.set_shape(shape)
    return [*found[first : first + carries], *stacked]


def _int32(shape: Sequence[Any]) -> Any:
    return raw.Cast(x=shape_tensor(shape), DstT=tf.int32) if len(shape) else constant([], "int32")


def _loop(writer: Writer, given: Sequence[Any], more: Callable[..., Any], once: Callable[..., Any], shapes: Sequence[Any]) -> Sequence[Any]:
    """``once`` as long as ``more``. The shapes are those of every round, in which symbolic sizes are open."""
    like = [tf.TensorSpec(shape, t.dtype) for shape, t in zip(shapes, given, strict=True)]
    condition, body = (_function(writer, f, like) for f in (more, once))
    found: Sequence[Any] = raw.While(input=given, cond=condition, body=body, output_shapes=list(shapes))
    return found

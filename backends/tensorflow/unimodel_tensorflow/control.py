"""Control flow as TensorFlow's functional ops: a branch is ``If``, a loop is ``While``, and each body is a function of its own.

All that a body uses is among its inputs, also the numbers that symbolic sizes have, which come last. The ops stay whole, because the executor for small programs knows
no other form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from unimodel.graph import Graph, Node
from unimodel.op import cond_op, scan_op
from unimodel_tensorflow.arrays import tf
from unimodel_tensorflow.kernels import raw
from unimodel_tensorflow.ops import cast, constant, number, open_shape, shape_tensor

if TYPE_CHECKING:
    from unimodel_tensorflow.model import Writer


def control(writer: Writer, node: Node) -> Sequence[Any]:
    """The results of a node that holds bodies."""
    kind = _cond if node.op is cond_op else _scan if node.op is scan_op else _while
    return kind(writer, node, [*(writer.tensor(v) for v in node.inputs if v is not None), *writer.sizes.values()])


def _body(writer: Writer, body: Graph, given: Sequence[Any]) -> list[Any]:
    """A body's nodes, written into the function that is being traced."""
    split = len(body.inputs)
    inner = writer.inside(dict(zip(writer.sizes, given[split:], strict=True)))
    inner.values.update(zip((e.value for e in body.inputs), given[:split], strict=True))
    inner.write(body.nodes)
    results = [inner.tensor(v) for v in body.outputs]
    for tensor, value in zip(results, body.outputs, strict=True):
        tensor.set_shape(open_shape(value.spec))
    return results


def _cond(writer: Writer, node: Node, given: Sequence[Any]) -> Sequence[Any]:
    def side(name: str) -> Any:
        return function(writer.functions, lambda *tensors: [raw.Identity(input=t) for t in _body(writer, node.attrs[name], tensors)], given[1:])

    shapes, dtypes = [tf.TensorShape(open_shape(v.spec)) for v in node.outputs], [tf.as_dtype(v.spec.dtype) for v in node.outputs]
    return list(raw.If(cond=given[0], input=given[1:], Tout=dtypes, output_shapes=shapes, then_branch=side("then"), else_branch=side("otherwise")))


def _while(writer: Writer, node: Node, given: Sequence[Any]) -> Sequence[Any]:
    carries, (condition, body) = node.attrs["carries"], (node.attrs[name] for name in ("condition", "body"))
    shapes = [*(open_shape(v.spec) for v in node.outputs), *(t.shape for t in given[carries:])]

    def once(*tensors: Any) -> list[Any]:
        return [*_body(writer, body, tensors), *tensors[carries:]]

    return loop(writer.functions, given, shapes, lambda *tensors: _body(writer, condition, tensors)[0], once)[:carries]


def _scan(writer: Writer, node: Node, given: Sequence[Any]) -> Sequence[Any]:
    attrs, carries, split = node.attrs, node.attrs["carries"], node.attrs["carries"] + node.attrs["xs"]
    shapes = [open_shape(v.spec) for v in node.outputs]
    forms = [(shape_tensor(writer.resolve(v.spec.shape[1:]), "int32"), tf.as_dtype(v.spec.dtype)) for v in node.outputs[carries:]]
    results = rounds(
        writer.functions,
        cast(number(writer.resolve(attrs["length"])), "int32"),
        (given[:carries], given[carries:split], given[split:]),
        lambda carried, slices, captured: _body(writer, attrs["body"], [*carried, *slices, *captured]),
        forms,
        shapes[:carries],
        attrs["reverse"],
    )
    for tensor, shape in zip(results, shapes, strict=True):
        tensor.set_shape(shape)
    return results


def rounds(
    functions: list[Any],
    length: Any,
    given: tuple[Sequence[Any], Sequence[Any], Sequence[Any]],
    once: Callable[..., Sequence[Any]],
    forms: Sequence[tuple[Any, Any]],
    shapes: Sequence[Any] = (),
    reverse: bool = False,
) -> list[Any]:
    """``once`` so many times. It takes what is carried, a slice of each stacked tensor, and what is captured, which three are ``given``; it gives what is carried on, and
    slices of further results. ``forms`` are the shapes and dtypes of these slices, ``shapes`` those of what is carried.
    """
    lists = [raw.TensorListReserve(element_shape=shape, num_elements=length, element_dtype=dtype) for shape, dtype in forms]
    first, second, third = len(lists), len(lists) + len(given[0]), len(lists) + len(given[0]) + len(given[1])

    def more(done: Any, length: Any, *_: Any) -> Any:
        return raw.Less(x=done, y=length)

    def again(done: Any, length: Any, *rest: Any) -> list[Any]:
        one = constant(1, "int32")
        place = raw.Sub(x=raw.Sub(x=length, y=done), y=one) if reverse else done
        slices = [raw.GatherV2(params=x, indices=place, axis=constant(0, "int32")) for x in rest[second:third]]
        results = once(rest[first:second], slices, rest[third:])
        filled = [raw.TensorListSetItem(input_handle=a, index=place, item=t) for a, t in zip(rest[:first], results[second - first :], strict=True)]
        return [raw.AddV2(x=done, y=one), length, *filled, *results[: second - first], *rest[second:]]

    start = [constant(0, "int32"), length, *lists]
    found = loop(
        functions, [*start, *given[0], *given[1], *given[2]], [*(t.shape for t in start), *shapes, *(t.shape for t in (*given[1], *given[2]))], more, again
    )
    stacked = [raw.TensorListStack(input_handle=a, element_shape=s, element_dtype=d) for a, (s, d) in zip(found[2:], forms, strict=False)]
    return [*found[2 + first : 2 + second], *stacked]


def loop(functions: list[Any], given: Sequence[Any], shapes: Sequence[Any], more: Callable[..., Any], once: Callable[..., Any]) -> Sequence[Any]:
    """``once`` as long as ``more``. The shapes are those of every round, in which symbolic sizes are open."""
    like = [tf.TensorSpec(shape, t.dtype) for shape, t in zip(shapes, given, strict=True)]
    condition, body = (function(functions, f, like) for f in (more, once))
    found: Sequence[Any] = raw.While(input=given, cond=condition, body=body, output_shapes=[s.shape for s in like])
    return found


def function(functions: list[Any], call: Callable[..., Any], like: Sequence[Any]) -> Any:
    """A function of tensors like these, put with those that live as long as the program."""
    specs = [tf.TensorSpec(t.shape, t.dtype, f"x{i}") for i, t in enumerate(like)]
    functions.append(tf.function(call, autograph=False).get_concrete_function(*specs))
    return functions[-1]

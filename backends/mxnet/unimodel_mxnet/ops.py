"""Every array primitive as MXNet symbols; those of matrices stand in ``matrices``.

NumPy-like symbols (``mx.sym.np``) broadcast, compare to booleans and know 0-d; the older ones are often faster and sometimes the only right ones, and
``legacy`` calls those. A lowering gets the call (attributes and specs with sizes filled in) and NumPy-like symbols, and returns such symbols. Where MXNet's meaning
differs from the catalogue's, the difference is named beside the cure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unimodel.backend import Lowerings, literal
from unimodel.dim import Dim
from unimodel.graph import FLOATS, TensorSpec
from unimodel_mxnet.model import Call
from unimodel_mxnet.shim import mx

lower = Lowerings()
sym, snp, npx = mx.sym, mx.sym.np, mx.sym.npx
internal = mx.sym.numpy._internal  # the NumPy-like ops that take scalars and paddings as attributes have no other home
scatter = mx.sym._internal._backward_gather_nd  # the transpose of gather_nd adds up duplicates, where scatter_nd keeps one

EXACT_SCALAR = 2**53  # MXNet keeps scalar attributes as doubles


def legacy(function: Callable[..., Any], *symbols: Any, **attributes: Any) -> Any:
    """One of MXNet's older ops on NumPy-like symbols."""
    return function(*(s.as_nd_ndarray() for s in symbols), **attributes).as_np_ndarray()


def as_integers(function: Callable[..., Any], spec: TensorSpec, *symbols: Any) -> Any:
    """An op that moves elements, through small integers where they are booleans, which many of MXNet's ops refuse."""
    if spec.dtype != "bool":
        return function(*symbols)
    return cast(function(*(cast(s, "uint8") for s in symbols)), "bool")


def cast(x: Any, dtype: str) -> Any:
    return internal.cast(x, dtype=dtype)


# ---------------------------------------------------------------------------------------------------------------- creation


@lower("constant")
def _(call: Call) -> Any:
    value, dtype = call.attrs["value"], call.attrs["dtype"]
    if isinstance(value, (bool, int, float)) and (not isinstance(value, int) or abs(value) < EXACT_SCALAR):
        return internal.full(shape=(), value=float(value), dtype=dtype)
    return call.build.literal(literal(call.node))


@lower("extent")
def _(call: Call) -> Any:
    dim, dtype = call.attrs["dim"], call.attrs["dtype"]
    if not isinstance(dim, Dim):
        return internal.full(shape=(), value=dim, dtype=dtype)
    return cast(dim.evaluate({name: size_of(call, name) for name in dim.symbols}), dtype)


def size_of(call: Call, name: str) -> Any:
    """The number that a symbolic size has when the program runs."""
    entry, axis = call.build.places[name]
    return internal.reshape(internal.slice(legacy(sym.shape_array, call.build.symbol(entry.value)), begin=(axis,), end=(axis + 1,), step=(1,)), newshape=())


@lower("iota")
def _(call: Call) -> Any:
    start, stop, step, dtype = (call.attrs[k] for k in ("start", "stop", "step", "dtype"))
    if isinstance(stop, Dim):
        reference, axis = _reference(call, stop)
        if start != 0 or step != 1:
            raise call.refuse("a range over a symbolic size must start at 0 and step by 1.")
        return cast(legacy(sym.contrib.arange_like, reference, axis=axis), dtype)
    return call.build.literal(np.arange(start, stop, step).astype(dtype))


def _reference(call: Call, size: Dim) -> tuple[Any, int]:
    """A symbol and an axis of it that have this symbolic size."""
    for name, (entry, axis) in call.build.places.items():
        if size.terms == {(name,): 1}:
            return call.build.symbol(entry.value), axis
    raise call.refuse(f"the size {size} is known at run time only.", "trace the model for one batch size")


# ------------------------------------------------------------------------------------------------------------- elementwise


def shape_of(call: Call, shape: Sequence[Any]) -> tuple[int, ...]:
    """A shape as MXNet's reshape takes it: one symbolic size may be left to be found."""
    unknown = [s for s in shape if isinstance(s, Dim)]
    if len(unknown) > 1 or (unknown and 0 in shape):
        raise call.refuse(f"the shape {tuple(shape)} has several symbolic sizes.", "trace the model for one batch size")
    return tuple(-1 if isinstance(s, Dim) else s for s in shape)


def reshape(call: Call, x: Any, shape: Sequence[Any]) -> Any:
    """The older reshape: the NumPy-like one leaves oneDNN's memory layouts as they were, and slices and transposes after it fail."""
    found = shape_of(call, shape)
    return legacy(sym.reshape, x, shape=found) if found else internal.reshape(legacy(sym.reshape, x, shape=(1,)), newshape=())


def broadcast(call: Call, x: Any, shape: Sequence[Any], target: Sequence[Any]) -> Any:
    """``x`` of one shape repeated to another."""
    shape, target = tuple(shape), tuple(target)
    if shape == target:
        return x
    if not any(isinstance(s, Dim) for s in target):
        return snp.broadcast_to(x, shape=target)
    shape = (1,) * (len(target) - len(shape)) + shape
    x = reshape(call, x, shape)
    for axis, (size, wanted) in enumerate(zip(shape, target, strict=True)):
        if isinstance(wanted, Dim) and size != wanted:
            reference, of = _reference(call, wanted)
            x = legacy(sym.broadcast_like, x, reference, lhs_axes=(axis,), rhs_axes=(of,))
        elif size != wanted:
            x = legacy(sym.broadcast_axis, x, axis=axis, size=wanted)
    return x


MIRRORED = {
    "subtract": "rsubtract",
    "true_divide": "rtrue_divide",
    "less": "greater",
    "less_equal": "greater_equal",
    "greater": "less",
    "greater_equal": "less_equal",
}
"""What an op is with its inputs exchanged, where that is another."""


@lower("add", "multiply", "maximum", "minimum", "equal", "not_equal", *MIRRORED)
def _(call: Call, a: Any, b: Any) -> Any:
    """A number on one side becomes an attribute, which saves a pass over memory."""
    name, dtype = call.node.op.name, call.specs[0].dtype
    for number, x, spec, form in ((call.number(1), a, call.specs[0], name), (call.number(0), b, call.specs[1], MIRRORED.get(name, name))):
        if number is not None and spec.shape == call.out.shape and (dtype in FLOATS or (dtype != "bool" and abs(number) < EXACT_SCALAR)):
            return getattr(internal, f"{form}_scalar")(x, scalar=float(number))
    return getattr(snp, name)(a, b)


@lower("pow")
def _(call: Call, a: Any, b: Any) -> Any:
    number = call.number(1)
    if call.out.dtype not in FLOATS:  # MXNet computes powers of integers in floats
        return cast(snp.power(cast(a, "float64"), cast(b, "float64")), call.out.dtype)
    if number is not None and call.specs[0].shape == call.out.shape:
        return a * a if number == 2 else snp.ones_like(a) if number == 0 else internal.power_scalar(a, scalar=float(number))
    return snp.power(a, b)


@lower("floor_divide")
def _(call: Call, a: Any, b: Any) -> Any:
    a, b = same_shape(call, a, b)
    if call.out.dtype not in FLOATS:
        return _integer_quotient(call, a, b)
    quotient = snp.around((a - snp.mod(a, b)) / b)  # as NumPy: the rest is taken off before dividing, so that 1 // 0.1 is 9
    return select(internal.equal_scalar(b, scalar=0.0), a / b, quotient)


@lower("remainder")
def _(call: Call, a: Any, b: Any) -> Any:
    if call.out.dtype not in FLOATS:
        a, b = same_shape(call, a, b)
        return select(internal.equal_scalar(b, scalar=0.0), b, a - _integer_quotient(call, a, b) * b)
    rest = snp.mod(a, b)
    return rest if call.number(1) else rest + snp.zeros_like(b) / b  # by zero MXNet says 0, NumPy NaN


def _integer_quotient(call: Call, a: Any, b: Any) -> Any:
    """Floored, and exact for all integers. MXNet's own division truncates, and kills the process on x / 0 and on min / -1."""
    zero, minus_one = internal.equal_scalar(b, scalar=0.0), internal.equal_scalar(b, scalar=-1.0)
    safe = select(internal.bitwise_or(zero, minus_one), snp.ones_like(b), b)
    quotient = legacy(sym.broadcast_div, a, safe)
    rest = a - quotient * safe
    other_sign = snp.not_equal(internal.less_scalar(rest, scalar=0.0), internal.less_scalar(safe, scalar=0.0))
    too_large = cast(internal.bitwise_and(internal.not_equal_scalar(rest, scalar=0.0), other_sign), call.out.dtype)
    return select(zero, snp.zeros_like(a), select(minus_one, snp.negative(a), quotient - too_large))


def same_shape(call: Call, *symbols: Any) -> list[Any]:
    """The inputs, each in the shape of the result."""
    return [broadcast(call, x, s.shape, call.out.shape) for x, s in zip(symbols, call.specs, strict=True) if s is not None]


def select(condition: Any, x: Any, y: Any) -> Any:
    """``where`` of three tensors of one shape. The older op: eight times as fast as the NumPy-like one, but for booleans."""
    return legacy(sym.where, cast(condition, "int32"), x, y)


@lower("where")
def _(call: Call, condition: Any, x: Any, y: Any) -> Any:
    kept, key = call.build.kept, ("condition", call.node.inputs[0], call.out.shape)  # every block of a transformer has the same mask
    if key not in kept:
        kept[key] = broadcast(call, cast(condition, "int32"), call.specs[0].shape, call.out.shape)
    x, y = (broadcast(call, v, s.shape, call.out.shape) for v, s in zip((x, y), call.specs[1:], strict=True))
    return as_integers(lambda x, y: legacy(sym.where, kept[key], x, y), call.out, x, y)


OF_ONE_SHAPE = {
    "logical_and": internal.bitwise_and, "logical_or": internal.bitwise_or, "logical_xor": internal.bitwise_xor,
    "bitwise_and": internal.bitwise_and, "atan2": snp.arctan2,
}  # fmt: skip  # a table reads better in rows


@lower(*OF_ONE_SHAPE)
def _(call: Call, a: Any, b: Any) -> Any:
    return OF_ONE_SHAPE[call.node.op.name](*same_shape(call, a, b))


lower.calls(
    exp=snp.exp, expm1=snp.expm1, log=snp.log, log1p=snp.log1p, sqrt=snp.sqrt, sin=snp.sin, cos=snp.cos, negative=snp.negative,
    floor=snp.floor, ceil=snp.ceil, round=snp.around, logical_not=snp.logical_not, isnan=snp.isnan, isfinite=snp.isfinite,
    erf=npx.erf, erfinv=npx.erfinv, lgamma=npx.gammaln,
)  # fmt: skip  # a table reads better in rows


def activation(call: Call, function: Callable[..., Any], x: Any, **attributes: Any) -> Any:
    """One of oneDNN's elementwise ops, which want a dimension."""
    return legacy(function, x, **attributes) if call.out.shape else reshape(call, legacy(function, reshape(call, x, (1,)), **attributes), ())


@lower("tanh", "sigmoid")
def _(call: Call, x: Any) -> Any:
    name = call.node.op.name
    if call.out.dtype == "float32":  # vectorised in float32 only, and as exact
        return activation(call, sym.Activation, x, act_type=name)
    return getattr(snp if name == "tanh" else npx, name)(x)


@lower("abs")
def _(call: Call, x: Any) -> Any:
    return snp.abs(x) if call.out.dtype in FLOATS else snp.maximum(x, snp.negative(x))  # MXNet's goes through doubles


@lower("sign")
def _(call: Call, x: Any) -> Any:
    if call.out.dtype not in FLOATS:
        return snp.sign(x)
    return snp.sign(x) + legacy(sym.clip, x, a_min=0.0, a_max=0.0)  # 0, or NaN; MXNet's sign of NaN is 0


@lower("cast")
def _(call: Call, x: Any) -> Any:
    return cast(x, call.out.dtype)


# -------------------------------------------------------------------------------------------------------------- reductions


@lower("sum", "prod", "max", "min", "all", "any")
def _(call: Call, x: Any) -> Any:
    name, axes, dtype = call.node.op.name, call.attrs["axis"], call.out.dtype
    if name == "sum" and dtype in FLOATS:
        return reshape(call, total(call, x, call.specs[0], axes), call.out.shape)
    extra = {"dtype": dtype} if dtype != call.specs[0].dtype else {}
    return reshape(call, getattr(snp, name)(x, axis=axes, **extra), call.out.shape)


def total(call: Call, x: Any, spec: TensorSpec, axes: Sequence[int]) -> Any:
    """The sum of floats, its axes kept as size 1: each run of neighbouring axes a product with ones. MXNet's sum takes ten times as long, and makes NaN of infinities."""
    shape = list(spec.shape)
    for last in reversed(axes):
        if shape[last] == 1:
            continue
        first = last
        while first - 1 in axes:
            first -= 1
        lead, count, trail = (math.prod(shape[part]) for part in (slice(first), slice(first, last + 1), slice(last + 1, None)))
        if lead != 1 and trail != 1:
            x = transpose(call, reshape(call, x, (lead, count, trail)), (lead, count, trail), (0, 2, 1))
        rows = lead == 1 and trail != 1
        x = reshape(call, x, (count, trail) if rows else (lead * trail, count))
        if isinstance(count, Dim):
            ones = snp.ones_like(internal.slice(x, begin=(0, 0), end=(None, 1) if rows else (1, None), step=(1, 1)))
        else:
            ones = call.build.literal(np.ones((count, 1) if rows else (1, count), spec.dtype))
        x = legacy(sym.dot, ones, x, transpose_a=True) if rows else legacy(sym.dot, x, ones, transpose_b=True)
        shape[first : last + 1] = [1] * (last + 1 - first)
        x = reshape(call, x, shape)
    return x


@lower("arg_max", "arg_min")
def _(call: Call, x: Any) -> Any:
    return getattr(internal, call.node.op.name.replace("_", ""))(x, axis=call.attrs["axis"], keepdims=call.attrs["keepdims"])


@lower("cumulative_sum")
def _(call: Call, x: Any) -> Any:
    return snp.cumsum(x, axis=call.attrs["axis"], dtype=call.out.dtype)


# ------------------------------------------------------------------------------------------------------------ manipulation


@lower("reshape")
def _(call: Call, x: Any) -> Any:
    return reshape(call, x, call.attrs["shape"])


def transpose(call: Call, x: Any, shape: Sequence[Any], axes: Sequence[int]) -> Any:
    """The dimensions in another order: by exchanges of two neighbouring blocks of them, for which MXNet has a kernel thirty times as fast as its general one."""
    order, wanted = list(range(len(shape))), list(axes)
    for place in range(len(wanted)):
        at = order.index(wanted[place])
        if at == place:
            continue
        end = at + 1
        while end < len(order) and wanted[place + end - at : place + end - at + 1] == [order[end]]:
            end += 1
        blocks = [math.prod(shape[i] for i in order[part]) for part in (slice(place), slice(place, at), slice(at, end), slice(end, None))]
        x = legacy(sym.transpose, reshape(call, x, blocks), axes=(0, 2, 1, 3))
        order[place:end] = [*order[at:end], *order[place:at]]
    return reshape(call, x, [shape[i] for i in order]) if wanted != list(range(len(shape))) else x


@lower("permute_dims")
def _(call: Call, x: Any) -> Any:
    return as_integers(lambda x: transpose(call, x, call.specs[0].shape, call.attrs["axes"]), call.out, x)


@lower("broadcast_to")
def _(call: Call, x: Any) -> Any:
    return broadcast(call, x, call.specs[0].shape, call.out.shape)


@lower("concat")
def _(call: Call, *arrays: Any) -> Any:
    return as_integers(lambda *xs: legacy(sym.Concat, *xs, dim=call.attrs["axis"]), call.out, *arrays)


@lower("split_sizes", when=lambda node: node.outputs[0].spec.is_float and len(set(node.attrs["sizes"])) == 1)
def _(call: Call, x: Any) -> Any:
    pieces = sym.SliceChannel(x.as_nd_ndarray(), num_outputs=len(call.outputs), axis=call.attrs["axis"])
    return tuple(s.as_np_ndarray() for s in pieces)


@lower("flip")
def _(call: Call, x: Any) -> Any:
    return as_integers(lambda x: snp.flip(x, axis=call.attrs["axis"]), call.out, x)


@lower("pad_constant")
def _(call: Call, x: Any) -> Any:
    return as_integers(lambda x: pad(call, x, call.specs[0].shape, call.attrs["widths"], call.attrs["value"]), call.out, x)


def pad(call: Call, x: Any, shape: Sequence[Any], widths: Sequence[Any], value: float = 0.0) -> Any:
    """``x`` joined with constants, axis by axis: twenty times as fast as MXNet's own padding, which also lacks ranks."""
    shape, dtype = list(shape), "uint8" if call.out.dtype == "bool" else call.out.dtype
    for axis, pair in enumerate(widths):
        pieces = [x]
        for place, width in zip((0, len(pieces)), pair, strict=True):
            if isinstance(width, Dim):
                raise call.refuse("padding by a symbolic size.", "trace the model for one batch size")
            if width:
                edge = [width if i == axis else s for i, s in enumerate(shape)]
                pieces.insert(place * len(pieces), constant(call, value, edge, dtype))
        shape[axis] += sum(pair)
        x = legacy(sym.Concat, *pieces, dim=axis) if len(pieces) > 1 else x
    return x


def constant(call: Call, value: float, shape: Sequence[Any], dtype: str) -> Any:
    """A tensor of one value."""
    number = internal.full(shape=(), value=float(value), dtype=dtype)
    return broadcast(call, number, (), shape) if any(isinstance(s, Dim) for s in shape) else internal.full(shape=tuple(shape), value=float(value), dtype=dtype)


# ---------------------------------------------------------------------------------------------------------------- indexing


@lower("slice")
def _(call: Call, x: Any) -> Any:
    return as_integers(lambda x: cut(call, x, call.specs[0].shape, call.attrs["start"], call.attrs["stop"], call.attrs["step"]), call.out, x)


def cut(call: Call, x: Any, shape: Sequence[Any], start: Sequence[Any], stop: Sequence[Any], step: Sequence[int] | None = None) -> Any:
    """A slice, axis by axis: MXNet's slice of several axes fails after a convolution, and has at most five dimensions."""
    shape = list(shape)
    for axis, (first, last, stride) in enumerate(zip(start, stop, step or (1,) * len(shape), strict=True)):
        if first == 0 and last == shape[axis] and stride == 1:
            continue
        if isinstance(first, Dim) or (isinstance(last, Dim) and last != shape[axis]):
            raise call.refuse("slicing at a symbolic size.", "trace the model for one batch size")
        last = None if last == shape[axis] else last
        if stride == 1:
            x = legacy(sym.slice_axis, x, axis=axis, begin=first, end=last)
            shape[axis] = shape[axis] - first if last is None else last - first
        else:
            x = reshape(call, x, (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])))
            x = internal.slice(x, begin=(None, first, None), end=(None, last, None), step=(1, stride, 1))
            shape[axis] = len(range(first, shape[axis] if last is None else last, stride))
            x = reshape(call, x, shape)
    return x


@lower("take")
def _(call: Call, x: Any, indices: Any) -> Any:
    if call.node.inputs[0] in call.build.sparse:  # it clips indices that are out of range, but its gradient refuses them
        rows, width = call.specs[0].shape
        return legacy(sym.Embedding, indices, x, input_dim=rows, output_dim=width, sparse_grad=True)
    return legacy(sym.take, x, indices, axis=call.attrs["axis"], mode="raise")  # the default clips indices that are out of range


@lower("arg_sort")
def _(call: Call, x: Any) -> Any:
    """MXNet's order of equal elements is any, and of NaN none. So: in any order, then once more by whole numbers that have none equal."""
    shape, axis, dtype = call.specs[0].shape, call.attrs["axis"], call.specs[0].dtype
    if any(isinstance(s, Dim) for s in shape):
        raise call.refuse("an order beside a symbolic size.", "trace the model for one batch size")
    axes = [*(i for i in range(len(shape)) if i != axis), axis]
    size, count = shape[axis], math.prod(shape[i] for i in axes[:-1])
    x = legacy(sym.BlockGrad, reshape(call, transpose(call, cast(x, "int32") if dtype == "bool" else x, shape, axes), (count, size)))
    nan = snp.isnan(x) if dtype in FLOATS else snp.not_equal(x, x)
    x = select(nan, internal.full(shape=(count, size), value=math.inf, dtype=dtype), x) if dtype in FLOATS else x
    order = cast(legacy(sym.argsort, x, axis=1, dtype="int64"), "int64")
    x, nan = (of_rows(call, v, order, count, size) for v in (x, cast(nan, "int64")))
    before, after = (cut(call, x, (count, size), (0, first), (count, first + size - 1)) for first in (0, 1))
    steps = legacy(sym.Concat, internal.full(shape=(count, 1), value=0, dtype="int64"), cast(snp.not_equal(before, after), "int64"), dim=1)
    rank = snp.cumsum(cast(steps, "int64"), axis=1, dtype="int64") + nan  # NaN stands last, among the infinities
    key = (snp.negative(rank) if call.attrs["descending"] else rank) * size + order
    key = cast(legacy(sym.sort, key, axis=1), "int64")
    found = cast(key - size * cast(snp.floor(internal.true_divide_scalar(cast(key, "float64"), scalar=float(size))), "int64"), "int64")
    return transpose(call, reshape(call, found, [shape[i] for i in axes]), [shape[i] for i in axes], [axes.index(i) for i in range(len(shape))])


@lower("take_gradient")
def _(call: Call, g: Any, indices: Any) -> Any:
    axis, size, (g_spec, i_spec) = call.attrs["axis"], call.attrs["size"], call.specs
    lead, trail = g_spec.shape[:axis], g_spec.shape[axis + len(i_spec.shape) :]
    rows = (math.prod(lead), math.prod(i_spec.shape), math.prod(trail))
    rows_first = transpose(call, reshape(call, g, rows), rows, (1, 0, 2))
    total = scatter_add(rows_first, [reshape(call, indices, (-1,))], (size, rows[0], rows[2]))
    return reshape(call, transpose(call, total, (size, rows[0], rows[2]), (1, 0, 2)), call.out.shape)


def scatter_add(values: Any, indices: Sequence[Any], shape: Sequence[int]) -> Any:
    """Zeros of this shape, to which values are added at indices along the leading dimensions; indices that point outside are pulled in, since MXNet writes anywhere."""
    inside = [internal.minimum_scalar(internal.maximum_scalar(i, scalar=0.0), scalar=float(n - 1)) for i, n in zip(indices, shape, strict=False)]
    places = snp.stack(inside, axis=0)
    return legacy(scatter, values, places, shape=tuple(shape))


def of_rows(call: Call, x: Any, indices: Any, rows: int, size: int) -> Any:
    """The elements of ``rows`` rows of this size, whatever the shape in which they come, at the indices that each row has."""
    return legacy(sym.take, reshape(call, x, (-1,)), indices + call.build.literal(np.arange(rows, dtype="int64")[:, None] * size))


@lower("take_along_axis", when=lambda node: node.inputs[1].spec.shape[node.attrs["axis"]] == 1 and node.outputs[0].spec.dtype != "bool")
def _(call: Call, x: Any, indices: Any) -> Any:
    axis = call.attrs["axis"]
    last = call.build.kept.get(("axis last", call.node.inputs[0], axis))
    indices = snp.squeeze(indices, axis=axis)
    return npx.pick(x, indices, axis=axis, keepdims=True) if last is None else reshape(call, npx.pick(last, indices, axis=-1), call.out.shape)

"""Every primitive but convolution, and the composites that TensorFlow has an equal kernel for.

A lowering runs once per node while a function is traced. It calls raw ops, one kernel each: the public functions around them do the same and take several
times as long to trace. Sizes that are symbolic in the graph arrive as int64 tensors.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unimodel.backend import Lowerings, literal
from unimodel.graph import FLOATS, TensorSpec
from unimodel_tensorflow.arrays import tf
from unimodel_tensorflow.kernels import barrier, raw

lower = Lowerings()

_constants: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()


def constant(value: Any, dtype: str = "int64") -> Any:
    """A constant of the function being traced; equal ones are one."""
    array = np.asarray(value, dtype)
    known = _constants.setdefault(tf.compat.v1.get_default_graph(), {})
    key = (dtype, array.shape, array.tobytes())
    if key not in known:
        with tf.control_dependencies(None):
            known[key] = tf.constant(array, tf.as_dtype(dtype))
    return known[key]


def number(size: Any) -> Any:
    """A size as a tensor."""
    return constant(size) if isinstance(size, int) else size


def shape_tensor(shape: Sequence[Any], dtype: str = "int64") -> Any:
    """A shape some sizes of which are known at run time only."""
    if all(isinstance(s, int) for s in shape):
        return constant(shape, dtype)
    return cast(raw.Pack(values=list(map(number, shape))), dtype)


def open_shape(spec: TensorSpec) -> list[int | None]:
    """A shape as TensorFlow knows it while it traces."""
    return [s if isinstance(s, int) else None for s in spec.shape]


def cast(x: Any, dtype: str) -> Any:
    return x if x.dtype.name == dtype else raw.Cast(x=x, DstT=tf.as_dtype(dtype))


def reshape(x: Any, shape: Sequence[Any]) -> Any:
    open_sizes = [i for i, s in enumerate(shape) if not isinstance(s, int)]
    if len(open_sizes) == 1 and 0 not in [s for s in shape if isinstance(s, int)]:
        shape = [-1 if i in open_sizes else s for i, s in enumerate(shape)]
    return raw.Reshape(tensor=x, shape=shape_tensor(shape))


def transpose(x: Any, axes: Sequence[int]) -> Any:
    if x.dtype == tf.int64:  # oneDNN writes to stderr that it would rather not
        return raw.Bitcast(input=raw.Transpose(x=raw.Bitcast(input=x, type=tf.float64), perm=constant(axes, "int32")), type=tf.int64)
    return raw.Transpose(x=x, perm=constant(axes, "int32"))


UNARY = {
    "negative": raw.Neg, "abs": raw.Abs, "sign": raw.Sign, "exp": raw.Exp, "expm1": raw.Expm1, "log": raw.Log, "log1p": raw.Log1p,
    "sqrt": raw.Sqrt, "sin": raw.Sin, "cos": raw.Cos, "tanh": raw.Tanh, "sigmoid": raw.Sigmoid, "logical_not": raw.LogicalNot, "square": raw.Square,
    "asinh": raw.Asinh, "erfinv": raw.Erfinv, "erfc": raw.Erfc, "lgamma": raw.Lgamma, "digamma": raw.Digamma, "rsqrt": raw.Rsqrt,
    "floor": raw.Floor, "ceil": raw.Ceil, "round": raw.Round, "isnan": raw.IsNan, "isfinite": raw.IsFinite,
}  # fmt: skip  # a table reads better in rows
BINARY = {
    "add": raw.AddV2, "subtract": raw.Sub, "multiply": raw.Mul, "true_divide": raw.RealDiv, "pow": raw.Pow, "logical_and": raw.LogicalAnd,
    "logical_or": raw.LogicalOr, "logical_xor": raw.NotEqual, "equal": raw.Equal, "not_equal": raw.NotEqual, "bitwise_and": raw.BitwiseAnd,
    "maximum": raw.Maximum, "minimum": raw.Minimum, "less": raw.Less, "less_equal": raw.LessEqual, "greater": raw.Greater, "greater_equal": raw.GreaterEqual,
}  # fmt: skip  # a table reads better in rows

WITH_ATTRIBUTES: dict[str, Callable[..., Any]] = {
    "extent": lambda node: cast(number(node.attrs["dim"]), node.attrs["dtype"]),
    "cast": lambda node, x: cast(x, node.attrs["dtype"]),
    "reshape": lambda node, x: reshape(x, node.attrs["shape"]),
    "permute_dims": lambda node, x: transpose(x, node.attrs["axes"]),
    "broadcast_to": lambda node, x: raw.BroadcastTo(input=x, shape=shape_tensor(node.attrs["shape"])),
    "flip": lambda node, x: raw.ReverseV2(tensor=x, axis=constant(node.attrs["axis"], "int32")),
    "cumulative_sum": lambda node, x: raw.Cumsum(x=cast(x, node.outputs[0].spec.dtype), axis=constant(node.attrs["axis"], "int32")),
    "triangular_solve": lambda node, a, b: raw.MatrixTriangularSolve(matrix=a, rhs=b, lower=not node.attrs["upper"]),
}

for _name, _lowering in WITH_ATTRIBUTES.items():
    lower(_name)(_lowering)
for _name, _kernel in UNARY.items():
    lower(_name)(lambda node, x, kernel=_kernel: kernel(x=x))
for _name, _kernel in BINARY.items():
    lower(_name)(lambda node, x, y, kernel=_kernel: kernel(x=x, y=y))
lower.calls(
    atan2=lambda x, y: raw.Atan2(y=x, x=y),
    stop_gradient=lambda x: raw.StopGradient(input=x),
    cholesky_factor=lambda x: raw.Cholesky(input=x),
    solve_square=lambda a, b: raw.MatrixSolve(matrix=a, rhs=b),
    slogdet=lambda x: raw.LogMatrixDeterminant(input=x),
    eigen_symmetric=lambda x: raw.SelfAdjointEigV2(input=x),
    thin_qr=lambda x: raw.Qr(input=x),
)


# ------------------------------------------------------------------------------------------------------------- elementwise


@lower("constant")
def _(node: Any) -> Any:
    return constant(literal(node), node.attrs["dtype"])


@lower("iota")
def _(node: Any) -> Any:
    start, stop, step, dtype = (node.attrs[k] for k in ("start", "stop", "step", "dtype"))
    if isinstance(start, (int, float)) and isinstance(stop, (int, float)):
        return constant(np.arange(start, stop, step).astype(dtype), dtype)
    return cast(raw.Range(start=number(start), limit=number(stop), delta=number(step)), dtype)


@lower("erf")
def _(node: Any, x: Any) -> Any:
    if x.dtype == tf.float64:  # that kernel gives NaN at infinity; erf is 1 to the last bit from 6 on
        x = raw.Minimum(x=raw.Maximum(x=x, y=constant(-30.0, "float64")), y=constant(30.0, "float64"))
    return raw.Erf(x=x)


@lower("floor_divide", "remainder")
def _(node: Any, x: Any, y: Any) -> Any:
    division = node.op.name == "floor_divide"
    dtype = node.outputs[0].spec.dtype
    zero = raw.Equal(x=y, y=constant(0, dtype))
    if dtype not in FLOATS:  # the kernel raises where a divisor is 0; the answer there is NumPy's 0
        one = raw.SelectV2(condition=zero, t=constant(1, dtype), e=y)
        return raw.SelectV2(condition=zero, t=constant(0, dtype), e=(raw.FloorDiv if division else raw.FloorMod)(x=x, y=one))
    rest = raw.FloorMod(x=x, y=y)
    if not division:
        return rest
    # from the exact remainder: x / y may round up to the next integer
    return raw.SelectV2(condition=zero, t=raw.RealDiv(x=x, y=y), e=raw.Round(x=raw.RealDiv(x=raw.Sub(x=x, y=rest), y=y)))


@lower("where")
def _(node: Any, condition: Any, x: Any, y: Any) -> Any:
    # relu's gradient: Select takes a third of SelectV2's time, and wants equal shapes
    if x is constant(0, x.dtype.name) and node.inputs[0].spec.shape == node.inputs[2].spec.shape:
        return raw.Select(condition=condition, x=raw.ZerosLike(x=y), y=y)
    return raw.SelectV2(condition=condition, t=x, e=y)


@lower("relu")
def _(node: Any, x: Any) -> Any:
    # TensorFlow joins Relu with a convolution, product or batch norm before it into kernels that make 0 of NaN
    return raw.Maximum(x=x, y=constant(0, x.dtype.name))


@lower("log_softmax", when=lambda node: node.attrs["axis"] == node.outputs[0].spec.ndim - 1)
def _(node: Any, x: Any) -> Any:
    return raw.LogSoftmax(logits=x)


# -------------------------------------------------------------------------------------------------------------- reductions


def total(x: Any, axes: Sequence[int], keep_dims: bool = False) -> Any:
    """The sum over some axes. The kernel adds rows one by one, so rows that stand in several dimensions are added in two stages, to keep the digits."""
    inner = [a for a in axes if a]
    if x.dtype.is_floating and inner and len(inner) < len(axes) and x.shape.rank - 1 not in axes:
        x, axes = raw.Sum(input=x, axis=constant(inner, "int32"), keep_dims=keep_dims), [0]
    return raw.Sum(input=x, axis=constant(axes, "int32"), keep_dims=keep_dims)


@lower("sum", "prod", "max", "min", "all", "any")
def _(node: Any, x: Any) -> Any:
    x = cast(x, node.outputs[0].spec.dtype)
    if node.op.name == "sum":
        return total(x, node.attrs["axis"], node.attrs["keepdims"])
    kernel = {"prod": raw.Prod, "max": raw.Max, "min": raw.Min, "all": raw.All, "any": raw.Any}[node.op.name]
    return kernel(input=x, axis=constant(node.attrs["axis"], "int32"), keep_dims=node.attrs["keepdims"])


@lower("arg_max", "arg_min")
def _(node: Any, x: Any) -> Any:
    kernel = raw.ArgMax if node.op.name == "arg_max" else raw.ArgMin
    axis = constant(node.attrs["axis"], "int32")
    found = kernel(input=x, dimension=axis)
    if x.dtype.is_floating:  # the first NaN is both largest and smallest, and the kernels pass over it
        nan = raw.IsNan(x=x)
        first = raw.ArgMax(input=cast(nan, "int32"), dimension=axis)
        found = raw.SelectV2(condition=raw.Any(input=nan, axis=axis), t=first, e=found)
    return raw.ExpandDims(input=found, axis=axis) if node.attrs["keepdims"] else found


# ------------------------------------------------------------------------------------------------------------ manipulation


@lower("concat")
def _(node: Any, *arrays: Any) -> Any:
    return raw.ConcatV2(values=arrays, axis=constant(node.attrs["axis"], "int32")) if len(arrays) > 1 else arrays[0]


@lower("pad_constant")
def _(node: Any, x: Any) -> Any:
    widths = node.attrs["widths"]
    known = all(isinstance(n, int) for pair in widths for n in pair)
    paddings = constant(widths) if known else raw.Pack(values=[shape_tensor(pair) for pair in widths])
    return raw.PadV2(input=x, paddings=paddings, constant_values=constant(node.attrs["value"], x.dtype.name)) if widths else x


@lower("slice")
def _(node: Any, x: Any) -> Any:
    start, stop, step = (node.attrs[k] for k in ("start", "stop", "step"))
    sizes = zip(node.inputs[0].spec.shape, node.outputs[0].spec.shape, strict=True)
    whole = [a == b and s == 1 for (a, b), s in zip(sizes, step, strict=True)]  # masked, so that symbolic sizes stay out of the bounds
    mask = sum(1 << i for i, w in enumerate(whole) if w)
    begin, end = ([0 if w else n for w, n in zip(whole, bounds, strict=True)] for bounds in (start, stop))
    return raw.StridedSlice(input=x, begin=shape_tensor(begin), end=shape_tensor(end), strides=constant(step), begin_mask=mask, end_mask=mask)


# ---------------------------------------------------------------------------------------------------------------- indexing


@lower("take")
def _(node: Any, x: Any, indices: Any) -> Any:
    if x.dtype != tf.resource:
        return raw.GatherV2(params=x, indices=indices, axis=constant(node.attrs["axis"], "int32"))
    found = raw.ResourceGather(resource=x, indices=indices, dtype=tf.as_dtype(node.outputs[0].spec.dtype))  # of a table in its variable
    found.set_shape(open_shape(node.outputs[0].spec))
    return found


@lower("take_gradient")
def _(node: Any, g: Any, indices: Any) -> Any:
    axis, rank = node.attrs["axis"], node.inputs[1].spec.ndim
    if axis:
        g = transpose(g, [*range(axis, axis + rank), *range(axis), *range(axis + rank, g.shape.rank)])
    found = raw.UnsortedSegmentSum(data=g, segment_ids=indices, num_segments=number(node.attrs["size"]))
    return transpose(found, [*range(1, axis + 1), 0, *range(axis + 1, found.shape.rank)]) if axis else found


def _to_last(x: Any, axis: int) -> Any:
    """One axis moved to the end; exchanging it with the last does, and undoes itself."""
    axes = list(range(x.shape.rank))
    axes[axis], axes[-1] = axes[-1], axes[axis]
    return transpose(x, axes) if axis != axes[axis] else x


@lower("arg_sort")
def _(node: Any, x: Any) -> Any:
    axis = node.attrs["axis"]
    keys = _to_last(_ordinal(x), axis)  # of the largest; of equals the kernel takes the first first
    keys = keys if node.attrs["descending"] else raw.Invert(x=keys)  # -1 - x, which has no overflow
    order = raw.TopKV2(input=keys, k=cast(number(node.writer.resolve(node.inputs[0].spec.shape[axis])), "int32"), sorted=True).indices
    return _to_last(cast(order, "int64"), axis)


def _ordinal(x: Any) -> Any:
    """Integers in the order of ``x``: a float's bits, those of negative ones turned around, the zeros as one, and NaN as the largest."""
    if not x.dtype.is_floating:
        return cast(x, "int32") if x.dtype == tf.bool else x
    x = x if x.dtype == tf.float64 else cast(x, "float32")
    for odd, plain in ((raw.Equal(x=x, y=constant(0, x.dtype.name)), 0.0), (raw.IsNan(x=x), math.nan)):
        x = raw.SelectV2(condition=odd, t=constant(plain, x.dtype.name), e=x)
    bits = raw.Bitcast(input=x, type=tf.int64 if x.dtype == tf.float64 else tf.int32)
    turned = raw.BitwiseXor(x=bits, y=constant(bits.dtype.max, bits.dtype.name))
    return raw.SelectV2(condition=raw.Less(x=bits, y=constant(0, bits.dtype.name)), t=turned, e=bits)


@lower("take_along_axis")
def _(node: Any, x: Any, indices: Any) -> Any:
    axis, last = node.attrs["axis"], x.shape.rank - 1
    found = raw.GatherV2(params=_to_last(x, axis), indices=_to_last(indices, axis), axis=constant(last, "int32"), batch_dims=last)
    return _to_last(found, axis)


# ----------------------------------------------------------------------------------------------------------- linear algebra


@lower("thin_svd")
def _(node: Any, x: Any) -> Any:
    s, u, v = raw.Svd(input=x, full_matrices=False)
    return u, s, transpose(v, [*range(v.shape.rank - 2), v.shape.rank - 1, v.shape.rank - 2])


@lower("matmul")
def _(node: Any, *_: Any) -> Any:
    left, right = (v.spec.ndim for v in node.inputs)
    (x, flip_x), (y, flip_y) = node.matrix(0), node.matrix(1)
    inner = node.inputs[1].spec.shape[-2]
    if node.writer.xla and flip_x and left == 2:  # left alone, XLA reads the columns where they are, which is up to twice as slow
        x, flip_x = barrier(transpose(x, [1, 0])), False
    if left > 2 and right == 2 and not flip_x and isinstance(inner, int):  # a stack times one matrix is one tall product
        return reshape(raw.MatMul(a=raw.Reshape(tensor=x, shape=constant([-1, inner])), b=y, transpose_b=flip_y), node.shape)
    # of a row's product with a transposed matrix, where its sums are long, the kernel for stacks takes 0.6 to 0.85 of the time
    if left == right == 2 and (flip_x or not flip_y or not isinstance(inner, int) or inner < 1024):
        return raw.MatMul(a=x, b=y, transpose_a=flip_x, transpose_b=flip_y)
    return raw.BatchMatMulV2(x=x, y=y, adj_x=flip_x, adj_y=flip_y)


# -------------------------------------------------------------------------------------------------------- recurrent layers


@lower("split_sizes")
def _(node: Any, x: Any) -> Any:
    sizes, axis = node.attrs["sizes"], constant(node.attrs["axis"], "int32")
    return raw.SplitV(value=x, size_splits=constant(sizes), axis=axis, num_split=len(sizes))


@lower("lstm", when=lambda node: node.outputs[0].spec.dtype == "float32" and node.inputs[7] is None)
def _(node: Any, x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any) -> Any:
    length, _, size = node.outputs[0].spec.shape

    def turned(t: Any) -> Any:
        return raw.ReverseV2(tensor=t, axis=constant([0], "int32")) if node.attrs["reverse"] else t

    biases = [b for b in (b_ih, b_hh) if b is not None]
    nothing = constant(np.zeros(size), "float32")
    found = raw.BlockLSTMV2(
        seq_len_max=constant(length),
        x=turned(x),
        cs_prev=c,
        h_prev=h,
        w=transpose(raw.ConcatV2(values=[w_ih, w_hh], axis=constant(1, "int32")), (1, 0)),
        b=raw.AddN(inputs=biases) if biases else constant(np.zeros(4 * size), "float32"),
        **dict.fromkeys(("wci", "wcf", "wco"), nothing),
        cell_clip=0.0,
    )

    def last(t: Any) -> Any:
        return raw.GatherV2(params=t, indices=constant(length - 1), axis=constant(0, "int32"))

    gates = raw.ConcatV2(values=[found.i, found.f, found.ci, found.o], axis=constant(2, "int32"))
    return turned(found.h), last(found.h), last(found.cs), turned(found.cs), turned(gates)

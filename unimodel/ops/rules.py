"""Shape rules that many ops share: broadcasting, reduced axes, and the checks whose messages users read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unimodel.dim import Dim, Size, Specialise, symbols_of
from unimodel.errors import ShapeError
from unimodel.graph import FLOATS, TensorSpec
from unimodel.op import Canonical

EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
"""The distance from 1 to the next number of a dtype."""

BOTH = ("x1", "x2")
"""The operands of a binary op, which meet in one dtype."""


def sizes_agree(a: Size, b: Size) -> bool:
    """Whether two sizes are equal; where that depends on a symbol, the trace starts anew with its number."""
    if a != b and symbols_of((a, b)):
        raise Specialise(symbols_of((a, b)))
    return a == b


def shapes_agree(a: tuple[Size, ...], b: tuple[Size, ...]) -> bool:
    """Whether two shapes are equal, see ``sizes_agree``; a size that differs anyhow decides first."""
    if len(a) != len(b) or any(p != q and not symbols_of((p, q)) for p, q in zip(a, b, strict=True)):
        return False
    return all(sizes_agree(p, q) for p, q in zip(a, b, strict=True))


def broadcast_shapes(*shapes: tuple[Size, ...]) -> tuple[Size, ...]:
    """The shape NumPy's broadcasting gives."""
    rank = max(len(s) for s in shapes)
    result: list[Size] = []
    for axis in range(-rank, 0):
        sizes = {s[axis] for s in shapes if len(s) >= -axis} - {1}
        if len(sizes) > 1:
            symbols = symbols_of(tuple(sizes))
            if symbols:
                raise Specialise(symbols)  # they may be equal for the present sizes
            raise ShapeError(
                "these shapes do not broadcast together.",
                expected="sizes that are equal or 1, aligned from the last dimension",
                given=" and ".join(str(s) for s in shapes),
                remedy="reshape one of them (x.reshape(...), um.ops.expand_dims) or check the layer before",
            )
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def same_kind(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """The rule of arithmetic: broadcast shapes, one dtype."""
    return TensorSpec(broadcast_shapes(x1.shape, x2.shape), x1.dtype)


def need_number(x: TensorSpec) -> TensorSpec:
    """A tensor with numbers in it, which booleans are not: PyTorch and the Array API standard refuse the same."""
    if x.dtype == "bool":
        raise ShapeError(
            "booleans are no numbers here.",
            expected="integers or floats",
            given=str(x),
            remedy="count with um.ops.astype(mask, 'int64'); ~mask is the opposite, and um.ops.logical_xor says where two differ",
        )
    return x


def same_number(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """The rule of arithmetic that booleans have no part in."""
    need_number(x1)
    return same_kind(x1, x2)


def need_float(x: TensorSpec, what: str = "the input") -> None:
    if x.dtype not in FLOATS:
        raise ShapeError(f"{what} must be floating.", expected="a float dtype", given=str(x), remedy="convert it with um.ops.astype(x, 'float32')")


def need_integer(x: TensorSpec, what: str) -> None:
    if x.dtype not in ("int32", "int64"):
        raise ShapeError(f"{what} must be integers.", expected="int32 or int64", given=str(x), remedy="convert them with .astype('int64') before feeding them")


def need_rank(x: TensorSpec, rank: int | tuple[int, ...], what: str, meaning: str) -> None:
    ranks = (rank,) if isinstance(rank, int) else rank
    if x.ndim not in ranks:
        raise ShapeError(
            f"{what} must have {' or '.join(map(str, ranks))} dimensions.",
            expected=meaning,
            given=str(x),
            remedy="add the missing dimension (um.ops.expand_dims), or flatten those that are too many",
        )


def axis_index(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ShapeError(
            f"axis {axis} does not exist.",
            expected=f"an axis in [{-rank}, {rank})",
            given=f"a tensor of {rank} dimensions",
            remedy="count the axes from 0, or from -1 backwards",
        )
    return axis % rank if rank else 0


def axes_of(axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(rank))
    axes = tuple(axis_index(a, rank) for a in ((axis,) if isinstance(axis, int) else axis))
    if len(set(axes)) != len(axes):
        raise ShapeError("an axis is named twice.", given=axis, remedy="name each axis once; -1 is the last one")
    return tuple(sorted(axes))


def reduced(x: TensorSpec, axis: tuple[int, ...], keepdims: bool, dtype: str | None = None) -> TensorSpec:
    shape = tuple(1 if i in axis else s for i, s in enumerate(x.shape) if keepdims or i not in axis)
    return TensorSpec(shape, dtype or x.dtype)


def canonical_axes(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    attrs["axis"] = axes_of(attrs["axis"], specs[0].ndim)


def canonical_axis(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    attrs["axis"] = axis_index(attrs["axis"], specs[0].ndim)


def canonical_spatial(*names: str) -> Canonical:
    """Attributes that are one number or one per spatial dimension, as one per dimension; a padding also as (before, after) pairs."""

    def canonical(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
        rank = specs[0].ndim - 2
        for name in names:
            value = attrs[name]
            values = (value,) * rank if isinstance(value, int) else tuple(value)
            if len(values) == 1 and rank > 1:
                values = values * rank
            if len(values) != rank:
                raise ShapeError(
                    f"{name} needs one number, or one per spatial dimension.",
                    expected=f"{rank} numbers",
                    given=value,
                    remedy="give one number, or check the input's rank: images are (N, C, H, W)",
                )
            if name == "padding":
                values = attrs[name] = tuple((v, v) if isinstance(v, int) else tuple(v) for v in values)
                wrong = any(n < 0 for pair in attrs[name] for n in pair)
            else:
                wrong = any(n < 1 for n in values)
            if wrong:
                raise ShapeError(
                    f"{name} is too small.", expected="at least 0" if name == "padding" else "at least 1", given=value, remedy=f"give a larger {name}"
                )
            attrs[name] = values

    return canonical


def known(size: Size) -> int:
    """A size as a number; a symbolic one makes the trace start anew with its number."""
    if isinstance(size, Dim):
        raise Specialise(size.symbols)
    return size

"""What a dtype is, as the Array API standard asks for it: https://data-apis.org/array-api/latest/API_specification/data_type_functions.html

A dtype is its name, a str, as ``x.dtype`` gives it; NumPy's dtypes and tensors are taken in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unimodel.errors import ShapeError
from unimodel.graph import FLOATS, INTEGERS
from unimodel.tracing import promote

__all__ = [
    "can_cast",
    "finfo",
    "iinfo",
    "isdtype",
    "result_type",
]

KINDS = {
    "bool": ("bool",),
    "signed integer": INTEGERS,
    "unsigned integer": (),
    "integral": INTEGERS,
    "real floating": FLOATS,
    "complex floating": (),
    "numeric": INTEGERS + FLOATS,
}
"""The dtypes of tensors by the standard's kinds."""


@dataclass(frozen=True)
class FloatInfo:
    """The limits of a floating dtype: its bits, the distance from 1 to the next number, and the largest, least and smallest positive normal numbers."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: str


@dataclass(frozen=True)
class IntInfo:
    """The limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: str


def _name(value: Any) -> str:
    """The dtype's name: of a tensor, of NumPy's or Python's type, or as it is given."""
    value = value if isinstance(value, type) else getattr(value, "dtype", value)
    name = value if isinstance(value, str) else np.dtype(value).name
    if name not in KINDS["numeric"] + KINDS["bool"]:
        raise ShapeError("tensors have no such dtype.", expected=", ".join(KINDS["bool"] + KINDS["numeric"]), given=name)
    return name


def finfo(type: Any) -> FloatInfo:
    """The limits of a floating dtype, or of a tensor's: ``um.ops.finfo(x.dtype).min``, as masks need it."""
    name = _name(type)
    if name not in KINDS["real floating"]:
        raise ShapeError("finfo is for floating dtypes.", given=name, remedy="um.ops.iinfo is for integers")
    if name == "bfloat16":
        return FloatInfo(16, 2.0**-7, 3.3895313892515355e38, -3.3895313892515355e38, 2.0**-126, name)
    info = np.finfo(name)
    return FloatInfo(info.bits, float(info.eps), float(info.max), float(info.min), float(info.smallest_normal), name)


def iinfo(type: Any) -> IntInfo:
    """The limits of an integer dtype, or of a tensor's."""
    name = _name(type)
    if name not in KINDS["integral"]:
        raise ShapeError("iinfo is for integer dtypes.", given=name, remedy="um.ops.finfo is for floats")
    info = np.iinfo(name)
    return IntInfo(info.bits, int(info.max), int(info.min), name)


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind ("bool", "integral", "real floating", "numeric", …), is another dtype, or is any of a tuple of these."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    return _name(dtype) in (KINDS[kind] if isinstance(kind, str) and kind in KINDS else (_name(kind),))


def result_type(*arrays_and_dtypes: Any) -> str:
    """The dtype in which tensors and dtypes meet: the wider of one kind, and a float beside integers, as in PyTorch."""
    return promote([_name(x) for x in arrays_and_dtypes])


def can_cast(from_: Any, to: Any) -> bool:
    """Whether a dtype, or a tensor's, becomes another where it meets it."""
    return result_type(from_, to) == _name(to)

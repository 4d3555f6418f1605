"""The Array API's questions about dtypes have the answers that NumPy and PyTorch give."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel.errors import ShapeError

FLOATS, INTEGERS = ("float16", "float32", "float64"), ("int32", "int64")


@pytest.mark.parametrize("dtype", FLOATS)
def test_finfo(dtype: str) -> None:
    ours, numpys = um.ops.finfo(dtype), np.finfo(dtype)
    for name in ("bits", "eps", "max", "min", "smallest_normal"):
        assert getattr(ours, name) == getattr(numpys, name) and type(getattr(ours, name)) in (int, float)
    assert ours.dtype == dtype


@pytest.mark.parametrize("dtype", INTEGERS)
def test_iinfo(dtype: str) -> None:
    ours, numpys = um.ops.iinfo(np.zeros(1, dtype)), np.iinfo(dtype)
    assert (ours.bits, ours.max, ours.min, ours.dtype) == (numpys.bits, numpys.max, numpys.min, dtype)


@pytest.mark.torch_oracle
def test_what_pytorch_says() -> None:
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    theirs = torch.finfo(torch.bfloat16)
    ours = um.ops.finfo("bfloat16")
    assert (ours.bits, ours.eps, ours.max, ours.min, ours.smallest_normal) == (theirs.bits, theirs.eps, theirs.max, theirs.min, theirs.smallest_normal)
    for a, b in itertools.product(("bool", *INTEGERS, *FLOATS, "bfloat16"), repeat=2):
        assert um.ops.result_type(a, b) == str(torch.promote_types(getattr(torch, a), getattr(torch, b))).removeprefix("torch.")


def test_inside_a_step() -> None:
    def lowest(x: Any) -> Any:
        return um.ops.where(x > 0, x, um.ops.finfo(x.dtype).min)

    assert um.run(lowest, np.array([-1.0, 2.0], "float32"))[0] == np.finfo("float32").min


def test_kinds() -> None:
    assert um.ops.isdtype("float32", "real floating") and um.ops.isdtype(np.float64, ("bool", "numeric")) and um.ops.isdtype("int64", "int64")
    assert not um.ops.isdtype("bool", "numeric") and not um.ops.isdtype("float32", "complex floating") and not um.ops.isdtype("int32", "int64")
    assert um.ops.can_cast("int32", "int64") and um.ops.can_cast(np.zeros(1, "float32"), "float64") and not um.ops.can_cast("float64", "float32")


@pytest.mark.parametrize(("call", "words"), [
    (lambda: um.ops.finfo("int64"), "iinfo is for integers"),
    (lambda: um.ops.iinfo("float32"), "finfo is for floats"),
    (lambda: um.ops.result_type("float32", "complex64"), "complex64"),
])  # fmt: skip  # a table reads better in rows
def test_other_dtypes_are_refused(call: Any, words: str) -> None:
    with pytest.raises(ShapeError, match=words) as caught:
        call()
    assert caught.value.source is not None and caught.value.source.file == __file__

"""Ops refuse what they are not for while tracing, at the user's line and with a remedy: booleans where numbers are needed, integers where floats are, bounds beyond the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import ops
from unimodel.errors import ShapeError

MASK, FLOATS, COUNTS = np.array([[True, False], [True, True]]), np.ones((2, 2), "float32"), np.arange(16).reshape(1, 1, 4, 4)

BOOLEANS: dict[str, Callable[[Any], Any]] = {
    "subtract": lambda m: m - m,
    "negative": lambda m: -m,
    "positive": ops.positive,
    "abs": ops.abs,
    "sign": ops.sign,
    "square": ops.square,
    "floor_divide": lambda m: m // m,
    "remainder": lambda m: m % m,
    "pow": lambda m: m**m,
    "floor": ops.floor,
    "ceil": ops.ceil,
    "round": ops.round,
    "trunc": ops.trunc,
    "argmax": ops.argmax,
    "argmin": lambda m: ops.argmin(m, axis=1),
    **{name: getattr(ops, name) for name in ("relu", "leaky_relu", "elu", "celu", "gelu", "softsign", "hardtanh", "relu6", "hardsigmoid", "hardswish")},
    **{name: getattr(ops, name) for name in ("hardshrink", "softshrink")},
    "threshold": lambda m: ops.threshold(m, 0.5, 1.0),
    "prelu": lambda m: ops.prelu(m, np.ones(1)),
}
"""What PyTorch 2.13 refuses of booleans; sign and square it computes, and the Array API standard, which has numbers alone for all of these, refuses."""


@pytest.mark.parametrize("name", BOOLEANS)
def test_booleans_are_no_numbers(name: str) -> None:
    call = BOOLEANS[name]
    with pytest.raises(ShapeError, match="booleans are no numbers") as caught:
        um.run(lambda m: call(m), MASK)
    assert caught.value.remedy and caught.value.source is not None and caught.value.source.file == __file__


@pytest.mark.torch_oracle
def test_pytorch_refuses_them_too() -> None:
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    b = torch.tensor(MASK)
    F = torch.nn.functional
    others = {"threshold": lambda x: F.threshold(x, 0.5, 1.0), "prelu": lambda x: F.prelu(x, torch.ones(1))}
    for name in BOOLEANS.keys() - {"sign", "square"}:
        function = others.get(name) or getattr(torch, name, None) or getattr(F, name)
        given = (b, b) if name in ("subtract", "floor_divide", "remainder", "pow") else (b,)
        with pytest.raises(RuntimeError):
            function(*given)


def test_what_booleans_are_good_for() -> None:
    results = um.run(
        lambda m, x: (m + m, m * m, ops.maximum(m, m), ops.sum(m), ops.mean(m), ops.max(m), ops.cumulative_sum(m, 0), 1 - m, x - m, ops.divide(m, 2)),
        MASK,
        FLOATS,
    )
    dtypes = [r.dtype.name for r in results]
    assert dtypes == ["bool", "bool", "bool", "int64", "float32", "bool", "int64", "int64", "float32", "float32"]


INTEGERS: dict[str, Callable[[Any], Any]] = {
    "layer_norm": lambda x: ops.layer_norm(x, (4,)),
    "rms_norm": lambda x: ops.rms_norm(x, (4,)),
    "group_norm": lambda x: ops.group_norm(x, 1),
    "batch_norm": lambda x: um.nn.functional.batch_norm(x, None, None, training=True),
    "batch_norm_inference": lambda x: um.nn.functional.batch_norm(x, np.zeros(1), np.ones(1)),
    "instance_norm": um.nn.functional.instance_norm,
    "local_response_norm": lambda x: ops.local_response_norm(x, 2),
    "max_pool": lambda x: ops.max_pool2d(x, 2),
    "avg_pool": lambda x: ops.avg_pool2d(x, 2),
    "true_divide": lambda x: ops.true_divide(x, x),
    "a norm as a layer": lambda x: um.nn.RMSNorm(4)(x),
}


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("array", [COUNTS, COUNTS > 3], ids=["integers", "booleans"])
def test_norms_and_pools_are_of_floats(name: str, array: np.ndarray) -> None:
    call = INTEGERS[name]
    with pytest.raises(ShapeError, match="must be floating") as caught:
        um.run(lambda x: call(x), array) if name != "a norm as a layer" else call(array)
    assert "astype" in str(caught.value) and caught.value.source is not None and caught.value.source.file == __file__


PIECES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "too few": (lambda x: ops.split(x, [1, 1], 3), "add up to 4"),
    "too many": (lambda x: ops.split(x, [2, 3], 3), "add up to 4"),
    "one": (lambda x: ops.split(x, [3], 3), "add up to 4"),
    "below 0": (lambda x: ops.split(x, [5, -1], 3), "add up to 4"),
    "of nothing": (lambda x: ops.split(x, 0, 3), "at least 1"),
    "no chunks": (lambda x: ops.chunk(x, 0, 3), "at least 1"),
    "the op itself": (lambda x: ops.split_sizes(x, (1, 2), 3), "add up to 4"),
    "a stop beyond the end": (lambda x: ops.slice(x, (0, 0, 0, 0), (1, 1, 4, 5), (1, 1, 1, 1)), "0 <= start <= stop <= 4 in dimension 3"),
    "a start below 0": (lambda x: ops.slice(x, (0, 0, 0, -1), (1, 1, 4, 4), (1, 1, 1, 1)), "start -1, stop 4"),
    "a stop before the start": (lambda x: ops.slice(x, (0, 0, 3, 0), (1, 1, 2, 4), (1, 1, 1, 1)), "in dimension 2"),
    "a step of 0": (lambda x: ops.slice(x, (0, 0, 0, 0), (1, 1, 4, 4), (1, 1, 1, 0)), "a step of at least 1"),
}


@pytest.mark.parametrize("name", PIECES)
def test_pieces_that_do_not_fit(name: str) -> None:
    call, words = PIECES[name]
    with pytest.raises(ShapeError) as caught:
        um.run(lambda x: call(x), COUNTS)
    assert words in str(caught.value) and caught.value.source is not None and caught.value.source.file == __file__


def test_indexing_cuts_what_is_beyond_the_end_as_python_does() -> None:
    x = np.arange(5.0)
    found = um.run(lambda x: (x[1:9], x[-9:2], x[7:9], x[3:1], x[9:0:-2]), x)
    for one, other in zip(found, (x[1:9], x[-9:2], x[7:9], x[3:1], x[9:0:-2]), strict=True):
        np.testing.assert_array_equal(one, other.astype("float32"))
    empty, pieces = um.run(lambda x: (ops.split(x[:0], 2), ops.chunk(x, 3)), x)
    assert [p.shape for p in empty] == [(0,)] and [p.shape for p in pieces] == [(2,), (2,), (1,)]

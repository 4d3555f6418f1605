"""Slices that fill an axis are one split, before and after differentiation, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graphs import names, plain, same, traced

import unimodel as um
from unimodel.passes import differentiate
from unimodel.passes.pieces import take_apart

TAKEN_APART: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "rows one by one": (lambda x: x[0] * x[1] - x[2], ["split_sizes"]),
    "unequal parts, in another order, one of them twice": (lambda x: x[:, 3:].sum() * x[:, :1] * x[:, 1:3].sum() + x[:, :1], ["split_sizes"]),
    "along two axes": (lambda x: x[0].sum() * x[1:].sum() * x[:, :2].sum() * x[:, 2:].sum(), ["split_sizes"] * 2),
    "one is missing": (lambda x: x[0] * x[2], ["slice"] * 2),
    "they overlap": (lambda x: x[:2].sum() * x[1:].sum(), ["slice"] * 2),
    "by steps": (lambda x: x[:, 0:2:2].sum() * x[:, 2:4:2].sum(), ["slice"] * 2),
    "of two axes": (lambda x: x[:1, :1].sum() * x[1:, 1:].sum(), ["slice"] * 2),
    "of two tensors": (lambda x: x[:1] * (x * 2.0)[1:].sum(), ["slice"] * 2),
}


@pytest.mark.parametrize("name", TAKEN_APART)
def test_slices_that_fill_an_axis_are_one_split(name: str) -> None:
    function, expected = TAKEN_APART[name]
    x = np.random.default_rng(0).standard_normal((3, 4))
    graph = traced(function, x)
    joined = take_apart(graph)
    assert [n for n in names(joined) if n in ("slice", "split_sizes")] == expected
    same(plain(joined), plain(graph), [x])
    gradient = traced(lambda x: um.value_and_grad(lambda: um.ops.sum(function(x)), wrt=x), x)
    same(plain(take_apart(gradient)), plain(gradient), [x])
    if "slice" not in expected:
        assert "pad_constant" not in names(plain(take_apart(gradient))) and "pad_constant" in names(plain(gradient))


def test_what_was_joined_is_taken_apart_at_once() -> None:
    x, y = (np.random.default_rng(0).standard_normal((2, n)) for n in (1, 3))
    graph = differentiate(traced(lambda x, y: um.value_and_grad(lambda: um.ops.sum(um.ops.concat([x, y], axis=1) ** 2), wrt=(x, y)), x, y))
    assert "split_sizes" in names(graph) and "slice" not in names(graph)

"""Symbolic sizes obey algebra: whatever is computed with symbols is what the numbers would have given, or asks for the numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unimodel.dim import Dim, Size, Specialise, concrete, product, symbols_of

N, M = Dim.symbol("N"), Dim.symbol("M")
sizes_of_symbols = st.fixed_dictionaries({"N": st.integers(1, 50), "M": st.integers(1, 50)})


def polynomials() -> st.SearchStrategy[Size]:
    """Sizes as models make them: sums and products of symbols and small numbers."""
    atoms: st.SearchStrategy[Any] = st.one_of(st.integers(-4, 9), st.just(N), st.just(M))
    return st.recursive(
        atoms, lambda s: st.tuples(st.sampled_from([operator.add, operator.mul, operator.sub]), s, s).map(lambda t: t[0](t[1], t[2])), max_leaves=6
    )


sizes = polynomials()


@given(sizes, sizes, sizes_of_symbols, st.sampled_from([operator.add, operator.sub, operator.mul]))
def test_arithmetic_commutes_with_evaluation(a: Size, b: Size, numbers: dict[str, int], op: Callable[[Any, Any], Any]) -> None:
    assert concrete(op(a, b), numbers) == op(concrete(a, numbers), concrete(b, numbers))


@given(sizes, sizes, sizes)
def test_ring_laws_hold_as_equality_of_expressions(a: Size, b: Size, c: Size) -> None:
    assert a + b == b + a and a * b == b * a
    assert (a + b) + c == a + (b + c) and (a * b) * c == a * (b * c)
    assert a * (b + c) == a * b + a * c
    assert a - a == 0 and a * 1 == a and a * 0 == 0 and a + 0 == a
    assert -1 * (-a) == a


@given(sizes, sizes)
def test_equal_expressions_hash_alike_and_a_number_is_an_int(a: Size, b: Size) -> None:
    one, other = a * b + b, b * (a + 1)
    assert one == other and hash(one) == hash(other)
    assert isinstance(one, int) or one.symbols
    assert isinstance(a - a, int)


@given(sizes, sizes, sizes_of_symbols)
def test_division_is_exact_or_asks_for_numbers(a: Size, b: Size, numbers: dict[str, int]) -> None:
    for op in (operator.floordiv, operator.mod):
        if concrete(b, numbers) == 0:
            continue
        try:
            result = op(a, b)
        except Specialise as request:
            assert request.symbols <= symbols_of((a, b)) and request.symbols
        except ZeroDivisionError:
            assert b == 0
        else:
            assert concrete(result, numbers) == op(concrete(a, numbers), concrete(b, numbers))


@given(sizes, sizes.filter(lambda s: s != 0))
def test_a_product_divides_by_its_factor(a: Size, b: Size) -> None:
    if isinstance(a * b, Dim) and (isinstance(b, int) or len(b.terms) == 1):
        assert (a * b) // b == a and (a * b) % b == 0
        if isinstance(b, Dim):
            assert b.divides(a * b)


@given(sizes, sizes, sizes_of_symbols, st.sampled_from([operator.lt, operator.le, operator.gt, operator.ge]))
def test_order_is_decided_only_where_it_holds_for_every_size(a: Size, b: Size, numbers: dict[str, int], op: Callable[[Any, Any], bool]) -> None:
    try:
        decided = op(a, b)
    except Specialise as request:
        assert request.symbols
    else:
        assert decided == op(concrete(a, numbers), concrete(b, numbers))


@given(sizes, sizes_of_symbols)
def test_substitution_of_all_symbols_is_evaluation_and_of_some_keeps_the_rest(a: Size, numbers: dict[str, int]) -> None:
    if isinstance(a, Dim):
        assert a.substitute(numbers) == a.evaluate(numbers)
        partly = a.substitute({"N": numbers["N"]})
        assert symbols_of((partly,)) <= {"M"}
        assert concrete(partly, numbers) == a.evaluate(numbers)
        assert a.substitute({}) == a


@given(sizes, st.integers(0, 3), sizes_of_symbols)
def test_powers_and_divmod(a: Size, exponent: int, numbers: dict[str, int]) -> None:
    assert concrete(a**exponent, numbers) == concrete(a, numbers) ** exponent
    if isinstance(a, Dim):
        assert divmod(a * 6, 3) == (2 * a, 0)


@given(st.lists(sizes, max_size=4), sizes_of_symbols)
def test_product_of_a_shape(shape: list[Size], numbers: dict[str, int]) -> None:
    expected = 1
    for size in shape:
        expected *= concrete(size, numbers)
    assert concrete(product(tuple(shape)), numbers) == expected


NEEDS: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "range": range,
    "index": operator.index,
    "list": lambda n: [0] * n,
    "half": lambda n: n / 2,
    "inverse": lambda n: 2 / n,
    "floor of half": lambda n: n // 2,
    "floor of inverse": lambda n: 7 // n,
    "remainder": lambda n: n % 3,
    "remainder by": lambda n: 7 % n,
    "divmod": lambda n: divmod(7, n),
    "comparison": lambda n: n > 5,
}


@pytest.mark.parametrize("need", NEEDS.values(), ids=NEEDS)
def test_where_a_number_is_needed_the_symbols_are_named(need: Callable[[Any], Any]) -> None:
    with pytest.raises(Specialise) as request:
        need(N)
    assert request.value.symbols == {"N"}


def test_two_routes_to_one_size_are_one_size() -> None:
    assert (N * 7) * 7 == N * 49 == (N * 98) // 2
    assert N + N == 2 * N != N
    assert {N * 2: "a"}[N + N] == "a"
    assert N != 5 and Dim.symbol("N") == N and N != M


def test_sizes_print_as_a_person_writes_them() -> None:
    assert [repr(s) for s in (N, 2 * N, N * M, N + 1)] == ["N", "2*N", "M*N", "N + 1"]


def test_sizes_of_at_least_one_are_ordered() -> None:
    assert N + 1 > N and N >= 1 and N > 0 and 2 * N >= N and N <= N
    assert not N < 1

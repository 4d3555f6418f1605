"""Sizes that are not known while tracing: the batch dimension, and what is computed from it.

A ``Dim`` is a polynomial with integer coefficients over named symbols, kept in one canonical form, so that
``N * 49`` met on two ways through a model is the same size. Arithmetic stays symbolic where it is exact; where user
code asks for the number itself (``range(x.shape[0])``, ``int(n)``, ``n > 5``), the trace starts anew with that number in the symbol's
place, and the program is kept for this size only.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping
from typing import Any, Union

Size = Union[int, "Dim"]
Monomial = tuple[str, ...]


class Specialise(Exception):
    """Raised where a number is needed for symbols; caught by ``tracing.trace``, which starts again with their numbers."""

    def __init__(self, symbols: frozenset[str]) -> None:
        super().__init__(f"the sizes {sorted(symbols)} are needed as numbers")
        self.symbols = symbols


class Dim:
    """A symbolic size.

    >>> n = Dim.symbol("N")
    >>> n * 7 * 7, (n * 6) // 3, n + n
    (49*N, 2*N, 2*N)
    """

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms = {m: c for m, c in terms.items() if c}
        self._hash = hash(frozenset(self.terms.items()))

    @classmethod
    def symbol(cls, name: str) -> Dim:
        return cls({(name,): 1})

    @property
    def symbols(self) -> frozenset[str]:
        return frozenset(s for m in self.terms for s in m)

    def evaluate(self, sizes: Mapping[str, Any]) -> Any:
        """The number, once every symbol has one; in ``sizes`` may stand whatever adds and multiplies, such as tensors of a program."""
        total = None
        for monomial, coefficient in self.terms.items():
            factors = [sizes[name] for name in monomial]
            term = functools.reduce(operator.mul, factors if factors and coefficient == 1 else [coefficient, *factors])
            total = term if total is None else total + term
        return 0 if total is None else total

    def substitute(self, sizes: Mapping[str, Size]) -> Size:
        """This size with some of its symbols replaced."""
        total: Size = 0
        for monomial, coefficient in self.terms.items():
            term: Size = coefficient
            for name in monomial:
                term = term * sizes.get(name, Dim.symbol(name))
            total = total + term
        return total

    # arithmetic that stays symbolic
    def __add__(self, other: Size) -> Size:
        if not _is_size(other):
            return NotImplemented
        terms = dict(self.terms)
        for m, c in _terms(other).items():
            terms[m] = terms.get(m, 0) + c
        return _canonical(terms)

    def __mul__(self, other: Size) -> Size:
        if not _is_size(other):
            return NotImplemented
        terms: dict[Monomial, int] = {}
        for m1, c1 in self.terms.items():
            for m2, c2 in _terms(other).items():
                m = tuple(sorted(m1 + m2))
                terms[m] = terms.get(m, 0) + c1 * c2
        return _canonical(terms)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: Size) -> Size:
        if not _is_size(other):
            return NotImplemented
        return self + (other * -1)

    def __rsub__(self, other: Size) -> Size:
        return (self * -1) + other

    def __floordiv__(self, other: Size) -> Size:
        exact = self._divide(other)
        if exact is None:
            raise Specialise(self.symbols | _symbols(other))
        return exact

    def __rfloordiv__(self, other: Size) -> Size:
        raise Specialise(self.symbols)

    def __mod__(self, other: Size) -> Size:
        if self._divide(other) is None:
            raise Specialise(self.symbols | _symbols(other))
        return 0

    def __rmod__(self, other: Size) -> Size:
        raise Specialise(self.symbols)

    def __divmod__(self, other: Size) -> tuple[Size, Size]:
        return self // other, self % other

    def __rdivmod__(self, other: Size) -> tuple[Size, Size]:
        raise Specialise(self.symbols)

    def __pow__(self, exponent: int) -> Size:
        if not isinstance(exponent, int) or exponent < 0:
            raise Specialise(self.symbols)
        return product((self,) * exponent)

    def divides(self, other: Size) -> bool:
        """Whether this size divides ``other`` exactly, whatever the symbols are."""
        return Dim(_terms(other))._divide(self) is not None

    def _divide(self, other: Size) -> Size | None:
        divisor = _terms(other)
        if len(divisor) != 1:
            return 1 if self.terms == divisor else None
        ((monomial, coefficient),) = divisor.items()
        terms: dict[Monomial, int] = {}
        for m, c in self.terms.items():
            rest = list(m)
            for name in monomial:
                if name not in rest:
                    return None
                rest.remove(name)
            if coefficient == 0 or c % coefficient:
                return None
            terms[tuple(rest)] = c // coefficient
        return _canonical(terms)

    # what needs the number
    def __index__(self) -> int:
        raise Specialise(self.symbols)

    __int__ = __index__

    def __float__(self) -> float:
        raise Specialise(self.symbols)

    def __truediv__(self, other: object) -> float:
        if not _is_size(other) and not isinstance(other, float):
            return NotImplemented
        raise Specialise(self.symbols)

    def __rtruediv__(self, other: object) -> float:
        raise Specialise(self.symbols)

    def _bounds(self, other: Size) -> tuple[float, float]:
        """The least and the largest that ``self - other`` can be for sizes from 1 up."""
        terms = _terms(self - other)
        constant = terms.pop((), 0)
        at_ones = sum(terms.values()) + constant
        low = at_ones if all(c > 0 for c in terms.values()) else -math.inf
        high = at_ones if all(c < 0 for c in terms.values()) else math.inf
        return low, high

    def _decide(self, other: Size, always: bool, never: bool) -> bool:
        if not (always or never):
            raise Specialise(self.symbols | _symbols(other))
        return always

    def __gt__(self, other: Size) -> bool:
        low, high = self._bounds(other)
        return self._decide(other, low > 0, high <= 0)

    def __ge__(self, other: Size) -> bool:
        low, high = self._bounds(other)
        return self._decide(other, low >= 0, high < 0)

    def __lt__(self, other: Size) -> bool:
        return not self >= other

    def __le__(self, other: Size) -> bool:
        return not self > other

    # equality is of the expressions: two sizes are equal when they are so for every value of their symbols
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        def term(monomial: Monomial, coefficient: int) -> str:
            factors = [*([str(coefficient)] if coefficient != 1 or not monomial else []), *monomial]
            return "*".join(factors)

        return " + ".join(term(m, c) for m, c in sorted(self.terms.items(), reverse=True)) or "0"


def _is_size(other: object) -> bool:
    return isinstance(other, (int, Dim)) or hasattr(other, "__index__")


def _terms(size: Size) -> dict[Monomial, int]:
    return dict(size.terms) if isinstance(size, Dim) else {(): int(size)}


def _canonical(terms: Mapping[Monomial, int]) -> Size:
    dim = Dim(terms)
    if all(m == () for m in dim.terms):
        return dim.terms.get((), 0)
    return dim


def _symbols(size: Size) -> frozenset[str]:
    return size.symbols if isinstance(size, Dim) else frozenset()


def symbols_of(shape: tuple[Size, ...]) -> frozenset[str]:
    """The names of all symbols in a shape."""
    return frozenset().union(*(_symbols(s) for s in shape))


def concrete(size: Size, sizes: Mapping[str, int]) -> int:
    """The number a size stands for."""
    number: int = size.evaluate(sizes) if isinstance(size, Dim) else size
    return number


def product(shape: tuple[Size, ...]) -> Size:
    """The number of elements of a shape."""
    total: Size = 1
    for size in shape:
        total = total * size
    return total

"""Calls of ops as cases to be checked, and how many of them are run at once.

A case is an op with its arguments. Frameworks take far longer to compile a graph than to run it, so the cases of one op are put into one graph; where that
graph fails, each case is tried alone, so that the blame falls on the right one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import unimodel_conformance.truth_arrays
import unimodel_conformance.truth_images
import unimodel_conformance.truth_layers
import unimodel_conformance.truth_losses  # noqa: F401  its truths register themselves
from unimodel import value_and_grad
from unimodel.graph import Array, ArrayLiteral
from unimodel.ops import Op, catalogue
from unimodel.ops import sum as sum_of
from unimodel.tracing import Tensor, current_trace
from unimodel_conformance.subject import Compiled, Subject, as_dtype
from unimodel_conformance.truth import expected


class Case:
    """One call of an op. Arrays among the arguments are fed, everything else is part of the graph."""

    def __init__(self, op: Op[Any], args: Sequence[Any], kwargs: dict[str, Any], label: str = "", gradient: bool = True) -> None:
        self.op = op
        self.args = list(args)
        self.kwargs = dict(kwargs)
        self.label = label or _call_text(op.name, args, kwargs)
        self.gradient = gradient

    @property
    def arrays(self) -> list[Array]:
        """The arrays among the arguments, in order."""
        found: list[Array] = []
        for value in [*self.args, *self.kwargs.values()]:
            if isinstance(value, np.ndarray):
                found.append(value)
            elif isinstance(value, (list, tuple)) and value and isinstance(value[0], np.ndarray):
                found.extend(value)
        return found

    def with_arrays(self, arrays: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments with other things (tensors, other arrays) in the arrays' places."""
        rest = iter(arrays)

        def put(value: Any) -> Any:
            if isinstance(value, np.ndarray):
                return next(rest)
            if isinstance(value, (list, tuple)) and value and isinstance(value[0], np.ndarray):
                return [next(rest) for _ in value]
            return value

        return [put(a) for a in self.args], {k: put(v) for k, v in self.kwargs.items()}

    def call(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        """The op on tensors of the current trace."""
        args, kwargs = self.with_arrays(tensors)
        return _tuple(self.op(*args, **kwargs))

    def decomposed(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        """A composite's own body on tensors of the current trace, in place of the one node that a backend may have a kernel for."""
        args, kwargs = self.with_arrays(tensors)
        inputs, attrs = self.op.bind(tuple(args), kwargs)
        trace = current_trace()
        assert trace is not None, "a body runs inside a trace"
        values = [None if t is None else trace.as_tensor(t) for t in inputs]
        if self.op.canonical is not None:
            self.op.canonical(attrs, [v.spec for v in values if v is not None])
        return _tuple(self.op.rule(**dict(zip(self.op.tensors, values, strict=True)), **attrs))

    def truth(self, dtype: str) -> tuple[Array, ...]:
        """What the results must be: computed in float64 from the numbers in ``dtype``."""
        wide = [as_dtype(as_dtype(a, dtype), "float64") for a in self.arrays]
        args, kwargs = self.with_arrays(wide)
        args = [self._beside(a, wide) for a in args] if self.op.promote else args
        return expected(self.op.name, args, {k: v.array if isinstance(v, ArrayLiteral) else v for k, v in kwargs.items()})

    @staticmethod
    def _beside(value: Any, arrays: Sequence[Array]) -> Any:
        """A Python number as an array of the dtype it takes beside these."""
        if not isinstance(value, (int, float)) or not arrays:
            return value
        return np.asarray(value, "float64" if isinstance(value, float) else np.result_type(*[a.dtype for a in arrays if a.dtype.kind != "b"] or ["int64"]))

    def in_dtype(self, dtype: str) -> list[Array]:
        return [as_dtype(a, dtype) for a in self.arrays]

    def __repr__(self) -> str:
        return self.label


def _tuple(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def _call_text(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        if isinstance(value, np.ndarray):
            return f"{'float' if value.dtype.kind == 'f' else value.dtype.name}{list(value.shape)}"  # floats are cast to the dtype that is tested
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], np.ndarray):
            return f"[{', '.join(map(text, value))}]"
        return repr(value)

    return f"{name}({', '.join([*map(text, args), *(f'{k}={text(v)}' for k, v in kwargs.items())])})"


def sample_cases(name: str, seed: int = 0, gradients_only: bool = False) -> list[Case]:
    """The catalogue's own samples of an op, drawn."""
    op = catalogue[name]
    found = []
    for i, sample in enumerate(op.samples):
        args, kwargs = sample.arguments(seed)
        if sample.gradient or not gradients_only:
            found.append(Case(op, args, kwargs, f"sample {i}, {_call_text(name, args, kwargs)}", sample.gradient))
    return found


Outcome = Any
"""What a case gave: its results, or the exception it ended with."""


def run_together(
    subject: Subject, cases: Sequence[Case], dtype: str, body: Callable[[Case, Sequence[Any]], Any] | None = None, differentiation: Any = "auto"
) -> list[Outcome]:
    """Every case's results, from as few graphs as work. ``body`` says what is done with a case's tensors; by default the op is called."""
    body = body or (lambda case, tensors: case.call(tensors))
    try:
        return list(compiled(subject, cases, dtype, body, differentiation)(*(a for c in cases for a in c.in_dtype(dtype))))
    except Exception as error:
        if len(cases) == 1:
            return [error]
    return [run_together(subject, [c], dtype, body, differentiation)[0] for c in cases]


def compiled(subject: Subject, cases: Sequence[Case], dtype: str, body: Callable[[Case, Sequence[Any]], Any], differentiation: Any = "auto") -> Compiled:
    """One graph for these cases; its arguments are all their arrays, its result a tuple of what ``body`` returns."""
    counts = [len(c.arrays) for c in cases]
    starts = np.cumsum([0, *counts])

    def function(*tensors: Any) -> tuple[Any, ...]:
        return tuple(body(case, tensors[a : a + n]) for case, a, n in zip(cases, starts, counts, strict=False))

    return subject.compile(function, [a for c in cases for a in c.in_dtype(dtype)], dtype, differentiation)


def results(outcome: Outcome) -> Any:
    """A case's results; raises where it ended with an exception."""
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


# ------------------------------------------------------------------------------------------------------------------ gradients


def float_places(case: Case) -> list[int]:
    """Which of the case's arrays a gradient is taken for."""
    return [i for i, a in enumerate(case.arrays) if a.dtype.kind == "f"]


def loss_of(outputs: Sequence[Any]) -> Any:
    """One number from all float results, each element with a weight of its own."""
    total: Any = None
    for j, out in enumerate(outputs):
        if isinstance(out, Tensor) and out.spec.is_float:
            weights = np.cos(1.0 + 0.7 * np.arange(int(np.prod(out.shape)), dtype="float64") + j).reshape(out.shape)
            part = sum_of(out * weights)
            total = part if total is None else total + part
    return total


def gradients(case: Case, tensors: Sequence[Any], call: Callable[[Sequence[Any]], tuple[Any, ...]] | None = None) -> tuple[Any, ...]:
    """The loss and its gradients for the case's float inputs; ``call`` stands in for the op."""
    call = call or case.call
    places = float_places(case)
    wrt = [tensors[i] for i in places]
    loss, grads = value_and_grad(lambda: loss_of(call(tensors)), wrt=wrt)
    return (loss, *_whole(grads, wrt))


def nested_gradients(case: Case, tensors: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """A region inside a region: the loss and its gradients, then a number made of these gradients, and the gradients of that number."""
    places = float_places(case)
    wrt = [tensors[i] for i in places]

    def inner() -> Any:
        loss, grads = value_and_grad(lambda: loss_of(case.call(tensors)), wrt=wrt)
        total = None
        for k, g in enumerate(grads):
            if g is not None:
                weights = np.sin(2.0 + 0.9 * np.arange(int(np.prod(g.shape)), dtype="float64") + k).reshape(g.shape)
                part = sum_of(g * weights)
                total = part if total is None else total + part
        return (sum_of(wrt[0]) * 0.0 if total is None else total), (loss, *_whole(grads, wrt))

    (value, once), grads = value_and_grad(inner, wrt=wrt, has_aux=True)
    return once, (value, *_whole(grads, wrt))


def _whole(grads: Sequence[Any], wrt: Sequence[Any]) -> tuple[Any, ...]:
    """Zeros where there is no gradient."""
    return tuple(0.0 * t if g is None else g for g, t in zip(grads, wrt, strict=True))


STEP = 1e-3


def finite_difference(function: Callable[[Sequence[Array]], Any], arrays: Sequence[Array], place: int, direction: Array) -> Any:
    """The derivative of a number along a direction in one array, by the five-point stencil: exact to about 1e-11 for the sizes that samples have."""

    def at(t: float) -> Any:
        moved = list(arrays)
        moved[place] = arrays[place] + t * direction
        return function(moved)

    return (8 * (at(STEP) - at(-STEP)) - (at(2 * STEP) - at(-2 * STEP))) / (12 * STEP)

"""What an op is. Each op of the catalogue is defined once, by one decorated function.

* A **primitive**'s body is its shape and dtype rule: it takes ``TensorSpec``s and attributes and returns the specs of its results. Every
  backend must lower every primitive that it wants to run.
* A **composite**'s body is its decomposition into other ops. It is traced as one node, and its shape rule is that (memoised)
  decomposition; a backend with a fused kernel lowers the node whole, any other inlines the body.

Beside the body stand the gradient rule (``@op.vjp``, written in ops, so that gradients of gradients come for free), the samples that
every suite draws its cases from, and the docstring. Parameters annotated ``TensorSpec`` or ``Tensor`` take tensors, all others are attributes.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from unimodel.arguments import refuse_unknown
from unimodel.errors import Source
from unimodel.graph import ArrayLiteral, Graph, Node, TensorSpec

if TYPE_CHECKING:
    from unimodel.ops.samples import Sample
    from unimodel.tracing import Tensor

Canonical = Callable[[dict[str, Any], Sequence[TensorSpec]], None]

R = TypeVar("R")

catalogue: dict[str, Op[Any]] = {}
"""Every op by name, in order of definition."""

_MISSING = inspect.Parameter.empty

TORCH_NAMES = {"dim": "axis", "keepdim": "keepdims"}
"""What PyTorch calls two arguments that have the Array API standard's names here; either is taken, in ops as in methods of tensors."""


class Op(Generic[R]):
    """An op of the catalogue; calling it inside a trace adds a node, outside it computes on NumPy arrays."""

    def __init__(
        self,
        rule: Callable[..., Any],
        *,
        composite: bool,
        samples: Sequence[Sample] = (),
        promote: Sequence[str] = (),
        canonical: Canonical | None = None,
        name: str | None = None,
        register: bool = True,
    ) -> None:
        self.name = name or rule.__name__
        self.rule = rule
        self.composite = composite
        self.samples = tuple(samples)
        self.promote = frozenset(promote)
        self.canonical = canonical
        self.vjp_rule: Callable[..., Any] | None = None
        self.__doc__ = rule.__doc__
        self.__name__ = self.name
        self.__module__ = rule.__module__
        self.__signature__ = inspect.signature(rule)
        self.parameters = tuple(self.__signature__.parameters)
        self._defaults = {n: p.default for n, p in self.__signature__.parameters.items() if p.default is not _MISSING}
        annotations = {n: str(p.annotation) for n, p in self.__signature__.parameters.items()}
        self.tensors = tuple(n for n, a in annotations.items() if "Tensor" in a)
        self.attributes = tuple(n for n in self.parameters if n not in self.tensors)
        self.variadic = "Sequence[" in annotations[self.tensors[0]] if self.tensors else False
        self._decompositions: dict[Any, Graph] = {}
        if register:
            if self.name in catalogue:
                raise ValueError(f"the op {self.name} is defined twice")
            catalogue[self.name] = self

    def vjp(self, rule: Callable[..., Any]) -> None:
        """Set the gradient rule: ``rule(node, *output_gradients)`` returns one gradient (or None) per tensor input."""
        self.vjp_rule = rule

    @property
    def differentiable(self) -> bool:
        return self.vjp_rule is not None or self.composite

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Split a call's arguments into tensor inputs and attributes, in order of the signature."""
        if any(k not in self.parameters for k in kwargs):
            kwargs = renamed(kwargs, self.parameters)
            refuse_unknown(f"um.ops.{self.name}", kwargs, (*self.parameters, *(t for t, ours in TORCH_NAMES.items() if ours in self.parameters)))
        if len(args) > len(self.parameters):
            self.__signature__.bind(*args, **kwargs)  # raises the TypeError that Python users know
        bound = dict(zip(self.parameters, args, strict=False))
        if kwargs:
            if not bound.keys().isdisjoint(kwargs):
                self.__signature__.bind(*args, **kwargs)
            bound.update(kwargs)
        for name in self.parameters:
            if name not in bound:
                if name not in self._defaults:
                    self.__signature__.bind(*args, **kwargs)
                bound[name] = self._defaults[name]
        tensors = [bound[n] for n in self.tensors]
        if self.variadic:
            tensors = [*tensors[0], *tensors[1:]]
        return tensors, {n: plain(bound[n]) for n in self.attributes}

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        from unimodel.tracing import apply

        result: R = apply(self, *self.bind(args, kwargs))
        return result

    def infer(self, specs: Sequence[TensorSpec | None], attrs: dict[str, Any], float_dtype: str) -> tuple[TensorSpec, ...]:
        """The specs of the results; raises ``ShapeError`` where the inputs do not fit together."""
        if self.composite:
            return tuple(v.spec for v in self.decompose(specs, attrs, float_dtype).outputs)
        result = self.rule(**self.arguments(specs, attrs))
        return result if isinstance(result, tuple) else (result,)

    def decompose(self, specs: Sequence[TensorSpec | None], attrs: dict[str, Any], float_dtype: str) -> Graph:
        """A composite's body as a graph over its given tensor inputs, traced once per input specs and attributes."""
        key = (tuple(specs), distinct(tuple(attrs.values())), float_dtype)
        graph = self._decompositions.get(key)
        if graph is None:
            from unimodel.tracing import trace_body

            graph = trace_body(lambda tensors: self.rule(**self.arguments(tensors, attrs)), specs, float_dtype)
            self._decompositions[key] = graph
        return graph

    def arguments(self, tensors: Sequence[Any], attrs: dict[str, Any]) -> dict[str, Any]:
        """Tensors and attributes as the body's keyword arguments."""
        if self.variadic:
            rest = len(self.tensors) - 1
            split = len(tensors) - rest
            tensors = [tuple(tensors[:split]), *tensors[split:]]
        return {**dict(zip(self.tensors, tensors, strict=True)), **attrs}

    def __repr__(self) -> str:
        return f"<{'composite' if self.composite else 'primitive'} {self.name}>"


def primitive(**options: Any) -> Callable[[Callable[..., TensorSpec]], Op[Tensor]]:
    """Define a primitive; see the module's docstring."""
    return lambda rule: Op(rule, composite=False, **options)


def composite(**options: Any) -> Callable[[Callable[..., R]], Op[R]]:
    """Define a composite; see the module's docstring."""
    return lambda rule: Op(rule, composite=True, **options)


def renamed(kwargs: dict[str, Any], parameters: Sequence[str]) -> dict[str, Any]:
    """Arguments with PyTorch's names under those that the parameters have."""
    names = {theirs: ours for theirs, ours in TORCH_NAMES.items() if theirs in kwargs and ours not in kwargs and ours in parameters}
    return {names.get(k, k): v for k, v in kwargs.items()} if names else kwargs


def takes_either_name(function: Callable[..., R]) -> Callable[..., R]:
    """A function of ops whose ``axis`` may be called ``dim`` too."""
    parameters = tuple(inspect.signature(function).parameters)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> R:
        return function(*args, **(kwargs if kwargs.keys() <= set(parameters) else renamed(kwargs, parameters)))

    return call


def distinct(value: Any) -> Any:
    """An attribute as a key under which 1, 1.0 and True differ, which Python calls equal, and the zeros of either sign."""
    if type(value) is tuple:
        return tuple(map(distinct, value))
    return (type(value), value.hex() if type(value) is float else value)


def plain(value: Any) -> Any:
    """An attribute in the one form that is hashed and compared: tuples for lists, Python numbers for NumPy's."""
    if isinstance(value, (list, tuple)):
        return tuple(plain(v) for v in value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return ArrayLiteral(value)
    if isinstance(value, (np.dtype, type)) and not isinstance(value, types.GenericAlias):
        return np.dtype(value).name if value is not bool else "bool"
    return value


class Application:
    """What a gradient rule sees of a node: its tensors in the trace that is being differentiated, and its attributes."""

    __slots__ = ("attrs", "inputs", "op", "outputs", "source")

    def __init__(self, node: Node, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        self.op = node.op
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.attrs = node.attrs
        self.source: Source | None = node.source


def _region(*captured: Any) -> None:
    """A region whose gradient is asked: attributes ``body`` (a Graph) and ``wrt`` (indices of the body's inputs).

    Results: the body's outputs, the first of them the scalar loss, then one gradient per index in ``wrt``.
    """


def _cond(pred: Any, *captured: Any) -> None:
    """One of two bodies, ``then`` and ``otherwise``, whose inputs are what the node captures and whose outputs are alike; only the one chosen runs."""


def _scan(*values: Any) -> None:
    """A loop of ``length`` rounds: its inputs are ``carries`` first values, ``xs`` stacked arrays, and what it captures.

    The ``body`` takes the present carries, one slice of each stacked array, and what is captured; it gives the next carries, and slices of further results. With
    ``reverse`` the last slices come first. Results: the last carries, and the stacked slices, each at the place of the round it is from.
    """


def _while_loop(*values: Any) -> None:
    """A loop while ``condition`` holds: its inputs are ``carries`` first values and what it captures, which both bodies take; ``body`` gives the next carries."""


def _checkpoint(*captured: Any) -> None:
    """A ``body`` that runs once; where gradients are taken, it runs again instead of being remembered."""


def _holder(rule: Callable[..., Any], name: str) -> Op[Any]:
    return Op(rule, composite=False, name=name, register=False)


value_and_grad_op = _holder(_region, "value_and_grad")
cond_op = _holder(_cond, "cond")
scan_op = _holder(_scan, "scan")
while_loop_op = _holder(_while_loop, "while_loop")
checkpoint_op = _holder(_checkpoint, "checkpoint")

CONTROL_FLOW = frozenset([cond_op, scan_op, while_loop_op])
"""Ops whose nodes decide while the program runs what runs, and how often."""

regions: dict[str, Op[Any]] = {op.name: op for op in (value_and_grad_op, cond_op, scan_op, while_loop_op, checkpoint_op)}
"""Ops whose nodes hold graphs among their attributes, by name. They are no part of the catalogue: what they compute, their bodies say."""

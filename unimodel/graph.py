"""The graph: the one thing that travels from user code to a backend.

A ``Graph`` is a list of ``Node``s in an order in which they can run. A node applies one op of the catalogue to ``Value``s and makes new ones;
every value is made once. There are three kinds of graph input:

* ``state``: parameters, buffers and optimizer state, owned by the backend and named;
* ``batch``: data, fed anew at each step (random masks are data too: core draws them);
* ``scalar``: host numbers that change from step to step (learning rate, step count), kept in float64 by the host.

``updates`` say which state inputs get a new value when the graph has run. A node whose op is ``value_and_grad`` holds
a region: a body graph, and for which of its inputs the first output's gradient is asked.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from unimodel.dim import Dim, Size, concrete, product
from unimodel.errors import ShapeError, Source

if TYPE_CHECKING:
    from unimodel.op import Op

Array: TypeAlias = np.ndarray[Any, Any]

DTYPES = ("bool", "int32", "int64", "float16", "bfloat16", "float32", "float64")
FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("int32", "int64")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What is known of a tensor before it exists: its shape, in which sizes may be symbolic, and its dtype."""

    shape: tuple[Size, ...]
    dtype: str

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Size:
        return product(self.shape)

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    def with_shape(self, *shape: Size) -> TensorSpec:
        return TensorSpec(tuple(shape), self.dtype)

    def with_dtype(self, dtype: str) -> TensorSpec:
        return TensorSpec(self.shape, dtype)

    def at(self, sizes: Mapping[str, int]) -> TensorSpec:
        """This spec with every symbol replaced by its number."""
        return TensorSpec(tuple(concrete(s, sizes) for s in self.shape), self.dtype)

    def __str__(self) -> str:
        inner = ", ".join(map(repr, self.shape)) + ("," if self.ndim == 1 else "")
        return f"{self.dtype} ({inner})"


class Value:
    """One result in the graph, or one of its inputs. Compared by identity."""

    __slots__ = ("index", "producer", "spec", "users")

    def __init__(self, spec: TensorSpec, producer: Node | None = None, index: int = 0) -> None:
        self.spec = spec
        self.producer = producer
        self.index = index
        self.users: list[Node] = []


class ArrayLiteral:
    """An array kept as an attribute: hashable by content, so that equal constants are one."""

    __slots__ = ("_key", "array")

    def __init__(self, array: Array) -> None:
        self.array = np.array(array, order="C")  # a copy: the caller may overwrite theirs
        self.array.setflags(write=False)
        self._key = (self.array.dtype.str, self.array.shape, self.array.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayLiteral) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<{self.array.dtype.name} {self.array.shape}>"


class Node:
    """One op applied to values. ``None`` among the inputs is an optional tensor that was not given."""

    __slots__ = ("attrs", "inputs", "op", "outputs", "source")

    def __init__(
        self,
        op: Op[Any],
        inputs: tuple[Value | None, ...],
        attrs: Mapping[str, Any],
        specs: tuple[TensorSpec, ...],
        source: Source | None = None,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.attrs = attrs
        self.outputs = tuple(Value(spec, self, i) for i, spec in enumerate(specs))
        self.source = source

    @property
    def specs(self) -> tuple[TensorSpec | None, ...]:
        return tuple(None if v is None else v.spec for v in self.inputs)

    def __repr__(self) -> str:
        return f"<{self.op.name} -> {', '.join(str(v.spec) for v in self.outputs)}>"


InputKind = Literal["state", "batch", "scalar"]


@dataclass(frozen=True, slots=True, eq=False)
class Input:
    """A named way into the graph; ``value`` is what nodes refer to."""

    kind: InputKind
    name: str
    value: Value

    @property
    def spec(self) -> TensorSpec:
        return self.value.spec


@dataclass(eq=False)
class Graph:
    """Inputs, nodes in running order, outputs, and the state that changes."""

    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]
    updates: tuple[tuple[Input, Value], ...] = ()
    output_names: tuple[str, ...] = ()
    _names: dict[Value, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for value in self.values():
            value.users = []
        for node in self.nodes:
            for used in node.inputs:
                if used is not None:
                    used.users.append(node)

    def of_kind(self, kind: InputKind) -> tuple[Input, ...]:
        return tuple(i for i in self.inputs if i.kind == kind)

    def values(self) -> Iterator[Value]:
        for entry in self.inputs:
            yield entry.value
        for node in self.nodes:
            yield from node.outputs

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbolic sizes that the batch inputs bring in, sorted."""
        found: set[str] = set()
        for entry in self.inputs:
            for size in entry.spec.shape:
                if isinstance(size, Dim):
                    found |= size.symbols
        return tuple(sorted(found))

    @functools.cached_property
    def places(self) -> dict[str, tuple[Input, int]]:
        """Where each symbol can be read off: a batch input, and the axis of it whose size is that symbol."""
        found: dict[str, tuple[Input, int]] = {}
        for entry in self.of_kind("batch"):
            for axis, size in enumerate(entry.spec.shape):
                if isinstance(size, Dim) and size.terms == {(next(iter(size.symbols)),): 1}:
                    found.setdefault(next(iter(size.symbols)), (entry, axis))
        return found

    def sizes(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        """The number of each symbol, read off the shapes of the batch inputs (by name); raises ``ShapeError`` where these are not what the graph was traced for."""
        batch = self.of_kind("batch")
        wrong = next((e for e in batch if len(shapes[e.name]) != e.spec.ndim), None)
        sizes = {} if wrong else {symbol: int(shapes[entry.name][axis]) for symbol, (entry, axis) in self.places.items()}
        wrong = wrong or next((e for e in batch if e.spec.at(sizes).shape != shapes[e.name]), None)
        if wrong is not None:
            raise ShapeError(f"{wrong.name} has another shape than the program was traced for.", expected=wrong.spec, given=shapes[wrong.name])
        return sizes

    def name_of(self, value: Value) -> str:
        if not self._names:
            for entry in self.inputs:
                self._names[entry.value] = f"%{entry.name}"
            for i, v in enumerate(v for n in self.nodes for v in n.outputs):
                self._names[v] = f"%{i}"
        return self._names.get(value, "%?")

    def __str__(self) -> str:
        """The graph as a program that a person can read."""
        lines = [f"{e.kind} {self.name_of(e.value)}: {e.spec}" for e in self.inputs]
        for node in self.nodes:
            outs = ", ".join(f"{self.name_of(v)}: {v.spec}" for v in node.outputs)
            args = ["None" if v is None else self.name_of(v) for v in node.inputs]
            args += [f"{k}={v!r}" for k, v in node.attrs.items() if not isinstance(v, Graph)]
            lines.append(f"{outs} = {node.op.name}({', '.join(args)})")
            for key, body in node.attrs.items():
                if isinstance(body, Graph):
                    lines.append(f"    {key}:")
                    lines += ["    " + line for line in str(body).splitlines()]
        lines += [f"{self.name_of(e.value)} <- {self.name_of(v)}" for e, v in self.updates]
        lines.append("return " + ", ".join(self.name_of(v) for v in self.outputs))
        return "\n".join(lines)

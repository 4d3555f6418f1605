"""A prepared graph as one MXNet symbol, and that symbol as a Gluon block.

MXNet binds sizes, so symbolic ones are replaced by their numbers before lowering. Lowered without them, where the ops allow it, the same graph makes
a symbol for any batch size: the native artifact.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from unimodel.backend import Lowerings
from unimodel.errors import BackendError, UnimodelError, UnsupportedError
from unimodel.graph import Input, Node, TensorSpec, Value
from unimodel_mxnet.arrays import DTYPES, reason, shapes
from unimodel_mxnet.shim import mx
from unimodel_mxnet.stages import Stage


class Call:
    """A node as a lowering sees it: attributes and specs with the sizes filled in, its neighbours, and a way to bring in arrays."""

    __slots__ = ("attrs", "build", "node", "outputs", "specs")

    def __init__(self, build: Build, node: Node) -> None:
        self.build = build
        self.node = node
        self.attrs, self.specs = node.attrs, node.specs
        self.outputs = tuple(v.spec for v in node.outputs)

    @property
    def out(self) -> TensorSpec:
        return self.outputs[0]

    @property
    def backward(self) -> bool:
        """Whether MXNet's gradient will flow back through this node."""
        return any(v in self.build.flowing for v in self.node.outputs)

    def flows(self, index: int) -> bool:
        """Whether MXNet's gradient will come back through this result."""
        return self.node.outputs[index] in self.build.flowing

    def number(self, index: int) -> Any:
        """The Python number that an input is known to be, or None."""
        producer = self.made_by(index, "constant")
        number = None if producer is None else producer.attrs["value"]
        return number if isinstance(number, (bool, int, float)) else None

    def made_by(self, index: int, *names: str) -> Node | None:
        """The node that makes an input, where it applies one of these ops."""
        value = self.node.inputs[index]
        producer = None if value is None else value.producer
        return producer if producer is not None and producer.op.name in names else None

    def only_for(self, name: str) -> bool:
        """Whether nobody but ops of this name reads the first result."""
        value, wanted = self.node.outputs[0], self.build.wanted
        return wanted is not None and value not in wanted and {user.op.name for user in value.users} == {name}

    def refuse(self, why: str, remedy: str = "choose another backend for this op") -> UnsupportedError:
        return UnsupportedError(
            f"{self.node.op.name}: {why}", given=", ".join(str(s) for s in self.specs if s is not None), remedy=remedy, source=self.node.source
        )


class Build:
    """Symbols by graph value, made on demand in the order of the nodes. ``literals`` are the arrays that the symbol needs beside the graph's inputs."""

    def __init__(self, lowerings: Lowerings, stage: Stage | None = None, hasty: bool = False) -> None:
        self.lowerings = lowerings
        self.flowing = set() if stage is None else set(stage.flowing)
        """The values through which MXNet's gradient flows back."""
        self.sparse = frozenset() if stage is None else stage.sparse
        self._aliases = {} if stage is None else stage.aliases
        self.wanted = None if stage is None else frozenset((*stage.results, *stage.aliases.values()))
        """What is read from outside, where that is known."""
        self.hasty = hasty
        """Whether kernels that lose NaN will do: somebody checks that there is none."""
        self.literals: dict[str, np.ndarray] = {}
        self.auxiliary: dict[str, np.ndarray] = {}
        self.symbols: dict[Value, Any] = {}
        self.kept: dict[Any, Any] = {}
        """Symbols beside the values' own that more than one lowering has a use for."""
        self.places: Mapping[str, tuple[Input, int]] = {}
        """Where symbolic sizes that have no number are read off."""
        self._names = _Names()

    def variable(self, value: Value, name: str) -> Any:
        symbol = self.symbols[value] = mx.sym.var(name).as_np_ndarray()
        return symbol

    def literal(self, array: np.ndarray) -> Any:
        """A symbol for an array that never changes."""
        name = f"literal{len(self.literals)}"
        self.literals[name] = np.asarray(array, order="C")
        return mx.sym.var(name).as_np_ndarray()

    def auxiliary_state(self, array: np.ndarray) -> Any:
        """A symbol for a buffer that an MXNet op insists on and whose contents nobody reads."""
        name = f"auxiliary{len(self.auxiliary)}"
        self.auxiliary[name] = array
        return mx.sym.var(name)

    def run(self, nodes: Iterable[Node]) -> None:
        with shapes(), self._names:
            for node in nodes:
                self._names.nodes.append(node)
                self.lower(node)

    def lower(self, node: Node) -> None:
        call = Call(self, node)
        for spec in (*call.specs, *call.outputs):
            if spec is not None and spec.dtype not in DTYPES:
                raise call.refuse(f"MXNet computes in {', '.join(sorted(DTYPES))} here.", "use precision='float32' or 'float64'")
            if spec is not None and 0 in spec.shape and node.inputs:
                raise call.refuse("MXNet cannot compute with tensors that have no elements.", "leave empty batches out")
        symbols = [None if v is None else self.symbol(v) for v in node.inputs]
        try:
            results = self.lowerings[node.op.name](call, *symbols)
        except UnimodelError:
            raise
        except Exception as error:
            raise BackendError(f"{node.op.name} could not be lowered to MXNet.", given=reason(error), source=node.source) from error
        self.symbols.update(zip(node.outputs, results if isinstance(results, tuple) else (results,), strict=True))

    def later(self, node: Node, index: int) -> Callable[[], Any]:
        """A result that a fused kernel does not give, built from the decomposition only if somebody asks for it."""
        return lambda: self.inline(node)[index]

    def symbol(self, value: Value) -> Any:
        if value not in self.symbols and value in self._aliases:
            return self.symbol(self._aliases[value])
        found = self.symbols[value]
        if callable(found) and not isinstance(found, mx.sym.Symbol):
            with shapes():
                found = self.symbols[value] = found()
        return found

    def group(self, values: Iterable[Value], loss: Value | None = None) -> Any:
        """Results as one symbol; with ``loss``, that comes first, and only through it gradients flow.

        What is an input passes an identity, so that no result is an array that something else owns.
        """
        with shapes(), self._names:
            found = [self.symbol(v).as_nd_ndarray() for v in values]
            if loss is not None:
                return mx.sym.Group([mx.sym.make_loss(self.symbol(loss).as_nd_ndarray()), *map(mx.sym.BlockGrad, found)])
            return mx.sym.Group([mx.sym.identity(s) if s.get_children() is None else s for s in found])

    @contextmanager
    def blaming(self) -> Iterator[None]:
        """MXNet's errors while a symbol is bound, with the line of the node they are about."""
        try:
            yield
        except mx.MXNetError as error:
            found = re.search(r"\bn(\d+)_", str(error))
            source = self._names.nodes[int(found[1])].source if found else None
            raise BackendError("MXNet refused the program.", given=reason(error), remedy="report it to the authors of unimodel-mxnet", source=source) from error

    def inline(self, node: Node) -> tuple[Any, ...]:
        """The symbols of a composite's decomposition, for a lowering that can do only a part of it whole."""
        body = node.op.decompose(node.specs, dict(node.attrs), node.outputs[0].spec.dtype)
        given = [v for v in node.inputs if v is not None]
        for entry, value in zip(body.inputs, given, strict=True):
            self.symbols[entry.value] = self.symbols[value]
        if any(v in self.flowing for v in node.outputs):
            self.flowing.update(v for inner in body.nodes for v in inner.outputs)
        for inner in body.nodes:
            if inner.op.composite and not self.lowerings.accepts(inner):
                self.symbols.update(zip(inner.outputs, self.inline(inner), strict=True))
            else:
                self.lower(inner)
        return tuple(self.symbols[v] for v in body.outputs)


class _Names(mx.name.NameManager):
    """Names symbols after the node that they belong to, so that an error of MXNet's leads back to the user's line."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[Node] = []

    def get(self, name: str | None, hint: str) -> str:
        return name or super().get(None, f"n{len(self.nodes) - 1}_{hint}")

"""The contract of a backend, and all of a simple one.

A backend is a table from ops to native calls (``Lowerings``), two conversions, and a name. That much, inherited from ``Backend``, runs every graph by walking
over its nodes, and trains, because core differentiates graphs. A backend that wants speed overrides ``compile`` and turns the
whole graph into its framework's own program.

What stays with the backend: where arrays live (``Store``), and how a compiled graph runs (``Executable``). What it never sees: models, losses,
optimizers, trainers; they are all graph by then.
"""

from __future__ import annotations

import copy
import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from unimodel.errors import BackendError, Source, UnsupportedError
from unimodel.graph import Array, Graph, Node
from unimodel.names import closest
from unimodel.op import CONTROL_FLOW, regions
from unimodel.ops import catalogue
from unimodel.passes import prepare
from unimodel.regions import bodies
from unimodel.walk import Walk
from unimodel.walk import at_sizes as at_sizes
from unimodel.walk import literal as literal

API_VERSION = (1, 0)
"""Major and minor version of this contract; the major one is in the name of the entry-point group."""


class Capability(enum.Enum):
    """What a backend may be able to do beyond running forward graphs in float32."""

    TRAINING = "training"
    FLOAT64 = "float64"
    NATIVE_DIFFERENTIATION = "native differentiation"
    NATIVE_ARTIFACT = "native artifact"
    MIXED_PRECISION = "mixed precision"
    CONTROL_FLOW = "control flow"
    ACCELERATOR = "accelerator"


@dataclass(frozen=True, slots=True)
class Gap:
    """Why a backend lacks a capability: ours to do, the framework's to do, or never."""

    kind: Literal["not_implemented", "not_yet", "never"]
    reason: str
    link: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}" + (f" ({self.link})" if self.link else "")


def not_implemented(reason: str, link: str = "") -> Gap:
    return Gap("not_implemented", reason, link)


def not_yet(reason: str, link: str = "") -> Gap:
    return Gap("not_yet", reason, link)


def never(reason: str, link: str = "") -> Gap:
    return Gap("never", reason, link)


Lowering = Callable[..., Any]


class Lowerings:
    """The table from op names to native calls. A lowering gets the node and its native inputs (None for an optional one not given).

    >>> lower = Lowerings()
    >>> @lower("exp")
    ... def _(node, x):
    ...     return np.exp(x)
    >>> lower.calls(tanh=np.tanh)          # where the native function takes the inputs and nothing else
    >>> sorted(lower)
    ['exp', 'tanh']

    ``when=`` restricts a fused composite to nodes it is right for; others are decomposed.
    """

    def __init__(self) -> None:
        self._table: dict[str, Lowering] = {}
        self._conditions: dict[str, Callable[[Node], bool]] = {}

    def __call__(self, *names: str, when: Callable[[Node], bool] | None = None) -> Callable[[Lowering], Lowering]:
        def register(function: Lowering) -> Lowering:
            for name in names:
                if name not in catalogue:
                    meant = closest(name, catalogue)
                    raise BackendError(
                        f"a lowering names the op {name!r}, which the catalogue does not have.",
                        expected="the name of an op of um.ops.catalogue",
                        given=name,
                        remedy=f"did you mean {meant!r}?" if meant else "list(um.ops.catalogue) gives them all",
                    )
                self._table[name] = function
                if when is not None:
                    self._conditions[name] = when
            return function

        return register

    def calls(self, **functions: Callable[..., Any]) -> None:
        for name, function in functions.items():
            self(name)(_plain(function))

    def accepts(self, node: Node) -> bool:
        """Whether this node is lowered whole. Primitives always are, or refused by their lowering."""
        name = node.op.name
        condition = self._conditions.get(name)
        return name in self._table and (condition is None or condition(node))

    def __getitem__(self, name: str) -> Lowering:
        return self._table[name]

    def __contains__(self, name: object) -> bool:
        return name in self._table

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


def _plain(function: Callable[..., Any]) -> Lowering:
    return lambda node, *inputs: function(*inputs)


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """How to compile: who differentiates, and which compiler of the framework's own works on the program; ``auto`` is the backend's own static rule."""

    differentiation: Literal["auto", "native", "core"] = "auto"
    compiler: str = "auto"
    """"auto", "none", or one of the backend's ``compilers``."""


class Store:
    """The state a trainer's programs share: native arrays by name, on the backend's device."""

    keeps: ClassVar[Collection[str]] = ()
    """Dtypes that NumPy lacks in which state can be kept: those that ``write_as`` takes."""

    def __init__(self, backend: Backend, arrays: Mapping[str, Array]) -> None:
        self.backend = backend
        self.arrays: dict[str, Any] = {}
        for name, array in arrays.items():
            self.write(name, array)

    def read(self, name: str) -> Array:
        """A copy of one array as NumPy."""
        return np.array(self.backend.to_numpy(self.arrays[name]))

    def write(self, name: str, array: Array) -> None:
        self.arrays[name] = self.backend.from_numpy(np.ascontiguousarray(array).reshape(array.shape).copy())

    def write_as(self, name: str, array: Array, dtype: str) -> None:
        """As ``write``, to be kept in a dtype of ``keeps``, by later writes too. What is read is float32."""
        raise NotImplementedError(f"{type(self).__name__} keeps nothing in {dtype}")

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)


class Executable(ABC):
    """A compiled graph bound to a store. ``run`` may return before the work is done; ``read`` waits for it."""

    compiler: str = "none"
    """Which compiler of the framework's own has worked on it."""
    differentiation: str = "core"
    """Who has differentiated it: "core" or "native"."""

    @abstractmethod
    def run(self, batch: Sequence[Array], scalars: Sequence[float]) -> Any:
        """One step. ``batch`` and ``scalars`` are in the order of the graph's inputs of these kinds; updates go to the store.

        The arrays may be overwritten by the caller once this returns. Returns a handle for ``read``.
        """

    def run_many(self, batches: Sequence[Sequence[Array]], scalars: Sequence[Sequence[float]]) -> list[Any]:
        """Several steps in order, as few native calls as the backend can make of them; one handle per step."""
        return [self.run(batch, numbers) for batch, numbers in zip(batches, scalars, strict=True)]

    @abstractmethod
    def read(self, handle: Any) -> list[Array]:
        """The outputs of one step as NumPy arrays of the caller's own."""

    def over(self, store: Store | None) -> Executable | None:
        """The same program over another store's state, or over none, for keeping; None where it has to be compiled anew."""
        return None


class Backend(ABC):
    """Base of all backends. ``name``, ``lowerings`` and the two conversions are all a forward-only one must give."""

    name: ClassVar[str]
    api: ClassVar[tuple[int, int]] = API_VERSION
    distribution: ClassVar[str] = ""
    lowerings: ClassVar[Lowerings]
    capabilities: ClassVar[Mapping[Capability, Literal[True] | Gap]] = {}
    compilers: ClassVar[Sequence[str]] = ()
    """The compilers of the framework's own that ``CompileOptions.compiler`` may name. What was used stands on the executable as ``compiler``."""
    tolerances: ClassVar[Mapping[str, float]] = {}
    """The relative error per dtype that this backend asks of the conformance suite, which caps it; float32 and float64 have defaults there."""
    known_defects: ClassVar[Mapping[str, Gap]] = {}
    """Conformance tests that fail or are refused here, by test id, each with its reason. Strict: one that passes fails the suite."""

    def __init__(self, device: str = "cpu") -> None:
        if device not in self.devices():
            raise UnsupportedError(
                f"the backend {self.name} has no device {device!r} here.",
                expected=" or ".join(self.devices()),
                given=device,
                remedy="leave device out, or choose one of these",
            )
        self.device = device

    @classmethod
    @abstractmethod
    def framework_version(cls) -> str:
        """The version of the framework beneath, as it says itself."""

    @classmethod
    def devices(cls) -> Sequence[str]:
        return ("cpu",)

    @abstractmethod
    def from_numpy(self, array: Array) -> Any:
        """A native array with the same numbers; it may share the memory, which is never written to again."""

    @abstractmethod
    def to_numpy(self, array: Any) -> Array:
        """A NumPy array with the same numbers, once they are there."""

    def scope(self) -> Any:
        """A context manager in which native calls are made; for frameworks that need one."""
        import contextlib

        return contextlib.nullcontext()

    @classmethod
    def gap(cls, capability: Capability) -> Gap | None:
        """None where the capability is claimed, else the reason why it is not."""
        answer = cls.capabilities.get(capability, Gap("not_implemented", "not claimed"))
        return None if answer is True else answer

    @classmethod
    def require(cls, capability: Capability, what: str, source: Source | None = None) -> None:
        """Refuse work that needs a capability this backend does not claim."""
        gap = cls.gap(capability)
        if gap is not None:
            raise UnsupportedError(
                f"{what} needs {capability.value}, which the backend {cls.name} does not have.",
                given=str(gap),
                remedy="choose another backend: unimodel backends lists them",
                source=source,
            )

    def core_gradient(self, node: Node) -> bool:
        """Whether a gradient is core's also where the framework differentiates: of elementwise ops and reductions that it differentiates wrongly, or not at all."""
        return False

    def check(self, nodes: Iterable[Node]) -> None:
        """Refuse a prepared graph in which some op has no lowering, or that needs control flow where none is claimed, before anything runs."""
        nodes = list(nodes)
        for node in nodes:
            if node.op in CONTROL_FLOW:
                self.require(Capability.CONTROL_FLOW, f"um.ops.{node.op.name}", node.source)
            for body in bodies(node).values():
                self.check(body.nodes)
        missing = [n for n in nodes if n.op.name not in self.lowerings and n.op.name not in regions]
        if missing:
            raise UnsupportedError(
                f"the backend {self.name} has no lowering for {', '.join(sorted({n.op.name for n in missing}))}.",
                given=repr(missing[0]),
                remedy="choose another backend, or add the lowering to this one's table",
                source=missing[0].source,
            )

    def store(self, arrays: Mapping[str, Array]) -> Store:
        return Store(self, arrays)

    def compile(self, graph: Graph, store: Store, options: CompileOptions | None = None) -> Executable:
        """The graph as something that runs. This default walks over the nodes; override it to build a native program.

        Left open who differentiates, the framework does where it is claimed to, through ``value_and_grad``, else core.
        """
        way = (options or CompileOptions()).differentiation
        if way == "native":
            self.require(Capability.NATIVE_DIFFERENTIATION, "differentiation='native'")
        elif way == "auto":
            way = "native" if self.gap(Capability.NATIVE_DIFFERENTIATION) is None else "core"
        prepared = prepare(graph, self.lowerings.accepts, native_regions=way == "native", core_gradient=self.core_gradient)
        self.check(prepared.nodes)
        return Interpreter(self, prepared, store, way)

    def value_and_grad(self, function: Callable[..., list[Any]], inputs: Sequence[Any], wrt: Sequence[int]) -> tuple[list[Any], list[Any]]:
        """Call a function of native arrays and differentiate its first result, a 0-d array, with the framework's own means.

        Returns all its results, and the gradients for the inputs at the places ``wrt``. What a backend that claims native differentiation gives if it keeps the
        default ``compile``.
        """
        self.require(Capability.NATIVE_DIFFERENTIATION, "value_and_grad()")
        raise NotImplementedError(f"{type(self).__name__} claims native differentiation and overrides neither value_and_grad() nor compile()")

    def native(self, graph: Graph, store: Store, buffers: Collection[str] = ()) -> Any:
        """The framework's own object for a forward graph with its state, which runs without unimodel. ``buffers`` names the state that is not trained."""
        self.require(Capability.NATIVE_ARTIFACT, "native()")
        raise NotImplementedError(f"{type(self).__name__} claims a native artifact and does not override native()")


class Interpreter(Executable):
    """Runs a prepared graph node by node; ``differentiation`` says whether regions in it are left to the framework."""

    def __init__(self, backend: Backend, graph: Graph, store: Store, differentiation: Literal["native", "core"] = "core") -> None:
        self.backend = backend
        self.graph = graph
        self.store = store
        self.differentiation = differentiation
        self._walk = Walk(backend, graph, [*graph.outputs, *(v for _, v in graph.updates)])
        self._batch = graph.of_kind("batch")
        self._state = graph.of_kind("state")
        self._scalars = graph.of_kind("scalar")

    def run(self, batch: Sequence[Array], scalars: Sequence[float]) -> list[Any]:
        backend, environment = self.backend, {}
        sizes = self.graph.sizes({e.name: a.shape for e, a in zip(self._batch, batch, strict=True)})
        for entry, array in zip(self._batch, batch, strict=True):
            environment[entry.value] = backend.from_numpy(np.array(array, dtype=entry.spec.dtype))
        for entry, number in zip(self._scalars, scalars, strict=True):
            environment[entry.value] = backend.from_numpy(np.asarray(number, entry.spec.dtype))
        for entry in self._state:
            environment[entry.value] = self.store.arrays[entry.name]
        with backend.scope():
            results = self._walk(environment, sizes)
        for (entry, _), array in zip(self.graph.updates, results[len(self.graph.outputs) :], strict=True):
            self.store.arrays[entry.name] = array
        return results[: len(self.graph.outputs)]

    def read(self, handle: Any) -> list[Array]:
        return [np.array(self.backend.to_numpy(a)) for a in handle]

    def over(self, store: Any) -> Interpreter:
        other = copy.copy(self)
        other.store = store
        return other

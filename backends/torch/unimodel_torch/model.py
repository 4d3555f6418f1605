"""A graph written down as one straight-line torch program, and the native module made the same way.

Every lowering runs once, on ``torch.fx`` proxies: each torch call it makes becomes a line of source, and fx generates the function, which drops every
temporary after its last use. What is known while writing is computed then: an op whose inputs are all constants runs at once. Host numbers (learning
rate, step count, batch size) stay Python numbers in the program, and become tensors only where an op takes nothing else.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import Any

import torch
from torch.fx import Graph as Program
from torch.fx import GraphModule, Proxy
from torch.fx.proxy import GraphAppendingTracer

from unimodel.backend import Store
from unimodel.dim import Dim, Size
from unimodel.errors import Source
from unimodel.graph import Graph, Input, Node, Value
from unimodel.op import checkpoint_op, cond_op, regions, scan_op, value_and_grad_op, while_loop_op
from unimodel.passes import SCALAR_ARITHMETIC, fuse_bias, prepare, unroll
from unimodel.regions import active_values, bodies
from unimodel_torch.arrays import DTYPES
from unimodel_torch.control import branch, loop, recomputed, rounds, whole
from unimodel_torch.ops import NOT_DIFFERENTIABLE, NUMBERS, WHOLE_GROUPS, differentiable, lower
from unimodel_torch.views import borrowed

EXACT = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "negative": operator.neg}
"""Arithmetic on Python numbers that raises nothing, and stays exact on integers."""


class Number(Proxy):
    """A Python number that is known when the program runs, not a tensor."""


NUMBER = (bool, int, float, Number)
UNIFORM = frozenset(["reshape", "broadcast_to", "permute_dims", "slice", "flip", "stop_gradient"])
"""Ops that move elements about and change none."""


class Recorder(GraphAppendingTracer):
    """Notes, for each line of the program, the user's line behind it."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.source: Source | None = None
        self.sources: dict[str, Source | None] = {}
        self.constants: dict[str, torch.Tensor] = {}
        self._lifted: dict[int, Proxy] = {}

    def create_node(self, *args: Any, **kwargs: Any) -> Any:
        node = super().create_node(*args, **kwargs)
        self.sources[node.name] = self.source
        return node

    def create_arg(self, a: Any) -> Any:
        return self.lift(a).node if isinstance(a, torch.Tensor) else super().create_arg(a)

    def lift(self, tensor: torch.Tensor) -> Proxy:
        """A constant tensor as a line of the program."""
        if id(tensor) not in self._lifted:
            name = f"constant{len(self.constants)}"
            self.constants[name] = tensor
            self._lifted[id(tensor)] = self.create_proxy("get_attr", name, (), {})
        return self._lifted[id(tensor)]


class Sized:
    """A node as its lowering sees it: symbolic sizes in its attributes, and in ``shape``, that of its first result, are the program's own numbers.

    ``asked`` says which of its results somebody needs.
    """

    def __init__(self, node: Node, resolve: Callable[[Any], Any], asked: Sequence[bool]) -> None:
        self.node = node
        self.asked = asked
        self.resolve = resolve
        self.attrs = {k: resolve(v) for k, v in node.attrs.items()}

    @property
    def shape(self) -> Any:
        return self.resolve(self.node.outputs[0].spec.shape)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.node, name)


class Writer:
    """Writes nodes into a program. ``values`` maps each value to a proxy, or to what it is known to be: a tensor or a Python number."""

    def __init__(self, graph: Graph, device: str, arithmetic: Mapping[str, Callable[..., Any]]) -> None:
        self.program = Program()
        self.tracer = Recorder(self.program)
        self.device = device
        self.arithmetic = {**arithmetic, **EXACT}
        self.values: dict[Value, Any] = {}
        self.wanted = {*graph.outputs, *(v for _, v in graph.updates)}
        self._sizes: dict[Size, Any] = {}
        self._places: dict[str, tuple[Proxy, int]] = {}
        self._names: set[str] = set()
        self.parts: list[Compiled] = []
        """The functions that this program calls."""

    # inputs
    def placeholder(self, entry: Input) -> None:
        """An argument of the program for a graph input."""
        name = re.sub(r"\W", "_", f"{entry.kind}_{entry.name}")
        while name in self._names:
            name += "_"
        self._names.add(name)
        proxy = self.tracer.create_proxy("placeholder", name, (), {})
        self.values[entry.value] = Number(proxy.node, self.tracer) if entry.kind == "scalar" else proxy
        for axis, size in enumerate(entry.spec.shape if entry.kind == "batch" else ()):
            for symbol in size.symbols if isinstance(size, Dim) else ():
                if size == Dim.symbol(symbol):
                    self._places.setdefault(symbol, (proxy, axis))

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Proxy:
        """A line that calls a function, for functions that do not see proxies themselves."""
        return self.tracer.create_proxy("call_function", function, args, kwargs)

    # sizes
    def size(self, size: Size) -> Any:
        """A size as a number of the program, computed where it is first needed."""
        if not isinstance(size, Dim):
            return size
        if size not in self._sizes:
            total: Any = None
            for monomial, coefficient in size.terms.items():
                term: Any = None if coefficient == 1 and monomial else coefficient
                for name in monomial:
                    if name not in self._sizes:
                        x, axis = self._places[name]
                        self._sizes[name] = x.size(axis)
                    term = self._sizes[name] if term is None else term * self._sizes[name]
                total = term if total is None else total + term
            self._sizes[size] = total
        return self._sizes[size]

    def resolve(self, attribute: Any) -> Any:
        """An attribute with its symbolic sizes replaced."""
        if isinstance(attribute, tuple):
            return tuple(self.resolve(a) for a in attribute)
        return self.size(attribute) if isinstance(attribute, Dim) else attribute

    # values
    def tensor(self, value: Value) -> Proxy:
        """A value as a tensor of the program, whatever is known of it."""
        found = self.values[value]
        if isinstance(found, Proxy) and not isinstance(found, Number):
            return found
        if isinstance(found, torch.Tensor):
            return self.tracer.lift(found)
        dtype = DTYPES[value.spec.dtype]
        late = isinstance(found, Number)
        scalar = self.call(torch.scalar_tensor, found, dtype=dtype, device=self.device) if late else self.tracer.lift(torch.tensor(found, dtype=dtype))
        return scalar.expand(self.resolve(value.spec.shape)) if value.spec.shape else scalar

    def known(self, value: Value) -> torch.Tensor:
        """A constant as a tensor."""
        found = self.values[value]
        return found if isinstance(found, torch.Tensor) else torch.full(value.spec.shape, found, dtype=DTYPES[value.spec.dtype])

    # nodes
    def write(self, node: Node, instead: Mapping[str, Callable[..., Any]] = MappingProxyType({})) -> None:
        """The lines of one node. ``instead`` holds lowerings that take others' place."""
        self.tracer.source = node.source
        if node.op is value_and_grad_op:
            self.region(node)
            return
        if node.op.name in regions:
            self.control(node, instead)
            return
        if node.op.name in WHOLE_GROUPS:
            self.inline(node)
            return
        result = self.arithmetic_of(node)
        if result is None:
            result = self.lowered(node, instead.get(node.op.name) or lower[node.op.name])
            if type(result) is tuple and any(r is None and v in self.wanted for r, v in zip(result, node.outputs, strict=True)):
                self.inline(node)  # the kernel does not give all that is asked
                return
        for i, value in enumerate(node.outputs):
            if value.users or value in self.wanted:
                self.values[value] = result if len(node.outputs) == 1 else result[i]

    def arithmetic_of(self, node: Node) -> Any:
        """The result of an op on numbers alone, where it is a number again: one number stands for a tensor of any shape that holds it everywhere."""
        inputs = [None if v is None else self.values[v] for v in node.inputs]
        name, spec = node.op.name, node.outputs[0].spec
        if name == "extent":
            result = self.size(node.attrs["dim"])
        elif not inputs or not all(isinstance(v, NUMBER) for v in inputs):
            return None
        elif name in UNIFORM or (name == "cast" and spec.is_float):
            return inputs[0]
        elif name in EXACT or (name in SCALAR_ARITHMETIC and spec.is_float):
            function = self.arithmetic[name]
            result = self.call(function, *inputs) if any(isinstance(v, Proxy) for v in inputs) else function(*inputs)
        else:
            return None
        return Number(result.node, self.tracer) if isinstance(result, Proxy) else result

    def lowered(self, node: Node, lowering: Callable[..., Any]) -> Any:
        """What a lowering makes of a node: lines of the program, or a constant where all it takes is constant."""
        view = Sized(node, self.resolve, [bool(v.users) or v in self.wanted for v in node.outputs])
        given = {i: (v, self.values[v]) for i, v in enumerate(node.inputs) if v is not None}
        full = any(v.spec.shape == node.outputs[0].spec.shape for v, found in given.values() if not isinstance(found, NUMBER))
        may = NUMBERS.get(node.op.name, ())
        numbers = [i for i, (v, found) in given.items() if i in may and isinstance(found, NUMBER) and (full or not v.spec.shape)]
        if len(numbers) == 2:  # torch takes the dtype from the other one, so one must be a tensor
            numbers.pop()
        tensors = {i: v for i, (v, _) in given.items() if i not in numbers}
        late = any(isinstance(found, Proxy) for _, found in given.values()) or has_proxy(tuple(view.attrs.values()))
        late = late or any(has_proxy(self.resolve(v.spec.shape)) for v in tensors.values())
        arguments = [
            None if i not in given else given[i][1] if i in numbers else (self.tensor if late else self.known)(tensors[i]) for i in range(len(node.inputs))
        ]
        result = lowering(view, *arguments)
        if not given and isinstance(result, Proxy) and self.device != "cpu":
            result = result.to(self.device)
        return result

    def inline(self, node: Node) -> None:
        """The lines of a composite's own decomposition."""
        specs = [None if v is None else v.spec for v in node.inputs]
        body = prepare(node.op.decompose(specs, dict(node.attrs), node.outputs[0].spec.dtype), lower.accepts)
        for entry, value in zip(body.inputs, (v for v in node.inputs if v is not None), strict=True):
            self.values[entry.value] = self.values[value]
        self.wanted |= set(body.outputs)
        for inner in body.nodes:
            self.write(inner)
        for outer, value in zip(node.outputs, body.outputs, strict=True):
            self.values[outer] = self.values[value]

    def result(self, value: Value, kept: Mapping[Value, Any]) -> Any:
        """What the program returns for a value: a tensor, or a host number as it is."""
        found = kept.get(value, self.values[value])
        if value not in kept and (value.spec.shape or not isinstance(found, NUMBER)):
            found = self.tensor(value)
        return self.tracer.create_arg(found)

    def control(self, node: Node, instead: Mapping[str, Callable[..., Any]]) -> None:
        """A call of the function that a branch, a loop or a checkpoint is."""
        attrs, inputs = node.attrs, [self.tensor(v) for v in node.inputs if v is not None]
        symbols = sorted({s for body in bodies(node).values() for s in symbols_of(body)})
        alone = node.op is not scan_op and node.op is not while_loop_op
        made = {name: self.body(body, symbols, instead, alone) for name, body in bodies(node).items()}
        sizes = [self.size(Dim.symbol(s)) for s in symbols]
        if node.op is cond_op:
            results = self.call(branch(made["then"], made["otherwise"]), *inputs, *sizes)
        elif node.op is while_loop_op:
            results = self.call(loop(made["condition"], made["body"], attrs["carries"], borrowed(attrs["body"])), *inputs, *sizes)
        elif node.op is scan_op:
            stacks = [v.spec for v in node.outputs[attrs["carries"] :]]
            function = rounds(made["body"], attrs["carries"], attrs["xs"], attrs["reverse"], borrowed(attrs["body"]))
            shapes, dtypes = tuple(self.resolve(s.shape) for s in stacks), tuple(DTYPES[s.dtype] for s in stacks)
            results = self.call(function, self.size(attrs["length"]), shapes, dtypes, *inputs, *sizes)
        else:
            results = self.call((recomputed if instead else whole)(made["body"]), *inputs, *sizes)
        for i, value in enumerate(node.outputs):
            if value.users or value in self.wanted:
                self.values[value] = results[i]

    def body(self, body: Graph, symbols: Sequence[str], instead: Mapping[str, Callable[..., Any]], alone: bool) -> Compiled:
        """A body as a function of its inputs and of the symbolic sizes; ``alone`` where its results must be in memory of their own."""
        writer = Writer(body, self.device, self.arithmetic)
        for entry in body.inputs:
            writer.placeholder(entry)
        for symbol in symbols:
            size = writer.tracer.create_proxy("placeholder", f"size_{symbol}", (), {})
            writer._sizes[symbol] = writer._sizes[Dim.symbol(symbol)] = Number(size.node, writer.tracer)  # type: ignore[index]  # looked up by either
        for node in body.nodes:
            writer.write(node, instead)
        copied = borrowed(body) if alone else [False] * len(body.outputs)
        results = [writer.tensor(v) for v in body.outputs]
        writer.program.output(tuple((t.clone() if c else t).node for t, c in zip(results, copied, strict=True)))
        self.parts.append(Compiled(writer, self.device))
        return self.parts[-1]

    def region(self, node: Node) -> None:
        """A region that torch differentiates: its body in grad mode, on leaves that share memory with what is asked for."""
        body, wrt = node.attrs["body"], node.attrs["wrt"]
        depends = body.outputs[0] in active_values(body, wrt)  # torch refuses to differentiate what depends on nothing
        leaves = [self.tensor(node.inputs[i]).detach().requires_grad_() for i in wrt]
        self.values.update((entry.value, self.values[outer]) for entry, outer in zip(body.inputs, node.inputs, strict=True))
        self.values.update((body.inputs[i].value, leaf) for i, leaf in zip(wrt, leaves, strict=True))
        if depends:
            self.call(torch.set_grad_enabled, True)
        self.wanted |= set(body.outputs)
        for inner in body.nodes:
            self.write(inner, differentiable)
        self.tracer.source = node.source
        if depends:
            gradients: Any = self.call(torch.autograd.grad, [self.tensor(body.outputs[0])], leaves, materialize_grads=True)
            self.call(torch.set_grad_enabled, False)
        else:
            gradients = [torch.zeros_like(leaf) for leaf in leaves]
        for outer, value in zip(node.outputs, body.outputs, strict=False):
            found = self.values[value]
            self.values[outer] = found if isinstance(found, (torch.Tensor, *NUMBER)) else found.detach()
        for i, outer in enumerate(node.outputs[len(body.outputs) :]):
            self.values[outer] = gradients[i]


class Compiled:
    """A program as a function, with the constants that it needs."""

    def __init__(self, writer: Writer, device: str) -> None:
        code = writer.program.python_code("self")
        names = dict(code.globals)
        exec(compile(code.src, "<torch program>", "exec"), names)
        self.source = code.src
        self.sources = writer.tracer.sources
        self.parts = writer.parts
        self.function = names["forward"]
        self.constants = SimpleNamespace(**{name: tensor.to(device) for name, tensor in writer.tracer.constants.items()})

    def __call__(self, *arguments: Any) -> Any:
        return self.function(self.constants, *arguments)

    def line_of(self, error: BaseException) -> Source | None:
        """The user's line behind the line that was running."""
        found: Source | None = None
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code is self.function.__code__:
                line = self.source.splitlines()[trace.tb_lineno - 1]
                found = self.sources.get(line.split("=")[0].strip())
            trace = trace.tb_next
        inside = [line for line in (part.line_of(error) for part in self.parts) if line is not None]
        return inside[-1] if inside else found


def symbols_of(graph: Graph) -> set[str]:
    """The symbolic sizes in a body."""
    found: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, tuple):
            for part in value:
                look(part)
        elif isinstance(value, Dim):
            found.update(value.symbols)

    for value in graph.values():
        look(value.spec.shape)
    for node in graph.nodes:
        look(tuple(v for v in node.attrs.values() if not isinstance(v, Graph)))
        for body in bodies(node).values():
            found.update(symbols_of(body))
    return found


def has_proxy(attribute: Any) -> bool:
    return isinstance(attribute, Proxy) or (isinstance(attribute, tuple) and any(has_proxy(a) for a in attribute))


def lowers_for_autograd(node: Node) -> bool:
    """What stays whole where torch differentiates: not the kernels that torch differentiates with respect to some inputs only."""
    return lowers(node) and node.op.name not in NOT_DIFFERENTIABLE


def lowers(node: Node) -> bool:
    """What stays whole: what the table has, and checkpoints."""
    return node.op is checkpoint_op or lower.accepts(node)


def native_module(graph: Graph, store: Store, device: str, buffers: Collection[str]) -> GraphModule:
    """A forward graph as an ``nn.Module`` that needs only torch: its batch inputs are its arguments, then its host scalars, as Python numbers.

    State is registered under its own names, ``fc1.weight`` as ``weight`` of a submodule ``fc1``. ``buffers`` names what is no parameter; integers and the
    statistics of batch norm never are. Results come as a tuple, or alone where there is one. Updates are left out.
    """
    prepared = fuse_bias(prepare(unroll(Graph(graph.inputs, graph.nodes, graph.outputs)), lower.accepts))
    # fx writes functions by their names: only those of Python's own modules are found again where unimodel is not installed
    writer = Writer(prepared, device, {"true_divide": operator.truediv, "pow": operator.pow, "sqrt": math.sqrt, "exp": math.exp, "log": math.log})
    statistics = {v for node in prepared.nodes if node.op.name == "batch_norm_inference" for v in node.inputs[1:3]}
    root = torch.nn.Module()
    for entry in prepared.inputs:
        if entry.kind == "state":
            tensor = store.arrays[entry.name].clone()
            fixed = entry.name in buffers or entry.value in statistics or not tensor.is_floating_point()
            register(root, entry.name, tensor if fixed else torch.nn.Parameter(tensor))
            writer.values[entry.value] = writer.tracer.create_proxy("get_attr", entry.name, (), {})
    for entry in (*prepared.of_kind("batch"), *prepared.of_kind("scalar")):
        writer.placeholder(entry)
    for node in prepared.nodes:
        writer.write(node)
    results = tuple(writer.tensor(v).node for v in prepared.outputs)
    writer.program.output(results[0] if len(results) == 1 else results)
    for name, tensor in writer.tracer.constants.items():
        root.register_buffer(name, tensor.to(device))
    module = GraphModule(root, writer.program, "Native")
    for name, tensor in root.named_buffers(recurse=False):
        if name in writer.tracer.constants:  # no part of the state dict; fx has made it one
            delattr(module, name)
            module.register_buffer(name, tensor, persistent=False)
    return module


def register(root: torch.nn.Module, name: str, tensor: torch.Tensor) -> None:
    """Put a parameter or buffer at a dotted path, making the modules on the way."""
    *path, last = name.split(".")
    for part in path:
        if not hasattr(root, part):
            root.add_module(part, torch.nn.Module())
        root = getattr(root, part)
    if isinstance(tensor, torch.nn.Parameter):
        root.register_parameter(last, tensor)
    else:
        root.register_buffer(last, tensor)

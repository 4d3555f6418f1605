"""The compiled step: feeding a program, running it, reading back, and saying which user's line failed.

Who differentiates is decided by ``differentiation``.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from unimodel.backend import Backend, CompileOptions, Executable
from unimodel.errors import BackendError
from unimodel.graph import Array, Graph
from unimodel.op import value_and_grad_op
from unimodel.passes import SCALAR_ARITHMETIC, fuse_bias, prepare
from unimodel.regions import every_node
from unimodel_torch.arrays import TorchStore, to_numpy, to_torch
from unimodel_torch.inductor import Front, lowers_for_inductor, split
from unimodel_torch.model import Compiled, Writer, lowers, lowers_for_autograd
from unimodel_torch.ops import lower
from unimodel_torch.optimizer import Updates, narrowed


def differentiation(graph: Graph, options: CompileOptions) -> str:
    """Who differentiates a graph, where the options leave it open: core, unless a region holds attention or an LSTM that torch computes in one kernel.

    Core's gradients run in inference mode and without torch's autograd engine. A step against a hand-written loop, one thread, core and native: MLP
    10-20-1, batch 32, 0.25 and 0.71; convolutions of 16 and 32 channels on 28 x 28, batch 32, 0.76 and 0.87, with batch norm 0.93 and 1.2; ResNet-18 on
    32 x 32, batch 16, 0.95 and 1.05; GPT 4 x 128, batch 8 x 64, 1.07 and 0.96. There, rules take attention apart, and torch's kernel for its gradient is
    lost, with it the memory that it saves (6 x 256, length 256: 320 MB and 180). LSTM 2 x 256, batch 16 x 64: 1.1 and 1.0, but GRU 0.9 and 1.0.
    """
    if options.differentiation != "auto":
        return options.differentiation
    if options.compiler == "inductor":  # which fuses what rules take apart
        return "core"
    inside = (n for region in graph.nodes if region.op is value_and_grad_op for n in every_node(region.attrs["body"]))
    return "native" if any(n.op.name in ("attention", "lstm") and lower.accepts(n) for n in inside) else "core"


class TorchExecutable(Executable):
    """A program bound to a store: its arguments are state, batch and host scalars, in the graph's order."""

    def __init__(self, backend: Backend, graph: Graph, store: TorchStore, options: CompileOptions) -> None:
        self.compiler = "inductor" if options.compiler == "inductor" else "none"
        self.differentiation = differentiation(graph, options)
        native = self.differentiation == "native" and any(n.op is value_and_grad_op for n in graph.nodes)
        accepts = lowers_for_autograd if native else lowers_for_inductor if self.compiler == "inductor" else lowers
        prepared = narrowed(fuse_bias(prepare(graph, accepts, native_regions=native, native_control=True, core_gradient=backend.core_gradient)))
        backend.check(prepared.nodes)
        self.dtypes = [np.dtype(e.spec.dtype) for e in prepared.of_kind("batch")]
        self.front: Front | None = None
        if self.compiler == "inductor":
            self.front, prepared = split(prepared, backend.device)
        writer = Writer(prepared, backend.device, SCALAR_ARITHMETIC)
        for kind in ("state", "batch", "scalar"):
            for entry in prepared.of_kind(kind):
                writer.placeholder(entry)
        Updates(prepared, writer).write()
        self.program = Compiled(writer, backend.device)
        self.source, self.function, self.constants = self.program.source, self.program.function, self.program.constants
        self.mode = torch.no_grad if native or self.front is not None else torch.inference_mode  # autograd cannot save what is made in inference mode
        if backend.device != "cpu":
            self.mode = exact(self.mode)
        self.backend = backend
        self.store = store
        self.outputs = [v.spec.dtype for v in prepared.outputs]
        self.names = [e.name for e in prepared.of_kind("state")]
        self.version = -1
        self.state: tuple[Any, ...] = ()

    def arguments(self, batch: Sequence[Array], scalars: Sequence[float]) -> list[Any]:
        if self.version != self.store.version:
            self.state = tuple(self.store.arrays[name] for name in self.names)
            self.version = self.store.version
        device = self.backend.device
        tensors: Sequence[torch.Tensor] = [
            to_torch(array if array.dtype == dtype else array.astype(dtype), device) for array, dtype in zip(batch, self.dtypes, strict=True)
        ]
        if self.front is not None:
            tensors = self.front(self.state, tensors, scalars)
        return [self.constants, *self.state, *tensors, *scalars]

    def run(self, batch: Sequence[Array], scalars: Sequence[float]) -> Any:
        try:
            with self.mode():
                return self.function(*self.arguments(batch, scalars))
        except Exception as error:
            raise self.explained(error) from error

    def run_many(self, batches: Sequence[Sequence[Array]], scalars: Sequence[Sequence[float]]) -> list[Any]:
        try:
            with self.mode():
                return [self.function(*self.arguments(batch, numbers)) for batch, numbers in zip(batches, scalars, strict=True)]
        except Exception as error:
            raise self.explained(error) from error

    def read(self, handle: Any) -> list[Array]:
        return [to_numpy(value, dtype).copy() for value, dtype in zip(handle, self.outputs, strict=True)]

    def over(self, store: Any) -> TorchExecutable:
        other = copy.copy(self)
        other.store, other.version, other.state = store, -1, ()
        return other

    def explained(self, error: Exception) -> BackendError:
        """A failure with the user's line: that of the program's line which was running."""
        return BackendError("torch failed while the program ran.", given=f"{type(error).__name__}: {error}", source=self.program.line_of(error))


def exact(mode: Any) -> Any:
    """A mode in which an accelerator's kernels keep float32's precision, and are not chosen by timing."""

    @contextlib.contextmanager
    def both() -> Iterator[None]:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False), mode():
            yield

    return both

"""The PyTorch backend."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import torch

from unimodel.backend import Backend, Capability, CompileOptions, Store
from unimodel.graph import Array, Graph, Node
from unimodel.passes.straight_through import varying_power
from unimodel.plugins import hookimpl
from unimodel_torch.arrays import TorchStore, keep_memory, to_numpy, to_torch
from unimodel_torch.model import native_module
from unimodel_torch.ops import lower
from unimodel_torch.trainer import TorchExecutable


class TorchBackend(Backend):
    name = "torch"
    lowerings = lower
    compilers = ("inductor",)
    capabilities: ClassVar = {
        Capability.TRAINING: True,
        Capability.FLOAT64: True,
        Capability.NATIVE_DIFFERENTIATION: True,
        Capability.NATIVE_ARTIFACT: True,
        Capability.ACCELERATOR: True,
        Capability.MIXED_PRECISION: True,
        Capability.CONTROL_FLOW: True,
    }

    @classmethod
    def framework_version(cls) -> str:
        return str(torch.__version__)

    @classmethod
    def devices(cls) -> Sequence[str]:
        return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)

    def from_numpy(self, array: Array) -> torch.Tensor:
        return to_torch(array, self.device)

    def to_numpy(self, array: Any) -> Array:
        return to_numpy(array)

    def store(self, arrays: Mapping[str, Array]) -> TorchStore:
        return TorchStore(self, arrays)

    def core_gradient(self, node: Node) -> bool:
        return varying_power(node)

    def compile(self, graph: Graph, store: Store, options: CompileOptions | None = None) -> TorchExecutable:
        assert isinstance(store, TorchStore), "a store of this backend"
        keep_memory()
        return TorchExecutable(self, graph, store, options or CompileOptions())

    def native(self, graph: Graph, store: Store, buffers: Collection[str] = ()) -> torch.nn.Module:
        return native_module(graph, store, self.device, buffers)


@hookimpl
def unimodel_backend() -> type[TorchBackend]:
    return TorchBackend

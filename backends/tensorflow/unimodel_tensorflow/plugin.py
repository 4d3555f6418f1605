"""The TensorFlow backend: what it can do, and which way it compiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from unimodel.backend import Backend, Capability, CompileOptions, Executable, Store, not_implemented
from unimodel.graph import Graph, Node
from unimodel.op import checkpoint_op
from unimodel.passes import channels_last, prepare
from unimodel.passes.layout import IMAGES
from unimodel.plugins import hookimpl
from unimodel.regions import every_node
from unimodel_tensorflow.arrays import VariableStore, spare_accelerators, tf, to_numpy, to_tensor
from unimodel_tensorflow.model import CORE_GRADIENT, native_module, refuse_under_xla
from unimodel_tensorflow.ops import lower
from unimodel_tensorflow.trainer import Program


def lowers_for_tape(node: Node) -> bool:
    """What stays whole where TensorFlow differentiates: not the kernels that it differentiates with respect to some inputs only, or not at all."""
    whole = node.op.name in CORE_GRADIENT or not node.op.name.endswith(("_gradient", "_inference"))
    return lower.accepts(node) and whole if node.op.composite else node.op is not checkpoint_op


class TensorFlowBackend(Backend):
    name = "tensorflow"
    lowerings = lower
    compilers = ("xla",)
    capabilities = {
        Capability.TRAINING: True,
        Capability.FLOAT64: True,
        Capability.NATIVE_DIFFERENTIATION: True,
        Capability.NATIVE_ARTIFACT: True,
        Capability.MIXED_PRECISION: True,
        Capability.CONTROL_FLOW: True,
        Capability.ACCELERATOR: not_implemented("kernels and layouts are chosen for the CPU"),
    }

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        spare_accelerators()

    @classmethod
    def framework_version(cls) -> str:
        return str(tf.__version__)

    from_numpy, to_numpy = staticmethod(to_tensor), staticmethod(to_numpy)

    def store(self, arrays: Mapping[str, np.ndarray]) -> Store:
        return VariableStore(self, arrays)

    def compile(self, graph: Graph, store: Store, options: CompileOptions | None = None) -> Executable:
        """The graph as one TensorFlow function.

        ``auto`` differentiates in core: TensorFlow's own differentiation was never faster, and takes longer to trace. And it leaves XLA alone,
        which takes seconds to compile, and again for every shape.
        """
        compiler = "xla" if options is not None and options.compiler == "xla" else "none"
        if compiler == "xla":
            refuse_under_xla(every_node(graph))
        native = options is not None and options.differentiation == "native"
        prepared = channels_last(prepare(graph, lowers_for_tape if native else lower.accepts, native_regions=native), IMAGES)
        self.check(prepared.nodes)
        return Program(prepared, store, "native" if native else "core", compiler)

    def native(self, graph: Graph, store: Store) -> Any:
        return native_module(graph, store)


@hookimpl
def unimodel_backend() -> type[TensorFlowBackend]:
    return TensorFlowBackend

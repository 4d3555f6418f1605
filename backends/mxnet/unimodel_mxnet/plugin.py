"""The MXNet backend: every graph one or two bound executors, on the CPU."""

from __future__ import annotations

from typing import Any, ClassVar

from unimodel.backend import Backend, Capability, CompileOptions, Executable, never, not_yet
from unimodel.executables import PerShape, SetAside, Together
from unimodel.graph import Graph, Node
from unimodel.passes.straight_through import varying_power
from unimodel.plugins import hookimpl
from unimodel_mxnet import nn
from unimodel_mxnet.arrays import MxnetStore, device_array, host_array
from unimodel_mxnet.native import native_block
from unimodel_mxnet.shim import mx
from unimodel_mxnet.trainer import TOGETHER, Program, light, prepared

RETIRED = "https://attic.apache.org/projects/mxnet.html"
CORE_GRADIENT = frozenset(("maximum", "minimum", "max", "min", "prod", "erfinv", "lgamma"))
"""Ops whose gradient MXNet lacks, has to float32's digits, or, where elements are equal, shares otherwise."""


class MxnetBackend(Backend):
    name = "mxnet"
    lowerings = nn.lower
    capabilities: ClassVar = {
        Capability.TRAINING: True,
        Capability.FLOAT64: True,
        Capability.NATIVE_DIFFERENTIATION: True,
        Capability.NATIVE_ARTIFACT: True,
        Capability.MIXED_PRECISION: not_yet("MXNet's CPU kernels for float16 and bfloat16 are few, and the project is retired", RETIRED),
        Capability.CONTROL_FLOW: True,
        Capability.ACCELERATOR: never("the last release's wheel is built for the CPU", RETIRED),
    }

    @classmethod
    def framework_version(cls) -> str:
        return str(mx.__version__)

    from_numpy = staticmethod(device_array)
    to_numpy = staticmethod(host_array)

    def store(self, arrays: Any) -> MxnetStore:
        return MxnetStore(self, arrays)

    def compile(self, graph: Graph, store: Any, options: CompileOptions | None = None) -> Executable:
        graph, differentiation = prepared(self, graph, options or CompileOptions())
        self.check(graph.nodes)

        def program(graph: Graph, store: Any) -> Executable:
            return PerShape(graph, lambda part, store: SetAside(Program(self, part, store, differentiation)), store)

        executable = Together(graph, TOGETHER, program, store) if differentiation == "core" and light(graph) else program(graph, store)
        executable.differentiation = differentiation
        return executable

    def core_gradient(self, node: Node) -> bool:
        """Of erf MXNet's has a float32 constant."""
        return node.op.name in CORE_GRADIENT or varying_power(node) or (node.op.name == "erf" and node.outputs[0].spec.dtype == "float64")

    def native(self, graph: Graph, store: Any) -> Any:
        return native_block(self, graph, store)


@hookimpl
def unimodel_backend() -> type[MxnetBackend]:
    return MxnetBackend

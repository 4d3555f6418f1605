"""The native artifact: a forward graph lowered once without sizes, as a Gluon block that holds its numbers.

``block.export(path)`` writes MXNet's own files, symbol and parameters; a process without unimodel loads them with ``gluon.SymbolBlock.imports``
and gives batches of any size. What the block's inputs are called stands in ``block.input_names``.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np

from unimodel.backend import Backend, Store
from unimodel.errors import BackendError
from unimodel.graph import Graph
from unimodel.passes import fuse_bias, prepare, unroll
from unimodel.passes.empties import without_empties
from unimodel_mxnet.arrays import device_array, reason, shapes
from unimodel_mxnet.model import Build
from unimodel_mxnet.shim import mx


class NativeBlock(mx.gluon.SymbolBlock):
    """A SymbolBlock that knows its inputs' names, which ``SymbolBlock.imports`` asks for."""

    input_names: tuple[str, ...] = ()

    def __call__(self, *arguments: Any) -> Any:
        with shapes():  # single numbers on the way need it
            return super().__call__(*arguments)

    def export(self, path: str, epoch: int = 0, remove_amp_cast: bool = True) -> tuple[str, str]:
        """Write ``path-symbol.json`` and ``path-0000.params``, without the forward call that Gluon's own export needs first."""
        symbol = self._cached_graph[1]
        auxiliary = set(symbol.list_auxiliary_states())
        files = f"{path}-symbol.json", f"{path}-{epoch:04d}.params"
        symbol.save(files[0], remove_amp_cast=remove_amp_cast)
        # Saved in NumPy's shape semantics, the file would load only there; just arrays without dimensions need them.
        arrays = {("aux:" if n in auxiliary else "arg:") + n: p.data() for n, p in self.collect_params().items()}
        with mx.util.np_shape(any(a.shape == () for a in arrays.values())):
            mx.nd.save(files[1], arrays)
        return files


def native_block(backend: Backend, graph: Graph, store: Store) -> NativeBlock:
    prepared = without_empties(fuse_bias(prepare(unroll(graph), backend.lowerings.accepts)))
    backend.check(prepared.nodes)
    build = Build(backend.lowerings)
    build.places = prepared.places
    inputs, arrays = [], {}
    for entry in prepared.inputs:
        name = re.sub(r"\W", "_", entry.name) if entry.kind == "batch" else entry.name
        symbol = build.variable(entry.value, name)
        if entry.kind == "batch":
            inputs.append(symbol.as_nd_ndarray())
        elif any(entry.value in node.inputs for node in prepared.nodes):
            arrays[name] = store.read(entry.name)
    try:
        build.run(prepared.nodes)
        symbol = build.group(prepared.outputs)
        with shapes(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Cannot decide type")  # of the input, which is the caller's
            block = NativeBlock(symbol, inputs)
    except mx.MXNetError as error:
        raise BackendError("MXNet refused the native artifact.", given=reason(error)) from error
    arrays |= build.literals | build.auxiliary
    with shapes():
        for name, parameter in block.collect_params().items():
            array = arrays[name]
            parameter.shape, parameter.dtype, parameter.grad_req = array.shape, np.dtype(array.dtype).name, "null"
            parameter.initialize(mx.init.Zero(), ctx=mx.cpu())
            parameter.set_data(device_array(array))
    block.input_names = tuple(s.name for s in inputs)
    return block

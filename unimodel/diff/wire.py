"""Graphs as JSON and arrays: how they travel to another process, and how they are kept in files. Nothing in them is code.

An op is its name in the catalogue. Values are numbered, inputs first. Attributes that JSON has no form for (tuples, symbolic sizes, arrays, graphs, numbers
that are not finite) are objects with one key, which says what they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from unimodel.dim import Dim, Size
from unimodel.errors import DataError, Source
from unimodel.graph import DTYPES, Array, ArrayLiteral, Graph, Input, Node, TensorSpec, Value
from unimodel.op import regions
from unimodel.ops import catalogue


def pack(graph: Graph, arrays: dict[str, Array]) -> dict[str, Any]:
    """A graph as JSON; arrays among the attributes of its nodes are added to ``arrays``."""
    numbers = {value: i for i, value in enumerate(graph.values())}
    return {
        "inputs": [{"kind": e.kind, "name": e.name, "spec": _spec(e.spec)} for e in graph.inputs],
        "nodes": [
            {
                "op": node.op.name,
                "inputs": [None if v is None else numbers[v] for v in node.inputs],
                "attrs": {name: _attribute(value, arrays) for name, value in node.attrs.items()},
                "outputs": [_spec(v.spec) for v in node.outputs],
                "source": pack_source(node.source),
            }
            for node in graph.nodes
        ],
        "outputs": [numbers[v] for v in graph.outputs],
        "updates": [[graph.inputs.index(entry), numbers[v]] for entry, v in graph.updates],
        "names": list(graph.output_names),
    }


def unpack(packed: Mapping[str, Any], arrays: Mapping[str, Array]) -> Graph:
    """The graph again."""
    inputs = tuple(Input(e["kind"], e["name"], Value(_read_spec(e["spec"]))) for e in packed["inputs"])
    values = [e.value for e in inputs]
    nodes = []
    for entry in packed["nodes"]:
        given = tuple(None if i is None else values[i] for i in entry["inputs"])
        attrs = {name: _read_attribute(value, arrays) for name, value in entry["attrs"].items()}
        node = Node(_op(entry["op"]), given, attrs, tuple(_read_spec(s) for s in entry["outputs"]), read_source(entry["source"]))
        nodes.append(node)
        values.extend(node.outputs)
    updates = tuple((inputs[i], values[v]) for i, v in packed["updates"])
    return Graph(inputs, tuple(nodes), tuple(values[i] for i in packed["outputs"]), updates, tuple(packed["names"]))


def _op(name: str) -> Any:
    if name in regions:
        return regions[name]
    if name not in catalogue:
        raise DataError(f"this version of unimodel has no op {name!r}.", remedy="use the version that wrote the file")
    return catalogue[name]


def pack_source(source: Source | None) -> dict[str, Any] | None:
    return None if source is None else {"file": source.file, "line": source.line, "function": source.function, "layer": source.layer}


def read_source(packed: Mapping[str, Any] | None) -> Source | None:
    return None if packed is None else Source(packed["file"], packed["line"], packed["function"], packed["layer"])


def _spec(spec: TensorSpec) -> list[Any]:
    return [spec.dtype, [_size(s) for s in spec.shape]]


def _read_spec(packed: Any) -> TensorSpec:
    dtype, shape = packed
    if dtype not in DTYPES:
        raise DataError("no tensor has this dtype.", given=repr(dtype))
    return TensorSpec(tuple(_read_size(s) for s in shape), dtype)


def _size(size: Size) -> Any:
    return {"dim": [[list(names), number] for names, number in size.terms.items()]} if isinstance(size, Dim) else size


def _read_size(packed: Any) -> Size:
    return Dim({tuple(names): number for names, number in packed["dim"]}) if isinstance(packed, dict) else int(packed)


def _attribute(value: Any, arrays: dict[str, Array]) -> Any:
    if isinstance(value, tuple):
        return {"tuple": [_attribute(v, arrays) for v in value]}
    if isinstance(value, Dim):
        return _size(value)
    if isinstance(value, ArrayLiteral):
        name = f"literal{len(arrays)}"
        arrays[name] = value.array
        return {"array": name}
    if isinstance(value, Graph):
        return {"graph": pack(value, arrays)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise DataError("an op has an attribute that cannot be written down.", expected="numbers, text, tuples, arrays or graphs", given=repr(value))


def _read_attribute(packed: Any, arrays: Mapping[str, Array]) -> Any:
    if not isinstance(packed, dict):
        return packed
    ((kind, value),) = packed.items()
    if kind == "tuple":
        return tuple(_read_attribute(v, arrays) for v in value)
    if kind == "dim":
        return _read_size(packed)
    if kind == "array":
        return ArrayLiteral(np.asarray(arrays[value]))
    if kind == "graph":
        return unpack(value, arrays)
    if kind == "float":
        return float(value)
    raise DataError("an attribute is of no known kind.", given=kind)

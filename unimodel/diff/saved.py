"""Pieces in files: each one a valid safetensors file, with JSON in its metadata and no code.

Tensors: ``input/NAME`` what goes in, ``literal/NAME`` arrays among the ops' attributes, ``result/BACKEND/NUMBER`` what came of it where that is kept. The
metadata's entry ``unimodel.piece`` holds the format's version, the graph, the host numbers, and whatever was found out about the piece.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize

from unimodel.diff.piece import Piece
from unimodel.diff.wire import pack, unpack
from unimodel.errors import DataError, ShapeError
from unimodel.graph import Array

FORMAT = 1
_KEY = "unimodel.piece"


def to_bytes(piece: Piece, found: Mapping[str, Any], results: Mapping[str, Sequence[Array]] | None = None) -> bytes:
    literals: dict[str, Array] = {}
    meta = {
        "format": FORMAT,
        "graph": pack(piece.graph, literals),
        "scalars": {name: float(value).hex() for name, value in piece.scalars.items()},
        "differentiation": piece.differentiation,
        "found": dict(found),
    }
    tensors = {f"input/{name}": array for name, array in piece.arrays.items()}
    tensors |= {f"literal/{name}": array for name, array in literals.items()}
    tensors |= {f"result/{name}/{i}": array for name, arrays in (results or {}).items() for i, array in enumerate(arrays)}
    return bytes(serialize({name: np.ascontiguousarray(a).reshape(a.shape) for name, a in tensors.items()}, {_KEY: json.dumps(meta)}))


def write(path: Path, piece: Piece, found: Mapping[str, Any], results: Mapping[str, Sequence[Array]] | None = None) -> None:
    """Write the file; it appears when it is complete."""
    unfinished = path.with_name(path.name + ".part")
    try:
        unfinished.write_bytes(to_bytes(piece, found, results))
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise DataError("the file cannot be written.", given=f"{path}: {error.strerror}", remedy="name a file in a folder that exists") from error


def read(path: Path) -> tuple[Piece, dict[str, Any], dict[str, list[Array]]]:
    """The piece, what was found out about it, and the results that were kept, by backend."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  the file is no mapping
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise DataError("this is no file of unimodel diff, or it is damaged.", given=f"{path}: {error}") from error
    if _KEY not in header:
        raise DataError("this safetensors file was not written by unimodel diff.", given=str(path), remedy="give a file written by unimodel diff --save")
    try:
        meta = json.loads(header[_KEY])
        if meta["format"] != FORMAT:
            raise DataError("the file is of another format.", expected=f"format {FORMAT}", given=f"format {meta['format']}", remedy="upgrade unimodel")
        graph = unpack(meta["graph"], _below("literal/", tensors))
        piece = Piece(graph, _below("input/", tensors), {n: float.fromhex(v) for n, v in meta["scalars"].items()}, meta["differentiation"])
        _complete(piece)
        results: dict[str, list[Array]] = {}
        for name in sorted(_below("result/", tensors), key=lambda n: int(n.rpartition("/")[2])):
            results.setdefault(name.rpartition("/")[0], []).append(tensors[f"result/{name}"])
        return piece, dict(meta["found"]), results
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ShapeError) as error:
        raise DataError("the file's metadata is damaged.", given=f"{path}: {type(error).__name__}: {error}") from error


def _below(prefix: str, tensors: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _complete(piece: Piece) -> None:
    """Every input must have its numbers, of its shape and dtype: native code is about to read them."""
    sizes = piece.sizes
    for entry in piece.graph.inputs:
        if entry.kind == "scalar":
            float(piece.scalars[entry.name])
            continue
        array, spec = piece.arrays[entry.name], entry.spec.at(sizes)
        if array.shape != spec.shape or array.dtype.name != spec.dtype:
            raise ValueError(f"{entry.name} should be {spec}, and is {array.dtype} {array.shape}")

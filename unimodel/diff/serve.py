"""A backend's process: runs the pieces it is sent, one after another. ``side.py`` is the other end.

A message is two lengths and two parts: JSON, and a safetensors file. What the framework prints goes to standard error: standard output is for messages.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
from safetensors.numpy import load, save

from unimodel import plugins
from unimodel.backend import Backend, Capability, CompileOptions, Executable, Store
from unimodel.diff.wire import unpack
from unimodel.errors import UnimodelError, UnsupportedError
from unimodel.graph import Array, Graph

_LENGTHS = struct.Struct("<QQ")


def send(stream: IO[bytes], message: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    head = json.dumps(message).encode()
    body = save({name: np.ascontiguousarray(a).reshape(a.shape) for name, a in arrays.items()})
    stream.write(_LENGTHS.pack(len(head), len(body)))
    stream.write(head)
    stream.write(body)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, Array]]:
    """The next message; ``EOFError`` where the other end is gone."""
    head, body = _LENGTHS.unpack(_exactly(stream, _LENGTHS.size))
    message, arrays = json.loads(_exactly(stream, head)), load(_exactly(stream, body))
    return message, {name: np.array(a) for name, a in arrays.items()}  # frameworks want memory of their own, aligned


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


class Server:
    """Compiled graphs by key, on one backend."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.compiled: dict[str, tuple[Graph, Store, Executable]] = {}

    def hello(self) -> dict[str, Any]:
        gap = self.backend.gap(Capability.FLOAT64)
        return {
            "version": str(self.backend.framework_version()),
            "tolerances": dict(self.backend.tolerances),
            "no_float64": None if gap is None else str(gap),
        }

    def run(self, message: Mapping[str, Any], arrays: Mapping[str, Array]) -> tuple[dict[str, Any], list[Array]]:
        inputs = {n.removeprefix("input/"): a for n, a in arrays.items() if n.startswith("input/")}
        key = message["key"]
        if key not in self.compiled:
            graph = unpack(message["graph"], {n.removeprefix("literal/"): a for n, a in arrays.items() if n.startswith("literal/")})
            store = self.backend.store({})
            for e in graph.of_kind("state"):
                if e.spec.dtype in store.keeps:
                    store.write_as(e.name, inputs[e.name], e.spec.dtype)
                else:
                    store.write(e.name, inputs[e.name])
            self.compiled[key] = graph, store, self.backend.compile(graph, store, CompileOptions(message["differentiation"]))
        graph, store, executable = self.compiled[key]
        for entry in graph.of_kind("state"):
            store.write(entry.name, inputs[entry.name])
        scalars = [float.fromhex(message["scalars"][e.name]) for e in graph.of_kind("scalar")]
        outputs = executable.read(executable.run([inputs[e.name] for e in graph.of_kind("batch")], scalars))
        results = [*outputs, *(store.read(entry.name) for entry, _ in graph.updates)]
        return {"differentiation": getattr(executable, "differentiation", "core")}, results


def serve(name: str, requests: IO[bytes], answers: IO[bytes]) -> None:
    try:
        server = Server(plugins.load(name)())
        send(answers, server.hello(), {})
    except Exception as error:
        send(answers, failure(error), {})
        return
    while True:
        try:
            message, arrays = receive(requests)
        except EOFError:
            return
        try:
            answer, results = server.run(message, arrays)
        except Exception as error:
            answer, results = failure(error), []
        send(answers, answer, {str(i): a for i, a in enumerate(results)})


def failure(error: Exception) -> dict[str, Any]:
    if isinstance(error, UnimodelError):
        text = error.message + (f" ({error.given})" if error.given is not None else "")
        return {"error": text, "unsupported": isinstance(error, UnsupportedError)}
    return {"error": f"{type(error).__name__}: {error}", "unsupported": False}


def main(arguments: Sequence[str]) -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(arguments[0], sys.stdin.buffer, answers)


if __name__ == "__main__":
    main(sys.argv[1:])

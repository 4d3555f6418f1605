"""One side of the comparison: a backend in a process of its own, so that a crash there is a finding, not an end.

A side starts when it is first needed, and again after a crash. ``serve.py`` is the other end.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import threading
from types import TracebackType
from typing import IO, Any

from unimodel.cli.apart import cause_of_death, end
from unimodel.diff.piece import Piece
from unimodel.diff.serve import receive, send
from unimodel.diff.wire import pack
from unimodel.graph import Array

_LINES_KEPT = 20
"""So much of what a crashed process printed is kept."""


class Failure(Exception):
    """A backend that could not run a piece. ``crashed`` tells a process that died from an error that was raised; ``output`` is what it printed last."""

    def __init__(self, backend: str, cause: str, *, crashed: bool = False, unsupported: bool = False, output: str = "") -> None:
        super().__init__(f"{backend}: {cause}")
        self.backend = backend
        self.cause = cause
        self.crashed = crashed
        self.unsupported = unsupported
        self.output = output


class Side:
    """A backend by name. ``time_limit`` is how many seconds it may take for one answer."""

    def __init__(self, name: str, time_limit: float | None = None) -> None:
        self.name = name
        self.time_limit = time_limit
        self.version: str | None = None
        self.tolerances: dict[str, float] = {}
        self.no_float64: str | None = None
        """Why the backend has no float64, where it lacks it."""
        self.differentiation = "core"
        """Who differentiated the piece that ran last."""
        self._process: subprocess.Popen[bytes] | None = None
        self._printed: IO[bytes] | None = None
        self._sent: set[str] = set()
        self._greeted = False

    def __enter__(self) -> Side:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def run(self, piece: Piece, differentiation: str | None = None) -> list[Array]:
        """The piece's results; raises ``Failure``."""
        self.start()
        literals: dict[str, Array] = {}
        graph = pack(piece.graph, literals)
        wish = differentiation or piece.differentiation
        key = hashlib.blake2b(json.dumps([_without_lines(graph), wish]).encode(), digest_size=16)
        for literal in literals.values():
            key.update(literal.tobytes())
        message: dict[str, Any] = {"key": key.hexdigest(), "differentiation": wish}
        message["scalars"] = {name: float(value).hex() for name, value in piece.scalars.items()}
        arrays = {f"input/{name}": array for name, array in piece.arrays.items()}
        if message["key"] not in self._sent:
            message["graph"] = graph
            arrays |= {f"literal/{name}": array for name, array in literals.items()}
        answer, results = self._ask(message, arrays)
        self._sent.add(message["key"])
        self.differentiation = answer["differentiation"]
        return [results[str(i)] for i in range(len(results))]

    def start(self) -> None:
        """Have the process running, and know what the backend says of itself."""
        self.spawn()
        if not self._greeted:
            answer, _ = self._ask(None, {})
            self.version, self.tolerances, self.no_float64 = answer["version"], answer["tolerances"], answer["no_float64"]
            self._greeted = True

    def spawn(self) -> None:
        """Have the process running; it may still be importing its framework when this returns."""
        if self._process is not None:
            return
        self._sent.clear()
        self._greeted = False
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process
        command = [sys.executable, "-X", "faulthandler", "-m", "unimodel.diff.serve", self.name]
        # a session of its own, so that what it starts can be ended with it
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._printed, start_new_session=True)

    def stop(self) -> None:
        if self._process is not None:
            end(self._process)
            for stream in (self._process.stdin, self._process.stdout, self._printed):
                try:
                    if stream is not None:
                        stream.close()
                except BrokenPipeError:
                    pass  # what was not sent is not wanted any more
            self._process = self._printed = None

    def _ask(self, message: dict[str, Any] | None, arrays: dict[str, Array]) -> tuple[dict[str, Any], dict[str, Array]]:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None, "the process has been started"
        late = threading.Event()

        def stop_waiting() -> None:
            late.set()
            end(process)

        timer = threading.Timer(self.time_limit, stop_waiting) if self.time_limit is not None else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            if message is not None:
                send(process.stdin, message, arrays)
            answer, results = receive(process.stdout)
        except (EOFError, BrokenPipeError):
            process.wait()
            cause = f"it did not answer within {self.time_limit:g} s" if late.is_set() else cause_of_death(process.returncode)
            output = self._last_lines()
            self.stop()
            raise Failure(self.name, cause, crashed=True, output=output) from None
        finally:
            if timer is not None:
                timer.cancel()
        if "error" in answer:
            if message is None:
                self.stop()
            raise Failure(self.name, answer["error"], unsupported=answer["unsupported"])
        return answer, results

    def _last_lines(self) -> str:
        assert self._printed is not None, "the process has been started"
        self._printed.seek(0)
        return "\n".join(self._printed.read().decode(errors="replace").splitlines()[-_LINES_KEPT:])


def _without_lines(graph: dict[str, Any]) -> dict[str, Any]:
    """The same op on another line is the same program."""
    return {**graph, "nodes": [{k: v for k, v in node.items() if k != "source"} for node in graph["nodes"]]}

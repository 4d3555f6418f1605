"""Results that outlive the next run, for a program whose run writes where the one before it left its own."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from unimodel.backend import Executable
from unimodel.graph import Array


class SetAside(Executable):
    """A program whose handles are good until its next run. What somebody still waits for then is read first; a failure met there is raised to both.

    One thread at a time runs it, or reads.
    """

    def __init__(self, program: Executable) -> None:
        self._program = program
        self._latest: weakref.ref[Results] | None = None
        self._lock = threading.Lock()

    def run(self, batch: Sequence[Array], scalars: Sequence[float]) -> Results:
        with self._lock:
            latest = self._latest() if self._latest is not None else None
            if latest is not None and latest.failure is None:
                latest.numbers = self._fetch(latest)
            results = Results(self._program.run(batch, scalars))
            self._latest = weakref.ref(results)
            return results

    def read(self, handle: Results) -> list[Array]:
        with self._lock:
            if handle.failure is not None:
                raise handle.failure
            return self._fetch(handle) if handle.numbers is None else [np.array(a) for a in handle.numbers]

    def _fetch(self, results: Results) -> list[Array]:
        """New arrays, so that those which are set aside are nobody else's."""
        try:
            return self._program.read(results.handle)
        except Exception as failure:
            results.failure = failure
            raise


class Results:
    """What a run will have computed; once set aside, its numbers, or why there are none."""

    __slots__ = ("__weakref__", "failure", "handle", "numbers")

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.numbers: list[Array] | None = None
        self.failure: Exception | None = None

"""Batches of arrays in memory on their way to a program: gathered into memory that is used again, and ahead of time where that pays.

A program has taken what it needs of a batch once its call returns (``Executable.run`` promises it), so two pieces of memory suffice, three where a thread
gathers the next batch meanwhile. They begin at multiples of 64 bytes, as frameworks ask of memory they are to read without copying.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from unimodel.data.batches import chunks
from unimodel.graph import Array

ALIGNMENT = 64
BYTES_PER_CALL = 4 << 20
"""At most so much data is handed over at once."""
AHEAD = 1 << 20
"""From so many bytes, a thread gathers what comes next while the present is computed; below, waking it costs more than gathering."""


def aligned(shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """Memory for an array of this shape, not filled, that begins at a multiple of 64 bytes."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, "uint8")
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Feed:
    """The batches of a data set in some order, several together where they are small; ``order`` is None for the data's own."""

    def __init__(self, leaves: Sequence[Array], order: Array | None, count: int, batch_size: int, together: int, reuse: bool = True) -> None:
        self.leaves = leaves
        self.order = order
        self.count = count
        self.batch_size = batch_size
        rows = sum(a.nbytes for a in leaves) / max(1, len(leaves[0]))
        self.together = max(1, min(together, int(BYTES_PER_CALL / max(rows * batch_size, 1))))
        self.bytes = int(rows * min(batch_size * self.together, count))
        """What is gathered at once."""
        self.reuse = reuse
        self.threaded = order is not None and self.bytes >= AHEAD and cores() > 1
        """Whether a thread gathers."""

    def __iter__(self) -> Iterator[list[list[Array]]]:
        """The leaves of one or more batches, as many as may be handed over at once; they hold until the next ones are asked for."""
        if self.order is None:
            return self._views()
        gathered = self._gathered(self.order)
        return ahead(gathered) if self.threaded else gathered

    def _split(self, leaves: Sequence[Array], count: int) -> list[list[Array]]:
        size = self.batch_size
        return [list(leaves)] if count <= size else [[a[i : i + size] for a in leaves] for i in range(0, count, size)]

    def _views(self) -> Iterator[list[list[Array]]]:
        for rows in chunks(np.arange(self.count), self.batch_size, self.together):
            yield self._split([a[rows[0] : rows[-1] + 1] for a in self.leaves], len(rows))

    def _gathered(self, order: Array) -> Iterator[list[list[Array]]]:
        most = min(self.batch_size * self.together, self.count)
        rings: list[list[Array]] = []
        for turn, rows in enumerate(chunks(order[: self.count], self.batch_size, self.together)):
            if not self.reuse:
                yield self._split([a[rows] for a in self.leaves], len(rows))
                continue
            if len(rings) < 2 + self.threaded:
                rings.append([aligned((most, *a.shape[1:]), a.dtype) for a in self.leaves])
            memory = [m[: len(rows)] for m in rings[turn % (2 + self.threaded)]]
            for source, target in zip(self.leaves, memory, strict=True):
                np.take(source, rows, axis=0, out=target, mode="clip")  # any other mode goes through memory of its own; no row is out of range
            yield self._split(memory, len(rows))


def ahead(source: Iterator[Any]) -> Iterator[Any]:
    """The same items, each made by a thread while the one before is used."""
    ready: queue.Queue[tuple[bool, Any]] = queue.Queue(maxsize=1)
    over = threading.Event()

    def put(item: tuple[bool, Any]) -> None:
        while not over.is_set():
            try:
                ready.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in source:
                put((True, item))
                if over.is_set():
                    return
            put((False, None))
        except BaseException as error:  # it is raised where the items are used
            put((False, error))

    thread = threading.Thread(target=work, name="unimodel feeding", daemon=True)
    thread.start()
    try:
        while True:
            more, item = ready.get()
            if more:
                yield item
            elif item is not None:
                raise item
            else:
                return
    finally:
        over.set()
        thread.join()

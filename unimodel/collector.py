"""Python's garbage collector, kept waiting while a program is built.

Tracing, passes and lowering make hundreds of thousands of objects, nearly all of which live until the program is done. Each time a few of them are new the collector
goes through all of them, and through what the frameworks hold, and finds nothing: a third of the time in which 48 layers are built. What became garbage meanwhile
is collected when the program is there.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def waiting() -> Iterator[None]:
    """No collection begins inside, unless somebody asks for one. Where collections are off already, they stay so."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

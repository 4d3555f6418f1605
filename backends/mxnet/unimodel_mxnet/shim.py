"""Importing MXNet 1.9 today, and leaving no trace of it but MXNet.

MXNet names ``numpy.bool`` while it is imported, which NumPy 1.24 took away; the name is lent to it for that long. Its import also warns about its own
age, sets environment variables through what it imports, and installs a handler for segmentation faults; all of that is put back.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy

from unimodel.errors import PluginError


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """These environment variables for a while; afterwards all are as before."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _without_a_trace() -> Iterator[None]:
    """What an import of MXNet changes, put back; warnings about its age unsaid."""
    lent, handler = "bool" not in vars(numpy), ctypes.create_string_buffer(1024)  # larger than any struct sigaction
    sigaction = ctypes.CDLL(None).sigaction if sys.platform.startswith("linux") else lambda *_: 0
    sigaction(int(signal.SIGSEGV), None, handler)  # Python's faulthandler, for one
    if lent:
        numpy.bool = bool  # type: ignore[attr-defined]  # the name MXNet looks for
    try:
        with environment(), warnings.catch_warnings():
            for category in (DeprecationWarning, FutureWarning, SyntaxWarning):
                warnings.filterwarnings("ignore", category=category, module=r"mxnet(\.|$)")
            yield
    finally:
        if lent:
            del numpy.bool  # type: ignore[attr-defined]  # others test for its absence
        sigaction(int(signal.SIGSEGV), handler, None)


def _import() -> Any:
    if "mxnet" not in sys.modules and int(numpy.__version__.partition(".")[0]) >= 2:
        raise PluginError(
            "MXNet cannot run on NumPy 2: its last release, 1.9.1, is built against NumPy 1.",
            expected="numpy<2",
            given=f"numpy {numpy.__version__}",
            remedy="use an environment with numpy<2 for the mxnet backend (pip install 'numpy<2'), or choose another backend",
        )
    with _without_a_trace():
        import mxnet
    return mxnet


mx = _import()
check_call, library = mx.base.check_call, mx.base._LIB  # what Python's own functions do around the library's is most of the time of a small step

"""What every test of the core shares: the NumPy backend as the current one, and properties tried on the same examples each time.

The default run is repeatable, so that it never fails by chance; ``UNIMODEL_EFFORT=20`` tries twenty times as many of the same;
``HYPOTHESIS_PROFILE=search pytest tests`` looks for new examples, ten times as many.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and PyTorch: many small computations are slower with threads, which get in each other's way

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

import unimodel as um
from unimodel import reuse

_SLOW_IS_FINE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]}
settings.register_profile("repeatable", derandomize=True, database=None, max_examples=int(40 * float(os.environ.get("UNIMODEL_EFFORT", "1"))), **_SLOW_IS_FINE)
settings.register_profile("search", max_examples=400, **_SLOW_IS_FINE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "torch_oracle: compares with PyTorch itself, where it is installed")


@pytest.fixture(autouse=True)
def nothing_compiled_yet() -> None:
    """Some tests change what compiles, or look at what is compiled."""
    reuse.forget()


@pytest.fixture(autouse=True)
def numpy_backend() -> Iterator[None]:
    """Core is tested on the backend that needs no framework."""
    with um.use_backend("numpy"):
        yield

"""Answers computed by PyTorch in float64, as arrays; ``make.py`` makes them and imports nothing of unimodel."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent


@lru_cache
def load(topic: str) -> dict[str, Any]:
    """All arrays of one file, by key."""
    with np.load(FOLDER / f"{topic}.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def part(topic: str, prefix: str) -> dict[str, Any]:
    """The arrays whose keys begin with ``prefix/``, without it."""
    return {name[len(prefix) + 1 :]: array for name, array in load(topic).items() if name.startswith(prefix + "/")}

"""NumPy arrays to torch tensors and back, and the tensors in which state lives."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch

from unimodel import graph
from unimodel.backend import Store
from unimodel.graph import Array

DTYPES = {name: getattr(torch, name) for name in graph.DTYPES}


@functools.cache
def keep_memory() -> None:
    """Lets memory that a step has given back stay with the process, for the next step.

    glibc asks the system for each block of more than 128 KiB, and gives it back at once: pages that are mapped and cleared anew in each step. It learns from
    what it sees: a block that is given back tells it that blocks of up to that size, 32 MiB at most, come and go. Nothing is written here, so nothing is used.

    Source: https://man7.org/linux/man-pages/man3/mallopt.3.html, M_MMAP_THRESHOLD
    """
    torch.empty((1 << 25) - (1 << 16), dtype=torch.uint8)


def to_torch(array: Array, device: str) -> torch.Tensor:
    """A tensor of the same numbers. On the CPU it shares the array's memory wherever torch can."""
    if not array.flags.carray:  # torch takes no negative strides, and warns of memory it may not write to
        array = np.array(array, order="C")
    tensor = torch.from_numpy(array)
    return tensor if device == "cpu" else tensor.to(device)


def to_numpy(value: Any, dtype: str | None = None) -> Array:
    """An array of the same numbers; a program's host numbers come out as 0-d arrays."""
    if not isinstance(value, torch.Tensor):
        return np.asarray(value, dtype)
    return (value.float() if value.dtype is torch.bfloat16 else value).detach().cpu().numpy()


class TorchStore(Store):
    """State in tensors that are only ever written in place, so that every program bound to them sees each change.

    ``version`` grows when a name gets another tensor: at its first write, or when its shape or dtype changes.
    """

    version = 0
    keeps = ("bfloat16",)

    def write(self, name: str, array: Array) -> None:
        self.take(name, torch.tensor(np.asarray(array), device=self.backend.device))

    def write_as(self, name: str, array: Array, dtype: str) -> None:
        self.take(name, torch.tensor(np.asarray(array), dtype=DTYPES[dtype], device=self.backend.device))

    def take(self, name: str, new: torch.Tensor) -> None:
        """A tensor of nobody else's as the state of this name."""
        old = self.arrays.get(name)
        if old is not None and old.dtype is torch.bfloat16 and new.is_floating_point():
            new = new.to(old.dtype)
        if old is not None and old.shape == new.shape and old.dtype == new.dtype:
            old.copy_(new)
        else:
            self.arrays[name] = new
            self.version += 1

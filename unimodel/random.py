"""Core's random numbers: weights, data order and dropout masks, the same on every backend and in every release.

Version 1. A stream is named by (seed, purpose, step). Its bits are those of Philox4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3") as NumPy's bit generator gives them, with the 128-bit key ``blake2b("unimodel/1/<seed>/<purpose>")`` and the counter starting at (0, 0, step, 0).
NumPy keeps raw bits the same between releases, which it does not promise for its distributions; so all distributions are made here:

* a mask's element i is True where the i-th 16-bit word (little-endian) is below ``round(keep * 65536)``;
* a uniform number is the upper 53 bits of a 64-bit word, divided by 2**53;
* normal numbers come in pairs from two uniform ones (Box and Muller 1958);
* a permutation sorts indices by their 64-bit words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from unimodel.graph import Array

VERSION = 1


def bits(seed: int, purpose: str, step: int, count: int) -> Array:
    """``count`` 64-bit words of a stream, uint64."""
    digest = hashlib.blake2b(f"unimodel/{VERSION}/{seed}/{purpose}".encode(), digest_size=16).digest()
    generator = np.random.Philox(counter=[0, 0, step, 0], key=np.frombuffer(digest, "<u8"))
    return np.asarray(generator.random_raw(count), np.uint64)


def keep_mask(seed: int, purpose: str, step: int, shape: Sequence[int], keep: float) -> Array:
    """Booleans that are True with probability ``keep`` (to within 2**-17)."""
    count = int(np.prod(shape))
    threshold = round(keep * 65536)
    if threshold >= 65536:
        return np.ones(shape, bool)
    words = bits(seed, purpose, step, -(-count // 4)).astype("<u8", copy=False).view("<u2")[:count]
    return np.less(words, np.uint16(threshold)).reshape(shape)


def uniform(seed: int, purpose: str, shape: Sequence[int], step: int = 0) -> Array:
    """float64 in [0, 1)."""
    words = bits(seed, purpose, step, int(np.prod(shape)))
    return ((words >> np.uint64(11)).astype("float64") * 2.0**-53).reshape(shape)


def normal(seed: int, purpose: str, shape: Sequence[int], step: int = 0) -> Array:
    """float64 of mean 0 and variance 1."""
    count = int(np.prod(shape))
    half = -(-count // 2)
    u = uniform(seed, purpose, (2, half), step)
    radius = np.sqrt(-2.0 * np.log1p(-u[0]))
    pairs = np.concatenate([radius * np.cos(2 * np.pi * u[1]), radius * np.sin(2 * np.pi * u[1])])
    return np.asarray(pairs[:count].reshape(shape))


def permutation(seed: int, purpose: str, step: int, count: int) -> Array:
    """The numbers 0 to count - 1 in random order, int64."""
    return np.argsort(bits(seed, purpose, step, count), kind="stable")

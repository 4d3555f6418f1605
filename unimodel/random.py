"""Core's random numbers: weights, data order and dropout masks, the same on every backend and in every release.

Version 1. A stream is named by (seed, purpose, step). Its bits are those of Philox4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3") as NumPy's bit generator gives them, with the 128-bit key ``blake2b("unimodel/1/<seed>/<purpose>")`` and the counter starting at (0, 0, step, 0), or
at (0, 0, step, i) for batch i, counted from 1, of an ``evaluate`` or ``predict`` after that step.
NumPy keeps raw bits the same between releases, which it does not promise for its distributions; so all distributions are made here:

* a mask's element i is True where the i-th 16-bit word (little-endian) is below ``round(keep * 65536)``;
* a uniform number is the upper 53 bits of a 64-bit word, divided by 2**53;
* an integer in [0, n) is a 64-bit word modulo n;
* normal numbers come in pairs from two uniform ones (Box and Muller 1958);
* a permutation sorts indices by their 64-bit words.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from unimodel.graph import Array, TensorSpec

if TYPE_CHECKING:
    from unimodel.tracing import Draw

VERSION = 1
PIECE = 1 << 15
"""So many numbers are made at a time: what is computed on the way stays in a processor's cache."""
Each = Callable[[Array], Array]
"""A function of float64 numbers, each by itself."""


def bits(seed: int, purpose: str, step: int, count: int, first: int = 0) -> Array:
    """``count`` 64-bit words of a stream from the word ``first`` on, uint64."""
    block, skipped = divmod(first, 4)
    generator = np.random.Philox(counter=[block, 0, step % 2**64, step // 2**64], key=_key(seed, purpose))
    return np.asarray(generator.random_raw(skipped + count)[skipped:], np.uint64)


def beside(step: int, batch: int) -> int:
    """What names the streams of a batch, counted from 1, that is run after a step without being one, where a step is asked for."""
    return step + batch * 2**64


@functools.lru_cache(1024)
def _key(seed: int, purpose: str) -> Array:
    return np.frombuffer(hashlib.blake2b(f"unimodel/{VERSION}/{seed}/{purpose}".encode(), digest_size=16).digest(), "<u8")


def keep_mask(seed: int, purpose: str, step: int, shape: Sequence[int], keep: float) -> Array:
    """Booleans that are True with probability ``keep`` (to within 2**-17)."""
    count = math.prod(shape)
    threshold = round(keep * 65536)
    if threshold >= 65536:
        return np.ones(shape, bool)
    words = bits(seed, purpose, step, -(-count // 4)).astype("<u8", copy=False).view("<u2")[:count]
    return np.less(words, np.uint16(threshold)).reshape(shape)


def uniform(seed: int, purpose: str, shape: Sequence[int], step: int = 0, then: Each | None = None, dtype: str = "float64") -> Array:
    """Numbers in [0, 1), as float64; or what ``then`` makes of each of them, in this dtype.

    Large arrays are made in pieces that fit a processor's cache, so that none exists in float64 beside the one in ``dtype``.
    """
    array = np.empty(shape, dtype)
    made, count = array.reshape(-1), array.size
    for first in range(0, count, PIECE):
        u = _evenly(bits(seed, purpose, step, min(PIECE, count - first), first))
        made[first : first + PIECE] = u if then is None else then(u)
    return array


def normal(seed: int, purpose: str, shape: Sequence[int], step: int = 0, then: Each | None = None, dtype: str = "float64") -> Array:
    """Numbers of mean 0 and variance 1, as float64; or what ``then`` makes of each of them, in this dtype; in pieces, as ``uniform``."""
    array = np.empty(shape, dtype)
    made, count = array.reshape(-1), array.size
    half = -(-count // 2)
    for first in range(0, half, PIECE):
        size = min(PIECE, half - first)
        radius = _evenly(bits(seed, purpose, step, size, first))
        angle = _evenly(bits(seed, purpose, step, size, half + first))
        np.negative(radius, out=radius)
        np.log1p(radius, out=radius)
        radius *= -2.0
        np.sqrt(radius, out=radius)
        for place, pair in zip((first, half + first), _circle(angle), strict=True):
            pair *= radius
            end = min(place + size, count)
            made[place:end] = (pair if then is None else then(pair))[: end - place]
    return array


def _circle(turns: Array) -> tuple[Array, Array]:
    """Cosine and sine of so many turns in [0, 1), by the tangent of half the angle: NumPy's takes a tenth of the time of its ``cos`` and ``sin``."""
    turns *= np.pi
    tangent = np.tan(turns, out=turns)
    square = tangent * tangent
    scale = 1.0 / (1.0 + square)
    tangent *= 2.0 * scale
    return (1.0 - square) * scale, tangent


def _evenly(words: Array) -> Array:
    """The numbers in [0, 1) that words stand for, float64."""
    words >>= np.uint64(11)
    u = words.view("int64").astype("float64")  # equal numbers, at most 2**53, and signed ones are converted faster
    u *= 2.0**-53
    return u


def permutation(seed: int, purpose: str, step: int, count: int) -> Array:
    """The numbers 0 to count - 1 in random order, int64."""
    return np.argsort(bits(seed, purpose, step, count), kind="stable")


def integers(seed: int, purpose: str, shape: Sequence[int], below: int, step: int = 0) -> Array:
    """int64 in [0, below), each equally likely to within ``below / 2**64``."""
    words = bits(seed, purpose, step, int(np.prod(shape)))
    return np.asarray((words % np.uint64(below)).astype("int64").reshape(shape))


def draw(seed: int, drawn: Draw, step: int, spec: TensorSpec) -> Array:
    """What a trace has asked to be drawn, for one step: an array of this shape and dtype."""
    shape = tuple(int(s) for s in spec.shape)
    if drawn.kind == "mask":
        return keep_mask(seed, drawn.purpose, step, shape, drawn.parameter)
    if drawn.kind == "integers":
        return integers(seed, drawn.purpose, shape, int(drawn.parameter), step).astype(spec.dtype)
    if drawn.kind == "permutation":
        return np.argsort(bits(seed, drawn.purpose, step, int(np.prod(shape))).reshape(shape), axis=-1, kind="stable")  # one for each round of a loop
    if drawn.kind == "normal":
        return normal(seed, drawn.purpose, shape, step).astype(spec.dtype)
    narrow = uniform(seed, drawn.purpose, shape, step).astype(spec.dtype)
    return np.minimum(narrow, np.nextafter(np.ones((), spec.dtype), np.zeros((), spec.dtype)))  # never 1, also where it was rounded


def normal_quantile(p: Array) -> Array:
    """The number that a normal one is below with probability ``p`` in (0, 1), to about 1e-15 of its size (Wichura 1988, algorithm AS 241)."""
    p = np.clip(np.asarray(p, "float64"), 2.0**-60, 1.0 - 2.0**-53)
    q = p - 0.5
    inside = np.abs(q) <= 0.425
    r = np.where(inside, 0.180625 - q * q, np.sqrt(-np.log(np.where(q < 0, p, 1.0 - p))))
    near, far = r - 1.6, r - 5.0
    tail = np.where(r <= 5.0, _ratio(near, *_NEAR), _ratio(far, *_FAR))
    return np.where(inside, q * _ratio(r, *_CENTRE), np.where(q < 0, -tail, tail))


def _ratio(x: Array, above: Sequence[float], below: Sequence[float]) -> Array:
    return np.asarray(np.polyval(above, x) / np.polyval(below, x))


# numerators and denominators, the highest power first: around 1/2, in the tails, and far out in them
_CENTRE = (
    [
        2509.0809287301226727,
        33430.575583588128105,
        67265.770927008700853,
        45921.953931549871457,
        13731.693765509461125,
        1971.5909503065514427,
        133.14166789178437745,
        3.387132872796366608,
    ],
    [
        5226.495278852545925,
        28729.085735721942674,
        39307.89580009271061,
        21213.794301586595867,
        5394.1960214247511077,
        687.1870074920579083,
        42.313330701600911252,
        1.0,
    ],
)
_NEAR = (
    [
        7.74545014278341407640e-4,
        0.0227238449892691845833,
        0.24178072517745061177,
        1.27045825245236838258,
        3.64784832476320460504,
        5.7694972214606914055,
        4.6303378461565452959,
        1.42343711074968357734,
    ],
    [
        1.05075007164441684324e-9,
        5.475938084995344946e-4,
        0.0151986665636164571966,
        0.14810397642748007459,
        0.68976733498510000455,
        1.6763848301838038494,
        2.05319162663775882187,
        1.0,
    ],
)
_FAR = (
    [
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        0.0012426609473880784386,
        0.026532189526576123093,
        0.29656057182850489123,
        1.7848265399172913358,
        5.4637849111641143699,
        6.6579046435011037772,
    ],
    [
        2.04426310338993978564e-15,
        1.4215117583164458887e-7,
        1.8463183175100546818e-5,
        7.868691311456132591e-4,
        0.0148753612908506148525,
        0.13692988092273580531,
        0.59983220655588793769,
        1.0,
    ],
)

"""Medians, ratios of them, and how far chance may have moved a ratio.

The unit is the process: within one, times depend on each other (memory layout, clocks, caches), so a thousand calls in one process are one observation, their
median. Where contestants took turns inside one process, its rounds are kept, and resampled inside the resampled processes.

An interval is the bootstrap's percentile interval (Efron 1979) at 99 %: with the seven processes that are the default, that is from the smallest to the largest
observation but for chance, which holds the true median in 98 of 100 cases; at 95 % it would be 87, too few for "A against A shows no difference".
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unimodel.graph import Array

CONFIDENCE = 0.99
RESAMPLES = 4000
FEWEST = 7
"""Observations below which nothing is said to differ: with six, A differs from itself in 3 of 100 cases at rest, and in more on a busy machine."""

Observations = Sequence[Sequence[float]]
"""For each process the medians of its rounds, mostly one."""


def median(observations: Observations) -> float:
    """The median over processes of their medians."""
    return statistics.median(statistics.median(rounds) for rounds in observations)


def spread(observations: Observations) -> float:
    """Half of the observations lie within this share of the median: the interquartile range over it."""
    flat = [value for rounds in observations for value in rounds]
    if len(flat) < 2:
        return 0.0
    first, _, third = statistics.quantiles(flat, n=4, method="inclusive")
    return (third - first) / statistics.median(flat)


@dataclass(frozen=True)
class Ratio:
    """A median over another's, with its interval; ``observations`` is how many there were of the one that has fewer."""

    value: float
    low: float
    high: float
    observations: int

    @property
    def differs(self) -> bool:
        """Whether chance does not explain it."""
        return self.observations >= FEWEST and not self.low <= 1.0 <= self.high

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def ratio(above: Observations, below: Observations, paired: bool = True) -> Ratio:
    """Median of one over median of the other. ``paired`` where the i-th processes of both ran beside each other: what slowed one slowed the other, and they
    are drawn together. Deterministic: the draws come from a fixed seed.

    >>> str(ratio([[2.0], [2.2], [2.0]], [[1.0], [1.1], [1.0]]))
    '2.000 [2.000, 2.000]'
    """
    rng = np.random.Generator(np.random.Philox(1))
    if paired:
        count = min(len(above), len(below))
        above, below = above[:count], below[:count]
        # a row of quotients per process: what both had to bear falls out of them
        quotients = [[a / b for a, b in zip(rows, others, strict=False)] for rows, others in zip(above, below, strict=True)]
        low, high = np.quantile(_resampled(quotients, rng), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        value, observations = median(quotients), sum(map(len, quotients))
    else:
        low, high = np.quantile(_resampled(above, rng) / _resampled(below, rng), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        value, observations = median(above) / median(below), min(sum(map(len, above)), sum(map(len, below)))
    return Ratio(value, float(low), float(high), observations)


def _resampled(observations: Observations, rng: np.random.Generator) -> Array:
    """Medians of medians of data drawn anew, ``RESAMPLES`` of them."""
    processes, rounds = len(observations), min(map(len, observations))
    table = np.array([row[:rounds] for row in observations], "float64")
    chosen = rng.integers(0, processes, (RESAMPLES, processes))
    inner = rng.integers(0, rounds, (RESAMPLES, processes, rounds))
    return np.asarray(np.median(np.median(table[chosen[:, :, None], inner], axis=2), axis=1))

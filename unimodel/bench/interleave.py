"""Timing several functions in turn, so that what slows the machine slows them all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds per call: the median of the rounds' medians, and the rounds themselves."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """The rounds' interquartile range over their median."""
        if len(self.rounds) < 4:
            return (max(self.rounds) - min(self.rounds)) / self.median
        first, _, third = statistics.quantiles(self.rounds, n=4)
        return (third - first) / self.median


def interleave(functions: Mapping[str, Callable[[], object]], rounds: int = 7, seconds: float = 0.5, warm_up: int = 10) -> dict[str, Timing]:
    """Time each function for about ``seconds`` a round, in the order A B C, then C B A, and so on; each must wait for its own result."""
    counts: dict[str, int] = {}
    for name, function in functions.items():
        for _ in range(warm_up):
            function()
        start = time.perf_counter()
        function()
        counts[name] = max(3, int(seconds / max(time.perf_counter() - start, 1e-7)))
    found: dict[str, list[float]] = {name: [] for name in functions}
    order = list(functions)
    for _ in range(rounds):
        for name in order:
            function, times = functions[name], []
            for _ in range(counts[name]):
                start = time.perf_counter()
                function()
                times.append(time.perf_counter() - start)
            found[name].append(statistics.median(times))
        order.reverse()
    return {name: Timing(tuple(times)) for name, times in found.items()}

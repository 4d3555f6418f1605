"""What the machine is, how busy it is, and what a process took of it. Nothing here imports a framework."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NUMEXPR_NUM_THREADS")
"""The variables by which frameworks and their libraries are told how many threads to start; read when they are imported."""
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "MXNET_SUBGRAPH_VERBOSE": "0"}
BUSY = 0.5
"""A load average above this share of the cores, before anything of ours runs, is a noisy machine."""
UNSTEADY = 0.1
"""So is one on which the same fixed work takes times whose middle half spans more than this."""
CEILING_SIZE = 1024


def environment(threads: int) -> dict[str, str]:
    """The variables for a measuring process."""
    return {**QUIET, **dict.fromkeys(THREADS, str(threads))}


def pin(threads: int) -> list[int] | None:
    """Keep this process on as many cores as it has threads, the last ones, which interrupts visit least; the cores, or None where that cannot be."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    os.sched_setaffinity(0, cores)
    return cores


def load_average() -> float | None:
    """Processes that ran or waited, over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def peak_memory() -> int | None:
    """The most memory that this process has held, in bytes."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def facts() -> dict[str, Any]:
    """The machine and the interpreter, for the record."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def fixed_work() -> float:
    """Seconds that some fixed work takes, the fastest of three: equal everywhere in a run, so that it shows how steady the machine was."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        total = 0
        for i in range(60_000):
            total += i * i
        times.append(time.perf_counter() - start)
    return min(times)


def matrix_ceiling() -> float:
    """FLOP/s of a float32 matrix product of 1024 by 1024, by NumPy's library with this process's threads: the best of five."""
    rng = np.random.Generator(np.random.Philox(0))
    a, b = (rng.standard_normal((CEILING_SIZE, CEILING_SIZE)).astype("float32") for _ in range(2))
    out = a @ b
    times = []
    for _ in range(5):
        start = time.perf_counter()
        np.matmul(a, b, out=out)
        times.append(time.perf_counter() - start)
    return 2 * CEILING_SIZE**3 / min(times)


class Energy:
    """The processor's own energy counter (RAPL), of the whole package and everything that runs on it; None where the machine does not tell."""

    _DOMAINS = "/sys/class/powercap"

    def __init__(self) -> None:
        self.counters: list[tuple[Path, int]] = []
        for domain in sorted(Path(self._DOMAINS).glob("intel-rapl:?")):
            try:
                int((domain / "energy_uj").read_text())
                self.counters.append((domain / "energy_uj", int((domain / "max_energy_range_uj").read_text())))
            except (OSError, ValueError):
                continue
        self.before = self._read()

    def _read(self) -> list[int]:
        return [int(path.read_text()) for path, _ in self.counters]

    def joules(self) -> float | None:
        """Since this was made."""
        if not self.counters:
            return None
        return sum((now - then) % wraps for now, then, (_, wraps) in zip(self._read(), self.before, self.counters, strict=True)) / 1e6


def noise(load_before: float | None, cores: int | None, fixed: Sequence[float]) -> list[str]:
    """Sentences on what made the machine noisy; none for a quiet one."""
    said = []
    if load_before is not None and cores and load_before > BUSY * cores:
        said.append(f"the load average was {load_before:.1f} on {cores} cores before anything was measured")
    if len(fixed) >= 4:
        first, middle, third = statistics.quantiles(fixed, n=4)
        if (third - first) / middle > UNSTEADY:
            said.append(f"the same fixed work took between {min(fixed) * 1e3:.1f} and {max(fixed) * 1e3:.1f} ms in different processes")
    return said

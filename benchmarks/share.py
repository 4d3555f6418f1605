"""``python -m benchmarks.share BACKEND``: what share of a step is unimodel's own, over 1,000 steps of the small regression.

The time inside the compiled program's ``run`` and ``read`` is the backend's; what is left of ``train_step`` is ours: laying out the batch, host numbers, counters.
"""

from __future__ import annotations

import os
import statistics
import sys
import time

from unimodel.bench.workloads import WORKLOADS

STEPS = 1000


def main(backend: str) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    workload = WORKLOADS["regression"]
    trainer = workload.trainer(backend)
    batch = workload.data()
    float(trainer.train_step(batch)["loss"])
    ((_, program),) = trainer._um_runtime.programs()
    executable, inside = program.executable, [0.0]

    class Clocked:
        """The executable with a clock around it."""

        def run(self, *arguments: object) -> object:
            start = time.perf_counter()
            handle = executable.run(*arguments)
            inside[0] += time.perf_counter() - start
            return handle

        def read(self, handle: object) -> object:
            start = time.perf_counter()
            values = executable.read(handle)
            inside[0] += time.perf_counter() - start
            return values

    program.executable = Clocked()
    whole, ours = [], []
    for _ in range(STEPS):
        inside[0] = 0.0
        start = time.perf_counter()
        float(trainer.train_step(batch)["loss"])
        total = time.perf_counter() - start
        whole.append(total)
        ours.append(total - inside[0])
    step, own = statistics.median(whole), statistics.median(ours)
    print(f"{backend}: step {step * 1e6:.1f} us, of which unimodel's own {own * 1e6:.1f} us ({own / step:.0%})")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        main(name)

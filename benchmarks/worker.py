"""One framework, one workload, one process: our step and the hand-written one in turn, on the same weights and batch. Prints one line of JSON."""

from __future__ import annotations

import importlib
import json
import os
import sys

import numpy as np

from benchmarks.workloads import WORKLOADS
from unimodel.bench.interleave import interleave

AGREEMENT = 2e-3
"""How far ten losses of the two loops may be apart, relative to the first, before the comparison is refused."""


def main(framework: str, workload_name: str, rounds: int, seconds: float) -> dict[str, object]:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    native = importlib.import_module(f"benchmarks.native.{framework}_loops")
    native.pin()
    workload = WORKLOADS[workload_name]
    x, y = workload.data()
    trainer = workload.trainer(framework)
    step = native.LOOPS[workload_name](trainer.model.state_dict())

    theirs = [native.wait(step(x, y)) for _ in range(10)]
    ours = [float(trainer.train_step((x, y))["loss"]) for _ in range(10)]
    apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) / abs(theirs[0])
    if apart > AGREEMENT:
        return {"framework": framework, "workload": workload_name, "error": f"the losses part by {apart:.2g}: {ours[:3]} against {theirs[:3]}"}

    epoch = 64 if x.nbytes < 1 << 16 else 8
    many = (np.concatenate([x] * epoch), np.concatenate([y] * epoch))
    fit = {"fit": lambda: trainer.fit(many, batch_size=len(x), verbose=False)} if workload_name == "regression" else {}
    timings = interleave(
        {
            "native": lambda: native.wait(step(x, y)),
            "native again": lambda: native.wait(step(x, y)),
            "train_step": lambda: float(trainer.train_step((x, y))["loss"]),
            **fit,
        },
        rounds,
        seconds,
    )
    base = timings["native"].median
    result: dict[str, object] = {"framework": framework, "workload": workload_name, "version": importlib.import_module(framework).__version__, "apart": apart}
    for name, timing in timings.items():
        per_step = timing.median / (epoch if name == "fit" else 1)
        result[name] = {"ms": per_step * 1e3, "ratio": per_step / base, "spread": timing.spread}
    return result


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))

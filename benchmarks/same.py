"""``python -m benchmarks.same [--backend numpy] [--tries 100]``: A against itself, over and over; how often the harness says that they differ.

Each try is what ``unimodel bench`` does with two contestants that are one program: fresh processes, A B, then B A, and the verdict of the ratio's interval. It should say
"no difference" in at least 95 of 100, on a loaded machine too, or its intervals are too narrow.
"""

from __future__ import annotations

import argparse
import sys

from unimodel.bench.intervals import ratio
from unimodel.bench.plan import Contestant, Plan
from unimodel.bench.sittings import sit


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--tries", type=int, default=100)
    parser.add_argument("--processes", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.02)
    options = parser.parse_args()
    plan = Plan([], seconds=options.seconds)
    pair = [Contestant("regression", options.backend, kind=kind) for kind in ("unimodel", "again")]
    same, ratios = 0, []
    for done in range(1, options.tries + 1):
        times: dict[str, list[list[float]]] = {c.key: [] for c in pair}
        for number in range(options.processes):
            for contestant in pair if number % 2 == 0 else pair[::-1]:
                outcome = sit(plan, [contestant], purpose="time", steps=3)
                if outcome.result is None:
                    print(outcome.cause, outcome.output, file=sys.stderr)
                    return 1
                times[contestant.key].append(outcome.result["contestants"][contestant.key]["rounds"])
        found = ratio(*times.values())
        same += not found.differs
        ratios.append(found.value)
        print(f"try {done}: {found}  {'differs' if found.differs else 'same'}; no difference in {same} of {done}", flush=True)
    ratios.sort()
    print(f"{options.backend}: no difference in {same} of {options.tries}; ratios {ratios[0]:.3f} to {ratios[-1]:.3f}, median {ratios[len(ratios) // 2]:.3f}")
    return 0 if same >= 0.95 * options.tries else 1


if __name__ == "__main__":
    sys.exit(main())

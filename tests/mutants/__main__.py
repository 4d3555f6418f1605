"""The command: plants faults and says which of them the suite rejects."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from . import generator, planting, running
from .listed import FAULTS


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description="Plant faults one at a time and see whether the tests that concern them reject them."
    )
    parser.add_argument("names", nargs="*", help="faults of the list, by the beginning of their names; all of them by default")
    parser.add_argument("--backend", help="only faults that are tried on this backend")
    parser.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="so many at a time")
    parser.add_argument("--limit", type=int, default=running.LIMIT, metavar="S", help="seconds of processor time for each fault")
    parser.add_argument("--journal", type=Path, metavar="FILE", help="keep results here, and do not run again what stands here")
    parser.add_argument("--random", type=int, metavar="N", help="not the list: so many random faults, an equal number for each of the backends")
    parser.add_argument("--seed", type=int, default=0, help="which random faults")
    parser.add_argument("--only", default="", metavar="PART", help="random faults of files with this in their paths")
    parser.add_argument("--wide", action="store_true", help="run the whole suite on random faults that the tests which concern them let pass")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if given.random:
        return _random(given)
    faults = [f for f in FAULTS if given.backend in (None, f.backend) and (not given.names or any(f.name.startswith(n) for n in given.names))]
    outcomes = running.run(faults, given.jobs, given.limit, given.journal, running.follow)
    area = {f.name: f.area for f in FAULTS}
    print(running.summary(outcomes, lambda o: area[o.name]))
    return running.verdict(outcomes)


def _random(given: argparse.Namespace) -> int:
    """The generator's score. It is reported, and decides nothing: some of these faults change no number."""
    drawn = generator.draw(given.random, given.seed, given.backend.split(",") if given.backend else ("numpy",), given.only)
    outcomes = running.run(drawn, given.jobs, given.limit, given.journal, running.follow)
    if given.wide:
        names = {o.name for o in outcomes if o.state == planting.SURVIVED}
        again = [replace(f, tests="") for f in drawn if f.name in names]
        wide = {o.name: o for o in running.run(again, given.jobs, 10 * given.limit, None, running.follow)}
        outcomes = [wide.get(o.name, o) for o in outcomes]
    area = {f.name: f.area for f in drawn}
    print(running.summary(outcomes, lambda o: area[o.name]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

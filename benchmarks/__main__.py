"""``python -m benchmarks``: our step beside the loop an expert would write by hand, and beside Keras 3, for every workload and framework. ``make bench`` runs it.

It is ``unimodel bench`` with everything beside everything: the contestants of a workload and framework take turns in one process, pinned to one core with one thread,
in ``--rounds`` rounds, A B C, then C B A; "native again" is the loop by hand once more, and shows the noise. One more process each measures starts and peak memory. New
processes begin until ``--budget`` seconds are used up. The tables are printed, and written as Markdown, JSON and HTML.
"""

from __future__ import annotations

import argparse
import compileall
import importlib.util
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.native import COMPILERS, FRAMEWORKS, KERAS_BACKENDS, KERAS_WORKLOADS
from benchmarks.table import put_into, table
from unimodel.bench.plan import Contestant, Plan
from unimodel.bench.workloads import WORKLOADS
from unimodel.cli.bench import carry_out

ORDER = ("regression", "mlp", "cnn", "resnet18", "gpt", "lstm", "recommender", "gpt2-small")
COMPILER = {"torch": "inductor", "tensorflow": "xla"}
"""What the Trainer's ``compile=`` calls each framework's own compiler."""
FIT = ("regression",)
"""Where an epoch through ``fit`` is measured too: where the step is so small that the loop around it counts."""
HEAVY = ("gpt2-small",)
"""Without Keras and without compilers: each copy takes 2 GB, and compiling takes minutes."""


def contestants(workload: str, framework: str, compiled: bool, keras: bool) -> Iterator[Contestant]:
    plain = Contestant(workload, framework, batch_size=WORKLOADS[workload].batch_size)
    if framework not in FRAMEWORKS:
        yield plain
        return
    yield replace(plain, kind="native")
    yield replace(plain, kind="native again")
    yield plain
    if workload in FIT:
        yield replace(plain, mode="fit")
    if keras and workload not in HEAVY and framework in KERAS_BACKENDS and workload in KERAS_WORKLOADS:
        yield replace(plain, kind="keras")
        if workload in FIT:
            yield replace(plain, kind="keras", mode="fit")
    if compiled and workload not in HEAVY and framework in COMPILERS:
        yield replace(plain, kind="native", compile=COMPILER[framework])
        yield replace(plain, compile=COMPILER[framework])


def compile_files(frameworks: Sequence[str]) -> None:
    """Bytecode of unimodel's own files, as pip leaves it of all that it installs, the frameworks too: starts are not to be measured with compiling in them."""
    for name in ("unimodel", *(f"unimodel_{f}" for f in frameworks)):
        spec = importlib.util.find_spec(name)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            compileall.compile_dir(folder, quiet=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default=",".join(ORDER), help="several with commas between them")
    parser.add_argument("--frameworks", default=",".join([*FRAMEWORKS, "numpy"]), help="several with commas between them; numpy has no loop by hand")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.15, help="how long a round of one contestant takes, at least one step")
    parser.add_argument("--processes", type=int, default=3, help="at most so many for each workload and framework")
    parser.add_argument("--budget", type=float, default=780.0, help="seconds after which no second process begins")
    parser.add_argument("--compiled", action="store_true", help="also torch.compile and XLA, ours and by hand; compiling takes a minute or more each")
    parser.add_argument("--no-keras", dest="keras", action="store_false")
    parser.add_argument("--markdown", type=Path, default=Path("benchmarks.md"), help="where to write the table")
    parser.add_argument("--into", type=Path, default=None, help="a page with marks to write the table between, such as docs/benchmarks.md")
    parser.add_argument("--json", default="benchmarks.json")
    parser.add_argument("--html", type=Path, default=None)
    options = parser.parse_args()
    compile_files(options.frameworks.split(","))
    everyone = [
        contestant
        for workload in options.workloads.split(",")
        for framework in options.frameworks.split(",")
        for contestant in contestants(workload, framework, options.compiled, options.keras)
    ]
    plan = Plan(
        everyone,
        processes=options.processes,
        rounds=options.rounds,
        seconds=options.seconds,
        together=True,
        exact=False,
        budget=options.budget,
        time_limit=600.0,
    )
    status = carry_out(plan, options.json, options.html, None, None)
    written = f"`{shlex.join(['python', '-m', 'benchmarks', *sys.argv[1:]])}`\n\n{table(json.loads(Path(options.json).read_text()))}\n"
    options.markdown.write_text(written)
    if options.into is not None:
        put_into(options.into, written.strip())
    return status


if __name__ == "__main__":
    sys.exit(main())

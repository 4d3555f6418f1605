"""``python -m benchmarks [--frameworks a,b] [--workloads a,b] [--rounds N] [--seconds S] [--json FILE]``: a table of ratios ours ÷ hand-written.

Each pair runs in a process of its own, one pinned thread. "native again" times the native loop a second time: its ratio says what the noise is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "MXNET_SUBGRAPH_VERBOSE": "0"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frameworks", default="torch,tensorflow,mxnet")
    parser.add_argument("--workloads", default="regression,mlp,cnn,gpt")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = []
    print(f"{'workload':<12} {'framework':<12} {'native ms':>10} {'train_step':>11} {'fit':>7} {'A/A':>6}   (ratios to native; one thread)")
    for workload in options.workloads.split(","):
        for framework in options.frameworks.split(","):
            command = [sys.executable, "-m", "benchmarks.worker", framework, workload, str(options.rounds), str(options.seconds)]
            done = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{workload:<12} {framework:<12} failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
                continue
            result = json.loads(done.stdout.strip().splitlines()[-1])
            results.append(result)
            if "error" in result:
                print(f"{workload:<12} {framework:<12} not timed: {result['error']}")
                continue
            fit = f"{result['fit']['ratio']:>7.2f}" if "fit" in result else f"{'':>7}"
            row = f"{result['native']['ms']:>10.3f} {result['train_step']['ratio']:>11.2f} {fit} {result['native again']['ratio']:>6.2f}"
            print(f"{workload:<12} {framework:<12} {row}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return 0 if results and not any("error" in r for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())

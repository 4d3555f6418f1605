"""The demonstration behind ``make demo``: two scripts, four backends, one table. Exits 1 when the backends do not agree.

Each script is run on each backend in a process of its own by ``unimodel compare``, as written and once more in float64; see ``unimodel compare --help``
for what "agree" means.
"""

import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

BACKENDS = "torch,tensorflow,mxnet,numpy"
EXAMPLES = Path(__file__).parent
SCRIPTS = {"regression": "10-20-1 regression", "digits_cnn": "digits, convolutional"}


def compare(script: Path) -> dict:
    """What ``unimodel compare`` says of a script; its progress goes to our terminal."""
    command = [sys.executable, "-m", "unimodel", "compare", str(script), "--backends", BACKENDS, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout.strip():
        sys.exit(done.returncode or 1)
    return json.loads(done.stdout)


def main() -> int:
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title="One script, four backends")
    for heading in ("task", "backend", "version", "final loss", "test loss", "test accuracy", "largest loss difference", "seconds"):
        table.add_column(heading, justify="left" if heading in ("task", "backend", "version") else "right")
    agree = True
    for name, title in SCRIPTS.items():
        console.print(f"{title}: training on {BACKENDS} …")
        result = compare(EXAMPLES / f"{name}.py")
        agree &= result["agree"]
        for backend, row in result["backends"].items():
            if "error" in row:
                table.add_row(title, backend, row["version"], "failed", "", "", "", "")
                console.print(f"{backend}: {row['error']}", style="red", markup=False)
                continue
            final = row["final"]
            accuracy = f"{final['evaluate_accuracy']:.4f}" if "evaluate_accuracy" in final else "–"
            table.add_row(
                title,
                backend,
                row["version"],
                f"{final['loss']:.6f}",
                f"{final['evaluate_loss']:.6f}",
                accuracy,
                f"{result['max_loss_difference']:.1e}",
                f"{row['seconds']:.1f}",
            )
        table.add_section()
    console.print(table)
    console.print("All backends agree." if agree else "The backends do NOT agree.", style="green" if agree else "red")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())

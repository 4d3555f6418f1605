"""A sitting is a fresh process: started in the right interpreter, with its threads fixed before anything is imported, and ended with all it started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unimodel.bench.machine import environment
from unimodel.bench.plan import Contestant, Plan
from unimodel.cli.apart import cause_of_death, end

_LINES_KEPT = 20


@dataclass(frozen=True)
class Outcome:
    """What a sitting gave, or the cause why it gave nothing, with the last lines that it printed."""

    result: dict[str, Any] | None
    cause: str
    output: str


def sit(
    plan: Plan,
    contestants: Sequence[Contestant],
    *,
    purpose: str,
    steps: int,
    reference: Mapping[str, Any] | None = None,
    limits: Mapping[str, float] | None = None,
) -> Outcome:
    """Measure these contestants, which share a backend, in one fresh process. ``purpose`` is "time", "start", or "reference" for the curve alone."""
    first = contestants[0]
    task = {
        "contestants": [c.as_json() for c in contestants],
        "threads": first.threads,
        "script": plan.script,
        "arguments": list(plan.arguments),
        "purpose": purpose,
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "steps": steps,
        "infers": any(c.mode == "inference" for c in contestants),
        "reference": reference,
        "limits": dict(limits or {}),
    }
    variables = {**os.environ, **environment(first.threads)}
    if any(c.kind == "keras" for c in contestants):
        variables["KERAS_BACKEND"] = first.backend
    with tempfile.TemporaryDirectory(prefix="unimodel-bench-") as folder:
        asked, answered, printed = Path(folder, "task.json"), Path(folder, "result.json"), Path(folder, "output.txt")
        asked.write_text(json.dumps(task))
        command = [interpreter(plan, first.backend), "-m", "unimodel.bench.worker", str(asked), str(answered)]
        with printed.open("wb") as output:
            process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
            try:
                process.wait(plan.time_limit)
                cause = cause_of_death(process.returncode)
            except subprocess.TimeoutExpired:
                cause = f"it did not finish within {plan.time_limit:g} s"
            finally:
                end(process)
        tail = "\n".join(printed.read_text(errors="replace").splitlines()[-_LINES_KEPT:])
        if answered.exists():
            return Outcome(json.loads(answered.read_text()), "", tail)
        return Outcome(None, cause, tail)


def interpreter(plan: Plan, backend: str) -> str:
    """The Python that runs a backend: this one, unless the user named another."""
    return plan.interpreters.get(backend, sys.executable)


def without_unimodel(python: str) -> str | None:
    """Why an interpreter cannot take part, or None if unimodel imports there."""
    question = "import unimodel.bench.worker, unimodel; print(unimodel.__version__)"
    try:
        done = subprocess.run([python, "-c", question], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        return f"it cannot be started: {error.strerror or error}"
    except subprocess.TimeoutExpired:
        return "it does not answer"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"it ended with exit status {done.returncode}"


def backends_there(python: str) -> list[str]:
    """The backends installed beside another interpreter."""
    question = "import json; from unimodel import plugins; print(json.dumps(plugins.names()))"
    done = subprocess.run([python, "-c", question], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False)
    return list(json.loads(done.stdout.strip().splitlines()[-1])) if done.returncode == 0 else []

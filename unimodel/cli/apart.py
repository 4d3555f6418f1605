"""Work in a process of its own, so that what crashes or hangs there leaves everything else standing.

The parent starts ``python -m unimodel worker``, a hidden command, which calls one function of this package and writes what it returns into a file as JSON.
Whatever else the process prints is kept aside, and shown only where it helps.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

_LINES_KEPT = 40
"""So much of what a failed process printed is shown."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: the result, or the cause why there is none."""

    result: dict[str, Any] | None
    cause: str
    output: str
    """The last lines that the process printed; empty where they were shown at once."""


def call_apart(function: Callable[..., dict[str, Any]], *, time_limit: float | None = None, verbose: bool = False, **arguments: Any) -> Outcome:
    """Call ``function(**arguments)`` in a new process; arguments and result are JSON. ``verbose`` lets its output through to standard error."""
    with tempfile.TemporaryDirectory(prefix="unimodel-") as folder:
        result, printed = Path(folder, "result.json"), Path(folder, "output.txt")
        task = f"{function.__module__}:{function.__name__}"
        command = [sys.executable, "-X", "faulthandler", "-m", "unimodel", "worker", task, str(result), json.dumps(arguments)]
        if time_limit is not None:
            command.append(f"--time-limit={time_limit}")
        with printed.open("wb") as output:
            # a session of its own, so that what it starts can be ended with it
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=2 if verbose else output, stderr=2 if verbose else output, start_new_session=True
            )
            try:
                process.wait(time_limit)
                cause = cause_of_death(process.returncode)
            except subprocess.TimeoutExpired:
                cause = f"it did not finish within {time_limit:g} s"
            finally:
                end(process)
        tail = "\n".join(printed.read_text(errors="replace").splitlines()[-_LINES_KEPT:])
        if result.exists():
            return Outcome(json.loads(result.read_text()), "", tail)
        return Outcome(None, cause, tail)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that has a session of its own, with all it started."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def cause_of_death(status: int) -> str:
    """A process's exit status as a clause."""
    if status >= 0:
        return f"its process ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    meaning = {
        "SIGSEGV": "segmentation fault",
        "SIGABRT": "aborted by native code",
        "SIGKILL": "killed, perhaps for want of memory",
        "SIGFPE": "arithmetic fault in native code",
    }
    return f"its process was ended by {name}" + (f" ({meaning[name]})" if name in meaning else "")


def worker(
    task: Annotated[str, typer.Argument(help="module:function")],
    result: Annotated[Path, typer.Argument(help="The file that the result is written to.")],
    arguments: Annotated[str, typer.Argument(help="JSON of the keyword arguments.")],
    time_limit: float | None = None,
) -> None:
    """The other end of ``call_apart``."""
    if time_limit is not None:
        faulthandler.dump_traceback_later(0.9 * time_limit)  # shows where it hangs
    module, _, function = task.partition(":")
    answer = getattr(importlib.import_module(module), function)(**json.loads(arguments))
    faulthandler.cancel_dump_traceback_later()
    unfinished = result.with_suffix(".part")
    unfinished.write_text(json.dumps(answer))
    unfinished.replace(result)
    if any(not t.daemon for t in threading.enumerate() if t is not threading.main_thread()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # threads that a stopped script left would keep us waiting

"""Progress of a fit: a live line on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

PLAIN_LINES = 10


class Progress:
    """``verbose`` is "auto" (live on a terminal, plain lines elsewhere), True for plain lines, False for silence."""

    def __init__(self, epochs: int, steps: int | None, verbose: Any) -> None:
        self.epochs = epochs
        self.steps = steps
        self.live = verbose == "auto" and sys.stderr.isatty()
        self.plain = bool(verbose) and not self.live
        self.every = max(1, -(-epochs // PLAIN_LINES))
        self.started = time.perf_counter()
        self._bar: Any = None
        if self.live:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"), transient=False)
            self._bar.start()
            self._task = self._bar.add_task("", total=epochs)

    def epoch(self, done: int, epoch: int, logs: dict[str, Any]) -> None:
        if not (self.live or self.plain):
            return
        text = "  ".join(f"{name} {value:.4g}" for name, value in logs.items() if isinstance(value, (int, float)))
        if self.live:
            self._bar.update(self._task, completed=done, description=text)
        elif done % self.every == 0 or done == self.epochs:
            print(f"epoch {epoch + 1} ({done}/{self.epochs}, {time.perf_counter() - self.started:.1f} s)  {text}", file=sys.stderr, flush=True)

    def stopped(self, epoch: int, why: Any) -> None:
        """Say that the run ends before its last epoch, where somebody has given a reason."""
        if (self.live or self.plain) and isinstance(why, str):
            print(f"stopped after epoch {epoch + 1}: {why}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

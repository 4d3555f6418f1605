"""What is to be measured: contestants, and the sittings in which they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

DEFAULT = "default"
"""A setting left as unimodel or the framework has it."""
MODES = ("train", "fit", "inference")
KINDS = ("unimodel", "again", "native", "native again", "keras")


@dataclass(frozen=True)
class Contestant:
    """One way of doing a workload. ``kind`` is unimodel, the loop written by hand ("native"), Keras, or one of the first two "again": what the noise is."""

    workload: str
    backend: str
    kind: str = "unimodel"
    mode: str = "train"
    batch_size: int | None = None
    precision: str = "float32"
    compile: str = DEFAULT
    threads: int = 1

    @property
    def ours(self) -> bool:
        return self.kind in ("unimodel", "again")

    @property
    def tuned(self) -> bool:
        """Whether anything was set that a user gets only by asking; reported apart from the defaults."""
        return self.precision != "float32" or self.compile != DEFAULT

    @property
    def label(self) -> str:
        """Its name within a workload, such as ``torch native`` or ``torch fit, bf16-mixed``."""
        words = self.backend if self.kind == "unimodel" else f"{self.backend} {self.kind}"
        settings = [self.precision] * (self.precision != "float32") + ([] if self.compile == DEFAULT else [f"compile={self.compile}"])
        return ", ".join([words if self.mode == "train" else f"{words} {self.mode}", *settings])

    @property
    def group(self) -> tuple[str, int | None, int]:
        """Whom it is compared with: the same workload, batch size and threads."""
        return (self.workload, self.batch_size, self.threads)

    @property
    def key(self) -> str:
        """All of it as one text."""
        size = "" if self.batch_size is None else f", batch {self.batch_size}"
        return f"{self.workload}{size}: {self.label}" + (f", {self.threads} threads" if self.threads != 1 else "")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Sitting:
    """A process: the contestants that take turns in it, and for how long. ``start_only`` ends after the first steps: what a start takes, and peak memory."""

    contestants: tuple[Contestant, ...]
    number: int = 0
    start_only: bool = False


@dataclass(frozen=True)
class Plan:
    """``processes`` sittings of each contestant, ``rounds`` turns in each, ``seconds`` a turn.

    ``together`` puts all contestants of a workload and backend into one process, where they take turns, which is what ratios between them want; else each has
    its own. ``exact`` compares curves in float64 first. ``budget``: no sitting begins that would not end within so many seconds; the first one of each always does.
    """

    contestants: Sequence[Contestant]
    processes: int = 7
    rounds: int = 1
    seconds: float = 0.5
    together: bool = False
    exact: bool = True
    budget: float | None = None
    interpreters: dict[str, str] = field(default_factory=dict)
    reference: str | None = None
    script: str | None = None
    arguments: tuple[str, ...] = ()
    time_limit: float = 900.0

    def starts(self) -> Iterator[Sitting]:
        """Where contestants share processes: one for each alone, defaults only, for its start and memory."""
        if self.together:
            for contestant in self.contestants:
                if contestant.kind in ("unimodel", "native") and contestant.mode == "train":
                    yield Sitting((contestant,), start_only=True)

    def sittings(self, contestants: Sequence[Contestant]) -> Iterator[Sitting]:
        """A B C, then C B A, and so on."""
        groups: dict[Any, list[Contestant]] = {}
        for contestant in contestants:
            groups.setdefault((contestant.group, contestant.backend) if self.together else contestant, []).append(contestant)
        order = [tuple(group) for group in groups.values()]
        for number in range(self.processes):
            for group in order:
                yield Sitting(group if number % 2 == 0 else group[::-1], number)
            order.reverse()

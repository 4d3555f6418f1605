"""What a fit gives back."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class History:
    """``history[name]`` is a list with one number per epoch; ``epoch`` the epochs' numbers, which go on from one fit to the next."""

    history: dict[str, list[float]] = field(default_factory=dict)
    epoch: list[int] = field(default_factory=list)

    def add(self, epoch: int, logs: dict[str, float]) -> None:
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

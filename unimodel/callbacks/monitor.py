"""Which number a callback watches, and which way it should go."""

from __future__ import annotations

import re
from collections.abc import Mapping

from unimodel.errors import DataError

_GROWS = re.compile(r"accuracy|precision|recall|f1|auroc|r2")


class Monitor:
    """A number in the logs. ``mode`` is "min", "max", or "auto": "max" for what scikit-learn calls scores (accuracy, precision, recall, F1, AUROC, R²)."""

    def __init__(self, who: str, name: str, mode: str) -> None:
        if mode not in ("auto", "min", "max"):
            raise DataError("mode is 'auto', 'min' or 'max'.", given=repr(mode), remedy="leave mode out")
        self.who, self.name = who, name
        self.sign = -1.0 if mode == "max" or (mode == "auto" and _GROWS.search(name)) else 1.0

    def cost(self, logs: Mapping[str, float]) -> float:
        """The number, its sign turned where more is better: less is always better."""
        if self.name not in logs:
            raise DataError(
                f"{self.who} watches a number that is not reported.",
                expected=", ".join(logs),
                given=self.name,
                remedy="pass validation_data, or watch another one",
            )
        return self.sign * logs[self.name]

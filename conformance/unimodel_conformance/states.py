"""What can become of a test, and how that is decided.

Six states: ``pass`` and ``fail``; ``refused``, where the backend said beforehand, typed, that it does not do this; ``newer``, where the test is for a
later version of the API than the backend's; ``known defect``, where the backend's author has declared it; ``broken``, where the backend could not even be loaded.
Nothing else: a test that is merely skipped counts as failed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

PASS, FAIL, REFUSED, NEWER, KNOWN_DEFECT, BROKEN = "pass", "fail", "refused", "newer", "known defect", "broken"
STATES = (PASS, FAIL, REFUSED, NEWER, KNOWN_DEFECT, BROKEN)
"""In the order in which reports list them."""


class Refused(Exception):
    """Raised instead of running a test whose capability the backend does not claim."""


@dataclass(frozen=True)
class Verdict:
    """A state and why it was given."""

    state: str
    reason: str = ""


def judge(
    error: BaseException | None,
    *,
    test: str,
    declared: Mapping[str, Any],
    missing: Collection[str] = (),
    unsupported: type[BaseException] | tuple[type[BaseException], ...] = (),
    newer: bool = False,
) -> Verdict:
    """The state of a test that ended with ``error`` (None where it passed).

    ``declared`` are the backend's known defects, ``missing`` the primitives its table lacks, ``unsupported`` the error class of a typed refusal, ``newer`` whether
    the test is for a later API.
    """
    gap = declared.get(test)
    if error is None:
        if gap is not None:
            return Verdict(FAIL, f"passes, although the backend declares it a known defect ({gap}); take {test!r} out of known_defects")
        return Verdict(PASS)
    if newer:
        return Verdict(NEWER, _first_line(error))
    if isinstance(error, Refused):
        return Verdict(REFUSED, str(error))
    if isinstance(error, unsupported):
        lacking = sorted(set(re.findall(r"\w+", str(error))) & set(missing))
        if lacking:
            return Verdict(REFUSED, f"no lowering for {', '.join(lacking)}")
        if gap is not None:
            return Verdict(REFUSED, str(gap))
        return Verdict(
            FAIL,
            f"refused, although the backend's table and capabilities claim it: {_first_line(error)} (if it cannot be done, declare {test!r} in known_defects)",
        )
    if gap is not None:
        return Verdict(KNOWN_DEFECT, str(gap))
    return Verdict(FAIL, _first_line(error))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

"""Every error a user can cause, in one shape.

A message says what was expected, what came, where in the user's code, and what to do. The classes say which part of the
work noticed it, so that a caller can catch one kind; ``UnimodelError`` is the root.
"""

from __future__ import annotations

import linecache
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_not_user_code = [str(Path(__file__).resolve().parent) + os.sep]
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep


def is_not_user_code(package: str) -> None:
    """Backends are no user code either: the lines of the files in this folder are never shown as the user's."""
    folder = os.path.join(package, "")
    if folder not in _not_user_code:
        _not_user_code.append(folder)


def user_code(file: str) -> bool:
    """Whether a file's lines may be shown as the user's."""
    if file.startswith(("<frozen", *_not_user_code)):
        return False
    return not file.startswith(_STANDARD_LIBRARY) or "site-packages" in file


@dataclass(frozen=True, slots=True)
class Source:
    """A line of user code, and the layer that was running when it was reached."""

    file: str
    line: int
    function: str
    layer: str = ""

    def __str__(self) -> str:
        text = linecache.getline(self.file, self.line).strip()
        place = f"{self.file}:{self.line}, in {self.function}"
        if text:
            place += f": {text}"
        return f"{place}  [layer {self.layer}]" if self.layer else place


def user_source(layer: str = "", beyond: str = "") -> Source | None:
    """The innermost line on the stack that is not unimodel's, a backend's, Python's own or of the package ``beyond``, or None when there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        file = code.co_filename
        if user_code(file) and not (beyond and frame.f_globals.get("__name__", "").partition(".")[0] == beyond):
            return Source(file, frame.f_lineno, code.co_name, layer)
        frame = frame.f_back  # type: ignore[assignment]  # the loop's test is what ends it
    return None


class UnimodelError(Exception):
    """Root of all errors raised on purpose by unimodel or by a backend.

    Parameters: ``message`` the fault in one sentence; ``expected`` and ``given`` the two sides; ``remedy`` what to do;
    ``source`` the user's line (found on the stack when left out).
    """

    def __init__(
        self,
        message: str,
        *,
        expected: object = None,
        given: object = None,
        remedy: str | None = None,
        source: Source | None = None,
    ) -> None:
        self.message = message
        self.expected = expected
        self.given = given
        self.remedy = remedy
        self.source = source if source is not None else user_source()
        super().__init__(message)

    def __str__(self) -> str:
        lines = [self.message]
        for label, what in (("expected", self.expected), ("given", self.given), ("at", self.source), ("remedy", self.remedy)):
            if what is not None:
                lines.append(f"  {label + ':':<9} {what}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.expected, self.given, self.remedy, self.source))


def _rebuild(kind: type[UnimodelError], message: str, expected: object, given: object, remedy: str | None, source: Source | None) -> UnimodelError:
    return kind(message, expected=expected, given=given, remedy=remedy, source=source)


class ShapeError(UnimodelError):
    """Shapes, ranks or dtypes that do not fit together; raised while tracing, before any framework runs."""


class TraceError(UnimodelError):
    """User code did with a traced value what only a concrete number can do, or used it outside its trace."""


class UnsupportedError(UnimodelError):
    """A backend lacks what was asked for, and says so before work starts."""


class BackendError(UnimodelError):
    """The framework beneath a backend failed."""


class UnknownNameError(UnimodelError, AttributeError):
    """A name that a module or an object does not have; see ``unimodel.names``. ``remedy`` may be a function, called when the message is read."""

    def __init__(self, message: str, *, remedy: Any = None, name: str | None = None, **sides: Any) -> None:
        self._remedy = remedy
        super().__init__(message, remedy=remedy, **sides)
        self.name = name  # set, so that Python does not add a guess of its own to the message

    @property
    def remedy(self) -> str | None:
        if callable(self._remedy):
            self._remedy = self._remedy()
        found: str | None = self._remedy
        return found

    @remedy.setter
    def remedy(self, remedy: Any) -> None:
        self._remedy = remedy


class ArgumentError(UnimodelError, TypeError):
    """An argument of a name that a function does not take; see ``unimodel.arguments``."""


class PluginError(UnimodelError):
    """A backend that is missing, broken, or made for another version of the API."""


class CheckpointError(UnimodelError):
    """A file that is no checkpoint, is damaged, or belongs to another model."""


class DataError(UnimodelError):
    """Data that cannot be trained on: empty, ragged, out of range."""


class NonFiniteError(UnimodelError):
    """The loss became NaN or infinite."""

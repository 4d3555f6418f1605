"""Names that are not here: what they are called here, or which one was meant.

Whoever comes from PyTorch, Keras or NumPy writes the name they know first. So a module, a tensor, a model, an optimizer or a trainer that is asked for a name it
lacks says what to write: what stands in ``FOREIGN`` or ``OMITTED``, else the room in which that very name is, else the name that is spelt most like it. It stays an
``AttributeError``, so ``hasattr``, ``copy`` and ``pickle`` find out what they ask; and names that begin with an underscore, which belong to Python's protocols, are
answered as Python does. The looking is done when the message is read: code that only asks whether a name is there does not wait for it.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from unimodel.errors import UnknownNameError
from unimodel.foreign_names import FOREIGN
from unimodel.omissions import OMITTED, OmittedError

ROOMS = (
    "um",
    "um.nn",
    "um.losses",
    "um.ops",
    "um.nn.functional",
    "um.optim",
    "um.optim.lr_scheduler",
    "um.metrics",
    "um.callbacks",
    "um.init",
    "um.models",
    "um.nn.utils",
    "um.nn.utils.rnn",
)
"""The modules with public names, in the order in which a name is looked for."""
_LIKE = 0.72
"""How much two names must share for one to be taken for the other misspelt; ``difflib``'s ratio."""


def closest(name: str, names: Iterable[str], also_called: Mapping[str, str] | None = None, like: float = _LIKE) -> str | None:
    """The one of ``names`` that was probably meant: what ``also_called`` says of it, else the one spelt most like it, upper case or lower.

    >>> closest("Linaer", ["Bilinear", "Linear"])
    'Linear'
    """
    meant = (also_called or {}).get(name.lower())
    if meant is not None:
        return meant
    lowered: dict[str, str] = {}
    for each in names:
        lowered.setdefault(each.lower(), each)
    found = difflib.get_close_matches(name.lower(), lowered, 1, like)
    if not found and len(name) > 2:  # the beginning of one
        found = sorted((each for each in lowered if each.startswith(name.lower())), key=len)
    return lowered[found[0]] if found else None


def missing(room: str) -> Callable[[str], Any]:
    """A module's ``__getattr__``, which says what a name that it lacks is called here, or why it is left out on purpose."""

    def explain(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"module {_module(room)!r} has no attribute {name!r}")
        reason = OMITTED.get(room, {}).get(name)
        if reason is not None:
            raise OmittedError(f"{room}.{name} is left out on purpose.", expected=f"a name of {room}", given=name, remedy=reason)
        raise UnknownNameError(
            f"module {_module(room)!r} has no attribute {name!r}.", expected=f"a name of {room}", given=name, remedy=lambda: _in_module(room, name), name=name
        )

    return explain


class ExplainsNames:
    """Base of what says, asked for an attribute that it lacks, what to write. ``_um_kind`` is its table in ``FOREIGN``."""

    __slots__ = ()
    _um_kind: ClassVar[str] = ""

    if not TYPE_CHECKING:  # where mypy sees it, every attribute exists

        def __getattr__(self, name: str) -> Any:
            kind = type(self)
            if name.startswith("_"):
                raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}")
            if hasattr(kind, name):  # a property, in which an attribute was missing: that one is the fault
                return object.__getattribute__(self, name)
            own = [*getattr(self, "__dict__", ())]
            raise UnknownNameError(
                f"{kind.__name__!r} object has no attribute {name!r}.",
                given=name,
                remedy=lambda: _of_object(kind, own, name),
                name=name,
            )


def _in_module(room: str, name: str) -> str:
    said = FOREIGN.get(room, {}).get(name)
    if said is not None:
        return said
    for other in ROOMS:
        if name in _public(other):
            return f"it is {other}.{name} here"
    for rooms, like in ([room], _LIKE), (ROOMS, 0.8):
        for other in rooms:
            meant = closest(name, _public(other), like=like)
            if meant is not None:
                return f"did you mean {other}.{meant}?"
    return f"dir({room}) lists what there is, docs/coverage.md in the repository what there is not, and why"


def _of_object(kind: type, own: Iterable[str], name: str) -> str:
    """What to write instead of an attribute that an object of this class, with these attributes of its own, does not have."""
    table = FOREIGN[kind._um_kind]  # type: ignore[attr-defined]  # whose base says so
    if name in table:
        return table[name]
    there = [n for n in (*own, *dir(kind)) if not n.startswith("_")]
    plain = name.rstrip("_")
    tensor = kind._um_kind == "Tensor"  # type: ignore[attr-defined]  # likewise
    if tensor and name.endswith("_") and (plain in there or plain in _public("um.ops")):
        return f"a traced tensor never changes: write x = {f'x.{plain}' if plain in there else f'um.ops.{plain}'}(…)"
    if tensor and name in _public("um.ops"):
        return f"it is a function here: um.ops.{name}(x, …)"
    meant = closest(name, there)
    if meant is not None:
        return f"did you mean {meant}?"
    if tensor:
        said = FOREIGN["um.ops"].get(name) or next((f"um.ops.{op}(x, …)" for op in [closest(name, _public("um.ops"))] if op), None)
        return f"as a function it is there: {said}" if said else "um.ops has what tensors can do, as functions"
    return "assign it in __init__ before it is read" if kind._um_kind == "Model" else f"dir({kind.__name__}) lists what there is"  # type: ignore[attr-defined]  # likewise


def _module(room: str) -> str:
    return room.replace("um", "unimodel", 1)


def _public(room: str) -> list[str]:
    """A room's public names."""
    module = importlib.import_module(_module(room))
    names: list[str] = getattr(module, "__all__", None) or [
        n for n, value in vars(module).items() if not n.startswith("_") and getattr(value, "__module__", "").startswith(_module(room))
    ]
    return names

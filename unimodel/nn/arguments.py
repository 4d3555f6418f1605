"""Checks of layer arguments, made when the layer is built: the message names the argument, what it may be, and the user's line."""

from __future__ import annotations

from collections.abc import Sequence

from unimodel.errors import ShapeError


def positive(**arguments: int) -> None:
    """Each must be an integer of at least 1."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            raise ShapeError(f"{name} must be a positive integer.", expected=f"{name} >= 1", given=repr(value))


def probability(name: str, value: float, below_one: bool = False) -> None:
    if not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0 or (below_one and value == 1.0):
        raise ShapeError(f"{name} is a probability.", expected=f"0 <= {name} {'<' if below_one else '<='} 1", given=repr(value))


def tuple_of(value: int | Sequence[int], count: int, name: str, least: int) -> tuple[int, ...]:
    """A number or one per dimension, as one per dimension."""
    values = (value,) * count if isinstance(value, int) else tuple(value) if not isinstance(value, str) else ()
    if len(values) != count or any(not hasattr(v, "__index__") or v < least for v in values):
        raise ShapeError(f"{name} is one number, or one per spatial dimension.", expected=f"{count} numbers of at least {least}", given=repr(value))
    return values

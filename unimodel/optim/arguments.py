"""Checks of optimizer arguments, made when the optimizer is built: the message names the argument, what it may be, and the user's line."""

from __future__ import annotations

from unimodel.errors import DataError


def not_negative(**arguments: float) -> None:
    """Each must be a number of at least 0."""
    for name, value in arguments.items():
        if not isinstance(value, (int, float)) or not value >= 0:
            raise DataError(f"{name} is a number of at least 0.", given=repr(value))


def shares(**arguments: float) -> None:
    """Each must be a number in [0, 1)."""
    for name, value in arguments.items():
        if not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise DataError(f"{name} is a number in [0, 1).", given=repr(value))


def averaging(betas: tuple[float, float]) -> tuple[float, float]:
    """Two coefficients of moving averages."""
    if len(betas) != 2:
        raise DataError("betas are two numbers.", given=repr(betas))
    shares(**{"betas[0]": betas[0], "betas[1]": betas[1]})
    return betas[0], betas[1]

"""What the tests of error messages share: small data, trainers, and the check that a message shows the line at fault, which ends in the comment ``here``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import nn
from unimodel.errors import UnimodelError

X = np.random.default_rng(0).standard_normal((8, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1])
IMAGES = np.zeros((8, 3, 5, 5), "float32")


def trainer(model: um.Model | None = None, **options: Any) -> um.Trainer:
    defaults: dict[str, Any] = {"loss": um.losses.MSELoss(), "optimizer": um.optim.SGD(lr=0.1), "backend": "numpy"}
    return um.Trainer(model or nn.Linear(3, 1), **{**defaults, **options})


def classifier() -> um.Trainer:
    return trainer(nn.Linear(3, 3), loss=um.losses.CrossEntropyLoss())


class Forward(um.Model):
    """A model that is one function."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        self.function = function
        self.__dict__.update(parts)

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


def says(kind: type[UnimodelError], function: Callable[[], Any], *words: str) -> UnimodelError:
    """Runs it, and checks the class, the user's line, that there is a remedy, and that the message has these words."""
    with pytest.raises(UnimodelError) as caught:
        function()
    error, text = caught.value, str(caught.value)
    assert type(error) is kind, text
    assert "# here" in text, text
    assert error.remedy, text
    for word in words:
        assert word in text, f"{word!r} is not in:\n{text}"
    return error

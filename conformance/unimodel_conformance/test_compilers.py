"""The compilers of a framework's own: each one a backend lists gives the same numbers, at every batch size, and loses no NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import ops
from unimodel.backend import Capability
from unimodel_conformance.subject import Subject, assert_close

pytestmark = [pytest.mark.concerns("capability", "compilers"), pytest.mark.needs(Capability.TRAINING)]

RNG = np.random.default_rng(6)
X = RNG.standard_normal((22, 6)).astype("float32")
Y = RNG.integers(0, 4, 22)


class Net(um.Model):
    """Norm, dropout, and the ops under which compilers like to lose NaN."""

    def __init__(self) -> None:
        self.fc1 = um.nn.Linear(6, 8, bias=False)  # before a norm its gradient would be noise
        self.norm = um.nn.BatchNorm1d(8)
        self.drop = um.nn.Dropout(0.2)
        self.fc2 = um.nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        h = self.drop(ops.relu(self.norm(self.fc1(x))))
        return self.fc2(h) + ops.max(h, axis=1, keepdims=True)


def trainer(compiler: str) -> um.Trainer:
    optimizer = um.optim.AdamW(lr=0.01)
    um.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    return um.Trainer(Net(), um.losses.CrossEntropyLoss(), optimizer, compile=compiler)


def test_compilers_give_the_same_numbers(subject: Subject) -> None:
    """Two epochs whose last batch is smaller, then predictions for all and for three: as without a compiler."""
    for compiler in subject.backend.compilers:
        plain, compiled = trainer("none"), trainer(compiler)
        for each in (plain, compiled):
            each.fit((X, Y), epochs=2, batch_size=8, verbose=False)
        assert plain.compilers["train"] == "none" and compiled.compilers["train"] == compiler
        for name, array in plain.model.state_dict().items():
            assert_close(compiled.model.state_dict()[name], array, 1e-5, f"{compiler}: {name} after training")
        for rows in (X, X[:3]):
            assert_close(compiled.predict(rows), plain.predict(rows), 1e-5, f"{compiler}: predictions for {len(rows)}")
        assert np.isnan(compiled.predict(np.full((22, 6), np.nan, "float32"))).all(), f"{compiler} has lost a NaN"

"""Python's garbage collector waits while a program is built, and is as it was before, whatever happens meanwhile."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel.executables import per_shape
from unimodel.graph import Graph


class Watching(um.Model):
    """Notes whether collections are on while it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = um.Parameter(np.ones((2, 1), "float32"))
        self.seen: list[bool] = []

    def forward(self, x: Any) -> Any:
        self.seen.append(gc.isenabled())
        return x @ self.weight


class Failing(um.Model):
    def forward(self, x: Any) -> Any:
        raise RuntimeError("no")


@pytest.fixture(params=[True, False], ids=["on before", "off before"])
def collecting(request: pytest.FixtureRequest) -> Iterator[bool]:
    before = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if before else gc.disable)()


X = np.ones((4, 2), "float32")


def test_it_waits_while_a_step_is_traced_and_is_as_before_after_it(collecting: bool) -> None:
    model = Watching()
    trainer = um.Trainer(model, loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.1), backend="numpy")
    trainer.train_step((X, X[:, :1]))
    assert model.seen and not any(model.seen)
    assert gc.isenabled() == collecting


def test_it_is_as_before_after_an_error(collecting: bool) -> None:
    with um.use_backend("numpy"), pytest.raises(RuntimeError):
        Failing()(X)
    assert gc.isenabled() == collecting


def test_it_waits_while_a_program_of_one_shape_is_compiled(collecting: bool) -> None:
    seen = []

    def compile(graph: Graph, store: Any) -> Any:
        seen.append(gc.isenabled())
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        per_shape.PerShape(Graph((), (), ()), compile, None).run([], [])
    assert seen == [False] and gc.isenabled() == collecting


def test_a_trainer_that_nobody_holds_is_collected() -> None:
    trainer = um.Trainer(Watching(), loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.1), backend="numpy")
    trainer.train_step((X, X[:, :1]))
    there = weakref.ref(trainer)
    del trainer
    gc.collect()
    assert there() is None

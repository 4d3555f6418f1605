"""Equal graphs share one compiled program: same numbers, each over its own state, and nobody's state is kept alive."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import nn, ops, reuse
from unimodel.backend import Backend, Interpreter
from unimodel.errors import UnimodelError

BACKENDS = ["numpy", "torch", "tensorflow", "mxnet"]
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((8, 1, 6, 6)).astype("float32"), RNG.integers(0, 3, 8)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(f"unimodel_{request.param}", reason=f"{request.param} is not installed")
    return str(request.param)


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The graphs that backends have been given."""
    made: list[Any] = []

    def watched(kind: type[Backend]) -> None:
        compile = kind.compile

        def counted(self: Any, graph: Any, store: Any, options: Any = None) -> Any:
            made.append(graph)
            return compile(self, graph, store, options)

        monkeypatch.setattr(kind, "compile", counted)

    for name in BACKENDS:
        try:
            watched(um.plugins.load(name))
        except UnimodelError:
            continue
    return made


def network(width: int = 4) -> um.Model:
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(4 * width, 3))


def trainer(backend: str, seed: int, **options: Any) -> um.Trainer:
    optimizer = options.pop("optimizer", None) or um.optim.Adam(lr=0.01)
    return um.Trainer(options.pop("model", None) or network(), um.losses.CrossEntropyLoss(), optimizer, backend=backend, seed=seed, **options)


def losses(one: um.Trainer, steps: int = 4) -> list[float]:
    return [float(one.train_step((X, Y))["loss"]) for _ in range(steps)]


def test_a_second_trainer_compiles_nothing_and_computes_the_same(backend: str, compilations: list[Any]) -> None:
    alone = []
    for seed in (1, 2):
        reuse.forget()
        one = trainer(backend, seed)
        alone.append((losses(one), one.predict(X)))
    reuse.forget()
    compilations.clear()
    first, second = trainer(backend, 1), trainer(backend, 2)
    steps: dict[um.Trainer, list[float]] = {first: [], second: []}
    for one in (first, second, first, second):  # in turn
        steps[one] += losses(one, 2)
    predicted = [one.predict(X) for one in (first, second)]
    assert len(compilations) == 2, "one program to train, one to predict"
    assert [*steps.values()] == [curve for curve, _ in alone] and steps[first] != steps[second]
    for given, (_, wanted) in zip(predicted, alone, strict=True):
        np.testing.assert_array_equal(given, wanted)


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": um.optim.Adam(lr=0.01, betas=(0.8, 0.999))},
        {"precision": "float64"},
        {"model": network(5)},
        {"differentiation": "core"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_differs_is_compiled_anew(change: dict[str, Any], compilations: list[Any]) -> None:
    losses(trainer("numpy", 1), 1)
    losses(trainer("numpy", 1, **change), 1)
    assert len(compilations) == 2


def test_a_rate_is_not_part_of_a_program(compilations: list[Any]) -> None:
    slow, fast = (trainer("numpy", 1, optimizer=um.optim.Adam(lr=lr)) for lr in (0.001, 0.1))
    assert losses(slow) != losses(fast) and len(compilations) == 1


class Rooted(um.Model):
    """Its line is looked up in the file: two equal ones on other lines are two programs, so that errors name the right one."""

    def __init__(self, forward: Any) -> None:
        self.forward_of = forward

    def forward(self, x: Any) -> Any:
        return self.forward_of(x)


def test_lines_are_part_of_a_program(compilations: list[Any]) -> None:
    def one(x: Any) -> Any:
        return ops.exp(x)

    def other(x: Any) -> Any:
        return ops.exp(x)

    for function in (one, other, one):
        um.Trainer(Rooted(function), backend="numpy").predict(X)
    assert len(compilations) == 2


@pytest.mark.parametrize("value", [1, True, 1.0, -0.0, 0.0])
def test_equal_numbers_of_other_kinds_are_other_programs(value: Any, compilations: list[Any]) -> None:
    def scaled(number: Any) -> np.ndarray:
        return np.asarray(um.Trainer(Rooted(lambda x: x[:, 0, 0, 0] / ops.asarray(number)), backend="numpy", precision="float64").predict(np.abs(X)))

    others = [v for v in (1, True, 1.0, -0.0, 0.0) if (type(v), str(v)) != (type(value), str(value))]
    before = scaled(value)
    for other in others:
        scaled(other)
    assert len(compilations) == 5
    np.testing.assert_array_equal(scaled(value), before)


def test_nobodys_state_is_kept_alive(backend: str) -> None:
    held = []
    for seed in range(2):
        one = trainer(backend, seed)
        losses(one, 2)
        one.predict(X)
        held.append(weakref.ref(one._um_runtime.store))
        del one
    gc.collect()
    assert [r() for r in held] == [None, None]
    assert reuse._kept, "nothing is kept at all"


def test_the_programs_used_last_are_kept(compilations: list[Any]) -> None:
    def use(width: int) -> int:
        um.Trainer(network(width), backend="numpy").predict(X)
        return len(compilations)

    for width in range(1, reuse.KEPT + 2):
        use(width)
        use(1)
    assert use(1) == reuse.KEPT + 1, "the one used last is gone"
    assert use(2) == reuse.KEPT + 2, "the one not used for longest is still there"


def test_large_constants_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.ones(100, "float32")
    for limit in (399, 400):
        reuse.forget()
        monkeypatch.setattr(reuse, "LARGEST", limit)
        um.Trainer(Rooted(lambda x: x[:, 0, 0, :1] + ops.sum(ops.asarray(numbers))), backend="numpy").predict(X)
        assert len(reuse._kept) == (limit == 400)


def test_a_backend_that_cannot_is_compiled_each_time(monkeypatch: pytest.MonkeyPatch, compilations: list[Any]) -> None:
    monkeypatch.setattr(Interpreter, "over", lambda self, store: None)
    assert losses(trainer("numpy", 1)) == losses(trainer("numpy", 1))
    assert len(compilations) == 2 and not reuse._kept


def test_trainers_in_threads_share_a_program(backend: str) -> None:
    alone = [losses(trainer(backend, seed), 12) for seed in range(3)]
    found: dict[int, list[float]] = {}

    def work(seed: int) -> None:
        found[seed] = losses(trainer(backend, seed), 12)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[seed] for seed in range(3)] == alone


def test_filters_settled_otherwise() -> None:
    """TensorFlow keeps a convolution's weight as the first program on it wants it. A program is for one way of keeping it."""
    pytest.importorskip("unimodel_tensorflow", reason="tensorflow is not installed")
    weight = np.ones((4, 1, 3, 3), "float32")

    class Both(um.Model):
        def __init__(self) -> None:
            self.conv = nn.Conv2d(1, 4, 3, bias=False)

        def forward(self, x: Any) -> Any:
            return self.conv(x)

    class Plain(Both):
        def forward(self, x: Any) -> Any:
            return ops.sum(self.conv.weight) + ops.sum(x, axis=(1, 2, 3))

    found = []
    for order in ((Both, Plain), (Plain, Both)):
        model = order[0]()
        model.load_state_dict({"conv.weight": weight})
        one = um.Trainer(model, backend="tensorflow")
        first = one.predict(X)
        model.__class__ = order[1]
        one._um_runtime.stale = True
        one._um_runtime._programs.clear()
        second = one.predict(X)
        found.append((first, second) if order[0] is Both else (second, first))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)

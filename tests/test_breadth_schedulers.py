"""All of PyTorch's schedules, alone, chained and one after the other, give PyTorch's rates and momenta; training with them takes PyTorch's path."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

import unimodel as um
from unimodel.errors import DataError, UnsupportedError

torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
from torch_oracle import close  # noqa: E402  needs torch

pytestmark = [pytest.mark.torch_oracle, pytest.mark.filterwarnings("ignore::UserWarning")]

COUNTS = 40
ours, theirs = um.optim.lr_scheduler, torch.optim.lr_scheduler


def warm_up(t: int) -> float:
    return min(1.0, (t + 1) / 10)


def decay(t: int) -> float:
    return 0.95**t


def wave(t: int) -> float:
    return 1.0 + 0.1 * math.sin(t)


factors = st.floats(0.1, 1.0)
gammas = st.floats(0.3, 1.2)
totals = st.integers(1, 20)
fixed = st.fixed_dictionaries
functions = st.sampled_from([warm_up, decay, wave, [warm_up, decay]])
momenta = {"cycle_momentum": st.booleans(), "base_momentum": st.sampled_from([0.7, 0.85]), "max_momentum": st.sampled_from([0.9, 0.95, [0.9, 0.8]])}
rates_each = st.one_of(st.floats(0.01, 1.0), st.lists(st.floats(0.01, 1.0), min_size=2, max_size=2))
RELATIVE = {
    "StepLR": fixed({"step_size": st.integers(1, 20)}, optional={"gamma": gammas}),
    "MultiStepLR": fixed({"milestones": st.lists(st.integers(0, 30), max_size=4)}, optional={"gamma": gammas}),
    "ConstantLR": fixed({}, optional={"factor": factors, "total_iters": totals}),
    "LinearLR": fixed({}, optional={"start_factor": factors, "end_factor": st.floats(0.0, 1.0), "total_iters": totals}),
    "ExponentialLR": fixed({"gamma": gammas}),
    "PolynomialLR": fixed({}, optional={"total_iters": totals, "power": st.floats(0.5, 3.0)}),
    "CosineAnnealingLR": fixed({"T_max": st.integers(2, 60)}, optional={"eta_min": st.floats(0, 0.05)}),
}
ABSOLUTE = {
    "LambdaLR": fixed({"lr_lambda": functions}),
    "CosineAnnealingWarmRestarts": fixed({"T_0": st.integers(1, 12)}, optional={"T_mult": st.integers(1, 3), "eta_min": st.floats(0, 0.05)}),
    "OneCycleLR": fixed(
        {
            "max_lr": rates_each,
            "total_steps": st.integers(COUNTS, 70),
            "pct_start": st.sampled_from([0.3, 0.0, 0.45]),
            "anneal_strategy": st.sampled_from(["cos", "linear"]),
            "div_factor": st.floats(2, 50),
            "final_div_factor": st.floats(2, 1e4),
            "three_phase": st.booleans(),
            **momenta,
        }
    ),
    "CyclicLR": fixed(
        {
            "base_lr": rates_each,
            "max_lr": rates_each,
            "step_size_up": st.integers(1, 10),
            "step_size_down": st.none() | st.integers(1, 10),
            "mode": st.sampled_from(["triangular", "triangular2", "exp_range"]),
            "gamma": st.floats(0.9, 1.0),
            "scale_fn": st.sampled_from([None, lambda x: 1 / (1 + x)]),
            "scale_mode": st.sampled_from(["cycle", "iterations"]),
            **momenta,
        }
    ),
}
ALONE = {**RELATIVE, **ABSOLUTE, "MultiplicativeLR": fixed({"lr_lambda": functions})}


def schedules(kinds: dict[str, Any]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.one_of([st.tuples(st.just(name), arguments) for name, arguments in kinds.items()])


class Both:
    """A model with a parameter group for each of two parameters, and schedules made by the same recipe on both sides."""

    def __init__(self, make: Callable[[Any, Any], Any], kind: str = "SGD", **arguments: Any) -> None:
        self.module = torch.nn.Linear(2, 1).double()
        self.model = um.nn.Linear(2, 1)
        self.model.load_state_dict(self.module.state_dict())

        def groups(net: Any) -> Any:
            return [{"params": [net.weight], "lr": 0.2}, {"params": [net.bias], "lr": 0.3}]

        self.theirs = getattr(torch.optim, kind)(groups(self.module), lr=0.1, **arguments)
        self.ours = getattr(um.optim, kind)(groups(self.model), lr=0.1, **arguments)
        self.their_schedule = make(theirs, self.theirs)
        self.schedule = make(ours, self.ours)
        self.trainer = um.Trainer(self.model, loss=um.losses.MSELoss(), optimizer=self.ours, backend="numpy", precision="float64")

    def agree(self, *options: str) -> None:
        for name in ("lr", *options):
            for mine, other in zip(self.ours.param_groups, self.theirs.param_groups, strict=True):
                close(mine[name], other[name], f"{name} after {self.schedule.last_epoch}")

    def walk(self, *options: str, counts: int = COUNTS) -> None:
        self.agree(*options)
        for _ in range(counts):
            self.theirs.step()
            self.their_schedule.step()
            self.schedule.step()
            self.agree(*options)


@given(schedules(ALONE))
@examples(300)
def test_each_alone(schedule: tuple[str, dict[str, Any]]) -> None:
    name, arguments = schedule
    Both(lambda module, optimizer: getattr(module, name)(optimizer, **arguments), momentum=0.9).walk("momentum")


@given(schedules({k: v for k, v in ABSOLUTE.items() if k in ("OneCycleLR", "CyclicLR")}))
def test_cycles_move_beta1_where_there_is_no_momentum(schedule: tuple[str, dict[str, Any]]) -> None:
    name, arguments = schedule
    Both(lambda module, optimizer: getattr(module, name)(optimizer, **arguments), kind="Adam").walk("betas")


@given(st.lists(schedules({**RELATIVE, "MultiplicativeLR": ALONE["MultiplicativeLR"], "LambdaLR": ALONE["LambdaLR"]}), min_size=1, max_size=4))
@examples(150)
def test_chained(parts: list[tuple[str, dict[str, Any]]]) -> None:
    Both(lambda module, optimizer: module.ChainedScheduler([getattr(module, n)(optimizer, **a) for n, a in parts])).walk()


@given(schedules({k: v for k, v in ALONE.items() if k not in ("OneCycleLR", "CyclicLR")}), st.integers(0, 20))
def test_from_where_an_earlier_run_ended(schedule: tuple[str, dict[str, Any]], last_epoch: int) -> None:
    name, arguments = schedule
    whole = Both(lambda module, optimizer: getattr(module, name)(optimizer, **arguments))
    rest = Both(lambda module, optimizer: getattr(module, name)(optimizer, **arguments, **({"last_epoch": last_epoch} if module is ours else {})))
    for _ in range(last_epoch + 1):
        whole.theirs.step()
        whole.their_schedule.step()
    for _ in range(5):
        for mine, other in zip(rest.ours.param_groups, whole.theirs.param_groups, strict=True):
            close(mine["lr"], other["lr"], f"lr after {rest.schedule.last_epoch}")
        whole.theirs.step()
        whole.their_schedule.step()
        rest.schedule.step()


LATER = {k: v for k, v in ALONE.items() if k not in ("OneCycleLR", "CyclicLR")}


@given(st.lists(schedules(LATER), min_size=1, max_size=4), st.data())
@examples(150)
def test_one_after_the_other(parts: list[tuple[str, dict[str, Any]]], data: st.DataObject) -> None:
    milestones = sorted(data.draw(st.lists(st.integers(1, 30), min_size=len(parts) - 1, max_size=len(parts) - 1, unique=True)))
    Both(lambda module, optimizer: module.SequentialLR(optimizer, [getattr(module, n)(optimizer, **a) for n, a in parts], milestones)).walk()


def test_warm_up_then_a_cycle_with_momentum() -> None:
    def make(module: Any, optimizer: Any) -> Any:
        warm = module.LinearLR(optimizer, total_iters=5)
        return module.SequentialLR(optimizer, [warm, module.CyclicLR(optimizer, 0.01, 0.1, step_size_up=4)], [6])

    both = Both(make, momentum=0.9)
    for _ in range(5):
        both.schedule.step()
        both.their_schedule.step()
    for _ in range(20):
        both.schedule.step()
        both.their_schedule.step()
        both.agree("momentum")


RECIPES: dict[str, Callable[[Any, Any], Any]] = {
    "step": lambda m, o: m.MultiStepLR(o, [3, 5]),
    "cycle": lambda m, o: m.CyclicLR(o, 0.01, 0.1, step_size_up=3, mode="triangular2"),
    "one cycle": lambda m, o: m.OneCycleLR(o, 0.1, total_steps=40),
    "chain": lambda m, o: m.ChainedScheduler([m.ConstantLR(o, total_iters=4), m.LinearLR(o, total_iters=7), m.MultiplicativeLR(o, decay)]),
    "sequence": lambda m, o: m.SequentialLR(o, [m.LinearLR(o, 0.1, total_iters=4), m.CosineAnnealingLR(o, 20)], [4]),
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(("kind", "arguments"), [("SGD", {"momentum": 0.9}), ("Adam", {}), ("RMSprop", {"momentum": 0.9}), ("AdamW", {"amsgrad": True})])
def test_training_follows_pytorch_and_traces_once(recipe: str, kind: str, arguments: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((10, 2)), rng.standard_normal((10, 1))
    both = Both(RECIPES[recipe], kind, **arguments)
    both.schedule.interval = "step"
    both.trainer.fit((x, y), epochs=10, batch_size=5, shuffle=False, verbose=False)
    for i in range(20):
        rows = slice(0, 5) if i % 2 == 0 else slice(5, 10)
        both.theirs.zero_grad()
        torch.nn.functional.mse_loss(both.module(torch.tensor(x[rows])), torch.tensor(y[rows])).backward()
        both.theirs.step()
        both.their_schedule.step()
    for name, tensor in both.module.state_dict().items():
        close(both.model.state_dict()[name], tensor, name)
    assert len(list(both.trainer._um_runtime.programs())) == 1


@pytest.mark.parametrize("recipe", [*RECIPES, "plateau"])
def test_a_resumed_run_is_the_same_run(recipe: str, tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    data = rng.standard_normal((12, 2)), rng.standard_normal((12, 1))
    recipes = {**RECIPES, "plateau": lambda m, o: m.ReduceLROnPlateau(o, patience=0, threshold=0.2, cooldown=1)}

    def trainer() -> um.Trainer:
        optimizer = um.optim.SGD(lr=0.1, momentum=0.5)
        recipes[recipe](ours, optimizer)
        return um.Trainer(um.nn.Linear(2, 1), loss=um.losses.MSELoss(), optimizer=optimizer, backend="numpy")

    whole, first, second = trainer(), trainer(), trainer()
    whole.fit(data, epochs=10, batch_size=4, verbose=False)
    first.fit(data, epochs=6, batch_size=4, verbose=False)
    first.save(tmp_path / "run.um")
    second.load(tmp_path / "run.um")
    assert second.optimizer.lr == first.optimizer.lr
    second.fit(data, epochs=4, batch_size=4, verbose=False)
    assert second.optimizer.lr == whole.optimizer.lr
    for key, array in whole.model.state_dict().items():
        np.testing.assert_array_equal(second.model.state_dict()[key], array)


@given(
    st.lists(st.floats(0.1, 2.0) | st.just(math.nan), min_size=20, max_size=20),
    fixed(
        {
            "mode": st.sampled_from(["min", "max"]),
            "factor": st.floats(0.1, 0.9),
            "patience": st.integers(0, 3),
            "threshold": st.sampled_from([1e-4, 0.1]),
            "threshold_mode": st.sampled_from(["rel", "abs"]),
            "cooldown": st.integers(0, 3),
            "min_lr": st.sampled_from([0.0, 0.05, [0.1, 0.01]]),
            "eps": st.sampled_from([1e-8, 0.01]),
        }
    ),
)
def test_plateau(numbers: list[float], arguments: dict[str, Any]) -> None:
    both = Both(lambda module, optimizer: module.ReduceLROnPlateau(optimizer, **arguments))
    for number in numbers:
        both.schedule.step(number)
        both.their_schedule.step(number)
        both.agree()


def test_plateau_looks_at_validation_after_each_epoch() -> None:
    optimizer = um.optim.SGD(lr=1.0)
    schedule = ours.ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=0)
    trainer = um.Trainer(um.nn.Linear(1, 1), loss=um.losses.MSELoss(), optimizer=optimizer, metrics=[um.metrics.MeanAbsoluteError()], backend="numpy")
    optimizer.lr = 1e-3
    data = np.ones((4, 1), "float32"), np.ones((4, 1), "float32")
    history = trainer.fit(data, epochs=3, validation_data=data, verbose=False)  # the loss falls, which is no progress where more is better
    assert schedule.best == history.history["val_loss"][0]
    assert math.isclose(optimizer.lr, 0.25e-3)
    schedule.monitor = "val_accuracy"
    with pytest.raises(DataError, match="does not find"):
        trainer.fit(data, epochs=1, validation_data=data, verbose=False)


def sgd() -> um.optim.SGD:
    return um.optim.SGD(lr=0.1, momentum=0.9)


REFUSED: list[Callable[[], Any]] = [
    lambda: ours.StepLR(sgd(), 0),
    lambda: ours.MultiStepLR(sgd(), [1.5]),
    lambda: ours.MultiStepLR(sgd(), [-1]),
    lambda: ours.ConstantLR(sgd(), factor=1.5),
    lambda: ours.LinearLR(sgd(), start_factor=0.0),
    lambda: ours.LinearLR(sgd(), total_iters=0),
    lambda: ours.PolynomialLR(sgd(), total_iters=0),
    lambda: ours.CosineAnnealingLR(sgd(), 0),
    lambda: ours.CosineAnnealingWarmRestarts(sgd(), 2.5),  # type: ignore[arg-type]  # refused
    lambda: ours.OneCycleLR(sgd(), 0.1),
    lambda: ours.OneCycleLR(sgd(), 0.1, total_steps=-1),
    lambda: ours.OneCycleLR(sgd(), 0.1, total_steps=9, pct_start=2.0),
    lambda: ours.OneCycleLR(sgd(), 0.1, total_steps=9, anneal_strategy="mine"),
    lambda: ours.OneCycleLR(um.optim.Adagrad(), 0.1, total_steps=9),
    lambda: ours.CyclicLR(sgd(), 0.1, 0.2, mode="mine"),
    lambda: ours.CyclicLR(sgd(), 0.1, 0.2, step_size_up=0),
    lambda: ours.SequentialLR(sgd(), [], []),
    lambda: ours.SequentialLR(sgd(), [ours.StepLR(sgd(), 1)], []),
    lambda: (lambda o: ours.SequentialLR(o, [ours.StepLR(o, 1), ours.StepLR(o, 2)], []))(sgd()),
    lambda: (lambda o: ours.SequentialLR(o, [ours.ReduceLROnPlateau(o)], []))(sgd()),
    lambda: ours.ChainedScheduler([]),
    lambda: ours.ReduceLROnPlateau(sgd(), mode="best"),
    lambda: ours.ReduceLROnPlateau(sgd(), factor=1.0),
    lambda: ours.StepLR(sgd(), 3, last_epoch=-2),
    lambda: ours.ReduceLROnPlateau(sgd(), interval="step"),
    lambda: ours.ReduceLROnPlateau(sgd()).step(),
]


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_bad_arguments_are_refused_at_the_users_line(index: int) -> None:
    with pytest.raises(DataError) as caught:
        REFUSED[index]()
    assert caught.value.source is not None and caught.value.source.file == __file__


def test_a_cycle_that_is_over_says_so() -> None:
    optimizer = um.optim.SGD(lr=0.1)
    schedule = ours.OneCycleLR(optimizer, 0.1, total_steps=3, cycle_momentum=False, interval=None)
    um.Trainer(um.nn.Linear(1, 1), loss=um.losses.MSELoss(), optimizer=optimizer, backend="numpy")
    for _ in range(3):
        schedule.step()
    with pytest.raises(DataError, match="the cycle is over"):
        schedule.step()


def test_nadam_has_a_momentum_schedule_of_its_own() -> None:
    optimizer = um.optim.NAdam()
    ours.OneCycleLR(optimizer, 0.1, total_steps=3)
    trainer = um.Trainer(um.nn.Linear(1, 1), loss=um.losses.MSELoss(), optimizer=optimizer, backend="numpy")
    with pytest.raises(UnsupportedError, match="schedule of its own"):
        trainer.train_step((np.ones((2, 1)), np.ones((2, 1))))


def test_a_chain_inside_a_sequence() -> None:
    """PyTorch steps the chain's schedules once too often here."""
    optimizer = um.optim.SGD(lr=1.0)
    chain = ours.ChainedScheduler([ours.LinearLR(optimizer, 0.5, total_iters=4), ours.ExponentialLR(optimizer, 0.9)])
    schedule = ours.SequentialLR(optimizer, [chain, ours.CosineAnnealingLR(optimizer, 20)], [8], interval=None)
    um.Trainer(um.nn.Linear(1, 1), loss=um.losses.MSELoss(), optimizer=optimizer, backend="numpy")
    for t in range(20):
        expected = min(1.0, 0.5 + t / 8) * 0.9**t if t < 8 else (1 + math.cos(math.pi * (t - 8) / 20)) / 2
        assert math.isclose(optimizer.lr, expected)
        schedule.step()

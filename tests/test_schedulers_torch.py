"""Schedules give PyTorch's learning rates, epoch by epoch, and training with them takes PyTorch's path."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unimodel as um

torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
from torch_oracle import close  # noqa: E402  needs torch

pytestmark = pytest.mark.torch_oracle

EPOCHS = 50
rates = st.floats(1e-4, 1.0)


def warm_up(t: int) -> float:
    return min(1.0, (t + 1) / 10)


def decay(t: int) -> float:
    return 0.95**t


SCHEDULES = st.one_of(
    st.tuples(st.just("StepLR"), st.fixed_dictionaries({"step_size": st.integers(1, 20)}, optional={"gamma": st.floats(0.1, 1.5)})),
    st.tuples(st.just("CosineAnnealingLR"), st.fixed_dictionaries({"T_max": st.integers(2, 60)}, optional={"eta_min": st.floats(0, 0.5)})),
    st.tuples(st.just("LambdaLR"), st.sampled_from([{"lr_lambda": warm_up}, {"lr_lambda": decay}, {"lr_lambda": [warm_up, decay]}])),
)


class Both:
    """A two-parameter model with one group for each, and the same schedule on both sides."""

    def __init__(self, name: str, arguments: dict[str, Any], lrs: tuple[float, float], **ours: Any) -> None:
        self.module = torch.nn.Linear(2, 1).double()
        model = um.nn.Linear(2, 1)
        model.load_state_dict(self.module.state_dict())

        def groups(net: Any) -> Any:
            return [{"params": [net.weight], "lr": lrs[0]}, {"params": [net.bias], "lr": lrs[1]}]

        self.theirs = torch.optim.SGD(groups(self.module), lr=0.1)
        optimizer = um.optim.SGD(groups(model), lr=0.1)
        self.their_schedule = getattr(torch.optim.lr_scheduler, name)(self.theirs, **arguments)
        self.schedule = getattr(um.optim.lr_scheduler, name)(optimizer, **arguments, **ours)
        self.trainer = um.Trainer(model, loss=um.losses.MSELoss(), optimizer=optimizer, backend="numpy", precision="float64")

    def rates_agree(self) -> None:
        close(self.schedule.get_last_lr(), self.their_schedule.get_last_lr(), "learning rates")
        close([g["lr"] for g in self.trainer.optimizer.param_groups], [g["lr"] for g in self.theirs.param_groups], "learning rates of the groups")


@given(SCHEDULES, st.tuples(rates, rates))
def test_learning_rates_over_50_epochs(schedule: tuple[str, dict[str, Any]], lrs: tuple[float, float]) -> None:
    both = Both(*schedule, lrs)
    both.rates_agree()
    for _ in range(EPOCHS):
        both.theirs.step()
        both.their_schedule.step()
        both.schedule.step()
        both.rates_agree()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("StepLR", {"step_size": 3, "gamma": 0.5}), ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.001}), ("LambdaLR", {"lr_lambda": warm_up})],
)
@pytest.mark.parametrize("interval", ["epoch", "step", None])
def test_training_with_a_schedule(name: str, arguments: dict[str, Any], interval: str | None) -> None:
    """The trainer advances it after each epoch, or after each step, or leaves it to the user; the weights follow PyTorch's."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((10, 2)), rng.standard_normal((10, 1))
    both = Both(name, arguments, (0.1, 0.3), interval=interval)

    def torch_epoch() -> None:
        for rows in range(0, 10, 4):
            both.theirs.zero_grad()
            torch.nn.functional.mse_loss(both.module(torch.tensor(x[rows : rows + 4])), torch.tensor(y[rows : rows + 4])).backward()
            both.theirs.step()
            if interval == "step":
                both.their_schedule.step()
        if interval != "step":
            both.their_schedule.step()

    for _ in range(EPOCHS // 5):
        both.trainer.fit((x, y), epochs=1, batch_size=4, shuffle=False, verbose=False)
        if interval is None:
            both.schedule.step()
        torch_epoch()
        both.rates_agree()
    for name_, tensor in both.module.state_dict().items():
        close(both.trainer.model.state_dict()[name_], tensor, name_)


def test_a_schedule_made_after_the_trainer_works_too() -> None:
    model = um.nn.Linear(1, 1)
    trainer = um.Trainer(model, loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.5), backend="numpy")
    schedule = um.optim.lr_scheduler.StepLR(trainer.optimizer, step_size=1, gamma=0.1)
    trainer.fit((np.ones((4, 1), "float32"), np.ones((4, 1), "float32")), epochs=3, verbose=False)
    assert schedule.last_epoch == 3
    assert math.isclose(trainer.optimizer.lr, 0.5e-3)


def test_a_schedule_made_after_the_trainer_sets_the_first_rate_at_once() -> None:
    trainer = um.Trainer(um.nn.Linear(1, 1), loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.5), backend="numpy")
    trainer.optimizer.lr = 2.0
    um.optim.lr_scheduler.LambdaLR(trainer.optimizer, warm_up)
    theirs = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.5)
    theirs.param_groups[0]["lr"] = 2.0
    torch.optim.lr_scheduler.LambdaLR(theirs, warm_up)
    assert trainer.optimizer.lr == theirs.param_groups[0]["lr"] == 0.2


def test_a_schedule_of_ones_own() -> None:
    class Halving(um.optim.lr_scheduler.LRScheduler):
        def rate(self, initial_lr: float, t: int) -> float:
            return initial_lr / 2**t

    optimizer = um.optim.SGD(lr=1.0)
    Halving(optimizer)
    trainer = um.Trainer(um.nn.Linear(1, 1), loss=um.losses.MSELoss(), optimizer=optimizer, backend="numpy")
    trainer.fit((np.ones((2, 1), "float32"), np.zeros((2, 1), "float32")), epochs=4, verbose=False)
    assert optimizer.lr == 1 / 16

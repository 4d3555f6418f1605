"""Every optimizer walks PyTorch's path: 50 steps in float64, with any options, parameter groups, and what users change on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unimodel as um

torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
from effort import few  # noqa: E402  beside the tests
from torch_oracle import close  # noqa: E402  needs torch

pytestmark = pytest.mark.torch_oracle

STEPS = 50


class Pair:
    """The same small net, data and optimizer on both sides."""

    def __init__(self, name: str, groups: Callable[[Any], Any] | None = None, *, seed: int = 0, net: Any = None, **options: Any) -> None:
        rng = np.random.default_rng(seed)
        build = net or (lambda nn: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))
        self.module, model = build(torch.nn).double(), build(um.nn)
        with torch.no_grad():
            for parameter in self.module.parameters():
                parameter.copy_(torch.tensor(rng.standard_normal(parameter.shape)))
        model.load_state_dict(self.module.state_dict())
        given = (lambda net: net.parameters()) if groups is None else groups
        self.theirs = getattr(torch.optim, name)(given(self.module), **options)
        ours = getattr(um.optim, name)(given(model), **options)
        self.trainer = um.Trainer(model, loss=um.losses.MSELoss(), optimizer=ours, backend="numpy", precision="float64")
        self.batches = [(rng.standard_normal((5, 3)), rng.standard_normal((5, 2))) for _ in range(8)]
        self.done = 0

    def run(self, steps: int) -> None:
        for _ in range(steps):
            x, y = self.batches[self.done % len(self.batches)]
            self.done += 1
            self.trainer.train_step((x, y))
            self.theirs.zero_grad()
            torch.nn.functional.mse_loss(self.module(torch.tensor(x)), torch.tensor(y)).backward()
            self.theirs.step()

    def agree(self) -> None:
        ours = self.trainer.model.state_dict()
        for name, tensor in self.module.state_dict().items():
            close(ours[name], tensor, f"{name} after {self.done} steps")


rates = st.sampled_from([0.001, 0.01, 0.05])
decays = st.sampled_from([0.0, 0.01, 0.3])
sgd_options = st.fixed_dictionaries(
    {
        "lr": rates,
        "momentum": st.sampled_from([0.0, 0.5, 0.9]),
        "dampening": st.sampled_from([0.0, 0.3]),
        "weight_decay": decays,
        "nesterov": st.booleans(),
        "maximize": st.booleans(),
    }
).filter(lambda o: not o["nesterov"] or (o["momentum"] > 0 and o["dampening"] == 0))
adam_options = st.fixed_dictionaries(
    {
        "lr": rates,
        "betas": st.sampled_from([(0.9, 0.999), (0.5, 0.9), (0.0, 0.99), (0.9, 0.5)]),
        "eps": st.sampled_from([1e-8, 1e-3, 0.1]),
        "weight_decay": decays,
        "amsgrad": st.booleans(),
        "maximize": st.booleans(),
    }
)


def fifty_steps(name: str, seed: int, options: dict[str, Any]) -> None:
    pair = Pair(name, seed=seed, **options)
    pair.run(1)
    pair.agree()
    pair.run(STEPS - 1)
    pair.agree()


@few
@given(st.integers(0, 2**32 - 1), sgd_options)
def test_sgd(seed: int, options: dict[str, Any]) -> None:
    if options["maximize"]:
        options["lr"] = min(options["lr"], 1e-3)  # climbing without end
    fifty_steps("SGD", seed, options)


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@few
@given(st.integers(0, 2**32 - 1), adam_options)
def test_adam(name: str, seed: int, options: dict[str, Any]) -> None:
    fifty_steps(name, seed, {**options, "decoupled_weight_decay": bool(seed % 2)} if name == "Adam" else options)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_defaults_are_pytorchs(name: str) -> None:
    pair = Pair(name)
    pair.run(STEPS)
    pair.agree()


GROUPS = [
    ("SGD", {"momentum": 0.9}, {"momentum": 0.0, "lr": 0.1}, {"weight_decay": 0.1, "dampening": 0.2}),
    ("SGD", {"lr": 0.02}, {"momentum": 0.8, "nesterov": True}, {}),
    ("Adam", {"lr": 0.01}, {"lr": 0.1, "betas": (0.5, 0.8)}, {"weight_decay": 0.2, "eps": 1e-2}),
    ("AdamW", {"lr": 0.01}, {"amsgrad": True}, {"weight_decay": 0.0, "lr": 0.03}),
]


@pytest.mark.parametrize(("name", "options", "first", "second"), GROUPS)
def test_parameter_groups(name: str, options: dict[str, Any], first: dict[str, Any], second: dict[str, Any]) -> None:
    def groups(net: Any) -> Any:
        weights = list(net.parameters())
        return [{"params": weights[:2], **first}, {"params": weights[2], **second}, {"params": weights[3:]}]

    pair = Pair(name, groups, **options)
    pair.run(STEPS)
    pair.agree()
    for ours, theirs in zip(pair.trainer.optimizer.param_groups, pair.theirs.param_groups, strict=True):
        assert all(ours[key] == theirs[key] for key in ours if key in theirs and key != "params")


def test_parameters_that_no_group_names_stay() -> None:
    pair = Pair("SGD", lambda net: list(net.parameters())[:1], lr=0.1)
    before = pair.trainer.model.state_dict()
    pair.run(STEPS)
    pair.agree()
    after = pair.trainer.model.state_dict()
    assert [n for n in before if not np.array_equal(before[n], after[n])] == ["0.weight"]


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_learning_rate_set_between_steps(name: str) -> None:
    pair = Pair(name, lr=0.01)
    for lr in (0.02, 0.0, 0.005):
        pair.run(10)
        pair.trainer.optimizer.lr = lr
        pair.theirs.param_groups[0]["lr"] = lr
    pair.run(10)
    pair.agree()
    assert pair.trainer.optimizer.lr == 0.005


def test_momentum_when_the_learning_rate_changes() -> None:
    pair = Pair("SGD", lr=0.01, momentum=0.9)
    for lr in (0.05, 0.001, 0.02):
        pair.run(10)
        for side in (pair.trainer.optimizer, pair.theirs):
            side.param_groups[0]["lr"] = lr
    pair.run(10)
    pair.agree()


@pytest.mark.parametrize(
    ("name", "option", "value"), [("SGD", "momentum", 0.5), ("SGD", "weight_decay", 0.2), ("Adam", "betas", (0.5, 0.9)), ("AdamW", "weight_decay", 0.5)]
)
def test_options_set_between_steps(name: str, option: str, value: Any) -> None:
    pair = Pair(name, lr=0.01)
    pair.run(10)
    for side in (pair.trainer.optimizer, pair.theirs):
        side.param_groups[0][option] = value
    pair.run(20)
    pair.agree()


@pytest.mark.parametrize(("name", "options"), [("SGD", {"lr": 0.01, "momentum": 0.9, "dampening": 0.5}), ("Adam", {"lr": 0.01}), ("AdamW", {"lr": 0.01})])
def test_freezing_and_unfreezing(name: str, options: dict[str, Any]) -> None:
    """A frozen parameter is left alone, weight decay included; one that starts late starts its own count of steps."""
    pair = Pair(name, weight_decay=0.1, **options)

    def freeze(frozen: bool) -> None:
        for net in (pair.trainer.model, pair.module):
            for parameter in list(net.parameters())[:2]:
                parameter.requires_grad = not frozen

    freeze(True)
    before = pair.trainer.model.state_dict()
    pair.run(10)
    pair.agree()
    np.testing.assert_array_equal(pair.trainer.model.state_dict()["0.weight"], before["0.weight"])
    freeze(False)
    pair.run(10)
    pair.agree()
    freeze(True)
    pair.run(5)
    freeze(False)
    pair.run(10)
    pair.agree()


def test_shared_parameter_is_updated_once() -> None:
    def tied(nn: Any) -> Any:
        layer = nn.Linear(3, 3)
        return nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(3, 2))

    pair = Pair("SGD", net=tied, lr=0.05, momentum=0.9)
    pair.run(STEPS)
    pair.agree()


def test_an_optimizer_of_ones_own_equals_the_same_written_in_torch() -> None:
    class SignDescent(um.Optimizer):
        """Bernstein et al. 2018, with a moving average."""

        def __init__(self, params: Any = None, lr: float = 1e-3, beta: float = 0.9) -> None:
            super().__init__(params, lr, beta=beta)

        def update_param(self, param: Any, grad: Any, state: Any, lr: Any) -> Any:
            average = state.options["beta"] * state["average"] + (1 - state.options["beta"]) * grad
            state["average"] = average
            return param - lr * um.ops.sign(average)

    class TorchSignDescent(torch.optim.Optimizer):
        def __init__(self, params: Any, lr: float = 1e-3, beta: float = 0.9) -> None:
            super().__init__(params, {"lr": lr, "beta": beta})

        @torch.no_grad()
        def step(self) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    state = self.state[p]
                    state["average"] = group["beta"] * state.get("average", torch.zeros_like(p)) + (1 - group["beta"]) * p.grad
                    p -= group["lr"] * torch.sign(state["average"])

    um_optim, torch_optim = um.optim, torch.optim
    um_optim.SignDescent, torch_optim.SignDescent = SignDescent, TorchSignDescent  # type: ignore[attr-defined]  # for Pair, taken away below
    try:
        pair = Pair("SignDescent", lr=0.01)
        pair.run(STEPS)
        pair.agree()
    finally:
        del um_optim.SignDescent, torch_optim.SignDescent  # type: ignore[attr-defined]  # set above

"""The optimizers beyond SGD and Adam walk PyTorch's path in float64; those PyTorch lacks walk that of their paper, written a second time in torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unimodel as um
from unimodel.errors import DataError, UnimodelError

torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
from test_optimizers_torch import STEPS, Pair, fifty_steps  # noqa: E402  needs torch

pytestmark = pytest.mark.torch_oracle


class TorchLion(torch.optim.Optimizer):
    """Chen et al. 2023, algorithm 2, in torch."""

    def __init__(self, params: Any, lr: float = 1e-4, betas: Any = (0.9, 0.99), weight_decay: float = 0.0, maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in (p for p in group["params"] if p.grad is not None):
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                g = -p.grad if group["maximize"] else p.grad
                p -= group["lr"] * (torch.sign(beta1 * m + (1 - beta1) * g) + group["weight_decay"] * p)
                m.mul_(beta2).add_((1 - beta2) * g)


class TorchLAMB(torch.optim.Optimizer):
    """You et al. 2020, algorithm 2, in torch."""

    def __init__(self, params: Any, lr: float = 1e-3, betas: Any = (0.9, 0.999), eps: float = 1e-6, weight_decay: float = 0.0, maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in (p for p in group["params"] if p.grad is not None):
                state = self.state[p]
                t = state["t"] = state.get("t", 0) + 1
                g = -p.grad if group["maximize"] else p.grad
                m = state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
                v = state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g**2
                r = (m / (1 - beta1**t)) / (torch.sqrt(v / (1 - beta2**t)) + group["eps"]) + group["weight_decay"] * p
                length, reach = p.norm(), r.norm()
                p -= group["lr"] * (length / reach if length > 0 and reach > 0 else 1.0) * r


@pytest.fixture(autouse=True)
def exact_torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """PyTorch in float64 throughout: its counters and factors follow the default dtype, its Muon would iterate in bfloat16."""
    monkeypatch.setattr(torch.optim, "Lion", TorchLion, raising=False)
    monkeypatch.setattr(torch.optim, "LAMB", TorchLAMB, raising=False)
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


rates = st.sampled_from([0.001, 0.01, 0.05])
small = st.sampled_from([1e-8, 1e-3, 0.1])
decays = st.sampled_from([0.0, 0.01, 0.3])
betas = st.sampled_from([(0.9, 0.999), (0.5, 0.9), (0.0, 0.99), (0.9, 0.5)])
flags = st.booleans()
adam_like = {"lr": rates, "betas": betas, "weight_decay": decays, "maximize": flags}
OPTIONS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "NAdam": {**adam_like, "eps": small, "momentum_decay": st.sampled_from([4e-3, 0.0, 0.5]), "decoupled_weight_decay": flags},
    "RAdam": {**adam_like, "eps": small, "decoupled_weight_decay": flags, "betas": st.sampled_from([(0.9, 0.999), (0.5, 0.9), (0.0, 0.99), (0.9, 0.7)])},
    "Adamax": {**adam_like, "eps": small},
    "Adagrad": {
        "lr": rates,
        "lr_decay": st.sampled_from([0.0, 0.1]),
        "weight_decay": decays,
        "initial_accumulator_value": st.sampled_from([0.0, 0.2]),
        "eps": st.sampled_from([1e-10, 0.1]),
        "maximize": flags,
    },
    "Adadelta": {"lr": st.sampled_from([1.0, 0.1]), "rho": st.sampled_from([0.9, 0.5, 0.1]), "eps": small, "weight_decay": decays, "maximize": flags},
    "RMSprop": {
        "lr": rates,
        "alpha": st.sampled_from([0.99, 0.5, 0.9]),
        "eps": small,
        "weight_decay": decays,
        "momentum": st.sampled_from([0.0, 0.5, 0.9]),
        "centered": flags,
        "maximize": flags,
    },
    "Rprop": {
        "lr": rates,
        "etas": st.sampled_from([(0.5, 1.2), (0.3, 1.5)]),
        "step_sizes": st.sampled_from([(1e-6, 50), (0.005, 0.02)]),
        "maximize": flags,
    },
    "ASGD": {
        "lr": rates,
        "lambd": st.sampled_from([1e-4, 0.1]),
        "alpha": st.sampled_from([0.75, 0.5]),
        "t0": st.sampled_from([1e6, 0.0, 10.0]),
        "weight_decay": decays,
    },
    "Adafactor": {
        "lr": rates,
        "beta2_decay": st.sampled_from([-0.8, -0.1, -1.0]),
        "eps": st.sampled_from([(None, 1e-3), (1e-3, 1e-2), (0.1, 1e-3)]),
        "d": st.sampled_from([1.0, 3.0]),
        "weight_decay": decays,
        "maximize": flags,
    },
    "Lion": adam_like,
    "LAMB": {**adam_like, "eps": st.sampled_from([1e-6, 1e-3])},
}


@pytest.mark.parametrize("name", OPTIONS)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_fifty_steps(name: str, data: st.DataObject, seed: int) -> None:
    options = data.draw(st.fixed_dictionaries(OPTIONS[name]))
    if options.get("maximize"):
        options["lr"] = min(options["lr"], 1e-3)  # climbing without end
    fifty_steps(name, seed, options)


@pytest.mark.parametrize("name", OPTIONS)
def test_defaults_are_pytorchs(name: str) -> None:
    pair = Pair(name)
    pair.run(STEPS)
    pair.agree()


def no_bias(nn: Any) -> Any:
    return nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 2, bias=False))


muon_options = st.fixed_dictionaries(
    {
        "lr": rates,
        "weight_decay": decays,
        "momentum": st.sampled_from([0.95, 0.5, 0.0]),
        "nesterov": flags,
        "ns_coefficients": st.sampled_from([(3.4445, -4.775, 2.0315), (2.0, -1.5, 0.5)]),
        "eps": st.sampled_from([1e-7, 0.1]),
        "ns_steps": st.integers(0, 5),
        "adjust_lr_fn": st.sampled_from([None, "original", "match_rms_adamw"]),
    }
)


@given(st.integers(0, 2**32 - 1), muon_options)
def test_muon(seed: int, options: dict[str, Any]) -> None:
    pair = Pair("Muon", seed=seed, net=no_bias, **options)
    pair.run(10)  # the iteration amplifies rounding without end
    pair.agree()


def test_muon_defaults_are_pytorchs() -> None:
    pair = Pair("Muon", net=no_bias)
    pair.run(10)
    pair.agree()


def test_muon_is_pytorchs_to_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pair = Pair("Muon", net=no_bias, lr=0.01)
    pair.run(3)
    for name, tensor in pair.module.state_dict().items():
        assert np.abs(pair.trainer.model.state_dict()[name] - tensor.numpy()).max() < 1e-3


@pytest.mark.parametrize("name", OPTIONS)
def test_parameter_groups_a_changing_rate_and_freezing(name: str) -> None:
    def groups(net: Any) -> Any:
        weights = list(net.parameters())
        return [{"params": weights[:2], "lr": 0.02}, {"params": weights[2:]}]

    pair = Pair(name, groups, lr=0.01)
    pair.run(7)
    for side in (pair.trainer.optimizer, pair.theirs):
        side.param_groups[0]["lr"] = 0.005
    pair.run(5)
    pair.agree()

    def freeze(frozen: bool) -> None:
        for net in (pair.trainer.model, pair.module):
            for parameter in list(net.parameters())[:2]:
                parameter.requires_grad = not frozen

    freeze(True)
    pair.run(4)
    freeze(False)
    pair.run(6)
    pair.agree()


def test_a_parameter_of_more_or_fewer_dimensions() -> None:
    """Adafactor factors the last two of a convolution's four."""

    def net(nn: Any) -> Any:
        return nn.Sequential(nn.Linear(3, 6), nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 3, 2), nn.Flatten(), nn.Linear(6, 2))

    for options in ({}, {"weight_decay": 0.1, "eps": (1e-2, 1e-3)}):
        pair = Pair("Adafactor", net=net, **options)
        pair.run(STEPS)
        pair.agree()


@pytest.mark.parametrize("name", [*OPTIONS, "Muon"])
def test_a_resumed_run_is_the_same_run(name: str, tmp_path: Any) -> None:
    def trainer() -> um.Trainer:
        net = no_bias(um.nn)
        return um.Trainer(net, loss=um.losses.MSELoss(), optimizer=getattr(um.optim, name)(lr=0.01), backend="numpy", precision="float64", seed=3)

    rng = np.random.default_rng(0)
    batches = [(rng.standard_normal((5, 3)), rng.standard_normal((5, 2))) for _ in range(6)]
    whole, first, second = trainer(), trainer(), trainer()
    for batch in batches:
        whole.train_step(batch)
    for batch in batches[:3]:
        first.train_step(batch)
    first.save(tmp_path / "run.um")
    second.load(tmp_path / "run.um")
    for batch in batches[3:]:
        second.train_step(batch)
    for key, array in whole.model.state_dict().items():
        np.testing.assert_array_equal(second.model.state_dict()[key], array)


REFUSED: list[Callable[[], Any]] = [
    lambda: um.optim.NAdam(betas=(1.0, 0.9)),
    lambda: um.optim.NAdam(momentum_decay=-1.0),
    lambda: um.optim.RAdam(betas=(0.9, -0.1)),
    lambda: um.optim.Adamax(eps=-1.0),
    lambda: um.optim.Adagrad(lr_decay=-1.0),
    lambda: um.optim.Adagrad(initial_accumulator_value=-1.0),
    lambda: um.optim.Adadelta(rho=1.5),
    lambda: um.optim.RMSprop(momentum=-0.1),
    lambda: um.optim.RMSprop(alpha=-0.1),
    lambda: um.optim.Rprop(etas=(1.2, 0.5)),
    lambda: um.optim.Rprop(step_sizes=(1.0, 0.5)),
    lambda: um.optim.ASGD(weight_decay=-1.0),
    lambda: um.optim.Adafactor(d=0.5),
    lambda: um.optim.Adafactor(beta2_decay=0.1),
    lambda: um.optim.Adafactor(eps=(-1.0, 1e-3)),
    lambda: um.optim.Lion(betas=(0.9, 1.0)),
    lambda: um.optim.LAMB(weight_decay=-0.1),
    lambda: um.optim.Muon(adjust_lr_fn="mine"),
    lambda: um.optim.Muon(ns_steps=100),
    lambda: um.optim.Muon(ns_coefficients=(1.0, 2.0)),
    lambda: um.Trainer(um.nn.Linear(2, 2), optimizer=um.optim.Muon(), backend="numpy"),
]


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_bad_arguments_are_refused_at_the_users_line(index: int) -> None:
    with pytest.raises(DataError) as caught:
        REFUSED[index]()
    error: UnimodelError = caught.value
    assert error.source is not None and error.source.file == __file__

"""Makes the golden files with PyTorch in float64: ``python -m unimodel_conformance.golden.make [TOPIC…]``.

It imports nothing of unimodel, so that nothing of unimodel can be wrong on both sides. What the two must share is said by documents alone: layers, losses and optimizers are PyTorch's;
weights, order and masks come from the generator that ``unimodel.random`` specifies, which is written here once more from that text.
"""

from __future__ import annotations

import copy
import hashlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from unimodel_conformance.tables import FIRST_RATE, KEPT, LAYERS, LOSSES, MATRICES_ONLY, OPTIMIZERS, RATES, SCHEDULE_STEPS, SCHEDULES, STEPS

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
FOLDER = Path(__file__).parent
Arrays = dict[str, np.ndarray]


def numbers(rng: np.random.Generator, kind: str, shape: Sequence[int], *rest: Any) -> np.ndarray:
    """Inputs of a kind named in the tables."""
    size = math.prod(shape)
    if kind == "integers":
        return rng.integers(0, rest[0], shape)
    if kind == "ignoring":
        labels = rng.integers(0, rest[0], shape)
        labels.flat[:: 1 if size < 2 else 3] = rest[1]
        return labels
    if kind == "wide":
        return 4 * rng.standard_normal(shape)
    if kind == "inside":
        return rng.uniform(0.05, 0.95, shape)
    if kind == "counts":
        return rng.integers(0, 6, shape).astype("float64")
    if kind == "signs":
        return rng.choice([-1.0, 1.0], shape)
    if kind == "flags":
        return rng.integers(0, 2, shape).astype("float64")
    if kind == "range":
        return rng.integers(rest[0], rest[1], shape)
    if kind == "values":
        return np.array(rest).reshape(shape)
    if kind == "labels":  # of each sample, some classes and then -1
        return np.array([[*rng.permutation(shape[1])[: 1 + i % 3], *[-1] * shape[1]][: shape[1]] for i in range(shape[0])])
    if kind == "distinct":
        return ((rng.permutation(size) - size / 2 + 0.25) * 0.1).reshape(shape)
    if kind == "unit":
        return rng.uniform(0, 1, shape)
    if kind == "probabilities":
        positive = rng.uniform(0.1, 1, shape)
        return positive / positive.sum(1, keepdims=True)
    return rng.standard_normal(shape)


def tensor(array: np.ndarray, grad: bool = False) -> torch.Tensor:
    return torch.tensor(array, requires_grad=grad)


def numpy(value: torch.Tensor) -> np.ndarray:
    return value.detach().numpy().copy()


# -------------------------------------------------------------------------------------------------------- layers and losses


class Hardsigmoid(torch.nn.Module):
    """Its formula: PyTorch's own kernel has the sixth in float32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.clamp(x / 6 + 0.5, 0, 1)


class CELU(torch.nn.Module):
    """Its formula: PyTorch's own kernel has alpha in float32."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, self.alpha * torch.expm1(x / self.alpha))


EXACT_LAYERS: dict[str, Any] = {"Hardsigmoid": Hardsigmoid, "CELU": CELU}
"""Where PyTorch itself is not exact in float64."""


def layers() -> Arrays:
    """Of each layer: weights, two batches, results and gradients in train mode, buffers after both, and the same in eval mode."""
    found: Arrays = {}
    for k, entry in enumerate(LAYERS):
        rng = np.random.default_rng(100 + k)
        layer = (EXACT_LAYERS.get(entry.name) or getattr(torch.nn, entry.name))(**entry.kwargs).double()
        with torch.no_grad():
            for name, value in (*layer.named_parameters(), *layer.named_buffers()):
                if value.is_floating_point():
                    value.copy_(tensor(rng.uniform(0.5, 2, value.shape) if name == "running_var" else rng.standard_normal(tuple(value.shape))))
        if getattr(layer, "padding_idx", None) is not None:
            layer.weight.data[layer.padding_idx] = 0
        found |= {f"{entry.id}/state/{n}": numpy(v) for n, v in layer.state_dict().items()}
        for mode, batches in (("train", 2 if any(True for _ in layer.buffers()) else 1), ("eval", 1)):
            layer.train(mode == "train")
            for b in range(batches):
                arrays = [np.asarray(numbers(rng, *spec)) for spec in entry.inputs]
                given = [tensor(x, x.dtype.kind == "f") for x in arrays]
                out = layer(*given)
                out = out[0] if isinstance(out, tuple) else out
                g = rng.standard_normal(tuple(out.shape))
                layer.zero_grad()
                (out * tensor(g)).sum().backward() if out.requires_grad else None
                key = f"{entry.id}/{mode}{b}"
                found |= {f"{key}/output": numpy(out), f"{key}/cotangent": g}
                found |= {f"{key}/input{i}": x for i, x in enumerate(arrays)}
                found |= {f"{key}/grad/input{i}": numpy(t.grad) for i, t in enumerate(given) if t.grad is not None}
                found |= {f"{key}/grad/{n}": numpy(p.grad) for n, p in layer.named_parameters() if p.grad is not None}
                found |= {f"{key}/buffer/{n}": numpy(v) for n, v in layer.named_buffers()}
    return found


DIFFERENTIATED = frozenset(["normal", "wide", "inside", "logits"])
"""Kinds of inputs that gradients are taken for."""


def losses() -> Arrays:
    """Of each loss: inputs, value, and the gradients of the sum of the values, each weighted."""
    found: Arrays = {}
    for k, entry in enumerate(LOSSES):
        rng = np.random.default_rng(500 + k // 3)  # the three reductions of one loss see the same numbers
        kwargs = {n: tensor(np.array(v)) if isinstance(v, list) else v for n, v in entry.kwargs.items()}
        arrays = [np.asarray(numbers(rng, *spec)) for spec in entry.inputs]
        given = [tensor(a, spec[0] in DIFFERENTIATED) for a, spec in zip(arrays, entry.inputs, strict=True)]
        through = [torch.log_softmax(t, -1) if spec[0] == "logits" else t for t, spec in zip(given, entry.inputs, strict=True)]
        value = getattr(torch.nn, entry.name)(**kwargs)(*through)
        g = np.asarray(rng.standard_normal(tuple(value.shape)))
        (value * tensor(g)).sum().backward()
        found |= {f"{entry.id}/value": numpy(value), f"{entry.id}/cotangent": g}
        found |= {f"{entry.id}/input{i}": a for i, a in enumerate(arrays)}
        found |= {f"{entry.id}/grad{i}": numpy(t.grad) for i, t in enumerate(given) if t.grad is not None}
    return found


# ---------------------------------------------------------------------------------------------------- optimizers, schedules


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, algorithm 2, with decoupled weight decay."""

    def __init__(self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0, maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure here
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                g = -p.grad if group["maximize"] else p.grad
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                step = torch.sign(b1 * m + (1 - b1) * g) + group["weight_decay"] * p
                p -= group["lr"] * step
                m.copy_(b2 * m + (1 - b2) * g)


class LAMB(torch.optim.Optimizer):
    """You et al. 2020, algorithm 2, with bias correction."""

    def __init__(self, params: Any, lr: float = 1e-3, betas: Any = (0.9, 0.999), eps: float = 1e-6, weight_decay: float = 0.0, maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure here
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                g = -p.grad if group["maximize"] else p.grad
                state = self.state[p]
                state["t"] = state.get("t", 0) + 1
                m = state["m"] = b1 * state.get("m", torch.zeros_like(p)) + (1 - b1) * g
                v = state["v"] = b2 * state.get("v", torch.zeros_like(p)) + (1 - b2) * g * g
                r = (m / (1 - b1 ** state["t"])) / (torch.sqrt(v / (1 - b2 ** state["t"])) + group["eps"]) + group["weight_decay"] * p
                a, b = torch.linalg.vector_norm(p), torch.linalg.vector_norm(r)
                p -= group["lr"] * (a / b if a > 0 and b > 0 else 1.0) * r


class Muon(torch.optim.Optimizer):
    """PyTorch's Muon step by step, but in float64 where PyTorch's goes through bfloat16 (Jordan 2024)."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: Any = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        options = {"weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov, "ns": ns_coefficients, "eps": eps, "steps": ns_steps}
        super().__init__(params, {"lr": lr, "adjust": adjust_lr_fn, **options})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure here
        for group in self.param_groups:
            for p in group["params"]:
                buffer = self.state[p].setdefault("m", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                x = p.grad.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer.clone()
                tall = x.shape[0] > x.shape[1]
                x = x.T if tall else x
                x = x / x.norm().clamp(min=group["eps"])
                a, b, c = group["ns"]
                for _ in range(group["steps"]):
                    gram = x @ x.T
                    x = a * x + (b * gram + c * gram @ gram) @ x
                x = x.T if tall else x
                rows, columns = p.shape
                ratio = 0.2 * math.sqrt(max(rows, columns)) if group["adjust"] == "match_rms_adamw" else math.sqrt(max(1, rows / columns))
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * ratio * x)


OWN = {"Lion": Lion, "LAMB": LAMB, "Muon": Muon}


def optimizers() -> Arrays:
    """Parameters of a small non-linear problem along 50 steps, the learning rate changing on the way."""
    rng = np.random.default_rng(7)
    start = {"weight": rng.standard_normal((4, 3)), "bias": rng.standard_normal(4), "scale": np.array(1.3)}
    x, y = rng.standard_normal((STEPS, 6, 3)), rng.standard_normal((STEPS, 6, 4))
    found: Arrays = {f"start/{n}": v for n, v in start.items()} | {"x": x, "y": y}
    for entry in OPTIMIZERS:
        params = {n: tensor(v, True) for n, v in start.items() if n == "weight" or entry.name not in MATRICES_ONLY}
        kind = OWN.get(entry.name) or getattr(torch.optim, entry.name)
        options = {} if entry.name in OWN else {"foreach": False}
        optimizer = kind(list(params.values()), **entry.kwargs, **options)
        kept = []
        for step in range(1, STEPS + 1):
            if step - 1 in RATES:
                optimizer.param_groups[0]["lr"] = entry.kwargs["lr"] * RATES[step - 1]
            optimizer.zero_grad()
            out = torch.tanh(tensor(x[step - 1]) @ params["weight"].T + params.get("bias", 0.0)) * params.get("scale", 1.0)
            loss = ((out - tensor(y[step - 1])) ** 2).mean()
            loss.backward()
            optimizer.step()
            if step in KEPT:
                kept.append({n: numpy(p) for n, p in params.items()})
        found |= {f"{entry.id}/{n}": np.stack([k[n] for k in kept]) for n in params}
    return found


def schedules() -> Arrays:
    """The learning rate after each of a few epochs."""
    found: Arrays = {}
    for entry in SCHEDULES:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=FIRST_RATE)
        kwargs = {k: _function(v) if k == "lr_lambda" else v for k, v in entry.kwargs.items()}
        schedule = getattr(torch.optim.lr_scheduler, entry.name)(optimizer, **kwargs)
        rates = [optimizer.param_groups[0]["lr"]]
        for _ in range(SCHEDULE_STEPS):
            optimizer.step()
            schedule.step()
            rates.append(optimizer.param_groups[0]["lr"])
        found[entry.id] = np.array(rates)
    return found


def _function(text: str) -> Callable[[int], float]:
    return lambda t: float(eval(text, {"math": math, "t": t}))


# ------------------------------------------------------------------------------------- the generator, from its specification


def bits(seed: int, purpose: str, step: int, count: int) -> np.ndarray:
    key = np.frombuffer(hashlib.blake2b(f"unimodel/1/{seed}/{purpose}".encode(), digest_size=16).digest(), "<u8")
    return np.random.Philox(counter=[0, 0, step, 0], key=key).random_raw(count)


def uniform(seed: int, purpose: str, count: int) -> np.ndarray:
    return (bits(seed, purpose, 0, count) // np.uint64(2**11)) / 2.0**53


def normal(seed: int, purpose: str, count: int) -> np.ndarray:
    half = (count + 1) // 2
    u = uniform(seed, purpose, 2 * half)
    radius, angle = np.sqrt(-2 * np.log1p(-u[:half])), 2 * np.pi * u[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def mask(seed: int, purpose: str, step: int, shape: Sequence[int], keep: float) -> torch.Tensor:
    count = math.prod(shape)
    words = bits(seed, purpose, step, (count + 3) // 4)
    parts = np.stack([(words >> np.uint64(16 * i)) & np.uint64(0xFFFF) for i in range(4)], axis=1).ravel()[:count]
    return torch.tensor((parts < round(keep * 65536)).reshape(shape))


def order(seed: int, epoch: int, count: int) -> np.ndarray:
    words = bits(seed, "shuffle", epoch, count)
    return np.array(sorted(range(count), key=lambda i: (int(words[i]), i)))


# ---------------------------------------------------------------------------------------------------------- training curves


class Problem:
    """A model in plain functions, its data, and how it is trained. ``state`` maps PyTorch's names to tensors."""

    name = ""
    seed = 11
    epochs = 0
    batch_size = 0

    def __init__(self) -> None:
        self.state: dict[str, torch.Tensor] = {}
        self.buffers: dict[str, torch.Tensor] = {}
        self.training = True
        self.steps = 0
        self.masks = 0

    def weight(self, name: str, shape: Sequence[int], how: Any) -> None:
        """A parameter: uniform in ±how, "normal", or a constant in a tuple."""
        count = math.prod(shape)
        if how == "normal":
            array = normal(self.seed, f"init/{name}", count)
        elif isinstance(how, tuple):
            array = np.full(count, how[0])
        else:
            array = how * (2 * uniform(self.seed, f"init/{name}", count) - 1)
        self.state[name] = tensor(array.reshape(shape), True)

    def linear(self, name: str, inside: int, outside: int, bias: bool = True) -> None:
        self.weight(f"{name}.weight", (outside, inside), 1 / math.sqrt(inside))
        if bias:
            self.weight(f"{name}.bias", (outside,), 1 / math.sqrt(inside))

    def apply_linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"))

    def drop(self, name: str, x: torch.Tensor, p: float) -> torch.Tensor:
        if not self.training:
            return x
        kept = mask(self.seed, f"mask/{self.masks}/{name}", self.steps, x.shape, 1 - p)
        self.masks += 1
        return torch.where(kept, x / (1 - p), 0.0)

    def data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def loss(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def metric(self, prediction: torch.Tensor, target: torch.Tensor) -> float:
        return float((prediction.argmax(1) == target).double().mean())

    def optimizer(self) -> torch.optim.Optimizer:
        raise NotImplementedError

    clip: float | None = None
    schedule: Any = None
    every_step = False

    def curve(self) -> Iterator[tuple[str, np.ndarray]]:
        """Train, and give everything that is to be compared."""
        x, y, xv, yv = self.data()
        yield from {"x": x, "y": y, "xv": xv, "yv": yv}.items()
        yield from ((f"initial/{n}", numpy(v)) for n, v in self.state.items())
        optimizer = self.optimizer()
        schedule = self.schedule(optimizer) if self.schedule else None
        inputs, targets = tensor(x), tensor(y)
        losses, epoch_losses, val_losses, epoch_metrics, val_metrics = [], [], [], [], []
        for epoch in range(self.epochs):
            rows = order(self.seed, epoch, len(x))
            total = correct = 0.0
            for start in range(0, len(x), self.batch_size):
                chosen = rows[start : start + self.batch_size]
                self.training, self.masks = True, 0
                optimizer.zero_grad()
                prediction = self.forward(inputs[chosen])
                loss = self.loss(prediction, targets[chosen])
                loss.backward()
                if self.clip:
                    torch.nn.utils.clip_grad_norm_(list(self.state.values()), self.clip)
                optimizer.step()
                self.steps += 1
                if schedule and self.every_step:
                    schedule.step()
                losses.append(loss.item())
                total += losses[-1] * len(chosen)
                correct += self.metric(prediction.detach(), targets[chosen]) * len(chosen)
            if schedule and not self.every_step:
                schedule.step()
            self.training = False
            with torch.no_grad():
                prediction = self.forward(tensor(xv))
                val_losses.append(float(self.loss(prediction, tensor(yv))))
                val_metrics.append(self.metric(prediction, tensor(yv)))
            epoch_losses.append(total / len(x))
            epoch_metrics.append(correct / len(x))
        yield from {
            "losses": np.array(losses),
            "epoch_loss": np.array(epoch_losses),
            "val_loss": np.array(val_losses),
            "metric": np.array(epoch_metrics),
            "val_metric": np.array(val_metrics),
            "prediction": numpy(prediction),
        }.items()
        yield from ((f"final/{n}", numpy(v)) for n, v in {**self.state, **self.buffers}.items())


class Diabetes(Problem):
    name = "diabetes"
    epochs, batch_size, clip = 29, 64, 1.0

    def __init__(self) -> None:
        super().__init__()
        self.linear("fc1", 10, 32)
        self.linear("fc2", 32, 16)
        self.linear("fc3", 16, 1)

    def data(self) -> Any:
        from sklearn.datasets import load_diabetes

        x, y = load_diabetes(return_X_y=True)
        x, y = x * 20, ((y - 152) / 77)[:, None]
        return x[:400], y[:400], x[400:], y[400:]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.drop("drop1", torch.tanh(self.apply_linear("fc1", x)), 0.2)
        x = self.drop("drop2", torch.relu(self.apply_linear("fc2", x)), 0.1)
        return self.apply_linear("fc3", x)

    def loss(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(prediction, target)

    def metric(self, prediction: torch.Tensor, target: torch.Tensor) -> float:
        return float((prediction - target).abs().mean())

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(list(self.state.values()), lr=0.05, momentum=0.9, weight_decay=1e-3, nesterov=True, foreach=False)

    def schedule(self, optimizer: Any) -> Any:
        return torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.5)


class Digits(Problem):
    name = "digits"
    epochs, batch_size = 20, 48

    def __init__(self) -> None:
        super().__init__()
        self.weight("conv1.weight", (8, 1, 3, 3), 1 / 3)
        self.norm("bn1", 8)
        self.weight("conv2.weight", (12, 8, 3, 3), 1 / math.sqrt(72))
        self.norm("bn2", 12)
        self.linear("fc", 48, 10)

    def norm(self, name: str, features: int) -> None:
        self.weight(f"{name}.weight", (features,), (1.0,))
        self.weight(f"{name}.bias", (features,), (0.0,))
        self.buffers |= {f"{name}.running_mean": torch.zeros(features), f"{name}.running_var": torch.ones(features)}

    def apply_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        mean, var = self.buffers[f"{name}.running_mean"], self.buffers[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, self.state[f"{name}.weight"], self.state[f"{name}.bias"], self.training)

    def data(self) -> Any:
        from sklearn.datasets import load_digits

        digits = load_digits()
        x, y = digits.images[:, None] / 16, digits.target.astype("int64")
        return x[:470], y[:470], x[470:530], y[470:530]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.apply_norm("bn1", F.conv2d(x, self.state["conv1.weight"], padding=1)))
        x = F.max_pool2d(x, 2)
        x = torch.relu(self.apply_norm("bn2", F.conv2d(x, self.state["conv2.weight"], padding=1)))
        x = self.drop("drop", torch.flatten(F.avg_pool2d(x, 2), 1), 0.25)
        return self.apply_linear("fc", x)

    def loss(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(prediction, target, label_smoothing=0.1)

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(list(self.state.values()), lr=3e-3, weight_decay=1e-4, foreach=False)


class Tokens(Problem):
    name = "sequence"
    epochs, batch_size, clip, every_step = 25, 32, 1.0, True
    width, heads, length = 16, 2, 16

    def __init__(self) -> None:
        super().__init__()
        self.weight("embed.weight", (17, self.width), "normal")
        self.weight("positions", (self.length, self.width), 0.1)
        for name in ("norm1", "norm2", "norm3"):
            self.weight(f"{name}.weight", (self.width,), (1.0,))
            self.weight(f"{name}.bias", (self.width,), (0.0,))
        self.linear("attend.qkv", self.width, 3 * self.width, bias=False)  # softmax does not see a bias of the keys: its gradient is noise
        self.linear("attend.out", self.width, self.width)
        self.linear("up", self.width, 2 * self.width)
        self.linear("down", 2 * self.width, self.width)
        self.linear("head", self.width, 10)

    def data(self) -> Any:
        from sklearn.datasets import load_digits

        digits = load_digits()
        tokens = np.rint(digits.images.reshape(-1, 4, 2, 4, 2).mean((2, 4))).astype("int64").reshape(-1, 16)
        y = digits.target.astype("int64")
        return tokens[:250], y[:250], tokens[250:300], y[250:300]

    def apply_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, (self.width,), self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape
        q, k, v = (t.reshape(n, length, self.heads, width // self.heads).transpose(1, 2) for t in self.apply_linear("attend.qkv", x).split(width, dim=-1))
        weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(width // self.heads), -1)
        weights = self.drop("attend", weights, 0.1)
        return self.apply_linear("attend.out", (weights @ v).transpose(1, 2).reshape(n, length, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.embedding(x, self.state["embed.weight"]) + self.state["positions"]
        h = self.drop("drop1", h, 0.1)
        h = h + self.attend(self.apply_norm("norm1", h))
        h = h + self.drop("drop2", self.apply_linear("down", F.gelu(self.apply_linear("up", self.apply_norm("norm2", h)))), 0.1)
        return self.apply_linear("head", self.apply_norm("norm3", h).mean(1))

    def loss(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(prediction, target)

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(list(self.state.values()), lr=4e-3, weight_decay=0.05, foreach=False)

    def schedule(self, optimizer: Any) -> Any:
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 250)


def training() -> Arrays:
    """Three small real problems, dropout on."""
    found: Arrays = {}
    for problem in (Diabetes(), Digits(), Tokens()):
        found |= {f"{problem.name}/{key}": copy.copy(array) for key, array in problem.curve()}
    return found


TOPICS = {"layers": layers, "losses": losses, "optimizers": optimizers, "schedules": schedules, "training": training}


def main(names: Sequence[str]) -> None:
    for name in names or list(TOPICS):
        arrays = TOPICS[name]()
        np.savez_compressed(FOLDER / f"{name}.npz", **arrays)
        print(f"{name}: {len(arrays)} arrays, {(FOLDER / f'{name}.npz').stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(sys.argv[1:])

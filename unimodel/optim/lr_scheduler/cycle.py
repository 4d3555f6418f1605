"""Schedules that go up and down, and move the momentum the other way (Smith 2017; Smith and Topin 2018)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unimodel.errors import DataError
from unimodel.optim.lr_scheduler.scheduler import LRScheduler, positive_count
from unimodel.optimizer import Optimizer

Each = float | Sequence[float]
"""One number for all parameter groups, or one for each."""


class _Cycle(LRScheduler):
    """A schedule of rate and momentum; the momentum is beta1 where the optimizer has betas. Setting it does not trace anew."""

    def __init__(self, optimizer: Optimizer, cycle_momentum: bool, interval: str | None, last_epoch: int) -> None:
        self.cycle_momentum = cycle_momentum
        if cycle_momentum and isinstance(optimizer, Optimizer) and not {"momentum", "betas"} & set(optimizer.defaults):
            raise DataError(
                "cycle_momentum needs an optimizer with momentum or betas.",
                given=type(optimizer).__name__,
                remedy="pass cycle_momentum=False, or take SGD or Adam",
            )
        super().__init__(optimizer, interval, last_epoch)

    def momentum(self, index: int, t: int) -> float:
        raise NotImplementedError

    def options(self, index: int, t: int) -> Mapping[str, Any]:
        if not self.cycle_momentum:
            return {}
        momentum = self.momentum(index, t)
        if "betas" in self.optimizer.defaults:
            return {"betas": (momentum, *self.optimizer.param_groups[index]["betas"][1:])}
        return {"momentum": momentum}


class CyclicLR(_Cycle):
    """From ``base_lr`` to ``max_lr`` in ``step_size_up`` counts, back in ``step_size_down``, and again.

    ``mode`` "triangular" keeps the height, "triangular2" halves it each cycle, "exp_range" scales it by ``gamma ** t``; ``scale_fn`` takes the number of the
    cycle or, with ``scale_mode="iterations"``, the count. Source: https://pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CyclicLR.html
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Each,
        max_lr: Each,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Each = 0.8,
        max_momentum: Each = 0.9,
        last_epoch: int = -1,
        *,
        interval: str | None = "epoch",
    ) -> None:
        positive_count(step_size_up=step_size_up, **({} if step_size_down is None else {"step_size_down": step_size_down}))
        if scale_fn is None:
            scales: dict[str, Callable[[float], float]] = {
                "triangular": lambda x: 1.0,
                "triangular2": lambda x: 1.0 / 2.0 ** (x - 1),
                "exp_range": lambda x: float(gamma**x),
            }
            if mode not in scales:
                raise DataError("mode is 'triangular', 'triangular2' or 'exp_range'.", given=repr(mode), remedy="or give a scale_fn")
            scale_fn, scale_mode = scales[mode], "iterations" if mode == "exp_range" else "cycle"
        elif scale_mode not in ("cycle", "iterations"):
            raise DataError("scale_mode is 'cycle' or 'iterations'.", given=repr(scale_mode))
        self.base_lr, self.max_lr = base_lr, max_lr
        self.total_size = step_size_up + (step_size_up if step_size_down is None else step_size_down)
        self.step_ratio = step_size_up / self.total_size
        self.scale_fn, self.scale_mode = scale_fn, scale_mode
        self.base_momentum, self.max_momentum = base_momentum, max_momentum
        super().__init__(optimizer, cycle_momentum, interval, last_epoch)

    def _height(self, t: int) -> float:
        """Where in the cycle a count is: 0 at the base, the scale at the top."""
        cycle = math.floor(1 + t / self.total_size)
        x = 1.0 + t / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        return height * self.scale_fn(cycle if self.scale_mode == "cycle" else t)

    def group_rate(self, index: int, initial_lr: float, t: int) -> float:
        base, top = float(self.each_group("base_lr", self.base_lr, index)), float(self.each_group("max_lr", self.max_lr, index))
        return base + (top - base) * self._height(t)

    def momentum(self, index: int, t: int) -> float:
        base, top = float(self.each_group("base_momentum", self.base_momentum, index)), float(self.each_group("max_momentum", self.max_momentum, index))
        return top - (top - base) * self._height(t)


class OneCycleLR(_Cycle):
    """Up from ``max_lr / div_factor`` to ``max_lr``, then far down, once in ``total_steps`` counts (or ``epochs * steps_per_epoch``).

    ``three_phase`` comes down as it went up before it goes far down. Meant for ``interval="step"``. Source:
    https://pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.OneCycleLR.html
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Each,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Each = 0.85,
        max_momentum: Each = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
        *,
        interval: str | None = "epoch",
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise DataError("OneCycleLR needs its length.", expected="total_steps, or epochs and steps_per_epoch")
            positive_count(epochs=epochs, steps_per_epoch=steps_per_epoch)
            total_steps = epochs * steps_per_epoch
        positive_count(total_steps=total_steps)
        if not 0 <= pct_start <= 1:
            raise DataError("pct_start is a share of the cycle.", expected="0 <= pct_start <= 1", given=repr(pct_start))
        if anneal_strategy not in ("cos", "linear"):
            raise DataError("anneal_strategy is 'cos' or 'linear'.", given=repr(anneal_strategy))
        self.total_steps = total_steps
        self.anneal_strategy = anneal_strategy
        self.max_lr, self.div_factor, self.final_div_factor = max_lr, div_factor, final_div_factor
        self.base_momentum, self.max_momentum = base_momentum, max_momentum
        up = float(pct_start * total_steps) - 1
        # each phase: where it ends, and between which rates and momenta it leads
        self.phases = [(up, "initial", "max", "max", "base")]
        if three_phase:
            self.phases.append((2 * up, "max", "initial", "base", "max"))
            self.phases.append((total_steps - 1.0, "initial", "min", "max", "max"))
        else:
            self.phases.append((total_steps - 1.0, "max", "min", "base", "max"))
        super().__init__(optimizer, cycle_momentum, interval, last_epoch)

    def _phase(self, t: int) -> tuple[float, tuple[float, str, str, str, str]]:
        """The phase of a count, and how far in it the count is."""
        if t > self.total_steps:
            raise DataError("the cycle is over.", expected=f"at most total_steps={self.total_steps} counts", given=t, remedy="make total_steps larger")
        start = 0.0
        for phase in self.phases:
            if t <= phase[0] or phase is self.phases[-1]:
                return ((t - start) / (phase[0] - start) if phase[0] != start else 1.0), phase
            start = phase[0]
        raise AssertionError("the last phase takes all that is left")

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)

    def group_rate(self, index: int, initial_lr: float, t: int) -> float:
        top = float(self.each_group("max_lr", self.max_lr, index))
        rates = {"max": top, "initial": top / self.div_factor, "min": top / self.div_factor / self.final_div_factor}
        share, (_, start, end, _, _) = self._phase(t)
        return self._between(rates[start], rates[end], share)

    def momentum(self, index: int, t: int) -> float:
        momenta = {"max": self.each_group("max_momentum", self.max_momentum, index), "base": self.each_group("base_momentum", self.base_momentum, index)}
        share, (_, _, _, start, end) = self._phase(t)
        return self._between(momenta[start], momenta[end], share)

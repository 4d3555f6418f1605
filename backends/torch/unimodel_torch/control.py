"""Control flow as Python's: each body becomes a function of its own, and a branch or a loop of the program calls it.

What a body returns is in memory of its own, so that nothing beyond has to know what is a view of what.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

Body = Callable[..., Sequence[Any]]


def own(tensors: Sequence[Any], borrowed: Sequence[bool]) -> list[Any]:
    return [t.clone() if b else t for t, b in zip(tensors, borrowed, strict=True)]


def branch(then: Body, otherwise: Body) -> Callable[..., Any]:
    def cond(predicate: Any, *inputs: Any) -> Any:
        return (then if predicate else otherwise)(*inputs)

    return cond


def whole(body: Body) -> Callable[..., Any]:
    """A checkpoint where core has differentiated: a call, whose temporaries end with it."""

    def run(*inputs: Any) -> Any:
        return body(*inputs)

    return run


def recomputed(body: Body) -> Callable[..., Any]:
    """A checkpoint where torch differentiates."""

    def run_again(*inputs: Any) -> Any:
        return Recomputed.apply(body, *inputs)

    return run_again


class Recomputed(torch.autograd.Function):
    """A body that remembers its inputs only. ``torch.utils.checkpoint`` does the same, and loads the whole of torch's compiler at its first call."""

    @staticmethod
    def forward(ctx: Any, body: Body, *inputs: Any) -> Any:
        ctx.body = body
        ctx.numbers = [None if isinstance(v, torch.Tensor) else v for v in inputs]
        ctx.save_for_backward(*(v for v in inputs if isinstance(v, torch.Tensor)))
        results = tuple(body(*inputs))
        ctx.mark_non_differentiable(*(t for t in results if not t.is_floating_point()))
        return results

    @staticmethod
    def backward(ctx: Any, *incoming: Any) -> Any:
        tensors = iter(ctx.saved_tensors)
        inputs = [next(tensors).detach() if v is None else v for v in ctx.numbers]
        wanted = [i for i, needed in enumerate(ctx.needs_input_grad[1:]) if needed]
        with torch.enable_grad():
            for i in wanted:
                inputs[i].requires_grad_()
            results = ctx.body(*inputs)
        flowing = [(t, g) for t, g in zip(results, incoming, strict=True) if t.requires_grad]
        found = torch.autograd.grad([t for t, _ in flowing], [inputs[i] for i in wanted], [g for _, g in flowing], allow_unused=True) if flowing else ()
        answers: list[Any] = [None] * len(inputs)
        for i, gradient in zip(wanted, found, strict=False):
            answers[i] = gradient
        return (None, *answers)


def loop(condition: Body, body: Body, carries: int, borrowed: Sequence[bool]) -> Callable[..., Any]:
    def while_loop(*inputs: Any) -> Any:
        state, captured = inputs[:carries], inputs[carries:]
        first = True
        while condition(*state, *captured)[0]:
            state, first = body(*state, *captured), False
        return [t.clone() for t in state] if first else own(state, borrowed)

    return while_loop


def rounds(body: Body, carries: int, stacked: int, reverse: bool, borrowed: Sequence[bool]) -> Callable[..., Any]:
    """A scan. ``length`` and the shapes of its stacked results are numbers of the program."""

    def scan(length: int, shapes: Any, dtypes: Any, *inputs: Any) -> Any:
        state, xs, captured = inputs[:carries], inputs[carries : carries + stacked], inputs[carries + stacked :]
        if length == 0:
            device = next((t.device for t in inputs if isinstance(t, torch.Tensor)), None)
            return [*(t.clone() for t in state), *(torch.empty(s, dtype=d, device=device) for s, d in zip(shapes, dtypes, strict=True))]
        slices = list(zip(*(x.unbind(0) for x in xs), strict=True)) if xs else [()] * length
        results: list[Any] = [None] * length
        for i in reversed(range(length)) if reverse else range(length):
            found = body(*state, *slices[i], *captured)
            state, results[i] = found[:carries], found[carries:]
        return [*own(state, borrowed[:carries]), *map(torch.stack, zip(*results, strict=True))]

    return scan

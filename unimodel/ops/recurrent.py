"""Recurrent layers over a sequence of known length, written out step by step.

Each is one node for a layer in one direction, so that a backend with a kernel for it lowers it whole. Gates are in PyTorch's order; x (L, N, features),
states (N, hidden), weights as in PyTorch's layers. A primitive loop, for lengths that are not known and for shorter programs, is still to come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.ops.definition import composite
from unimodel.ops.rules import known, sizes_agree
from unimodel.ops.samples import Sample, normal
from unimodel.tracing import Tensor

__all__ = [
    "gru",
    "gru_cell",
    "lstm",
    "lstm_cell",
    "rnn",
    "rnn_cell",
]

State = tuple[Tensor, ...]


def _check(x: Any, h: Any, w_ih: Any, w_hh: Any) -> None:
    if not sizes_agree(x.shape[-1], w_ih.shape[1]) or not sizes_agree(h.shape[-1], w_hh.shape[1]):
        raise ShapeError(
            "input or state has another size than the layer is made for.",
            expected=f"input (..., {w_ih.shape[1]}), state (..., {w_hh.shape[1]})",
            given=f"{x.shape} and {h.shape}",
            remedy="make input_size and hidden_size equal to what comes in",
        )


def rnn_cell(x: Any, h: Any, w_hh: Any, b_hh: Any = None, nonlinearity: str = "tanh") -> Tensor:
    """The next state from ``x``, the input's part of the sum, and the state before."""
    total = x + ops.linear(h, w_hh, b_hh)
    return ops.tanh(total) if nonlinearity == "tanh" else ops.relu(total)


def lstm_cell(x: Any, h: Any, c: Any, w_hh: Any, b_hh: Any = None, w_hr: Any = None) -> tuple[Tensor, Tensor]:
    """The next hidden and cell state (Hochreiter and Schmidhuber 1997) from ``x``, the input's part of the gates (input, forget, cell, output).

    ``w_hr`` projects the hidden state (Sak et al. 2014).
    """
    i, f, g, o = ops.chunk(x + ops.linear(h, w_hh, b_hh), 4, -1)
    c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
    h = ops.sigmoid(o) * ops.tanh(c)
    return (h if w_hr is None else ops.linear(h, w_hr)), c


def gru_cell(x: Any, h: Any, w_hh: Any, b_hh: Any = None) -> Tensor:
    """The next state (Cho et al. 2014) from ``x``, the input's part of the gates (reset, update, new); the reset acts after the matrix, as in PyTorch."""
    from_input, from_state = ops.chunk(x, 3, -1), ops.chunk(ops.linear(h, w_hh, b_hh), 3, -1)
    reset, update = (ops.sigmoid(a + b) for a, b in zip(from_input[:2], from_state[:2], strict=True))
    new = ops.tanh(from_input[2] + reset * from_state[2])
    return ops.add(new, update * (h - new))


def _over_time(x: Tensor, state: State, reverse: bool, step: Callable[[Tensor, State], State]) -> tuple[Tensor, ...]:
    """All first states in order of time, then the last ones."""
    length = known(x.shape[0])
    outputs: list[Any] = [None] * length
    for t in reversed(range(length)) if reverse else range(length):
        state = step(x[t], state)
        outputs[t] = state[0]
    return ops.stack(outputs, axis=0), *state


LAYER = (normal(3, 2, 4), normal(2, 3))


@composite(
    samples=[
        Sample(*LAYER, normal(3, 4), normal(3, 3), normal(3), normal(3)),
        Sample(*LAYER, normal(3, 4), normal(3, 3), nonlinearity="tanh", reverse=True),
    ]
)
def rnn(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None, nonlinearity: str = "tanh", reverse: bool = False
) -> Any:
    """Elman's network (1990): all states (L, N, hidden), and the last."""
    _check(x, h, w_ih, w_hh)
    return _over_time(ops.linear(x, w_ih, b_ih), (h,), reverse, lambda t, s: (rnn_cell(t, s[0], w_hh, b_hh, nonlinearity),))


@composite(
    samples=[
        Sample(*LAYER, normal(2, 3), normal(12, 4), normal(12, 3), normal(12), normal(12)),
        Sample(normal(3, 2, 4), normal(2, 2), normal(2, 3), normal(12, 4), normal(12, 2), None, None, normal(2, 3), reverse=True),
    ]
)
def lstm(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    w_hr: Tensor | None = None,
    reverse: bool = False,
) -> Any:
    """Long short-term memory: all hidden states (L, N, hidden), and the last hidden and cell state."""
    _check(x, h, w_ih, w_hh)
    return _over_time(ops.linear(x, w_ih, b_ih), (h, c), reverse, lambda t, s: lstm_cell(t, s[0], s[1], w_hh, b_hh, w_hr))


@composite(samples=[Sample(*LAYER, normal(9, 4), normal(9, 3), normal(9), normal(9)), Sample(*LAYER, normal(9, 4), normal(9, 3), reverse=True)])
def gru(x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None, reverse: bool = False) -> Any:
    """Gated recurrent units: all states (L, N, hidden), and the last."""
    _check(x, h, w_ih, w_hh)
    return _over_time(ops.linear(x, w_ih, b_ih), (h,), reverse, lambda t, s: (gru_cell(t, s[0], w_hh, b_hh),))

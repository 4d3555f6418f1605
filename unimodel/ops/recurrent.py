"""Recurrent layers over a sequence of known length.

Each is one node for a layer in one direction, so that a backend with a kernel for it lowers it whole; elsewhere it is written out step by step. What does not
depend on the step before is done for all steps at once: the input's part of the gates on the way forward, the slopes of the gates and the gradients of the
weights on the way back, so that a step is one matrix product and a few element-wise ops. Gates are in PyTorch's order; x is (L, N, features), states are
(N, hidden), weights as in PyTorch's layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.op import Application, composite
from unimodel.ops.rules import known, sizes_agree
from unimodel.ops.samples import Sample, normal
from unimodel.tracing import Tensor

__all__ = [
    "gru",
    "gru_cell",
    "gru_gradient",
    "lstm",
    "lstm_cell",
    "lstm_gradient",
    "rnn",
    "rnn_cell",
    "rnn_gradient",
]


def rnn_cell(x: Any, h: Any, w_hh: Any, b_hh: Any = None, nonlinearity: str = "tanh") -> Tensor:
    """The next state from ``x``, the input's part of the sum, and the state before."""
    total = x + ops.linear(h, w_hh, b_hh)
    return ops.tanh(total) if nonlinearity == "tanh" else ops.relu(total)


def lstm_cell(x: Any, h: Any, c: Any, w_hh: Any, b_hh: Any = None, w_hr: Any = None) -> tuple[Tensor, Tensor]:
    """The next hidden and cell state (Hochreiter and Schmidhuber 1997) from ``x``, the input's part of the gates (input, forget, cell, output).

    ``w_hr`` projects the hidden state (Sak et al. 2014).
    """
    h, c, _ = _lstm_step(x, h, c, w_hh, b_hh, w_hr)
    return h, c


def gru_cell(x: Any, h: Any, w_hh: Any, b_hh: Any = None) -> Tensor:
    """The next state (Cho et al. 2014) from ``x``, the input's part of the gates (reset, update, new); the reset acts after the matrix, as in PyTorch."""
    state: Tensor = _gru_step(x, h, w_hh, b_hh)[0]
    return state


def _lstm_step(x: Any, h: Any, c: Any, w_hh: Any, b_hh: Any, w_hr: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    """States, and the gates that made them: input and forget together, cell, output."""
    size = known(c.shape[-1])
    both, new, out = ops.split(x + ops.linear(h, w_hh, b_hh), [2 * size, size, size], -1)
    both, new, out = ops.sigmoid(both), ops.tanh(new), ops.sigmoid(out)
    let_in, keep = ops.chunk(both, 2, -1)
    c = keep * c + let_in * new
    h = out * ops.tanh(c)
    return (h if w_hr is None else ops.linear(h, w_hr)), c, (both, new, out)


def _gru_step(x: Any, h: Any, w_hh: Any, b_hh: Any) -> tuple[Any, tuple[Any, ...]]:
    """The state, and what made it: reset and update gate together, the new state, the old one's part in it."""
    size = known(h.shape[-1])
    from_input, new = ops.split(x, [2 * size, size], -1)
    from_state, old = ops.split(ops.linear(h, w_hh, b_hh), [2 * size, size], -1)
    both = ops.sigmoid(from_input + from_state)
    reset, update = ops.chunk(both, 2, -1)
    new = ops.tanh(new + reset * old)
    return new + update * (h - new), (both, new, old)


# ------------------------------------------------------------------------------------------------------------- along the sequence


def _check(x: Any, h: Any, w_ih: Any, w_hh: Any) -> None:
    if not sizes_agree(x.shape[-1], w_ih.shape[1]) or not sizes_agree(h.shape[-1], w_hh.shape[1]):
        raise ShapeError(
            "input or state has another size than the layer is made for.",
            expected=f"input (..., {w_ih.shape[1]}), state (..., {w_hh.shape[1]})",
            given=f"{x.shape} and {h.shape}",
            remedy="make input_size and hidden_size equal to what comes in",
        )


def _order(length: int, reverse: bool) -> Sequence[int]:
    return range(length - 1, -1, -1) if reverse else range(length)


def _steps(x: Any) -> Sequence[Any]:
    """The elements (1, N, ...) of a sequence, each still with its place in time, so that no step needs a reshape."""
    return ops.split(x, 1, 0)


def _joined(steps: Sequence[Any]) -> Any:
    return ops.concat(list(steps), axis=0) if len(steps) > 1 else steps[0]


def _before(states: Any, first: Any, reverse: bool) -> Any:
    """What each step began with: all states but the last, and the first one given."""
    first = ops.expand_dims(first, 0)
    if states.shape[0] == 1:
        return first
    return ops.concat([states[1:], first], axis=0) if reverse else ops.concat([first, states[:-1]], axis=0)


def _last(states: Any, reverse: bool) -> Any:
    return states[0] if reverse else states[-1]


class _Backflow:
    """What flows back into a state: from its use outside, and from that in the step after, which ``next`` holds."""

    def __init__(self, outside: Any, last: Any, start: Any) -> None:
        self.outside: Any = None if outside is None else _steps(outside)
        self.next: Any = ops.expand_dims(ops.zeros(start.shape, dtype=start.dtype) if last is None else last, 0)

    def at(self, t: int) -> Any:
        return self.next if self.outside is None else self.outside[t] + self.next


def _weights(g: Any, x: Any) -> Any:
    """The gradient of a weight: all steps of all samples are rows of one product."""
    return ops.matmul(ops.matrix_transpose(_rows(g)), _rows(x))


def _rows(x: Any) -> Any:
    return ops.reshape(x, (-1, x.shape[-1]))


LAYER = (normal(3, 2, 4), normal(2, 3))


@composite(
    samples=[
        Sample(*LAYER, normal(3, 4), normal(3, 3), normal(3), normal(3)),
        Sample(*LAYER, normal(3, 4), normal(3, 3), nonlinearity="tanh", reverse=True),
        Sample(*LAYER, normal(3, 4), normal(3, 3), None, normal(3), nonlinearity="relu"),
    ]
)
def rnn(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None, nonlinearity: str = "tanh", reverse: bool = False
) -> Any:
    """Elman's network (1990): all states (L, N, hidden), and the last."""
    _check(x, h, w_ih, w_hh)
    given = _steps(ops.linear(x, w_ih, b_ih))
    outputs: list[Any] = [None] * len(given)
    state: Any = ops.expand_dims(h, 0)
    for t in _order(len(given), reverse):
        state = outputs[t] = rnn_cell(given[t], state, w_hh, b_hh, nonlinearity)
    return _joined(outputs), ops.squeeze(state, 0)


@rnn.vjp
def _(node: Application, g: Tensor | None, g_last: Tensor | None) -> Any:
    x, h, w_ih, w_hh, b_ih, b_hh = node.inputs
    dx, dh, dw_ih, dw_hh, db = rnn_gradient(g, g_last, x, h, w_ih, w_hh, node.outputs[0], **node.attrs)
    return dx, dh, dw_ih, dw_hh, None if b_ih is None else db, None if b_hh is None else db


@composite(samples=[Sample(normal(3, 2, 3), normal(2, 3), *LAYER, normal(3, 4), normal(3, 3), normal(3, 2, 3), gradient=False)])
def rnn_gradient(
    g: Tensor | None,
    g_last: Tensor | None,
    x: Tensor,
    h: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    output: Tensor,
    nonlinearity: str = "tanh",
    reverse: bool = False,
) -> Any:
    """The gradients of rnn for (x, h, w_ih, w_hh, a bias), given its states."""
    flow = _Backflow(g, g_last, h)
    slopes = _steps(1.0 - ops.square(output) if nonlinearity == "tanh" else output)
    sums: list[Any] = [None] * len(slopes)
    for t in reversed(_order(len(slopes), reverse)):
        sums[t] = flow.at(t) * slopes[t] if nonlinearity == "tanh" else ops.relu_gradient(flow.at(t), slopes[t])
        flow.next = ops.matmul(sums[t], w_hh)
    both = _joined(sums)
    return ops.matmul(both, w_ih), ops.squeeze(flow.next, 0), _weights(both, x), _weights(both, _before(output, h, reverse)), ops.sum(both, axis=(0, 1))


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
    """Long short-term memory: all hidden states (L, N, hidden), the last hidden and the last cell state.

    Then what gradients need: all cell states (L, N, hidden), and the gates that made them (L, N, 4 * hidden).
    """
    _check(x, h, w_ih, w_hh)
    given = _steps(ops.linear(x, w_ih, b_ih))
    outputs: list[Any] = [None] * len(given)
    cells, gates = list(outputs), list(outputs)
    state, cell = ops.expand_dims(h, 0), ops.expand_dims(c, 0)
    for t in _order(len(given), reverse):
        state, cell, gates[t] = _lstm_step(given[t], state, cell, w_hh, b_hh, w_hr)
        outputs[t], cells[t] = state, cell
    joined = ops.concat([_joined(kind) for kind in zip(*gates, strict=True)], axis=-1)
    return _joined(outputs), ops.squeeze(state, 0), ops.squeeze(cell, 0), _joined(cells), joined


@lstm.vjp
def _(node: Application, g: Tensor | None, g_h: Tensor | None, g_c: Tensor | None, g_cells: Tensor | None, g_gates: Tensor | None) -> Any:
    x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr = node.inputs
    output, _, _, cells, gates = node.outputs
    gradients = lstm_gradient(g, g_h, g_c, g_cells, g_gates, x, h, c, w_ih, w_hh, w_hr, output, cells, gates, **node.attrs)
    dx, dh, dc, dw_ih, dw_hh, db = gradients[:6]
    return dx, dh, dc, dw_ih, dw_hh, None if b_ih is None else db, None if b_hh is None else db, None if w_hr is None else gradients[6]


@composite(
    samples=[
        Sample(
            normal(3, 2, 3), None, None, None, None, *LAYER, normal(2, 3), normal(12, 4), normal(12, 3), None,
            normal(3, 2, 3), normal(3, 2, 3), normal(3, 2, 12), gradient=False,
        ),
    ]
)  # fmt: skip  # a call reads better in rows
def lstm_gradient(
    g: Tensor | None,
    g_h: Tensor | None,
    g_c: Tensor | None,
    g_cells: Tensor | None,
    g_gates: Tensor | None,
    x: Tensor,
    h: Tensor,
    c: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    w_hr: Tensor | None,
    output: Tensor,
    cells: Tensor,
    gates: Tensor,
    reverse: bool = False,
) -> Any:
    """The gradients of lstm for (x, h, c, w_ih, w_hh, a bias, and w_hr where there is one), given what it computed.

    With the gates known, a step back is linear in what flows back, and its coefficients are computed for all steps at once.
    """
    let_in, keep, new, out = ops.chunk(gates, 4, -1)
    seen = ops.tanh(cells)
    slopes = (let_in * (1.0 - let_in), keep * (1.0 - keep), 1.0 - ops.square(new), out * (1.0 - out))
    effects = (new, _before(cells, c, reverse), let_in, seen)
    coefficients = _steps(ops.concat([effect * slope for effect, slope in zip(effects, slopes, strict=True)], axis=-1))
    into_cell, keeps = _steps(out * (1.0 - ops.square(seen))), _steps(keep)
    extra = None if g_gates is None else _steps(g_gates * ops.concat(list(slopes), axis=-1))
    hidden, cell = _Backflow(g, g_h, h), _Backflow(g_cells, g_c, c)
    sums: list[Any] = [None] * len(keeps)
    projected = list(sums)
    for t in reversed(_order(len(sums), reverse)):
        dh = projected[t] = hidden.at(t)
        dh = dh if w_hr is None else ops.matmul(dh, w_hr)
        dc = cell.at(t) + dh * into_cell[t]
        sums[t] = ops.concat([dc, dc, dc, dh], axis=-1) * coefficients[t]
        if extra is not None:
            sums[t] = sums[t] + extra[t]
        hidden.next, cell.next = ops.matmul(sums[t], w_hh), dc * keeps[t]
    both = _joined(sums)
    found = (
        ops.matmul(both, w_ih),
        ops.squeeze(hidden.next, 0),
        ops.squeeze(cell.next, 0),
        _weights(both, x),
        _weights(both, _before(output, h, reverse)),
        ops.sum(both, axis=(0, 1)),
    )
    return found if w_hr is None else (*found, _weights(_joined(projected), out * seen))


@composite(samples=[Sample(*LAYER, normal(9, 4), normal(9, 3), normal(9), normal(9)), Sample(*LAYER, normal(9, 4), normal(9, 3), reverse=True)])
def gru(x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None, reverse: bool = False) -> Any:
    """Gated recurrent units: all states (L, N, hidden), and the last.

    Then what gradients need (L, N, 4 * hidden): the gates (reset, update, new), and the old state's part in the new one before the reset.
    """
    _check(x, h, w_ih, w_hh)
    given = _steps(ops.linear(x, w_ih, b_ih))
    outputs: list[Any] = [None] * len(given)
    gates = list(outputs)
    state: Any = ops.expand_dims(h, 0)
    for t in _order(len(given), reverse):
        state, gates[t] = _gru_step(given[t], state, w_hh, b_hh)
        outputs[t] = state
    return _joined(outputs), ops.squeeze(state, 0), ops.concat([_joined(kind) for kind in zip(*gates, strict=True)], axis=-1)


@gru.vjp
def _(node: Application, g: Tensor | None, g_last: Tensor | None, g_gates: Tensor | None) -> Any:
    x, h, w_ih, w_hh, b_ih, b_hh = node.inputs
    output, _, gates = node.outputs
    dx, dh, dw_ih, dw_hh, db_ih, db_hh = gru_gradient(g, g_last, g_gates, x, h, w_ih, w_hh, output, gates, **node.attrs)
    return dx, dh, dw_ih, dw_hh, None if b_ih is None else db_ih, None if b_hh is None else db_hh


@composite(
    samples=[
        Sample(normal(3, 2, 3), None, None, *LAYER, normal(9, 4), normal(9, 3), normal(3, 2, 3), normal(3, 2, 12), gradient=False),
    ]
)
def gru_gradient(
    g: Tensor | None,
    g_last: Tensor | None,
    g_gates: Tensor | None,
    x: Tensor,
    h: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    output: Tensor,
    gates: Tensor,
    reverse: bool = False,
) -> Any:
    """The gradients of gru for (x, h, w_ih, w_hh, b_ih, b_hh), given what it computed."""
    reset, update, new, old = ops.chunk(gates, 4, -1)
    before = _before(output, h, reverse)
    in_reset, in_new = old * reset * (1.0 - reset), 1.0 - ops.square(new)
    in_update = update * (1.0 - update)
    to_new = (1.0 - update) * in_new
    coefficients = _steps(ops.concat([to_new * in_reset, (before - new) * in_update, to_new * reset], axis=-1))
    keeps = _steps(update)
    extra = extra_new = None
    if g_gates is not None:
        g_reset, g_update, g_new, g_old = ops.chunk(g_gates, 4, -1)
        extra_new = g_new * in_new
        extra = _steps(ops.concat([g_reset * reset * (1.0 - reset) + extra_new * in_reset, g_update * in_update, g_old + extra_new * reset], axis=-1))
    flow = _Backflow(g, g_last, h)
    sums: list[Any] = [None] * len(keeps)
    states = list(sums)
    for t in reversed(_order(len(sums), reverse)):
        dh = states[t] = flow.at(t)
        sums[t] = ops.concat([dh, dh, dh], axis=-1) * coefficients[t]
        if extra is not None:
            sums[t] = sums[t] + extra[t]
        flow.next = ops.matmul(sums[t], w_hh) + dh * keeps[t]
    by_state = _joined(sums)
    size = known(h.shape[-1])
    of_new = _joined(states) * to_new
    if extra_new is not None:
        of_new = of_new + extra_new
    by_input = ops.concat([ops.split(by_state, [2 * size, size], -1)[0], of_new], axis=-1)
    return (
        ops.matmul(by_input, w_ih),
        ops.squeeze(flow.next, 0),
        _weights(by_input, x),
        _weights(by_state, before),
        ops.sum(by_input, axis=(0, 1)),
        ops.sum(by_state, axis=(0, 1)),
    )

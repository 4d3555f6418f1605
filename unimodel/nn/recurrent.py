"""Recurrent layers and their cells. The padded length of sequences is known: their program is written out step by step."""

from __future__ import annotations

import math
from typing import Any

from unimodel import init, ops
from unimodel.errors import ShapeError
from unimodel.model import Model, Parameter
from unimodel.nn.arguments import positive, probability
from unimodel.nn.utils.rnn import PackedSequence, checked_lengths
from unimodel.tracing import Tensor


class _Cell(Model):
    """One step: input (N, input_size), state (N, hidden_size), zeros if left out; or one sample without N.

    ``weight_ih`` (gates * hidden_size, input_size), ``weight_hh``, ``bias_ih``, ``bias_hh``, all drawn uniformly in ±1/sqrt(hidden_size). Source:
    https://pytorch.org/docs/stable/nn.html#recurrent-layers
    """

    gates = 1

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        positive(input_size=input_size, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        bound, rows = 1.0 / math.sqrt(hidden_size), self.gates * hidden_size
        self.weight_ih = Parameter((rows, input_size), init.uniform(-bound, bound))
        self.weight_hh = Parameter((rows, hidden_size), init.uniform(-bound, bound))
        self.bias_ih = Parameter((rows,), init.uniform(-bound, bound)) if bias else None
        self.bias_hh = Parameter((rows,), init.uniform(-bound, bound)) if bias else None

    def _start(self, input: Any, hx: Any) -> Any:
        return ops.zeros((*input.shape[:-1], self.hidden_size), dtype=input.dtype) if hx is None else hx

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


class RNNCell(_Cell):
    __doc__ = _Cell.__doc__

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh") -> None:
        super().__init__(input_size, hidden_size, bias)
        _check_nonlinearity(nonlinearity)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        part = ops.linear(input, self.weight_ih, self.bias_ih)
        return ops.rnn_cell(part, self._start(input, hx), self.weight_hh, self.bias_hh, self.nonlinearity)


class LSTMCell(_Cell):
    __doc__ = _Cell.__doc__
    gates = 4

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        h, c = (self._start(input, None),) * 2 if hx is None else hx
        return ops.lstm_cell(ops.linear(input, self.weight_ih, self.bias_ih), h, c, self.weight_hh, self.bias_hh)


class GRUCell(_Cell):
    __doc__ = _Cell.__doc__
    gates = 3

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        return ops.gru_cell(ops.linear(input, self.weight_ih, self.bias_ih), self._start(input, hx), self.weight_hh, self.bias_hh)


def _check_nonlinearity(nonlinearity: str) -> None:
    if nonlinearity not in ("tanh", "relu"):
        raise ShapeError("nonlinearity is 'tanh' or 'relu'.", given=repr(nonlinearity))


class _Recurrent(Model):
    """``num_layers`` layers over a sequence (L, N, input_size), (N, L, input_size) with ``batch_first``, or (L, input_size).

    Returns all states of the last layer and the last states of all: (layers * directions, N, hidden_size). ``dropout`` acts between layers in train mode;
    ``bidirectional`` adds a second direction, its states beside the first's. Keys and shapes of weights are PyTorch's, all drawn uniformly in
    ±1/sqrt(hidden_size). Source: https://pytorch.org/docs/stable/nn.html#recurrent-layers

    ``lengths``, integers (N,) in [0, L], says how much of each sequence is there, the rest being padding on the right, whose content does not matter. Results
    are those of PyTorch's packed sequences: zero beyond a length, the last state is the one at the length (the given one for length 0), and the second direction
    begins there. In place of input and lengths a ``um.nn.utils.rnn.PackedSequence`` is taken, and then given back. The lengths may change from batch to batch.
    """

    gates = 1
    states = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
    ) -> None:
        positive(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        probability("dropout", dropout)
        if not 0 <= proj_size < hidden_size:
            raise ShapeError("proj_size is below hidden_size, and 0 for none.", given=f"proj_size={proj_size}, hidden_size={hidden_size}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        bound, rows, width = 1.0 / math.sqrt(hidden_size), self.gates * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            columns = input_size if layer == 0 else width * (1 + bidirectional)
            for suffix in self._suffixes(layer):
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, columns), "weight_hh": (rows, width)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    setattr(self, f"{name}_{suffix}", Parameter(shape, init.uniform(-bound, bound)))

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", *([f"l{layer}_reverse"] if self.bidirectional else [])]

    def _weights(self, suffix: str) -> tuple[Any, ...]:
        return tuple(getattr(self, f"{name}_{suffix}", None) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))

    def _run(self, x: Any, state: tuple[Any, ...], suffix: str, reverse: bool) -> tuple[Any, ...]:
        """One layer in one direction: all states, then the last ones, and whatever else."""
        raise NotImplementedError

    def forward(self, input: Any, hx: Any = None, lengths: Any = None) -> Any:
        if isinstance(input, PackedSequence):
            padded, last = self.forward(input.within(self.batch_first), hx, input.lengths)
            return PackedSequence(padded, input.lengths, self.batch_first), last
        if input.ndim not in (2, 3):
            raise ShapeError("a recurrent layer takes sequences.", expected="(L, N, input_size), or (L, input_size)", given=f"{input.dtype} {input.shape}")
        given = None if hx is None else hx if isinstance(hx, (tuple, list)) else (hx,)
        single = input.ndim == 2
        if lengths is not None:
            lengths = checked_lengths(lengths, input, self.batch_first)
        if single:
            input = ops.expand_dims(input, 1)
            given = None if given is None else [ops.expand_dims(s, 1) for s in given]
        elif self.batch_first:
            input = ops.swapaxes(input, 0, 1)
        output, last = self._layers(input, given, lengths)
        if single:
            output, last = ops.squeeze(output, 1), [ops.squeeze(s, 1) for s in last]
        elif self.batch_first:
            output = ops.swapaxes(output, 0, 1)
        return output, (last[0] if self.states == 1 else tuple(last))

    def _layers(self, x: Any, given: Any, lengths: Any) -> tuple[Any, list[Any]]:
        last: list[list[Any]] = [[] for _ in range(self.states)]
        place = 0
        run = self._whole if lengths is None else self._until
        x = x if lengths is None else ops.within_lengths(x, lengths)
        for layer in range(self.num_layers):
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                start = self._zeros(x) if given is None else tuple(s[place] for s in given)
                place += 1
                output, *ends = run(x, start, suffix, direction == 1, lengths)
                outputs.append(output)
                for kept, end in zip(last, ends, strict=True):
                    kept.append(end)
            x = outputs[0] if len(outputs) == 1 else ops.concat(outputs, axis=-1)
            if layer < self.num_layers - 1:
                x = ops.dropout(x, self.dropout, self.training)
        return x, [ops.stack(kept, axis=0) for kept in last]

    def _whole(self, x: Any, start: tuple[Any, ...], suffix: str, reverse: bool, lengths: Any) -> tuple[Any, ...]:
        return self._run(x, start, suffix, reverse)[: 1 + self.states]

    def _until(self, x: Any, start: tuple[Any, ...], suffix: str, reverse: bool, lengths: Any) -> tuple[Any, ...]:
        """The same up to each sequence's length. What is behind it is computed too, with zeros for input, and left out."""
        found = self._run(ops.reverse_sequences(x, lengths) if reverse else x, start, suffix, False)
        every = found[0], *found[3:4]  # of the hidden states, then, for an LSTM, of the cells
        last = [ops.state_at(states, first, lengths) for states, first in zip(every, start, strict=False)]
        output = ops.within_lengths(found[0], lengths)
        return ops.reverse_sequences(output, lengths) if reverse else output, *last

    def _zeros(self, x: Any) -> tuple[Any, ...]:
        sizes = (self.proj_size or self.hidden_size, self.hidden_size)
        return tuple(ops.zeros((x.shape[1], size), dtype=x.dtype) for size in sizes[: self.states])

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, bidirectional={self.bidirectional}"


class RNN(_Recurrent):
    __doc__ = _Recurrent.__doc__

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        _check_nonlinearity(nonlinearity)
        self.nonlinearity = nonlinearity

    def _run(self, x: Any, state: tuple[Any, ...], suffix: str, reverse: bool) -> Any:
        return ops.rnn(x, *state, *self._weights(suffix), self.nonlinearity, reverse)


class LSTM(_Recurrent):
    __doc__ = _Recurrent.__doc__
    gates = 4
    states = 2

    def _run(self, x: Any, state: tuple[Any, ...], suffix: str, reverse: bool) -> Any:
        return ops.lstm(x, *state, *self._weights(suffix), getattr(self, f"weight_hr_{suffix}", None), reverse)


class GRU(_Recurrent):
    __doc__ = _Recurrent.__doc__
    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)

    def _run(self, x: Any, state: tuple[Any, ...], suffix: str, reverse: bool) -> Any:
        return ops.gru(x, *state, *self._weights(suffix), reverse)

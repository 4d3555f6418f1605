"""Sequences of different lengths: recurrent layers equal PyTorch's on packed sequences, and what stands in the padding does not matter."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

import unimodel as um
from unimodel.errors import DataError, ShapeError
from unimodel.nn.utils import rnn

torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
from torch_oracle import agree, results_of  # noqa: E402  needs torch

pytestmark = [pytest.mark.torch_oracle, pytest.mark.filterwarnings("ignore::UserWarning")]
theirs = torch.nn.utils.rnn

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 4)
flags = st.booleans()


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


class ByLengths(um.Model):
    """The way of this library."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def forward(self, x: Any, lengths: Any, *states: Any) -> Any:
        return self.layer(_ordered(self.layer, x), _given(states), lengths=lengths)


class ByPacking(um.Model):
    """PyTorch's."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def forward(self, x: Any, lengths: Any, *states: Any) -> Any:
        packed = rnn.pack_padded_sequence(_ordered(self.layer, x), lengths, self.layer.batch_first, enforce_sorted=False)
        output, last = self.layer(packed, _given(states))
        return rnn.pad_packed_sequence(output, self.layer.batch_first)[0], last


class Theirs(torch.nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any, lengths: Any, *states: Any) -> Any:
        first = self.layer.batch_first
        packed = theirs.pack_padded_sequence(_ordered(self.layer, x), lengths, first, enforce_sorted=False)
        output, last = self.layer(packed, _given(states))
        return theirs.pad_packed_sequence(output, first, total_length=x.shape[1])[0], last


def _ordered(layer: Any, x: Any) -> Any:
    """Batches have their samples first."""
    return x if layer.batch_first else x.transpose(0, 1)


def _given(states: tuple[Any, ...]) -> Any:
    states = tuple(s.transpose(0, 1) for s in states)
    return None if not states else states[0] if len(states) == 1 else tuple(states)


layers = {"num_layers": st.integers(1, 2), "bias": flags, "dropout": st.sampled_from([0.0, 0.4]), "bidirectional": flags, "batch_first": flags}


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@given(seeds, sizes, sizes, sizes, sizes, flags, flags, st.data())
@examples(15)
def test_packed_sequences(
    name: str, seed: int, batch: int, length: int, features: int, hidden: int, given_state: bool, packing: bool, data: st.DataObject
) -> None:
    arguments = data.draw(st.fixed_dictionaries(layers))
    if name == "RNN":
        arguments["nonlinearity"] = data.draw(st.sampled_from(["tanh", "relu"]))
    if name == "LSTM" and hidden > 1:
        arguments["proj_size"] = data.draw(st.integers(0, hidden - 1))
    lengths = np.random.default_rng(seed).integers(1, length + 1, batch)
    width = arguments.get("proj_size", 0) or hidden
    count = arguments["num_layers"] * (1 + arguments["bidirectional"])
    states = [normal(seed + i, batch, count, w) for i, w in enumerate((width, hidden)[: 2 if name == "LSTM" else 1])] if given_state else []
    layer = getattr(torch.nn, name)(features, hidden, **arguments)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    ours = (ByPacking if packing else ByLengths)(getattr(um.nn, name)(features, hidden, **arguments))
    training = arguments["dropout"] == 0.0
    agree(ours.train(training), Theirs(layer).train(training), [normal(seed, batch, length, features), lengths, *states])


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("filling", [np.nan, np.inf])
def test_the_padding_does_not_matter(name: str, filling: float) -> None:
    x, lengths = normal(0, 3, 4, 2), np.array([4, 1, 2])
    filled = x.copy()
    for row, n in zip(filled, lengths, strict=True):
        row[n:] = filling
    model = ByLengths(getattr(um.nn, name)(2, 3, 2, bidirectional=True, batch_first=True))
    one, other = results_of(copy.deepcopy(model), [x, lengths]), results_of(model, [filled, lengths])
    for key, array in one.items():
        np.testing.assert_array_equal(array, other[key], err_msg=key)


def test_a_sequence_of_length_0_leaves_the_state_as_it_was() -> None:
    layer = um.nn.GRU(2, 3, batch_first=True)
    h = normal(1, 1, 2, 3).astype("float32")
    output, last = layer(normal(0, 2, 4, 2).astype("float32"), h, lengths=np.array([0, 4]))
    np.testing.assert_array_equal(last[:, 0], h[:, 0])
    assert (output[0] == 0).all() and (output[1] != 0).all()


def test_lengths_train_and_may_change_from_batch_to_batch() -> None:
    class Net(um.Model):
        def __init__(self) -> None:
            self.gru = um.nn.GRU(1, 8, batch_first=True, bidirectional=True)
            self.head = um.nn.Linear(8, 1)

        def forward(self, x: Any, lengths: Any) -> Any:
            return self.head(self.gru(x, lengths=lengths)[1][1])

    rng = np.random.default_rng(0)
    x, lengths = rng.standard_normal((64, 5, 1)).astype("float32"), rng.integers(1, 6, 64)
    y = np.stack([row[:n].sum(0) for row, n in zip(x, lengths, strict=True)])
    trainer = um.Trainer(Net(), loss=um.losses.MSELoss(), optimizer=um.optim.Adam(lr=0.02), backend="numpy")
    history = trainer.fit(((x, lengths), y), epochs=15, batch_size=16, verbose=False).history["loss"]
    assert history[-1] < 0.3 * history[0]


@given(seeds, st.lists(st.integers(1, 5), min_size=1, max_size=4), flags, st.sampled_from(["right", "left"]), st.sampled_from([0.0, -1.5]))
def test_padding_sequences(seed: int, lengths: list[int], batch_first: bool, side: str, value: float) -> None:
    sequences = [normal(seed + i, n, 2) for i, n in enumerate(lengths)]
    ours = rnn.pad_sequence(sequences, batch_first, value, side)
    np.testing.assert_array_equal(ours, theirs.pad_sequence([torch.tensor(s) for s in sequences], batch_first, value, side).numpy())
    if side == "right":
        for one, other in zip(rnn.unpad_sequence(ours, lengths, batch_first), sequences, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_packed_sequence_padded_with_a_value_to_a_total_length(batch_first: bool) -> None:
    x, lengths = normal(0, 3, 4, 2), np.array([1, 4, 2])
    packed = theirs.pack_padded_sequence(torch.tensor(x), torch.tensor(lengths), True, enforce_sorted=False)
    wanted, _ = theirs.pad_packed_sequence(packed, batch_first, 2.5, 6)
    found, same = um.run(lambda x, n: rnn.pad_packed_sequence(rnn.pack_padded_sequence(x, n, True), batch_first, 2.5, 6), x, lengths)
    np.testing.assert_array_equal(found, wanted.numpy())
    np.testing.assert_array_equal(same, lengths)


def _cut(x: Any) -> Any:
    return rnn.pad_packed_sequence(rnn.pack_padded_sequence(x, [4, 2], True), total_length=3)[0]  # here


X = np.ones((2, 4, 3), "float32")
LAYER = um.nn.GRU(3, 2, batch_first=True)
REFUSED: dict[str, tuple[Any, list[str]]] = {
    "floats": (lambda: LAYER(X, lengths=np.array([1.0, 2.0])), ["one integer for each sequence", "float64 (2,)"]),  # here
    "another number": (lambda: LAYER(X, lengths=np.array([1, 2, 3])), ["int64 (2,)", "int64 (3,)", "(N, L, ...)"]),  # here
    "time first": (lambda: um.nn.GRU(3, 2)(X, lengths=np.array([1, 2])), ["int64 (4,)", "batch_first=True"]),  # here
    "one sample": (lambda: LAYER(X[0], lengths=np.array([1])), ["one integer for each sequence"]),  # here
    "too long": (lambda: um.run(lambda x: LAYER.forward(x, lengths=[1, 5]), X), ["out of range", "[0, 4]", "from 1 to 5"]),  # here
    "too short a total": (lambda: um.run(_cut, X), ["at least 4"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_lengths_that_do_not_fit(name: str) -> None:
    call, words = REFUSED[name]
    with pytest.raises(ShapeError) as caught:
        call()
    text = str(caught.value)
    assert "# here" in text and caught.value.remedy and all(word in text for word in words), text


def test_a_length_out_of_range_in_a_batch_is_found_on_the_host() -> None:
    with pytest.raises(DataError, match=r"(?s)length 5 at position 1.*\[0, 4\], as long as the sequences are padded.*pad the sequences to the longest, 5"):
        LAYER(X, lengths=np.array([4, 5]))


@pytest.mark.parametrize("sequences", [[], [np.ones((2, 3)), np.ones((2, 4))], [np.ones(())]])
def test_sequences_that_cannot_be_padded(sequences: list[np.ndarray]) -> None:
    with pytest.raises(DataError, match="differ in their lengths alone"):
        rnn.pad_sequence(sequences)

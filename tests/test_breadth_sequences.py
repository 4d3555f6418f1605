"""Recurrent layers, attention and transformers equal PyTorch's: results, gradients and state-dict keys, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

import unimodel as um
from unimodel.errors import ShapeError

torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
from torch_oracle import agree, close  # noqa: E402  needs torch

pytestmark = [pytest.mark.torch_oracle, pytest.mark.filterwarnings("ignore::UserWarning")]

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 4)
flags = st.booleans()


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


class OursWith(um.Model):
    """A layer called in a way of its own; the same ``call`` serves PyTorch's."""

    def __init__(self, layer: Any, call: Callable[..., Any]) -> None:
        self.layer = layer
        self.call = call

    def forward(self, *inputs: Any) -> Any:
        return self.call(self.layer, *inputs)


class TheirsWith(torch.nn.Module):
    def __init__(self, layer: Any, call: Callable[..., Any]) -> None:
        super().__init__()
        self.layer = layer
        self.call = call

    def forward(self, *inputs: Any) -> Any:
        return self.call(self.layer, *inputs)


def compare(name: str, args: tuple[Any, ...], arguments: dict[str, Any], call: Callable[..., Any], inputs: list[np.ndarray], training: bool = True) -> None:
    theirs = getattr(torch.nn, name)(*args, **arguments)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    ours = getattr(um.nn, name)(*args, **arguments)
    agree(OursWith(ours, call).train(training), TheirsWith(theirs, call).train(training), inputs)


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
@given(seeds, sizes, sizes, flags, flags, flags, st.sampled_from(["tanh", "relu"]))
def test_cells(name: str, seed: int, features: int, hidden: int, bias: bool, batch: bool, given_state: bool, nonlinearity: str) -> None:
    arguments: dict[str, Any] = {"bias": bias, **({"nonlinearity": nonlinearity} if name == "RNNCell" else {})}
    lead = (3,) if batch else ()
    states = [normal(seed + i, *lead, hidden) for i in range(2 if name == "LSTMCell" else 1)] if given_state and (batch or hidden == features) else []

    def call(cell: Any, x: Any, *state: Any) -> Any:
        return cell(x) if not state else cell(x, state if len(state) == 2 else state[0])

    compare(name, (features, hidden), arguments, call, [normal(seed, *lead, features), *states])


recurrent = {
    "num_layers": st.integers(1, 3),
    "bias": flags,
    "dropout": st.sampled_from([0.0, 0.4]),
    "bidirectional": flags,
}


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@given(seeds, sizes, sizes, sizes, sizes, flags, st.data())
@examples(40)
def test_layers(name: str, seed: int, batch: int, length: int, features: int, hidden: int, given_state: bool, data: st.DataObject) -> None:
    arguments = data.draw(st.fixed_dictionaries(recurrent))
    if name == "RNN":
        arguments["nonlinearity"] = data.draw(st.sampled_from(["tanh", "relu"]))
    if name == "LSTM" and hidden > 1:
        arguments["proj_size"] = data.draw(st.integers(0, hidden - 1))
    width = arguments.get("proj_size", 0) or hidden
    count = arguments["num_layers"] * (1 + arguments["bidirectional"])
    states = [normal(seed + i, batch, count, w) for i, w in enumerate((width, hidden)[: 2 if name == "LSTM" else 1])] if given_state else []
    layout = data.draw(st.sampled_from(["batch first", "time first"]))

    def call(layer: Any, x: Any, *state: Any) -> Any:
        given = tuple(s.transpose(0, 1) for s in state)
        hx = None if not given else given if len(given) == 2 else given[0]
        return layer(x, hx) if layout == "batch first" else layer(x.transpose(0, 1), hx)

    inputs = [normal(seed, batch, length, features), *states]
    compare(name, (features, hidden), {**arguments, "batch_first": layout == "batch first"}, call, inputs, training=arguments["dropout"] == 0.0)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_one_sequence_without_a_batch(name: str) -> None:
    compare(name, (3, 4), {"num_layers": 2, "bidirectional": True}, lambda layer, x: layer(x), [normal(0, 5, 3)])


def test_dropout_acts_between_recurrent_layers_only() -> None:
    x = normal(0, 4, 3, 5).astype("float32")
    one, two = um.nn.LSTM(5, 6, dropout=0.5, batch_first=True), um.nn.LSTM(5, 6, num_layers=2, dropout=0.5, batch_first=True)
    np.testing.assert_array_equal(one(x)[0], one(x)[0])
    assert not np.array_equal(two(x)[0], two(x)[0])


masks = st.sampled_from(["none", "bool", "float", "per head", "causal"])


@given(seeds, st.integers(1, 3), st.integers(1, 3), sizes, sizes, masks, st.sampled_from(["none", "bool", "float"]), st.data())
@examples(60)
def test_multihead_attention(seed: int, batch: int, heads: int, queries: int, keys: int, mask: str, padding: str, data: st.DataObject) -> None:
    width = heads * data.draw(st.integers(1, 3))
    rng = np.random.default_rng(seed)
    same = data.draw(flags)
    if same or mask == "causal":
        keys = queries
    arguments = {name: data.draw(flags) for name in ("bias", "add_bias_kv", "add_zero_attn", "batch_first")}
    if not same and data.draw(flags):
        arguments.update(kdim=data.draw(st.integers(1, 4)), vdim=data.draw(st.integers(1, 4)))
    need_weights, average, training = data.draw(flags), data.draw(flags), data.draw(flags)
    attn_mask: Any = {
        "none": None,
        "bool": rng.random((queries, keys)) < 0.4,
        "float": rng.standard_normal((queries, keys)),
        "per head": rng.random((batch * heads, queries, keys)) < 0.4,
        "causal": np.triu(np.ones((queries, queries), bool), 1),
    }[mask]
    if mask in ("bool", "per head"):
        attn_mask[..., 0] = False  # a row that may look nowhere has no meaning
    extra = []
    if padding != "none":
        key_padding = rng.random((batch, keys)) < 0.4 if padding == "bool" else rng.standard_normal((batch, keys))
        if padding == "bool":
            key_padding[:, 0] = False
        extra = [key_padding]

    def call(layer: Any, *inputs: Any) -> Any:
        given = inputs[: 1 if same else 3]
        padded = inputs[len(given)] if extra else None
        q, k, v = given * 3 if same else given
        if not arguments["batch_first"]:
            q, k, v = (q.transpose(0, 1),) * 3 if same else (t.transpose(0, 1) for t in given)
        held = attn_mask if attn_mask is None or isinstance(q, um.tracing.Tensor) else torch.tensor(attn_mask)
        # with keys added, torch's path without weights lets the hint hide them, and its path with weights does not; ours never does
        hint = mask == "causal" and not (arguments["add_bias_kv"] or arguments["add_zero_attn"])
        result, weights = layer(q, k, v, padded, need_weights, held, average, is_causal=hint)
        return (result, weights) if need_weights else (result,)

    inputs = [normal(seed, batch, queries, width)]
    if not same:
        inputs += [normal(seed + 1, batch, keys, arguments.get("kdim", width)), normal(seed + 2, batch, keys, arguments.get("vdim", width))]
    compare("MultiheadAttention", (width, heads), arguments, call, [*inputs, *extra], training)


def test_multihead_attention_of_one_sample() -> None:
    compare("MultiheadAttention", (4, 2), {}, lambda layer, q, k: layer(q, k, k), [normal(0, 3, 4), normal(1, 3, 4)])


layers = {
    "dropout": st.just(0.0),
    "activation": st.sampled_from(["relu", "gelu"]),
    "batch_first": flags,
    "norm_first": flags,
    "bias": flags,
    "layer_norm_eps": st.sampled_from([1e-5, 1e-2]),
}


def causal(size: int) -> np.ndarray:
    return np.triu(np.full((size, size), -np.inf), 1)


def held(mask: np.ndarray | None, like: Any) -> Any:
    return mask if mask is None or isinstance(like, um.tracing.Tensor) else torch.tensor(mask)


@given(seeds, st.integers(1, 3), st.integers(1, 4), st.integers(1, 2), flags, flags, st.fixed_dictionaries(layers))
@examples(15)
def test_encoder_layer(seed: int, batch: int, length: int, heads: int, masked: bool, padded: bool, arguments: dict[str, Any]) -> None:
    mask = causal(length) if masked else None
    padding = np.random.default_rng(seed).random((batch, length)) < 0.4
    padding[:, 0] = False

    def call(layer: Any, x: Any, *padding: Any) -> Any:
        x = x if arguments["batch_first"] else x.transpose(0, 1)
        return layer(x, held(mask, x), *padding, is_causal=masked)

    inputs = [normal(seed, batch, length, 4 * heads), *([padding] if padded else [])]
    compare("TransformerEncoderLayer", (4 * heads, heads, 5), arguments, call, inputs)


@given(seeds, st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), flags, st.fixed_dictionaries(layers))
@examples(15)
def test_decoder_layer(seed: int, batch: int, length: int, memory: int, masked: bool, arguments: dict[str, Any]) -> None:
    mask = causal(length) if masked else None

    def call(layer: Any, x: Any, m: Any) -> Any:
        x, m = (x, m) if arguments["batch_first"] else (x.transpose(0, 1), m.transpose(0, 1))
        return layer(x, m, held(mask, x))

    compare("TransformerDecoderLayer", (8, 2, 5), arguments, call, [normal(seed, batch, length, 8), normal(seed + 1, batch, memory, 8)])


@given(seeds, st.integers(1, 3), st.integers(1, 3), flags, st.fixed_dictionaries(layers))
@examples(8)
def test_stacks_and_the_whole_transformer(seed: int, encoders: int, decoders: int, with_norm: bool, arguments: dict[str, Any]) -> None:
    def stack(nn: Any) -> Any:
        norm = nn.LayerNorm(8) if with_norm else None
        return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 5, **arguments), encoders, norm)

    theirs = stack(torch.nn)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    agree(stack(um.nn), theirs, [normal(seed, 2, 3, 8)]) if arguments["batch_first"] else None

    def call(net: Any, src: Any, tgt: Any) -> Any:
        src, tgt = (src, tgt) if arguments["batch_first"] else (src.transpose(0, 1), tgt.transpose(0, 1))
        return net(src, tgt, tgt_mask=held(causal(2), src))

    inputs = [normal(seed, 2, 3, 8), normal(seed + 1, 2, 2, 8)]
    compare("Transformer", (8, 2, encoders, decoders, 5), arguments, call, inputs)


def test_layers_of_a_stack_have_weights_of_their_own_drawn_as_in_pytorch() -> None:
    net = um.nn.Transformer(8, 2, 2, 2, 16)
    state = net.state_dict()
    assert not np.array_equal(state["encoder.layers.0.linear1.weight"], state["encoder.layers.1.linear1.weight"])
    bound = np.sqrt(6 / (8 + 16))
    weight = state["decoder.layers.1.linear1.weight"]
    assert np.abs(weight).max() <= bound and np.abs(weight).max() > 0.9 * bound
    assert (state["encoder.layers.0.self_attn.in_proj_bias"] == 0).all()
    close(um.nn.Transformer.generate_square_subsequent_mask(4), torch.nn.Transformer.generate_square_subsequent_mask(4))
    copied = copy.deepcopy(net)
    np.testing.assert_array_equal(copied.state_dict()["decoder.norm.weight"], state["decoder.norm.weight"])


def test_a_transformer_trains_with_dropout() -> None:
    class Net(um.Model):
        def __init__(self) -> None:
            self.embed = um.nn.Embedding(7, 8)
            self.encoder = um.nn.TransformerEncoder(um.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
            self.head = um.nn.Linear(8, 7)

        def forward(self, x: Any) -> Any:
            y = self.encoder(self.embed(x), um.nn.Transformer.generate_square_subsequent_mask(5), is_causal=True)
            return um.ops.permute_dims(self.head(y), (0, 2, 1))

    rng = np.random.default_rng(0)
    x = rng.integers(0, 7, (16, 5))
    trainer = um.Trainer(Net(), loss=um.losses.CrossEntropyLoss(), optimizer=um.optim.Adam(lr=0.02), backend="numpy")
    history = trainer.fit((x, x), epochs=15, batch_size=8, verbose=False)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]


X = np.ones((2, 3, 4), "float32")
REFUSED: list[Callable[[], Any]] = [
    lambda: um.nn.MultiheadAttention(5, 2),
    lambda: um.nn.MultiheadAttention(4, 0),
    lambda: um.nn.MultiheadAttention(4, 2, dropout=1.5),
    lambda: um.nn.MultiheadAttention(4, 2)(X, X, X, is_causal=True),
    lambda: um.nn.TransformerEncoderLayer(4, 2, activation="swish"),
    lambda: um.nn.TransformerEncoderLayer(4, 3),
    lambda: um.nn.TransformerEncoder(um.nn.TransformerEncoderLayer(4, 2), 0),
    lambda: um.nn.LSTM(4, 3, proj_size=3),
    lambda: um.nn.LSTM(4, 0),
    lambda: um.nn.GRU(4, 3, num_layers=0),
    lambda: um.nn.GRU(4, 3, dropout=-0.1),
    lambda: um.nn.RNN(4, 3, nonlinearity="sigmoid"),
    lambda: um.nn.RNNCell(4, 3, nonlinearity="sigmoid"),
    lambda: um.nn.LSTM(4, 3)(np.ones(4)),
    lambda: um.nn.LSTM(5, 3, batch_first=True)(X),
]


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_bad_arguments_are_refused_at_the_users_line(index: int) -> None:
    with pytest.raises(ShapeError) as caught:
        REFUSED[index]()
    assert caught.value.source is not None and caught.value.source.file == __file__

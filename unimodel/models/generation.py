"""Text from decoders: token by token, each the most likely or a drawn one, with what has been computed for the tokens before kept.

A program reads the prompt and fills a cache of keys and values; another takes one token and its position, and is compiled once: the cache has a fixed size, lives
with the weights on the backend, and positions are inputs. Tokens are chosen on the host from core's random numbers, so that every backend draws the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unimodel import ops, random
from unimodel.errors import DataError
from unimodel.graph import Array, TensorSpec
from unimodel.model import Buffer
from unimodel.runtime import Program, Runtime, as_array, home_of
from unimodel.tracing import Tensor

SIZES = 64
"""Caches come in multiples of so many tokens, so that texts of about one length share their programs."""
SHORTEST = 8
"""Prompts are padded on the left to a power of two of at least so many tokens, for the same reason."""
KEPT = 4
"""So many caches of a model are kept."""


def generate(
    model: Any,
    input_ids: Any,
    max_new_tokens: int = 20,
    *,
    attention_mask: Any = None,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    eos_token_id: int | None = None,
    pad_token_id: int | None = None,
    seed: int = 0,
    use_cache: bool = True,
) -> Array:
    """Continue texts: input_ids (N, L), or (L,) for one, gives (N, L + new) int64, the prompts included.

    The most likely token is taken; with ``do_sample`` one is drawn, from logits divided by ``temperature``, of which the ``top_k`` largest are left, and of these the
    fewest that together have the probability ``top_p`` (Holtzman et al. 2019, "The curious case of neural text degeneration"). Which one follows from
    ``seed``, and is the same on every backend. A text ends with ``eos_token_id`` and is filled with ``pad_token_id`` (by default the same) while others go
    on. Shorter prompts are padded on the left, with ``attention_mask`` (N, L) 0 there. ``use_cache=False`` reads the whole text for each token: the same tokens, slowly.
    The model computes in eval mode on its trainer's backend, else on the current one. Arguments and defaults are those of ``generate`` in transformers.

    >>> import unimodel as um
    >>> net = um.models.GPT2LMHeadModel(vocab_size=11, n_positions=32, n_embd=8, n_layer=1, n_head=2)
    >>> net.generate(np.array([[1, 2, 3]]), max_new_tokens=4).shape
    (1, 7)
    """
    tokens, start = _prompts(input_ids, attention_mask)
    vocabulary = model.lm_head.weight.shape[0]
    _check(tokens, start, max_new_tokens, vocabulary, model.max_length)
    choose = chooser(do_sample, temperature, top_k, top_p, seed)
    fill = eos_token_id if pad_token_id is None else pad_token_id
    length = tokens.shape[1]
    text: Array = np.concatenate([tokens, np.zeros((len(tokens), max_new_tokens), "int64")], axis=1)
    going = np.ones(len(tokens), bool)
    modes = [(m, m.training) for m in model.modules()]
    try:
        model.eval()
        reader = _reader(model, len(tokens), max(SHORTEST, 1 << (length - 1).bit_length()) + max_new_tokens, use_cache)
        for i in range(max_new_tokens):
            logits = reader(text, length + i, start)
            chosen = choose(logits, i)
            text[:, length + i] = chosen if fill is None else np.where(going, chosen, fill)
            going &= True if eos_token_id is None else chosen != eos_token_id
            if not going.any():
                text = text[:, : length + i + 1]
                break
    finally:
        for module, mode in modes:
            module.training = mode
    return text


def chooser(do_sample: bool, temperature: float, top_k: int | None, top_p: float | None, seed: int) -> Callable[[Array, int], Array]:
    """A function of logits (N, vocabulary) and the number of the step that gives one token for each row."""
    if not do_sample:
        return lambda logits, step: np.asarray(np.argmax(logits, axis=1))
    if not temperature > 0:
        raise DataError("temperature must be above 0.", given=temperature, remedy="for the most likely token leave do_sample out")
    if top_k is not None and top_k < 1:
        raise DataError("top_k must be at least 1.", given=top_k, remedy="leave it out to draw from all tokens")
    if top_p is not None and not 0 < top_p <= 1:
        raise DataError("top_p is a probability above 0.", given=top_p, remedy="leave it out to draw from all tokens")

    def choose(logits: Array, step: int) -> Array:
        scores = logits.astype("float64") / temperature
        if top_k is not None and top_k < scores.shape[1]:
            scores[scores < np.partition(scores, -top_k, axis=1)[:, -top_k, None]] = -np.inf
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        if top_p is not None:
            order = np.argsort(-weights, axis=1, kind="stable")
            ordered = np.take_along_axis(weights, order, axis=1)
            before = np.cumsum(ordered, axis=1) - ordered
            np.put_along_axis(weights, order, np.where(before < top_p, ordered, 0.0), axis=1)
        total = np.cumsum(weights, axis=1)  # in the order of the tokens: rounding moves a boundary a little, and swaps no two
        drawn = random.uniform(seed, "generate", (len(scores), 1), step) * total[:, -1:]
        return np.asarray((total <= drawn).sum(axis=1))

    return choose


class KeyValueCache:
    """Keys and values of the tokens so far, as a decoder meets them while it is traced.

    ``position`` is None for a prompt, which begins the cache, and for one token its place as a traced number; ``start`` (N,) is where each text begins.
    """

    def __init__(self, buffers: list[tuple[Buffer, Buffer]], position: Tensor | None, start: Tensor) -> None:
        self.buffers = buffers
        self.position = position
        self.start = ops.expand_dims(start, 1)
        self.size = buffers[0][0].shape[2]
        places = ops.arange(self.size)
        if position is not None:
            self.here = ops.expand_dims(ops.equal(places, position), 1)
            allowed = ops.logical_and(ops.less_equal(places, position), ops.greater_equal(places, self.start))
            self.mask = ops.expand_dims(ops.expand_dims(allowed, 1), 1)

    def positions(self, length: int) -> Tensor:
        """The place of each token in its text, (N, length)."""
        return ops.maximum((ops.arange(length) if self.position is None else self.position) - self.start, 0)

    def update(self, layer: int, key: Any, value: Any) -> tuple[Any, Any, Any]:
        """Keep new keys and values (N, heads, L, E); returns all there are, and which of them each query may see."""
        if self.position is None:
            length = key.shape[2]
            for buffer, new in zip(self.buffers[layer], (key, value), strict=True):
                buffer.assign(ops.pad_constant(new, ((0, 0), (0, 0), (0, self.size - length), (0, 0))))
            return key, value, self._prompt_mask(length)
        for buffer, new in zip(self.buffers[layer], (key, value), strict=True):
            buffer.assign(ops.where(self.here, new, buffer))
        keys, values = (ops.asarray(buffer) for buffer in self.buffers[layer])
        return keys, values, self.mask

    def _prompt_mask(self, length: int) -> Tensor:
        """Each token sees those before it in its text; padding sees itself, because a softmax over nothing is no number."""
        if "mask" not in vars(self):
            keys, queries = np.arange(length), np.arange(length)[:, None]
            begun = ops.expand_dims(ops.greater_equal(ops.arange(length), self.start), 1)
            self.mask = ops.expand_dims(ops.logical_or(ops.logical_and(begun, keys <= queries), keys == queries), 1)
        return self.mask


class Reader:
    """A model's programs for ``count`` texts of up to ``size`` tokens: calling it gives the logits (N, vocabulary) of what follows the first ``length`` tokens.

    Texts begin at ``start`` (N,). The cache must have read the tokens before: call it with one token more each time.
    """

    def __init__(self, model: Any, home: Runtime, count: int, size: int) -> None:
        self.model = model
        self.home = home
        self.count = count
        self.size = size
        self.begin()
        layers, heads, features = model.cache_shape
        shape = (count, heads, size, features)
        self.buffers = [(Buffer(shape, persistent=False), Buffer(shape, persistent=False)) for _ in range(layers)]
        self.names = {b: f"generation/{id(self)}/{i}/{j}" for i, pair in enumerate(self.buffers) for j, b in enumerate(pair)}
        for buffer, name in self.names.items():
            home.names[buffer] = name
            home.store.write(name, np.zeros(buffer.shape, home.float_dtype))
        self._programs: dict[int, Program] = {}

    def begin(self) -> None:
        """Nothing has been read yet."""
        self.read_up_to = self.shift = 0

    def forget(self) -> None:
        """Give the cache's memory back."""
        for buffer, name in self.names.items():
            del self.home.names[buffer], self.home.store.arrays[name]

    def __call__(self, text: Array, length: int, start: Array) -> Array:
        if length == self.read_up_to + 1:
            logits = self._run(1, text[:, length - 1 : length], np.asarray(length - 1 + self.shift), start + self.shift)
        else:
            padded = max(SHORTEST, 1 << (length - 1).bit_length())
            self.shift = padded - length
            prompt = np.pad(text[:, :length], ((0, 0), (self.shift, 0)))
            logits = self._run(padded, prompt, np.asarray(0), start + self.shift)
        self.read_up_to = length
        return logits

    def _run(self, length: int, *leaves: Array) -> Array:
        program = self._programs.get(length)
        if program is None:
            program = self._programs[length] = compiled(self.home, self._prompt if length > 1 else self._token, leaves)
        return run(self.home, program, leaves)

    def _prompt(self, batch: Any) -> Any:
        ids, _, start = batch
        return self.model(ids, KeyValueCache(self.buffers, None, start))[:, -1]

    def _token(self, batch: Any) -> Any:
        ids, position, start = batch
        return self.model(ids, KeyValueCache(self.buffers, position, start))[:, -1]


class Rereader:
    """As a ``Reader``, without a cache: each call reads the whole text, in the form that training sees."""

    def __init__(self, model: Any, home: Runtime, count: int, size: int) -> None:
        self.model = model
        self.home = home
        self.size = min(size, model.max_length)
        self._program: Program | None = None

    def begin(self) -> None:
        """There is nothing to begin, nor to give back."""

    forget = begin

    def __call__(self, text: Array, length: int, start: Array) -> Array:
        lengths = length - start
        moved = np.zeros((len(text), self.size), "int64")  # to the left; what is behind a text's end does not change what is before it
        for row, tokens, begin in zip(moved, text, start, strict=True):
            row[: length - begin] = tokens[begin:length]
        if self._program is None:
            self._program = compiled(self.home, lambda batch: self.model(batch[0]), (moved,))
        logits: Array = run(self.home, self._program, (moved,))[np.arange(len(text)), lengths - 1]
        return logits


def compiled(home: Runtime, function: Callable[[Any], Any], leaves: Sequence[Array]) -> Program:
    """A function of tensors of exactly these shapes."""
    specs = tuple(TensorSpec(a.shape, a.dtype.name) for a in leaves)
    return home.build(function, specs, specs, {})


def run(home: Runtime, program: Program, leaves: Sequence[Array]) -> Array:
    (logits,) = program.executable.read(program.executable.run(program.arrange(leaves, home.seed, 0), program.numbers()))
    return logits


def _reader(model: Any, count: int, tokens: int, use_cache: bool) -> Reader | Rereader:
    """The model's programs for so many texts of so many tokens, kept from the last time where possible."""
    home = home_of(model)
    kind = Reader if use_cache else Rereader
    size = -(-tokens // SIZES) * SIZES
    key = (id(model), kind, count, size, home.fingerprint())
    kept: OrderedDict[Any, Any] = home.kept
    if key not in kept:
        kept[key] = kind(model, home, count, size)
        while len(kept) > KEPT:
            kept.popitem(last=False)[1].forget()
    kept.move_to_end(key)
    found: Reader | Rereader = kept[key]
    found.begin()
    return found


def _prompts(input_ids: Any, attention_mask: Any) -> tuple[Array, Array]:
    """Token ids (N, L), int64, and where each text begins (N,)."""
    try:
        tokens = as_array(input_ids)
    except ValueError:  # rows of several lengths, which are no array
        raise DataError(
            "prompts of several lengths are padded to one.",
            expected="integers of shape (N, L)",
            given=f"lengths {[len(row) for row in input_ids]}",
            remedy="pad them on the left, um.nn.utils.rnn.pad_sequence(prompts, batch_first=True, padding_side='left'), and pass an attention_mask with 0 there",
        ) from None
    tokens = tokens[None] if tokens.ndim == 1 else tokens
    if tokens.dtype.kind not in "iu" or tokens.ndim != 2 or 0 in tokens.shape:
        raise DataError(
            "prompts are token ids.", expected="integers of shape (N, L)", given=f"{tokens.dtype} {tokens.shape}", remedy="encode texts with a tokenizer first"
        )
    start = np.zeros(len(tokens), "int64")
    if attention_mask is not None:
        mask = np.atleast_2d(as_array(attention_mask)) != 0
        if mask.shape != tokens.shape or not mask[:, -1].all() or (mask[:, :-1] & ~mask[:, 1:]).any():
            raise DataError(
                "prompts are padded on the left.",
                expected=f"an attention_mask {tokens.shape} with 0 for padding before 1 for tokens in each row",
                given=mask.astype(int).tolist() if mask.size < 50 else str(mask.shape),
                remedy="set the tokenizer's padding_side to 'left'",
            )
        start = mask.argmax(axis=1)
    return tokens.astype("int64"), start.astype("int64")


def _check(tokens: Array, start: Array, max_new_tokens: int, vocabulary: int, most: int) -> None:
    if tokens.min() < 0 or tokens.max() >= vocabulary:
        raise DataError(
            "a token id is outside the vocabulary.",
            expected=f"[0, {vocabulary})",
            given=f"from {tokens.min()} to {tokens.max()}",
            remedy="use the tokenizer that the model was trained with",
        )
    if isinstance(max_new_tokens, bool) or not hasattr(max_new_tokens, "__index__") or max_new_tokens < 1:
        raise DataError("max_new_tokens must be an integer of at least 1.", given=repr(max_new_tokens), remedy="give the number of tokens to add")
    longest = tokens.shape[1] - int(start.min()) + max_new_tokens
    if longest > most:
        raise DataError(
            "the texts would outgrow the model's positions.",
            expected=f"at most {most} tokens",
            given=f"{tokens.shape[1] - int(start.min())} and {max_new_tokens} more",
            remedy="cut the prompt, or ask for fewer tokens",
        )

"""Core's random numbers: a specified stream, whose bits are fixed here, so that no change of it goes unnoticed; and the distributions made of it."""

from __future__ import annotations

import hashlib
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unimodel as um
from unimodel import random

seeds = st.integers(0, 2**40)
purposes = st.text(min_size=1, max_size=20)

GOLDEN_BITS = {
    (0, "shuffle", 0): (0x0148E2C46CA96D3D, 0xF441CBA045BA52A2, 0xD4B6F24CB729FF88),
    (0, "shuffle", 1): (0x1AFFA5E4970C8D03, 0x28373CA993E6CABE, 0x1F3E24242E318C98),
    (1, "shuffle", 0): (0xCA61DEED6E85D7A6, 0xA9F7C056764DA976, 0xDF6BE5B82EAA1D22),
    (7, "init/fc1.weight", 0): (0x1CF7D54C4B528129, 0x063C695005546C1A, 0xF981089BC722F2FE),
    (123456789, "mask/0/drop", 41): (0x3C8CC3B96645CB68, 0xD2F1C5795624E76C, 0x4698D8B3AA8672EB),
}
"""The first words of some streams. They may never change while ``random.VERSION`` is 1: checkpoints are continued by them."""


# ---------------------------------------------------------------------------------------------------------------- the stream


@pytest.mark.parametrize("stream", GOLDEN_BITS, ids=str)
def test_bits_are_those_of_version_1(stream: tuple[int, str, int]) -> None:
    assert random.VERSION == 1
    assert tuple(int(w) for w in random.bits(*stream, 3)) == GOLDEN_BITS[stream]


def philox(key: tuple[int, int], counter: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """One block of Philox4x64-10, written down from Salmon et al. 2011."""
    mask = 2**64 - 1
    k0, k1 = key
    c0, c1, c2, c3 = counter
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (second >> 64) ^ c1 ^ k0, second & mask, (first >> 64) ^ c3 ^ k1, first & mask
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & mask, (k1 + 0xBB67AE8584CAA73B) & mask
    return c0, c1, c2, c3


@given(seeds, purposes, st.integers(0, 2**40), st.integers(0, 20))
def test_bits_are_philox_keyed_by_seed_and_purpose_and_counted_from_the_step(seed: int, purpose: str, step: int, count: int) -> None:
    """The generator as specified, so that it can be computed inside a backend too."""
    key = struct.unpack("<2Q", hashlib.blake2b(f"unimodel/1/{seed}/{purpose}".encode(), digest_size=16).digest())
    words = [word for block in range(1, count // 4 + 2) for word in philox(key, (block, 0, step, 0))]
    assert [int(w) for w in random.bits(seed, purpose, step, count)] == words[:count]


@given(seeds, purposes, st.integers(0, 1000), st.integers(0, 30), st.integers(0, 30))
def test_a_longer_stream_begins_with_the_shorter(seed: int, purpose: str, step: int, short: int, more: int) -> None:
    np.testing.assert_array_equal(random.bits(seed, purpose, step, short + more)[:short], random.bits(seed, purpose, step, short))


def test_streams_of_other_names_are_independent() -> None:
    """No two of many neighbouring streams share a word, and their bits are uncorrelated."""
    names = [(seed, f"{purpose}/{i}", step) for seed in (0, 1, 2) for purpose in ("mask", "init") for i in range(4) for step in range(4)]
    words = np.array([random.bits(*name, 64) for name in names])
    assert len(np.unique(words)) == words.size
    signs = np.unpackbits(words.view("u1"), axis=1).astype("float64") * 2 - 1
    correlation = signs @ signs.T / signs.shape[1] - np.eye(len(names))
    assert np.abs(correlation).max() < 6 / math.sqrt(signs.shape[1])


def test_bits_are_even() -> None:
    share = np.unpackbits(random.bits(3, "even", 0, 100_000).view("u1").reshape(-1, 8), axis=1).mean(axis=0)
    assert np.abs(share - 0.5).max() < 5 * 0.5 / math.sqrt(100_000)


# ------------------------------------------------------------------------------------------------------------- distributions


def test_masks_of_version_1() -> None:
    expected = ["11011111", "11100111", "11111001", "01100111"]
    assert ["".join(map(str, row)) for row in random.keep_mask(0, "mask/0/drop", 3, (4, 8), 0.75).astype(int)] == expected


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.99999, 1.0])
def test_a_mask_keeps_its_share(keep: float) -> None:
    mask = random.keep_mask(5, "mask", 0, (400, 500), keep)
    assert mask.dtype == bool and mask.shape == (400, 500)
    assert abs(mask.mean() - keep) <= 2**-17 + 5 * math.sqrt(keep * (1 - keep) / mask.size)
    if keep in (0.0, 1.0):
        assert (mask == bool(keep)).all()


@given(seeds, st.integers(0, 1000), st.lists(st.integers(0, 7), max_size=3), st.floats(0, 1))
def test_masks_of_any_shape_are_the_words_below_a_threshold(seed: int, step: int, shape: list[int], keep: float) -> None:
    mask = random.keep_mask(seed, "mask", step, shape, keep)
    count = math.prod(shape)
    words = random.bits(seed, "mask", step, -(-count // 4)).astype("<u8").view("<u2")[:count]
    np.testing.assert_array_equal(mask.reshape(-1), words.astype(int) < round(keep * 65536))
    assert mask.shape == tuple(shape)


def test_uniform_and_normal_numbers_of_version_1() -> None:
    assert random.uniform(0, "init/w", (3,)).tolist() == [0.34579021181865377, 0.7141658404092741, 0.37649210991879056]
    expected = [-0.6618876349395854, 1.566477431661725, 0.275936998558371, 0.6407489075827368, -0.22546718592804355]
    np.testing.assert_allclose(random.normal(0, "init/w", (5,)), expected, rtol=1e-14)


@pytest.mark.parametrize("count", [0, 1, random.PIECE - 1, random.PIECE + 1, 2 * random.PIECE, 2 * random.PIECE + 1, 3 * random.PIECE + 5])
def test_numbers_made_in_pieces_are_those_made_at_once(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, and computed from the words as the module's docstring says; rounded once where another dtype is asked for."""
    uniform, normal = random.uniform(5, "pieces", (count,), 2), random.normal(5, "pieces", (count,), 2)
    words = random.bits(5, "pieces", 2, count + count % 2)
    even = (words >> np.uint64(11)).astype("float64") * 2.0**-53
    first, second = even.reshape(2, -1)
    radius = np.sqrt(-2.0 * np.log1p(-first))
    expected = np.concatenate([radius * np.cos(2 * np.pi * second), radius * np.sin(2 * np.pi * second)])[:count]
    np.testing.assert_array_equal(uniform, even[:count])
    np.testing.assert_allclose(normal, expected, rtol=0, atol=8e-15)  # 8 times a float64's spacing below 8
    rounded = random.normal(5, "pieces", (count,), 2, lambda z: 0.3 + 0.02 * z, "float32")
    np.testing.assert_array_equal(rounded, (0.3 + 0.02 * normal).astype("float32"), strict=True)
    rounded = random.uniform(5, "pieces", (count,), 2, lambda u: -0.3 + 0.6 * u, "float32")
    np.testing.assert_array_equal(rounded, (-0.3 + 0.6 * uniform).astype("float32"), strict=True)
    monkeypatch.setattr(random, "PIECE", 1 << 30)
    np.testing.assert_array_equal(random.uniform(5, "pieces", (count,), 2), uniform)
    np.testing.assert_array_equal(random.normal(5, "pieces", (count,), 2), normal)


@given(seeds, purposes, st.integers(0, 50), st.integers(0, 20))
def test_a_stream_can_be_entered_anywhere(seed: int, purpose: str, first: int, count: int) -> None:
    np.testing.assert_array_equal(random.bits(seed, purpose, 3, count, first), random.bits(seed, purpose, 3, first + count)[first:])


def test_a_batch_beside_a_step_has_a_stream_of_its_own() -> None:
    key = struct.unpack("<2Q", hashlib.blake2b(b"unimodel/1/3/noise", digest_size=16).digest())
    assert tuple(int(w) for w in random.bits(3, "noise", random.beside(9, 2), 4)) == philox(key, (1, 0, 9, 2))
    assert random.beside(9, 0) == 9, "which is the step itself"


def test_uniform_numbers_are_uniform() -> None:
    x = random.uniform(1, "uniform", (200_000,))
    assert x.dtype == "float64" and x.min() >= 0 and x.max() < 1
    counts = np.histogram(x, bins=100, range=(0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 170, "chi-squared with 99 degrees of freedom, far in the tail"


def test_normal_numbers_are_normal() -> None:
    x = random.normal(1, "normal", (200_001,))
    assert abs(x.mean()) < 5 / math.sqrt(x.size) and abs(x.var() - 1) < 5 * math.sqrt(2 / x.size)
    for z, below in ((0.0, 0.5), (1.0, 0.8413447), (-2.0, 0.0227501), (3.0, 0.9986501)):
        assert abs((x < z).mean() - below) < 5 * math.sqrt(below * (1 - below) / x.size)
    assert abs((x[:100_000] * x[100_001:]).mean()) < 5 / math.sqrt(100_000), "the two of a pair are independent"
    assert np.isfinite(x).all()


def test_permutations_of_version_1() -> None:
    assert random.permutation(0, "shuffle", 2, 10).tolist() == [9, 7, 5, 1, 2, 0, 6, 4, 8, 3]


@given(seeds, st.integers(0, 1000), st.integers(0, 200))
def test_a_permutation_is_one(seed: int, step: int, count: int) -> None:
    order = random.permutation(seed, "shuffle", step, count)
    assert order.dtype == "int64" and sorted(order.tolist()) == list(range(count))


def test_permutations_are_even() -> None:
    """Over many steps, every place holds every element equally often."""
    orders = np.array([random.permutation(0, "shuffle", step, 5) for step in range(5000)])
    counts = np.array([[(orders[:, place] == element).sum() for element in range(5)] for place in range(5)])
    assert np.abs(counts - 1000).max() < 5 * math.sqrt(1000 * 0.8)


# -------------------------------------------------------------------------------------------------------------- where they go


def test_initial_weights_of_version_1() -> None:
    """What a model starts from is named by the seed and the parameter's path, on every backend and in every release."""
    weights = um.nn.Linear(3, 2).state_dict()
    np.testing.assert_allclose(weights["bias"], [-0.15408306, 0.13624217], rtol=1e-6)
    np.testing.assert_allclose(weights["weight"], [[0.35253364, -0.50661415, -0.3349732], [0.06194635, -0.5297433, 0.3514796]], rtol=1e-6)
    bound = 1 / math.sqrt(3)
    np.testing.assert_allclose(weights["weight"], -bound + 2 * bound * random.uniform(0, "init/weight", (2, 3)), rtol=1e-6)


def test_each_dropout_of_a_step_has_a_stream_of_its_own() -> None:
    class Twice(um.Model):
        def __init__(self) -> None:
            self.drop = um.nn.Dropout(0.5)

        def forward(self, x: um.Tensor) -> tuple[um.Tensor, um.Tensor]:
            return self.drop(x), self.drop(x)

    first, second = Twice()(np.ones((20, 20), "float32"))
    assert not np.array_equal(first, second)
    model = Twice()
    assert not np.array_equal(model(np.ones((20, 20), "float32"))[0], model(np.ones((20, 20), "float32"))[0]), "and each call a step of its own"


def test_masks_follow_the_batch_size() -> None:
    """A smaller batch sees the beginning of the larger one's mask."""

    def masks(n: int) -> np.ndarray:
        return um.nn.Dropout(0.5)(np.ones((n, 3), "float32"))

    np.testing.assert_array_equal(masks(9)[:4], masks(4))

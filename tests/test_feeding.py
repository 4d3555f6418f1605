"""Batches are gathered as the order says, into aligned memory that is used again, and a thread that gathers ahead changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel.data import feeding
from unimodel.data.feeding import Feed, ahead, aligned

X = np.arange(77 * 3, dtype="float32").reshape(77, 3)
Y = np.arange(77)


def rows(feed: Feed) -> list[list[np.ndarray]]:
    return [[a.copy() for a in leaves] for steps in feed for leaves in steps]


@pytest.mark.parametrize("shape", [(3, 5), (), (1000,)])
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_memory_is_aligned(shape: tuple[int, ...], dtype: str) -> None:
    memory = aligned(shape, np.dtype(dtype))
    assert memory.shape == shape and memory.dtype == dtype and memory.flags.c_contiguous and memory.ctypes.data % 64 == 0


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize("count", [77, 20, 5])
def test_every_row_comes_once_in_the_order_asked_for(threaded: bool, reuse: bool, together: int, count: int) -> None:
    order = np.random.default_rng(1).permutation(77)
    feed = Feed([X, Y], order, count, 10, together, reuse)
    feed.threaded = threaded
    found = rows(feed)
    assert [len(y) for _, y in found] == [10] * (count // 10) + ([count % 10] if count % 10 else [])
    assert (np.concatenate([y for _, y in found]) == order[:count]).all()
    assert all((x == X[y]).all() for x, y in found)


def test_without_an_order_batches_are_views() -> None:
    feed = Feed([X, Y], None, 77, 10, 2)
    assert all(np.shares_memory(x, X) for steps in feed for x, _ in steps)
    assert (np.concatenate([y for _, y in rows(feed)]) == Y).all()


def test_memory_is_used_again() -> None:
    feed = Feed([X], np.arange(77), 77, 10, 1)
    places = {leaves[0].ctypes.data for steps in feed for leaves in steps}
    assert len(places) == 2 and all(p % 64 == 0 for p in places)


def test_an_error_in_the_thread_is_raised_where_the_items_are_used() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    items = ahead(failing())
    assert next(items) == 1
    with pytest.raises(ValueError, match="no more"):
        next(items)


def test_a_loop_that_is_left_early_leaves_no_thread() -> None:
    before = threading.active_count()
    items = ahead(iter(range(1000)))
    assert [next(items), next(items)] == [0, 1]
    items.close()  # type: ignore[attr-defined]  # a generator, as ends when a for loop over it is left
    assert threading.active_count() == before


def test_a_fit_that_is_fed_by_a_thread_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def losses() -> tuple[Any, Any]:
        trainer = um.Trainer(um.nn.Linear(3, 1), um.losses.MSELoss(), um.optim.SGD(lr=1e-6), backend="numpy")
        history = trainer.fit((X, Y[:, None].astype("float32")), epochs=2, batch_size=8, verbose=False)
        return history.history["loss"], trainer._um_fed

    plain, how = losses()
    assert how == {"threaded": False, "steps_per_call": 32}
    monkeypatch.setattr(feeding, "AHEAD", 1)
    monkeypatch.setattr(feeding, "cores", lambda: 2)
    threaded, how = losses()
    assert how["threaded"] and threaded == plain

"""Random numbers inside a step: fresh at each step, reproducible, of the stream that the documentation names, and with gradients to their parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import ops
from unimodel.errors import ShapeError, TraceError


class Noise(um.Trainer):
    """Returns what it draws."""

    def step(self, batch: Any) -> Any:
        return {"normal": ops.mean(ops.random.normal(batch.shape)), "uniform": ops.mean(ops.random.uniform((3,)))}


def noise(steps: int, seed: int = 0) -> list[tuple[float, float]]:
    trainer = Noise(um.nn.Linear(1, 1), optimizer=um.optim.SGD(lr=0.1), backend="numpy", seed=seed)
    found = [trainer.train_step(np.zeros((4, 2), "float32")) for _ in range(steps)]
    return [(float(f["normal"]), float(f["uniform"])) for f in found]


def test_each_step_draws_anew_from_its_seed_and_number() -> None:
    first = noise(3)
    assert len(set(first)) == 3 and noise(3) == first and not set(noise(3, seed=1)) & set(first)
    expected = [(um.random.normal(0, "normal/0/", (4, 2), i).mean(), um.random.uniform(0, "uniform/0/", (3,), i).mean()) for i in range(3)]
    np.testing.assert_allclose(first, expected, rtol=1e-5)


def test_numbers_go_on_where_a_checkpoint_stopped(tmp_path: Any) -> None:
    def trainer() -> Noise:
        return Noise(um.nn.Linear(1, 1), optimizer=um.optim.SGD(lr=0.1), backend="numpy")

    one, x = trainer(), np.zeros((4, 2), "float32")
    one.train_step(x)
    one.save(tmp_path / "run.um")
    two = trainer()
    two.load(tmp_path / "run.um")
    assert one.train_step(x)["normal"] == two.train_step(x)["normal"]


def test_draws_that_share_a_key_are_equal_and_others_are_not() -> None:
    a, b, c, d = um.run(lambda: tuple(ops.random.normal((5,), key=k) for k in ("noise", "noise", None, "other")))
    np.testing.assert_array_equal(a, b)
    assert len({tuple(v) for v in (a, c, d)}) == 3


def test_a_draw_more_of_another_kind_changes_no_stream() -> None:
    def alone() -> Any:
        return ops.random.uniform((4,))

    def among() -> Any:
        ops.random.normal((2,))
        return ops.random.uniform((4,)) + 0.0 * ops.astype(ops.dropout(ops.ones((4,)), 0.5), "float32")

    np.testing.assert_array_equal(um.run(alone), um.run(among))


def test_distributions() -> None:
    n = 20_000
    normal, uniform, integers, coin, order, chosen = um.run(
        lambda: (
            ops.random.normal((n,), 2.0, 0.5),
            ops.random.uniform((n,), -1.0, 3.0),
            ops.random.randint(-2, 3, (n,)),
            ops.random.bernoulli(0.3, (n,)),
            ops.random.permutation(n),
            ops.random.categorical(ops.broadcast_to(ops.log(ops.asarray(np.array([0.2, 0.5, 0.3]))), (n, 3))),
        )
    )
    assert abs(normal.mean() - 2) < 0.02 and abs(normal.std() - 0.5) < 0.02
    assert uniform.min() >= -1 and uniform.max() <= 3 and abs(uniform.mean() - 1) < 0.05
    assert integers.dtype == "int64" and sorted(set(integers.tolist())) == [-2, -1, 0, 1, 2] and abs(integers.mean()) < 0.05
    assert coin.dtype == bool and abs(coin.mean() - 0.3) < 0.02
    assert sorted(order.tolist()) == list(range(n)) and order.tolist() != list(range(n))
    np.testing.assert_allclose(np.bincount(chosen) / n, [0.2, 0.5, 0.3], atol=0.02)


def test_uniform_float32_numbers_stay_below_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(um.random, "bits", lambda seed, purpose, step, count, first=0: np.full(count, 2**64 - 1, np.uint64))
    assert um.run(lambda: ops.random.uniform((2,))).max() < 1.0


def test_gradients_flow_to_mean_and_deviation() -> None:
    """The reparametrised sample of a variational autoencoder."""

    def step(mean: Any, std: Any) -> Any:
        return um.value_and_grad(lambda: ops.sum(ops.random.normal((3,), mean, std, key="z")), wrt=[mean, std])[1], ops.random.normal((3,), key="z")

    (by_mean, by_std), z = um.run(step, np.zeros(3), np.ones(3))
    np.testing.assert_allclose(by_mean, np.ones(3))
    np.testing.assert_allclose(by_std, z)


def test_shapes_may_hold_the_batch_size() -> None:
    class Shuffled(um.Model):
        def forward(self, x: Any) -> Any:
            return (
                x[ops.randperm(x.shape[0])]
                + 0.0 * ops.randn_like(x)
                + 0.0 * ops.rand(x.shape[0], 1)
                + 0.0 * ops.randn((x.shape[0], 2))
                + 0.0 * ops.rand_like(x)
            )

    trainer = um.Trainer(Shuffled(), backend="numpy")
    for size in (4, 7):
        x = np.arange(2.0 * size, dtype="float32").reshape(size, 2)
        assert sorted(trainer.predict(x)[:, 0].tolist()) == x[:, 0].tolist()


def test_outside_of_a_step_the_error_says_what_to_use() -> None:
    with pytest.raises(TraceError, match="belong to a step or a forward") as caught:
        ops.random.normal((2,))
    assert "um.random.normal(seed, purpose, shape)" in str(caught.value)


def test_impossible_parameters_are_refused() -> None:
    with pytest.raises(ShapeError, match="p is a probability"):
        um.run(lambda: ops.random.bernoulli(1.5, (2,)))
    with pytest.raises(ShapeError, match="no integer between the bounds"):
        um.run(lambda: ops.random.randint(3, 3, (2,)))

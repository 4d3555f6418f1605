"""Plain descent of a table writes the rows that were read and no others, to the numbers that descent of the whole table gives; where anybody needs more, it is whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from program import Variables, assert_same, program

import unimodel as um
from unimodel import ops
from unimodel.tracing import Scalar

LR = Scalar(0.1)
RNG = np.random.default_rng(0)
STATE = {"a": RNG.standard_normal((6, 3)), "b": RNG.standard_normal((4, 3))}
X = np.array([[4, 1], [1, 5]])


def descend(v: Variables, loss: Callable[[], Any], **options: Any) -> Any:
    value, (a, b) = um.value_and_grad(loss, wrt=[v["a"], v["b"]])
    v["a"].assign(ops.sgd_update(v["a"], a, LR, **options))
    v["b"].assign(ops.sgd_update(v["b"], b, LR, **options))
    return value, a, b


def read(v: Variables, x: Any) -> Any:
    """Row 1 of a is read twice, rows of b by a vector."""
    return (ops.take(v["a"], x, axis=0) ** 2).sum() + (ops.take(v["b"], x[0] % 4, axis=0) ** 3).sum()


def rows(v: Variables, x: Any) -> Any:
    return descend(v, lambda: read(v, x))[0]


def uphill(v: Variables, x: Any) -> Any:
    return descend(v, lambda: read(v, x), maximize=True)[0]


def by_hand(table: Any, given: Any, x: Any) -> None:
    table.assign(ops.sgd_update(table, ops.take_gradient(given, x, axis=0, size=table.shape[0]), LR))


def rows_of_the_other(v: Variables, x: Any) -> Any:
    """What is added to the rows of each is rows of the other as they were."""
    a, b = v["a"][:2], v["b"][:2]
    by_hand(v["a"], b, x[0])
    by_hand(v["b"], a, x[1] % 4)
    return x


def added_to_itself(v: Variables, x: Any) -> Any:
    by_hand(v["a"], v["a"][3:5], x[0])
    return x


def read_afterwards(v: Variables, x: Any) -> Any:
    before, view = v["a"] * 1.0, ops.reshape(v["a"], (3, 6))
    value = rows(v, x)
    return value, before, view, v["a"], read(v, x)


def two_steps(v: Variables, x: Any) -> Any:
    return rows(v, x), rows(v, x)


def rate_is_a_tensor(v: Variables, x: Any) -> Any:
    value, (a,) = um.value_and_grad(lambda: read(v, x), wrt=[v["a"]])
    v["a"].assign(ops.sgd_update(v["a"], a, (v["b"] ** 2).sum() * 0.01))
    return value


def decayed(v: Variables, x: Any) -> Any:
    return descend(v, lambda: read(v, x), weight_decay=0.1)[0]


def with_momentum(v: Variables, x: Any) -> Any:
    value, (a,) = um.value_and_grad(lambda: read(v, x), wrt=[v["a"]])
    v["a"].assign(ops.sgd_update(v["a"], a, LR, 1.0, v["a"] * 0.5, momentum=0.9)[0])
    return value


def returned(v: Variables, x: Any) -> Any:
    return descend(v, lambda: read(v, x))


def clipped(v: Variables, x: Any) -> Any:
    _, grads = um.value_and_grad(lambda: read(v, x), wrt=[v["a"], v["b"]])
    norm = ops.sqrt((grads[0] ** 2).sum() + (grads[1] ** 2).sum())
    for name, g in zip("ab", grads, strict=True):
        v[name].assign(ops.sgd_update(v[name], g, LR))
    return norm


def scaled(v: Variables, x: Any) -> Any:
    value, (a,) = um.value_and_grad(lambda: read(v, x), wrt=[v["a"]])
    v["a"].assign(ops.sgd_update(v["a"], a * 0.5, LR))
    return value


def read_twice(v: Variables, x: Any) -> Any:
    return descend(v, lambda: read(v, x) + read(v, x - 1))[0]


def columns(v: Variables, x: Any) -> Any:
    return descend(v, lambda: (ops.take(v["a"], x - 3 * (x > 2), axis=1) ** 2).sum() + (v["b"] ** 2).sum())[0]


BY_ROWS = [rows, uphill, rows_of_the_other, added_to_itself, read_afterwards, two_steps]
WHOLE = [rate_is_a_tensor, decayed, with_momentum, returned, clipped, scaled, read_twice, columns]


@pytest.mark.parametrize("step", [*BY_ROWS, *WHOLE], ids=lambda f: f.__name__)
def test_same_as_numpy(step: Callable[..., Any]) -> None:
    expected, found = (program(step, STATE, [X], backend, "core") for backend in ("numpy", "torch"))
    for _ in range(3):
        assert_same(found(X), expected(X), 1e-12)
    assert_same(*([p.store.read(name) for name in STATE] for p in (found, expected)), 1e-12)
    source = found.executable.source
    assert ("index_add_(" in source) == (step in BY_ROWS)
    assert step not in (rows, uphill) or ("embedding_dense_backward" not in source and "clone" not in source), "the whole gradient is written for nothing"


def test_the_bits_are_those_of_the_whole_table() -> None:
    """Each row read once, so that nothing is added up in another order."""
    state = {name: RNG.standard_normal((50, 16)).astype("float32") for name in "ab"}
    x = np.stack([RNG.permutation(49)[:20] + 1 for _ in range(2)])

    def loss(v: Variables, x: Any) -> Any:
        return (ops.take(v["a"], x[0], axis=0) * ops.take(v["b"], x[1], axis=0)).sum()

    alone = program(lambda v, x: descend(v, lambda: loss(v, x))[0], state, [x], "torch", "core")
    whole = program(lambda v, x: descend(v, lambda: loss(v, x)), state, [x], "torch", "core")
    assert "index_add_(" in alone.executable.source and "index_add_(" not in whole.executable.source
    for _ in range(5):
        assert alone(x)[0].tobytes() == whole(x)[0].tobytes()
    for name in state:
        assert alone.store.read(name).tobytes() == whole.store.read(name).tobytes()


def test_a_table_with_padding() -> None:
    """The row that stands for nothing keeps its numbers, whichever way the others are written."""
    data = np.array([[0, 3, 3], [2, 0, 1]]), np.array([[1.0], [0.0]])
    trained = []
    for backend in ("numpy", "torch"):
        model = um.nn.Sequential(um.nn.Embedding(4, 3, padding_idx=0), um.nn.Flatten(), um.nn.Linear(9, 1))
        trainer = um.Trainer(model, um.losses.MSELoss(), um.optim.SGD(lr=0.1), backend=backend, precision="float64", seed=1)
        for _ in range(3):
            trainer.train_step(data)
        trained.append(model.state_dict())
    assert not trained[1]["0.weight"][0].any()
    for name, expected in trained[0].items():
        np.testing.assert_allclose(trained[1][name], expected, rtol=1e-12, err_msg=name)

"""Data in every form it comes in trains alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from regression import Descent, X, Y, trainer

import unimodel as um
from unimodel.errors import DataError


class Loader:
    """An iterable of batches that starts anew each time."""

    def __init__(self, kind: type = tuple) -> None:
        self.kind = kind

    def __iter__(self) -> Iterator[Any]:
        for i in range(0, len(X), 8):
            yield self.kind((X[i : i + 8], Y[i : i + 8]))


def data_forms() -> list[Any]:
    def torch_loader() -> Any:
        torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=8)

    def torch_tensors() -> Any:
        torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
        return torch.tensor(X), torch.tensor(Y)

    def frames() -> Any:
        pandas = pytest.importorskip("pandas", reason="optional library missing: pandas is not installed")
        return pandas.DataFrame(X), pandas.DataFrame(Y)

    return [
        pytest.param(lambda: (X, Y), id="tuple of arrays"),
        pytest.param(lambda: (X.tolist(), Y.tolist()), id="tuple of lists"),
        pytest.param(lambda: (np.asfortranarray(X), np.repeat(Y, 2, axis=0)[::2]), id="arrays of other layouts"),
        pytest.param(lambda: Loader(), id="iterable of tuples"),
        pytest.param(lambda: Loader(list), id="iterable of lists"),
        pytest.param(lambda: list(Loader()), id="list of batches"),
        pytest.param(lambda: iter(list(Loader())), id="iterator, once"),
        pytest.param(torch_loader, id="torch DataLoader"),
        pytest.param(torch_tensors, id="torch tensors"),
        pytest.param(frames, id="pandas frames"),
    ]


@pytest.mark.parametrize("form", data_forms())
def test_data_of_any_form_trains_alike(form: Callable[[], Any]) -> None:
    t = trainer()
    by_hand = Descent(t.model.state_dict())
    t.fit(form(), batch_size=8, shuffle=False, verbose=False)
    expected = [by_hand.step(x, y) for x, y in Loader()]
    by_hand.agrees(t.model)
    assert t.evaluate(form(), batch_size=8)["loss"] == pytest.approx(by_hand.loss(X, Y), rel=1e-12)
    assert len(expected) == 3


def test_inputs_may_be_nested() -> None:
    class Two(um.Model):
        def __init__(self) -> None:
            self.left, self.right = um.nn.Linear(3, 1), um.nn.Linear(3, 1)

        def forward(self, left: Any, right: Any) -> Any:
            return self.left(left) + self.right(right)

    by_name, by_place = trainer(Two()), trainer(Two())
    named = by_name.fit(({"left": X, "right": 2 * X}, Y), epochs=2, verbose=False).history
    placed = by_place.fit(((X, 2 * X), Y), epochs=2, verbose=False).history
    assert named == placed
    np.testing.assert_array_equal(by_name.predict({"right": 2 * X, "left": X}), by_place.predict((X, 2 * X)))


def test_a_dict_is_a_data_set_for_a_step_of_ones_own() -> None:
    class Named(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            return super().step((batch["features"], batch["labels"]))

    t = Named(um.nn.Linear(3, 1), loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.1), backend="numpy", precision="float64")
    by_hand = Descent(t.model.state_dict())
    t.fit({"features": X, "labels": Y}, batch_size=8, shuffle=False, verbose=False)
    for x, y in Loader():
        by_hand.step(x, y)
    by_hand.agrees(t.model)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floating_inputs_are_cast_to_the_precision(dtype: str) -> None:
    for precision in ("float32", "float64"):
        t = trainer(precision=precision)
        t.train_step((X.astype(dtype), Y.astype(dtype)))
        assert t.predict(X.astype(dtype)).dtype == precision
        assert all(value.dtype == precision for value in t.model.state_dict().values())


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "uint32"])
def test_index_arrays_stay_integers(dtype: str) -> None:
    model = um.nn.Sequential(um.nn.Embedding(5, 3), um.nn.Linear(3, 2))
    t = trainer(model, loss=um.losses.CrossEntropyLoss())
    x, y = np.array([0, 4, 2, 1], dtype), np.array([0, 1, 1, 0], dtype)
    assert math.isfinite(t.train_step((x, y))["loss"])
    weights = model.state_dict()
    np.testing.assert_allclose(t.predict(x), weights["0.weight"][x.astype(int)] @ weights["1.weight"].T + weights["1.bias"], rtol=1e-12)


def test_a_generator_is_used_up_after_one_epoch() -> None:
    t = trainer()
    t.fit((batch for batch in Loader()), verbose=False)
    with pytest.raises(DataError, match="yields no batch") as caught:
        t.fit((batch for batch in Loader()), epochs=2, verbose=False)
    assert "used up" in caught.value.remedy

"""What ``unimodel diff`` runs: pieces of a program that are sent, kept, widened, taken apart and differentiated, and the distances between what comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import plugins
from unimodel.diff import measure
from unimodel.diff.anatomy import dissect
from unimodel.diff.piece import Piece, Whole, in_float64, in_primitives, opened, with_gradient
from unimodel.diff.saved import read, write
from unimodel.diff.wire import pack, unpack
from unimodel.errors import DataError
from unimodel.graph import TensorSpec
from unimodel.ops import catalogue
from unimodel.tracing import trace


def piece_of(function: Any, *arrays: np.ndarray) -> Piece:
    """A traced function with the numbers it is to run on."""
    float_dtype = "float64" if any(a.dtype == "float64" for a in arrays) else "float32"
    traced = trace(function, [TensorSpec(a.shape, a.dtype.name) for a in arrays], names={}, float_dtype=float_dtype)
    return Piece(traced.graph, {f"batch.{i}": a for i, a in enumerate(arrays)})


def run(piece: Piece) -> list[np.ndarray]:
    backend = plugins.load("numpy")()
    executable = backend.compile(piece.graph, backend.store({}))
    batch = [piece.arrays[e.name] for e in piece.graph.of_kind("batch")]
    return executable.read(executable.run(batch, [piece.scalars[e.name] for e in piece.graph.of_kind("scalar")]))


def samples() -> list[Any]:
    return [pytest.param(op, i, id=f"{name}-{i}") for name, op in catalogue.items() for i in range(len(op.samples))]


@pytest.mark.parametrize(("op", "number"), samples())
def test_every_op_of_the_catalogue_can_be_sent_kept_widened_and_taken_apart(op: Any, number: int, tmp_path: Path) -> None:
    args, kwargs = op.samples[number].arguments(float_dtype="float32")
    arrays: list[np.ndarray] = []

    def stand_in(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays.append(value)
            return len(arrays) - 1
        return [stand_in(v) for v in value] if isinstance(value, list) and value and isinstance(value[0], np.ndarray) else ("as it is", value)

    places, named = [stand_in(a) for a in args], {k: stand_in(v) for k, v in kwargs.items()}

    def put(place: Any, tensors: Any) -> Any:
        return tensors[place] if isinstance(place, int) else place[1] if isinstance(place, tuple) else [tensors[i] for i in place]

    piece = piece_of(lambda t: op(*(put(p, t) for p in places), **{k: put(p, t) for k, p in named.items()}), *arrays)
    right = run(piece)
    write(tmp_path / "piece.safetensors", piece, {"op": op.name}, {"numpy": right})
    again, kept, results = read(tmp_path / "piece.safetensors")
    assert kept == {"op": op.name}
    for expected, given, stored in zip(right, run(again), results["numpy"], strict=True):
        np.testing.assert_array_equal(expected, given)
        np.testing.assert_array_equal(expected, stored)
    for other in (in_float64(piece), in_primitives(piece), opened(piece)):
        if other is not None:
            for expected, given in zip(right, run(other), strict=True):
                assert expected.shape == given.shape
                np.testing.assert_allclose(given.astype("float64"), expected.astype("float64"), rtol=1e-3, atol=1e-4)


def test_a_graph_with_a_region_and_open_sizes_survives_the_journey() -> None:
    def step(tensors: Any) -> Any:
        loss, gradient = um.value_and_grad(lambda: (um.ops.tanh(tensors[0]) * np.arange(3.0)).mean(), wrt=tensors[0])
        return loss, gradient, um.ops.reshape(gradient, (-1,))

    from unimodel.dim import Dim

    traced = trace(step, [TensorSpec((Dim.symbol("N"), 3), "float64")], names={}, float_dtype="float64", sizes={"N": 4})
    arrays: dict[str, np.ndarray] = {}
    packed = json.loads(json.dumps(pack(traced.graph, arrays)))
    again = unpack(packed, arrays)
    assert str(again) == str(traced.graph)
    x = {"batch.0": np.random.Generator(np.random.Philox(0)).standard_normal((5, 3))}
    for a, b in zip(run(Piece(traced.graph, x)), run(Piece(again, x)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_cannot_be_written_down_is_refused() -> None:
    piece = piece_of(lambda t: um.ops.exp(t[0]), np.zeros(2, "float32"))
    piece.graph.nodes[0].attrs = {"strange": object()}
    with pytest.raises(DataError, match="cannot be written down"):
        pack(piece.graph, {})


def test_phases_of_a_step() -> None:
    net = um.nn.Sequential(um.nn.Linear(3, 4), um.nn.Tanh(), um.nn.Linear(4, 1))
    trainer = um.Trainer(net, loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.1), clip_grad_norm=1.0, metrics=[um.metrics.MeanAbsoluteError()])
    trainer.train_step((np.zeros((5, 3)), np.zeros((5, 1))))
    ((_, program),) = trainer._um_runtime.programs()
    anatomy = dissect(program.traced.graph)
    by_phase: dict[str, set[str]] = {}
    for node, phase in anatomy.phases.items():
        by_phase.setdefault(phase, set()).add(node.op.name)
    assert {"linear", "tanh", "mean", "absolute_error"} <= by_phase["forward"]
    assert "permute_dims" in by_phase["gradient"]
    assert {"sgd_update", "sqrt"} <= by_phase["update"]
    assert not {"tanh", "linear"} & (by_phase["gradient"] | by_phase["update"])


def test_a_cut_piece_keeps_states_numbers_and_updates_what_they_are() -> None:
    net = um.nn.Linear(3, 1)
    trainer = um.Trainer(net, loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.1))
    trainer.train_step((np.ones((5, 3)), np.ones((5, 1))))
    ((_, program),) = trainer._um_runtime.programs()
    whole = Whole(dissect(program.traced.graph).graph)
    update = next(n for n in whole.graph.nodes if n.op.name == "sgd_update")
    values = {v: np.zeros([s if isinstance(s, int) else 5 for s in v.spec.shape], v.spec.dtype) for v in update.inputs if v is not None}
    piece = whole.cut([update], values, {"N": 5}).piece
    assert [(e.kind, e.name) for e in piece.graph.inputs] == [("state", "weight"), ("batch", "grad"), ("scalar", "lr")]
    assert piece.labels == ["new weight"]
    assert piece.before[0] is not None


def test_the_gradient_of_a_piece_is_of_its_weighed_sum() -> None:
    x = np.array([0.5, -1.0, 2.0])
    piece = with_gradient(piece_of(lambda t: um.ops.tanh(t[0]), x))
    assert piece is not None
    value, gradient = run(piece)
    weights = um.random.normal(0, "weights of result 0", (3,)) if hasattr(um, "random") else None
    np.testing.assert_allclose(value, np.tanh(x))
    if weights is not None:
        np.testing.assert_allclose(gradient, weights * (1 - np.tanh(x) ** 2))
    assert with_gradient(piece_of(lambda t: um.ops.less(t[0], 0.0), x)) is None


# distances
def test_the_distance_is_norm_wise() -> None:
    a = np.array([100.0, 1e-3])
    assert measure.apart(a, a).error == 0
    assert measure.apart(a, a * (1 + 1e-6)).error == pytest.approx(1e-6, rel=1e-3)
    assert measure.apart(a, a + np.array([0.0, 1e-4])).error == pytest.approx(1e-6, rel=0.5)


def test_a_new_state_is_measured_by_how_much_it_changed() -> None:
    old = np.full(4, 10.0)
    assert measure.apart(old - 1e-3, old - 0.5e-3).error < 1e-4
    assert measure.apart(old - 1e-3, old - 0.5e-3, old).error == pytest.approx(0.5)


def test_what_is_not_finite_must_be_so_on_both_sides() -> None:
    a = np.array([np.nan, np.inf, 1.0])
    assert measure.apart(a, a.copy()).error == 0
    for other in ([0.0, np.inf, 1.0], [np.nan, -np.inf, 1.0], [np.nan, np.inf, np.nan]):
        assert measure.apart(a, np.array(other)).error == np.inf


def test_integers_must_be_equal_and_shapes_and_dtypes_too() -> None:
    a = np.array([1, 2, 3, 4])
    assert measure.apart(a, a.copy()).error == 0
    different = measure.apart(a, np.array([1, 2, 5, 4]))
    assert (different.error, different.place, different.first, different.second) == (0.25, (2,), 3.0, 5.0)
    assert measure.apart(a, a[:2]).what == "shape (4,) and (2,)"
    assert measure.apart(a, a.astype("int32")).what == "dtype int64 and int32"


def test_numbers_too_small_for_full_precision_count_as_zero() -> None:
    assert measure.apart(np.float32([0, 0]), np.float32([1e-40, 0])).error < 1e-5


def test_statistics_leave_out_what_is_not_finite_and_count_it() -> None:
    found = measure.statistics(np.array([[1.0, np.nan], [3.0, np.inf]]))
    assert (found["min"], found["max"], found["mean"], found["nan"], found["inf"], found["first_at"]) == (1.0, 3.0, 2.0, 1, 1, [0, 1])
    assert measure.statistics(np.zeros((0, 3)))["shape"] == [0, 3]

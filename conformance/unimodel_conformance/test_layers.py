"""Layers against PyTorch's, in float64 and float32, train and eval mode.

In float64 the framework differentiates where it can, in float32 core does: between them every kernel and every rule is seen at work, and each op's gradient is held to finite
differences by both ways in ``test_gradients.py``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel.backend import Capability
from unimodel.graph import Array
from unimodel_conformance import golden
from unimodel_conformance.probe import First, Probe, first
from unimodel_conformance.subject import Subject, as_dtype, assert_close, difference
from unimodel_conformance.tables import LAYERS, Entry

pytestmark = pytest.mark.concerns("layer")

KINDS = sorted({e.name for e in LAYERS})
TOLERANCE = {"float64": 1e-11, "float32": 2e-5}
MODES = ("train0", "train1", "eval0")
"""Batches in train mode, the second for layers with buffers, and one in eval mode."""


def modes(entry: Entry) -> tuple[str, ...]:
    """Those in which a layer is differentiated. One without buffers is the same in eval mode, where ``test_layer_forward`` looks at it."""
    return MODES if golden.part("layers", f"{entry.id}/train1") else MODES[:1]


def build(entry: Entry) -> um.Model:
    """The layer with the weights that PyTorch's had."""
    layer = getattr(um.nn, entry.name)(**entry.kwargs)
    layer.load_state_dict(golden.part("layers", f"{entry.id}/state"))
    return layer


def batch(entry: Entry, mode: str, dtype: str) -> tuple[tuple[Array, ...], Array]:
    found = golden.part("layers", f"{entry.id}/{mode}")
    return tuple(as_dtype(found[f"input{i}"], dtype) for i in range(len(entry.inputs))), as_dtype(found["cotangent"], dtype)


def probed(subject: Subject, kind: str, dtype: str, way: str) -> Any:
    """All layers of a kind, run in one program: in train mode, and those with buffers once more and then in eval mode."""
    key = ("layers", kind, dtype, way)
    if key not in subject.cache:
        entries = [e for e in LAYERS if e.name == kind]
        try:
            subject.cache[key] = _probe(entries, dtype, way)
        except Exception as error:
            subject.cache[key] = error if len(entries) == 1 else {k: v for e in entries for k, v in _alone(e, dtype, way).items()}
    if isinstance(subject.cache[key], Exception):
        raise subject.cache[key]
    return subject.cache[key]


def _alone(entry: Entry, dtype: str, way: str) -> dict[str, Any]:
    try:
        return _probe([entry], dtype, way)
    except Exception as error:
        return {entry.id: error}


def _probe(entries: list[Entry], dtype: str, way: str) -> dict[str, Any]:
    probe = Probe({e.id: build(e) for e in entries}, precision=dtype, differentiation=way)
    found: dict[str, Any] = {}
    for mode in MODES:
        for model in probe.models.values():
            model.train(mode != "eval0")
        batches = {e.id: batch(e, mode, dtype) for e in entries if mode in modes(e)}
        if batches:
            found |= {f"{mode}/{k}": v for k, v in probe.run(batches).items()}
    return found


def compare(subject: Subject, entry: Entry, dtype: str, way: str) -> None:
    found = probed(subject, entry.name, dtype, way)
    if isinstance(found.get(entry.id), Exception):
        raise found[entry.id]
    for mode in modes(entry):
        wanted = golden.part("layers", f"{entry.id}/{mode}")
        for key, e in wanted.items():
            if key == "cotangent" or key.startswith("input"):
                continue
            a = found.get(f"{mode}/{entry.id}/{key}")
            assert a is not None, f"{entry.id} in {mode}: no {key}"
            assert a.dtype == (dtype if e.dtype.kind == "f" else e.dtype), f"{entry.id} in {mode}, {key}: dtype {a.dtype} in {dtype} precision"
            d = difference(a, as_dtype(e, dtype), TOLERANCE[dtype])
            assert not d, f"{entry.id} in {mode} mode ({way}, {dtype}), {key}: {d}"
        unexpected = [k for k in found if k.startswith(f"{mode}/{entry.id}/grad/") and k.removeprefix(f"{mode}/{entry.id}/") not in wanted]
        assert not unexpected, f"{entry.id} in {mode} mode: gradients that PyTorch has not: {unexpected}"


@pytest.mark.needs(Capability.TRAINING, Capability.FLOAT64)
@pytest.mark.parametrize("entry", LAYERS, ids=lambda e: e.id)
def test_layer(subject: Subject, entry: Entry) -> None:
    """Results, gradients for parameters and input, and buffers after two batches, then eval mode; float64."""
    compare(subject, entry, "float64", subject.ways[-1])


@pytest.mark.needs(Capability.TRAINING)
@pytest.mark.parametrize("entry", LAYERS, ids=lambda e: e.id)
def test_layer_float32(subject: Subject, entry: Entry) -> None:
    """The same in float32."""
    compare(subject, entry, "float32", "core")


@pytest.mark.parametrize("entry", LAYERS, ids=lambda e: e.id)
def test_layer_forward(subject: Subject, entry: Entry) -> None:
    """Forward alone, as ``predict`` in batches of another size gives it, in eval mode; also what a forward-only backend can do.

    The first layer of each kind is called directly too, as are those that have no statistics of their own, and so depend on the batch size.
    """
    inputs, _ = batch(entry, "eval0", "float32")
    wanted = as_dtype(golden.part("layers", f"{entry.id}/eval0")["output"], "float32")
    moved = golden.part("layers", f"{entry.id}/train1/buffer")  # those after both batches
    layer, other = build(entry).eval(), build(entry)
    for each in (layer, other):
        each.load_state_dict(moved, strict=False)
    alone = not getattr(other, "track_running_stats", True)
    if alone or entry is next(e for e in LAYERS if e.name == entry.name):
        assert not (d := difference(first(layer(*inputs)), wanted, TOLERANCE["float32"])), f"{entry.id}(…): {d}"
    if not alone:
        predicted = um.Trainer(First(other)).predict(inputs, batch_size=3)
        assert not (d := difference(predicted, wanted, TOLERANCE["float32"])), f"predict of {entry.id}: {d}"


# ------------------------------------------------------------------------------------------------------------------ dropout


class Dropped(um.Trainer):
    """Gives a model's result and the gradient of its sum."""

    def step(self, batch: Any) -> dict[str, Any]:
        def loss() -> Any:
            y = self.model(batch)
            return um.ops.sum(y * y), y

        (_, y), grad = um.value_and_grad(loss, wrt=batch, has_aux=True)
        return {"y": y, "grad": grad}


TRAINING = pytest.mark.needs(Capability.TRAINING)


@TRAINING
@pytest.mark.concerns("layer", "Dropout")
def test_dropout_drops_and_rescales(subject: Subject) -> None:
    """In train mode each element is zero or ``x / (1 - p)``, about p of them zero, and the gradient has the same mask."""
    x = np.linspace(0.5, 2.0, 4000, dtype="float32").reshape(100, 40)
    for p in (0.1, 0.5, 0.8):
        results = Dropped(um.nn.Dropout(p), seed=3).train_step(x)
        y, grad = np.asarray(results["y"]), np.asarray(results["grad"])
        kept = y != 0
        assert abs((~kept).mean() - p) < 4 * math.sqrt(p * (1 - p) / x.size), f"p={p}: {(~kept).mean():.3f} of the elements are zero"
        assert_close(y, np.where(kept, x / np.float32(1 - p), 0).astype("float32"), 1e-6, f"dropout of p={p}: not x / (1 - p) where kept")
        assert_close(grad, np.where(kept, 2 * x / np.float32(1 - p) ** 2, 0).astype("float32"), 1e-6, f"gradient of dropout of p={p}")


@TRAINING
@pytest.mark.concerns("layer", "Dropout")
def test_dropout_masks(subject: Subject) -> None:
    """Masks are new at each step and for each layer and seed, the same for the same of these, and those that ``unimodel.random`` specifies."""
    x = np.ones((30, 20), "float32")

    def kept(seed: int, steps: int = 1) -> list[Array]:
        trainer = Dropped(um.nn.Sequential(um.nn.Dropout(0.5), Kept(), um.nn.Dropout(0.5)), seed=seed)
        return [np.asarray(trainer.train_step(x)["y"]) for _ in range(steps)]

    first, second = kept(5, 2)
    assert not np.array_equal(first, second), "two steps have the same masks"
    again = kept(5, 2)
    assert np.array_equal(again[0], first) and np.array_equal(again[1], second), "the same seed gave other masks"
    assert not np.array_equal(kept(6)[0], first), "another seed gave the same masks"
    assert 0.15 < (first != 0).mean() < 0.35, f"two layers of p=0.5 keep {(first != 0).mean():.2f}, not a quarter: they share a mask"
    (single,) = [np.asarray(Dropped(um.nn.Dropout(0.3), seed=9).train_step(x)["y"])]
    assert np.array_equal(single != 0, um.random.keep_mask(9, "mask/0/Dropout", 0, (30, 20), 0.7)), "the mask is not the specified one"


class Kept(um.Model):
    """Passes its input on."""

    def forward(self, x: Any) -> Any:
        return x * 1.0


@pytest.mark.concerns("layer", "Dropout")
def test_dropout_rests_in_eval_mode(subject: Subject) -> None:
    """In eval mode, and with p = 0, dropout does nothing; with p = 1 it leaves nothing."""
    x = np.linspace(-1, 1, 50, dtype="float32").reshape(5, 10)
    assert np.array_equal(um.nn.Dropout(0.5).eval()(x), x)
    assert np.array_equal(um.Trainer(um.nn.Dropout(0.5)).predict(x), x), "predict drops"
    assert np.array_equal(um.nn.Dropout(0.0)(x), x)
    assert not um.nn.Dropout(1.0)(x).any()
    assert not np.array_equal(um.nn.Dropout(0.5)(x), x), "in train mode nothing was dropped"


@TRAINING
@pytest.mark.concerns("layer", "Dropout of channels")
@pytest.mark.parametrize("kind", ["Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout", "AlphaDropout"])
def test_dropout_family(subject: Subject, kind: str) -> None:
    """Whole channels fall together; alpha dropout keeps mean and variance; all rest in eval mode."""
    x = np.random.default_rng(0).standard_normal((40, 30, *(4,) * (int(kind[7]) if kind[7].isdigit() else 1))).astype("float32")
    layer = getattr(um.nn, kind)(0.4)
    assert np.array_equal(um.Trainer(getattr(um.nn, kind)(0.4)).predict(x), x), f"{kind} drops in eval mode"
    y = np.asarray(Dropped(layer, seed=2).train_step(x)["y"])
    if kind.startswith("Dropout"):
        dropped = (y == 0).reshape(40, 30, -1)
        assert (dropped.all(-1) == dropped.any(-1)).all(), f"{kind} drops parts of channels"
        assert abs(dropped.mean() - 0.4) < 0.06 and np.allclose(y[y != 0], (x / np.float32(0.6))[y != 0], rtol=1e-5)
    else:
        assert not np.array_equal(y, x) and abs(y.mean() - x.mean()) < 0.15 and abs(y.std() - x.std()) < 0.15, f"{kind} changes mean or variance"


@pytest.mark.concerns("layer", "MaxUnpool")
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_unpooling(subject: Subject, rank: int) -> None:
    """Unpooling puts each maximum back where it was, and zeros elsewhere."""

    class Around(um.Model):
        def __init__(self) -> None:
            self.pool = getattr(um.nn, f"MaxPool{rank}d")(2, return_indices=True)
            self.unpool = getattr(um.nn, f"MaxUnpool{rank}d")(2)

        def forward(self, x: Any) -> Any:
            values, indices = self.pool(x)
            return self.unpool(values, indices), values

    x = np.random.default_rng(rank).permutation(2 * 3 * 4**rank).astype("float32").reshape(2, 3, *(4,) * rank) + 1
    back, values = Around()(x)
    assert back.shape == x.shape and np.array_equal(np.sort(back[back != 0]), np.sort(values.ravel()))
    assert np.array_equal(back[back != 0], x[back != 0]), "a maximum is in another place"


@pytest.mark.concerns("layer", "FractionalMaxPool2d")
def test_fractional_pooling(subject: Subject) -> None:
    """The windows are those that core draws, the same on every backend; each value is that of its index, and no smaller than what else its window holds."""
    x = np.random.default_rng(0).permutation(2 * 2 * 36).astype("float32").reshape(2, 2, 6, 6)
    values, indices = um.run(um.nn.FractionalMaxPool2d(2, 4, return_indices=True).forward, x)
    wanted, places = um.run(um.nn.FractionalMaxPool2d(2, 4, return_indices=True).forward, x, backend="numpy")
    assert np.array_equal(values, np.take_along_axis(x.reshape(2, 2, 36), indices.reshape(2, 2, 16), 2).reshape(values.shape)), (
        "a value is not that of its index"
    )
    assert np.array_equal(values, wanted) and np.array_equal(indices, places), "the windows are not core's"


@pytest.mark.concerns("layer", "RReLU")
def test_random_slopes(subject: Subject) -> None:
    """In eval mode the slope is the mean of the bounds; in train mode it is between them, another for each element."""
    x = np.linspace(-2, 1, 60, dtype="float32").reshape(6, 10)
    assert_close(um.nn.RReLU(0.1, 0.4).eval()(x), np.where(x > 0, x, 0.25 * x).astype("float32"), 1e-6, "RReLU in eval mode")
    y = um.nn.RReLU(0.1, 0.4)(x)
    slopes = y[x < 0] / x[x < 0]
    assert slopes.min() + 1e-6 >= 0.1 and slopes.max() <= 0.4 + 1e-6 and len(np.unique(slopes)) > 20, "slopes are not drawn for each element"
    assert np.array_equal(y[x > 0], x[x > 0])


class Padded(um.Model):
    """Everything that a layer says of sequences padded to three steps: all states of each, then the last ones."""

    def __init__(self, layer: um.Model) -> None:
        self.layer = layer

    def forward(self, x: Any, lengths: Any) -> Any:
        y, states = self.layer(x, None, lengths)
        return um.ops.concat([um.ops.reshape(t, (2, -1)) for t in (y, *(um.ops.permute_dims(s, (1, 0, 2)) for s in states))], axis=1)


class Alone(um.Model):
    """The same of each sequence by itself, of three steps and of one."""

    def __init__(self, layer: um.Model) -> None:
        self.layer = layer

    def forward(self, sequences: Any) -> Any:
        rows = []
        for x in (sequences[:1], sequences[1:2, :1]):
            y, states = self.layer(x)
            y = um.ops.pad_constant(um.ops.reshape(y, (-1,)), ((0, (3 - x.shape[1]) * y.shape[2]),))
            rows.append(um.ops.concat([y, *(um.ops.reshape(s, (-1,)) for s in states)], axis=0))
        return um.ops.stack(rows, axis=0)


@TRAINING
@pytest.mark.concerns("layer", "LSTM")
def test_sequences_of_different_lengths(subject: Subject) -> None:
    """A padded batch with lengths is what its sequences are one by one: states in both directions, last states and cells, gradients; the padding, NaN here, is not looked at."""
    layer = um.nn.LSTM(2, 3, batch_first=True, bidirectional=True)
    weights = layer.state_dict()
    other = um.nn.LSTM(2, 3, batch_first=True, bidirectional=True)
    other.load_state_dict(weights)
    rng = np.random.default_rng(0)
    x, g = as_dtype(rng.standard_normal((2, 3, 2)), subject.best), as_dtype(rng.standard_normal((2, 3 * 6 + 12)), subject.best)
    g[1, 6:18] = 0  # beyond the length nothing is asked
    hidden = x.copy()
    hidden[1, 1:] = np.nan
    probe = Probe({"padded": Padded(layer), "alone": Alone(other)}, precision=subject.best)
    found = probe.run({"padded": ((hidden, np.array([3, 1])), g), "alone": ((x,), g)})
    for key in ("output", "grad/input0", *(f"grad/layer.{name}" for name in weights)):
        assert_close(found[f"padded/{key}"], found[f"alone/{key}"], 1e-5, f"LSTM with lengths: {key}")


# --------------------------------------------------------------------------------------------------------------- containers


@pytest.mark.concerns("layer", "Sequential")
def test_containers(subject: Subject) -> None:
    """Layers in containers are found, named as in PyTorch, and applied in order."""
    linear, relu = um.nn.Linear(3, 2), um.nn.ReLU()
    x = np.array([[1.0, -2.0, 0.5]], "float32")
    net = um.nn.Sequential(linear, relu, um.nn.Linear(2, 1))
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    state = net.state_dict()
    hidden = np.maximum(x @ state["0.weight"].T + state["0.bias"], 0)
    assert_close(net(x), hidden @ state["2.weight"].T + state["2.bias"], 1e-5, "Sequential")
    assert_close(net[:2](x), hidden, 1e-5, "a slice of a Sequential")

    class Listed(um.Model):
        def __init__(self) -> None:
            self.steps = um.nn.ModuleList([um.nn.Linear(3, 3) for _ in range(2)])
            self.heads = um.nn.ModuleDict({"a": um.nn.Linear(3, 1)})

        def forward(self, x: Any) -> Any:
            for step in self.steps:
                x = step(x)
            return self.heads["a"](x)

    listed = Listed()
    assert list(listed.state_dict()) == ["steps.0.weight", "steps.0.bias", "steps.1.weight", "steps.1.bias", "heads.a.weight", "heads.a.bias"]
    state = listed.state_dict()
    y = x
    for name in ("steps.0", "steps.1", "heads.a"):
        y = y @ state[f"{name}.weight"].T + state[f"{name}.bias"]
    assert_close(listed(x), y, 1e-5, "ModuleList and ModuleDict")


@TRAINING
@pytest.mark.concerns("layer", "shared layers")
def test_shared_layer(subject: Subject) -> None:
    """A layer used twice has one set of weights, whose gradient is the sum of both uses."""

    class Twice(um.Model):
        def __init__(self) -> None:
            self.a = um.nn.Linear(3, 3, bias=False)
            self.b = self.a

        def forward(self, x: Any) -> Any:
            return self.b(um.ops.sin(self.a(x)))

    net = Twice()
    assert len(list(net.parameters())) == 1 and list(net.state_dict()) == ["a.weight", "b.weight"]
    w, x, g = np.array([[0.3, -0.2, 0.1], [0.5, 0.4, -0.3], [-0.6, 0.2, 0.7]]), np.array([[1.0, 2.0, -1.0]]), np.array([[1.0, -0.5, 2.0]])
    net.load_state_dict({"a.weight": w, "b.weight": w})
    found = Probe({"net": net}, precision=subject.best).run({"net": ((as_dtype(x, subject.best),), as_dtype(g, subject.best))})
    h = np.sin(x @ w.T)
    dh = (g @ w) * np.cos(x @ w.T)
    assert_close(found["net/grad/a.weight"], as_dtype(g.T @ h + dh.T @ x, subject.best), 1e-5, "gradient of a shared weight")


@pytest.mark.concerns("layer", "BatchNorm")
def test_eval_mode_leaves_buffers(subject: Subject) -> None:
    """In eval mode batch norm uses the running statistics and leaves them; in train mode it moves them, also when called directly."""
    layer = um.nn.BatchNorm1d(2)
    x = np.array([[1.0, 4.0], [3.0, 8.0]], "float32")
    layer.eval()
    assert_close(layer(x), (x / np.sqrt(np.float32(1 + 1e-5))).astype("float32"), 1e-5, "batch norm in eval mode with fresh statistics")
    assert layer.state_dict()["running_mean"].tolist() == [0, 0] and layer.state_dict()["num_batches_tracked"] == 0
    layer.train()
    assert_close(layer(x), np.array([[-1.0, -1.0], [1.0, 1.0]], "float32"), 1e-4, "batch norm in train mode")
    state = layer.state_dict()
    assert_close(state["running_mean"], np.array([0.2, 0.6], "float32"), 1e-5, "running mean after one batch")
    assert_close(state["running_var"], np.array([1.1, 1.7], "float32"), 1e-5, "running (unbiased) variance after one batch")
    assert state["num_batches_tracked"] == 1


@pytest.mark.concerns("layer", "weights")
@pytest.mark.parametrize("kind", ["Linear", "Conv2d", "Embedding", "BatchNorm2d", "LayerNorm"])
def test_initial_weights(subject: Subject, kind: str) -> None:
    """Fresh weights have PyTorch's distributions, differ by path and seed, and do not depend on the backend."""
    make = {
        "Linear": lambda: um.nn.Linear(64, 300),
        "Conv2d": lambda: um.nn.Conv2d(4, 300, 4),
        "Embedding": lambda: um.nn.Embedding(300, 64, padding_idx=3),
        "BatchNorm2d": lambda: um.nn.BatchNorm2d(5),
        "LayerNorm": lambda: um.nn.LayerNorm(5),
    }[kind]

    def weights(seed: int, path: str = "layer") -> dict[str, Array]:
        layer = make()
        holder = um.Model()
        setattr(holder, path, layer)
        um.Trainer(holder, seed=seed)
        return layer.state_dict()

    first = weights(1)
    if kind in ("Linear", "Conv2d"):
        for array in first.values():
            assert np.abs(array).max() <= 1 / 8 and abs(np.abs(array).mean() - 1 / 16) < 0.006, f"{kind} is not uniform in ±1/8"
    elif kind == "Embedding":
        array = np.delete(first["weight"], 3, axis=0)
        assert abs(array.std() - 1) < 0.02 and abs(array.mean()) < 0.02 and not first["weight"][3].any(), "an embedding is not normal, or its padding not zero"
    else:
        assert (first["weight"] == 1).all() and not first["bias"].any()
        return
    assert np.array_equal(weights(1)["weight"], first["weight"]), "the same seed gave other weights"
    assert not np.array_equal(weights(2)["weight"], first["weight"]), "another seed gave the same weights"
    assert not np.array_equal(weights(1, "other")["weight"], first["weight"]), "another path gave the same weights"

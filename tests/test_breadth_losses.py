"""The losses beyond the first four equal PyTorch's, value and gradients, for any arguments, in float64; sample weights mean what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import assume, given
from hypothesis import strategies as st

import unimodel as um
from unimodel.errors import DataError, ShapeError

torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
from torch_oracle import agree, close  # noqa: E402  needs torch

pytestmark = pytest.mark.torch_oracle

seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
batches = st.tuples(st.integers(1, 5), st.integers(1, 5))
reductions = st.sampled_from(["mean", "sum", "none"])
flags = st.booleans()
fixed = st.fixed_dictionaries


class Ours(um.Model):
    def __init__(self, loss: Any) -> None:
        self.loss = loss

    def forward(self, *inputs: Any) -> Any:
        return self.loss(*inputs)


class Theirs(torch.nn.Module):
    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.held = [loss.double()]

    def forward(self, *inputs: Any) -> Any:
        return self.held[0](*inputs)


def compare(name: str, inputs: list[np.ndarray], float32: bool = True, **arguments: Any) -> None:
    theirs = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    agree(Ours(getattr(um.losses, name)(**arguments)), Theirs(getattr(torch.nn, name)(**theirs)), inputs, float32=float32)


ELEMENTWISE = {
    "SmoothL1Loss": ({"beta": st.sampled_from([1.0, 0.3, 0.0])}, "normal", "normal"),
    "HuberLoss": ({"delta": st.sampled_from([1.0, 0.3])}, "normal", "normal"),
    "PoissonNLLLoss": ({"log_input": st.just(True), "full": flags}, "normal", "positive"),
    "BCELoss": ({}, "unit", "unit"),
    "KLDivLoss": ({"log_target": st.just(False), "reduction": st.sampled_from(["mean", "sum", "none", "batchmean"])}, "normal", "positive"),
    "SoftMarginLoss": ({}, "normal", "labels"),
    "HingeEmbeddingLoss": ({"margin": st.sampled_from([1.0, 0.2])}, "normal", "sign"),
}
DRAWS: dict[str, Callable[[np.random.Generator, Any], np.ndarray]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "positive": lambda rng, shape: rng.uniform(0.05, 3.0, shape),
    "unit": lambda rng, shape: rng.uniform(0.001, 0.999, shape),
    "sign": lambda rng, shape: rng.choice([-1.0, 1.0], shape),
    "labels": lambda rng, shape: rng.choice([-1, 1], shape),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
@given(seed=seeds, shape=shapes, data=st.data())
def test_elementwise(name: str, seed: int, shape: tuple[int, ...], data: st.DataObject) -> None:
    options, input, target = ELEMENTWISE[name]
    arguments = data.draw(fixed({"reduction": reductions, **options}))
    rng = np.random.default_rng(seed)
    if name in ("SmoothL1Loss", "HuberLoss", "SoftMarginLoss"):
        shape = (*shape, 3)
    compare(name, [DRAWS[input](rng, shape), DRAWS[target](rng, shape)], **arguments)


@given(seeds, shapes, reductions, flags)
def test_poisson_of_expected_counts(seed: int, shape: tuple[int, ...], reduction: str, full: bool) -> None:
    rng = np.random.default_rng(seed)
    compare("PoissonNLLLoss", [rng.uniform(0.1, 3, shape), rng.uniform(0, 4, shape)], log_input=False, full=full, reduction=reduction)


@given(seeds, shapes, st.sampled_from(["mean", "sum", "none", "batchmean"]))
def test_kl_div_of_logarithms(seed: int, shape: tuple[int, ...], reduction: str) -> None:
    rng = np.random.default_rng(seed)
    compare("KLDivLoss", [rng.standard_normal(shape), rng.standard_normal(shape)], log_target=True, reduction=reduction)


def test_probabilities_at_their_bounds() -> None:
    x, t = np.array([0.0, 0.0, 1.0, 1.0, 0.5]), np.array([0.0, 1.0, 0.0, 1.0, 0.5])
    close(um.losses.BCELoss(reduction="none")(x, t), torch.nn.BCELoss(reduction="none")(torch.tensor(x), torch.tensor(t)))
    close(um.losses.KLDivLoss(reduction="none")(x, t), torch.nn.KLDivLoss(reduction="none")(torch.tensor(x), torch.tensor(t)))


@pytest.mark.parametrize("name", ["SmoothL1Loss", "HuberLoss"])
def test_robust_losses_at_kinks_and_infinity(name: str) -> None:
    compare(name, [np.array([1.0, -1.0, 0.0, 1e300]), np.zeros(4)], reduction="none")
    compare(name, [np.array([np.inf, -np.inf]), np.zeros(2)], reduction="sum")


@given(seeds, shapes, reductions, flags)
def test_bce_weighs_elements(seed: int, shape: tuple[int, ...], reduction: str, last: bool) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.5, 2, shape[-1:] if last else shape)
    compare("BCELoss", [rng.uniform(0.01, 0.99, shape), rng.uniform(0, 1, shape)], weight=weight, reduction=reduction)


@given(seeds, st.sampled_from([(), (1,), (5,), (4, 2), (3, 2, 2)]), st.integers(1, 5), flags, flags, reductions)
def test_nll(seed: int, shape: tuple[int, ...], classes: int, weighted: bool, ignoring: bool, reduction: str) -> None:
    rng = np.random.default_rng(seed)
    arguments: dict[str, Any] = {"reduction": reduction, "weight": rng.uniform(0.2, 2.0, classes) if weighted else None}
    target = np.asarray(rng.integers(0, classes, shape))
    if ignoring and target.size > 1:
        arguments["ignore_index"] = int(rng.choice([-100, -1, 0, 255]))
        target = np.where(rng.random(shape) < 0.4, arguments["ignore_index"], target)
        target.flat[0] = 0 if arguments["ignore_index"] else min(1, classes - 1)
    if (target == arguments.get("ignore_index", -100)).all():
        return  # the mean of no sample at all is NaN
    compare("NLLLoss", [rng.standard_normal((*shape[:1], classes, *shape[1:])), target], **arguments)


@given(seeds, batches, st.sampled_from(["same", "one", "less"]), flags, reductions)
def test_gaussian(seed: int, shape: tuple[int, int], kind: str, full: bool, reduction: str) -> None:
    rng = np.random.default_rng(seed)
    var = rng.uniform(0.1, 2, {"same": shape, "one": (shape[0], 1), "less": shape[:1]}[kind])
    if kind == "same":
        var.flat[0] = 1e-9  # below eps
    compare("GaussianNLLLoss", [rng.standard_normal(shape), rng.standard_normal(shape), var], full=full, reduction=reduction)


@given(seeds, shapes, st.sampled_from([0.0, 0.7]), reductions)
def test_margin_ranking(seed: int, shape: tuple[int, ...], margin: float, reduction: str) -> None:
    rng = np.random.default_rng(seed)
    inputs = [rng.standard_normal(shape), rng.standard_normal(shape), rng.choice([-1, 1], shape)]
    compare("MarginRankingLoss", inputs, margin=margin, reduction=reduction)


@given(seeds, batches, st.sampled_from([0.0, 0.4, -0.5]), reductions, flags)
def test_cosine_embedding(seed: int, shape: tuple[int, int], margin: float, reduction: str, batched: bool) -> None:
    assume(shape[-1] > 1)  # the cosine of single numbers is 1 or -1, and its gradient what rounding leaves of 0
    rng = np.random.default_rng(seed)
    pair = [rng.standard_normal(shape if batched else shape[1:]) for _ in range(2)]
    target = rng.choice([-1, 1], shape[:1]) if batched else np.asarray(1 if rng.random() < 0.5 else -1)
    compare("CosineEmbeddingLoss", [*pair, target], margin=margin, reduction=reduction)


@given(seeds, batches, st.sampled_from([1.0, 0.3, 5.0]), st.sampled_from([2.0, 1.0, 3.0, 1.5, float("inf")]), flags, reductions)
def test_triplet(seed: int, shape: tuple[int, int], margin: float, p: float, swap: bool, reduction: str) -> None:
    rng = np.random.default_rng(seed)
    compare("TripletMarginLoss", [rng.standard_normal(shape) for _ in range(3)], margin=margin, p=p, swap=swap, reduction=reduction)


@given(seeds, batches, flags, reductions)
def test_triplet_with_a_distance(seed: int, shape: tuple[int, int], swap: bool, reduction: str) -> None:
    rng = np.random.default_rng(seed)
    inputs = [rng.standard_normal(shape) for _ in range(3)]

    def distance(x1: Any, x2: Any) -> Any:
        difference = x1 - x2
        return (difference * difference).sum(-1)

    arguments: dict[str, Any] = {"distance_function": distance, "margin": 0.5, "swap": swap, "reduction": reduction}
    compare("TripletMarginWithDistanceLoss", inputs, **arguments)


@given(seeds, batches, flags, reductions)
def test_multi_label_soft_margin(seed: int, shape: tuple[int, int], weighted: bool, reduction: str) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.5, 2, shape[1]) if weighted else None
    compare("MultiLabelSoftMarginLoss", [3 * rng.standard_normal(shape), rng.integers(0, 2, shape) * 1.0], weight=weight, reduction=reduction)


@given(seeds, batches, flags, st.sampled_from([1, 2]), st.sampled_from([1.0, 0.3]), flags, reductions)
def test_multi_margin(seed: int, shape: tuple[int, int], batched: bool, p: int, margin: float, weighted: bool, reduction: str) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.5, 2, shape[1]) if weighted else None
    input = rng.standard_normal(shape if batched else shape[1:])
    target = np.asarray(rng.integers(0, shape[1], shape[:1] if batched else ()))
    compare("MultiMarginLoss", [input, target], p=p, margin=margin, weight=weight, reduction=reduction)


@given(seeds, batches, flags, reductions)
def test_multi_label_margin(seed: int, shape: tuple[int, int], batched: bool, reduction: str) -> None:
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.permutation(shape[1]) for _ in range(shape[0])])
    rows[rng.random(shape) < 0.4] = -1
    input = rng.standard_normal(shape)
    compare("MultiLabelMarginLoss", [input, rows] if batched else [input[0], rows[0]], reduction=reduction)


class OfLogits(torch.nn.Module):
    """PyTorch's gradient of CTC takes for granted that log_softmax comes before."""

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.held = [loss]

    def forward(self, logits: Any, *others: Any) -> Any:
        return self.held[0](torch.log_softmax(logits.permute(1, 0, 2), 2), *others)


class OursOfLogits(Ours):
    def forward(self, logits: Any, *others: Any) -> Any:
        return self.loss(um.ops.log_softmax(logits.permute(1, 0, 2), 2), *others)


@given(seeds, st.integers(1, 8), st.integers(1, 3), st.integers(2, 5), st.integers(1, 4), flags, flags, reductions)
@examples(100)
def test_ctc(seed: int, steps: int, count: int, classes: int, labels: int, zero_infinity: bool, full: bool, reduction: str) -> None:
    rng = np.random.default_rng(seed)
    blank = int(rng.integers(0, classes))
    targets = rng.choice([c for c in range(classes) if c != blank], (count, labels))
    lengths = np.full(count, steps) if full else rng.integers(1, steps + 1, count)
    target_lengths = rng.integers(0, labels + 1, count)
    loss = torch.nn.CTCLoss(blank=blank, reduction=reduction, zero_infinity=zero_infinity)
    each = torch.nn.CTCLoss(blank=blank, reduction="none")
    logits = rng.standard_normal((count, steps, classes))
    inputs = [logits, targets, lengths, target_lengths]
    if not zero_infinity and torch.isinf(OfLogits(each)(*map(torch.tensor, inputs))).any():
        ours = um.run(OursOfLogits(um.losses.CTCLoss(blank, reduction)).forward, *inputs)
        close(ours, OfLogits(loss)(*map(torch.tensor, inputs)), "values only: their gradient is NaN")
        return
    agree(OursOfLogits(um.losses.CTCLoss(blank, reduction, zero_infinity)), OfLogits(loss), inputs)


def weighing(name: str, arguments: dict[str, Any], *inputs: np.ndarray) -> tuple[Any, ...]:
    return name, arguments, inputs


R = np.random.default_rng(0)
PAIR = (R.standard_normal((4, 3)), R.standard_normal((4, 3)))
SIGNS = np.array([1.0, -1.0, -1.0, 1.0])
WEIGHED = [
    weighing("SmoothL1Loss", {}, *PAIR),
    weighing("HuberLoss", {}, *PAIR),
    weighing("PoissonNLLLoss", {}, *PAIR),
    weighing("BCELoss", {}, R.uniform(0.1, 0.9, (4, 3)), R.uniform(0, 1, (4, 3))),
    weighing("KLDivLoss", {}, PAIR[0], R.uniform(0.1, 1, (4, 3))),
    weighing("KLDivLoss", {"reduction": "batchmean"}, PAIR[0], R.uniform(0.1, 1, (4, 3))),
    weighing("SoftMarginLoss", {}, PAIR[0], R.choice([-1.0, 1.0], (4, 3))),
    weighing("HingeEmbeddingLoss", {}, PAIR[0], R.choice([-1.0, 1.0], (4, 3))),
    weighing("NLLLoss", {"weight": np.array([0.5, 1.0, 2.0]), "ignore_index": 1}, PAIR[0], np.array([0, 1, 2, 2])),
    weighing("MultiLabelSoftMarginLoss", {}, PAIR[0], R.integers(0, 2, (4, 3)) * 1.0),
    weighing("MultiMarginLoss", {}, PAIR[0], np.array([0, 1, 2, 2])),
    weighing("MultiLabelMarginLoss", {}, PAIR[0], np.array([[0, -1, 1], [1, 2, -1], [2, 0, 1], [-1, 0, 1]])),
    weighing("GaussianNLLLoss", {}, (PAIR[0], R.uniform(0.5, 1, (4, 3))), PAIR[1]),
    weighing("MarginRankingLoss", {"margin": 0.5}, (PAIR[0][:, 0], PAIR[1][:, 0]), SIGNS),
    weighing("CosineEmbeddingLoss", {}, PAIR, SIGNS),
    weighing("TripletMarginLoss", {}, (*PAIR, R.standard_normal((4, 3))), SIGNS),
]


@pytest.mark.parametrize(("name", "arguments", "inputs"), WEIGHED, ids=lambda v: v if isinstance(v, str) else "")
def test_a_weight_of_two_is_the_sample_twice_and_of_zero_none(name: str, arguments: dict[str, Any], inputs: Any) -> None:
    loss = getattr(um.losses, name)(**arguments)
    weights = np.array([1.0, 2.0, 0.0, 3.0])
    repeated = np.repeat(np.arange(4), weights.astype(int))
    many = um.nest.map_leaves(lambda a: a[repeated], inputs)
    close(um.run(lambda p, t, w: loss(p, t, w), *inputs, weights), um.run(lambda p, t: loss(p, t), *many))


def test_losses_of_several_inputs_train_in_fit() -> None:
    class Twins(um.Model):
        def __init__(self) -> None:
            self.fc = um.nn.Linear(3, 2)

        def forward(self, a: Any, b: Any) -> Any:
            return self.fc(a), self.fc(b)

    trainer = um.Trainer(Twins(), loss=um.losses.CosineEmbeddingLoss(), optimizer=um.optim.Adam(lr=0.05), backend="numpy")
    data = (tuple(p.astype("float32") for p in PAIR), SIGNS.astype("float32"))
    history = trainer.fit(data, epochs=30, verbose=False, sample_weight=np.array([1.0, 2.0, 0.0, 1.0]))
    assert history.history["loss"][-1] < 0.6 * history.history["loss"][0]


def test_ctc_trains_in_fit() -> None:
    class Net(um.Model):
        def __init__(self) -> None:
            self.fc = um.nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            return um.ops.log_softmax(um.ops.permute_dims(self.fc(x), (1, 0, 2)), 2)

    trainer = um.Trainer(Net(), loss=um.losses.CTCLoss(), optimizer=um.optim.Adam(lr=0.05), backend="numpy")
    x = np.random.default_rng(0).standard_normal((6, 5, 4)).astype("float32")
    target = (np.array([[1, 2], [2, 1]] * 3), np.full(6, 5), np.full(6, 2))
    history = trainer.fit((x, target), epochs=20, batch_size=3, verbose=False)
    assert history.history["loss"][-1] < history.history["loss"][0]


REFUSED: list[Callable[[], Any]] = [
    lambda: um.losses.SmoothL1Loss(beta=-1.0),
    lambda: um.losses.HuberLoss(delta=0.0),
    lambda: um.losses.KLDivLoss(reduction="batch"),
    lambda: um.losses.NLLLoss(reduction="batchmean"),
    lambda: um.losses.GaussianNLLLoss(eps=0.0),
    lambda: um.losses.CosineEmbeddingLoss(margin=2.0),
    lambda: um.losses.TripletMarginLoss(margin=0.0),
    lambda: um.losses.MultiMarginLoss(p=3),
    lambda: um.losses.MarginRankingLoss()(PAIR[0], PAIR[1]),
    lambda: um.losses.MultiMarginLoss(weight=np.ones(2))(PAIR[0], np.zeros(4, "int64")),
    lambda: um.losses.NLLLoss()(PAIR[0], np.zeros((4, 1), "int64")),
    lambda: um.losses.GaussianNLLLoss()(PAIR[0], PAIR[1], np.ones(5)),
]


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_bad_arguments_are_refused_at_the_users_line(index: int) -> None:
    with pytest.raises((DataError, ShapeError)) as caught:
        REFUSED[index]()
    assert caught.value.source is not None and caught.value.source.file == __file__


@pytest.mark.parametrize("loss", [um.losses.NLLLoss(), um.losses.MultiMarginLoss()])
def test_class_indices_out_of_range_are_refused_before_a_framework_sees_them(loss: Any) -> None:
    trainer = um.Trainer(um.nn.Linear(3, 3), loss=loss, optimizer=um.optim.SGD(), backend="numpy")
    with pytest.raises(DataError, match="out of range"):
        trainer.train_step((PAIR[0], np.array([0, 1, 2, 3])))

"""``um.nn.functional`` is ``torch.nn.functional``: the same calls, on both sides, give the same results and gradients, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel.errors import ShapeError, UnsupportedError

torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
from torch_oracle import agree, close  # noqa: E402  needs torch

pytestmark = [pytest.mark.torch_oracle, pytest.mark.filterwarnings("ignore::UserWarning")]
ours, theirs = um.nn.functional, torch.nn.functional
RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def positive(*shape: int) -> np.ndarray:
    return RNG.uniform(0.1, 0.9, shape)


class Fixed:
    """An array for which PyTorch has no gradient."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array


class Ours(um.Model):
    """Floating arrays are parameters, whose gradients are compared; integers and what is fixed are buffers."""

    def __init__(self, call: Callable[..., Any], given: list[Any]) -> None:
        self.call = call
        self.names = [f"x{i}" for i in range(len(given))]
        for name, x in zip(self.names, given, strict=True):
            array = x.array if isinstance(x, Fixed) else x
            trained = array.dtype.kind == "f" and array is x
            setattr(self, name, um.Parameter(array.shape) if trained else um.Buffer(array.shape, 0, dtype="int64" if array.dtype.kind == "i" else "float32"))

    def forward(self, batch: Any) -> Any:
        return self.call(ours, *(um.ops.asarray(getattr(self, name)) for name in self.names))


class Theirs(torch.nn.Module):
    def __init__(self, call: Callable[..., Any], given: list[Any]) -> None:
        super().__init__()
        self.call = call
        self.names = [f"x{i}" for i in range(len(given))]
        for name, x in zip(self.names, given, strict=True):
            if isinstance(x, Fixed) or x.dtype.kind == "i":
                self.register_buffer(name, torch.tensor(x.array if isinstance(x, Fixed) else x))
            else:
                setattr(self, name, torch.nn.Parameter(torch.tensor(x)))

    def forward(self, batch: Any) -> Any:
        return self.call(theirs, *(getattr(self, name) for name in self.names))


X, Y, P, Q = normal(4, 3), normal(4, 3), positive(4, 3), positive(4, 3)
IMAGE, LINE, VOLUME = normal(2, 2, 5, 4), normal(2, 2, 7), normal(1, 2, 4, 3, 3)
LABELS, SIGNS = RNG.integers(0, 3, 4), RNG.choice([-1.0, 1.0], (4, 3))
WEIGHTS, BAGS = positive(3), np.array([[0, 3, 3], [4, 1, 0]])
ROWS = normal(5, 2)
MULTI = np.array([[2, 0, -1], [1, -1, -1], [0, 1, 2], [-1, -1, -1]])

CALLS: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "inplace": (lambda F, x: (F.relu(1 * x, inplace=True), F.relu6(3 * x, True), F.selu(1 * x, True), F.silu(1 * x, True), F.mish(1 * x, True), F.hardswish(1 * x, True)), (X,)),
    "slopes": (lambda F, x: (F.leaky_relu(x, 0.2, inplace=False), F.elu(x, 0.5), F.celu(x, 0.5), F.threshold(x, 0.1, -2.0), F.hardtanh(x, -0.4, 0.6)), (X,)),
    "rrelu": (lambda F, x: (F.rrelu(x), F.rrelu(x, 0.2, 0.4), F.rrelu(x, 0.2, 0.2, training=True)), (X,)),
    "softplus": (lambda F, x: (F.softplus(x), F.softplus(x, beta=2.0, threshold=1.0)), (X,)),
    "softmax": (lambda F, x: (F.softmax(x, dim=-1), F.softmax(x, 0), F.log_softmax(x, 1), F.softmin(x, dim=0)), (X,)),
    "others": (lambda F, x: (F.gelu(x, approximate="tanh"), F.glu(x[:, :2]), F.logsigmoid(x), F.tanhshrink(x), F.softsign(x), F.hardshrink(x), F.softshrink(x)), (X,)),
    "cross_entropy": (lambda F, x, t, w: (F.cross_entropy(x, t), F.cross_entropy(x, t, w, ignore_index=1, reduction="sum", label_smoothing=0.1)), (X, LABELS, Fixed(WEIGHTS))),
    "cross_entropy of probabilities": (lambda F, x, p: F.cross_entropy(x, p, reduction="none"), (X, P)),
    "nll_loss": (lambda F, x, t, w: (F.nll_loss(F.log_softmax(x, 1), t), F.nll_loss(F.log_softmax(x, 1), t, w, reduction="none", ignore_index=0)), (X, LABELS, Fixed(WEIGHTS))),
    "binary_cross_entropy": (lambda F, p, t, w: (F.binary_cross_entropy(p, t), F.binary_cross_entropy(p, t, w, reduction="sum")), (P, Q, Fixed(positive(4, 3)))),
    "binary_cross_entropy_with_logits": (
        lambda F, x, t, w: (F.binary_cross_entropy_with_logits(x, t), F.binary_cross_entropy_with_logits(x, t, w, pos_weight=w[0], reduction="none")),
        (X, Q, Fixed(positive(4, 3))),
    ),
    "kl_div": (lambda F, x, p: (F.kl_div(x, p, reduction="batchmean"), F.kl_div(x, p), F.kl_div(x, x * 0.5, reduction="sum", log_target=True)), (X, P)),
    "mse_loss": (lambda F, x, y, w: (F.mse_loss(x, y), *(F.mse_loss(x, y, reduction=r, weight=w) for r in ("none", "sum", "mean"))), (X, Y, P)),
    "l1_loss": (lambda F, x, y, w: (F.l1_loss(x, y), *(F.l1_loss(x, y, reduction=r, weight=w) for r in ("none", "sum", "mean"))), (X, Y, P)),
    "huber_loss": (lambda F, x, y, w: (F.huber_loss(x, y), *(F.huber_loss(x, y, r, 0.4, w) for r in ("none", "sum", "mean"))), (X, Y, P)),
    "smooth_l1_loss": (lambda F, x, y: (F.smooth_l1_loss(x, y), F.smooth_l1_loss(x, y, reduction="sum", beta=0.3)), (X, Y)),
    "poisson_nll_loss": (lambda F, x, p: (F.poisson_nll_loss(x, p), F.poisson_nll_loss(p, p, False, True, reduction="none")), (X, P)),
    "gaussian_nll_loss": (lambda F, x, y, v: (F.gaussian_nll_loss(x, y, v), F.gaussian_nll_loss(x, y, v, True, 0.3, "sum")), (X, Y, P)),
    "margins": (
        lambda F, x, t, w, m, s: (
            F.multi_margin_loss(x, t), F.multi_margin_loss(x, t, 2, 0.7, w, reduction="sum"), F.multilabel_margin_loss(x, m, reduction="none"), F.soft_margin_loss(x, s),
            F.multilabel_soft_margin_loss(x, (s + 1) / 2, w), F.hinge_embedding_loss(x, s, 0.5), F.hinge_embedding_loss(x, s, reduction="none"),
        ),
        (X, LABELS, Fixed(WEIGHTS), MULTI, Fixed(SIGNS)),
    ),
    "pairs": (
        lambda F, x, y, s: (
            F.margin_ranking_loss(x, y, s, 0.2), F.cosine_embedding_loss(x, y, s[:, 0], 0.1, reduction="none"), F.triplet_margin_loss(x, y, 0.5 * x, 0.8, p=1.5, swap=True),
            F.triplet_margin_with_distance_loss(x, y, 0.5 * x, distance_function=F.pairwise_distance, margin=0.4, reduction="sum"),
        ),
        (X, Y, Fixed(SIGNS)),
    ),
    "ctc_loss": (
        lambda F, x, t, n, m: (F.ctc_loss(F.log_softmax(x, 2), t, n, m), F.ctc_loss(F.log_softmax(x, 2), t, n, m, 0, "none", True)),
        (normal(5, 2, 4), np.array([[1, 2], [3, 1]]), np.array([5, 4]), np.array([2, 1])),
    ),
    "batch_norm": (
        lambda F, x, m, v, w: (
            F.batch_norm(x, None, None, training=True), F.batch_norm(x, m, v), F.batch_norm(x, None, None, w, m, True, eps=0.1), F.batch_norm(x, m, v, w, m, False, 0.3, 0.1),
        ),
        (IMAGE, Fixed(normal(2)), Fixed(positive(2)), positive(2)),
    ),
    "instance_norm": (
        lambda F, x, m, v, w: (F.instance_norm(x), F.instance_norm(x, weight=w, bias=m, eps=0.1), F.instance_norm(x, m, v, w, m, use_input_stats=False)),
        (LINE, Fixed(normal(2)), Fixed(positive(2)), positive(2)),
    ),
    "norms": (lambda F, x, w: (F.layer_norm(x, (5, 4), w), F.group_norm(x, 2), F.rms_norm(x, (4,), w[0], 0.1), F.local_response_norm(x, 2)), (IMAGE, positive(5, 4))),
    "embedding": (lambda F, i, w: (F.embedding(i, w), F.embedding(i, w, 3, scale_grad_by_freq=True)), (BAGS, ROWS)),
    "embedding_bag": (
        lambda F, i, w, s: (F.embedding_bag(i, w), F.embedding_bag(i, w, mode="max"), F.embedding_bag(i, w, mode="sum", per_sample_weights=s, padding_idx=3)),
        (BAGS, ROWS, positive(2, 3)),
    ),
    "one_hot": (lambda F, i, x: (F.one_hot(i, 5), 1.0 * x), (BAGS, X)),
    "interpolate": (
        lambda F, x: (F.interpolate(x, 7), F.interpolate(x, scale_factor=1.6, mode="bilinear"), F.interpolate(x, scale_factor=(1.6, 1.3), mode="bicubic", recompute_scale_factor=True)),
        (IMAGE,),
    ),
    "pdist": (lambda F, x: (F.pdist(x), F.pdist(x, 1.5), F.pdist(x, p=1.0)), (X,)),
    "distances": (lambda F, x, y: (F.pairwise_distance(x, y, keepdim=True), F.cosine_similarity(x, y, dim=0), F.normalize(x, p=3.0, dim=0)), (X, Y)),
    "convolutions": (
        lambda F, x, w, b: (F.conv2d(x, w, b, stride=2, padding=1), F.conv_transpose2d(x, w, stride=(1, 2)), F.conv1d(x[:, :, 0], w[:, :, 0], b), F.unfold(x, 2, padding=1)),
        (IMAGE, normal(2, 2, 3, 2), normal(2)),
    ),
    "pools": (
        lambda F, x, v: (
            F.max_pool2d(x, 2), *F.max_pool2d(x, (2, 1), return_indices=True), F.avg_pool2d(x, 2, ceil_mode=True), F.adaptive_avg_pool2d(x, (3, 2)),
            F.adaptive_max_pool2d(x, 2), F.avg_pool3d(v, 2), F.lp_pool2d(x * x + 1.0, 3.0, 2), F.pad(x, (1, 0, 2, 1), "replicate"), F.pad(x, (1, 1), value=2.0),
        ),
        (IMAGE, VOLUME),
    ),
    "shuffles": (lambda F, x: (F.pixel_shuffle(F.pad(x, (0, 0, 0, 0, 1, 1)), 2), F.channel_shuffle(x, 2), F.pixel_unshuffle(x[:, :, :4], 2)), (IMAGE,)),
    "affine maps": (lambda F, x, w, b, v: (F.linear(x, w, b), F.bilinear(x, x, v, b), F.prelu(x, b[:1])), (X, normal(2, 3), normal(2), normal(2, 3, 3))),
    "attention": (lambda F, q, k: F.scaled_dot_product_attention(q, k, k, is_causal=True), (normal(2, 3, 4), normal(2, 3, 4))),
    "dropout that does nothing": (lambda F, x: (F.dropout(x, 0.3, training=False), F.alpha_dropout(x, 0.3), F.feature_alpha_dropout(x, 0.3), F.dropout2d(x, 0.0)), (IMAGE,)),
    "fractional_max_pool2d": (lambda F, x: F.fractional_max_pool2d(x, 2, output_size=3, _random_samples=np_or_torch(F, [[[0.3, 0.7], [0.5, 0.1]]] * 2)), (IMAGE,)),
}  # fmt: skip  # a table reads better in rows


def np_or_torch(F: Any, numbers: Any) -> Any:
    return np.array(numbers) if F is ours else torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize("name", CALLS)
def test_the_same_call(name: str) -> None:
    call, inputs = CALLS[name]
    agree(Ours(call, list(inputs)), Theirs(call, list(inputs)), [np.zeros((2, 1))], float32=False)


def test_running_statistics_move() -> None:
    class Norms(um.Model):
        def __init__(self) -> None:
            self.mean, self.var = um.Buffer((2,), 0.5), um.Buffer((2,), 2.0)
            self.mean2, self.var2 = um.Buffer((2,), 0.5), um.Buffer((2,), 2.0)

        def forward(self, x: Any) -> Any:
            return ours.batch_norm(x, self.mean, self.var, training=True, momentum=0.3), ours.instance_norm(x, self.mean2, self.var2, momentum=0.2)

    model = Norms()
    trainer = Step(model, precision="float64")
    found = trainer.train_step(IMAGE)
    m, v, m2, v2 = (torch.full((2,), x, dtype=torch.float64) for x in (0.5, 2.0, 0.5, 2.0))
    x = torch.tensor(IMAGE)
    close(np.asarray(found["0"]), theirs.batch_norm(x, m, v, training=True, momentum=0.3))
    close(np.asarray(found["1"]), theirs.instance_norm(x, m2, v2, momentum=0.2))
    for name, wanted in {"mean": m, "var": v, "mean2": m2, "var2": v2}.items():
        close(model.state_dict()[name], wanted)


class Step(um.Trainer):
    def step(self, batch: Any) -> dict[str, Any]:
        results = self.model(batch)
        return {str(i): r for i, r in enumerate(results if isinstance(results, tuple) else (results,))}


def test_gumbel_softmax() -> None:
    class Draws(um.Model):
        def forward(self, x: Any) -> Any:
            return ours.gumbel_softmax(x, 0.5), ours.gumbel_softmax(x, hard=True), ours.gumbel_softmax(x, hard=True, dim=0), ours.softmax(x, -1)

    logits = np.broadcast_to(np.log([0.1, 0.2, 0.7]), (4000, 3))
    soft, hard, across, _ = (np.asarray(v) for v in Step(Draws(), precision="float64").train_step(logits).values())
    np.testing.assert_allclose(soft.sum(-1), 1.0)
    assert 0.5 < soft.max(-1).mean() < 0.999
    for drawn, axis in ((hard, -1), (across, 0)):
        assert np.allclose(np.sort(drawn, axis).take(-1, axis), 1.0) and np.allclose(drawn.sum(axis), 1.0)
    np.testing.assert_allclose(hard.mean(0), [0.1, 0.2, 0.7], atol=0.03)

    class Slope(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            weights = np.array([1.0, -2.0, 0.5])
            loss, (grad,) = um.value_and_grad(lambda: um.ops.sum(ours.gumbel_softmax(batch, hard=True) * weights), wrt=[batch])
            return {"loss": loss, "grad": grad}

    grad = np.asarray(Slope(Draws(), precision="float64").train_step(logits[:5])["grad"])
    assert np.abs(grad).min() > 0 and np.allclose(grad.sum(-1), 0.0)  # that of the soft draw


def test_dropouts_and_slopes_that_are_drawn() -> None:
    class Draws(um.Model):
        def forward(self, x: Any) -> Any:
            return ours.dropout(x, 0.3), ours.dropout2d(x, 0.3), ours.alpha_dropout(x, 0.3, training=True), ours.rrelu(-x, training=True)

    x = np.ones((8, 50, 4, 4))
    each, channels, alpha, slopes = (np.asarray(v) for v in Step(Draws(), precision="float64").train_step(x).values())
    assert 0.25 < (each == 0).mean() < 0.35 and np.allclose(each[each != 0], 1 / 0.7)
    assert ((channels == 0).all((2, 3)) | (channels != 0).all((2, 3))).all()
    assert len(np.unique(alpha.round(9))) == 2
    assert -1 / 3 <= slopes.min() < -0.3 and -0.15 < slopes.max() <= -1 / 8


def test_parameters_as_a_vector_and_its_length() -> None:
    class Halve(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            parameters = list(self.model.parameters())
            vector = um.nn.utils.parameters_to_vector(parameters)
            found = {"vector": vector, **{f"norm {p}": um.nn.utils.get_total_norm([*parameters, None], p) for p in (2.0, 1.0, float("inf"))}}
            um.nn.utils.vector_to_parameters(0.5 * vector, parameters)
            return {**found, "none": um.nn.utils.get_total_norm([])}

    model, module = um.nn.Linear(3, 2), torch.nn.Linear(3, 2).double()
    model.load_state_dict(module.state_dict())
    found = Halve(model, precision="float64").train_step(np.zeros((1, 3)))
    parameters = list(module.parameters())
    close(np.asarray(found["vector"]), torch.nn.utils.parameters_to_vector(parameters))
    for p in (2.0, 1.0, float("inf")):
        close(np.asarray(found[f"norm {p}"]), torch.nn.utils.get_total_norm(parameters, p))
    torch.nn.utils.vector_to_parameters(0.5 * torch.nn.utils.parameters_to_vector(parameters), parameters)
    for name, wanted in module.state_dict().items():
        close(model.state_dict()[name], wanted)
    assert found["none"] == 0.0


REFUSED: dict[str, tuple[Callable[..., Any], Any, str]] = {
    "statistics": (lambda x: ours.batch_norm(x, None, None), ShapeError, "running_mean and running_var"),
    "no buffer": (lambda x: ours.batch_norm(x, x[0, :, 0, 0], x[0, :, 0, 0], training=True), ShapeError, "an um.Buffer"),
    "one value": (lambda x: ours.batch_norm(x[:1, :, :1, :1], None, None, training=True), ShapeError, "batch_norm needs more than one value"),
    "one place": (lambda x: ours.instance_norm(x[:, :, :1, :1]), ShapeError, "instance_norm needs more than one value"),
    "no parameter": (lambda x: ours.embedding(np_tensor(BAGS), x[0, 0], max_norm=1.0), ShapeError, "a Parameter or Buffer"),
    "antialias": (lambda x: ours.interpolate(x, 3, antialias=True), UnsupportedError, "area"),
    "tau": (lambda x: ours.gumbel_softmax(x, 0.0), ShapeError, "tau above 0"),
    "bounds": (lambda x: ours.rrelu(x, 0.4, 0.2), ShapeError, "lower <= upper"),
    "weights": (lambda x: ours.mse_loss(x, x, weight=x[:1]), ShapeError, "one for each element"),
    "a row of integers": (lambda x: ours.embedding_bag(np_tensor(BAGS[0]), x[0, 0]), ShapeError, "pad with padding_idx"),
    "a mode": (lambda x: ours.embedding_bag(np_tensor(BAGS), x[0, 0], mode="min"), ShapeError, "'mean', 'sum' or 'max'"),
    "a vector too long": (lambda x: um.nn.utils.vector_to_parameters(x[0, 0, 0], [um.Parameter((3,))]), ShapeError, "(3,)"),
    "no rows": (lambda x: ours.pdist(x), ShapeError, "(N, M)"),
}


def np_tensor(array: np.ndarray) -> Any:
    return um.ops.asarray(array)


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit(name: str) -> None:
    call, kind, words = REFUSED[name]
    with pytest.raises(kind) as caught:
        um.run(call, IMAGE)
    assert words in str(caught.value) and caught.value.source is not None and caught.value.source.file == __file__

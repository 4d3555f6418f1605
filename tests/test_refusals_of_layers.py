"""Arguments that no layer can mean are refused when it is built, or when it sees its input, with the user's line; each layer that can be misused is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel.errors import ShapeError
from unimodel.nn import __all__ as LAYERS

nn = um.nn
FEATURES, CLASSES = np.ones((2, 3), "float32"), np.zeros((2, 3), "int64")
SIGNALS = {1: np.ones((2, 3, 8), "float32"), 2: np.ones((2, 3, 8, 8), "float32"), 3: np.ones((2, 3, 8, 8, 8), "float32")}
RANKS = (1, 2, 3)


def of_rank(name: str, *calls: Callable[[Any, int], Any]) -> dict[str, list[Callable[[], Any]]]:
    """Calls that take the layer of each rank, and the rank."""
    return {f"{name}{d}d": [lambda c=c, d=d: c(getattr(nn, f"{name}{d}d"), d) for c in calls] for d in RANKS}


CONV: tuple[Callable[[Any, int], Any], ...] = (
    lambda kind, d: kind(4, 6, 3, groups=3),  # does not divide
    lambda kind, d: kind(4, 6, 3, groups=0),
    lambda kind, d: kind(0, 6, 3),
    lambda kind, d: kind(4, 0, 3),
    lambda kind, d: kind(4, 6, 0),
    lambda kind, d: kind(4, 6, 3, stride=0),
    lambda kind, d: kind(4, 6, 3, padding=-1),
    lambda kind, d: kind(4, 6, 3, dilation=0),
    lambda kind, d: kind(4, 6, (3,) * (d + 1)),
    lambda kind, d: kind(4, 6, 3)(SIGNALS[d]),  # another number of channels
    lambda kind, d: kind(3, 6, 3)(np.ones((2, 3), "float32") if d > 1 else np.ones(3, "float32")),
)
POOL: tuple[Callable[[Any, int], Any], ...] = (
    lambda kind, d: kind(0)(SIGNALS[d]),
    lambda kind, d: kind(2, stride=0)(SIGNALS[d]),
    lambda kind, d: kind(2, padding=-1)(SIGNALS[d]),
    lambda kind, d: kind(2, padding=2)(SIGNALS[d]),  # more than half the kernel
    lambda kind, d: kind(99)(SIGNALS[d]),
    lambda kind, d: kind(2)(np.ones((2,) * (d + 3), "float32")),
)
PAD: tuple[Callable[[Any, int], Any], ...] = (
    lambda kind, d: kind(-1),
    lambda kind, d: kind((1,) * (2 * d + 1)),
    lambda kind, d: kind(1)(np.ones(2, "float32")),
)
RATE: tuple[Callable[[Any], Any], ...] = (lambda kind: kind(-0.1), lambda kind: kind(1.5), lambda kind: kind("half"))
SIZE: tuple[Callable[[Any, int], Any], ...] = (
    lambda kind, d: kind(0),
    lambda kind, d: kind(-3),
    lambda kind, d: kind(4)(SIGNALS[d]),
    lambda kind, d: kind(2.5),
)


def rated(*names: str) -> dict[str, list[Callable[[], Any]]]:
    return {name: [lambda c=c, name=name: c(getattr(nn, name)) for c in RATE] for name in names}


REFUSED: dict[str, list[Callable[[], Any]]] = {
    **of_rank(
        "Conv",
        *CONV,
        lambda kind, d: kind(3, 6, 3, padding="same", stride=2),
        lambda kind, d: kind(3, 6, 3, padding_mode="wrap"),
        lambda kind, d: kind(3, 6, 11)(SIGNALS[d]),
    ),
    **of_rank("ConvTranspose", *CONV, lambda kind, d: kind(3, 6, 3, stride=2, output_padding=2)(SIGNALS[d])),
    **of_rank("MaxPool", *POOL),
    **of_rank("AvgPool", *POOL),
    **of_rank("BatchNorm", *SIZE),
    **of_rank("InstanceNorm", lambda kind, d: kind(0), lambda kind, d: kind(4, affine=True)(SIGNALS[d])),
    **of_rank("AdaptiveAvgPool", lambda kind, d: kind(0)(SIGNALS[d]), lambda kind, d: kind((2,) * (d + 1))(SIGNALS[d])),
    **of_rank("AdaptiveMaxPool", lambda kind, d: kind(-1)(SIGNALS[d])),
    **of_rank("ZeroPad", *PAD),
    **of_rank("ReflectionPad", *PAD, lambda kind, d: kind(8)(SIGNALS[d])),  # as much as there is
    **of_rank("ReplicationPad", *PAD),
    **of_rank("CircularPad", *PAD, lambda kind, d: kind(9)(SIGNALS[d])),
    **of_rank("ConstantPad", lambda kind, d: kind(-1, 0.0)),
    **of_rank("LPPool", lambda kind, d: kind(2.0, 0)(SIGNALS[d])),
    **rated("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"),
    "Linear": [lambda: nn.Linear(0, 1), lambda: nn.Linear(1, -1), lambda: nn.Linear(2.5, 1), lambda: nn.Linear(4, 1)(FEATURES)],
    "Bilinear": [lambda: nn.Bilinear(0, 1, 1), lambda: nn.Bilinear(3, 4, 1)(FEATURES, FEATURES)],
    **{
        f"FractionalMaxPool{d}d": [
            lambda kind=kind: kind(2),  # neither size nor ratio
            lambda kind=kind: kind(2, output_size=4, output_ratio=0.5),
            lambda kind=kind: kind(0, output_size=4),
            lambda kind=kind: kind(2, output_ratio=1.5),
            lambda kind=kind, d=d: kind(2, output_size=8)(SIGNALS[d]),  # no room for the windows
            lambda kind=kind: kind(2, output_size=4)(FEATURES),
        ]
        for d, kind in ((2, nn.FractionalMaxPool2d), (3, nn.FractionalMaxPool3d))
    },
    "AdaptiveLogSoftmaxWithLoss": [
        lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 10, [4, 4]),
        lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 10, [4, 10]),
        lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 10, [0, 4]),
        lambda: nn.AdaptiveLogSoftmaxWithLoss(0, 10, [4]),
        lambda: nn.AdaptiveLogSoftmaxWithLoss(2, 10, [4, 6]),  # a cluster without features
        lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 10, [4])(FEATURES, np.zeros(2, "int64")),
        lambda: nn.AdaptiveLogSoftmaxWithLoss(3, 10, [4], div_value=1.0)(FEATURES, np.zeros(3, "int64")),
    ],
    "Embedding": [lambda: nn.Embedding(0, 1), lambda: nn.Embedding(3, 2, padding_idx=3), lambda: nn.Embedding(3, 2)(FEATURES)],
    "EmbeddingBag": [lambda: nn.EmbeddingBag(0, 1), lambda: nn.EmbeddingBag(3, 2, mode="median"), lambda: nn.EmbeddingBag(3, 2)(FEATURES)],
    "LayerNorm": [lambda: nn.LayerNorm(0), lambda: nn.LayerNorm(4)(FEATURES)],
    "RMSNorm": [lambda: nn.RMSNorm(0), lambda: nn.RMSNorm(4)(FEATURES)],
    "GroupNorm": [lambda: nn.GroupNorm(2, 3), lambda: nn.GroupNorm(0, 3), lambda: nn.GroupNorm(2, 4)(FEATURES)],
    "LocalResponseNorm": [lambda: nn.LocalResponseNorm(0)],
    "PReLU": [lambda: nn.PReLU(0), lambda: nn.PReLU(2)(FEATURES)],
    "RReLU": [lambda: nn.RReLU(0.5, 0.1)],
    "Hardtanh": [lambda: nn.Hardtanh(1.0, -1.0)],
    "GLU": [lambda: nn.GLU()(FEATURES), lambda: nn.GLU(dim=5)(FEATURES)],
    "Softmax": [lambda: nn.Softmax(dim=2)(FEATURES)],
    "LogSoftmax": [lambda: nn.LogSoftmax(dim=-3)(FEATURES)],
    "Softmin": [lambda: nn.Softmin(dim=2)(FEATURES)],
    "Softmax2d": [lambda: nn.Softmax2d()(FEATURES)],
    "Flatten": [lambda: nn.Flatten(3)(FEATURES)],
    "Unflatten": [lambda: nn.Unflatten(1, (2, 2))(FEATURES)],
    "PixelShuffle": [lambda: nn.PixelShuffle(0), lambda: nn.PixelShuffle(2)(SIGNALS[2])],
    "PixelUnshuffle": [lambda: nn.PixelUnshuffle(0), lambda: nn.PixelUnshuffle(3)(SIGNALS[2])],
    "ChannelShuffle": [lambda: nn.ChannelShuffle(0), lambda: nn.ChannelShuffle(2)(SIGNALS[2])],
    "Upsample": [lambda: nn.Upsample(scale_factor=2, mode="cubic?")(SIGNALS[2]), lambda: nn.Upsample()(SIGNALS[2]), lambda: nn.Upsample(size=0)(SIGNALS[2])],
    "Unfold": [lambda: nn.Unfold(0)(SIGNALS[2]), lambda: nn.Unfold(9)(SIGNALS[2])],
    "Fold": [lambda: nn.Fold(4, 3)(np.ones((2, 5, 4), "float32"))],
    "CosineSimilarity": [lambda: nn.CosineSimilarity(dim=4)(FEATURES, FEATURES)],
    "RNN": [lambda: nn.RNN(3, 0), lambda: nn.RNN(3, 4, dropout=2.0), lambda: nn.RNN(4, 2)(FEATURES)],
    "LSTM": [lambda: nn.LSTM(0, 3), lambda: nn.LSTM(3, 4, num_layers=0), lambda: nn.LSTM(3, 4, proj_size=4), lambda: nn.LSTM(3, 4, proj_size=-1)],
    "GRU": [lambda: nn.GRU(3, -1), lambda: nn.GRU(4, 2)(FEATURES)],
    "RNNCell": [lambda: nn.RNNCell(0, 1), lambda: nn.RNNCell(4, 1)(FEATURES)],
    "LSTMCell": [lambda: nn.LSTMCell(1, 0), lambda: nn.LSTMCell(4, 1)(FEATURES)],
    "GRUCell": [lambda: nn.GRUCell(0, 1), lambda: nn.GRUCell(4, 1)(FEATURES)],
    "MultiheadAttention": [lambda: nn.MultiheadAttention(5, 2), lambda: nn.MultiheadAttention(4, 2, dropout=-1.0)],
    "TransformerEncoderLayer": [lambda: nn.TransformerEncoderLayer(5, 2), lambda: nn.TransformerEncoderLayer(4, 2, 0)],
    "TransformerDecoderLayer": [lambda: nn.TransformerDecoderLayer(4, 3), lambda: nn.TransformerDecoderLayer(4, 2, dropout=1.5)],
    "Transformer": [lambda: nn.Transformer(5, 2), lambda: nn.Transformer(4, 2, 0)],
    "TransformerEncoder": [lambda: nn.TransformerEncoder(nn.Linear(1, 1), 0)],
    "TransformerDecoder": [lambda: nn.TransformerDecoder(nn.Linear(1, 1), -1)],
}

ANYTHING_GOES = {
    **dict.fromkeys(
        ("CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Identity", "LeakyReLU", "LogSigmoid", "Mish", "ReLU", "ReLU6", "SELU", "SiLU",
         "Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold"),
        "takes any shape; its numbers are real",
    ),
    "PairwiseDistance": "shapes are those of a subtraction",
    **dict.fromkeys(("UpsamplingNearest2d", "UpsamplingBilinear2d"), "is an Upsample"),
    **dict.fromkeys(("MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"), "tested with the pools whose indices it takes"),
    **dict.fromkeys(("Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"), "a container, tested as such"),
}  # fmt: skip  # a table reads better in rows

CASES = [pytest.param(call, id=f"{name}-{i}") for name, calls in REFUSED.items() for i, call in enumerate(calls)]


@pytest.mark.parametrize("call", CASES)
def test_is_refused_at_the_users_line(call: Callable[[], Any]) -> None:
    with pytest.raises(ShapeError) as caught:
        call()
    assert caught.value.source is not None and caught.value.source.file == __file__
    assert caught.value.given is not None, "the message does not say what was given"


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_each_layer_is_here_or_takes_anything(name: str) -> None:
    assert (name in REFUSED) != (name in ANYTHING_GOES), f"add bad arguments of {name} to REFUSED"

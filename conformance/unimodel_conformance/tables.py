"""What is compared with PyTorch: layers, losses, optimizers and schedules with their arguments.

The same entries build ``torch.nn.X(**kwargs)`` where ``golden/make.py`` computes the answers and ``um.nn.X(**kwargs)`` where the suite checks them, since names and
arguments are the same. Each option of an optimizer appears with a value that is not its default. Add an entry, run ``make.py``, and it is checked on every
backend. Nothing here imports anything of either side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

N = 4
"""The number of samples in every batch here; several cases run in one program."""


@dataclass(frozen=True)
class Entry:
    """A class of ``nn``, ``losses``, ``optim`` or ``lr_scheduler`` with arguments; ``inputs`` are kinds of numbers and shapes."""

    id: str
    name: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[tuple[Any, ...], ...] = ()


def normal(*shape: int) -> tuple[Any, ...]:
    return ("normal", shape)


def wide(*shape: int) -> tuple[Any, ...]:
    """Normal numbers times 4."""
    return ("wide", shape)


def distinct(*shape: int) -> tuple[Any, ...]:
    return ("distinct", shape)


def integers(high: int, *shape: int) -> tuple[Any, ...]:
    return ("integers", shape, high)


def unit(*shape: int) -> tuple[Any, ...]:
    return ("unit", shape)


def _layer(name: str, shape: tuple[Any, ...], /, note: str = "", *others: tuple[Any, ...], **kwargs: Any) -> Entry:
    return Entry(f"{name}{'-' + note if note else ''}", name, kwargs, (shape, *others))


LAYERS: list[Entry] = [
    _layer("Identity", normal(N, 3)),
    _layer("Flatten", normal(N, 2, 3, 2)),
    _layer("Flatten", normal(N, 2, 3, 2), "dims", start_dim=2, end_dim=-1),
    _layer("Linear", normal(N, 5), in_features=5, out_features=3),
    _layer("Linear", normal(N, 5), "no_bias", in_features=5, out_features=3, bias=False),
    _layer("Linear", normal(N, 3, 2, 5), "many_dims", in_features=5, out_features=1),
    _layer("Embedding", integers(6, N, 3), num_embeddings=6, embedding_dim=4),
    _layer("Embedding", integers(6, N, 5), "padding", num_embeddings=6, embedding_dim=4, padding_idx=2),
    _layer("Conv2d", normal(N, 2, 6, 5), in_channels=2, out_channels=3, kernel_size=3),
    _layer("Conv2d", normal(N, 2, 7, 6), "stride_padding", in_channels=2, out_channels=3, kernel_size=3, stride=2, padding=1),
    _layer("Conv2d", normal(N, 2, 8, 6), "each", in_channels=2, out_channels=3, kernel_size=(3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
    _layer("Conv2d", normal(N, 4, 6, 6), "groups", in_channels=4, out_channels=6, kernel_size=3, groups=2, padding=1),
    _layer("Conv2d", normal(N, 3, 6, 6), "depthwise", in_channels=3, out_channels=6, kernel_size=3, groups=3, stride=2, padding=1),
    _layer("Conv2d", normal(N, 2, 7, 7), "dilated", in_channels=2, out_channels=2, kernel_size=3, dilation=2, padding=2),
    _layer("Conv2d", normal(N, 2, 5, 6), "same", in_channels=2, out_channels=2, kernel_size=(2, 3), padding="same"),
    _layer("Conv2d", normal(N, 2, 4, 4), "no_bias", in_channels=2, out_channels=3, kernel_size=1, bias=False),
    _layer("MaxPool2d", distinct(N, 2, 6, 6), kernel_size=2),
    _layer("MaxPool2d", distinct(N, 2, 7, 6), "padding", kernel_size=3, stride=2, padding=1),
    _layer("MaxPool2d", distinct(N, 2, 6, 7), "ceil", kernel_size=(2, 3), stride=2, padding=(1, 0), ceil_mode=True),
    _layer("MaxPool2d", distinct(N, 1, 7, 7), "dilated", kernel_size=2, stride=1, dilation=2),
    _layer("AvgPool2d", normal(N, 2, 6, 6), kernel_size=2),
    _layer("AvgPool2d", normal(N, 2, 7, 6), "padding", kernel_size=3, stride=2, padding=1),
    _layer("AvgPool2d", normal(N, 2, 7, 6), "inside", kernel_size=3, stride=2, padding=1, count_include_pad=False),
    _layer("AvgPool2d", normal(N, 2, 6, 7), "ceil", kernel_size=3, stride=2, padding=1, ceil_mode=True),
    _layer("AvgPool2d", normal(N, 2, 6, 7), "divisor", kernel_size=(2, 3), divisor_override=4),
    _layer("BatchNorm1d", normal(N, 3), num_features=3),
    _layer("BatchNorm1d", normal(N, 3, 5), "sequence", num_features=3, eps=0.1, momentum=0.3),
    _layer("BatchNorm1d", normal(N, 3), "cumulative", num_features=3, momentum=None),
    _layer("BatchNorm2d", normal(N, 3, 2, 3), num_features=3),
    _layer("BatchNorm2d", normal(N, 3, 2, 3), "plain", num_features=3, affine=False, momentum=0.5),
    _layer("BatchNorm2d", normal(N, 3, 2, 3), "untracked", num_features=3, track_running_stats=False),
    _layer("LayerNorm", normal(N, 6), normalized_shape=6),
    _layer("LayerNorm", normal(N, 2, 3, 4), "dims", normalized_shape=(3, 4), eps=0.1),
    _layer("LayerNorm", normal(N, 5), "plain", normalized_shape=5, elementwise_affine=False),
    _layer("LayerNorm", normal(N, 5), "no_bias", normalized_shape=5, bias=False),
    _layer("GroupNorm", normal(N, 4, 3), num_groups=2, num_channels=4),
    _layer("GroupNorm", normal(N, 6, 2, 2), "options", num_groups=3, num_channels=6, eps=0.1, affine=False),
    _layer("RMSNorm", normal(N, 5), normalized_shape=5),
    _layer("RMSNorm", normal(N, 2, 3, 4), "options", normalized_shape=(3, 4), eps=0.1, elementwise_affine=False),
    _layer("LocalResponseNorm", normal(N, 5, 3), size=3, alpha=0.1, beta=0.6, k=1.5),
    _layer("Unflatten", normal(N, 6), dim=1, unflattened_size=(2, 3)),
    _layer("BatchNorm3d", normal(N, 3, 2, 2, 2), num_features=3),
    _layer("Bilinear", normal(N, 3), "", normal(N, 4), in1_features=3, in2_features=4, out_features=2),
    _layer("CosineSimilarity", normal(N, 3), "", normal(N, 3), dim=1),
    _layer("PairwiseDistance", normal(N, 3), "", normal(N, 3)),
    _layer("PairwiseDistance", normal(N, 3), "options", normal(N, 3), p=3.0, keepdim=True, eps=0.01),
    _layer("EmbeddingBag", integers(6, N, 3), num_embeddings=6, embedding_dim=2),
    _layer("EmbeddingBag", integers(6, N, 3), "sum", num_embeddings=6, embedding_dim=2, mode="sum"),
    _layer("EmbeddingBag", integers(6, N, 3), "max", num_embeddings=6, embedding_dim=2, mode="max"),
    _layer("ChannelShuffle", normal(N, 6, 2, 2), groups=3),
    _layer("PixelShuffle", normal(N, 8, 2, 3), upscale_factor=2),
    _layer("PixelUnshuffle", normal(N, 2, 4, 6), downscale_factor=2),
    _layer("Unfold", normal(N, 2, 5, 6), kernel_size=(2, 3), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
    _layer("Fold", normal(N, 12, 9), output_size=(4, 5), kernel_size=(2, 3), stride=(1, 1)),
    _layer("Upsample", normal(N, 2, 3, 4), scale_factor=2),
    _layer("Upsample", normal(N, 2, 3, 4), "bilinear", size=(5, 6), mode="bilinear"),
    _layer("Upsample", normal(N, 2, 3, 4), "corners", scale_factor=2, mode="bilinear", align_corners=True),
    _layer("UpsamplingNearest2d", normal(N, 2, 3, 4), scale_factor=3),
    _layer("UpsamplingBilinear2d", normal(N, 2, 3, 4), scale_factor=2),
    _layer("RNNCell", normal(N, 3), "", normal(N, 4), input_size=3, hidden_size=4),
    _layer("RNNCell", normal(N, 3), "relu", input_size=3, hidden_size=4, nonlinearity="relu", bias=False),
    _layer("LSTMCell", normal(N, 3), input_size=3, hidden_size=4),
    _layer("GRUCell", normal(N, 3), "", normal(N, 4), input_size=3, hidden_size=4),
    _layer("RNN", normal(N, 2, 2), input_size=2, hidden_size=3, batch_first=True),
    _layer("RNN", normal(N, 2, 2), "options", input_size=2, hidden_size=3, num_layers=2, nonlinearity="relu", bias=False, batch_first=True, bidirectional=True),
    _layer("LSTM", normal(N, 2, 2), input_size=2, hidden_size=3, batch_first=True),
    _layer("LSTM", normal(N, 2, 2), "options", input_size=2, hidden_size=3, num_layers=2, bias=False, batch_first=True, bidirectional=True),
    _layer("LSTM", normal(N, 2, 2), "projected", input_size=2, hidden_size=3, num_layers=2, batch_first=True, proj_size=2),
    _layer("GRU", normal(N, 2, 2), input_size=2, hidden_size=3, batch_first=True),
    _layer("GRU", normal(N, 2, 2), "options", input_size=2, hidden_size=3, num_layers=2, bias=False, batch_first=True, bidirectional=True),
    _layer("MultiheadAttention", normal(N, 3, 4), "", normal(N, 2, 4), normal(N, 2, 4), embed_dim=4, num_heads=2, batch_first=True),
    _layer(
        "MultiheadAttention",
        normal(N, 3, 4),
        "options",
        normal(N, 2, 3),
        normal(N, 2, 5),
        embed_dim=4,
        num_heads=2,
        bias=False,
        add_bias_kv=True,
        add_zero_attn=True,
        kdim=3,
        vdim=5,
        batch_first=True,
    ),
    _layer("TransformerEncoderLayer", normal(N, 3, 4), d_model=4, nhead=2, dim_feedforward=5, dropout=0.0, batch_first=True),
    _layer(
        "TransformerEncoderLayer",
        normal(N, 3, 4),
        "options",
        d_model=4,
        nhead=2,
        dim_feedforward=5,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=0.1,
        batch_first=True,
        norm_first=True,
        bias=False,
    ),
    _layer("TransformerDecoderLayer", normal(N, 3, 4), "", normal(N, 2, 4), d_model=4, nhead=2, dim_feedforward=5, dropout=0.0, batch_first=True),
    _layer(
        "TransformerDecoderLayer",
        normal(N, 3, 4),
        "options",
        normal(N, 2, 4),
        d_model=4,
        nhead=2,
        dim_feedforward=5,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=0.1,
        batch_first=True,
        norm_first=True,
        bias=False,
    ),
    _layer(
        "Transformer",
        normal(N, 3, 4),
        "",
        normal(N, 2, 4),
        d_model=4,
        nhead=2,
        num_encoder_layers=2,
        num_decoder_layers=1,
        dim_feedforward=5,
        dropout=0.0,
        batch_first=True,
    ),
    _layer("ReLU", normal(N, 5)),
    _layer("LeakyReLU", normal(N, 5)),
    _layer("LeakyReLU", normal(N, 5), "slope", negative_slope=0.3),
    _layer("ELU", normal(N, 5)),
    _layer("ELU", normal(N, 5), "alpha", alpha=0.4),
    _layer("GELU", normal(N, 5)),
    _layer("GELU", normal(N, 5), "tanh", approximate="tanh"),
    _layer("SiLU", normal(N, 5)),
    _layer("Sigmoid", normal(N, 5)),
    _layer("Tanh", normal(N, 5)),
    _layer("Softplus", normal(N, 5)),
    _layer("Softplus", normal(N, 5), "beta", beta=3.0, threshold=2.0),
    _layer("SELU", normal(N, 5)),
    _layer("CELU", normal(N, 5)),
    _layer("CELU", normal(N, 5), "alpha", alpha=0.4),
    _layer("Mish", normal(N, 5)),
    _layer("Softsign", normal(N, 5)),
    _layer("LogSigmoid", normal(N, 5)),
    _layer("Tanhshrink", normal(N, 5)),
    _layer("ReLU6", wide(N, 5)),
    _layer("Hardtanh", wide(N, 5), min_val=-2.0, max_val=0.5),
    _layer("Hardsigmoid", wide(N, 5)),
    _layer("Hardswish", wide(N, 5)),
    _layer("Hardshrink", normal(N, 5), lambd=0.7),
    _layer("Softshrink", normal(N, 5), lambd=0.7),
    _layer("Threshold", normal(N, 5), threshold=0.2, value=-3.0),
    _layer("PReLU", normal(N, 5)),
    _layer("PReLU", normal(N, 3, 2), "channels", num_parameters=3),
    _layer("GLU", normal(N, 6)),
    _layer("GLU", normal(N, 4, 3), "dim", dim=1),
    _layer("Softmin", normal(N, 5), dim=1),
    _layer("Softmax2d", normal(N, 3, 2, 2)),
    _layer("Softmax", normal(N, 5, 2), dim=1),
    _layer("LogSoftmax", normal(N, 5, 2), dim=-1),
]
"""One line a case. Layers of any shape per sample may be added freely, as long as the first dimension is N; of several results the first is compared."""

_IMAGES = {1: (7,), 2: (5, 6), 3: (4, 5, 4)}
_PADS = {1: (2, 1), 2: (2, 1, 0, 2), 3: (1, 2, 2, 0, 1, 1)}
for _d, _size in _IMAGES.items():
    _image = (N, 2, *_size)
    _conv = {"in_channels": 2, "out_channels": 4, "kernel_size": 3}
    if _d != 2:
        LAYERS += [
            _layer(f"Conv{_d}d", normal(*_image), **_conv),
            _layer(f"Conv{_d}d", normal(*_image), "options", **_conv, stride=2, padding=1, groups=2, bias=False),
            _layer(f"Conv{_d}d", normal(*_image), "dilated", **_conv, dilation=2, padding=2),
            _layer(f"MaxPool{_d}d", distinct(*_image), kernel_size=2),
            _layer(f"MaxPool{_d}d", distinct(*_image), "options", kernel_size=3, stride=2, padding=1, ceil_mode=True),
            _layer(f"AvgPool{_d}d", normal(*_image), kernel_size=3, stride=2, padding=1, count_include_pad=False),
        ]
    LAYERS += [
        _layer(f"Conv{_d}d", normal(*_image), "reflect", **_conv, padding=1, padding_mode="reflect"),
        _layer(f"Conv{_d}d", normal(*_image), "circular", **_conv, padding=1, padding_mode="circular"),
        _layer(f"ConvTranspose{_d}d", normal(N, 2, *(s - 2 for s in _size)), **_conv),
        _layer(f"ConvTranspose{_d}d", normal(N, 2, *(s - 2 for s in _size)), "options", **_conv, stride=2, padding=1, output_padding=1, groups=2, bias=False),
        _layer(f"ConvTranspose{_d}d", normal(N, 2, *(s - 2 for s in _size)), "dilated", **_conv, dilation=2, padding=2, stride=3),
        _layer(f"AdaptiveAvgPool{_d}d", normal(*_image), output_size=3),
        _layer(f"AdaptiveMaxPool{_d}d", distinct(*_image), output_size=2),
        _layer(f"LPPool{_d}d", unit(*_image), norm_type=2.0, kernel_size=2),
        _layer(f"LPPool{_d}d", unit(*_image), "cubes", norm_type=3.0, kernel_size=2, stride=1),
        _layer(f"InstanceNorm{_d}d", normal(*_image), num_features=2),
        _layer(f"InstanceNorm{_d}d", normal(*_image), "tracked", num_features=2, affine=True, track_running_stats=True, momentum=0.3, eps=0.1),
        _layer(f"ZeroPad{_d}d", normal(*_image), padding=_PADS[_d]),
        _layer(f"ConstantPad{_d}d", normal(*_image), padding=_PADS[_d], value=-1.5),
        _layer(f"ReflectionPad{_d}d", normal(*_image), padding=_PADS[_d]),
        _layer(f"ReplicationPad{_d}d", normal(*_image), padding=_PADS[_d]),
        _layer(f"CircularPad{_d}d", normal(*_image), padding=_PADS[_d]),
    ]

LAYERS += [  # options that no entry above tries
    _layer("AvgPool1d", normal(N, 2, 8), "ceil", kernel_size=3, stride=2, ceil_mode=True),
    _layer("AvgPool3d", normal(N, 2, 4, 5, 4), "ceil", kernel_size=3, stride=2, ceil_mode=True, divisor_override=5),
    _layer("BatchNorm1d", normal(N, 3), "plain", num_features=3, affine=False),
    _layer("BatchNorm1d", normal(N, 3, 2), "untracked", num_features=3, track_running_stats=False),
    _layer("BatchNorm2d", normal(N, 3, 2, 2), "eps", num_features=3, eps=0.2),
    _layer("BatchNorm3d", normal(N, 2, 2, 2, 2), "options", num_features=2, eps=0.2, momentum=0.4, affine=False),
    _layer("BatchNorm3d", normal(N, 2, 2, 2, 2), "untracked", num_features=2, track_running_stats=False),
    _layer("Bilinear", normal(N, 3), "no_bias", normal(N, 4), in1_features=3, in2_features=4, out_features=2, bias=False),
    _layer("CosineSimilarity", normal(N, 3, 4), "options", normal(N, 3, 4), dim=2, eps=5.0),
    _layer("EmbeddingBag", integers(4, N, 5), "padding", num_embeddings=4, embedding_dim=2, padding_idx=1),
    _layer("EmbeddingBag", integers(4, N, 5), "padding_max", num_embeddings=4, embedding_dim=2, padding_idx=-2, mode="max"),
    _layer("Flatten", normal(N, 2, 3, 2), "middle", end_dim=2),
    _layer("Fold", normal(N, 8, 15), "options", output_size=(5, 4), kernel_size=2, dilation=(2, 1), padding=(1, 1), stride=(1, 2)),
    _layer("LPPool1d", unit(N, 2, 8), "ceil", norm_type=2.0, kernel_size=3, stride=2, ceil_mode=True),
    _layer("LPPool2d", unit(N, 2, 6, 7), "ceil", norm_type=2.0, kernel_size=(2, 3), stride=2, ceil_mode=True),
    _layer("LPPool3d", unit(N, 1, 4, 4, 4), "ceil", norm_type=2.0, kernel_size=3, stride=2, ceil_mode=True),
    _layer("LogSoftmax", normal(N, 4, 3), "dim", dim=1),
    _layer("MaxPool1d", distinct(N, 2, 9), "dilated", kernel_size=3, stride=1, dilation=2),
    _layer("MaxPool3d", distinct(N, 1, 4, 5, 4), "dilated", kernel_size=2, stride=1, dilation=2),
    _layer("Upsample", normal(N, 2, 5), "linear", scale_factor=2, mode="linear"),
    _layer("Upsample", normal(N, 2, 5), "linear_corners", size=8, mode="linear", align_corners=True),
    _layer("Upsample", normal(N, 2, 2, 3, 2), "trilinear", size=(3, 5, 4), mode="trilinear"),
    _layer("Upsample", normal(N, 2, 4, 5), "bicubic", size=(7, 9), mode="bicubic"),
    _layer("Upsample", normal(N, 2, 4, 5), "bicubic_corners", scale_factor=2, mode="bicubic", align_corners=True),
    _layer("Upsample", normal(N, 2, 4, 5), "nearest", size=(7, 3)),
    _layer("Upsample", normal(N, 2, 4, 5), "nearest_exact", size=(7, 3), mode="nearest-exact"),
    _layer("Upsample", normal(N, 2, 4, 6), "area", size=(3, 4), mode="area"),
    _layer("Upsample", normal(N, 2, 4, 5), "recomputed", scale_factor=(1.6, 1.3), mode="bilinear", recompute_scale_factor=True),
    _layer("Upsample", normal(N, 2, 4, 5), "factors", scale_factor=(1.6, 1.3), mode="bilinear", recompute_scale_factor=False),
    _layer("UpsamplingNearest2d", normal(N, 2, 3, 4), "size", size=(5, 7)),
    _layer("UpsamplingBilinear2d", normal(N, 2, 3, 4), "size", size=(5, 7)),
    _layer(
        "AdaptiveLogSoftmaxWithLoss", normal(N, 8), "", ("values", (N,), 0, 4, 7, 8), in_features=8, n_classes=9, cutoffs=(3, 6), div_value=2.0, head_bias=True
    ),
    _layer("Embedding", integers(6, N, 5), "options", num_embeddings=6, embedding_dim=3, max_norm=1.0, norm_type=1.5, scale_grad_by_freq=True),
    _layer(  # each integer twice: where they are not equally frequent, PyTorch's own bag is at fault
        "EmbeddingBag",
        ("values", (N, 3), 0, 5, 2, 1, 1, 4, 3, 0, 5, 2, 4, 3),
        "frequency",
        num_embeddings=6,
        embedding_dim=2,
        mode="sum",
        scale_grad_by_freq=True,
    ),
]

LAYERS_TESTED_BY_HAND = {
    "Dropout": "its masks are core's own, not PyTorch's",
    "RReLU": "its slopes are random in train mode",
    "Dropout1d": "its masks are core's own",
    "Dropout2d": "its masks are core's own",
    "Dropout3d": "its masks are core's own",
    "AlphaDropout": "its masks are core's own",
    "FeatureAlphaDropout": "its masks are core's own",
    "FractionalMaxPool2d": "its windows are drawn by core's own generator",
    "FractionalMaxPool3d": "its windows are drawn by core's own generator",
    "MaxUnpool1d": "takes the indices of a pooling",
    "MaxUnpool2d": "takes the indices of a pooling",
    "MaxUnpool3d": "takes the indices of a pooling",
    "TransformerEncoder": "a stack of what it is given; Transformer holds one",
    "TransformerDecoder": "a stack of what it is given; Transformer holds one",
    "Sequential": "a container",
    "ModuleList": "a container",
    "ModuleDict": "a container",
    "ParameterList": "a container",
    "ParameterDict": "a container",
}

_CLASSES = 5


# "logits" go through log_softmax before the loss: PyTorch's CTC has the gradient of both together
def _loss(name: str, *inputs: tuple[Any, ...], note: str = "", **kwargs: Any) -> Entry:
    return Entry(f"{name}{'-' + note if note else ''}", name, kwargs, inputs)


_LOSSES = [
    _loss("MSELoss", normal(N, 3), normal(N, 3)),
    _loss("L1Loss", normal(N, 3), normal(N, 3)),
    _loss("CrossEntropyLoss", normal(N, _CLASSES), integers(_CLASSES, N)),
    _loss("CrossEntropyLoss", normal(N, _CLASSES), integers(_CLASSES, N), note="smooth", label_smoothing=0.1),
    _loss("CrossEntropyLoss", normal(N, _CLASSES), integers(_CLASSES, N), note="weight", weight=[0.5, 2.0, 1.0, 0.1, 3.0]),
    _loss("CrossEntropyLoss", normal(N, _CLASSES), ("ignoring", (N,), _CLASSES, -100), note="ignore"),
    _loss(
        "CrossEntropyLoss",
        normal(N, _CLASSES, 3),
        ("ignoring", (N, 3), _CLASSES, 1),
        note="all",
        weight=[0.5, 2.0, 1.0, 0.1, 3.0],
        ignore_index=1,
        label_smoothing=0.2,
    ),
    _loss("CrossEntropyLoss", normal(N, _CLASSES, 2, 3), integers(_CLASSES, N, 2, 3), note="images"),
    _loss(
        "CrossEntropyLoss", normal(N, _CLASSES), ("probabilities", (N, _CLASSES)), note="probabilities", label_smoothing=0.1, weight=[0.5, 2.0, 1.0, 0.1, 3.0]
    ),
    _loss("BCEWithLogitsLoss", normal(N, 3), unit(N, 3)),
    _loss("BCEWithLogitsLoss", normal(N, 3), unit(N, 3), note="weights", weight=[0.5, 2.0, 1.0], pos_weight=[3.0, 0.3, 1.0]),
    _loss("BCELoss", ("inside", (N, 3)), unit(N, 3)),
    _loss("BCELoss", ("inside", (N, 3)), unit(N, 3), note="weight", weight=[0.5, 2.0, 1.0]),
    _loss("NLLLoss", normal(N, _CLASSES), integers(_CLASSES, N)),
    _loss("NLLLoss", normal(N, _CLASSES, 3), ("ignoring", (N, 3), _CLASSES, 1), note="all", weight=[0.5, 2.0, 1.0, 0.1, 3.0], ignore_index=1),
    _loss("KLDivLoss", normal(N, 5), ("probabilities", (N, 5))),
    _loss("KLDivLoss", normal(N, 5), normal(N, 5), note="log", log_target=True),
    _loss("HuberLoss", wide(N, 3), normal(N, 3), delta=1.7),
    _loss("SmoothL1Loss", wide(N, 3), normal(N, 3), beta=0.6),
    _loss("PoissonNLLLoss", normal(N, 3), ("counts", (N, 3))),
    _loss("PoissonNLLLoss", ("inside", (N, 3)), ("counts", (N, 3)), note="all", log_input=False, full=True, eps=0.01),
    _loss("GaussianNLLLoss", normal(N, 3), normal(N, 3), ("inside", (N, 3))),
    _loss("GaussianNLLLoss", normal(N, 3), normal(N, 3), ("inside", (N, 3)), note="full", full=True, eps=0.3),
    _loss("SoftMarginLoss", normal(N, 3), ("signs", (N, 3))),
    _loss("HingeEmbeddingLoss", wide(N, 3), ("signs", (N, 3)), margin=1.5),
    _loss("MultiLabelSoftMarginLoss", normal(N, 4), ("flags", (N, 4))),
    _loss("MultiLabelSoftMarginLoss", normal(N, 4), ("flags", (N, 4)), note="weight", weight=[0.5, 2.0, 1.0, 3.0]),
    _loss("MultiMarginLoss", normal(N, 4), integers(4, N)),
    _loss("MultiMarginLoss", normal(N, 4), integers(4, N), note="all", p=2, margin=0.7, weight=[0.5, 2.0, 1.0, 3.0]),
    _loss("MultiLabelMarginLoss", normal(N, 4), ("labels", (N, 4))),
    _loss("MarginRankingLoss", normal(N), normal(N), ("signs", (N,)), margin=0.4),
    _loss("CosineEmbeddingLoss", normal(N, 3), normal(N, 3), ("signs", (N,)), margin=0.2),
    _loss("TripletMarginLoss", normal(N, 3), normal(N, 3), normal(N, 3)),
    _loss("TripletMarginLoss", normal(N, 3), normal(N, 3), normal(N, 3), note="all", margin=2.0, p=3.0, swap=True, eps=0.01),
    _loss("TripletMarginWithDistanceLoss", normal(N, 3), normal(N, 3), normal(N, 3), margin=1.5, swap=True),
    _loss("CTCLoss", ("logits", (6, N, 4)), ("range", (N, 3), 1, 4), ("values", (N,), 6, 6, 5, 6), ("values", (N,), 3, 2, 1, 3)),
    _loss("CTCLoss", ("logits", (6, N, 4)), ("range", (N, 3), 0, 3), ("values", (N,), 6, 6, 5, 6), ("values", (N,), 3, 2, 1, 3), note="blank", blank=3),
    _loss(
        "CTCLoss",
        ("logits", (6, N, 4)),
        ("values", (N, 3), *(1,) * 12),
        ("values", (N,), 6, 4, 5, 6),
        ("values", (N,), 3, 3, 1, 2),
        note="zero",
        zero_infinity=True,
    ),
]
LOSSES: list[Entry] = [
    Entry(f"{e.id}-{reduction}", e.name, {**e.kwargs, "reduction": reduction}, e.inputs) for e in _LOSSES for reduction in ("mean", "sum", "none")
]


def _optimizer(name: str, note: str = "", **kwargs: Any) -> Entry:
    return Entry(f"{name}{'-' + note if note else ''}", name, kwargs)


OPTIMIZERS: list[Entry] = [
    _optimizer("SGD", lr=0.1),
    _optimizer("SGD", "momentum", lr=0.1, momentum=0.9),
    _optimizer("SGD", "dampening", lr=0.1, momentum=0.9, dampening=0.4),
    _optimizer("SGD", "nesterov", lr=0.1, momentum=0.8, nesterov=True),
    _optimizer("SGD", "weight_decay", lr=0.1, weight_decay=0.05),
    _optimizer("SGD", "maximize", lr=0.02, momentum=0.5, maximize=True),
    _optimizer("SGD", "all", lr=0.1, momentum=0.9, weight_decay=0.05, nesterov=True),
    _optimizer("Adam", lr=0.02),
    _optimizer("Adam", "betas", lr=0.02, betas=(0.7, 0.9)),
    _optimizer("Adam", "eps", lr=0.02, eps=0.1),
    _optimizer("Adam", "weight_decay", lr=0.02, weight_decay=0.1),
    _optimizer("Adam", "amsgrad", lr=0.02, amsgrad=True, betas=(0.9, 0.7)),
    _optimizer("Adam", "maximize", lr=0.02, maximize=True),
    _optimizer("Adam", "decoupled", lr=0.02, weight_decay=0.5, decoupled_weight_decay=True),
    _optimizer("AdamW", lr=0.02),
    _optimizer("AdamW", "weight_decay", lr=0.02, weight_decay=0.3),
    _optimizer("AdamW", "betas", lr=0.02, betas=(0.7, 0.9), eps=0.01),
    _optimizer("AdamW", "amsgrad", lr=0.02, amsgrad=True, betas=(0.9, 0.7), weight_decay=0.1),
    _optimizer("AdamW", "maximize", lr=0.02, maximize=True),
    _optimizer("NAdam", lr=0.02),
    _optimizer("NAdam", "options", lr=0.02, betas=(0.7, 0.9), eps=0.01, weight_decay=0.1, momentum_decay=0.05),
    _optimizer("NAdam", "decoupled", lr=0.02, weight_decay=0.1, decoupled_weight_decay=True),
    _optimizer("NAdam", "maximize", lr=0.02, maximize=True),
    _optimizer("RAdam", lr=0.02),
    _optimizer("RAdam", "options", lr=0.02, betas=(0.7, 0.9), eps=0.01, weight_decay=0.1),
    _optimizer("RAdam", "decoupled", lr=0.02, weight_decay=0.1, decoupled_weight_decay=True),
    _optimizer("RAdam", "maximize", lr=0.02, maximize=True),
    _optimizer("Adamax", lr=0.02),
    _optimizer("Adamax", "options", lr=0.02, betas=(0.7, 0.9), eps=0.01, weight_decay=0.1),
    _optimizer("Adamax", "maximize", lr=0.02, maximize=True),
    _optimizer("Adagrad", lr=0.05),
    _optimizer("Adagrad", "options", lr=0.05, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.2, eps=0.01),
    _optimizer("Adagrad", "maximize", lr=0.05, maximize=True),
    _optimizer("Adadelta", lr=1.0),
    _optimizer("Adadelta", "options", lr=0.8, rho=0.7, eps=0.01, weight_decay=0.1),
    _optimizer("Adadelta", "maximize", lr=1.0, maximize=True),
    _optimizer("RMSprop", lr=0.01),
    _optimizer("RMSprop", "options", lr=0.01, alpha=0.8, eps=0.01, weight_decay=0.1),
    _optimizer("RMSprop", "momentum", lr=0.01, momentum=0.8),
    _optimizer("RMSprop", "centered", lr=0.01, centered=True, momentum=0.5, alpha=0.9),
    _optimizer("RMSprop", "maximize", lr=0.01, maximize=True),
    _optimizer("Rprop", lr=0.01),
    _optimizer("Rprop", "options", lr=0.01, etas=(0.3, 1.5), step_sizes=(0.002, 0.03)),
    _optimizer("Rprop", "maximize", lr=0.01, step_sizes=(1e-6, 0.02), maximize=True),
    _optimizer("ASGD", lr=0.05),
    _optimizer("ASGD", "options", lr=0.05, lambd=0.01, alpha=0.6, t0=20, weight_decay=0.1),
    _optimizer("ASGD", "maximize", lr=0.01, maximize=True),
    _optimizer("Adafactor", lr=0.05),
    _optimizer("Adafactor", "options", lr=0.05, beta2_decay=-0.5, eps=(1e-6, 0.01), d=1.5, weight_decay=0.1),
    _optimizer("Adafactor", "maximize", lr=0.05, maximize=True),
    _optimizer("Lion", lr=0.005),
    _optimizer("Lion", "options", lr=0.005, betas=(0.7, 0.9), weight_decay=0.3),
    _optimizer("Lion", "maximize", lr=0.005, maximize=True),
    _optimizer("LAMB", lr=0.01),
    _optimizer("LAMB", "options", lr=0.01, betas=(0.7, 0.9), eps=0.01, weight_decay=0.1),
    _optimizer("LAMB", "maximize", lr=0.01, maximize=True),
    _optimizer("Muon", lr=0.02),
    _optimizer("Muon", "options", lr=0.02, weight_decay=0.3, momentum=0.5, nesterov=False, ns_coefficients=(3.0, -4.0, 1.9), eps=0.01, ns_steps=3),
    _optimizer("Muon", "adjust", lr=0.02, adjust_lr_fn="match_rms_adamw"),
]
MATRICES_ONLY = frozenset(["Muon"])
"""Optimizers of two-dimensional parameters."""

STEPS = 50
RATES = {20: 0.5, 35: 1.5}
"""At these steps the learning rate becomes this many times the first one."""
KEPT = (1, 2, 3, 5, 10, 19, 20, 21, 35, 50)
"""After these steps the parameters are compared."""

SCHEDULES: list[Entry] = [
    Entry("StepLR", "StepLR", {"step_size": 3}),
    Entry("StepLR-gamma", "StepLR", {"step_size": 2, "gamma": 0.5}),
    Entry("CosineAnnealingLR", "CosineAnnealingLR", {"T_max": 6}),
    Entry("CosineAnnealingLR-eta_min", "CosineAnnealingLR", {"T_max": 5, "eta_min": 0.01}),
    Entry("LambdaLR", "LambdaLR", {"lr_lambda": "1 / (1 + t)"}),
    Entry("MultiplicativeLR", "MultiplicativeLR", {"lr_lambda": "0.9 if t % 2 else 0.7"}),
    Entry("ExponentialLR", "ExponentialLR", {"gamma": 0.8}),
    Entry("MultiStepLR", "MultiStepLR", {"milestones": [2, 5, 6], "gamma": 0.5}),
    Entry("ConstantLR", "ConstantLR", {"factor": 0.4, "total_iters": 4}),
    Entry("LinearLR", "LinearLR", {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 6}),
    Entry("PolynomialLR", "PolynomialLR", {"total_iters": 8, "power": 2.0}),
    Entry("CosineAnnealingWarmRestarts", "CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01}),
    Entry("CyclicLR", "CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3, "step_size_down": 2, "mode": "triangular2", "cycle_momentum": False}),
    Entry("OneCycleLR", "OneCycleLR", {"max_lr": 0.3, "total_steps": 13, "cycle_momentum": False}),
    Entry("CyclicLR-exp_range", "CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3, "mode": "exp_range", "gamma": 0.8, "cycle_momentum": False}),
    Entry(
        "OneCycleLR-options",
        "OneCycleLR",
        {
            "max_lr": 0.3,
            "epochs": 2,
            "steps_per_epoch": 7,
            "pct_start": 0.4,
            "anneal_strategy": "linear",
            "div_factor": 10.0,
            "final_div_factor": 50.0,
            "cycle_momentum": False,
        },
    ),
    Entry("OneCycleLR-three_phase", "OneCycleLR", {"max_lr": 0.3, "total_steps": 14, "three_phase": True, "cycle_momentum": False}),
]
"""A function of the count t stands as text."""
SCHEDULE_STEPS = 12
FIRST_RATE = 0.1
SCHEDULES_TESTED_BY_HAND = {
    "LRScheduler": "the base of all",
    "ReduceLROnPlateau": "follows a metric",
    "ChainedScheduler": "made of others",
    "SequentialLR": "made of others",
}

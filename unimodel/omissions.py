"""What PyTorch or the Array API standard has and this library leaves out on purpose: why, and what to write instead.

Asking a module for such a name says so, where Python would say only that there is none; docs/coverage.md shows the table, and a test compares it with the lists of
names of both sides, so that nothing is missing unsaid.
"""

from __future__ import annotations

from unimodel.errors import UnsupportedError


class OmittedError(UnsupportedError, AttributeError):
    """A name that is left out on purpose; ``hasattr`` is False for it, as for any that does not exist."""


_LAZY = "a layer's sizes are those that its parameters have before any data is seen: give them, as the layer without Lazy takes them"
_INSIDE = "it is no part of PyTorch's public surface"
_DEPRECATED = "PyTorch itself has replaced it"
_INDICES = "call it without _with_indices and with return_indices=True"
_COMPLEX = "tensors are real, because not every backend has complex numbers"
_VALUES = "its result's shape would depend on values, which a program that is traced once cannot have"
_FUSED = "fusing is the backend's own matter: write the layers, and each backend takes what kernels it has"

OMITTED: dict[str, dict[str, str]] = {
    "um.nn": {
        **{
            f"Lazy{name}": _LAZY
            for name in ("Linear", *(f"{kind}{rank}d" for kind in ("BatchNorm", "Conv", "ConvTranspose", "InstanceNorm") for rank in (1, 2, 3)))
        },
        "Module": "it is um.Model here",
        "Container": _DEPRECATED,
        "RNNBase": f"{_INSIDE}: take RNN, LSTM or GRU",
        "RNNCellBase": f"{_INSIDE}: take RNNCell, LSTMCell or GRUCell",
        "CrossMapLRN2d": "take LocalResponseNorm. PyTorch's CrossMapLRN2d never takes the first channel out of its running sum (2.13), and so differs from it and from the paper",
        "DataParallel": "one Trainer trains on one device",
        "SyncBatchNorm": "one Trainer trains on one device, where batch norm sees the whole batch: take BatchNorm2d",
        "LinearCrossEntropyLoss": f"{_FUSED}: Linear, then um.losses.CrossEntropyLoss",
        "NLLLoss2d": f"{_DEPRECATED}: um.losses.NLLLoss",
    },
    "um.optim": {
        "LBFGS": "it evaluates the loss as often as its line search asks, through a closure; a training step is traced once and its number of evaluations is fixed. Take Adam, or find the minimum "
        "with scipy.optimize over a function that calls a Trainer's step",
        "SparseAdam": "gradients are dense, and a row with gradient 0 cannot be told from one that was not used, whose moments SparseAdam would leave alone: take Adam, or SGD, which "
        "leaves such rows alone",
    },
    "um.nn.functional": {
        **{f"{name}_with_indices": _INDICES for name in (f"{k}_max_pool{r}d" for k in ("adaptive", "fractional") for r in (1, 2, 3) if (k, r) != ("fractional", 1))},
        **{f"max_pool{rank}d_with_indices": _INDICES for rank in (1, 2, 3)},
        "multi_head_attention_forward": "call the layer, um.nn.MultiheadAttention, or um.nn.functional.scaled_dot_product_attention",
        **dict.fromkeys(("upsample", "upsample_bilinear", "upsample_nearest"), f"{_DEPRECATED}: um.nn.functional.interpolate"),
        **dict.fromkeys(("grouped_mm", "scaled_mm", "scaled_grouped_mm", "linear_cross_entropy", "native_channel_shuffle"), _FUSED),
        **dict.fromkeys(("assert_int_or_pair", "boolean_dispatch", "handle_torch_function"), _INSIDE),
        **dict.fromkeys(("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"), _INSIDE),
        **{f"{name}_": "traced tensors never change: take it without the _" for name in ("celu", "elu", "hardtanh", "leaky_relu", "relu", "rrelu", "selu", "threshold")},
        "conv_tbc": "swap the axes, and take um.nn.functional.conv1d",
    },
    "um.ops": {
        **{
            name: f"it is um.nn.functional.{name}"
            for name in (
                "batch_norm", "instance_norm", "rrelu", "fractional_max_pool2d", "fractional_max_pool3d", "gumbel_softmax",
                *(f"{loss}_loss" for loss in (
                    "l1", "mse", "huber", "smooth_l1", "nll", "poisson_nll", "gaussian_nll", "ctc", "cosine_embedding", "hinge_embedding", "margin_ranking",
                    "multi_margin", "multilabel_margin", "multilabel_soft_margin", "soft_margin", "triplet_margin", "triplet_margin_with_distance",
                )),
            )
        },
        **dict.fromkeys(("conj", "imag", "real", "eig", "eigvals"), _COMPLEX),
        **dict.fromkeys(
            ("fft", "ifft", "fftn", "ifftn", "rfft", "irfft", "rfftn", "irfftn", "hfft", "ihfft", "fftfreq", "rfftfreq", "fftshift", "ifftshift"), _COMPLEX
        ),
        **dict.fromkeys(("empty", "empty_like"), "numbers that nobody has set would differ from backend to backend: take zeros"),
        "from_dlpack": "tensors are traced and hold no numbers: pass arrays in the batch",
        "nextafter": "not every backend has it",
    },
    "um.nn.utils": {
        **dict.fromkeys(("clip_grad_norm", "clip_grad_norm_", "clip_grads_with_norm_"), "um.Trainer(clip_grad_norm=…), or self.clip(grads) in a step of one's own"),
        "clip_grad_value_": "um.Trainer(clip_grad_value=…)",
        **dict.fromkeys(("weight_norm", "spectral_norm", "remove_weight_norm", "remove_spectral_norm"), f"{_DEPRECATED}: um.nn.utils.parametrizations"),
        **dict.fromkeys(("convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"), "the order in memory is the backend's own matter"),
        **dict.fromkeys(("fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"), _FUSED),
        "skip_init": "weights are drawn when they are first used, so what load_state_dict sets is never drawn",
    },
    "um.nn.utils.rnn": {
        "invert_permutation": _INSIDE,
        "unpack_sequence": f"{_VALUES}: pad_packed_sequence in the model, and unpad_sequence on what it returns",
    },
}  # fmt: skip  # a table reads better in rows
"""By module: each name, and why it is left out or what to write instead."""

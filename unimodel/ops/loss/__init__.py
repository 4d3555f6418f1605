"""Loss functions, with PyTorch's meaning (https://pytorch.org/docs/stable/nn.functional.html#loss-functions).

Each is a composite from predictions and targets to a loss per element or sample; ``unimodel.losses`` weighs and averages them.
"""

# ruff: noqa: F403, F405  the modules' public names are this one's
from unimodel.ops.loss.alignment import *
from unimodel.ops.loss.classification import *
from unimodel.ops.loss.margin import *
from unimodel.ops.loss.regression import *

__all__ = [
    "absolute_error",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "ctc",
    "gaussian_nll",
    "huber_error",
    "kl_div",
    "multi_margin",
    "multilabel_margin",
    "nll",
    "poisson_nll",
    "smooth_l1_error",
    "squared_error",
]

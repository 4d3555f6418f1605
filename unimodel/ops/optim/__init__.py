"""Optimizer updates, each a composite of one parameter: backends carry many of them out in one fused kernel.

The formulas are PyTorch's (https://pytorch.org/docs/stable/optim.html), operation by operation. Numbers that change from step to step come in as 0-d tensors;
every update returns the new parameter, then its new state.
"""

# ruff: noqa: F403, F405  the modules' public names are this one's
from unimodel.ops.optim.adam import *
from unimodel.ops.optim.adaptive import *
from unimodel.ops.optim.descent import *
from unimodel.ops.optim.matrix import *
from unimodel.ops.optim.signs import *

__all__ = [
    "adadelta_update",
    "adafactor_update",
    "adagrad_update",
    "adam_update",
    "adamax_update",
    "asgd_update",
    "lamb_update",
    "lion_update",
    "muon_update",
    "nadam_update",
    "radam_update",
    "rmsprop_update",
    "rprop_update",
    "sgd_update",
]

"""Optimizers and schedules, with PyTorch's names, arguments and defaults. The formulas stand in ``unimodel.ops.optim``."""

from unimodel.optim import lr_scheduler
from unimodel.optim.adam import Adam, AdamW
from unimodel.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "lr_scheduler"]

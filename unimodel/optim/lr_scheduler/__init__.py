"""Learning-rate schedules, with PyTorch's names and arguments (https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate).

A schedule attaches itself to its optimizer, and the trainer advances it: after each epoch, or with ``interval="step"`` after each step (``interval=None``
leaves it to the user's calls of ``step()``). All but ``ReduceLROnPlateau`` are functions of the count and the initial rate, so that a resumed run is exact.
"""

from unimodel.names import missing
from unimodel.optim.lr_scheduler.combination import ChainedScheduler, SequentialLR
from unimodel.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from unimodel.optim.lr_scheduler.cycle import CyclicLR, OneCycleLR
from unimodel.optim.lr_scheduler.decay import ExponentialLR, MultiStepLR, PolynomialLR, StepLR
from unimodel.optim.lr_scheduler.function import LambdaLR, MultiplicativeLR
from unimodel.optim.lr_scheduler.plateau import ReduceLROnPlateau
from unimodel.optim.lr_scheduler.scheduler import LRScheduler
from unimodel.optim.lr_scheduler.warmup import ConstantLR, LinearLR

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]

__getattr__ = missing("um.optim.lr_scheduler")

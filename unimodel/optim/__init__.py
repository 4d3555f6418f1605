"""Optimizers and schedules, with PyTorch's names, arguments and defaults. The formulas stand in ``unimodel.ops.optim``."""

from unimodel.names import missing
from unimodel.optim import lr_scheduler
from unimodel.optim.adadelta import Adadelta
from unimodel.optim.adafactor import Adafactor
from unimodel.optim.adagrad import Adagrad
from unimodel.optim.adam import Adam, AdamW
from unimodel.optim.adamax import Adamax
from unimodel.optim.asgd import ASGD
from unimodel.optim.lamb import LAMB
from unimodel.optim.lion import Lion
from unimodel.optim.muon import Muon
from unimodel.optim.nadam import NAdam
from unimodel.optim.radam import RAdam
from unimodel.optim.rmsprop import RMSprop
from unimodel.optim.rprop import Rprop
from unimodel.optim.sgd import SGD

__all__ = [
    "ASGD",
    "LAMB",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Muon",
    "NAdam",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
]

__getattr__ = missing("um.optim")

"""unimodel: write a model, its loss, its optimizer and its training step once; train it on any framework."""

from unimodel import callbacks, errors, init, losses, metrics, models, nn, ops, optim
from unimodel.eager import run
from unimodel.history import History
from unimodel.loss import Loss
from unimodel.model import Buffer, Model, Parameter
from unimodel.names import missing as _missing
from unimodel.optimizer import Optimizer
from unimodel.plugins import use_backend
from unimodel.tracing import Scalar, Tensor, value_and_grad
from unimodel.trainer import Trainer

__version__ = "0.1.0"

__all__ = [
    "Buffer",
    "History",
    "Loss",
    "Model",
    "Optimizer",
    "Parameter",
    "Scalar",
    "Tensor",
    "Trainer",
    "callbacks",
    "errors",
    "init",
    "losses",
    "metrics",
    "models",
    "nn",
    "ops",
    "optim",
    "run",
    "use_backend",
    "value_and_grad",
]

__getattr__ = _missing("um")

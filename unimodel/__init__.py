"""unimodel: write a model, its loss, its optimizer and its training step once; train it on any framework."""

from unimodel import errors, ops
from unimodel.eager import run
from unimodel.plugins import use_backend
from unimodel.tracing import Scalar, Tensor, value_and_grad

__version__ = "0.1.0"

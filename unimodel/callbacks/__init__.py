"""Callbacks: a handful of named events of a training run."""

from unimodel.callbacks.callback import Callback
from unimodel.callbacks.checkpoint import ModelCheckpoint
from unimodel.callbacks.early_stopping import EarlyStopping
from unimodel.names import missing

__all__ = ["Callback", "EarlyStopping", "ModelCheckpoint"]

__getattr__ = missing("um.callbacks")

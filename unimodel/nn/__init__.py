"""Layers, with PyTorch's names, arguments, defaults and state-dict keys."""

from unimodel.nn.activation import ELU, GELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from unimodel.nn.container import ModuleDict, ModuleList, Sequential
from unimodel.nn.conv import Conv2d
from unimodel.nn.dropout import Dropout
from unimodel.nn.linear import Embedding, Flatten, Identity, Linear
from unimodel.nn.normalization import BatchNorm1d, BatchNorm2d, LayerNorm
from unimodel.nn.pooling import AvgPool2d, MaxPool2d

__all__ = [
    "ELU",
    "GELU",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MaxPool2d",
    "ModuleDict",
    "ModuleList",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]

"""PyTorch's ``nn.utils``: what changes layers that already exist."""

from unimodel.nn.utils import parametrizations as parametrizations
from unimodel.nn.utils import rnn as rnn
from unimodel.omissions import missing

__getattr__ = missing("um.nn.utils")

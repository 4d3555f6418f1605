"""PyTorch's ``nn.utils``: what changes layers that already exist."""

from unimodel.names import missing
from unimodel.nn.utils import parametrizations as parametrizations
from unimodel.nn.utils import rnn as rnn
from unimodel.nn.utils.vectors import get_total_norm as get_total_norm
from unimodel.nn.utils.vectors import parameters_to_vector as parameters_to_vector
from unimodel.nn.utils.vectors import vector_to_parameters as vector_to_parameters

__getattr__ = missing("um.nn.utils")

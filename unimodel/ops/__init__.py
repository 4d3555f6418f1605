"""The catalogue: every op, once.

Array ops follow the Array API standard's names, neural ones PyTorch's. ``catalogue`` maps names to definitions; a backend lowers its primitives.
Rules refer to other ops through this module, so that the files below can be read in any order.
"""

# ruff: noqa: F403  the op modules' public names are this module's
from inspect import signature as _signature
from types import FunctionType as _FunctionType

from unimodel.names import missing as _missing
from unimodel.op import Op as Op
from unimodel.op import catalogue as catalogue
from unimodel.op import composite as composite
from unimodel.op import primitive as primitive
from unimodel.op import takes_either_name as _takes_either_name
from unimodel.ops import random as random
from unimodel.ops.activation import *
from unimodel.ops.adaptive import *
from unimodel.ops.arithmetic import *
from unimodel.ops.arrangement import *
from unimodel.ops.attention import *
from unimodel.ops.comparison import *
from unimodel.ops.contraction import *
from unimodel.ops.control import *
from unimodel.ops.conv import *
from unimodel.ops.creation import *
from unimodel.ops.distance import *
from unimodel.ops.dropout import *
from unimodel.ops.dtypes import *
from unimodel.ops.elementwise import *
from unimodel.ops.factorization import *
from unimodel.ops.group_normalization import *
from unimodel.ops.indexing import *
from unimodel.ops.linalg import *
from unimodel.ops.linear import *
from unimodel.ops.loss import *
from unimodel.ops.manipulation import *
from unimodel.ops.normalization import *
from unimodel.ops.optim import *
from unimodel.ops.padding import *
from unimodel.ops.piecewise import *
from unimodel.ops.pooling import *
from unimodel.ops.random import *
from unimodel.ops.rearrangement import *
from unimodel.ops.recurrent import *
from unimodel.ops.reduction import *
from unimodel.ops.resizing import *
from unimodel.ops.samples import Sample as Sample
from unimodel.ops.sampling import *
from unimodel.ops.scattering import *
from unimodel.ops.sequences import *
from unimodel.ops.sorting import *
from unimodel.ops.special import *
from unimodel.ops.trigonometry import *

for _name, _function in list(globals().items()):  # what is no op of its own takes PyTorch's names of arguments as ops do
    if isinstance(_function, _FunctionType) and not _name.startswith("_") and "axis" in _signature(_function).parameters:
        globals()[_name] = _takes_either_name(_function)

__getattr__ = _missing("um.ops")

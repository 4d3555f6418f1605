"""The catalogue: every op, once.

Array ops follow the Array API standard's names, neural ones PyTorch's. ``catalogue`` maps names to definitions; a backend lowers its primitives.
"""

from unimodel.ops.array import *  # noqa: F403  the op modules' public names are this module's
from unimodel.ops.array import abs, all, any, divide, max, min, pow, round, slice, sum  # noqa: A004  Array API names shadow builtins
from unimodel.ops.definition import Op, catalogue, composite, primitive
from unimodel.ops.loss import absolute_error, binary_cross_entropy_with_logits, cross_entropy, squared_error
from unimodel.ops.nn import *  # noqa: F403  the op modules' public names are this module's
from unimodel.ops.optim import adam_update, sgd_update
from unimodel.ops.random import dropout, keep_mask
from unimodel.ops.samples import Sample

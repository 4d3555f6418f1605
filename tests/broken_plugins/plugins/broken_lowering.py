"""A lowering of an op whose name is misspelt."""

import numpy as np

from unimodel.backend import Lowerings

lower = Lowerings()


@lower("sqroot")
def _(node, x):
    return np.sqrt(x)

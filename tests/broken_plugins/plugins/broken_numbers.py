"""Loads, and computes the wrong numbers."""

import numpy as np
from unimodel_numpy.plugin import NumpyBackend

from unimodel.plugins import hookimpl


class Wrong(NumpyBackend):
    name = "broken_numbers"

    def to_numpy(self, array):
        return np.asarray(array) + 1


@hookimpl
def unimodel_backend():
    return Wrong

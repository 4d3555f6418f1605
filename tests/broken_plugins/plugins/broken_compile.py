"""Loads, and fails at the first thing it is asked to compute."""

from unimodel_numpy.plugin import NumpyBackend

from unimodel.plugins import hookimpl


class Failing(NumpyBackend):
    name = "broken_compile"

    def compile(self, graph, store, options=None):
        raise OSError("the driver is too old")


@hookimpl
def unimodel_backend():
    return Failing

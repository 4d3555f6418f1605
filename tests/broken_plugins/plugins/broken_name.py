"""Calls itself by another name than its entry point does."""

from unimodel_numpy.plugin import NumpyBackend

from unimodel.plugins import hookimpl


@hookimpl
def unimodel_backend():
    return NumpyBackend

"""States its API version as text."""

from unimodel_numpy.plugin import NumpyBackend

from unimodel.plugins import hookimpl


class Textual(NumpyBackend):
    name = "broken_api"
    api = "1.0"


@hookimpl
def unimodel_backend():
    return Textual

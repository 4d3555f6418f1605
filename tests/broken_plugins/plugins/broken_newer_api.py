"""Made for a later version of the contract than this unimodel's."""

from unimodel_numpy.plugin import NumpyBackend

from unimodel.plugins import hookimpl


class Newer(NumpyBackend):
    name = "broken_newer_api"
    api = (1, 99)


@hookimpl
def unimodel_backend():
    return Newer

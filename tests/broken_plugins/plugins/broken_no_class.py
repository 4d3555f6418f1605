"""Returns a name instead of a class."""

from unimodel.plugins import hookimpl


@hookimpl
def unimodel_backend():
    return "broken_no_class"

"""Misspells the hook."""

from unimodel.plugins import hookimpl


@hookimpl
def unimodel_bakcend():
    return None

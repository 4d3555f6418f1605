"""Has the hook and forgets to mark it."""


def unimodel_backend():
    return None

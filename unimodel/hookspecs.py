"""The hook that a backend's distribution implements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from unimodel.backend import Backend

hookspec = pluggy.HookspecMarker("unimodel")


@hookspec(firstresult=True)
def unimodel_backend() -> type[Backend]:  # type: ignore[empty-body]  # a specification has no body
    """Return the class of this distribution's backend, a subclass of ``unimodel.backend.Backend``."""

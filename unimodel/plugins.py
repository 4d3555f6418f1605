"""Finding, checking and loading backends. Only the backend that is asked for is imported.

A backend is an entry point in the group ``unimodel.backends.v1``: its name is the backend's, its module implements the hook ``unimodel_backend``.
The API's major version is in the group's name, so a backend for another version is recognised without importing it. A broken one is listed as
broken, with its cause; only asking for it by name raises.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import pluggy

from unimodel import hookspecs
from unimodel.backend import API_VERSION, Backend
from unimodel.errors import PluginError

hookimpl = pluggy.HookimplMarker("unimodel")
"""Marks a distribution's implementation of the hook ``unimodel_backend``."""

GROUP = f"unimodel.backends.v{API_VERSION[0]}"
PREFERENCE = ("torch", "tensorflow", "jax", "mxnet", "numpy")
"""The order in which a backend is taken when nobody names one."""

ENVIRONMENT_VARIABLE = "UNIMODEL_BACKEND"

_chosen: ContextVar[str | None] = ContextVar("unimodel_backend", default=None)
_forced: ContextVar[str | None] = ContextVar("unimodel_forced_backend", default=None)
_loaded: dict[tuple[str, str], type[Backend]] = {}


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed backend, as its distribution's metadata describes it; nothing of it has been imported."""

    name: str
    distribution: str
    version: str
    group: str
    target: str

    @property
    def api(self) -> str:
        return self.group.rsplit(".v", 1)[-1]


def installed() -> list[Plugin]:
    """Every entry point that announces a backend, of whatever API version, in order of name."""
    found = []
    for distribution in importlib.metadata.distributions():
        for point in distribution.entry_points:
            if point.group.startswith("unimodel.backends.v"):
                name = distribution.metadata["Name"] or "unknown"
                found.append(Plugin(point.name, name, distribution.version, point.group, point.value))
    return sorted(set(found), key=lambda p: (p.name, p.group, p.distribution))


def names() -> list[str]:
    """The names of the installed backends of this API version, preferred ones first."""
    have = {p.name for p in installed() if p.group == GROUP}
    return [n for n in PREFERENCE if n in have] + sorted(have - set(PREFERENCE))


def load(name: str) -> type[Backend]:
    """The class of the backend of this name; raises ``PluginError`` with cause and remedy where there is none that works."""
    every = installed()
    candidates = [p for p in every if p.name == name and p.group == GROUP]
    if not candidates:
        other = [p for p in every if p.name == name]
        if other:
            raise PluginError(
                f"the backend {name!r} is made for another API version.",
                expected=f"API version {API_VERSION[0]} (entry-point group {GROUP})",
                given=f"{other[0].distribution} {other[0].version}, API version {other[0].api}",
                remedy=f"install a version of {other[0].distribution} for this API, or another version of unimodel",
            )
        have = ", ".join(names()) or "none"
        raise PluginError(
            f"no backend is called {name!r}.",
            expected=f"one of the installed backends: {have}",
            given=name,
            remedy=f"pip install unimodel-{name}"
            if name in PREFERENCE
            else "known backends install as unimodel-torch, unimodel-tensorflow, unimodel-mxnet, unimodel-numpy",
        )
    if len(candidates) > 1:
        raise PluginError(
            f"several distributions announce a backend called {name!r}.",
            given=", ".join(f"{p.distribution} {p.version}" for p in candidates),
            remedy="uninstall all but one of them",
        )
    (plugin,) = candidates
    key = (plugin.name, plugin.target)
    if key not in _loaded:
        _loaded[key] = _import(plugin)
    return _loaded[key]


def _import(plugin: Plugin) -> type[Backend]:
    who = f"the backend {plugin.name!r} ({plugin.distribution} {plugin.version})"
    try:
        module = importlib.import_module(plugin.target.partition(":")[0])
    except ModuleNotFoundError as error:
        raise PluginError(
            f"{who} is installed, but a module it needs is missing: {error.name}.",
            given=str(error),
            remedy=f"pip install --upgrade {plugin.distribution} (or the framework itself: pip install {error.name})",
        ) from error
    except Exception as error:
        others = ", ".join(n for n in names() if n != plugin.name)
        raise PluginError(
            f"{who} failed while it was imported.",
            given=f"{type(error).__name__}: {error}",
            remedy=f"reinstall it (pip install --force-reinstall {plugin.distribution}), or choose another backend: {others}",
        ) from error
    manager = pluggy.PluginManager("unimodel")
    manager.add_hookspecs(hookspecs)
    manager.register(module, name=plugin.name)
    try:
        manager.check_pending()
        backend = manager.hook.unimodel_backend()
    except Exception as error:
        raise PluginError(
            f"{who} does not implement the hook as specified.",
            given=f"{type(error).__name__}: {error}",
            remedy=f"report it to the authors of {plugin.distribution}",
        ) from error
    if backend is None:
        raise PluginError(
            f"{who} implements no hook named unimodel_backend.", expected="a function unimodel_backend marked with @hookimpl", given=f"module {plugin.target}"
        )
    if not (isinstance(backend, type) and issubclass(backend, Backend)):
        raise PluginError(f"{who} returns no backend class.", expected="a subclass of unimodel.backend.Backend", given=repr(backend))
    if backend.api[0] != API_VERSION[0] or backend.api[1] > API_VERSION[1]:
        raise PluginError(
            f"{who} is made for another API version.",
            expected=f"{API_VERSION[0]}.x with x at most {API_VERSION[1]}",
            given=f"{backend.api[0]}.{backend.api[1]}",
            remedy="upgrade unimodel" if backend.api > API_VERSION else f"upgrade {plugin.distribution}",
        )
    if getattr(backend, "name", None) != plugin.name:
        raise PluginError(f"{who} calls itself by another name.", expected=plugin.name, given=repr(getattr(backend, "name", None)))
    backend.distribution = plugin.distribution
    return backend


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Trainers made inside, and computations outside a trainer, use this backend unless they name one."""
    load(name)
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


@contextmanager
def forced_backend(name: str | None) -> Iterator[None]:
    """As ``use_backend``, and also where a script names another; for tools that run a script as it is."""
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def choose(name: str | None) -> str:
    """The backend's name that ``backend=name`` stands for here."""
    forced = _forced.get()
    if forced is not None:
        return forced
    if name is None:
        name = _chosen.get() or os.environ.get(ENVIRONMENT_VARIABLE) or None
    if name is not None:
        return name
    have = names()
    if not have:
        raise PluginError("no backend is installed.", remedy="pip install unimodel-torch (or -tensorflow, -mxnet, -numpy)")
    return have[0]

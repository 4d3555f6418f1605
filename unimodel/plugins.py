"""Finding, checking and loading backends. Only the backend that is asked for is imported.

A backend is an entry point in the group ``unimodel.backends.v1``: its name is the backend's, its module implements the hook ``unimodel_backend``.
The API's major version is in the group's name, so a backend for another version is recognised without importing it. A broken one is listed as
broken, with its cause; only asking for it by name raises.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pluggy

from unimodel import hookspecs
from unimodel.backend import API_VERSION, Backend
from unimodel.errors import PluginError, UnimodelError, is_not_user_code
from unimodel.names import closest

if TYPE_CHECKING:
    from importlib.metadata import Distribution

hookimpl = pluggy.HookimplMarker("unimodel")
"""Marks a distribution's implementation of the hook ``unimodel_backend``."""

GROUP = f"unimodel.backends.v{API_VERSION[0]}"
PREFERENCE = ("torch", "tensorflow", "jax", "mxnet", "numpy")
DISTRIBUTED = ("torch", "tensorflow", "mxnet", "numpy")
"""Backends for which there is a distribution, unimodel-NAME."""
ALSO_CALLED = {"pytorch": "torch", "tf": "tensorflow", "keras": "tensorflow", "mx": "mxnet", "np": "numpy"}
"""The order in which a backend is taken when nobody names one."""

ENVIRONMENT_VARIABLE = "UNIMODEL_BACKEND"

_chosen: ContextVar[str | None] = ContextVar("unimodel_backend", default=None)
_forced: str | None = None
_loaded: dict[tuple[str, str], type[Backend]] = {}

import_seconds: dict[str, float] = {}
"""How long each loaded backend took to import, its framework included where that was not imported before."""


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
    import importlib.metadata  # here, since it takes longer to import than most of unimodel

    found: dict[str, list[Plugin]] = {}
    for distribution in importlib.metadata.distributions():
        announced = _announced(distribution)
        if announced:
            # a distribution that is there twice is imported from where it comes first on the path
            found.setdefault(announced[0].distribution.lower().replace("_", "-").replace(".", "-"), announced)
    return sorted({p for plugins in found.values() for p in plugins}, key=lambda p: (p.name, p.group, p.distribution))


def _announced(distribution: Distribution) -> list[Plugin]:
    try:
        points = [p for p in distribution.entry_points if p.group.startswith("unimodel.backends.v")]
    except Exception:  # some distribution's damaged metadata, whose it may be: it must not take the others down
        return []
    if not points:
        return []
    try:
        name, version = distribution.metadata["Name"] or "unknown", distribution.version or "unknown"
    except Exception:
        name = version = "unknown"
    return [Plugin(p.name, name, version, p.group, p.value) for p in points]


def names() -> list[str]:
    """The names of the installed backends of this API version, preferred ones first."""
    have = {p.name for p in installed() if p.group == GROUP}
    return [n for n in PREFERENCE if n in have] + sorted(have - set(PREFERENCE))


def _instead(name: str) -> str:
    """What to do about a backend that is not installed."""
    meant = closest(name, [*DISTRIBUTED, *names()], ALSO_CALLED, 0.7)
    if name in DISTRIBUTED:
        return f"pip install unimodel-{name}"
    if meant is not None:
        return f"did you mean {meant!r}?" + ("" if meant in names() else f" It is not installed either: pip install unimodel-{meant}")
    return f"known backends install as {', '.join(f'unimodel-{n}' for n in DISTRIBUTED)}; unimodel new-backend {name} begins one of your own"


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
            remedy=_instead(name),
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
        started = time.perf_counter()
        _loaded[key] = _import(plugin)
        import_seconds[name] = time.perf_counter() - started
    return _loaded[key]


def _import(plugin: Plugin) -> type[Backend]:
    who = f"the backend {plugin.name!r} ({plugin.distribution} {plugin.version})"
    try:
        module = importlib.import_module(plugin.target.partition(":")[0])
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        itself = missing == plugin.target.partition(":")[0].partition(".")[0]
        raise PluginError(
            f"{who} is installed, but a module it {'consists of' if itself else 'needs'} is missing: {error.name}.",
            given=str(error),
            remedy=f"pip install --force-reinstall {plugin.distribution}"
            if itself
            else f"pip install --upgrade {plugin.distribution} (or the framework itself: pip install {missing})",
        ) from error
    except UnimodelError as error:  # it says itself what is wrong with the backend
        raise PluginError(
            f"{who} failed while it was imported: {error.message}",
            expected=error.expected,
            given=error.given,
            remedy=error.remedy,
            source=error.source,
        ) from error
    except (Exception, SystemExit) as error:
        others = ", ".join(n for n in names() if n != plugin.name)
        raise PluginError(
            f"{who} failed while it was imported.",
            given=f"{type(error).__name__}: {error}",
            remedy=f"reinstall it (pip install --force-reinstall {plugin.distribution}), or choose another backend: {others}",
        ) from error
    if module.__package__ and module.__file__:
        is_not_user_code(os.path.dirname(module.__file__))
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
    if not (isinstance(backend.api, tuple) and len(backend.api) == 2 and all(isinstance(n, int) for n in backend.api)):
        raise PluginError(
            f"{who} does not say which API version it is made for.",
            expected=f"api = ({API_VERSION[0]}, minor)",
            given=f"api = {backend.api!r}",
            remedy=f"report it to the authors of {plugin.distribution}",
        )
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


class use_backend:
    """Trainers made from here on, and computations outside a trainer, use this backend unless they name one; with ``with`` those inside alone.

    >>> with use_backend("numpy"):
    ...     choose(None)
    'numpy'
    """

    def __init__(self, name: str) -> None:
        load(name)
        self.name = name
        self._token = _chosen.set(name)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        _chosen.reset(self._token)


@contextmanager
def forced_backend(name: str | None) -> Iterator[None]:
    """As ``use_backend``, and also where a script names another, in all threads; for tools that run a script as it is."""
    global _forced
    before, _forced = _forced, name
    try:
        yield
    finally:
        _forced = before


def choose(name: str | None) -> str:
    """The backend's name that ``backend=name`` stands for here."""
    if _forced is not None:
        return _forced
    if name is None:
        name = _chosen.get() or os.environ.get(ENVIRONMENT_VARIABLE) or None
    if name is not None:
        return name
    have = names()
    if not have:
        raise PluginError("no backend is installed.", remedy="pip install unimodel-torch (or -tensorflow, -mxnet, -numpy)")
    return have[0]

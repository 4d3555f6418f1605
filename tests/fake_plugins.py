"""Backends made discoverable without installing them: a folder with modules and the metadata that an installed distribution would have.

Put the folder on ``sys.path`` (``monkeypatch.syspath_prepend``) for this process, and on ``PYTHONPATH`` for those it starts.
"""

from __future__ import annotations

from pathlib import Path

GROUP = "unimodel.backends.v1"


def announce(folder: Path, backend: str, module: str, *, distribution: str | None = None, group: str = GROUP, version: str = "0.3") -> None:
    """Write the metadata of a distribution (``unimodel-BACKEND`` if not named) that announces a backend in a module."""
    distribution = distribution or f"unimodel-{backend}"
    metadata = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{backend} = {module}\n")


def install(folder: Path, backend: str, source: str, **others: str) -> None:
    """A backend whose plugin module has this source."""
    module = f"fake_{backend}"
    (folder / f"{module}.py").write_text(source)
    announce(folder, backend, module, **others)


TWIN = """
from unimodel.plugins import hookimpl
from unimodel_numpy.plugin import NumpyBackend

class Twin(NumpyBackend):
    name = "twin"

@hookimpl
def unimodel_backend():
    return Twin
"""
"""The NumPy backend under another name, to be changed with ``str.replace``."""

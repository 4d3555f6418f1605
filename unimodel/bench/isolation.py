"""An environment for each backend, for frameworks that cannot share one.

Each is a virtual environment with unimodel and that backend's distribution in it, of the versions that are installed here: from the same folder where they
are installed from one, else by name from the package index. They are kept and used again; ``PIP_CONSTRAINT`` and pip's other settings hold as usual.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlparse

from unimodel import plugins
from unimodel.errors import PluginError


def folder() -> Path:
    """Where the environments are kept: the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unimodel" / "bench"


def requirements(backend: str) -> list[str]:
    """What pip is to install for a backend. One that is not installed here is taken by its usual name."""
    return [_requirement("unimodel"), _requirement(next((p.distribution for p in plugins.installed() if p.name == backend), f"unimodel-{backend}"))]


def _requirement(distribution: str) -> str:
    try:
        found = importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return distribution
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if origin.get("url", "").startswith("file:"):
        return unquote(urlparse(origin["url"]).path)
    return f"{distribution}=={found.version}"


def isolate(backends: Sequence[str], say: Callable[[str], None]) -> dict[str, str]:
    """Environments for these backends, made where they are not there yet; their interpreters, by backend."""
    found = {}
    for backend in backends:
        wanted = requirements(backend)
        place = folder() / f"{backend}-{hashlib.blake2b(repr((wanted, sys.version)).encode(), digest_size=4).hexdigest()}"
        python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        ready = place / "ready"
        if not ready.exists():
            say(f"{backend}: making an environment in {place}")
            _run([sys.executable, "-m", "venv", "--clear", str(place)], backend)
            _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], backend)
            ready.write_text("\n".join(wanted))
        found[backend] = str(python)
    return found


def _run(command: list[str], backend: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise PluginError(
            f"the environment for {backend} could not be made.",
            given="\n".join(done.stderr.strip().splitlines()[-5:]),
            remedy=f"make one by hand, and name its interpreter: --python {backend}=PATH",
        )

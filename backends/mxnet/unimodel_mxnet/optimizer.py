"""How updates are carried out: new values come out of the executor and are copied into the state's own arrays, most of them in one call.

MXNet's fused optimizer kernels are not used. They round learning rates and 1 - beta to float32, by which Adam's second moments would part from the
catalogue's by 1e-5; and the executor composes an update in as many passes over memory as a kernel call costs a small one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unimodel_mxnet.arrays import shapes
from unimodel_mxnet.shim import mx


class Copies:
    """Copies between arrays that stay the same from step to step."""

    def __init__(self, sources: Sequence[Any], targets: Sequence[Any]) -> None:
        self._sources: list[Any] = []
        self._targets: list[Any] = []
        self._alone: list[tuple[Any, Any]] = []
        with shapes():
            for source, target in zip(sources, targets, strict=True):
                if target.dtype.__name__ == "float32" and 0 < len(target.shape) < 6 and target.size:
                    self._sources.append(source)
                    self._targets.append(target)
                else:
                    self._alone.append((source, target))

    def run(self) -> None:
        if self._sources:  # a cast of many arrays to the type they have: MXNet's one copy of many arrays, in float32
            mx.nd.amp_multicast(*self._sources, num_outputs=len(self._sources), out=self._targets)
        if self._alone:
            with shapes():
                for source, target in self._alone:
                    source.copyto(target)

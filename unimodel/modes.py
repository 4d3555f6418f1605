"""Models in train or eval mode for a while, and in the modes they had before afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from unimodel.model import Model

if TYPE_CHECKING:
    from unimodel.runtime import Runtime


class Mode:
    """Models in train or eval mode inside the with statement.

    To evaluate, every layer is in eval mode. To train, a model that is in eval mode as a whole is put in train mode; one that is not keeps the modes of its
    layers, so that a layer can be left out of training with ``layer.eval()``. Where several threads predict, the last one to end puts the modes back.
    """

    def __init__(self, runtime: Runtime, models: Iterable[Model], training: bool) -> None:
        self.runtime = runtime
        self.models = models
        self.training = training

    def __enter__(self) -> None:
        with self.runtime.lock:
            models = [m for m in self.models if not (self.training and m.training)]
            changed = [m for model in models for m in model.modules() if m.training != self.training]
            for module in changed:
                module.training = self.training
            self.runtime.switched[self.training].append(changed)

    def __exit__(self, *_: object) -> None:
        with self.runtime.lock:
            inside = self.runtime.switched[self.training]
            changed = inside.pop()
            if inside:  # whoever is still inside needs the mode, and puts back what this one changed
                inside[0] += changed
                return
            for module in changed:
                module.training = not self.training

"""Models run once, with everything that comes out of it: results, gradients for every parameter and input, buffers.

A probe is a trainer of several models at once without optimizers. Its step is one program, so that many small layers cost one compilation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import unimodel as um
from unimodel import ops
from unimodel.graph import Array


def first(results: Any) -> Any:
    """The first of several results, or the only one."""
    return results[0] if isinstance(results, tuple) else results


class First(um.Model):
    """A layer's first result alone."""

    def __init__(self, layer: um.Model) -> None:
        self.layer = layer

    def forward(self, *inputs: Any) -> Any:
        return first(self.layer(*inputs))


class Probe(um.Trainer):
    """Runs each model on its own inputs; the batch is ``{name: (inputs, cotangent)}``. Of several results the first counts."""

    def step(self, batch: Any) -> dict[str, Any]:
        found = {}
        for name, (inputs, cotangent) in batch.items():
            model = self.models[name]
            parameters = dict(model.named_parameters())
            floats = {f"input{i}": x for i, x in enumerate(inputs) if x.spec.is_float}
            wrt = [*parameters.values(), *floats.values()]

            def loss(model: um.Model = model, inputs: Any = inputs, cotangent: Any = cotangent) -> Any:
                y = first(model(*inputs))
                return ops.sum(y * cotangent), y

            if wrt:
                (_, y), grads = um.value_and_grad(loss, wrt=wrt, has_aux=True)
                for key, grad in zip([*parameters, *floats], grads, strict=True):
                    if grad is not None:
                        found[f"{name}/grad/{key}"] = grad
            else:
                y = first(model(*inputs))
            found[f"{name}/output"] = y
        return found

    def run(self, inputs: Mapping[str, tuple[tuple[Array, ...], Array]]) -> dict[str, Array]:
        """All results by ``model/output``, ``model/grad/name`` and ``model/buffer/name``."""
        results = {key: np.asarray(value) for key, value in self.train_step(dict(inputs)).items()}
        for name in inputs:
            states = self.models[name].state_dict()
            results |= {f"{name}/buffer/{key}": states[key] for key, _ in self.models[name].named_buffers()}
        return results

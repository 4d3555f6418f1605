"""First weights as transformers draws them, for the models whose source it is."""

from __future__ import annotations

import functools

from unimodel import init, nn
from unimodel.graph import Array
from unimodel.model import Model, Parameter

DEVIATION = 0.02


def draw_small(model: Model) -> None:
    """Weights of linear, convolution and embedding layers from a normal of deviation 0.02, biases zero, and zero the rows for padding."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.weight = Parameter(module.weight.shape, init.normal(0.0, DEVIATION))
            module.bias = None if module.bias is None else Parameter(module.bias.shape, init.zeros)
        elif isinstance(module, nn.Embedding):
            module.weight = Parameter(module.weight.shape, functools.partial(_rows, module.padding_idx))


def _rows(padding_idx: int | None, shape: tuple[int, ...], stream: init.Stream) -> Array:
    rows = init.normal(0.0, DEVIATION)(shape, stream)
    if padding_idx is not None:
        rows[padding_idx] = 0.0
    return rows

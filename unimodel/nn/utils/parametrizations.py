"""A layer's weight as a function of other parameters: weight norm and spectral norm, with PyTorch's names in the state dict.

The layer gets a class of its own in which the weight is a property, so that its ``forward`` stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from unimodel import ops
from unimodel.errors import ShapeError
from unimodel.graph import Array
from unimodel.init import Stream, normal
from unimodel.model import Buffer, Model, Parameter
from unimodel.nn.arguments import positive
from unimodel.nn.container import ModuleDict, ModuleList

Layer = TypeVar("Layer", bound=Model)


def weight_norm(module: Layer, name: str = "weight", dim: int | None = 0) -> Layer:
    """The weight as a length for each index of ``dim`` (one for all if None or -1) times a direction (Salimans and Kingma 2016).

    The parameters are ``parametrizations.weight.original0``, the lengths, and ``original1``, the directions; the layer is changed and returned. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.weight_norm.html

    >>> from unimodel.nn import Linear
    >>> list(weight_norm(Linear(2, 3)).state_dict())
    ['bias', 'parametrizations.weight.original0', 'parametrizations.weight.original1']
    """
    weight = _taken(module, name)
    dim = None if dim == -1 else dim  # which to PyTorch is the same
    if dim is not None and not -len(weight.shape) <= dim < len(weight.shape):
        raise ShapeError(f"dim {dim} does not exist.", expected=f"a dimension of {weight.shape}", given=dim)
    return _parametrized(module, name, _WeightNorm(weight, dim))


def spectral_norm(module: Layer, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None) -> Layer:
    """The weight divided by its largest singular value, which power iteration follows, a step at each call in train mode (Miyato et al. 2018).

    The parameter is ``parametrizations.weight.original``; the layer is changed and returned. ``dim`` is the dimension of outputs, 0 by default, and 1 for
    transposed convolutions. Source: https://pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.spectral_norm.html
    """
    weight = _taken(module, name)
    positive(n_power_iterations=n_power_iterations)
    if dim is None:
        dim = 1 if "Transpose" in type(module).__name__ else 0
    return _parametrized(module, name, _SpectralNorm(weight, n_power_iterations, eps, dim))


def _taken(module: Model, name: str) -> Parameter:
    weight = module.__dict__.get(name)
    if not isinstance(weight, Parameter):
        raise ShapeError(
            f"{type(module).__name__} has no parameter {name!r}.",
            expected=", ".join(n for n, v in vars(module).items() if isinstance(v, Parameter)) or "a layer with parameters of its own",
            given=repr(name),
        )
    return weight


def _parametrized(module: Layer, name: str, parametrization: Model) -> Layer:
    del module.__dict__[name]
    module.__dict__.setdefault("parametrizations", ModuleDict())[name] = parametrization
    kind = type(module)
    module.__class__ = type(f"Parametrized{kind.__name__.removeprefix('Parametrized')}", (kind,), {name: property(lambda self: self.parametrizations[name]())})
    return module


def _rows(weight: Any, dim: int) -> Any:
    """A weight as a matrix with a row for each index of ``dim``; arrays and tensors alike."""
    order = (dim, *(i for i in range(len(weight.shape)) if i != dim))
    if isinstance(weight, np.ndarray):
        return weight.transpose(order).reshape(weight.shape[dim], -1)
    return ops.reshape(ops.permute_dims(weight, order), (weight.shape[dim], -1))


def _from(weight: Parameter, function: Callable[[Array], Array]) -> Callable[[tuple[int, ...], Stream], Array]:
    """An initializer that computes its numbers from those of another parameter, whose own are drawn now if they have not been."""

    def initialise(shape: tuple[int, ...], stream: Stream) -> Array:
        return function(weight.materialise(stream.seed, stream.purpose.removeprefix("init/")).astype("float64"))

    return initialise


class _WeightNorm(Model):
    def __init__(self, weight: Parameter, dim: int | None) -> None:
        self.axes = None if dim is None else tuple(i for i in range(len(weight.shape)) if i != dim % len(weight.shape))
        shape = () if self.axes is None else tuple(1 if i in self.axes else n for i, n in enumerate(weight.shape))
        axes, keep = self.axes, self.axes is not None
        self.original0 = Parameter(shape, _from(weight, lambda w: np.sqrt(np.sum(w * w, axis=axes, keepdims=keep))))
        self.original1 = weight

    def forward(self) -> Any:
        return self.original1 * (self.original0 / ops.vector_norm(self.original1, axis=self.axes, keepdims=self.axes is not None))


class _SpectralNorm(Model):
    def __init__(self, weight: Parameter, iterations: int, eps: float, dim: int) -> None:
        self.original = weight
        self.layers = ModuleList([_Directions(weight, iterations, eps, dim % len(weight.shape))])

    def named_children(self) -> Any:
        return self.layers.named_children()

    def forward(self) -> Any:
        return self.layers[0](self.original)


class _Directions(Model):
    """The singular vectors that belong to the largest singular value, as far as they are known."""

    def __init__(self, weight: Parameter, iterations: int, eps: float, dim: int) -> None:
        self.iterations = iterations
        self.eps = eps
        self.dim = dim
        rows = weight.shape[dim]
        columns = math.prod(weight.shape) // rows
        self._u = Buffer((rows,), _from(weight, lambda w: self._started(w)[0]))
        self._v = Buffer((columns,), _from(weight, lambda w: self._started(w)[1]))

    def _started(self, weight: Array) -> tuple[Array, Array]:
        """Fifteen iterations from a random start, as in PyTorch."""
        matrix = _rows(weight, self.dim)
        u = np.asarray(normal()((matrix.shape[0],), Stream(0, "spectral norm")))
        v = matrix.T @ u
        for _ in range(15):
            u = matrix @ v
            u = u / max(float(np.linalg.norm(u)), self.eps)
            v = matrix.T @ u
            v = v / max(float(np.linalg.norm(v)), self.eps)
        return u, v

    def forward(self, weight: Any) -> Any:
        matrix = weight if len(weight.shape) == 2 and self.dim == 0 else _rows(weight, self.dim)
        u, v = ops.stop_gradient(self._u), ops.stop_gradient(self._v)
        if self.training:
            fixed = ops.stop_gradient(matrix)
            for _ in range(self.iterations):
                u = self._unit(ops.matmul(fixed, v))
                v = self._unit(ops.matmul(ops.matrix_transpose(fixed), u))
            self._u.assign(u)
            self._v.assign(v)
        return weight / ops.sum(u * ops.matmul(matrix, v))

    def _unit(self, x: Any) -> Any:
        return x / ops.maximum(ops.vector_norm(x), self.eps)

"""Containers: layers in a row, in a list, in a dict, and parameters so too. Lists of them belong in these, so that they are found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from unimodel.model import Model, Parameter, State, adopt


class _Listed(Model):
    """Layers numbered from 0."""

    def named_children(self) -> Iterator[tuple[str, Model]]:
        return iter(self._layers().items())

    def _layers(self) -> dict[str, Model]:
        layers: dict[str, Model] = self.__dict__.setdefault("layers_by_name", {})
        return layers

    def _add(self, name: str, layer: Model) -> None:
        if not isinstance(layer, Model):
            raise TypeError(f"{type(self).__name__} holds layers, not {type(layer).__name__}; wrap a function in a Model")
        self._layers()[name] = layer
        adopt(self, name, layer)

    def append(self, layer: Model) -> Any:
        self._add(str(len(self._layers())), layer)
        return self

    def extend(self, layers: Iterable[Model]) -> Any:
        for layer in layers:
            self.append(layer)
        return self

    def __len__(self) -> int:
        return len(self._layers())

    def __iter__(self) -> Iterator[Model]:
        return iter(self._layers().values())

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            return list(self._layers().values())[index]
        part = type(self)()
        for name, layer in list(self._layers().items())[index]:
            part._add(name if isinstance(self, Sequential) else str(len(part)), layer)  # a slice of a Sequential keeps its names, as in PyTorch
        return part

    def __setitem__(self, index: int, layer: Model) -> None:
        self._add(list(self._layers())[index], layer)


class Sequential(_Listed):
    """Layers applied one after the other.

    >>> import numpy as np
    >>> from unimodel.nn import Linear, ReLU
    >>> Sequential(Linear(2, 3), ReLU())(np.zeros((1, 2), "float32")).shape
    (1, 3)
    """

    def __init__(self, *layers: Any) -> None:
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            for name, layer in layers[0].items():
                self._add(name, layer)
        else:
            self.extend(layers)

    def forward(self, input: Any) -> Any:
        for layer in self:
            input = layer(input)
        return input


class ModuleList(_Listed):
    """A list of layers; its owner's forward says what happens to them."""

    def __init__(self, modules: Iterable[Model] = ()) -> None:
        self.extend(modules)


class ModuleDict(_Listed):
    """Layers by name."""

    def __init__(self, modules: Mapping[str, Model] | None = None) -> None:
        for name, layer in (modules or {}).items():
            self._add(name, layer)

    def __getitem__(self, name: str) -> Model:
        return self._layers()[name]

    def __setitem__(self, name: str, layer: Model) -> None:  # type: ignore[override]  # keyed by name here
        self._add(name, layer)

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]  # a dict's iteration is over names
        return iter(self._layers())

    def keys(self) -> Iterable[str]:
        return self._layers().keys()

    def values(self) -> Iterable[Model]:
        return self._layers().values()

    def items(self) -> Iterable[tuple[str, Model]]:
        return self._layers().items()


class _Parameters(Model):
    """Parameters by name."""

    def _own(self, kind: type[State]) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name, value in self._held().items() if isinstance(value, kind))

    def _held(self) -> dict[str, Parameter]:
        held: dict[str, Parameter] = self.__dict__.setdefault("parameters_by_name", {})
        return held

    def _hold(self, name: str, value: Any) -> None:
        held = self._held()[name] = value if isinstance(value, Parameter) else Parameter(np.asarray(value))
        adopt(self, name, held)

    def __len__(self) -> int:
        return len(self._held())


class ParameterList(_Parameters):
    """A list of parameters, numbered from 0 in the state dict; arrays become parameters. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.ParameterList.html

    >>> from unimodel.model import Parameter
    >>> list(ParameterList([Parameter((2,)), Parameter(())]).state_dict())
    ['0', '1']
    """

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self.extend(values)

    def append(self, value: Any) -> ParameterList:
        self._hold(str(len(self)), value)
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        for value in values:
            self.append(value)
        return self

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._held().values())

    def __getitem__(self, index: Any) -> Any:
        found = list(self._held().values())[index]
        return ParameterList(found) if isinstance(index, slice) else found

    def __setitem__(self, index: int, value: Any) -> None:
        self._hold(list(self._held())[index], value)


class ParameterDict(_Parameters):
    """Parameters by name; arrays become parameters. Source: https://pytorch.org/docs/stable/generated/torch.nn.ParameterDict.html"""

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        self.update(parameters or {})

    def update(self, parameters: Mapping[str, Any]) -> None:
        for name, value in parameters.items():
            self._hold(name, value)

    def __getitem__(self, name: str) -> Parameter:
        return self._held()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._hold(name, value)

    def __delitem__(self, name: str) -> None:
        del self._held()[name]

    def __contains__(self, name: object) -> bool:
        return name in self._held()

    def __iter__(self) -> Iterator[str]:
        return iter(self._held())

    def keys(self) -> Iterable[str]:
        return self._held().keys()

    def values(self) -> Iterable[Parameter]:
        return self._held().values()

    def items(self) -> Iterable[tuple[str, Parameter]]:
        return self._held().items()

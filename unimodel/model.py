"""Model: parameters, buffers and layers, found through attributes; ``forward`` is plain code over ops.

A layer is a Model. State-dict keys and shapes are PyTorch's. Weights are not drawn when a model is built but when somebody needs them, from the seed
of the trainer that takes the model and the parameter's path; from then on they live on the trainer's backend, and are read from there.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from unimodel import init as initializers
from unimodel.arguments import ChecksArguments
from unimodel.errors import ShapeError, TraceError
from unimodel.graph import FLOATS, Array
from unimodel.names import ExplainsNames
from unimodel.state_dict import IncompatibleKeys, arrays_of, mismatches
from unimodel.tensor_operators import TensorLike
from unimodel.tracing import Variable, current_trace, layer

if TYPE_CHECKING:
    from unimodel.backend import Store


class State(Variable):
    """A cell that holds numbers: drawn lazily, then kept in a backend's store."""

    def __init__(self, shape: Any, init: Any, dtype: str) -> None:
        if isinstance(shape, np.ndarray) or (init is None and isinstance(shape, (float, np.generic))):
            init, shape = np.asarray(shape), np.shape(shape)
        self.shape = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(int(s) for s in shape)
        if any(s < 0 for s in self.shape):
            raise ShapeError("a shape has sizes of at least 0.", given=self.shape)
        self._dtype = dtype
        self.name = ""
        self._init = init
        self._value: Array | None = None
        self._home: tuple[Store, str] | None = None
        self._kept_in = np.dtype(dtype)
        if isinstance(init, np.ndarray) and init.shape != self.shape:
            raise ShapeError("the initial array must have the parameter's shape.", expected=self.shape, given=init.shape)

    @property
    def data(self) -> Array:
        """The present numbers, a NumPy copy that cannot be written to. Setting it replaces them, on the backend too."""
        array = self._copy()
        array.flags.writeable = False  # else p.data[:] = 0 would change a copy, without a word
        return array

    @data.setter
    def data(self, value: Any) -> None:
        array = np.asarray(value)
        if array.shape != self.shape:
            raise ShapeError("the new numbers must have the parameter's shape.", expected=self.shape, given=array.shape)
        if self._home is not None:
            store, name = self._home
            store.write(name, array.astype(self._kept_in))
        else:
            self._value = array.astype(self._dtype if self._dtype not in FLOATS else array.dtype if array.dtype.kind == "f" else self._dtype)

    def _copy(self) -> Array:
        return self._home[0].read(self._home[1]) if self._home is not None else self.materialise(0, path_of(self)).copy()

    def materialise(self, seed: int, path: str, dtype: str | None = None) -> Array:
        """The numbers, drawn now from (seed, path) if nobody has set or drawn them yet; not the caller's own."""
        dtype = dtype if dtype is not None and self._dtype in FLOATS else self._dtype
        if self._home is not None:
            return self._home[0].read(self._home[1]).astype(dtype, copy=False)
        if self._value is None:
            init = self._init
            if isinstance(init, (int, float)):
                init = initializers.constant(init)
            array = np.asarray(init if isinstance(init, np.ndarray) else init(self.shape, initializers.Stream(seed, f"init/{path}", dtype)))
            if array.shape != self.shape:
                raise ShapeError("an initializer must return the parameter's shape.", expected=self.shape, given=array.shape)
            self._value = array.astype(dtype, copy=isinstance(init, np.ndarray))
        return self._value.astype(dtype, copy=False)

    def move(self, store: Store, name: str, dtype: np.dtype[Any]) -> None:
        """From now on the numbers live in a store, where they have been written, and nowhere else. ``dtype`` is that in which they are read."""
        self._home = (store, name)
        self._kept_in = dtype
        self._init = self._value = None

    def start(self, init: Any) -> None:
        """Begin again from another initializer, number or array: drawn when the numbers are needed, or at once where a trainer has taken the model."""
        other = State(self.shape, init, self._dtype)
        if self._home is not None:
            self.data = other.materialise(0, self._home[1])
        else:
            self._init, self._value = init, None

    def _refuse(self, what: str, remedy: str | None = None) -> TraceError:
        if current_trace() is not None:
            return super()._refuse(what, remedy) if remedy else super()._refuse(what)
        return TraceError(f"{what} of a parameter or buffer.", expected="its numbers", given=repr(self), remedy="read them with .data, a NumPy array")

    def __deepcopy__(self, memo: dict[int, Any]) -> State:
        """A copy of what has not been drawn yet draws its own numbers."""
        twin = memo[id(self)] = type(self).__new__(type(self))
        twin.__dict__.update(copy.deepcopy(self._kept(), memo))
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """A pickle has the present numbers, drawn for it if need be, for functions that draw cannot be pickled."""
        if self._home is None:
            self.materialise(0, path_of(self))
        return self._kept()

    def _kept(self) -> dict[str, Any]:
        """What a copy has: the present numbers, and no trainer or owner."""
        state = {name: value for name, value in self.__dict__.items() if name != "_um_owner"}
        if self._home is not None:
            state.update(_value=self._copy(), _home=None, name="")
        if "_changed" in state:
            state["_changed"] = None
        if state["_value"] is not None:
            state["_init"] = None
        return state

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name + ' ' if self.name else ''}{self._dtype} {self.shape})"


class Parameter(State):
    """What training changes. ``shape`` is a shape or an array of initial numbers; ``init`` an initializer of ``um.init``, a number or an array.

    The default initializer is PyTorch's for layers: uniform in ±1/sqrt(fan_in) from two dimensions up, zeros below.
    """

    def __init__(self, shape: Any, init: Any = None, requires_grad: bool = True, dtype: str = "float32") -> None:
        if init is None and not isinstance(shape, np.ndarray):
            init = initializers.kaiming_uniform(math.sqrt(5)) if np.size(shape) > 1 else initializers.zeros
        super().__init__(shape, init, dtype)
        self._requires_grad = requires_grad
        self._changed: Callable[[], None] | None = None

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are taken; a frozen parameter is left alone by optimizers."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self._requires_grad = bool(value)
        if self._changed is not None:
            self._changed()


class Buffer(State):
    """State that training code sets itself with ``assign``: running statistics, counters."""

    def __init__(self, shape: Any, init: Any = 0.0, dtype: str = "float32", persistent: bool = True) -> None:
        super().__init__(shape, init, dtype)
        self.persistent = persistent


class Model(ExplainsNames, ChecksArguments):
    """Base of models and layers. Calling it inside a step traces ``forward``; calling it on NumPy arrays computes at once.

    ``super().__init__()`` is allowed and unnecessary.
    """

    _um_kind = "Model"
    training: bool = True
    _um_left_out = ("training",)

    def _um_constants(self) -> tuple[Any, ...]:
        """What a trace takes as constant besides the plain attributes; the mode, which an instance may or may not have set."""
        return (self.training,)

    def __getstate__(self) -> dict[str, Any]:
        """A copy or pickle is a model of its own, which no trainer has taken."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_um_runtime", "_um_path", "_um_owner")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name, part in (*self.named_children(), *self._own(State)):
            adopt(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no forward(self, ...)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_trace() is None:
            from unimodel.runtime import call_model

            return call_model(self, args, kwargs)
        with layer(self.__dict__.get("_um_path") or type(self).__name__):
            return self.forward(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        held = self.__dict__.get(name)
        if isinstance(held, Buffer) and isinstance(value, TensorLike) and not isinstance(value, Variable):
            held.assign(value)  # PyTorch's way of writing it
            return
        object.__setattr__(self, name, value)
        if isinstance(value, (Model, State)):
            adopt(self, name, value)
        runtime = self.__dict__.get("_um_runtime")
        if runtime is not None:
            runtime.changed()

    # structure
    def named_children(self) -> Iterator[tuple[str, Model]]:
        """The layers directly inside, by attribute name."""
        for name, value in self.__dict__.items():
            if isinstance(value, Model):
                yield name, value

    def children(self) -> Iterator[Model]:
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Model]]:
        """This model and all layers inside, with their paths, each once."""
        yield from self._walk(prefix, set())

    def _walk(self, prefix: str, seen: set[int]) -> Iterator[tuple[str, Model]]:
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, child in self.named_children():
            yield from child._walk(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Model]:
        return (module for _, module in self.named_modules())

    def _own(self, kind: type[State]) -> Iterator[tuple[str, Any]]:
        for name, value in self.__dict__.items():
            if isinstance(value, kind):
                yield name, value

    def _named_states(self, kind: type[State], repeat: bool = False) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self._every_module("") if repeat else self.named_modules():
            for name, state in module._own(kind):
                if repeat or id(state) not in seen:
                    seen.add(id(state))
                    yield (f"{path}.{name}" if path else name), state

    def _every_module(self, prefix: str) -> Iterator[tuple[str, Model]]:
        """All paths, a shared layer once per path: state dicts list it under each."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child._every_module(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its path, shared ones once."""
        return self._named_states(Parameter)

    def parameters(self) -> Iterator[Parameter]:
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        return self._named_states(Buffer)

    def buffers(self) -> Iterator[Buffer]:
        return (b for _, b in self.named_buffers())

    def apply(self, function: Callable[[Model], Any]) -> Model:
        """Call a function on every layer, the innermost first, then on this."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # modes
    def train(self, mode: bool = True) -> Model:
        """Train mode for this and all layers inside: dropout drops, batch norm uses and updates batch statistics."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Model:
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Model:
        """Freeze or unfreeze every parameter inside."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    # numbers
    def _states(self) -> dict[str, State]:
        found: dict[str, State] = {}
        for path, module in self._every_module(""):
            for kind in (Parameter, Buffer):
                for name, state in module._own(kind):
                    if getattr(state, "persistent", True):
                        found[f"{path}.{name}" if path else name] = state
        return found

    def state_dict(self) -> dict[str, Array]:
        """All parameters and persistent buffers as NumPy arrays, under PyTorch's keys."""
        result = {}
        prefix = f"{path_of(self)}." if "_um_owner" in self.__dict__ else ""
        for name, state in self._states().items():
            result[name] = state._copy() if state._home is not None else state.materialise(0, prefix + name).copy()
        return result

    def load_state_dict(self, state_dict: Mapping[str, Any] | str | os.PathLike[str], strict: bool = True) -> IncompatibleKeys:
        """Take numbers from a mapping of the same keys and shapes (NumPy arrays, tensors of any framework), or from a safetensors file.

        Of a parameter that has several names one is enough, as in files, which keep shared weights once. Names that do not fit raise ``CheckpointError``, or
        with ``strict=False`` are returned; shapes that do not fit always raise it. Then nothing is loaded.

        >>> import numpy as np
        >>> from unimodel.nn import Linear
        >>> Linear(2, 1).load_state_dict({"weight": np.ones((1, 2)), "scale": np.ones(1)}, strict=False)
        IncompatibleKeys(missing_keys=['bias'], unexpected_keys=['scale'])
        """
        states = self._states()
        arrays = arrays_of(state_dict)
        given = {id(states[n]) for n in arrays if n in states}
        missing = [n for n in states if id(states[n]) not in given]  # a shared one is there under any of its names: files leave the others out
        unexpected = [n for n in arrays if n not in states]
        if (strict and (missing or unexpected)) or any(n in states and a.shape != states[n].shape for n, a in arrays.items()):
            shapes = {n: s.shape for n, s in states.items()}, {n: a.shape for n, a in arrays.items()}
            raise mismatches(*shapes, missing, unexpected, type(self).__name__)
        for name, state in states.items():
            if name in arrays:
                state.data = arrays[name]
        return IncompatibleKeys(missing, unexpected)

    def extra_repr(self) -> str:
        """The layer's arguments as its representation shows them."""
        return ""

    def __repr__(self) -> str:
        lines = [f"  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in self.named_children()]
        own = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({own})"
        return f"{type(self).__name__}(\n" + "\n".join(([f"  {own}"] if own else []) + lines) + "\n)"


def adopt(owner: Model, name: str, part: Model | State) -> None:
    """Note whose part a layer or parameter is, and by what name: a layer's last owner, and a shared parameter's first."""
    if isinstance(part, Model):
        part.__dict__["_um_owner"] = (owner, name)
    else:
        part.__dict__.setdefault("_um_owner", (owner, name))


def path_of(part: Model | State) -> str:
    """The name of a part in the outermost model that it belongs to, as in its state dict: what its first numbers follow from."""
    names: list[str] = []
    while "_um_owner" in part.__dict__ and len(names) < 100:
        part, name = part.__dict__["_um_owner"]
        names.append(name)
    return ".".join(reversed(names)) or "parameter"

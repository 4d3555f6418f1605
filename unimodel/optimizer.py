"""Optimizer: how gradients change parameters, one parameter at a time, written in ops.

A subclass gives ``update_param(param, grad, state, lr)`` and returns the new parameter; what it keeps from step to step it reads and sets
in ``state``, which starts at zeros. The update is traced into the step with everything else. Numbers that change from step to step (the
learning rate, bias corrections) are host scalars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unimodel.arguments import ChecksArguments
from unimodel.errors import DataError, TraceError
from unimodel.graph import Array
from unimodel.model import Parameter, State
from unimodel.names import ExplainsNames
from unimodel.tensor_operators import TensorLike
from unimodel.tracing import Scalar, current_trace

if TYPE_CHECKING:
    from unimodel.optim.lr_scheduler import LRScheduler
    from unimodel.runtime import Runtime


class ParameterGroup(dict[str, Any]):
    """Parameters with options of their own. Setting ``lr`` takes effect at the next step; setting another option traces anew, unless it varies."""

    changed: Callable[[], None] | None = None

    def __init__(self, entries: Mapping[str, Any]) -> None:
        super().__init__(entries)
        self.varying: set[str] = {"lr"}
        """Options that change from step to step: in a trace they are host scalars."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        if key not in self.varying and self.changed is not None:
            self.changed()

    def vary(self, key: str, value: Any) -> None:
        """Set an option that changes from step to step, and say that it does."""
        self[key] = value
        self.varying.add(key)

    def constants(self) -> tuple[Any, ...]:
        """What a trace takes as constants."""
        return tuple((k, None if k in self.varying else v) for k, v in self.items() if k not in ("params", "lr", "initial_lr"))


class Slots(MutableMapping[str, Any]):
    """What an optimizer keeps for one parameter: tensors by name, zeros at first.

    ``options`` are the parameter's group's: numbers, and host scalars where a schedule changes them step by step (see ``present``).
    """

    def __init__(self, optimizer: Optimizer, name: str, parameter: Parameter, options: Mapping[str, Any]) -> None:
        self.optimizer = optimizer
        self.parameter = parameter
        self.options = options
        self._prefix = name

    def uses(self, key: str) -> bool:
        """Whether an option is anything but 0; one that a schedule changes step by step is."""
        value = self.options[key]
        return isinstance(value, Scalar) or bool(value)

    def _slot(self, key: str, shape: Any, dtype: str) -> State:
        name = f"{self._prefix}/{key}"
        slot = self.optimizer._um_slots.get(name)
        if slot is None:
            slot = State(shape, 0.0, dtype)
            self.optimizer._um_slots[name] = slot
            runtime = self.optimizer._um_runtime
            assert runtime is not None, "an update is traced by a trainer, which has bound the optimizer"
            runtime.add(name, slot)
        return slot

    def __getitem__(self, key: str) -> Any:
        return self._slot(key, self.parameter.shape, "float32")

    def get(self, key: str, default: Any = None) -> Any:
        """The slot; where it is new, zeros of the default's shape (of the parameter's, without one)."""
        shape = self.parameter.shape if default is None else getattr(default, "shape", ())
        return self._slot(key, shape, "float32")

    def __setitem__(self, key: str, value: Any) -> None:
        shape = value.shape if isinstance(value, (TensorLike, np.ndarray)) else ()
        self._slot(key, shape, "float32").assign(value)

    def __delitem__(self, key: str) -> None:
        raise TraceError("a slot of an optimizer's state cannot be removed.")

    def __contains__(self, key: object) -> bool:
        return True  # reading a new slot gives zeros

    def __iter__(self) -> Iterator[str]:
        return iter([n[len(self._prefix) + 1 :] for n in self.optimizer._um_slots if n.startswith(self._prefix + "/")])

    def __len__(self) -> int:
        return len(list(iter(self)))


class Optimizer(ExplainsNames, ChecksArguments):
    """Base of optimizers.

    ``params`` is None for all parameters of the model that the trainer pairs this with, else parameters, or dicts ``{"params": …, "lr": …, …}`` as
    PyTorch's groups. Further keyword arguments are the options that groups may override.
    """

    _um_kind = "Optimizer"

    def __init__(self, params: Any = None, lr: float = 1e-3, **options: Any) -> None:
        if isinstance(params, (int, float)):
            raise DataError(
                f"the first argument of {type(self).__name__} is the parameters, as in PyTorch.",
                given=repr(params),
                remedy=f"write {type(self).__name__}(lr={params})",
            )
        if params is not None and not isinstance(params, Iterable):
            raise DataError(
                f"the first argument of {type(self).__name__} is the parameters, as in PyTorch.",
                expected="net.parameters(), or groups of them; or nothing, for all parameters of the Trainer's model",
                given=repr(params).partition("\n")[0],
                remedy=f"write {type(self).__name__}(net.parameters()), or leave it out",
            )
        if not callable(lr) and (not isinstance(lr, (int, float)) or lr < 0):
            raise DataError("a learning rate is a number of at least 0.", given=repr(lr))
        self._um_given = None if params is None else list(params)
        self._um_options = {"lr": lr, **options}

    def update_param(self, param: Any, grad: Any, state: Slots, lr: Any) -> Any:
        """The parameter's new value; or a pair of that and a mapping of new state; or None where ``param.assign`` was called."""
        raise NotImplementedError(f"{type(self).__name__} defines no update_param(self, param, grad, state, lr)")

    # the learning rate, and options
    @property
    def lr(self) -> float:
        """The learning rate of the first group, now."""
        return float(self.param_groups[0]["lr"]) if self.bound else float(self._options()["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        self._options()["lr"] = value
        if self.bound:
            for group in self.param_groups:
                group["lr"] = value

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The options that a group has where it does not say otherwise."""
        return dict(self._options())

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = self.__dict__.setdefault("_um_options", {"lr": 1e-3})
        return options

    @property
    def bound(self) -> bool:
        """Whether a trainer has taken the optimizer."""
        return "_um_groups" in self.__dict__

    @property
    def param_groups(self) -> list[ParameterGroup]:
        """The groups, once a trainer has taken the optimizer."""
        if not self.bound:
            raise TraceError("an optimizer has parameter groups once a Trainer has taken it.", remedy="make the Trainer first")
        groups: list[ParameterGroup] = self.__dict__["_um_groups"]
        return groups

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name == "scheduler":
            self.__dict__["rivals"] = ()
        runtime = self.__dict__.get("_um_runtime")
        if runtime is not None and not name.startswith("_um_"):
            runtime.changed()

    # binding
    _um_runtime: Runtime | None = None
    scheduler: LRScheduler | None = None
    rivals: tuple[LRScheduler, ...] = ()
    """Schedules that were made for this optimizer before its present one, and neither ran nor became a part of it."""
    _um_steps: int = 0
    _um_prefix: str = "optimizer"
    _um_slots: dict[str, State]
    _um_behind: dict[str, int]
    """How many updates have passed each parameter over, because it was frozen or nothing depended on it: it has its own count of steps, as in PyTorch."""

    @property
    def steps(self) -> int:
        """Updates carried out so far."""
        return self._um_steps

    def advance(self, updates: Sequence[Sequence[str]]) -> None:
        """Called by the trainer after each step: the updates carried out, and the parameters that each one passed over."""
        self.__dict__["_um_steps"] = self._um_steps + len(updates)
        for passed_over in updates:
            for name in passed_over:
                self._um_behind[name] = self._um_behind.get(name, 0) + 1

    def _um_constants(self) -> Any:
        """What a trace takes as constants: every option but the learning rates, and which parameters have been updated equally often."""
        groups = self.param_groups if self.bound else []
        behind = [self._um_behind.get(p.name, 0) for g in groups for p in g["params"] if p.requires_grad]
        return tuple(behind.index(b) for b in behind), *(g.constants() for g in groups)

    def bind(self, runtime: Runtime, parameters: Iterable[Parameter], prefix: str) -> None:
        """Called by the trainer: whose parameters these are, and under which prefix the state is named. A second trainer begins anew."""
        given = self.__dict__.get("_um_given")
        everything = list(parameters)
        entries = [{"params": everything}] if given is None else given if given and isinstance(given[0], Mapping) else [{"params": given}]
        groups = []
        for entry in entries:
            params = entry["params"]
            group = ParameterGroup({**self._options(), **entry, "params": [params] if isinstance(params, Parameter) else list(params)})
            group.changed = runtime.changed
            groups.append(group)
        every = [p for g in groups for p in g["params"]]
        if len(set(map(id, every))) != len(every):
            raise DataError("a parameter is in two groups.", remedy="give each parameter to one group")
        strange = [p for p in every if p not in runtime.names]
        if strange:
            raise DataError(
                "an optimizer has parameters that the trainer's models do not have.",
                given=repr(strange[0]),
                remedy="take them from the models given to the Trainer",
            )
        state = self.__dict__
        state["_um_runtime"], state["_um_prefix"], state["_um_groups"], state["_um_slots"], state["_um_behind"] = runtime, prefix, groups, {}, {}
        state["_um_steps"] = 0
        if self.scheduler is not None:
            self.scheduler.last_epoch = self.scheduler.first
            self.scheduler.apply()

    def belongs_to(self, runtime: Runtime) -> None:
        """Refuse a step of a trainer that is not the one which took the optimizer last."""
        if self._um_runtime is not runtime:
            raise TraceError(
                "another Trainer has taken this trainer's optimizer.",
                given=repr(self),
                remedy="make an optimizer for each Trainer",
            )
        if self.rivals:
            made = [type(s).__name__ for s in (*self.rivals, self.scheduler)]
            raise DataError(
                "several schedules were made for one optimizer, which follows one.",
                expected="one schedule",
                given=", ".join(made),
                remedy="ChainedScheduler([a, b]) is both at once, SequentialLR(optimizer, [a, b], [n]) one after the other; optimizer.scheduler = b chooses",
            )

    # the step
    def update(self, grads: Any) -> None:
        """Add the update of all parameters to the step: ``grads`` in the order of the parameters, None where there is none."""
        trace = current_trace()
        if trace is None or not self.bound:
            raise TraceError("update() works inside a Trainer's step, with an optimizer the Trainer was given.", remedy="pass optimizer= to the Trainer")
        from unimodel import nest

        flat = nest.leaves(grads)
        members = [(g, p) for g in self.param_groups for p in g["params"]]
        if len(flat) != len(members):
            raise TraceError(
                "gradients and parameters differ in number.",
                expected=f"{len(members)} gradients, one for each parameter of the optimizer, in order",
                given=f"{len(flat)} gradients",
                remedy="differentiate with wrt= the same parameters that the optimizer has (model.parameters())",
            )
        if flat and all(g is None for g in flat) and any(p.requires_grad for _, p in members):
            raise TraceError(
                "none of these gradients exists: what was differentiated depends on no parameter of this optimizer.",
                expected="a loss computed from the model's output",
                given=f"None for all {len(flat)} parameters",
                remedy="check that the loss uses the prediction, and that nothing on the way is detached or rounded to integers",
            )
        if trace.conditional:
            raise TraceError(
                "update() stands in a branch or a loop, where its steps cannot be counted.",
                remedy="gather gradients inside and update after it; to skip an update, choose by um.ops.where between the gradient and zeros",
            )
        runtime = self._um_runtime
        assert runtime is not None, "a bound optimizer has a runtime"
        calls = trace.root.calls.setdefault(self, [])
        passed_over: list[str] = []
        self.__dict__["_um_scalars"] = {}
        for group, parameter, grad in ((g, p, d) for (g, p), d in zip(members, flat, strict=True)):
            if grad is None or not parameter.requires_grad:
                passed_over.append(runtime.names[parameter])
                continue
            self.__dict__["_um_updating"] = runtime.names[parameter], sum(runtime.names[parameter] not in c for c in calls)
            slots = Slots(self, f"{self._um_prefix}/{runtime.names[parameter]}", parameter, self._present_options(group))
            lr = self._scalar(("lr", id(group)), lambda g=group: g["lr"])  # type: ignore[misc]  # the default binds this group
            result = self.update_param(parameter, grad, slots, lr)
            if isinstance(result, tuple):
                result, new_state = result
                for key, value in dict(new_state).items():
                    slots[key] = value
            if result is not None:
                parameter.assign(result)
        calls.append(passed_over)

    def _scalar(self, key: Any, value: Callable[[], float]) -> Scalar:
        scalars: dict[Any, Scalar] = self.__dict__["_um_scalars"]
        if key not in scalars:
            scalars[key] = Scalar(value)
        return scalars[key]

    def _present_options(self, group: ParameterGroup) -> Mapping[str, Any]:
        """A group's options, in which those that vary are scalars; parameters of one group share them."""
        options = dict(group)
        for key in group.varying - {"lr"}:
            value = group[key]
            if isinstance(value, tuple):
                options[key] = tuple(self._scalar((key, id(group), i), lambda k=key, i=i: group[k][i]) for i in range(len(value)))  # type: ignore[misc]  # bound here
            else:
                options[key] = self._scalar((key, id(group)), lambda k=key: group[k])  # type: ignore[misc]  # bound here
        return options

    def step_scalar(self, function: Callable[[int], float], *key: Any) -> Scalar:
        """A host number computed from the number of this update of the parameter, 1 for the first; equal keys share one."""
        name, before = self.__dict__["_um_updating"]
        behind = self._um_behind.get(name, 0)
        return self._scalar(("step", behind, before, *key), lambda: function(self.steps - self._um_behind.get(name, 0) + before + 1))

    # saving
    def counters(self) -> dict[str, Any]:
        """What continues besides the tensors: counts and learning rates, as JSON."""
        result: dict[str, Any] = {"kind": type(self).__name__, "steps": self.steps, "lr": [float(g["lr"]) for g in self.param_groups]}
        if self._um_behind:
            result["behind"] = dict(self._um_behind)
        if self.scheduler is not None:
            result["scheduler"] = self.scheduler.counters()
        return result

    def restore(self, counters: Mapping[str, Any]) -> None:
        self.__dict__["_um_steps"] = int(counters["steps"])
        self.__dict__["_um_behind"] = {name: int(count) for name, count in counters.get("behind", {}).items()}
        if self._um_runtime is not None:
            self._um_runtime.changed()
        for group, lr in zip(self.param_groups, counters["lr"], strict=False):
            group["lr"] = lr
        if self.scheduler is not None and "scheduler" in counters:
            self.scheduler.restore(counters["scheduler"])

    def restore_slots(self, tensors: Mapping[str, Array]) -> None:
        """Take the state that a checkpoint holds for this optimizer's parameters."""
        runtime = self._um_runtime
        assert runtime is not None, "only a bound optimizer is restored"
        prefix = f"{self._um_prefix}/"
        for name, held in self._um_slots.items():
            if name not in tensors:  # the file was written before the slot's first step
                held.data = np.zeros(held.shape)
        for name, array in tensors.items():
            if name.startswith(prefix):
                slot = self._um_slots.get(name)
                if slot is None:
                    slot = self._um_slots[name] = State(array.shape, 0.0, "float32")
                    runtime.add(name, slot)
                slot.data = array


def present(option: Any) -> float:
    """The number that an option of ``Slots.options`` is now, whether it varies or not; for functions given to ``step_scalar``."""
    return option.value if isinstance(option, Scalar) else float(option)

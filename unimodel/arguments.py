"""Arguments by a name that a function does not have: which one was meant, or what is done here instead.

Python says only that there is none. A class whose constructor is to say more has ``ChecksArguments`` among its bases, a function ``@checked``; ops ask
``refuse_unknown`` themselves. A function that takes any keyword is left alone.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from unimodel.errors import ArgumentError
from unimodel.names import closest

F = TypeVar("F", bound=Callable[..., Any])

ALSO_CALLED = {
    "learning_rate": "lr", "optimiser": "optimizer", "epsilon": "eps", "decay": "weight_decay", "nb_epoch": "epochs", "num_epochs": "epochs", "n_epochs": "epochs",
    "units": "out_features", "filters": "out_channels", "strides": "stride", "use_bias": "bias", "rate": "p", "criterion": "loss", "rho": "alpha", "val_data": "validation_data",
    "valid_data": "validation_data", "eval_data": "validation_data", "label_smooth": "label_smoothing", "class_weights": "weight", "min_lr": "eta_min", "t_max": "T_max",
    "sample_weights": "sample_weight", "network": "model", "net": "model", "random_state": "seed", "filepath": "path",
}  # fmt: skip  # a table reads better in rows
"""What PyTorch, Keras and scikit-learn call arguments that are here under another name, in lower case."""

_BETAS = "they are a pair: betas=(beta_1, beta_2)"
_PAIR = "the data is one argument: fit((x, y))"
_DEVICE = "device and precision are the Trainer's: um.Trainer(net, ..., device=…, precision=…)"
INSTEAD = {
    "class_weight": "weigh the classes in the loss, um.losses.CrossEntropyLoss(weight=[…]), or each sample with fit(..., sample_weight=…)",
    "validation_split": "split the data first, and pass validation_data=(x_val, y_val)",
    "num_classes": "leave it out: how many classes there are is seen from the predictions",
    "steps_per_epoch": "leave it out: an epoch is all of the data; max_steps= ends a fit",
    "initial_epoch": "leave it out: fit goes on from the epochs that the trainer has done",
    "beta_1": _BETAS, "beta_2": _BETAS,
    "x": _PAIR, "y": _PAIR,
    "clipnorm": "it is the Trainer's: um.Trainer(..., clip_grad_norm=1.0)", "clipvalue": "it is the Trainer's: um.Trainer(..., clip_grad_value=1.0)",
    "activation": "an activation is a layer of its own, um.nn.ReLU(), or an op, um.ops.relu(x)",
    "input_shape": "leave it out: layers are given the sizes of what comes in, as in um.nn.Linear(in_features, out_features)",
    "input_dim": "leave it out: layers are given the sizes of what comes in, as in um.nn.Linear(in_features, out_features)",
    "from_logits": "um.losses.CrossEntropyLoss and um.losses.BCEWithLogitsLoss take logits, um.losses.BCELoss probabilities",
    "device": _DEVICE, "dtype": _DEVICE,
    "scheduler": "make it of the optimizer, um.optim.lr_scheduler.StepLR(optimizer, 5), and give the optimizer alone to the Trainer",
    "out": "a result is always a new tensor", "inplace": "leave it out: traced tensors never change",
}  # fmt: skip  # a table reads better in rows
"""Arguments for which something else is done here."""


def refuse_unknown(who: str, given: Iterable[str], names: Iterable[str]) -> None:
    """Raises ``ArgumentError`` for the first argument of a name that is not among ``names``."""
    names = tuple(names)
    for name in given:
        if name not in names:
            also = ALSO_CALLED.get(name.lower())
            meant = closest(name, names, {name.lower(): also} if also in names and also is not None else None, like=0.6)
            remedy = f"did you mean {meant}=?" if meant is not None and (name not in INSTEAD or also == meant) else INSTEAD.get(name, "leave it out")
            raise ArgumentError(f"{who} takes no argument {name!r}.", expected=", ".join(names) or "no argument", given=f"{name}=", remedy=remedy)


def _names(function: Callable[..., Any]) -> tuple[str, ...] | None:
    """What a method's arguments may be called; None if anything."""
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & inspect.CO_VARKEYWORDS:
        return None
    return cast("tuple[str, ...]", code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])


class ChecksArguments:
    """Base of classes that refuse arguments which their constructors do not take."""

    __slots__ = ()

    if not TYPE_CHECKING:  # where mypy sees it, constructors take anything

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            if cls.__init__ is object.__init__:
                if args:
                    raise TypeError(f"{cls.__name__}() takes no arguments")
                refuse_unknown(cls.__name__, kwargs, ())
            elif kwargs:
                names = _names(cls.__init__)
                if names is not None:
                    refuse_unknown(cls.__name__, kwargs, names)
            return super().__new__(cls)


def checked(method: F) -> F:
    """A method that refuses arguments which it does not take."""
    names = _names(method)
    assert names is not None, "a method that takes any argument refuses none"

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not kwargs.keys() <= set(names):
            refuse_unknown(method.__name__, kwargs, names)
        return method(self, *args, **kwargs)

    return cast("F", call)

"""unimodel: write a model, its loss, its optimizer and its training step once; train it on any framework.

Importing it loads nothing yet: each public name is loaded from its module when it is first asked for, so a program pays for what it uses.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Buffer",
    "History",
    "Loss",
    "Model",
    "Optimizer",
    "Parameter",
    "Scalar",
    "Tensor",
    "Trainer",
    "callbacks",
    "errors",
    "init",
    "losses",
    "metrics",
    "models",
    "nn",
    "ops",
    "optim",
    "run",
    "use_backend",
    "value_and_grad",
]

if TYPE_CHECKING:  # for type checkers and editors; a test holds it equal to the table below
    from unimodel import callbacks, errors, init, losses, metrics, models, nn, ops, optim
    from unimodel.eager import run
    from unimodel.history import History
    from unimodel.loss import Loss
    from unimodel.model import Buffer, Model, Parameter
    from unimodel.optimizer import Optimizer
    from unimodel.plugins import use_backend
    from unimodel.tracing import Scalar, Tensor, value_and_grad
    from unimodel.trainer import Trainer
else:
    _MODULE_OF = {
        "Buffer": "model",
        "History": "history",
        "Loss": "loss",
        "Model": "model",
        "Optimizer": "optimizer",
        "Parameter": "model",
        "Scalar": "tracing",
        "Tensor": "tracing",
        "Trainer": "trainer",
        "run": "eager",
        "use_backend": "plugins",
        "value_and_grad": "tracing",
    }
    """Where a public name is from; one that is not here is a module itself."""

    def __getattr__(name: str) -> Any:
        from importlib import import_module

        if name not in __all__:
            return import_module("unimodel.names").missing("um")(name)
        found = import_module(f"unimodel.{_MODULE_OF.get(name, name)}")
        globals()[name] = value = getattr(found, name) if name in _MODULE_OF else found
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})

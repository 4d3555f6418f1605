"""Trainer: the training step, written once, and the loop around it.

``step`` is user code in the language of ops: it is traced once per kind of batch, compiled whole for the backend (forward, loss, gradient,
clipping, update, metrics), and from then on only the compiled program runs. The loop feeds it, and reads results back when somebody needs
them, at the latest at the end of an epoch.
"""

from __future__ import annotations

import inspect
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from unimodel import loop, nest, ops, recording, resume
from unimodel.arguments import ChecksArguments, checked
from unimodel.backend import Capability, CompileOptions
from unimodel.callbacks.callback import Callback, refuse_unknown_events
from unimodel.data.batches import ArrayData, StreamData, dataset
from unimodel.errors import BackendError, DataError, NonFiniteError, TraceError, UnimodelError, UnsupportedError
from unimodel.graph import Array
from unimodel.history import History
from unimodel.loss import Loss
from unimodel.metrics import Metric
from unimodel.model import Model, Parameter
from unimodel.modes import Mode
from unimodel.names import ExplainsNames
from unimodel.optimizer import Optimizer
from unimodel.passes.precision import SCALE, SKIPPED, LossScale
from unimodel.progress import Progress
from unimodel.results import PendingNumber, PendingResults, Totals
from unimodel.runtime import Program, Runtime
from unimodel.tracing import Scalar, Tensor, current_trace, value_and_grad


class Trainer(ExplainsNames, ChecksArguments):
    """Trains models on a backend.

    ``model``: a Model, or a dict of them for steps of one's own. ``loss``: a callable (input, target) of ops. ``optimizer``: an Optimizer, or a
    dict of them under the models' names. ``metrics``: a list. ``backend``: a name; None is the current one. ``device``: "cpu", or another that
    the backend lists. ``precision``: "float32" or "float64"; "bf16-mixed", "fp16-mixed" and "bf16-true" as in ``unimodel.passes.precision``.
    ``seed``: for weights, order and masks. ``clip_grad_norm``, ``clip_grad_value``: as PyTorch's functions of these names.
    ``differentiation``: "auto", "native" or "core". ``check_finite``: whether a loss that is NaN or infinite ends the run when it is read back.
    ``compile``: "auto", "none", or a compiler of the framework's own ("inductor" on torch, "xla" on tensorflow); "auto" is a static rule of the backend,
    and what it chose stands in ``compilers``. ``loss_scale``: how the scale of "fp16-mixed" moves.
    """

    def __init__(
        self,
        model: Model | Mapping[str, Model],
        loss: Callable[..., Any] | None = None,
        optimizer: Optimizer | Mapping[str, Optimizer] | None = None,
        metrics: Sequence[Metric] = (),
        backend: str | None = None,
        device: str = "cpu",
        precision: str = "float32",
        seed: int = 0,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        differentiation: Any = "auto",
        check_finite: bool = True,
        compile: str = "auto",
        loss_scale: LossScale | None = None,
    ) -> None:
        self.models: dict[str, Model] = dict(model) if isinstance(model, Mapping) else {"": model}
        for key, value in self.models.items():
            if not isinstance(value, Model):
                raise DataError(
                    f"the model {key!r} is no Model." if key else "the model is no Model.",
                    expected="an instance of a subclass of um.Model",
                    given=repr(value),
                    remedy="pass an instance, such as Net()",
                )
        self.optimizers: dict[str, Optimizer] = {} if optimizer is None else dict(optimizer) if isinstance(optimizer, Mapping) else {"": optimizer}
        for key, each in self.optimizers.items():
            if not isinstance(each, Optimizer):
                raise DataError("the optimizer is no Optimizer.", expected="an instance", given=repr(each), remedy="pass one, such as um.optim.Adam(lr=1e-3)")
            if key and key not in self.models:
                raise DataError("an optimizer is named like no model.", expected=", ".join(self.models), given=key, remedy="name it like the model it trains")
        if loss is not None and (isinstance(loss, type) or not callable(loss)):
            raise DataError(
                "the loss is no callable of (input, target).", expected="an instance", given=repr(loss), remedy="pass one, such as um.losses.MSELoss()"
            )
        for metric in _listed("metrics", metrics, "um.metrics.Accuracy()"):
            if not isinstance(metric, Metric):
                raise DataError("this is no metric.", expected="an instance", given=repr(metric), remedy="pass one, such as um.metrics.Accuracy()")
        for name, limit in (("clip_grad_norm", clip_grad_norm), ("clip_grad_value", clip_grad_value)):
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, float, np.number)) or limit <= 0):
                raise DataError(f"{name} must be positive.", expected="a number above 0, or None", given=repr(limit), remedy="leave it out to clip nothing")
        if differentiation not in ("auto", "native", "core"):
            raise UnsupportedError(
                "this differentiation is not known.",
                expected="auto, native, core",
                given=repr(differentiation),
                remedy="leave it out for the backend's own rule",
            )
        self.loss = loss
        self.metrics = list(metrics)
        self.clip_grad_norm = clip_grad_norm
        self.clip_grad_value = clip_grad_value
        self.check_finite = check_finite
        self.stop_training: bool | str = False
        current = recording.current()
        if current is not None:
            precision = current.trainer(precision)
        self._um_runtime = runtime = Runtime(self.models, backend, device, precision, seed, CompileOptions(differentiation, compile), loss_scale)
        for key, each in self.optimizers.items():
            each.bind(runtime, self._parameters(key), f"optimizer.{key}" if key else "optimizer")
        if self.optimizers:
            runtime.backend.require(Capability.TRAINING, "an optimizer")
        runtime.watched += [self, *([loss] if hasattr(loss, "__dict__") else []), *self.metrics, *self.optimizers.values()]
        self._um_epoch = 0
        self._um_steps = 0
        self._um_scalars = {"global_step": Scalar(lambda: float(self._um_steps)), "epoch": Scalar(lambda: float(self._um_epoch))}
        self._um_fed: dict[str, Any] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in sorted({"training_step", "validation_step", "configure_optimizers"} & set(cls.__dict__)):
            raise TraceError(
                f"{cls.__name__}.{name} would never be called.",
                expected="step(self, batch), evaluation_step(self, batch)",
                given=f"{name}, as in PyTorch Lightning",
                remedy="pass optimizer= to the Trainer"
                if name == "configure_optimizers"
                else "override step(self, batch), which computes gradients (um.value_and_grad), updates (self.optimizer.update) and returns a dict",
            )

    _um_kind = "Trainer"
    _um_left_out = ("stop_training",)  # plain attributes that are no constants of a trace
    _um_unpacked_weight = False

    def _parameters(self, key: str) -> Iterable[Parameter]:
        models = [self.models[key]] if key in self.models else list(self.models.values())
        return [p for m in models for p in m.parameters()]

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        runtime = self.__dict__.get("_um_runtime")
        if runtime is not None and not name.startswith("_um_") and name != "stop_training":
            runtime.changed()

    # what a trainer is made of
    @property
    def model(self) -> Model:
        """The model, where there is one."""
        if len(self.models) != 1:
            raise TraceError("this trainer has several models.", given=", ".join(self.models), remedy="use self.models[name]")
        return next(iter(self.models.values()))

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer, where there is one."""
        if len(self.optimizers) != 1:
            raise TraceError(f"this trainer has {len(self.optimizers)} optimizers.", remedy="pass optimizer= to the Trainer, or use self.optimizers[name]")
        return next(iter(self.optimizers.values()))

    @property
    def backend(self) -> str:
        """The name of the backend."""
        return self._um_runtime.backend.name

    @property
    def precision(self) -> str:
        return self._um_runtime.precision

    @property
    def compilers(self) -> dict[str, str]:
        """Which compiler of the framework's own has worked on each kind of program so far ("train", "evaluate", "predict")."""
        return {kind: program.executable.compiler for (kind, _), program in self._um_runtime.programs()}

    @property
    def loss_scale(self) -> float:
        """What the loss is multiplied with before it is differentiated, now; 1 unless the precision is "fp16-mixed"."""
        store = self._um_runtime.store
        return float(store.read(SCALE)) if SCALE in store else 1.0

    @property
    def seed(self) -> int:
        return self._um_runtime.seed

    @property
    def global_step(self) -> Any:
        """Steps done so far; inside ``step`` a host scalar."""
        return self._um_scalars["global_step"] if current_trace() is not None else self._um_steps

    @property
    def epoch(self) -> Any:
        """Epochs done so far; inside ``step`` a host scalar."""
        return self._um_scalars["epoch"] if current_trace() is not None else self._um_epoch

    # the step, in ops
    def step(self, batch: Any) -> dict[str, Any]:
        """One training step. Override it to train in another way; what it returns by name is reported."""
        inputs, target, weight = self.unpack(batch)

        def objective() -> tuple[Any, Any]:
            prediction = self.call(self.model, inputs)
            return self.compute_loss(prediction, target, weight), prediction

        (loss, prediction), grads = value_and_grad(objective, wrt=self._wrt(), has_aux=True)
        self.optimizer.update(self.clip(grads))
        return {"loss": loss, **self.measure(prediction, target, weight)}

    def evaluation_step(self, batch: Any) -> dict[str, Any]:
        """What evaluate does with a batch, in eval mode."""
        inputs, target, weight = self.unpack(batch)
        prediction = self.call(self.model, inputs)
        return {**({"loss": self.compute_loss(prediction, target, weight)} if self.loss is not None else {}), **self.measure(prediction, target, weight)}

    def _wrt(self) -> list[Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def unpack(self, batch: Any) -> tuple[Any, Any, Any]:
        """A batch as (inputs, target, sample weights or None)."""
        if isinstance(batch, tuple) and len(batch) in (2, 3):
            self._um_unpacked_weight = len(batch) == 3
            return batch[0], batch[1], batch[2] if len(batch) == 3 else None
        alone = isinstance(batch, Tensor)
        raise DataError(
            "a batch for the default step is (inputs, target) or (inputs, target, sample_weight).",
            given=f"one array, {batch.spec}" if alone else f"{type(batch).__name__}" + (f" of {len(batch)}" if isinstance(batch, (tuple, dict)) else ""),
            remedy="pass a tuple, fit((x, y)): a list, fit([x, y]), is a list of batches" if alone else "pass fit((x, y)), or override step(self, batch)",
        )

    def call(self, model: Model, inputs: Any) -> Any:
        """The model on a batch's inputs: a tuple is its positional arguments, a dict its keyword arguments, or a forward's only argument of another name."""
        args, names = (inputs, {}) if isinstance(inputs, tuple) else ((inputs,), {})
        if isinstance(inputs, dict) and not _takes_one(model.forward, inputs):
            args, names = (), inputs
        try:
            inspect.signature(model.forward).bind(*args, **names)
        except TypeError as error:
            raise DataError(
                f"forward of {type(model).__name__} does not take these inputs: {error}.",
                expected=f"forward{inspect.signature(model.forward)}",
                given=", ".join(names) if names else f"{len(args)} inputs",
                remedy="a tuple is forward's arguments, a dict its arguments by name; predict takes inputs alone, without targets: predict(x)",
            ) from None
        result = model(*args, **names)
        if result is None:
            raise TraceError(
                f"forward of {type(model).__name__} returned None.",
                expected="a tensor, or a nest of tensors",
                given=_where(model.forward),
                remedy="end it with return",
            )
        return result

    def compute_loss(self, prediction: Any, target: Any, sample_weight: Any = None) -> Any:
        if self.loss is None:
            raise TraceError("this trainer has no loss.", remedy="pass loss= to the Trainer, or override step(self, batch)")
        if sample_weight is None:
            loss = self.loss(prediction, target)
            if loss is None:
                raise TraceError("the loss returned None.", expected="a 0-d tensor", given=repr(self.loss), remedy="end it with return")
            return loss
        if not isinstance(self.loss, Loss):
            raise DataError(
                "sample weights need a loss per sample, which a plain function does not give.", remedy="subclass um.Loss and define terms(self, input, target)"
            )
        return self.loss(prediction, target, sample_weight)

    def measure(self, prediction: Any, target: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The metrics' parts of this batch, to be returned from a step."""
        return {m.name: m.measure(prediction, target, sample_weight) for m in self.metrics}

    def clip(self, grads: Any) -> Any:
        """Gradients clipped as the trainer was told to; by value first, then by their common norm, as PyTorch's two functions in this order."""
        flat = [g for g in nest.leaves(grads) if g is not None]
        if self.clip_grad_value is not None:
            limit = self.clip_grad_value
            flat = [ops.clip(g, -limit, limit) for g in flat]
        if self.clip_grad_norm is not None and flat:
            flat = clip_by_norm(flat, self.clip_grad_norm)
        clipped = iter(flat)
        return nest.map_leaves(lambda g: None if g is None else next(clipped), grads)

    # programs
    def _program(self, kind: str, function: Callable[[Any], Any], batch: Any, leaves: Sequence[Array]) -> Program:
        program = self._um_runtime.program(kind, function, batch, leaves)
        if self._um_unpacked_weight:  # while the step was traced just now
            program.weighted, self._um_unpacked_weight = True, False
        return program

    def _traced_step(self, batch: Any) -> dict[str, Any]:
        result = self.step(batch)
        trace = current_trace()
        if self.optimizers and trace is not None and not trace.root.calls:
            warnings.warn("this step updates no parameter: it never calls optimizer.update(gradients).", stacklevel=2)
        if not isinstance(result, dict):
            raise TraceError(
                "step(self, batch) must return a dict of tensors.", expected='{"loss": loss, …}', given=type(result).__name__, remedy="name what it reports"
            )
        return result

    def _run_steps(self, program: Program, batches: Sequence[list[Array]]) -> list[Any]:
        """Several steps of one program; returns their handles."""
        runtime, state = self._um_runtime, self.__dict__
        calls = program.traced.calls.items()
        skips = bool(calls) and runtime.lower.scaled  # whether a step may turn out to be no update, which is known once it has run
        if skips and len(batches) > 1:
            return [handle for leaves in batches for handle in self._run_steps(program, [leaves])]
        schedules = []
        for optimizer in self.optimizers.values():
            optimizer.belongs_to(runtime)
            if optimizer.scheduler is not None and optimizer.scheduler.interval == "step":
                schedules.append(optimizer.scheduler)
        arranged, numbers = [], []
        for leaves in batches:
            arranged.append(program.arrange(leaves, runtime.seed, self._um_steps))
            numbers.append(program.numbers())
            for optimizer, updates in calls:
                if not skips:
                    optimizer.advance(updates)
            state["_um_steps"] += 1
            for scheduler in schedules:
                scheduler.step()
        current = recording.current()
        if current is not None and current.step_by_step:
            for batch, scalars in zip(arranged, numbers, strict=True):
                current.before_step(program.traced.graph, runtime.options, runtime.store, batch, scalars)
        try:
            if len(batches) > 1:
                return program.executable.run_many(arranged, numbers)
            handle = program.executable.run(arranged[0], numbers[0])
            if skips and not runtime.store.read(SKIPPED):
                for optimizer, updates in calls:
                    optimizer.advance(updates)
            return [handle]
        except UnimodelError:
            raise
        except Exception as error:
            raise BackendError(f"{self.backend} failed in step {self._um_steps}.", given=f"{type(error).__name__}: {error}") from error

    def _logs(self, program: Program, values: Sequence[Array]) -> dict[str, Array]:
        return dict(zip(program.traced.structure, values, strict=True))

    def _read(self, program: Program, handle: Any, step: int) -> dict[str, Array]:
        """One step's results; a loss that is not finite ends the run."""
        logs = self._logs(program, program.executable.read(handle))
        loss = logs.get("loss")
        if self.check_finite and loss is not None and loss.ndim == 0 and not math.isfinite(loss):
            raise NonFiniteError(
                f"the loss became {float(loss)} at step {step}.",
                expected="a finite loss",
                given=f"{float(loss)} on the backend {self.backend}",
                remedy="lower the learning rate, clip gradients (clip_grad_norm=1.0), look for NaN in the data; "
                "unimodel diff SCRIPT --backends NAME --nan finds the op that made it; check_finite=False trains on regardless",
            )
        return logs

    def _mode(self, training: bool) -> Mode:
        return Mode(self._um_runtime, self.models.values(), training)

    # fit
    @checked
    def fit(
        self,
        data: Any,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        validation_data: Any = None,
        sample_weight: Any = None,
        callbacks: Sequence[Callback] = (),
        verbose: Any = "auto",
        max_steps: int | None = None,
    ) -> History:
        """Train for ``epochs`` more epochs.

        ``data`` is arrays (a tuple such as (x, y), a dict), or an iterable of batches. The last, smaller batch is trained on. The order of
        epoch e is the permutation that (seed, e) names. ``max_steps`` ends the run early. Returns a History with sample-weighted means per epoch.
        """
        if sample_weight is not None:
            if not isinstance(data, tuple) or len(data) != 2:
                raise DataError("sample_weight goes with data of the form (x, y).", remedy="or pass (x, y, sample_weight) as data")
            data = (*data, np.asarray(sample_weight))
        _not_target("fit", epochs)
        _whole(0, epochs=epochs)
        _whole(1, batch_size=batch_size)
        for callback in _listed("callbacks", callbacks, "um.callbacks.EarlyStopping()"):
            if not isinstance(callback, Callback):
                raise DataError(
                    "this is no callback.", expected="an instance of a subclass of um.callbacks.Callback", given=repr(callback), remedy="pass an instance"
                )
            refuse_unknown_events(callback)
        source = dataset(data)
        validation = None if validation_data is None else dataset(validation_data, "validation_data")
        history = History()
        progress = Progress(epochs, None, verbose)
        self.stop_training = False
        self._um_runtime.changed()  # lists and dicts among the attributes may have been changed in place
        steps_left = math.inf if max_steps is None else max_steps
        for callback in callbacks:
            callback.on_train_begin(self)
        try:
            for done in range(epochs):
                epoch = self._um_epoch
                for callback in callbacks:
                    callback.on_epoch_begin(self, epoch)
                before = self._um_steps
                try:
                    with self._mode(training=True):
                        logs, self._um_fed = loop.epoch(self, source, batch_size, shuffle, callbacks, steps_left)
                except NonFiniteError as error:
                    raise _blamed_on(source, error) from None
                steps_left -= self._um_steps - before
                self._um_epoch += 1
                if validation is not None:
                    logs.update({f"val_{k}": v for k, v in self._evaluate(validation, max(batch_size, 256)).items()})
                self._epoch_schedules(logs)
                history.add(epoch, logs)
                self._report(logs)
                for callback in callbacks:
                    callback.on_epoch_end(self, epoch, logs)
                progress.epoch(done + 1, epoch, logs)
                if self.stop_training or steps_left <= 0:
                    progress.stopped(epoch, self.stop_training)
                    break
        finally:
            progress.close()
            for callback in callbacks:
                callback.on_train_end(self)
        return history

    def _epoch_schedules(self, logs: Mapping[str, float]) -> None:
        for optimizer in self.optimizers.values():
            if optimizer.scheduler is not None:
                optimizer.scheduler.end_epoch(logs)

    def _report(self, logs: Mapping[str, float]) -> None:
        current = recording.current()
        if current is not None:
            current.final.update({name: value for name, value in logs.items() if isinstance(value, (int, float))})

    def train_step(self, batch: Any) -> dict[str, Any]:
        """One step on one batch; returns what ``step`` returned, as numbers that are read back when they are looked at."""
        if isinstance(batch, list):  # as a PyTorch DataLoader yields it
            batch = tuple(batch)
        leaves = self._um_runtime.leaves(batch)
        if not leaves or any(a.ndim and a.shape[0] == 0 for a in leaves):
            raise DataError("the batch is empty.", expected="at least one sample", given=[a.shape for a in leaves], remedy="leave empty batches out")
        program = self._program("train", self._traced_step, batch, leaves)
        if program.bounds:
            self._um_runtime.check_indices(program, leaves)
        (handle,) = self._run_steps(program, [leaves])
        return self._pending(program, handle)

    def _pending(self, program: Program, handle: Any) -> dict[str, Any]:
        step = self._um_steps
        result = PendingResults(lambda: self._read(program, handle, step), self.metrics)
        current = recording.current()
        if current is not None:
            current.step({name: result[name] for name in program.traced.structure})
        return {name: PendingNumber(result, name) for name in program.traced.structure}

    # evaluate and predict
    @checked
    def evaluate(self, data: Any, batch_size: int = 256) -> dict[str, float]:
        """Loss and metrics over a data set, in eval mode: sample-weighted means."""
        _not_target("evaluate", batch_size)
        _whole(1, batch_size=batch_size)
        logs = self._evaluate(dataset(data), batch_size)
        self._report({f"evaluate_{k}": v for k, v in logs.items()})
        return logs

    def _evaluate(self, source: ArrayData | StreamData, batch_size: int) -> dict[str, float]:
        totals = Totals({m.name: m for m in self.metrics})
        with self._mode(training=False):
            for program, values, weight in loop.forward(self, "evaluate", self.evaluation_step, source, batch_size):
                totals.add(self._logs(program, values), weight)
        return totals.results()

    @checked
    def predict(self, data: Any, batch_size: int = 256) -> Any:
        """What forward returns in eval mode, for all samples: an array, or forward's nest of arrays."""
        _whole(1, batch_size=batch_size)
        parts: list[list[Array]] = []
        structure = None
        with self._mode(training=False):
            for program, values, _ in loop.forward(self, "predict", self._predicted, dataset(data), batch_size):
                parts.append(values)
                structure = program.traced.structure
        return nest.rebuild(structure, iter([_joined(arrays) for arrays in zip(*parts, strict=True)]))

    def _predicted(self, inputs: Any) -> Any:
        return self.call(self.model, inputs)

    # keeping
    def save(self, path: str | os.PathLike[str]) -> None:
        """Everything that training needs to continue exactly, in one safetensors file: weights, buffers, optimizer, schedule, counters, seed."""
        resume.save(self, path)

    def load(self, path: str | os.PathLike[str]) -> Trainer:
        """Continue where the file's run stopped, on whatever backend this trainer has. Returns the trainer."""
        resume.load(self, path)
        return self

    def native(self, example: Any = None) -> Any:
        """The framework's own object for the model's forward in eval mode, with its weights; it runs without unimodel.

        ``example`` is an input (its first dimension may be anything); it may be left out once the trainer has seen data.
        """
        runtime = self._um_runtime
        runtime.backend.require(Capability.NATIVE_ARTIFACT, "native()")
        if example is None:
            example = self._um_example()
        with self._mode(training=False):
            leaves = runtime.leaves(example)
            program = self._program("predict", self._predicted, example, leaves)
        return runtime.backend.native(program.traced.graph, runtime.store)

    def _um_example(self) -> Any:
        for key, program in self._um_runtime.programs():
            kind, structure = key
            if kind in ("train", "evaluate", "predict"):
                arrays = iter([np.zeros([1 if not isinstance(s, int) else s for s in spec.shape], spec.dtype) for spec in program.specs])
                batch = _from_structure(structure, arrays)
                return batch[0] if kind != "predict" and isinstance(batch, tuple) else batch
        raise DataError("native() does not know yet what the model is fed with.", remedy="pass an example input, native(x[:1]), or train first")


def _from_structure(structure: Any, leaves: Iterator[Array]) -> Any:
    if structure is None:
        return next(leaves)
    if structure and isinstance(structure[0], tuple) and len(structure[0]) == 2 and isinstance(structure[0][0], str):
        return {name: _from_structure(inner, leaves) for name, inner in structure}
    return tuple(_from_structure(inner, leaves) for inner in structure)


def clip_by_norm(grads: Sequence[Tensor], max_norm: float) -> list[Tensor]:
    """Gradients scaled down together to at most this common L2 norm, as PyTorch's ``clip_grad_norm_`` (which adds 1e-6 to the norm)."""
    total = ops.sum(grads[0] * grads[0])
    for grad in grads[1:]:
        total = total + ops.sum(grad * grad)
    scale = ops.minimum(max_norm / (ops.sqrt(total) + 1e-6), 1.0)
    return [g * scale for g in grads]


def _joined(arrays: Sequence[Array]) -> Array:
    if not arrays[0].ndim:
        return arrays[-1]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _blamed_on(source: ArrayData | StreamData, error: NonFiniteError) -> NonFiniteError:
    """The error of a loss that is not finite; where the data are not either, that is why."""
    found = source.not_finite() if isinstance(source, ArrayData) else None
    if found is None:
        return error
    remedy = "clean the data: np.nan_to_num(x), or leave such rows out; check_finite=False trains on regardless"
    return NonFiniteError(error.message, expected="data of finite numbers", given=found, remedy=remedy)


def _listed(name: str, given: Any, example: str) -> Sequence[Any]:
    """A list of things, where one alone is a mistake."""
    if not isinstance(given, (list, tuple)):
        raise DataError(f"{name} are a list.", expected=f"{name}=[{example}, ...]", given=repr(given), remedy=f"put it in brackets: {name}=[...]")
    return given


def _not_target(function: str, second: Any) -> None:
    """Refuse inputs and targets as two arguments, as Keras takes them."""
    if getattr(second, "shape", ()) or (isinstance(second, (list, tuple)) and second):
        raise DataError(
            f"{function} takes the data as one argument.",
            expected=f"{function}((x, y))",
            given=f"a second argument of type {type(second).__name__}",
            remedy=f"put inputs and targets in a tuple: trainer.{function}((x, y))",
        )


def _where(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    return f"the function at {code.co_filename}:{code.co_firstlineno}" if code is not None else repr(function)


def _whole(least: int, **arguments: Any) -> None:
    """Each must be an integer of at least so much."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < least:
            raise DataError(
                f"{name} must be an integer of at least {least}.", expected=f"{name} >= {least}", given=repr(value), remedy=f"give {name} as a whole number"
            )


def _takes_one(function: Callable[..., Any], names: Iterable[str]) -> bool:
    """Whether a function has one parameter, of none of these names."""
    parameters = list(inspect.signature(function).parameters.values())
    return len(parameters) == 1 and parameters[0].kind is not parameters[0].VAR_KEYWORD and parameters[0].name not in names

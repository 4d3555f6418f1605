"""The contestants, ready to step: unimodel's Trainer on a workload or on the user's script, and the loops written by hand.

Runs in a measuring process. A subject waits for its own result: MXNet is asynchronous even on the CPU, and so is every accelerator.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import itertools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import unimodel as um
from unimodel import nest, plugins, random
from unimodel.bench.flops import flops
from unimodel.bench.plan import DEFAULT, Contestant
from unimodel.bench.workloads import WORKLOADS, Workload
from unimodel.data.batches import dataset
from unimodel.errors import DataError, UnsupportedError
from unimodel.graph import Array
from unimodel.recording import Recording, StopRecording, loss_of, recorded

SIGNS = 16
FIT_BYTES = 4 << 20
FIT_STEPS = 64
"""An epoch that is timed has so many steps, fewer where they would take more memory than ``FIT_BYTES``."""


@dataclass
class Subject:
    """What can be timed: ``step(batch)`` gives the loss as a number, ``infer(batch)`` the prediction, ``fit`` trains for ``fit_steps`` steps."""

    step: Callable[[Any], float]
    infer: Callable[[Any], Array] | None
    batches: list[Any]
    weights: Mapping[str, Array]
    settings: dict[str, Any] = field(default_factory=dict)
    fit: Callable[[], Any] | None = None
    fit_steps: int = 0
    trainer: Any = None
    workload: Workload | None = None
    prediction: list[float] = field(default_factory=list)
    """The signature of what it predicts before it is trained."""
    preparing: float = 0.0
    """Seconds of building that were the benchmark's own: making batches, and for loops by hand the weights."""

    def __post_init__(self) -> None:
        self._turn = itertools.cycle(self.batches)

    @property
    def samples(self) -> int | None:
        """How many there are in a batch, where all batches have as many."""
        lengths = {_length(batch) for batch in self.batches}
        return lengths.pop() if len(lengths) == 1 else None

    def next_batch(self) -> Any:
        return next(self._turn)


def fingerprint(arrays: Mapping[str, Array] | Sequence[Array]) -> str:
    """A short hash of numbers and their order."""
    digest = hashlib.blake2b(digest_size=8)
    for array in arrays.values() if isinstance(arrays, Mapping) else arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def signature(prediction: Any) -> list[float]:
    """A prediction of any size as 16 numbers that move as much as it does: its products with fixed rows of signs, by its norm."""
    flat = np.concatenate([np.asarray(leaf, "float64").ravel() for leaf in nest.leaves(prediction)])
    rng = np.random.Generator(np.random.Philox(2))
    size = float(np.linalg.norm(flat)) or 1.0
    return [float((flat * (rng.integers(0, 2, flat.size) * 2 - 1)).sum() / size) for _ in range(SIGNS)]


# ours
def build(contestant: Contestant, batches: int = 4) -> Subject:
    """A workload of the set on unimodel."""
    workload = WORKLOADS[contestant.workload]
    start = time.perf_counter()
    data = workload.batches(contestant.batch_size, batches)
    preparing = time.perf_counter() - start
    options: dict[str, Any] = {"precision": contestant.precision}
    if contestant.compile != DEFAULT:
        options["compile"] = contestant.compile
    trainer = workload.trainer(contestant.backend, **options)
    built = time.perf_counter()
    subject = of_trainer(trainer, data, workload)  # which copies the weights, for their fingerprint
    subject.preparing = preparing + time.perf_counter() - built
    return subject


def build_from_script(script: str, arguments: Sequence[str], contestant: Contestant, batches: int = 4) -> Subject:
    """A user's script, run until its first Trainer is about to train: that trainer, on the first batches of that data."""
    from unimodel.cli.script import run_as_main

    caught = _Caught(batches, contestant.batch_size)
    with (
        caught,
        recorded(Recording(precision=None if contestant.precision == "float32" else contestant.precision)),
        plugins.forced_backend(contestant.backend),
        contextlib.suppress(StopRecording),
    ):
        run_as_main(Path(script), arguments)
    if caught.trainer is None:
        raise NeverTrainsError(
            f"{script} never trains: it calls neither fit nor train_step of a um.Trainer, so that there is nothing to time.",
            remedy="train in the script itself, not in a function that it never calls",
        )
    return of_trainer(caught.trainer, caught.batches, None)


class NeverTrainsError(DataError):
    """A script that ends without a training step, on whatever backend."""


class _Caught:
    """While it is entered, the first call of a Trainer's ``fit`` or ``train_step`` is kept instead of made, and ends the script."""

    def __init__(self, count: int, batch_size: int | None) -> None:
        self.count, self.batch_size = count, batch_size
        self.trainer: Any = None
        self.batches: list[Any] = []

    def __enter__(self) -> None:
        self._before = um.Trainer.fit, um.Trainer.train_step
        caught = self

        def fit(trainer: Any, data: Any, epochs: int = 1, batch_size: int = 32, shuffle: bool = True, *_: Any, sample_weight: Any = None, **__: Any) -> Any:
            source = dataset((*data, np.asarray(sample_weight)) if sample_weight is not None else data)
            caught.batches = _first_batches(trainer, source, caught.batch_size or batch_size, shuffle, caught.count)
            caught.trainer = trainer
            raise StopRecording

        def train_step(trainer: Any, batch: Any) -> Any:
            caught.trainer, caught.batches = trainer, [tuple(batch) if isinstance(batch, list) else batch]
            raise StopRecording

        um.Trainer.fit, um.Trainer.train_step = fit, train_step  # type: ignore[method-assign,assignment]  # put back on leaving

    def __exit__(self, *_: object) -> None:
        um.Trainer.fit, um.Trainer.train_step = self._before  # type: ignore[method-assign]  # as they were


def _first_batches(trainer: Any, source: Any, size: int, shuffle: bool, count: int) -> list[Any]:
    """The batches that fit would begin with, in its order."""
    if not hasattr(source, "data"):
        return list(itertools.islice(iter(source), count))
    length = source.length
    order = random.permutation(trainer.seed, "shuffle", int(trainer.epoch), length) if shuffle else np.arange(length)
    starts = list(range(0, max(length - size, 0) + 1, size))[:count]
    return [nest.map_leaves(lambda a, s=s: np.asarray(a)[order[s : s + size]], source.data) for s in starts]


def of_trainer(trainer: Any, batches: list[Any], workload: Workload | None) -> Subject:
    def step(batch: Any) -> float:
        results = trainer.train_step(batch)
        loss = results.get("loss")
        if loss is None:
            loss = loss_of({name: value.value for name, value in results.items()})
        return float(loss if loss is not None else next(iter(results.values())))

    def infer(batch: Any) -> Any:
        inputs = batch[0] if isinstance(batch, tuple) else batch
        return trainer.predict(inputs, batch_size=_length(inputs))

    weights = {f"{key}.{name}" if key else name: array for key, model in trainer.models.items() for name, array in model.state_dict().items()}
    return _with_epochs(
        Subject(step, infer if len(trainer.models) == 1 else None, batches, weights, trainer=trainer, workload=workload),
        lambda many, size: trainer.fit(many, batch_size=size, verbose=False),
    )


def _with_epochs(subject: Subject, fit: Callable[[Any, int], Any]) -> Subject:
    """With an epoch to be timed: the first batch, over and over."""
    first = subject.batches[0]
    per_batch = sum(np.asarray(leaf).nbytes for leaf in nest.leaves(first))
    steps = max(4, min(FIT_STEPS, FIT_BYTES // max(per_batch, 1)))
    many: Any = None

    def epoch() -> Any:
        nonlocal many
        if many is None:
            many = nest.map_leaves(lambda leaf: np.concatenate([np.asarray(leaf)] * steps), first)
        return fit(many, _length(first))

    subject.fit, subject.fit_steps = epoch, steps
    return subject


def _length(batch: Any) -> int:
    return next((len(leaf) for leaf in nest.leaves(batch) if np.ndim(leaf)), 1)


def about(subject: Subject, kind: str = "train", count: bool = False) -> dict[str, Any]:
    """What there is to know of a Trainer's program once it has run: its masks, who differentiates it, and with ``count`` its arithmetic and whether it pools maxima."""
    found: dict[str, Any] = {}
    trainer = subject.trainer
    if trainer is None:
        return found
    runtime = trainer._um_runtime
    for (program_kind, _), program in runtime.programs():
        if program_kind != kind:
            continue
        graph = program.traced.graph
        leaves = runtime.leaves(subject.batches[0])
        shapes = {name: leaves[i].shape for i, name in enumerate(program.traced.batch)}
        batch = program.arrange(leaves, runtime.seed, 0)
        shapes |= {entry.name: array.shape for entry, array in zip(program.inputs, batch, strict=True) if hasattr(array, "shape")}
        if count:
            found["flops"] = flops(graph, graph.sizes(shapes))
            found["max_pooling"] = "max_pool" in str(graph)
        found["differentiation"] = getattr(program.executable, "differentiation", None)
        found["compiler"] = getattr(program.executable, "compiler", None)
        masks = [array for entry, array in zip(program.inputs, batch, strict=True) if entry.name not in program.traced.batch]
        found["masks"] = fingerprint(masks) if masks else None
    return found


# written by hand
def native_loops(backend: str, kind: str) -> ModuleType:
    """The module of the loops for a framework."""
    return _loops(f"benchmarks.native.{'keras' if kind == 'keras' else backend}_loops")


def _loops(module: str) -> ModuleType:
    """A module of the repository, which the installed package has no part of."""
    folder = repository()
    if folder is None:
        raise UnsupportedError(
            "the loops written by hand are in unimodel's repository, not in the installed package.",
            expected="a folder benchmarks/native beside the package unimodel",
            remedy="run it in a checkout (pip install --editable .), or leave --native out",
        )
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return importlib.import_module(module)


def has_loop(contestant: Contestant, kind: str) -> bool:
    """Whether there is a loop for it: its framework's own ("native"), one that takes ``compile`` ("compiler"), or Keras's. No framework is imported."""
    offers = _loops("benchmarks.native")
    if kind == "keras":
        return contestant.workload in offers.KERAS_WORKLOADS and contestant.backend in offers.KERAS_BACKENDS
    return contestant.backend in (offers.COMPILERS if kind == "compiler" else offers.FRAMEWORKS)


def repository() -> Path | None:
    """The checkout that unimodel is imported from, if it is one."""
    folder = Path(um.__file__).resolve().parents[1]
    return folder if (folder / "benchmarks" / "native").is_dir() else None


def build_native(contestant: Contestant, batches: int = 4) -> Subject:
    """A loop written by hand, on the same weights and batches as unimodel's."""
    workload = WORKLOADS[contestant.workload]
    module = native_loops(contestant.backend, contestant.kind)
    if workload.name not in module.LOOPS:
        raise UnsupportedError(f"there is no loop written by hand for {workload.name} on {contestant.backend} ({contestant.kind}).")
    module.pin(contestant.threads)
    start = time.perf_counter()
    data = workload.batches(contestant.batch_size, batches)
    model = workload.model()
    with um.use_backend("numpy"):
        weights = model.state_dict()
    preparing = time.perf_counter() - start
    loop = module.LOOPS[workload.name](weights, None if contestant.compile in (DEFAULT, "auto", "none") else contestant.compile)
    subject = Subject(
        lambda batch: float(loop.step(*batch)),
        lambda batch: np.asarray(loop.predict(batch[0])),
        data,
        weights,
        settings=module.settings(),
        workload=workload,
        preparing=preparing,
    )
    return subject if loop.fit is None else _with_epochs(subject, lambda many, size: loop.fit(*many, size))

"""Executables made of executables: whatever a backend's programs lack (open shapes, control flow, results that last, cheap starts), a step is the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import plugins
from unimodel.backend import CompileOptions, Executable, Interpreter
from unimodel.dim import Dim
from unimodel.errors import BackendError
from unimodel.executables import PerShape, SetAside, Together
from unimodel.graph import Array, Graph, TensorSpec
from unimodel.passes import prepare
from unimodel.regions import has_control_flow
from unimodel.tracing import trace

Numpy: Any = plugins.load("numpy")
ops = um.ops
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((38, 5, 3)), RNG.standard_normal((38, 1))


class Rigid(Executable):
    """Programs with every defect: one shape, no control flow, results in memory that the next run writes to. Counts itself and its runs."""

    made: int = 0
    runs: int = 0

    def __init__(self, backend: Any, graph: Graph, store: Any) -> None:
        assert not graph.symbols and not has_control_flow(graph)
        self._inner = Interpreter(backend, graph, store)
        self._memory = [np.empty([int(s) for s in v.spec.shape], v.spec.dtype) for v in graph.outputs]
        Rigid.made += 1

    def run(self, batch: Sequence[Array], scalars: Sequence[float]) -> Any:
        Rigid.runs += 1
        for memory, array in zip(self._memory, self._inner.read(self._inner.run(batch, scalars)), strict=True):
            memory[...] = array
        return self._memory

    def read(self, handle: Any) -> list[Array]:
        return [np.array(a) for a in handle]


class RigidBackend(Numpy):
    """NumPy by such programs."""

    def compile(self, graph: Graph, store: Any, options: CompileOptions | None = None) -> Executable:
        graph = prepare(graph, self.lowerings.accepts)

        def program(graph: Graph, store: Any) -> Executable:
            return PerShape(graph, lambda part, store: SetAside(Rigid(self, part, store)), store)

        return program(graph, store) if has_control_flow(graph) else Together(graph, 4, program, store)


@pytest.fixture
def rigid(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name "rigid" for that backend."""
    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda name: RigidBackend if name == "rigid" else load(name))
    monkeypatch.setattr(plugins, "choose", lambda name: name or "numpy")
    Rigid.made = Rigid.runs = 0


class Plain(um.Model):
    def __init__(self) -> None:
        self.body = um.nn.Sequential(um.nn.Flatten(), um.nn.Linear(15, 4), um.nn.BatchNorm1d(4), um.nn.Tanh(), um.nn.Dropout(0.3), um.nn.Linear(4, 1))

    def forward(self, x: um.Tensor) -> um.Tensor:
        return self.body(x)


class Looping(um.Model):
    """A scan over time with weights captured and a stack left; a branch inside it; a loop that ends by a condition; random numbers."""

    def __init__(self) -> None:
        self.enter, self.again, self.leave = um.nn.Linear(3, 4), um.nn.Linear(4, 4), um.nn.Linear(4, 1)
        self.drop = um.nn.Dropout(0.2)
        self.steps = um.Buffer(np.zeros(()))

    def forward(self, x: um.Tensor) -> um.Tensor:
        def one(h: um.Tensor, slice: um.Tensor) -> tuple[um.Tensor, um.Tensor]:
            grown = ops.tanh(self.enter(slice) + self.again(h))
            h = ops.cond(ops.sum(grown) > 0.0, lambda: grown, lambda: grown * 0.5 + self.again.bias)
            return h, ops.sum(h, axis=-1)

        start = ops.broadcast_to(self.again.bias, (x.shape[0], 4))
        h, stack = ops.scan(one, start, ops.permute_dims(x, (1, 0, 2)), reverse=True)
        count = ops.while_loop(lambda n: n < 3.0 + ops.sum(self.steps), lambda n: n + 1.0, ops.sum(self.steps) * 0.0)
        return self.leave(self.drop(h)) + ops.mean(stack) + ops.stop_gradient(count)


def trained(model: Callable[[], um.Model], backend: str) -> tuple[um.Trainer, list[float]]:
    """The trainer after two epochs, and their losses."""
    trainer = um.Trainer(model(), um.losses.MSELoss(), um.optim.AdamW(lr=0.02), backend=backend, precision="float64", seed=3)
    history = trainer.fit((X, Y), batch_size=4, epochs=2, shuffle=False, verbose=False)  # 10 batches: two calls of four, one alone, one of another size
    return trainer, history.history["loss"]


@pytest.mark.parametrize(
    ("model", "error"), [(Plain, 0.0), (Looping, 1e-13)]
)  # between segments arrays are laid out anew, and NumPy's products round by layout
@pytest.mark.usefixtures("rigid")
def test_training_is_the_same(model: Callable[[], um.Model], error: float) -> None:
    (one, wanted), (other, losses) = trained(model, "numpy"), trained(model, "rigid")
    np.testing.assert_allclose(losses, wanted, error, error)
    assert Rigid.made and Rigid.runs
    for name, array in one.model.state_dict().items():
        np.testing.assert_allclose(other.model.state_dict()[name], array, error, error, err_msg=name)
    np.testing.assert_allclose(other.predict(X), one.predict(X), error, error)
    assert other.evaluate((X, Y)) == pytest.approx(one.evaluate((X, Y)), rel=error, abs=0.0)


def graph_of(function: Callable[..., Any], *specs: TensorSpec) -> Graph:
    return trace(lambda batch: function(*batch), specs, names={}, float_dtype="float64").graph


def program(graph: Graph, compile: Callable[[Graph], Executable]) -> Executable:
    return compile(prepare(graph, Numpy.lowerings.accepts))


def test_a_program_for_each_shape_and_the_last_ones_kept() -> None:
    backend = Numpy()
    made: list[Graph] = []

    def compile(graph: Graph, store: Any) -> Executable:
        made.append(graph)
        return Interpreter(backend, graph, store)

    n = Dim.symbol("N")
    whole = program(
        graph_of(lambda x: ops.reshape(x, (n * 2,)) + ops.arange(n * 2), TensorSpec((n, 2), "float64")), lambda g: PerShape(g, compile, backend.store({}))
    )
    for size in (3, 4, 3):
        (found,) = whole.read(whole.run([np.ones((size, 2))], []))
        assert np.array_equal(found, 1.0 + np.arange(2 * size))
    assert [g.inputs[0].spec.shape for g in made] == [(3, 2), (4, 2)]
    for size in range(5, 20):
        whole.run([np.ones((size, 2))], [])
    whole.run([np.ones((3, 2))], [])
    assert len(made) == 17, "the shape used last but fifteen is still there"
    whole.run([np.ones((4, 2))], [])
    assert len(made) == 18, "the one before it is not"


def test_results_outlive_later_runs_and_failures_stay_with_theirs() -> None:
    class Counter(Executable):
        """Every run writes its number into the same memory. A negative one fails, where it is read."""

        def __init__(self) -> None:
            self.memory = np.zeros(1)

        def run(self, batch: Sequence[Array], scalars: Sequence[float]) -> Any:
            self.memory[0] = scalars[0]
            return self.memory

        def read(self, handle: Any) -> list[Array]:
            if handle[0] < 0.0:
                raise ValueError("a negative number")
            return [np.array(handle)]

    executable = SetAside(Counter())
    first = executable.run([], [1.0])
    executable.read(first)[0][0] = 5.0
    second = executable.run([], [2.0])
    assert [float(executable.read(h)[0][0]) for h in (second, first, first)] == [2.0, 1.0, 1.0]
    executable.read(first)[0][0] = 7.0
    assert executable.read(first)[0] == 1.0, "what is read is the reader's own"
    failed = executable.run([], [-1.0])
    with pytest.raises(ValueError, match="negative"):
        executable.run([], [3.0])
    with pytest.raises(ValueError, match="negative"):
        executable.read(failed)
    assert executable.read(executable.run([], [4.0]))[0] == 4.0


@pytest.mark.usefixtures("rigid")
def test_threads_get_their_own_results() -> None:
    trainer = um.Trainer(Looping(), backend="rigid", precision="float64")
    trainer.model.eval()
    truth = {i: trainer.predict(X[i : i + 4]) for i in range(0, 32, 4)}
    wrong: list[int] = []

    def ask(i: int) -> None:
        for _ in range(3):
            if not np.array_equal(trainer.predict(X[i : i + 4]), truth[i]):
                wrong.append(i)

    threads = [threading.Thread(target=ask, args=(i,)) for i in truth]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.usefixtures("rigid")
@pytest.mark.parametrize("runs", [0, 3, 7])
def test_a_failure_on_the_way_leaves_the_state(runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = um.Trainer(Looping(), um.losses.MSELoss(), um.optim.AdamW(lr=0.02), backend="rigid", precision="float64")
    trainer.train_step((X[:4], Y[:4]))
    before = {name: np.array(trainer._um_runtime.store.read(name)) for name in trainer._um_runtime.store}
    run, left = Rigid.run, iter(range(runs))
    monkeypatch.setattr(Rigid, "run", lambda self, batch, scalars: [next(left), run(self, batch, scalars)][1])
    with pytest.raises(BackendError, match="StopIteration"):
        trainer.train_step((X[:4], Y[:4]))
    for name, array in before.items():
        assert np.array_equal(trainer._um_runtime.store.read(name), array), name
    monkeypatch.setattr(Rigid, "run", run)
    trainer.train_step((X[:4], Y[:4]))
    assert not np.array_equal(trainer._um_runtime.store.read("again.weight"), before["again.weight"])

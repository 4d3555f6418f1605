"""Compiled programs and their state: updates, copies, order, and several programs on one store.

A backend that writes in place, hands several steps over at once, folds constants or keeps views has many ways to show one step's numbers in another. These tests run graphs
with state directly, below the trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import ops, value_and_grad
from unimodel.backend import Capability, CompileOptions, Executable, Store
from unimodel.graph import Array, TensorSpec
from unimodel.tracing import Scalar, Variable, trace
from unimodel_conformance.subject import Subject, assert_close

pytestmark = pytest.mark.concerns("program")


class Cell(Variable):
    """A cell of state with a shape and a dtype."""

    def __init__(self, array: Array) -> None:
        self.shape = array.shape
        self.dtype = array.dtype.name


class Bench:
    """Cells in a store of the backend, and programs on them."""

    def __init__(self, subject: Subject, **arrays: Any) -> None:
        self.subject = subject
        given = {n: np.asarray(a, None if np.asarray(a).dtype.kind != "f" else subject.best) for n, a in arrays.items()}
        self.cells = {n: Cell(a) for n, a in given.items()}
        self.store: Store = subject.backend.store(given)

    def program(self, function: Callable[..., Any], *examples: Any, way: Any = "auto") -> Program:
        specs = tuple(TensorSpec(a.shape, a.dtype.name) for a in map(self._array, examples))
        traced = trace(lambda batch: function(self.cells, *batch), specs, names={c: n for n, c in self.cells.items()}, float_dtype=self.subject.best)
        return Program(self, traced, self.subject.backend.compile(traced.graph, self.store, CompileOptions(way)))

    def _array(self, value: Any) -> Array:
        array = np.asarray(value)
        return array.astype(self.subject.best) if array.dtype.kind == "f" else array

    def state(self) -> dict[str, Any]:
        return {n: self.store.read(n).tolist() for n in self.cells}


class Program:
    """A compiled function of a bench's cells."""

    def __init__(self, bench: Bench, traced: Any, executable: Executable) -> None:
        self.bench, self.traced, self.executable = bench, traced, executable

    def start(self, *batch: Any) -> Any:
        return self.executable.run(self._inputs(batch), self._numbers())

    def _inputs(self, batch: Sequence[Any]) -> list[Array]:
        by_name = dict(zip(self.traced.batch, (self.bench._array(b) for b in batch), strict=True))
        return [by_name[e.name] for e in self.traced.graph.of_kind("batch")]

    def _numbers(self) -> list[float]:
        return [self.traced.scalars[e.name].value for e in self.traced.graph.of_kind("scalar")]

    def read(self, handle: Any) -> list[Any]:
        return [a.tolist() for a in self.executable.read(handle)]

    def __call__(self, *batch: Any) -> list[Any]:
        return self.read(self.start(*batch))

    def many(self, batches: Sequence[Sequence[Any]], numbers: Sequence[Sequence[float]]) -> list[list[Any]]:
        return [self.read(h) for h in self.executable.run_many([self._inputs(b) for b in batches], numbers)]


def test_updates_come_after_the_step(subject: Subject) -> None:
    """Two cells that exchange their values, and one that becomes another's old value."""
    bench = Bench(subject, a=[1.0, 2.0], b=[3.0, 4.0], c=[0.0, 0.0])

    def step(cells: Mapping[str, Any]) -> Any:
        a, b = cells["a"] + 0.0, cells["b"] + 0.0
        cells["c"].assign(cells["a"])
        cells["a"].assign(b)
        cells["b"].assign(a)
        return [a, b]

    program = bench.program(step)
    assert program() == [[1, 2], [3, 4]] and bench.state() == {"a": [3, 4], "b": [1, 2], "c": [1, 2]}
    assert program() == [[3, 4], [1, 2]] and bench.state() == {"a": [1, 2], "b": [3, 4], "c": [3, 4]}


def test_reads_after_assign_see_the_new_value(subject: Subject) -> None:
    bench = Bench(subject, a=[1.0])

    def step(cells: Mapping[str, Any]) -> Any:
        before = cells["a"] * 1.0
        cells["a"].assign(cells["a"] * 2.0)
        between = cells["a"] * 1.0
        cells["a"].assign(cells["a"] + 1.0)
        return [before, between, cells["a"] * 1.0]

    program = bench.program(step)
    assert program() == [[1], [2], [3]] and program() == [[3], [6], [7]] and bench.state() == {"a": [7]}


VIEWS: dict[str, tuple[Callable[[Any], Any], Callable[[Array], Array]]] = {
    "flipped": (lambda a: ops.flip(a, axis=0), lambda a: a[::-1]),
    "transposed": (lambda a: a.T, lambda a: a.T),
    "rolled": (lambda a: ops.concat([a[1:], a[:1]]), lambda a: np.roll(a, -1, 0)),
    "taken": (lambda a: ops.take(a, np.array([2, 0, 1])), lambda a: a[[2, 0, 1]]),
    "row everywhere": (lambda a: ops.broadcast_to(a[0:1], (3, 3)), lambda a: np.tile(a[0], (3, 1))),
    "reshaped": (lambda a: ops.reshape(ops.permute_dims(ops.reshape(a, (9, 1)), (1, 0)), (3, 3)), lambda a: a),
}


@pytest.mark.parametrize("how", VIEWS)
def test_a_cell_set_to_a_view_of_itself(subject: Subject, how: str) -> None:
    """A value made from the cell's own memory is complete before it is written there."""
    start = np.arange(9.0).reshape(3, 3)
    bench = Bench(subject, a=start)
    function, wanted = VIEWS[how]

    def step(cells: Mapping[str, Any]) -> Any:
        cells["a"].assign(function(cells["a"]))
        return [cells["a"] * 1.0]

    program = bench.program(step)
    for _ in range(3):
        start = np.array(wanted(start))
        assert program() == [start.tolist()] and bench.state() == {"a": start.tolist()}, f"{how}: {bench.state()['a']}, expected {start.tolist()}"


def test_cells_do_not_share_memory(subject: Subject) -> None:
    """A cell set to another one's value, or two set to the same value, are apart from then on."""
    bench = Bench(subject, a=[1.0, 2.0], b=[0.0, 0.0], c=[[0.0], [0.0]], d=[0.0, 0.0])

    def share(cells: Mapping[str, Any], x: Any) -> Any:
        cells["b"].assign(cells["a"])
        cells["c"].assign(ops.reshape(cells["a"], (2, 1)))
        cells["d"].assign(x)
        return [cells["a"] + cells["b"]]

    def grow(cells: Mapping[str, Any]) -> Any:
        cells["a"].assign(cells["a"] * 10.0)
        return [cells["b"] * 1.0, cells["c"] * 1.0]

    bench.program(share, [5.0, 6.0])([5.0, 6.0])
    growing = bench.program(grow)
    growing()
    growing()
    assert bench.state() == {"a": [100, 200], "b": [1, 2], "c": [[1], [2]], "d": [5, 6]}

    both = Bench(subject, a=[0.0], b=[0.0])

    def same(cells: Mapping[str, Any], x: Any) -> Any:
        y = x * 2.0
        cells["a"].assign(y)
        cells["b"].assign(y)
        return [y]

    both.program(same, [1.0])([1.0])

    def one(cells: Mapping[str, Any]) -> Any:
        cells["a"].assign(cells["a"] + 1.0)
        return [cells["a"] * 1.0]

    both.program(one)()
    assert both.state() == {"a": [3], "b": [2]}


def test_results_are_those_of_their_step(subject: Subject) -> None:
    """What a step returned is read later unchanged, though later steps overwrite the state it came from."""
    bench = Bench(subject, a=[[1.0, 2.0]])

    def step(cells: Mapping[str, Any]) -> Any:
        old = cells["a"]
        view = ops.reshape(cells["a"], (2,))
        row = cells["a"][0]
        result = [old, view, row]
        cells["a"].assign(cells["a"] + 1.0)
        return [*result[1:], cells["a"]]

    program = bench.program(step)
    handles = [program.start() for _ in range(4)]
    for i in (3, 0, 2, 1):
        assert program.read(handles[i]) == [[1 + i, 2 + i], [1 + i, 2 + i], [[2 + i, 3 + i]]], f"step {i}"


def aligned(array: Array, to: int = 64) -> Array:
    """A copy whose memory begins at a multiple of so many bytes."""
    memory = np.empty(array.nbytes + to, "uint8")
    start = -memory.ctypes.data % to
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.parametrize("size", [1000, 300_000])
def test_batches_may_be_overwritten(subject: Subject, size: int) -> None:
    """The caller's arrays are used up once ``run`` returns, whether results have been read or not, however large they and the state are.

    Their memory begins where vector units like it: a framework that takes over some arrays without a copy takes over such.
    """
    bench = Bench(subject, total=np.zeros(size))

    def step(cells: Mapping[str, Any], x: Any) -> Any:
        cells["total"].assign(cells["total"] + x)
        return [x * 1.0, x, ops.reshape(x, (2, -1))]

    x = aligned(np.ones(size, subject.best))
    program = bench.program(step, x)
    handles = []
    for i in range(5):
        x[...] = i + 1
        handles.append(program.executable.run([x], []))
        x[...] = -99
    for i, handle in enumerate(handles):
        first, second, third = program.executable.read(handle)
        assert (first == i + 1).all() and (second == i + 1).all() and (third == i + 1).all(), f"step {i} gives {first[0]}, {second[0]} and {third[0, 0]}"
    assert (bench.store.read("total") == 15).all()


def test_many_steps_at_once(subject: Subject) -> None:
    """``run_many`` is ``run`` again and again, each step with its own batch and numbers; results come per step."""

    def step(cells: Mapping[str, Any], x: Any) -> Any:
        cells["a"].assign(cells["a"] * 0.5 + ops.sum(x) * rate)
        cells["count"].assign(cells["count"] + 1)
        return [cells["a"] * 1.0, cells["count"] * 10]

    rate = Scalar(1.0)
    rng = np.random.default_rng(0)
    batches = [(rng.standard_normal(3),) for _ in range(11)]
    numbers = [[0.1 * i + 1e-9] for i in range(11)]
    single, several = (Bench(subject, a=[1.0, -1.0], count=np.array(0, "int64")) for _ in range(2))
    one, many = single.program(step, np.zeros(3)), several.program(step, np.zeros(3))
    wanted = []
    for batch, (number,) in zip(batches, numbers, strict=True):
        rate.value = number
        wanted.append(one(*batch))
    given = many.many(batches[:5], numbers[:5]) + many.many(batches[5:6], numbers[5:6]) + many.many(batches[6:], numbers[6:])
    for i, (a, e) in enumerate(zip(given, wanted, strict=True)):
        assert_close([np.array(v) for v in a], [np.array(v) for v in e], 1e-6 if subject.best == "float32" else 1e-13, f"step {i} of run_many")
    assert several.state()["count"] == 11 and several.state()["a"] == pytest.approx(single.state()["a"], rel=1e-6)


@pytest.mark.needs(Capability.FLOAT64)
def test_numbers_are_float64(subject: Subject) -> None:
    """Host scalars keep their digits in a float64 program, and take effect without compiling anew."""
    number = Scalar(0.0)
    program = Bench(subject).program(lambda cells, x: [x + number, number * 1.0], [0.0])
    for value in (1.0 + 2**-50, 1e300, -3e-17, 0.1):
        number.value = value
        assert program([0.0]) == [[value], value]


def test_programs_share_state(subject: Subject) -> None:
    """What one program or the host writes, all others see at their next run."""
    bench = Bench(subject, w=[1.0, 2.0])

    def grow(cells: Mapping[str, Any]) -> Any:
        cells["w"].assign(cells["w"] * 2.0)
        return [ops.sum(cells["w"])]

    growing, looking = bench.program(grow), bench.program(lambda cells, x: [ops.sum(cells["w"] * x)], [1.0, 1.0])
    assert looking([1.0, 1.0]) == [3]
    growing()
    assert looking([1.0, 1.0]) == [6]
    bench.store.write("w", np.array([10.0, 20.0], subject.best))
    assert looking([1.0, 0.0]) == [10] and growing() == [60]
    assert bench.store.read("w").tolist() == [20, 40] and looking([0.0, 1.0]) == [40]


@pytest.mark.parametrize("shape", [(2, 3), (60, 300)])
def test_nan_in_state_is_seen(subject: Subject, shape: tuple[int, int]) -> None:
    """NaN and infinity that the host writes into state, or that come with a batch, pass through maxima and relu as they should, and are gone once they are overwritten."""
    bench = Bench(subject, w=np.ones(shape))

    def forward(cells: Mapping[str, Any], x: Any) -> Any:
        h = ops.relu(cells["w"] * x)
        return [h, ops.max(h, axis=1), ops.max_pool2d(ops.reshape(h, (1, 1, *shape)), (1, 3))]

    ones = np.ones(shape)
    program = bench.program(forward, ones)
    clean = list(program(ones))
    for value in (np.nan, np.inf):
        spoilt = ones.copy()
        spoilt[1, 2] = value
        for where in ("state", "batch"):
            bench.store.write("w", (spoilt if where == "state" else ones).astype(subject.best))
            h, largest, pooled = (np.array(v) for v in program(ones if where == "state" else spoilt))
            for given, place in ((h, (1, 2)), (largest, (1,)), (pooled[0, 0], (1, 0))):
                wrong = ~np.isfinite(given)
                assert wrong.sum() == 1 and (np.isnan(given[place]) if np.isnan(value) else given[place] == value), f"{value} in the {where}: {given[place]}"
        bench.store.write("w", ones.astype(subject.best))
        assert program(ones) == clean, f"after {value} was overwritten"


def test_store_copies(subject: Subject) -> None:
    """Reading gives a copy and writing takes one; other dtypes and shapes keep theirs; the store knows its names."""
    given = {
        "w": np.ones((2, 3), subject.best),
        "n": np.array(7, "int64"),
        "flag": np.array([True, False]),
        "none": np.zeros((0, 2), subject.best),
        "i": np.array([1, 2], "int32"),
    }
    store = subject.backend.store(given)
    assert sorted(store) == sorted(given) and "w" in store and "v" not in store
    for name, array in given.items():
        read = store.read(name)
        assert read.dtype == array.dtype and read.shape == array.shape and np.array_equal(read, array), f"{name}: {read!r}"
    given["w"][...] = 5
    read = store.read("w")
    assert (read == 1).all(), "the store shows what the caller did to its array"
    read[...] = 9
    assert (store.read("w") == 1).all(), "what was read is the store's own memory"
    fresh = np.asfortranarray(np.arange(6.0).reshape(2, 3)).astype(subject.best)
    store.write("w", fresh)
    wanted = fresh.copy()
    fresh[...] = 0
    assert np.array_equal(store.read("w"), wanted), "writing kept the caller's array"
    store.write("extra", np.array([1.5], subject.best))
    assert store.read("extra").tolist() == [1.5]


def test_counters_and_flags(subject: Subject) -> None:
    """Integer and boolean cells are updated as such, beyond what a float32 holds."""
    bench = Bench(subject, count=np.array(2**40, "int64"), flags=np.array([True, False]), small=np.array([2**24], "int32"))

    def step(cells: Mapping[str, Any]) -> Any:
        cells["count"].assign(cells["count"] + 1)
        cells["flags"].assign(~cells["flags"])
        cells["small"].assign(cells["small"] + 1)
        return [cells["count"] * 1]

    program = bench.program(step)
    assert program() == [2**40 + 1] and program() == [2**40 + 2]
    assert bench.state() == {"count": 2**40 + 2, "flags": [True, False], "small": [2**24 + 2]}


def test_inference_sees_new_weights(subject: Subject) -> None:
    """A forward program with convolution, batch norm and relu, which frameworks like to fuse with folded weights, follows every update of them."""
    rng = np.random.default_rng(2)
    bench = Bench(
        subject,
        w=rng.standard_normal((2, 1, 3, 3)),
        mean=rng.standard_normal(2),
        var=rng.uniform(0.5, 2, 2),
        gamma=rng.standard_normal(2),
        f=rng.standard_normal((3, 8)),
    )

    def forward(cells: Mapping[str, Any], x: Any) -> Any:
        h = ops.conv2d(x, cells["w"], padding=1)
        h = ops.relu(ops.batch_norm_inference(h, cells["mean"], cells["var"], cells["gamma"], cells["gamma"]))
        return [ops.linear(ops.flatten(ops.max_pool2d(h, 2), 1), cells["f"])]

    def change(cells: Mapping[str, Any]) -> Any:
        for cell in cells.values():
            cell.assign(cell * 1.5 + 0.1)
        return [ops.sum(cells["w"])]

    x = rng.standard_normal((2, 1, 4, 4))
    looking, changing = bench.program(forward, x), bench.program(change)
    before = None
    for _ in range(3):
        given = looking(x)
        fresh = Bench(subject, **{n: bench.store.read(n) for n in bench.cells})
        assert np.allclose(given, fresh.program(forward, x)(x), rtol=1e-5, atol=1e-6), "an old program gives other numbers than a new one on the same state"
        assert given != before, "the program did not see the new weights"
        before = given
        changing()


@pytest.mark.needs(Capability.TRAINING)
def test_descent(subject: Subject) -> None:
    """A step with a region and an update, by each way: the same numbers as by hand, and the state in a region is the step's."""
    x, w = np.array([[1.0, 2.0], [3.0, -1.0]]), np.array([0.5, -0.25])
    for way in subject.ways:
        bench = Bench(subject, w=w, seen=np.array(0.0))

        def step(cells: Mapping[str, Any], x: Any) -> Any:
            def loss() -> Any:
                y = ops.matmul(x, cells["w"])
                cells["seen"].assign(cells["seen"] + ops.sum(y))
                return ops.sum(y * y)

            value, grad = value_and_grad(loss, wrt=cells["w"])
            cells["w"].assign(cells["w"] - 0.01 * grad)
            return [value, grad, cells["seen"] * 1.0, ops.sum(cells["w"])]

        program, expected, seen = bench.program(step, x, way=way), w.copy(), 0.0
        for _ in range(3):
            y = x @ expected
            grad = 2 * x.T @ y
            seen += y.sum()
            expected = expected - 0.01 * grad
            given = program(x)
            assert_close([np.array(v) for v in given], [np.array(v) for v in (y @ y, grad, seen, expected.sum())], 1e-6, f"one step ({way})")


def test_nothing_but_state(subject: Subject) -> None:
    """Programs without inputs, without updates, with an output that is an input, a constant, or the same value twice."""
    bench = Bench(subject, a=[1.0, 2.0])
    assert bench.program(lambda cells: [cells["a"]])() == [[1, 2]]
    assert bench.program(lambda cells: [ops.ones((2,)), ops.arange(3)])() == [[1, 1], [0, 1, 2]]

    def twice(cells: Mapping[str, Any], x: Any) -> Any:
        y = x + 1.0
        return [y, y, x, ops.stop_gradient(x), ops.reshape(x, (1,))]

    assert bench.program(twice, [3.0])([3.0]) == [[4], [4], [3], [3], [3]]
    assert bench.state() == {"a": [1, 2]}


@pytest.mark.needs(Capability.TRAINING)
def test_regions_write_in_order(subject: Subject) -> None:
    """Regions in a row and inside each other: each sees what was assigned before it, a gradient is of the values as they were read."""
    for way in subject.ways:
        bench = Bench(subject, w=[2.0, -1.0], seen=np.array(0.0), calls=np.array(0, "int64"))

        def step(cells: Mapping[str, Any], x: Any) -> Any:
            def inner() -> Any:
                cells["seen"].assign(cells["seen"] * 2.0 + ops.sum(cells["w"]))
                cells["calls"].assign(cells["calls"] + 1)
                return ops.sum(cells["w"] * cells["w"] * x)

            def outer() -> Any:
                value, slope = value_and_grad(inner, wrt=x)  # a gradient for a tensor, which depends on the cell
                cells["calls"].assign(cells["calls"] * 10)
                return value + ops.sum(slope * slope), cells["seen"] * 1.0

            (first, seen), grad = value_and_grad(outer, wrt=cells["w"], has_aux=True)
            cells["w"].assign(cells["w"] - 0.125 * grad)
            second = value_and_grad(inner, wrt=[cells["w"], x])
            return [first, seen, grad, second[0], second[1][0], second[1][1], cells["seen"] * 1.0]

        program, x = bench.program(step, np.array([1.0, 3.0]), way=way), np.array([1.0, 3.0])
        w, seen, calls = np.array([2.0, -1.0]), 0.0, 0
        for i in range(3):
            seen, calls = seen * 2 + w.sum(), (calls + 1) * 10
            first, between, grad = (w * w * x).sum() + (w**4).sum(), seen, 2 * w * x + 4 * w**3
            w = w - 0.125 * grad
            seen, calls = seen * 2 + w.sum(), calls + 1
            expected = [first, between, grad, (w * w * x).sum(), 2 * w * x, w * w, seen]
            given = program(x)
            assert_close([np.array(v) for v in given], [np.array(v) for v in expected], 1e-5 if subject.best == "float32" else 1e-11, f"step {i} ({way})")
            assert bench.state()["calls"] == calls, f"step {i} ({way})"
            w = np.array(bench.state()["w"])
            if i == 1:
                bench.store.write("w", np.array([0.5, -0.25], subject.best))
                w = np.array([0.5, -0.25])


@pytest.mark.needs(Capability.TRAINING)
def test_two_optimizers_in_a_step(subject: Subject) -> None:
    """What is read after an update is the new value, also in the next region of the same step, and for a parameter that is updated twice."""

    class Net(um.Model):
        def __init__(self) -> None:
            self.w = um.Parameter((2,))
            self.w.data = np.array([1.0, -2.0])

        def forward(self, x: Any) -> Any:
            return ops.sum(self.w * x)

    class Both(um.Trainer):
        def step(self, batch: Any) -> Any:
            (x,) = batch
            a, b = self.models["a"], self.models["b"]
            loss_a, grads = um.value_and_grad(lambda: (a(x[0]) - b(x[0])) ** 2.0, wrt=a.parameters())
            self.optimizers["a"].update(grads)
            loss_b, grads = um.value_and_grad(lambda: (a(x[0]) - b(x[0]) - 1.0) ** 2.0, wrt=b.parameters())
            self.optimizers["b"].update(grads)
            again, grads = um.value_and_grad(lambda: a(x[0]) ** 2.0, wrt=a.parameters())
            self.optimizers["a"].update(grads)
            return {"loss_a": loss_a, "loss_b": loss_b, "again": again, "sum": a(x[0]) + b(x[0])}

    x = np.array([[0.5, 0.25]])
    trainer = Both({"a": Net(), "b": Net()}, optimizer={"a": um.optim.SGD(lr=0.1, momentum=0.9), "b": um.optim.SGD(lr=0.2)}, precision=subject.best)
    a, b, buffer = np.array([1.0, -2.0]), np.array([1.0, -2.0]), np.zeros(2)
    tolerance = 1e-5 if subject.best == "float32" else 1e-12
    for _ in range(4):
        expected = {"loss_a": ((a - b) @ x[0]) ** 2}
        buffer = 0.9 * buffer + 2 * ((a - b) @ x[0]) * x[0]
        a = a - 0.1 * buffer
        expected["loss_b"] = ((a - b) @ x[0] - 1) ** 2
        b = b + 0.2 * 2 * ((a - b) @ x[0] - 1) * x[0]
        expected["again"] = (a @ x[0]) ** 2
        buffer = 0.9 * buffer + 2 * (a @ x[0]) * x[0]
        a = a - 0.1 * buffer
        expected["sum"] = (a + b) @ x[0]
        given = {name: float(value) for name, value in trainer.train_step((x,)).items()}
        assert given == pytest.approx(expected, rel=tolerance, abs=tolerance)

"""Branches and loops: values against plain Python, gradients against the same program written out and against finite differences.

Each program is small and goes through what is easily lost: captured tensors, nests, integers and booleans, no round at all, rounds counted by the batch, one inside the
other, state that bodies assign, random numbers of each round, regions inside and outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import ops, value_and_grad
from unimodel.backend import Capability
from unimodel.dim import Dim
from unimodel.errors import UnsupportedError
from unimodel.graph import Array, TensorSpec
from unimodel_conformance.subject import Subject, as_dtype, assert_close
from unimodel_conformance.test_native import call
from unimodel_conformance.test_programs import Bench

pytestmark = [pytest.mark.concerns("control flow"), pytest.mark.needs(Capability.CONTROL_FLOW)]
TRAINS = pytest.mark.needs(Capability.TRAINING)
SMALL = {"float64": 1e-11, "float32": 2e-5}


def draws(*shapes: tuple[int, ...], seed: int = 0) -> list[Array]:
    rng = np.random.Generator(np.random.Philox(seed))
    return [rng.standard_normal(shape) for shape in shapes]


def check(subject: Subject, function: Callable[..., Any], arrays: list[Any], expected: Any, what: str, way: Any = "auto") -> None:
    assert_close(subject.run(function, *arrays, differentiation=way), expected, SMALL[subject.best], what)


# -------------------------------------------------------------------------------------------------------------------- values


def test_cond(subject: Subject) -> None:
    """One side or the other, with operands, captured tensors, and a nest of results of several dtypes."""

    def program(x: Any, n: Any) -> Any:
        twice = x * 2.0
        more = lambda v: {"a": v + twice, "b": (n + 1, v > 0.0), "c": x}  # noqa: E731  the two sides under each other
        less = lambda v: {"a": v - twice, "b": (n, v < 0.0), "c": 1.0 * v}  # noqa: E731  a body in one line
        return ops.cond(ops.sum(x) > 0.0, more, less, x * x)

    compiled = subject.compile(program, [np.zeros(3, subject.best), np.zeros((), "int64")], subject.best)
    for x in (np.array([1.0, 2.0, -0.5]), np.array([-1.0, 0.25, -2.0])):
        y, side = x * x, x.sum() > 0
        expected = {"a": y + 2 * x if side else y - 2 * x, "b": (8 if side else 7, y > 0 if side else y < 0), "c": x if side else y}
        given = compiled(as_dtype(x, subject.best), np.array(7))
        assert_close(given, expected, SMALL[subject.best], "cond")


LOOPS: dict[str, dict[str, Any]] = {"forwards": {}, "backwards": {"reverse": True}}


@pytest.mark.parametrize("how", LOOPS)
def test_scan(subject: Subject, how: str) -> None:
    """Carries and slices in nests: floats, integers and booleans; y at the place of its slice."""
    x, v = draws((5, 2), (3,))
    n = np.array([3, 1, 4, 1, 5])

    def program(x: Any, n: Any, v: Any) -> Any:
        def f(carry: Any, slices: Any) -> Any:
            total, (count, seen) = carry
            row, k = slices["row"], slices["k"]
            total = total * 0.5 + ops.sum(row) * v
            return (total, (count + k, ops.logical_or(seen, k > 4))), {"now": total * 1.0, "odd": ops.equal(k % 2, 1), "count": count}

        return ops.scan(f, (v, (ops.asarray(0), ops.asarray(False))), {"row": x, "k": n}, **LOOPS[how])

    total, count, seen = v.copy(), 0, False
    ys: dict[int, Any] = {}
    for i in reversed(range(5)) if how == "backwards" else range(5):
        total = total * 0.5 + x[i].sum() * v
        ys[i] = (total, n[i] % 2 == 1, count)
        count, seen = count + n[i], seen or n[i] > 4
    stacked = {key: np.array([ys[i][j] for i in range(5)]) for j, key in enumerate(("now", "odd", "count"))}
    check(subject, program, [x, n, v], ((total, (np.array(count), np.array(seen))), stacked), how)


def test_scan_without_slices(subject: Subject) -> None:
    """A number of rounds and nothing to go through; nothing to stack."""
    check(subject, lambda x: ops.scan(lambda c, _: (c * x, None), x, None, 4)[0], [np.array([2.0, 0.5])], np.array([32.0, 0.03125]), "powers")


def test_no_round(subject: Subject) -> None:
    """The carry is what it began with, what is stacked is empty, and gradients pass through."""
    x, c = np.zeros((0, 3)), np.array([1.0, 2.0, 3.0])
    rounds = lambda x, c: ops.scan(lambda s, row: (s * row, (s, row > 0.0)), c, x)  # noqa: E731  a body in one line
    given = subject.run(rounds, x, c)
    assert_close(given, (c, (np.zeros((0, 3)), np.zeros((0, 3), bool))), 0.0, "no round")
    if subject.ways:

        def gradient(x: Any, c: Any) -> Any:
            return value_and_grad(lambda: ops.sum(rounds(x, c)[0] * c), wrt=c)[1]

        check(subject, gradient, [x, c], 2 * c, "gradient of no round")
    check(subject, lambda c: ops.while_loop(lambda s: ops.sum(s) < 0.0, lambda s: s + 1.0, c), [c], c, "a loop that does not begin")


def test_rounds_counted_by_the_batch(subject: Subject) -> None:
    """One program goes round as often as the batch is long."""

    def program(x: Any, w: Any) -> Any:
        last, every = ops.scan(lambda total, row: (total + ops.tanh(row * w), total), ops.zeros((2,), dtype=subject.best), x)
        return last, every, ops.sum(every) / ops.asarray(x.shape[0] * 1, dtype=subject.best)

    specs = (TensorSpec((Dim.symbol("N"), 2), subject.best), TensorSpec((2,), subject.best))
    compiled = subject.compile_specs(program, specs, subject.best, sizes={"N": 3})
    w = np.array([0.5, -2.0])
    for n in (3, 1, 6):
        (x,) = draws((n, 2), seed=n)
        steps = np.cumsum(np.tanh(x * w), 0)
        every = np.concatenate([np.zeros((1, 2)), steps[:-1]])
        given = compiled(as_dtype(x, subject.best), as_dtype(w, subject.best))
        assert_close(given, (steps[-1], every, every.sum() / n), SMALL[subject.best], f"{n} rounds")


def test_while_loop(subject: Subject) -> None:
    """Rounds that only the numbers decide: integers, floats, a captured bound, a loop in a loop."""

    def collatz(n: Any) -> Any:
        even = lambda s: ops.equal(s % 2, 0)  # noqa: E731  a body in one line
        return ops.while_loop(lambda s: s[0] > 1, lambda s: (ops.where(even(s[0]), s[0] // 2, 3 * s[0] + 1), s[1] + 1), (n, 0))[1]

    for n, steps in ((27, 111), (1, 0), (6, 8)):
        check(subject, collatz, [np.array(n)], np.array(steps), f"steps from {n}")

    def root(x: Any, tolerance: Any) -> Any:
        return ops.while_loop(lambda s: ops.abs(s * s - x) > tolerance, lambda s: 0.5 * (s + x / s), x)

    check(subject, lambda x, t: root(x, t) * 1.0, [np.array(2.0), np.array(1e-3)], np.array(577 / 408), "Newton's method")
    each = lambda xs, t: ops.scan(lambda c, x: (c, root(x, t)), 0, xs)[1]  # noqa: E731  a body in one line
    xs = np.array([4.0, 2.0])
    expected = np.array([float(np.asarray(subject.run(root, x, np.array(1e-3)))) for x in xs])
    check(subject, each, [xs, np.array(1e-3)], expected, "a while_loop in a scan")


def test_nesting(subject: Subject) -> None:
    """A branch in a loop in a branch; what the innermost body captures comes from every level."""
    x, w = draws((4, 3), (3,))

    def program(x: Any, w: Any, on: Any) -> Any:
        def f(c: Any, row: Any) -> Any:
            inner = ops.scan(lambda d, e: (d * 0.5 + e * ops.sum(c), d), ops.sum(row), row * w)
            y = ops.cond(ops.sum(row) > 0.0, lambda: c + inner[0] * w, lambda: c - row)
            return y, inner[1]

        return ops.cond(on, lambda: ops.scan(f, w, x), lambda: (ops.sum(x, axis=0), x * 1.0))

    c, ys = w.copy(), []
    for row in x:
        d, inner = row.sum(), []
        for e in row * w:
            inner.append(d)
            d = d * 0.5 + e * c.sum()
        c = c + d * w if row.sum() > 0 else c - row
        ys.append(inner)
    check(subject, program, [x, w, np.array(True)], (c, np.array(ys)), "nested")
    check(subject, program, [x, w, np.array(False)], (x.sum(0), x), "the other side")


# ----------------------------------------------------------------------------------------------------------------- gradients


def recurrent(x: Any, w: Any, h: Any) -> Any:
    """A small recurrent network as a scan …"""

    def f(h: Any, row: Any) -> Any:
        h = ops.tanh(row + ops.matmul(h, w))
        return h, ops.sum(h * h)

    last, ys = ops.scan(f, h, x)
    return ops.sum(last * h) + ops.sum(ys * ys)


def written_out(x: Any, w: Any, h: Any) -> Any:
    """… and round by round."""
    total, start = 0.0, h
    for i in range(4):
        h = ops.tanh(x[i] + ops.matmul(h, w))
        total = total + ops.sum(h * h) * ops.sum(h * h)
    return ops.sum(h * start) + total


def branching(x: Any, w: Any, h: Any) -> Any:
    """A scan whose rounds branch, in a branch."""

    def f(c: Any, row: Any) -> Any:
        c = ops.cond(ops.sum(row * c) > 0.0, lambda: ops.sin(c) * row, lambda: c + ops.matmul(row, w) * c)
        return c, c * c

    return ops.cond(ops.sum(w) < 1e9, lambda: ops.sum(ops.scan(f, h, x, reverse=True)[1]), lambda: ops.sum(h))


def branching_written_out(x: Any, w: Any, h: Any) -> Any:
    total: Any = 0.0
    for i in reversed(range(4)):
        side = ops.sum(x[i] * h) > 0.0
        h = ops.where(side, ops.sin(h) * x[i], h + ops.matmul(x[i], w) * h)
        total = total + ops.sum(h * h)
    return total


PAIRS = {"recurrent": (recurrent, written_out), "branching": (branching, branching_written_out)}
SHAPES = ((4, 2, 3), (3, 3), (2, 3))


def gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *tensors: value_and_grad(lambda: function(*tensors), wrt=list(tensors))


def second(function: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient of something made of gradients."""

    def outer(*tensors: Any) -> Any:
        def inner() -> Any:
            _, grads = value_and_grad(lambda: function(*tensors), wrt=list(tensors))
            return sum((ops.sum(ops.sin(g) * t) for g, t in zip(grads, tensors, strict=True)), start=0.0)

        return value_and_grad(inner, wrt=list(tensors))

    return outer


@TRAINS
@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("name", PAIRS)
def test_gradients_are_those_of_the_loop_written_out(subject: Subject, name: str, order: str) -> None:
    looped, plain = (gradients(f) if order == "first" else second(f) for f in PAIRS[name])
    arrays = draws(*SHAPES)
    expected = subject.run(plain, *arrays)
    for way in subject.ways:
        given = subject.run(looped, *arrays, differentiation=way)
        assert_close(given, expected, 10 * SMALL[subject.best], f"{name}, {order} order ({way})")


@TRAINS
@pytest.mark.needs(Capability.FLOAT64)
@pytest.mark.parametrize("name", PAIRS)
def test_gradients_are_finite_differences(subject: Subject, name: str) -> None:
    function, arrays, h = PAIRS[name][0], draws(*SHAPES, seed=3), 1e-6
    directions = draws(*SHAPES, seed=4)
    _, grads = subject.run(gradients(function), *arrays)
    value = subject.compile(function, arrays)
    ahead, behind = (float(value(*(a + s * h * d for a, d in zip(arrays, directions, strict=True)))) for s in (1, -1))
    along = sum(float((g * d).sum()) for g, d in zip(grads, directions, strict=True))
    assert along == pytest.approx((ahead - behind) / (2 * h), rel=1e-6), name


@TRAINS
def test_the_branch_not_taken_leaves_nothing(subject: Subject) -> None:
    """NaN and infinities on the other side reach neither values nor gradients; what only it uses has gradient 0."""

    def loss(x: Any, w: Any) -> Any:
        return ops.cond(ops.sum(x) > 0.0, lambda: ops.sum(ops.sqrt(x) * ops.log(w)), lambda: ops.sum(x * x))

    for way in subject.ways:
        value, (dx, dw) = subject.run(gradients(loss), np.array([-1.0, -4.0]), np.array([0.0, -1.0]), differentiation=way)
        assert float(value) == 17 and dx.tolist() == [-2, -8] and dw.tolist() == [0, 0], f"{way}: {value}, {dx}, {dw}"
        value, (dx, dw) = subject.run(gradients(loss), np.array([1.0, 4.0]), np.array([1.0, 1.0]), differentiation=way)
        assert_close([value, dx, dw], [np.array(0.0), np.zeros(2), np.array([1.0, 2.0])], SMALL[subject.best], way)


@TRAINS
def test_while_loop_has_no_gradient(subject: Subject) -> None:
    """Refused while compiling, by name and with the way out; what does not need its gradient passes."""
    for way in subject.ways:
        with pytest.raises(UnsupportedError, match="while_loop has no gradient"):
            subject.run(gradients(lambda x: ops.while_loop(lambda s: s < 9.0, lambda s: s * 2.0, x)), np.array(1.0), differentiation=way)

        def loss(x: Any) -> Any:
            return x * ops.while_loop(lambda s: s < 9.0, lambda s: s * 2.0, ops.stop_gradient(x))

        value, (dx,) = subject.run(gradients(loss), np.array(1.5), differentiation=way)
        assert (float(value), float(dx)) == (18, 12)


@TRAINS
def test_regions_inside_bodies(subject: Subject) -> None:
    """Gradients of each sample, and their gradient."""
    x, w = draws((5, 3), (3,))

    def per_sample(x: Any, w: Any) -> Any:
        return ops.scan(lambda c, row: (c, value_and_grad(lambda: ops.sum(ops.tanh(row * w)) ** 2.0, wrt=w)[1]), 0, x)[1]

    s = np.tanh(x * w)
    expected = 2 * s.sum(1, keepdims=True) * (1 - s * s) * x
    check(subject, per_sample, [x, w], expected, "gradients of each sample")

    def penalty(x: Any, w: Any) -> Any:
        return value_and_grad(lambda: ops.sum(per_sample(x, w) ** 2.0), wrt=w)[1]

    def penalty_written_out(x: Any, w: Any) -> Any:
        def total() -> Any:
            return sum((ops.sum(value_and_grad(lambda i=i: ops.sum(ops.tanh(x[i] * w)) ** 2.0, wrt=w)[1] ** 2.0) for i in range(5)), start=0.0)

        return value_and_grad(total, wrt=w)[1]

    check(subject, penalty, [x, w], subject.run(penalty_written_out, x, w), "the gradient of their norms")


@TRAINS
def test_no_gradient_where_nothing_depends(subject: Subject) -> None:
    """What a body only looks at, or stops, has no gradient, as outside of bodies."""

    def program(x: Any, w: Any, v: Any) -> Any:
        def loss() -> Any:
            y = ops.scan(lambda c, row: (c + ops.sum(row) * ops.stop_gradient(w), None), 0.0, x)[0]
            return ops.cond(ops.sum(v) > 0.0, lambda: y, lambda: 2.0 * y)

        found = value_and_grad(loss, wrt=[x, w, v])[1]
        assert [g is None for g in found] == [False, True, True]
        return found[0]

    check(subject, program, [np.ones((2, 3)), np.array(3.0), np.array(-1.0)], np.full((2, 3), 6.0), "gradient")


# ---------------------------------------------------------------------------------------------------------- state and numbers


def test_bodies_assign_state(subject: Subject) -> None:
    """A loop carries what it assigns from round to round; a branch that assigns leaves its mark, one that does not leaves none."""
    bench = Bench(subject, total=[0.0, 0.0], count=np.array(0, "int64"), other=[5.0, 5.0])

    def step(cells: Mapping[str, Any], x: Any) -> Any:
        def f(c: Any, row: Any) -> Any:
            cells["total"].assign(cells["total"] + row * cells["other"])
            cells["count"].assign(cells["count"] + 1)
            return c, cells["total"]

        ys = ops.scan(f, 0, x)[1]

        def much() -> Any:
            cells["other"].assign(cells["total"])
            return cells["count"] * 10

        big = ops.cond(ops.sum(cells["total"]) > 100.0, much, lambda: cells["count"] * 1)
        spun = ops.while_loop(lambda n: n < cells["count"], lambda n: _twice(cells, n), 1)
        return [ys, big, spun, cells["other"] * 1.0, cells["total"] * 1.0]

    def _twice(cells: Mapping[str, Any], n: Any) -> Any:
        cells["total"].assign(cells["total"] * 2.0)
        return n + 2

    program = bench.program(step, np.zeros((2, 2)))
    total, count, other = np.zeros(2), 0, np.full(2, 5.0)
    for i in range(4):
        x = np.array([[1.0, 2.0], [3.0, 1.0]]) + i
        ys = []
        for row in x:
            total = total + row * other
            count += 1
            ys.append(total)
        big = count
        if total.sum() > 100:
            other, big = total, count * 10
        n = 1
        while n < count:
            total, n = total * 2, n + 2
        given = program(x)
        assert_close([np.array(v) for v in given], [np.array(ys), np.array(big), np.array(n), other, total], SMALL[subject.best], f"step {i}")
    assert bench.state()["count"] == 8


class Recurrent(um.Model):
    """Parameters, dropout and batch norm used inside a loop, and a branch."""

    def __init__(self, checkpoint: bool = False, branch: bool = True) -> None:
        self.enter, self.cell, self.head = um.nn.Linear(3, 4), um.nn.Linear(4, 4, bias=False), um.nn.Linear(4, 1)
        self.dropout, self.norm = um.nn.Dropout(0.4), um.nn.BatchNorm1d(4)
        self.checkpoint, self.branch = checkpoint, branch

    def forward(self, x: Any) -> Any:
        def f(h: Any, row: Any) -> Any:
            h = ops.tanh(self.norm(self.enter(self.dropout(row)) + self.cell(h)))
            return h, None

        def run(x: Any) -> Any:
            return ops.scan(f, ops.zeros((x.shape[0], 4), dtype=x.dtype), ops.permute_dims(x, (1, 0, 2)))[0]

        h = ops.checkpoint(run, x) if self.checkpoint else run(x)
        return self.head(h if not self.branch else ops.cond(ops.mean(h) > 0.0, lambda: h, lambda: 0.5 * h))


def curve(
    backend: str | None, precision: str, steps: int = 8, at_once: bool = False, way: Any = "auto", **options: Any
) -> tuple[list[float], dict[str, Array]]:
    x, y = draws((8 * steps, 5, 3), (8 * steps, 1))
    trainer = um.Trainer(Recurrent(**options), um.losses.MSELoss(), um.optim.Adam(lr=0.05), backend=backend, precision=precision, seed=3, differentiation=way)
    if at_once:
        trainer.fit((x, y), epochs=1, batch_size=8, shuffle=False, verbose=False)
        return [], trainer.model.state_dict()
    losses = [float(trainer.train_step((x[i : i + 8], y[i : i + 8]))["loss"]) for i in range(0, 8 * steps, 8)]
    return losses, trainer.model.state_dict()


@TRAINS
def test_training_with_a_loop(subject: Subject) -> None:
    """The loss curve of the reference, dropout of each round included; steps handed over together are the same steps."""
    tolerance = 1e-8 if subject.best == "float64" else 1e-4
    wanted, state = curve("numpy", subject.best)
    for way in subject.ways:
        losses, found = curve(None, subject.best, way=way)
        assert losses == pytest.approx(wanted, rel=tolerance), f"losses ({way})"
        assert_close(found, state, max(tolerance, 1e-6), f"weights and statistics ({way})")
    assert_close(curve(None, subject.best, at_once=True)[1], curve(None, subject.best)[1], tolerance, "several steps at once")


@TRAINS
def test_checkpoint_changes_no_number(subject: Subject) -> None:
    """Computed again with the same masks, batch norm's statistics updated once."""
    wanted, state = curve(None, subject.best)
    for way in subject.ways:
        losses, found = curve(None, subject.best, way=way, checkpoint=True)
        assert losses == pytest.approx(wanted, rel=1e-9 if subject.best == "float64" else 1e-4), way
        assert_close(found, state, 1e-6, f"weights and statistics ({way})")


@TRAINS
@pytest.mark.parametrize("name", PAIRS)
def test_gradients_through_checkpoints(subject: Subject, name: str) -> None:
    """First and second order, a checkpoint within a checkpoint."""
    function, arrays = PAIRS[name][0], draws(*SHAPES)

    def kept(x: Any, w: Any, h: Any) -> Any:
        return ops.checkpoint(lambda a: ops.sum(ops.checkpoint(function, a, ops.sin(w), h)) ** 2.0, x * 0.5)

    def plain(x: Any, w: Any, h: Any) -> Any:
        return ops.sum(function(x * 0.5, ops.sin(w), h)) ** 2.0

    for wrap in (gradients, second) if name == "recurrent" else (gradients,):
        expected = subject.run(wrap(plain), *arrays)
        for way in subject.ways:
            assert_close(subject.run(wrap(kept), *arrays, differentiation=way), expected, 10 * SMALL[subject.best], f"{wrap.__name__} ({way})")


@pytest.mark.needs(Capability.NATIVE_ARTIFACT)
@pytest.mark.parametrize("branch", [False, True])
def test_native_object_of_a_model_with_a_loop(subject: Subject, branch: bool) -> None:
    """It loops and branches, or both is written out, and gives what ``predict`` gives for any batch."""
    trainer = um.Trainer(Recurrent(branch=branch))
    (x,) = draws((6, 5, 3))
    x = x.astype("float32")
    artifact = trainer.native(x[:2])
    for size in (2, 6, 1):
        assert_close(call(subject, artifact, x[:size]), trainer.predict(x[:size]), 1e-5, f"{size} samples")


def test_images_in_a_loop(subject: Subject) -> None:
    """Ops for which frameworks want another layout or size also work inside bodies."""
    x, w = draws((3, 2, 1, 6, 6), (2, 1, 3, 3))

    def layer(image: Any, w: Any) -> Any:
        return ops.max_pool2d(ops.relu(ops.conv2d(image, w, padding=1)), 2)

    looped = lambda x, w: ops.scan(lambda c, image: (c + ops.sum(layer(image, w)), layer(image, w)), 0.0, x)  # noqa: E731  a body in one line
    plain = lambda x, w: (sum((ops.sum(layer(x[i], w)) for i in range(3)), start=0.0), ops.stack([layer(x[i], w) for i in range(3)]))  # noqa: E731  a body in one line
    check(subject, looped, [x, w], subject.run(plain, x, w), "images")
    for way in subject.ways:
        grads = [gradients(lambda x, w, f=f: f(x, w)[0] + ops.sum(f(x, w)[1] ** 2.0)) for f in (looped, plain)]
        assert_close(subject.run(grads[0], x, w, differentiation=way), subject.run(grads[1], x, w), 10 * SMALL[subject.best], f"gradients ({way})")

"""What a table makes work: counted from graphs, and true when tried."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest

import unimodel as um
from unimodel import plugins
from unimodel.backend import Backend, Lowerings
from unimodel.coverage import LAYERS, LOSSES, pieces, to_do
from unimodel.errors import UnsupportedError
from unimodel.ops import catalogue

PRIMITIVES = [name for name, op in catalogue.items() if not op.composite]


def table(without: Collection[str] = (), whole: Collection[str] = ()) -> Lowerings:
    """NumPy's table without some primitives, and with some composites lowered whole."""
    full, result = plugins.load("numpy").lowerings, Lowerings()
    for name in full:
        if name not in without:
            result(name)(full[name])
    for name in whole:
        result(name)(lambda node, *inputs: None)
    return result


def test_what_is_counted_is_public() -> None:
    assert set(LAYERS) <= set(um.nn.__all__)
    assert set(LOSSES) <= set(um.losses.__all__)


@pytest.mark.parametrize("training", [False, True])
def test_a_whole_table_lacks_nothing(training: bool) -> None:
    assert not [piece for piece in pieces(table(), training) if piece.missing]
    assert to_do(table(), training) == []


@pytest.mark.parametrize("training", [False, True])
def test_the_list_has_every_missing_primitive_and_completes_every_piece_once(training: bool) -> None:
    waiting = [piece.name for piece in pieces(Lowerings(), training) if piece.missing]
    steps = to_do(Lowerings(), training)
    assert sorted(step.primitive for step in steps) == sorted(PRIMITIVES)
    assert sorted(name for step in steps for name in step.completes) == sorted(waiting)


def test_what_a_step_completes_is_complete_once_it_and_those_before_it_are_there() -> None:
    steps = to_do(Lowerings(), training=True)
    for many in (10, 20, 30):
        done = {name for step in steps[:many] for name in step.completes}
        there = pieces(table(without=[step.primitive for step in steps[many:]]), training=True)
        assert {piece.name for piece in there if not piece.missing} >= done


def test_what_unlocks_most_comes_first() -> None:
    steps = to_do(table(without=["where", "erf", "flip"]))
    assert [step.primitive for step in steps] == ["where", "erf", "flip"]
    assert "relu" in steps[0].completes and "gelu" in steps[1].completes and steps[2].completes == ()
    assert steps[0].awaited_by > steps[1].awaited_by > steps[2].awaited_by == 0


def test_gradients_count_only_for_a_backend_that_trains() -> None:
    lacking = table(without=["take_gradient"])
    assert not [piece for piece in pieces(lacking) if piece.missing]
    assert [piece.name for piece in pieces(lacking, training=True) if piece.missing] == ["nn.Embedding"]


def test_a_composite_lowered_whole_needs_none_of_its_primitives() -> None:
    assert next(p for p in pieces(table(without=["erf"])) if p.name == "gelu").missing == {"erf"}
    assert next(p for p in pieces(table(without=["erf"], whole=["gelu"])) if p.name == "gelu").missing == set()


@pytest.mark.parametrize("lacking", ["where", "matmul", "concat", "reshape"])
def test_what_is_said_to_work_works_and_what_is_not_is_refused(lacking: str) -> None:
    class Partial(plugins.load("numpy")):  # type: ignore[misc]  # a class found at run time
        lowerings = table(without=[lacking])

    backend: Backend = Partial()
    for piece in pieces(Partial.lowerings):
        if piece.name not in catalogue:
            continue
        refused = set()
        for sample in catalogue[piece.name].samples:
            try:
                _run(backend, piece.name, sample)
            except UnsupportedError as error:
                refused |= {name for name in PRIMITIVES if f"no lowering for {name}" in str(error)}
        assert refused == piece.missing, piece.name


def _run(backend: Backend, name: str, sample: um.ops.Sample) -> None:
    from unimodel.graph import TensorSpec
    from unimodel.tracing import trace

    args, kwargs = sample.arguments()
    arrays = [a for a in [*args, *kwargs.values()] if isinstance(a, np.ndarray)]

    def call(tensors: tuple[um.Tensor, ...]) -> object:
        rest = iter(tensors)
        put = lambda value: next(rest) if isinstance(value, np.ndarray) else value  # noqa: E731  # one line, used twice below
        return catalogue[name](*[put(a) for a in args], **{k: put(v) for k, v in kwargs.items()})

    if any(isinstance(a, list) for a in args):
        return  # lists of arrays: variadic ops are primitives, tried by the suite
    traced = trace(call, tuple(TensorSpec(a.shape, a.dtype.name) for a in arrays), names={}, float_dtype="float64")
    executable = backend.compile(traced.graph, backend.store({}))
    executable.read(executable.run(arrays, []))

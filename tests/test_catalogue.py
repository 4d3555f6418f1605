"""Everything in the catalogue is covered by the conformance suite from the day it is added.

An op has samples beside its definition and is known to the suite independently of it: by a truth of its own, or through a golden case by PyTorch of a layer, loss or
optimizer that is made of it. Layers, losses, optimizers and schedules have golden cases, or a reason why they are tested by hand.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel.graph import Graph
from unimodel.ops import Op, catalogue
from unimodel.optim import lr_scheduler

tables = pytest.importorskip("unimodel_conformance.tables", reason="the conformance suite is not installed")
from unimodel_conformance import golden, truth_arrays, truth_images, truth_layers  # noqa: E402, F401  needs the suite, in which truths register themselves
from unimodel_conformance.truth import TRUTH  # noqa: E402  needs the suite

WITHOUT_SAMPLES = {
    "extent": "it holds a symbolic size; the suite's tests of any batch size cover it",
    **dict.fromkeys(
        ("cholesky_factor", "eigen_symmetric", "thin_qr", "thin_svd"),
        "the backend's side of cholesky, eigh, qr or svd, which make its argument symmetric or its signs definite, and have the samples",
    ),
}

WITHOUT_GRADIENT_SAMPLES = frozenset(["cast", "stop_gradient"])
"""Their gradients are no finite differences; the suite's tests of kinks have them."""


@pytest.mark.parametrize("op", catalogue.values(), ids=lambda op: op.name)
def test_an_op_has_samples(op: Op[Any]) -> None:
    if op.name in WITHOUT_SAMPLES:
        return
    assert op.samples, f"{op.name} has no samples: add samples=[Sample(…)] to its definition, and every suite will check it"
    if op.vjp_rule is not None and op.name not in WITHOUT_GRADIENT_SAMPLES:
        assert any(s.gradient for s in op.samples), f"{op.name} has a gradient rule and no sample to check it on"


@pytest.mark.parametrize("op", catalogue.values(), ids=lambda op: op.name)
def test_an_op_is_known_independently(op: Op[Any]) -> None:
    optimizers = {e.name.lower() for e in tables.OPTIMIZERS}
    if (
        op.name in WITHOUT_SAMPLES
        or op.name in TRUTH
        or op.name.removesuffix("_update") in optimizers
        or op.name.removesuffix("_gradient") in reached()
        or op.name in reached()
    ):
        return
    pytest.fail(
        f"the suite knows {op.name} only by core's own definition: add it to unimodel_conformance/truth.py, or a layer or loss made of it to tables.py",
        pytrace=False,
    )


@lru_cache
def reached() -> frozenset[str]:
    """The ops in the graphs of the golden layers and losses."""
    found: set[str] = set()
    for entry in (*tables.LAYERS, *tables.LOSSES):
        kind = getattr(um.nn, entry.name, None) or getattr(um.losses, entry.name, None)
        if kind is not None:
            found |= set(_ops_of(entry))
    return frozenset(found)


def _ops_of(entry: Any) -> Iterator[str]:
    kwargs = {k: np.array(v) if isinstance(v, list) else v for k, v in entry.kwargs.items()}
    if hasattr(um.nn, entry.name):
        layer = getattr(um.nn, entry.name)(**kwargs)
        trainer = um.Trainer(layer)
        trainer.predict(tuple(_float32(golden.part("layers", f"{entry.id}/eval0")[f"input{i}"]) for i in range(len(entry.inputs))))
        graphs = [program.traced.graph for _, program in trainer._um_runtime.programs()]
    else:
        arrays = [golden.part("losses", entry.id)[f"input{i}"] for i in range(len(entry.inputs))]
        graphs = [_graph(getattr(um.losses, entry.name)(**kwargs), arrays)]
    for graph in graphs:
        yield from (node.op.name for node in graph.nodes)


def _float32(array: Any) -> Any:
    return array.astype("float32") if array.dtype.kind == "f" else array


def _graph(function: Any, arrays: list[Any]) -> Graph:
    from unimodel.graph import TensorSpec
    from unimodel.tracing import trace

    specs = tuple(TensorSpec(a.shape, a.dtype.name) for a in arrays)
    return trace(lambda tensors: function(*tensors), specs, names={}, float_dtype="float64").graph


def _known(name: str, table: str, otherwise: Any = ()) -> None:
    if name not in otherwise and name not in {e.name for e in getattr(tables, table)}:
        pytest.fail(f"add {name} to {table} in unimodel_conformance/tables.py and run golden/make.py", pytrace=False)


@pytest.mark.parametrize("name", sorted(um.nn.__all__))
def test_a_layer_has_a_golden_case(name: str) -> None:
    _known(name, "LAYERS", tables.LAYERS_TESTED_BY_HAND)


@pytest.mark.parametrize("name", sorted(um.losses.__all__))
def test_a_loss_has_a_golden_case(name: str) -> None:
    _known(name, "LOSSES")


@pytest.mark.parametrize("name", sorted(n for n in um.optim.__all__ if n != "lr_scheduler"))
def test_an_optimizer_has_a_witness_for_each_option(name: str) -> None:
    _known(name, "OPTIMIZERS")
    options = {p.name: p.default for p in inspect.signature(getattr(um.optim, name)).parameters.values() if p.name not in ("params", "lr")}
    tried = {k for e in tables.OPTIMIZERS if e.name == name for k, v in e.kwargs.items() if k in options and v != options[k]}
    assert tried == options.keys(), f"{name}: no case in unimodel_conformance/tables.py tries {sorted(options.keys() - tried)}"


@pytest.mark.parametrize(
    "name", sorted(n for n, c in vars(lr_scheduler).items() if inspect.isclass(c) and issubclass(c, lr_scheduler.LRScheduler) and not n.startswith("_"))
)
def test_a_schedule_has_a_golden_case(name: str) -> None:
    _known(name, "SCHEDULES", tables.SCHEDULES_TESTED_BY_HAND)

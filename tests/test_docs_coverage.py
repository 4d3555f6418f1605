"""docs/coverage.md says what the code does."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import unimodel as um
from unimodel.backend import Lowerings
from unimodel.coverage import MANNERS, forward_graph, manner_of_graph, manner_of_op
from unimodel.graph import TensorSpec
from unimodel.ops import catalogue
from unimodel.plugins import names

pytest.importorskip("unimodel_conformance", reason="the conformance suite is not installed")
DOCS = Path(__file__).parent.parent / "docs"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_fresh() -> None:
    generate = generator()
    missing = [name for name in generate.BACKENDS if name not in names()]
    if missing:
        pytest.skip(f"framework missing: {', '.join(missing)}")
    assert generate.is_fresh("coverage.md", generate.coverage()), "docs/coverage.md is stale: run `make docs` and commit what it writes"


def test_every_op_layer_schedule_and_metric_has_a_row() -> None:
    text = (DOCS / "coverage.md").read_text("utf-8")
    containers = {n for n in um.nn.__all__ if n.startswith(("Sequential", "Module", "Parameter", "MaxUnpool", "TransformerEncoder", "TransformerDecoder"))}
    names = {*catalogue, *um.nn.__all__, *um.losses.__all__, *(n for n in um.optim.__all__ if n[0].isupper() and n != "Optimizer")} - containers
    names |= {*um.optim.lr_scheduler.__all__, *um.metrics.__all__} - {"LRScheduler", "Metric"}
    missing = sorted(n for n in names if f"| `{n}` |" not in text)
    assert not missing, f"docs/coverage.md has no row for {missing}"


def test_a_manner_is_what_the_table_of_lowerings_makes_possible() -> None:
    lower = Lowerings()
    lower.calls(exp=np.exp, add=np.add, multiply=np.multiply)
    assert manner_of_op(catalogue["exp"], lower) == "native"
    assert manner_of_op(catalogue["tanh"], lower) == "refused"
    assert manner_of_op(catalogue["silu"], lower) == "refused"
    lower.calls(sigmoid=lambda x: 1 / (1 + np.exp(-x)))
    graph = forward_graph(um.nn.SiLU, (TensorSpec((4, 3), "float32"),))
    assert manner_of_op(catalogue["silu"], lower) == manner_of_graph(graph, lower) == "decomposed"
    lower.calls(silu=lambda x: x / (1 + np.exp(-x)))
    assert manner_of_op(catalogue["silu"], lower) == manner_of_graph(graph, lower) == "fused"
    lower("silu", when=lambda node: node.outputs[0].spec.ndim == 7)(lambda node, x: x)
    assert manner_of_op(catalogue["silu"], lower) == "partly fused" and manner_of_graph(graph, lower) == "decomposed"
    assert {"native", "fused", "partly fused", "decomposed", "refused"} == set(MANNERS)

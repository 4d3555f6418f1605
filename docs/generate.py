"""The pages that are made of the code: ``python docs/generate.py [--check]`` writes them, or says which are stale.

One function a page; each returns its text, so that a test can compare it with the file.
"""

from __future__ import annotations

import inspect
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from unimodel_conformance import tables

import unimodel as um
from unimodel.coverage import MANNERS, forward_graph, manner_of_graph, manner_of_op
from unimodel.graph import Graph, TensorSpec
from unimodel.omissions import OMITTED
from unimodel.ops import catalogue
from unimodel.plugins import load

FOLDER = Path(__file__).parent
BACKENDS = ("numpy", "torch", "tensorflow", "mxnet")
INTEGERS = frozenset(["integers", "ignoring", "range", "values", "labels"])
"""Kinds of inputs in the conformance suite's tables that are integers."""

SEQUENCE = (4, 3, 4)
IMAGE = (4, 3, 4, 4)
BY_HAND: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    **{name: (getattr(um.nn, name), SEQUENCE) for name in ("Dropout", "Dropout1d", "AlphaDropout", "FeatureAlphaDropout", "RReLU")},
    "FractionalMaxPool2d": (partial(um.nn.FractionalMaxPool2d, 2, 2), IMAGE),
    "FractionalMaxPool3d": (partial(um.nn.FractionalMaxPool3d, 2, 2), (*IMAGE, 4)),
    "Dropout2d": (um.nn.Dropout2d, IMAGE),
    "Dropout3d": (um.nn.Dropout3d, (*IMAGE, 4)),
}
"""Layers that the tables leave to tests written by hand, and the shape of an input."""


def coverage() -> str:
    """How each backend carries out each op, layer, loss and optimizer; which schedules and metrics there are."""
    lowerings = {name: load(name).lowerings for name in BACKENDS}
    everything: dict[str, list[tuple[str, Callable[[str], str]]]] = {
        "Ops": [(op.name, lambda b, op=op: manner_of_op(op, lowerings[b])) for op in catalogue.values()],
        "Layers": [(n, lambda b, g=g: _worst(g, lowerings[b])) for n, g in _by_name(tables.LAYERS, um.nn) + _hand_made()],
        "Losses": [(n, lambda b, g=g: _worst(g, lowerings[b])) for n, g in _by_name(tables.LOSSES, um.losses)],
        "Optimizers": [(n, lambda b, op=op: manner_of_op(catalogue[op], lowerings[b])) for n, op in _updates()],
    }
    lines = [
        "# Coverage",
        "",
        "How each backend carries out each op, layer, loss and optimizer; written by `make docs` from the catalogue and the backends' tables of lowerings, in float32.",
        "Whatever way it is, conformance holds it to the same numbers. Schedules and metrics stand at the end, with what is left out on purpose.",
        "",
        *(f"- **{name}**: {meaning}." for name, meaning in MANNERS.items()),
        "",
        "What a backend refuses beyond single ops:",
        "",
        *(f"- {name}, {c.value}: {gap}." for name in BACKENDS for c, gap in load(name).capabilities.items() if gap is not True),
    ]
    for title, rows in everything.items():
        cells = [(name, [manner(b) for b in BACKENDS]) for name, manner in sorted(rows, key=lambda row: row[0].lower())]
        counts = [f"{b} {sum(c[i] != 'refused' for _, c in cells)}" for i, b in enumerate(BACKENDS)]
        lines += ["", f"## {title}", "", f"Of {len(cells)}: {', '.join(counts)}.", "", f"| | {' | '.join(BACKENDS)} |", f"|---|{'---|' * len(BACKENDS)}"]
        lines += [f"| `{name}` | {' | '.join(c)} |" for name, c in cells]
    for title, room, how in (
        ("Schedules", um.optim.lr_scheduler, "Computed by the host in float64, and so the same on every backend."),
        (
            "Metrics",
            um.metrics,
            "A part of each batch is traced into the step, of ops that every backend runs; the result is the host's, from the parts of all batches.",
        ),
    ):
        classes = {n: getattr(room, n) for n in sorted(room.__all__, key=str.lower) if n not in ("LRScheduler", "Metric")}
        lines += ["", f"## {title}", "", f"{len(classes)}. {how}", "", "| | |", "|---|---|", *(f"| `{n}` | {_first_sentence(c)} |" for n, c in classes.items())]
    lines += [
        "",
        "## Left out on purpose",
        "",
        "What PyTorch or the Array API standard has and this library has not, and why, or what to write instead; asking for such a name says the same.",
    ]
    for room, names in OMITTED.items():
        by_reason: dict[str, list[str]] = {}
        for name, reason in names.items():
            by_reason.setdefault(reason, []).append(name)
        lines += ["", f"| in `{room}` | why, or what instead |", "|---|---|"]
        lines += [f"| {', '.join(f'`{n}`' for n in found)} | {reason} |" for reason, found in by_reason.items()]
    return "\n".join(lines) + "\n"


def _first_sentence(thing: Any) -> str:
    text = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split()).replace("``", "`").replace("|", "\\|")
    return re.split(r"(?<=[^.]{3}\.) (?=[A-Z`])", text)[0]


def _worst(graphs: Sequence[Graph], lowerings: Any) -> str:
    """Of a layer's examples: the one manner they share, else partly fused, and refused where one is."""
    found = {manner_of_graph(g, lowerings) for g in graphs}
    return found.pop() if len(found) == 1 else "refused" if "refused" in found else "partly fused" if found & {"fused", "partly fused"} else "decomposed"


def _by_name(entries: Sequence[Any], room: Any) -> list[tuple[str, list[Graph]]]:
    graphs: dict[str, list[Graph]] = {}
    for entry in entries:
        kwargs = {k: np.array(v, "float32") if isinstance(v, list) else v for k, v in entry.kwargs.items()}
        specs = tuple(TensorSpec(tuple(shape), "int64" if kind in INTEGERS else "float32") for kind, shape, *_ in entry.inputs)
        graphs.setdefault(entry.name, []).append(forward_graph(partial(getattr(room, entry.name), **kwargs), specs))
    return list(graphs.items())


def _hand_made() -> list[tuple[str, list[Graph]]]:
    return [(name, [forward_graph(make, (TensorSpec(shape, "float32"),))]) for name, (make, shape) in BY_HAND.items()]


def _updates() -> Iterator[tuple[str, str]]:
    """Each optimizer, and the op of its update."""
    for name in dict.fromkeys(e.name for e in tables.OPTIMIZERS):
        optimizer = getattr(um.optim, name)(lr=0.01)
        trainer = um.Trainer(um.nn.Linear(3, 2, bias=False), loss=um.losses.MSELoss(), optimizer=optimizer, backend="numpy")
        trainer.train_step((np.ones((4, 3), "float32"), np.ones((4, 2), "float32")))
        nodes = [n.op.name for _, program in trainer._um_runtime.programs() for n in program.traced.graph.nodes]
        yield name, next(n for n in nodes if n.endswith("_update"))


PAGES: dict[str, Callable[[], str]] = {"coverage.md": coverage}
"""The page's file, and what makes it."""


def main(arguments: Sequence[str]) -> int:
    stale = [name for name, make in PAGES.items() if "--check" in arguments and not is_fresh(name, make())]
    if "--check" not in arguments:
        for name, make in PAGES.items():
            write(FOLDER / name, make())
            print(f"docs/{name}")
    for name in stale:
        print(f"docs/{name} is stale: run make docs", file=sys.stderr)
    return 1 if stale else 0


def is_fresh(name: str, text: str) -> bool:
    path = FOLDER / name
    return path.is_file() and path.read_text("utf-8") == text


def write(path: Path, text: str) -> None:
    """At once or not at all, so that an interrupted run leaves no half page."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

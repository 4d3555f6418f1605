"""Which batch inputs are used as indices, and in what range they must lie.

Frameworks clip, raise, or write out of bounds when an index is too large; so indices are checked on the host, where the message can name the
sample. The graph tells which inputs are indices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unimodel.errors import DataError, Source
from unimodel.graph import Array, Graph, Value
from unimodel.ops.sequences import LengthTable
from unimodel.passes.rewrite import float_dtype_of
from unimodel.regions import bodies, body_inputs

_PASS_THROUGH = frozenset(("reshape", "cast", "permute_dims", "slice", "broadcast_to"))


@dataclass(frozen=True)
class IndexBound:
    """Values in [0, size), or equal to ``ignored``."""

    size: int
    ignored: int | None
    what: str
    source: Source | None
    remedy: str = "check where the indices come from: the largest is {largest}"
    expected: str = "integers in [0, {size})"

    def check(self, array: Array, name: str, offset: int = 0) -> None:
        if array.size == 0 or (array.min() >= 0 and array.max() < self.size):
            return
        wrong = (array < 0) | (array >= self.size)
        if self.ignored is not None:
            wrong &= array != self.ignored
        if not wrong.any():
            return
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        position = (place[0] + offset, *place[1:]) if place else ()
        also = f" (or ignore_index {self.ignored})" if self.ignored is not None else ""
        raise DataError(
            f"{self.what} {int(array[place])} at position {position if len(position) != 1 else position[0]} of {name} is out of range.",
            expected=self.expected.format(size=self.size, most=self.size - 1) + also,
            given=f"{int(wrong.sum())} of {array.size} values outside, from {int(array[wrong].min())} to {int(array[wrong].max())}",
            remedy=self.remedy.format(largest=int(array.max())) if int(array.min()) >= 0 else "number from 0 upwards",
            source=self.source if self.source is not None and self.source.layer else None,  # outside layers the line is that of an earlier batch
        )


def index_bounds(graph: Graph) -> dict[str, IndexBound]:
    """The bound of each batch input that is used as indices, by the input's name."""
    origin = {e.value: e.name for e in graph.of_kind("batch") if e.spec.dtype in ("int32", "int64")}
    found: dict[str, IndexBound] = {}
    _collect(graph, origin, found)
    return found


def _collect(graph: Graph, origin: dict[Value, str], found: dict[str, IndexBound]) -> None:
    lengths: set[Value] = set()
    for node in graph.nodes:
        if isinstance(node.attrs.get("value"), LengthTable):
            lengths.add(node.outputs[0])
            continue
        if bodies(node):
            carries = node.attrs.get("carries", 0)  # other numbers from the second round on
            for body in bodies(node).values():
                pairs = list(zip(body.inputs, body_inputs(node), strict=True))[carries:]
                _collect(body, {e.value: origin[v] for e, v in pairs if v in origin}, found)
            continue
        first = node.inputs[0] if node.inputs else None
        if node.op.name in _PASS_THROUGH and first in origin:
            origin[node.outputs[0]] = origin[first]
            continue
        ignored: int | None = None
        remedy, expected = IndexBound.remedy, IndexBound.expected
        if node.op.name in ("cross_entropy", "nll"):
            index, size, what = node.inputs[1], node.specs[0].shape[1 if node.specs[0].ndim > 1 else 0], "class index"  # type: ignore[union-attr]  # always given
            ignored = node.attrs["ignore_index"]
            remedy = "number the classes from 0, or make the last layer larger than {largest}"
        elif node.op.name == "embedding":
            index, size, what = node.inputs[0], node.specs[1].shape[0], "index"  # type: ignore[union-attr]  # always given
            remedy = "number what is embedded from 0, or make num_embeddings larger than {largest}"
        elif node.op.name in ("take", "take_along_axis"):
            index, size, what = node.inputs[1], node.specs[0].shape[node.attrs["axis"]], "index"  # type: ignore[union-attr]  # always given
            if first in lengths:
                what, expected = "length", "integers in [0, {most}], as long as the sequences are padded"
                remedy = "pad the sequences to the longest, {largest} (um.nn.utils.rnn.pad_sequence), or cut the lengths"
        elif node.op.composite and any(v in origin for v in node.inputs):
            body = node.op.decompose(node.specs, dict(node.attrs), float_dtype_of(graph))
            given = [v for v in node.inputs if v is not None]
            _collect(body, {e.value: origin[v] for e, v in zip(body.inputs, given, strict=True) if v in origin}, found)
            continue
        else:
            continue
        if index in origin and isinstance(size, int):
            bound = IndexBound(size, ignored, what, node.source, remedy, expected)
            before = found.get(origin[index])
            if before is None or bound.size < before.size:
                found[origin[index]] = bound

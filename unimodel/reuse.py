"""A program that was compiled once is used again for an equal graph, by any Trainer of the process.

Folds of a cross-validation and candidates of a search train the same network from other weights. Each traces it, which is a small part of what comes before a first
step, and so is always right; what is equal then, ops, attributes, names of state and the user's lines included, shares one program, bound to each one's own state.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from unimodel.backend import Backend, CompileOptions, Executable, Store
from unimodel.graph import ArrayLiteral, Graph, Value
from unimodel.op import distinct
from unimodel.regions import every_node

KEPT = 16
"""So many programs are kept, without any state; those used last."""
LARGEST = 1 << 24
"""A program with constants of more bytes than these is not kept."""

_kept: OrderedDict[Any, Executable] = OrderedDict()
_lock = threading.Lock()


def compiled(backend: Backend, graph: Graph, store: Store, options: CompileOptions) -> Executable:
    """``backend.compile``, or an equal program that was compiled before, bound to this store."""
    key = (type(backend), backend.device, options, identity(graph))
    with _lock:
        found = _kept.get(key)
        if found is not None:
            _kept.move_to_end(key)
    bound = None if found is None else found.over(store)
    if bound is not None:
        return bound
    made = backend.compile(graph, store, options)
    constants = sum(a.array.nbytes for n in every_node(graph) for a in n.attrs.values() if isinstance(a, ArrayLiteral))
    spare = made.over(None) if constants <= LARGEST else None
    if spare is not None:
        with _lock:
            _kept[key] = spare
            while len(_kept) > KEPT:
                _kept.popitem(last=False)
    return made


def forget() -> None:
    """Drop what is kept; a program in use stays with who uses it."""
    with _lock:
        _kept.clear()


def identity(graph: Graph) -> Any:
    """What makes two graphs the same program with the same errors, as a key."""
    numbers: dict[Value | None, int] = {None: -1}
    for value in graph.values():
        numbers[value] = len(numbers)
    return (
        tuple((e.kind, e.name, e.spec) for e in graph.inputs),
        tuple((n.op, tuple(numbers[v] for v in n.inputs), _attributes(n.attrs), n.source) for n in graph.nodes),
        tuple(numbers[v] for v in graph.outputs),
        tuple((e.name, numbers[v]) for e, v in graph.updates),
        graph.output_names,
    )


def _attributes(attrs: Any) -> Any:
    return tuple((k, identity(v) if isinstance(v, Graph) else distinct(v)) for k, v in attrs.items())

"""Nests: tuples, lists and dicts of leaves, taken apart into a flat list and put together again.

Batches, predictions and gradients travel as nests; graphs know only flat lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def leaves(nest: Any) -> list[Any]:
    """The leaves in a fixed order (dict entries in their own order)."""
    return [leaf for _, leaf in paths(nest)]


def paths(nest: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each leaf with its path, ``"0.image"`` for ``nest[0]["image"]``."""
    if isinstance(nest, Mapping):
        items: Any = nest.items()
    elif isinstance(nest, (tuple, list)):
        items = enumerate(nest)
    else:
        yield prefix, nest
        return
    for key, child in items:
        yield from paths(child, f"{prefix}.{key}" if prefix else str(key))


def rebuild(nest: Any, flat: Iterator[Any]) -> Any:
    """A nest of the same structure with its leaves taken from ``flat``."""
    if isinstance(nest, Mapping):
        return {key: rebuild(child, flat) for key, child in nest.items()}
    if isinstance(nest, tuple) and hasattr(nest, "_fields"):
        return type(nest)(*(rebuild(child, flat) for child in nest))
    if isinstance(nest, (tuple, list)):
        return type(nest)(rebuild(child, flat) for child in nest)
    return next(flat)


def map_leaves(function: Callable[..., Any], nest: Any) -> Any:
    return rebuild(nest, iter([function(leaf) for leaf in leaves(nest)]))

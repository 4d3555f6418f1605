"""Ops on concrete arrays: outside a trace an op computes at once, on the current backend, and gives NumPy arrays.

This is for trying things out and for preparing data; each distinct call is compiled once and kept. Training never comes here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unimodel import nest, random
from unimodel.backend import Executable
from unimodel.graph import Array, TensorSpec
from unimodel.op import Op
from unimodel.tracing import Scalar, Traced, Variable, host_dtype, trace

_KEPT = 256
_compiled: OrderedDict[Any, tuple[Traced, Executable]] = OrderedDict()


def array_spec(array: Array, float_dtype: str) -> TensorSpec:
    return TensorSpec(tuple(array.shape), host_dtype(array.dtype, float_dtype))


def apply_now(op: Op[Any], tensors: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """One op on arrays; a parameter stands for its present numbers, a scalar for its value."""
    tensors = [_present(t) for t in tensors]
    given = [np.asarray(t) for t in tensors if t is not None and not isinstance(t, (bool, int, float))]
    float_dtype = "float64" if any(a.dtype == "float64" for a in given) else "float32"

    def function(arrays: tuple[Any, ...]) -> Any:
        rest = iter(arrays)
        arguments = [t if t is None or isinstance(t, (bool, int, float)) else next(rest) for t in tensors]
        from unimodel.tracing import apply

        return apply(op, arguments, dict(attrs))

    literals = tuple((type(t), t) if t is None or isinstance(t, (bool, int, float)) else None for t in tensors)
    return _run(function, tuple(given), float_dtype, (op.name, literals, tuple((type(v), v) for v in attrs.values())))


def run(function: Callable[..., Any], *arrays: Any, backend: str | None = None, seed: int = 0) -> Any:
    """Trace ``function`` of tensors, compile it, and run it on these arrays; returns NumPy arrays nested as its result.

    Random numbers it draws (``um.ops.random``) are those of the first step of a trainer with this ``seed``.

    >>> import unimodel as um
    >>> um.run(lambda x: um.ops.softmax(x), np.zeros((1, 4)))
    array([[0.25, 0.25, 0.25, 0.25]])
    """
    given = nest.map_leaves(np.asarray, arrays)
    float_dtype = "float64" if any(a.dtype == "float64" for a in nest.leaves(given)) else "float32"
    return _run(lambda arguments: function(*arguments), given, float_dtype, None, backend, seed)


def _present(value: Any) -> Any:
    if isinstance(value, Variable):
        return value.data
    return value.value if isinstance(value, Scalar) else value


def _run(function: Callable[[Any], Any], arrays: Any, float_dtype: str, key: Any, backend: str | None = None, seed: int = 0) -> Any:
    from unimodel import plugins

    name = plugins.choose(backend)
    specs = nest.map_leaves(lambda a: array_spec(a, float_dtype), arrays)
    full_key = None if key is None else (name, float_dtype, key, tuple(nest.leaves(specs)))
    found = _compiled.get(full_key) if full_key is not None else None
    if found is None:
        traced = trace(function, specs, names={}, float_dtype=float_dtype)
        chosen = plugins.load(name)()
        found = traced, chosen.compile(traced.graph, chosen.store({}))
        if full_key is not None:
            _compiled[full_key] = found
            if len(_compiled) > _KEPT:
                _compiled.popitem(last=False)
    traced, executable = found
    by_name = {n: np.asarray(a, host_dtype(a.dtype, float_dtype)) for n, a in zip(traced.batch, nest.leaves(arrays), strict=True)}
    by_name |= {d.name: random.draw(seed, d, 0, e.spec) for d in traced.draws for e in traced.graph.inputs if e.name == d.name}
    results = executable.read(executable.run([by_name[e.name] for e in traced.graph.of_kind("batch")], []))
    return nest.rebuild(traced.structure, iter(results))

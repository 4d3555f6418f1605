"""The compiled step: one TensorFlow function over variables, how it is fed, and how its results are read.

A function takes the batch arrays, with an open batch size, and all host scalars as one vector. ``run_many`` calls a second one, made when first needed, in which
the same nodes stand in a loop over stacked batches.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unimodel.backend import Executable, Store
from unimodel.dim import Dim
from unimodel.errors import BackendError, ShapeError
from unimodel.graph import Graph, Node
from unimodel_tensorflow.arrays import CPU, tf, to_numpy
from unimodel_tensorflow.model import Writer, signature, sizes_of
from unimodel_tensorflow.ops import raw
from unimodel_tensorflow.optimizer import carry_out, in_place

REMEMBERED = 256
"""So many shapes of batches are known to be right without looking again."""


class Call:
    """A function traced once for its signature; calling it with arrays gives tensors."""

    def __init__(self, function: Callable[..., Any], signature: Sequence[Any]) -> None:
        with tf.init_scope(), tf.device(CPU):
            self.function = tf.function(function, autograph=False, jit_compile=False)
            self.concrete = self.function.get_concrete_function(*signature)
        fast = fast_path()
        self.call = self.public if fast is None else fast(self.concrete)

    def public(self, arrays: Sequence[np.ndarray]) -> Sequence[Any]:
        with tf.device(CPU):
            results: Sequence[Any] = self.concrete(*map(tf.constant, arrays))
        return results

    def __call__(self, arrays: Sequence[np.ndarray]) -> Sequence[Any]:
        return self.call(arrays)


@functools.cache
def fast_path() -> Callable[[Any], Callable[[Sequence[np.ndarray]], Sequence[Any]]] | None:
    """A way to call functions that costs a third of the public one, or None where TensorFlow's private names have changed.

    It shares memory with arrays that happen to be aligned, so it must be given arrays that nobody writes to again.
    """
    try:
        from tensorflow.python import pywrap_tfe
        from tensorflow.python.eager import context
        from tensorflow.python.framework.ops import EagerTensor

        execute = pywrap_tfe.TFE_Py_Execute
        running = context.context()
        running.ensure_initialized()
        handle = running._handle
        options = tuple(itertools.chain(*running.function_call_options.as_attrs().items()))

        def bind(concrete: Any) -> Callable[[Sequence[np.ndarray]], Sequence[Any]]:
            name, captured, count = concrete._inference_function.name, list(concrete.captured_inputs), len(concrete.outputs)
            name = name if isinstance(name, str) else name.decode()

            def call(arrays: Sequence[np.ndarray]) -> Sequence[Any]:
                results: Sequence[Any] = execute(handle, CPU, name, [EagerTensor(a, CPU, None) for a in arrays] + captured, options, count)
                return results

            return call

        with tf.init_scope(), tf.device(CPU):
            probe = tf.function(lambda x: [x + 1.0], autograph=False).get_concrete_function(tf.TensorSpec([None]))
            right = to_numpy(bind(probe)([np.ones(1, "float32")])[0]) == 2.0
        return bind if right.all() else None
    except Exception:  # whatever it is that a later version has changed, the public way is there
        return None


class Stacked:
    """The outputs of several steps; read when the first of them is."""

    def __init__(self, tensors: Sequence[Any]) -> None:
        self.tensors = tensors

    @functools.cached_property
    def arrays(self) -> list[np.ndarray]:
        return [to_numpy(t) for t in self.tensors]


class Program(Executable):
    """A prepared graph as a TensorFlow function."""

    def __init__(self, graph: Graph, store: Store, differentiation: str) -> None:
        self.graph = graph
        self.differentiation = differentiation
        self._batch, self._scalars = graph.of_kind("batch"), graph.of_kind("scalar")
        self._variables = {e: store.arrays[e.name] for e in graph.of_kind("state")}
        self._kernels = in_place(graph)
        self._dtypes = [np.dtype(e.spec.dtype) for e in self._batch]
        self._scalar_dtype = self._scalars[0].spec.dtype if self._scalars else None
        self._known: set[Any] = set()
        self._journal: list[Node] = []
        self._signature = [signature(e) for e in self._batch]
        if self._scalars:
            self._signature.append(tf.TensorSpec([len(self._scalars)], tf.as_dtype(self._scalar_dtype)))
        self._one = Call(self._step, self._signature)
        self._several: Call | None = None

    # what TensorFlow traces
    def _step(self, *arguments: Any) -> list[Any]:
        return self._write(arguments, sizes_of(self._batch, arguments))

    def _steps(self, count: Any, *stacks: Any) -> list[Any]:
        sizes = sizes_of(self._batch, stacks, skip=1)
        outputs = self.graph.outputs
        shapes = [tf.TensorShape([None if isinstance(s, Dim) else s for s in v.spec.shape]) for v in outputs]
        results = [tf.TensorArray(tf.as_dtype(v.spec.dtype), size=count, element_shape=shape) for v, shape in zip(outputs, shapes, strict=True)]

        def body(i: Any, *results: Any) -> Any:
            tensors = self._write([stack[i] for stack in stacks], sizes)
            return i + 1, *(r.write(i, t) for r, t in zip(results, tensors, strict=True))

        _, *results = tf.while_loop(lambda i, *_: i < count, body, (tf.constant(0), *results))
        return [r.stack() for r in results]

    def _write(self, arguments: Sequence[Any], sizes: dict[str, Any]) -> list[Any]:
        writer = Writer(sizes, self._journal)
        for entry, variable in self._variables.items():
            writer.values[entry.value] = raw.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)
        writer.values.update(zip((e.value for e in self._batch), arguments, strict=False))
        if self._scalars:
            writer.values.update(zip((e.value for e in self._scalars), raw.Unpack(value=arguments[-1], num=len(self._scalars)), strict=True))
        writer.write(n for n in self.graph.nodes if n not in self._kernels)
        outputs = [writer.tensor(v) for v in self.graph.outputs]
        carry_out(self.graph, writer, self._variables, self._kernels)
        return outputs

    # running
    def run(self, batch: Sequence[np.ndarray], scalars: Sequence[float]) -> list[Any]:
        self._check(batch)
        arrays = [np.array(a, d) for a, d in zip(batch, self._dtypes, strict=True)]  # copies: the caller may overwrite theirs
        if self._scalars:
            arrays.append(np.array(scalars, self._scalar_dtype))
        return self._call(self._one, arrays)

    def run_many(self, batches: Sequence[Sequence[np.ndarray]], scalars: Sequence[Sequence[float]]) -> list[Any]:
        handles: list[Any] = []
        steps = list(zip(batches, scalars, strict=True))
        for _, same in itertools.groupby(steps, lambda step: self._check(step[0])):  # another batch size is another stack
            group = list(same)
            if len(group) == 1:
                handles.append(self.run(*group[0]))
                continue
            arrays = [np.stack([b[i] for b, _ in group], dtype=d, casting="same_kind") for i, d in enumerate(self._dtypes)]
            if self._scalars:
                arrays.append(np.array([s for _, s in group], self._scalar_dtype))
            stacked = Stacked(self._call(self._loop(), [np.array(len(group), "int32"), *arrays]))
            handles += [(stacked, i) for i in range(len(group))]
        return handles

    def read(self, handle: Any) -> list[np.ndarray]:
        if isinstance(handle, tuple):
            stacked, i = handle
            return [np.array(a[i]) for a in stacked.arrays]
        return [to_numpy(t) for t in handle]

    def _loop(self) -> Call:
        if self._several is None:
            stacks = [tf.TensorSpec([None, *s.shape], s.dtype) for s in self._signature]
            self._several = Call(self._steps, [tf.TensorSpec([], tf.int32), *stacks])
        return self._several

    def _call(self, call: Call, arrays: Sequence[np.ndarray]) -> Any:
        try:
            return call(arrays)
        except Exception as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> BackendError:
        """TensorFlow's error, with the line of the node that it names."""
        text = str(error)
        found = re.search(r"\bn(\d+)/", text)
        node = self._journal[int(found.group(1))] if found else None
        return BackendError(
            "tensorflow failed in a step." if node is None else f"tensorflow failed in {node.op.name}.",
            given=text.split("\n")[0],
            remedy="look at this step's data; state may have been updated in part",
            source=None if node is None else node.source,
        )

    def _check(self, batch: Sequence[np.ndarray]) -> Any:
        """A batch's shapes and dtypes, which fit: a traced function does not check them itself."""
        key = tuple([(a.shape, a.dtype.char) for a in batch])
        if key in self._known:
            return key
        sizes: dict[str, int] = {}
        for entry, array, dtype in zip(self._batch, batch, self._dtypes, strict=True):
            fits = array.ndim == entry.spec.ndim and np.can_cast(array.dtype, dtype, "same_kind")
            for size, number in zip(entry.spec.shape, array.shape, strict=False):
                if isinstance(size, Dim) and len(size.symbols) == 1 and size == Dim.symbol(*size.symbols):
                    size = sizes.setdefault(*size.symbols, number)
                fits = fits and (size.evaluate(sizes) if isinstance(size, Dim) else size) == number
            if not fits:
                raise ShapeError(f"{entry.name} is not what the program was compiled for.", expected=str(entry.spec), given=f"{array.dtype} {array.shape}")
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known.add(key)
        return key

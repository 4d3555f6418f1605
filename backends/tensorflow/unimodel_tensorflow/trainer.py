"""The compiled step: one TensorFlow function over variables, how it is fed, and how its results are read.

A function takes the batch arrays, with an open batch size, and all host scalars as one vector. Where a step is so small that calling it costs more than computing it,
the function holds a loop of such steps over stacked batches, and serves one step and many alike: the same kernels, so the same bits. Elsewhere the
function is one step, for which TensorFlow has more optimisations than for the body of a loop.

XLA, where it is asked for, compiles per shape: it gets the shape of the first batch, and batches of another, such as the last one of an epoch, run the function
without it.
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unimodel.backend import Executable
from unimodel.dim import Dim, concrete
from unimodel.errors import BackendError
from unimodel.executables.together import Slice, Whole, stacked
from unimodel.graph import Graph, Node, Value
from unimodel.passes.in_place import in_place, tables
from unimodel.passes.layout import IMAGES
from unimodel.regions import every_node, has_control_flow
from unimodel_tensorflow.arrays import CPU, VariableStore, filters_axes, tf, to_numpy, to_tensor
from unimodel_tensorflow.control import rounds
from unimodel_tensorflow.images import used_as_filters
from unimodel_tensorflow.kernels import raw
from unimodel_tensorflow.model import Writer, signature, sizes_of
from unimodel_tensorflow.ops import constant
from unimodel_tensorflow.optimizer import carry_out

SMALL = 1 << 16
"""Up to so many numbers of state, and without images, a step is a round of a loop."""
REMEMBERED = 256
"""The shapes of so many batches are known to be right without looking again."""

Arrays = Sequence[np.ndarray]
Way = Callable[[Arrays, Sequence[Any]], Sequence[Any]]
"""How a function is called: with arrays, and with handles of variables."""


class Call:
    """A function traced once for its signature; calling it with tensors, or arrays that nobody writes to again, gives tensors."""

    def __init__(self, function: Callable[..., Any], signature: tuple[list[Any], list[Any]], serial: bool, optimised: bool, xla: bool = False) -> None:
        with tf.init_scope(), tf.device(CPU):
            self.concrete = tf.function(function, autograph=False, jit_compile=xla or None).get_concrete_function(*signature)
        fast = fast_path()
        self.run: Way = self.public if fast is None else fast(self.concrete, serial, optimised)

    def public(self, arrays: Arrays, handles: Sequence[Any]) -> Any:
        with tf.device(CPU):
            return self.concrete(list(map(tf.constant, arrays)), list(handles))


@functools.cache
def fast_path() -> Callable[[Any, bool, bool], Way] | None:
    """A way to call functions that costs a third of the public one, or None where TensorFlow's private names have changed.

    ``serial`` is for functions of many tiny ops: one after the other on the calling thread, without a scheduler between them. ``optimised`` lets TensorFlow do with the
    graph all that it does when left alone: it gains up to 3 % of a step among convolutions only, and takes half of the time to a first step. Elsewhere only constants are
    computed, and products joined with biases.
    """
    try:
        from tensorflow.python import pywrap_tfe
        from tensorflow.python.eager import context
        from tensorflow.python.framework.ops import EagerTensor

        execute = pywrap_tfe.TFE_Py_Execute
        running = context.context()
        running.ensure_initialized()
        handle = running._handle
        attributes = running.function_call_options.as_attrs()
        config = tf.compat.v1.ConfigProto.FromString(attributes["config_proto"])
        config.graph_options.rewrite_options.MergeFrom(
            type(config.graph_options.rewrite_options)(optimizers=["constfold", "remap"], meta_optimizer_iterations=1)
        )

        def bind(concrete: Any, serial: bool, optimised: bool) -> Way:
            executor = {"executor_type": "SINGLE_THREADED_EXECUTOR"} if serial else {}
            passes = {} if optimised else {"config_proto": config.SerializeToString()}
            options = tuple(itertools.chain(*{**attributes, **passes, **executor}.items()))
            name, captured, count = concrete._inference_function.name, list(concrete.captured_inputs), len(concrete.outputs)
            name = name if isinstance(name, str) else name.decode()

            def run(arrays: Arrays, handles: Sequence[Any]) -> Any:
                tensors = [a if isinstance(a, EagerTensor) else EagerTensor(a, CPU, None) for a in arrays]
                return execute(handle, CPU, name, [*tensors, *handles, *captured], options, count)

            return run

        with tf.init_scope(), tf.device(CPU):
            probe = tf.function(lambda arrays, handles: [arrays[0] + 1.0], autograph=False).get_concrete_function([tf.TensorSpec([None])], [])
            return bind if to_numpy(bind(probe, True, False)([np.ones(1, "float32")], [])[0])[0] == 2.0 else None
    except Exception:  # whatever it is that a later version has changed, the public way is there
        return None


class Program(Executable):
    """A prepared graph as a TensorFlow function."""

    def __init__(self, graph: Graph, store: VariableStore, differentiation: str, compiler: str = "none") -> None:
        self.graph = graph
        self.compiler = compiler
        self.differentiation = differentiation
        self._batch, self._scalars, self._state = (graph.of_kind(k) for k in ("batch", "scalar", "state"))
        self._filters = self._take(store)
        self._kernels = {node: old for node, old in in_place(graph).items() if len({v in self._filters for v in old}) == 1}
        self._dtypes = [np.dtype(e.spec.dtype) for e in self._batch]
        names = tuple(e.name for e in self._batch)
        self._check = functools.lru_cache(REMEMBERED)(lambda shapes: graph.sizes(dict(zip(names, shapes, strict=True))))
        self._scalar_dtype = self._scalars[0].spec.dtype if self._scalars else ""
        self._one, self._numbers = to_tensor(np.array(1, "int32")), ([math.nan], None)
        """Inputs that mostly stay as they are: how many steps, and the scalars of the last one."""
        self._journal: list[Node] = []
        self._functions: list[Any] = []
        self._compiled_shapes: Any = None
        self._images = any(n.op.name in IMAGES for n in every_node(graph))
        self.looped = compiler == "none" and not self._images and sum(concrete(e.spec.size, {}) for e in self._state) <= SMALL
        self._tables = {} if self.looped else tables(graph)
        specs = [signature(e) for e in self._batch]
        if self._scalars:
            specs.append(tf.TensorSpec([len(self._scalars)], tf.as_dtype(self._scalar_dtype)))
        if self.looped:
            specs = [tf.TensorSpec([], tf.int32), *(tf.TensorSpec([None, *s.shape], s.dtype) for s in specs)]
        self._specs = specs, [tf.TensorSpec([], tf.resource)] * len(self._state)
        self._first = Call(functools.partial(self._write, xla=True), self._specs, False, True, xla=True) if compiler == "xla" else self._function

    @functools.cached_property
    def _function(self) -> Call:
        serial = self.looped and not has_control_flow(self.graph)  # loops in loops wait for each other there
        return Call(self._steps if self.looped else self._write, self._specs, serial, optimised=self._images)

    def _take(self, store: VariableStore) -> set[Value]:
        """Work on this store's variables, of which the store alone has care; gives those that are filters."""
        self._handles = [v.handle for v in store.take([e.name for e in self._state], used_as_filters(self.graph) if self.differentiation == "core" else ())]
        return {e.value for e in self._state if e.name in store.filters}

    def over(self, store: Any) -> Program | None:
        other = copy.copy(self)
        other._handles = []
        return other if store is None or other._take(store) == self._filters else None

    # what TensorFlow traces
    def _write(self, arguments: Sequence[Any], handles: Sequence[Any], xla: bool = False) -> list[Any]:
        """The graph's ops, with these arguments and these variables."""
        writer = Writer(sizes_of(self.graph, arguments), self._journal, self._functions, xla)
        places = dict(zip((e.value for e in self._state), handles, strict=True))
        writer.values.update(places)
        for value in [v for v in places if v not in self._tables]:  # once rows of a table are written one by one, TensorFlow copies all of it for a reader
            read, filters = raw.ReadVariableOp(resource=places[value], dtype=tf.as_dtype(value.spec.dtype)), value in self._filters
            # a handle that came through a loop does not know its shape
            read.set_shape([value.spec.shape[i] for i in filters_axes(value.spec.ndim)] if filters else value.spec.shape)
            writer.values[value] = writer.hold(value, read) if filters else read
        writer.values.update(zip((e.value for e in self._batch), arguments, strict=False))
        if self._scalars:
            writer.values.update(zip((e.value for e in self._scalars), raw.Unpack(value=arguments[-1], num=len(self._scalars)), strict=True))
        waiting = {*self._kernels, *self._tables.values()}
        writer.write(n for n in self.graph.nodes if n not in waiting)
        outputs = [writer.tensor(v) for v in self.graph.outputs]
        carry_out(self.graph, writer, places, self._kernels, self._tables, self._filters)
        return outputs

    def _steps(self, arrays: Sequence[Any], handles: Sequence[Any]) -> list[Any]:
        forms = [(constant([-1 if isinstance(s, Dim) else s for s in v.spec.shape], "int32"), tf.as_dtype(v.spec.dtype)) for v in self.graph.outputs]
        return rounds(self._functions, arrays[0], ([], arrays[1:], handles), lambda _, slices, handles: self._write(slices, handles), forms)

    # running
    def run(self, batch: Arrays, scalars: Sequence[float]) -> Any:
        shapes = tuple([a.shape for a in batch])
        self._check(shapes)
        arrays: list[Any] = [np.array(a, d) for a, d in zip(batch, self._dtypes, strict=True)]  # copies: the caller may overwrite theirs
        if self.looped:
            arrays = [self._one, *[a[None] for a in arrays]]
        if self._scalars:
            if scalars != self._numbers[0]:
                self._numbers = list(scalars), to_tensor(np.array([scalars] if self.looped else scalars, self._scalar_dtype))
            arrays.append(self._numbers[1])
        if self.looped:
            return Slice(Whole(self, self._call(arrays, self._function)), 0)
        if self.compiler == "xla" and self._compiled_shapes is None:
            self._compiled_shapes = shapes
        return self._call(arrays, self._first if self.compiler == "none" or self._compiled_shapes == shapes else self._function)

    def run_many(self, batches: Sequence[Arrays], scalars: Sequence[Sequence[float]]) -> list[Any]:
        if not self.looped:
            return super().run_many(batches, scalars)

        def start(arrays: Arrays, numbers: Sequence[Sequence[float]]) -> Any:
            self._check(tuple([a.shape[1:] for a in arrays]))
            scalars = [np.array(numbers, self._scalar_dtype)] if self._scalars else []
            return self._call([np.array(len(numbers), "int32"), *arrays, *scalars], self._function)

        return stacked(self, start, batches, scalars, self._dtypes)

    def read(self, handle: Any) -> list[np.ndarray]:
        return handle.read() if isinstance(handle, Slice) else [to_numpy(t) for t in handle]

    def _call(self, arrays: Arrays, function: Call) -> Any:
        try:
            return function.run(arrays, self._handles)
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

"""``raw``: TensorFlow's raw ops, written into a function by a shorter way than ``tf.raw_ops``, which takes some 300 us of Python for each.

The shorter way asks TensorFlow's C interface itself, which infers types and shapes, and is made of private names. Where these are gone, and for what it does not know (numbers
for tensors, functions as attributes, no function being traced), ``raw`` is ``tf.raw_ops``.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections import namedtuple
from collections.abc import Callable
from typing import Any

from unimodel_tensorflow.arrays import tf

Kernel = Callable[..., Any]


@functools.cache
def short_way() -> Callable[[str], Kernel | None] | None:
    """What makes kernels of names, or None where TensorFlow's private names have changed."""
    try:
        from tensorflow.python.client import pywrap_tf_session as session
        from tensorflow.python.framework import op_def_library, op_def_registry, ops
        from tensorflow.python.framework.func_graph import FuncGraph

        numbers, symbolic, operation = itertools.count(), ops.SymbolicTensor, ops.Operation
        new, finish, add_input, add_list, set_attribute = (
            getattr(session, f"TF_{n}") for n in ("NewOperation", "FinishOperation", "AddInput", "AddInputList", "SetAttrValueProto")
        )

        @functools.lru_cache(4096)
        def encoded(kind: str, name: str, value: Any) -> bytes:
            """An attribute as it travels; equal ones are one, but for ``1`` and ``1.0``, and so on, which ``kind`` keeps apart."""
            found: bytes = op_def_library.value_to_attr_value(list(value) if isinstance(value, tuple) else value, kind, name).SerializeToString()
            return found

        def make(name: str) -> Kernel | None:
            definition, public = op_def_registry.get(name), getattr(tf.raw_ops, name)
            # some inputs have another name in Python, in the same order
            own, known = list(inspect.signature(public).parameters), {a.name for a in (*definition.input_arg, *definition.attr)}
            others = [n for n in own if n not in known and n != "name"]
            names = {a.name: a.name if a.name in own else others.pop(0) for a in definition.input_arg}
            inputs = [(names[a.name], bool(a.number_attr or a.type_list_attr)) for a in definition.input_arg]
            given = set(names.values())
            kinds = {a.name: a.type for a in definition.attr}
            results = [a.name for a in definition.output_arg]
            lists = any(a.number_attr or a.type_list_attr for a in definition.output_arg)
            if others or "func" in kinds.values() or (lists and len(results) > 1):
                return None
            record = namedtuple(name, results) if len(results) > 1 else None  # type: ignore[misc]  # its fields are the op's

            def kernel(**arguments: Any) -> Any:
                graph = ops.get_default_graph()
                operands = [(list(arguments[n]) if many else [arguments[n]]) for n, many in inputs]
                if not isinstance(graph, FuncGraph) or not all(isinstance(t, tf.Tensor) for group in operands for t in group):
                    return public(**arguments)
                operands = [[graph.capture(t) if isinstance(t, ops.EagerTensor) or t.graph is not graph else t for t in group] for group in operands]
                scope = graph._name_stack
                with graph._c_graph.get() as c_graph:
                    description = new(c_graph, name, f"{scope}/{name}.{next(numbers)}" if scope else f"{name}.{next(numbers)}")
                for group, (_, many) in zip(operands, inputs, strict=True):
                    if many:
                        add_list(description, [t._as_tf_output() for t in group])
                    else:
                        add_input(description, group[0]._as_tf_output())
                waits = graph._control_dependencies_for_inputs({t.op for group in operands for t in group}) if graph._control_dependencies_stack else ()
                for before in waits:
                    session.TF_AddControlInput(description, before._c_op)
                for key, value in arguments.items():
                    if key not in given:
                        set_attribute(description, key, encoded(kinds[key], key, tuple(value) if isinstance(value, (list, tuple)) else value))
                made = operation(finish(description), symbolic)
                made._init(graph)
                if waits:
                    graph._record_op_seen_by_control_dependencies(made)
                found = made.outputs
                return made if not results else found if lists else record(*found) if record is not None else found[0]

            return kernel

        @tf.function(autograph=False)
        def probe(x: Any) -> Any:
            total, concat = make("AddV2"), make("ConcatV2")
            assert total is not None and concat is not None
            return concat(values=[total(x=x, y=x), x], axis=tf.constant(0))

        with tf.init_scope():
            return make if probe(tf.constant([1.0])).numpy().tolist() == [2.0, 1.0] else None
    except Exception:  # whatever it is that a later version has changed, the public way is there
        return None


class Raw:
    """Kernels by the names that they have in ``tf.raw_ops``."""

    def __getattr__(self, name: str) -> Kernel:
        make = short_way()
        public: Kernel = getattr(tf.raw_ops, name)
        kernel = self.__dict__[name] = (None if make is None else make(name)) or public
        return kernel


raw: Any = Raw()


def barrier(tensor: Any) -> Any:
    """The same tensor, which XLA may not join with its users; where TensorFlow's private name for that is gone, it may."""
    try:
        from tensorflow.compiler.tf2xla.ops.gen_xla_ops import xla_optimization_barrier
    except ImportError:
        return tensor
    return xla_optimization_barrier(input=[tensor])[0]

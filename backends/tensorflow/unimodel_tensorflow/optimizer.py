"""How a graph's updates are carried out: in place by TensorFlow's kernel where it computes the same, else by assignment.

Only plain gradient descent and momentum have equal kernels. Adam's computes ``1 - beta2`` in float32, which is 5e-5 off, and would leave that in the state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unimodel.graph import Graph, Input, Node, Value
from unimodel_tensorflow.arrays import tf
from unimodel_tensorflow.model import View, Writer
from unimodel_tensorflow.ops import constant, lower, raw


def _ends(node: Node) -> bool:
    """Whether an update is of a variable's value, and nothing is computed from its results."""
    return node.inputs[0] is not None and node.inputs[0].producer is None and not any(v.users for v in node.outputs)


@lower("sgd_update", when=_ends)
def _(node: View, *inputs: Any) -> Any:
    found = node.decomposed(node.specs, *inputs)
    return found if len(node.outputs) > 1 else found[0]


def in_place(graph: Graph) -> dict[Node, tuple[Input, ...]]:
    """The updates that kernels carry out in place, with the states they change."""
    new: dict[Value, Input] = {value: entry for entry, value in graph.updates}
    found = {}
    for node in graph.nodes:
        if node.op.name != "sgd_update" or node.attrs["nesterov"] or not all(v in new and v not in graph.outputs for v in node.outputs):
            continue
        states = tuple(new[v] for v in node.outputs)
        if [s.value for s in states] == [node.inputs[i] for i in (0, 4)][: len(states)]:
            found[node] = states
    return found


def carry_out(graph: Graph, writer: Writer, handles: Mapping[Value, Any], kernels: Mapping[Node, tuple[Input, ...]]) -> None:
    """Write the updates. They wait for the outputs, so that a step which fails in its forward pass changes nothing."""
    done = {state for states in kernels.values() for state in states}
    with tf.control_dependencies([writer.tensor(v) for v in graph.outputs]):
        for node, states in kernels.items():
            _descend(node, [None if v is None else writer.tensor(v) for v in node.inputs], [handles[s.value] for s in states])
        for entry, value in graph.updates:
            if entry not in done:
                raw.AssignVariableOp(resource=handles[entry.value], value=writer.tensor(value))


def _descend(node: Node, inputs: list[Any], handles: list[Any]) -> None:
    param, grad, lr, damping, _ = inputs
    attrs, dtype = node.attrs, param.dtype.name
    if attrs["maximize"]:
        grad = raw.Neg(x=grad)
    if attrs["weight_decay"]:
        grad = raw.AddV2(x=grad, y=raw.Mul(x=constant(attrs["weight_decay"], dtype), y=param))
    if len(handles) == 1:
        raw.ResourceApplyGradientDescent(var=handles[0], alpha=lr, delta=grad)
    else:
        momentum = constant(attrs["momentum"], dtype)
        raw.ResourceApplyMomentum(var=handles[0], accum=handles[1], lr=lr, grad=raw.Mul(x=damping, y=grad), momentum=momentum)

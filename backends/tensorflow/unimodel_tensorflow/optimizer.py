"""How a graph's updates are carried out: in place where TensorFlow's kernels can compute the same, else by assignment.

Gradient descent and momentum have kernels. Adam's computes ``1 - beta2`` in float32, which is 5e-5 off and would leave that in the state; so its moving averages are
written as steps of descent, ``m -= (1 - beta1) * (m - g)``, each one pass over memory.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from unimodel.graph import Graph, Node, Value
from unimodel.passes.in_place import RENEWED
from unimodel_tensorflow.arrays import tf
from unimodel_tensorflow.kernels import raw
from unimodel_tensorflow.model import View, Writer
from unimodel_tensorflow.ops import constant, lower


def _ends(node: Node) -> bool:
    """Whether an update is of a variable's value, in a form that is carried out in place, and nothing is computed from its results."""
    special = node.attrs.get("nesterov") or len(node.outputs) > 3  # three with Adam, four with AMSGrad
    return not special and node.inputs[0] is not None and node.inputs[0].producer is None and not any(v.users for v in node.outputs)


@lower(*RENEWED, when=_ends)
def _(node: View, *inputs: Any) -> Any:
    found = node.decomposed(node.specs, *inputs)
    return found if len(node.outputs) > 1 else found[0]


def carry_out(
    graph: Graph, writer: Writer, handles: Mapping[Value, Any], kernels: Mapping[Node, Any], tables: Mapping[Value, Any], filters: Collection[Value]
) -> None:
    """Write the updates. They wait for the outputs, so that a step which fails in its forward pass changes nothing. ``filters`` is the state held as such."""
    rates: dict[Any, Sequence[Any]] = {}
    done = {value for old in kernels.values() for value in old}
    with tf.control_dependencies([writer.tensor(v) for v in graph.outputs]):
        for node, old in kernels.items():
            if old[0] in tables:
                grad, indices, rate = (writer.tensor(v) for v in (*tables[old[0]].inputs, node.inputs[2]))
                change = raw.ResourceScatterAdd if node.attrs["maximize"] else raw.ResourceScatterSub
                change(resource=handles[old[0]], indices=indices, updates=raw.Mul(x=rate, y=grad))
                continue
            update = _adam if node.op.name == "adam_update" else _sgd
            of = writer.filters if all(v in filters for v in old) else writer.tensor
            update(node, [None if v is None else of(v) if v.spec.ndim else writer.tensor(v) for v in node.inputs], [handles[v] for v in old], rates)
        for entry, value in graph.updates:
            if entry.value not in done:
                raw.AssignVariableOp(resource=handles[entry.value], value=(writer.filters if entry.value in filters else writer.tensor)(value))


def _gradient(node: Node, param: Any, grad: Any, decay: bool) -> Any:
    attrs = node.attrs
    if attrs["maximize"]:
        grad = raw.Neg(x=grad)
    return raw.AddV2(x=grad, y=raw.Mul(x=constant(attrs["weight_decay"], param.dtype.name), y=param)) if decay and attrs["weight_decay"] else grad


def _sgd(node: Node, inputs: Sequence[Any], handles: Sequence[Any], rates: dict[Any, Sequence[Any]]) -> None:
    param, grad, lr, damping, _ = inputs
    grad = _gradient(node, param, grad, True)
    if len(handles) == 1:
        raw.ResourceApplyGradientDescent(var=handles[0], alpha=lr, delta=grad)
    else:
        momentum, grad = constant(node.attrs["momentum"], param.dtype.name), raw.Mul(x=damping, y=grad)
        raw.ResourceApplyMomentum(var=handles[0], accum=handles[1], lr=lr, grad=grad, momentum=momentum)


def _adam(node: Node, inputs: Sequence[Any], handles: Sequence[Any], rates: dict[Any, Sequence[Any]]) -> None:
    """``rates`` keeps the numbers that parameters share."""
    param, grad, exp_avg, exp_avg_sq, lr, correction1, correction2, _ = inputs
    attrs, dtype = node.attrs, param.dtype

    def number(value: float) -> Any:
        return constant(value, dtype.name)

    grad = _gradient(node, param, grad, not attrs["decoupled"])
    raw.ResourceApplyGradientDescent(var=handles[1], alpha=number(1.0 - attrs["beta1"]), delta=raw.Sub(x=exp_avg, y=grad))
    raw.ResourceApplyGradientDescent(var=handles[2], alpha=number(1.0 - attrs["beta2"]), delta=raw.Sub(x=exp_avg_sq, y=raw.Square(x=grad)))
    exp_avg, exp_avg_sq = (raw.ReadVariableOp(resource=h, dtype=dtype) for h in handles[1:])
    # exp_avg / (sqrt(exp_avg_sq) / root + eps), with both sides times root
    key = (lr.name, correction1.name, correction2.name, attrs["eps"], attrs["weight_decay"])
    if key not in rates:
        root = raw.Sqrt(x=correction2)
        share = raw.RealDiv(x=raw.Mul(x=correction1, y=number(attrs["weight_decay"])), y=root)
        rates[key] = raw.Mul(x=root, y=number(attrs["eps"])), raw.RealDiv(x=raw.Mul(x=lr, y=root), y=correction1), share
    eps, rate, share = rates[key]
    step = raw.RealDiv(x=exp_avg, y=raw.AddV2(x=raw.Sqrt(x=exp_avg_sq), y=eps))
    if attrs["decoupled"] and attrs["weight_decay"]:
        # param - lr * decay * param - rate * step, as one step of descent
        step = raw.AddV2(x=step, y=raw.Mul(x=share, y=param))
    raw.ResourceApplyGradientDescent(var=handles[0], alpha=rate, delta=step)

"""How a graph is cut into executors.

Core's differentiation leaves one forward graph: one stage. Where MXNet differentiates, the first stage ends in the region's loss and has a backward pass,
which leaves the gradients in arrays; what needs them is a second, forward stage.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from unimodel.graph import Graph, Node, Value
from unimodel.op import value_and_grad_op
from unimodel.passes.host import HostArithmetic
from unimodel.passes.in_place import subtracts
from unimodel.regions import active_values, reached_values


@dataclass(eq=False)
class Stage:
    """Nodes that run as one executor. With ``loss``, MXNet finds its gradient for the values in ``wrt``."""

    nodes: list[Node]
    results: list[Value] = field(default_factory=list)
    """What later stages, or the graph's results, need of it."""
    aliases: dict[Value, Value] = field(default_factory=dict)
    """What is another value: the inputs of a region's body, and the region's results."""
    loss: Value | None = None
    wrt: list[tuple[Value, Value, Value]] = field(default_factory=list)
    """(the body's input, the value outside that it is, the gradient): the input is an argument of its own, so that no gradient goes further out."""
    flowing: frozenset[Value] = frozenset()
    """The values that the loss depends on and that depend on what its gradient is taken for."""
    sparse: frozenset[Value] = frozenset()
    """Tables among the arguments, read by rows once, whose gradient is only subtracted: it need have no rows but those that were read."""

    @property
    def made(self) -> list[Value]:
        return [*(v for n in self.nodes for v in n.outputs), *self.aliases]

    @property
    def used(self) -> set[Value | None]:
        return {v for n in self.nodes for v in n.inputs} | set(self.aliases.values()) | {outer for _, outer, _ in self.wrt}


def stages(graph: Graph, host: HostArithmetic, kernels: Sequence[Node] = ()) -> list[Stage]:
    """The stages of a prepared graph, in order: one for each region that MXNet differentiates, and one for all that is left.

    ``kernels`` are updates that are carried out after them.
    """
    rest = [n for n in graph.nodes if n not in host.nodes and n not in kernels]
    found: list[Stage] = []
    for region in [n for n in rest if n.op is value_and_grad_op]:
        before, rest = rest[: rest.index(region)], rest[rest.index(region) + 1 :]
        targets = {region.inputs[i] for i in region.attrs["wrt"]}
        if any(v in targets for n in before for v in n.outputs):  # gradients are taken for arguments: what is computed must be in an array first
            found.append(Stage(before))
            before = []
        found.append(_region_stage(region, before, {n.inputs[1] for n in kernels if subtracts(n)}))
    found.append(Stage(rest))
    done = {v for n in kernels for v in n.outputs}
    wanted = dict.fromkeys((*graph.outputs, *(v for _, v in graph.updates if v not in done), *(n.inputs[1] for n in kernels)))
    later: set[Value | None] = set(wanted)
    for stage in reversed(found):
        stage.results = [v for v in stage.made if v in later]
        later |= stage.used
    given = {e.value for e in graph.inputs} | set(host.results)
    found[-1].results += [v for v in wanted if v in given]
    return [s for s in found if s.results or s.loss is not None]


def _region_stage(region: Node, before: list[Node], subtracted: Collection[Value | None]) -> Stage:
    body, positions = region.attrs["body"], region.attrs["wrt"]
    outputs, gradients = region.outputs[: len(body.outputs)], region.outputs[len(body.outputs) :]
    inner = [e.value for e in body.inputs]
    aliases = {v: outer for i, (v, outer) in enumerate(zip(inner, region.inputs, strict=True)) if i not in positions and outer is not None}
    aliases.update(zip(outputs, body.outputs, strict=True))
    wrt = [(inner[i], outer, gradient) for i, gradient in zip(positions, gradients, strict=True) if (outer := region.inputs[i]) is not None]
    loss = body.outputs[0]
    flowing = frozenset(reached_values(body.nodes, [loss]) & active_values(body, positions))
    sparse = {v for v, _, gradient in wrt if gradient in subtracted and len(gradient.users) == 1 and v not in body.outputs and _read_by_rows(v)}
    return Stage([*before, *body.nodes], aliases=aliases, loss=loss, wrt=wrt, flowing=flowing, sparse=frozenset(sparse))


def _read_by_rows(value: Value) -> bool:
    return len(value.users) == 1 and value.users[0].op.name == "take" and value.users[0].attrs["axis"] == 0 and value.spec.ndim == 2

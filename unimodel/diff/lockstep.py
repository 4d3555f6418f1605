"""Two backends in lockstep: each op of a step on the same numbers on both, and then the step as a whole.

An op gets what the first side computed up to there, so that a difference is its own and not inherited. Then the step runs as the backends really run it,
fused and perhaps differentiated by the framework: what only appears there is traced back to the fewest consecutive ops that show it together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from unimodel.diff.anatomy import Anatomy, Region, dissect
from unimodel.diff.judge import Finding, Judge, Label, Place, Ways
from unimodel.diff.piece import Piece, Whole, known, with_gradient
from unimodel.diff.side import Failure, Side
from unimodel.errors import UnimodelError
from unimodel.graph import Array, Node, Value
from unimodel.op import value_and_grad_op
from unimodel.tracing import live_nodes

WHOLE_STEP = "the step as a whole"
"""What a step is called where an op would be named."""
_ENDS_TRIED = 64
_PHASES = ("forward", "gradient", "update")


class Lockstep:
    """Compares two sides, step by step, and remembers how far they have been apart."""

    def __init__(self, first: Side, second: Side) -> None:
        self.judge = Judge(first, second)
        self.steps = 0
        self.ways: Ways = ("core", "core")
        """Who differentiated the step on each side."""

    def compare(self, number: int, step: Piece) -> list[Finding]:
        """All that parts in one step, in order. Ends at an op that neither side survives."""
        self.judge.step = number
        results, failures = [], []
        asked, ways = ["", ""], ["core", "core"]
        for i, side in enumerate(self.judge.sides):
            side.start()
            result, failure, asked[i] = self._as_it_can(side, step)
            results.append(result)
            failures.append(failure)
            ways[i] = side.differentiation if failure is None else "core"
        self.ways = ways[0], ways[1]
        walk = Walk(self.judge, dissect(step.graph), step, self.ways)
        found = walk.ops()
        self.steps += 1
        if found:
            return found
        first, second = results
        if first is None or second is None:
            failure = next(f for f in failures if f is not None)
            return [Finding(number, Label("step", WHOLE_STEP, None, "step"), step, self.ways, failure=failure)]
        beyond = self._as_it_runs(walk, step, (asked[0], asked[1]), first, second)
        return [] if beyond is None else [beyond]

    def _as_it_can(self, side: Side, step: Piece) -> tuple[list[Array] | None, Failure | None, str]:
        """The step on one side, differentiated as the script asks, or by core where the backend cannot do that; and which it was."""
        for way in dict.fromkeys((step.differentiation, "core")):
            try:
                return side.run(step, way), None, way
            except Failure as failure:
                if not failure.unsupported or way == "core":
                    return None, failure, way
        raise AssertionError("the last way returns")

    def _as_it_runs(self, walk: Walk, step: Piece, asked: Ways, first: Sequence[Array], second: Sequence[Array]) -> Finding | None:
        label = Label("step", WHOLE_STEP, None, "step")
        found = self.judge.compare(step, label, asked, first, second)
        if found is None:
            return None
        if "native" in self.ways and self.judge.parts(step, label, ("core", "core")) is None:
            region = next(n for n in step.graph.nodes if n.op is value_and_grad_op)
            return replace(found, label=Label("gradient", "the gradient as the framework computes it", region.source, "step"), native=True)
        return walk.fewest(found) or found


class Walk:
    """One step, op by op."""

    def __init__(self, judge: Judge, anatomy: Anatomy, step: Piece, ways: Ways) -> None:
        self.judge = judge
        self.anatomy = anatomy
        self.ways = ways
        self.sizes = step.sizes
        self.whole = Whole(anatomy.graph)
        self.values = self.whole.values_of(step)

    def ops(self) -> list[Finding]:
        """Every op that parts. Where one cannot be computed at all, the walk ends there."""
        found: list[Finding] = []
        for node in self.anatomy.graph.nodes:
            beyond = self._op(self.whole, node, self.values, Label(self.anatomy.phases[node], node.op.name, node.source))
            if beyond is not None:
                found.append(beyond)
            if any(v not in self.values for v in node.outputs):
                return found
        for region in self.anatomy.regions:
            found += self._as_written(region)
        if len(self.anatomy.regions) == 1:
            found.sort(key=lambda f: _PHASES.index(f.label.phase))
        return found

    def _op(self, whole: Whole, node: Node, values: dict[Value, Array], label: Label, sides: int = 2) -> Finding | None:
        """One op on both sides, or on the first alone; its results join ``values``."""
        constant = known(node)
        if constant is not None:
            values[node.outputs[0]] = constant
            return None
        cut = whole.cut([node], values, self.sizes)
        if sides == 2:
            found, results = self.judge.look(cut.piece, label)
        else:
            first, second, _ = self.judge.run(cut.piece, ("auto", "auto"))
            found, results = None, first if first is not None else second
        if results is not None:
            values.update(zip(cut.made, results, strict=True))
        return None if found is None else replace(found, place=Place(whole, node, values, self.sizes))

    def _as_written(self, region: Region) -> list[Finding]:
        """What core's gradient does not show of a region: composites that it takes apart, and gradients that a framework computes itself."""
        native = "native" in self.ways
        found: list[Finding] = []
        whole = Whole(region.body)
        values = {e.value: self.values[v] for e, v in zip(region.body.inputs, region.entering, strict=True)}
        for node in region.body.nodes:
            apart = native or (node.op.composite and node.op.vjp_rule is None)
            beyond = self._op(whole, node, values, Label("forward", node.op.name, node.source), sides=2 if apart else 1)
            if beyond is not None:
                found.append(beyond)
            if any(v not in values for v in node.outputs):
                return found
            if native and known(node) is None:
                beyond = self._native_gradient(whole, node, values)
                if beyond is not None:
                    found.append(beyond)
        return found

    def _native_gradient(self, whole: Whole, node: Node, values: Mapping[Value, Array]) -> Finding | None:
        """One op's gradient, computed by the framework where the step's is, and by core on the other side."""
        try:
            piece = with_gradient(whole.cut([node], values, self.sizes).piece)
        except UnimodelError:
            return None  # it has none: the step does not ask for it either
        if piece is None:
            return None
        found, _ = self.judge.look(piece, Label("gradient", f"gradient of {node.op.name}", node.source), self.ways)
        if found is None or (found.failure is not None and found.failure.unsupported):
            return None
        return replace(found, native=True, place=Place(whole, node, values, self.sizes))

    def fewest(self, found: Finding) -> Finding | None:
        """The fewest consecutive ops that part when they are compiled together, though each of them alone does not."""
        graph = self.anatomy.graph
        target = [*graph.outputs, *(v for _, v in graph.updates)][found.result]
        nodes = [n for n in live_nodes(graph.nodes, [target]) if known(n) is None]

        def parts(start: int, stop: int) -> Finding | None:
            window = nodes[start:stop]
            wanted = [target] if stop == len(nodes) else window[-1].outputs
            names = [n.op.name for n in window]
            text = " + ".join(names if len(names) <= 6 else [*names[:3], f"{len(names) - 5} more", *names[-2:]])
            label = Label(self.anatomy.phases[window[-1]], text, window[-1].source, "step")
            return self.judge.parts(self.whole.cut(window, self.values, self.sizes, wanted).piece, label)

        best = parts(0, len(nodes)) if nodes else None
        low, high = 0, len(nodes) - 1
        while best is not None and low < high:  # the latest start that still shows it
            middle = (low + high + 1) // 2
            narrower = parts(middle, len(nodes))
            if narrower is None:
                high = middle - 1
            else:
                low, best = middle, narrower
        if best is not None:
            for stop in range(low + 2, min(low + 2 + _ENDS_TRIED, len(nodes))):  # the earliest end
                narrower = parts(low, stop)
                if narrower is not None:
                    return narrower
        return best

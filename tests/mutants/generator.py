"""Faults that nobody wrote down: a place in the code is drawn, and what stands there is changed as a slip of the hand would change it.

Places are in the bodies of ops, gradient rules, updates, lowerings, layers, losses, schedules and the trainer. Left out is what no number depends on: text, annotations,
errors, samples. Which tests concern a place is told by the names of what it stands in, and of what calls that.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .fault import ROOT, Fault

CORE = (
    "unimodel/ops/*.py",
    "unimodel/ops/loss/*.py",
    "unimodel/ops/optim/*.py",
    "unimodel/losses/*.py",
    "unimodel/loss.py",
    "unimodel/nn/*.py",
    "unimodel/optim/*.py",
    "unimodel/optim/lr_scheduler/*.py",
    "unimodel/optimizer.py",
    "unimodel/passes/differentiate.py",
    "unimodel/passes/fold.py",
    "unimodel/results.py",
    "unimodel/data/batches.py",
    "unimodel/random.py",
)
OWN = {
    "numpy": ("backends/numpy/unimodel_numpy/ops.py",),
    "torch": ("backends/torch/unimodel_torch/ops.py", "backends/torch/unimodel_torch/optimizer.py"),
    "tensorflow": (
        "backends/tensorflow/unimodel_tensorflow/ops.py",
        "backends/tensorflow/unimodel_tensorflow/images.py",
        "backends/tensorflow/unimodel_tensorflow/optimizer.py",
    ),
    "mxnet": ("backends/mxnet/unimodel_mxnet/ops.py", "backends/mxnet/unimodel_mxnet/nn.py", "backends/mxnet/unimodel_mxnet/optimizer.py"),
}
EVERYTHING = "conformance/unimodel_conformance"
"""The whole suite: pytest's path."""
CORE_TESTS = "tests"
"""The tests of core alone."""

BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
}  # fmt: skip  # a table reads better in rows
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip  # a table reads better in rows
PAIRS = """
max min, maximum minimum, sum mean, greater less, greater_equal less_equal, logical_and logical_or, floor ceil, exp expm1, log log1p, sin cos, arg_max arg_min,
argmax argmin, sqrt square, equal not_equal, zeros ones, ones_like zeros_like, relu abs, amax amin, less_scalar less_equal_scalar,
greater_scalar greater_equal_scalar, maximum_scalar minimum_scalar, Max Min, Maximum Minimum, Floor Ceil, Greater Less, LogicalAnd LogicalOr, FloorDiv TruncateDiv,
FloorMod TruncateMod
"""
TWINS = {a: b for pair in PAIRS.split(",") for a, b in (pair.split(), reversed(pair.split()))}
"""What one writes where the other is meant."""
TRANSPARENT = frozenset(
    [
        "stop_gradient",
        "astype",
        "cast",
        "Cast",
        "abs",
        "as_float",
        "unbroadcast",
        "contiguous",
        "clone",
        "flip",
        "negative",
        "sqrt",
        "ascontiguousarray",
        "copy",
        "squeeze",
    ]
)
"""Calls that one forgets to make."""
SYMMETRIC = frozenset(
    [
        "isinstance",
        "getattr",
        "hasattr",
        "zip",
        "range",
        "enumerate",
        "add",
        "multiply",
        "maximum",
        "minimum",
        "max",
        "min",
        "equal",
        "not_equal",
        "logical_and",
        "logical_or",
        "logical_xor",
        "same_kind",
        "shapes_agree",
        "sizes_agree",
        "broadcast_shapes",
        "_comparison",
        "AddV2",
        "Mul",
        "Equal",
        "NotEqual",
        "Maximum",
        "Minimum",
    ]
)
"""Calls whose first two arguments may change places."""


@dataclass(frozen=True)
class Place:
    """A change of one piece of a file, and the names of what it is in."""

    file: str
    start: int
    end: int
    new: str
    what: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Slip(Fault):
    """A random fault: the piece of text is given by its position, and ``fallback`` are the files that are run where no test has its names."""

    start: int = 0
    end: int = 0
    fallback: str = ""

    def apply(self, source: str) -> str:
        assert source[self.start : self.end] == self.old, "the file is the one that the places were drawn from"
        return source[: self.start] + self.new + source[self.end :]

    def arguments(self, tree: Path) -> list[str]:
        return [*(["-k", self.tests] if self.tests else []), *(str(tree / p) for p in self.files.split())]

    def other_arguments(self, tree: Path) -> list[str]:
        return [str(tree / p) for p in self.fallback.split()]


def draw(count: int, seed: int, backends: Sequence[str] = ("numpy",), only: str = "") -> list[Slip]:
    """So many faults, the same for the same seed and sources. Each backend has an equal share; core's faults are NumPy's."""
    rng = random.Random(seed)
    found: list[Slip] = []
    for backend in backends:
        patterns = [*(CORE if backend == "numpy" else ()), *OWN[backend]]
        every = [p for file in files(patterns) if only in str(file) for p in places(file)]
        by_definition: dict[tuple[str, tuple[str, ...]], list[Place]] = {}
        for place in every:  # first what it stands in, then the place: long functions have no larger part
            by_definition.setdefault((place.file, place.names), []).append(place)
        chosen: dict[Place, None] = {}
        share = min(count // len(backends), len(every))
        while len(chosen) < share:
            chosen[rng.choice(by_definition[rng.choice(list(by_definition))])] = None
        found += [_slip(place, backend) for place in chosen]
    return found


def files(patterns: Iterable[str]) -> list[Path]:
    return sorted({p.relative_to(ROOT) for pattern in patterns for p in ROOT.glob(pattern) if p.name not in ("__init__.py", "samples.py")})


def _slip(place: Place, backend: str) -> Slip:
    text = (ROOT / place.file).read_text(encoding="utf-8")
    line = text.count("\n", 0, place.start) + 1
    name = f"{place.file.removeprefix('unimodel/').split('/unimodel_')[-1]}:{line} {place.names[0] if place.names else ''}: {place.what}"
    words = " or ".join(sorted(_words(place)))
    paths = f"{EVERYTHING} {CORE_TESTS}" if backend == "numpy" else EVERYTHING
    return Slip(
        name,
        place.file,
        text[place.start : place.end],
        place.new,
        paths,
        words,
        backend=backend,
        area=place.file.split("/")[1],
        start=place.start,
        end=place.end,
        fallback=_fallback(place),
    )


def _words(place: Place) -> set[str]:
    """What tests of these definitions have in their names."""
    found = {re.sub(r"_(update|gradient)$", "", n) for n in place.names}
    found |= {n.replace("_", "") for n in found}
    area = {
        "optimizer": "optimizers or parameters", "passes": "gradients or programs", "results": "trainer", "data": "trainer", "random": "mask", "loss": "losses", "lr_scheduler": "schedule",
    }  # fmt: skip  # a table reads better in rows
    parts = re.split(r"[/.]", place.file)
    found |= {words for part, words in area.items() if part in parts and (part != "loss" or place.file == "unimodel/loss.py")}
    found |= {"large"} if place.file.startswith("backends/") else set()  # where a backend may have another kernel, whatever the op
    return {n for n in found if re.fullmatch(r"[\w ]+", n)} - {"not", "and", "or"}


def _fallback(place: Place) -> str:
    """The tests of a place whose names are those of no test."""
    rooms = {
        "nn": "test_layers.py",
        "losses": "test_losses.py",
        "optim": "test_optimizers.py test_sizes.py",
        "ops": "test_functions.py test_edges.py test_layers.py",
    }
    own = next(
        (tests for room, tests in rooms.items() if f"/{room}/" in place.file), "test_programs.py test_functions.py test_trainer.py test_trainer_in_use.py"
    )
    return " ".join(f"{EVERYTHING}/{name}" for name in own.split())


# ---------------------------------------------------------------------------------------------------------------- where


def places(file: Path) -> Iterator[Place]:
    """Every change of a file that the generator knows of."""
    source = (ROOT / file).read_text(encoding="utf-8")
    tree = ast.parse(source)
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    lines = source.splitlines()

    def offset(line: int, column: int) -> int:
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    users = _users(tree)
    for definition, names in _definitions(tree):
        names = tuple(dict.fromkeys(_public(names, users)))
        for node in _alive(definition):
            for new in changes(node):
                start, end = offset(node.lineno, node.col_offset), offset(node.end_lineno or 0, node.end_col_offset or 0)
                old = source[start:end]
                text = new if isinstance(new, str) else ast.unparse(new)
                if isinstance(new, ast.expr) and not isinstance(new, (ast.Name, ast.Constant, ast.Call, ast.Attribute, ast.Subscript)):
                    text = f"({text})"
                if text not in (old, f"({old})"):
                    yield Place(str(file), start, end, text, f"{_short(old)} -> {_short(text)}", names)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) < 60 else text[:57] + "..."


def _definitions(tree: ast.Module) -> Iterator[tuple[ast.AST, tuple[str, ...]]]:
    """The functions and methods of a module with the names they go by: their own, or those of the op in their decorator."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name not in ("__repr__", "extra_repr"):
                    yield method, (node.name,)
    for node in tree.body:
        for inner in [node, *(ast.walk(node) if isinstance(node, (ast.For, ast.If)) else ())]:
            if isinstance(inner, ast.FunctionDef):
                yield inner, _decorated(inner) or (inner.name,)
            elif isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Call) and "lower" in ast.unparse(inner.value.func) and inner is node:
                for keyword in inner.value.keywords:
                    if keyword.arg and isinstance(keyword.value, ast.Attribute):
                        yield keyword, (keyword.arg,)


def _decorated(function: ast.FunctionDef) -> tuple[str, ...]:
    found: list[str] = []
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Attribute) and decorator.attr == "vjp":
            found.append(ast.unparse(decorator.value))
        elif isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "lower":
            found += [str(a.value) for a in decorator.args if isinstance(a, ast.Constant)]
    return tuple(found)


def _users(tree: ast.Module) -> dict[str, set[str]]:
    """For each function of a module, the definitions that mention it, and what statements say beside it, such as the ops that a call registers it for."""
    mentions: dict[str, set[str]] = {}
    for statement in tree.body:
        if isinstance(statement, (ast.Expr, ast.Assign)):
            inside = list(ast.walk(statement))
            texts = {n.value for n in inside if isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value.isidentifier()}
            for node in inside:
                if isinstance(node, ast.Name):
                    mentions.setdefault(node.id, set()).update(texts)
    for definition, names in _definitions(tree):
        for node in ast.walk(definition):
            if isinstance(node, ast.Name):
                mentions.setdefault(node.id, set()).update(names)
    return mentions


def _public(names: Sequence[str], users: dict[str, set[str]]) -> list[str]:
    """The names, and those of what uses them: a helper is tried by its callers' tests."""
    found = list(names)
    for name in found:
        found += sorted(users.get(name, set()) - set(found))
    return found[:12]


def _alive(definition: ast.AST) -> Iterator[Any]:
    """The parts of a definition on which numbers depend."""
    if isinstance(definition, ast.keyword):
        yield definition.value
        return
    body = definition.body if isinstance(definition, ast.FunctionDef) else [definition]
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Raise, ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr)) or _is_check(node) or _is_text(node):
            continue
        yield node
        if isinstance(node, ast.AnnAssign):
            waiting += [n for n in (node.value,) if n is not None]
        elif isinstance(node, (ast.FunctionDef, ast.Lambda)):
            waiting += node.body if isinstance(node.body, list) else [node.body]
        else:
            waiting += ast.iter_child_nodes(node)


def _is_check(node: ast.AST) -> bool:
    """An ``if`` that only raises: refusals have a list of their own."""
    return isinstance(node, ast.If) and all(isinstance(n, ast.Raise) for n in node.body) and not node.orelse


def _is_text(node: ast.AST) -> bool:
    """A docstring, or a call that only refuses."""
    if not isinstance(node, ast.Expr):
        return False
    return isinstance(node.value, ast.Constant) or bool(re.match(r"need_|positive|not_negative|probability|_check|require_|super\b", ast.unparse(node.value)))


# ----------------------------------------------------------------------------------------------------------------- what


def changes(node: ast.AST) -> Iterator[ast.expr | str]:
    """What may stand in a node's place."""
    if isinstance(node, ast.BinOp):
        other = BINARY.get(type(node.op))
        if other is not None and not _of_shapes(node):
            yield ast.BinOp(node.left, other(), node.right)
            yield node.left
            if not isinstance(node.op, ast.Sub):
                yield node.right
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
        yield ast.Compare(node.left, [COMPARISONS[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)) and not isinstance(node.operand, ast.Constant):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield from map(ast.Constant, _near(node.value))
    elif isinstance(node, ast.BoolOp):
        yield node.values[0]
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.Attribute) and node.attr in TWINS:
        yield ast.Attribute(node.value, TWINS[node.attr])
    elif isinstance(node, ast.Tuple) and len(node.elts) > 1 and isinstance(node.ctx, ast.Load) and not any(isinstance(e, ast.Starred) for e in node.elts[:2]):
        yield ast.Tuple([node.elts[1], node.elts[0], *node.elts[2:]], ast.Load())
    elif (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)) or isinstance(node, ast.AugAssign):
        yield "pass"


def _near(value: bool | int | float) -> list[bool | int | float]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1] if value > 0 else [value + 1]
    return [value * 1.5 if value else 0.5]


def _of_shapes(node: ast.BinOp) -> bool:
    """Tuples, lists and texts are added too, and cannot be anything else."""
    return any(
        isinstance(side, (ast.Tuple, ast.List, ast.JoinedStr)) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in (node.left, node.right)
    )


def _calls(node: ast.Call) -> Iterator[ast.expr]:
    name = ast.unparse(node.func).rsplit(".", 1)[-1]
    plain = [a for a in node.args if not isinstance(a, ast.Starred)]
    if name in TRANSPARENT and plain:
        yield plain[0]
    if len(plain) > 1 and len(plain) == len(node.args) and name not in SYMMETRIC:
        yield ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)
    for keyword in node.keywords:
        if keyword.arg is not None and keyword.arg not in ("strict",):
            yield ast.Call(node.func, node.args, [k for k in node.keywords if k is not keyword])

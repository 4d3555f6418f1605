"""Calls of ops that nobody wrote down: hypothesis draws shapes, dtypes and attributes, a seeded generator the numbers.

``GENERATED`` maps an op's name (or, where a rank or a dtype is worth a test of its own, the name and that) to a function that draws one call. Numbers keep clear of ties
and of bounds where rounding decides; those places have tests of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from unimodel.graph import Array
from unimodel.ops import catalogue
from unimodel_conformance.cases import Case


class Draws:
    """What a generator draws from."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self.numbers = np.random.Generator(np.random.Philox(data.draw(st.integers(0, 2**20), label="seed")))

    def integer(self, low: int, high: int) -> int:
        return int(self.data.draw(st.integers(low, high)))

    def choice(self, *options: Any) -> Any:
        return self.data.draw(st.sampled_from(options))

    def flag(self) -> bool:
        return bool(self.data.draw(st.booleans()))

    def shape(self, least: int = 0, most: int = 4, size: int = 4) -> tuple[int, ...]:
        return tuple(self.integer(1, size) for _ in range(self.integer(least, most)))

    def array(self, shape: Sequence[int], kind: str = "normal") -> Array:
        """Numbers of a kind: a distribution, or a dtype."""
        rng, shape = self.numbers, tuple(shape)
        size = int(np.prod(shape))
        if kind == "bool":
            return np.asarray(rng.random(shape) < 0.5)
        if kind in ("int32", "int64"):
            return np.asarray(rng.integers(-9, 10, shape), kind)
        if kind == "distinct":
            return np.asarray(((rng.permutation(size) - size / 2 + 0.25) * 0.1).reshape(shape))
        if kind == "nonzero":
            return np.asarray(rng.uniform(0.1, 2.0, shape) * rng.choice([-1.0, 1.0], shape))
        if kind == "positive":
            return np.asarray(rng.uniform(0.1, 3.0, shape))
        if kind == "large":
            return np.asarray(rng.uniform(-400.0, 400.0, shape))
        if kind == "ties":
            return np.asarray(rng.integers(-2, 3, shape) * 0.5)
        if kind == "special":
            return np.asarray(rng.choice([0.0, 1.5, -2.0, np.nan, np.inf, -np.inf], shape))
        return np.asarray(rng.standard_normal(shape))

    def indices(self, shape: Sequence[int], size: int) -> Array:
        return np.asarray(self.numbers.integers(0, size, tuple(shape)), self.choice("int32", "int64"))

    def part_of(self, shape: Sequence[int]) -> tuple[int, ...]:
        """A shape that broadcasts to this one."""
        kept = tuple(1 if self.integer(0, 3) == 0 else s for s in shape)
        return kept[self.integer(0, len(kept)) if self.integer(0, 3) == 0 else 0 :]

    def axis(self, rank: int) -> int:
        return self.integer(-rank, rank - 1)

    def axes(self, rank: int) -> Any:
        """None, one axis, several, or none at all."""
        if rank == 0 or self.integer(0, 3) == 0:
            return self.choice(None, None, ())
        if self.flag():
            return self.axis(rank)
        chosen = [a for a in range(rank) if self.flag()] or [0]
        return tuple(a - rank if self.flag() else a for a in chosen)


Call = tuple[list[Any], dict[str, Any]]
GENERATED: dict[str, Callable[[Draws], Call]] = {}


def generates(*names: str) -> Callable[[Callable[..., Call]], Callable[..., Call]]:
    """Register a generator; with several names it is told which is wanted."""

    def register(function: Callable[..., Call]) -> Callable[..., Call]:
        for name in names:
            GENERATED[name] = function if len(names) == 1 else lambda d, name=name: function(d, name)  # type: ignore[misc]  # the default binds this name
        return function

    return register


def draw_case(data: Any, name: str) -> Case:
    args, kwargs = GENERATED[name](Draws(data))
    return Case(catalogue[name.split("-")[0]], args, kwargs)


# ------------------------------------------------------------------------------------------------------------- elementwise

_DOMAIN = {
    "log": "positive", "sqrt": "positive", "rsqrt": "positive", "log1p": "positive", "relu": "nonzero", "abs": "nonzero", "leaky_relu": "nonzero", "elu": "nonzero",
    "floor": "distinct", "ceil": "distinct", "round": "ties", "sign": "ties", "isnan": "special", "isfinite": "special",
}  # fmt: skip


@generates(
    "negative", "abs", "sign", "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "sigmoid", "erf", "floor", "ceil", "round", "square", "rsqrt", "isnan",
    "isfinite", "relu", "silu", "softplus", "stop_gradient", "leaky_relu", "elu", "gelu",
)  # fmt: skip
def _(d: Draws, name: str) -> Call:
    kind = _DOMAIN.get(name, "normal")
    if name in ("negative", "abs", "square", "stop_gradient") and d.integer(0, 2) == 0:
        kind = d.choice("int32", "int64")
    options = {"leaky_relu": {"negative_slope": d.choice(0.01, 0.2)}, "elu": {"alpha": d.choice(1.0, 0.3)}, "gelu": {"approximate": d.choice("none", "tanh")}}
    return [d.array(d.shape(), kind)], options.get(name, {})


@generates("add", "subtract", "multiply", "maximum", "minimum")
def _(d: Draws, name: str) -> Call:
    shape = d.shape()
    kinds = d.choice(("normal", "normal"), ("normal", "normal"), ("int32", "int32"), ("int64", "int64"), ("int32", "int64"), ("int64", "normal"))
    x1 = d.array(d.part_of(shape), kinds[0])
    x2 = d.choice(2, 3) if kinds[1] != "normal" and d.flag() else d.choice(0.75, 2) if d.integer(0, 4) == 0 else d.array(shape, kinds[1])
    return ([x1, x2] if d.flag() else [x2, x1]), {}


@generates("true_divide")
def _(d: Draws) -> Call:
    shape = d.shape()
    return [d.array(d.part_of(shape)), d.array(shape, "nonzero")], {}


@generates("floor_divide", "remainder")
def _(d: Draws, name: str) -> Call:
    shape = d.shape()
    if d.flag():
        return [d.array(shape, d.choice("int32", "int64")), d.choice(2, -3, 4, -7)], {}
    return [d.array(shape), d.array(d.part_of(shape), "nonzero")], {}


@generates("bitwise_and")
def _(d: Draws) -> Call:
    shape, kind = d.shape(), d.choice("int32", "int64", "bool")
    return [d.array(d.part_of(shape), kind), d.array(shape, kind)], {}


@generates("pow")
def _(d: Draws) -> Call:
    shape = d.shape()
    how = d.choice("real", "whole", "number", "integers")
    if how == "real":
        return [d.array(d.part_of(shape), "positive"), d.array(shape)], {}
    if how == "whole":
        return [d.array(shape, "nonzero"), d.array(d.part_of(shape), "int64") / 3 // 1.0], {}
    if how == "number":
        return [d.array(shape, "positive"), d.choice(2, 3, 0.5, -1.5, -1, 0)], {}
    return [d.array(shape, d.choice("int32", "int64")), d.choice(2, 3)], {}


@generates("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
def _(d: Draws, name: str) -> Call:
    shape = d.shape()
    kind = d.choice("ties", "int32", "int64", "bool" if name.endswith("equal") and "ss" not in name and "gr" not in name else "ties")
    return [d.array(d.part_of(shape), kind), 0 if kind != "bool" and d.integer(0, 4) == 0 else d.array(shape, kind)], {}


@generates("logical_and", "logical_or", "logical_xor")
def _(d: Draws, name: str) -> Call:
    shape = d.shape()
    return [d.array(d.part_of(shape), "bool"), d.array(shape, "bool")], {}


@generates("logical_not")
def _(d: Draws) -> Call:
    return [d.array(d.shape(), "bool")], {}


@generates("where")
def _(d: Draws) -> Call:
    shape = d.shape()
    kind = d.choice("normal", "int32", "int64", "bool", "special")
    x2 = d.array(d.part_of(shape), kind) if d.integer(0, 3) or kind == "bool" else 2
    return [d.array(d.part_of(shape), "bool"), d.array(shape, kind), x2], {}


@generates("cast")
def _(d: Draws) -> Call:
    source = d.choice("normal", "int32", "int64", "bool", "ties")
    target = d.choice("int32", "int64", "bool", "float32")
    x = d.array(d.shape(), source)
    return [x * 4 + 0.3 if source == "normal" else x, target], {}


@generates("masked_dropout")
def _(d: Draws) -> Call:
    shape = d.shape()
    return [d.array(shape), d.array(shape, "bool"), d.choice(0.1, 0.5, 0.75)], {}


@generates("relu_gradient", "gelu_gradient")
def _(d: Draws, name: str) -> Call:
    shape = d.shape()
    return [d.array(shape), d.array(shape, "nonzero")], {"approximate": d.choice("none", "tanh")} if name == "gelu_gradient" else {}


# -------------------------------------------------------------------------------------------------------------- reductions


@generates("sum", "prod", "max", "min", "mean", "var", "logsumexp", "all", "any")
def _(d: Draws, name: str) -> Call:
    kinds = {
        "sum": ("normal", "normal", "int32", "int64", "bool"), "prod": ("nonzero", "nonzero", "int64"), "max": ("normal", "ties", "int32", "int64"),
        "min": ("normal", "ties", "int32", "int64"), "mean": ("normal", "normal", "int64"), "all": ("bool",), "any": ("bool",), "logsumexp": ("normal", "large"),
    }  # fmt: skip
    shape = d.shape()
    kwargs: dict[str, Any] = {"axis": d.axes(len(shape)), "keepdims": d.flag()}
    if name == "var":
        shape = tuple(s + 1 for s in shape) or (3,)
        kwargs["axis"] = d.axes(len(shape))
        kwargs["correction"] = d.choice(0, 1, 0.5)
    return [d.array(shape, d.choice(*kinds.get(name, ("normal",))))], kwargs


@generates("arg_max", "arg_min")
def _(d: Draws, name: str) -> Call:
    shape = d.shape(1)
    return [d.array(shape, d.choice("distinct", "ties", "int32", "int64")), d.axis(len(shape))], {"keepdims": d.flag()}


@generates("arg_sort")
def _(d: Draws) -> Call:
    shape = d.shape(1, 3, 20)
    return [d.array(shape, d.choice("normal", "ties", "special", "int32", "int64", "bool")), d.axis(len(shape))], {"descending": d.flag()}


@generates("cumulative_prod")
def _(d: Draws) -> Call:
    shape = d.shape(1, 3)
    return [d.array(shape, d.choice("nonzero", "ties", "int64"))], {"axis": d.axis(len(shape))}


@generates("cumulative_sum")
def _(d: Draws) -> Call:
    shape = d.shape(1)
    return [d.array(shape, d.choice("normal", "int32", "int64", "bool"))], {"axis": d.axis(len(shape))}


@generates("softmax", "log_softmax")
def _(d: Draws, name: str) -> Call:
    shape = d.shape(1)
    return [d.array(shape, d.choice("normal", "large"))], {"axis": d.axis(len(shape))}


@generates("softmax_gradient", "log_softmax_gradient")
def _(d: Draws, name: str) -> Call:
    shape = d.shape(1)
    axis = d.integer(0, len(shape) - 1)
    y = np.exp(d.array(shape))
    y = y / y.sum(axis, keepdims=True)
    return [d.array(shape), y if name == "softmax_gradient" else np.log(y)], {"axis": axis}


# ------------------------------------------------------------------------------------------------------- shapes and indices

_MOVED = ("normal", "int32", "int64", "bool")


@generates("reshape")
def _(d: Draws) -> Call:
    shape = d.shape(0, 4)
    target = [shape[i] for i in d.numbers.permutation(len(shape))]
    if len(target) > 1 and d.flag():
        target[:2] = [target[0] * target[1]]
    target.insert(d.integer(0, len(target)), 1)
    if d.flag():
        target[d.integer(0, len(target) - 1)] = -1
    return [d.array(shape, d.choice(*_MOVED)), tuple(target)], {}


@generates("permute_dims")
def _(d: Draws) -> Call:
    shape = d.shape(1, 5, 3)
    return [d.array(shape, d.choice(*_MOVED)), tuple(int(a) for a in d.numbers.permutation(len(shape)))], {}


@generates("broadcast_to")
def _(d: Draws) -> Call:
    shape = d.shape(0, 4)
    return [d.array(d.part_of(shape), d.choice(*_MOVED)), shape], {}


@generates("concat")
def _(d: Draws) -> Call:
    shape = d.shape(1)
    axis = d.axis(len(shape))
    kind = d.choice("normal", "int32", "int64", "bool")
    pieces = [tuple(d.integer(1, 3) if i == axis % len(shape) else s for i, s in enumerate(shape)) for _ in range(d.integer(1, 4))]
    return [[d.array(p, kind) for p in pieces]], {"axis": axis}


@generates("flip")
def _(d: Draws) -> Call:
    shape = d.shape()
    return [d.array(shape, d.choice(*_MOVED))], {"axis": d.axes(len(shape))}


@generates("pad_constant")
def _(d: Draws) -> Call:
    shape = d.shape(1)
    return [d.array(shape, d.choice("normal", "int64"))], {"widths": tuple((d.integer(0, 2), d.integer(0, 2)) for _ in shape), "value": d.choice(0, 0, 3, -1)}


@generates("slice")
def _(d: Draws) -> Call:
    shape = d.shape(1, 4, 6)
    start = tuple(d.integer(0, s - 1) for s in shape)
    stop = tuple(d.integer(a + 1, s) for a, s in zip(start, shape, strict=True))
    return [d.array(shape, d.choice(*_MOVED))], {"start": start, "stop": stop, "step": tuple(d.integer(1, 3) for _ in shape)}


@generates("take")
def _(d: Draws) -> Call:
    shape = d.shape(1)
    axis = d.axis(len(shape))
    return [d.array(shape, d.choice("normal", "int64")), d.indices(d.shape(0, 3), shape[axis])], {"axis": axis}


@generates("take_gradient")
def _(d: Draws) -> Call:
    shape, where, size = d.shape(1, 3), d.shape(0, 2), d.integer(1, 4)
    axis = d.integer(0, len(shape) - 1)
    return [d.array((*shape[:axis], *where, *shape[axis + 1 :])), d.indices(where, size)], {"axis": axis, "size": size}


@generates("take_along_axis")
def _(d: Draws) -> Call:
    shape = d.shape(1)
    axis = d.axis(len(shape))
    count = d.integer(1, 4)
    return [d.array(shape), d.indices([count if i == axis % len(shape) else s for i, s in enumerate(shape)], shape[axis])], {"axis": axis}


@generates("take_along_axis_gradient")
def _(d: Draws) -> Call:
    shape, size = d.shape(1), d.integer(1, 4)
    return [d.array(shape), d.indices(shape, size)], {"axis": d.integer(0, len(shape) - 1), "size": size}


@generates("one_hot")
def _(d: Draws) -> Call:
    classes = d.integer(1, 5)
    return [d.indices(d.shape(0, 3), classes), classes], {"dtype": d.choice("int64", "int32", "bool", "float32")}


@generates("iota")
def _(d: Draws) -> Call:
    start, step = d.integer(-5, 5) * d.choice(1, 0.1), d.choice(1, 2, 3, -1, 0.3)
    stop = start + step * (d.integer(1, 6) - 0.5) if isinstance(step, float) or isinstance(start, float) else start + step * d.integer(0, 5)
    return [], {"start": start, "stop": stop, "step": step, "dtype": "float32" if isinstance(stop, float) else d.choice("int32", "int64", "float32")}


# ------------------------------------------------------------------------------------------------ products and convolution


@generates("matmul")
def _(d: Draws) -> Call:
    n, k, m = d.integer(1, 4), d.integer(1, 5), d.integer(1, 4)
    batch = d.shape(0, 3, 3)
    first = (k,) if d.integer(0, 4) == 0 else (*d.part_of(batch), n, k)
    second = (k,) if d.integer(0, 4) == 0 else (*batch, k, m)
    return [d.array(first), d.array(second)], {}


@generates("linear")
def _(d: Draws) -> Call:
    inside, outside = d.integer(1, 5), d.integer(1, 4)
    rest = [d.array((outside,))] if d.flag() else []
    return [d.array((*d.shape(0, 3), inside)), d.array((outside, inside)), *rest], {}


@generates("embedding")
def _(d: Draws) -> Call:
    rows = d.integer(1, 5)
    return [d.indices(d.shape(0, 3), rows), d.array((rows, d.integer(1, 4)))], {"padding_idx": d.choice(None, 0, -1)}


class _Geometry:
    """A window over an image: sizes, strides, paddings and dilations that fit together."""

    def __init__(self, d: Draws, rank: int, pool: bool = False) -> None:
        most = 5 if rank < 3 else 4
        self.kernel = tuple(d.integer(1, 3 if rank < 3 else 2) for _ in range(rank))
        self.stride = tuple(d.integer(1, 3) for _ in range(rank))
        self.dilation = tuple(d.integer(1, 2) for _ in range(rank))
        if pool:
            self.padding: Any = tuple((p, p) for p in (d.integer(0, k // 2) for k in self.kernel))
        else:
            self.padding = tuple((d.integer(0, 2), d.integer(0, 2)) for _ in range(rank))
        self.spatial = tuple(d.integer(1, most) + k * t for k, t in zip(self.kernel, self.dilation, strict=True))

    @property
    def outs(self) -> tuple[int, ...]:
        parts = zip(self.spatial, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + lo + hi - t * (k - 1) - 1) // s + 1 for n, k, s, (lo, hi), t in parts)


def _conv(d: Draws, name: str) -> Call:
    base, rank = name.split("-")[0], int(name[-2])
    g = _Geometry(d, rank)
    groups, per_in, per_out, n = d.integer(1, 3), d.integer(1, 2), d.integer(1, 2), d.integer(1, 2)
    image, weight, result = (n, groups * per_in, *g.spatial), (groups * per_out, per_in, *g.kernel), (n, groups * per_out, *g.outs)
    window = {"stride": g.stride, "padding": g.padding, "dilation": g.dilation, "groups": groups}
    if base == "conv":
        return [d.array(image), d.array(weight)], window
    if base == "conv_gradients":
        return [d.array(result), d.array(image), d.array(weight)], window
    if base == "conv_input_gradient":
        return [d.array(result), d.array(weight)], {"spatial": g.spatial, **window}
    return [d.array(image), d.array(result)], {"kernel": g.kernel, **window}


def _pool(d: Draws, name: str) -> Call:
    base, rank = name.split("-")[0], int(name[-2])
    g = _Geometry(d, rank, pool=True)
    image = (d.integer(1, 2), d.integer(1, 2), *g.spatial)
    window = {"stride": d.choice(None, g.stride), "padding": tuple(p for p, _ in g.padding), "ceil_mode": d.flag()}
    if base == "max_pool":
        return [d.array(image, "distinct"), g.kernel], {**window, "dilation": g.dilation}
    return [d.array(image), g.kernel], {**window, "count_include_pad": d.flag(), "divisor_override": d.choice(None, None, 5)}


for _rank in (1, 2, 3):
    generates(*(f"{name}-{_rank}d" for name in ("conv", "conv_gradients", "conv_input_gradient", "conv_weight_gradient")))(_conv)
    generates(f"max_pool-{_rank}d", f"avg_pool-{_rank}d")(_pool)


# --------------------------------------------------------------------------------------------- normalisation and attention


@generates("batch_norm_inference", "batch_norm_training", "batch_norm_gradient")
def _(d: Draws, name: str) -> Call:
    channels = d.integer(1, 4)
    shape = (d.integer(2, 5), channels, *d.shape(0, 2, 3))
    weight, bias = d.choice((None, None), (1, 1), (1, None), (None, 1))
    weight, bias = (None if v is None else d.array((channels,)) for v in (weight, bias))
    kwargs = {"eps": d.choice(1e-5, 1e-2)}
    statistics = [d.array((channels,)), d.array((channels,), "positive")]
    if name == "batch_norm_training":
        return [d.array(shape), weight, bias], kwargs
    if name == "batch_norm_inference":
        return [d.array(shape), *statistics, weight, bias], kwargs
    return [d.array(shape), d.array(shape), *statistics, weight], kwargs


@generates("layer_norm", "layer_norm_gradient")
def _(d: Draws, name: str) -> Call:
    inner = (*d.shape(0, 1), d.integer(2, 5))
    shape = (*d.shape(0, 2), *inner)
    weight, bias = d.choice((None, None), (1, 1), (1, None))
    weight, bias = (None if v is None else d.array(inner) for v in (weight, bias))
    kwargs: dict[str, Any] = {"normalized_shape": inner, "eps": d.choice(1e-5, 1e-2)}
    if name == "layer_norm_gradient":
        return [d.array(shape), d.array(shape, "distinct"), weight], kwargs
    return [d.array(shape, "distinct"), kwargs.pop("normalized_shape"), weight, bias], kwargs


@generates("attention")
def _(d: Draws) -> Call:
    batch, queries, keys, inside, outside = d.shape(0, 2, 3), d.integer(1, 4), d.integer(1, 4), d.integer(1, 4), d.integer(1, 3)
    q, k, v = d.array((*batch, queries, inside)), d.array((*batch, keys, inside)), d.array((*batch, keys, outside))
    kwargs: dict[str, Any] = {"scale": d.choice(None, 0.4)}
    how = d.choice("plain", "causal", "float", "bool", "dropout")
    if how == "causal":
        kwargs["is_causal"] = True
    elif how == "float":
        kwargs["attn_mask"] = d.array((queries, keys))
    elif how == "bool":
        mask = d.array((queries, keys), "bool")
        mask[:, 0] = True  # a row without any place has no answer
        kwargs["attn_mask"] = mask
    elif how == "dropout":
        kwargs |= {"dropout_mask": d.array((*batch, queries, keys), "bool"), "dropout_p": 0.25}
    return [q, k, v], kwargs


# ------------------------------------------------------------------------------------------------------ losses, optimizers


@generates("squared_error", "absolute_error")
def _(d: Draws, name: str) -> Call:
    shape = d.shape()
    return [d.array(shape), d.array(shape)], {}


@generates("binary_cross_entropy_with_logits")
def _(d: Draws) -> Call:
    shape = (*d.shape(0, 2), d.integer(1, 4))
    return [
        d.array(shape, d.choice("normal", "large")),
        d.choice(d.array(shape, "bool") * 1.0, d.array(shape, "positive") / 3),
        d.choice(None, d.array(shape[-1:], "positive")),
    ], {}


@generates("cross_entropy")
def _(d: Draws) -> Call:
    n, classes, rest = d.integer(1, 4), d.integer(2, 5), d.shape(0, 2, 3)
    logits = d.array((n, classes, *rest), d.choice("normal", "large"))
    weight = d.choice(None, d.array((classes,), "positive"))
    kwargs = {"label_smoothing": d.choice(0.0, 0.2)}
    if d.integer(0, 2) == 0:
        target = d.array((n, classes, *rest), "positive")
        return [logits, target / target.sum(1, keepdims=True), weight], kwargs
    target = d.indices((n, *rest), classes)
    ignore = d.choice(-100, 1)
    if ignore == -100 and d.flag():
        target.flat[0] = -100
    return [logits, target, weight], {**kwargs, "ignore_index": ignore}


@generates("sgd_update")
def _(d: Draws) -> Call:
    shape = d.shape(0, 3)
    kwargs = {"weight_decay": d.choice(0.0, 0.1), "maximize": d.flag()}
    args = [d.array(shape), d.array(shape), d.array((), "positive") / 10]
    if d.flag():
        return args, kwargs
    return [*args, d.array((), "positive") / 3, d.array(shape)], {**kwargs, "momentum": d.choice(0.9, 0.5), "nesterov": d.flag()}


@generates("adam_update")
def _(d: Draws) -> Call:
    shape = d.shape(0, 3)
    numbers = [d.array((), "positive") / 10 for _ in range(3)]
    largest = [d.array(shape, "positive")] if d.flag() else []
    options = {"beta1": d.choice(0.9, 0.5), "beta2": d.choice(0.999, 0.9), "eps": d.choice(1e-8, 0.1), "weight_decay": d.choice(0.0, 0.1)}
    return [d.array(shape), d.array(shape), d.array(shape), d.array(shape, "positive"), *numbers, *largest], {
        **options,
        "decoupled": d.flag(),
        "maximize": d.flag(),
    }

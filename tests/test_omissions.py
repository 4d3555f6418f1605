"""Nothing of PyTorch's public lists or of the Array API standard's is missing without a reason, and asking for what is left out gives it."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import pytest

import unimodel as um
from unimodel.omissions import OMITTED, OmittedError

MODULES: dict[str, Any] = {
    "um.nn": um.nn,
    "um.optim": um.optim,
    "um.ops": um.ops,
    "um.nn.functional": um.nn.functional,
    "um.nn.utils": um.nn.utils,
    "um.nn.utils.rnn": um.nn.utils.rnn,
}

ARRAY_API = [
    "e", "inf", "nan", "newaxis", "pi", "arange", "asarray", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like", "linspace", "meshgrid",
    "ones", "ones_like", "tril", "triu", "zeros", "zeros_like", "astype", "broadcast_arrays", "broadcast_to", "can_cast", "finfo", "iinfo", "isdtype",
    "result_type", "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and", "bitwise_left_shift", "bitwise_invert",
    "bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil", "clip", "conj", "copysign", "cos", "cosh", "divide", "equal", "exp", "expm1", "floor",
    "floor_divide", "greater", "greater_equal", "hypot", "imag", "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log1p", "log2", "log10",
    "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "multiply", "negative", "nextafter", "not_equal",
    "positive", "pow", "real", "reciprocal", "remainder", "round", "sign", "signbit", "sin", "sinh", "square", "sqrt", "subtract", "tan", "tanh",
    "trunc", "take", "take_along_axis", "matmul", "matrix_transpose", "tensordot", "vecdot", "concat", "expand_dims", "flip", "moveaxis",
    "permute_dims", "repeat", "reshape", "roll", "squeeze", "stack", "tile", "unstack", "argmax", "argmin", "count_nonzero", "nonzero",
    "searchsorted", "where", "unique_all", "unique_counts", "unique_inverse", "unique_values", "isin", "argsort", "sort", "cumulative_sum",
    "cumulative_prod", "max", "mean", "min", "prod", "std", "sum", "var", "diff", "all", "any", "cholesky", "cross", "det", "diagonal", "eig",
    "eigvals", "eigh", "eigvalsh", "inv", "matrix_norm", "matrix_power", "matrix_rank", "outer", "pinv", "qr", "slogdet", "solve", "svd", "svdvals",
    "trace", "vector_norm", "fft", "ifft", "fftn", "ifftn", "rfft", "irfft", "rfftn", "irfftn", "hfft", "ihfft", "fftfreq", "rfftfreq", "fftshift",
    "ifftshift",
]  # fmt: skip  # a list reads better in rows
"""Constants and functions of the standard, extensions included (https://data-apis.org/array-api/latest/)."""


def public(module: ModuleType, kind: Any = callable) -> list[str]:
    return sorted(
        n for n, o in vars(module).items() if not n.startswith("_") and kind(o) and not isinstance(o, ModuleType) and getattr(o, "__module__", "") != "typing"
    )


def unsaid(names: list[str], room: str, *others: Any) -> list[str]:
    return [n for n in names if n not in OMITTED[room] and not any(hasattr(m, n) for m in (MODULES[room], *others))]


def test_the_array_api() -> None:
    assert unsaid(ARRAY_API, "um.ops") == []


@pytest.mark.torch_oracle
def test_pytorchs_lists() -> None:
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    layers = [n for n in public(torch.nn, inspect.isclass) if issubclass(getattr(torch.nn, n), torch.nn.Module)]
    assert unsaid(layers, "um.nn", um.losses) == []
    assert unsaid([n for n in public(torch.nn.functional) if not inspect.isclass(getattr(torch.nn.functional, n))], "um.nn.functional") == []
    assert unsaid([n for n in public(torch.optim, inspect.isclass) if n != "Optimizer"], "um.optim") == []
    schedules = [
        n for n, o in vars(torch.optim.lr_scheduler).items() if inspect.isclass(o) and issubclass(o, torch.optim.lr_scheduler.LRScheduler) and n[0] != "_"
    ]
    assert [n for n in schedules if not hasattr(um.optim.lr_scheduler, n)] == []
    initializers = [
        n for n in public(torch.nn.init) if not inspect.isclass(getattr(torch.nn.init, n)) and getattr(torch.nn.init, n).__module__ == "torch.nn.init"
    ]
    assert [n for n in initializers if not hasattr(um.init, n)] == []
    assert unsaid([n for n in public(torch.nn.utils) if n.islower()], "um.nn.utils") == []
    functions = [n for n in public(torch.nn.utils.rnn) if getattr(getattr(torch.nn.utils.rnn, n), "__module__", "") == "torch.nn.utils.rnn"]
    assert unsaid([n for n in functions if n not in ("PackedSequence_", "bind")], "um.nn.utils.rnn") == []


@pytest.mark.parametrize("room", OMITTED)
def test_what_is_left_out_is_not_there_and_says_why(room: str) -> None:
    for name, reason in OMITTED[room].items():
        assert not hasattr(MODULES[room], name), f"{room}.{name} is there and is said to be left out"
        with pytest.raises(OmittedError) as caught:
            getattr(MODULES[room], name)
        assert reason in str(caught.value) and caught.value.source is not None and caught.value.source.file == __file__
    with pytest.raises(AttributeError, match="has no attribute 'nothing_like_it'"):
        getattr(MODULES[room], "nothing_like_it")  # noqa: B009  the name is what is asked for

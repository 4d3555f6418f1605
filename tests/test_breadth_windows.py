"""Convolutions, transposed ones, pools and paddings of one to three dimensions equal PyTorch's: results and gradients, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import unimodel as um
from unimodel.errors import ShapeError

torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
from torch_oracle import agree  # noqa: E402  needs torch

pytestmark = [pytest.mark.torch_oracle, pytest.mark.filterwarnings("ignore::UserWarning")]

seeds = st.integers(0, 2**32 - 1)
ranks = st.sampled_from([1, 2, 3])
flags = st.booleans()


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def numbers(data: st.DataObject, rank: int, low: int, high: int) -> Any:
    """A number, or one per dimension."""
    one = st.integers(low, high)
    return data.draw(st.one_of(one, st.tuples(*[one] * rank)))


def each(value: Any, rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else value


def both(name: str, rank: int, *args: Any, **kwargs: Any) -> tuple[um.Model, Any]:
    return getattr(um.nn, f"{name}{rank}d")(*args, **kwargs), getattr(torch.nn, f"{name}{rank}d")(*args, **kwargs)


@given(seeds, ranks, flags, st.data())
def test_conv(seed: int, rank: int, batch: bool, data: st.DataObject) -> None:
    size = [data.draw(st.integers(3, 7 if rank < 3 else 4)) for _ in range(rank)]
    groups = data.draw(st.integers(1, 2))
    kernel, dilation = numbers(data, rank, 1, 3), numbers(data, rank, 1, 2)
    padding = data.draw(st.sampled_from(["same", "valid"])) if data.draw(flags) else numbers(data, rank, 0, 2)
    stride = 1 if padding == "same" else numbers(data, rank, 1, 3)
    mode = data.draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"]))
    reach = [d * (k - 1) + 1 for k, d in zip(each(kernel, rank), each(dilation, rank), strict=True)]
    extra = [0] * rank if padding == "valid" else reach if padding == "same" else [2 * p for p in each(padding, rank)]
    assume(all(n + e >= r for n, e, r in zip(size, extra, reach, strict=True)))
    if padding == "same":
        assume(mode == "zeros" or all(n > r // 2 + 1 for n, r in zip(size, reach, strict=True)))
    arguments = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "bias": data.draw(flags), "padding_mode": mode}
    agree(*both("Conv", rank, 2 * groups, 3 * groups, kernel, **arguments), [normal(seed, *([2] if batch else []), 2 * groups, *size)])


@given(seeds, ranks, flags, st.data())
def test_conv_transpose(seed: int, rank: int, batch: bool, data: st.DataObject) -> None:
    size = [data.draw(st.integers(1, 5 if rank < 3 else 3)) for _ in range(rank)]
    groups = data.draw(st.integers(1, 2))
    kernel, stride, dilation, padding, extra = (numbers(data, rank, low, high) for low, high in ((1, 3), (1, 3), (1, 3), (0, 2), (0, 2)))
    values = [each(v, rank) for v in (kernel, stride, dilation, padding, extra)]
    assume(all(e < max(s, d) for _, s, d, _, e in zip(*values, strict=True)))
    assume(all((n - 1) * s - 2 * p + d * (k - 1) + 1 + e > 0 for n, k, s, d, p, e in zip(size, *values, strict=True)))
    arguments = {"stride": stride, "padding": padding, "output_padding": extra, "groups": groups, "bias": data.draw(flags), "dilation": dilation}
    agree(*both("ConvTranspose", rank, 2 * groups, 3 * groups, kernel, **arguments), [normal(seed, *([2] if batch else []), 2 * groups, *size)])


def test_conv_transpose_to_a_given_size() -> None:
    class Sized:
        def forward(self, x: Any) -> Any:
            return self.layer(x, output_size=(2, 3, 10, 9))  # type: ignore[attr-defined]  # set below

    class Ours(Sized, um.Model):
        def __init__(self) -> None:
            self.layer = um.nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)

    class Theirs(Sized, torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)

    agree(Ours(), Theirs(), [normal(0, 2, 2, 5, 5)])


@given(seeds, ranks, flags, st.data())
def test_max_pool(seed: int, rank: int, batch: bool, data: st.DataObject) -> None:
    size = [data.draw(st.integers(4, 8 if rank < 3 else 5)) for _ in range(rank)]
    kernel, padding, dilation = numbers(data, rank, 1, 3), numbers(data, rank, 0, 1), numbers(data, rank, 1, 2)
    stride = None if data.draw(flags) else numbers(data, rank, 1, 3)
    values = [each(v, rank) for v in (kernel, padding, dilation)]
    assume(all(p <= k // 2 and n + 2 * p >= d * (k - 1) + 1 for n, k, p, d in zip(size, *values, strict=True)))
    arguments = {"stride": stride, "padding": padding, "dilation": dilation, "return_indices": data.draw(flags), "ceil_mode": data.draw(flags)}
    agree(*both("MaxPool", rank, kernel, **arguments), [normal(seed, *([2] if batch else []), 2, *size)])


@given(seeds, ranks, flags, st.data())
def test_avg_pool(seed: int, rank: int, batch: bool, data: st.DataObject) -> None:
    size = [data.draw(st.integers(4, 8 if rank < 3 else 5)) for _ in range(rank)]
    kernel, padding = numbers(data, rank, 1, 3), numbers(data, rank, 0, 1)
    stride = None if data.draw(flags) else numbers(data, rank, 1, 3)
    assume(all(p <= k // 2 and n + 2 * p >= k for n, k, p in zip(size, each(kernel, rank), each(padding, rank), strict=True)))
    arguments = {"stride": stride, "padding": padding, "ceil_mode": data.draw(flags), "count_include_pad": data.draw(flags)}
    if rank > 1:
        arguments["divisor_override"] = data.draw(st.none() | st.integers(1, 7))
    agree(*both("AvgPool", rank, kernel, **arguments), [normal(seed, *([2] if batch else []), 2, *size)])


@given(seeds, ranks, st.sampled_from([1.0, 2.0, 3.0]), st.data())
def test_lp_pool(seed: int, rank: int, norm: float, data: st.DataObject) -> None:
    size = [data.draw(st.integers(3, 6 if rank < 3 else 4)) for _ in range(rank)]
    kernel = data.draw(st.integers(1, 3)) if rank == 1 else numbers(data, rank, 1, 3)
    stride = None if data.draw(flags) else numbers(data, rank, 1, 3)
    agree(*both("LPPool", rank, norm, kernel, stride=stride, ceil_mode=data.draw(flags)), [np.abs(normal(seed, 2, 2, *size)) + 0.1])


@given(seeds, ranks, flags, st.data())
def test_max_unpool(seed: int, rank: int, batch: bool, data: st.DataObject) -> None:
    kernel = data.draw(st.integers(1, 3))
    stride = data.draw(st.integers(kernel, 3))  # windows that do not overlap: elsewhere PyTorch's result is not defined
    size = [data.draw(st.integers(kernel, 7 if rank < 3 else 4)) for _ in range(rank)]
    x = torch.tensor(normal(seed, *([2] if batch else []), 2, *size))
    values, indices = getattr(torch.nn, f"MaxPool{rank}d")(kernel, stride, return_indices=True)(x)

    class Ours(um.Model):
        def __init__(self) -> None:
            self.layer = getattr(um.nn, f"MaxUnpool{rank}d")(kernel, stride)

        def forward(self, x: Any, indices: Any) -> Any:
            return self.layer(x, indices, output_size=tuple(size))

    class Theirs(torch.nn.Module):
        def forward(self, x: Any, indices: Any) -> Any:
            return getattr(torch.nn, f"MaxUnpool{rank}d")(kernel, stride)(x, indices, output_size=tuple(size))

    agree(Ours(), Theirs(), [values.numpy(), indices.numpy()])


@pytest.mark.parametrize("kind", ["Avg", "Max", "MaxWithIndices"])
@given(seeds, ranks, flags, st.data())
def test_adaptive_pools(kind: str, seed: int, rank: int, batch: bool, data: st.DataObject) -> None:
    size = [data.draw(st.integers(1, 8 if rank < 3 else 4)) for _ in range(rank)]
    wanted = data.draw(st.one_of(st.integers(1, 5), st.tuples(*[st.integers(1, 5) if rank == 1 else st.integers(1, 5) | st.none()] * rank)))
    arguments = {"return_indices": True} if kind == "MaxWithIndices" else {}
    layers = both(f"Adaptive{kind[:3]}Pool", rank, wanted, **arguments)
    agree(*layers, [normal(seed, *([2] if batch else []), 2, *size)])


@pytest.mark.parametrize("kind", ["ConstantPad", "ZeroPad", "ReflectionPad", "ReplicationPad", "CircularPad"])
@given(seeds, ranks, flags, st.data())
def test_paddings(kind: str, seed: int, rank: int, batch: bool, data: st.DataObject) -> None:
    size = [data.draw(st.integers(3, 5)) for _ in range(rank)]
    one = st.integers(0, 2)
    padding = data.draw(st.one_of(one, st.tuples(*[one] * (2 * rank))))
    arguments = {"value": 1.5} if kind == "ConstantPad" else {}
    agree(*both(kind, rank, padding, **arguments), [normal(seed, *([2] if batch else []), 2, *size)])


REFUSED: list[Callable[[], Any]] = [
    lambda: um.nn.Conv1d(2, 3, 0),
    lambda: um.nn.Conv3d(2, 3, 3, groups=2),
    lambda: um.nn.Conv1d(2, 2, 3, padding=-1),
    lambda: um.nn.Conv1d(2, 2, 3, padding_mode="mirror"),
    lambda: um.nn.Conv1d(2, 2, 3, stride=2, padding="same"),
    lambda: um.nn.Conv2d(2, 2, (3, 3, 3)),
    lambda: um.nn.ConvTranspose1d(2, 2, 3, output_padding=1),
    lambda: um.nn.ConvTranspose2d(2, 2, 3, padding_mode="reflect"),
    lambda: um.nn.ConvTranspose2d(2, 4, 3, groups=3),
    lambda: um.nn.MaxPool1d(2, padding=2),
    lambda: um.nn.AvgPool3d(2, stride=0),
    lambda: um.nn.AvgPool2d(2, divisor_override=0),
    lambda: um.nn.LPPool1d(-1.0, 2),
    lambda: um.nn.AdaptiveAvgPool2d((2, 0)),
    lambda: um.nn.AdaptiveMaxPool2d((2, 2, 2)),
    lambda: um.nn.ZeroPad2d(-1),
    lambda: um.nn.ReflectionPad1d((1, 2, 3)),
    lambda: um.nn.ReflectionPad1d(3)(np.ones((1, 2, 3))),
    lambda: um.nn.CircularPad1d(4)(np.ones((1, 2, 3))),
    lambda: um.nn.ZeroPad2d(1)(np.ones((2, 3))),
    lambda: um.nn.ConvTranspose1d(2, 3, 3)(np.ones((1, 3, 4))),
    lambda: um.nn.ConvTranspose1d(2, 3, 1, padding=2)(np.ones((1, 2, 3))),
    lambda: um.nn.ConvTranspose1d(2, 3, 3, stride=2)(np.ones((1, 2, 3)), output_size=(12,)),
    lambda: um.nn.MaxUnpool1d(2)(np.ones((1, 2, 3)), np.zeros((1, 2, 3), "int64"), output_size=(12,)),
]


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_bad_arguments_are_refused_at_the_users_line(index: int) -> None:
    with pytest.raises(ShapeError) as caught:
        REFUSED[index]()
    assert caught.value.source is not None and caught.value.source.file == __file__

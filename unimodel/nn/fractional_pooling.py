"""Max-pooling over windows at random places, so that sizes shrink by any fraction."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.errors import ShapeError
from unimodel.model import Model
from unimodel.nn.arguments import tuple_of
from unimodel.nn.batch import batched
from unimodel.ops.rules import known


class _FractionalMaxPool(Model):
    """The largest of each of ``output_size`` windows per dimension, whose places are drawn anew for each sample and channel at each step (Graham 2014).

    ``output_ratio`` gives the output as a share of the input instead. The windows overlap and cover the input. ``_random_samples`` (N, C, rank), in [0, 1), sets what is
    drawn else: on every backend the same numbers, from the trainer's seed. It draws in eval mode too, as PyTorch's. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.FractionalMaxPool2d.html
    """

    rank = 0

    def __init__(self, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False, _random_samples: Any = None) -> None:
        self.kernel_size = tuple_of(kernel_size, self.rank, "kernel_size", 1)
        if (output_size is None) == (output_ratio is None):
            raise ShapeError(
                "the size of the output is given once.",
                expected="either output_size or output_ratio",
                given=f"output_size={output_size}, output_ratio={output_ratio}",
            )
        self.output_size = None if output_size is None else tuple_of(output_size, self.rank, "output_size", 1)
        ratio = (output_ratio,) * self.rank if isinstance(output_ratio, (int, float)) else output_ratio
        self.output_ratio = None if ratio is None else tuple(ratio)
        if self.output_ratio is not None and (len(self.output_ratio) != self.rank or any(not 0 < r < 1 for r in self.output_ratio)):
            raise ShapeError("output_ratio is a share of each dimension.", expected=f"a number, or {self.rank} of them, in (0, 1)", given=repr(output_ratio))
        self.return_indices = return_indices
        self._random_samples = _random_samples

    def forward(self, input: Any) -> Any:
        if input.ndim not in (self.rank + 1, self.rank + 2):
            expected = f"(N, C, *spatial) of {self.rank + 2} dimensions, or (C, *spatial)"
            raise ShapeError(f"{type(self).__name__} got another rank.", expected=expected, given=f"{input.dtype} {input.shape}")
        return batched(self._pooled, input, self.rank + 1)

    def _pooled(self, x: Any) -> Any:
        spatial = [known(s) for s in x.shape[2:]]
        outs = self.output_size or [int(s * r) for s, r in zip(spatial, self.output_ratio or (), strict=True)]
        if any(o < 1 or o + k - 1 > s for o, k, s in zip(outs, self.kernel_size, spatial, strict=True)):
            raise ShapeError(
                "the windows do not fit into the input.",
                expected="output_size + kernel_size - 1 of at most the input's size, in each dimension",
                given=f"output {tuple(outs)}, kernel {self.kernel_size}, input {tuple(spatial)}",
                remedy="make the output or the kernel smaller",
            )
        samples = ops.random.uniform((x.shape[0], x.shape[1], self.rank), dtype=x.dtype) if self._random_samples is None else self._random_samples
        lead = (x.shape[0], x.shape[1])
        flat: Any = ops.zeros((*lead, 1), dtype="int64")  # each window element's place in the flattened plane, built up dimension by dimension
        places: list[int] = []
        for axis, (size, out, kernel) in enumerate(zip(spatial, outs, self.kernel_size, strict=True)):
            # PyTorch draws the last dimension's number first
            starts = _starts(ops.expand_dims(samples[..., self.rank - 1 - axis if self.rank == 2 else axis], 2), size, out, kernel)
            along = ops.reshape(ops.expand_dims(starts, 3) + ops.arange(kernel), (*lead, 1, out * kernel))
            flat = ops.reshape(ops.expand_dims(flat, 3) * size + along, (*lead, -1))
            places += [out, kernel]
        rank = self.rank
        order = (0, 1, *(2 + 2 * i for i in range(rank)), *(3 + 2 * i for i in range(rank)))
        flat = ops.reshape(ops.permute_dims(ops.reshape(flat, (*lead, *places)), order), (*lead, *outs, -1))
        windows = ops.reshape(ops.take_along_axis(ops.reshape(x, (*lead, -1)), ops.reshape(flat, (*lead, -1)), axis=2), flat.shape)
        which = ops.expand_dims(ops.argmax(windows, axis=-1), windows.ndim - 1)
        values = ops.squeeze(ops.take_along_axis(windows, which, axis=-1), -1)
        return (values, ops.squeeze(ops.take_along_axis(flat, which, axis=-1), -1)) if self.return_indices else values

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, output_size={self.output_size}, output_ratio={self.output_ratio}"


def _starts(sample: Any, size: int, out: int, kernel: int) -> Any:
    """Where the windows of one dimension begin: (N, C, 1) numbers give (N, C, out) integers, the last window at the end (PyTorch's sequence)."""
    last = ops.zeros(sample.shape, dtype="int64") + (size - kernel)
    if out == 1:
        return last
    alpha = (size - kernel) / (out - 1)
    steps = ops.astype(ops.arange(out - 1), sample.dtype)
    before = ops.floor((steps + sample) * alpha) - ops.floor(sample * alpha)
    return ops.concat([ops.astype(before, "int64"), last], axis=2)


class FractionalMaxPool2d(_FractionalMaxPool):
    __doc__ = _FractionalMaxPool.__doc__
    rank = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    __doc__ = _FractionalMaxPool.__doc__
    rank = 3

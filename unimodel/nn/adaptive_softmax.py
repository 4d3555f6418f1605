"""A softmax over many classes in clusters, rare ones with fewer features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from unimodel import ops
from unimodel.errors import ShapeError
from unimodel.model import Model
from unimodel.nn.arguments import positive
from unimodel.nn.container import ModuleList, Sequential
from unimodel.nn.linear import Linear
from unimodel.ops.rules import need_integer, shapes_agree, sizes_agree
from unimodel.tracing import Tensor


class Result(NamedTuple):
    """The log-probability of each sample's target, and the mean of their negatives."""

    output: Any
    loss: Any


class AdaptiveLogSoftmaxWithLoss(Model):
    """Classes in order of their frequency, those below ``cutoffs[0]`` in the head, the rest in clusters that the head chooses among (Grave et al. 2017).

    Cluster i has ``in_features / div_value ** (i + 1)`` features. The layer takes (N, in_features) and targets (N,) and returns ``(output, loss)``; or one sample. Keys
    are PyTorch's. Every cluster is computed for every sample: which samples need which would be a shape that depends on values, so this saves weights, not time, and a cluster
    without samples has the gradient 0 where PyTorch has none. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.AdaptiveLogSoftmaxWithLoss.html
    """

    def __init__(self, in_features: int, n_classes: int, cutoffs: Sequence[int], div_value: float = 4.0, head_bias: bool = False) -> None:
        positive(in_features=in_features, n_classes=n_classes)
        cutoffs = list(cutoffs)
        if not cutoffs or any(not hasattr(c, "__index__") for c in cutoffs) or sorted({0, *cutoffs, n_classes}) != [0, *cutoffs, n_classes]:
            raise ShapeError(
                "cutoffs divide the classes.",
                expected=f"rising integers above 0 and below n_classes={n_classes}",
                given=repr(cutoffs),
                remedy="leave out 0 and n_classes, and sort them",
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head = Linear(in_features, cutoffs[0] + len(cutoffs), bias=head_bias)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(self._clusters()):
            features = int(in_features // div_value ** (i + 1))
            if features < 1:
                raise ShapeError(
                    f"cluster {i} has no features left.",
                    expected="in_features of at least div_value ** (number of cutoffs)",
                    given=f"in_features={in_features}",
                )
            self.tail.append(Sequential(Linear(in_features, features, bias=False), Linear(features, high - low, bias=False)))

    def _clusters(self) -> list[tuple[int, int]]:
        return list(zip(self.cutoffs, self.cutoffs[1:], strict=False))

    def forward(self, input: Any, target: Any) -> Result:
        need_integer(target.spec, "class indices")
        if not shapes_agree(tuple(input.shape[:-1]), tuple(target.shape)) or input.ndim not in (1, 2):
            raise ShapeError(
                "targets are one class for each sample.", expected="input (N, in_features), target (N,)", given=f"{input.shape} and {target.shape}"
            )
        single = input.ndim == 1
        if single:
            input, target = ops.expand_dims(input, 0), ops.expand_dims(target, 0)
        rows = ops.take(ops.arange(self.n_classes), target)  # itself; but so the range of targets is looked at on the host
        output = ops.squeeze(ops.take_along_axis(self.log_prob(input), ops.expand_dims(rows, 1), axis=1), 1)
        loss = -ops.mean(output)
        return Result(ops.squeeze(output, 0) if single else output, loss)

    def log_prob(self, input: Any) -> Tensor:
        """The log-probability of every class: (N, n_classes)."""
        if not sizes_agree(input.shape[-1], self.in_features):
            raise ShapeError("in_features is not the input's last size.", expected=f"(..., {self.in_features})", given=f"{input.dtype} {input.shape}")
        head = ops.log_softmax(self.head(input), dim=-1)
        first = self.cutoffs[0]
        parts = [head[..., :first]]
        for i, part in enumerate(self.tail):
            parts.append(ops.log_softmax(part(input), dim=-1) + head[..., first + i : first + i + 1])
        return ops.concat(parts, axis=-1)

    def predict(self, input: Any) -> Tensor:
        """The most likely class of each sample."""
        return ops.argmax(self.log_prob(input), axis=-1)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.n_classes}, cutoffs={self.cutoffs[:-1]}"

"""Layers that drop. The masks are core's, the same on every backend."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.errors import ShapeError
from unimodel.model import Model
from unimodel.nn.arguments import probability


class Dropout(Model):
    """In train mode zeroes each element with probability ``p`` and scales the rest by 1 / (1 - p) (Srivastava et al. 2014); nothing in eval mode.

    The masks are core's, the same on every backend. Source: https://pytorch.org/docs/stable/generated/torch.nn.Dropout.html
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        probability("p", p)
        self.p = p

    def forward(self, input: Any) -> Any:
        return ops.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class _ChannelDropout(Dropout):
    """In train mode zeroes whole channels of (N, C, *spatial), or of one sample without N, with probability ``p`` and scales the rest by 1 / (1 - p).
    Source: https://pytorch.org/docs/stable/generated/torch.nn.Dropout2d.html
    """

    ranks: tuple[int, ...] = ()
    """How many dimensions a batch may have; one less is a single sample."""

    def forward(self, input: Any) -> Any:
        if input.ndim not in (*self.ranks, min(self.ranks) - 1):
            raise ShapeError(f"{type(self).__name__} got another rank.", expected=f"(N, C, *spatial) of {max(self.ranks)} dimensions", given=input.shape)
        return ops.feature_dropout(input, self.p, self.training, lead=2 if input.ndim in self.ranks else 1)


class Dropout1d(_ChannelDropout):
    __doc__ = _ChannelDropout.__doc__
    ranks = (3,)


class Dropout2d(_ChannelDropout):
    __doc__ = _ChannelDropout.__doc__
    ranks = (3, 4)  # as in PyTorch, three dimensions are a batch of (N, C, L)


class Dropout3d(_ChannelDropout):
    __doc__ = _ChannelDropout.__doc__
    ranks = (5,)


class AlphaDropout(Dropout):
    """In train mode puts each element, with probability ``p``, to SELU's limit, and shifts and scales all so that mean and variance stay (Klambauer et al. 2017).
    Source: https://pytorch.org/docs/stable/generated/torch.nn.AlphaDropout.html
    """

    def forward(self, input: Any) -> Any:
        return ops.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(Dropout):
    """Alpha dropout of whole channels of (N, C, *). Source: https://pytorch.org/docs/stable/generated/torch.nn.FeatureAlphaDropout.html"""

    def forward(self, input: Any) -> Any:
        return ops.alpha_dropout(input, self.p, self.training, lead=2)

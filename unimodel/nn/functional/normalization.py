"""Norms that keep running statistics: the definition of ``um.nn``'s batch and instance norms. Other norms are ops."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.dim import Dim, product
from unimodel.errors import ShapeError
from unimodel.ops.rules import known
from unimodel.tracing import require_at_least


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
    what: str = "batch_norm",
) -> Any:
    """Each channel of (N, C, *) normalised (Ioffe and Szegedy 2015), when ``training`` by the batch's mean and biased variance, else by the running ones.

    When training, the running ones, which are then buffers or None, move towards the batch's mean and unbiased variance by ``momentum``, a number or a tensor.
    Errors speak of ``what``.
    """
    if not training:
        if running_mean is None or running_var is None:
            raise ShapeError(
                "without training there must be statistics.", expected="running_mean and running_var", given="None", remedy="give both, or training=True"
            )
        return ops.batch_norm_inference(input, running_mean, running_var, weight, bias, eps)
    count = product(tuple(s for i, s in enumerate(input.shape) if i != 1))
    require_at_least(
        count,
        2,
        ShapeError(
            f"{what} needs more than one value per channel to train.",
            expected="at least 2 values per channel",
            given=f"{input.dtype} {input.shape}" + (", a batch of 1" if isinstance(count, Dim) else ""),
            remedy="choose a batch_size that leaves no single sample for the last batch, or put the layer in eval() mode",
        ),
    )
    y, mean, variance = ops.batch_norm_training(input, weight, bias, eps)
    if running_mean is not None and running_var is not None:
        number = ops.as_float(count)
        _move(running_mean, mean, momentum)
        _move(running_var, variance * (number / (number - 1.0)), momentum)
    return y


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    what: str = "instance_norm",
) -> Any:
    """Each channel of each sample of (N, C, *) normalised by its own mean and variance (Ulyanov et al. 2016), or by the running ones without ``use_input_stats``.

    The running ones, buffers or None, move towards the mean over samples of means and unbiased variances by ``momentum``. Errors speak of ``what``.
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, eps=eps, what=what)
    if known(product(tuple(input.shape[2:]))) < 2:
        raise ShapeError(f"{what} needs more than one value per channel to train.", given=f"{input.dtype} {input.shape}", remedy="use larger inputs, or eval()")
    if running_mean is not None and running_var is not None:
        axes = tuple(range(2, input.ndim))
        _move(running_mean, ops.mean(ops.mean(input, axis=axes), axis=0), momentum or 0.0)
        _move(running_var, ops.mean(ops.var(input, axis=axes, correction=1.0), axis=0), momentum or 0.0)
    return ops.group_norm(input, known(input.shape[1]), weight, bias, eps)


def _move(running: Any, towards: Any, momentum: Any) -> None:
    if not hasattr(running, "assign"):
        raise ShapeError("running statistics change.", expected="an um.Buffer", given=repr(running), remedy="keep them in um.Buffer, or give None")
    running.assign(running * (1.0 - momentum) + ops.stop_gradient(towards) * momentum)

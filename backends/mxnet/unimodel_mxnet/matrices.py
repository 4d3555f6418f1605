"""Products and factorizations of matrices as MXNet symbols, lowered as ``ops`` says.

Products go to the kernel that is fast for their shapes. MXNet's factorizations are used forwards only: their gradients are missing or silently zero, so core
differentiates the programs that need them (``trainer.CORE_GRADIENT``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from unimodel.dim import Dim
from unimodel_mxnet.model import Call
from unimodel_mxnet.ops import broadcast, legacy, lower, npx, reshape, snp, sym

ONEDNN_WORK = 2**16  # multiplications from which FullyConnected, the one matrix product that goes to oneDNN, is twice as fast as the BLAS


@lower("matmul")
def _(call: Call, a: Any, b: Any) -> Any:
    a_spec, b_spec = call.specs
    assert a_spec is not None and b_spec is not None, "matmul has two inputs"
    a_shape, b_shape = a_spec.shape, b_spec.shape
    if len(a_shape) == 1:
        a, a_shape = reshape(call, a, (1, *a_shape)), (1, *a_shape)
    if len(b_shape) == 1:
        b, b_shape = reshape(call, b, (*b_shape, 1)), (*b_shape, 1)
    result = _product(call, a, b, a_shape, b_shape)
    return result if len(a_spec.shape) > 1 and len(b_spec.shape) > 1 else reshape(call, result, call.out.shape)


def _product(call: Call, a: Any, b: Any, a_shape: Sequence[Any], b_shape: Sequence[Any]) -> Any:
    if len(b_shape) == 2:
        work = [s for s in (*a_shape, b_shape[1]) if not isinstance(s, Dim)]
        swapped = swapped_input(call, 1)
        if len(a_shape) > 2 or (call.out.dtype == "float32" and math.prod(work) >= ONEDNN_WORK):
            # not the legacy transpose, which fails on a reshaped convolution's blocked memory ("could not create … a reorder primitive")
            weight = snp.transpose(b) if swapped is None else swapped
            return legacy(sym.FullyConnected, a, weight, num_hidden=b_shape[1], no_bias=True, flatten=False)
        left = swapped_input(call, 0)
        return legacy(sym.dot, a if left is None else left, b if swapped is None else swapped, transpose_a=left is not None, transpose_b=swapped is not None)
    # MXNet's broadcasting matmul has a wrong gradient, and a crash in six dimensions: broadcast first, then multiply batches
    lead = call.out.shape[:-2] if len(call.specs[0].shape) > 1 and len(call.specs[1].shape) > 1 else np.broadcast_shapes(a_shape[:-2], b_shape[:-2])
    left, right = swapped_input(call, 0), swapped_input(call, 1)
    operands = []
    for x, plain, shape in ((left, a, a_shape), (right, b, b_shape)):
        x, tail = (plain, shape[-2:]) if x is None else (x, (shape[-1], shape[-2]))
        operands.append(reshape(call, broadcast(call, x, (*shape[:-2], *tail), (*lead, *tail)), (-1, *tail)))
    result = npx.batch_dot(*operands, transpose_a=left is not None, transpose_b=right is not None)
    return reshape(call, result, (*lead, a_shape[-2], b_shape[-1]))


def swapped_input(call: Call, index: int) -> Any:
    """The symbol before a transpose of an input's last two dimensions, which a matrix product can do by itself; None where there is none."""
    producer = call.made_by(index, "permute_dims")
    if producer is None:
        return None
    axes = producer.attrs["axes"]
    rank = len(axes)
    return call.build.symbol(producer.inputs[0]) if axes == (*range(rank - 2), rank - 1, rank - 2) else None


def flipped(x: Any) -> Any:
    """Matrices transposed."""
    return snp.swapaxes(x, -2, -1)


def _eigen(x: Any) -> Any:
    vectors, values = legacy(sym.linalg.syevd, x)  # the vectors as rows
    return values, flipped(vectors)


lower.calls(
    cholesky_factor=lambda x: legacy(sym.linalg.potrf, x),
    slogdet=lambda x: tuple(legacy(sym.linalg.slogdet, x)),
    solve_square=snp.linalg.solve,
    eigen_symmetric=_eigen,
    thin_qr=lambda x: tuple(map(flipped, legacy(sym.linalg.gelqf, flipped(x)))),  # MXNet has the transposed factorization
    thin_svd=lambda x: tuple(snp.linalg.svd(x)),
)


@lower("triangular_solve")
def _(call: Call, a: Any, b: Any) -> Any:
    return legacy(sym.linalg.trsm, a, b, lower=not call.attrs["upper"])

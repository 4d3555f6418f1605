"""Products and factorizations of matrices as MXNet symbols, lowered as ``ops`` says.

Products go to the kernel that is fast for their shapes. MXNet's factorizations are used forwards only: their gradients are missing or silently zero, so core
differentiates the programs that need them (``trainer.CORE_DIFFERENTIATES``).
"""

from __future__ import annotations

import math
from typing import Any

from unimodel.dim import Dim
from unimodel_mxnet.model import Call
from unimodel_mxnet.ops import broadcast, legacy, lower, npx, reshape, snp, sym

ONEDNN_WORK = 2**16  # multiplications from which FullyConnected, the one matrix product that goes to oneDNN, is twice as fast as the BLAS


@lower("matmul")
def _(call: Call, a: Any, b: Any) -> Any:
    """Of matrices and stacks of them: of vectors, core makes matrices."""
    (a_shape, b_shape), lead = (s.shape for s in call.specs), call.out.shape[:-2]
    left, right = swapped_input(call, 0), swapped_input(call, 1)
    if len(b_shape) == 2:
        work = [s for s in (*a_shape, b_shape[1]) if not isinstance(s, Dim)]
        if lead or (call.out.dtype == "float32" and math.prod(work) >= ONEDNN_WORK):
            # not the legacy transpose, which fails on a reshaped convolution's blocked memory ("could not create … a reorder primitive")
            weight = snp.transpose(b) if right is None else right
            return legacy(sym.FullyConnected, a, weight, num_hidden=b_shape[1], no_bias=True, flatten=False)
        return legacy(sym.dot, a if left is None else left, b if right is None else right, transpose_a=left is not None, transpose_b=right is not None)
    # MXNet's broadcasting matmul has a wrong gradient, and a crash in six dimensions: broadcast first, then multiply batches
    operands = []
    for x, plain, shape in ((left, a, a_shape), (right, b, b_shape)):
        x, tail = (plain, shape[-2:]) if x is None else (x, (shape[-1], shape[-2]))
        operands.append(reshape(call, broadcast(call, x, (*shape[:-2], *tail), (*lead, *tail)), (-1, *tail)))
    return reshape(call, npx.batch_dot(*operands, transpose_a=left is not None, transpose_b=right is not None), call.out.shape)


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

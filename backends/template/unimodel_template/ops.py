"""The table: what each primitive is called in the array library beneath.

A lowering gets the node, whose ``attrs`` are the op's attributes as plain numbers and tuples, and the native inputs. Ops made of other ops (composites) need
no line here: core takes them apart. These ten primitives train a linear regression; `unimodel new-backend template --todo` lists the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np  # the array library beneath: put yours in its place

from unimodel.backend import Lowerings, literal

lower = Lowerings()

# where the native function takes the op's inputs and nothing else
lower.calls(add=np.add, subtract=np.subtract, multiply=np.multiply, true_divide=np.true_divide, matmul=np.matmul)


@lower("constant")
def _(node: Any) -> Any:
    return literal(node)  # a NumPy array of the constant's dtype; convert it as plugin.py's from_numpy does


@lower("extent")
def _(node: Any) -> Any:
    return np.asarray(node.attrs["dim"], node.attrs["dtype"])  # the batch size as a 0-d array


@lower("broadcast_to")
def _(node: Any, x: Any) -> Any:
    return np.broadcast_to(x, node.attrs["shape"])


@lower("permute_dims")
def _(node: Any, x: Any) -> Any:
    return np.transpose(x, node.attrs["axes"])


@lower("sum")
def _(node: Any, x: Any) -> Any:
    return np.sum(x, axis=node.attrs["axis"], keepdims=node.attrs["keepdims"], dtype=node.outputs[0].spec.dtype)

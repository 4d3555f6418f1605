"""Public weights into a model: the file's names made the model's."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Union

from unimodel.model import Model
from unimodel.state_dict import IncompatibleKeys, arrays_of

File = Union[str, "os.PathLike[str]"]


def load_weights(model: Model, weights: File | Sequence[File] | Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
    """Load a safetensors file, the several files of one model, or a state dict of arrays or tensors, into a model.

    Published files name some things otherwise than the implementation they are for: without the prefix of the whole model, by the names of an older version, with
    constants that are no weights. Where a model knows such names they are its ``renamed_keys``, pairs of a regular expression and what stands in its place
    (nothing at all: the entry is left out). Raises ``CheckpointError`` and returns what ``load_state_dict`` does; but with ``strict=False`` entries of another
    shape, such as a last layer for other classes, are left out too, and their names are among the missing ones.

    >>> import unimodel as um
    >>> net = um.models.MLP(4, [8, 3])
    >>> load_weights(net, um.models.MLP(4, [8, 3]).state_dict())
    IncompatibleKeys(missing_keys=[], unexpected_keys=[])
    """
    parts = weights if isinstance(weights, Sequence) and not isinstance(weights, str) else [weights]
    renamed = {}
    for name, value in (item for part in parts for item in arrays_of(part).items()):
        for pattern, replacement in getattr(model, "renamed_keys", ()):
            name = re.sub(pattern, replacement, name)
            if not name:
                break
        else:
            renamed[name] = value
    if not strict:
        shapes = {name: state.shape for name, state in model._states().items()}
        renamed = {name: value for name, value in renamed.items() if value.shape == shapes.get(name, value.shape)}
    return model.load_state_dict(renamed, strict)

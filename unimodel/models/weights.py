"""Public weights into a model: the file's names made the model's."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from unimodel.model import Model
from unimodel.state_dict import arrays_of


def load_weights(model: Model, weights: str | os.PathLike[str] | Mapping[str, Any], strict: bool = True) -> None:
    """Load a safetensors file, or a state dict of arrays or tensors, into a model.

    Published files name some things otherwise than the implementation they are for: without the prefix of the whole model, by the names of an older version, with
    constants that are no weights. Where a model knows such names they are its ``renamed_keys``, pairs of a regular expression and what stands in its place
    (nothing at all: the entry is left out). Raises ``CheckpointError`` as ``load_state_dict`` does.
    """
    renamed = {}
    for name, value in arrays_of(weights).items():
        for pattern, replacement in getattr(model, "renamed_keys", ()):
            name = re.sub(pattern, replacement, name)
        if name:
            renamed[name] = value
    model.load_state_dict(renamed, strict)

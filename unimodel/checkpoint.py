"""Checkpoints: one file that is itself a valid safetensors file.

The tensors are stored under their names; counters, schedule and seed stand as JSON in the metadata, with the format's version. Loading
executes nothing. Writing goes to a file beside the target that takes its place only when complete, so that an interrupted run leaves the
old checkpoint whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unimodel.errors import CheckpointError
from unimodel.graph import Array

FORMAT = 1


def write(path: str | os.PathLike[str], tensors: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
    """Write atomically."""
    import tempfile  # here, as in read(), what only checkpoints need: `import unimodel` is to stay quick

    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    target = Path(path)
    if not target.parent.is_dir():
        raise CheckpointError("the folder for the checkpoint does not exist.", given=str(target.parent), remedy="create it first")
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            contiguous = {k: np.ascontiguousarray(v).reshape(v.shape) for k, v in tensors.items()}
            save_file(contiguous, temporary, {"unimodel": json.dumps({"format": FORMAT, **meta})})  # from the arrays' own memory
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except SafetensorError as error:
        Path(temporary).unlink(missing_ok=True)
        raise CheckpointError("the checkpoint could not be written.", given=str(error), remedy="make room on the disk, or choose another folder") from error
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """The tensors and the metadata of a checkpoint."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise CheckpointError("there is no such file.", given=str(path), remedy="check the path, and that the run got as far as trainer.save")
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  the file is no mapping
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            "this file is no checkpoint, or is damaged.",
            expected="a file written by trainer.save",
            given=f"{path}: {error}",
            remedy="check the path; if a copy was cut short, copy it again",
        ) from error
    if "unimodel" not in header:
        raise CheckpointError(
            "this safetensors file is no checkpoint of a trainer.",
            expected="a file written by trainer.save",
            given=str(path),
            remedy="weights alone go into a model with net.load_state_dict(path)",
        )
    try:
        meta = json.loads(header["unimodel"])
    except ValueError as error:
        raise CheckpointError("the checkpoint's metadata is damaged.", given=str(path)) from error
    if not isinstance(meta, dict) or "format" not in meta:
        raise CheckpointError("the checkpoint's metadata is damaged.", expected="a JSON object with a format", given=str(path))
    if meta["format"] != FORMAT:
        raise CheckpointError(
            "the checkpoint is of another format.", expected=f"format {FORMAT}", given=f"format {meta.get('format')}", remedy="upgrade unimodel"
        )
    return tensors, meta

"""State dicts: where their arrays come from, and what to say where they do not fit the model.

A mapping may hold NumPy arrays or the tensors of any framework; a path is a safetensors file, published weights as well as a trainer's own checkpoint.
Nothing is executed, and no framework is imported.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unimodel.errors import CheckpointError, UnimodelError
from unimodel.graph import Array

SHOWN = 20
"""So many lines of a difference are shown."""


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(strict=False)`` could not place, under PyTorch's names."""

    missing_keys: list[str]
    """Names that the model has and the state dict has not."""
    unexpected_keys: list[str]
    """Names that only the state dict has."""


def arrays_of(source: Mapping[str, Any] | str | os.PathLike[str]) -> dict[str, Array]:
    """The arrays of a state dict, or of a safetensors file."""
    if isinstance(source, (str, os.PathLike)):
        return read(source)
    if not isinstance(source, Mapping):
        raise CheckpointError(
            "these are no weights.",
            expected="a mapping of names to arrays, or the path of a safetensors file",
            given=type(source).__name__,
            remedy="of a PyTorch module pass module.state_dict()",
        )
    return {name: _as_array(name, value) for name, value in source.items()}


def _as_array(name: str, value: Any) -> Array:
    try:
        if hasattr(value, "detach"):  # a torch tensor that requires grad, is elsewhere, or has a dtype that NumPy lacks, does not convert by itself
            value = value.detach().cpu()
            value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        array = np.asarray(value)
    except UnimodelError:
        raise
    except Exception as error:
        raise CheckpointError("a state dict's values must be arrays.", given=f"{name}: {type(value).__name__}") from error
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise CheckpointError("a state dict's values must be arrays.", expected="numbers", given=f"{name}: {type(value).__name__} {array.dtype}")
    return array


def read(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The arrays of a safetensors file. bfloat16 becomes float32; of a trainer's checkpoint only the models' state is taken."""
    from safetensors import SafetensorError, safe_open  # here: `import unimodel` is to stay quick

    if not Path(path).is_file():
        raise CheckpointError("there is no such file.", given=os.fspath(path), remedy="check the path of the safetensors file")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            names = list(file.keys())
            if "unimodel" in (file.metadata() or {}):
                names = [n for n in names if "/" not in n]  # the others are the optimizer's
            wide = {n for n in names if file.get_slice(n).get_dtype() == "BF16"}
            found = {n: file.get_tensor(n) for n in names if n not in wide}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            "this file is no safetensors file, or is damaged.",
            given=f"{os.fspath(path)}: {error}",
            remedy="of a file that torch.save wrote pass torch.load(path, weights_only=True); if a copy was cut short, copy it again",
        ) from error
    return found | _bfloat16(path, wide)


def _bfloat16(path: str | os.PathLike[str], names: Iterable[str]) -> dict[str, Array]:
    """Numbers of a dtype that NumPy lacks: the upper halves of float32's. The file has been checked; see https://huggingface.co/docs/safetensors."""
    found = {}
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        for name in names:
            first, last = header[name]["data_offsets"]
            file.seek(8 + length + first)
            halves = np.frombuffer(file.read(last - first), "<u2").astype("uint32") << 16
            found[name] = halves.view("float32").reshape(header[name]["shape"])
    return found


def mismatches(
    expected: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]], missing: Iterable[str], unexpected: Iterable[str], kind: str
) -> CheckpointError:
    """The error that shows shapes by name, those a model expects and those it was given, as a difference."""
    likely = renames({n: expected[n] for n in missing}, {n: given[n] for n in unexpected})
    of = {theirs: ours for ours, theirs in likely.items()}
    lines = [f"{n}: expected {expected[n]}, given {s}" for n, s in given.items() if n in expected and s != expected[n]]
    lines += [f"missing: {n} {expected[n]}{f', perhaps given as {likely[n]}' if n in likely else ''}" for n in missing]
    lines += [f"unexpected: {n} {given[n]}{f', perhaps meant for {of[n]}' if n in of else ''}" for n in unexpected]
    other_shapes = any(n in expected and s != expected[n] for n, s in given.items())
    remedy = "build the model with the sizes the weights were made with, or "
    remedy += (
        "leave out what has another shape: um.models.load_weights(model, weights, strict=False)"
        if other_shapes
        else "pass strict=False to load what fits by name"
    )
    prefix = _common_prefix(likely)
    if prefix:
        remedy = f"take {prefix!r} off the given names: {{name.removeprefix({prefix!r}): array for name, array in weights.items()}}"
    elif likely and len(likely) == len(list(missing)):
        remedy = "rename the entries that are perhaps meant, or pass strict=False to load what fits by name"
    return CheckpointError(
        "these weights are of another model.",
        expected=f"{len(expected)} entries of {kind}",
        given="\n             ".join(lines[:SHOWN] + ([f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else [])),
        remedy=remedy,
    )


def renames(missing: Mapping[str, tuple[int, ...]], unexpected: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Which unexpected entry is likely a missing one under another name: one of the same shape whose name is most alike, each once."""
    found: dict[str, str] = {}
    free = dict(unexpected)
    for name, shape in missing.items():
        same = [n for n, s in free.items() if s == shape]
        whole = [n for n in same if n.endswith(f".{name}") or name.endswith(f".{n}")]
        last = [n for n in same if n.rpartition(".")[2] == name.rpartition(".")[2]]
        best = whole or difflib.get_close_matches(name, last, 1, 0.3)
        if best:
            found[name] = best[0]
            del free[best[0]]
    return found


def _common_prefix(likely: Mapping[str, str]) -> str:
    """What all given names have before the expected ones, such as the ``module.`` of a wrapper; empty where there is no such thing."""
    before = {theirs.removesuffix(ours) if theirs.endswith(ours) else "" for ours, theirs in likely.items()}
    return before.pop() if len(before) == 1 else ""

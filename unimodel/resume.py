"""What a trainer keeps in its checkpoint, and how it takes up a run again from one, on whatever backend it has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from unimodel import checkpoint, random
from unimodel.errors import CheckpointError
from unimodel.passes.precision import GROWN, SCALE

if TYPE_CHECKING:
    from unimodel.trainer import Trainer


def save(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Everything that training needs to continue exactly, in one safetensors file."""
    runtime = trainer._um_runtime
    tensors = {name: runtime.store.read(name) for name in runtime.variables}
    meta = {
        "seed": runtime.seed,
        "random": random.VERSION,
        "epoch": trainer._um_epoch,
        "step": trainer._um_steps,
        "precision": runtime.precision,
        "backend": trainer.backend,
        "optimizers": {key: o.counters() for key, o in trainer.optimizers.items()},
    }
    checkpoint.write(path, tensors, meta)


def load(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Continue where the file's run stopped."""
    tensors, meta = checkpoint.read(path)
    runtime = trainer._um_runtime
    weights = {n: v for n, v in runtime.variables.items() if not is_slot(n)}
    wrong = [f"missing: {n} {v.shape}" for n, v in weights.items() if n not in tensors]
    wrong += [f"unexpected: {n} {a.shape}" for n, a in tensors.items() if not is_slot(n) and n not in weights]
    wrong += [f"{n}: expected {v.shape}, given {tensors[n].shape}" for n, v in weights.items() if n in tensors and tensors[n].shape != v.shape]
    absent = {"seed", "epoch", "step", "optimizers"} - meta.keys()
    if absent:
        raise CheckpointError("the checkpoint's metadata is incomplete.", expected=", ".join(sorted(absent)), given=str(path))
    kinds = {k: v["kind"] for k, v in meta["optimizers"].items()}
    mine = {k: type(o).__name__ for k, o in trainer.optimizers.items()}
    if wrong:
        raise CheckpointError(
            "the checkpoint is of another model.",
            expected=f"the {len(weights)} tensors of this trainer's models",
            given="\n             ".join(wrong[:20] + ([f"and {len(wrong) - 20} more"] if len(wrong) > 20 else [])),
            remedy="build the model with the sizes it was saved with",
        )
    if mine and kinds and kinds != mine:
        raise CheckpointError(
            "the checkpoint is of another optimizer.",
            expected=str(mine),
            given=str(kinds),
            remedy="use the optimizer it was saved with, or load the weights alone",
        )
    for key in kinds.keys() & mine.keys():
        saved, groups = len(meta["optimizers"][key]["lr"]), len(trainer.optimizers[key].param_groups)
        if saved != groups:
            raise CheckpointError("the checkpoint is of an optimizer with other parameter groups.", expected=f"{groups} groups", given=f"{saved} groups")
    for name, state in weights.items():
        state.data = tensors[name]
    for key, optimizer in trainer.optimizers.items():
        if key in meta["optimizers"]:
            optimizer.restore_slots({n: a for n, a in tensors.items() if is_slot(n)})
            optimizer.restore(meta["optimizers"][key])
    for name in (SCALE, GROWN):
        if name in runtime.variables and name in tensors:
            runtime.store.write(name, tensors[name])
    runtime.seed = int(meta["seed"])
    trainer._um_epoch, trainer._um_steps = int(meta["epoch"]), int(meta["step"])


def is_slot(name: str) -> bool:
    """Whether a name in a checkpoint is an optimizer's state, or that of a scaled loss: what another optimizer or precision need not have."""
    return name.startswith(("optimizer/", "optimizer.", "loss_scale/")) and "/" in name  # which no path of attributes has

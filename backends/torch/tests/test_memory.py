"""Memory that a step has given back is there for the next one: nothing is mapped and cleared anew."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

STEPS = """
import resource
import numpy as np
import torch
import unimodel as um

torch.set_num_threads(1)
layers = [layer for _ in range(4) for layer in (um.nn.Linear(128, 128), um.nn.ReLU())]
trainer = um.Trainer(um.nn.Sequential(*layers), um.losses.MSELoss(), um.optim.SGD(lr=0.1), backend="torch")
batch = np.ones((4096, 128), "float32"), np.ones((4096, 128), "float32")
for _ in range(3):
    trainer.train_step(batch)
counts = []
for _ in range(11):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    trainer.train_step(batch)
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sorted(counts)[5])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the rule that it teaches is glibc's")
def test_a_step_has_no_page_faults() -> None:
    """Most of its arrays are 2 MiB, 512 pages; a step in which the heap still grows is none of those in the middle."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True, env=environment)
    assert int(done.stdout) < 100, f"{done.stdout.strip()} pages are mapped anew in each step"

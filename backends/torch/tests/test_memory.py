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

trainer = um.Trainer(um.nn.Linear(2, 2), um.losses.MSELoss(), um.optim.SGD(lr=0.1), backend="torch")
trainer.train_step((np.ones((2, 2), "float32"), np.ones((2, 2), "float32")))
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(8 << 18).add_(1.0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the rule that it teaches is glibc's")
def test_memory_that_was_given_back_is_not_mapped_anew() -> None:
    """8 MiB, 2,048 pages, used for the second time."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True, env=environment)
    assert int(done.stdout) < 100, f"{done.stdout.strip()} pages are mapped anew"

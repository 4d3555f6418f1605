"""The list of planted faults does not rot, some of them are tried here, and the harness can tell a fault from none. ``python -m tests.mutants`` tries them all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from .fault import ROOT, Fault, Rotten
from .generator import draw
from .listed import FAULTS
from .planting import REJECTED, SURVIVED

SAMPLE = (
    "relu-mask-dropped",
    "unbiased-batch-variance",
    "label-smoothing-over-others",
    "decoupled-decay-coupled",
    "nesterov-without-look-ahead",
    "clip-norm-ignored",
    "last-batch-dropped",
    "momentum-buffer-not-saved",
)
"""Quick ones, of several parts."""

RUN = """
import json, sys
from dataclasses import asdict
from tests.mutants import running
from tests.mutants.fault import Fault
from tests.mutants.listed import FAULTS
chosen = [f for f in FAULTS if f.name in sys.argv[1:]]
chosen.append(Fault("nothing", "unimodel/ops/activation.py", "NaN stays NaN", "NaN stays so", "test_gradients.py", "relu"))
chosen.append(Fault("moved", "unimodel/ops/activation.py", "this stands nowhere", "", "test_gradients.py", "relu"))
print(json.dumps({o.name: o.state for o in running.run(chosen)}))
"""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_every_fault_can_be_planted(fault: Fault) -> None:
    """What it changes is there, the file is still Python with it in, and its tests exist."""
    compile(fault.apply((ROOT / fault.file).read_text(encoding="utf-8")), fault.file, "exec")
    assert all(os.path.isfile(path) for path in fault.arguments(ROOT) if path.startswith(str(ROOT)))


def test_the_list_is_broad() -> None:
    assert len({f.name for f in FAULTS}) == len(FAULTS) >= 200
    areas = Counter(f.area for f in FAULTS)
    assert len(areas) >= 13 and min(areas.values()) >= 5, areas


def test_a_fault_whose_place_is_gone_is_an_error() -> None:
    with pytest.raises(Rotten, match="stands 0 times"):
        Fault("gone", "a.py", "old", "new", "test_ops.py").apply("something else")
    with pytest.raises(Rotten, match="stands 2 times"):
        Fault("twice", "a.py", "old", "new", "test_ops.py").apply("old old")


def test_a_sample_is_rejected_and_nothing_else_is() -> None:
    """In a process of its own, which has imported nothing of the packages yet."""
    done = subprocess.run([sys.executable, "-c", RUN, *SAMPLE], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    states = json.loads(done.stdout.splitlines()[-1])
    assert states.pop("nothing") == SURVIVED, "a change of a text is called a fault"
    assert states.pop("moved") == "rotten"
    assert states == dict.fromkeys(SAMPLE, REJECTED)


def test_random_faults_are_the_same_for_the_same_seed() -> None:
    drawn = draw(40, 5, ("numpy", "torch"))
    assert drawn == draw(40, 5, ("numpy", "torch")) and len(drawn) == len(set(drawn)) == 40
    assert drawn != draw(40, 6, ("numpy", "torch"))
    for fault in drawn:
        compile(fault.apply((ROOT / fault.file).read_text(encoding="utf-8")), fault.file, "exec")

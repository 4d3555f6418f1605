"""The conformance suite's verdicts: each state, in one process and shared by two, as an author sees it and as the matrix keeps it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_plugins import install
from faulty_backends import plant

from unimodel.backend import Lowerings
from unimodel.coverage import to_do

pytest.importorskip("unimodel_conformance", reason="the suite is a distribution of its own, and not installed here")

WRONG_EXP = "lower('exp')(lambda node, x: np.exp(x) * np.asarray(1.001, x.dtype))"
CRASH = "import os, signal\nlower('exp')(lambda node, x: os.kill(os.getpid(), signal.SIGKILL))"
EXP = "test_ops.py::test_generated[exp]"
ONLY_EXP = "test_generated and exp and not expm1 and not logsumexp and not logaddexp"
SHARED = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "shared"])


def suite(folder: Path, name: str, select: str, *options: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """The suite's tests of this name against a backend installed in the folder, and the matrix, empty where none was written."""
    matrix = folder / "matrix.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "unimodel_conformance", "--backend", name, "--matrix", str(matrix)]
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    for variable in [v for v in environment if v.startswith("PYTEST_")]:  # of the run that this test is part of
        del environment[variable]
    done = subprocess.run([*command, "-k", select, *options], capture_output=True, text=True, env=environment, cwd=folder, timeout=120, check=False)
    return done, json.loads(matrix.read_text()) if matrix.exists() else {}


def states(matrix: dict[str, Any]) -> dict[str, str]:
    return {t["test"]: t["state"] for t in matrix["tests"]}


def defects(test: str) -> str:
    return f"    from unimodel.backend import not_yet\n    known_defects = {{{test!r}: not_yet('upstream rounds', 'https://example.org/1')}}\n"


@SHARED
def test_a_wrong_kernel_fails(tmp_path: Path, options: tuple[str, ...]) -> None:
    plant(tmp_path, "wrong", WRONG_EXP)
    done, matrix = suite(tmp_path, "wrong", "test_generated and (exp or sqrt)", *options)
    assert done.returncode == 1
    assert matrix["status"] == "complete"
    assert states(matrix)[EXP] == "fail" and states(matrix)["test_ops.py::test_generated[sqrt]"] == "pass"


@SHARED
def test_a_declared_defect_is_known_and_no_failure(tmp_path: Path, options: tuple[str, ...]) -> None:
    plant(tmp_path, "wrong", WRONG_EXP, defects(EXP))
    done, matrix = suite(tmp_path, "wrong", ONLY_EXP, *options)
    assert done.returncode == 0, done.stdout
    assert states(matrix) == {EXP: "known defect"}
    assert "upstream rounds" in done.stdout


def test_a_declared_defect_that_passes_fails(tmp_path: Path) -> None:
    plant(tmp_path, "right", "", defects(EXP))
    done, matrix = suite(tmp_path, "right", ONLY_EXP)
    assert done.returncode == 1
    assert states(matrix) == {EXP: "fail"}


def test_a_declared_defect_of_no_test_is_an_error(tmp_path: Path) -> None:
    plant(tmp_path, "right", "", defects("test_ops.py::test_generated[expp]"))
    done, matrix = suite(tmp_path, "right", ONLY_EXP)
    assert done.returncode == 4 and not matrix
    assert "test_generated[expp]" in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ("{'float23': 1e-5}", "'float23', which is no float dtype; those are float64, float32, float16, bfloat16"),
        ("{'float32': 1e-3}", "the tolerance for float32 is 0.001; the suite allows numbers from 0 to 1e-05 there"),
        ("{'float64': '1e-12'}", "the tolerance for float64 is '1e-12'"),
    ],
    ids=["misspelt", "above the cap", "no number"],
)
def test_a_tolerance_that_cannot_be_declared_is_an_error(tmp_path: Path, declared: str, says: str) -> None:
    plant(tmp_path, "lenient", "", f"    tolerances = {declared}\n")
    done, matrix = suite(tmp_path, "lenient", ONLY_EXP)
    assert done.returncode == 4 and not matrix
    (line,) = [line for line in (done.stderr + done.stdout).splitlines() if says in line]
    assert "the backend lenient: " in line


def test_ids_are_the_same_in_every_process() -> None:
    """No object's address is part of one: processes could not share the tests, nor a backend declare one."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "--pyargs", "unimodel_conformance", "--backend", "numpy"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    ids = [line for line in done.stdout.splitlines() if "::" in line]
    assert len(ids) > 1000 and len(set(ids)) == len(ids) and not [i for i in ids if " at 0x" in i]


def test_a_backend_that_is_not_installed_is_an_error(tmp_path: Path) -> None:
    done, matrix = suite(tmp_path, "unheard_of", ONLY_EXP)
    assert done.returncode == 4 and not matrix
    assert "no backend is called 'unheard_of'; installed are" in done.stderr + done.stdout and "numpy" in done.stderr + done.stdout
    command = subprocess.run([sys.executable, "-m", "unimodel", "conformance", "unheard_of"], capture_output=True, text=True, timeout=60, check=False)
    assert command.returncode == 2 and "no backend is called 'unheard_of'" in command.stderr and "numpy" in command.stderr


def test_what_to_do_next_is_said_as_new_backend_says_it(tmp_path: Path) -> None:
    """In one order, whichever tests were chosen."""
    plant(tmp_path, "small", "lower = Lowerings()\nfor name in ('add', 'multiply', 'constant'):\n    lower(name)(right[name])\n")
    done, _ = suite(tmp_path, "small", ONLY_EXP)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("to do, what unlocks most first: ")]
    table = Lowerings()
    table.calls(add=np.add, multiply=np.multiply, constant=np.asarray)
    wanted = [step.primitive for step in to_do(table, training=True)]
    assert line.split(": ", 1)[1].split(" (")[0].split(", ") == wanted


def test_what_is_not_claimed_is_refused_with_its_reason(tmp_path: Path) -> None:
    body = (
        "    from unimodel.backend import Capability, never\n    capabilities = {**NumpyBackend.capabilities, Capability.TRAINING: never('it only predicts')}\n"
    )
    plant(tmp_path, "forward", "", body)
    done, matrix = suite(tmp_path, "forward", "test_capabilities or (test_trainer and seed)")
    assert done.returncode == 0, done.stdout
    assert "never: it only predicts" in done.stdout
    assert {"refused", "pass"} == set(states(matrix).values())


@SHARED
def test_a_backend_that_does_not_load_is_broken(tmp_path: Path, options: tuple[str, ...]) -> None:
    install(tmp_path, "absent", "import a_library_that_is_not_there\n")
    done, matrix = suite(tmp_path, "absent", "test_generated and sqrt", *options)
    assert done.returncode == 1
    assert matrix["status"] == "broken" and "a_library_that_is_not_there" in matrix["tests"][0]["reason"]
    assert "broken: " in done.stdout


@pytest.mark.parametrize("options", [(), ("--jobs", "2")], ids=["alone", "shared"])
def test_a_backend_that_takes_its_process_down_is_reported_with_the_test(tmp_path: Path, options: tuple[str, ...]) -> None:
    plant(tmp_path, "crash", CRASH)
    command = [sys.executable, "-m", "unimodel", "conformance", "crash", "--json", "matrix.json", "-k", ONLY_EXP, *options]
    environment = {k: v for k, v in {**os.environ, "PYTHONPATH": str(tmp_path)}.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    (found,) = json.loads((tmp_path / "matrix.json").read_text())["tests"]
    assert found["state"] in ("broken", "fail")
    assert EXP in found["reason"] + found.get("test", "")

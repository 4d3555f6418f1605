"""The command line: what each command prints, where, and with which exit status."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_plugins import TWIN, install
from typer.testing import CliRunner, Result

import unimodel as um
from unimodel import plugins
from unimodel.cli import agreement
from unimodel.cli.app import app

SCRIPT = """
import sys
import numpy as np
import unimodel as um

class Net(um.Model):
    def __init__(self):
        self.fc1, self.fc2 = um.nn.Linear(4, 8), um.nn.Linear(8, 1)
    def forward(self, x):
        return self.fc2(um.ops.relu(self.fc1(x)))

rng = np.random.Generator(np.random.Philox(0))
x, y = rng.standard_normal((60, 4)), rng.standard_normal((60, 1))
trainer = um.Trainer(Net(), loss=um.losses.MSELoss(), optimizer=um.optim.Adam(lr=0.01), metrics=[um.metrics.MeanAbsoluteError()], backend="numpy")
trainer.fit((x, y), epochs=40, batch_size=10)
trainer.evaluate((x, y))
print("trained on", trainer.backend, trainer.precision)
"""
"""240 steps."""

MAX_POOLING = """
import numpy as np
import unimodel as um

net = um.nn.Sequential(um.nn.Conv2d(1, 4, 3, padding=1), um.nn.ReLU(), um.nn.MaxPool2d(2), um.nn.Flatten(), um.nn.Linear(16, 3))
rng = np.random.Generator(np.random.Philox(0))
trainer = um.Trainer(net, loss=um.losses.CrossEntropyLoss(), optimizer=um.optim.SGD(lr=0.1))
trainer.fit((rng.standard_normal((20, 1, 4, 4)), rng.integers(0, 3, 20)), epochs=5, batch_size=10)
"""

CRASHES_AT_WORK = """
    def compile(self, graph, store, options=None):
        import ctypes
        ctypes.string_at(0)
"""
SLIGHTLY_WRONG = """
    def to_numpy(self, array):
        array = super().to_numpy(array)
        return array * (1 + 1e-6) if array.dtype.kind == "f" else array
"""
"""Beyond what float64 allows, within what float32 does."""
WITHOUT_FLOAT64 = """
    from unimodel.backend import Capability, never
    capabilities = {**NumpyBackend.capabilities, Capability.FLOAT64: never("its chip has none")}
"""

OTHERS = [name for name in ("torch", "tensorflow", "mxnet") if name in plugins.names()]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The NumPy backend under other names, as it is and with a fault in each."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    body = '    name = "twin"\n'
    for name, change in {"twin": "", "crashing": CRASHES_AT_WORK, "skewed": SLIGHTLY_WRONG, "single": WITHOUT_FLOAT64}.items():
        install(folder, name, TWIN.replace(body, f'    name = "{name}"\n{change}'))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)


# the command itself
def test_version_from_the_module_and_from_the_console_script() -> None:
    expected = f"unimodel {um.__version__}\n"
    assert python("-m", "unimodel", "--version").stdout == expected
    command = Path(sys.executable).with_name("unimodel")
    if not command.exists():
        pytest.skip("unimodel is not installed with its console script here")
    assert subprocess.run([command, "--version"], capture_output=True, text=True).stdout == expected


def test_import_unimodel_leaves_the_command_line_and_every_framework_out() -> None:
    loaded = "import sys, unimodel; print([m for m in ('typer', 'rich', 'torch', 'tensorflow', 'mxnet', 'unimodel.cli') if m in sys.modules])"
    assert python("-c", loaded).stdout == "[]\n"


def test_the_command_line_starts_without_rich_and_every_framework() -> None:
    loaded = "import sys, unimodel.cli.app; print([m for m in sys.modules if m in ('rich.console', 'torch', 'tensorflow', 'mxnet')])"
    assert python("-c", loaded).stdout == "[]\n"


@pytest.mark.parametrize("arguments", [["frobnicate"], ["run"], ["backends", "--frobnicate"], ["compare", "--backends", "numpy,torch"]])
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


# backends
def test_backends_lists_what_is_installed() -> None:
    result = invoke("backends")
    assert result.exit_code == 0
    for word in ("unimodel-numpy", np.__version__, "framework version", "installed"):
        assert word in result.stdout


def test_backends_json_has_the_documented_shape() -> None:
    (row,) = [row for row in json.loads(invoke("backends", "--json").stdout)["backends"] if row["name"] == "numpy"]
    assert row == {
        "name": "numpy",
        "distribution": "unimodel-numpy",
        "version": row["version"],
        "api": "1",
        "framework_version": np.__version__,
        "devices": None,
        "status": "installed",
        "error": None,
    }


def test_backends_shows_the_version_of_what_a_backend_of_another_name_is_made_of(tmp_path: Path, twins: Path) -> None:
    def version(distribution: str) -> str:
        rows = json.loads(invoke("backends", "--json").stdout)["backends"]
        return next(str(row["framework_version"]) for row in rows if row["distribution"] == distribution)

    assert version("unimodel-twin") == "None" and "not checked" in invoke("backends").stdout  # its metadata names nothing that it needs
    (metadata,) = twins.glob("unimodel_twin-*/METADATA")
    metadata.write_text(metadata.read_text() + 'Requires-Dist: unimodel\nRequires-Dist: numpy>=1.24\nRequires-Dist: pytest ; extra == "test"\n')
    assert version("unimodel-twin") == np.__version__
    metadata.write_text(metadata.read_text() + "Requires-Dist: rich>=1\n")
    assert version("unimodel-twin") == importlib.metadata.version("rich")


def test_no_backend_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "installed", list)
    assert "pip install unimodel-torch" in invoke("backends").stderr
    assert json.loads(invoke("backends", "--json").stdout) == {"backends": []}


# run
def test_run_overrides_the_backend_that_the_script_names(script: Path, twins: Path) -> None:
    done = python("-m", "unimodel", "run", script, "--backend", "twin")
    assert (done.returncode, done.stdout) == (0, "trained on twin float32\n"), done.stderr


def test_run_overrides_it_in_the_script_s_threads_too(script: Path, twins: Path) -> None:
    threaded = script.with_name("threaded.py")
    threaded.write_text("import threading, runpy\nthreading.Thread(target=lambda: runpy.run_path('train.py')).start()\n")
    done = subprocess.run(
        [sys.executable, "-m", "unimodel", "run", threaded.name, "--backend", "twin"], cwd=script.parent, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "trained on twin float32\n", done.stderr


def test_run_is_what_python_itself_does(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("here = True\n")
    script = tmp_path / "script.py"
    script.write_text("import sys, beside\nprint(__name__, __file__, sys.argv[1:], sys.path[0])\nsys.exit('enough')\n")
    arguments = ["--lr", "0.1", "-b4", "words", "--"]
    ours = python("-m", "unimodel", "run", script, "--backend", "numpy", *arguments, "--json", "--help")
    theirs = python(script, *arguments[:-1], "--json", "--help")
    assert (ours.stdout, ours.stderr, ours.returncode) == (theirs.stdout, theirs.stderr, theirs.returncode)
    assert ours.returncode == 1


def test_run_shows_a_script_s_error_as_python_does(tmp_path: Path) -> None:
    for source in ("def f():\n    raise ValueError('[bold] no')\nf()\n", "x = = 1\n"):
        script = tmp_path / "script.py"
        script.write_text(source)
        ours, theirs = python("-m", "unimodel", "run", script, "--backend", "numpy"), python(script)
        assert (ours.stderr, ours.returncode) == (theirs.stderr, theirs.returncode)


def test_run_shows_what_unimodel_refuses_without_its_own_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("um.nn.Linear(8, 1)", "um.nn.Linear(7, 1)"))
    short = python("-m", "unimodel", "run", script, "--backend", "numpy")
    whole = python("-m", "unimodel", "run", "--traceback", script, "--backend", "numpy")
    assert short.returncode == whole.returncode == 1
    assert short.stderr.startswith("Traceback (most recent call last):\n") and "ShapeError: linear" in short.stderr and "remedy:" in short.stderr
    assert set(re.findall(r'File "(.*?)"', short.stderr)) == {str(script)} and short.stderr.count('File "') == 2  # the call of fit, and the line in forward
    assert whole.stderr.count('File "') > 5 and whole.stderr.splitlines()[-4:] == short.stderr.splitlines()[-4:]
    monkeypatch.setenv("UNIMODEL_TRACEBACK", "1")
    assert python("-m", "unimodel", "run", script, "--backend", "numpy").stderr == whole.stderr


def test_run_restores_what_it_changed(script: Path) -> None:
    argv, path = list(sys.argv), list(sys.path)
    assert invoke("run", script, "--backend", "numpy").exit_code == 0
    assert (sys.argv, sys.path) == (argv, path)
    assert plugins.choose("twin") == "twin"


def test_run_refuses_an_unknown_backend_and_says_which_there_are(script: Path) -> None:
    result = invoke("run", script, "--backend", "pytorch")
    assert result.exit_code == 2
    for part in ("no backend is called 'pytorch'", "numpy", "did you mean 'torch'?"):
        assert part in result.stderr


def test_run_refuses_a_missing_script(tmp_path: Path) -> None:
    result = invoke("run", tmp_path / "nowhere.py", "--backend", "numpy")
    assert result.exit_code == 2
    assert "nowhere.py" in result.stderr


# compare
def test_compare_json_has_the_promised_shape_and_nothing_else_on_standard_output(script: Path, twins: Path) -> None:
    result = invoke("compare", script, "--backends", "numpy,twin", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert set(found) == {"backends", "max_loss_difference", "agree"}
    assert list(found["backends"]) == ["numpy", "twin"]
    for side in found["backends"].values():
        assert set(side) == {"version", "losses", "final", "seconds"}
        assert side["version"] == np.__version__
        assert len(side["losses"]) == 240
        assert set(side["final"]) == {"loss", "mean_absolute_error", "evaluate_loss", "evaluate_mean_absolute_error"}
        assert 0 < side["seconds"] < 60
    assert found["max_loss_difference"] == 0
    assert found["agree"] is True


@pytest.mark.skipif(not OTHERS, reason="no framework's backend is installed here")
def test_compare_agrees_between_numpy_and_the_installed_frameworks(script: Path) -> None:
    result = invoke("compare", script, "--backends", ",".join(["numpy", *OTHERS]), "--json")
    found = json.loads(result.stdout)
    assert {name: side.get("error") for name, side in found["backends"].items()} == dict.fromkeys(["numpy", *OTHERS]), result.stderr
    assert (result.exit_code, found["agree"]) == (0, True)
    assert found["max_loss_difference"] < 1e-5


def test_compare_draws_a_table(script: Path, twins: Path) -> None:
    result = invoke("compare", script, "--backends", "twin,numpy")
    assert result.exit_code == 0
    for part in (
        "backend",
        "version",
        "final loss",
        "mean_absolute_error",
        "largest loss difference",
        "seconds",
        "over 200 steps",
        "over 100 steps",
        "The backends agree.",
    ):
        assert part in result.stdout
    assert "trained on" not in result.stdout + result.stderr
    assert f"twin: running {script} as written" in result.stderr


def test_compare_verbose_shows_what_the_script_prints_on_standard_error(script: Path, twins: Path) -> None:
    done = python("-m", "unimodel", "compare", script, "--backends", "twin,numpy", "--verbose", "--json")
    assert json.loads(done.stdout)["agree"]
    for line in ("trained on twin float32", "trained on numpy float32"):
        assert line in done.stderr


def test_compare_passes_arguments_on(script: Path, twins: Path) -> None:
    script.write_text(SCRIPT + "\nassert sys.argv[1:] == ['--lr', '3', '--json'], sys.argv\n")
    assert invoke("compare", script, "--backends", "numpy,twin", "--lr", "3", "--", "--json").exit_code == 0


def test_one_crash_leaves_the_others_and_is_reported_with_its_cause(script: Path, twins: Path) -> None:
    result = invoke("compare", script, "--backends", "numpy,crashing,twin", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["agree"]) == (1, False)
    assert found["max_loss_difference"] == 0
    assert len(found["backends"]["twin"]["losses"]) == 240
    assert set(found["backends"]["crashing"]) == {"version", "error"}
    assert "SIGSEGV (segmentation fault)" in found["backends"]["crashing"]["error"]
    assert "train.py" in result.stderr  # where it was, from the crashed process
    assert "crashing is broken: its process was ended by SIGSEGV" in invoke("compare", script, "--backends", "crashing,twin").stdout


def test_a_script_that_hangs_ends_at_the_time_limit(tmp_path: Path, twins: Path) -> None:
    script = tmp_path / "hangs.py"
    script.write_text("import time\ntime.sleep(600)\n")
    found = json.loads(invoke("compare", script, "--backends", "numpy,twin", "--json", "--time-limit", "1.5").stdout)
    assert found["backends"]["numpy"]["error"] == found["backends"]["twin"]["error"] == "it did not finish within 1.5 s"
    assert (found["max_loss_difference"], found["agree"]) == (None, False)


def test_float64_shows_a_difference_that_float32_hides(script: Path, twins: Path) -> None:
    result = invoke("compare", script, "--backends", "numpy,skewed")
    assert result.exit_code == 1
    assert "float64: 1.0e-06 apart, relative, over 200 steps (beyond 1e-08)" in result.stdout
    assert "(within 0.001)" in result.stdout
    assert "The backends do not agree." in result.stdout


def test_a_script_in_float64_runs_once(script: Path, twins: Path) -> None:
    script.write_text(SCRIPT.replace('backend="numpy"', 'precision="float64"'))
    result = invoke("compare", script, "--backends", "numpy,twin")
    assert result.exit_code == 0
    assert "in float64 itself" in result.stdout
    assert result.stderr.count("running") == 2
    assert invoke("compare", script, "--backends", "numpy,skewed").exit_code == 1


def test_a_backend_without_float64_is_said_so(script: Path, twins: Path) -> None:
    result = invoke("compare", script, "--backends", "numpy,single,twin")
    assert result.exit_code == 0
    assert "single takes no part in float64, which it lacks: never: its chip has none" in result.stdout


def test_max_pooling_is_judged_in_float64_only(tmp_path: Path, twins: Path) -> None:
    script = tmp_path / "pooling.py"
    script.write_text(MAX_POOLING)
    result = invoke("compare", script, "--backends", "numpy,twin")
    assert result.exit_code == 0
    assert "the network has max-pooling" in result.stdout
    assert "of the initial loss apart" not in result.stdout


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("print('hello')", "makes no um.Trainer"),
        ("import unimodel as um\num.Trainer(um.nn.Linear(1, 1))", "never trains"),
        (SCRIPT.replace("trainer.fit", "pass; (lambda *_, **__: None)").replace("trainer.evaluate", "pass; (lambda *_: None)"), "never trains"),
    ],
)
def test_a_script_with_nothing_to_compare_is_wrong_usage(tmp_path: Path, twins: Path, source: str, message: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(source)
    result = invoke("compare", script, "--backends", "numpy,twin", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


@pytest.mark.parametrize("names", ["numpy", "numpy,numpy", "numpy,pytorch", ""])
def test_compare_wants_two_installed_backends(script: Path, names: str) -> None:
    result = invoke("compare", script, "--backends", names)
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_failing_script_names_its_line(tmp_path: Path, twins: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys\nsys.stdout.write('before')\n1 / 0\n")
    result = invoke("compare", script, "--backends", "numpy,twin", "--json")
    found = json.loads(result.stdout)
    assert found["backends"]["twin"] == {"version": found["backends"]["twin"]["version"], "error": f"ZeroDivisionError: division by zero ({script}:3)"}
    assert "before" in result.stderr
    shown = invoke("compare", script, "--backends", "numpy,twin").stdout
    assert f"{script} failed on twin: ZeroDivisionError" in shown
    assert "fails on every backend, so that there is nothing to compare." in shown
    assert "broken" not in shown


def test_a_failing_exit_status_is_a_failure(tmp_path: Path, twins: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("raise SystemExit(3)\n")
    found = json.loads(invoke("compare", script, "--backends", "numpy,twin", "--json").stdout)
    assert found["backends"]["numpy"]["error"] == "the script ended with exit status 3"


def test_a_step_of_one_s_own_with_several_losses_is_compared_by_their_sum(tmp_path: Path, twins: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        SCRIPT.replace("trainer = um.Trainer(", "trainer = Halves(").replace(
            "rng =",
            "class Halves(um.Trainer):\n"
            "    def step(self, batch):\n"
            "        results = super().step(batch)\n"
            "        return {'loss_a': results['loss'] * 0.25, 'loss_b': results['loss'] * 0.75}\n"
            "rng =",
        )
    )
    plain = tmp_path / "plain.py"
    plain.write_text(SCRIPT)
    ours, theirs = (json.loads(invoke("compare", s, "--backends", "numpy,twin", "--json").stdout)["backends"]["twin"]["losses"] for s in (script, plain))
    assert ours == pytest.approx(theirs, rel=1e-6)


# the verdict's arithmetic
def curve(*changes: tuple[int, float], steps: int = 240) -> list[float]:
    values = [2.0 / (1 + i / 10) for i in range(steps)]
    for step, factor in changes:
        values[step] *= factor
    return values


def judge(a: agreement.Curves, b: agreement.Curves, max_pooling: bool = False, written_in_float64: bool = False) -> agreement.Verdict:
    return agreement.judge({"a": a, "b": b}, max_pooling=max_pooling, written_in_float64=written_in_float64)


def test_the_difference_is_of_the_first_100_steps_by_the_initial_loss() -> None:
    good = curve()
    assert judge(agreement.Curves(good, good), agreement.Curves(curve((0, 1.001)), good)).max_loss_difference == pytest.approx(1e-3)
    assert judge(agreement.Curves(good, good), agreement.Curves(curve((99, 1.1)), good)).max_loss_difference == pytest.approx(good[99] * 0.1 / 2)
    assert judge(agreement.Curves(good, good), agreement.Curves(curve((100, 2.0)), good)).max_loss_difference == 0


@pytest.mark.parametrize(("step", "agree"), [(199, False), (200, True)])
def test_float64_is_judged_over_200_steps(step: int, agree: bool) -> None:
    assert judge(agreement.Curves(curve(), curve()), agreement.Curves(curve(), curve((step, 1 + 1e-7)))).agree is agree


@pytest.mark.parametrize("max_pooling", [False, True])
def test_float32_decides_unless_there_is_max_pooling(max_pooling: bool) -> None:
    assert judge(agreement.Curves(curve(), curve()), agreement.Curves(curve((1, 1.01)), curve()), max_pooling).agree is max_pooling


def test_max_pooling_without_float64_cannot_be_judged() -> None:
    one, other = agreement.Curves(curve(), curve()), agreement.Curves(curve(), None, "none")
    assert not judge(one, other, max_pooling=True).agree
    assert judge(one, other).agree


def test_curves_of_different_length_or_with_nan_on_one_side_disagree() -> None:
    good, nan = curve(), curve((5, math.nan))
    for bad in (curve(steps=50), nan):
        verdict = judge(agreement.Curves(good, good), agreement.Curves(bad, good))
        assert (verdict.agree, verdict.max_loss_difference) == (False, math.inf)
    assert judge(agreement.Curves(nan, nan), agreement.Curves(nan, nan)).agree


def test_a_loss_that_is_rounding_is_not_compared_by_its_own_size() -> None:
    good = [1.0, 1e-5, 1e-30]
    assert agreement.largest_relative_difference(good, [1.0, 1e-5, 3e-30], 1.0) < 1e-8


def test_a_number_that_is_not_finite_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    from unimodel.cli.console import print_json

    print_json({"a": [math.nan, 1.0, math.inf], "b": 2})
    assert json.loads(capsys.readouterr().out) == {"a": [None, 1.0, None], "b": 2}


def test_the_environment_is_left_alone(script: Path, twins: Path) -> None:
    before = dict(os.environ)
    invoke("compare", script, "--backends", "numpy,twin", "--json")
    assert dict(os.environ) == before

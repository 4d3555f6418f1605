"""``unimodel bench``: who may be timed, what is written, and what is refused. Nothing here asserts a time."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_plugins import TWIN, install
from typer.testing import CliRunner, Result

from unimodel.bench import html, text
from unimodel.bench.workloads import WORKLOADS
from unimodel.cli.app import app

SCRIPT = """
import sys
import numpy as np
import unimodel as um

rng = np.random.Generator(np.random.Philox(0))
x, y = rng.standard_normal((60, 4)), rng.standard_normal((60, 1))
net = um.nn.Sequential(um.nn.Linear(4, 8), um.nn.Dropout(0.5), um.nn.Linear(8, 1))
trainer = um.Trainer(net, loss=um.losses.MSELoss(), optimizer=um.optim.Adam(lr=0.01), backend="torch")
trainer.fit((x, y), epochs=int(sys.argv[1]), batch_size=10)
raise SystemExit("the script goes on after its first fit")
"""
WRONG = """
    def to_numpy(self, array):
        array = super().to_numpy(array)
        return array * 1.01 if array.dtype.kind == "f" else array
"""
SLIGHTLY_WRONG = """
    def to_numpy(self, array):
        array = super().to_numpy(array)
        return array * (1 + 1e-6) if array.dtype.kind == "f" else array
"""
CRASHES = """
    def compile(self, graph, store, options=None):
        import ctypes
        ctypes.string_at(0)
"""
CRASHES_LATER = """
    def compile(self, graph, store, options=None):
        import os, pathlib
        count = pathlib.Path(os.environ["UNIMODEL_TEST_COUNT"])
        count.write_text(count.read_text() + "x" if count.exists() else "x")
        if len(count.read_text()) > 1:
            import ctypes
            ctypes.string_at(0)
        return super().compile(graph, store, options)
"""
WITHOUT_FLOAT64 = """
    from unimodel.backend import Capability, never
    capabilities = {**NumpyBackend.capabilities, Capability.FLOAT64: never("its chip has none")}
"""
FAST = ["--processes", "1", "--seconds", "0.002"]


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The NumPy backend under other names, as it is and with a fault in each."""
    folder = tmp_path_factory.mktemp("plugins")
    body = '    name = "twin"\n'
    changes = {"twin": "", "wrong": WRONG, "skewed": SLIGHTLY_WRONG, "crashing": CRASHES, "fading": CRASHES_LATER, "single": WITHOUT_FLOAT64}
    for name, change in changes.items():
        install(folder, name, TWIN.replace(body, f'    name = "{name}"\n{change}'))
    return folder


@pytest.fixture(autouse=True)
def here(twins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(twins)
    monkeypatch.setenv("PYTHONPATH", str(twins))
    monkeypatch.setenv("UNIMODEL_TEST_COUNT", str(tmp_path / "count"))
    monkeypatch.chdir(tmp_path)


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


def measured(*arguments: object, status: int = 0) -> dict[str, Any]:
    """What ``--json -`` prints, and nothing but that."""
    result = bench(*arguments, *FAST, "--json", "-")
    assert result.exit_code == status, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def by_label(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["label"]: entry for entry in record["unimodel"]["contestants"]}


@pytest.fixture(scope="module")
def record(twins: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """One run with everything in it: a sound backend twice, wrong ones, one without float64; two batch sizes, two modes."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(twins)
        patch.setenv("PYTHONPATH", str(twins))
        result = bench(
            *("regression", "--backends", "numpy,twin,skewed,single", "--mode", "train,inference", "--batch-sizes", "8,32", *FAST),
            *("--json", folder / "b.json", "--html", folder / "b.html", "--markdown", folder / "b.md"),
        )
    assert result.exit_code == 1, result.output  # some do not agree
    (folder / "printed.txt").write_text(result.stdout)
    return json.loads((folder / "b.json").read_text()), folder


# agreement before time
def test_what_does_not_agree_is_reported_and_not_timed(record: tuple[dict[str, Any], Path]) -> None:
    found = by_label(record[0])
    assert "seconds" in found["numpy"] and "seconds" in found["twin"]
    # it is right enough for float32, and float64 tells
    assert "seconds" not in found["skewed"] and "in float64" in found["skewed"]["disagrees"]
    assert "skewed: not timed, it does not agree: in float64" in (record[1] / "printed.txt").read_text()


def test_a_backend_without_float64_is_compared_in_float32(record: tuple[dict[str, Any], Path]) -> None:
    single = by_label(record[0])["single"]
    assert "seconds" in single and "float64" in single["no_float64"] and single["apart"] < 1e-3
    assert "compared in float32 only" in (record[1] / "printed.txt").read_text()


def test_quick_compares_in_the_timed_precision_alone() -> None:
    found = by_label(measured("regression", "--backends", "numpy,skewed,wrong", "--quick", status=1))
    assert "seconds" in found["skewed"] and found["skewed"]["float64_apart"] is None
    assert "away from the reference" in found["wrong"]["disagrees"]


# what is written
def test_the_json_says_how_everything_was_measured(record: tuple[dict[str, Any], Path]) -> None:
    found, entry = record[0]["unimodel"], by_label(record[0])["twin"]
    assert found["schema"] == 1 and found["ceiling"] > 0 and found["machine"]["cores"] >= 1
    reference = found["references"]["regression, batch 32"]
    assert (reference["backend"], reference["precision"], reference["max_pooling"]) == ("numpy", "float64", False)
    assert reference["flops"] == 2 * 32 * (2 * 200 + 3 * 20)  # forward and weights' gradients of both layers, inputs' gradient of the second
    (process,) = entry["processes"]
    assert {"build", "first_step", "early_steps", "warm_up", "steady"} <= process["phases"].keys()
    assert entry["start"]["import_seconds"] > 0 and entry["start"]["peak_memory"] > 1 << 20
    assert process["latency"] == sorted(process["latency"]) and process["calls"] >= 1
    assert len(entry["losses"]) == WORKLOADS["regression"].steps
    assert entry["settings"] == {"compile": "default", "precision": "float32", "threads": 1}
    assert process["cores"] is None or len(process["cores"]) == 1


def test_all_contestants_have_the_same_weights_and_data(record: tuple[dict[str, Any], Path]) -> None:
    entries = [e for e in record[0]["unimodel"]["contestants"] if e["batch_size"] == 32 and e.get("hashes")]
    assert len(entries) >= 3
    assert len({(e["hashes"]["weights"], e["hashes"]["data"]) for e in entries}) == 1


def test_pyperf_reads_the_file(record: tuple[dict[str, Any], Path]) -> None:
    pyperf = pytest.importorskip("pyperf", reason="pyperf is not installed here")
    suite = pyperf.BenchmarkSuite.load(str(record[1] / "b.json"))
    for benchmark in suite.get_benchmarks():
        (entry,) = [e for e in record[0]["unimodel"]["contestants"] if e["key"] == benchmark.get_name()]
        assert benchmark.get_nvalue() == len(entry["processes"])
        assert benchmark.median() == pytest.approx(entry["seconds"])


def test_the_page_needs_nothing_else_and_has_every_contestant(record: tuple[dict[str, Any], Path]) -> None:
    page = (record[1] / "b.html").read_text()
    assert not re.findall(r"https?:|//[a-z]|<script|<link|@import|url\(|<img|<iframe|src=", page)
    assert '<meta name="viewport"' in page and "prefers-color-scheme: dark" in page
    for entry in record[0]["unimodel"]["contestants"]:
        assert f"<td>{entry['label']}</td>" in page
    for caption in ("relative to the line at 1", "Time of one step", "Loss over the steps", "Scaling with batch size", "Environment and settings"):
        assert caption in page
    assert page.count("<svg") == page.count("</svg>") > 10
    assert "reference (numpy, float64)" in page and "not timed" in page


def test_the_page_is_well_formed(record: tuple[dict[str, Any], Path]) -> None:
    from html.parser import HTMLParser

    class Balance(HTMLParser):
        open: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "line", "rect", "path", "circle"):
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if tag not in ("line", "rect", "path", "circle"):
                assert self.open.pop() == tag

    balance = Balance()
    balance.feed(html.page(record[0]))
    assert balance.open == []


def test_the_markdown_has_every_contestant_that_was_timed(record: tuple[dict[str, Any], Path]) -> None:
    lines = (record[1] / "b.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + sum("seconds" in e for e in record[0]["unimodel"]["contestants"])
    assert len({line.count("|") for line in table}) == 1
    assert any("does not agree" in line for line in lines)


def test_hostile_names_do_not_break_the_page(record: tuple[dict[str, Any], Path]) -> None:
    changed = json.loads(json.dumps(record[0]).replace("twin", "<b>&twin"))
    assert "<b>&twin" not in html.page(changed) and "&lt;b&gt;&amp;twin" in html.page(changed)


def test_progress_is_plain_lines_and_json_alone_where_asked() -> None:
    result = bench("regression", "--backends", "numpy", "--quick", *FAST)
    assert result.exit_code == 0
    assert "sitting 1 of 1: regression, batch 32: numpy" in result.stderr and "numpy" in result.stdout


# scripts
def test_a_script_is_timed_at_its_first_training(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    record = measured(script, "3", "--backends", "twin", "--mode", "train,fit,inference")
    found, reference = by_label(record), record["unimodel"]["references"][str(script)]
    assert set(found) == {"twin", "twin fit", "twin inference"}
    assert all("seconds" in entry for entry in found.values())
    assert reference["backend"] == "numpy" and found["twin"]["masks"] == reference["masks"] is not None
    assert found["twin"]["float64_apart"] == 0.0


@pytest.mark.parametrize("source", ["x = 1\n", "import unimodel as um\num.Trainer(um.nn.Linear(1, 1))\n"])
def test_a_script_that_never_trains_is_wrong_usage(tmp_path: Path, source: str) -> None:
    script = tmp_path / "idle.py"
    script.write_text(source)
    result = bench(script, "--backends", "numpy,twin")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"error: {script} never trains: it calls neither fit nor train_step" in result.stderr
    assert result.stderr.count("idle.py: the reference") == 1  # the first look is enough


def test_a_script_takes_its_own_options_and_says_how_many_samples_a_second(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.replace("sys.argv[1]", "sys.argv[sys.argv.index('--epochs') + 1]"))
    found = by_label(measured(script, "--epochs", "3", "--backends", "numpy", "--quick"))["numpy"]
    assert found["batch_size"] is None and found["per_second"] * found["seconds"] == pytest.approx(10)
    result = bench("regression", "--epochs", "3")
    assert result.exit_code == 2 and "No such option: --epochs" in result.stderr


def test_too_few_processes_are_said_to_be_too_few(record: tuple[dict[str, Any], Path]) -> None:
    said = "1 process is too few to tell any two apart, whatever their ratio and its interval: 7 are needed (--processes 7)."
    for file in ("printed.txt", "b.html", "b.md"):
        assert said in " ".join((record[1] / file).read_text().split()), file
    enough = json.loads(json.dumps(record[0]))
    for entry in enough["unimodel"]["contestants"]:
        if entry["ratio"] is not None:
            entry["ratio"]["observations"] = 7
    assert not list(text.too_few(enough))


def test_one_process_has_no_interval(tmp_path: Path) -> None:
    result = bench("regression", "--backends", "numpy,twin", "--quick", "--processes", "1", "--seconds", "0.01")
    assert "99 % interval" not in result.stdout
    assert "\n1 process a contestant" in result.stdout


# what fails leaves the others standing
def test_a_crash_is_reported_with_its_signal() -> None:
    found = by_label(measured("regression", "--backends", "numpy,crashing", "--quick", status=1))
    assert "SIGSEGV" in found["crashing"]["failure"] and "seconds" in found["numpy"]


def test_a_backend_that_crashes_in_the_middle_keeps_what_was_measured() -> None:
    result = bench("regression", "--backends", "twin,fading", "--quick", "--processes", "3", "--seconds", "0.002", "--json", "-")
    found = by_label(json.loads(result.stdout))
    assert result.exit_code == 1
    assert len(found["twin"]["processes"]) == 3
    assert "SIGSEGV" in found["fading"]["failure"] and len(found["fading"]["processes"]) == 1
    assert "what was measured before is kept" in " ".join(text.left_out(json.loads(result.stdout)))


# wrong usage
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "expected: regression, mlp, cnn"),
        (["missing.py"], "there is no script missing.py"),
        (["regression", "--backends", "frobnicate"], "one of the installed backends"),
        (["regression", "--mode", "dream"], "choose from train, fit, inference"),
        (["regression", "--precision", "float3"], "choose from float32"),
        (["regression", "--batch-sizes", "0"], "whole numbers of at least 1"),
        (["regression", "--python", "numpy"], "torch=/envs/torch/bin/python"),
        (["regression", "--python", "numpy=/nowhere/python"], "there is no interpreter /nowhere/python"),
    ],
)
def test_wrong_usage_is_status_2_and_names_what_is_right(arguments: list[str], said: str) -> None:
    result = bench(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split()).replace("│ ", "")


def test_an_interpreter_without_unimodel_is_refused(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    result = bench("regression", "--python", f"numpy={bare}")
    assert result.exit_code == 2
    assert "unimodel cannot be used there" in result.stderr and "No module named" in result.stderr and "pip install unimodel unimodel-numpy" in result.stderr


def test_a_backend_missing_from_an_interpreter_is_refused() -> None:
    result = bench("regression", "--python", f"frobnicate={sys.executable}")
    assert result.exit_code == 2 and "the backend frobnicate is not installed there" in result.stderr


def test_a_backend_runs_in_another_interpreter(tmp_path: Path) -> None:
    other = tmp_path / "other-python"
    other.write_text(f'#!/bin/sh\necho ran >> "{tmp_path}/ran"\nexec "{sys.executable}" "$@"\n')
    other.chmod(0o755)
    found = measured("regression", "--backends", "numpy,twin", "--quick", "--python", f"twin={other}")
    assert "seconds" in by_label(found)["twin"] and found["unimodel"]["plan"]["interpreters"] == {"twin": str(other)}
    assert (tmp_path / "ran").read_text().count("ran") == 3  # two questions and a sitting


def test_native_outside_a_checkout_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unimodel.bench.subjects.repository", lambda: None)
    result = bench("regression", "--backends", "numpy", "--native")
    assert result.exit_code == 2 and "benchmarks/native" in result.stderr


def test_native_goes_with_the_built_in_workloads(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    result = bench(script, "--native")
    assert result.exit_code == 2 and "built-in workloads" in result.stderr


def test_list_names_the_workloads() -> None:
    printed = bench("--list").stdout
    for name in WORKLOADS:
        assert re.search(rf"^{name} ", printed, re.MULTILINE)

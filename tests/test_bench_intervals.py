"""What the harness concludes from times: intervals, changes against an earlier run, tables. No process is started, nothing is timed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from unimodel.bench import against, machine, text
from unimodel.bench.flops import flops
from unimodel.bench.intervals import FEWEST, median, ratio, spread
from unimodel.bench.isolation import requirements
from unimodel.bench.plan import Contestant, Plan
from unimodel.bench.record import ranking
from unimodel.bench.record import record as recorded
from unimodel.bench.session import Entry, Session, _cause
from unimodel.bench.sittings import Outcome
from unimodel.bench.subjects import repository, signature
from unimodel.bench.workloads import WORKLOADS
from unimodel.cli.app import app
from unimodel.errors import DataError
from unimodel.graph import TensorSpec
from unimodel.tracing import trace

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def times(seed: int, count: int, mean: float = 1.0, noise: float = 0.05, rounds: int = 1) -> list[list[float]]:
    rng = np.random.Generator(np.random.Philox(seed))
    return [[float(mean * np.exp(noise * rng.standard_normal())) for _ in range(rounds)] for _ in range(count)]


def test_a_process_counts_once_however_many_rounds_it_has() -> None:
    assert median([[1.0, 1.0, 1.0, 1.0, 9.0], [2.0], [3.0]]) == 2.0
    assert spread([[1.0], [1.0], [1.0]]) == 0.0


@pytest.mark.parametrize("processes", [7, 8, 10, 20])
def test_a_against_itself_differs_in_at_most_5_of_100(processes: int) -> None:
    """The intervals, on times of which it is known that they are drawn alike; heavy tails, as real ones have."""
    rng = np.random.Generator(np.random.Philox(processes))
    wrong = 0
    for _ in range(200):
        a, b = (np.exp(0.1 * rng.standard_t(2, (processes, 1))).tolist() for _ in range(2))
        wrong += ratio(a, b).differs
    assert wrong <= 10


def test_rounds_inside_one_process_give_an_interval_too() -> None:
    wrong = sum(ratio(times(2 * i, 1, rounds=7), times(2 * i + 1, 1, rounds=7)).differs for i in range(100))
    assert wrong <= 5


def test_a_real_difference_is_seen() -> None:
    found = ratio(times(1, 7, 1.3), times(2, 7))
    assert found.differs and found.low < 1.3 < found.high


def test_what_slows_both_falls_out_of_a_pair() -> None:
    load = [1.0, 3.0, 1.5, 8.0, 1.0, 2.0, 1.2]
    found = ratio([[1.1 * x] for x in load], [[x] for x in load])
    assert found.value == found.low == found.high == pytest.approx(1.1)
    assert not ratio([[1.1 * x] for x in load], [[x] for x in load], paired=False).differs


def test_too_few_processes_say_nothing() -> None:
    assert not ratio(times(1, FEWEST - 1, 9.0), times(2, FEWEST - 1)).differs


# against an earlier run
def a_record(mean: float, seed: int, processes: int = 7) -> dict[str, Any]:
    contestant = Contestant("regression", "numpy", batch_size=32)
    plan = Plan([contestant])
    process = {"import_seconds": 0.1, "memory_after_import": 1, "cores": [0], "load": 0.0}
    runs = [
        {
            "rounds": rounds,
            "process": process,
            "sitting": i,
            "calls": 3,
            "phases": {"build": 0.1, "first_step": 0.1},
            "latency": [rounds[0]] * 11,
            "peak_memory": 1,
            "joules_per_step": None,
            "settings": {},
            "losses": [1.0, 0.5],
        }
        for i, rounds in enumerate(times(seed, processes, mean))
    ]
    session = Session(plan, {contestant.key: Entry(contestant, runs, runs[0])}, facts=machine.facts(), load_before=0.0)
    session.references["regression, batch 32"] = {
        "backend": "numpy",
        "precision": "float64",
        "losses": [1.0, 0.5],
        "flops": 1000,
        "hashes": {},
        "max_pooling": False,
    }
    return recorded(session)


def test_contestants_that_cannot_be_told_apart_share_a_place() -> None:
    means = {"slow": 3.0, "fast": 1.0, "twin": 1.001, "other mode": 1.0}
    entries = {}
    for seed, (name, mean) in enumerate(means.items()):
        contestant = Contestant("mlp", name, batch_size=128, mode="fit" if "mode" in name else "train")
        entries[contestant.key] = Entry(contestant, [{"rounds": rounds, "sitting": i} for i, rounds in enumerate(times(seed, 7, mean))])
    session = Session(Plan([]), entries)
    assert [[sorted(tier) for tier in tiers] for tiers in ranking(session).values()] == [[["fast", "twin"], ["slow"]]]
    sentence = next(text.order({"unimodel": {"ranking": ranking(session)}}))
    assert re.fullmatch(r"mlp, batch 128, from the fastest: (fast = twin|twin = fast); slow  \(= not told apart\)", sentence)
    for entry in entries.values():
        del entry.processes[FEWEST - 1 :]
    ((tier,),) = ranking(session).values()
    assert len(tier) == 3  # too few processes to say anything


@pytest.mark.parametrize(("mean", "verdict"), [(1.0, "same"), (1.5, "slower"), (0.6, "faster"), (1.02, "same")])
def test_a_change_beyond_noise_is_called_one(mean: float, verdict: str) -> None:
    ((change,), doubts) = against.compare(a_record(mean, 1), a_record(1.0, 2))
    assert change.verdict == verdict
    assert not doubts


def test_with_few_processes_a_change_is_unclear() -> None:
    ((change,), _) = against.compare(a_record(2.0, 1, processes=3), a_record(1.0, 2))
    assert change.verdict == "unclear"


def test_another_processor_is_a_doubt() -> None:
    then = a_record(1.0, 2)
    then["unimodel"]["machine"]["cpu"] = "an abacus"
    assert "an abacus then" in " ".join(against.compare(a_record(1.0, 1), then)[1])


@pytest.mark.parametrize("content", ["", "{}", '{"unimodel": {"schema": 99}}', "[1]"])
def test_what_is_no_record_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "old.json"
    file.write_text(content)
    with pytest.raises(DataError, match=r"no record of a benchmark|another schema"):
        against.read(file)
    result = CliRunner().invoke(app, ["bench", "regression", "--backends", "numpy", "--against", str(file)])
    assert result.exit_code == 2 and str(file) in result.stderr


def test_a_regression_is_exit_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unimodel.bench.session.run", lambda plan, say: None)
    old = tmp_path / "old.json"
    old.write_text(json.dumps(a_record(1.0, 2)))
    for mean, status in ((1.5, 1), (1.0, 0)):
        session = type("Quiet", (), {"failed": False})()
        monkeypatch.setattr("unimodel.bench.session.run", lambda plan, say, s=session: s)
        monkeypatch.setattr("unimodel.bench.record.record", lambda s, mean=mean: a_record(mean, 1))
        result = CliRunner().invoke(app, ["bench", "regression", "--backends", "numpy", "--against", str(old)])
        assert result.exit_code == status, result.output
        assert ("Slower beyond noise: regression, batch 32: numpy." in result.stdout) == bool(status)


# noise, arithmetic, predictions
def test_a_noisy_machine_is_noticed() -> None:
    assert machine.noise(0.1, 2, [1.0, 1.01, 1.0, 1.02, 1.0]) == []
    assert "load average was 5.0" in machine.noise(5.0, 2, [])[0]
    assert "fixed work" in machine.noise(0.0, 2, [1.0, 2.0, 3.0, 4.0, 1.0])[0]


def test_flops_are_those_of_matrix_products_and_convolutions() -> None:
    import unimodel as um

    trainer = um.Trainer(um.nn.Conv2d(3, 5, 3, padding=1), loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.1), backend="numpy")
    trainer.train_step((np.zeros((2, 3, 8, 8)), np.zeros((2, 5, 8, 8))))
    ((_, program),) = trainer._um_runtime.programs()
    once = 2 * 2 * 8 * 8 * 5 * 3 * 9
    assert flops(program.traced.graph, {"N": 2}) == 2 * once  # forward, and the weight's gradient


def test_flops_of_a_loop_are_those_of_all_its_rounds() -> None:
    import unimodel as um

    def forward(x: um.Tensor) -> um.Tensor:
        carry, _ = um.ops.scan(lambda h, _: (um.ops.matmul(h, x), None), x, length=5)
        return um.ops.cond(um.ops.sum(carry) > 0, lambda: um.ops.matmul(carry, x), lambda: carry)

    traced = trace(forward, TensorSpec((4, 4), "float32"), names={})
    assert flops(traced.graph, {}) == 6 * 2 * 4**3


def test_a_prediction_s_signature_moves_with_it() -> None:
    rng = np.random.Generator(np.random.Philox(0))
    x = rng.standard_normal((20, 30))
    near = max(abs(a - b) for a, b in zip(signature(x), signature(x * (1 + 1e-7)), strict=True))
    far = max(abs(a - b) for a, b in zip(signature(x), signature(x + 0.1 * rng.standard_normal(x.shape)), strict=True))
    assert near < 1e-5 < 1e-2 < far


def test_contestants_take_turns_back_and_forth() -> None:
    a, b = Contestant("mlp", "torch"), Contestant("mlp", "numpy")
    order = [sitting.contestants[0].backend for sitting in Plan([a, b], processes=3).sittings([a, b])]
    assert order == ["torch", "numpy", "numpy", "torch", "torch", "numpy"]
    (first, second) = Plan([a, Contestant("mlp", "torch", "native")], processes=2, together=True).sittings([a, Contestant("mlp", "torch", "native")])
    assert first.contestants == second.contestants[::-1]


def test_isolation_installs_what_is_installed_here() -> None:
    ours, theirs = requirements("numpy")
    assert ours == str(repository()) or ours.startswith("unimodel==")
    assert "numpy" in theirs
    assert requirements("not-installed")[1] == "unimodel-not-installed"


# the repository's own
@pytest.mark.skipif(repository() is None, reason="the loops written by hand are in the repository only")
def test_every_workload_has_a_loop_on_every_framework() -> None:
    folder = repository()
    assert folder is not None
    for name in ("torch", "tensorflow", "mxnet"):
        source = (folder / "benchmarks" / "native" / f"{name}_loops.py").read_text()
        assert set(re.findall(r'^    "([\w-]+)": ', source[source.index("\nLOOPS = {") :], re.MULTILINE)) == set(WORKLOADS)


def test_the_schema_in_the_docs_names_every_field() -> None:
    page = DOCS.read_text()
    found = a_record(1.0, 1)["unimodel"]
    (entry,) = found["contestants"]
    for name in (*found, *entry, *entry["start"], *entry["ratio"], *entry["processes"][0]):
        assert f'"{name}"' in page, name


def test_the_docs_name_every_workload() -> None:
    page = DOCS.read_text()
    for name in WORKLOADS:
        assert f"| {name} |" in page or f"`{name}`" in page


def test_the_table_goes_between_the_page_s_marks(tmp_path: Path) -> None:
    table = pytest.importorskip("benchmarks.table", reason="the repository is not on the path")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    table.put_into(page, table.table(a_record(1.0, 1)))
    written = page.read_text()
    assert written.startswith("before") and written.endswith("after\n") and "old" not in written
    assert "| regression, batch 32 | numpy |" in written
    assert text.duration(2.5) == "2.50 s"


def test_a_cause_quotes_the_error_s_own_line() -> None:
    printed = "Traceback (most recent call last):\n  File x\nunimodel.errors.PluginError: it is broken.\n  remedy:   reinstall it"
    assert _cause("it ended", Outcome(None, "it ended", printed)) == "it ended (unimodel.errors.PluginError: it is broken.)"
    assert _cause("it ended", Outcome(None, "it ended", "")) == "it ended"

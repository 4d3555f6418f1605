"""``unimodel diff``: planted faults are found at their op and line, healthy pairs pass, NaN is traced to its origin, and what fails says why."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_plugins import TWIN, install
from faulty_backends import CNN, FAULTS, MLP, WORDS, plant
from test_diff_pieces import piece_of
from typer.testing import CliRunner, Result

import unimodel as um
from unimodel import plugins
from unimodel.cli.app import app
from unimodel.diff.saved import read, write

OTHERS = [name for name in ("torch", "tensorflow", "mxnet") if name in plugins.names()]
with_torch = pytest.mark.skipif("torch" not in OTHERS, reason="the torch backend is not installed here")

CRASHES = "import ctypes\nlower('tanh')(lambda node, x: ctypes.string_at(0))"
RAISES = "@lower('tanh')\ndef _(node, x):\n    raise ValueError('no tanh today')"
HANGS = "import time\nlower('tanh')(lambda node, x: time.sleep(600))"
COARSE = """
def coarse(a):
    return (a.view('int32') & ~np.int32(0x1fff)).view('float32') if a.dtype == 'float32' else a

lower('matmul')(lambda node, a, b: coarse(np.ascontiguousarray(a)) @ coarse(np.ascontiguousarray(b)))
"""
"""Matrix products in 10 bits, as some hardware does them unless told not to; float64 is exact."""
MISFUSES = """
    def compile(self, graph, store, options=None):
        from unimodel.passes import differentiate, rewrite

        def visit(rewriter, node, inputs):
            before = node.inputs[0].producer if node.inputs else None
            if node.op.name == "batch_norm_training" and before is not None and before.op.name == "add":
                return rewriter.keep(node, inputs, {**node.attrs, "eps": 0.01})
            return None

        return super().compile(rewrite(differentiate(graph), visit), store, options)
"""
"""Right for each op alone, wrong where a batch norm follows a bias in one program."""
FORGETS = """
    def compile(self, graph, store, options=None):
        from unimodel.graph import Graph
        return super().compile(Graph(graph.inputs, graph.nodes, graph.outputs, graph.updates[:9], graph.output_names), store, options)
"""
"""Carries out nine updates at most."""
NO_FLOAT64 = """
    from unimodel.backend import Capability, never
    capabilities = {**NumpyBackend.capabilities, Capability.FLOAT64: never("its chip has none")}
"""
WRONG_TAPE = """
import torch
from unimodel.plugins import hookimpl
from unimodel_torch.ops import lower
from unimodel_torch.plugin import TorchBackend

lower("tanh")(lambda node, x: x + (torch.tanh(x) - x).detach())

class Faulty(TorchBackend):
    name = "wrong-tape"

@hookimpl
def unimodel_backend():
    return Faulty
"""
"""Torch with a tanh whose value is right, and whose own gradient is 1."""


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every faulty backend, and ``twin``, in which nothing is wrong."""
    folder = tmp_path_factory.mktemp("plugins")
    for name, fault in FAULTS.items():
        plant(folder, name, fault.kernel)
    for name, kernel in {"crashing": CRASHES, "raising": RAISES, "hanging": HANGS, "coarse": COARSE}.items():
        plant(folder, name, kernel)
    for name, body in {"misfusing": MISFUSES, "forgetting": FORGETS, "single": NO_FLOAT64}.items():
        plant(folder, name, "", body)
    install(folder, "twin", TWIN)
    if "torch" in OTHERS:
        install(folder, "wrong-tape", WRONG_TAPE)
    return folder


@pytest.fixture(autouse=True)
def here(faulty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(faulty)
    monkeypatch.setenv("PYTHONPATH", str(faulty))
    monkeypatch.chdir(tmp_path)


def written(source: str, name: str = "train.py") -> Path:
    path = Path(name).absolute()
    path.write_text(source)
    return path


def diff(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["diff", *map(str, arguments)])


def found(*arguments: object, status: int = 1) -> dict[str, Any]:
    """What ``--json`` prints, and nothing but that."""
    result = diff(*arguments, "--json")
    assert result.exit_code == status, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


# faults
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_at_its_op_and_line(name: str) -> None:
    fault = FAULTS[name]
    script = written(fault.script)
    parted = found(script, "--backends", f"numpy,{name}", "--reference", "twin")["parted"]
    assert (parted["step"], parted["phase"], parted["op"]) == (1, fault.phase, fault.op)
    assert parted["line"]["file"] == str(script)
    assert fault.line in parted["line"]["text"]
    assert parted["line"]["text"] == script.read_text().splitlines()[parted["line"]["line"] - 1].strip()
    assert (parted["blamed"], parted["kind"], parted["reference"]) == (name, "fault", "twin")
    assert parted["difference"] > 10 * parted["tolerance"]
    assert set(parted["statistics"]) == {"numpy", name}


@pytest.mark.parametrize("name", ["relu-mask", "matmul-square", "sgd-half-rate"])
def test_the_faulty_side_may_come_first(name: str) -> None:
    fault = FAULTS[name]
    parted = found(written(fault.script), "--backends", f"{name},numpy", "--reference", "twin")["parted"]
    assert (parted["op"], parted["blamed"]) == (fault.op, name)


@pytest.mark.skipif(not OTHERS, reason="no framework's backend is installed here")
def test_a_fault_is_found_beside_a_framework_too() -> None:
    parted = found(written(MLP), "--backends", f"{OTHERS[0]},layer-norm-unbiased")["parted"]
    assert (parted["op"], parted["blamed"], parted["reference"]) == ("layer_norm", "layer-norm-unbiased", "numpy")


def test_an_op_inside_a_composite_is_named_with_what_it_is_inside_of() -> None:
    parted = found(written(MLP), "--backends", "numpy,matmul-square", "--reference", "twin")["parted"]
    assert (parted["inside"], parted["op"], parted["line"]["layer"]) == (["linear"], "matmul", "fc2")


def test_a_fused_kernel_is_compared_with_its_own_decomposition() -> None:
    parted = found(written(MLP), "--backends", "numpy,softmax-axis", "--reference", "twin")["parted"]
    apart = parted["from_own_decomposition"]
    assert apart["numpy"] == 0
    assert apart["softmax-axis"] > 0.1


def test_the_text_says_where_what_and_who() -> None:
    script = written(MLP)
    result = diff(script, "--backends", "numpy,exp", "--reference", "twin")
    assert result.exit_code == 1
    for part in (
        "numpy and exp part in step 1, in the forward pass: exp",
        f"{script}:17, in forward: spread = um.ops.exp(-um.ops.abs(h))",
        "1.0e-03 apart, relative; 1e-05 is allowed",
        "a fault",
        "at fault    exp",
        "train.diff.safetensors",
    ):
        assert part in result.stdout
    assert "running" in result.stderr


def test_programs_that_are_wrong_only_together_are_narrowed_to_the_fewest_ops() -> None:
    parted = found(written(CNN), "--backends", "numpy,misfusing", "--reference", "twin")["parted"]
    assert (parted["op"], parted["phase"], parted["blamed"]) == ("add + batch_norm_training", "forward", "misfusing")
    assert "self.norm(x)" in parted["line"]["text"]


def test_a_step_that_is_wrong_only_as_a_whole_is_said_to_be() -> None:
    script = written(MLP)
    result = diff(script, "--backends", "numpy,forgetting", "--reference", "twin")
    assert result.exit_code == 1
    assert "numpy and forgetting part in step 1 as a whole, and in none of its ops alone." in result.stdout
    assert "new optimizer/" in result.stdout or "new fc" in result.stdout
    assert found("--replay", "train.diff.safetensors", "--backends", "numpy,forgetting")["parted"]
    assert not found("--replay", "train.diff.safetensors", "--backends", "numpy,twin", status=0)["parted"]


@with_torch
def test_a_gradient_that_the_framework_computes_wrongly_is_found_at_its_op() -> None:
    script = written(MLP.replace("SGD(lr=0.05, momentum=0.9))", 'SGD(lr=0.05, momentum=0.9), differentiation="native")'))
    answer = found(script, "--backends", "torch,wrong-tape", "--reference", "numpy")
    parted = answer["parted"]
    assert (parted["phase"], parted["op"], parted["native_gradient"]) == ("gradient", "gradient of tanh", True)
    assert "um.ops.tanh(h)" in parted["line"]["text"]
    assert parted["blamed"] == "wrong-tape"
    assert answer["backends"]["wrong-tape"]["differentiation"] == "native"


@with_torch
def test_a_backend_that_cannot_differentiate_is_compared_by_core_s_gradient() -> None:
    script = written(MLP.replace("SGD(lr=0.05, momentum=0.9))", 'SGD(lr=0.05, momentum=0.9), differentiation="native")'))
    answer = found(script, "--backends", "torch,numpy", "--steps", "1", status=0)
    assert [side["differentiation"] for side in answer["backends"].values()] == ["native", "core"]


def test_an_op_that_the_script_composes_itself_is_looked_into() -> None:
    own = MLP.replace("class Net", "@um.ops.composite()\ndef twice(x: 'Tensor'):\n    return um.ops.exp(x) * 2.0\n\nclass Net").replace(
        "spread = um.ops.exp(-um.ops.abs(h))", "spread = twice(-um.ops.abs(h))"
    )
    parted = found(written(own), "--backends", "numpy,exp", "--reference", "twin")["parted"]
    assert parted["op"] == "exp"
    assert "twice(" in parted["line"]["text"]


def test_a_step_of_one_s_own_with_two_regions_is_taken_apart() -> None:
    script = written(
        MLP.replace(
            "rng =",
            "class Twice(um.Trainer):\n"
            "    def step(self, batch):\n"
            "        x, y = batch\n"
            "        for rate in (1.0, 0.5):\n"
            "            loss, grads = um.value_and_grad(lambda: self.loss(self.model(x), y), wrt=self.model.parameters())\n"
            "            self.optimizer.update([g * rate for g in grads])\n"
            "        return {'loss': loss}\n"
            "rng =",
        ).replace("trainer = um.Trainer(", "trainer = Twice(")
    )
    parted = found(script, "--backends", "numpy,sgd-half-rate", "--reference", "twin")["parted"]
    assert (parted["phase"], parted["op"]) == ("update", "sgd_update")
    assert "self.optimizer.update" in parted["line"]["text"]
    assert found(script, "--backends", "numpy,twin", "--steps", "2", status=0)["parted"] is None


# bisect
def test_bisect_finds_the_smallest_input() -> None:
    parted = found(written(MLP), "--backends", "numpy,relu-mask", "--reference", "twin", "--bisect")["parted"]
    assert {name: entry["shape"] for name, entry in parted["inputs"].items()} == {"g": [1, 1], "y": [1, 1]}
    assert parted["inputs"]["y"]["values"] == [[0.0]]
    piece, kept, results = read(Path(parted["file"]))
    assert piece.arrays["g"].shape == (1, 1)
    assert set(results) == {"numpy", "relu-mask"}
    assert kept["bisected"]


def test_bisect_keeps_what_the_fault_needs() -> None:
    parted = found(written(MLP), "--backends", "numpy,matmul-square", "--reference", "twin", "--bisect")["parted"]
    shapes = {name: entry["shape"] for name, entry in parted["inputs"].items()}
    assert shapes["x2"] == [2, 2]  # the fault is in square matrices, and in one of one by one there is nothing to transpose
    parted = found(written(WORDS), "--backends", "numpy,embedding-gradient", "--reference", "twin", "--bisect")["parted"]
    assert parted["inputs"]["indices"]["shape"] == [1, 2]  # two that are the same
    first, second = parted["inputs"]["indices"]["values"][0]
    assert first == second


# the file
@pytest.mark.parametrize("name", ["exp", "batch-norm-eps", "adam-epsilon"])
def test_replay_reproduces_the_difference(name: str) -> None:
    kept = found(written(FAULTS[name].script), "--backends", f"numpy,{name}", "--reference", "twin", "--save", "kept.safetensors")["parted"]
    again = found("--replay", "kept.safetensors", "--backends", f"numpy,{name}")
    assert again["differences"][kept["result"]]["difference"] == kept["difference"]
    assert [side["from_kept"] for side in again["backends"].values()] == [0, 0]
    healthy = found("--replay", "kept.safetensors", "--backends", "twin,numpy", status=0)
    assert not healthy["parted"]
    assert found("--replay", "kept.safetensors", "--backends", "twin", status=0)["backends"].keys() == {"twin"}
    text = diff("--replay", "kept.safetensors", "--backends", f"numpy,{name}")
    assert text.exit_code == 1
    assert "The backends part." in text.stdout
    assert FAULTS[name].line in text.stdout


def test_the_file_is_safetensors_with_json_and_no_code() -> None:
    from safetensors import safe_open

    found(written(MLP), "--backends", "numpy,exp", "--reference", "twin")
    with safe_open("train.diff.safetensors", framework="numpy") as file:
        meta = json.loads(file.metadata()["unimodel.piece"])
        names = set(file.keys())
    assert meta["graph"]["nodes"][-1]["op"] == "exp"
    assert names == {"input/x", "result/numpy/0", "result/exp/0"}


def test_where_no_file_can_be_written_the_finding_is_still_told() -> None:
    result = diff(written(MLP), "--backends", "numpy,exp", "--reference", "twin", "--save", "nowhere/kept.safetensors")
    assert result.exit_code == 1
    assert "part in step 1" in result.stdout
    assert "the file cannot be written" in result.stderr


# healthy pairs
@pytest.mark.parametrize("script", [MLP, CNN, WORDS], ids=["mlp", "cnn", "words"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_healthy_pair_passes(script: str, dtype: str) -> None:
    other = OTHERS[0] if OTHERS else "twin"
    answer = found(written(script), "--backends", f"{other},numpy", "--dtype", dtype, "--steps", "2", status=0)
    assert answer["parted"] is None
    assert (answer["steps"], answer["precision"]) == (2, dtype)
    assert answer["largest"]
    assert not Path("train.diff.safetensors").exists()
    for entry in answer["largest"].values():
        assert entry["difference"] <= entry["tolerance"]
    order = [entry["difference"] for entry in answer["largest"].values()]
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize("other", OTHERS[1:])
def test_every_installed_framework_passes(other: str) -> None:
    answer = found(written(CNN), "--backends", f"numpy,{other}", "--steps", "1", status=0)
    assert answer["backends"][other]["version"]
    assert answer["whole_step"]["count"] == 1


def test_the_report_of_a_healthy_pair_is_a_table_by_op() -> None:
    result = diff(written(MLP), "--backends", "numpy,twin", "--steps", "3")
    assert result.exit_code == 0
    assert "Exactly equal: " in result.stdout
    assert "numpy and twin do not part in 3 steps of float32" in result.stdout


def test_noise_that_an_optimizer_makes_large_is_no_fault() -> None:
    """A bias before batch norm has gradient 0; what is computed is rounding, and Adam makes steps of full size of it."""
    if "torch" not in OTHERS:
        pytest.skip("needs two backends that round differently")
    answer = found(written(CNN), "--backends", "torch,numpy", "--steps", "4", status=0)
    assert answer["parted"] is None


def test_float64_tells_rounding_from_fault() -> None:
    parted = found(written(MLP), "--backends", "numpy,coarse", "--reference", "twin")["parted"]
    assert (parted["op"], parted["kind"]) == ("matmul", "rounding")
    assert parted["float64_difference"] < 1e-14
    assert found(written(MLP), "--backends", "numpy,coarse", "--dtype", "float64", status=0)["parted"] is None


def test_arguments_are_the_script_s() -> None:
    script = written(MLP + "\nimport sys\nassert sys.argv[1:] == ['--lr', '3', '--json'], sys.argv\n")
    result = diff(script, "--backends", "numpy,twin", "--steps", "50", "--lr", "3", "--", "--json")
    assert result.exit_code == 0, result.output


# NaN
NAN = """
import numpy as np
import unimodel as um

class Net(um.Model):
    def __init__(self):
        self.fc = um.nn.Linear(4, 4)

    def forward(self, x):
        h = self.fc(x)
        masked = um.ops.where(um.ops.less(h, 1e9), h, -float("inf"))
        p = um.ops.softmax(masked, axis=-1)
        centred = p - um.ops.mean(p, axis=-1, keepdims=True)
        return um.ops.log(centred * SIGN)

rng = np.random.Generator(np.random.Philox(0))
x, y = rng.standard_normal((40, 4)), rng.standard_normal((40, 4))
trainer = um.Trainer(Net(), loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.1))
trainer.fit((x, y), epochs=3, batch_size=10)
"""


def test_nan_names_the_op_that_made_it_with_its_inputs() -> None:
    script = written(NAN.replace("SIGN", "-1.0"))
    answer = found(script, "--backends", "numpy", "--nan")
    (origin, *_) = answer["origins"]
    assert (answer["step"], origin["what"], origin["phase"], origin["op"]) == (1, "NaN", "forward", "log")
    assert "um.ops.log(centred" in origin["line"]["text"]
    assert origin["inputs"]["x"]["min"] < 0
    assert origin["inputs"]["x"]["nan"] == 0
    assert origin["results"][0]["nan"] > 0
    assert "loss" in answer["results"]
    again = found("--replay", answer["file"], "--backends", "twin", status=0)
    assert again["backends"]["twin"]["results"]["output"]["nan"] == origin["results"][0]["nan"]
    assert "the first NaN was made in step 1, in the forward pass: log" in diff(script, "--backends", "numpy", "--nan").stdout


def test_nan_of_an_infinity_leads_back_to_what_made_the_infinity() -> None:
    script = written(NAN.replace("um.ops.log(centred * SIGN)", "um.ops.exp(h * 1e5) - um.ops.exp(h * 1e5 + 1.0)"))
    answer = found(script, "--backends", "numpy", "--nan")
    ops = [(origin["what"], origin["op"]) for origin in answer["origins"]]
    assert ops[0] == ("infinity", "exp")
    assert ("NaN", "subtract") in ops


def test_nan_in_a_later_step_is_found_there() -> None:
    script = written(NAN.replace("um.ops.log(centred * SIGN)", "h").replace("lr=0.1", "lr=1e12"))
    answer = found(script, "--backends", "numpy", "--nan")
    assert answer["step"] > 1
    assert answer["origins"][0]["op"]


def test_nan_in_the_data_is_said_to_be_there() -> None:
    script = written(NAN.replace("um.ops.log(centred * SIGN)", "h").replace("trainer =", "x[3, 2] = np.nan\ntrainer ="))
    answer = found(script, "--backends", "numpy", "--nan")
    (origin, *_) = answer["origins"]
    assert origin["entered"] == "batch batch.0"
    assert origin["inputs"]["batch.0"]["nan"] == 1
    assert "in what goes in: batch batch.0" in diff(script, "--backends", "numpy", "--nan").stdout


def test_a_script_that_checks_nothing_is_watched_all_the_same() -> None:
    script = written(NAN.replace("SIGN", "-1.0").replace("SGD(lr=0.1)", "SGD(lr=0.1), check_finite=False"))
    assert found(script, "--backends", "numpy", "--nan")["step"] == 1


def test_without_nan_nothing_is_found() -> None:
    result = diff(written(MLP), "--backends", "numpy", "--nan")
    assert (result.exit_code, result.stdout) == (0, "numpy: no NaN and no infinity in 6 steps.\n")
    assert found(written(MLP), "--backends", "numpy", "--nan", "--steps", "2", status=0)["steps"] == 2


# what fails
@pytest.mark.parametrize("order", ["numpy,crashing", "crashing,numpy"])
def test_a_backend_that_crashes_is_named_with_the_op_it_crashed_in(order: str) -> None:
    parted = found(written(MLP), "--backends", order)["parted"]
    assert (parted["op"], parted["phase"], parted["blamed"]) == ("tanh", "forward", "crashing")
    assert "SIGSEGV (segmentation fault)" in parted["error"]["cause"]
    assert "um.ops.tanh(h)" in parted["line"]["text"]
    assert parted["inputs"]["x"]["shape"] == [16, 8]
    again = diff("--replay", parted["file"], "--backends", order)
    assert again.exit_code == 1
    assert "crashing fails: its process was ended by SIGSEGV" in again.stdout


def test_a_backend_that_raises_is_named_with_op_and_cause() -> None:
    result = diff(written(MLP), "--backends", "numpy,raising")
    assert result.exit_code == 1
    assert "raising fails in step 1, in the forward pass: tanh" in result.stdout
    assert "ValueError: no tanh today" in result.stdout


def test_a_backend_that_hangs_ends_at_the_time_limit() -> None:
    parted = found(written(MLP), "--backends", "numpy,hanging", "--time-limit", "5")["parted"]
    assert (parted["op"], parted["error"]["cause"]) == ("tanh", "it did not answer within 5 s")


def test_a_script_that_fails_later_is_compared_up_to_there() -> None:
    script = written(MLP + "\nraise RuntimeError('no more')\n")
    answer = found(script, "--backends", "numpy,twin", "--steps", "50")
    assert answer["parted"] is None
    assert answer["steps"] == 6
    assert "RuntimeError: no more" in answer["script_errors"]["numpy"]


def test_a_script_that_fails_at_once_says_why() -> None:
    script = written("import unimodel as um\n1 / 0\n")
    answer = found(script, "--backends", "numpy,twin")
    assert answer["backends"]["numpy"]["error"] == f"ZeroDivisionError: division by zero ({script}:2)"
    assert f"({script}:2)" in diff(script, "--backends", "numpy", "--nan").stdout
    assert f"{script} failed on numpy: ZeroDivisionError" in diff(script, "--backends", "numpy,twin").stdout


def test_what_a_script_did_before_it_failed_is_compared() -> None:
    result = diff(written(MLP + "\n1 / 0\n"), "--backends", "numpy,twin", "--steps", "99999")
    assert result.exit_code == 1
    assert "did not get to its end: ZeroDivisionError" in result.stdout
    assert "train.py made before it failed, " in result.stdout


@pytest.mark.parametrize(
    ("source", "message"),
    [("print('hello')", "makes no um.Trainer"), ("import unimodel as um\num.Trainer(um.nn.Linear(1, 1))", "never trains")],
)
@pytest.mark.parametrize("options", [["--backends", "numpy,twin"], ["--backends", "numpy", "--nan"]])
def test_a_script_with_nothing_to_compare_is_wrong_usage(source: str, message: str, options: list[str]) -> None:
    result = diff(written(source), *options, "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backends", "numpy,pytorch"], "no backend is called 'pytorch'"),
        (["--backends", "numpy"], "two backends"),
        (["--backends", "numpy,numpy"], "two different backends"),
        (["--backends", "numpy,twin,exp"], "two different backends"),
        ([], "name what to compare: --backends A,B"),
        (["--backends", "numpy,twin", "--dtype", "float16"], "float32 or float64"),
        (["--backends", "numpy,single", "--dtype", "float64"], "single has no float64: never: its chip has none"),
        (["--backends", "numpy,twin", "--nan"], "one backend"),
        (["--backends", "numpy,twin", "--steps", "0"], "--steps"),
        (["--backends", "numpy,twin", "--reference", "nobody"], "nobody"),
        (["--backends", "numpy,twin", "--replay", "train.py"], "takes no SCRIPT"),
    ],
)
def test_wrong_usage_is_status_2_and_says_what_is_wrong(options: list[str], message: str) -> None:
    result = diff(written(MLP), *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_a_missing_script_is_wrong_usage() -> None:
    assert diff("--backends", "numpy,twin").exit_code == 2
    assert diff("nowhere.py", "--backends", "numpy,twin").exit_code == 2


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    def refused(path: Path) -> str:
        result = diff("--replay", path, "--backends", "numpy")
        assert (result.exit_code, result.stdout) == (2, "")
        return result.stderr

    assert "no file of unimodel diff" in refused(written("x = 1"))
    save_file({"a": np.zeros(3)}, tmp_path / "other.safetensors")
    assert "not written by unimodel diff" in refused(tmp_path / "other.safetensors")
    write(tmp_path / "good.safetensors", piece_of(lambda t: um.ops.exp(t[0]), np.zeros((2, 3), "float32")), {})
    whole = (tmp_path / "good.safetensors").read_bytes()
    for name, damage in {
        "newer": (b'\\"format\\": 1', b'\\"format\\": 9'),
        "op": (b'\\"op\\": \\"exp\\"', b'\\"op\\": \\"exq\\"'),
        "shape": (b"[2, 3]", b"[3, 3]"),
        "value": (b'\\"inputs\\": [0]', b'\\"inputs\\": [7]'),
    }.items():
        assert damage[0] in whole
        (tmp_path / f"{name}.safetensors").write_bytes(whole.replace(*damage))
        assert refused(tmp_path / f"{name}.safetensors")
    (tmp_path / "short.safetensors").write_bytes(whole[: len(whole) - 5])
    assert "damaged" in refused(tmp_path / "short.safetensors")


def test_core_does_not_import_diff() -> None:
    loaded = "import sys, unimodel; import unimodel.cli.app; print([m for m in sys.modules if m.startswith('unimodel.diff')])"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True).stdout == "[]\n"

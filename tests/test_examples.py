"""The examples: steps of one's own, written once, give the same numbers on every backend, and are what they say they are."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import plugins

FOLDER = Path(__file__).parents[1] / "examples"
BACKENDS = [name for name in ("torch", "tensorflow", "mxnet") if name in plugins.names()]

pytest.importorskip("sklearn", reason="the examples' data is scikit-learn's")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(*arrays: Any, size: int = 16, count: int = 4) -> list[tuple[Any, ...]]:
    return [tuple(a[i * size : (i + 1) * size] for a in arrays) for i in range(count)]


def episodes(example: ModuleType) -> list[Any]:
    """From a policy that does not learn, so that all backends see the same."""
    agent, rng = example.trainer(precision="float64", backend="numpy"), np.random.default_rng(5)
    return [example.episodes(agent.model, rng, count=4)[0] for _ in range(2)]


EXAMPLES: dict[str, tuple[Callable[[ModuleType], Any], Callable[..., um.Trainer]]] = {
    "gan_digits": (lambda m: rows(m.images()), lambda m, **o: m.trainer(**o)),
    "wgan_gp": (lambda m: rows(m.images()), lambda m, **o: m.trainer(**o)),
    "vae": (lambda m: rows(m.images()), lambda m, **o: m.trainer(**o)),
    "distillation": (lambda m: rows(*m.digits()[::2]), lambda m, **o: m.trainer(m.teacher(), **o)),
    "gradient_accumulation": (lambda m: rows(*m.digits()), lambda m, **o: m.trainer(**o)),
    "ema": (lambda m: rows(*m.digits()[::2]), lambda m, **o: m.trainer(**o)),
    "policy_gradient": (episodes, lambda m, **o: m.trainer(**o)),
    "dp_sgd": (lambda m: rows(*m.digits()[::2], size=6), lambda m, **o: m.trainer(**o)),
}
"""Some batches of each example, and its trainer."""


def run(name: str, **options: Any) -> tuple[list[dict[str, float]], um.Trainer]:
    module = load(name)
    batches, make = EXAMPLES[name]
    trainer = make(module, precision="float64", **options)
    return [{k: float(v) for k, v in trainer.train_step(batch).items()} for batch in batches(module)], trainer


def test_every_example_with_a_step_of_its_own_is_here() -> None:
    own = {p.stem for p in FOLDER.glob("*.py") if "def step(self" in p.read_text()}
    assert own == EXAMPLES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_same_losses_and_weights_on_every_backend(name: str) -> None:
    wanted, reference = run(name, backend="numpy")
    assert len({step[key] for step in wanted for key in step}) > len(wanted) / 2, "nothing moves"
    for backend in BACKENDS:
        found, trainer = run(name, backend=backend)
        for i, (a, e) in enumerate(zip(found, wanted, strict=True)):
            assert a == pytest.approx(e, rel=1e-8, abs=1e-10), f"{backend}, step {i}"
        for key, model in reference.models.items():
            for path, array in model.state_dict().items():
                np.testing.assert_allclose(trainer.models[key].state_dict()[path], array, rtol=1e-7, atol=1e-9, err_msg=f"{backend} {key}.{path}")


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_says_what_came_out(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    load(name).main(1)
    line = capsys.readouterr().out.strip().splitlines()[-1]
    assert line.startswith("numpy: ") and len(re.findall(r"\d+\.\d+", line)) >= 2 and "nan" not in line, line


def test_accumulated_gradients_are_those_of_the_whole_batch() -> None:
    module = load("gradient_accumulation")
    x, y = module.digits()
    parts, whole = (module.trainer(kind, precision="float64") for kind in (module.Accumulating, um.Trainer))
    for i in range(3):
        batch = x[i * 64 : (i + 1) * 64], y[i * 64 : (i + 1) * 64]
        assert float(parts.train_step(batch)["loss"]) == pytest.approx(float(whole.train_step(batch)["loss"]), rel=1e-12)
    for path, array in whole.model.state_dict().items():
        np.testing.assert_allclose(parts.model.state_dict()[path], array, rtol=1e-11, atol=1e-13)


def test_the_average_is_the_sum_of_all_weights_that_have_been() -> None:
    module = load("ema")
    x, _, y, _ = module.digits()
    trainer = module.trainer(precision="float64")
    network, average = trainer.models["network"], trainer.models["average"]
    path = "0.weight"
    seen = [network.state_dict()[path].copy()]
    np.testing.assert_array_equal(average.state_dict()[path], seen[0])
    for i in range(5):
        trainer.train_step((x[i * 32 : i * 32 + 32], y[i * 32 : i * 32 + 32]))
        seen.append(network.state_dict()[path].copy())
    d = trainer.decay
    closed = d**5 * seen[0] + sum((1 - d) * d ** (5 - i) * w for i, w in enumerate(seen) if i)
    np.testing.assert_allclose(average.state_dict()[path], closed, rtol=1e-12)


def test_private_gradients_are_those_of_single_samples() -> None:
    module = load("dp_sgd")
    x, _, y, _ = module.digits()
    x, y = x[:12], y[:12]
    private = module.trainer(precision="float64")
    private.noise, private.largest_norm = 0.0, 0.7
    start = private.model.state_dict()
    total = {path: np.zeros_like(array) for path, array in start.items()}
    norms = []
    for i in range(12):
        single = um.Trainer(private.model.__class__(*_layers()), um.losses.CrossEntropyLoss(), um.optim.SGD(lr=1.0), precision="float64")
        single.model.load_state_dict(start)
        single.train_step((x[i : i + 1], y[i : i + 1]))
        grads = {path: start[path] - array for path, array in single.model.state_dict().items()}
        norms.append(np.sqrt(sum((g * g).sum() for g in grads.values())))
        for path, g in grads.items():
            total[path] += g * min(0.7 / (norms[-1] + 1e-6), 1.0)
    assert min(norms) > 0.7 or max(norms) > 0.7, "nothing was clipped"
    private.train_step((x, y))
    for path, array in private.model.state_dict().items():
        np.testing.assert_allclose(array, start[path] - 0.5 * total[path] / 12, rtol=1e-10, atol=1e-12)


def _layers() -> list[um.Model]:
    return [um.nn.Linear(64, 32), um.nn.Tanh(), um.nn.Linear(32, 10)]


def test_what_is_drawn_in_a_step_is_drawn_anew_and_the_same_for_a_seed() -> None:
    runs = [[step["loss"] for step in run("vae", backend="numpy", seed=seed)[0]] for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_the_page_about_steps_shows_the_examples_as_they_are() -> None:
    page = (FOLDER.parent / "docs" / "training-steps.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    sources = [p.read_text() for p in FOLDER.glob("*.py")]
    assert len(blocks) == 2 and all(any(block in source for source in sources) for block in blocks)

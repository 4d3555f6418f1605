"""What users of PyTorch, Keras and NumPy write first by habit: each gets the line at fault, which ends in the comment ``here``, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from error_checks import LABELS, Forward, X, Y, classifier, says, trainer

import unimodel as um
from unimodel import nn, ops, plugins
from unimodel.errors import DataError, PluginError, ShapeError, TraceError, UnimodelError


def test_metrics_and_callbacks_that_are_no_list() -> None:
    metric, callback = um.metrics.MeanAbsoluteError(), um.callbacks.EarlyStopping()
    says(DataError, lambda: um.Trainer(nn.Linear(3, 1), metrics=metric, backend="numpy"), "metrics are a list", "metrics=[")  # here
    says(DataError, lambda: trainer().fit((X, Y), callbacks=callback), "callbacks are a list", "callbacks=[")  # here


@pytest.mark.parametrize("targets", [Y, Y.tolist()])
def test_inputs_and_targets_as_keras_takes_them(targets: Any) -> None:
    says(DataError, lambda: trainer().fit(X, targets), "one argument", "fit((x, y))")  # here
    says(DataError, lambda: trainer().evaluate(X, targets), "one argument", "evaluate((x, y))")  # here


def test_a_forward_without_return() -> None:
    def nothing(x: Any) -> None:
        ops.relu(x)

    class Net(um.Model):
        def forward(self, x: Any) -> Any:
            nothing(x)

    for use in ("fit", "predict"):
        call: Callable[[], Any] = lambda use=use: getattr(trainer(Net()), use)((X, Y) if use == "fit" else X)  # noqa: E731  # here
        says(TraceError, call, "forward of Net returned None", __file__, "return")


def test_pytorchs_functions_of_a_traced_tensor() -> None:
    torch = pytest.importorskip("torch", reason="framework missing: PyTorch is not installed")
    says(TraceError, lambda: um.run(lambda x: torch.relu(x), X), "torch.relu", "um.ops.relu")  # here
    says(TraceError, lambda: um.run(lambda x: torch.nn.functional.softmax(x, dim=1), X), "um.ops.softmax")  # here
    says(TraceError, lambda: um.run(lambda x: torch.cat([x, x]), X), "torch.cat", "um.ops.cat")  # here


def test_logits_of_a_language_model_against_its_tokens() -> None:
    logits, tokens = np.zeros((4, 6, 9), "float32"), np.zeros((4, 6), "int64")
    t = trainer(nn.Linear(9, 9), loss=um.losses.CrossEntropyLoss())
    says(ShapeError, lambda: t.fit((logits, tokens), verbose=False), "permute_dims(logits, (0, 2, 1))", "logits.reshape(-1, 9)", "target.reshape(-1)")  # here
    moved = trainer(Forward(lambda x: ops.permute_dims(x, (0, 2, 1))), loss=um.losses.CrossEntropyLoss(), optimizer=None)
    flat = um.run(lambda x, y: um.losses.CrossEntropyLoss()(x.reshape(-1, 9), y.reshape(-1)), logits, tokens)
    assert moved.evaluate((logits, tokens))["loss"] == pytest.approx(float(flat)) == pytest.approx(np.log(9))


def test_an_index_out_of_range_says_what_was_to_be_embedded_or_classified() -> None:
    says(DataError, lambda: nn.Embedding(5, 2)(np.array([1, 5])), "index 5", "num_embeddings larger than 5")  # here
    labels = LABELS.copy()
    labels[2] = 7
    says(DataError, lambda: classifier().fit((X, labels), verbose=False), "class index 7", "last layer larger than 7")  # here
    says(DataError, lambda: Forward(lambda i: ops.take(np.arange(3.0), i))(np.array([4])), "index 4", "the largest is 4")  # here


def test_an_optimizer_that_two_trainers_were_given() -> None:
    optimizer = um.optim.SGD(lr=0.1)
    first = trainer(optimizer=optimizer)
    trainer(optimizer=optimizer)
    says(TraceError, lambda: first.fit((X, Y), verbose=False), "another Trainer has taken", "an optimizer for each Trainer")  # here


def test_prompts_of_several_lengths() -> None:
    net = um.models.GPT2LMHeadModel(vocab_size=11, n_positions=32, n_embd=8, n_layer=1, n_head=2)
    says(DataError, lambda: net.generate([[1, 2], [3]]), "several lengths", "[2, 1]", "attention_mask", "padding_side='left'")  # here


def test_several_results_where_one_is_taken() -> None:
    says(TraceError, lambda: um.run(lambda x: ops.relu(ops.max_pool(x, 2)), np.ones((1, 1, 4, 4))), "a tuple of 2", "max_pool2d gives the values alone")  # here


@pytest.mark.parametrize(
    ("name", "meant"), [("pytorch", "torch"), ("Torch", "torch"), ("tf", "tensorflow"), ("TensorFlow", "tensorflow"), ("mx", "mxnet"), ("nunpy", "numpy")]
)
def test_a_backend_by_another_name(name: str, meant: str) -> None:
    says(PluginError, lambda: um.Trainer(nn.Linear(3, 1), backend=name), f"did you mean {meant!r}?")  # here


def test_remedies_name_distributions_that_exist() -> None:
    error = says(PluginError, lambda: um.use_backend("jax"), "'jax'", "unimodel new-backend jax")  # here
    assert "unimodel-jax" not in str(error)


def test_use_backend_without_with_holds_from_there_on() -> None:
    before = plugins.choose(None)
    token = plugins._chosen.set(None)
    try:
        um.use_backend("numpy")
        assert plugins._chosen.get() == "numpy"
        with pytest.raises(UnimodelError):
            um.use_backend("nowhere")
        assert plugins._chosen.get() == "numpy"
    finally:
        plugins._chosen.reset(token)
    assert plugins.choose(None) == before


def test_early_stopping_says_that_and_why_it_stops(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose in (True, False):
        stopping = um.callbacks.EarlyStopping("loss", min_delta=1e9, patience=2)
        history = trainer().fit((X, Y), epochs=20, callbacks=[stopping], verbose=verbose)
        assert len(history.history["loss"]) == 3
        text = capsys.readouterr().err
        assert ("stopped after epoch 3: loss has not improved on" in text and "for 2 epochs" in text) is verbose

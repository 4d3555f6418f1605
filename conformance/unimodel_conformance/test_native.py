"""The framework's own object: what ``trainer.native()`` hands out runs without unimodel and gives what ``predict`` gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import ops
from unimodel.backend import Capability
from unimodel.graph import Array
from unimodel_conformance.problems import PROBLEMS, Problem
from unimodel_conformance.subject import Subject, assert_close

pytestmark = [pytest.mark.concerns("native"), pytest.mark.needs(Capability.NATIVE_ARTIFACT)]


def call(subject: Subject, artifact: Any, *arrays: Array) -> Any:
    """The framework's object on the framework's arrays."""
    backend = subject.backend
    with backend.scope():
        result = artifact(*(backend.from_numpy(np.array(a)) for a in arrays))
    if isinstance(result, dict):
        return {k: np.asarray(backend.to_numpy(v)) for k, v in result.items()}
    if isinstance(result, (tuple, list)):
        found = [np.asarray(backend.to_numpy(v)) for v in result]
        return found[0] if len(found) == 1 else found
    return np.asarray(backend.to_numpy(result))


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_native_object(subject: Subject, problem: Problem) -> None:
    """After training, in eval mode, for several batch sizes."""
    trainer = problem.trainer() if subject.claims(Capability.TRAINING) else um.Trainer(problem.model())
    if subject.claims(Capability.TRAINING):
        problem.fit(trainer, 1)
    x, _ = problem.validation
    x = x.astype("float32") if x.dtype.kind == "f" else x
    artifact = trainer.native(x[:2])
    assert not type(artifact).__module__.startswith("unimodel."), f"native() gives a {type(artifact)}, which is unimodel's own"
    for size in (2, 5, 1):
        wanted = trainer.predict(x[:size])
        assert_close(call(subject, artifact, x[:size]), wanted, 1e-5, f"the native object on {size} samples")


def test_native_object_stands_alone(subject: Subject) -> None:
    """It is in eval mode, keeps its weights when the trainer's change, and does not touch them."""

    class Net(um.Model):
        def __init__(self) -> None:
            self.w = um.Parameter(np.array([2.0, 3.0], "float32"))
            self.drop = um.nn.Dropout(0.5)

        def forward(self, x: Any) -> Any:
            return ops.sum(self.drop(x) * self.w, axis=1)

    trainer = um.Trainer(Net())
    x = np.ones((3, 2), "float32")
    artifact = trainer.native(x)
    assert call(subject, artifact, x).tolist() == [5, 5, 5], "dropout is on in the native object"
    assert call(subject, artifact, x).tolist() == [5, 5, 5]
    assert trainer.predict(x).tolist() == [5, 5, 5]


def test_native_needs_an_example(subject: Subject) -> None:
    """Without one, and before any data, the error says what to do; after data none is needed."""

    class Double(um.Model):
        def forward(self, x: Any) -> Any:
            return x * 2.0

    trainer = um.Trainer(Double())
    with pytest.raises(um.errors.DataError, match="example"):
        trainer.native()
    trainer.predict(np.ones((2, 3), "float32"))
    assert call(subject, trainer.native(), np.ones((4, 3), "float32")).tolist() == [[2, 2, 2]] * 4

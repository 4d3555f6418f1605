"""PyTorch as the judge: one model on both sides, the same weights and inputs, and every number that comes out compared in float64.

The scalar that is differentiated is the sum of all results, each times ``cos`` of its position, so that no two elements count alike.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

import unimodel as um
from unimodel import nest
from unimodel.dim import product

TOLERANCE = 1e-10
SINGLE = 1e-5
"""What float32 may be off, of the largest element; where a case is so ill-conditioned that PyTorch's own float32 is off by a quarter of it or more, four times that."""


def close(ours: Any, theirs: Any, what: str = "", tolerance: float = TOLERANCE) -> None:
    """Equal to ``tolerance`` of the largest element, NaN and infinity included."""
    if hasattr(theirs, "detach"):
        theirs = theirs.detach().numpy()
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, f"{what}: shape {ours.shape}, PyTorch {theirs.shape}"
    finite = theirs[np.isfinite(theirs)] if theirs.dtype.kind == "f" else theirs
    scale = max(1.0, float(np.abs(finite).max())) if finite.size else 1.0
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * scale, equal_nan=True, err_msg=what)


def number(results: Any) -> Any:
    """One scalar that depends on every floating result in a way of its own; traced tensors and torch's alike."""
    total: Any = 0.0
    for tensor in nest.leaves(results):
        if isinstance(tensor, torch.Tensor):
            if tensor.is_floating_point():
                total = total + (tensor * torch.cos(torch.arange(tensor.numel(), dtype=tensor.dtype)).reshape(tensor.shape)).sum()
        elif "float" in tensor.dtype:
            places = um.ops.arange(product(tensor.shape), dtype=tensor.dtype)
            total = total + um.ops.sum(tensor * um.ops.reshape(um.ops.cos(places), tensor.shape))
    return total


class Probe(um.Trainer):
    """Runs a model once and returns its results, its gradients with respect to every parameter and floating input, and sets its buffers."""

    def step(self, batch: Any) -> dict[str, Any]:
        inputs = batch if isinstance(batch, tuple) else (batch,)
        parameters = dict(self.model.named_parameters())
        floating = [x for x in inputs if "float" in x.dtype]

        def objective() -> Any:
            results = self.model(*inputs)
            return number(results), results

        (_, results), (by_parameter, by_input) = um.value_and_grad(objective, wrt=(list(parameters.values()), floating), has_aux=True)
        report = {f"result {i}": t for i, t in enumerate(nest.leaves(results))}
        report.update({f"gradient of {n}": g for n, g in zip(parameters, by_parameter, strict=True) if g is not None})
        report.update({f"gradient of input {i}": g for i, g in enumerate(by_input) if g is not None})
        return report


def results_of(model: um.Model, inputs: Sequence[np.ndarray], backend: str = "numpy") -> dict[str, np.ndarray]:
    return _arrays(Probe(model, backend=backend, precision="float64").train_step(tuple(inputs)))


def _arrays(report: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in report.items()}


def torch_results_of(module: torch.nn.Module, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    tensors = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    results = module(*tensors)
    loss = number(results)
    for parameter in module.parameters():
        parameter.grad = None
    if loss.requires_grad:
        loss.backward()
    report = {f"result {i}": t.detach().numpy() for i, t in enumerate(nest.leaves(results))}
    report.update({f"gradient of {n}": p.grad.numpy() for n, p in module.named_parameters() if p.grad is not None})
    report.update({f"gradient of input {i}": x.grad.numpy() for i, x in enumerate(t for t in tensors if t.requires_grad) if x.grad is not None})
    return report


def agree(model: um.Model, module: torch.nn.Module, *batches: Sequence[np.ndarray], float32: bool = True) -> None:
    """The model, given the module's weights, does what the module does on these batches in turn; afterwards their buffers agree.

    About every fourth case, the same ones each time, is looked at in float32 too, unless the case is one that rounding changes: a joint, a cancellation, an eps that depends on the dtype.
    """
    module = module.double()
    weights = {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}
    assert list(model.state_dict()) == list(weights), "state-dict keys"
    if float32 and zlib.crc32(b"".join(x.tobytes() for x in batches[0])) % 4 == 0:
        single(model, module, weights, batches[0])
    model.load_state_dict(weights)
    probe = Probe(model, backend="numpy", precision="float64")
    for inputs in batches:
        theirs = torch_results_of(module, inputs)
        ours = _arrays(probe.train_step(tuple(inputs)))
        assert sorted(ours) == sorted(theirs)
        for name, array in theirs.items():
            close(ours[name], array, f"{name} of {model}")
    for name, tensor in module.state_dict().items():
        close(model.state_dict()[name], tensor.numpy(), f"{name} of {model} afterwards")


def single(model: um.Model, module: torch.nn.Module, weights: dict[str, np.ndarray], inputs: Sequence[np.ndarray]) -> None:
    """In float32 the model's results and gradients are those that the module has in float64 for the same rounded numbers."""
    rounded = {n: _rounded(a) for n, a in weights.items()}
    twin, half = copy.deepcopy(module), copy.deepcopy(module).float()
    twin.load_state_dict({n: torch.tensor(a) for n, a in rounded.items()})
    half.load_state_dict({n: torch.tensor(a) for n, a in rounded.items()})
    inputs = [_rounded(x) for x in inputs]
    theirs = torch_results_of(twin, inputs)
    other = copy.deepcopy(model)
    other.load_state_dict(rounded)
    ours = _arrays(Probe(other, backend="numpy", precision="float32").train_step(tuple(inputs)))
    try:
        for name, array in theirs.items():
            close(ours[name], array, f"{name} of {model} in float32", SINGLE)
    except AssertionError:
        same = torch_results_of(half, [x.astype("float32") if x.dtype == "float64" else x for x in inputs])
        for name, array in theirs.items():
            off = float(np.abs(same[name] - array).max(initial=0.0)) / max(1.0, float(np.abs(array).max(initial=0.0)))
            close(ours[name], array, f"{name} of {model} in float32, where PyTorch is off by {off}", max(SINGLE, 4 * off))


def _rounded(array: np.ndarray) -> np.ndarray:
    return array.astype("float32").astype("float64") if array.dtype == "float64" else array

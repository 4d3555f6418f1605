"""Images read between their pixels equal PyTorch's ``grid_sample`` and ``affine_grid``: results, and gradients of image, grid and map, in float64 and float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

import unimodel as um
from unimodel.errors import ShapeError

torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
from torch_oracle import agree  # noqa: E402  needs torch

pytestmark = [pytest.mark.torch_oracle, pytest.mark.filterwarnings("ignore::UserWarning")]

seeds = st.integers(0, 2**32 - 1)
flags = st.booleans()
F = torch.nn.functional


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


class Ours(um.Model):
    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call

    def forward(self, *inputs: Any) -> Any:
        return self.call(um.ops, *inputs)


class Theirs(torch.nn.Module):
    def __init__(self, call: Callable[..., Any]) -> None:
        super().__init__()
        self.call = call

    def forward(self, *inputs: Any) -> Any:
        return self.call(F, *inputs)


def compare(call: Callable[..., Any], *inputs: np.ndarray, float32: bool = True) -> None:
    agree(Ours(call), Theirs(call), list(inputs), float32=float32)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@given(seeds, st.integers(2, 3), st.integers(1, 2), st.integers(1, 2), st.sampled_from([False, True, None]), st.sampled_from([0.5, 1.5, 4.0]), st.data())
@examples(12)
def test_grid_sample(mode: str, padding_mode: str, seed: int, rank: int, batch: int, channels: int, corners: Any, reach: float, data: st.DataObject) -> None:
    rank = 2 if mode == "bicubic" else rank
    spatial = [data.draw(st.integers(1, 5 if rank == 2 else 3)) for _ in range(rank)]
    places = [data.draw(st.integers(1, 3)) for _ in range(rank)]
    grid = np.random.default_rng(seed).uniform(-reach, reach, (batch, *places, rank))

    def call(ops: Any, x: Any, grid: Any) -> Any:
        if mode == "nearest":  # which has no gradient for the grid: PyTorch's is zeros, ours is none
            grid = ops.stop_gradient(grid) if ops is um.ops else grid.detach()
        return ops.grid_sample(x, grid, mode, padding_mode, corners)

    compare(call, normal(seed, batch, channels, *spatial), grid, float32=mode != "nearest")  # rounding may choose the other pixel


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_places_upon_pixels_and_at_the_edge(mode: str, padding_mode: str, align_corners: bool) -> None:
    """Where the result has a joint, the gradient is the one that PyTorch chose. Steps of an eighth are exact."""
    line = np.linspace(-1.5, 1.5, 25)
    grid = np.stack(np.meshgrid(line, line), axis=-1)[None]
    compare(
        lambda ops, x, grid: ops.grid_sample(x, grid, mode, padding_mode, align_corners), normal(0, 1, 2, 4, 5 if align_corners else 8), grid, float32=False
    )


@given(seeds, st.integers(2, 3), st.integers(1, 3), st.sampled_from([False, True, None]), st.data())
def test_affine_grid(seed: int, rank: int, batch: int, corners: Any, data: st.DataObject) -> None:
    size = [batch, 2, *(data.draw(st.integers(1, 4)) for _ in range(rank))]
    compare(lambda ops, theta: ops.affine_grid(theta, size, corners), normal(seed, batch, rank, rank + 1))


@given(seeds, st.integers(2, 3), flags)
@examples(10)
def test_a_spatial_transformer(seed: int, rank: int, corners: bool) -> None:
    def call(ops: Any, x: Any, theta: Any) -> Any:
        return ops.grid_sample(x, ops.affine_grid(theta, x.shape, corners), align_corners=corners)

    compare(call, normal(seed, 2, 2, *(4, 3, 2)[:rank]), normal(seed + 1, 2, rank, rank + 1))


def test_a_place_that_is_not_a_number_reads_no_pixel_and_breaks_nothing() -> None:
    x, grid = np.ones((1, 1, 2, 2), "float32"), np.zeros((1, 1, 2, 2), "float32")
    grid[0, 0, 0] = np.nan
    for mode in ("bilinear", "nearest", "bicubic"):
        assert um.ops.grid_sample(x, grid, mode)[0, 0, 0, 1] > 0


X, G, T = np.ones((2, 3, 4, 5), "float32"), np.zeros((2, 6, 7, 2), "float32"), np.zeros((2, 2, 3), "float32")
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "coordinates": (lambda: um.ops.grid_sample(X, np.zeros((2, 6, 7, 3), "float32")), "grid (2, 6, 7, 3)"),
    "rank": (lambda: um.ops.grid_sample(X, np.zeros((2, 6, 7, 1, 2), "float32")), "last dimension"),
    "samples": (lambda: um.ops.grid_sample(X, G[:1]), "a grid for each image"),
    "mode": (lambda: um.ops.grid_sample(X, G, "trilinear"), "bilinear, nearest, bicubic for 2 dimensions"),
    "cubic volumes": (lambda: um.ops.grid_sample(X[:, :, None], np.zeros((2, 1, 6, 7, 3), "float32"), "bicubic"), "bilinear, nearest for 3 dimensions"),
    "padding_mode": (lambda: um.ops.grid_sample(X, G, padding_mode="reflect"), "zeros, border, reflection"),
    "integers": (lambda: um.ops.grid_sample(X.astype("int64"), G), "floating"),
    "no pixel": (lambda: um.ops.grid_sample(X[:, :, :0], G), "a pixel in it"),
    "theta": (lambda: um.run(lambda t: um.ops.affine_grid(t, (2, 3, 4, 5, 6)), T), "theta (2, 2, 3)"),
    "maps": (lambda: um.run(lambda t: um.ops.affine_grid(t, (3, 3, 4, 5)), T), "a map for each image"),
    "no place": (lambda: um.run(lambda t: um.ops.affine_grid(t, (2, 3, 0, 5)), T), "at least one place"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit(name: str) -> None:
    call, words = REFUSED[name]
    with pytest.raises(ShapeError) as caught:
        call()
    assert words in str(caught.value) and caught.value.source is not None and caught.value.source.file == __file__

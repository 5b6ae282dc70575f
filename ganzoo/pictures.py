"""Sample pictures: a histogram on the line, a scatter over the true density in the plane, a grid of images."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from ganzoo.dataset import Dataset, TractableDataset
from ganzoo.files import atomic_write

SHOWN: Final = 2_000
INK: Final = "#c2410c"


def draw(dataset: Dataset, x: Tensor, path: Path, title: str = "") -> None:
    """Draw samples ``x (n, *shape)`` of a generator of this dataset into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=9)
    paint(axes, dataset, x)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    atomic_write(path, drawn.getvalue())


def paint(axes: Any, dataset: Dataset, x: Tensor) -> None:
    """The same on matplotlib axes. Samples that are not finite are left out."""
    style = {1: _histogram, 2: _scatter}.get(math.prod(dataset.shape), _pairs)
    style = _images if len(dataset.shape) == 3 else style
    style(axes, dataset, x[x.flatten(1).isfinite().all(1)])


def _histogram(axes: Any, dataset: Dataset, x: Tensor) -> None:
    real = dataset.part("held-out").x
    low, high = float(real.min()), float(real.max())
    shown = x.flatten()[(x.flatten() >= low) & (x.flatten() <= high)]
    height = torch.full_like(shown, 80 / (len(x) * (high - low)))  # what lies outside counts, and is not drawn
    axes.hist(shown.numpy(), 80, (low, high), weights=height.numpy(), color=INK, alpha=0.6, label="generated")
    if isinstance(dataset, TractableDataset):
        at = torch.linspace(low, high, 500)[:, None]
        axes.plot(at.flatten().numpy(), dataset.log_prob(at).exp().numpy(), color="black", lw=1, label="true density")
    axes.legend(fontsize=8)


def _scatter(axes: Any, dataset: Dataset, x: Tensor) -> None:
    real = dataset.part("held-out").x
    low, high = real.amin(0), real.amax(0)
    margin = 0.15 * (high - low)
    (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
    if isinstance(dataset, TractableDataset):
        grid = torch.cartesian_prod(torch.linspace(bottom, top, 240), torch.linspace(left, right, 240)).flip(1)
        # A square root and a floor under the width of a mode, else narrow modes would fall between the pixels.
        density = dataset.log_prob(grid).reshape(240, 240)
        shown = torch.nn.functional.max_pool2d(density.exp()[None], 3, 1, 1)[0].sqrt()
        axes.imshow(shown.numpy(), origin="lower", extent=(left, right, bottom, top), cmap="Greys", aspect="auto")
    else:
        axes.scatter(*real[:SHOWN].T.numpy(), s=1, color="lightgrey")
    axes.scatter(*x.T.numpy(), s=2, color=INK, alpha=0.6, linewidths=0)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_box_aspect(1)


def _pairs(axes: Any, dataset: Dataset, x: Tensor) -> None:
    """Anything else: its first two coordinates beside the data's."""
    for points, colour in ((dataset.part("held-out").x, "lightgrey"), (x, INK)):
        axes.scatter(*points.flatten(1)[:SHOWN, :2].T.numpy(), s=2, color=colour)


def _images(axes: Any, dataset: Dataset, x: Tensor) -> None:
    """An 8 × 8 grid."""
    low, high = dataset.limits
    x = torch.nn.functional.pad(((x[:64] - low) / (high - low)).clamp(0, 1), (1, 1, 1, 1), value=0.5)
    side = math.isqrt(len(x))
    rows = x[: side * side].unflatten(0, (side, side)).permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)
    channels = rows.shape[-1]
    axes.imshow(rows.squeeze(-1).numpy() if channels == 1 else rows[..., :3].numpy(), cmap="gray", vmin=0, vmax=1)
    axes.axis("off")

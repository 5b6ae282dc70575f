"""Sample pictures: a histogram on the line, a scatter over the true density in the plane, a grid of images."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from ganzoo import density as truth
from ganzoo.dataset import Dataset, Description, TractableDataset
from ganzoo.density import Density
from ganzoo.errors import DataError
from ganzoo.files import atomic_write

SHOWN: Final = 2_000
#: Images in a picture, a square of them.
IMAGES: Final = 64
INK: Final = "#c2410c"


def draw(dataset: Dataset | Description, x: Tensor, path: Path, title: str = "") -> None:
    """Draw samples ``x (n, *shape)`` of a generator of this dataset into a PNG file. Of images a description will
    do."""
    with _drawn(path, title) as axes:
        paint(axes, dataset, x)


def count(shape: Sequence[int]) -> int:
    """How many samples a picture shows."""
    return IMAGES if len(shape) == 3 else SHOWN


def draw_rows(about: Description, x: Tensor, path: Path, title: str = "", heads: Sequence[str] = ()) -> None:
    """Draw ``x (rows, columns, *shape)`` into a PNG file, images of a row beside each other, under the columns'
    ``heads``."""
    rows, columns = x.shape[:2]
    longest = max(map(len, heads), default=0)
    with _drawn(path, title, (max(2.0, 0.5 * columns), max(2.0, 0.5 * rows) + 0.08 * longest), whole=True) as axes:
        _grid(axes, about, x.flatten(0, 1), columns)
        if heads:
            axes.axis("on")
            axes.spines[:].set_visible(False)
            axes.set_yticks([])
            at = [(column + 0.5) * (x.shape[-1] + 2) for column in range(columns)]
            axes.set_xticks(at, heads, rotation=90, fontsize=7)
            axes.tick_params(top=False, bottom=False, labeltop=True, labelbottom=False, pad=0)


def write(about: Description, x: Tensor, path: Path) -> None:
    """Write one image ``(channels, height, width)`` as it is, a pixel for a pixel, into a PNG file."""
    from PIL import Image

    levels = (256 * about.shown(x)).floor().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    drawn = io.BytesIO()
    Image.fromarray(levels.squeeze(-1) if levels.shape[-1] == 1 else levels).save(drawn, "png")
    atomic_write(path, drawn.getvalue())


def read(about: Description, path: Path) -> Tensor:
    """The image in a file as a sample ``(channels, height, width)`` of these data.

    A level k is the middle of what is dequantised to it. It is decoded as `image_file.decoded` says.

    Raises:
        DataError: there is no image, or it is of another size or other channels.
    """
    from ganzoo.image_file import decoded

    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); give a .png or .jpg file") from error
    image = decoded(content, str(path))
    channels, height, width = about.shape
    grey = image.mode == "L"
    kinds = {True: "grey", False: "in colour"}
    if (width, height) != image.size or (channels == 1) != grey:
        is_one, takes = (
            f"{image.width} × {image.height} and {kinds[grey]}",
            f"{width} × {height} and {kinds[channels == 1]}",
        )
        raise DataError(f"{path} is {is_one}, and images here are {takes}: resize or convert it first")
    levels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return about.valued((levels.float().reshape(height, width, channels).permute(2, 0, 1) + 0.5) / 256)


@contextmanager
def _drawn(path: Path, title: str, size: tuple[float, float] = (4, 4), whole: bool = False) -> Iterator[Any]:
    """Axes that are written as a picture of ``size`` inches, or with ``whole`` of as many as what is on them takes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=9)
    yield axes
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None}, bbox_inches="tight" if whole else None)
    atomic_write(path, drawn.getvalue())


def paint(axes: Any, dataset: Dataset | Description, x: Tensor) -> None:
    """The same on matplotlib axes. Samples that are not finite are left out."""
    x = x[x.flatten(1).isfinite().all(1)]
    if len(dataset.shape) == 3:
        _grid(axes, dataset, x[:IMAGES], math.isqrt(len(x[:IMAGES])))
    elif isinstance(dataset, Dataset):
        {1: _histogram, 2: _scatter}.get(math.prod(dataset.shape), _pairs)(axes, dataset, x)


def _histogram(axes: Any, dataset: Dataset, x: Tensor) -> None:
    real = dataset.part("held-out").x
    low, high = float(real.min()), float(real.max())
    shown = x.flatten()[(x.flatten() >= low) & (x.flatten() <= high)]
    height = torch.full_like(shown, 80 / (len(x) * (high - low)))  # what lies outside counts, and is not drawn
    axes.hist(shown.numpy(), 80, range=(low, high), weights=height.numpy(), color=INK, alpha=0.6, label="generated")
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


def _grid(axes: Any, about: Dataset | Description, x: Tensor, columns: int) -> None:
    """Images, so many in a row, as far as they fill rows."""
    x = torch.nn.functional.pad(about.shown(x), (1, 1, 1, 1), value=0.5)
    whole = len(x) // columns * columns
    rows = x[:whole].unflatten(0, (-1, columns)).permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)
    channels = rows.shape[-1]
    axes.imshow(rows.squeeze(-1).numpy() if channels == 1 else rows[..., :3].numpy(), cmap="gray", vmin=0, vmax=1)
    axes.axis("off")


def draw_critic(
    log_ratio: Callable[[Tensor], Tensor],
    samples: tuple[Tensor, Tensor],
    densities: tuple[Density | None, Density | None],
    path: Path,
    title: str,
) -> None:
    """``D = 1/(1 + e^{−log_ratio(x)})`` on the line or in the plane, over real and generated samples; beside it
    ``D* = p/(p + q)`` where both densities are known."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    p, q = densities
    flat = samples[0][0].numel() == 1
    best = None if p is None or q is None else lambda x: truth.log_ratio(p, q, x)
    panels = 1 if flat else 2
    figure = Figure(figsize=(4.2 * panels + 0.8, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=9)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    (_critic_on_the_line if flat else _critic_in_the_plane)(axes, log_ratio, samples, best)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    atomic_write(path, drawn.getvalue())


def _range(samples: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    x = torch.cat([side.flatten(1) for side in samples])
    low, high = (x.quantile(level, dim=0) for level in (1e-3, 1 - 1e-3))  # beyond, no critic has seen anything
    margin = 0.1 * (high - low).clamp_min(1e-6)
    return low - margin, high + margin


def _critic_on_the_line(
    axes: Any, log_ratio: Callable[[Tensor], Tensor], samples: tuple[Tensor, Tensor], best: Any
) -> None:
    low, high = (float(bound) for bound in _range(samples))
    at = torch.linspace(low, high, 800)
    x = at[:, None].unflatten(1, samples[0].shape[1:])
    below = axes[0].twinx()
    for side, colour, name in zip(samples, ("black", INK), ("real", "generated"), strict=True):
        below.hist(side.flatten().numpy(), 100, range=(low, high), density=True, color=colour, alpha=0.2, label=name)
    below.set_yticks([])
    axes[0].plot(at, torch.sigmoid(log_ratio(x)), color=INK, lw=1.5, label="D, a critic's")
    if best is not None:
        axes[0].plot(at, torch.sigmoid(best(x)), color="black", lw=1, ls="--", label="D* = p/(p + q)")
    axes[0].set_ylim(-0.02, 1.02)
    axes[0].set_zorder(below.get_zorder() + 1)
    axes[0].patch.set_visible(False)
    handles = [each.get_legend_handles_labels() for each in (axes[0], below)]
    axes[0].legend(handles[0][0] + handles[1][0], handles[0][1] + handles[1][1], fontsize=8)


def _critic_in_the_plane(
    axes: Any, log_ratio: Callable[[Tensor], Tensor], samples: tuple[Tensor, Tensor], best: Any
) -> None:
    low, high = _range(samples)
    (left, bottom), (right, top) = low.tolist(), high.tolist()
    grid = torch.cartesian_prod(torch.linspace(bottom, top, 240), torch.linspace(left, right, 240)).flip(1)
    grid = grid.unflatten(1, samples[0].shape[1:])
    style = {"origin": "lower", "extent": (left, right, bottom, top), "aspect": "auto", "cmap": "coolwarm"}
    for ax, function, name in ((axes[0], log_ratio, "D, a critic's"), (axes[1], best, "D* = p/(p + q)")):
        if function is not None:
            shown = ax.imshow(torch.sigmoid(function(grid)).reshape(240, 240).numpy(), vmin=0, vmax=1, **style)
            ax.figure.colorbar(shown, ax=ax, shrink=0.8)
            ax.set_title(name, fontsize=9)
        else:
            for side, colour, what in zip(samples, ("black", INK), ("real", "generated"), strict=True):
                ax.scatter(*side[:SHOWN].flatten(1).T.numpy(), s=2, color=colour, alpha=0.5, linewidths=0, label=what)
            ax.legend(fontsize=8)
        ax.set_xlim(left, right)
        ax.set_ylim(bottom, top)

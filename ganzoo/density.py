"""Known densities, and integrals between two of them: what a meter is held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import torch
from torch import Tensor

from ganzoo.dataset import Batch
from ganzoo.errors import IncompatibleError

#: Log ratios are cut here: the square of what they stand for is still a number.
FARTHEST: Final = 340.0
#: Cells of a quadrature on the line, for each width of the samples' range.
CELLS: Final = 50_000
#: How far from 1 the mass of a density in the cells may be, for the cells to be narrow enough.
WHOLE: Final = 1e-3
#: Samples of each side where an integral is a mean over samples, in as many groups as its error is taken from.
SAMPLES: Final = 200_000
GROUPS: Final = 20
#: An integral whose standard error is a larger share of it is not known: its tails are too heavy for any sample.
WORST: Final = 0.05


class Density(Protocol):
    """A distribution that can be sampled and whose density is known. A `TractableDataset` is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """``log p(x)`` in nats, ``(n,)``; −∞ where there is none."""
        ...

    def sample(self, n: int, rng: torch.Generator) -> Batch:
        """``n`` samples."""
        ...


class Truth(NamedTuple):
    """A value that follows from the densities alone, and its standard error where it is a mean over samples."""

    value: float
    error: float = 0.0


def log_ratio(p: Density, q: Density, x: Tensor) -> Tensor:
    """``log p/q`` at ``x``, ``(n,)``, cut at ±`FARTHEST`; 0 where neither has any mass."""
    return _log_ratio(p, q, x).clamp(-FARTHEST, FARTHEST)


def _log_ratio(p: Density, q: Density, x: Tensor) -> Tensor:
    a, b = p.log_prob(x).double(), q.log_prob(x).double()
    if bool((a.isnan() | b.isnan()).any()):
        raise IncompatibleError("a density is not a number at some of its samples")
    nowhere = a.isneginf() & b.isneginf()
    return torch.where(nowhere, 0.0, a - b)


def mixture_mean(g: Callable[[Tensor], Tensor], p: Density, q: Density) -> Truth | None:
    """``∫ ½ (p + q) g(log p/q)``, for a function ``g`` of log ratios ``(n,)``; infinite where it is, none where it
    cannot be told.

    On the line it is a sum over a grid, which is widened as long as that adds to it; elsewhere, and where the grid is
    too coarse for one of the two, a mean over samples.
    """
    on_the_line = _on_the_line(g, p, q) if math.prod(p.shape) == 1 else None
    (found, nearer), beyond = on_the_line or _over_samples(g, p, q)
    if found is None or nearer is None:
        return None
    if abs(found.value - nearer.value) > 1e-3 * abs(found.value):  # then it is the cut that was measured
        return Truth(math.inf) if beyond else None
    return found


def _cuts(g: Callable[[Tensor], Tensor], ratio: Tensor) -> list[Tensor]:
    """``g`` of the log ratios, cut where they are and at half of that."""
    return [g(ratio.clamp(-cut, cut)) for cut in (FARTHEST, FARTHEST / 2)]


def _over_samples(g: Callable[[Tensor], Tensor], p: Density, q: Density) -> tuple[list[Truth | None], bool]:
    """The mean with its error for both cuts, and whether one density has mass where the other has none."""
    means, beyond = list[list[float]](), False
    for group in range(GROUPS):
        rng = torch.Generator().manual_seed(group)
        ratio = _log_ratio(p, q, torch.cat([side.sample(SAMPLES // GROUPS, rng).x for side in (p, q)]))
        beyond = beyond or bool(ratio.isinf().any())
        means.append([float(value.mean()) for value in _cuts(g, ratio)])
    return [from_groups(each) for each in zip(*means, strict=True)], beyond


def from_groups(means: Sequence[float]) -> Truth | None:
    """The mean of independent groups with its standard error; none where the error is large beside it."""
    if any(map(math.isnan, means)):
        return None
    value = math.fsum(means) / len(means)
    if math.isinf(value):
        return Truth(value)
    error = math.sqrt(math.fsum((mean - value) ** 2 for mean in means) / len(means) / (len(means) - 1))
    return Truth(value, error) if error <= WORST * max(abs(value), 1e-3) else None


def line(p: Density, q: Density, widths: float = 2.0) -> Tensor:
    """The middles of cells on the line, ``(n,)`` in float64: ``widths`` times the range of samples of both."""
    rng = torch.Generator().manual_seed(0)
    x = torch.cat([side.sample(20_000, rng).x.flatten().double() for side in (p, q)])
    middle, half = float(x.max() + x.min()) / 2, widths * float(x.max() - x.min()) / 2
    n = int(widths * CELLS)
    return middle + half * ((2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1)


def weighted_line(p: Density, q: Density, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """``x (n,)`` on the line, evenly, and the mass of ``p`` and of ``q`` in the cells around them."""
    x = line(p, q)[:: int(2 * CELLS) // cells]
    mass = [side.log_prob(x[:, None].unflatten(1, p.shape)).exp().double() for side in (p, q)]
    return x, mass[0] / mass[0].sum(), mass[1] / mass[1].sum()


def _on_the_line(g: Callable[[Tensor], Tensor], p: Density, q: Density) -> tuple[list[Truth | None], bool] | None:
    """None where the cells are too wide for one of the densities, which then has not its whole mass in them."""
    sums, beyond = list[list[float]](), False
    for widths in (1.5, 3.0, 6.0):
        cells = line(p, q, widths)
        x = cells[:, None].unflatten(1, p.shape)
        ratio = _log_ratio(p, q, x)
        width = cells[1] - cells[0]
        densities = [side.log_prob(x).double().exp() for side in (p, q)]
        if any(abs(float(density.sum() * width) - 1) > WHOLE for density in densities):
            return None
        mass = (densities[0] + densities[1]) / 2
        beyond = beyond or bool((ratio.isinf() & (mass > 0)).any())
        sums.append([float(torch.where(mass > 0, mass * value, 0.0).sum() * width) for value in _cuts(g, ratio)])
    return [_limit(*each) for each in zip(*sums, strict=True)], beyond


def _limit(narrow: float, wide: float, widest: float) -> Truth | None:
    """What integrals over ever wider ranges go to; infinity where each adds as much as the one before."""
    if math.isnan(widest):
        return None
    grows = widest - wide > 1e-3 * abs(widest) and widest - wide >= wide - narrow
    return Truth(math.inf if grows else widest)

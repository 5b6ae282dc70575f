"""Divergences between two sets of samples, without a critic: ``x (n, *shape)`` of the data, ``y (m, *shape)`` of the
generator. Each takes memory for n · m differences of samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ganzoo.density import Density, Truth, weighted_line
from ganzoo.divergence import SampleDivergence
from ganzoo.errors import IncompatibleError


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """``‖x_i − y_j‖²``, ``(n, m)``: by differences, so that small ones do not cancel and equal points are at 0."""
    return (x.flatten(1)[:, None] - y.flatten(1)[None]).square().sum(2)


def _root(square: Tensor) -> Tensor:
    """The square root with gradient 0 at 0, where every sample meets itself."""
    positive = square > 0
    return torch.where(positive, square, 1.0).sqrt() * positive


@final
@dataclass(frozen=True)
class MMD(SampleDivergence):
    """``MMD² = E k(x, x') + E k(y, y') − 2 E k(x, y)``, the squared maximum mean discrepancy: Gretton et al. (2012).

    Args:
        kernel: ``gaussian``: the mean over ``bandwidths`` σ of ``exp(−‖x−y‖²/(2σ²))``. ``rational-quadratic``: the mean
            over ``alphas`` of ``(1 + ‖x−y‖²/(2α))^{−α}`` (Bińkowski et al. 2018). ``energy``: ``−‖x−y‖``, for which it
            is the energy distance. ``linear``: ``⟨x, y⟩``, for which it is ``‖E x − E y‖²`` and no more.
        bandwidths: σ, in units of the data.
        alphas: heavier tails for smaller ones.
        unbiased: leave out the pairs of a sample with itself. The mean is then exact, and single values may be
            negative; else they are never negative, and too large by something of order 1/n.

    The first two lie between 0 and 2. Raises `IncompatibleError` for an unbiased estimate from one sample.
    """

    kernel: str = "gaussian"
    bandwidths: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
    alphas: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0)
    unbiased: bool = True
    unit: ClassVar[str] = "units of the kernel"

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return self.combine(self.gram(x, x), self.gram(y, y), self.gram(x, y))

    def truth(self, p: Density, q: Density) -> Truth | None:
        """On the line ``∫∫ k(x, y) (p − q)(x) (p − q)(y)``; elsewhere unknown."""
        if math.prod(p.shape) != 1:
            return None
        x, a, b = weighted_line(p, q, 4_000)
        gram = self.gram(x[:, None], x[:, None])
        return Truth(float((a - b) @ gram @ (a - b)))

    def gram(self, x: Tensor, y: Tensor) -> Tensor:
        """``k(x_i, y_j)``, ``(n, m)``."""
        if self.kernel == "linear":
            return x.flatten(1) @ y.flatten(1).T
        return self.of(squared_distances(x, y))

    def of(self, square: Tensor) -> Tensor:
        """``k`` as a function of ``‖x − y‖²``, which all but the linear one are."""
        if self.kernel == "energy":
            return -_root(square)
        if self.kernel == "gaussian":
            return sum((torch.exp(-square / (2 * s * s)) for s in self.bandwidths), square * 0) / len(self.bandwidths)
        return sum(((1 + square / (2 * a)) ** -a for a in self.alphas), square * 0) / len(self.alphas)

    def combine(self, xx: Tensor, yy: Tensor, xy: Tensor) -> Tensor:
        """``MMD²`` from the three tables of ``k``."""
        return self._within(xx) + self._within(yy) - 2 * xy.mean()

    def _within(self, k: Tensor) -> Tensor:
        n = len(k)
        if not self.unbiased:
            return k.mean()
        if n < 2:
            raise IncompatibleError("an unbiased MMD takes two samples of each kind, or more")
        return (k.sum() - k.diagonal().sum()) / (n * (n - 1))


@final
@dataclass(frozen=True)
class EnergyDistance(SampleDivergence):
    """``2 E‖x − y‖ − E‖x − x'‖ − E‖y − y'‖``, zero only for equal distributions: Székely & Rizzo (2013).

    Over pairs of distinct samples it is unbiased, and may be slightly negative.
    """

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return MMD("energy").loss(x, y)

    def truth(self, p: Density, q: Density) -> Truth | None:
        return MMD("energy").truth(p, q)


@final
@dataclass(frozen=True)
class Sinkhorn(SampleDivergence):
    """``S = OT_ε(x, y) − ½ OT_ε(x, x) − ½ OT_ε(y, y)``: Genevay, Peyré & Cuturi (2018); Feydy et al. (2019).

    ``OT_ε = min_π ⟨π, C⟩ + ε KL(π ‖ a ⊗ b)`` with ``C = ‖x − y‖²`` and ``ε = 2 blur²``. It goes to the squared
    Wasserstein distance ``W2²`` as blur goes to 0, to ``‖E x − E y‖²`` as it grows, is zero for equal sets, and never
    negative once converged. The iterations are in the log domain and their number is fixed: for the first half ε falls
    from the squared diameter, which is what makes a small blur converge; below a hundredth of the diameter take more.

    The gradient is that of the optimum with its potentials held fixed (the envelope theorem): no iteration is
    differentiated, and second derivatives are wrong.

    Args:
        blur: the std of the smoothing kernel, in units of the data.
        iterations: of both potentials at once, averaged with the last.
    """

    blur: float = 0.05
    iterations: int = 50
    unit: ClassVar[str] = "squared data units"

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        across, back = self._potentials(x, y)
        (own_x, _), (own_y, _) = self._potentials(x, x), self._potentials(y, y)
        return (across - own_x).mean() + (back - own_y).mean()

    def _potentials(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The optimal potentials at ``x (n,)`` and at ``y (m,)``, each differentiable in its own points only."""
        cost = squared_distances(x.detach(), y.detach())
        f, g = torch.zeros_like(cost[:, 0]), torch.zeros_like(cost[0])
        final = 2 * self.blur**2
        start = cost.amax().clamp_min(final)
        for i in range(self.iterations):
            epsilon = final * (start / final) ** max(0.0, 1 - 2 * i / self.iterations)
            f, g = (f + _soft_minimum(cost, g, epsilon)) / 2, (g + _soft_minimum(cost.T, f, epsilon)) / 2
        at_x, at_y = squared_distances(x, y.detach()), squared_distances(y, x.detach())
        epsilon = torch.full_like(start, final)
        return _soft_minimum(at_x, g, epsilon), _soft_minimum(at_y, f, epsilon)


def _soft_minimum(cost: Tensor, potential: Tensor, epsilon: Tensor) -> Tensor:
    """``−ε log mean_j exp((potential_j − cost_ij)/ε)``, ``(n,)``."""
    return -epsilon * (((potential - cost) / epsilon).logsumexp(1) - math.log(cost.shape[1]))

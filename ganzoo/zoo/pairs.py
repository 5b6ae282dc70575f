"""Built-in pairs of known distributions."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from ganzoo.dataset import Batch, Modes
from ganzoo.errors import OptionError
from ganzoo.pair import Pair
from ganzoo.zoo.datasets import Mixture1D, MixtureDataset, Ring


@final
class Mixture(MixtureDataset):
    """``Σ_k w_k N(c_k, σ_k² I)`` from its numbers; equal weights unless they are given."""

    def __init__(self, centres: Tensor, std: float, weights: Tensor | None = None) -> None:
        k = len(centres)
        given = torch.full((k,), 1 / k) if weights is None else weights
        self._given = Modes(centres.float(), torch.full((k,), float(std)), given)
        super().__init__()

    def _modes(self) -> Modes:
        return self._given


@final
class Correlated:
    """``N(0, [[1, ρ], [ρ, 1]])``."""

    shape = (2,)

    def __init__(self, rho: float) -> None:
        self.rho = rho

    def log_prob(self, x: Tensor) -> Tensor:
        a, b = x.double().unbind(1)
        square = (a * a - 2 * self.rho * a * b + b * b) / (1 - self.rho**2)
        return -square / 2 - math.log(2 * math.pi) - math.log1p(-(self.rho**2)) / 2

    def sample(self, n: int, rng: torch.Generator) -> Batch:
        a, b = torch.randn(2, n, generator=rng)
        return Batch(torch.stack([a, self.rho * a + math.sqrt(1 - self.rho**2) * b], 1))


@final
class Uniform:
    """Uniform on ``[low, low + 1)``."""

    shape = (1,)

    def __init__(self, low: float) -> None:
        self.low = low

    def log_prob(self, x: Tensor) -> Tensor:
        x = x[:, 0]
        return torch.where((x >= self.low) & (x < self.low + 1), 0.0, -math.inf)

    def sample(self, n: int, rng: torch.Generator) -> Batch:
        return Batch(self.low + torch.rand(n, 1, generator=rng))


def shift(by: float = 1.0, dimension: int = 1) -> Pair:
    """``N(0, I)`` and ``N(μ, I)`` with ``‖μ‖ = by``: both KL are ``by²/2``, W1 is ``by``."""
    mean = torch.full((1, dimension), by / math.sqrt(dimension))
    return Pair(Mixture(torch.zeros(1, dimension), 1.0), Mixture(mean, 1.0))


def scale(by: float = 1.5, dimension: int = 1) -> Pair:
    """``N(0, I)`` and ``N(0, by² I)``: KL(P‖Q) is ``d (log by + (1/by² − 1)/2)``."""
    zero = torch.zeros(1, dimension)
    return Pair(Mixture(zero, 1.0), Mixture(zero, by))


def mixture_gaussian() -> Pair:
    """The mixture of f-GAN §4.1 and the Gaussian that maximum likelihood fits to it."""
    return Pair(Mixture1D(), Mixture(torch.tensor([[1.0100]]), 1.8308))


def uniforms(by: float = 0.5) -> Pair:
    """Uniform on [0, 1) and on [by, by + 1): JSD is ``by log 2``, total variation and W1 are ``by``, KL is infinite."""
    return Pair(Uniform(0.0), Uniform(by))


def apart(by: float = 1.0, std: float = 0.1) -> Pair:
    """Two narrow Gaussians with nothing in common: JSD is log 2, wherever they are."""
    return Pair(Mixture(torch.zeros(1, 1), std), Mixture(torch.full((1, 1), by), std))


def correlation(rho: float = 0.8) -> Pair:
    """A correlated Gaussian in the plane and one with the same margins: KL(P‖Q) is ``−½ log(1 − ρ²)``."""
    return Pair(Correlated(rho), Correlated(0.0))


def wide_ring(std: float = 0.02) -> Pair:
    """The ring of eight modes, and the same with wider ones."""
    ring = Ring()
    return Pair(ring, Mixture(ring.modes.centres, std))


def dropped_modes(kept: int = 4) -> Pair:
    """The ring of eight modes, and one that makes only the first ``kept`` of them: what mode collapse measures."""
    ring = Ring()
    if not 1 <= kept <= len(ring.modes.centres):
        raise OptionError(f"dropped-modes: kept={kept} is not allowed; the ring has {len(ring.modes.centres)} modes")
    return Pair(ring, Mixture(ring.modes.centres[:kept], 0.01))

"""Built-in datasets: three mixtures with known density, two moons, and real handwritten digits."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import cached_property
from typing import Final, final

import numpy as np
import torch
from torch import Tensor

from ganzoo.dataset import PARTS, Batch, Dataset, Modes, PartName, TractableDataset

SIZES: Final = {"train": 100_000, "validation": 10_000, "held-out": 10_000}


def _part_rng(seed: int, name: PartName) -> torch.Generator:
    return torch.Generator().manual_seed(1_000 * seed + PARTS.index(name))


class MixtureDataset(TractableDataset):
    """``Σ_k w_k N(c_k, σ_k² I)``; the label is the component."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.modes = self._modes()
        self.shape = (self.modes.centres.shape[1],)
        self.classes = len(self.modes.weights)

    @abstractmethod
    def _modes(self) -> Modes: ...

    def part(self, name: PartName) -> Batch:
        return self._parts[name]

    @cached_property
    def _parts(self) -> dict[str, Batch]:
        return {name: self.sample(SIZES[name], _part_rng(self.seed, name)) for name in PARTS}

    def sample(self, n: int, rng: torch.Generator) -> Batch:
        label = torch.multinomial(self.modes.weights, n, replacement=True, generator=rng)
        noise = torch.randn(n, *self.shape, generator=rng)
        return Batch(self.modes.centres[label] + self.modes.std[label, None] * noise, label)

    def log_prob(self, x: Tensor) -> Tensor:
        centres, std, weights = (t.to(x) for t in (self.modes.centres, self.modes.std, self.modes.weights))
        squares = (x[:, None] - centres).square().sum(2) / std.square()
        norm = x.shape[1] * (std.log() + 0.5 * math.log(2 * math.pi))
        return (weights.log() - norm - 0.5 * squares).logsumexp(1)


@final
class Ring(MixtureDataset):
    """``modes`` Gaussians evenly on a circle."""

    def __init__(self, modes: int = 8, radius: float = 1.0, std: float = 0.01, seed: int = 0) -> None:
        self._options = modes, radius, std
        super().__init__(seed)

    def _modes(self) -> Modes:
        k, radius, std = self._options
        angle = 2 * math.pi * torch.arange(k) / k
        return Modes(
            radius * torch.stack([angle.cos(), angle.sin()], 1), torch.full((k,), std), torch.full((k,), 1 / k)
        )


@final
class Grid(MixtureDataset):
    """25 Gaussians at {−4, −2, 0, 2, 4}²."""

    def __init__(self, std: float = 0.05, seed: int = 0) -> None:
        self._std = std
        super().__init__(seed)

    def _modes(self) -> Modes:
        axis = torch.arange(-4.0, 4.1, 2.0)
        return Modes(torch.cartesian_prod(axis, axis), torch.full((25,), self._std), torch.full((25,), 1 / 25))


@final
class Mixture1D(MixtureDataset):
    """``.67·N(2, var 2.0) + .33·N(−1, var .065)``: the target of f-GAN §4.1."""

    def _modes(self) -> Modes:
        return Modes(torch.tensor([[2.0], [-1.0]]), torch.tensor([2.0, 0.065]).sqrt(), torch.tensor([0.67, 0.33]))


@final
class TwoMoons(Dataset):
    """Two interleaving half circles with noise; no density."""

    shape = (2,)
    classes = 2

    def __init__(self, noise: float = 0.05, seed: int = 0) -> None:
        self.noise, self.seed = noise, seed

    def part(self, name: PartName) -> Batch:
        return self._parts[name]

    @cached_property
    def _parts(self) -> dict[str, Batch]:
        from sklearn.datasets import make_moons

        parts: dict[str, Batch] = {}
        for name in PARTS:
            x, y = make_moons(SIZES[name], noise=self.noise, random_state=1_000 * self.seed + PARTS.index(name))
            parts[name] = Batch(torch.from_numpy(x).float(), torch.from_numpy(y).long())
        return parts


@final
class Digits(Dataset):
    """scikit-learn's 1,797 real handwritten digits, ``(1, 8, 8)``, split 60/20/20 by class.

    A pixel of level ``k ∈ {0…16}`` is uniformly dequantised to ``(k + u)/17`` with ``u ∼ U(0, 1)`` drawn once, so that
    the data have a density (three pixels are constant, and the covariance of the raw data has rank 61).
    """

    shape = (1, 8, 8)
    classes = 10
    unit = "pixels dequantised to (k + u)/17"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def part(self, name: PartName) -> Batch:
        return self._parts[name]

    @cached_property
    def _parts(self) -> dict[str, Batch]:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        levels, labels = load_digits(return_X_y=True)
        rest, train = train_test_split(np.arange(len(labels)), test_size=0.6, stratify=labels, random_state=self.seed)
        validation, held_out = train_test_split(rest, test_size=0.5, stratify=labels[rest], random_state=self.seed)
        parts: dict[str, Batch] = {}
        for name, index in zip(PARTS, (train, validation, held_out), strict=True):
            level = torch.from_numpy(levels[index]).float().unflatten(1, (1, 8, 8))
            u = torch.rand(level.shape, generator=_part_rng(self.seed, name))
            parts[name] = Batch((level + u) / 17, torch.from_numpy(labels[index]).long())
        return parts

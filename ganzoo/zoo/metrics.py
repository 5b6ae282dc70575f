"""Built-in metrics. Each says in its score how the number was come by, and what bias its estimator has."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final, Literal, final

import torch
from torch import Tensor

from ganzoo.dataset import Dataset, Modes, TractableDataset
from ganzoo.distances import mean_distance, sliced_wasserstein
from ganzoo.errors import DataError
from ganzoo.metric import Evidence, Metric, Score

MOST_BINS: Final = 1_000_000


def _truth(evidence: Evidence) -> TractableDataset:
    assert isinstance(evidence.dataset, TractableDataset)
    return evidence.dataset


class DensityMetric(Metric):
    """A metric that needs the density of the data."""

    def applies(self, evidence: Evidence) -> bool:
        return isinstance(evidence.dataset, TractableDataset)


class ModeMetric(DensityMetric):
    """Modes by the PacGAN protocol: a sample is of high quality within 3 std of its nearest mode."""

    def __call__(self, evidence: Evidence) -> Score:
        modes = _truth(evidence).modes
        counts = _occupancy(evidence.fake.x, modes)
        value = self.of(counts, len(evidence.fake.x), evidence)
        return Score(value, f"{len(evidence.fake.x):,} samples, 3 std", {"counts": counts.int().tolist()})

    @abstractmethod
    def of(self, counts: Tensor, n: int, evidence: Evidence) -> float:
        """The value, from how many of ``n`` samples are of high quality in each mode."""


def _occupancy(x: Tensor, modes: Modes) -> Tensor:
    """``(k,)``: how many of ``x (n, d)`` have mode k as their nearest, in units of its std, and lie within 3 of
    them."""
    scaled = torch.cdist(x, modes.centres, compute_mode="donot_use_mm_for_euclid_dist") / modes.std
    distance, mode = scaled.min(1)
    return torch.bincount(mode[distance <= 3], minlength=len(modes.std)).double()


@final
@dataclass(frozen=True)
class ModesCovered(ModeMetric):
    """How many modes have at least one sample of high quality."""

    unit: ClassVar[str] = "modes"
    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def of(self, counts: Tensor, n: int, evidence: Evidence) -> float:
        return float((counts > 0).sum())


@final
@dataclass(frozen=True)
class HighQuality(ModeMetric):
    """The share of samples of high quality, in per cent."""

    unit: ClassVar[str] = "%"
    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def of(self, counts: Tensor, n: int, evidence: Evidence) -> float:
        return 100 * float(counts.sum()) / n


@final
@dataclass(frozen=True)
class ModeKL(ModeMetric):
    """``KL(occupancy of P_G ‖ occupancy of P_data)`` over the modes, among samples of high quality.

    The truth is the occupancy of the 100,000 points of the train part under the same rule. Without any sample of high
    quality it is the largest value that the KL can take, ``−log min_k p_k``.
    """

    unit: ClassVar[str] = "nats"

    def of(self, counts: Tensor, n: int, evidence: Evidence) -> float:
        truth = _occupancy(evidence.dataset.part("train").x, _truth(evidence).modes)
        truth = truth / truth.sum()
        if not counts.sum():
            return -math.log(float(truth.min()))
        return _kl(counts / counts.sum(), truth)


def _kl(p: Tensor, q: Tensor) -> float:
    """``Σ p log p/q`` with ``0 log 0 = 0``."""
    return float(torch.xlogy(p, p / q).sum())


@final
@dataclass(frozen=True)
class KL(DensityMetric):
    """``KL(P_data ‖ P_G) = E_data[log p − log q]``.

    With a density q: the mean over real samples, unbiased. Without: the k-nearest-neighbour estimator of Wang, Kulkarni
    & Verdú (2009), ``d/n Σ log ν_k(x_i)/ρ_k(x_i) + log m/(n−1)``; consistent, but far too small at finite m where P_G
    leaves out parts of P_data, whose true divergence may be infinite.
    """

    k: int = 5
    unit: ClassVar[str] = "nats"

    def __call__(self, evidence: Evidence) -> Score:
        x, y = evidence.real.x, evidence.fake.x
        if evidence.log_prob is not None:
            value = (_truth(evidence).log_prob(x) - evidence.log_prob(x)).double().mean()
            return Score(float(value), f"both densities at {len(x):,} real samples, unbiased")
        from scipy.spatial import KDTree

        a, b = x.flatten(1).double().numpy(), y.flatten(1).double().numpy()
        rho = torch.from_numpy(KDTree(a).query(a, [self.k + 1])[0])  # pyright: ignore[reportArgumentType]
        nu = torch.from_numpy(KDTree(b).query(a, [self.k])[0])  # pyright: ignore[reportArgumentType]
        ratio = (nu.clamp_min(1e-12).log() - rho.clamp_min(1e-12).log()).mean()
        value = a.shape[1] * float(ratio) + math.log(len(b) / (len(a) - 1))
        return Score(
            value, f"{self.k}-nearest-neighbour estimate, {len(b):,} samples; too small where modes are missing"
        )


@final
@dataclass(frozen=True)
class JSD(DensityMetric):
    """``JSD(P_data, P_G) = ½ E_p[log p/m] + ½ E_q[log q/m]``, ``m = (p+q)/2``: between 0 and log 2 = .693.

    With a density q: means over real and generated samples, unbiased. Without, in at most two dimensions: over bins as
    wide as the narrowest mode's std, with the exact mass of P_data in each and everything outside their box as one
    more. Binning can only lower the divergence; counting raises it by about (occupied bins)/(8 n), which the floor
    shows.
    """

    unit: ClassVar[str] = "nats"

    def applies(self, evidence: Evidence) -> bool:
        return super().applies(evidence) and (evidence.log_prob is not None or evidence.fake.x.flatten(1).shape[1] <= 2)

    def __call__(self, evidence: Evidence) -> Score:
        x, y, p = evidence.real.x, evidence.fake.x, _truth(evidence).log_prob
        if (q := evidence.log_prob) is not None:
            at_x, at_y = q(x) - p(x), p(y) - q(y)
            halves = (-torch.nn.functional.softplus(t).double().mean() for t in (at_x, at_y))
            return Score(
                math.log(2) + 0.5 * float(sum(halves)), f"both densities at {len(x):,} + {len(y):,} samples, unbiased"
            )
        mass, counts = _binned(y, _truth(evidence).modes)
        q_mass = counts / counts.sum()
        middle = (mass + q_mass) / 2
        terms = [torch.xlogy(m, m / middle.clamp_min(1e-300)).sum() for m in (mass, q_mass)]
        return Score(
            0.5 * float(sum(terms)), f"{len(mass):,} bins, {len(y):,} samples: low by binning, high by counting"
        )


def _binned(y: Tensor, modes: Modes) -> tuple[Tensor, Tensor]:
    """The mass of the mixture, and the counts of ``y (n, d)``, in a box of bins and outside of it; ``d`` is 1 or 2."""
    centres, std = modes.centres.double(), modes.std.double()
    low, high = ((centres + side * 6 * std[:, None]) for side in (-1, 1))
    low, high = low.amin(0), high.amax(0)
    # Wider bins where there would be too many: that can only lower the divergence.
    width = max(float(std.min()), float((high - low).prod() / MOST_BINS) ** (1 / len(low)))
    edges = [
        torch.arange(float(a), float(b) + width, width, dtype=torch.float64) for a, b in zip(low, high, strict=True)
    ]
    masses: list[Tensor] = []
    index = torch.zeros(len(y), dtype=torch.long)
    inside = torch.ones(len(y), dtype=torch.bool)
    for d, edge in enumerate(edges):
        masses.append(torch.special.ndtr((edge - centres[:, d, None]) / std[:, None]).diff(dim=1))
        column = torch.bucketize(y[:, d].double().contiguous(), edge, right=True) - 1
        inside &= (column >= 0) & (column < len(edge) - 1)
        index = index * (len(edge) - 1) + column
    inner = torch.einsum("k,ka->a" if len(edges) == 1 else "k,ka,kb->ab", modes.weights.double(), *masses).flatten()
    counts = torch.bincount(index[inside], minlength=len(inner)).double()
    outside = torch.stack([(1 - inner.sum()).clamp_min(0), (~inside).sum().double()])
    return torch.cat([inner, outside[:1]]), torch.cat([counts, outside[1:]])


@final
@dataclass(frozen=True)
class NLL(Metric):
    """``−E log p_G(x)`` over held-out samples, in nats per sample, for x in the dataset's unit."""

    unit: ClassVar[str] = "nats"
    sampled: ClassVar[bool] = False

    def applies(self, evidence: Evidence) -> bool:
        return evidence.log_prob is not None

    def __call__(self, evidence: Evidence) -> Score:
        assert evidence.log_prob is not None
        x = evidence.real.x
        return Score(-float(evidence.log_prob(x).double().mean()), f"{len(x):,} samples, x in {evidence.dataset.unit}")


@final
@dataclass(frozen=True)
class EnergyDistance(Metric):
    """``2 E‖X−Y‖ − E‖X−X'‖ − E‖Y−Y'‖``, Székely & Rizzo (2013): zero only for equal distributions.

    The unbiased estimator over pairs of distinct samples, at most ``samples`` of each: it may be slightly negative.
    """

    samples: int = 2_500
    unit: ClassVar[str] = "data units"

    def applies(self, evidence: Evidence) -> bool:
        return True

    def __call__(self, evidence: Evidence) -> Score:
        x, y = (b.x[: self.samples].flatten(1).double() for b in (evidence.real, evidence.fake))
        if min(len(x), len(y)) < 2:
            raise DataError(f"pairs are of two samples at least, and here are {len(x)} real and {len(y)} generated")
        within = sum(mean_distance(a, a) * len(a) / (len(a) - 1) for a in (x, y))
        return Score(2 * mean_distance(x, y) - within, f"{len(x):,} real, {len(y):,} generated, unbiased")


@final
@dataclass(frozen=True)
class SlicedWasserstein(Metric):
    """The mean over random unit directions of the exact ``W1`` between the projections of real and generated samples.

    Finite samples raise it: the floor shows by how much.
    """

    projections: int = 128
    samples: int = 2_500
    unit: ClassVar[str] = "data units"

    def applies(self, evidence: Evidence) -> bool:
        return True

    def __call__(self, evidence: Evidence) -> Score:
        x, y = (b.x[: self.samples].flatten(1) for b in (evidence.real, evidence.fake))
        d = x.shape[1]
        directions = torch.randn(d, self.projections if d > 1 else 1, generator=evidence.rng(), dtype=torch.float64)
        directions = directions / directions.norm(dim=0)
        value = sliced_wasserstein(x, y, directions)
        return Score(value, f"{directions.shape[1]} directions, {len(x):,} real, {len(y):,} generated")


@final
@dataclass(frozen=True)
class ClassKL(Metric):
    """``KL(class histogram of P_G ‖ class histogram of real data)``, classes by a nearest-neighbour classifier that was
    fitted on (at most 10,000 samples of) the train part only."""

    unit: ClassVar[str] = "nats"

    def applies(self, evidence: Evidence) -> bool:
        # Samples with several labels are of no one class.
        return evidence.dataset.classes is not None and not evidence.dataset.several

    def __call__(self, evidence: Evidence) -> Score:
        classes = evidence.dataset.classes
        assert classes is not None
        assert evidence.real.label is not None
        predicted = _classifier(evidence.dataset).predict(evidence.fake.x.flatten(1).numpy())
        fake = torch.bincount(torch.from_numpy(predicted), minlength=classes).double()
        real = torch.bincount(evidence.real.label, minlength=classes).double() + 1e-9
        detail = {"histogram": fake.int().tolist()}
        return Score(_kl(fake / fake.sum(), real / real.sum()), f"5-NN classifier, {len(predicted):,} samples", detail)


@lru_cache(maxsize=8)
def _classifier(dataset: Dataset) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    x, y = dataset.some("train", 10_000)
    assert y is not None
    return KNeighborsClassifier(5).fit(x.flatten(1).numpy(), y.numpy())

"""Distances between features of real and generated samples. Each number names the extractor that it comes from.

Real samples are held out. With few of either the numbers are biased (Fréchet distances upward, by about the same for
all generators), so that they compare where both counts, which `how` says, are the same.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, NamedTuple, final

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from ganzoo import Dataset, Evidence, Extractor, Features, Metric, Score
from ganzoo.distances import PRDC, frechet, prdc
from ganzoo.errors import IncompatibleError

#: Samples of each side in one estimate of the kernel distance, and how many there are.
BLOCK: Final = 1_000
BLOCKS: Final = 100
#: Parts that the classifier score is the mean of.
SPLITS: Final = 10
#: Fewer samples of a class on either side say nothing of their covariance.
FEWEST: Final = 100


class Found(NamedTuple):
    """A value, what else there is to say as JSON, and a picture, as in a `Score`."""

    value: float
    detail: Mapping[str, Any] = MappingProxyType({})
    picture: Tensor | None = None


class FeatureMetric(Metric):
    """A metric of the features that an extractor has of images."""

    extractor: Extractor
    samples: int = 10_000

    def applies(self, evidence: Evidence) -> bool:
        return len(evidence.dataset.shape) == 3 and self.extractor.applies(evidence.dataset)

    def __call__(self, evidence: Evidence) -> Score:
        features = self.extractor.on(evidence.dataset)
        value, detail, picture = self.of(features, evidence)
        said = {"extractor": features.name, "sha256": features.sha256, "split": features.split}
        how = f"{len(evidence.real.x):,} held-out, {len(evidence.fake.x):,} generated; {features}"
        return Score(value, how, {**detail, **said}, picture)

    @abstractmethod
    def of(self, features: Features, evidence: Evidence) -> Found:
        """The value."""


@final
@dataclass(frozen=True)
class FrechetDistance(FeatureMetric):
    """``‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½)`` of Gaussians fitted to the features: Heusel et al. (2017).

    FID is this of one network's features, and of none else. ``detail`` has it by label, where both sides have enough
    samples of one.
    """

    extractor: Extractor
    samples: int = 10_000
    unit: ClassVar[str] = "squared features"

    def of(self, features: Features, evidence: Evidence) -> Found:
        real, fake = features(evidence.real.x)[0], features(evidence.fake.x)[0]
        by_label = _by_label(real, fake, evidence)
        return Found(frechet(real, fake), {"by label": by_label} if by_label else {})


def _by_label(real: Tensor, fake: Tensor, evidence: Evidence) -> dict[str, float]:
    of_real, of_fake = evidence.real.label, evidence.fake.label
    if of_real is None or of_fake is None or of_real.ndim > 1:
        return {}
    found: dict[str, float] = {}
    for label, name in enumerate(names(evidence.dataset)):
        one, other = real[of_real == label], fake[of_fake == label]
        if min(len(one), len(other)) >= FEWEST:
            found[name] = frechet(one, other)
    return found


def names(dataset: Dataset) -> tuple[str, ...]:
    """What the labels are called."""
    return dataset.labels or tuple(map(str, range(dataset.classes or 0)))


@final
@dataclass(frozen=True)
class KernelDistance(FeatureMetric):
    """``MMD²`` with ``k(x, y) = (⟨x, y⟩/d + 1)³``, unbiased, of features standardised by the real ones.

    The mean over blocks of 1,000 of each side: Bińkowski, Sutherland, Arbel & Gretton (2018). They do not standardise:
    without, the number depends on the scale of the features, which no classifier fixes.
    """

    extractor: Extractor
    samples: int = 10_000
    on_request: ClassVar[bool] = True
    unit: ClassVar[str] = "MMD²"

    def of(self, features: Features, evidence: Evidence) -> Found:
        real, fake = (features(batch.x)[0].double() for batch in (evidence.real, evidence.fake))
        mean, std = real.mean(0), real.std(0).clamp_min(1e-6)
        real, fake = (real - mean) / std, (fake - mean) / std
        size, rng = min(BLOCK, len(real), len(fake)), evidence.rng()
        blocks = 1 if size == len(real) == len(fake) else BLOCKS
        values = torch.tensor([kernel_distance(*(_some(x, size, rng) for x in (real, fake))) for _ in range(blocks)])
        std = float(values.std()) if blocks > 1 else None
        return Found(float(values.mean()), {"blocks": blocks, "size": size, "std": std})


def _some(x: Tensor, n: int, rng: torch.Generator) -> Tensor:
    return x[torch.randperm(len(x), generator=rng)[:n]]


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """The unbiased estimate of ``MMD²`` for ``x (n, d)`` and ``y (m, d)``; it may be negative."""
    n, m = len(x), len(y)
    k_xx, k_yy, k_xy = (((a @ b.T) / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = (k_xx.sum() - k_xx.diagonal().sum()) / (n * (n - 1)) + (k_yy.sum() - k_yy.diagonal().sum()) / (m * (m - 1))
    return float(within - 2 * k_xy.mean())


@final
@dataclass(frozen=True)
class ClassifierScore(FeatureMetric):
    """``exp E KL(p(y|x) ‖ p(y))`` of a classifier's verdicts on generated samples: the Inception score's formula, by
    another classifier (Salimans et al., 2016). Between 1 and the number of classes; the mean of ten parts."""

    extractor: Extractor
    samples: int = 10_000
    on_request: ClassVar[bool] = True
    unit: ClassVar[str] = "classes"
    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def applies(self, evidence: Evidence) -> bool:
        return super().applies(evidence) and not evidence.dataset.several  # which are of no one class

    def of(self, features: Features, evidence: Evidence) -> Found:
        logits = features(evidence.fake.x)[1]
        if logits is None:
            raise IncompatibleError(f"the extractor {features.name} is no classifier")
        scores = torch.stack([classifier_score(part) for part in logits.double().chunk(SPLITS)])
        return Found(float(scores.mean()), {"std": float(scores.std())})


def classifier_score(logits: Tensor) -> Tensor:
    """``exp E KL(p(y|x) ‖ p(y))`` of ``logits (n, classes)``, a scalar."""
    log_p = logits.log_softmax(1)
    log_mean = log_p.logsumexp(0) - torch.tensor(len(log_p), dtype=log_p.dtype).log()
    return (log_p.exp() * (log_p - log_mean)).sum(1).mean().exp()


_FOUND: Final[WeakIdKeyDictionary] = WeakIdKeyDictionary()


class ManifoldMetric(FeatureMetric):
    """One of four shares of samples in balls around samples of the other side, that reach to the k-th neighbour."""

    samples: int = 10_000
    k: ClassVar[int]
    unit: ClassVar[str] = "share"
    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def of(self, features: Features, evidence: Evidence) -> Found:
        real, fake = features(evidence.real.x)[0], features(evidence.fake.x)[0]
        # Two of the four come of one computation, which takes the most time of all metrics here.
        of_fake: WeakIdKeyDictionary = _FOUND.setdefault(fake, WeakIdKeyDictionary())  # pyright: ignore
        kept: dict[int, PRDC] = of_fake.setdefault(real, {})  # pyright: ignore[reportAssignmentType]
        if self.k not in kept:
            kept[self.k] = prdc(real, fake, self.k)
        return Found(self.chosen(kept[self.k]), {"k": self.k})

    @abstractmethod
    def chosen(self, found: PRDC) -> float:
        """The one of the four."""


@final
@dataclass(frozen=True)
class Precision(ManifoldMetric):
    """The share of generated samples within the balls around real ones: Kynkäänniemi et al. (2019), ``k = 3``."""

    extractor: Extractor
    samples: int = 10_000
    k: ClassVar[int] = 3

    def chosen(self, found: PRDC) -> float:
        return found.precision


@final
@dataclass(frozen=True)
class Recall(ManifoldMetric):
    """The share of real samples within the balls around generated ones: Kynkäänniemi et al. (2019), ``k = 3``."""

    extractor: Extractor
    samples: int = 10_000
    k: ClassVar[int] = 3

    def chosen(self, found: PRDC) -> float:
        return found.recall


@final
@dataclass(frozen=True)
class Density(ManifoldMetric):
    """In how many balls around real samples a generated one lies, over k; it may be above 1: Naeem et al. (2020),
    ``k = 5``."""

    extractor: Extractor
    samples: int = 10_000
    on_request: ClassVar[bool] = True
    k: ClassVar[int] = 5

    def chosen(self, found: PRDC) -> float:
        return found.density


@final
@dataclass(frozen=True)
class Coverage(ManifoldMetric):
    """The share of real samples whose ball has a generated one in it: Naeem et al. (2020), ``k = 5``."""

    extractor: Extractor
    samples: int = 10_000
    on_request: ClassVar[bool] = True
    k: ClassVar[int] = 5

    def chosen(self, found: PRDC) -> float:
        return found.coverage

"""How many of StackedMNIST's 1,000 modes a generator has, and how evenly: Metz et al. (2017), Lin et al. (2018)."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, final

import torch
from torch import Tensor

from ganzoo import Dataset, Evidence, Extractor, Features, Metric, Score, create
from ganzoo.errors import IncompatibleError
from ganzoo_images.data.images import Images

DIGITS: Final = 10


class StackedMetric(Metric):
    """A metric of the digits that a classifier of `mnist` reads in each channel."""

    extractor: Extractor
    samples: int = 26_000

    def applies(self, evidence: Evidence) -> bool:
        return "three of" in evidence.dataset.provenance

    def __call__(self, evidence: Evidence) -> Score:
        features = self.extractor.on(_digits(evidence.dataset))
        counts = occupancy(features, evidence.fake.x)
        detail = {"extractor": features.name, "sha256": features.sha256, "split": features.split}
        how = f"{len(evidence.fake.x):,} generated, digits by {features}"
        return Score(self.of(counts), how, {**detail, "counts": _counts(counts)})

    @abstractmethod
    def of(self, counts: Tensor) -> float:
        """The value, from how many samples each of the modes ``(1000,)`` has."""


def _digits(dataset: Dataset) -> Dataset:
    """The dataset whose digits are stacked, at the size and on the scale that they have. Without its `flip`: most
    mirrored digits are none, or others."""
    side, logit = dataset.shape[1], dataset.logit if isinstance(dataset, Images) else 0.0
    found: Dataset = create("dataset", "mnist", logit=logit, **({} if side == 28 else {"size": side}))
    return found


def occupancy(features: Features, x: Tensor) -> Tensor:
    """How many of ``x (n, 3, side, side)`` are read as each number of three digits, ``(1000,)``."""
    digits: list[Tensor] = []
    for channel in x.split(1, dim=1):
        logits = features(channel.contiguous())[1]
        if logits is None or logits.shape[1] != DIGITS:
            raise IncompatibleError(f"the extractor {features.name} does not classify digits")
        digits.append(logits.argmax(1))
    a, b, c = digits
    return torch.bincount(100 * a + 10 * b + c, minlength=DIGITS**3)


def _counts(counts: Tensor) -> dict[str, Any]:
    return {"least": int(counts.min()), "most": int(counts.max())}


@final
@dataclass(frozen=True)
class StackedModes(StackedMetric):
    """How many of the 1,000 modes have a sample."""

    extractor: Extractor
    samples: int = 26_000
    unit: ClassVar[str] = "modes"
    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def of(self, counts: Tensor) -> float:
        return float((counts > 0).sum())


@final
@dataclass(frozen=True)
class StackedKL(StackedMetric):
    """``KL(modes of P_G ‖ uniform) = log 1000 + Σ p log p``: at most 6.91 nats."""

    extractor: Extractor
    samples: int = 26_000
    unit: ClassVar[str] = "nats"

    def of(self, counts: Tensor) -> float:
        p = counts.double() / counts.sum()
        return math.log(len(p)) + float(torch.xlogy(p, p).sum())

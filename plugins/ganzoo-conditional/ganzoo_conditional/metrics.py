"""Whether samples are what was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from ganzoo import Dataset, Evidence, Extractor, Features, Metric, Score
from ganzoo.errors import IncompatibleError
from ganzoo.heads import right


@final
@dataclass(frozen=True)
class LabelAccuracy(Metric):
    """The share of samples, in per cent, whose label (the one that was asked for) has the largest of a classifier's
    logits; where samples have several labels, the share of labels on whose side the logit is.

    Real data score what the classifier gets right of them; a generator that makes the most typical sample of each class
    scores more. It says nothing of how different the samples of a label are.
    """

    extractor: Extractor
    unit: ClassVar[str] = "%"
    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def applies(self, evidence: Evidence) -> bool:
        labelled = evidence.fake.label is not None and evidence.dataset.classes is not None
        return labelled and self.extractor.applies(evidence.dataset)

    def __call__(self, evidence: Evidence) -> Score:
        label = evidence.fake.label
        assert label is not None
        features = self.extractor.on(evidence.dataset)
        correct = right(_logits(features, evidence), label).double()
        detail = {
            "accuracy by label": _by_label(correct, label, evidence.dataset),
            "extractor": features.name,
            "sha256": features.sha256,
            "split": features.split,
            "samples": len(label),
        }
        return Score(100 * float(correct.mean()), f"{len(label):,} samples, {features}", detail)


def _logits(features: Features, evidence: Evidence) -> Tensor:
    """``(n, classes)``."""
    _, logits = features(evidence.fake.x)
    classes = evidence.dataset.classes
    if logits is None or logits.shape[1] != classes:
        raise IncompatibleError(
            f"the extractor {features.name} does not classify by the {classes} labels of these data"
        )
    return logits


def _by_label(correct: Tensor, label: Tensor, dataset: Dataset) -> dict[str, float | None]:
    """In per cent, by the label's name or number; none where it was not asked for."""
    classes = dataset.classes or 0
    names = dataset.labels or tuple(map(str, range(classes)))
    if label.ndim > 1:
        return {name: 100 * float(share) for name, share in zip(names, correct.mean(0), strict=True)}
    asked = torch.bincount(label, minlength=classes)
    hit = torch.bincount(label, correct, minlength=classes)
    return {name: 100 * float(share) if n else None for name, n, share in zip(names, asked, hit / asked, strict=True)}

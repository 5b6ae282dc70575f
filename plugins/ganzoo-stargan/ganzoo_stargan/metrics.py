"""How well samples are translated: into the label asked for, back again, into the truth, and nowhere else.

Of the first held-out samples, each translated into every label but its own; where samples have several labels, with
each of them changed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple, cast, final

import torch
from torch import Tensor

from ganzoo import Dataset, Evidence, Extractor, Metric, Score
from ganzoo.errors import IncompatibleError
from ganzoo.evaluate import asked
from ganzoo.heads import right

#: Samples of the train part that the best constant image is fitted to.
FITTED: Final = 5_000
#: Beyond so much of the way from black to white a pixel counts as changed: less is the noise of dequantised levels.
CHANGED: Final = 0.05
#: Rows of the picture, each of another label.
PICTURED: Final = 8


class Made(NamedTuple):
    """Samples ``x`` with labels of their ``own``, which rows of the sources they are, and what was made of them:
    ``got``, asked for as ``c``, by the label that was changed or asked for."""

    label: int
    rows: Tensor
    x: Tensor
    own: Tensor
    c: Tensor
    got: Tensor


class TranslationMetric(Metric):
    """A metric of what a generator makes of samples."""

    samples: int = 1_000
    sampled: ClassVar[bool] = False

    def applies(self, evidence: Evidence) -> bool:
        return evidence.translate is not None and evidence.real.label is not None

    def sources(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """What is translated, with its labels."""
        x, label = evidence.dataset.some("held-out", self.samples)
        return x, cast(Tensor, label)

    def made(self, evidence: Evidence) -> Iterator[Made]:
        assert evidence.translate is not None
        x, own = self.sources(evidence)
        for label in range(evidence.dataset.classes or 0):
            c = asked(own, label)
            rows = (c != own if own.ndim == 1 else torch.ones(len(own), dtype=torch.bool)).nonzero().flatten()
            if len(rows):
                got = evidence.translate(x, c)[rows]
                yield Made(label, rows, x[rows], own[rows], c[rows], got)


def _names(dataset: Dataset) -> tuple[str, ...]:
    return dataset.labels or tuple(map(str, range(dataset.classes or 0)))


@final
@dataclass(frozen=True)
class DomainError(TranslationMetric):
    """The share of translations, in per cent, that a classifier fitted to real data does not take for the label that
    was asked for: Choi et al. (2018), Table 2. Where samples have several labels, for the one that was changed."""

    extractor: Extractor
    samples: int = 1_000
    unit: ClassVar[str] = "%"

    def applies(self, evidence: Evidence) -> bool:
        return super().applies(evidence) and self.extractor.applies(evidence.dataset)

    def __call__(self, evidence: Evidence) -> Score:
        features, names = self.extractor.on(evidence.dataset), _names(evidence.dataset)
        wrong: dict[str, Tensor] = {}
        for made in self.made(evidence):
            logits = features(made.got)[1]
            if logits is None or logits.shape[1] != evidence.dataset.classes:
                raise IncompatibleError(f"the extractor {features.name} does not classify by the labels of these data")
            told = right(logits, made.c)
            wrong[names[made.label]] = ~(told if told.ndim == 1 else told[:, made.label])
        whole = torch.cat(list(wrong.values())).double()
        detail = {
            "error by label": {name: 100 * float(each.double().mean()) for name, each in wrong.items()},
            "extractor": features.name,
            "sha256": features.sha256,
            "split": features.split,
        }
        return Score(100 * float(whole.mean()), f"{len(whole):,} translations, {features}", detail)


@final
@dataclass(frozen=True)
class Reconstruction(TranslationMetric):
    """``E |x − G(G(x, c), c_x)|``, the mean over all numbers of a sample.

    A generator that gives its source back scores 0; ``detail`` has what the constant that is best by this measure
    scores, the median of the train part.
    """

    samples: int = 1_000
    unit: ClassVar[str] = "data units"

    def __call__(self, evidence: Evidence) -> Score:
        assert evidence.translate is not None
        x, own = self.sources(evidence)
        constant = _median(evidence.dataset.some("train", FITTED).x)
        errors, constants = list[Tensor](), list[Tensor]()
        for made in self.made(evidence):
            there = x.clone()  # each in the place of its source, as all else that is translated
            there[made.rows] = made.got
            back = evidence.translate(there, own)[made.rows]
            errors.append((made.x - back).abs().flatten(1).mean(1))
            constants.append((made.x - constant).abs().flatten(1).mean(1))
        found = {"identity": 0.0, "constant": _mean(constants)}
        return Score(_mean(errors), f"{sum(map(len, errors)):,} cycles; {_beside(found)}", {"baselines": found})


def _beside(baselines: Mapping[str, float]) -> str:
    return f"the identity has {baselines['identity']:.3g}, the best constant {baselines['constant']:.3g}"


def _median(x: Tensor) -> Tensor:
    return x.median(0).values


def _mean(rows: list[Tensor]) -> float:
    return float(torch.cat(rows).double().mean())


class TruthMetric(TranslationMetric):
    """A metric of data where the true translation is known."""

    def applies(self, evidence: Evidence) -> bool:
        return super().applies(evidence) and evidence.dataset.translated("held-out", 1, 0) is not None

    def __call__(self, evidence: Evidence) -> Score:
        n = len(self.sources(evidence)[0])

        def truth(label: int) -> Tensor:  # there may be hundreds of labels: one at a time
            return cast(Tensor, evidence.dataset.translated("held-out", n, label))

        # Of what a label of any kind would change, all is the attribute's own.
        first = truth(0)
        area = torch.zeros_like(first, dtype=torch.bool)
        for label in range(1, evidence.dataset.classes or 0):
            area |= truth(label) != first
        return self.of(evidence, ((m, truth(m.label)[m.rows], area[m.rows]) for m in self.made(evidence)))

    @abstractmethod
    def of(self, evidence: Evidence, found: Iterable[tuple[Made, Tensor, Tensor]]) -> Score:
        """The score, from translations, the truth and which numbers of a sample the labels change."""


@final
@dataclass(frozen=True)
class TrueDistance(TruthMetric):
    """``E |x' − G(x, c)|``, ``x'`` the sample as it truly is with the label ``c``; the mean over all numbers of a
    sample.

    ``detail`` has what the identity scores and the best constant for each label, the median of its train samples, and
    the same of the attribute's area alone, the numbers that the label changes.
    """

    samples: int = 1_000
    unit: ClassVar[str] = "data units"

    def of(self, evidence: Evidence, found: Iterable[tuple[Made, Tensor, Tensor]]) -> Score:
        train = evidence.dataset.some("train", FITTED)
        assert train.label is not None
        whole: dict[str, list[Tensor]] = {"model": [], "identity": [], "constant": []}
        inside: dict[str, list[Tensor]] = {"model": [], "identity": [], "constant": []}
        rows = list[Tensor]()
        for made, truth, area in found:
            if (row := len(rows)) < min(len(truth), PICTURED):
                rows.append(torch.stack([made.x[row], made.got[row], truth[row]]))
            own = train.x[train.label == made.label]
            constant = _median(own if len(own) else train.x)
            for name, got in (("model", made.got), ("identity", made.x), ("constant", constant)):
                error = (truth - got).abs().flatten(1)
                whole[name].append(error.mean(1))
                mask = area.flatten(1)
                inside[name].append((error * mask).sum(1) / mask.sum(1).clamp_min(1))
        means = {name: _mean(errors) for name, errors in whole.items()}
        value = means.pop("model")
        detail = {"baselines": means, "in the attribute's area": {name: _mean(each) for name, each in inside.items()}}
        # A source, what was made of it, and the truth.
        picture = torch.stack(rows) if len(evidence.dataset.shape) == 3 else None
        return Score(value, f"{sum(map(len, whole['model'])):,} translations; {_beside(means)}", detail, picture)


@final
@dataclass(frozen=True)
class ChangedOutside(TruthMetric):
    """The share of pixels outside the attribute's area, in per cent, that a translation changes by more than 5 % of the
    way from black to white, in any channel."""

    samples: int = 1_000
    unit: ClassVar[str] = "%"

    def of(self, evidence: Evidence, found: Iterable[tuple[Made, Tensor, Tensor]]) -> Score:
        shown, shares = evidence.dataset.shown, list[Tensor]()
        for made, _, area in found:
            changed = _anywhere((shown(made.got) - shown(made.x)).abs() > CHANGED)
            outside = ~_anywhere(area)
            shares.append((changed & outside).sum(1) / outside.sum(1).clamp_min(1))
        return Score(100 * _mean(shares), f"{sum(map(len, shares)):,} translations")


def _anywhere(changed: Tensor) -> Tensor:
    """Of images by pixel, ``(n, h · w)``."""
    return (changed.any(1) if changed.ndim == 4 else changed).flatten(1)

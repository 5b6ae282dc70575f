"""How well samples are translated: into the label asked for, back again, into the truth, and nowhere else.

Of the first held-out samples, each translated into every label but its own; where samples have several labels, with
each of them changed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple, final

import torch
from torch import Tensor

from ganzoo import Batch, Dataset, Evidence, Extractor, Metric, Score
from ganzoo.errors import IncompatibleError
from ganzoo.evaluate import asked
from ganzoo.heads import right

#: Samples of the train part that the best constant image is fitted to.
FITTED: Final = 5_000
#: Beyond so much of the way from black to white a pixel counts as changed: less is the noise of dequantised levels.
CHANGED: Final = 0.05


class Made(NamedTuple):
    """Samples ``x`` with labels of their ``own``, which rows of the origin they are, and what was made of them:
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

    def applies(self, evidence: Evidence) -> bool:
        origin = evidence.origin
        return evidence.translate is not None and origin is not None and origin.label is not None

    def made(self, evidence: Evidence) -> Iterator[Made]:
        assert evidence.origin is not None
        assert evidence.translate is not None
        origin = evidence.origin.take(slice(self.samples))
        own = origin.label
        assert own is not None
        for label in range(evidence.dataset.classes or 0):
            c = asked(own, label)
            rows = (c != own if own.ndim == 1 else torch.ones(len(own), dtype=torch.bool)).nonzero().flatten()
            if len(rows):
                got = evidence.translate(origin.x, c)[rows]
                yield Made(label, rows, origin.x[rows], own[rows], c[rows], got)


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
        assert evidence.origin is not None
        constant = _median(evidence.dataset.some("train", FITTED).x)
        errors, constants = list[Tensor](), list[Tensor]()
        for made in self.made(evidence):
            back = _rows(evidence.translate, evidence.origin, made)
            errors.append((made.x - back).abs().flatten(1).mean(1))
            constants.append((made.x - constant).abs().flatten(1).mean(1))
        found = {"identity": 0.0, "constant": _mean(constants)}
        return Score(_mean(errors), f"{sum(map(len, errors)):,} cycles", {"baselines": found})


def _rows(translate: Any, origin: Batch, made: Made) -> Tensor:
    """What was made, made back: in the place that its source has in the origin, as all else that is translated."""
    x, label = origin.x.clone(), origin.label
    assert label is not None
    x[made.rows] = made.got
    return translate(x, label)[made.rows]


def _median(x: Tensor) -> Tensor:
    return x.median(0).values


def _mean(rows: list[Tensor]) -> float:
    return float(torch.cat(rows).double().mean())


class TruthMetric(TranslationMetric):
    """A metric of data where the true translation is known."""

    def applies(self, evidence: Evidence) -> bool:
        return super().applies(evidence) and evidence.dataset.translated("held-out", 1, 0) is not None

    def __call__(self, evidence: Evidence) -> Score:
        truths = self._truths(evidence)
        # Of what a label of any kind would change, all is the attribute's own.
        area = torch.stack([(truth - truths[0]).abs() for truth in truths]).amax(0)
        found = [(made, truths[made.label][made.rows], area[made.rows]) for made in self.made(evidence)]
        return self.of(evidence, found)

    def _truths(self, evidence: Evidence) -> list[Tensor]:
        assert evidence.origin is not None
        n = min(self.samples, len(evidence.origin.x))
        truths = [evidence.dataset.translated("held-out", n, label) for label in range(evidence.dataset.classes or 0)]
        return [truth for truth in truths if truth is not None]

    @abstractmethod
    def of(self, evidence: Evidence, found: list[tuple[Made, Tensor, Tensor]]) -> Score:
        """The score, from translations, the truth and how far labels change each number of a sample."""


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

    def of(self, evidence: Evidence, found: list[tuple[Made, Tensor, Tensor]]) -> Score:
        train = evidence.dataset.some("train", FITTED)
        assert train.label is not None
        whole: dict[str, list[Tensor]] = {"model": [], "identity": [], "constant": []}
        inside: dict[str, list[Tensor]] = {"model": [], "identity": [], "constant": []}
        for made, truth, area in found:
            constant = _median(train.x[train.label == made.label])
            for name, got in (("model", made.got), ("identity", made.x), ("constant", constant)):
                error = (truth - got).abs().flatten(1)
                whole[name].append(error.mean(1))
                mask = (area > 0).flatten(1)
                inside[name].append((error * mask).sum(1) / mask.sum(1).clamp_min(1))
        means = {name: _mean(rows) for name, rows in whole.items()}
        value = means.pop("model")
        detail = {"baselines": means, "in the attribute's area": {name: _mean(rows) for name, rows in inside.items()}}
        picture = _picture(found)
        return Score(value, f"{sum(map(len, whole['model'])):,} translations", detail, picture)


def _picture(found: list[tuple[Made, Tensor, Tensor]]) -> Tensor | None:
    """``(rows, 3, *shape)``: a source, what was made of it, and the truth."""
    if found[0][0].x.ndim != 4:
        return None
    rows = [(made.x[i], made.got[i], truth[i]) for i, (made, truth, _) in enumerate(found[:8]) if i < len(truth)]
    return torch.stack([torch.stack(row) for row in rows])


@final
@dataclass(frozen=True)
class ChangedOutside(TruthMetric):
    """The share of pixels outside the attribute's area, in per cent, that a translation changes by more than 5 % of the
    way from black to white, in any channel."""

    samples: int = 1_000
    unit: ClassVar[str] = "%"

    def of(self, evidence: Evidence, found: list[tuple[Made, Tensor, Tensor]]) -> Score:
        shown, shares = evidence.dataset.shown, list[Tensor]()
        for made, _, area in found:
            changed = _anywhere((shown(made.got) - shown(made.x)).abs() > CHANGED)
            outside = ~_anywhere(area > 0)
            shares.append((changed & outside).sum(1) / outside.sum(1).clamp_min(1))
        return Score(100 * _mean(shares), f"{sum(map(len, shares)):,} translations")


def _anywhere(changed: Tensor) -> Tensor:
    """Of images by pixel, ``(n, h · w)``."""
    return (changed.any(1) if changed.ndim == 4 else changed).flatten(1)

"""Whether a generator repeats what it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, final

import torch
from torch import Tensor

from ganzoo import Dataset, Evidence, Extractor, Features
from ganzoo_images.data.images import Images
from ganzoo_images.metrics.features import FeatureMetric, Found

#: What is shown: generated samples, and how many training samples beside each.
ROWS: Final = 8
COLUMNS: Final = 7
CHUNK: Final = 2_000


@final
@dataclass(frozen=True)
class Memorisation(FeatureMetric):
    """How much nearer generated samples lie to the train part than held-out ones do: the share of pairs (one of each)
    in which the generated one is nearer, in per cent.

    50 where both lie alike, 100 where the generator repeats training samples; far below 50 where its samples are unlike
    any. It is the statistic of Mann and Whitney's test, without the cells of Meehan, Chaudhuri & Dasgupta, "A
    Non-Parametric Test to Detect Data-Copying in Generative Models" (2020). Distances are those of features; the
    picture shows the generated samples that lie nearest to training samples, and beside each of them these. Where a
    dataset says ``flip``, the mirror image of a training sample is one too.
    """

    extractor: Extractor
    samples: int = 10_000
    unit: ClassVar[str] = "%"
    on_request: ClassVar[bool] = True

    def of(self, features: Features, evidence: Evidence) -> Found:
        train = _train(features, evidence.dataset)
        generated = features(evidence.fake.x)[0]
        of_fake, of_real = (nearest(rows, train, 1)[0].flatten() for rows in (generated, features(evidence.real.x)[0]))
        detail = {"median distance": {"generated": float(of_fake.median()), "held-out": float(of_real.median())}}
        closest = of_fake.argsort()[:ROWS]
        beside = nearest(generated[closest], train, COLUMNS)[1]
        return Found(100 * nearer(of_fake, of_real), detail, _picture(evidence, closest, beside))


def _train(features: Features, dataset: Dataset) -> Tensor:
    """Features of the train part, which may be larger than memory when it is decoded; after them those of its mirror
    images, where these are trained on, and so may be repeated."""
    stored, rng = dataset.stored("train"), torch.Generator().manual_seed(0)
    flips = isinstance(dataset, Images) and dataset.flip
    plain, mirrored = list[Tensor](), list[Tensor]()
    for start in range(0, len(stored.x), CHUNK):
        x = dataset.plain(stored.take(slice(start, start + CHUNK)), rng).x
        plain.append(features(x)[0])
        if flips:
            mirrored.append(features(x.flip(-1))[0])
    return torch.cat(plain + mirrored)


def _picture(evidence: Evidence, closest: Tensor, beside: Tensor) -> Tensor:
    """``(rows, 1 + columns, *shape)``."""
    dataset, rng, index = evidence.dataset, torch.Generator().manual_seed(0), beside.flatten()
    stored = dataset.stored("train")
    shown = dataset.plain(stored.take(index % len(stored.x)), rng).x
    mirrored = (index >= len(stored.x))[:, None, None, None]
    shown = torch.where(mirrored, shown.flip(-1), shown)
    return torch.cat([evidence.fake.x[closest][:, None], shown.unflatten(0, beside.shape)], 1)


def nearer(a: Tensor, b: Tensor) -> float:
    """The share of pairs with ``a_i < b_j``, ties counted half."""
    ordered = b.sort().values
    below, upto = (torch.searchsorted(ordered, a, right=right) for right in (False, True))
    return 1 - float((below + upto).double().mean()) / (2 * len(b))


def nearest(x: Tensor, y: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distances ``(n, k)`` from rows of ``x`` to the nearest rows of ``y``, and which these are."""
    found = [torch.cdist(rows, y).topk(k, largest=False) for rows in x.split(CHUNK)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])

"""Datasets, pairs and metrics against their contracts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from ganzoo.dataset import PARTS, Batch, Dataset, Modes, PartName, TractableDataset
from ganzoo.density import log_ratio
from ganzoo.errors import DataError
from ganzoo.extractor import Extractor, Features
from ganzoo.metric import Evidence, Metric, Score
from ganzoo.pair import Pair
from ganzoo.part import Part
from ganzoo.testing.common import attempt, check_dataclass, check_pure, expect, finite, rng, same
from ganzoo.testing.networks import compare_density

SAMPLES: Final = 20_000
#: Samples of each side of a pair.
DRAWN: Final = 50_000
#: Real and generated samples in the evidence that metrics are checked with.
EVIDENCE: Final = 2_000
#: Samples that two parts may share: in one dimension float32 itself makes some coincide.
COINCIDENCES: Final = 0.05
WORLDS: Final = (("ring", True), ("mixture-1d", True), ("ring", False), ("mixture-1d", False), ("digits", False))


def check_dataset(make: Callable[[], Dataset], *, name: str = "") -> None:
    """``make()`` gives fresh instances with the same options."""
    with attempt(f"{name or 'dataset'}: construction"):
        dataset = make()
    expect(
        isinstance(dataset, Dataset), f"{name or make}: made {type(dataset).__name__}, the contract is a ganzoo.Dataset"
    )
    name = name or f"dataset {type(dataset).__name__}"
    whole = isinstance(dataset.shape, tuple) and all(isinstance(n, int) and n > 0 for n in dataset.shape)
    expect(whole, f"{name}: shape is {dataset.shape!r}, the contract is a tuple of positive integers")
    expect(isinstance(dataset.unit, str) and bool(dataset.unit), f"{name}: unit must say what one unit of x is")
    parts: dict[PartName, Batch] = {
        part: check_pure(f"{name}: part {part!r}", lambda part=part: make().part(part)) for part in PARTS
    }
    for part, batch in parts.items():
        _check_batch(dataset, batch, f"{name}: part {part!r}")
        dataset.part(part)  # asking changes nothing
        expect(
            same(dataset.part(part), batch),
            f"{name}: part {part!r} is not the same at every call and in every instance",
        )
    if (label := parts["train"].label) is not None:
        seen = len(label.unique())
        if not dataset.several:
            expect(
                seen == dataset.classes,
                f"{name}: classes is {dataset.classes}, the train part has {seen} different labels",
            )
    _check_translated(dataset, name)
    if isinstance(dataset, TractableDataset):
        _check_disjoint(parts, name)
        _check_density(dataset, name)


def _check_batch(dataset: Dataset, batch: Batch, what: str) -> None:
    x, label = batch
    n = len(x)
    expect(
        n > 0 and x.shape == (n, *dataset.shape),
        f"{what} has shape {tuple(x.shape)}, the contract is (n, *{dataset.shape})",
    )
    expect(
        x.dtype == torch.float32 and x.device.type == "cpu",
        f"{what} is {x.dtype} on {x.device}, the contract is float32, cpu",
    )
    expect(finite(x), f"{what} has values that are not finite")
    if dataset.classes is None:
        return expect(label is None, f"{what} has labels, but classes is None")
    if label is None:
        return expect(False, f"{what} has no labels, but classes is {dataset.classes}")
    wanted = (n, dataset.classes) if dataset.several else (n,)
    right = label.dtype == torch.int64 and label.shape == wanted
    expect(right, f"{what}: labels are {label.dtype} {tuple(label.shape)}, the contract is int64 {wanted}")
    most = 1 if dataset.several else dataset.classes - 1
    inside = int(label.min()) >= 0 and int(label.max()) <= most
    return expect(
        inside,
        f"{what}: labels go from {int(label.min())} to {int(label.max())}, the contract is 0 … {most}",
    )


def _check_translated(dataset: Dataset, name: str) -> None:
    """Where it knows what translations come to, a sample as its own label is the sample."""
    x, label = dataset.some("held-out", 64)
    n = len(x)
    if label is None or label.ndim > 1 or (first := dataset.translated("held-out", n, 0)) is None:
        return
    for each in range(dataset.classes or 0):
        made = first if each == 0 else dataset.translated("held-out", n, each)
        right = isinstance(made, Tensor) and made.shape == x.shape and finite(made)
        expect(right, f"{name}: translated({each}) is no (n, *shape) of finite numbers")
        own = label == each
        kept = made is not None and torch.equal(made[own], x[own])
        expect(kept, f"{name}: samples of label {each} are changed by translated to their own label")


def _check_disjoint(parts: Mapping[PartName, Batch], name: str) -> None:
    rows = {part: {row.tobytes() for row in batch.x.flatten(1).numpy()} for part, batch in parts.items()}
    for i, a in enumerate(PARTS):
        for b in PARTS[i + 1 :]:
            shared = len(rows[a] & rows[b]) / min(len(rows[a]), len(rows[b]))
            expect(
                shared < COINCIDENCES,
                f"{name}: {shared:.0%} of the samples of parts {a!r} and {b!r} are the same; parts are disjoint",
            )


def _check_density(dataset: TractableDataset, name: str) -> None:
    batch = check_pure(f"{name}: sample", lambda: dataset.sample(SAMPLES, rng(0)))
    _check_batch(dataset, batch, f"{name}: a sample")
    other = dataset.sample(SAMPLES, rng(1))
    expect(not same(batch, other), f"{name}: sample ignores rng")
    log_prob = dataset.log_prob(batch.x)
    expect(
        log_prob.shape == (SAMPLES,),
        f"{name}: log_prob has shape {tuple(log_prob.shape)}, the contract is (n,) = ({SAMPLES},)",
    )
    modes = dataset.modes
    k, d = modes.centres.shape
    flat = math.prod(dataset.shape)
    expect(
        d == flat and len(modes.std) == len(modes.weights) == k,
        f"{name}: modes do not fit together or shape {dataset.shape}",
    )
    expect(
        abs(float(modes.weights.sum()) - 1) < 1e-6,
        f"{name}: the modes' weights sum to {float(modes.weights.sum()):.6f}",
    )
    if d <= 2:
        grid, cell = _grid(modes)
        density = dataset.log_prob(grid.unflatten(1, dataset.shape)).exp()
        x = torch.cat([batch.x, dataset.part("train").x]).double()
        compare_density(x.flatten(1), dataset.log_prob(x), grid, density, cell, name)


def _grid(modes: Modes) -> tuple[Tensor, float]:
    """Points one narrowest std apart, up to 8 std around all modes: for a Gaussian that sum is exact to 1e-8."""
    step = float(modes.std.min())
    low, high = (modes.centres + 8 * side * modes.std[:, None] for side in (-1, 1))
    axes = [
        torch.arange(a, b + step, step, dtype=torch.float64)
        for a, b in zip(low.amin(0).tolist(), high.amax(0).tolist(), strict=True)
    ]
    return torch.cartesian_prod(*axes).reshape(-1, len(axes)), step ** len(axes)


def check_pair(pair: Pair, *, name: str = "") -> None:
    """Both sides give samples of their shape, the same for a seed, and densities of mass 1 where the samples are.

    With ``m = (p + q)/2``, ``∫ p = E_m[p/m]`` and ``p/m ≤ 2``: a mean over samples that cannot stray far.
    """
    name = name or "pair"
    expect(isinstance(pair, Pair), f"{name}: {type(pair).__name__} is no ganzoo.Pair")
    xs: list[Tensor] = []
    for side, density in (("p", pair.p), ("q", pair.q)):
        what = f"{name}: sample of {side}"
        x = check_pure(what, lambda density=density: density.sample(DRAWN, rng(0)).x)
        expect(tuple(x.shape) == (DRAWN, *density.shape), f"{what} has the shape {tuple(x.shape)}")
        expect(finite(x), f"{what} is not finite")
        expect(finite(density.log_prob(x)), f"{name}: log_prob of {side} is not finite at its own samples")
        expect(density.log_prob(x).shape == (DRAWN,), f"{name}: log_prob of {side} is not of shape (n,)")
        xs.append(x)
    ratio = log_ratio(pair.p, pair.q, torch.cat(xs))
    for side, sign in (("p", 1), ("q", -1)):
        share = 2 * torch.sigmoid(sign * ratio)
        mass, error = float(share.mean()), float(share.std()) / math.sqrt(len(share))
        expect(abs(mass - 1) < 5 * error + 1e-6, f"{name}: the density of {side} has mass {mass:.4f} ± {error:.4f}")


def check_metric(metric: Metric, *, datasets: Iterable[str] = (), name: str = "") -> None:
    """A pure function of the evidence that tells a perfect generator from a hopeless one: one that gives a sample far
    from all data, or the train part itself.

    Args:
        datasets: what it is tried on where it applies to none of the built-in ones.

    Raises:
        DataError: it applies to none but data that are not at hand.
    """
    name = name or f"metric {type(metric).__name__}"
    expect(isinstance(metric, Metric), f"{name}: {type(metric).__name__} is no ganzoo.Metric")
    check_dataclass(metric, name)
    expect(isinstance(getattr(metric, "unit", None), str), f"{name}: unit must be named")
    expect(
        metric.better in ("lower", "higher"),
        f"{name}: better is {metric.better!r}, the contract is 'lower' or 'higher'",
    )
    missing: list[DataError] = []
    more = [(world, False) for world in datasets]
    found = (
        [each for each in evidence(worlds, missing) if metric.applies(each[0])]
        for evidence in (_evidence, _translations)
        for worlds in (WORLDS, more)
    )
    cases = next(filter(None, found), [])
    if not cases and missing:
        raise missing[0]
    tried = ", ".join(sorted({world for world, _ in (*WORLDS, *more)}))
    expect(bool(cases), f"{name}: applies to none of: {tried}, with and without log_prob")
    for perfect, *hopeless in cases:
        what = f"{name} on {type(perfect.dataset).__name__}{', with log_prob' if perfect.log_prob else ''}"
        floor, *bad = (_score(metric, each, what).value for each in (perfect, *hopeless))
        worse = [value > floor if metric.better == "lower" else value < floor for value in bad]
        expect(
            any(worse),
            f"{what}: {floor:.4g} for real samples, {bad[0]:.4g} far from all data and {bad[1]:.4g} for the train "
            f"part; {metric.better} is better",
        )


def _score(metric: Metric, evidence: Evidence, what: str) -> Score:
    before = evidence.fake.x.clone(), evidence.real.x.clone()
    scores: list[Score] = []

    def measure() -> Tensor:
        scores.append(metric(evidence))
        _check_score(scores[-1], what)
        return torch.tensor(scores[-1].value, dtype=torch.float64)

    check_pure(what, measure)
    expect(same(before, (evidence.fake.x, evidence.real.x)), f"{what} changes the evidence")
    return scores[0]


def _check_score(score: Score, what: str) -> None:
    expect(isinstance(score, Score), f"{what} returned {score!r:.80}, the contract is a ganzoo.Score")
    number = isinstance(score.value, (int, float)) and math.isfinite(score.value)
    expect(number, f"{what} is {score.value!r:.80}, the contract is a finite number")
    expect(isinstance(score.how, str) and bool(score.how), f"{what}: how must say how the number was come by")
    with attempt(f"{what}: detail as JSON"):
        json.dumps(dict(score.detail), allow_nan=False)


def _evidence(
    worlds: Iterable[tuple[str, bool]], missing: list[DataError]
) -> Iterator[tuple[Evidence, Evidence, Evidence]]:
    """Evidence of a perfect generator (fresh real data), of one that always gives one sample far from all data, and of
    one that gives the train part; ``missing`` collects why there is none."""
    for world, dense in worlds:
        try:
            dataset: Dataset = Part("dataset", world).build()
            fake, real, train = (dataset.some(part, EVIDENCE) for part in ("validation", "held-out", "train"))
        except DataError as error:
            missing.append(error)
            continue
        train = train.take(slice(len(fake.x)))
        away = Batch(torch.full_like(fake.x, 20.0), fake.label)
        if dense and isinstance(dataset, TractableDataset):
            truth = dataset
            perfect = Evidence(dataset, fake, real, dataset.log_prob)
            hopeless = replace(
                perfect,
                fake=away,
                log_prob=lambda x, truth=truth: truth.log_prob(0.9 * x) + x.shape[1] * math.log(0.9),
            )
            yield perfect, hopeless, replace(hopeless, fake=train)
        else:
            perfect = Evidence(dataset, fake, real)
            yield perfect, replace(perfect, fake=away), replace(perfect, fake=train)


def _translations(
    worlds: Iterable[tuple[str, bool]], missing: list[DataError]
) -> Iterator[tuple[Evidence, Evidence, Evidence]]:
    """Evidence of a perfect translator (where the truth is known, that; else any real sample of the label), of one that
    gives one sample far from all data, and of one that gives its source back."""
    for world, _ in dict.fromkeys((world, False) for world, _ in worlds):
        try:
            dataset: Dataset = Part("dataset", world).build()
            start, real = dataset.some("held-out", EVIDENCE), dataset.some("validation", EVIDENCE)
            right = _perfect(dataset, start)
        except DataError as error:
            missing.append(error)
            continue
        if right is None or start.label is None:
            continue
        label = start.label.roll(1, 0)
        for_each = (right, lambda x, c: torch.full_like(x, 20.0), lambda x, c: x)
        one, two, three = (Evidence(dataset, Batch(f(start.x, label), label), real, translate=f) for f in for_each)
        yield one, two, three


def _perfect(dataset: Dataset, start: Batch) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Of the first rows of ``start``, whatever else it is given."""
    classes = dataset.classes
    if classes is None or dataset.several:
        return None
    truth = [dataset.translated("held-out", len(start.x), label) for label in range(classes)]
    if any(each is None for each in truth):
        train = dataset.some("train", EVIDENCE)
        assert train.label is not None
        rows = [train.x[train.label == label] for label in range(classes)]
        if not all(map(len, rows)):
            return None
        truth = [each[torch.arange(len(start.x)) % len(each)] for each in rows]
    table = torch.stack([each for each in truth if each is not None])
    return lambda x, c: table[c, torch.arange(len(x))]


def check_extractor(extractor: Extractor, *, name: str = "") -> None:
    """Features of images, or of whatever built-in data it is for: a fixed function of each sample by itself."""
    name = name or f"extractor {type(extractor).__name__}"
    expect(isinstance(extractor, Extractor), f"{name}: {type(extractor).__name__} is no ganzoo.Extractor")
    check_dataclass(extractor, name)
    datasets = [Part("dataset", world).build() for world in ("digits", "ring")]
    datasets = [dataset for dataset in datasets if extractor.applies(dataset)]
    expect(bool(datasets), f"{name}: applies neither to images nor to points in the plane")
    for dataset in datasets:
        with attempt(f"{name}: on {type(dataset).__name__}"):
            features = extractor.on(dataset)
        _check_features(features, dataset, f"{name} on {type(dataset).__name__}")


def _check_features(features: Features, dataset: Dataset, what: str) -> None:
    expect(isinstance(features, Features), f"{what}: gives a {type(features).__name__}, no ganzoo.Features")
    named = bool(features.name) and bool(features.split) and re.fullmatch("[0-9a-f]{64}", features.sha256) is not None
    expect(named, f"{what}: needs a name, the split that it was fitted on, and the sha256 of its weights")
    x = dataset.some("held-out", 40).x
    rows, logits = features(x)
    shape, device = tuple(rows.shape), rows.device.type
    right = rows.ndim == 2 and len(rows) == len(x) and rows.dtype == torch.float32 and device == "cpu"
    expect(right, f"{what}: features are {rows.dtype} {shape} on {device}, the contract is float32 (n, d) on the cpu")
    expect(finite(rows), f"{what}: features are not finite")
    if logits is not None:
        wanted = (len(x), dataset.classes)
        expect(tuple(logits.shape) == wanted, f"{what}: logits are {tuple(logits.shape)}, the contract is {wanted}")
    alone = torch.cat([features(each[None])[0] for each in x[:4]])
    expect(
        torch.allclose(alone, rows[:4], rtol=1e-3, atol=1e-4), f"{what}: features of a sample depend on those beside it"
    )

"""Measuring a generator: every registered metric that applies, on the held-out part, beside what real data scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final, NamedTuple, final

import torch
from torch import Tensor

from ganzoo.dataset import Batch, Dataset, PartName, TractableDataset
from ganzoo.errors import OptionError, UsageError
from ganzoo.generator import Generator, TractableGenerator, Translator
from ganzoo.metric import Evidence, Metric, Score
from ganzoo.plugins import registry
from ganzoo.registry import Entry
from ganzoo.seeds import derive

CHUNK: Final = 10_000
#: So many images at once: their maps are far larger than they are.
IMAGES: Final = 256
#: Sources and labels in a picture of translations.
SOURCES: Final = 8
LABELS: Final = 12
#: What chooses the best snapshot of a run, on the validation part: it needs no density, no labels and no likelihood.
SELECTION: Final = "energy-distance"
#: How it begins what a metric without a value says of itself.
FAILED: Final = "failed: "
#: The kind of what gives metrics their features.
EXTRACTOR: Final = "extractor"


def sample(generator: Generator, n: int, seed: int, label: Tensor | None = None, batch: Batch | None = None) -> Batch:
    """``n`` samples on the CPU, a function of the seed and the generator alone, and of the batch that it starts from,
    where it does."""
    chunks = list(samples(generator, n, seed, label, batch))
    labels = [chunk.label for chunk in chunks if chunk.label is not None]
    return Batch(torch.cat([chunk.x for chunk in chunks]), torch.cat(labels) if labels else None)


def drawn(generator: Generator, dataset: Dataset, n: int, seed: int, start: Batch | None) -> Batch:
    """``n`` samples as they are measured, labels as often as the train part has them.

    What starts from samples says itself what it asks of them, as in training. Where that is not their own labels in
    another order, as many samples are kept as have the labels of the data as often: fewer than ``n``. Of several labels
    at once all are kept.
    """
    if start is None:
        return sample(generator, n, seed, labels(dataset, n, seed))
    made, own, wanted = sample(generator, n, seed, None, start), start.label, dataset.stored("train").label
    if made.label is None or own is None or wanted is None or own.ndim > 1:
        return made
    reordered = torch.equal(made.label.sort().values, own.sort().values)
    return made if reordered else made.take(_as_often(made.label, wanted))


def _as_often(label: Tensor, wanted: Tensor) -> Tensor:
    """The most rows of ``label (n,)`` in which each comes as often as in ``wanted``; all where one never comes."""
    classes = 1 + int(torch.cat([label, wanted]).max())
    have, share = label.bincount(minlength=classes), wanted.bincount(minlength=classes) / len(wanted)
    most = (have / share)[share > 0].min()
    if not most:
        return torch.arange(len(label))
    rows = [(label == c).nonzero().flatten()[: int((most * share[c]).round())] for c in range(classes)]
    return torch.cat(rows).sort().values


@torch.no_grad()
def samples(
    generator: Generator, n: int, seed: int, label: Tensor | None = None, batch: Batch | None = None
) -> Iterator[Batch]:
    """The same in chunks, so that not all of them have to be held."""
    device = next(generator.parameters()).device
    rng = torch.Generator(device).manual_seed(seed)
    piece = IMAGES if any(p.ndim == 4 for p in generator.parameters()) else CHUNK
    for start in range(0, n, CHUNK):
        size = min(CHUNK, n - start)
        rows = slice(start, start + size)
        given = None if batch is None else batch.take(rows).to(device)
        z, c = generator.source(size, rng, given, None if label is None else label[rows].to(device))
        conditions = [None] * size if c is None else c.split(piece)
        for each, of in zip(z.split(piece), conditions, strict=False):
            yield Batch(generator(each, of), of).to(torch.device("cpu"))


@torch.no_grad()
def log_prob(generator: TractableGenerator, x: Tensor) -> Tensor:
    """``log p_G(x)`` of an unconditional generator, computed where it lives, returned on the CPU."""
    device = next(generator.parameters()).device
    return torch.cat([generator.log_prob(piece.to(device)).cpu() for piece in x.split(CHUNK)])


@torch.no_grad()
def translate(generator: Translator, x: Tensor, c: Tensor) -> Tensor:
    """``G(x, c)`` of samples ``(n, *shape)`` and labels, computed where it lives, returned on the CPU."""
    device = next(generator.parameters()).device
    pieces = zip(x.split(IMAGES), c.split(IMAGES), strict=True)
    return torch.cat([generator(each.to(device), of.to(device)).cpu() for each, of in pieces])


def origin(generator: Generator, dataset: Dataset, n: int, part: PartName, seed: int) -> Batch | None:
    """The first ``n`` samples of a part, for a generator that starts from samples; none for others. Of data that can be
    drawn from without end there may be more than the part has: these are fresh ones."""
    if not isinstance(generator, Translator):
        return None
    if isinstance(dataset, TractableDataset) and n > len(dataset.stored(part).x):
        return dataset.sample(n, torch.Generator().manual_seed(derive(seed, "origin")))
    return dataset.some(part, n)


class Translations(NamedTuple):
    """``x (rows, columns, *shape)``: a source, and beside it what was made of it, by columns with these names."""

    x: Tensor
    names: tuple[str, ...]


def translations(generator: Translator, dataset: Dataset) -> Translations:
    """Some samples of the held-out part as each of the first labels; where they have several, with each changed."""
    rows = dataset.some("held-out", SOURCES)
    assert rows.label is not None
    columns = range(min(dataset.classes or 0, LABELS))
    made = [translate(generator, rows.x, asked(rows.label, label)) for label in columns]
    names = dataset.labels or tuple(map(str, range(dataset.classes or 0)))
    heads = (f"change {names[label]}" if dataset.several else names[label] for label in columns)
    return Translations(torch.stack([rows.x, *made], 1), ("source", *heads))


def asked(own: Tensor, label: int) -> Tensor:
    """What is asked of samples with labels of their ``own``: this label; where there are several, with it changed."""
    if own.ndim == 1:
        return torch.full_like(own, label)
    changed = own.clone()
    changed[:, label] = 1 - changed[:, label]
    return changed


def evaluate(
    generator: Generator, dataset: Dataset, seed: int, chosen: Mapping[str, Metric] | None = None
) -> dict[str, Score]:
    """Every metric that applies, or the ``chosen`` ones, on the held-out part.

    A generator that reads labels gets them as often as the train part has them, see `drawn`, and is judged by its
    samples alone: what it can say is the density under a label, not ``p_G``. One that starts from samples gets those of
    the validation part, as `floor` does: beside the very samples that they were made of, copies would be nearer than
    real data are.
    """
    seed, scores = derive(seed, "evaluation"), dict[str, Score]()
    chosen, real = metrics() if chosen is None else chosen, dataset.part("held-out")
    for n, alike in _by_size(chosen, dataset).items():
        start = origin(generator, dataset, n, "validation", seed)
        fake = drawn(generator, dataset, n, seed, start)
        density = None
        if isinstance(generator, TractableGenerator) and fake.label is None:
            density = partial(log_prob, generator)
        translated = partial(translate, generator) if isinstance(generator, Translator) else None
        scores |= measure(alike, dataset, fake, real, density, translated)
    return {name: scores[name] for name in chosen if name in scores}


def floor(dataset: Dataset, chosen: Mapping[str, Metric] | None = None) -> dict[str, Score]:
    """What real data scores: as many samples of the validation part, passed off as generated.

    It is judged by its samples, as a generator without a density is; metrics of a likelihood get the true density.
    """
    scores: dict[str, Score] = {}
    real = dataset.part("held-out")
    for n, alike in _by_size(metrics() if chosen is None else chosen, dataset).items():
        fake = dataset.some("validation", n)
        scores |= measure(alike, dataset, fake, real)
        if isinstance(dataset, TractableDataset):
            likelihood = {name: metric for name, metric in alike.items() if name not in scores}
            scores |= measure(likelihood, dataset, fake, real, dataset.log_prob)
    return scores


def _by_size(chosen: Mapping[str, Metric], dataset: Dataset) -> dict[int, dict[str, Metric]]:
    """Metrics by the samples that they get: no more than the real data can be judged by themselves."""
    most = min(len(dataset.stored(part).x) for part in ("validation", "held-out"))
    groups: dict[int, dict[str, Metric]] = {}
    for name, metric in chosen.items():
        groups.setdefault(min(metric.samples, most), {})[name] = metric
    return groups


def labels(dataset: Dataset, n: int, seed: int) -> Tensor | None:
    """``n`` labels, as often as the train part has them; none where the data have none."""
    label = dataset.stored("train").label
    if label is None:
        return None
    return label[torch.randint(len(label), (n,), generator=torch.Generator().manual_seed(seed))]


def measure(
    chosen: Mapping[str, Metric],
    dataset: Dataset,
    fake: Batch,
    real: Batch,
    density: Callable[[Tensor], Tensor] | None = None,
    translate: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> dict[str, Score]:
    """Scores by metric, of those that apply. One that fails has no value and says why; the others do not suffer."""
    evidence = Evidence(dataset, fake, real, density, derive(0, "metric"), translate)
    scores: dict[str, Score] = {}
    for name, metric in chosen.items():
        try:
            if metric.applies(evidence):
                scores[name] = metric(evidence)
        except Exception as error:
            scores[name] = Score(math.nan, f"{FAILED}{type(error).__name__}: {error}")
    return scores


@final
class _Broken(Metric):
    """Stands for a metric that cannot be made, so that the report says so."""

    unit = ""

    def __init__(self, why: Exception) -> None:
        self.why = why

    def applies(self, evidence: Evidence) -> bool:
        raise self.why

    def __call__(self, evidence: Evidence) -> Score:
        raise self.why


def metrics(names: Iterable[str] | None = None) -> dict[str, Metric]:
    """The metrics with these names (of one that has an option `extractor`, ``NAME:EXTRACTOR``), or all registered ones
    with their default options but for those that are measured on request.

    Raises:
        UsageError: there is no metric, or no extractor, of a name that was given.
    """
    found: dict[str, Metric] = {}
    for name in metric_names() if names is None else names:
        entry, options = _entry(name)
        try:
            metric = entry.create(options)
        except Exception as error:
            if names is not None and isinstance(error, UsageError):
                raise
            metric = _Broken(error)
        if names is not None or not metric.on_request:
            found[_name(entry, options)] = metric
    return found


def metric_names() -> list[str]:
    """What every registered metric is called, in the order in which they are shown."""
    return [_name(entry, {}) for entry in registry().all("metric")]


def summary(name: str) -> str:
    """A metric in a few words."""
    return _entry(name)[0].summary


def _entry(name: str) -> tuple[Entry, dict[str, str]]:
    name, colon, extractor = name.partition(":")
    entry = registry().find("metric", name)
    options = {option.name: extractor for option in entry.options if colon and option.type == EXTRACTOR}
    if colon and not options:
        raise OptionError(f"the metric {name} takes no extractor, such as {extractor!r}: say {name}")
    return entry, options


def _name(entry: Entry, options: Mapping[str, str]) -> str:
    """Features make another number: their name is part of the metric's."""
    used = [options.get(option.name, option.default) for option in entry.options if option.type == EXTRACTOR]
    return ":".join([registry().name(entry), *map(str, used)])


def validation(generator: Generator, dataset: Dataset, seed: int) -> float:
    """The number by which snapshots are compared: lower is better; not a number where it cannot be measured.

    What starts from samples starts from half of those of the validation part, and is compared with the other half,
    label by label: its sources given back are as near to all real samples as can be, and are not what was asked for.
    """
    seed, chosen = derive(seed, "validation"), metrics([SELECTION])
    ((n, _),) = _by_size(chosen, dataset).items()
    real, start = dataset.some("validation", n), None
    if isinstance(generator, Translator):
        n = max(1, len(real.x) // 2)
        start, real = real.take(slice(n)), real.take(slice(n, None))
    made = drawn(generator, dataset, n, seed, start)
    pairs = [(made, real)] if start is None else list(_by_label(made, real))
    sizes = [min(len(side.x) for side in pair) for pair in pairs]
    scores = [measure(chosen, dataset, *pair)[SELECTION].value for pair in pairs]
    return sum(n * score for n, score in zip(sizes, scores, strict=True)) / sum(sizes) if scores else math.nan


def _by_label(made: Batch, real: Batch) -> Iterator[tuple[Batch, Batch]]:
    """Both of each label, or where samples can have several, with and without each; not of one that hardly any have."""
    if made.label is None or real.label is None:
        yield made, real
        return
    mine_by, theirs_by = (label.unsqueeze(1).flatten(1) for label in (made.label, real.label))
    for mine, theirs in zip(mine_by.unbind(1), theirs_by.unbind(1), strict=True):
        for value in theirs.unique():
            one, other = (mine == value).nonzero().flatten(), (theirs == value).nonzero().flatten()
            if min(len(one), len(other)) > 1:
                yield made.take(one), real.take(other)

"""Measuring a generator: every registered metric that applies, on the held-out part, beside what real data scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import torch
from torch import Tensor

from ganzoo.dataset import Batch, Dataset, PartName, TractableDataset
from ganzoo.generator import Generator, TractableGenerator
from ganzoo.metric import Evidence, Metric, Score
from ganzoo.plugins import registry
from ganzoo.seeds import derive

#: Samples of the generator that every metric gets: PacGAN's number, so that modes and quality compare with its tables.
SAMPLES: Final = 2_500
CHUNK: Final = 10_000
#: What chooses the best snapshot of a run, on the validation part: it needs no density, no labels and no likelihood.
SELECTION: Final = "energy-distance"


@torch.no_grad()
def sample(generator: Generator, n: int, seed: int, label: Tensor | None = None) -> Batch:
    """``n`` samples on the CPU, a function of the seed and the generator alone."""
    device = next(generator.parameters()).device
    rng = torch.Generator(device).manual_seed(seed)
    chunks: list[Batch] = []
    for start in range(0, n, CHUNK):
        size = min(CHUNK, n - start)
        z, c = generator.source(size, rng, label=None if label is None else label[start : start + size].to(device))
        chunks.append(Batch(generator(z, c), c).to(torch.device("cpu")))
    labels = [chunk.label for chunk in chunks if chunk.label is not None]
    return Batch(torch.cat([chunk.x for chunk in chunks]), torch.cat(labels) if labels else None)


@torch.no_grad()
def log_prob(generator: TractableGenerator, x: Tensor) -> Tensor:
    """``log p_G(x)`` of an unconditional generator, computed where it lives, returned on the CPU."""
    device = next(generator.parameters()).device
    return torch.cat([generator.log_prob(piece.to(device)).cpu() for piece in x.split(CHUNK)])


def evaluate(generator: Generator, dataset: Dataset, seed: int) -> dict[str, Score]:
    """Every registered metric that applies, on the held-out part."""
    fake = sample(generator, SAMPLES, derive(seed, "evaluation"))
    density = partial(log_prob, generator) if isinstance(generator, TractableGenerator) else None
    return measure(metrics(), dataset, fake, density)


def floor(dataset: Dataset) -> dict[str, Score]:
    """What real data scores: the validation part passed off as generated.

    It is judged by its samples, as a generator without a density is; metrics of a likelihood get the true density.
    """
    real = dataset.part("validation").take(slice(SAMPLES))
    scores = measure(metrics(), dataset, real)
    if isinstance(dataset, TractableDataset):
        likelihood = {name: metric for name, metric in metrics().items() if name not in scores}
        scores |= measure(likelihood, dataset, real, dataset.log_prob)
    return scores


def measure(
    chosen: Mapping[str, Metric],
    dataset: Dataset,
    fake: Batch,
    density: Callable[[Tensor], Tensor] | None = None,
    part: PartName = "held-out",
) -> dict[str, Score]:
    """Scores by metric, of those that apply."""
    evidence = Evidence(dataset, fake, dataset.part(part), density, seed=derive(0, "metric"))
    return {name: metric(evidence) for name, metric in chosen.items() if metric.applies(evidence)}


def metrics() -> dict[str, Metric]:
    """Every registered metric with its default options."""
    return {name: registry().find("metric", name).create({}) for name in registry().names("metric")}


def validation(generator: Generator, dataset: Dataset, seed: int) -> float:
    """The number by which snapshots are compared: lower is better."""
    fake = sample(generator, SAMPLES, derive(seed, "validation"))
    metric: Metric = registry().find("metric", SELECTION).create({})
    return measure({SELECTION: metric}, dataset, fake, part="validation")[SELECTION].value

"""The two sides of a measurement: where its samples come from, and whether their density is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, final

import torch
from torch import Tensor

from ganzoo import evaluate
from ganzoo.dataset import PARTS, Batch, Dataset, PartName, TractableDataset
from ganzoo.density import Density
from ganzoo.errors import IncompatibleError
from ganzoo.generator import Generator, TractableGenerator
from ganzoo.seeds import derive

#: Samples of a distribution that can be drawn from without end: to fit to, to choose by, to read off.
SIZES: Final = (100_000, 10_000, 50_000)


class Parts(NamedTuple):
    """Samples ``(n, *shape)`` of one side: to fit to, to choose by, and to read off."""

    fit: Tensor
    choose: Tensor
    read: Tensor

    def to(self, device: torch.device) -> Parts:
        return Parts(*(part.to(device) for part in self))


Draw = Callable[[int], Parts]


@final
@dataclass(frozen=True)
class Side:
    """One of the two distributions: ``draw(seed)`` gives samples, ``density`` is known or not.

    ``halves(seed)`` gives two independent sets of samples of it, for the control.
    """

    draw: Draw
    halves: Callable[[int], tuple[Parts, Parts]]
    shape: tuple[int, ...]
    density: Density | None = None


def of_density(density: Density, sizes: Sequence[int] = SIZES) -> Side:
    """A distribution that can be drawn from without end: every critic gets samples of its own, so many of each part."""

    def draw(seed: int, purpose: str = "one") -> Parts:
        rng = torch.Generator().manual_seed(derive(seed, purpose))
        return Parts(*(density.sample(n, rng).x for n in sizes))

    return Side(draw, lambda seed: (draw(seed), draw(seed, "two")), tuple(density.shape), density)


def of_dataset(dataset: Dataset) -> Side:
    """The three parts of a dataset, the same for every critic: the spread between critics is theirs, and not that of
    data which are few."""
    if isinstance(dataset, TractableDataset):
        return of_density(dataset)
    whole = Parts(*(dataset.part(name).x for name in PARTS))

    def halves(seed: int) -> tuple[Parts, Parts]:
        rng = torch.Generator().manual_seed(derive(seed, "halves"))
        orders = [torch.randperm(len(x), generator=rng) for x in whole]
        first, second = (
            Parts(*(x[order[start::2]] for x, order in zip(whole, orders, strict=True))) for start in (0, 1)
        )
        return first, second

    return Side(lambda seed: whole, halves, dataset.shape)


def of_generator(generator: Generator, dataset: Dataset) -> Side:
    """As many samples of it as there are of the data; labels, where it reads them, come as often as in the data.

    What starts from samples starts from those of the same part: a reading is a difference of two means, which that
    does not bias. Its halves are made of halves of them.
    """
    sizes = SIZES if isinstance(dataset, TractableDataset) else [len(dataset.part(name).x) for name in PARTS]

    def draw(seed: int, purpose: str = "one", half: int | None = None) -> Parts:
        def part(name: PartName, n: int) -> Tensor:
            own = derive(seed, f"{purpose} {name}")
            start = evaluate.origin(generator, dataset, n, name, own)
            if start is not None and half is not None:
                order = torch.randperm(n, generator=torch.Generator().manual_seed(derive(seed, f"halves {name}")))
                start = start.take(order[half::2])
                n = len(start.x)
            x = evaluate.drawn(generator, dataset, n, own, start).x
            if bad := int((~x.flatten(1).isfinite()).any(1).sum()):
                raise IncompatibleError(f"{bad:,} of {n:,} samples of the generator are not finite numbers")
            return x

        return Parts(*(part(name, n) for name, n in zip(PARTS, sizes, strict=True)))

    density = None
    if isinstance(generator, TractableGenerator):
        reads_labels = evaluate.drawn(generator, dataset, 1, 0, None).label is not None
        density = None if reads_labels else _GeneratorDensity(generator, dataset.shape)
    return Side(draw, lambda seed: (draw(seed, half=0), draw(seed, "two", half=1)), tuple(dataset.shape), density)


@final
@dataclass(frozen=True)
class _GeneratorDensity:
    generator: Any
    shape: tuple[int, ...]

    def log_prob(self, x: Tensor) -> Tensor:
        return evaluate.log_prob(self.generator, x.float())

    def sample(self, n: int, rng: torch.Generator) -> Batch:
        return evaluate.sample(self.generator, n, rng.initial_seed())

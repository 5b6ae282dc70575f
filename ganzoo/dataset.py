"""The noun *dataset*: samples of the true distribution ``P_data``; some also know their density."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

PartName = Literal["train", "validation", "held-out"]
PARTS: tuple[PartName, ...] = ("train", "validation", "held-out")


class Batch(NamedTuple):
    """Samples ``x`` of shape ``(n, *shape)`` and their labels ``(n, *attributes)``, where there are any."""

    x: Tensor
    label: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        return Batch(self.x.to(device), None if self.label is None else self.label.to(device))

    def take(self, index: Tensor | slice) -> Batch:
        rows = [t[index] if isinstance(index, slice) else t.index_select(0, index) for t in self if t is not None]
        return Batch(*rows)


class Dataset(ABC):
    """Three fixed parts of samples.

    ``train`` is what methods see, ``validation`` chooses the best snapshot of a run, ``held-out`` is what reported
    numbers are measured on. All three depend on the dataset's options alone, never on the seed of a run.

    Attributes: ``shape``, that of one sample; ``classes``, how many labels there are (none where samples have no
    label); ``unit``, what one unit of ``x`` is, for distances and likelihoods; ``limits``, black and white, where
    samples are images.
    """

    shape: tuple[int, ...]
    classes: int | None = None
    unit: str = "data units"
    limits: tuple[float, float] = (0.0, 1.0)

    @abstractmethod
    def part(self, name: PartName) -> Batch:
        """The samples of a part, float32 on the CPU: ``x (n, *shape)``, labels ``(n,)`` int64. The same at every
        call."""


@dataclass(frozen=True)
class Modes:
    """The modes of a density: ``centres (k, d)`` with ``std (k,)`` each in every direction, chosen with ``weights
    (k,)``."""

    centres: Tensor
    std: Tensor
    weights: Tensor


class TractableDataset(Dataset):
    """A dataset that also knows its density ``p_data`` and can be drawn from without end."""

    modes: Modes

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """``log p_data(x)`` in nats, ``(n,)``, for ``x (n, *shape)``."""

    @abstractmethod
    def sample(self, n: int, rng: torch.Generator) -> Batch:
        """``n`` fresh samples."""

"""The noun *metric*: a number for how close ``P_G`` came to ``P_data``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ganzoo.dataset import Batch, Dataset


@dataclass(frozen=True)
class Evidence:
    """What a metric may look at.

    ``fake`` are samples of ``P_G``; ``real`` are samples of ``P_data`` that the generator has not seen; ``log_prob`` is
    the generator's, where it has one; ``seed`` is for the metric's own randomness. Everything is on the CPU. Scoring
    real data that is passed off as ``fake`` gives the floor: what a perfect generator would get.

    Of a generator that starts from samples, ``fake`` was made of others than ``real``, and ``translate(x, c)`` makes
    more, of ``dataset.some("held-out", n)``, say.
    """

    dataset: Dataset
    fake: Batch
    real: Batch
    log_prob: Callable[[Tensor], Tensor] | None = None
    seed: int = 0
    translate: Callable[[Tensor, Tensor], Tensor] | None = None

    def rng(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True)
class Score:
    """A metric's value; ``how`` says how it was come by (exact, or the estimator); ``detail`` is JSON for the
    report; ``picture (rows, columns, *shape)`` shows what it saw, as samples of the dataset."""

    value: float
    how: str
    detail: Mapping[str, Any] = field(default_factory=dict[str, Any])
    picture: Tensor | None = None


class Metric(ABC):
    """A pure function of the evidence. Leaves are frozen dataclasses.

    ``samples`` is how many generated samples it asks for; it gets fewer where the parts of the dataset have fewer. What
    needs minutes, or files that have to be fetched, is ``on_request``: measured where it is asked for by name. One that
    is not ``sampled`` is a function of the generator and the data alone, whatever samples are drawn.
    """

    unit: ClassVar[str]
    better: ClassVar[Literal["lower", "higher"]] = "lower"
    samples: int = 2_500
    on_request: ClassVar[bool] = False
    sampled: ClassVar[bool] = True

    @abstractmethod
    def applies(self, evidence: Evidence) -> bool:
        """Whether there is what it needs: a known density, labels, a likelihood."""

    @abstractmethod
    def __call__(self, evidence: Evidence) -> Score:
        """Measure. Called only where it applies."""

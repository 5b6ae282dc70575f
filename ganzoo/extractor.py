"""The noun *extractor*: what turns samples into the features that metrics compare.

A number from features is one of them: with other features it is another number, under another name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from ganzoo.dataset import Dataset

#: Samples at once.
CHUNK: Final = 500

Output = tuple[Tensor, Tensor | None]


@final
@dataclass(frozen=True)
class Features:
    """A fixed function of samples, and what has to be said of it beside every number.

    Attributes: ``name``, the extractor's; ``sha256``, of its weights; ``split``, the data that these were fitted on;
    ``network``, from samples ``(n, *shape)`` in the dataset's units to features ``(n, d)`` and the logits ``(n,
    classes)`` of a classifier, where it is one.
    """

    name: str
    sha256: str
    split: str
    network: Callable[[Tensor], Output]

    def __str__(self) -> str:
        return f"{self.name} {self.sha256[:8]} ({self.split})"

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Output:
        """Features and logits of ``x``, float32 on the CPU; computed once for as long as ``x`` lives."""
        kept: dict[tuple[str, int], Output] = _KEPT.setdefault(x, {})  # pyright: ignore[reportAssignmentType]
        key = self.sha256, x._version
        if key not in kept:
            outputs = [self.network(piece) for piece in x.split(CHUNK)]
            logits = [each for _, each in outputs if each is not None]
            kept[key] = torch.cat([features for features, _ in outputs]).float(), torch.cat(logits) if logits else None
        return kept[key]


#: Several metrics ask for the features of the same samples.
_KEPT: Final[WeakIdKeyDictionary] = WeakIdKeyDictionary()


class Extractor(ABC):
    """Where features come from. Leaves are frozen dataclasses."""

    def applies(self, dataset: Dataset) -> bool:
        """Whether samples of this kind have such features. Optional."""
        return True

    @abstractmethod
    def on(self, dataset: Dataset) -> Features:
        """The features of this dataset's samples; may train on its train part, or fetch.

        Raises:
            DataError: what it needs is not at hand and cannot be fetched.
        """

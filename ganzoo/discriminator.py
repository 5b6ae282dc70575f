"""The noun *discriminator*: gives samples scores. It measures how far ``P_G`` is from ``P_data``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor, nn


class Verdict(NamedTuple):
    """``score (n, *units)``, unbounded; class ``logits (n, classes)`` where the discriminator has a second head.

    ``n`` is less than the batch where samples are packed.
    """

    score: Tensor
    logits: Tensor | None = None


class Discriminator(nn.Module, ABC):
    """``D(x, c)``. The score is a critic's raw output: what it means is up to the divergence.

    Constructor and `forward` must also work on the meta device, where a recipe is tried with its own batch size before
    anything is allocated.
    """

    stackable: ClassVar[bool] = True

    @abstractmethod
    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        """The verdict on samples ``x (n, *shape)`` with conditions ``c``."""

    def prepare(self) -> None:
        """Called once before each turn (each repeat of it) of this player, without gradients: moves buffers that change
        once a turn, like the power iteration of spectral normalisation.

        It changes no parameter, and `forward` does not change what it changes. Buffers are written in place
        (``copy_``), so that stacked replicas can do it under `torch.func.vmap`. Optional.
        """
        return

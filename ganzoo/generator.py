"""The noun *generator*: turns a source into samples of ``P_G``; some also know their likelihood."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from ganzoo.dataset import Batch
from ganzoo.errors import IncompatibleError


class Generator(nn.Module, ABC):
    """``x = G(z, c)`` with ``z, c`` from the generator's own source.

    The constructor's options are declared by the entry that registers it; it must also work on the meta device, so that
    a recipe can be checked before anything is allocated. ``stackable`` says whether many seeds of it can be trained as
    one program under `torch.func.vmap`.
    """

    stackable: ClassVar[bool] = True

    @abstractmethod
    def source(
        self, n: int, rng: torch.Generator, batch: Batch | None = None, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """What ``n`` samples are made from: ``z`` with first dimension ``n``, and the condition ``c (n, …)`` or none.

        Reads no parameters, and all its randomness comes from ``rng``, on whose device the results are. ``batch`` is
        the real batch of the turn (an image-to-image generator starts from it); ``label`` asks for certain labels.
        """

    @abstractmethod
    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Samples ``(n, *shape)``, a deterministic function of ``z``, ``c`` and the parameters."""

    def initialise(self, x: Tensor, rng: torch.Generator) -> None:
        """Called once before training with the samples of the train part, for a start that depends on data.
        Optional."""
        return

    def prepare(self) -> None:
        """Called once before each turn (each repeat of it) of this player, without gradients: moves buffers that change
        once a turn, under the rules of `Discriminator.prepare`. Optional."""
        return


class Translator(Generator):
    """``x' = G(x, c)``: starts from a sample, of ``shape``, and makes it one of the label ``c``.

    Where it is evaluated or drawn it starts from samples that it was not trained on, and is not compared with them.
    Fresh critics are fitted to what it makes of the train part, and read off what it makes of the held-out one.
    """

    shape: tuple[int, ...]

    def source(
        self, n: int, rng: torch.Generator, batch: Batch | None = None, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The samples of the batch, and the labels asked for: where none are, those that it `wants`.

        Raises:
            IncompatibleError: there are not ``n`` samples to start from, or they have no labels.
        """
        if batch is None or len(batch.x) != n:
            raise IncompatibleError(f"{type(self).__name__} starts from samples: it needs as many as it is to make")
        if label is not None:
            return batch.x, label
        if batch.label is None:
            raise IncompatibleError(f"{type(self).__name__} is told which label to make, and the data have none")
        return batch.x, self.wants(batch.label, rng)

    def wants(self, own: Tensor, rng: torch.Generator) -> Tensor:
        """What to ask of samples with labels of their ``own``, while training and where samples are measured: by
        default those labels in another order, so that they come as often as in the data.

        A batch may be many batches of training, drawn at once.
        """
        return own[torch.randperm(len(own), generator=rng, device=rng.device)]


class TractableGenerator(Generator):
    """A generator whose density ``p_G`` can be written down, which is what maximum likelihood needs."""

    @abstractmethod
    def log_prob(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """``log p_G(x | c)`` in nats, ``(n,)``, for ``x (n, *shape)``."""

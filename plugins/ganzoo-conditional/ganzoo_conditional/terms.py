"""What is asked of a discriminator that tells labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast, final

import torch
from torch import Tensor, nn

from ganzoo import Batch, Round, Term, Translator
from ganzoo.errors import IncompatibleError
from ganzoo.game import DISCRIMINATOR, GENERATOR
from ganzoo.heads import classification, right
from ganzoo.terms import require_players


@final
@dataclass(frozen=True)
class Classify(Term):
    """``−E log P(c | x)`` in nats, ``P`` the softmax of the discriminator's class logits: Odena, Olah & Shlens (2017);
    of several labels the product of sigmoids.

    ``of`` says whether ``x, c`` are real or generated samples and the labels that they were asked for. The paper's
    ``L_C`` is the sum of both, which both players want to be likely; real samples say nothing to the generator.
    """

    of: str = "real"
    discriminator: str = DISCRIMINATOR
    generator: str = GENERATOR
    label: ClassVar[str] = "classify"

    def __call__(self, round: Round) -> Tensor:
        logits, label = self._told(round)
        return classification(logits, label)

    def observe(self, round: Round) -> dict[str, Tensor]:
        """The share of labels that are told right."""
        logits, label = self._told(round)
        return {f"accuracy on {self.of}": right(logits, label).to(logits.dtype).mean()}

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        require_players(self, networks, self.discriminator, self.generator)
        generator: Any = networks[self.generator]
        start = None
        if isinstance(generator, Translator):
            start = Batch(torch.zeros(2, *generator.shape), torch.zeros(2, dtype=torch.long))
        z, c = generator.source(2, torch.Generator().manual_seed(0), start)
        if c is None:
            raise IncompatibleError(f"classes are told of labels, and {type(generator).__name__} reads none")
        device = next(generator.parameters()).device
        with torch.no_grad():
            verdict = networks[self.discriminator](generator(z.to(device), c.to(device)), c.to(device))
        self._logits(verdict.logits, type(networks[self.discriminator]).__name__)

    def _told(self, round: Round) -> tuple[Tensor, Tensor]:
        """Logits ``(n, classes)`` and labels."""
        if self.of == "real":
            verdict, label = round.real_verdict(self.discriminator), round.real.label
        else:
            verdict = round.fake_verdict(self.discriminator, self.generator)
            label = round.fake(self.generator).label
        return self._logits(verdict.logits, self.discriminator), cast(Tensor, label)

    @staticmethod
    def _logits(logits: Tensor | None, name: str) -> Tensor:
        if logits is None:
            raise IncompatibleError(f"{name} gives no class logits; head=classify does, where it has that option")
        return logits

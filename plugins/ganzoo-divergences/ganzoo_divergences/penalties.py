"""Penalties on the critic's input gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from ganzoo.game import Draw, Round
from ganzoo.penalties import Penalty, input_gradient
from ganzoo.terms import require_players


def _slopes(round: Round, discriminator: str, x: Tensor, c: Tensor | None) -> Tensor:
    """``∇_x D(x)``, flattened to ``(n, d)``."""
    return input_gradient(lambda at: round.discriminate(at, c, discriminator=discriminator).score, x).flatten(1)


@final
@dataclass(frozen=True)
class R2(Penalty):
    """``E_G ‖∇_x D(x)‖²`` at generated samples, with weight γ/2 beside R1's in Mescheder, Geiger & Nowozin (2018)."""

    discriminator: str = "discriminator"
    generator: str = "generator"
    label: ClassVar[str] = "r2"

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        super().check(networks)
        require_players(self, networks, self.generator)

    def __call__(self, round: Round) -> Tensor:
        return _slopes(round, self.discriminator, *round.fake(self.generator)).square().sum(1).mean()


@final
@dataclass(frozen=True)
class OneSidedGradientPenalty(Penalty):
    """``E (‖∇_x D(x̂)‖ − 1)₊²`` at ``x̂ = (1 − ε) x + ε G(z)``, ε uniform: only slopes above 1 cost anything.

    Gulrajani et al. (2017), §4, and Petzka, Fischer & Lukovnikov, "On the regularization of Wasserstein GANs" (2018).
    """

    discriminator: str = "discriminator"
    generator: str = "generator"
    label: ClassVar[str] = "one-sided-gradient-penalty"
    # The same draw as the two-sided one declares, so that a turn can have both at the same points.
    draws: ClassVar[Mapping[str, Draw]] = MappingProxyType({"epsilon": Draw("uniform", "sample")})

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        super().check(networks)
        require_players(self, networks, self.generator)

    def __call__(self, round: Round) -> Tensor:
        x, c = round.real
        between = x.lerp(round.fake(self.generator).x, round.noise("epsilon"))
        return torch.relu(_slopes(round, self.discriminator, between, c).norm(dim=1) - 1).square().mean()


@final
@dataclass(frozen=True)
class Dragan(Penalty):
    """``E (‖∇_x D(x + s δ)‖ − 1)²`` around real ``x``, ``δ ∼ N(0, I)``: Kodali et al. (2017), with weight 10 there.

    Args:
        spread: ``s`` is this many standard deviations of the whole real batch, ½ in the published code (which draws δ
            from [0, 1), where the paper has a Gaussian).
    """

    spread: float = 0.5
    discriminator: str = "discriminator"
    label: ClassVar[str] = "dragan"
    draws: ClassVar[Mapping[str, Draw]] = MappingProxyType({"delta": Draw("normal", "event")})

    def __call__(self, round: Round) -> Tensor:
        x, c = round.real
        near = x + self.spread * x.std(correction=0) * round.noise("delta")
        return (_slopes(round, self.discriminator, near, c).norm(dim=1) - 1).square().mean()


@final
@dataclass(frozen=True)
class Consistency(Penalty):
    """``E_P (D(x) − D(x + s δ))² + E_Q (D(y) − D(y + s δ'))²``, ``δ ∼ N(0, I)``: the critic should not tell a sample
    from the same one perturbed.

    Zhang et al. (2020), with weight 10 there, and on generated samples too ("balanced") Zhao et al. (2021). They
    perturb images by moving and flipping them; here it is by noise, since most data are no images. No gradient in the
    input is taken.

    Args:
        spread: ``s`` is this many standard deviations of the whole real batch.
    """

    spread: float = 0.05
    discriminator: str = "discriminator"
    generator: str = "generator"
    label: ClassVar[str] = "consistency"
    draws: ClassVar[Mapping[str, Draw]] = MappingProxyType(
        {"consistency-real": Draw("normal", "event"), "consistency-fake": Draw("normal", "event")}
    )

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        require_players(self, networks, self.discriminator, self.generator)

    def __call__(self, round: Round) -> Tensor:
        size = self.spread * round.real.x.std(correction=0)
        scores = round.scores(self.discriminator, self.generator)
        sides = (("real", round.real, scores.real), ("fake", round.fake(self.generator), scores.fake))
        changes = [
            score - self._score(round, batch.x + size * round.noise(f"consistency-{side}"), batch.label)
            for side, batch, score in sides
        ]
        return changes[0].square().mean() + changes[1].square().mean()

    def _score(self, round: Round, x: Tensor, c: Tensor | None) -> Tensor:
        return round.discriminate(x, c, discriminator=self.discriminator).score

"""Built-in penalties on the discriminator's input gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, final

from torch import Tensor, nn

from ganzoo.game import Draw, Round
from ganzoo.penalties import Penalty, input_gradient
from ganzoo.terms import require_players


@final
@dataclass(frozen=True)
class R1(Penalty):
    """``E_data ‖∇_x D(x)‖²``, with weight γ/2 in Mescheder, Geiger & Nowozin (2018)."""

    discriminator: str = "discriminator"
    label: ClassVar[str] = "r1"

    def __call__(self, round: Round) -> Tensor:
        x, c = round.real
        gradient = input_gradient(lambda at: round.discriminate(at, c, discriminator=self.discriminator).score, x)
        return gradient.flatten(1).square().sum(1).mean()


@final
@dataclass(frozen=True)
class GradientPenalty(Penalty):
    """``E (‖∇_x D(x̂)‖ − 1)²`` at ``x̂ = (1 − ε) x + ε G(z)``, ε uniform: Gulrajani et al. (2017), with weight 10
    there."""

    discriminator: str = "discriminator"
    generator: str = "generator"
    label: ClassVar[str] = "gradient-penalty"
    draws: ClassVar[Mapping[str, Draw]] = MappingProxyType({"epsilon": Draw("uniform", "sample")})

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        super().check(networks)
        require_players(self, networks, self.generator)

    def __call__(self, round: Round) -> Tensor:
        x, c = round.real
        between = x.lerp(round.fake(self.generator).x, round.noise("epsilon"))
        gradient = input_gradient(lambda at: round.discriminate(at, c, discriminator=self.discriminator).score, between)
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()

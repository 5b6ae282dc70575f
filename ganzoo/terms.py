"""The noun *term*: one summand of what a player minimises. A frozen dataclass called with the round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, final

from torch import Tensor, nn

from ganzoo.divergence import Divergence
from ganzoo.errors import IncompatibleError
from ganzoo.game import DISCRIMINATOR, GENERATOR, Draw, Round, Sum, Weighted
from ganzoo.generator import TractableGenerator


class Term(ABC):
    """A scalar of the round. Written for one run; it must also work under `torch.func.vmap` over replicas.

    ``label`` is its name in logs. Randomness is declared in ``draws`` and read as ``round.noise(name)``.
    ``2 * term`` and ``term + term`` make weighted sums.
    """

    label: ClassVar[str] = ""
    draws: ClassVar[Mapping[str, Draw]] = MappingProxyType({})

    @abstractmethod
    def __call__(self, round: Round) -> Tensor:
        """The value, a scalar."""

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        """Raise `IncompatibleError`, with the reason, where these networks cannot give what the term asks for."""
        return

    def observe(self, round: Round) -> dict[str, Tensor]:
        """Scalars for the log that are no losses; called without gradients at the steps that are logged."""
        return {}

    def __rmul__(self, factor: float) -> Weighted:
        return Weighted(self, factor)

    def __add__(self, other: Any) -> Sum:
        return Sum.of(self) + other


@final
@dataclass(frozen=True)
class Criticise(Term):
    """The critic's loss: it sharpens its measurement of ``divergence``."""

    divergence: Divergence
    discriminator: str = DISCRIMINATOR
    generator: str = GENERATOR
    label: ClassVar[str] = "criticise"

    def __call__(self, round: Round) -> Tensor:
        return self.divergence.critic_loss(round.scores(self.discriminator, self.generator))

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        require_players(self, networks, self.discriminator, self.generator)
        _require_critic(self.divergence)

    def observe(self, round: Round) -> dict[str, Tensor]:
        name = "estimate" if self.discriminator == DISCRIMINATOR else f"estimate of {self.discriminator}"
        return {name: self.divergence.estimate(round.scores(self.discriminator, self.generator))}


@final
@dataclass(frozen=True)
class Fool(Term):
    """The generator's loss against the critic: the game's own value, or its non-saturating form."""

    divergence: Divergence
    saturating: bool = True
    discriminator: str = DISCRIMINATOR
    generator: str = GENERATOR
    label: ClassVar[str] = "fool"

    def __call__(self, round: Round) -> Tensor:
        loss = self.divergence.generator_loss if self.saturating else self.divergence.non_saturating_loss
        return loss(round.scores(self.discriminator, self.generator))

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        require_players(self, networks, self.discriminator, self.generator)
        _require_critic(self.divergence)
        if not self.saturating and type(self.divergence).non_saturating_loss is Divergence.non_saturating_loss:
            raise IncompatibleError(f"{type(self.divergence).__name__} has no non-saturating form; use saturating=true")


@final
@dataclass(frozen=True)
class Likelihood(Term):
    """``−E_{x∼P_data} log p_G(x)`` in nats: maximum likelihood, which is the KL divergence up to the data's entropy."""

    generator: str = GENERATOR
    label: ClassVar[str] = "nll"

    def __call__(self, round: Round) -> Tensor:
        return -round.log_prob(self.generator).mean()

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        require_players(self, networks, self.generator)
        network = networks[self.generator]
        if not isinstance(network, TractableGenerator):
            raise IncompatibleError(
                f"maximum likelihood needs a generator with log_prob, and {type(network).__name__} has none: "
                "it can be sampled but its density cannot be written down"
            )


def require_players(term: Term, networks: Mapping[str, nn.Module], *players: str) -> None:
    """Raise `IncompatibleError` where a player that the term asks for is missing."""
    for player in players:
        if player not in networks:
            raise IncompatibleError(
                f"{term.label} asks for the player {player!r}; this method has {', '.join(networks)}"
            )


def _require_critic(divergence: object) -> None:
    if not isinstance(divergence, Divergence):
        raise IncompatibleError(f"{type(divergence).__name__} is measured on samples, without a critic")

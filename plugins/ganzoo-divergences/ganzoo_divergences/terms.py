"""Terms: a divergence without a critic, one between noisy samples, and a generator that looks ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final, final

import torch
from torch import Tensor, nn

from ganzoo.dataset import Batch
from ganzoo.divergence import Divergence, SampleDivergence, Scores
from ganzoo.errors import IncompatibleError
from ganzoo.game import DISCRIMINATOR, GENERATOR, Draw, Round
from ganzoo.penalties import BATCH_STATISTICS
from ganzoo.terms import Criticise, Fool, Term, require_players
from ganzoo.update import Schedule

INSTANCE_NOISE: Final[Mapping[str, Draw]] = MappingProxyType(
    {"noise-real": Draw("normal", "event"), "noise-fake": Draw("normal", "event")}
)


@final
@dataclass(frozen=True)
class Match(Term):
    """``divergence`` between the real batch and a generated one, in its own unit, with no critic between them."""

    divergence: SampleDivergence
    generator: str = GENERATOR
    label: ClassVar[str] = "match"

    def __call__(self, round: Round) -> Tensor:
        return self.divergence.loss(round.real.x, round.fake(self.generator).x)

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        require_players(self, networks, self.generator)
        if not isinstance(self.divergence, SampleDivergence):
            raise IncompatibleError(f"{type(self.divergence).__name__} is measured by a critic, not on samples alone")


@final
@dataclass(frozen=True)
class InstanceNoise:
    """``x + s δ`` in place of every sample, real and generated alike, with ``δ ∼ N(0, I)`` and ``s = std · factor``,
    where ``factor`` follows a schedule over the training.

    Two distributions that do not overlap do so with noise on both: Sønderby et al. (2017), Arjovsky & Bottou (2017).
    """

    std: float
    schedule: Schedule | None
    discriminator: str
    generator: str

    def scores(self, round: Round) -> Scores:
        """Of the noisy samples, each side when it is read."""
        return Scores(
            lambda: self._score(round, round.real, "noise-real"),
            lambda: self._score(round, round.fake(self.generator), "noise-fake"),
        )

    def _score(self, round: Round, batch: Batch, draw: str) -> Tensor:
        factor = 1.0 if self.schedule is None else self.schedule(round.step, round.steps)
        x = batch.x + self.std * factor * round.noise(draw)
        return round.discriminate(x, batch.label, discriminator=self.discriminator).score


@final
@dataclass(frozen=True)
class NoisyCriticise(Term):
    """The critic's loss between samples with `InstanceNoise`: it measures ``divergence`` between ``P`` and ``Q`` each
    convolved with ``N(0, s² I)``."""

    divergence: Divergence
    std: float = 0.1
    schedule: Schedule | None = None
    discriminator: str = DISCRIMINATOR
    generator: str = GENERATOR
    label: ClassVar[str] = "noisy-criticise"
    draws: ClassVar[Mapping[str, Draw]] = INSTANCE_NOISE

    def __call__(self, round: Round) -> Tensor:
        return self.divergence.critic_loss(self._scores(round))

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        Criticise(self.divergence, self.discriminator, self.generator).check(networks)

    def observe(self, round: Round) -> dict[str, Tensor]:
        name = "estimate" if self.discriminator == DISCRIMINATOR else f"estimate of {self.discriminator}"
        return {name: self.divergence.estimate(self._scores(round))}

    def _scores(self, round: Round) -> Scores:
        return InstanceNoise(self.std, self.schedule, self.discriminator, self.generator).scores(round)


@final
@dataclass(frozen=True)
class NoisyFool(Term):
    """The generator's loss against a critic that sees samples with `InstanceNoise`."""

    divergence: Divergence
    std: float = 0.1
    schedule: Schedule | None = None
    saturating: bool = True
    discriminator: str = DISCRIMINATOR
    generator: str = GENERATOR
    label: ClassVar[str] = "noisy-fool"
    draws: ClassVar[Mapping[str, Draw]] = INSTANCE_NOISE

    def __call__(self, round: Round) -> Tensor:
        noise = InstanceNoise(self.std, self.schedule, self.discriminator, self.generator)
        return generator_loss(self.divergence, noise.scores(round), saturating=self.saturating)

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        Fool(self.divergence, self.saturating, self.discriminator, self.generator).check(networks)


@final
@dataclass(frozen=True)
class UnrolledFool(Term):
    """The generator's loss against the critic as it will be after ``unroll`` steps of its own: Metz et al. (2017).

    ``θ_{k+1} = θ_k − rate · ∇_θ L_D(θ_k)`` from the critic's parameters ``θ_0`` as they are, on the samples of this
    round; the loss is that of ``θ_K``, differentiated through all the steps, so that the generator also feels how the
    critic will answer. The critic itself is not moved. The inner optimiser is plain gradient descent (SGD), whatever
    optimiser the critic has in its own turn.
    """

    divergence: Divergence
    unroll: int = 5
    rate: float = 0.01
    saturating: bool = True
    discriminator: str = DISCRIMINATOR
    generator: str = GENERATOR
    label: ClassVar[str] = "unrolled-fool"

    def __call__(self, round: Round) -> Tensor:
        real, fake = round.real, round.fake(self.generator)

        def scores(params: Mapping[str, Tensor]) -> Scores:
            def score(batch: Batch) -> Tensor:
                return round.discriminate(*batch, discriminator=self.discriminator, params=params).score

            return Scores(lambda: score(real), lambda: score(fake))

        slopes = torch.func.grad(lambda params: self.divergence.critic_loss(scores(params)))
        params = round.parameters(self.discriminator)
        for _ in range(self.unroll):
            slope = slopes(params)
            params = {name: value - self.rate * slope[name] for name, value in params.items()}
        return generator_loss(self.divergence, scores(params), saturating=self.saturating)

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        Fool(self.divergence, self.saturating, self.discriminator, self.generator).check(networks)
        if any(isinstance(module, BATCH_STATISTICS) for module in networks[self.discriminator].modules()):
            raise IncompatibleError(
                f"{type(self).__name__} takes gradients of a copy of the discriminator, and "
                f"{type(networks[self.discriminator]).__name__} has batch statistics, which it would change"
            )


def generator_loss(divergence: Divergence, scores: Scores, *, saturating: bool) -> Tensor:
    """The game's own value, or its non-saturating form."""
    return divergence.generator_loss(scores) if saturating else divergence.non_saturating_loss(scores)

"""MMD GAN: a critic ``φ`` whose features a kernel compares, ``k(φ(x), φ(y))``, and the penalty on its witness."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, final

from torch import Tensor, nn

from ganzoo.divergence import Divergence, Scores
from ganzoo.errors import IncompatibleError
from ganzoo.game import Draw, Round
from ganzoo.penalties import Penalty, input_gradient
from ganzoo.terms import require_players
from ganzoo_divergences.samples import MMD


@final
@dataclass(frozen=True)
class KernelMMD(Divergence):
    """``MMD²`` between the features ``φ(x)`` of real and ``φ(y)`` of generated samples: Bińkowski et al. (2018).

    The critic's output, ``(n, units)`` or ``(n,)``, is ``φ``. It maximises what the generator minimises,

    ``MMD²(φ) = E k(φ(x), φ(x')) + E k(φ(y), φ(y')) − 2 E k(φ(x), φ(y))``,

    estimated without bias, which is `estimate` and lies between 0 and 2 in expectation. Kernels and their options are
    those of `MMD`. It does not hold the critic back: `WitnessPenalty` does.

    Raises:
        IncompatibleError: when called with one sample of a kind, and unbiased.
    """

    kernel: str = "rational-quadratic"
    bandwidths: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
    alphas: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0)
    unbiased: bool = True
    unit: ClassVar[str] = "units of the kernel"

    @property
    def supremum(self) -> float:
        return 2.0 if self.kernel in ("gaussian", "rational-quadratic") else math.inf

    def critic_loss(self, scores: Scores) -> Tensor:
        return -self.estimate(scores)

    def generator_loss(self, scores: Scores) -> Tensor:
        return self.estimate(scores)

    def estimate(self, scores: Scores) -> Tensor:
        x, y = scores.real, scores.fake
        return self._mmd.combine(self._gram(x, x), self._gram(y, y), self._gram(x, y))

    def witness(self, real: Tensor, fake: Tensor, at: Tensor) -> Tensor:
        """``f = mean_i k(φ(x_i), ·) − mean_j k(φ(y_j), ·)`` at the features ``at (m, …)``, ``(m,)``."""
        return self._gram(real, at).mean(0) - self._gram(fake, at).mean(0)

    def _gram(self, a: Tensor, b: Tensor) -> Tensor:
        """``k(a_i, b_j)`` of features."""
        a, b = _columns(a), _columns(b)
        return self._mmd.gram(a, b) if self.kernel == "linear" else self._mmd.of(_squares(a, b))

    @property
    def _mmd(self) -> MMD:
        return MMD(self.kernel, self.bandwidths, self.alphas, self.unbiased)


def _columns(score: Tensor) -> Tensor:
    """``(n, units)``, of scores ``(n,)`` too."""
    return score[:, None] if score.ndim == 1 else score


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """``‖a_i − b_j‖²`` by one product of matrices, with which a step of `mmd-gan` takes about half the time that it
    takes by differences. What cancels is small beside the kernels' scales, unlike in the space of data."""
    centre = b.mean(0)
    a, b = a - centre, b - centre
    return a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T


@final
@dataclass(frozen=True)
class WitnessPenalty(Penalty):
    """``E (‖∇_x̂ f(x̂)‖ − 1)²`` at ``x̂ = (1 − ε) x + ε G(z)``, ε uniform: Bińkowski et al. (2018), §2.3.

    ``f(·) = mean_i k(φ(x_i), φ(·)) − mean_j k(φ(y_j), φ(·))`` is the witness of the batch, with the kernel of
    ``divergence``: what tells the sides apart as a critic of samples, where ``φ`` alone is none.

    Raises:
        IncompatibleError: a divergence that compares no features.
    """

    divergence: KernelMMD = field(default_factory=KernelMMD)
    discriminator: str = "discriminator"
    generator: str = "generator"
    label: ClassVar[str] = "witness-penalty"
    draws: ClassVar[Mapping[str, Draw]] = MappingProxyType({"epsilon": Draw("uniform", "sample")})

    def __post_init__(self) -> None:
        if not isinstance(self.divergence, KernelMMD):
            raise IncompatibleError(f"{type(self.divergence).__name__} has no witness, which compares features")

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        super().check(networks)
        require_players(self, networks, self.generator)

    def __call__(self, round: Round) -> Tensor:
        scores, (x, c) = round.scores(self.discriminator, self.generator), round.real
        # Read before the gradient: they are constants of the witness, and depend on no x̂.
        real, fake = scores.real, scores.fake

        def witness(at: Tensor) -> Tensor:
            features = round.discriminate(at, c, discriminator=self.discriminator).score
            return self.divergence.witness(real, fake, features)

        between = x.lerp(round.fake(self.generator).x, round.noise("epsilon"))
        return (input_gradient(witness, between).flatten(1).norm(dim=1) - 1).square().mean()

"""Divergences that a critic measures and that are stated by their losses: ``real`` and ``fake`` are its scores
``(n, *units)`` of samples of ``P`` (data) and ``Q`` (generator)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Final, final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ganzoo.density import Density, Truth, weighted_line
from ganzoo.divergence import Divergence, Scores
from ganzoo.errors import OptionError

LOG2: Final = math.log(2.0)


@final
@dataclass(frozen=True)
class Wasserstein(Divergence):
    """``W1(P, Q) = sup_{‖D‖_L ≤ 1} E_P[D] − E_Q[D]``, in units of the data: Arjovsky, Chintala & Bottou (2017).

    It does not hold the critic to slope 1: a projection or a penalty of the method must. Hence `estimate`, the
    difference of the means, is at most ``K · W1`` for a critic of slope K, and bounds nothing for one without a bound.
    """

    unit: ClassVar[str] = "data units"
    lipschitz: ClassVar[float | None] = 1.0

    def critic_loss(self, scores: Scores) -> Tensor:
        return -self.estimate(scores)

    def generator_loss(self, scores: Scores) -> Tensor:
        return -scores.fake.mean()

    def estimate(self, scores: Scores) -> Tensor:
        return scores.real.mean() - scores.fake.mean()

    def truth(self, p: Density, q: Density) -> Truth | None:
        """On the line ``∫ |F_p − F_q|`` with the distribution functions; elsewhere unknown."""
        if math.prod(p.shape) != 1:
            return None
        x, a, b = weighted_line(p, q, 50_000)
        return Truth(float((a - b).cumsum(0).abs().sum() * (x[1] - x[0])))


@final
@dataclass(frozen=True)
class LeastSquares(Divergence):
    """The critic minimises ``½ E_P(D − b)² + ½ E_Q(D − a)²``, the generator ``½ E_Q(D − c)²``: Mao et al. (2017).

    The optimum is ``D* = (b p + a q)/(p + q)``, with the loss ``¼ (b − a)² (1 − Δ)``. There
    ``Δ = ½ ∫ (p − q)²/(p + q)``, between 0 and 1, is half of Pearson's χ² of the paper, ``∫ (2q − (p + q))²/(p + q)``.
    `estimate` is that Δ as the scores say it: never above it in expectation, for any a ≠ b. The generator's loss at
    ``D*`` is Δ only for ``b − c = 1`` and ``b − a = 2``, with ``½ E_P(D − c)²`` added, which has no gradient in the
    generator (the paper's eq. 6 and 7). The default is ``a = 0`` and ``b = c = 1`` (its eq. 9).

    Raises:
        OptionError: a = b.
    """

    a: float = 0.0
    b: float = 1.0
    c: float = 1.0
    unit: ClassVar[str] = "dimensionless"

    def __post_init__(self) -> None:
        if self.a == self.b:
            raise OptionError(f"least-squares: a and b are both {self.a:g}; then nothing is told apart")

    def critic_loss(self, scores: Scores) -> Tensor:
        return ((scores.real - self.b).square().mean() + (scores.fake - self.a).square().mean()) / 2

    def generator_loss(self, scores: Scores) -> Tensor:
        return (scores.fake - self.c).square().mean() / 2

    def estimate(self, scores: Scores) -> Tensor:
        return 1 - 4 * self.critic_loss(scores) / (self.b - self.a) ** 2

    @property
    def supremum(self) -> float:
        return 1.0

    def optimal_critic(self, log_ratio: Tensor) -> Tensor:
        return self.a + (self.b - self.a) * torch.sigmoid(log_ratio)


@final
@dataclass(frozen=True)
class Hinge(Divergence):
    """The critic minimises ``E_P(1 − D)₊ + E_Q(1 + D)₊``, the generator ``−E_Q[D]``: Lim & Ye (2017).

    The optimum is ``D* = sign(p − q)``, with the loss ``2 ∫ min(p, q) = 2 (1 − TV)``. `estimate` is the total variation
    as the scores say it: ``1 − loss/2``, never above ``TV = ½ ∫ |p − q| ≤ 1`` in expectation.
    """

    unit: ClassVar[str] = "dimensionless"

    def critic_loss(self, scores: Scores) -> Tensor:
        return torch.relu(1 - scores.real).mean() + torch.relu(1 + scores.fake).mean()

    def generator_loss(self, scores: Scores) -> Tensor:
        return -scores.fake.mean()

    def estimate(self, scores: Scores) -> Tensor:
        return 1 - self.critic_loss(scores) / 2

    @property
    def supremum(self) -> float:
        return 1.0

    def optimal_critic(self, log_ratio: Tensor) -> Tensor:
        return log_ratio.sign()


@final
@dataclass(frozen=True)
class RpGAN(Divergence):
    """Relativistic pairs, ``L_D = E softplus(−(D(x) − D(y)))`` over ``x ∼ P, y ∼ Q``: Jolicoeur-Martineau (2018).

    Which of two samples is the real one? The optimum is ``D* = log p/q`` plus any constant, and ``log 2 − L_D`` is
    then the Jensen–Shannon divergence of ``P ⊗ Q`` and ``Q ⊗ P``, in nats, between 0 and log 2: `estimate`, never
    above it in expectation. The saturating loss of the generator is ``−L_D``; the other, with which it is published
    and used, is ``E softplus(−(D(y) − D(x)))``. The i-th real sample is paired with the i-th fake one: there must be
    as many.
    """

    def critic_loss(self, scores: Scores) -> Tensor:
        return softplus(scores.fake - scores.real).mean()

    def generator_loss(self, scores: Scores) -> Tensor:
        return -self.critic_loss(scores)

    def non_saturating_loss(self, scores: Scores) -> Tensor:
        return softplus(scores.real - scores.fake).mean()

    def estimate(self, scores: Scores) -> Tensor:
        return LOG2 - self.critic_loss(scores)

    @property
    def supremum(self) -> float:
        return LOG2

    def optimal_critic(self, log_ratio: Tensor) -> Tensor:
        return log_ratio


@final
@dataclass(frozen=True)
class RaGAN(Divergence):
    """Relativistic average: each sample against the mean of the other side, Jolicoeur-Martineau (2018).

    ``L_D = E_P softplus(−(D(x) − E_Q D)) + E_Q softplus(D(y) − E_P D)``; the generator's loss has P and Q exchanged,
    or is ``−L_D`` where it saturates. ``sup_D log 2 − L_D/2`` is a divergence between 0 and log 2
    (Jolicoeur-Martineau, "On Relativistic f-Divergences", 2019) whose optimum has no closed form; `estimate` is that
    expression. The means are those of the batch, which makes it too small or too large by something of order 1/n.
    """

    def critic_loss(self, scores: Scores) -> Tensor:
        real, fake = scores.real, scores.fake
        return softplus(fake.mean(0) - real).mean() + softplus(fake - real.mean(0)).mean()

    def generator_loss(self, scores: Scores) -> Tensor:
        return -self.critic_loss(scores)

    def non_saturating_loss(self, scores: Scores) -> Tensor:
        real, fake = scores.real, scores.fake
        return softplus(real.mean(0) - fake).mean() + softplus(real - fake.mean(0)).mean()

    def estimate(self, scores: Scores) -> Tensor:
        return LOG2 - self.critic_loss(scores) / 2

    @property
    def supremum(self) -> float:
        return LOG2

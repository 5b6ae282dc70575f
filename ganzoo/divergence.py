"""The noun *divergence*: what scores measure, and the losses that follow. Mathematics: no network, no optimiser, no
state."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import ClassVar, Final

import torch
from torch import Tensor

from ganzoo.density import GROUPS, SAMPLES, Density, Truth, from_groups, log_ratio, mixture_mean
from ganzoo.errors import IncompatibleError

#: Arguments that stand for 0 and ∞ in limits, with their square roots.
NEAR: Final = (1e-300, 1e-150)


class Scores:
    """The critic's scores of real and of fake samples, each computed when it is first read."""

    def __init__(self, real: Callable[[], Tensor], fake: Callable[[], Tensor]) -> None:
        self._real, self._fake = real, fake

    @cached_property
    def real(self) -> Tensor:
        return self._real()

    @cached_property
    def fake(self) -> Tensor:
        return self._fake()

    @classmethod
    def of(cls, real: Tensor, fake: Tensor) -> Scores:
        return cls(lambda: real, lambda: fake)


class Divergence(ABC):
    """A divergence ``D(P_data ‖ P_G)`` that a critic measures. Leaves are frozen dataclasses."""

    unit: ClassVar[str] = "nats"
    #: The largest slope of the critics over which it is a supremum; none where any critic will do.
    lipschitz: ClassVar[float | None] = None

    @property
    def supremum(self) -> float:
        """The most that it can be, reached by distributions that do not overlap; infinite unless a leaf says
        otherwise."""
        return math.inf

    @abstractmethod
    def critic_loss(self, scores: Scores) -> Tensor:
        """What the critic minimises, a scalar."""

    @abstractmethod
    def generator_loss(self, scores: Scores) -> Tensor:
        """What the generator minimises against this critic, a scalar: the game's own value, "saturating" in GAN
        terms."""

    def non_saturating_loss(self, scores: Scores) -> Tensor:
        """Another generator loss with the same fixed point and a gradient that does not vanish while the critic
        wins."""
        raise IncompatibleError(f"{type(self).__name__} has no non-saturating form; use saturating=true")

    @abstractmethod
    def estimate(self, scores: Scores) -> Tensor:
        """What these scores say the divergence is, in `unit`: at most the truth in expectation, with equality for the
        optimal critic."""

    def optimal_critic(self, log_ratio: Tensor) -> Tensor:
        """The best score, from ``log p/q``, where it is a function of that alone; else `IncompatibleError`."""
        raise IncompatibleError(f"{type(self).__name__} has no optimal critic that log p/q alone would tell")

    def truth(self, p: Density, q: Density) -> Truth | None:
        """The divergence between known densities, as `estimate` has it; none where it cannot be computed.

        Unless a leaf knows better: the mean over samples of `estimate` for the optimal critic.
        """
        try:
            self.optimal_critic(torch.zeros(1))
        except IncompatibleError:
            return None
        means: list[float] = []
        for group in range(GROUPS):
            rng = torch.Generator().manual_seed(group)
            real, fake = (
                self.optimal_critic(log_ratio(p, q, side.sample(SAMPLES // GROUPS, rng).x)) for side in (p, q)
            )
            means.append(float(self.estimate(Scores.of(real, fake))))
        return from_groups(means)


class FDivergence(Divergence):
    """``D_f(P‖Q) = ∫ q f(p/q)`` through its dual, ``sup_T  E_P[T] − E_Q[f*(T)]`` with ``T = activation(v)`` for a score
    ``v``.

    A leaf is a frozen dataclass; it states ``f``, ``f'``, the conjugate ``f*``, the activation (which maps scores
    into the domain of ``f*``), the closed and stable ``dual(v) = f*(activation(v))`` and the optimal score as a
    function of ``log p/q``. ``offset = f(1)`` is 0 but where a classical objective differs from a divergence by a
    constant. Nowozin, Cseke & Tomioka, "f-GAN" (2016).
    """

    offset: ClassVar[float] = 0.0

    @property
    def supremum(self) -> float:
        """``lim_{u→0} f(u) + lim_{u→∞} f(u)/u``, what distributions that do not overlap get (offset taken off)."""
        u = torch.tensor(NEAR, dtype=torch.float64)
        limits = (self.f(u), u * self.f(1 / u))
        # Where the limit is infinite the value keeps growing or overflows; where it is finite it has long been reached.
        finite = all(far.isfinite() and float(far) <= 1.5 * float(near) + 1e-9 for far, near in limits)
        return sum(float(far) for far, _ in limits) - self.offset if finite else math.inf

    @abstractmethod
    def f(self, u: Tensor) -> Tensor:
        """The convex generator of the divergence, for ``u > 0``."""

    @abstractmethod
    def f_prime(self, u: Tensor) -> Tensor: ...

    @abstractmethod
    def conjugate(self, t: Tensor) -> Tensor:
        """``f*(t) = sup_u  t·u − f(u)``."""

    @abstractmethod
    def activation(self, v: Tensor) -> Tensor: ...

    @abstractmethod
    def dual(self, v: Tensor) -> Tensor:
        """``f*(activation(v))`` in a form that neither overflows nor cancels."""

    @abstractmethod
    def optimal_critic(self, log_ratio: Tensor) -> Tensor:
        """The score ``v*`` with ``activation(v*) = f'(p/q)``, from ``log p/q``."""

    def value(self, scores: Scores) -> Tensor:
        """The dual objective ``V``; its maximum over critics is ``D_f``, the offset included."""
        return self.activation(scores.real).mean() - self.dual(scores.fake).mean()

    def critic_loss(self, scores: Scores) -> Tensor:
        return -self.value(scores)

    def generator_loss(self, scores: Scores) -> Tensor:
        return -self.dual(scores.fake).mean()

    def non_saturating_loss(self, scores: Scores) -> Tensor:
        """``−E_Q[T]``: the second trick of f-GAN §3.2, for ``gan`` Goodfellow's ``−E log D(G(z))``."""
        return -self.activation(scores.fake).mean()

    def estimate(self, scores: Scores) -> Tensor:
        return self.value(scores) - self.offset

    def truth(self, p: Density, q: Density) -> Truth | None:
        """``∫ q f(p/q)``, the offset taken off."""

        def integrand(s: Tensor) -> Tensor:
            # q/m = 2 σ(−s) and p/m = 2 σ(s) for m = (p+q)/2: by the larger of both, so that neither limit overflows.
            u = s.exp()
            return torch.where(s < 0, 2 * torch.sigmoid(-s) * self.f(u), 2 * torch.sigmoid(s) * self.f(u) / u)

        found = mixture_mean(integrand, p, q)
        return found and Truth(found.value - self.offset, found.error)


class SampleDivergence(ABC):
    """A divergence between two sets of samples that needs no critic (kernel MMD, energy distance, Sinkhorn)."""

    unit: ClassVar[str] = "data units"

    @abstractmethod
    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """A scalar for real ``x (n, *shape)`` and generated ``y (m, *shape)``, differentiable in ``y``."""

    def truth(self, p: Density, q: Density) -> Truth | None:
        """The divergence between known densities; none unless a leaf can compute it."""
        return None


AnyDivergence = (Divergence, SampleDivergence)

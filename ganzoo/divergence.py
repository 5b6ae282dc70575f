"""The noun *divergence*: what scores measure, and the losses that follow. Mathematics: no network, no optimiser, no
state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import ClassVar

from torch import Tensor

from ganzoo.errors import IncompatibleError


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


class FDivergence(Divergence):
    """``D_f(P‖Q) = ∫ q f(p/q)`` through its dual, ``sup_T  E_P[T] − E_Q[f*(T)]`` with ``T = activation(v)`` for a score
    ``v``.

    A leaf is a frozen dataclass; it states ``f``, ``f'``, the conjugate ``f*``, the activation (which maps scores
    into the domain of ``f*``), the closed and stable ``dual(v) = f*(activation(v))`` and the optimal score as a
    function of ``log p/q``. ``offset = f(1)`` is 0 but where a classical objective differs from a divergence by a
    constant. Nowozin, Cseke & Tomioka, "f-GAN" (2016).
    """

    offset: ClassVar[float] = 0.0

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


class SampleDivergence(ABC):
    """A divergence between two sets of samples that needs no critic (kernel MMD, energy distance, Sinkhorn)."""

    unit: ClassVar[str] = "data units"

    @abstractmethod
    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """A scalar for real ``x (n, *shape)`` and generated ``y (m, *shape)``, differentiable in ``y``."""


AnyDivergence = (Divergence, SampleDivergence)

"""f-divergences ``D_f(P‖Q) = ∫ q f(p/q)`` with ``P`` the data and ``Q`` the generator: Nowozin, Cseke & Tomioka,
"f-GAN" (2016), tables 1, 2, 5 and 6.

Every function is elementwise on tensors of any shape, and a score ``v`` may be any real number. Where the paper's
conjugate is that of ``f`` continued to ``u < 0``, here it is the exact one, over ``u ≥ 0``: it is smaller, so that the
bound ``E_P[T] − E_Q[f*(T)] ≤ D_f`` is tighter, and it never falls as ``t`` rises.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Final, final

import torch
from torch import Tensor

from ganzoo.divergence import FDivergence

#: Iterations of Newton's method: five reach the rounding of float64 from everywhere, the rest is for derivatives.
NEWTON: Final = 8

#: A score that stands for infinity: ``tanh`` of it is 1 to within 8e-11, and its gradient is not yet 0 in float64.
SATURATED: Final = 12.0

DIMENSIONLESS: Final = "dimensionless"


@final
@dataclass(frozen=True)
class ReverseKL(FDivergence):
    """``KL(Q‖P) = ∫ q log q/p``, in nats, between 0 and ∞; it is large where the generator makes what data are not."""

    def f(self, u: Tensor) -> Tensor:
        """``−log u``."""
        return -torch.log(u)

    def f_prime(self, u: Tensor) -> Tensor:
        return -1 / u

    def conjugate(self, t: Tensor) -> Tensor:
        """``−1 − log(−t)``, for ``t < 0``."""
        return -1 - torch.log(-t)

    def activation(self, v: Tensor) -> Tensor:
        return -torch.exp(-v)

    def dual(self, v: Tensor) -> Tensor:
        return v - 1

    def optimal_critic(self, log_ratio: Tensor) -> Tensor:
        return log_ratio


@final
@dataclass(frozen=True)
class Jeffreys(FDivergence):
    """``KL(P‖Q) + KL(Q‖P) = ∫ (p − q) log p/q``, in nats, between 0 and ∞.

    ``f'(u) = t`` is ``w + log w = 1 − t`` for ``w = 1/u``, so that ``w = W(exp(1 − t))`` with Lambert's function.
    """

    def f(self, u: Tensor) -> Tensor:
        """``(u − 1) log u``."""
        return (u - 1) * torch.log(u)

    def f_prime(self, u: Tensor) -> Tensor:
        return torch.log(u) + 1 - 1 / u

    def conjugate(self, t: Tensor) -> Tensor:
        """``w + 1/w + t − 2``, as in the paper."""
        w = log_lambert(1 - t).exp()
        return w + 1 / w + t - 2

    def activation(self, v: Tensor) -> Tensor:
        return v

    def dual(self, v: Tensor) -> Tensor:
        """``1/w − 1 − log w``: the paper's form with ``w + t − 1 = −log w``, and nothing large cancels."""
        y = log_lambert(1 - v)
        return torch.expm1(-y) - y

    def optimal_critic(self, log_ratio: Tensor) -> Tensor:
        return log_ratio - torch.expm1(-log_ratio)


def log_lambert(a: Tensor) -> Tensor:
    """``log W(exp a)``, the solution ``y`` of ``y + exp y = a``, elementwise and differentiable, for any real ``a``.

    Newton's method on the logarithm, since ``exp a`` overflows. ``y + exp y`` is convex, and both starts are to the
    right of the solution: from there it only falls, so a fixed number of iterations will do and no branch is needed.
    """
    y = torch.where(a > 1, torch.log(a.clamp_min(1.0)), a)
    for _ in range(NEWTON):
        y = y - (y + y.exp() - a) / (1 + y.exp())
    return y


@final
@dataclass(frozen=True)
class Pearson(FDivergence):
    """``χ²(P‖Q) = ∫ (p − q)²/q``, between 0 and ∞; ``T = v`` as in the paper.

    Scores below −2 are below every value of ``f'``: there ``f*`` is flat, and the saturating loss has no gradient.
    """

    unit: ClassVar[str] = DIMENSIONLESS

    def f(self, u: Tensor) -> Tensor:
        """``(u − 1)²``."""
        return (u - 1).square()

    def f_prime(self, u: Tensor) -> Tensor:
        return 2 * (u - 1)

    def conjugate(self, t: Tensor) -> Tensor:
        """``t²/4 + t``, and −1 for ``t < −2``, where the supremum is at ``u = 0``."""
        return torch.where(t < -2, -1.0, t.square() / 4 + t)

    def activation(self, v: Tensor) -> Tensor:
        return v

    def dual(self, v: Tensor) -> Tensor:
        return torch.relu(v / 2 + 1).square() - 1

    def optimal_critic(self, log_ratio: Tensor) -> Tensor:
        return 2 * torch.expm1(log_ratio)


@final
@dataclass(frozen=True)
class Neyman(FDivergence):
    """``χ²(Q‖P) = ∫ (p − q)²/p``, between 0 and ∞."""

    unit: ClassVar[str] = DIMENSIONLESS

    def f(self, u: Tensor) -> Tensor:
        """``(1 − u)²/u``."""
        return (1 - u).square() / u

    def f_prime(self, u: Tensor) -> Tensor:
        return 1 - u.pow(-2)

    def conjugate(self, t: Tensor) -> Tensor:
        """``2 − 2 √(1 − t)``, for ``t < 1``."""
        return 2 - 2 * torch.sqrt(1 - t)

    def activation(self, v: Tensor) -> Tensor:
        return -torch.expm1(-v)

    def dual(self, v: Tensor) -> Tensor:
        return -2 * torch.expm1(-v / 2)

    def optimal_critic(self, log_ratio: Tensor) -> Tensor:
        return 2 * log_ratio


@final
@dataclass(frozen=True)
class Hellinger(FDivergence):
    """The squared Hellinger distance ``H² = ∫ (√p − √q)² = 2 − 2 ∫ √(p q)``, between 0 and 2."""

    unit: ClassVar[str] = DIMENSIONLESS

    def f(self, u: Tensor) -> Tensor:
        """``(√u − 1)²``."""
        return (u.sqrt() - 1).square()

    def f_prime(self, u: Tensor) -> Tensor:
        return 1 - u.rsqrt()

    def conjugate(self, t: Tensor) -> Tensor:
        """``t/(1 − t)``, for ``t < 1``."""
        return t / (1 - t)

    def activation(self, v: Tensor) -> Tensor:
        return -torch.expm1(-v)

    def dual(self, v: Tensor) -> Tensor:
        return torch.expm1(v)

    def optimal_critic(self, log_ratio: Tensor) -> Tensor:
        return log_ratio / 2


@final
@dataclass(frozen=True)
class TotalVariation(FDivergence):
    """``TV = ½ ∫ |p − q|``, between 0 and 1: the most by which the probability of an event differs.

    ``T* = ½ sign(p − q)`` is attained by no finite score, only as ``|v| → ∞``: `optimal_critic` gives ±12, which is
    there to within 4e-11, and 0 where ``p = q``, where any value of ``T`` between −½ and ½ is optimal.
    """

    unit: ClassVar[str] = DIMENSIONLESS

    def f(self, u: Tensor) -> Tensor:
        """``½ |u − 1|``."""
        return (u - 1).abs() / 2

    def f_prime(self, u: Tensor) -> Tensor:
        return (u - 1).sign() / 2

    def conjugate(self, t: Tensor) -> Tensor:
        """``t`` between −½ and ½, −½ below, ∞ above."""
        return torch.where(t > 0.5, torch.inf, t.clamp_min(-0.5))

    def activation(self, v: Tensor) -> Tensor:
        return torch.tanh(v) / 2

    def dual(self, v: Tensor) -> Tensor:
        return torch.tanh(v) / 2

    def optimal_critic(self, log_ratio: Tensor) -> Tensor:
        return SATURATED * log_ratio.sign()


@final
@dataclass(frozen=True)
class Alpha(FDivergence):
    """``D_α = (∫ p^α q^{1−α} − 1) / (α (α − 1))``, from 0 to ``1/(α (1 − α))`` for ``0 < α < 1``, else to ∞.

    Written with ``L_a(s) = (exp(a s) − 1)/a`` and ``L_0(s) = s``, every α is the same formula, and its limits are
    reached: ``T = L_{α−1}(v)``, ``f*(T) = L_α(v)``, and the optimal score is ``log p/q`` itself. α = 1 is KL(P‖Q), 0 is
    KL(Q‖P), ½ twice the squared Hellinger distance, 2 half of Pearson's χ², −1 half of Neyman's.

    Args:
        alpha: any real number; far from [0, 1] the integral is infinite for many pairs of densities.
    """

    alpha: float = 0.5
    unit: ClassVar[str] = "nats at α = 0 and 1"

    @property
    def supremum(self) -> float:
        return 1 / (self.alpha * (1 - self.alpha)) if 0 < self.alpha < 1 else math.inf

    def f(self, u: Tensor) -> Tensor:
        """``u L_{α−1}(log u) − L_α(log u)``, which is ``(u^α − 1 − α (u − 1)) / (α (α − 1))``."""
        s = torch.log(u)
        return u * _growth(self.alpha - 1, s) - _growth(self.alpha, s)

    def f_prime(self, u: Tensor) -> Tensor:
        return _growth(self.alpha - 1, torch.log(u))

    def conjugate(self, t: Tensor) -> Tensor:
        """``((1 + (α − 1) t)^{α/(α−1)} − 1)/α``; where that power has a negative base, ``1/−α`` (α > 1) or ∞."""
        if self.alpha == 1:
            return torch.expm1(t)
        inner = (self.alpha - 1) * t
        value = _growth(self.alpha, torch.log1p(inner.clamp_min(-1)) / (self.alpha - 1))
        return value if self.alpha > 1 else torch.where(inner < -1, torch.inf, value)

    def activation(self, v: Tensor) -> Tensor:
        return _growth(self.alpha - 1, v)

    def dual(self, v: Tensor) -> Tensor:
        return _growth(self.alpha, v)

    def optimal_critic(self, log_ratio: Tensor) -> Tensor:
        return log_ratio


def _growth(a: float, s: Tensor) -> Tensor:
    """``L_a(s) = (exp(a s) − 1)/a``, which goes to ``s`` as ``a`` goes to 0; accurate for every ``a``."""
    return s if a == 0 else torch.expm1(a * s) / a

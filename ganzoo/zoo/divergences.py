"""Built-in divergences: the original game's, and the one that maximum likelihood minimises."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from ganzoo.divergence import FDivergence

LOG2 = math.log(2.0)


@final
@dataclass(frozen=True)
class JensenShannon(FDivergence):
    """``JSD(P‖Q) = ½ KL(P‖M) + ½ KL(Q‖M)``, ``M = (P+Q)/2``: between 0 and log 2. The score is the logit of ``D``.

    Its critic's objective is ``log 2 + V/2`` with Goodfellow's ``V``, so its losses are half of `GAN`'s.
    """

    def f(self, u: Tensor) -> Tensor:
        return (u * torch.log(u) - (1 + u) * torch.log((1 + u) / 2)) / 2

    def f_prime(self, u: Tensor) -> Tensor:
        return (LOG2 + torch.log(u) - torch.log1p(u)) / 2

    def conjugate(self, t: Tensor) -> Tensor:
        return -torch.log(2 - torch.exp(2 * t)) / 2

    def activation(self, v: Tensor) -> Tensor:
        return (LOG2 + logsigmoid(v)) / 2

    def dual(self, v: Tensor) -> Tensor:
        return (softplus(v) - LOG2) / 2

    def optimal_critic(self, log_ratio: Tensor) -> Tensor:
        return log_ratio


@final
@dataclass(frozen=True)
class GAN(FDivergence):
    """``V = E_data[log D] + E_G[log(1 − D)]``, exactly as in Goodfellow et al. (2014); the score is the logit of ``D``.

    ``max_D V = −2 log 2 + 2 JSD`` at ``D* = p/(p+q)``: hence the offset ``f(1) = −2 log 2``, and the estimate is ``2
    JSD``.
    """

    offset: ClassVar[float] = -2 * LOG2

    def f(self, u: Tensor) -> Tensor:
        return u * torch.log(u) - (1 + u) * torch.log1p(u)

    def f_prime(self, u: Tensor) -> Tensor:
        return torch.log(u) - torch.log1p(u)

    def conjugate(self, t: Tensor) -> Tensor:
        return -torch.log(-torch.expm1(t))

    def activation(self, v: Tensor) -> Tensor:
        return logsigmoid(v)

    def dual(self, v: Tensor) -> Tensor:
        return softplus(v)

    def optimal_critic(self, log_ratio: Tensor) -> Tensor:
        return log_ratio


@final
@dataclass(frozen=True)
class KullbackLeibler(FDivergence):
    """``KL(P‖Q) = E_P[log p/q]``, what maximum likelihood minimises; here by a critic, with ``T = v`` (f-GAN, table
    2)."""

    def f(self, u: Tensor) -> Tensor:
        return u * torch.log(u)

    def f_prime(self, u: Tensor) -> Tensor:
        return 1 + torch.log(u)

    def conjugate(self, t: Tensor) -> Tensor:
        return torch.exp(t - 1)

    def activation(self, v: Tensor) -> Tensor:
        return v

    def dual(self, v: Tensor) -> Tensor:
        return torch.exp(v - 1)

    def optimal_critic(self, log_ratio: Tensor) -> Tensor:
        return 1 + log_ratio

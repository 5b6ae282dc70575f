"""What the first Wasserstein GAN needs: weight clipping, and RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ganzoo.update import Optimizer, Projection


@final
@dataclass(frozen=True)
class Clip(Projection):
    """Every parameter into ``[−limit, limit]``: Arjovsky, Chintala & Bottou (2017).

    It bounds the critic's slope by some K that depends on the network, and not by 1.
    """

    limit: float = 0.01

    def __call__(self, parameters: Iterable[Tensor]) -> None:
        for parameter in parameters:
            parameter.clamp_(-self.limit, self.limit)


@final
@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Tieleman & Hinton (2012): the gradient over the root of its running mean square."""

    lr: float = 1e-3
    alpha: float = 0.99
    eps: float = 1e-8

    def make(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(parameters, lr=self.lr, alpha=self.alpha, eps=self.eps)

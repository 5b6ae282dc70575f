"""Built-in optimisers and schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ganzoo.update import Optimizer, Schedule


@final
@dataclass(frozen=True)
class Adam(Optimizer):
    """Kingma & Ba (2015)."""

    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def make(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        parameters = list(parameters)
        fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
        betas = (self.beta1, self.beta2)
        return torch.optim.Adam(parameters, lr=self.lr, betas=betas, eps=self.eps, fused=fused or None)


@final
@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum."""

    lr: float = 0.1
    momentum: float = 0.0

    def make(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum)


@final
@dataclass(frozen=True)
class Cosine(Schedule):
    """From 1 to ``end`` along half a cosine: ``end + (1 − end)·(1 + cos(π t/T))/2``."""

    end: float = 0.0

    def __call__(self, step: int, steps: int) -> float:
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * step / steps)) / 2


@final
@dataclass(frozen=True)
class Linear(Schedule):
    """1 until the fraction ``begin`` of training, then straight to ``end``."""

    begin: float = 0.0
    end: float = 0.0

    def __call__(self, step: int, steps: int) -> float:
        progress = (step / steps - self.begin) / (1 - self.begin)
        return 1 + (self.end - 1) * max(0.0, progress)


@final
@dataclass(frozen=True)
class Exponential(Schedule):
    """From ``start`` to ``end``, by the same factor at every step: ``start (end/start)^{t/T}``."""

    start: float = 1.0
    end: float = 0.01

    def __call__(self, step: int, steps: int) -> float:
        return self.start * (self.end / self.start) ** (step / steps)

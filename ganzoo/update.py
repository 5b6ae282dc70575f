"""How a player is updated: the nouns *optimizer*, *schedule* and *projection*. Their leaves are frozen dataclasses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor


class Optimizer(ABC):
    """Makes a torch optimizer. It must be elementwise, so that the parameters of many replicas can share one."""

    @abstractmethod
    def make(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        """A fresh optimizer over ``parameters``."""


class Schedule(ABC):
    """A factor that depends on time: of a learning rate, or the weight of a term."""

    @abstractmethod
    def __call__(self, step: int, steps: int) -> float:
        """The factor at ``step`` of ``steps``, counted from 0."""


class Projection(ABC):
    """What is done to a player's parameters after each of its updates (clipping them, say). It must be elementwise, as
    an optimizer must."""

    @abstractmethod
    def __call__(self, parameters: Iterable[Tensor]) -> None:
        """Change ``parameters`` in place; called without gradients."""

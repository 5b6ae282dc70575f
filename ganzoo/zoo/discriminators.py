"""Built-in discriminators."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from ganzoo.discriminator import Discriminator, Verdict
from ganzoo.zoo.generators import condition, perceptron


@final
class MLPDiscriminator(Discriminator):
    """A multilayer perceptron on flattened samples, one score each; with ``classes`` it reads the label, else ignores
    it."""

    def __init__(self, shape: tuple[int, ...], hidden: int = 128, depth: int = 2, classes: int = 0) -> None:
        super().__init__()
        self.classes = classes
        self.body = perceptron(math.prod(shape) + classes, hidden, depth, 1, torch.nn.LeakyReLU(0.2))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        return Verdict(self.body(condition(x.flatten(1), c, self.classes)).squeeze(1))

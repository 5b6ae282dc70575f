"""Built-in discriminators."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ganzoo.discriminator import Discriminator, Verdict
from ganzoo.errors import IncompatibleError
from ganzoo.heads import SCORE, Head, condition
from ganzoo.zoo.generators import perceptron


@final
class MLPDiscriminator(Discriminator):
    """A multilayer perceptron on flattened samples, one score each; with ``classes`` it reads the label, else ignores
    it.

    It reads it beside the sample, or with another ``head`` than ``score`` as `ganzoo.heads.Head` says.
    """

    def __init__(
        self, shape: tuple[int, ...], hidden: int = 128, depth: int = 2, classes: int = 0, head: str = SCORE
    ) -> None:
        super().__init__()
        self.classes = classes if head == SCORE else 0
        body = perceptron(math.prod(shape) + self.classes, hidden, depth, 1, nn.LeakyReLU(0.2))
        self.body = body if head == SCORE else body[:-1]
        self.head = None if head == SCORE else Head(hidden, classes, head)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        x = self.body(condition(x.flatten(1), c, self.classes))
        return Verdict(x.squeeze(1)) if self.head is None else self.head(x, c)


@final
class FourierDiscriminator(Discriminator):
    """A perceptron on ``x`` and ``sin 2^k x, cos 2^k x`` for ``k < octaves``: structure at every scale down to
    ``2^−octaves`` is within its reach at once.

    Rahimi & Recht (2007) and Tancik et al. (2020) have such features at random and at other frequencies. Meant for few
    dimensions and standardised data: there are ``1 + 2·octaves`` features for each number of a sample.
    """

    def __init__(
        self, shape: tuple[int, ...], hidden: int = 128, depth: int = 2, octaves: int = 6, classes: int = 0
    ) -> None:
        super().__init__()
        self.classes = classes
        self.register_buffer("scales", 2.0 ** torch.arange(octaves), persistent=False)
        self.body = perceptron(math.prod(shape) * (1 + 2 * octaves) + classes, hidden, depth, 1, nn.SiLU())

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        x = x.flatten(1)
        waves = (x[:, None] * self.get_buffer("scales")[:, None]).flatten(1)
        features = torch.cat([x, waves.sin(), waves.cos()], 1)
        return Verdict(self.body(condition(features, c, self.classes)).squeeze(1))


@final
class LipschitzDiscriminator(Discriminator):
    """A critic of slope at most 1 everywhere, by construction: Anil, Lucas & Grosse, "Sorting out Lipschitz function
    approximation" (2019).

    Every weight is made nearly orthogonal by Björck's iteration, ``W ← 3/2 W − 1/2 W Wᵀ W``, from a start whose
    singular values are at most 1, which they then stay; the activation sorts pairs of units. The label has no slope.
    """

    #: Iterations: what is left of singular values below .01 of the largest costs slope, never the bound.
    STEPS: ClassVar[int] = 12

    def __init__(self, shape: tuple[int, ...], hidden: int = 64, depth: int = 3, classes: int = 0) -> None:
        super().__init__()
        if hidden % 2:
            raise IncompatibleError(f"hidden={hidden} is odd, and units are sorted in pairs")
        self.classes = classes
        widths = [math.prod(shape) + classes, *[hidden] * depth, 1]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        h = condition(x.flatten(1), c, self.classes)
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            h = linear(h, _orthogonal(layer.weight, self.STEPS), layer.bias)
            if index < len(self.layers) - 1:
                a, b = h.unflatten(1, (-1, 2)).unbind(2)
                h = torch.stack([torch.maximum(a, b), torch.minimum(a, b)], 2).flatten(1)
        return Verdict(h.squeeze(1))


def _orthogonal(weight: Tensor, steps: int) -> Tensor:
    # The norm ‖W‖₂ is at most the root of the largest row sum times the largest column sum.
    weight = weight / (weight.abs().sum(0).amax() * weight.abs().sum(1).amax()).sqrt()
    for _ in range(steps):
        weight = 1.5 * weight - 0.5 * weight @ weight.mT @ weight
    return weight

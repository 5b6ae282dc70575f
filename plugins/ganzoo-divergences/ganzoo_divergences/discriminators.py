"""Perceptrons that judge in other ways than the core's: with bounded slope, in packs, or smoothly and with features.

Each takes samples ``x (n, *shape)`` and, with ``classes``, labels ``c (n,)``.
"""

from __future__ import annotations

import math
from typing import Final, final

from torch import Tensor, nn

from ganzoo.discriminator import Discriminator, Verdict
from ganzoo.errors import IncompatibleError
from ganzoo.heads import condition
from ganzoo.layers import SpectralNorm, iterate_all
from ganzoo.zoo.generators import perceptron

SLOPE: Final = 0.2  # of the leaky units, as in the core's perceptron


@final
class SpectralNormMLP(Discriminator):
    """A multilayer perceptron whose linear layers have spectral norm 1: Miyato et al. (2018).

    Its units have slopes of at most 1, hence so has it, up to how well the norms are known: they are estimated by the
    power method, one iteration before each of its turns and none in the generator's turn or in a penalty.
    """

    def __init__(self, shape: tuple[int, ...], hidden: int = 128, depth: int = 2, classes: int = 0) -> None:
        super().__init__()
        self.classes = classes
        plain = perceptron(math.prod(shape) + classes, hidden, depth, 1, nn.LeakyReLU(SLOPE))
        self.body = nn.Sequential(*(SpectralNorm(m) if isinstance(m, nn.Linear) else m for m in plain))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        return Verdict(self.body(condition(x.flatten(1), c, self.classes)).squeeze(1))

    def prepare(self) -> None:
        iterate_all(self)


@final
class PackedMLP(Discriminator):
    """A multilayer perceptron that judges ``pack`` samples together: PacGAN, Lin et al. (2018).

    ``D(x_1, …, x_m)`` is one score for m samples of one side, ``(n/m,)`` for a batch of n, packed in their order. The
    divergence is then one between ``P^m`` and ``Q^m``, and grows with every mode that ``Q`` leaves out. A label is
    joined to its sample before packing.

    Raises:
        IncompatibleError: packs do not divide the batch.
    """

    def __init__(
        self, shape: tuple[int, ...], hidden: int = 128, depth: int = 2, pack: int = 2, classes: int = 0
    ) -> None:
        super().__init__()
        self.pack, self.classes = pack, classes
        self.body = perceptron(pack * (math.prod(shape) + classes), hidden, depth, 1, nn.LeakyReLU(SLOPE))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        if len(x) % self.pack:
            raise IncompatibleError(f"a batch of {len(x)} is not divided by packs of {self.pack}; change one of them")
        each = condition(x.flatten(1), c, self.classes)
        return Verdict(self.body(each.reshape(len(x) // self.pack, -1)).squeeze(1))


@final
class SmoothMLP(Discriminator):
    """A multilayer perceptron with tanh units, so that its slope is continuous.

    With ``units=1`` its score is ``(n,)``; with more it is the features ``φ(x) (n, units)`` that a divergence such as
    `KernelMMD` compares.
    """

    def __init__(
        self, shape: tuple[int, ...], hidden: int = 128, depth: int = 2, units: int = 1, classes: int = 0
    ) -> None:
        super().__init__()
        self.units, self.classes = units, classes
        self.body = perceptron(math.prod(shape) + classes, hidden, depth, units, nn.Tanh())

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        score = self.body(condition(x.flatten(1), c, self.classes))
        return Verdict(score if self.units > 1 else score.squeeze(1))

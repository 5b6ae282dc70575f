"""Networks that translate, and the discriminator that tells patches from real ones and the label of the whole."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final, final

from torch import Tensor, nn

from ganzoo import Discriminator, Translator, Verdict
from ganzoo.errors import IncompatibleError
from ganzoo.heads import condition

SLOPE: Final = 0.01


def _labelled(classes: int, what: str) -> int:
    if not classes:
        raise IncompatibleError(f"{what} is for labels, and with classes=0 there are none")
    return classes


def _image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3 or shape[1] % 4 or shape[2] % 4 or shape[1:] == (4, 4):  # a pixel alone has no variance
        raise IncompatibleError(
            "it is for images (channels, height, width) whose sides are multiples of 4, and larger than 4 × 4; a "
            f"sample is {tuple(shape)}. For vectors there are -o generator=point-translator and -o discriminator=mlp "
            "with discriminator.head=classify"
        )
    return shape[0], shape[1], shape[2]


@final
class StarGenerator(Translator):
    """Choi et al. (2018), Table 4: ``x (n, channels, h, w)`` in [−1, 1] and the label's code as constant maps beside
    it; a 7×7 convolution to ``width`` channels, two that halve the sides and double the channels, ``blocks`` residual
    blocks, two that go back, and a 7×7 convolution with tanh. Instance normalisation with gain and bias.

    With ``attention`` that is ``C`` of ``A · x + (1 − A) · C``, where ``A (n, 1, h, w)`` in [0, 1] is another 7×7
    convolution of the same features: what is to stay as it is need not be made again. Pumarola et al. (2018), eq. 1.

    Raises:
        IncompatibleError: sides are no multiples of 4, or there are no labels.
    """

    def __init__(
        self, shape: tuple[int, ...], width: int = 64, blocks: int = 6, attention: bool = False, classes: int = 0
    ) -> None:
        super().__init__()
        channels, _, _ = _image(shape)
        self.shape, self.classes = tuple(shape), _labelled(classes, "this generator")
        halve, double = nn.Conv2d, nn.ConvTranspose2d
        self.body = nn.Sequential(
            *_layer(nn.Conv2d(channels + classes, width, 7, padding=3, bias=False)),
            *(each for i in (1, 2) for each in _layer(halve(i * width, 2 * i * width, 4, 2, 1, bias=False))),
            *(_Block(4 * width) for _ in range(blocks)),
            *(each for i in (2, 1) for each in _layer(double(2 * i * width, i * width, 4, 2, 1, bias=False))),
        )
        self.colour = nn.Conv2d(width, channels, 7, padding=3, bias=False)
        self.attention = nn.Conv2d(width, 1, 7, padding=3) if attention else None

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        features = self.body(condition(z, c, self.classes))
        made = self.colour(features).tanh()
        if self.attention is None:
            return made
        kept = self.attention(features).sigmoid()
        return kept * z + (1 - kept) * made


def _layer(convolution: nn.Conv2d | nn.ConvTranspose2d) -> tuple[nn.Module, ...]:
    return convolution, nn.InstanceNorm2d(convolution.out_channels, affine=True), nn.ReLU()


@final
class _Block(nn.Module):
    """``x + body(x)``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.body = nn.Sequential(*_layer(first), second, nn.InstanceNorm2d(width, affine=True))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


@final
class PatchDiscriminator(Discriminator):
    """Choi et al. (2018), Table 5: 4×4 convolutions that halve the sides until fewer than 4 pixels are left and double
    the channels from ``width`` on, leaky ReLU (.01); a score for each patch, ``(n, 1, h', w')``, and class logits of
    the whole. It reads no label.

    Raises:
        IncompatibleError: sides are no multiples of 4, or there are no labels.
    """

    def __init__(self, shape: tuple[int, ...], width: int = 64, classes: int = 0) -> None:
        super().__init__()
        channels, height, side = _image(shape)
        layers: list[nn.Module] = []
        while min(height, side) >= 4:
            layers += [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(SLOPE)]
            channels, width, height, side = width, 2 * width, height // 2, side // 2
        self.body = nn.Sequential(*layers)
        self.score = nn.Conv2d(channels, 1, 3, padding=1, bias=False)
        self.logits = nn.Conv2d(channels, _labelled(classes, "this discriminator"), (height, side), bias=False)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        features = self.body(x)
        return Verdict(self.score(features), self.logits(features).flatten(1))


@final
class PointTranslator(Translator):
    """``x + MLP(x, c)``, flattened: for points in the plane, where a translation shows what the game does.

    Raises:
        IncompatibleError: there are no labels.
    """

    def __init__(self, shape: tuple[int, ...], hidden: int = 128, depth: int = 2, classes: int = 0) -> None:
        super().__init__()
        self.shape, self.classes = tuple(shape), _labelled(classes, "this generator")
        d = math.prod(shape)
        widths = [d + classes, *[hidden] * depth]
        layers = [each for a, b in pairwise(widths) for each in (nn.Linear(a, b), nn.ReLU())]
        self.body = nn.Sequential(*layers, nn.Linear(widths[-1], d))

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return z + self.body(condition(z.flatten(1), c, self.classes)).unflatten(1, self.shape)

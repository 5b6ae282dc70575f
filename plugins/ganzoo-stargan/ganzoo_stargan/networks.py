"""Networks that translate, and the discriminator that tells patches from real ones and the label of the whole."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final, final

import torch
from torch import Tensor, nn

from ganzoo import Discriminator, Translator, Verdict
from ganzoo.errors import IncompatibleError
from ganzoo.heads import condition, read

SLOPE: Final = 0.01
#: The smallest sides of which something is left after all convolutions of `CycleDiscriminator`.
LEAST: Final = 24
#: What is said of vectors.
POINTS: Final = "-o generator=point-translator and -o discriminator=mlp with discriminator.head=classify"
POINTS_APART: Final = "-o generator=point-cyclegan and -o discriminator=mlp"


def _labelled(classes: int, what: str) -> int:
    if not classes:
        raise IncompatibleError(f"{what} is for labels, and with classes=0 there are none")
    return classes


def _image(shape: tuple[int, ...], vectors: str = POINTS) -> tuple[int, int, int]:
    if len(shape) != 3 or shape[1] % 4 or shape[2] % 4 or shape[1:] == (4, 4):  # a pixel alone has no variance
        cure = "Take another dataset.size" if len(shape) == 3 else f"For vectors there are {vectors}"
        raise IncompatibleError(
            "it is for images (channels, height, width) whose sides are multiples of 4, and larger than 4 × 4; a "
            f"sample is {tuple(shape)}. {cure}"
        )
    return shape[0], shape[1], shape[2]


@final
class _Painter(nn.Module):
    """An image from an image and, with ``classes``, its label: the body of `StarGenerator`."""

    def __init__(self, channels: int, width: int, blocks: int, classes: int, attention: bool) -> None:
        super().__init__()
        self.classes = classes
        halve, double = nn.Conv2d, nn.ConvTranspose2d
        self.body = nn.Sequential(
            *_layer(nn.Conv2d(channels + classes, width, 7, padding=3, bias=False)),
            *(each for i in (1, 2) for each in _layer(halve(i * width, 2 * i * width, 4, 2, 1, bias=False))),
            *(_Block(4 * width) for _ in range(blocks)),
            *(each for i in (2, 1) for each in _layer(double(2 * i * width, i * width, 4, 2, 1, bias=False))),
        )
        self.colour = nn.Conv2d(width, channels, 7, padding=3, bias=False)
        self.attention = nn.Conv2d(width, 1, 7, padding=3) if attention else None

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        features = self.body(condition(x, c, self.classes))
        made = self.colour(features).tanh()
        if self.attention is None:
            return made
        kept = self.attention(features).sigmoid()
        return kept * x + (1 - kept) * made


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
class StarGenerator(Translator):
    """Choi et al. (2018), Table 4: ``x (n, channels, h, w)`` in [−1, 1] and the label's code as constant maps beside
    it; a 7×7 convolution to ``width`` channels, two that halve the sides and double the channels, ``blocks`` residual
    blocks, two that go back, and a 7×7 convolution with tanh. Instance normalisation with gain and bias.

    With ``attention`` that is ``C`` of ``A · x + (1 − A) · C``, where ``A (n, 1, h, w)`` in [0, 1] is another 7×7
    convolution of the same features: what is to stay as it is need not be made again. Pumarola et al. (2018), eq. 1,
    without their penalties of A.

    Raises:
        IncompatibleError: sides are no multiples of 4, or there are no labels.
    """

    def __init__(
        self, shape: tuple[int, ...], width: int = 64, blocks: int = 6, classes: int = 0, attention: bool = False
    ) -> None:
        super().__init__()
        self.shape, channels = tuple(shape), _image(shape)[0]
        self.painter = _Painter(channels, width, blocks, _labelled(classes, "this generator"), attention)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return self.painter(z, c)


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
        self.shape = tuple(shape)
        self.mover = _Mover(shape, hidden, depth, _labelled(classes, "this generator"))

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return self.mover(z, c)


@final
class _Mover(nn.Module):
    """``x + MLP(x, c)``."""

    def __init__(self, shape: tuple[int, ...], hidden: int, depth: int, classes: int = 0) -> None:
        super().__init__()
        self.shape, self.classes, d = tuple(shape), classes, math.prod(shape)
        widths = [d + classes, *[hidden] * depth]
        layers = [each for a, b in pairwise(widths) for each in (nn.Linear(a, b), nn.ReLU())]
        self.body = nn.Sequential(*layers, nn.Linear(widths[-1], d))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return x + self.body(condition(x.flatten(1), c, self.classes)).unflatten(1, self.shape)


@final
class _ByLabel(nn.ModuleList):
    """``f_c(x)``, a network for each label. All of them see all samples, since how many ask for a label is a matter of
    chance and shapes must not be; so the time is that of so many networks."""

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        label = _single(read(c, len(self)))
        label = label[(...,) + (None,) * (x.ndim - 1)]
        made = [network(x) for network in self]
        chosen = made[0]
        for i, each in enumerate(made[1:], 1):
            chosen = torch.where(label == i, each, chosen)
        return chosen

    def others(self, own: Tensor, rng: torch.Generator) -> Tensor:
        """For each label ``(n,)`` one that it is not, every other one as often: no network is for its own label."""
        others = torch.randint(1, len(self), own.shape, generator=rng, device=rng.device)
        return (_single(own) + others) % len(self)


def _single(label: Tensor) -> Tensor:
    if label.ndim > 1:
        raise IncompatibleError(
            "cyclegan has a network for each label, and samples of these data have several at once; the method stargan "
            "takes such data"
        )
    return label


@final
class CycleGenerator(Translator):
    """``x' = G_c(x)``, a network for each label c; it reads no label, neither the source's nor c. Of two labels they
    are F and G of Zhu et al. (2017).

    Each is the network of `StarGenerator` without labels, which is that of their section 4 but for 4×4 convolutions
    where sides are halved and doubled and zeros at the borders. Theirs have 9 ``blocks`` from 256 pixels on.

    Raises:
        IncompatibleError: sides are no multiples of 4, there are fewer than two labels, or samples have several.
    """

    def __init__(
        self, shape: tuple[int, ...], width: int = 64, blocks: int = 6, classes: int = 0, attention: bool = False
    ) -> None:
        super().__init__()
        self.shape, channels = tuple(shape), _image(shape, POINTS_APART)[0]
        self.painters = _ByLabel(_Painter(channels, width, blocks, 0, attention) for _ in range(_two(classes)))

    def wants(self, own: Tensor, rng: torch.Generator) -> Tensor:
        return self.painters.others(own, rng)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return self.painters(z, c)


@final
class PointCycle(Translator):
    """The same for vectors: ``x' = x + MLP_c(x)``.

    Raises:
        IncompatibleError: there are fewer than two labels, or samples have several.
    """

    def __init__(self, shape: tuple[int, ...], hidden: int = 128, depth: int = 2, classes: int = 0) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.movers = _ByLabel(_Mover(shape, hidden, depth) for _ in range(_two(classes)))

    def wants(self, own: Tensor, rng: torch.Generator) -> Tensor:
        return self.movers.others(own, rng)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return self.movers(z, c)


def _two(classes: int) -> int:
    if _labelled(classes, "this generator") < 2:
        raise IncompatibleError("this generator goes from label to label, and the data have one")
    return classes


@final
class CycleDiscriminator(Discriminator):
    """``D_c(x)``, a network for each label c; the score is that of the label's own.

    Zhu et al. (2017), appendix: C64-C128-C256-C512, 4×4 convolutions of which the first three halve the sides, with
    instance normalisation (here with gain and bias) but for the first, and leaky ReLU (.2); then one more, a score for
    each patch of 70 × 70 pixels, ``(n, 1, h', w')``.

    Raises:
        IncompatibleError: sides are no multiples of 4 or smaller than 24, or there are no labels.
    """

    def __init__(self, shape: tuple[int, ...], width: int = 64, classes: int = 0) -> None:
        super().__init__()
        channels, height, side = _image(shape, POINTS_APART)
        if min(height, side) < LEAST:
            raise IncompatibleError(f"sides must be {LEAST} or more for its patches; a sample is {tuple(shape)}")
        classes = _labelled(classes, "this discriminator")
        self.judges = _ByLabel(_patches(channels, width) for _ in range(classes))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        return Verdict(self.judges(x, c))


def _patches(channels: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for i, stride in ((1, 2), (2, 2), (4, 1)):
        convolution = nn.Conv2d(i * width, 2 * i * width, 4, stride, 1, bias=False)
        layers += [convolution, nn.InstanceNorm2d(convolution.out_channels, affine=True), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, padding=1))

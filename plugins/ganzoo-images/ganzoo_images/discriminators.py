"""Discriminators of images ``(n, channels, side, side)``: one score each, ``(n,)``.

With ``classes`` they read labels: as one-hot maps beside the image, or with another ``head`` than ``score`` in their
last layer, as `ganzoo.heads.Head` says.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final, final

from torch import Tensor, nn

from ganzoo import Discriminator, Verdict
from ganzoo.errors import IncompatibleError
from ganzoo.heads import SCORE, Head, condition
from ganzoo.layers import ConvPool2d, SpectralNorm, iterate_all
from ganzoo_images.maps import Residual, glorot, halvings, small

GAIN: Final = math.sqrt(2)


@final
class ImageDiscriminator(Discriminator):
    """``D(x, c) = body(x)``, or ``head(body(x), c)`` where there is a head; before its turns the power method takes one
    step in all layers of spectral norm 1.

    ``beside`` is how many labels are read as maps beside the image.
    """

    def __init__(self, body: nn.Module, head: nn.Module | None = None, beside: int = 0) -> None:
        super().__init__()
        self.body, self.head, self.beside = body, head, beside

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        x = self.body(condition(x, c, self.beside)).flatten(1)
        return Verdict(x.squeeze(1)) if self.head is None else self.head(x, c)

    def prepare(self) -> None:
        iterate_all(self)


def _ends(shape: tuple[int, ...], classes: int, head: str) -> tuple[int, int]:
    """How many channels come in, and how many labels are among them."""
    beside = classes if head == SCORE else 0
    return shape[0] + beside, beside


def _normed(head: Head) -> Head:
    """Of spectral norm 1 in each of its layers."""
    for name, layer in list(head.named_children()):
        setattr(head, name, SpectralNorm(layer))
    return head


@final
class SumPool(nn.Module):
    """``(n, c, h, w)`` to ``(n, c)``."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3))


def dcgan(
    shape: tuple[int, ...],
    width: int = 64,
    batch_norm: bool = True,
    depth: int | None = None,
    classes: int = 0,
    head: str = SCORE,
) -> ImageDiscriminator:
    """Radford, Metz & Chintala (2016): 4×4 convolutions of stride 2 with leaky ReLU (.2), and batch normalisation in
    all but the first.

    With batch normalisation samples of a batch see each other, so that a penalty on input gradients is refused.
    """
    depth, end = halvings(shape, depth, 4)
    inputs, beside = _ends(shape, classes, head)
    layers: list[nn.Module] = [nn.Conv2d(inputs, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    for a, b in pairwise(width * 2**i for i in range(depth)):
        layers.append(nn.Conv2d(a, b, 4, stride=2, padding=1, bias=not batch_norm))
        layers += [nn.BatchNorm2d(b), nn.LeakyReLU(0.2)] if batch_norm else [nn.LeakyReLU(0.2)]
    last = width * 2 ** (depth - 1)
    if head == SCORE:
        return ImageDiscriminator(small(nn.Sequential(*layers, nn.Conv2d(last, 1, end))), None, beside)
    return ImageDiscriminator(small(nn.Sequential(*layers)), small(Head(last * end * end, classes, head)))


@final
class Packed(Discriminator):
    """``D(x_1, …, x_m)``: one score for ``pack`` samples of one side, whose channels are those of one image; ``(n/m,)``
    for a batch of n, packed in their order. PacGAN: Lin, Khetan, Fanti & Oh (2018).

    Raises:
        IncompatibleError: packs do not divide the batch.
    """

    def __init__(self, inner: Discriminator, pack: int) -> None:
        super().__init__()
        self.inner, self.pack = inner, pack

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        if len(x) % self.pack:
            raise IncompatibleError(f"a batch of {len(x)} is not divided by packs of {self.pack}; change one of them")
        return self.inner(x.reshape(-1, self.pack * x.shape[1], *x.shape[2:]))


def packed_dcgan(
    shape: tuple[int, ...], width: int = 64, batch_norm: bool = True, depth: int | None = None, pack: int = 2
) -> Packed:
    """`dcgan` on ``pack`` images at once. It reads no label."""
    return Packed(dcgan((pack * shape[0], *shape[1:]), width, batch_norm, depth), pack)


def sn_dcgan(
    shape: tuple[int, ...], width: int = 64, depth: int | None = None, classes: int = 0, head: str = SCORE
) -> ImageDiscriminator:
    """Miyato et al. (2018), Table 3: 3×3 and 4×4 convolutions in turn, the latter of stride 2, spectral norm 1 in all,
    leaky ReLU (.1)."""
    depth, end = halvings(shape, depth, 4)
    inputs, beside = _ends(shape, classes, head)
    layers: list[nn.Module] = []
    for outputs in (width * 2**i for i in range(depth)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.LeakyReLU(0.1)]
        layers += [nn.Conv2d(outputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(0.1)]
        inputs = outputs
    layers += [nn.Conv2d(inputs, 2 * inputs, 3, padding=1), nn.LeakyReLU(0.1), nn.Flatten()]
    features = 2 * inputs * end * end
    body = small(nn.Sequential(*layers, *([nn.Linear(features, 1)] if head == SCORE else [])))
    normed = nn.Sequential(*(SpectralNorm(m) if hasattr(m, "weight") else m for m in body))
    if head == SCORE:
        return ImageDiscriminator(normed, None, beside)
    return ImageDiscriminator(normed, _normed(small(Head(features, classes, head))))


def sngan_resnet(
    shape: tuple[int, ...], width: int = 128, depth: int | None = None, classes: int = 0, head: str = SCORE
) -> ImageDiscriminator:
    """Miyato et al. (2018), Table 4, the network for CIFAR-10: residual blocks that halve the map until it has 7 to 15
    pixels a side, two that do not, and a sum over pixels; spectral norm 1 in all layers, ``width`` channels in all.

    With ``head=projection`` it is that of Miyato & Koyama (2018).
    """
    depth, _ = halvings(shape, depth, 7)
    inputs, beside = _ends(shape, classes, head)
    layers = [
        _first(inputs, width),
        *(_halving(width) for _ in range(depth - 1)),
        *(_plain(width) for _ in range(2)),
        nn.ReLU(),
        SumPool(),
    ]
    if head == SCORE:
        last = SpectralNorm(glorot(nn.Linear(width, 1)))
        return ImageDiscriminator(nn.Sequential(*layers, last), None, beside)
    made = Head(width, classes, head)
    for layer in made.children():
        glorot(layer)
    return ImageDiscriminator(nn.Sequential(*layers), _normed(made))


def _conv(inputs: int, outputs: int) -> SpectralNorm:
    return SpectralNorm(glorot(nn.Conv2d(inputs, outputs, 3, padding=1), GAIN))


def _pooled(width: int) -> SpectralNorm:
    return SpectralNorm(glorot(ConvPool2d(width, width), GAIN))


def _shortcut(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.AvgPool2d(2), SpectralNorm(glorot(nn.Conv2d(inputs, outputs, 1))))


def _first(inputs: int, width: int) -> Residual:
    return Residual(nn.Sequential(_conv(inputs, width), nn.ReLU(), _pooled(width)), _shortcut(inputs, width))


def _halving(width: int) -> Residual:
    """The shortcut's 1×1 convolution comes after its pooling, with which it commutes."""
    body = nn.Sequential(nn.ReLU(), _conv(width, width), nn.ReLU(), _pooled(width))
    return Residual(body, _shortcut(width, width))


def _plain(width: int) -> Residual:
    return Residual(nn.Sequential(nn.ReLU(), _conv(width, width), nn.ReLU(), _conv(width, width)), nn.Identity())

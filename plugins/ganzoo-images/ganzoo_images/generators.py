"""Generators of images, ``(n, channels, side, side)`` in (−1, 1): data are scaled to [−1, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn

from ganzoo import Batch, Generator
from ganzoo.heads import condition, read
from ganzoo.layers import NoiseToMap, UpsampleConv2d
from ganzoo_images.maps import Labelled, Residual, batch_norm, glorot, halvings, in_sequence, small


@final
class ImageGenerator(Generator):
    """``G(z, c) = body(z)`` with ``z (n, noise)`` uniform on (−1, 1) or ``∼ N(0, I)``.

    With ``classes`` it reads the label: a `Labelled` body gets it, another one its one-hot code beside ``z``.
    """

    def __init__(self, body: nn.Module, shape: Sequence[int], noise: int, law: str, classes: int = 0) -> None:
        super().__init__()
        self.body, self.shape, self.noise, self.law, self.classes = body, tuple(shape), noise, law, classes

    def source(
        self, n: int, rng: torch.Generator, batch: Batch | None = None, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        if self.law == "uniform":
            z = 2 * torch.rand(n, self.noise, generator=rng, device=rng.device) - 1
        else:
            z = torch.randn(n, self.noise, generator=rng, device=rng.device)
        if not self.classes:
            return z, None
        label = batch.label if label is None and batch is not None else label
        return z, torch.randint(self.classes, (n,), generator=rng, device=rng.device) if label is None else label

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        if isinstance(self.body, Labelled):
            return self.body(z, read(c, self.classes))
        return self.body(condition(z, c, self.classes))


def dcgan(
    shape: tuple[int, ...],
    noise: int = 100,
    law: str = "uniform",
    width: int = 64,
    depth: int | None = None,
    classes: int = 0,
    class_norm: bool = False,
) -> ImageGenerator:
    """Radford, Metz & Chintala (2016): transposed 4×4 convolutions of stride 2 with batch normalisation and ReLU.

    It begins with a map of 4 to 15 pixels a side and ``width · 2^(depth−1)`` channels, which halve as the side
    doubles. The paper draws kernels of 5×5 and a width of 128; 4×4 and 64 are those of its authors' code for Torch.

    Labels are read as a one-hot code beside the noise; with ``class_norm`` as gains and biases of all normalisations.
    """

    def grow(inputs: int, outputs: int, bias: bool) -> nn.Module:
        return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=bias)

    return _growing(grow, shape, noise, law, width, depth, classes, class_norm)


def dcgan_upsample(
    shape: tuple[int, ...],
    noise: int = 100,
    law: str = "uniform",
    width: int = 64,
    depth: int | None = None,
    classes: int = 0,
    class_norm: bool = False,
) -> ImageGenerator:
    """`dcgan` with nearest ×2 upsampling and a 3×3 convolution for each transposed one, which leaves no checkerboard:
    Odena, Dumoulin & Olah (2016)."""
    return _growing(UpsampleConv2d, shape, noise, law, width, depth, classes, class_norm)


def _growing(
    grow: Callable[[int, int, bool], nn.Module],
    shape: tuple[int, ...],
    noise: int,
    law: str,
    width: int,
    depth: int | None,
    classes: int,
    class_norm: bool,
) -> ImageGenerator:
    depth, start = halvings(shape, depth, 4)
    widths = [width * 2**i for i in reversed(range(depth))]
    beside, inside = (0, classes) if class_norm else (classes, 0)  # how many labels are read where
    layers = [NoiseToMap(noise + beside, widths[0], start, bias=False), batch_norm(widths[0], inside), nn.ReLU()]
    for a, b in pairwise(widths):
        layers += [grow(a, b, False), batch_norm(b, inside), nn.ReLU()]
    body = in_sequence([*layers, grow(width, shape[0], True), nn.Tanh()], bool(inside))
    return ImageGenerator(small(body), shape, noise, law, classes)


def sngan_resnet(
    shape: tuple[int, ...],
    noise: int = 128,
    law: str = "normal",
    width: int = 256,
    depth: int | None = None,
    classes: int = 0,
) -> ImageGenerator:
    """Miyato et al. (2018), Table 4, for CIFAR-10: residual blocks that upsample, with ``width`` channels in all.

    It begins with a map of 4 to 15 pixels a side. Labels are read as gains and biases of all normalisations but the
    last: Miyato & Koyama (2018), with their code.
    """
    depth, start = halvings(shape, depth, 4)
    first = nn.Sequential(glorot(nn.Linear(noise, width * start**2)), nn.Unflatten(1, (width, start, start)))
    last = glorot(nn.Conv2d(width, shape[0], 3, padding=1))
    blocks = (_upsampling(width, classes) for _ in range(depth))
    body = in_sequence([*first, *blocks, nn.BatchNorm2d(width), nn.ReLU(), last, nn.Tanh()], bool(classes))
    return ImageGenerator(body, shape, noise, law, classes)


def _upsampling(width: int, classes: int) -> Residual:
    """The shortcut's 1×1 convolution comes before its upsampling, with which it commutes. What a bias adds, the next
    normalisation takes away again: there is none."""
    gain = math.sqrt(2)
    body = [
        batch_norm(width, classes),
        nn.ReLU(),
        glorot(UpsampleConv2d(width, width, bias=False), gain),
        batch_norm(width, classes),
        nn.ReLU(),
        glorot(nn.Conv2d(width, width, 3, padding=1, bias=False), gain),
    ]
    shortcut = nn.Sequential(glorot(nn.Conv2d(width, width, 1, bias=False)), nn.Upsample(scale_factor=2))
    return Residual(in_sequence(body, bool(classes)), shortcut)

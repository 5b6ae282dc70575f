"""Generators of images, ``(n, channels, side, side)`` in (−1, 1): data are scaled to [−1, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn

from ganzoo import Batch, Generator
from ganzoo.layers import NoiseToMap, UpsampleConv2d
from ganzoo_images.maps import Residual, glorot, halvings, small


@final
class ImageGenerator(Generator):
    """``G(z) = body(z)`` with ``z (n, noise)`` uniform on (−1, 1) or ``∼ N(0, I)``. It reads no label."""

    def __init__(self, body: nn.Module, shape: Sequence[int], noise: int, law: str) -> None:
        super().__init__()
        self.body, self.shape, self.noise, self.law = body, tuple(shape), noise, law

    def source(
        self, n: int, rng: torch.Generator, batch: Batch | None = None, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        if self.law == "uniform":
            return 2 * torch.rand(n, self.noise, generator=rng, device=rng.device) - 1, None
        return torch.randn(n, self.noise, generator=rng, device=rng.device), None

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return self.body(z)


def dcgan(
    shape: tuple[int, ...], noise: int = 100, law: str = "uniform", width: int = 64, depth: int | None = None
) -> ImageGenerator:
    """Radford, Metz & Chintala (2016): transposed 4×4 convolutions of stride 2 with batch normalisation and ReLU.

    It begins with a map of 4 to 15 pixels a side and ``width · 2^(depth−1)`` channels, which halve as the side
    doubles. The paper draws kernels of 5×5 and a width of 128; 4×4 and 64 are those of its authors' code for Torch.
    """

    def grow(inputs: int, outputs: int, bias: bool) -> nn.Module:
        return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=bias)

    return _growing(grow, shape, noise, law, width, depth)


def dcgan_upsample(
    shape: tuple[int, ...], noise: int = 100, law: str = "uniform", width: int = 64, depth: int | None = None
) -> ImageGenerator:
    """`dcgan` with nearest ×2 upsampling and a 3×3 convolution for each transposed one, which leaves no checkerboard:
    Odena, Dumoulin & Olah (2016)."""
    return _growing(UpsampleConv2d, shape, noise, law, width, depth)


def _growing(
    grow: Callable[[int, int, bool], nn.Module],
    shape: tuple[int, ...],
    noise: int,
    law: str,
    width: int,
    depth: int | None,
) -> ImageGenerator:
    depth, start = halvings(shape, depth, 4)
    widths = [width * 2**i for i in reversed(range(depth))]
    layers = [NoiseToMap(noise, widths[0], start, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    for a, b in pairwise(widths):
        layers += [grow(a, b, False), nn.BatchNorm2d(b), nn.ReLU()]
    body = nn.Sequential(*layers, grow(width, shape[0], True), nn.Tanh())
    return ImageGenerator(small(body), shape, noise, law)


def sngan_resnet(
    shape: tuple[int, ...], noise: int = 128, law: str = "normal", width: int = 256, depth: int | None = None
) -> ImageGenerator:
    """Miyato et al. (2018), Table 4, for CIFAR-10: residual blocks that upsample, with ``width`` channels in all.

    It begins with a map of 4 to 15 pixels a side.
    """
    depth, start = halvings(shape, depth, 4)
    first = nn.Sequential(glorot(nn.Linear(noise, width * start**2)), nn.Unflatten(1, (width, start, start)))
    last = glorot(nn.Conv2d(width, shape[0], 3, padding=1))
    blocks = (_upsampling(width) for _ in range(depth))
    body = nn.Sequential(*first, *blocks, nn.BatchNorm2d(width), nn.ReLU(), last, nn.Tanh())
    return ImageGenerator(body, shape, noise, law)


def _upsampling(width: int) -> Residual:
    """The shortcut's 1×1 convolution comes before its upsampling, with which it commutes. What a bias adds, the next
    normalisation takes away again: there is none."""
    gain = math.sqrt(2)
    body = nn.Sequential(
        nn.BatchNorm2d(width),
        nn.ReLU(),
        glorot(UpsampleConv2d(width, width, bias=False), gain),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        glorot(nn.Conv2d(width, width, 3, padding=1, bias=False), gain),
    )
    return Residual(body, nn.Sequential(glorot(nn.Conv2d(width, width, 1, bias=False)), nn.Upsample(scale_factor=2)))

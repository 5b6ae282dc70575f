"""Small StyleGAN2 networks: Karras, Laine, Aittala, Hellsten, Lehtinen & Aila (2020), and the authors' code.

Weights are N(0, 1) and are scaled where they are used, so that Adam moves all of them alike (Karras et al., 2018).

Left out: noise for each pixel (a sample is a function of its source, and StyleGAN3 does without it too), style mixing
and path length regularisation. The discriminator has no standard deviation over the batch: samples would see each other
through it, while R1 is about each one's own gradient.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, linear

from ganzoo import Batch, Discriminator, Generator, Verdict
from ganzoo.heads import code
from ganzoo_images.maps import halvings
from ganzoo_images.r3gan import drawn
from ganzoo_images.resample import Smooth, SmoothUp

#: Channels that no map has more of.
MOST: Final = 512
#: How fast the layers of the mapping network learn beside all others.
MAPPING_RATE: Final = 0.01


def rectified(x: Tensor) -> Tensor:
    """Leaky ReLU (.2), ``√2`` times."""
    return leaky_relu(x, 0.2) * math.sqrt(2)


def unit(z: Tensor) -> Tensor:
    """``z (n, d)`` with a mean square of 1 in each row."""
    return z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def _bias(outputs: int, value: float = 0.0) -> nn.Parameter:
    return nn.Parameter(torch.full((outputs,), value))


@final
class Dense(nn.Module):
    """``x Wᵀ/√inputs + b``, learning ``rate`` times as fast as other layers."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(outputs, inputs) / rate), _bias(outputs, bias / rate)
        self.scale, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight * self.scale, self.bias * self.rate)


@final
class Conv(nn.Module):
    """A convolution with ``W/√inputs``, and with ``half`` the filter before it and every second pixel after."""

    def __init__(self, inputs: int, outputs: int, size: int, half: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = _bias(outputs) if bias else None
        self.scale, self.stride, self.padding = 1 / math.sqrt(inputs * size * size), 1 + half, 0 if half else size // 2
        self.smooth = Smooth(padding=(size + 1) // 2) if half else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(self.smooth(x), self.weight * self.scale, self.bias, self.stride, self.padding)


@final
class Modulated(nn.Module):
    """A convolution of ``x (n, inputs, h, w)`` with weights ``W_oi · s_i`` that a style ``(n, d)`` scales for each
    sample, demodulated: divided by their norm over ``i`` and pixels.

    Scaling the inputs by ``s`` and the outputs by ``1/√(Σ_i s_i² Σ_pixels W_oi² + 10⁻⁸)`` is the same, and leaves one
    weight for all samples. With ``double`` the side doubles: a transposed convolution of stride 2, then the filter.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, style: int, double: bool = False, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias, self.style = _bias(outputs), Dense(style, inputs, bias=1.0)
        self.scale, self.demodulate = 1 / math.sqrt(inputs * size * size), demodulate
        self.smooth = Smooth(gain=4) if double else None

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style, weight = self.style(w), self.weight * self.scale
        x = x * style[:, :, None, None]
        if self.smooth is None:
            x = conv2d(x, weight, padding=weight.shape[2] // 2)
        else:
            x = self.smooth(conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        if self.demodulate:
            norm = style.square() @ weight.square().sum((2, 3)).mT
            x = x * (norm + 1e-8).rsqrt()[:, :, None, None]
        return x + self.bias[:, None, None]


@final
class Grown(nn.Module):
    """Twice the side by two modulated convolutions, and what the colours get from the new map."""

    def __init__(self, inputs: int, outputs: int, colours: int, style: int) -> None:
        super().__init__()
        self.up = Modulated(inputs, outputs, 3, style, double=True)
        self.conv = Modulated(outputs, outputs, 3, style)
        self.colours, self.smooth_up = Modulated(outputs, colours, 1, style, demodulate=False), SmoothUp()

    def forward(self, x: Tensor, image: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        x = rectified(self.conv(rectified(self.up(x, w)), w))
        return x, self.smooth_up(image) + self.colours(x, w)


@final
class StyleGenerator(Generator):
    """``G(z)``, ``z ∼ N(0, I)``: a mapping network makes a style of ``z``, which modulates the convolutions through
    which a learned constant grows; the image is a sum of what each map adds to it.

    With ``classes``, a learned code of the label stands beside ``z``. Nothing holds the image in (−1, 1).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        noise: int = 128,
        width: int = 32,
        depth: int | None = None,
        mapping: int = 2,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.shape, self.noise, self.classes = tuple(shape), noise, classes
        depth, start = halvings(shape, depth, 4)
        widths = _widths(width, depth)[::-1]
        self.label = Dense(classes, noise) if classes else None
        inputs = [noise * (2 if classes else 1), *[noise] * mapping]
        self.mapping = nn.ModuleList(Dense(a, b, rate=MAPPING_RATE) for a, b in pairwise(inputs))
        self.constant = nn.Parameter(torch.randn(widths[0], start, start))
        self.first = Modulated(widths[0], widths[0], 3, noise)
        self.colours = Modulated(widths[0], shape[0], 1, noise, demodulate=False)
        self.grown = nn.ModuleList(Grown(a, b, shape[0], noise) for a, b in pairwise(widths))

    def source(
        self, n: int, rng: torch.Generator, batch: Batch | None = None, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        return drawn(n, self.noise, self.classes, rng, batch, label)

    def style(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """``w (n, noise)``."""
        w = unit(z)
        if self.label is not None:
            w = torch.cat([w, unit(self.label(code(c, self.classes, z))).to(w.dtype)], 1)
        for layer in self.mapping:
            w = rectified(layer(w))
        return w

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        w = self.style(z, c)
        x = rectified(self.first(self.constant.expand(len(z), -1, -1, -1), w))
        image = self.colours(x, w)
        for layer in self.grown:
            x, image = layer(x, image, w)
        return image


@final
class Halved(nn.Module):
    """``(conv(x) + shortcut(x))/√2`` at half the side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv, self.down = Conv(inputs, inputs, 3), Conv(inputs, outputs, 3, half=True)
        self.shortcut = Conv(inputs, outputs, 1, half=True, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return (rectified(self.down(rectified(self.conv(x)))) + self.shortcut(x)) / math.sqrt(2)


@final
class StyleDiscriminator(Discriminator):
    """``D(x)``: residual blocks that halve the map, one convolution and two matrices.

    With ``classes`` it is the product of its features with a learned code of the label, over the root of their number.
    """

    def __init__(self, shape: tuple[int, ...], width: int = 32, depth: int | None = None, classes: int = 0) -> None:
        super().__init__()
        self.classes = classes
        depth, end = halvings(shape, depth, 4)
        widths = _widths(width, depth)
        self.first, last = Conv(shape[0], widths[0], 1), widths[-1]
        self.halved = nn.Sequential(*(Halved(a, b) for a, b in pairwise(widths)))
        self.conv, self.dense = Conv(last, last, 3), Dense(last * end * end, last)
        self.score = Dense(last, last if classes else 1)
        self.label = Dense(classes, last) if classes else None

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        x = rectified(self.conv(self.halved(rectified(self.first(x)))))
        score = self.score(rectified(self.dense(x.flatten(1))))
        if self.label is None:
            return Verdict(score.squeeze(1))
        label = unit(self.label(code(c, self.classes, x)))
        return Verdict((score * label).sum(1) / math.sqrt(score.shape[1]))


def _widths(width: int, depth: int) -> list[int]:
    """Of the maps from the largest to the smallest."""
    return [max(width, min(width * 2**i, MOST)) for i in range(depth + 1)]

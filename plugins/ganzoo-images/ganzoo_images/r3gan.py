"""The networks of R3GAN: residual blocks without any normalisation, alike in both players.

Huang, Gokaslan, Kuleshov & Tompkin, "The GAN is dead; long live the GAN! A Modern GAN Baseline" (2024), §4 and the
authors' code. A block is 1×1, grouped 3×3 and 1×1 convolutions with leaky ReLU (.2) between them, on maps that it
widens. Its last convolution is zero at the start and the others are scaled by ``L^(−1/4)``, where ``L`` is the number
of blocks (Zhang, Dauphin & Ma, "Fixup Initialization", 2019): the signal keeps its size at any depth. Sides change by
linear interpolation, beside a 1×1 convolution where the channels change too.

As published, in the terms of the options here:

=============  =====  ========  ===========  =========  =====  ===========
data           width  blocks    cardinality  expansion  noise  embedding
=============  =====  ========  ===========  =========  =====  ===========
CIFAR-10       768    2         96           2          64     64
FFHQ-64, -256  768    2         96           2          64     none
ImageNet-32    1536   2         96           2          64     64
=============  =====  ========  ===========  =========  =====  ===========

Maps of up to 32 pixels a side have ``width`` channels, larger ones half as many at each doubling, and groups in
proportion. ImageNet-64 has 1536 channels in all of its maps, which cannot be said here. The published maps begin at
4×4; with a side that is no power of 2 they begin at up to 15 (28: 7).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple, TypeVar, final

import torch
from torch import Tensor, nn

from ganzoo import Batch, Discriminator, Generator, Verdict
from ganzoo.errors import IncompatibleError
from ganzoo.heads import code
from ganzoo_images.maps import Residual, halvings
from ganzoo_images.resample import Smooth, SmoothUp

M = TypeVar("M", bound=nn.Module)

SLOPE: Final = 0.2
GAIN: Final = math.sqrt(2 / (1 + SLOPE**2))
#: The largest side at which a map has all its channels.
WIDE: Final = 32
#: Channels that a grouped convolution has for each group, where it is not said otherwise.
GROUP: Final = 16


class Blocks(NamedTuple):
    """How many blocks a map has, how much they widen it, and their groups at full width."""

    width: int
    blocks: int
    cardinality: int | None
    expansion: int

    def channels(self, side: int) -> int:
        return max(1, self.width * WIDE // max(side, WIDE))

    def groups(self, channels: int) -> int:
        inner = channels * self.expansion
        if self.cardinality is None:
            return math.gcd(inner, max(1, inner // GROUP))
        groups = max(1, self.cardinality * channels // self.width)
        if inner % groups:
            raise IncompatibleError(
                f"the {inner} channels in a block do not make {groups} groups; choose a cardinality"
            )
        return groups

    def of(self, channels: int, maps: int) -> Iterator[Residual]:
        """Those of one of ``maps`` maps."""
        inner, gain = channels * self.expansion, GAIN * (self.blocks * maps) ** -0.25
        for _ in range(self.blocks):
            body = nn.Sequential(
                normal(nn.Conv2d(channels, inner, 1), gain),
                nn.LeakyReLU(SLOPE),
                normal(nn.Conv2d(inner, inner, 3, padding=1, groups=self.groups(channels)), gain),
                nn.LeakyReLU(SLOPE),
                normal(nn.Conv2d(inner, channels, 1, bias=False), 0),
            )
            yield Residual(body, nn.Identity())


def normal(layer: M, gain: float = 1.0) -> M:
    """A layer with weights of ``N(0, gain² / inputs)`` and biases of 0: He et al. (2015)."""
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    nn.init.normal_(weight, 0, gain / math.sqrt(weight[0].numel()))
    if isinstance(bias, Tensor):
        nn.init.zeros_(bias)
    return layer


def drawn(
    n: int, noise: int, classes: int, rng: torch.Generator, batch: Batch | None, label: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """``z ∼ N(0, I)`` and, for a network with ``classes``, the label asked for, that of the data, or any."""
    z = torch.randn(n, noise, generator=rng, device=rng.device)
    if not classes:
        return z, None
    label = batch.label if label is None and batch is not None else label
    return z, torch.randint(classes, (n,), generator=rng, device=rng.device) if label is None else label


@final
class ToMap(nn.Module):
    """``B · W z``: a learned map ``B (c, side, side)``, each channel as strong as ``z (n, d)`` says."""

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(outputs, side, side))
        self.linear = normal(nn.Linear(inputs, outputs, bias=False))

    def forward(self, z: Tensor) -> Tensor:
        return self.basis * self.linear(z)[:, :, None, None]


@final
class FromMap(nn.Module):
    """``W Σ_pixels B · x``: of each channel of ``x (n, c, side, side)`` the part along a learned map, then a matrix."""

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(inputs, side, side) / side)
        self.linear = normal(nn.Linear(inputs, outputs, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear((x * self.basis).sum((2, 3)))


@final
class R3GANGenerator(Generator):
    """``G(z)``, ``z ∼ N(0, I)``: a learned map, blocks that it grows through, and a 1×1 convolution to the colours.

    With ``classes``, a learned code of the label stands beside ``z``; it has as many numbers. Nothing holds the image
    in (−1, 1).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        noise: int = 64,
        width: int = 128,
        depth: int | None = None,
        blocks: int = 2,
        cardinality: int | None = None,
        expansion: int = 2,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.shape, self.noise, self.classes = tuple(shape), noise, classes
        depth, start = halvings(shape, depth, 4)
        kind = Blocks(width, blocks, cardinality, expansion)
        widths = [kind.channels(start * 2**i) for i in range(depth + 1)]
        self.label = normal(nn.Linear(classes, noise, bias=False)) if classes else None
        layers = [ToMap(noise * (2 if classes else 1), widths[0], start), *kind.of(widths[0], depth + 1)]
        for a, b in pairwise(widths):
            layers += [*_matched(a, b), SmoothUp(), *kind.of(b, depth + 1)]
        self.body = nn.Sequential(*layers, normal(nn.Conv2d(widths[-1], shape[0], 1, bias=False)))

    def source(
        self, n: int, rng: torch.Generator, batch: Batch | None = None, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        return drawn(n, self.noise, self.classes, rng, batch, label)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        if self.label is not None:
            z = torch.cat([z, self.label(code(c, self.classes, z)).to(z.dtype)], 1)
        return self.body(z)


@final
class R3GANDiscriminator(Discriminator):
    """``D(x)``: the generator's mirror image.

    With ``classes`` it is the product ``⟨φ(x), e(c)⟩`` of as many features as the widest map has channels with a
    learned code of the label: Miyato & Koyama (2018), without a part that reads no label.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 128,
        depth: int | None = None,
        blocks: int = 2,
        cardinality: int | None = None,
        expansion: int = 2,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.classes = classes
        depth, end = halvings(shape, depth, 4)
        kind = Blocks(width, blocks, cardinality, expansion)
        widths = [kind.channels(end * 2**i) for i in reversed(range(depth + 1))]
        layers: list[nn.Module] = [normal(nn.Conv2d(shape[0], widths[0], 1, bias=False))]
        for a, b in pairwise(widths):
            layers += [*kind.of(a, depth + 1), Smooth(stride=2), *_matched(a, b)]
        features = width if classes else 1
        self.body = nn.Sequential(*layers, *kind.of(widths[-1], depth + 1), FromMap(widths[-1], features, end))
        self.label = normal(nn.Linear(classes, width, bias=False), width**-0.5) if classes else None

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        score = self.body(x)
        if self.label is not None:
            return Verdict((score * self.label(code(c, self.classes, x))).sum(1))
        return Verdict(score.squeeze(1))


def _matched(inputs: int, outputs: int) -> list[nn.Module]:
    """A 1×1 convolution where channels change."""
    return [normal(nn.Conv2d(inputs, outputs, 1, bias=False))] if inputs != outputs else []

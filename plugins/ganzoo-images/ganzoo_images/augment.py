"""Differentiable augmentation: what a discriminator judges, real and generated, is changed at random before it sees it.

Zhao, Liu, Lin, Zhu & Han, "Differentiable Augmentation for Data-Efficient GAN Training" (2020). In D's turn and in G's
alike, so that neither learns what only the changes brought about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ganzoo.errors import IncompatibleError
from ganzoo.game import DISCRIMINATOR, GENERATOR, Change, Draw, Round
from ganzoo.penalties import Penalty
from ganzoo.terms import Term

#: Farthest move and size of the square that is cut out, as fractions of a side.
SHIFT: Final = 0.125
CUT: Final = 0.5


def brightness(x: Tensor, u: Tensor) -> Tensor:
    """``x + u − ½`` for ``x (n, c, h, w)`` and ``u (n, 1, 1, 1)`` uniform on [0, 1), like all that follow."""
    return x + (u - 0.5)


def saturation(x: Tensor, u: Tensor) -> Tensor:
    """Each pixel's distance from its grey ``2u`` times."""
    grey = x.mean(1, keepdim=True)
    return (x - grey) * (2 * u) + grey


def contrast(x: Tensor, u: Tensor) -> Tensor:
    """Each image's distance from its mean ``u + ½`` times."""
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (u + 0.5) + mean


def translation(x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Moved down and to the right by ``⌊(2s + 1) u⌋ − s`` and ``⌊(2s + 1) v⌋ − s`` pixels, ``s`` an eighth of the side;
    what comes in is 0."""
    return _moved(_moved(x, u, 2), v, 3)


def _moved(x: Tensor, u: Tensor, dim: int) -> Tensor:
    side, most = x.shape[dim], _part(x.shape[dim], SHIFT)
    by = (u * (2 * most + 1)).floor().long() - most
    padded = pad(x, (0, 0, most, most) if dim == 2 else (most, most))
    at = torch.arange(side, device=x.device).view(-1, *[1] * (3 - dim)) + most - by
    return padded.gather(dim, at.expand(x.shape))


def cutout(x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """0 in a square of half the side around a pixel at ``u`` and ``v``; what of it lies outside is lost."""
    return x * (1 - _covered(x, u, 2) * _covered(x, v, 3))


def _covered(x: Tensor, u: Tensor, dim: int) -> Tensor:
    side, size = x.shape[dim], _part(x.shape[dim], CUT)
    first = (u * (side + 1 - size % 2)).floor() - size // 2
    at = torch.arange(side, device=x.device).view(-1, *[1] * (3 - dim))
    return ((at >= first) & (at < first + size)).to(x.dtype)


def _part(side: int, fraction: float) -> int:
    return int(side * fraction + 0.5)


#: What a policy is made of: changes, and the draws that each of them takes.
POLICIES: Final[Mapping[str, Mapping[Callable[..., Tensor], tuple[str, ...]]]] = {
    "color": {brightness: ("brightness",), saturation: ("saturation",), contrast: ("contrast",)},
    "translation": {translation: ("down", "right")},
    "cutout": {cutout: ("row", "column")},
}


def changes(policy: tuple[str, ...]) -> list[tuple[Callable[..., Tensor], tuple[str, ...]]]:
    """All of a policy, one after the other."""
    return [change for name in policy for change in POLICIES[name].items()]


@final
@dataclass(frozen=True)
class Augmentation:
    """The `Change` that a policy is in a round: real and generated samples have draws of their own.

    What a term judges afresh is changed as the real samples are, row by row: R1 is that of `D` after the change, at
    the same images as the loss.
    """

    policy: tuple[str, ...]
    noise: Callable[[str], Tensor]

    def __call__(self, x: Tensor, which: str) -> Tensor:
        _require_image(x.shape[1:])
        side = "fake" if which == "fake" else "real"
        for change, names in changes(self.policy):
            x = change(x, *(self.noise(f"{side}-{name}") for name in names))
        return x


def draws(policy: tuple[str, ...], inner: Mapping[str, Draw]) -> Mapping[str, Draw]:
    """Those of an augmented term beside its own: a number for each image and change."""
    names = [f"{side}-{name}" for side in ("real", "fake") for _, names in changes(policy) for name in names]
    return {**inner, **dict.fromkeys(names, Draw("uniform", "sample"))}


def view(term: Term, policy: tuple[str, ...], round: Round) -> Round:
    """The round in which the discriminator of ``term`` is shown augmented images."""
    change: Change = Augmentation(policy, round.noise)
    return round.through(getattr(term, "discriminator", DISCRIMINATOR), change)


def require_images(term: Term, networks: Mapping[str, nn.Module]) -> None:
    """Raise `IncompatibleError` where the generator is known to make anything else."""
    generator = networks.get(getattr(term, "generator", GENERATOR))
    if (shape := getattr(generator, "shape", None)) is not None:
        _require_image(tuple(shape))


def _require_image(shape: tuple[int, ...]) -> None:
    if len(shape) != 3:
        raise IncompatibleError(f"it moves pixels of images (channels, height, width), and a sample is {tuple(shape)}")


@final
@dataclass(frozen=True)
class Augmented(Term):
    """``term`` where its discriminator judges augmented images in place of images, real and generated.

    Wrap what both players minimise. Its values and observations are those of the term inside.

    Args:
        term: `Criticise`, `Fool`, or any other that asks a discriminator.
        policy: what is done, in this order: ``color`` (brightness, saturation, contrast), ``translation``, ``cutout``.
    """

    term: Term
    policy: tuple[str, ...] = tuple(POLICIES)

    @property
    def label(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.term.label

    @property
    def draws(self) -> Mapping[str, Draw]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return draws(self.policy, self.term.draws)

    def __call__(self, round: Round) -> Tensor:
        return self.term(view(self.term, self.policy, round))

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        self.term.check(networks)
        require_images(self.term, networks)

    def observe(self, round: Round) -> dict[str, Tensor]:
        return self.term.observe(view(self.term, self.policy, round))


@final
@dataclass(frozen=True)
class AugmentedPenalty(Penalty):
    """The same of a penalty: on the gradient of ``x ↦ D(T(x))`` in the image ``x`` before it is changed."""

    penalty: Penalty
    policy: tuple[str, ...] = tuple(POLICIES)

    @property
    def discriminator(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.penalty.discriminator

    @property
    def label(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.penalty.label

    @property
    def draws(self) -> Mapping[str, Draw]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return draws(self.policy, self.penalty.draws)

    def __call__(self, round: Round) -> Tensor:
        return self.penalty(view(self.penalty, self.policy, round))

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        self.penalty.check(networks)
        require_images(self.penalty, networks)

    def observe(self, round: Round) -> dict[str, Tensor]:
        return self.penalty.observe(view(self.penalty, self.policy, round))

"""Games between networks of images: functions of their options that return turns, players and a budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ganzoo import Method, Part, Player, Turn, Weighted
from ganzoo.game import DISCRIMINATOR, GENERATOR, part

#: What is done to the images that a discriminator judges, as in ``augmented``; none: nothing.
Policy = tuple[str, ...] | None


def dcgan(divergence: Part, k: int, optimizer: Part, schedule: Part | None = None, augment: Policy = None) -> Method:
    """The original game, non-saturating: Radford, Metz & Chintala (2016), with their rate and batches of 128."""
    return _game("dcgan", divergence, k, optimizer, schedule, augment, saturating=False, batch_size=128)


def sngan_resnet(
    divergence: Part, k: int, optimizer: Part, schedule: Part | None = None, augment: Policy = None
) -> Method:
    """Hinge, with spectral norm 1 in the discriminator: Miyato et al. (2018), in batches of 64.

    In the published code the generator's batches are twice as large; here they are as large as the discriminator's.
    """
    return _game("sngan-resnet", divergence, k, optimizer, schedule, augment, saturating=True, batch_size=64)


def r3gan_resnet(
    divergence: Part,
    gamma: float,
    decay: float,
    k: int,
    optimizer: Part,
    schedule: Part | None = None,
    augment: Policy = None,
) -> Method:
    """``r3gan`` between its own networks: Huang et al. (2024), with what the authors' code has for CIFAR-10.

    That is batches of 512 for 2·10⁷ images; γ from .05 to a tenth and the rate from 2·10⁻⁴ to a quarter, both along
    half a cosine. The code has two more that stay here: β₂, from .9 to .99, and the half-life of the average, from 0 to
    5·10⁶ images; here they are .99 and 5·10⁵, its half-life for FFHQ. Its augmentation is ADA's.
    """
    weight = part("schedule", "half-cosine", start=gamma / 2, end=decay * gamma / 2)
    penalties = (Weighted(part("penalty", name), weight) for name in ("r1", "r2"))
    batch = 512
    return _game(
        "r3gan",
        divergence,
        k,
        optimizer,
        schedule,
        augment,
        *penalties,
        saturating=False,
        batch_size=batch,
        steps=40_000,
        ema=0.5 ** (batch / 5e5),
    )


def stylegan2(
    gamma: float,
    every: int,
    k: int,
    optimizer: Part,
    schedule: Part | None = None,
    augment: Policy = None,
) -> Method:
    """The original game, non-saturating, with ``γ/2 · R1`` at each ``every``-th step, ``every`` times as strong: Karras
    et al. (2020).

    Batches of 64, the rate, γ and a half-life of 5·10⁵ images in the moving average are those of the authors' code for
    CIFAR-10 (StyleGAN2-ADA, 2020); as a rule it has γ = 2·10⁻⁴ · side² / batch.

    The published code corrects D's rate and β for the steps with R1, by 16/17; here they are as they are given.
    """
    penalty, batch = Weighted(part("penalty", "r1"), gamma / 2, every), 64
    divergence = part("divergence", "gan")
    return _game(
        "stylegan2",
        divergence,
        k,
        optimizer,
        schedule,
        augment,
        penalty,
        saturating=False,
        batch_size=batch,
        ema=0.5 ** (batch / 5e5),
    )


def _game(
    networks: str,
    divergence: Part,
    k: int,
    optimizer: Part,
    schedule: Part | None,
    augment: Policy,
    *penalties: Weighted,
    saturating: bool,
    **budget: Any,
) -> Method:
    """``k`` turns of the discriminator, then one of the generator; all that D is asked is asked of augmented images."""
    criticise = Weighted(part("term", "criticise", divergence=divergence))
    fool = Weighted(part("term", "fool", divergence=divergence, saturating=saturating))
    return Method(
        players={
            GENERATOR: Player(part("generator", networks), optimizer, schedule),
            DISCRIMINATOR: Player(part("discriminator", networks), optimizer, schedule),
        },
        turns=(
            Turn(DISCRIMINATOR, [_augmented(each, augment) for each in (criticise, *penalties)], repeats=k),
            Turn(GENERATOR, _augmented(fool, augment)),
        ),
        **budget,
    )


def _augmented(weighted: Weighted, policy: Policy) -> Weighted:
    if not policy:
        return weighted
    term: Part = weighted.term
    return replace(weighted, term=Part(term.kind, "augmented", {term.kind: term, "policy": policy}))

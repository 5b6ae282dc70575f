"""Games between networks of images: functions of their options that return turns, players and a budget."""

from __future__ import annotations

from ganzoo import Method, Part, Player, Turn
from ganzoo.game import DISCRIMINATOR, GENERATOR, part


def dcgan(divergence: Part, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """The original game, non-saturating: Radford, Metz & Chintala (2016), with their rate and batches of 128."""
    return _game("dcgan", divergence, k, optimizer, schedule, saturating=False, batch_size=128)


def sngan_resnet(divergence: Part, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """Hinge, with spectral norm 1 in the discriminator: Miyato et al. (2018), in batches of 64.

    In the published code the generator's batches are twice as large; here they are as large as the discriminator's.
    """
    return _game("sngan-resnet", divergence, k, optimizer, schedule, saturating=True, batch_size=64)


def _game(
    networks: str,
    divergence: Part,
    k: int,
    optimizer: Part,
    schedule: Part | None,
    *,
    saturating: bool,
    batch_size: int,
) -> Method:
    return Method(
        players={
            GENERATOR: Player(part("generator", networks), optimizer, schedule),
            DISCRIMINATOR: Player(part("discriminator", networks), optimizer, schedule),
        },
        turns=(
            Turn(DISCRIMINATOR, part("term", "criticise", divergence=divergence), repeats=k),
            Turn(GENERATOR, part("term", "fool", divergence=divergence, saturating=saturating)),
        ),
        batch_size=batch_size,
    )

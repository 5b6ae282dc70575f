"""The game of StarGAN, a function of its options that returns turns, players and a budget."""

from __future__ import annotations

from ganzoo import Method, Part, Player, Turn, Weighted
from ganzoo.game import DISCRIMINATOR, GENERATOR, part


def stargan(
    classification: float,
    reconstruction: float,
    identity: float,
    penalty: float,
    k: int,
    optimizer: Part,
    schedule: Part | None = None,
) -> Method:
    """``L_D = W + λ_gp GP + λ_cls L_cls(real)`` at ``k`` steps for one of
    ``L_G = −E D(G(x, c)) + λ_cls L_cls(fake) + λ_rec E |x − G(G(x, c), c_x)|``: Choi et al. (2018), eq. 5 to 8.

    ``c`` are the labels of the batch in another order. With ``identity = λ_id`` G minimises ``λ_id E |x − G(x, c_x)|``
    too, which the paper does not. Rates fall linearly to 0 in the second half. The paper trains
    CelebA for 200,000 steps of D in batches of 16, and exports G itself, no average.
    """
    told = {of: Weighted(part("term", "classify", of=of), classification) for of in ("real", "fake")}
    distance = part("divergence", "wasserstein")
    critic = [
        Weighted(part("term", "criticise", divergence=distance)),
        Weighted(part("penalty", "gradient-penalty"), penalty),
        told["real"],
    ]
    maker = [
        Weighted(part("term", "fool", divergence=distance)),
        told["fake"],
        Weighted(part("term", "cycle"), reconstruction),
        *([Weighted(part("term", "identity"), identity)] if identity else []),
    ]
    return Method(
        players={
            GENERATOR: Player(part("generator", "stargan", classes=None), optimizer, schedule),
            DISCRIMINATOR: Player(part("discriminator", "stargan", classes=None), optimizer, schedule),
        },
        turns=(Turn(DISCRIMINATOR, critic, repeats=k), Turn(GENERATOR, maker)),
        steps=40_000,
        batch_size=16,
        ema=0.0,
        evaluations=10,
    )

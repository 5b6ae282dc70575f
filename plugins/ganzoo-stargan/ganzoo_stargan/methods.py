"""The games, functions of their options that return turns, players and a budget."""

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

    ``c`` are labels as they come in the data. With ``identity = λ_id`` G minimises ``λ_id E |x − G(x, c_x)|`` too,
    which the paper does not. Rates fall linearly to 0 in the second half. The paper trains CelebA for 20 epochs, its
    code for 200,000 steps of D, in batches of 16, and exports G itself, no average.
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
        *_held(reconstruction, identity),
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


def cyclegan(reconstruction: float, identity: float, optimizer: Part, schedule: Part | None = None) -> Method:
    """``L_G = E [(D_c(G_c(x)) − 1)² + λ |x − G_{c_x}(G_c(x))|]``, a network G_c and D_c for each label c, which x does
    not have; least squares in both turns: Zhu et al. (2017), eq. 3 (of two labels, half of it) and section 4.

    With ``identity = λ_id`` G minimises ``λ_id E |x − G_{c_x}(x)|`` too, which the paper does for paintings at
    λ_id = 5. Adam at 2e-4, falling linearly to 0 in the second half. The paper's step has one image of each label;
    here it has two, of labels as they come, and others in D's turn. Its 200 epochs of horses and zebras are 267,000
    steps. Left out is its buffer of 50 earlier samples.
    """
    squares = part("divergence", "least-squares", a=0.0, b=1.0, c=1.0)  # halves of squares, as its code has for D
    maker = [
        Weighted(part("term", "fool", divergence=squares), 2.0),
        *_held(reconstruction, identity),
    ]
    return Method(
        players={
            GENERATOR: Player(part("generator", "cyclegan", classes=None), optimizer, schedule),
            DISCRIMINATOR: Player(part("discriminator", "cyclegan", classes=None), optimizer, schedule),
        },
        turns=(Turn(GENERATOR, maker), Turn(DISCRIMINATOR, part("term", "criticise", divergence=squares))),
        steps=200_000,
        batch_size=2,
        ema=0.0,
        evaluations=10,
    )


def _held(reconstruction: float, identity: float) -> list[Weighted]:
    """What holds a translation to its source."""
    stays = [Weighted(part("term", "identity"), identity)] if identity else []
    return [Weighted(part("term", "cycle"), reconstruction), *stays]

"""The games that minimise these divergences. Each method is a function of its options that returns turns, players and a
budget. Weights are those of the papers, rates are close to theirs, networks are small perceptrons, which theirs are
not."""

from __future__ import annotations

from typing import Any

from ganzoo.game import DISCRIMINATOR, GENERATOR, Turn, Weighted, part
from ganzoo.part import Part
from ganzoo.recipe import Method, Player


def f_gan(divergence: Part, saturating: bool, k: int, optimizer: Part) -> Method:
    """``min_G max_T E_data[T] − E_G[f*(T)]``: Nowozin, Cseke & Tomioka (2016), Algorithm 1; or their second trick, with
    which G maximises ``E_G[T]``."""
    return _game(divergence, k, optimizer, saturating=saturating)


def wgan(clip: float, k: int, optimizer: Part) -> Method:
    """``min_G max_D E_data[D] − E_G[D]`` with every weight of D in ``[−clip, clip]``: Arjovsky et al. (2017),
    Algorithm 1."""
    return _game(part("divergence", "wasserstein"), k, optimizer, project=part("projection", "clip", limit=clip))


def wgan_gp(penalty: Part, weight: float, k: int, optimizer: Part) -> Method:
    """The same with ``weight · E (‖∇D‖ − 1)²`` in D's turn instead: Gulrajani et al. (2017), Algorithm 1."""
    return _game(part("divergence", "wasserstein"), k, optimizer, Weighted(penalty, weight))


def lsgan(a: float, b: float, c: float, k: int, optimizer: Part) -> Method:
    """``min_D ½ E_data(D − b)² + ½ E_G(D − a)²``, ``min_G ½ E_G(D − c)²``: Mao et al. (2017)."""
    return _game(part("divergence", "least-squares", a=a, b=b, c=c), k, optimizer)


def hinge_gan(k: int, optimizer: Part) -> Method:
    """``min_D E_data(1 − D)₊ + E_G(1 + D)₊``, ``min_G −E_G[D]``: Lim & Ye (2017)."""
    return _game(part("divergence", "hinge"), k, optimizer)


def dragan(weight: float, k: int, optimizer: Part) -> Method:
    """The original game, non-saturating, with ``weight`` times the DRAGAN penalty: Kodali et al. (2017).

    Its rate is ten times that of the paper: the critic, held to slope 1, turns slowly, and at 1e-4 a small generator
    ran away from it.
    """
    penalty = Weighted(part("penalty", "dragan"), weight)
    return _game(part("divergence", "gan"), k, optimizer, penalty, saturating=False)


def rpgan(k: int, optimizer: Part) -> Method:
    """D says which sample of a pair is real, and G has it say the other: Jolicoeur-Martineau (2018), eq. 8 and 9."""
    return _game(part("divergence", "rpgan"), k, optimizer, saturating=False)


def ragan(k: int, optimizer: Part) -> Method:
    """As `rpgan`, each sample against the mean of the other side: Jolicoeur-Martineau (2018), Algorithm 2."""
    return _game(part("divergence", "ragan"), k, optimizer, saturating=False)


def r3gan(gamma: float, k: int, optimizer: Part) -> Method:
    """`rpgan` with ``γ/2 · E_data ‖∇D‖² + γ/2 · E_G ‖∇D‖²`` in D's turn: Huang et al. (2024)."""
    penalties = (Weighted(part("penalty", name), gamma / 2) for name in ("r1", "r2"))
    return _game(part("divergence", "rpgan"), k, optimizer, *penalties, saturating=False)


def gmmn(divergence: Part, optimizer: Part) -> Method:
    """``min_G MMD²(P_data, P_G)`` without a discriminator: Li, Swersky & Zemel (2015); or any other divergence of
    samples."""
    return Method(
        players={GENERATOR: Player(part("generator", "mlp"), optimizer)},
        turns=(Turn(GENERATOR, part("term", "match", divergence=divergence)),),
    )


def _game(
    divergence: Part, k: int, optimizer: Part, *penalties: Weighted, saturating: bool = True, project: Any = None
) -> Method:
    """``k`` turns of the discriminator, then one of the generator."""
    criticise = Weighted(part("term", "criticise", divergence=divergence))
    return Method(
        players={
            GENERATOR: Player(part("generator", "mlp"), optimizer),
            DISCRIMINATOR: Player(part("discriminator", "mlp"), optimizer),
        },
        turns=(
            Turn(DISCRIMINATOR, (criticise, *penalties), repeats=k, project=project),
            Turn(GENERATOR, part("term", "fool", divergence=divergence, saturating=saturating)),
        ),
        batch_size=128,
    )

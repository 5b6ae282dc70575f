"""The games that minimise these divergences. Each method is a function of its options that returns turns, players and a
budget. Weights are those of the papers, rates are close to theirs, networks are small perceptrons, which theirs are
not."""

from __future__ import annotations

from typing import Any

from ganzoo.game import DISCRIMINATOR, GENERATOR, Turn, Weighted, part
from ganzoo.part import Part
from ganzoo.recipe import Method, Player


def f_gan(divergence: Part, saturating: bool, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """``min_G max_T E_data[T] − E_G[f*(T)]``: Nowozin, Cseke & Tomioka (2016), Algorithm 1; or their second trick, with
    which G maximises ``E_G[T]``."""
    return _game(divergence, k, optimizer, schedule, saturating=saturating)


def wgan(clip: float, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """``min_G max_D E_data[D] − E_G[D]`` with every weight of D in ``[−clip, clip]``: Arjovsky et al. (2017),
    Algorithm 1."""
    return _game(
        part("divergence", "wasserstein"), k, optimizer, schedule, project=part("projection", "clip", limit=clip)
    )


def wgan_gp(penalty: Part, weight: float, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """The same with ``weight · E (‖∇D‖ − 1)²`` in D's turn instead: Gulrajani et al. (2017), Algorithm 1."""
    return _game(part("divergence", "wasserstein"), k, optimizer, schedule, Weighted(penalty, weight))


def lsgan(a: float, b: float, c: float, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """``min_D ½ E_data(D − b)² + ½ E_G(D − a)²``, ``min_G ½ E_G(D − c)²``: Mao et al. (2017)."""
    return _game(part("divergence", "least-squares", a=a, b=b, c=c), k, optimizer, schedule)


def hinge_gan(k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """``min_D E_data(1 − D)₊ + E_G(1 + D)₊``, ``min_G −E_G[D]``: Lim & Ye (2017)."""
    return _game(part("divergence", "hinge"), k, optimizer, schedule)


def dragan(weight: float, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """The original game, non-saturating, with ``weight`` times the DRAGAN penalty: Kodali et al. (2017).

    Its rate is ten times that of the paper: the critic, held to slope 1, turns slowly, and at 1e-4 a small generator
    ran away from it.
    """
    penalty = Weighted(part("penalty", "dragan"), weight)
    return _game(part("divergence", "gan"), k, optimizer, schedule, penalty, saturating=False)


def rpgan(k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """D says which sample of a pair is real, and G has it say the other: Jolicoeur-Martineau (2018), eq. 8 and 9."""
    return _game(part("divergence", "rpgan"), k, optimizer, schedule, saturating=False)


def ragan(k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """As `rpgan`, each sample against the mean of the other side: Jolicoeur-Martineau (2018), Algorithm 2."""
    return _game(part("divergence", "ragan"), k, optimizer, schedule, saturating=False)


def r3gan(
    divergence: Part, gamma: float, decay: float, k: int, optimizer: Part, schedule: Part | None = None
) -> Method:
    """`rpgan`, or another divergence, with ``γ/2 · E_data ‖∇D‖² + γ/2 · E_G ‖∇D‖²`` in D's turn: Huang et al. (2024),
    who let γ fall too.

    It falls to ``decay · γ``, by the same factor at every step.
    """
    weight: Any = gamma / 2
    if gamma > 0 and decay != 1:
        weight = part("schedule", "exponential", start=gamma / 2, end=decay * gamma / 2)
    penalties = (Weighted(part("penalty", name), weight) for name in ("r1", "r2"))
    return _game(divergence, k, optimizer, schedule, *penalties, saturating=False)


def gmmn(divergence: Part, optimizer: Part, schedule: Part | None = None) -> Method:
    """``min_G MMD²(P_data, P_G)`` without a discriminator: Li, Swersky & Zemel (2015); or any other divergence of
    samples."""
    return Method(
        players={GENERATOR: Player(part("generator", "mlp"), optimizer, schedule)},
        turns=(Turn(GENERATOR, part("term", "match", divergence=divergence)),),
    )


def sngan(divergence: Part, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """Hinge, or another divergence, with a critic whose layers have spectral norm 1: Miyato et al. (2018)."""
    return _game(divergence, k, optimizer, schedule, critic=part("discriminator", "sn-mlp"))


def pacgan(pack: int, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """The original game, non-saturating, on packs of ``pack`` samples, 128 of them in a batch: Lin et al. (2018)."""
    critic = part("discriminator", "packed-mlp", pack=pack)
    gan = part("divergence", "gan")
    return _game(gan, k, optimizer, schedule, saturating=False, critic=critic, batch_size=128 * pack)


def mmd_gan(divergence: Part, weight: float, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """``min_G max_φ MMD²`` of 16 smooth features, with ``weight`` times the gradient penalty on its witness: Bińkowski
    et al. (2018)."""
    penalty = Weighted(part("penalty", "witness-penalty", divergence=divergence), weight)
    critic = part("discriminator", "smooth-mlp", units=16)
    return _game(divergence, k, optimizer, schedule, penalty, critic=critic)


def cr_gan(weight: float, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """The original game, non-saturating, with ``weight`` times the consistency of D's scores under noise, on real and
    on generated samples: Zhang et al. (2020), Zhao et al. (2021)."""
    penalty = Weighted(part("penalty", "consistency"), weight)
    return _game(part("divergence", "gan"), k, optimizer, schedule, penalty, saturating=False)


def noisy_gan(divergence: Part, std: float, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """The original game, non-saturating, between samples with noise of ``std`` that falls to 0 along a line: Sønderby
    et al. (2017), §3."""
    noisy = {"divergence": divergence, "std": std, "schedule": part("schedule", "linear")}
    return _players(
        Turn(DISCRIMINATOR, part("term", "noisy-criticise", **noisy), repeats=k),
        Turn(GENERATOR, part("term", "noisy-fool", saturating=False, **noisy)),
        optimizer=optimizer,
        schedule=schedule,
    )


def unrolled_gan(
    divergence: Part, unroll: int, rate: float, k: int, optimizer: Part, schedule: Part | None = None
) -> Method:
    """The original game, non-saturating; G minimises its loss against D after ``unroll`` further steps: Metz et al.
    (2017)."""
    fool = part("term", "unrolled-fool", divergence=divergence, unroll=unroll, rate=rate, saturating=False)
    return _players(
        Turn(DISCRIMINATOR, part("term", "criticise", divergence=divergence), repeats=k),
        Turn(GENERATOR, fool),
        optimizer=optimizer,
        schedule=schedule,
    )


def _game(
    divergence: Part,
    k: int,
    optimizer: Part,
    schedule: Part | None,
    *penalties: Weighted,
    saturating: bool = True,
    project: Any = None,
    critic: Part | None = None,
    batch_size: int = 128,
) -> Method:
    """``k`` turns of the discriminator, then one of the generator."""
    return _players(
        Turn(
            DISCRIMINATOR,
            (Weighted(part("term", "criticise", divergence=divergence)), *penalties),
            repeats=k,
            project=project,
        ),
        Turn(GENERATOR, part("term", "fool", divergence=divergence, saturating=saturating)),
        optimizer=optimizer,
        schedule=schedule,
        critic=critic,
        batch_size=batch_size,
    )


def _players(
    *turns: Turn, optimizer: Part, schedule: Part | None, critic: Part | None = None, batch_size: int = 128
) -> Method:
    """Both players with one optimiser, and one schedule of their rates."""
    return Method(
        players={
            GENERATOR: Player(part("generator", "mlp"), optimizer, schedule),
            DISCRIMINATOR: Player(critic or part("discriminator", "mlp"), optimizer, schedule),
        },
        turns=turns,
        batch_size=batch_size,
    )

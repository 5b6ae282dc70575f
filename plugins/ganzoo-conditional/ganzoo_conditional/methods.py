"""Games in which networks read labels. Each method is a function of its options that returns turns, players and a
budget; the label of a sample comes as often as in the data.

Networks are perceptrons; what takes their place (``-o generator=dcgan -o discriminator=dcgan``) reads labels in the
same way, if it can.
"""

from __future__ import annotations

from collections.abc import Sequence

from ganzoo import Method, Part, Player, Turn, Weighted
from ganzoo.game import DISCRIMINATOR, GENERATOR, part
from ganzoo.heads import CLASSIFY, PROJECTION, SCORE


def cgan(divergence: Part, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """``min_G max_D E[log D(x|y)] + E[log(1 − D(G(z|y)|y))]``, y beside x and z: Mirza & Osindero (2014), eq. 2.

    G minimises ``−log D(G(z|y)|y)``, as `ns-gan`.
    """
    return _game(SCORE, divergence, k, optimizer, schedule, saturating=False, batch_size=128)


def acgan(divergence: Part, weight: float, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """D tells from x alone whether it is real and what its label is: Odena, Olah & Shlens (2017), eq. 2 and 3.

    D and G both minimise ``weight`` times the cross-entropy of labels, D on real and generated samples. With a large
    weight G makes what is easily classified, and less of what is between classes, than there is in the data.
    """
    told = {of: Weighted(part("term", "classify", of=of), weight) for of in ("real", "fake")}
    return _game(
        CLASSIFY,
        divergence,
        k,
        optimizer,
        schedule,
        tuple(told.values()),
        (told["fake"],),
        saturating=False,
        batch_size=128,
    )


def projection_gan(divergence: Part, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """``D(x, y) = ⟨e(y), φ(x)⟩ + ψ(φ(x))`` by the hinge loss: Miyato & Koyama (2018), eq. 4, in batches of 64.

    Their networks have spectral norm 1: ``-o discriminator=sngan-resnet -o generator=sngan-resnet`` are these.
    """
    return _game(PROJECTION, divergence, k, optimizer, schedule, saturating=True, batch_size=64)


def _game(
    head: str,
    divergence: Part,
    k: int,
    optimizer: Part,
    schedule: Part | None,
    critic: Sequence[Weighted] = (),
    maker: Sequence[Weighted] = (),
    *,
    saturating: bool,
    batch_size: int,
) -> Method:
    """``k`` turns of the discriminator with a ``head``, then one of the generator; both with more terms."""
    criticise = Weighted(part("term", "criticise", divergence=divergence))
    fool = Weighted(part("term", "fool", divergence=divergence, saturating=saturating))
    return Method(
        players={
            GENERATOR: Player(part("generator", "mlp", classes=None), optimizer, schedule),
            DISCRIMINATOR: Player(part("discriminator", "mlp", classes=None, head=head), optimizer, schedule),
        },
        turns=(
            Turn(DISCRIMINATOR, [criticise, *critic], repeats=k),
            Turn(GENERATOR, [fool, *maker]),
        ),
        batch_size=batch_size,
    )

"""Built-in methods. Each is a function of its options that returns turns, players and a budget."""

from __future__ import annotations

from ganzoo.game import DISCRIMINATOR, GENERATOR, Turn, part
from ganzoo.part import Part
from ganzoo.recipe import Method, Player


def js_gan(divergence: Part, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """``min_G max_D V(D, G) = E_data[log D(x)] + E_z[log(1 − D(G(z)))]``: Goodfellow et al. (2014), Algorithm 1.

    ``k`` steps up in D, then one step down in G, on the same value.
    """
    return _alternating(divergence, k, optimizer, schedule, saturating=True)


def ns_gan(divergence: Part, k: int, optimizer: Part, schedule: Part | None = None) -> Method:
    """As `js_gan`, but G minimises ``−E_z[log D(G(z))]``: the same fixed point, a stronger gradient early (same paper,
    §3)."""
    return _alternating(divergence, k, optimizer, schedule, saturating=False)


def mle_gaussian(optimizer: Part) -> Method:
    """``min_θ −E_data[log N(x; μ, Σ)]``: the best that a single Gaussian can do."""
    return _likelihood("gaussian", optimizer)


def mle_gmm(optimizer: Part) -> Method:
    """``min_θ −E_data[log Σ_k π_k N(x; μ_k, Σ_k)]``, by gradient from a k-means start."""
    return _likelihood("gmm", optimizer)


def _alternating(divergence: Part, k: int, optimizer: Part, schedule: Part | None, *, saturating: bool) -> Method:
    return Method(
        players={
            GENERATOR: Player(part("generator", "mlp"), optimizer, schedule),
            DISCRIMINATOR: Player(part("discriminator", "mlp"), optimizer, schedule),
        },
        turns=(
            Turn(DISCRIMINATOR, part("term", "criticise", divergence=divergence), repeats=k),
            Turn(GENERATOR, part("term", "fool", divergence=divergence, saturating=saturating)),
        ),
        batch_size=128,
    )


def _likelihood(network: str, optimizer: Part) -> Method:
    # The learning rate goes to zero, so that what is left at the end is the optimum and not the noise of the last
    # batches.
    return Method(
        players={GENERATOR: Player(part("generator", network), optimizer, part("schedule", "cosine"))},
        turns=(Turn(GENERATOR, part("term", "likelihood")),),
        steps=5_000,
        ema=0.99,
    )

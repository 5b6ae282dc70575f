"""The same network by maximum likelihood, by a divergence, and by both at once."""

from __future__ import annotations

from ganzoo.game import DISCRIMINATOR, GENERATOR, Turn, Weighted, part
from ganzoo.part import Part
from ganzoo.recipe import Method, Player


def mle_flow(flow: Part, optimizer: Part) -> Method:
    """``min_θ −E_data[log p_θ(x)]``: the exact likelihood, by the change of variables."""
    return Method(
        # The rate goes to zero, so that what is left at the end is an optimum and not the noise of the last batches.
        players={GENERATOR: Player(flow, optimizer, part("schedule", "cosine"))},
        turns=(Turn(GENERATOR, part("term", "likelihood")),),
        steps=5_000,
        ema=0.99,
    )


def gan_flow(flow: Part, divergence: Part, saturating: bool, k: int, optimizer: Part) -> Method:
    """``min_θ max_φ V(G_θ, D_φ)``: the network of `mle_flow` as the generator of a GAN, its likelihood unused."""
    return _adversarial(divergence, k, flow, optimizer, _fool(divergence, saturating))


def flow_gan(flow: Part, divergence: Part, saturating: bool, weight: float, k: int, optimizer: Part) -> Method:
    """``min_θ max_φ V(G_θ, D_φ) − λ E_data[log p_θ(x)]`` with λ the ``weight``: Grover, Dhar & Ermon (2018), eq. 6."""
    likelihood = Weighted(part("term", "likelihood"), weight)
    return _adversarial(divergence, k, flow, optimizer, _fool(divergence, saturating), likelihood)


def _fool(divergence: Part, saturating: bool) -> Weighted:
    return Weighted(part("term", "fool", divergence=divergence, saturating=saturating))


def _adversarial(divergence: Part, k: int, flow: Part, optimizer: Part, *losses: Weighted) -> Method:
    return Method(
        players={
            GENERATOR: Player(flow, optimizer),
            DISCRIMINATOR: Player(part("discriminator", "mlp"), optimizer),
        },
        turns=(
            Turn(DISCRIMINATOR, part("term", "criticise", divergence=divergence), repeats=k),
            Turn(GENERATOR, losses),
        ),
        steps=10_000,
        batch_size=128,
    )

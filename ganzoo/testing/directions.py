"""What every divergence that a critic measures must do to scores, whatever its mathematics.

No convention is asked for (which side the critic scores higher, where its scores lie): only that the three functions
play one game. With ``∇`` over scores,

- a critic that gives both sides the same scores has found no difference: `estimate` is at most 0, and is 0 for the best
  constant;
- learning raises what is measured: ``⟨∇ critic_loss, ∇ estimate⟩ < 0``;
- the generator undoes what the critic does to its samples: ``⟨∇_fake critic_loss, ∇_fake generator_loss⟩ < 0``.

The last two are tried where the critic has just begun to tell the sides apart. Later they need not hold: least squares
has the critic pull a score back that lies beyond its target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from ganzoo.divergence import Divergence, Scores
from ganzoo.testing.common import attempt, expect, rng

N: Final = 16
UNITS: Final = ((), (3,))
NOTHING: Final = 1e-6  # an estimate that is none
FLAT: Final = 1e-9  # losses that are equal
APART: Final = 1e-3  # how far the sides have come from the neutral score

Loss = Callable[[Scores], Tensor]


def check_directions(divergence: Divergence, losses: dict[str, Loss], name: str) -> None:
    """``losses`` are those that the divergence has, by the names of their methods."""
    for units in UNITS:
        with attempt(f"{name}: its losses on scores of shape (n, *{units})"):
            neutral = _neutral(divergence, units)
            sides = _begun(divergence, neutral, units)
        _check_nothing(divergence, neutral, units, name)
        for which, message in (
            (
                "estimate",
                "critic_loss falls where estimate falls: one of them has the wrong sign or the sides exchanged",
            ),
            ("generator_loss", "generator_loss does not oppose critic_loss in the scores of generated samples"),
            (
                "non_saturating_loss",
                "non_saturating_loss does not oppose critic_loss in the scores of generated samples",
            ),
        ):
            if which in losses:
                together = _together(losses["critic_loss"], losses[which], sides, both=which == "estimate")
                expect(together < 0, f"{name}: {message} (⟨∇, ∇⟩ = {together:.1e} at scores (n, *{units}))")


def _check_nothing(divergence: Divergence, neutral: float, units: tuple[int, ...], name: str) -> None:
    best = float(divergence.estimate(_constant(neutral, units)))
    expect(
        abs(best) < NOTHING,
        f"{name}: estimate is {best:.4g} where real and generated samples all have the score {neutral:.4g}, the best "
        "constant; the contract is 0, which is what equal distributions are apart",
    )
    for scale in (0.1, 1.0, 3.0):
        same = neutral + scale * torch.randn(N, *units, generator=rng(0), dtype=torch.float64)
        value = float(divergence.estimate(Scores.of(same, same[torch.randperm(N, generator=rng(1))])))
        expect(
            value < NOTHING,
            f"{name}: estimate is {value:.4g} for real and generated samples with the same scores; the contract is at "
            "most 0, what equal distributions are apart",
        )


def _neutral(divergence: Divergence, units: tuple[int, ...]) -> float:
    """The constant score with the least loss of the critic, nearest to 0 where there are many."""

    def best(among: Tensor, centre: float) -> float:
        losses = (
            torch.stack([divergence.critic_loss(_constant(float(v), units)) for v in among])
            .detach()
            .nan_to_num(float("inf"), float("inf"), float("inf"))
        )
        good = among[losses <= losses.min() + FLAT * (1 + losses.min().abs())]
        return float(good[(good - centre).abs().argmin()])

    powers, around = torch.logspace(-3, 3, 121, dtype=torch.float64), torch.arange(-20, 21, dtype=torch.float64) / 20
    found = best(torch.cat([-powers, powers.new_zeros(1), powers]), 0.0)
    for width in (0.2, 2e-2, 2e-3, 2e-4, 2e-5):
        found = best(found + width * max(abs(found), 1e-2) * around, found)
    return found


def _begun(divergence: Divergence, neutral: float, units: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Scores of both sides a little apart, on those sides of the neutral one that measure more."""
    jitter = 0.2 * torch.randn(2, N, *units, generator=rng(2), dtype=torch.float64)
    ways = [(neutral + sign * APART * (1 + jitter[0]), neutral - sign * APART * (1 + jitter[1])) for sign in (1, -1)]
    return max(ways, key=lambda sides: float(divergence.estimate(Scores.of(*sides))))


def _constant(value: float, units: tuple[int, ...]) -> Scores:
    score = torch.full((N, *units), value, dtype=torch.float64)
    return Scores.of(score, score.clone())


def _together(critic: Loss, other: Loss, sides: tuple[Tensor, Tensor], *, both: bool) -> float:
    """``⟨∇ critic, ∇ other⟩`` over the scores of both sides, or of generated samples alone."""
    slopes: list[tuple[Tensor, ...]] = []
    for loss in (critic, other):
        at = tuple(side.clone().requires_grad_() for side in sides)
        slopes.append(torch.autograd.grad(loss(Scores.of(*at)), at, allow_unused=True, materialize_grads=True))
    return sum(float((a * b).sum()) for a, b in list(zip(*slopes, strict=True))[0 if both else 1 :])

"""What the divergences say of known densities, and the most that they can be, against closed forms."""

import math

import pytest

from ganzoo.part import Part
from ganzoo_divergences.critics import Hinge, LeastSquares, RaGAN, RpGAN, Wasserstein
from ganzoo_divergences.fdivergences import (
    Alpha,
    Hellinger,
    Jeffreys,
    Neyman,
    Pearson,
    ReverseKL,
    TotalVariation,
)
from ganzoo_divergences.samples import MMD, EnergyDistance, Sinkhorn

LOG2 = math.log(2)


def truth(divergence, name, **options):
    pair = Part("pair", name, options).build()
    return divergence.truth(pair.p, pair.q)


# Between N(0, 1) and N(by, 1), Φ being the standard normal distribution function
@pytest.mark.parametrize("by", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(
    ("divergence", "wanted"),
    [
        (ReverseKL(), lambda m: m * m / 2),
        (Jeffreys(), lambda m: m * m),
        (Pearson(), lambda m: math.exp(m * m) - 1),
        (Neyman(), lambda m: math.exp(m * m) - 1),
        (Hellinger(), lambda m: 2 - 2 * math.exp(-m * m / 8)),
        (TotalVariation(), lambda m: math.erf(m / math.sqrt(8))),
        (Alpha(0.5), lambda m: 4 - 4 * math.exp(-m * m / 8)),
        (Wasserstein(), lambda m: m),
        (MMD("linear"), lambda m: m * m),
    ],
    ids=lambda each: type(each).__name__,
)
def test_between_shifted_gaussians(divergence, wanted, by):
    assert truth(divergence, "shift", by=by).value == pytest.approx(wanted(by), rel=1e-4)


def test_the_energy_distance_of_shifted_gaussians():
    """``2 E|N(m, 2)| − 2 E|N(0, 2)|``, the mean of a folded normal."""
    m = 1.0
    folded = 2 / math.sqrt(math.pi) * math.exp(-m * m / 4) + m * math.erf(m / 2)
    assert truth(EnergyDistance(), "shift", by=m).value == pytest.approx(2 * folded - 4 / math.sqrt(math.pi), rel=1e-3)


def test_a_narrower_gaussian_is_infinitely_far_by_chi_squared():
    """``∫ p²/q`` is infinite where q's variance is at most half of p's."""
    assert truth(Pearson(), "scale", by=0.7).value == math.inf
    assert truth(Pearson(), "scale", by=0.8).value < 10
    assert truth(Neyman(), "scale", by=1.5).value == math.inf


def test_between_overlapping_uniform_laws():
    assert truth(Wasserstein(), "uniforms", by=0.25).value == pytest.approx(0.25, rel=1e-3)
    for divergence in (TotalVariation(), Hinge(), LeastSquares()):
        assert truth(divergence, "uniforms", by=0.25).value == pytest.approx(0.25, rel=2e-2)


def test_what_no_formula_is_at_hand_for():
    assert truth(Sinkhorn(), "shift") is None
    assert truth(RaGAN(), "shift") is None
    assert truth(Wasserstein(), "correlation") is None
    assert truth(EnergyDistance(), "correlation") is None


@pytest.mark.parametrize(
    ("divergence", "most"),
    [
        (ReverseKL(), math.inf),
        (Jeffreys(), math.inf),
        (Pearson(), math.inf),
        (Neyman(), math.inf),
        (Hellinger(), 2.0),
        (TotalVariation(), 1.0),
        (Alpha(0.5), 4.0),
        (Alpha(-2.0), math.inf),
        (Wasserstein(), math.inf),
        (LeastSquares(), 1.0),
        (Hinge(), 1.0),
        (RpGAN(), LOG2),
        (RaGAN(), LOG2),
    ],
    ids=str,
)
def test_the_most_that_each_can_be(divergence, most):
    assert divergence.supremum == pytest.approx(most)


def test_where_nothing_overlaps_all_that_have_a_most_reach_it():
    for divergence in (Hellinger(), TotalVariation(), Alpha(0.5), LeastSquares(), Hinge(), RpGAN()):
        assert truth(divergence, "apart", by=3.0).value == pytest.approx(divergence.supremum, rel=1e-4)

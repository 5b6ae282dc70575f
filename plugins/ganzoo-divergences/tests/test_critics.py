"""Divergences stated by their losses: what their optimal critics measure, and the published losses."""

import math

import pytest
import torch
from torch.nn.functional import softplus

from ganzoo.divergence import Scores
from ganzoo.errors import IncompatibleError, OptionError
from ganzoo.testing import check_divergence
from ganzoo_divergences.critics import Hinge, LeastSquares, RaGAN, RpGAN, Wasserstein

P = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
Q = torch.tensor([0.4, 0.1, 0.5], dtype=torch.float64)
EVERY = (Wasserstein(), LeastSquares(), LeastSquares(-1, 1, 0), Hinge(), RpGAN(), RaGAN())


def samples(v, n=10):
    """Scores of 10 real and 10 fake samples that are exactly in the proportions of P and of Q."""
    return v.repeat_interleave((P * n).round().long()), v.repeat_interleave((Q * n).round().long())


def estimate(divergence, v):
    return float(divergence.estimate(Scores.of(*samples(v))))


def pairs(v):
    """Every real score with every fake one: an expectation over P ⊗ Q."""
    real, fake = samples(v)
    return Scores.of(real.repeat_interleave(len(fake)), fake.repeat(len(real)))


def others(best):
    noise = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return best + 10 ** torch.linspace(-2, 1, 200, dtype=torch.float64)[:, None] * noise


@pytest.mark.parametrize("divergence", EVERY, ids=str)
def test_it_conforms(divergence):
    check_divergence(divergence)


@pytest.mark.parametrize("divergence", EVERY, ids=str)
def test_scores_that_say_nothing_estimate_no_more_than_zero(divergence):
    v = torch.randn(64, generator=torch.Generator().manual_seed(0))
    assert float(divergence.estimate(Scores.of(v, v.flip(0)))) <= 1e-6


def test_the_hinge_measures_total_variation():
    best = (P - Q).sign()
    assert estimate(Hinge(), best) == pytest.approx(float((P - Q).abs().sum()) / 2)
    assert all(estimate(Hinge(), v) <= estimate(Hinge(), best) + 1e-12 for v in others(best))


@pytest.mark.parametrize("divergence", [LeastSquares(), LeastSquares(-1, 1, 0), LeastSquares(3, 0.5, 2)], ids=str)
def test_least_squares_measures_the_triangular_discrimination(divergence):
    best = (divergence.b * P + divergence.a * Q) / (P + Q)
    wanted = float(((P - Q) ** 2 / (P + Q)).sum()) / 2
    assert estimate(divergence, best) == pytest.approx(wanted)
    assert all(estimate(divergence, v) <= wanted + 1e-12 for v in others(best))


def test_least_squares_is_pearson_where_the_paper_says_so():
    """``2 C(G) = χ²(P + Q ‖ 2Q)`` (with the paper's argument order) for b − c = 1 and b − a = 2."""
    d = LeastSquares(-1, 1, 0)
    best = (d.b * P + d.a * Q) / (P + Q)
    both = ((P + Q) * (best - d.c) ** 2).sum()
    pearson = (((P + Q) - 2 * Q) ** 2 / (P + Q)).sum()
    assert float(both) == pytest.approx(float(pearson))
    real, fake = samples(best)
    generator = float(d.generator_loss(Scores.of(real, fake)))
    assert generator + float((real - d.c).square().mean()) / 2 == pytest.approx(estimate(d, best))


def test_least_squares_needs_two_targets():
    with pytest.raises(OptionError, match="nothing is told apart"):
        LeastSquares(1, 1, 0)


def test_relativistic_pairs_measure_the_jensen_shannon_divergence_of_the_two_products():
    best, (pq, qp) = (P / Q).log(), (P[:, None] * Q, Q[:, None] * P)
    middle = (pq + qp) / 2
    wanted = float((pq * (pq / middle).log() + qp * (qp / middle).log()).sum()) / 2
    for shift in (0.0, 5.0):
        assert float(RpGAN().estimate(pairs(best + shift))) == pytest.approx(wanted)
    assert all(float(RpGAN().estimate(pairs(v))) <= wanted + 1e-12 for v in others(best))
    assert wanted < math.log(2)


def test_the_relativistic_losses_are_the_published_ones():
    real, fake = torch.randn(2, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scores, sigma = Scores.of(real, fake), torch.sigmoid
    assert torch.allclose(RpGAN().critic_loss(scores), -sigma(real - fake).log().mean())
    assert torch.allclose(RpGAN().non_saturating_loss(scores), -sigma(fake - real).log().mean())
    assert torch.allclose(RpGAN().generator_loss(scores), sigma(real - fake).log().mean())
    up, down = sigma(real - fake.mean()), sigma(fake - real.mean())
    assert torch.allclose(RaGAN().critic_loss(scores), -up.log().mean() - (1 - down).log().mean())
    assert torch.allclose(RaGAN().non_saturating_loss(scores), -down.log().mean() - (1 - up).log().mean())
    assert torch.allclose(RaGAN().generator_loss(scores), -RaGAN().critic_loss(scores))


def test_the_relativistic_average_is_zero_for_equal_distributions_and_at_most_log_2():
    for v in others(torch.zeros(3, dtype=torch.float64)):
        same = Scores.of(samples(v)[0], samples(v)[0])
        assert float(RaGAN().estimate(same)) <= 1e-12
        assert estimate(RaGAN(), v) <= math.log(2)
    apart = Scores.of(torch.full((4,), 40.0), torch.full((4,), -40.0))
    assert float(RaGAN().estimate(apart)) == pytest.approx(math.log(2))


def test_a_shift_of_the_critic_changes_nothing_relativistic_nor_in_wasserstein():
    real, fake = torch.randn(2, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for divergence in (RpGAN(), RaGAN(), Wasserstein()):
        a, b = (divergence.critic_loss(Scores.of(real + c, fake + c)) for c in (0.0, 7.0))
        assert torch.allclose(a, b)


@pytest.mark.parametrize("shift", [0.5, -3.0])
def test_wasserstein_by_its_optimal_critic_is_w1(shift):
    """Of P and P moved by m: the critic is ``−sign(m) x``, and W1 is |m|."""
    x = torch.randn(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    critic = -math.copysign(1, shift)
    assert float(Wasserstein().estimate(Scores.of(critic * x, critic * (x + shift)))) == pytest.approx(abs(shift))


@pytest.mark.parametrize("divergence", EVERY, ids=str)
def test_a_critic_that_never_decides_estimates_zero(divergence):
    middle = (divergence.a + divergence.b) / 2 if isinstance(divergence, LeastSquares) else 0.0
    v = torch.full((8,), middle)
    assert float(divergence.estimate(Scores.of(v, v))) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("divergence", EVERY, ids=str)
def test_the_critic_wants_real_scores_up_and_fake_ones_down(divergence):
    low, high = torch.linspace(-0.4, -0.3, 8), torch.linspace(0.3, 0.4, 8)
    right, wrong = (float(divergence.critic_loss(Scores.of(r, f))) for r, f in ((high, low), (low, high)))
    assert right < wrong
    assert divergence.estimate(Scores.of(high, low)) > divergence.estimate(Scores.of(low, high))


@pytest.mark.parametrize("divergence", EVERY, ids=str)
def test_the_generator_wants_the_scores_of_its_samples_up(divergence):
    real, fake = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    fake = fake / 10 - 1  # below every target
    losses = [divergence.generator_loss]
    losses += [divergence.non_saturating_loss] if isinstance(divergence, (RpGAN, RaGAN)) else []
    for loss in losses:
        slope = torch.func.grad(lambda f, loss=loss: loss(Scores.of(real, f)))(fake)
        assert (slope < 0).all() if not isinstance(divergence, LeastSquares) else (slope.sum() < 0)


def test_where_there_is_no_other_loss_it_is_refused():
    for divergence in (Wasserstein(), LeastSquares(), Hinge()):
        with pytest.raises(IncompatibleError, match="no non-saturating form"):
            divergence.non_saturating_loss(Scores.of(torch.zeros(2), torch.zeros(2)))


def test_float32_is_finite_at_scores_of_fifty():
    for divergence in EVERY:
        real, fake = torch.tensor([50.0, -50.0, 50.0]), torch.tensor([-50.0, 50.0, 50.0]).requires_grad_()
        value = divergence.critic_loss(Scores.of(real, fake))
        (slope,) = torch.autograd.grad(value, fake)
        assert value.isfinite()
        assert slope.isfinite().all()
    assert float(softplus(torch.tensor(100.0))) == 100.0

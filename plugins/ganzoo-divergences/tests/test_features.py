"""MMD GAN: the divergence of features and the penalty on its witness."""

import pytest
import torch

from ganzoo.dataset import Batch
from ganzoo.discriminator import Verdict
from ganzoo.divergence import Scores
from ganzoo.errors import IncompatibleError
from ganzoo.game import Round
from ganzoo.zoo.divergences import GAN
from ganzoo_divergences.features import KernelMMD, WitnessPenalty
from ganzoo_divergences.samples import MMD


def features(n=12, units=3, shift=0.5):
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, n, units, generator=rng, dtype=torch.float64)
    return x, y + shift


@pytest.mark.parametrize("kernel", ["gaussian", "rational-quadratic", "energy", "linear"])
@pytest.mark.parametrize("unbiased", [True, False])
def test_it_is_the_mmd_of_the_features(kernel, unbiased):
    x, y = features()
    made, wanted = KernelMMD(kernel, unbiased=unbiased), MMD(kernel, unbiased=unbiased).loss(x, y)
    assert torch.allclose(made.estimate(Scores.of(x, y)), wanted)
    assert torch.allclose(made.generator_loss(Scores.of(x, y)), wanted)
    assert torch.allclose(made.critic_loss(Scores.of(x, y)), -wanted)


def test_one_feature_may_be_a_plain_score():
    x, y = features(units=1)
    column, plain = (KernelMMD().estimate(Scores.of(*sides)) for sides in ((x, y), (x.squeeze(1), y.squeeze(1))))
    assert torch.equal(column, plain)


def test_it_takes_two_samples_and_says_so():
    with pytest.raises(IncompatibleError, match="two samples"):
        KernelMMD().estimate(Scores.of(torch.zeros(1, 2), torch.zeros(1, 2)))


@pytest.mark.parametrize("kernel", ["gaussian", "rational-quadratic", "energy", "linear"])
def test_the_witness_tells_the_sides_apart_by_the_mmd(kernel):
    """``mean_i f(x_i) − mean_j f(y_j) = MMD²``, biased."""
    (x, y), made = features(), KernelMMD(kernel)
    apart = made.witness(x, y, x).mean() - made.witness(x, y, y).mean()
    assert float(apart) == pytest.approx(float(MMD(kernel, unbiased=False).loss(x, y)))


class Linear:
    """``φ(x) = a x``."""

    def __init__(self, a):
        self.a = a

    def __call__(self, x, c=None, *, params=None):
        return Verdict(self.a * x)


def a_round(a, epsilon):
    x, y = features(4, 2)
    networks = {"discriminator": Linear(a), "generator": lambda z, c=None, *, params=None: z}
    return Round(networks, Batch(x), {"generator": (y, None)}, {"epsilon": epsilon})


def test_the_penalty_of_a_linear_kernel_is_known():
    """``k(φ, φ') = ⟨φ, φ'⟩`` and ``φ = a x``: the witness is linear, with slope ``a² ‖mean x − mean y‖``."""
    x, y = features(4, 2)
    for a in (0.5, 2.0):
        with a_round(a, torch.full((4, 1), 0.3, dtype=torch.float64)) as round:
            got = WitnessPenalty(KernelMMD("linear"))(round)
        assert float(got) == pytest.approx((a * a * float((x.mean(0) - y.mean(0)).norm()) - 1) ** 2)


def test_the_penalty_is_by_finite_differences_of_the_witness():
    (x, y), step = features(4, 2), 1e-6
    epsilon = torch.tensor([[0.0], [0.2], [0.7], [1.0]], dtype=torch.float64)
    between, made, slopes = x.lerp(y, epsilon), KernelMMD(), []
    for at in between:
        bump = step * torch.eye(2, dtype=torch.float64)
        f = [made.witness(1.5 * x, 1.5 * y, 1.5 * (at + sign * bump)) for sign in (1, -1)]
        slopes.append(float(((f[0] - f[1]) / (2 * step)).norm()))
    with a_round(1.5, epsilon) as round:
        got = float(WitnessPenalty()(round))
    assert got == pytest.approx(float((torch.tensor(slopes, dtype=torch.float64) - 1).square().mean()), rel=1e-6)


def test_a_divergence_that_compares_no_features_has_no_witness():
    with pytest.raises(IncompatibleError, match="GAN has no witness"):
        WitnessPenalty(GAN())

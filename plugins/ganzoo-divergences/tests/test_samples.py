"""Critic-free divergences against closed forms."""

import math

import pytest
import torch

from ganzoo.errors import IncompatibleError
from ganzoo.testing import check_divergence
from ganzoo_divergences.samples import MMD, EnergyDistance, Sinkhorn

KERNELS = ("gaussian", "rational-quadratic", "energy", "linear")
EVERY = (*(MMD(kernel, unbiased=u) for kernel in KERNELS for u in (True, False)), EnergyDistance(), Sinkhorn())
#: (mean, std) of two Gaussians on the line.
PAIRS = [((0, 1), (0, 1)), ((0, 1), (1, 1)), ((0, 1), (0, 2)), ((-1, 0.5), (1, 1.5)), ((3, 0.2), (2.5, 0.3))]
pairs = pytest.mark.parametrize(("p", "q"), PAIRS, ids=str)


def quantiles(law, n=1_500):
    level = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return (law[0] + law[1] * torch.special.ndtri(level))[:, None]


def clouds(n=40, m=40, d=2, shift=1.0):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=rng, dtype=torch.float64)
    return x, shift + 0.7 * torch.randn(m, d, generator=rng, dtype=torch.float64)


def mean_distance(mean, std):
    """``E|Z|`` of ``N(mean, std²)``."""
    peak = std * math.sqrt(2 / math.pi) * math.exp(-(mean**2) / (2 * std**2))
    return peak + mean * math.erf(mean / (std * math.sqrt(2)))


def energy(p, q):
    (m, s), (n, t) = p, q
    within = mean_distance(0, s * math.sqrt(2)) + mean_distance(0, t * math.sqrt(2))
    return 2 * mean_distance(m - n, math.hypot(s, t)) - within


def gaussian_mmd(p, q, sigma):
    def mean_kernel(a, b):
        variance = sigma**2 + a[1] ** 2 + b[1] ** 2
        return sigma / math.sqrt(variance) * math.exp(-((a[0] - b[0]) ** 2) / (2 * variance))

    return mean_kernel(p, p) + mean_kernel(q, q) - 2 * mean_kernel(p, q)


@pytest.mark.parametrize("divergence", EVERY, ids=str)
def test_it_conforms(divergence):
    check_divergence(divergence)


@pairs
@pytest.mark.parametrize("sigmas", [(0.5,), (2.0,), (0.3, 1.0, 4.0)], ids=str)
def test_the_mmd_of_gaussians_by_gaussian_kernels(p, q, sigmas):
    wanted = sum(gaussian_mmd(p, q, sigma) for sigma in sigmas) / len(sigmas)
    got = MMD(bandwidths=sigmas, unbiased=False).loss(quantiles(p), quantiles(q))
    assert float(got) == pytest.approx(wanted, abs=1e-4)


@pairs
def test_the_energy_distance_of_gaussians(p, q):
    biased = MMD("energy", unbiased=False).loss(quantiles(p), quantiles(q))
    assert float(biased) == pytest.approx(energy(p, q), abs=2e-3)


@pytest.mark.parametrize("divergence", [EnergyDistance(), *(MMD(kernel) for kernel in KERNELS)], ids=str)
def test_the_unbiased_estimate_is_so(divergence):
    """Over all pairs of distinct samples of a finite population, without replacement, it is exact."""
    x, y = clouds(6, 5)
    population = divergence.loss(x, y)
    subsets = [
        divergence.loss(x[list(a)], y[list(b)])
        for a in ((i, j, k) for i in range(6) for j in range(i) for k in range(j))
        for b in ((i, j) for i in range(5) for j in range(i))
    ]
    assert float(torch.stack(subsets).mean()) == pytest.approx(float(population))


def test_the_kernels_are_the_published_ones():
    x, y = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
    wanted = {
        "gaussian": (math.exp(-25 / 8) + math.exp(-25 / 18)) / 2,
        "rational-quadratic": ((1 + 25 / 1) ** -0.5 + (1 + 25 / 4) ** -2) / 2,
        "energy": -5,
        "linear": 0,
    }
    for kernel, value in wanted.items():
        assert float(MMD(kernel, bandwidths=(2, 3), alphas=(0.5, 2)).gram(x, y)) == pytest.approx(value)


def test_the_linear_kernel_knows_means_alone():
    x, y = clouds()
    assert torch.allclose(MMD("linear", unbiased=False).loss(x, y), (x.mean(0) - y.mean(0)).square().sum())


@pytest.mark.parametrize("kernel", ["gaussian", "rational-quadratic", "energy"])
def test_the_biased_estimate_is_never_negative_and_zero_for_equal_sets(kernel):
    x, y = clouds(shift=0.0)
    assert float(MMD(kernel, unbiased=False).loss(x, y)) > 0
    assert float(MMD(kernel, unbiased=False).loss(x, x.flip(0))) == pytest.approx(0, abs=1e-12)
    far = MMD(kernel, unbiased=False).loss(x, y + 1e6)
    assert kernel == "energy" or float(far) < 2


def test_one_sample_is_too_few():
    with pytest.raises(IncompatibleError, match="two samples"):
        MMD().loss(torch.zeros(1, 2), torch.zeros(4, 2))


@pytest.mark.parametrize("divergence", EVERY, ids=str)
def test_gradients_are_those_of_finite_differences(divergence):
    x, y = clouds(7, 6)
    rough = isinstance(divergence, Sinkhorn)
    divergence = Sinkhorn(blur=0.5, iterations=200) if rough else divergence
    got = torch.func.grad(lambda at: divergence.loss(x, at))(y)
    step = 1e-5
    for i, j in ((0, 0), (3, 1), (5, 0)):
        bump = torch.zeros_like(y)
        bump[i, j] = step
        slope = (divergence.loss(x, y + bump) - divergence.loss(x, y - bump)) / (2 * step)
        assert float(got[i, j]) == pytest.approx(float(slope), rel=1e-4, abs=1e-7)


def test_equal_points_have_a_finite_gradient():
    x, _ = clouds(8)
    for divergence in EVERY:
        assert torch.func.grad(lambda at, d=divergence: d.loss(x, at))(x.clone()).isfinite().all()


@pytest.mark.parametrize("shift", [0.0, 1.0, 5.0])
def test_sinkhorn_goes_to_w2_on_the_line(shift):
    x, y = clouds(50, 50, 1, shift)
    wanted = (x.sort(0).values - y.sort(0).values).square().mean()
    got = Sinkhorn(blur=0.01, iterations=400).loss(x, y)
    assert float(got) == pytest.approx(float(wanted), rel=2e-2, abs=2e-4)


def test_sinkhorn_goes_to_the_distance_of_means():
    x, y = clouds()
    wanted = (x.mean(0) - y.mean(0)).square().sum()
    assert float(Sinkhorn(blur=1e3).loss(x, y)) == pytest.approx(float(wanted), rel=1e-3)


def test_sinkhorn_of_a_translation_is_its_square():
    """For every blur: ``S(x, x + t) = |t|²``, since the potentials of a translated set differ by a linear function."""
    x, _ = clouds()
    t = torch.tensor([0.6, -0.8], dtype=torch.float64)
    for blur in (0.1, 0.5, 2.0):
        assert float(Sinkhorn(blur, 400).loss(x, x + t)) == pytest.approx(1.0, rel=1e-2)


def test_sinkhorn_is_zero_for_equal_sets_symmetric_and_positive():
    x, y = clouds(30, 20)
    sinkhorn = Sinkhorn(0.2, 200)
    assert float(sinkhorn.loss(x, x)) == pytest.approx(0, abs=1e-9)
    assert float(sinkhorn.loss(x, y)) == pytest.approx(float(sinkhorn.loss(y, x)), rel=1e-6)
    assert float(sinkhorn.loss(x, y)) > 0


def test_samples_may_be_images():
    x, y = clouds(10, 12, 16)
    for divergence in EVERY:
        assert torch.allclose(
            divergence.loss(x, y), divergence.loss(x.unflatten(1, (1, 4, 4)), y.unflatten(1, (1, 4, 4)))
        )


@pytest.mark.parametrize("divergence", [d for d in EVERY if d != MMD("linear")], ids=str)
def test_descending_on_it_brings_samples_to_the_data(divergence):
    """Particles that follow the gradient end closer, by the energy distance, than they began."""
    x, y = clouds(64, 64)
    start, rate = float(EnergyDistance().loss(x, y)), 5.0
    for _ in range(40):
        y = y - rate * torch.func.grad(lambda at: divergence.loss(x, at))(y)
    assert float(EnergyDistance().loss(x, y)) < start / 2

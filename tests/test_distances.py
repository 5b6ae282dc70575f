"""Distances against closed forms and against their textbook forms, written out here with numpy, scipy and sklearn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import linalg, stats
from scipy.spatial.distance import cdist
from sklearn.metrics import pairwise_distances

from ganzoo import distances
from ganzoo.distances import (
    PRDC,
    frechet,
    frechet_from_moments,
    mean_distance,
    prdc,
    sliced_wasserstein,
    wasserstein_1d,
)
from ganzoo.errors import OptionError


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=dtype)


def rotation(d: int) -> torch.Tensor:
    return torch.linalg.qr(normal(d, d, seed=99)).Q


def moments(x):
    return torch.as_tensor(x.mean(0)), torch.cov(x.T, correction=1).reshape(x.shape[1], -1)


def textbook_fid(x, y):
    """As FID is computed everywhere: the trace of the square root of ``Σ Λ``, a matrix that is not symmetric."""
    mu, nu = x.mean(0), y.mean(0)
    sigma, lam = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(sigma @ lam)
    return float(((mu - nu) ** 2).sum() + np.trace(sigma) + np.trace(lam) - 2 * np.trace(root).real)


def traces(x, y):
    return float(x.double().var(0).sum() + y.double().var(0).sum())


# --- Fréchet ---


def test_frechet_of_commuting_covariances_is_the_closed_form():
    """``‖μ − ν‖² + Σ (√σ − √λ)²`` where both have the same eigenvectors; within 1e-9 of the traces."""
    v, sigma, lam = rotation(6), torch.logspace(-3, 2, 6).double(), torch.linspace(1, 2, 6).double()
    mu, nu = normal(6), normal(6, seed=1)
    given = mu, v * sigma @ v.T, nu, v * lam @ v.T
    expected = float((mu - nu).square().sum() + (sigma.sqrt() - lam.sqrt()).square().sum())
    assert frechet_from_moments(*given) == pytest.approx(expected, abs=1e-9 * float(sigma.sum() + lam.sum()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "m", "d"), [(500, 400, 30), (41, 300, 40), (300, 300, 1)])
def test_frechet_is_the_textbooks(n, m, d, dtype):
    """With well-conditioned covariances, within 1e-9 of the traces."""
    x, y = normal(n, d, dtype=dtype) * 3 + 1, normal(m, d, seed=1, dtype=dtype) @ rotation(d).to(dtype) * 2
    if d == 1:
        expected = float((x.mean() - y.mean()).double() ** 2 + (x.double().std() - y.double().std()) ** 2)
    else:
        expected = textbook_fid(x.double().numpy(), y.double().numpy())
    tolerance = 1e-7 if d == 1 and dtype is torch.float32 else 1e-9  # the closed form above takes means in float32
    assert frechet(x, y) == pytest.approx(expected, abs=tolerance * traces(x, y))


@pytest.mark.parametrize(("n", "m"), [(20, 30), (20, 50), (50, 20), (20, 400), (2, 2)])
def test_low_rank_is_the_form_on_moments(n, m):
    """With fewer samples than dimensions: two computations that share nothing, within 1e-6 of the traces."""
    x, y = normal(n, 40), normal(m, 40, seed=1) * 1.5 + 0.2
    expected = frechet_from_moments(*moments(x), *moments(y))
    assert frechet(x, y) == pytest.approx(expected, abs=1e-6 * traces(x, y))


def test_low_rank_of_flat_sets_is_the_closed_form():
    """Sets on orthogonal axes have ``tr (Σ^½ Λ Σ^½)^½ = 0``, on the same axis ``σ λ``; within 1e-12 of the traces."""
    t, u, d = normal(5), normal(7, seed=1), 50
    x, y, z = torch.zeros(5, d).double(), torch.zeros(7, d).double(), torch.zeros(7, d).double()
    x[:, 3], y[:, 3], z[:, 20] = t, u, u
    shift = float((t.mean() - u.mean()) ** 2)
    assert frechet(x, y) == pytest.approx(shift + float((t.std() - u.std()) ** 2), abs=1e-12 * traces(x, y))
    apart = float(t.mean() ** 2 + u.mean() ** 2 + t.var() + u.var())
    assert frechet(x, z) == pytest.approx(apart, abs=1e-12 * traces(x, z))


@pytest.mark.parametrize(("n", "tolerance"), [(100, 1e-12), (600, 1e-9)])
def test_frechet_of_a_set_with_itself_is_zero(n, tolerance):
    x = normal(n, 200)
    assert 0 <= frechet(x, x.clone()) <= tolerance * traces(x, x)


@pytest.mark.parametrize("which", ["neither", "first", "second", "both"])
def test_singular_covariances_are_within_a_millionth_of_the_traces(which):
    """Samples in a subspace, by moments, against singular values of the samples themselves, which need no root of a
    covariance."""
    d, flat = 60, rotation(60)[:, :25]
    x, y = normal(300, d), normal(300, d, seed=1) * 0.7 + 0.1
    x = x @ flat @ flat.T if which in ("first", "both") else x
    y = y @ flat @ flat.T if which in ("second", "both") else y
    centred = [(s - s.mean(0)) / math.sqrt(len(s) - 1) for s in (x, y)]
    overlap = torch.linalg.svdvals(centred[0] @ centred[1].T).sum()
    expected = float((x.mean(0) - y.mean(0)).square().sum() + traces(x, y) - 2 * overlap)
    for value in (frechet(x, y), frechet(y, x), frechet_from_moments(*moments(x), *moments(y))):
        assert value == pytest.approx(expected, abs=1e-6 * traces(x, y))


def test_ill_conditioned_covariances_are_within_a_millionth_of_the_traces():
    """Variances over sixteen orders, as features have where they hardly vary; the closed form knows the answer."""
    v, sigma = rotation(200), torch.logspace(-16, 0, 200).double()
    cov = v * sigma @ v.T
    value = frechet_from_moments(torch.zeros(200), (cov + cov.T) / 2, torch.zeros(200), (cov + cov.T) * 2)
    assert value == pytest.approx(float(sigma.sum()), abs=1e-6 * 5 * float(sigma.sum()))


def test_constant_samples_have_the_distance_of_their_places():
    assert frechet(torch.ones(4, 3), torch.zeros(9, 3)) == 3
    assert frechet(torch.ones(2, 3), torch.zeros(2, 3)) == 3


def test_frechet_does_not_see_order_rotation_or_place_and_scales_as_a_square():
    x, y = normal(90, 20), normal(80, 20, seed=1) * 1.3
    for a, b in ((x, y), (x[:15], y[:18])):
        value = frechet(a, b)
        turn, shift = rotation(20), normal(20, seed=5)
        assert frechet(b, a) == pytest.approx(value, rel=1e-9)
        assert frechet(a @ turn + shift, b @ turn + shift) == pytest.approx(value, rel=1e-9)
        assert frechet(a[torch.randperm(len(a), generator=rng(0))], b) == pytest.approx(value, rel=1e-9)
        assert frechet(3 * a, 3 * b) == pytest.approx(9 * value, rel=1e-9)


def test_what_has_no_frechet_distance_is_refused():
    x = normal(5, 3)
    for bad in (normal(5, 2), normal(5), normal(5, 3, 1)):
        with pytest.raises(OptionError, match=r"\(n, d\) and \(m, d\), not \(5, 3\)"):
            frechet(x, bad)
    with pytest.raises(OptionError, match="second set has 1 samples; this takes 2"):
        frechet(x, x[:1])
    mean, cov = moments(x)
    with pytest.raises(OptionError, match="moments must be"):
        frechet_from_moments(mean, cov, mean, cov[:2])
    with pytest.raises(OptionError, match="symmetric"):
        frechet_from_moments(mean, cov, mean, cov.triu())
    for bad in (torch.diag(torch.tensor([1.0, 1.0, -0.1])), -torch.eye(3)):
        with pytest.raises(OptionError, match="negative"):
            frechet_from_moments(mean, bad, mean, cov)
        with pytest.raises(OptionError, match="negative"):
            frechet_from_moments(mean, bad, mean, bad)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_samples_that_are_not_finite_are_at_distance_nan(bad):
    x, y = normal(30, 2), normal(30, 2, seed=1)
    y[3, 1] = bad
    assert math.isnan(frechet(x, y))
    assert math.isnan(frechet_from_moments(*moments(x), *moments(y)))
    assert all(map(math.isnan, prdc(x, y)))
    assert math.isnan(sliced_wasserstein(x, y, torch.eye(2)))


# --- Precision, recall, density, coverage ---


def textbook_prdc(real, fake, k, distance=cdist):
    """The definitions over whole matrices. The k-th nearest other sample is the (k+1)-th smallest of a row."""
    r = np.sort(distance(real, real), axis=1)[:, k]
    s = np.sort(distance(fake, fake), axis=1)[:, k]
    between = distance(real, fake)
    inside = between < r[:, None]
    return PRDC(inside.any(0).mean(), (between < s).any(1).mean(), inside.sum() / (k * len(fake)), inside.any(1).mean())


def test_prdc_by_hand():
    """On a line, k = 1: the real radii are 1, 1, 2, the fake ones 0.5, 0.5, 6.5."""
    real, fake = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.5], [1.0], [7.5]])
    # 0.5 lies in the balls of 0 and 1; 1 in that of 1, at the rims of those of 0 and 3, and so outside them.
    # The fake balls are (0, 1), (0.5, 1.5), (1, 14): 0 lies in none, 1 in the second, 3 in the third.
    assert prdc(real, fake, k=1) == pytest.approx((2 / 3, 2 / 3, 3 / 3, 2 / 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("n", "m", "d", "k"), [(400, 300, 8, 5), (6, 7, 3, 5), (1_500, 1_300, 64, 3), (200, 300, 700, 10), (300, 250, 1, 1)]
)
def test_prdc_is_the_textbooks(n, m, d, k, dtype):
    """Every one of the n · m comparisons: equality, with the textbook in float64."""
    real, fake = normal(n, d, dtype=dtype), normal(m, d, seed=1, dtype=dtype) * 0.9 + 0.1
    assert prdc(real, fake, k) == pytest.approx(
        textbook_prdc(real.double().numpy(), fake.double().numpy(), k), abs=1e-12
    )


@pytest.mark.parametrize("d", [16, 64])
def test_prdc_is_the_packages_to_rounding(d):
    """The package has distances in float32 from sklearn: few comparisons differ, here at most one sample's."""
    real, fake = normal(1_000, d, dtype=torch.float32), normal(800, d, seed=1, dtype=torch.float32) * 0.95 + 0.05
    expected = textbook_prdc(real.numpy(), fake.numpy(), 5, pairwise_distances)
    assert np.abs(np.array(prdc(real, fake)) - expected).max() <= 1 / 800 + 1e-12


@pytest.mark.parametrize("offset", [0, 1e3, 1e6])
@pytest.mark.parametrize("spread", [1e-6, 1e-3, 1])
def test_prdc_of_tight_far_clusters_is_the_textbooks(offset, spread):
    """Where float32, and even float64, products lose the distances: the bounds say so, and differences decide."""
    centres = normal(10, 12) * 100 + offset
    real, fake = (centres[torch.arange(n) % 10] + spread * normal(n, 12, seed=n) for n in (200, 190))
    assert prdc(real, fake, 4) == pytest.approx(textbook_prdc(real.numpy(), fake.numpy(), 4), abs=1e-12)


def test_prdc_of_integers_has_exact_ties():
    """On a grid most distances tie with radii, which a rounding error of any size would decide at random."""
    real, fake = (torch.randint(0, 6, (n, 3), generator=rng(n)).double() for n in (500, 400))
    for scale in (1.0, 2.0**-40, 2.0**70):
        found = prdc(real * scale + 0, fake * scale, 5)
        assert found == pytest.approx(textbook_prdc(real.numpy(), fake.numpy(), 5), abs=1e-12)


def test_prdc_of_a_set_with_itself_is_one_and_that_of_far_sets_zero():
    """Density: every ball holds its centre and k − 1 others; the k-th lies on the rim, to the last bit."""
    for d in (2, 64, 300):
        x = normal(600, d, dtype=torch.float32)
        assert prdc(x, x.clone(), 5) == (1, 1, 1, 1)
        assert prdc(x, x + 100, 5) == (0, 0, 0, 0)


def test_prdc_of_a_collapsed_generator():
    """All fakes at one real sample: their balls are empty, recall is 0 and coverage counts the balls they are in."""
    real = normal(300, 5)
    fake = real[:1].expand(200, 5)
    inside = (cdist(real, real[:1])[:, 0] < np.sort(cdist(real, real), axis=1)[:, 3]).sum()
    assert prdc(real, fake, 3) == pytest.approx((1, 0, inside / 3, inside / 300))


def test_prdc_does_not_see_blocks_order_rotation_place_or_scale():
    real, fake = normal(700, 6), normal(500, 6, seed=1) * 0.9
    value = prdc(real, fake)
    for block in (1, 7, 699, 10_000):
        assert prdc(real, fake, block=block) == value
    turn, shift = rotation(6), normal(6, seed=5)
    assert prdc(real @ turn + shift, fake @ turn + shift) == value
    assert prdc(real.flip(0), fake[torch.randperm(500, generator=rng(0))]) == value
    assert prdc(real * 1e-25, fake * 1e-25) == value
    assert prdc(real * 1e25, fake * 1e25) == value
    assert prdc(fake, real)[:2] == (value.recall, value.precision)


def test_prdc_in_small_pieces_is_the_same(monkeypatch):
    """Many columns are searched in groups, and differences taken in pieces."""
    real, fake = normal(2_500, 4, dtype=torch.float32), normal(2_400, 4, seed=1, dtype=torch.float32)
    expected = textbook_prdc(real.double().numpy(), fake.double().numpy(), 5)
    assert prdc(real, fake) == pytest.approx(expected, abs=1e-12)
    monkeypatch.setattr(distances, "CELLS", 1_000)
    assert prdc(real, fake) == pytest.approx(expected, abs=1e-12)
    monkeypatch.setattr(distances, "_fast", lambda x: torch.float64)
    assert prdc(real, fake) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [3, 255, 1_024, 1_025, 2_047])
@pytest.mark.parametrize("k", [1, 13, 80])
def test_the_smallest_of_a_row_are_found(n, k):
    values = normal(5, n)
    found, columns = distances._smallest(values, k)
    assert torch.equal(found.sort(1).values, values.sort(1).values[:, :k])
    assert torch.equal(values.gather(1, columns), found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", [1, 64, 3_072])
@pytest.mark.parametrize("span", [(-24, -18), (-6, 3)])
def test_bounds_hold(d, dtype, span):
    """Products within their stated width of differences, for norms down to where float32 has none."""
    x = normal(200, d) * torch.logspace(span[0], span[1], 200).double()[:, None]
    y = normal(200, d, seed=1) * torch.logspace(-24, 3, 200).double()[:, None]
    y[::4] = x[::4] * (1 + 1e-9)
    bounds = distances._Bounds.between(x, y, dtype)
    i, j = (index.flatten() for index in torch.meshgrid(torch.arange(200), torch.arange(200), indexing="ij"))
    low = bounds.low(torch.arange(200)).flatten().double() * bounds.unit
    exact = distances._squared(x, y, i, j)
    assert (low <= exact).all()
    assert (exact <= low + bounds.width(i, j)).all()


@pytest.mark.parametrize("d", [1, 63, 3_072, 40_000])
def test_a_squared_distance_is_the_same_wherever_it_stands(d):
    """Ties need it: one pair alone, or among many, from either side."""
    x = normal(40, d)
    i = torch.arange(40)
    many = distances._squared(x, x, i, i.flip(0))
    assert torch.equal(many, many.flip(0))
    for pair in range(0, 40, 7):
        assert distances._squared(x, x, i[pair, None], i.flip(0)[pair, None])[0] == many[pair]


def test_what_has_no_prdc_is_refused():
    x = normal(6, 3)
    with pytest.raises(OptionError, match="first set has 5 samples; this takes 6"):
        prdc(x[:5], x, k=5)
    with pytest.raises(OptionError, match="second set has 5 samples; this takes 6"):
        prdc(x, x[:5], k=5)
    with pytest.raises(OptionError, match="k=0"):
        prdc(x, x, k=0)
    with pytest.raises(OptionError, match="block=0"):
        prdc(x, x, block=0)
    with pytest.raises(OptionError, match=r"not \(6, 3\) and \(6, 2\)"):
        prdc(x, x[:, :2])


# --- Wasserstein ---


def directions(d: int, k: int) -> torch.Tensor:
    theta = normal(d, k, seed=7)
    return theta / theta.norm(dim=0)


def textbook_sliced(x, y, theta):
    x, y, theta = (t.double().numpy() for t in (x, y, theta))
    return np.mean([stats.wasserstein_distance(x @ each, y @ each) for each in theta.T])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "m", "d"), [(500, 500, 300), (300, 500, 300), (1, 1, 5), (400, 400, 2), (64, 64, 3_072)])
def test_sliced_is_scipys_per_direction(n, m, d, dtype):
    """Within 1e-6, relatively, for sets that differ and for sets that differ by chance only."""
    theta = directions(d, 40)
    for scale, shift in ((1, 0), (1.2, 0.05), (1, 1e3), (1e-3, -1e3)):
        x, y = normal(n, d, dtype=dtype) + shift, normal(m, d, seed=1, dtype=dtype) * scale + shift
        assert sliced_wasserstein(x, y, theta) == pytest.approx(textbook_sliced(x, y, theta), rel=1e-6)


@pytest.mark.parametrize("noise", [0, 1e-10, 1e-7, 1e-4])
def test_sets_closer_than_float32_sees_are_measured_in_float64(noise):
    """Where rounding would be most of the value."""
    x, theta = normal(300, 200) + 3, directions(200, 20)
    y = x + noise * normal(300, 200, seed=1)
    expected = textbook_sliced(x, y, theta)
    assert sliced_wasserstein(x, y, theta) == pytest.approx(expected, rel=1e-6, abs=1e-14)


def test_float32_is_used_where_it_is_safe(monkeypatch):
    """Images of 32 px that differ: no product in float64."""
    used, sliced = [], distances._sliced
    monkeypatch.setattr(distances, "_sliced", lambda *given: used.append(given[-1]) or sliced(*given))
    x, y = (torch.rand(200, 3_072, generator=rng(seed)) * 2 - 1 for seed in (0, 1))
    sliced_wasserstein(x, y * 0.9, directions(3_072, 64))
    assert used == [torch.float32]


def test_the_mean_over_directions_does_not_see_pieces_order_or_place(monkeypatch):
    x, y, theta = normal(150, 30), normal(170, 30, seed=1) * 1.1, directions(30, 100)
    value = sliced_wasserstein(x, y, theta)
    turn = rotation(30)
    assert sliced_wasserstein(y, x, theta) == pytest.approx(value, rel=1e-6)
    assert sliced_wasserstein(x.flip(0) + 1, y + 1, theta.flip(1)) == pytest.approx(value, rel=1e-6)
    assert sliced_wasserstein(x @ turn, y @ turn, turn.T @ theta) == pytest.approx(value, rel=1e-6)
    monkeypatch.setattr(distances, "CELLS", 1)
    assert sliced_wasserstein(x, y, theta) == pytest.approx(value, rel=1e-6)


def test_w1_of_equal_sizes_is_that_of_repeated_samples():
    """The shortcut for n = m against the general form on the same distributions: samples two and three times."""
    x, y = normal(50, 4), normal(50, 4, seed=1)
    torch.testing.assert_close(wasserstein_1d(x, y), wasserstein_1d(x.repeat(2, 1), y.repeat(3, 1)), rtol=1e-12, atol=0)


def test_what_has_no_sliced_distance_is_refused():
    x = normal(6, 3)
    for bad in (torch.eye(2), torch.ones(3), torch.ones(3, 0)):
        with pytest.raises(OptionError, match=r"directions must be \(3, k\)"):
            sliced_wasserstein(x, x, bad)
    with pytest.raises(OptionError, match="second set has 0 samples"):
        sliced_wasserstein(x, x[:0], torch.eye(3))


# Mean distances


def test_samples_that_are_all_alike_are_taken_in_pieces(monkeypatch):
    """Differences of all pairs at once would be as many numbers as pairs times dimensions."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(1, 100, generator=rng, dtype=torch.float64).repeat(200, 1)
    x += 1e-6 * torch.randn(200, 100, generator=rng, dtype=torch.float64)
    monkeypatch.setattr(distances, "CELLS", 5_000)
    assert mean_distance(x, x) == pytest.approx(float((x[:, None] - x).norm(dim=2).mean()), rel=1e-9)


@pytest.mark.parametrize("d", [1, 2, 8, 9, 64])
def test_the_mean_distance_is_that_of_all_pairs(d):
    rng = torch.Generator().manual_seed(d)
    x = torch.randn(300, d, generator=rng, dtype=torch.float64)
    y = 1e-3 * torch.randn(1_700, d, generator=rng, dtype=torch.float64)  # several blocks, and small distances
    for a, b in ((x, y), (y, x), (y, y)):
        wanted = float((a[:, None] - b).norm(dim=2).mean())
        assert mean_distance(a, b) == pytest.approx(wanted, rel=1e-12)

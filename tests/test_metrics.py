"""Metrics against closed forms, quadrature and scipy; what a perfect and a collapsed sampler get."""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Normal, kl_divergence

from ganzoo import evaluate
from ganzoo.dataset import Batch, Dataset, Modes
from ganzoo.distances import mean_distance, wasserstein_1d
from ganzoo.errors import OptionError, UnknownNameError
from ganzoo.metric import Evidence, Metric, Score
from ganzoo.registry import Entry
from ganzoo.zoo.datasets import Digits, Grid, Mixture1D, MixtureDataset, Ring, TwoMoons
from ganzoo.zoo.metrics import (
    JSD,
    KL,
    NLL,
    ClassKL,
    EnergyDistance,
    HighQuality,
    ModeKL,
    ModesCovered,
    SlicedWasserstein,
)

N = 10_000
LOG2 = math.log(2)


class OneGaussian(MixtureDataset):
    """``N(μ, σ² I)`` in any dimension."""

    def __init__(self, mean: float = 0.0, std: float = 1.0, d: int = 1) -> None:
        self._law = mean, std, d
        super().__init__()

    def _modes(self) -> Modes:
        mean, std, d = self._law
        return Modes(torch.full((1, d), mean), torch.full((1,), std), torch.ones(1))


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def evidence(dataset: Dataset, fake: torch.Tensor, *, log_prob=None, n: int = N) -> Evidence:
    return Evidence(dataset, Batch(fake), dataset.part("held-out").take(slice(n)), log_prob)


def perfect(dataset: Dataset, n: int = N) -> Evidence:
    return evidence(dataset, dataset.part("validation").x[:n], n=n)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (7, 3), (100, 250), (1_000, 999)])
def test_w1_is_scipys_for_unequal_sizes(n, m):
    x, y = (
        torch.randn(n, 4, generator=rng(0), dtype=torch.float64),
        torch.randn(m, 4, generator=rng(1), dtype=torch.float64),
    )
    expected = [stats.wasserstein_distance(a, b) for a, b in zip(x.T.numpy(), y.T.numpy(), strict=True)]
    np.testing.assert_allclose(
        wasserstein_1d(x, 2 * y + 1).numpy(),
        [stats.wasserstein_distance(a, 2 * b + 1) for a, b in zip(x.T.numpy(), y.T.numpy(), strict=True)],
    )
    np.testing.assert_allclose(wasserstein_1d(x, y).numpy(), expected)


def test_sliced_w1_in_one_dimension_is_w1():
    dataset = Mixture1D()
    given = evidence(dataset, torch.randn(700, 1, generator=rng(0)))
    score = SlicedWasserstein(samples=1_000)(given)
    expected = stats.wasserstein_distance(given.real.x[:1_000, 0].double(), given.fake.x[:, 0].double())
    assert score.value == pytest.approx(expected)


def test_sliced_w1_of_a_shift_is_its_mean_projection():
    """For a shift by s, W1 along θ is |⟨s, θ⟩|, whose mean over the circle is 2|s|/π."""
    dataset = Ring()
    moved = evidence(dataset, dataset.part("held-out").x[:2_500] + torch.tensor([30.0, 40.0]))
    value = SlicedWasserstein(projections=2_000)(moved).value
    assert value == pytest.approx(2 * 50 / math.pi, rel=0.05)


def test_energy_distance_is_scipys_but_unbiased():
    """scipy's is the root of the V-statistic, which counts pairs of a sample with itself."""
    dataset = OneGaussian()
    given = evidence(dataset, 1.5 * torch.randn(300, 1, generator=rng(0)), n=400)
    x, y = (b.x[:, 0].double().numpy() for b in (given.real, given.fake))
    within = sum(np.abs(a[:, None] - a).mean() / (len(a) - 1) for a in (x, y))  # what dividing by n(n − 1) adds
    # scipy's normalisation: 2 E|X−Y| − … = 2 ∫(F − G)² = scipy's square, exactly.
    biased = stats.energy_distance(x, y) ** 2
    assert EnergyDistance()(given).value == pytest.approx(biased - within, rel=1e-9)


def test_energy_distance_has_mean_zero_for_a_perfect_sampler():
    dataset = OneGaussian(d=2)
    values = [EnergyDistance(samples=100)(evidence(dataset, dataset.sample(100, rng(s)).x)).value for s in range(100)]
    # The same 100 real samples every time: what is left is their own distance, of the order of 1/100.
    assert abs(np.mean(values)) < 0.03


P, Q = Normal(0.0, 1.0), Normal(0.7, 1.3)


def of_density(law: Normal, x: torch.Tensor) -> torch.Tensor:
    return law.log_prob(x).sum(1)


def dense(n: int = N) -> Evidence:
    dataset = OneGaussian()
    torch.manual_seed(0)
    return evidence(dataset, Q.sample((n, 1)), log_prob=partial(of_density, Q), n=n)


def true_jsd(p: Normal, q: Normal) -> float:
    x = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
    a, b = p.log_prob(x), q.log_prob(x)
    middle = torch.logaddexp(a, b) - LOG2
    return float((a.exp() * (a - middle) + b.exp() * (b - middle)).sum() * (x[1] - x[0])) / 2


def test_kl_with_both_densities_is_the_closed_form():
    # One sample of log p/q has standard deviation .7: five standard errors of 10,000.
    assert KL()(dense()).value == pytest.approx(float(kl_divergence(P, Q)), abs=0.035)


def test_jsd_with_both_densities_is_that_by_quadrature():
    # log p/m lies below log 2 and mostly within ±.5.
    assert JSD()(dense()).value == pytest.approx(true_jsd(P, Q), abs=0.02)


def test_nll_is_the_cross_entropy():
    entropy = 0.5 * math.log(2 * math.pi * math.e)
    assert NLL()(dense()).value == pytest.approx(entropy + float(kl_divergence(P, Q)), abs=0.05)


def test_a_generator_with_the_true_density_is_at_no_distance():
    dataset = Grid()
    exact = evidence(dataset, dataset.part("validation").x, log_prob=dataset.log_prob)
    assert KL()(exact).value == pytest.approx(0, abs=1e-9)
    assert JSD()(exact).value == pytest.approx(0, abs=1e-6)


def test_the_binned_jsd_is_small_for_a_perfect_sampler_and_log_2_for_a_disjoint_one():
    for dataset in (Ring(), Grid(), Mixture1D()):
        sample = dataset.part("validation").x
        assert JSD()(perfect(dataset)).value < 0.05
        assert JSD()(evidence(dataset, sample + 1_000)).value == pytest.approx(LOG2, abs=1e-6)
        assert JSD()(evidence(dataset, torch.full_like(sample, math.nan))).value == pytest.approx(LOG2, abs=1e-6)


def test_the_binned_jsd_of_missing_modes_is_known():
    """With q = 2p on half of the mass and 0 on the rest: ½ E_p log p/m + ½ E_q log q/m, m = 1.5p or p/2."""
    dataset = Ring()
    x, label = dataset.part("train").take(slice(40_000))
    assert label is not None
    expected = 0.5 * (0.5 * LOG2 + 0.5 * math.log(1 / 1.5) + math.log(2 / 1.5))
    assert JSD()(evidence(dataset, x[label < 4])).value == pytest.approx(expected, abs=0.02)


def test_the_binned_jsd_of_two_gaussians_is_near_the_truth():
    dataset = OneGaussian()
    torch.manual_seed(0)
    value = JSD()(evidence(dataset, Q.sample((N, 1)))).value
    # Bins one std wide hide what differs within them: lower, by less than a third here.
    assert 0.65 * true_jsd(P, Q) < value < true_jsd(P, Q) + 0.005


@pytest.mark.parametrize("d", [1, 2])
def test_the_nearest_neighbour_kl_is_near_the_closed_form(d):
    dataset = OneGaussian(d=d)
    torch.manual_seed(0)
    value = KL()(evidence(dataset, Q.sample((N, d)))).value
    assert value == pytest.approx(d * float(kl_divergence(P, Q)), abs=0.05)
    assert KL()(perfect(dataset)).value == pytest.approx(0, abs=0.05)


def test_a_perfect_sampler_of_the_ring_has_all_modes_and_98_89_per_cent():
    """Within 3 std in two dimensions: 1 − exp(−9/2)."""
    for dataset, k in ((Ring(), 8), (Grid(), 25)):
        given = evidence(dataset, dataset.part("train").x)
        share = 100 * (1 - math.exp(-4.5))
        assert HighQuality()(given).value == pytest.approx(share, abs=5 * math.sqrt(share * (100 - share) / 100_000))
        assert ModesCovered()(given).value == k
        assert ModeKL()(given).value == pytest.approx(0, abs=1e-12)


def test_in_one_dimension_it_is_99_73_per_cent_of_each_mode():
    dataset = OneGaussian()
    assert HighQuality()(evidence(dataset, dataset.part("train").x)).value == pytest.approx(99.73, abs=0.1)


def test_collapse_to_one_mode_is_seen():
    dataset = Ring()
    x, label = dataset.part("train")
    given = evidence(dataset, x[label == 3])
    assert ModesCovered()(given).value == 1
    assert ModeKL()(given).value == pytest.approx(math.log(8), abs=0.05)
    assert HighQuality()(given).value > 98


def test_samples_far_from_all_modes_are_in_none():
    given = evidence(Ring(), torch.zeros(100, 2))
    assert ModesCovered()(given).value == 0
    assert HighQuality()(given).value == 0
    assert ModeKL()(given).value == pytest.approx(math.log(8), abs=0.05)


def test_mode_occupancy_is_counted_by_mode():
    dataset = Ring()
    x = dataset.modes.centres[torch.tensor([0, 0, 0, 5])]
    score = ModesCovered()(evidence(dataset, x))
    assert score.detail["counts"] == [3, 0, 0, 0, 0, 1, 0, 0]
    expected = 0.75 * math.log(0.75 * 8) + 0.25 * math.log(0.25 * 8)
    assert ModeKL()(evidence(dataset, x)).value == pytest.approx(expected, abs=0.02)


def test_class_kl_is_zero_for_the_real_histogram_and_log_10_for_one_class():
    dataset = Digits()
    x, label = dataset.part("validation")
    assert ClassKL()(evidence(dataset, x)).value < 0.02
    assert ClassKL()(evidence(dataset, x[label == 3])).value == pytest.approx(math.log(10), abs=0.1)


def test_the_classifier_of_digits_is_good_enough_to_speak_of_classes():
    from ganzoo.zoo.metrics import _classifier

    x, label = Digits().part("held-out")
    assert label is not None
    assert (_classifier(Digits()).predict(x.flatten(1).numpy()) == label.numpy()).mean() > 0.95


def test_the_class_histogram_is_in_the_detail():
    detail = ClassKL()(perfect(TwoMoons(), 1_000)).detail
    assert sum(detail["histogram"]) == 1_000


@pytest.mark.parametrize(
    ("metric", "applies"),
    [
        (ModesCovered(), {"ring", "line"}),
        (KL(), {"ring", "line"}),
        (JSD(), {"ring", "line"}),
        (NLL(), set()),
        (EnergyDistance(), {"ring", "line", "moons", "digits"}),
        (SlicedWasserstein(), {"ring", "line", "moons", "digits"}),
        (ClassKL(), {"ring", "line", "moons", "digits"}),
    ],
    ids=lambda x: type(x).__name__,
)
def test_a_metric_applies_where_it_has_what_it_needs(metric, applies):
    worlds = {"ring": Ring(), "line": Mixture1D(), "moons": TwoMoons(), "digits": Digits()}
    assert {name for name, dataset in worlds.items() if metric.applies(perfect(dataset, 100))} == applies


#: What real data scores: floors, with the room that 10,000 samples (2,500 for the distances) leave above.
FLOORS = {
    "ring": {
        KL(): 0.05,
        JSD(): 0.01,
        EnergyDistance(): 5e-3,
        SlicedWasserstein(): 0.03,
        ModeKL(): 2e-3,
        ClassKL(): 2e-3,
    },
    "grid": {
        KL(): 0.05,
        JSD(): 0.03,
        EnergyDistance(): 2e-2,
        SlicedWasserstein(): 0.15,
        ModeKL(): 5e-3,
        ClassKL(): 5e-3,
    },
    "mixture-1d": {KL(): 0.05, JSD(): 2e-3, EnergyDistance(): 1e-2, SlicedWasserstein(): 0.12, ModeKL(): 1e-3},
}


@pytest.mark.parametrize("name", FLOORS)
def test_real_data_scores_near_zero(name):
    given = perfect({"ring": Ring(), "grid": Grid(), "mixture-1d": Mixture1D()}[name])
    scores = {type(metric).__name__: (abs(metric(given).value), bound) for metric, bound in FLOORS[name].items()}
    assert {which: pair for which, pair in scores.items() if pair[0] > pair[1]} == {}


def test_metrics_are_found_by_name(adopt):
    adopt("metric", Entry("slow", f"{__name__}:Slow"))
    assert "slow" not in evaluate.metrics()
    assert list(evaluate.metrics(["slow", "kl"])) == ["slow", "kl"]
    with pytest.raises(UnknownNameError, match="did you mean sliced-wasserstein"):
        evaluate.metrics(["sliced-waserstein"])
    with pytest.raises(OptionError, match="energy-distance takes no extractor, such as 'nonsense'"):
        evaluate.metrics(["energy-distance:nonsense"])


def test_each_metric_gets_as_many_samples_as_it_asks_for():
    ring = Ring()
    scores = evaluate.floor(ring, {"many": Slow(samples=9_000), "few": Slow(samples=10), "most": Slow(samples=10**6)})
    assert {name: score.value for name, score in scores.items()} == {"many": 9_000, "few": 10, "most": 10_000}


@dataclass(frozen=True)
class Slow(Metric):
    """How many samples there were."""

    samples: int = 100
    unit: ClassVar[str] = "samples"
    on_request: ClassVar[bool] = True

    def applies(self, evidence):
        return True

    def __call__(self, evidence):
        return Score(float(len(evidence.fake.x)), "counted")


def test_energy_distance_from_products_is_that_from_differences():
    """In many dimensions; copies and near copies among the samples, whose distances products would lose."""
    x, y = (torch.randn(300, 100, generator=rng(seed), dtype=torch.float64) + 5 for seed in (0, 1))
    y[:20], y[20:40] = x[:20], x[20:40] + 1e-7
    for one, other in ((x, y), (x, x), (x.float(), y.float())):
        each = torch.cdist(one.double(), other.double(), compute_mode="donot_use_mm_for_euclid_dist")
        assert mean_distance(one, other) == pytest.approx(float(each.mean()), rel=1e-12)
    near = mean_distance(x[20:21], y[20:21])
    assert near == pytest.approx(float((x[20] - y[20]).norm()), rel=1e-9)
    x[0, 0] = math.inf
    assert math.isnan(mean_distance(x, y))

"""The built-in datasets are what they say: deterministic, in three parts, with exact densities."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from ganzoo import api
from ganzoo.dataset import PARTS, TractableDataset
from ganzoo.zoo.datasets import Digits, Grid, Mixture1D, Ring, TwoMoons

NAMES = ["ring", "grid", "mixture-1d", "two-moons", "digits"]
TOYS = [name for name in NAMES if name != "digits"]
DENSE = [Ring(), Grid(), Mixture1D(), Ring(modes=3, radius=2.0, std=0.5), Grid(std=0.2)]


def fingerprint(dataset) -> str:
    """The same bytes, the same sixteen digits."""
    digest = hashlib.sha256()
    for part in PARTS:
        for tensor in dataset.part(part):
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def test_parts_are_the_same_in_every_process():
    program = f"from test_datasets import *; print([fingerprint(api.create('dataset', name)) for name in {NAMES}])"
    here = [fingerprint(api.create("dataset", name)) for name in NAMES]
    folder = __file__.rpartition("/")[0]
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(here)


@pytest.mark.parametrize("name", NAMES)
def test_parts_depend_on_the_seed_of_the_dataset_alone(name):
    torch.manual_seed(1)
    np.random.seed(1)
    first = fingerprint(api.create("dataset", name))
    torch.manual_seed(2)
    np.random.seed(2)
    assert fingerprint(api.create("dataset", name)) == first
    assert fingerprint(api.create("dataset", name, seed=1)) != first


@pytest.mark.parametrize("name", TOYS)
def test_toys_have_100_000_and_10_000_and_10_000_samples(name):
    dataset = api.create("dataset", name)
    assert [len(dataset.part(part).x) for part in PARTS] == [100_000, 10_000, 10_000]


def scipy_log_prob(dataset: TractableDataset, x: torch.Tensor) -> np.ndarray:
    modes = dataset.modes
    tensors = (modes.centres, modes.std, modes.weights)
    densities = [
        weight * multivariate_normal(centre, std**2 * np.eye(len(centre))).pdf(x.numpy())
        for centre, std, weight in zip(*(t.double().numpy() for t in tensors), strict=True)
    ]
    return np.log(sum(densities))


@pytest.mark.parametrize("dataset", DENSE, ids=lambda d: type(d).__name__)
def test_log_prob_is_scipys(dataset):
    x = dataset.part("held-out").x[:2_000].double()
    np.testing.assert_allclose(dataset.log_prob(x).numpy(), scipy_log_prob(dataset, x), rtol=1e-6, atol=1e-6)
    # In float32 a coordinate of 4 is known to 2e-7, which is 5e-6 of a std of .05 and of the log density 1e-4.
    np.testing.assert_allclose(dataset.log_prob(x.float()).numpy(), scipy_log_prob(dataset, x), atol=5e-3)


def test_log_prob_far_from_the_data_is_finite():
    assert Ring().log_prob(torch.tensor([[1e3, -1e3]])).isfinite()


@pytest.mark.parametrize(
    ("dataset", "k", "std", "extent"), [(Ring(), 8, 0.01, 1.0), (Grid(), 25, 0.05, 4.0)], ids=["ring", "grid"]
)
def test_modes_are_where_the_literature_has_them(dataset, k, std, extent):
    centres = dataset.modes.centres
    assert centres.shape == (k, 2)
    assert torch.all(dataset.modes.std == torch.tensor(std))
    assert dataset.modes.weights.sum() == pytest.approx(1)
    assert float(centres.abs().max()) == pytest.approx(extent)
    distance = torch.pdist(centres).min()
    assert float(distance) == pytest.approx(2 * np.sin(np.pi / 8) if k == 8 else 2.0, abs=1e-6)


def test_mixture_1d_is_that_of_f_gan():
    modes = Mixture1D().modes
    assert modes.centres.flatten().tolist() == [2, -1]
    torch.testing.assert_close(modes.std.square(), torch.tensor([2.0, 0.065]))
    x = Mixture1D().part("train").x
    # μ = .67·2 − .33 = 1.010, σ² = E x² − μ²: the best Gaussian's, 1.830² (f-GAN, §4.1), within 6 standard errors.
    assert float(x.mean()) == pytest.approx(1.010, abs=0.035)
    assert float(x.std()) == pytest.approx(1.8304, abs=0.035)


@pytest.mark.parametrize("dataset", DENSE, ids=lambda d: type(d).__name__)
def test_the_label_is_the_mode_and_modes_are_as_frequent_as_their_weight(dataset):
    x, label = dataset.part("train")
    assert label is not None
    assert dataset.classes == len(dataset.modes.weights)
    z = (x - dataset.modes.centres[label]) / dataset.modes.std[label, None]
    assert float(z.mean()) == pytest.approx(0, abs=0.03)
    assert float(z.std()) == pytest.approx(1, abs=0.03)
    weights = dataset.modes.weights
    share = torch.bincount(label, minlength=dataset.classes) / len(label)
    assert torch.all((share - weights).abs() < 6 * (weights * (1 - weights) / len(label)).sqrt())


def test_moons_have_two_labels_and_the_noise_that_is_asked_for():
    x, label = TwoMoons(noise=0.0).part("held-out")
    assert label is not None
    upper = x[label == 0].norm(dim=1)
    torch.testing.assert_close(upper, torch.ones_like(upper))


def test_digits_are_all_there_once():
    from sklearn.datasets import load_digits

    parts = [Digits().part(part) for part in PARTS]
    x = torch.cat([batch.x for batch in parts])
    levels = (17 * x).floor().flatten(1)
    known = torch.from_numpy(load_digits().data).float()
    assert len(x) == len(known) == 1_797
    assert torch.equal(*(rows[torch.from_numpy(np.lexsort(rows.numpy().T))] for rows in (levels, known)))


def test_the_parts_of_digits_are_disjoint_in_the_original_images():
    rows = [{tuple(row) for row in (17 * Digits().part(part).x).floor().flatten(1).int().tolist()} for part in PARTS]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]


def test_digits_are_split_by_class():
    sizes = []
    for part in PARTS:
        _, label = Digits().part(part)
        assert label is not None
        share = torch.bincount(label, minlength=10) / len(label)
        assert torch.all((share - 0.1).abs() < 0.01)
        sizes.append(len(label))
    assert sizes == [1_079, 359, 359]


def test_dequantised_digits_lie_in_the_unit_interval_and_have_a_density():
    x = torch.cat([Digits().part(part).x for part in PARTS])
    assert x.shape[1:] == (1, 8, 8)
    assert float(x.min()) >= 0
    assert float(x.max()) < 1
    assert np.linalg.matrix_rank(np.cov(x.flatten(1).double().numpy().T)) == 64
    raw = (17 * x).floor().flatten(1).double().numpy()
    assert np.linalg.matrix_rank(np.cov(raw.T)) == 61


def test_the_dequantisation_is_uniform():
    x = torch.cat([Digits().part(part).x for part in PARTS])
    u = (17 * x).frac().flatten().double()
    assert float(u.mean()) == pytest.approx(0.5, abs=5e-3)
    assert float(u.var()) == pytest.approx(1 / 12, abs=2e-3)


def test_the_unit_of_likelihoods_is_named():
    assert "dequantised" in Digits().unit
    assert "(k + u)/17" in Digits().unit

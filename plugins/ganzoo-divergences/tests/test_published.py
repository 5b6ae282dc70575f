"""The experiments of the repository that need these divergences: what can be known of them without training."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from scipy.integrate import quad

from ganzoo.plugins import registry

FOLDER = Path(__file__).parents[3] / "benchmarks" / "experiments"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the experiments are in the repository, not in a wheel")


@pytest.fixture
def experiment(monkeypatch):
    """Import a module of the folder; what it registers and imports is gone afterwards."""
    monkeypatch.syspath_prepend(str(FOLDER))
    known, before = registry(), set(sys.modules)
    entries = {kind: {name: [*found] for name, found in each.items()} for kind, each in known._entries.items()}
    yield importlib.import_module
    known._entries = entries
    for name in {path.stem for path in FOLDER.glob("*.py")} & (set(sys.modules) - before):
        del sys.modules[name]


@pytest.mark.parametrize(("mode", "radius"), [("simultaneous", 1.01980), ("alternating", 1.0)])
def test_the_wasserstein_game_turns_about_its_equilibrium(experiment, mode, radius):
    dirac = experiment("dirac_gan")
    game = dirac.GAMES["wgan"]
    assert dirac.eigenvalue(game) == pytest.approx(1j, abs=1e-3)
    assert dirac.radius(game, simultaneous=dirac.MODES[mode]) == pytest.approx(radius, abs=1e-3)


@pytest.mark.parametrize("name", ["reverse-kl", "pearson"])
def test_the_exact_optimum_is_the_published_one(experiment, name):
    gaussian = experiment("f_gan_gaussian")
    assert gaussian.optimum(name) == pytest.approx(gaussian.PUBLISHED[name], abs=1e-3)


@pytest.mark.parametrize("name", ["kl", "reverse-kl", "js", "jeffreys", "pearson"])
def test_the_quadrature_agrees_with_another_one(experiment, name):
    """Away from the optimum, against an adaptive rule."""
    gaussian = experiment("f_gan_gaussian")
    mu, sigma = 0.8, 1.9
    data, q = registry().find("dataset", "mixture-1d").create({}), torch.distributions.Normal(mu, sigma)

    def integrand(x):
        at = torch.tensor([x], dtype=torch.float64)
        log_q = q.log_prob(at)
        return float(log_q.exp() * gaussian.divergence(name).f((data.log_prob(at[:, None]) - log_q).exp()))

    value, _ = quad(integrand, -18, 20, points=[-1, 2], limit=400)
    assert gaussian.exact(name, mu, sigma) == pytest.approx(gaussian.SCALE[name] * value, abs=1e-7)

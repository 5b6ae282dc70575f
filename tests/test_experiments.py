"""The experiments find each other, and the smallest GAN does what was proved of it."""

import importlib
import math
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks" / "experiments"


@pytest.fixture
def experiment(monkeypatch, adopt):
    """Import a module of the folder; what it registers and imports is gone afterwards."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield importlib.import_module
    for name in {path.stem for path in FOLDER.glob("*.py")} & (set(sys.modules) - before):
        del sys.modules[name]


@pytest.fixture
def dirac(experiment):
    return experiment("dirac_gan")


# Wasserstein is a plugin's: it is tried in the tests of ganzoo-divergences.
@pytest.mark.parametrize("name", ["gan", "ns-gan", "gan-r1-0.3", "gan-r1-1.0"])
def test_the_field_has_the_eigenvalues_that_were_proved(dirac, name):
    value = dirac.eigenvalue(dirac.GAMES[name])
    assert (value.real, value.imag) == pytest.approx(dirac.EIGENVALUES[name], abs=1e-3)


@pytest.mark.parametrize("mode", ["simultaneous", "alternating"])
@pytest.mark.parametrize("name", ["gan", "ns-gan", "gan-r1-0.3", "gan-r1-1.0"])
def test_a_step_of_the_engine_has_the_spectral_radius_that_follows(dirac, name, mode):
    radius = dirac.radius(dirac.GAMES[name], simultaneous=dirac.MODES[mode])
    assert radius == pytest.approx(dirac.RADII[mode][name], abs=1e-3)


def test_only_r1_brings_the_game_to_its_equilibrium(dirac):
    games = {name: dirac.GAMES[name] for name in ("gan", "ns-gan", "gan-r1-0.3", "gan-r1-1.0")}
    ends = {name: dirac.Dirac(game, simultaneous=False).trajectory(200)[-1] for name, game in games.items()}
    near = {name for name, end in ends.items() if abs(end).max() < 0.02}
    assert near == {"gan-r1-0.3", "gan-r1-1.0"}


def test_every_experiment_says_what_it_reproduces():
    """Called without a name, the folder lists what there is, and imports none of it."""
    listed = subprocess.run([sys.executable, str(FOLDER)], capture_output=True, text=True, check=True).stdout
    names = dict(line.split(maxsplit=1) for line in listed.splitlines())
    assert {"dirac-gan", "f-gan-gaussian", "f-gan-matrix"} <= set(names)


def test_a_check_holds_only_where_every_value_is_near(experiment):
    close = experiment("_shared").close
    assert close("x", 2.0, [2.1, 1.9], 0.11, "")["holds"]
    assert not close("x", 2.0, [2.1, 1.8], 0.11, "")["holds"]
    assert close("x", 2.0, 2.1, 0.06, "", relative=True)["holds"]
    assert not close("x", 2.0, 2.1, 0.04, "", relative=True)["holds"]
    assert not close("x", 2.0, [2.0, math.nan], 0.1, "")["holds"]
    assert not close("x", 2.0, [], 0.1, "")["holds"]

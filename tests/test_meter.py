"""The meter against the truth: known pairs, and what a meter must not do."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from processes import forked

from ganzoo import meter, sides
from ganzoo.dataset import Batch, Dataset
from ganzoo.density import log_ratio
from ganzoo.errors import IncompatibleError
from ganzoo.meter import Reading, Settings
from ganzoo.part import Part
from ganzoo.zoo.datasets import Ring
from ganzoo.zoo.discriminators import LipschitzDiscriminator
from ganzoo.zoo.divergences import GAN, JensenShannon, KullbackLeibler
from ganzoo.zoo.generators import GaussianGenerator, MLPGenerator

LOG2 = math.log(2)
QUICK = Settings(critics=2, steps=200, batch_size=256)
CORE = {"js": JensenShannon(), "gan": GAN(), "kl": KullbackLeibler()}


def pair(name: str, **options):
    return Part("pair", name, options).build()


def readings(name: str, settings: Settings = QUICK, **options) -> dict[str, Reading]:
    known = pair(name, **options)
    p, q = (sides.of_density(side, sizes=(20_000, 5_000, 20_000)) for side in (known.p, known.q))
    found, _ = meter.measure(CORE, p, q, settings)
    return {reading.divergence: reading for reading in found}


def mean(reading: Reading) -> float:
    return math.fsum(reading.values) / len(reading.values)


# The truth between known densities


@pytest.mark.parametrize("by", [0.3, 1.0, 3.0])
def test_kl_between_shifted_gaussians_is_the_closed_form(by):
    found = KullbackLeibler().truth(*vars(pair("shift", by=by)).values())
    assert found.value == pytest.approx(by**2 / 2, rel=1e-6)


@pytest.mark.parametrize("by", [0.5, 2.0])
def test_kl_between_gaussians_of_two_widths_is_the_closed_form(by):
    wanted = math.log(by) + (1 / by**2 - 1) / 2
    assert KullbackLeibler().truth(*vars(pair("scale", by=by)).values()).value == pytest.approx(wanted, rel=1e-6)


def test_between_uniform_laws_js_is_their_overlap_and_kl_is_infinite():
    known = pair("uniforms", by=0.25)
    assert JensenShannon().truth(known.p, known.q).value == pytest.approx(0.25 * LOG2, abs=1e-4)
    assert GAN().truth(known.p, known.q).value == pytest.approx(0.5 * LOG2, abs=2e-4)
    assert KullbackLeibler().truth(known.p, known.q).value == math.inf


def test_in_the_plane_the_truth_is_a_mean_with_its_error():
    known = pair("correlation", rho=0.8)
    found = KullbackLeibler().truth(known.p, known.q)
    assert 0 < found.error < 0.01
    assert found.value == pytest.approx(-0.5 * math.log(1 - 0.8**2), abs=4 * found.error)


def test_the_jsd_of_dropped_modes_is_that_of_their_weights():
    known = pair("dropped-modes", kept=4)
    wanted = (math.log(2 / 3) + LOG2) / 4 + math.log(4 / 3) / 2
    found = JensenShannon().truth(known.p, known.q)
    assert found.value == pytest.approx(wanted, abs=4 * found.error)
    assert KullbackLeibler().truth(known.p, known.q) is None  # thousands of nats: beyond what is computed


def test_the_most_that_each_can_be():
    assert JensenShannon().supremum == pytest.approx(LOG2)
    assert GAN().supremum == pytest.approx(2 * LOG2)
    assert KullbackLeibler().supremum == math.inf


def test_a_log_ratio_is_cut_and_is_zero_where_neither_has_mass():
    known = pair("uniforms", by=0.5)
    x = torch.tensor([[0.2], [0.7], [1.2], [9.0]])
    assert log_ratio(known.p, known.q, x).tolist() == [340.0, 0.0, -340.0, 0.0]


# What critics say


@pytest.mark.parametrize(("name", "options"), [("shift", {}), ("scale", {"by": 2.0}), ("correlation", {})])
def test_estimates_are_near_the_truth_and_halves_of_the_real_data_near_zero(name, options):
    for reading in readings(name, replace(QUICK, steps=300), **options).values():
        assert mean(reading) == pytest.approx(reading.truth.value, rel=0.06), reading
        assert all(abs(value) < 0.01 for value in reading.control), reading
        assert not reading.saturated


def test_gan_reads_twice_what_js_reads():
    found = readings("shift", replace(QUICK, refine=False))
    assert found["gan"].values == pytest.approx([2 * value for value in found["js"].values], rel=0.02)


def test_where_nothing_overlaps_js_is_saturated_and_says_no_more():
    settings = replace(QUICK, critics=1, refine=False)
    near, far = (readings("apart", settings, by=by, std=0.05)["js"] for by in (1.0, 3.0))
    assert near.saturated
    assert far.saturated
    assert mean(near) == pytest.approx(LOG2, rel=0.01)
    assert mean(far) == pytest.approx(LOG2, rel=0.01)


def test_a_divergence_in_nats_without_a_bound_is_saturated_by_the_samples():
    reading = Reading("kl", "nats", "by a critic", math.inf, [9.9], [0.0], resolution=math.log(20_000))
    assert reading.saturated
    assert not replace(reading, unit="dimensionless").saturated


def test_the_same_seeds_give_the_same_numbers():
    settings = replace(QUICK, steps=20, critics=1)
    first, again = readings("shift", settings), readings("shift", settings)
    assert first["kl"].values == again["kl"].values
    assert readings("shift", replace(settings, seed=7))["kl"].values != first["kl"].values


class Few(Dataset):
    """Noise in 32 dimensions, little of it."""

    shape = (32,)

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def part(self, name):
        rng = torch.Generator().manual_seed(10 * self.seed + len(name))
        return Batch(torch.randn(80, 32, generator=rng))


def test_critics_that_could_learn_the_samples_by_heart_are_not_believed():
    few, other = sides.of_dataset(Few(0)), sides.of_dataset(Few(1))
    found, critic = meter.measure({"js": JensenShannon()}, few, other, replace(QUICK, steps=400))
    assert abs(mean(found[0])) < 0.05  # the same law on both sides
    assert found[0].truth is None
    assert critic.score(few.draw(0).fit).shape == (80,)


def test_a_generator_with_a_density_has_its_true_divergence_beside_it():
    ring = Ring()
    known = sides.of_generator(GaussianGenerator((2,)), ring)
    assert known.density is not None
    assert sides.of_generator(MLPGenerator((2,), hidden=4, depth=1), ring).density is None
    labelled = sides.of_generator(MLPGenerator((2,), hidden=4, depth=1, classes=8), ring)
    assert labelled.draw(0).read.shape == (sides.SIZES[2], 2)


def test_the_slope_of_the_lipschitz_critic_is_at_most_one_whatever_its_weights():
    torch.manual_seed(0)
    critic = LipschitzDiscriminator((5,), hidden=16, depth=3)
    for scale in (1e-2, 1.0, 1e2):
        with torch.no_grad():
            for weight in critic.parameters():
                weight.copy_(scale * torch.randn_like(weight))
        x, y = torch.randn(2, 4_000, 5)
        slope = (critic(x).score - critic(y).score).abs() / (x - y).norm(dim=1)
        assert slope.max() <= 1 + 1e-5


def test_a_pair_has_one_shape():
    with pytest.raises(IncompatibleError, match="shapes"):
        replace(pair("shift"), q=Ring())


# The command


def test_measure_a_pair_says_the_truth_and_keeps_a_picture(tmp_path):
    ended = forked(
        "measure", "--pair", "shift", "-o", "by=2", "--divergence", "js,kl", "--critics", 2, "--steps", 60, cwd=tmp_path
    )
    assert ended.code == 0, ended.err
    assert "real vs real" in ended.out
    assert "2 log 2 − 2 JSD" in ended.out
    kept = json.loads((tmp_path / "measure" / "shift-by=2" / "measure.json").read_text())
    js, kl = kept["readings"]
    assert kl["truth"]["value"] == pytest.approx(2.0, rel=1e-4)
    assert js["upper"] == pytest.approx(LOG2)
    assert kl["upper"] is None
    assert len(js["estimate"]["values"]) == len(js["control"]["values"]) == 2
    assert (tmp_path / "measure" / "shift-by=2" / "critic.png").read_bytes().startswith(b"\x89PNG")


def test_measure_a_model_against_its_data_and_against_others(tmp_path):
    assert forked("train", "mle-gaussian.ring", "--steps", 300, cwd=tmp_path).code == 0
    quick = ("--critics", 1, "--steps", 60, "--json")
    own = forked("measure", "runs/mle-gaussian.ring", *quick, cwd=tmp_path)
    assert own.code == 0, own.err
    kept = json.loads(own.out)
    assert (kept["what"], kept["against"]) == ("mle-gaussian.ring", "ring")
    assert 0.5 < kept["readings"][0]["truth"]["value"] < LOG2
    moons = forked("measure", "runs/mle-gaussian.ring", "--against", "two-moons", *quick, "--out", "m", cwd=tmp_path)
    assert moons.code == 0, moons.err
    assert json.loads(moons.out)["readings"][0]["truth"] is None
    assert (tmp_path / "m" / "critic.png").exists()
    other = forked("measure", "runs/mle-gaussian.ring", "--against", "digits", *quick, cwd=tmp_path)
    assert other.code == 2
    assert "(1, 8, 8)" in other.err


@pytest.mark.parametrize(
    ("name", "options"),
    [("shift", {"by": 1e6}), ("apart", {"by": 1e6}), ("apart", {"std": 1e-6}), ("scale", {"by": 1e6})],
)
def test_the_truth_of_a_pair_with_a_narrow_side_on_a_wide_line(name, options):
    """A grid that is too coarse for one of the two is not believed."""
    pair = Part("pair", name, options).resolved().build()
    truth = Part("divergence", "js").build().truth(pair.p, pair.q)
    assert truth is not None
    assert truth.value == pytest.approx(LOG2, abs=1e-4)


def test_what_was_drawn_of_another_measurement_goes(tmp_path):
    quick = ("measure", "--pair", "shift", "--critics", 1, "--steps", 5, "--out", "m")
    assert forked(*quick, cwd=tmp_path).code == 0
    assert (tmp_path / "m" / "critic.png").exists()
    assert forked(*quick, "-o", "dimension=3", cwd=tmp_path).code == 0
    assert not (tmp_path / "m" / "critic.png").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("measure", "give either a MODEL or a --pair"),
        ("measure x --pair shift", "give either a MODEL or a --pair"),
        ("measure --pair shift -o kl.width=3", "goes with --divergence kl"),
        (f"measure --pair shift --out {__file__}/x", "is a file"),
        ("measure --pair shift --against ring", "--against goes with a MODEL"),
        ("measure --pair shft", "did you mean shift?"),
        ("measure --pair shift --divergence jss", "did you mean js?"),
        ("measure --pair shift -o width=3", "width"),
        ("measure --pair shift -o js.width=3", "width"),
        ("measure --pair shift -o critic=nobody", "nobody"),
        ("measure --pair shift --divergence ,", "which divergence?"),
        (f"measure --pair shift --out {__file__}", "is a file"),
    ],
)
def test_measure_says_what_was_wrong(line, says, tmp_path):
    ended = forked(*line.split(), cwd=tmp_path)
    assert ended.code == 2, ended.err
    assert says in ended.err
    assert "Traceback" not in ended.err
    assert not list(tmp_path.glob("measure*"))


def test_measure_nothing_that_is_a_model(tmp_path):
    ended = forked("measure", "nowhere", cwd=tmp_path)
    assert ended.code == 1
    assert "no such folder" in ended.err

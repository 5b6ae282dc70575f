"""Every divergence as an instrument: near the truth where it is known, and near 0 between halves of real data."""

import math
from dataclasses import replace

import pytest

from ganzoo import meter, sides
from ganzoo.meter import Settings
from ganzoo.part import Part
from ganzoo.plugins import registry

NAMES = [name for name in registry().names("divergence") if name != "kernel-mmd"]  # seconds of pairs of features
SETTINGS = Settings(critics=1, steps=150, batch_size=256, refine=False, pieces=4)


def read(pair, names, settings=SETTINGS):
    known = Part("pair", pair).resolved().build()
    p, q = (sides.of_density(side, sizes=(20_000, 4_000, 20_000)) for side in (known.p, known.q))
    divergences = {name: Part("divergence", name).resolved().build() for name in names}
    return meter.measure(divergences, p, q, settings)[0]


def test_every_divergence_between_shifted_gaussians():
    others = [name for name in NAMES if name != "sinkhorn"]
    one_piece = replace(SETTINGS, pieces=1)  # of which each takes sinkhorn seconds: as long as all others together
    for reading in [*read("shift", others), *read("shift", ["sinkhorn"], one_piece)]:
        (value,), (control,) = reading.values, reading.control
        slack = 0.05 if reading.divergence == "sinkhorn" else 0.02
        assert abs(control) < slack, reading
        if reading.truth is not None:
            assert value == pytest.approx(reading.truth.value, rel=0.12), reading
            assert value <= reading.supremum


def test_what_is_beyond_the_samples_is_not_made_up():
    """KL between a ring and half of it is thousands of nats: no reading says more than samples can show."""
    kl, reverse = read("dropped-modes", ["kl", "reverse-kl"])
    assert 0 <= kl.values[0] < 12.5
    assert reverse.values[0] == pytest.approx(math.log(2), rel=0.05)


def test_few_real_samples_of_odd_number_are_halved_for_every_divergence():
    """Digits: 359 held-out samples. Unbiased readings of halves are around 0; a paired one needs equal sides."""
    from ganzoo.zoo.datasets import Digits

    side = sides.of_dataset(Digits())
    found = meter.matrix(*side.halves(0), seed=0)
    assert not [each["error"] for each in found.values() if "error" in each]
    for name, each in found.items():
        assert math.isfinite(each["value"]), name
    for name in ("js", "kl", "hellinger", "energy-distance", "mmd", "rpgan"):
        assert abs(found[name]["value"]) < 0.03, name


def test_a_critic_that_cannot_judge_one_sample_at_a_time_is_refused():
    from ganzoo.errors import IncompatibleError

    known = Part("pair", "shift").resolved().build()
    p, q = (sides.of_density(side, sizes=(200, 100, 100)) for side in (known.p, known.q))
    for critic in (Part("discriminator", "packed-mlp"), Part("discriminator", "smooth-mlp", {"units": 4})):
        settings = Settings(critics=1, steps=2, critic=critic)
        with pytest.raises(IncompatibleError, match="critic"):
            meter.measure({"js": Part("divergence", "js").build()}, p, q, settings)

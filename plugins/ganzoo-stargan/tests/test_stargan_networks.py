"""Networks against the tables of the paper, the term and the method against its equations."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from ganzoo import Batch, Part, create
from ganzoo.divergence import Scores
from ganzoo.engine.functional import Functional
from ganzoo.errors import IncompatibleError, OptionError
from ganzoo.game import Round
from ganzoo.heads import condition
from ganzoo.recipe import create_recipe
from ganzoo.testing import check_engines
from ganzoo_stargan.networks import (
    CycleDiscriminator,
    CycleGenerator,
    PatchDiscriminator,
    PointCycle,
    PointTranslator,
    StarGenerator,
)
from ganzoo_stargan.terms import Cycle, Identity


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_at_128_pixels_and_five_attributes_they_have_the_published_layers():
    with torch.device("meta"):
        generator = StarGenerator((3, 128, 128), classes=5)
        discriminator = PatchDiscriminator((3, 128, 128), classes=5)
    down = 49 * 8 * 64 + 16 * 64 * 128 + 16 * 128 * 256
    up = 16 * 256 * 128 + 16 * 128 * 64 + 49 * 64 * 3
    norms = 2 * (64 + 128 + 256 + 6 * 2 * 256 + 128 + 64)
    assert count(generator) == down + 6 * 2 * 9 * 256 * 256 + up + norms == 8_430_528
    widths = [3, 64, 128, 256, 512, 1024, 2048]
    halving = sum(16 * a * b + b for a, b in pairwise(widths))
    assert count(discriminator) == halving + 9 * 2048 + 4 * 2048 * 5 == 44_762_048
    verdict = discriminator(torch.zeros(2, 3, 128, 128, device="meta"))
    assert verdict.score.shape == (2, 1, 2, 2)
    assert verdict.logits is not None
    assert verdict.logits.shape == (2, 5)


@pytest.mark.parametrize("side", [(4, 8), (8, 12), (28, 28), (36, 36), (20, 64)])
def test_sides_are_multiples_of_four(side):
    shape = (1, *side)
    x, c = torch.randn(2, *shape), torch.tensor([0, 2])
    assert StarGenerator(shape, 4, 1, 3)(x, c).shape == x.shape
    verdict = PatchDiscriminator(shape, 4, 3)(x)
    assert verdict.score.ndim == 4
    assert verdict.logits is not None
    assert verdict.logits.shape == (2, 3)


@pytest.mark.parametrize("shape", [(3, 30, 30), (3, 32, 33), (3, 4, 4), (2,)])
def test_other_shapes_are_refused(shape):
    for make in (StarGenerator, PatchDiscriminator, CycleGenerator, CycleDiscriminator):
        with pytest.raises(IncompatibleError, match="whose sides are multiples of 4"):
            make(shape, classes=3)


def test_without_labels_there_is_nothing_to_translate_into():
    for make in (StarGenerator, PatchDiscriminator, CycleGenerator, CycleDiscriminator):
        with pytest.raises(IncompatibleError, match="with classes=0 there are none"):
            make((3, 24, 24))
    for make in (PointTranslator, PointCycle):
        with pytest.raises(IncompatibleError, match="with classes=0 there are none"):
            make((2,))


def test_attention_says_what_stays_as_it_is():
    generator = StarGenerator((3, 8, 8), 4, 1, attention=True, classes=3)
    plain = StarGenerator((3, 8, 8), 4, 1, classes=3)
    x, c = torch.rand(2, 3, 8, 8) * 2 - 1, torch.tensor([0, 2])
    attention = generator.painter.attention
    assert attention is not None
    with torch.no_grad():
        attention.weight.zero_()
        assert attention.bias is not None
        plain.load_state_dict({k: v for k, v in generator.state_dict().items() if "attention" not in k})
        made = plain(x, c)
        for logit, expected in ((30.0, x), (-30.0, made), (0.0, (x + made) / 2)):
            attention.bias.fill_(logit)
            assert torch.allclose(generator(x, c), expected, atol=1e-6)
        attention.bias.zero_()
        attention.weight.normal_()
        kept = attention(generator.painter.body(condition(x, c, 3))).sigmoid()
        assert kept.shape == (2, 1, 8, 8)  # of every pixel its own, of its channels the same
        assert torch.allclose(generator(x, c), kept * x + (1 - kept) * made, atol=1e-6)
    assert CycleGenerator((3, 8, 8), 4, 1, 2, attention=True).painters[0].attention is not None


def test_a_cycle_has_a_network_for_each_label_which_reads_none():
    generator = CycleGenerator((3, 8, 8), 4, 1, classes=2)
    assert count(generator) == 2 * (count(StarGenerator((3, 8, 8), 4, 1, classes=2)) - 49 * 2 * 4)
    x = torch.rand(4, 3, 8, 8)
    c = torch.tensor([0, 1, 1, 0])
    made = generator(x, c)
    for i, label in enumerate(c):
        assert torch.allclose(made[i], generator.painters[label](x[i : i + 1])[0], atol=1e-6)
    with torch.no_grad():
        next(generator.painters[1].parameters()).fill_(torch.nan)
    assert torch.equal(generator(x, c).isnan().flatten(1).any(1), c == 1)  # and of the other label nothing changes


def test_at_128_pixels_a_cycles_discriminator_has_the_published_layers_for_each_label():
    with torch.device("meta"):
        discriminator = CycleDiscriminator((3, 128, 128), classes=2)
    one = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 64 + 2 * (128 + 256 + 512) + 1
    assert count(discriminator) == 2 * one
    verdict = discriminator(torch.zeros(2, 3, 128, 128, device="meta"), torch.zeros(2, dtype=torch.long, device="meta"))
    assert verdict.score.shape == (2, 1, 14, 14)  # each of 70 × 70 pixels
    assert verdict.logits is None


def test_a_score_is_that_of_the_labels_own_network():
    discriminator = CycleDiscriminator((3, 24, 24), 4, classes=3)
    x, c = torch.rand(3, 3, 24, 24), torch.tensor([2, 0, 1])
    score = discriminator(x, c).score
    for i, label in enumerate(c):
        assert torch.allclose(score[i], discriminator.judges[label](x[i : i + 1])[0], atol=1e-5)
    with pytest.raises(IncompatibleError, match="sides must be 24 or more"):
        CycleDiscriminator((3, 20, 20), 4, classes=3)


def test_a_cycle_asks_for_every_label_but_a_samples_own():
    generator, rng = PointCycle((2,), classes=3), torch.Generator().manual_seed(0)
    own = torch.arange(3).repeat(4_000)
    x, c = generator.source(len(own), rng, Batch(torch.zeros(len(own), 2), own))
    assert c is not None
    assert not (c == own).any()
    for label in range(3):
        shares = c[own == label].bincount(minlength=3) / 4_000
        assert sorted(shares.tolist()) == pytest.approx([0, 0.5, 0.5], abs=0.04)
    wanted = own.clone()
    assert generator.source(len(own), rng, Batch(x, own), wanted)[1] is wanted
    for network, x in (
        (generator, torch.zeros(3, 2)),
        (CycleDiscriminator((3, 24, 24), 4, classes=3), torch.zeros(3, 3, 24, 24)),
    ):
        with pytest.raises(IncompatibleError, match="samples of these data have several at once"):
            network(x, torch.ones(3, 3, dtype=torch.long))
    with pytest.raises(IncompatibleError, match="samples of these data have several at once"):
        generator.source(2, rng, Batch(torch.zeros(2, 2), torch.ones(2, 3, dtype=torch.long)))
    with pytest.raises(IncompatibleError, match="the data have one"):
        PointCycle((2,), classes=1)


def test_the_label_and_the_source_both_count():
    generator = StarGenerator((3, 8, 8), 4, 1, 3)
    x = torch.randn(2, 3, 8, 8)
    one, other = (generator(x, torch.full((2,), label)) for label in (0, 1))
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])
    several = generator(x, torch.tensor([[1, 0, 0], [1, 0, 0]]))
    assert torch.equal(several, one)


class Adds(PointTranslator):
    """``x + c``: what is translated there and back is ``x + c + c_x``."""

    def forward(self, z, c=None):
        assert c is not None
        return z + c[:, None]


def test_the_reconstruction_is_the_mean_distance_of_what_comes_back():
    x, own, wanted = torch.zeros(4, 2), torch.tensor([0, 1, 2, 3]), torch.tensor([3, 0, 1, 2])
    networks = {"generator": Functional(Adds((2,), classes=4))}
    with Round(networks, Batch(x, own), {"generator": (x, wanted)}) as round:
        value = Cycle()(round)
    assert float(value) == pytest.approx(float((own + wanted).double().mean()))


def test_what_is_asked_to_stay_is_compared_with_itself():
    x, own = torch.zeros(4, 2), torch.tensor([0, 1, 2, 3])
    networks = {"generator": Functional(Adds((2,), classes=4))}
    with Round(networks, Batch(x, own), {"generator": (x, own.flip(0))}) as round:
        assert float(Identity()(round)) == 1.5


def test_what_starts_from_noise_has_nothing_to_go_back_to():
    networks = {"generator": create("generator", "mlp", shape=(2,))}
    for term in (Cycle(), Identity()):
        with pytest.raises(IncompatibleError, match="MLPGenerator starts from noise"):
            term.check(networks)
    with pytest.raises(IncompatibleError, match="MLPGenerator starts from noise"):
        create_recipe("stargan.ring", {"generator": "mlp"})


def test_the_game_is_that_of_the_paper():
    recipe = create_recipe("stargan.ring")
    critic, maker = recipe.turns
    assert (critic.player, critic.repeats, maker.player, maker.repeats) == ("discriminator", 5, "generator", 1)
    named = [[(w.term.name, w.weight) for w in turn.losses] for turn in (critic, maker)]
    assert named[0] == [("criticise", 1.0), ("gradient-penalty", 10.0), ("classify", 1.0)]
    assert named[1] == [("fool", 1.0), ("classify", 1.0), ("cycle", 10.0)]
    assert [w.term.options["of"] for w in (critic.losses.terms[2], maker.losses.terms[1])] == ["real", "fake"]
    more = create_recipe("stargan.ring", {"identity": 5.0}).turns[1].losses
    assert [(w.term.name, w.weight) for w in more][3:] == [("identity", 5.0)]
    plain = Part("method", "stargan").entry.create({})
    optimizer = plain.players["generator"].optimizer
    assert (plain.batch_size, plain.ema, optimizer.options) == (16, 0.0, {"lr": 1e-4, "beta1": 0.5, "beta2": 0.999})
    schedule = plain.players["generator"].schedule.build()
    assert [schedule(step, 100) for step in (0, 50, 75)] == [1.0, 1.0, 0.5]


def test_the_game_of_two_generators_is_that_of_the_paper():
    recipe = create_recipe("cyclegan.two-moons", {"identity": 5.0})
    maker, critic = recipe.turns
    assert (maker.player, critic.player, critic.repeats) == ("generator", "discriminator", 1)
    named = [[(w.term.name, w.weight) for w in turn.losses] for turn in (maker, critic)]
    assert named == [[("fool", 2.0), ("cycle", 10.0), ("identity", 5.0)], [("criticise", 1.0)]]
    fool = maker.losses.terms[0]
    scores = Scores(lambda: torch.tensor([0.7]), lambda: torch.tensor([0.2, -1.0]))
    wanted = (0.3**2 + (0.2**2 + 1.0**2) / 2) / 2
    assert float(critic.losses.terms[0].term.build().divergence.critic_loss(scores)) == pytest.approx(wanted)
    assert float(2 * fool.term.build().divergence.generator_loss(scores)) == pytest.approx((0.8**2 + 2.0**2) / 2)
    plain = Part("method", "cyclegan").entry.create({})
    optimizer = plain.players["generator"].optimizer
    assert (plain.batch_size, plain.ema, optimizer.options) == (2, 0.0, {"lr": 2e-4, "beta1": 0.5, "beta2": 0.999})
    schedule = plain.players["discriminator"].schedule.build()
    assert [schedule(step, 100) for step in (0, 50, 75)] == [1.0, 1.0, 0.5]
    assert [w.term.name for w in plain.turns[0].losses] == ["fool", "cycle"]


TINY = {"generator.width": 4, "generator.blocks": 1, "discriminator.width": 4, "batch_size": 4}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("stargan.digits", {**TINY, "identity": 1.0}),
        ("stargan.digits", {**TINY, "generator.attention": True, "precision": "bfloat16"}),
        ("stargan.ring", {"batch_size": 16}),
        ("cyclegan.two-moons", {"batch_size": 16}),
    ],
)
def test_it_is_the_same_training_however_it_is_carried_out_and_wherever_it_stops(name, options):
    check_engines(create_recipe(name, options))


def test_what_does_not_fit_is_refused_with_the_reason():
    with pytest.raises(IncompatibleError, match="starts from samples"):
        create_recipe("stargan.ring", {"shared_noise": True})
    with pytest.raises(IncompatibleError, match="head=classify"):
        create_recipe("stargan.ring", {"discriminator.head": "score"})
    with pytest.raises(IncompatibleError, match="multiples of 4"):
        create_recipe("stargan.ring", {"generator": "stargan"})
    with pytest.raises(IncompatibleError, match="generator=point-cyclegan and -o discriminator=mlp"):
        create_recipe("cyclegan.ring")
    create_recipe("cyclegan.ring", {"generator": "point-cyclegan", "discriminator": "mlp"})
    with pytest.raises(OptionError, match="takes int"):
        create_recipe("stargan.ring", {"k": 0})

"""Instance noise, unrolling and consistency, by hand."""

import pytest
import torch
from torch import nn

from ganzoo.dataset import Batch
from ganzoo.discriminator import Discriminator, Verdict
from ganzoo.divergence import Scores
from ganzoo.engine.functional import Functional
from ganzoo.errors import IncompatibleError
from ganzoo.game import Round
from ganzoo.part import Part
from ganzoo.terms import Criticise, Fool
from ganzoo.testing import check_term
from ganzoo.zoo.discriminators import MLPDiscriminator
from ganzoo.zoo.divergences import GAN, JensenShannon
from ganzoo.zoo.generators import GaussianGenerator
from ganzoo.zoo.updates import Linear
from ganzoo_divergences.critics import Hinge, RpGAN, Wasserstein
from ganzoo_divergences.penalties import Consistency
from ganzoo_divergences.terms import NoisyCriticise, NoisyFool, UnrolledFool

N = 6


def players(discriminator=None):
    torch.manual_seed(0)
    return {
        "generator": GaussianGenerator((2,)).double(),
        "discriminator": discriminator or MLPDiscriminator((2,), 8, 1).double(),
    }


def a_round(networks, step=0, steps=10):
    rng = torch.Generator().manual_seed(1)
    names = ("noise-real", "noise-fake", "consistency-real", "consistency-fake")
    draws = {name: torch.randn(N, 2, generator=rng, dtype=torch.float64) for name in names}
    z = networks["generator"].source(N, rng)[0].double()
    real = Batch(1 + torch.randn(N, 2, generator=rng, dtype=torch.float64))
    functions = {player: Functional(network) for player, network in networks.items()}
    return Round(functions, real, {"generator": (z, None)}, draws, step, steps)


def noisy(round, std):
    """The scores of the round's samples with noise of ``std``."""
    real, fake = (
        b.x + std * round.noise(f"noise-{side}") for side, b in (("real", round.real), ("fake", round.fake()))
    )
    return Scores.of(round.discriminate(real).score, round.discriminate(fake).score)


@pytest.mark.parametrize(("schedule", "factor"), [(None, 1.0), (Linear(), 0.7), (Linear(end=0.5), 0.85)])
def test_instance_noise_is_on_both_sides_and_follows_its_schedule(schedule, factor):
    with a_round(players(), step=3) as round:
        wanted = noisy(round, 0.2 * factor)
        critic = NoisyCriticise(GAN(), 0.2, schedule)
        assert torch.allclose(critic(round), GAN().critic_loss(wanted))
        assert torch.allclose(critic.observe(round)["estimate"], GAN().estimate(wanted))
        assert torch.allclose(NoisyFool(GAN(), 0.2, schedule)(round), GAN().generator_loss(wanted))
        got = NoisyFool(GAN(), 0.2, schedule, saturating=False)(round)
        assert torch.allclose(got, GAN().non_saturating_loss(wanted))


@pytest.mark.parametrize("divergence", [JensenShannon(), RpGAN()], ids=str)
def test_noise_of_zero_is_none(divergence):
    for std, schedule, step in ((0.0, None, 0), (0.5, Linear(), 10)):
        with a_round(players(), step=step) as round:
            noisy_terms = NoisyCriticise(divergence, std, schedule), NoisyFool(divergence, std, schedule)
            plain = Criticise(divergence), Fool(divergence)
            for got, wanted in zip(noisy_terms, plain, strict=True):
                assert torch.equal(got(round), wanted(round))


def unrolled(networks, round, divergence, steps, rate, saturating):
    """By copies of the discriminator and `torch.autograd`."""
    fake, net = round.fake().x, networks["discriminator"]
    params = dict(net.named_parameters())

    def scores():
        return Scores.of(*(torch.func.functional_call(net, params, (x,)).score for x in (round.real.x, fake)))

    for _ in range(steps):
        slopes = torch.autograd.grad(divergence.critic_loss(scores()), list(params.values()), create_graph=True)
        params = {name: p - rate * slope for (name, p), slope in zip(params.items(), slopes, strict=True)}
    return (divergence.generator_loss if saturating else divergence.non_saturating_loss)(scores())


@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize("divergence", [GAN(), RpGAN()], ids=str)
@pytest.mark.parametrize("saturating", [True, False])
def test_unrolling_is_gradient_descent_on_the_critics_loss_differentiated_through(divergence, steps, saturating):
    networks = players()
    generator = list(networks["generator"].parameters())
    with a_round(networks) as round:
        got = UnrolledFool(divergence, steps, 0.3, saturating)(round)
        wanted = unrolled(networks, round, divergence, steps, 0.3, saturating)
        assert torch.allclose(got, wanted)
        slopes = [torch.autograd.grad(value, generator, retain_graph=True) for value in (got, wanted)]
        assert all(torch.allclose(a, b) for a, b in zip(*slopes, strict=True))
        if not steps:
            assert torch.equal(got, Fool(divergence, saturating)(round))


def test_unrolling_feels_how_the_critic_will_answer_and_moves_nothing():
    networks = players()
    before = {name: p.clone() for name, p in networks["discriminator"].named_parameters()}
    mean = networks["generator"].mean
    slopes = []
    for steps in (0, 5):
        with a_round(networks) as round:
            slopes.append(torch.autograd.grad(UnrolledFool(GAN(), steps, 0.5)(round), mean)[0])
    assert not torch.allclose(*slopes, rtol=1e-2)
    assert all(torch.equal(before[name], p) for name, p in networks["discriminator"].named_parameters())


def test_an_unrolled_linear_wasserstein_critic_is_known():
    """``D = ⟨w, x⟩``, ``L_D = ⟨w, m_G − m⟩``: after K steps of rate r, ``w_K = w + K r (m − m_G)``, so that the loss is
    ``−⟨w, m_G⟩ − K r ⟨m − m_G, m_G⟩``: the answer of the critic adds a pull towards half the data's mean."""

    class Line(Discriminator):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([0.3, -0.2], dtype=torch.float64))

        def forward(self, x, c=None):
            return Verdict(x @ self.w)

    networks = players(Line())
    with a_round(networks) as round:
        got = UnrolledFool(Wasserstein(), 4, 0.5)(round)
        data, fake = round.real.x.mean(0), round.fake().x.mean(0)
        wanted = -(networks["discriminator"].w @ fake) - 4 * 0.5 * (data - fake) @ fake
    assert torch.allclose(got, wanted)


class Mixing(Discriminator):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))

    def forward(self, x, c=None):
        return Verdict(self.body(x).sum(1))


def test_unrolling_a_critic_with_batch_statistics_is_refused():
    with pytest.raises(IncompatibleError, match="Mixing has batch statistics"):
        UnrolledFool(GAN()).check(players(Mixing()))


@pytest.mark.parametrize("term", [NoisyFool(Hinge(), saturating=False), UnrolledFool(Hinge(), saturating=False)])
def test_what_has_no_other_loss_is_refused(term):
    with pytest.raises(IncompatibleError, match="Hinge has no non-saturating form"):
        term.check(players())


@pytest.mark.parametrize(
    "term", [NoisyCriticise(GAN()), NoisyFool(GAN()), UnrolledFool(GAN(), 2)], ids=lambda t: t.label
)
def test_a_missing_player_is_refused(term):
    check_term(term)
    with pytest.raises(IncompatibleError, match="asks for the player 'discriminator'"):
        term.check({"generator": nn.Identity()})


def test_consistency_is_the_mean_squared_change_of_the_score():
    networks = players()
    with a_round(networks) as round:
        size = 0.3 * round.real.x.std(correction=0)
        judge = networks["discriminator"]
        sides = (("real", round.real.x), ("fake", round.fake().x))
        moved = [judge(x).score - judge(x + size * round.noise(f"consistency-{side}")).score for side, x in sides]
        assert torch.allclose(Consistency(0.3)(round), sum(change.square().mean() for change in moved))
        assert Consistency(0.0)(round).item() == 0


def test_consistency_is_the_squared_slope_for_little_noise():
    """``E (D(x + sδ) − D(x))² → s² ⟨∇D, δ⟩²``; of a linear critic at any ``s``."""

    class Line(Discriminator):
        def forward(self, x, c=None):
            return Verdict(x @ x.new_tensor([3.0, 4.0]))

    with a_round(players(Line())) as round:
        size = 0.3 * float(round.real.x.std(correction=0))
        along = [round.noise(f"consistency-{side}") @ torch.tensor([3.0, 4.0]).double() for side in ("real", "fake")]
        wanted = size**2 * sum(float(a.square().mean()) for a in along)
        assert Consistency(0.3)(round).item() == pytest.approx(wanted)


def test_a_term_without_its_optional_part_can_be_written_down():
    written = Part.of(NoisyCriticise(GAN()), ("term",)).json()
    assert written["options"]["schedule"] is None
    assert Part.parse(written).build() == NoisyCriticise(GAN())

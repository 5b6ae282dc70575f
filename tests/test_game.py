"""The round computes what is asked of it, once, while it is open; turns minimise weighted sums of terms."""

import math
from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType

import pytest
import torch
from torch import nn

from ganzoo.dataset import Batch
from ganzoo.discriminator import Discriminator, Verdict
from ganzoo.engine.eager import Eager
from ganzoo.engine.functional import Functional
from ganzoo.errors import IncompatibleError, UsageError
from ganzoo.game import Draw, Round, Sum, Turn, Weighted, part
from ganzoo.part import Option
from ganzoo.penalties import input_gradient
from ganzoo.recipe import create_recipe
from ganzoo.registry import Entry
from ganzoo.terms import Criticise, Fool, Likelihood, Term
from ganzoo.zoo.discriminators import MLPDiscriminator
from ganzoo.zoo.divergences import GAN, JensenShannon, KullbackLeibler
from ganzoo.zoo.generators import GaussianGenerator
from ganzoo.zoo.penalties import R1, GradientPenalty
from ganzoo.zoo.updates import Cosine, Linear

N = 6
SHAPE = Option("shape", int, low=1, many=True, fit="shape")


class Counted:
    """A network that remembers how often it was asked what."""

    def __init__(self, network: nn.Module, asked: Counter, player: str) -> None:
        self.network, self.asked, self.player = Functional(network), asked, player

    def __call__(self, x, c=None, *, params=None):
        self.asked[self.player] += 1
        return self.network(x, c, params=params)

    def log_prob(self, x, c=None):
        self.asked["log_prob"] += 1
        return self.network.log_prob(x, c)

    def parameters(self):
        return self.network.parameters()


@dataclass
class Table:
    """A round on small networks, and what it asked of them."""

    asked: Counter
    generator: GaussianGenerator
    discriminator: MLPDiscriminator

    def round(self, step: int = 0, steps: int = 1) -> Round:
        players = {"generator": self.generator, "discriminator": self.discriminator}
        networks = {player: Counted(network, self.asked, player) for player, network in players.items()}
        rng = torch.Generator().manual_seed(0)
        sources = {"generator": self.generator.source(N, rng)}
        draws = {"epsilon": torch.rand(N, 1, generator=rng)}
        return Round(networks, Batch(torch.randn(N, 2, generator=rng)), sources, draws, step, steps)


@pytest.fixture
def table():
    torch.manual_seed(0)
    return Table(Counter(), GaussianGenerator((2,)), MLPDiscriminator((2,), 16, 1))


@pytest.mark.parametrize(
    ("term", "asked"),
    [
        (Criticise(JensenShannon()), {"generator": 1, "discriminator": 2}),
        (Fool(JensenShannon()), {"generator": 1, "discriminator": 1}),
        (Fool(GAN(), saturating=False), {"generator": 1, "discriminator": 1}),
        (Likelihood(), {"log_prob": 1}),
        (R1(), {"discriminator": 1}),
        (GradientPenalty(), {"generator": 1, "discriminator": 1}),
    ],
    ids=lambda x: type(x).__name__,
)
def test_a_term_computes_what_it_reads_and_nothing_else(table, term, asked):
    with table.round() as round:
        term(round)
    assert table.asked == asked


def test_terms_of_one_turn_share_what_they_read(table):
    losses = Sum.of([Criticise(JensenShannon()), Criticise(KullbackLeibler()), GradientPenalty()])
    with table.round() as round:
        losses(round)
        losses.terms[0].term.observe(round)
    assert table.asked == {"generator": 1, "discriminator": 2 + 1}


def test_a_round_that_is_over_answers_nothing(table):
    with table.round() as round:
        scores = round.scores()
        round.fake()
    x = torch.zeros(N, 2)
    asks = (
        lambda: round.real,
        round.fake,
        round.real_verdict,
        round.fake_verdict,
        round.log_prob,
        lambda: round.discriminate(x),
        lambda: round.noise("epsilon"),
        lambda: scores.real,
        lambda: scores.fake,
    )
    for ask in asks:
        with pytest.raises(RuntimeError, match="this round is over"):
            ask()


def scaled(factor):
    return {"real": factor, "fake": 2 * factor, "fresh": 3 * factor}


@dataclass(frozen=True)
class Scaled:
    """Shows a discriminator the double of real samples, and so on."""

    factor: float

    def __call__(self, x, which):
        return scaled(self.factor)[which] * x


def test_a_round_seen_through_a_change_judges_changed_samples_and_shares_the_rest(table):
    with table.round() as round:
        seen = round.through("discriminator", Scaled(2.0))
        x, fake = round.real.x, round.fake().x
        judge = table.discriminator
        assert seen.fake() is round.fake()
        assert seen.real is round.real
        assert torch.equal(seen.noise("epsilon"), round.noise("epsilon"))
        assert torch.equal(seen.real_verdict().score, judge(2 * x).score)
        assert torch.equal(seen.fake_verdict().score, judge(4 * fake).score)
        assert torch.equal(seen.discriminate(x).score, judge(6 * x).score)
        assert torch.equal(round.real_verdict().score, judge(x).score)
        assert torch.equal(seen.log_prob(), round.log_prob())
    assert table.asked == {"generator": 1, "log_prob": 1, "discriminator": 2 + 1 + 1}


def test_equal_changes_are_one_and_others_are_seen_one_through_the_other(table):
    with table.round() as round:
        seen = round.through("discriminator", Scaled(2.0))
        assert round.through("discriminator", Scaled(2.0)) is seen
        assert round.through("discriminator", Scaled(3.0)) is not seen
        both = seen.through("discriminator", Scaled(3.0))
        assert torch.equal(both.real_verdict().score, table.discriminator(6 * round.real.x).score)
        other = round.through("nobody", Scaled(2.0))
        assert other.real_verdict() is round.real_verdict()
        assert other.fake_verdict() is round.fake_verdict()
        assert both.asked <= round.asked


def test_a_round_seen_through_a_change_is_over_with_it(table):
    with table.round() as round:
        seen = round.through("discriminator", Scaled(2.0))
        seen.real_verdict()
    for ask in (seen.fake, seen.real_verdict, seen.log_prob, lambda: seen.real, lambda: seen.through("x", Scaled(1.0))):
        with pytest.raises(RuntimeError, match="this round is over"):
            ask()


def test_a_round_knows_that_the_step_was_read_through_a_change(table):
    with table.round(step=7) as round:
        assert not round.timed
        assert round.through("discriminator", Scaled(2.0)).step == 7
        assert round.timed


def test_a_pair_is_judged_in_one_pass_through_a_change(table):
    with table.round() as whole:
        pairs = frozenset({("discriminator", "generator")})
        round = Round(whole._networks, whole.real, whole._sources, pairs=pairs)
        seen = round.through("discriminator", Scaled(2.0))
        apart = whole.through("discriminator", Scaled(2.0))
        for got, wanted in (
            (seen.real_verdict(), apart.real_verdict()),
            (seen.fake_verdict(), apart.fake_verdict()),
        ):
            assert torch.allclose(got.score, wanted.score, atol=1e-6)
        assert table.asked["discriminator"] == 1 + 2


def test_a_verdict_with_other_parameters_leaves_the_networks_own(table):
    other = {name: torch.zeros_like(p) for name, p in table.discriminator.named_parameters()}
    with table.round() as round:
        x = round.real.x
        own = round.discriminate(x).score
        assert not round.discriminate(x, params=other).score.any()
        assert torch.equal(round.discriminate(x).score, own)


def test_the_functional_network_is_the_module_with_its_parameters_replaced(table):
    x = torch.randn(N, 2)
    double = {name: 2 * p for name, p in table.generator.named_parameters()}
    expected = GaussianGenerator((2,))
    expected.load_state_dict({name: 2 * p for name, p in table.generator.state_dict().items()})
    assert torch.equal(Functional(table.generator, double)(x), expected(x))
    assert torch.equal(Functional(table.generator, double).log_prob(x), expected.log_prob(x))
    assert torch.equal(Functional(table.generator)(x), table.generator(x))


def test_the_parameters_of_a_player_are_what_it_is_called_with(table):
    with table.round() as round:
        params = round.parameters("discriminator")
        assert params.keys() == dict(table.discriminator.named_parameters()).keys()
        x = round.real.x
        expected = round.discriminate(x).score
        assert torch.equal(round.discriminate(x, params=params).score, expected)
        (slope,) = torch.autograd.grad(expected.sum(), params["body.0.bias"])
    assert slope.any()
    with pytest.raises(RuntimeError, match="this round is over"):
        round.parameters("discriminator")


def test_functional_parameters_stand_before_the_modules_own(table):
    other = {"body.0.bias": torch.ones(16)}
    now = Functional(table.discriminator, other).parameters()
    assert now["body.0.bias"] is other["body.0.bias"]
    assert now["body.0.weight"] is table.discriminator.body[0].weight


class Recording(Discriminator):
    """It writes down when it is prepared (``p``; ``P`` if gradients are on) and when it judges (``j``)."""

    def __init__(self, shape):
        super().__init__()
        self.line, self.happened = nn.Linear(math.prod(shape), 1), ""
        self.register_buffer("prepared", torch.zeros(()))

    def forward(self, x, c=None):
        self.happened += "j"
        return Verdict(self.line(x.flatten(1)).squeeze(1))

    def prepare(self):
        self.happened += "P" if torch.is_grad_enabled() else "p"
        self.prepared.add_(1)


@pytest.mark.parametrize("k", [1, 3])
def test_a_discriminator_is_prepared_once_before_each_of_its_rounds_and_in_no_other(adopt, k):
    adopt("discriminator", Entry("recording", f"{__name__}:Recording", "keeps count", (SHAPE,)))
    recipe = create_recipe("ns-gan.ring", {"discriminator": "recording", "k": k, "batch_size": 8})
    made = Eager(recipe, recipe.dataset.build().part("train"), 0, torch.device("cpu"))
    for step in range(3):
        made.step(step)
    discriminator = made.networks["discriminator"]
    assert discriminator.happened == ("pj" * k + "j") * 3  # real and generated samples are judged in one go
    assert float(discriminator.prepared) == 3 * k


def test_a_stacked_network_is_prepared_each_by_itself():
    networks = [Recording((2,)) for _ in range(3)]
    networks[1].prepared.fill_(5)
    params, buffers = torch.func.stack_module_state(networks)
    state = {**params, **buffers}

    def one(state):
        Functional(networks[0], state).prepare()
        return state["prepared"].clone()

    assert torch.func.vmap(one)(state).tolist() == [1, 6, 1]
    assert float(networks[0].prepared) == 0


def gradients(value: torch.Tensor, network: nn.Module) -> list[torch.Tensor]:
    return list(torch.autograd.grad(value, list(network.parameters()), allow_unused=True, materialize_grads=True))


@pytest.mark.parametrize("penalty", [R1(), GradientPenalty()], ids=lambda p: p.label)
def test_a_penalty_built_on_a_fresh_verdict_has_a_gradient(table, penalty):
    with table.round() as round:
        value = penalty(round)
    assert value > 0
    assert any(g.any() for g in gradients(value, table.discriminator))


def test_r1_is_the_mean_squared_input_gradient_by_double_backward(table):
    with table.round() as round:
        value = R1()(round)
        x = round.real.x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(table.discriminator(x).score.sum(), x, create_graph=True)
    expected = slope.square().sum(1).mean()
    torch.testing.assert_close(value, expected)
    for got, wanted in zip(*(gradients(v, table.discriminator) for v in (value, expected)), strict=True):
        torch.testing.assert_close(got, wanted)


def test_the_gradient_penalty_of_a_linear_critic_is_known(table):
    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([3.0, 4.0]))

        def forward(self, x, c=None):
            return Verdict(x @ self.w)

    table.discriminator = Linear()
    with table.round() as round:
        assert GradientPenalty()(round).item() == pytest.approx((5 - 1) ** 2)


def test_input_gradients_are_per_sample_and_keep_the_shape():
    x = torch.randn(4, 1, 2, 2)
    torch.testing.assert_close(input_gradient(lambda at: at.square().flatten(1).sum(1), x), 2 * x)


def constant(value: float):
    return lambda round: torch.tensor(value)


def total(losses, step: int = 0, steps: int = 10) -> float:
    return float(Sum.of(losses)(Round({}, Batch(torch.zeros(1, 1)), {}, step=step, steps=steps))[0])


def test_a_sum_is_of_weights_times_terms():
    one, two = Weighted(constant(1.0), 3.0), Weighted(constant(10.0), 0.5)
    assert total(one + two) == 8
    assert total([one, two]) == 8
    assert total(Sum.of(one) + two + constant(100.0)) == 108
    assert total(2 * one + two) == 11


def test_terms_add_and_scale_into_sums():
    loss = Criticise(JensenShannon()) + 5 * R1()
    assert [w.weight for w in loss] == [1.0, 5]
    assert [w.label for w in loss] == ["criticise", "r1"]


@pytest.mark.parametrize("every", [1, 4])
def test_a_lazy_term_is_as_strong_on_average(every):
    losses = [Weighted(constant(0.0)), Weighted(constant(1.0), 2.0, every)]
    values = [total(losses, step) for step in range(8)]
    assert sum(values) == 16
    assert sum(value > 0 for value in values) == 8 // every


def test_a_lazy_term_is_not_computed_in_between():
    calls: list[int] = []
    lazy = Weighted(lambda round: (calls.append(round.step), torch.ones(()))[1], every=3)
    for step in range(7):
        total([Weighted(constant(1.0)), lazy], step)
    assert calls == [0, 3, 6]


def test_a_turn_needs_a_term_at_every_step():
    with pytest.raises(UsageError, match="at least one term at every step"):
        Turn("generator", Weighted(constant(1.0), every=2))
    with pytest.raises(UsageError):
        Turn("generator", ())


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Linear(), {0: 1.0, 5: 0.5, 10: 0.0}),
        (Linear(begin=0.5, end=0.2), {0: 1.0, 5: 1.0, 10: 0.2}),
        (Linear(end=3.0), {0: 1.0, 5: 2.0, 10: 3.0}),
        (Cosine(), {0: 1.0, 5: 0.5, 10: 0.0}),
        (Cosine(end=0.5), {0: 1.0, 5: 0.75, 10: 0.5}),
    ],
    ids=repr,
)
def test_a_weight_follows_its_schedule(schedule, factors):
    for step, factor in factors.items():
        assert total(Weighted(constant(2.0), schedule), step) == pytest.approx(2 * factor)


def test_labels_are_numbered_where_they_repeat():
    _, values = Sum.of([R1(), R1(), R1()])(Round({"discriminator": square}, Batch(torch.ones(1, 1)), {}))
    assert list(values) == ["r1", "r1-2", "r1-3"]


def square(x, c=None, *, params=None):
    return Verdict(x.square().sum(1))


def test_parts_of_a_turn_are_built_into_what_they_name():
    turn = Turn("generator", Weighted(part("term", "fool", divergence="js"), part("schedule", "cosine")))
    (built,) = turn.built().losses
    assert built.term == Fool(JensenShannon())
    assert built.weight == Cosine()


@dataclass(frozen=True)
class Noisy(Term):
    draws = MappingProxyType({"epsilon": Draw("normal", "event")})
    label = "noisy"

    def __call__(self, round):
        return round.noise("epsilon").sum()


def test_a_turn_gathers_the_draws_of_its_terms_and_refuses_a_clash():
    assert set(Turn("discriminator", [R1(), GradientPenalty()]).draws()) == {"epsilon"}
    assert Turn("discriminator", R1()).draws() == {}
    with pytest.raises(UsageError, match="different draws under the name 'epsilon'"):
        Turn("discriminator", [Noisy(), GradientPenalty()]).draws()


@pytest.mark.parametrize(("like", "shape"), [("event", (5, 1, 8, 8)), ("sample", (5, 1, 1, 1))])
@pytest.mark.parametrize("law", ["normal", "uniform"])
def test_a_draw_has_the_shape_and_law_it_declares(law, like, shape):
    x = torch.zeros(5, 1, 8, 8, dtype=torch.float64)
    first, again = (Draw(law, like)(x, torch.Generator().manual_seed(3)) for _ in range(2))
    assert first.shape == shape
    assert first.dtype == x.dtype
    assert torch.equal(first, again)
    assert law == "normal" or first.clamp(0, 1).equal(first)


def test_a_term_that_asks_for_a_missing_player_is_refused():
    generator = {"generator": GaussianGenerator((2,))}
    for term in (Criticise(JensenShannon()), Fool(JensenShannon(), discriminator="critic")):
        with pytest.raises(
            IncompatibleError, match=r"asks for the player '(discriminator|critic)'; this method has generator"
        ):
            term.check(generator)


def test_the_estimate_is_observed_and_is_the_critics_loss_turned_round(table):
    term = Criticise(JensenShannon())
    with table.round() as round:
        assert term.observe(round)["estimate"].item() == pytest.approx(-term(round).item())

"""Penalties and updates by hand, and a few steps of every method on every dataset."""

import pytest
import torch

from ganzoo.dataset import Batch
from ganzoo.discriminator import Verdict
from ganzoo.divergence import FDivergence, SampleDivergence
from ganzoo.engine.eager import Eager
from ganzoo.errors import GanzooError, IncompatibleError
from ganzoo.game import Round
from ganzoo.plugins import registry
from ganzoo.recipe import create_recipe
from ganzoo.zoo.divergences import JensenShannon
from ganzoo_divergences.features import KernelMMD
from ganzoo_divergences.penalties import R2, Dragan, OneSidedGradientPenalty
from ganzoo_divergences.samples import MMD
from ganzoo_divergences.terms import Match
from ganzoo_divergences.updates import Clip, RMSprop

OWN = "ganzoo-divergences"
METHODS = [e.name for e in registry().all("method") if e.distribution == OWN]
DIVERGENCES = [e for e in registry().all("divergence") if e.distribution == OWN]
SMALL = {"generator.hidden": 8, "batch_size": 16, "steps": 2}


class Plane:
    """``D(x) = |x|²·a/2``: its gradient is ``a x``."""

    def __init__(self, a=1.0):
        self.a = a

    def __call__(self, x, c=None, *, params=None):
        return Verdict(self.a * x.square().sum(1) / 2)


def a_round(a=1.0, **draws):
    x = torch.tensor([[3.0, 4.0], [0.0, 0.5]])
    y = torch.tensor([[0.6, 0.8], [1.0, 0.0]])
    networks = {"discriminator": Plane(a), "generator": lambda z, c=None, *, params=None: z}
    return Round(networks, Batch(x), {"generator": (y, None)}, draws)


def few_steps(name, **overrides):
    """Two steps, which must stay finite and move the generator."""
    recipe = create_recipe(name, {**SMALL, **overrides})
    made = Eager(recipe, recipe.dataset.build().part("train"), 0, torch.device("cpu"))
    before = {k: v.clone() for k, v in made.networks["generator"].state_dict().items()}
    seen = [made.step(step) for step in range(recipe.steps)]
    assert all(bool(value.isfinite()) for row in seen for value in row.values())
    assert made.finite()
    after = made.networks["generator"].state_dict()
    assert any(not torch.equal(before[k], after[k]) for k in before)
    return made


@pytest.mark.parametrize("dataset", [e.name for e in registry().all("dataset") if e.distribution == "ganzoo"])
@pytest.mark.parametrize("method", METHODS)
def test_a_few_steps_of_every_method_on_every_dataset(method, dataset):
    few_steps(f"{method}.{dataset}")


@pytest.mark.parametrize("entry", DIVERGENCES, ids=str)
def test_every_divergence_trains(entry):
    built = entry.create({})
    if isinstance(built, SampleDivergence):
        few_steps("gmmn.ring", divergence=entry.name)
        with pytest.raises(IncompatibleError, match="without a critic"):
            create_recipe("f-gan.ring", {"divergence": entry.name})
        return
    few_steps("f-gan.ring", divergence=entry.name)
    few_steps("js-gan.ring", divergence=entry.name)
    if isinstance(built, FDivergence) or entry.name in ("rpgan", "ragan"):
        few_steps("ns-gan.ring", divergence=entry.name)
    with pytest.raises(IncompatibleError, match="by a critic"):
        create_recipe("gmmn.ring", {"divergence": entry.name})


def test_two_fixed_targets_that_are_one_are_refused():
    with pytest.raises(GanzooError, match="nothing is told apart"):
        create_recipe("lsgan.ring", {"a": 1.0})


def test_r2_is_the_squared_slope_at_generated_samples():
    with a_round(2.0) as round:
        assert float(R2()(round)) == pytest.approx(4.0)  # |2y|² with |y| = 1


def test_one_sided_costs_only_what_is_above_one():
    epsilon = torch.zeros(2, 1)  # at the real samples, of norm 5 and ½
    with a_round(epsilon=epsilon) as round:
        assert float(OneSidedGradientPenalty()(round)) == pytest.approx((5 - 1) ** 2 / 2)
    with a_round(0.1, epsilon=epsilon) as round:
        assert float(OneSidedGradientPenalty()(round)) == 0


def test_dragan_is_around_real_samples():
    delta = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    with a_round(delta=delta) as round:
        near = round.real.x + 0.5 * round.real.x.std(correction=0) * delta
        assert float(Dragan()(round)) == pytest.approx(float((near.norm(dim=1) - 1).square().mean()))
    with a_round(delta=delta) as round:
        assert float(Dragan(spread=0)(round)) == pytest.approx(((5 - 1) ** 2 + 0.5**2) / 2)


def test_match_is_the_divergence_of_the_two_batches():
    with a_round() as round:
        assert torch.equal(Match(MMD())(round), MMD().loss(round.real.x, round.fake().x))
    with pytest.raises(IncompatibleError, match="JensenShannon is measured by a critic"):
        Match(JensenShannon()).check({"generator": torch.nn.Identity()})
    with pytest.raises(IncompatibleError, match="player 'generator'"):
        Match(MMD()).check({"discriminator": torch.nn.Identity()})


def test_clip_leaves_what_is_inside():
    x = torch.tensor([-3.0, -0.005, 0.01, 7.0])
    Clip()([x])
    assert torch.equal(x, torch.tensor([-0.01, -0.005, 0.01, 0.01]))


def test_wgan_clips_its_critic_and_not_its_generator():
    made = few_steps("wgan.ring", clip=0.02)
    largest = {p: max(float(w.detach().abs().max()) for w in made.networks[p].parameters()) for p in made.networks}
    assert largest["discriminator"] == pytest.approx(0.02)
    assert largest["generator"] > 0.02


def test_rmsprop_is_the_recurrence():
    """``s ← α s + (1 − α) g²``, ``x ← x − lr g / (√s + ε)``."""
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    wanted, s = x.detach().clone(), torch.zeros(2)
    optimizer = RMSprop(lr=0.1, alpha=0.9).make([x])
    for _ in range(5):
        optimizer.zero_grad()
        x.square().sum().backward()
        optimizer.step()
        g = 2 * wanted
        s = 0.9 * s + 0.1 * g**2
        wanted = wanted - 0.1 * g / (s.sqrt() + 1e-8)
    assert torch.allclose(x.detach(), wanted)


@pytest.mark.parametrize(
    ("method", "labels", "repeats"),
    [
        ("wgan", ["criticise"], 5),
        ("wgan-gp", ["criticise", "gradient-penalty"], 5),
        ("dragan", ["criticise", "dragan"], 1),
        ("r3gan", ["criticise", "r1", "r2"], 1),
        ("lsgan", ["criticise"], 1),
        ("sngan", ["criticise"], 5),
        ("pacgan", ["criticise"], 1),
        ("mmd-gan", ["criticise", "witness-penalty"], 5),
        ("cr-gan", ["criticise", "consistency"], 1),
        ("noisy-gan", ["noisy-criticise"], 1),
        ("unrolled-gan", ["criticise"], 1),
    ],
)
def test_a_method_is_the_published_game(method, labels, repeats):
    recipe = create_recipe(f"{method}.ring")
    turn = recipe.turns[0].built()
    assert turn.losses.labels == labels
    assert turn.repeats == repeats
    weights = {name: [1, 10] for name in ("wgan-gp", "dragan", "mmd-gan", "cr-gan")} | {"r3gan": [1, 0.5, 0.5]}
    assert [w.weight for w in turn.losses] == weights.get(method, [1])
    assert (turn.project == Clip(0.01)) is (method == "wgan")


def test_the_critics_of_the_methods_are_theirs():
    critics = {"sngan": "sn-mlp", "pacgan": "packed-mlp", "mmd-gan": "smooth-mlp", "unrolled-gan": "mlp"}
    for method, critic in critics.items():
        assert create_recipe(f"{method}.ring").players["discriminator"].network.name == critic
    assert create_recipe("mmd-gan.ring").players["discriminator"].network.options["units"] == 16


def test_a_batch_of_pacgan_has_128_packs():
    for pack in (2, 3):
        recipe = create_recipe("pacgan.ring", {"pack": pack})
        assert recipe.batch_size == 128 * pack
        assert recipe.players["discriminator"].network.options["pack"] == pack
    with pytest.raises(IncompatibleError, match="a batch of 128 is not divided by packs of 3"):
        create_recipe("pacgan.ring", {"pack": 3, "batch_size": 128})


def test_the_kernel_of_mmd_gan_is_one_in_its_loss_and_its_penalty():
    recipe = create_recipe("mmd-gan.ring", {"divergence.kernel": "gaussian"})
    (criticise, penalty), (fool,) = (turn.built().losses for turn in recipe.turns)
    assert criticise.term.divergence == penalty.term.divergence == fool.term.divergence == KernelMMD("gaussian")
    with pytest.raises(IncompatibleError, match="Hinge has no witness"):
        create_recipe("mmd-gan.ring", {"divergence": "hinge"})


def test_the_noise_of_noisy_gan_falls_to_zero_in_both_turns():
    recipe = create_recipe("noisy-gan.ring", {"std": 0.3})
    terms = [losses.terms[0].term for losses in (turn.built().losses for turn in recipe.turns)]
    assert {term.std for term in terms} == {0.3}
    assert [terms[i].schedule(step, 10) for i in (0, 1) for step in (0, 5, 10)] == [1, 0.5, 0] * 2


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_a_schedule_of_its_rates_and_has_none_by_default(method):
    assert {p.schedule for p in create_recipe(f"{method}.ring").players.values()} == {None}
    recipe = create_recipe(f"{method}.ring", {"schedule": "cosine"})
    assert {p.schedule.name for p in recipe.players.values()} == {"cosine"}
    made = few_steps(f"{method}.ring", schedule="linear", steps=4)
    first = made.recipe.players["generator"].optimizer.options["lr"]
    assert {group["lr"] for o in made.optimizers.values() for group in o.param_groups} == {first * 0.25}

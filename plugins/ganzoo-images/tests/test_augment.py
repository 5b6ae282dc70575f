"""Differentiable augmentation: each change by a loop over pixels, and terms on images that were changed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.func import vmap

from ganzoo import Run
from ganzoo.dataset import Batch
from ganzoo.discriminator import Discriminator, Verdict
from ganzoo.divergence import Scores
from ganzoo.engine.functional import Functional
from ganzoo.errors import IncompatibleError, OptionError
from ganzoo.game import Draw, Round
from ganzoo.recipe import create_recipe
from ganzoo.terms import Criticise, Fool
from ganzoo.zoo.divergences import GAN
from ganzoo.zoo.penalties import R1
from ganzoo_divergences.critics import RpGAN
from ganzoo_images.augment import (
    POLICIES,
    Augmentation,
    Augmented,
    AugmentedPenalty,
    brightness,
    contrast,
    cutout,
    saturation,
    translation,
)
from ganzoo_images.generators import dcgan

SHAPES = [(1, 8, 8), (3, 9, 9), (2, 5, 12)]
#: A policy that has each change, not in the usual order.
ALL = ("translation", "color", "cutout")


def uniform(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def images(n, shape, seed=1):
    return 2 * uniform(n, *shape, seed=seed) - 1


# One change


def naive_translation(x, u, v):
    out = torch.zeros_like(x)
    n, _, height, width = x.shape
    for i in range(n):
        down, right = (
            math.floor((2 * s + 1) * float(w[i])) - s for w, s in ((u, round(height / 8)), (v, round(width / 8)))
        )
        for r in range(height):
            for q in range(width):
                if 0 <= r - down < height and 0 <= q - right < width:
                    out[i, :, r, q] = x[i, :, r - down, q - right]
    return out


def naive_cutout(x, u, v):
    out = x.clone()
    n, _, *sides = x.shape
    for i in range(n):
        rows, columns = [], []
        for w, side, hit in ((u, sides[0], rows), (v, sides[1], columns)):
            size = int(side / 2 + 0.5)
            centre = math.floor(float(w[i]) * (side + 1 - size % 2))
            hit += [k for k in range(centre - size // 2, centre - size // 2 + size) if 0 <= k < side]
        for r in rows:
            for q in columns:
                out[i, :, r, q] = 0
    return out


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_colours_are_changed_pixel_by_pixel(shape):
    x, u = images(6, shape), uniform(6, 1, 1, 1)
    lighter, greyer, flatter = brightness(x, u), saturation(x, u), contrast(x, u)
    for i in range(6):
        level, mean = float(u[i]), float(x[i].mean())
        for r in range(shape[1]):
            for q in range(shape[2]):
                grey = float(x[i, :, r, q].mean())
                for c in range(shape[0]):
                    was = float(x[i, c, r, q])
                    assert float(lighter[i, c, r, q]) == pytest.approx(was + level - 0.5)
                    assert float(greyer[i, c, r, q]) == pytest.approx(grey + 2 * level * (was - grey))
                    assert float(flatter[i, c, r, q]) == pytest.approx(mean + (level + 0.5) * (was - mean))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("change", "naive"), [(translation, naive_translation), (cutout, naive_cutout)])
def test_pixels_are_moved_and_cut_out_one_by_one(change, naive, shape):
    x, u, v = images(40, shape), uniform(40, 1, 1, 1, seed=2), uniform(40, 1, 1, 1, seed=3)
    u[0], v[0], u[1], v[1] = 0, 0, 1 - 1e-12, 1 - 1e-12
    assert torch.equal(change(x, u, v), naive(x, u, v))


def test_every_move_is_as_likely():
    x = torch.zeros(9_000, 1, 32, 32)
    x[:, :, 16, 16] = 1
    moved = translation(x, uniform(9_000, 1, 1, 1).float(), uniform(9_000, 1, 1, 1, seed=1).float())
    where = moved[:, 0].flatten(1).argmax(1)
    for found in (where // 32 - 16, where % 32 - 16):
        assert sorted(found.unique().tolist()) == list(range(-4, 5))
        assert found.add(4).bincount().sub(1_000).abs().max() < 5 * 1_000**0.5


def test_half_of_a_side_is_cut_out():
    x = torch.ones(2_000, 1, 16, 16)
    kept = cutout(x, uniform(2_000, 1, 1, 1).float(), uniform(2_000, 1, 1, 1, seed=1).float())
    gone = (kept == 0).flatten(1).sum(1)
    assert int(gone.max()) == 64
    assert int(gone.min()) >= 16, "its centre is in the image"


# A policy


def given(policy, n=5, seed=0):
    """An augmentation with its draws, and these."""
    names = Augmented(Criticise(GAN()), policy).draws
    noise = {name: uniform(n, 1, 1, 1, seed=seed + i) for i, name in enumerate(names)}
    return Augmentation(policy, noise.__getitem__), noise


def test_changes_are_made_in_the_order_of_the_policy():
    x = images(5, (3, 8, 8))
    for policy in (ALL, ALL[::-1], ("cutout", "translation"), ("color",)):
        change, noise = given(policy)
        wanted = x
        for name in policy:
            for each, draws in POLICIES[name].items():
                wanted = each(wanted, *(noise[f"real-{draw}"] for draw in draws))
        assert torch.equal(change(x, "real"), wanted)
    assert not torch.equal(given(ALL)[0](x, "real"), given(ALL[::-1])[0](x, "real"))


def test_real_and_generated_images_have_draws_of_their_own():
    change, _ = given(ALL)
    x = images(5, (3, 8, 8))
    assert not torch.allclose(change(x, "real"), change(x, "fake"))
    assert torch.equal(change(x, "real"), change(x, "fresh")), "what is judged afresh is the real batch"
    draws = Augmented(Criticise(GAN()), ALL).draws
    assert set(draws.values()) == {Draw("uniform", "sample")}
    assert len(draws) == 2 * 7
    assert {name.split("-")[0] for name in draws} == {"real", "fake"}


def test_draws_of_the_term_inside_stay():
    inner = Augmented(Criticise(GAN()), ("color",))
    assert set(Augmented(inner, ("cutout",)).draws) >= set(inner.draws)


@pytest.mark.parametrize("policy", [("color",), ("translation",), ("cutout",), ALL], ids=str)
def test_gradients_reach_the_image(policy):
    change, _ = given(policy, n=2)
    x = images(2, (2, 5, 5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: change(x, "fake"), (x,))
    (gradient,) = torch.autograd.grad(change(x, "fake").square().sum(), x)
    assert gradient.flatten(1).any(1).all()


def test_a_stack_of_replicas_is_its_replicas():
    x, change = images(12, (3, 8, 8)).view(3, 4, 3, 8, 8), Augmentation
    names = Augmented(Criticise(GAN()), ALL).draws
    noise = {name: uniform(3, 4, 1, 1, 1, seed=i) for i, name in enumerate(names)}
    got = vmap(lambda x, noise: change(ALL, noise.__getitem__)(x, "fake"))(x, noise)
    for i in range(3):
        own = {name: draw[i] for name, draw in noise.items()}
        assert torch.allclose(got[i], change(ALL, own.__getitem__)(x[i], "fake"), atol=1e-12)


def test_what_is_no_image_is_refused():
    with pytest.raises(IncompatibleError, match=r"a sample is \(2,\)"):
        given(("color",))[0](torch.zeros(5, 2), "real")
    with pytest.raises(IncompatibleError, match="images"):
        Augmented(Criticise(GAN())).check(create_recipe("js-gan.ring").networks())
    with pytest.raises(OptionError, match="rotation"):
        create_recipe("dcgan.shapes", {"augment": "rotation"})


# Terms


class Judge(Discriminator):
    """Smooth, so that its gradient has one."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    def forward(self, x, c=None):
        return Verdict(self.body(x)[:, 0])


@pytest.fixture
def networks():
    torch.manual_seed(0)
    return {"generator": dcgan((1, 8, 8), width=4).double().eval(), "discriminator": Judge()}


def a_round(networks, policy=ALL):
    rng = torch.Generator().manual_seed(3)
    functions = {player: Functional(network) for player, network in networks.items()}
    source = networks["generator"].source(5, rng)[0].double()
    return Round(functions, Batch(images(5, (1, 8, 8))), {"generator": (source, None)}, given(policy)[1])


def by_hand(round, policy=ALL):
    """Scores of images that were changed before anything judged them."""
    change = given(policy)[0]
    real, fake = change(round.real.x, "real"), change(round.fake().x, "fake")
    return Scores.of(round.discriminate(real).score, round.discriminate(fake).score)


@pytest.mark.parametrize("divergence", [GAN(), RpGAN()], ids=str)
@pytest.mark.parametrize("policy", [ALL, ("cutout",)], ids=str)
def test_an_augmented_term_is_the_term_on_augmented_images(networks, divergence, policy):
    with a_round(networks, policy) as round:
        wanted = by_hand(round, policy)
        critic, fool = (Augmented(term, policy) for term in (Criticise(divergence), Fool(divergence)))
        assert torch.allclose(critic(round), divergence.critic_loss(wanted))
        assert torch.allclose(fool(round), divergence.generator_loss(wanted))
        assert torch.allclose(critic.observe(round)["estimate"], divergence.estimate(wanted))
        assert not torch.allclose(Criticise(divergence)(round), critic(round)), "the round itself is as it was"
        assert critic.label == Criticise(divergence).label


def test_the_generator_learns_through_the_change(networks):
    with a_round(networks) as round:
        Augmented(Fool(GAN(), saturating=False), ALL)(round).backward()
    assert all(p.grad is not None and p.grad.any() for p in networks["generator"].parameters())


def test_an_augmented_penalty_is_of_the_discriminator_after_the_change(networks):
    with a_round(networks) as round:
        x = round.real.x.clone().requires_grad_()
        score = networks["discriminator"](given(ALL)[0](x, "real")).score
        (gradient,) = torch.autograd.grad(score.sum(), x)
        wanted = gradient.square().flatten(1).sum(1).mean()
        assert torch.allclose(AugmentedPenalty(R1(), ALL)(round), wanted)
        assert not torch.allclose(R1()(round), wanted)


# Games


@pytest.mark.parametrize("method", ["dcgan", "sngan-resnet", "r3gan-resnet", "stylegan2"])
def test_a_method_augments_all_that_its_discriminator_is_asked(method):
    recipe = create_recipe(f"{method}.shapes", {"augment": "translation,cutout"})
    plain = create_recipe(f"{method}.shapes")
    for turn, before in zip(recipe.turns, plain.turns, strict=True):
        for weighted, own in zip(turn.losses, before.losses, strict=True):
            assert weighted.term.name == "augmented"
            assert tuple(weighted.term.options["policy"]) == ("translation", "cutout")
            assert weighted.term.options[own.term.kind].name == own.term.name
            assert (weighted.weight, weighted.every) == (own.weight, own.every)


def test_it_trains(tmp_path):
    overrides = {"generator.width": 8, "discriminator.width": 8, "batch_size": 16, "steps": 3, "evaluations": 1}
    recipe = create_recipe("dcgan.shapes", {**overrides, "augment": "translation,cutout"})
    run = Run(recipe, 0, tmp_path, device="cpu", draw=False)
    assert run.train().status == "finished"

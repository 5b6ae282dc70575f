"""Every method goes on every dataset by name; what does not fit is refused before training, with the reason."""

import copy
import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from ganzoo import api
from ganzoo.dataset import Batch
from ganzoo.discriminator import Discriminator, Verdict
from ganzoo.errors import ExportError, GanzooError, IncompatibleError, OptionError, UnknownNameError, UsageError
from ganzoo.game import Turn, part
from ganzoo.generator import Generator
from ganzoo.part import Option
from ganzoo.plugins import registry
from ganzoo.recipe import Method, Recipe, create_recipe, recipe_names
from ganzoo.registry import Entry, Expected, RecipeEntry
from ganzoo.zoo.datasets import TwoMoons

NAMES = recipe_names()
SHAPE = Option("shape", int, low=1, many=True, fit="shape")


class ImageGenerator(Generator):
    """It can only make images."""

    def __init__(self, shape):
        super().__init__()
        if len(shape) != 3:
            raise IncompatibleError(
                f"ImageGenerator makes images (channels, height, width), the data are {tuple(shape)}"
            )
        self.up = nn.ConvTranspose2d(4, shape[0], shape[1:])

    def source(self, n, rng, batch=None, label=None):
        return torch.randn(n, 4, 1, 1, generator=rng), None

    def forward(self, z, c=None):
        return self.up(z)


class MixingDiscriminator(Discriminator):
    """It has batch statistics."""

    def __init__(self, shape):
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.LazyLinear(8) if not shape else nn.Linear(shape[0], 8), nn.BatchNorm1d(8)
        )

    def forward(self, x, c=None):
        return Verdict(self.body(x).mean(1))


@pytest.fixture
def zoo(adopt):
    adopt("generator", Entry("image", f"{__name__}:ImageGenerator", "images only", (SHAPE,)))
    adopt("discriminator", Entry("mixing", f"{__name__}:MixingDiscriminator", "batch statistics", (SHAPE,)))


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_goes_through_json_and_keeps_its_digest(name):
    recipe = create_recipe(name)
    again = Recipe.parse(json.loads(json.dumps(recipe.json())))
    assert again == recipe
    assert again.digest == recipe.digest
    assert repr(again) == repr(recipe)
    assert again.check() is again


def test_there_is_a_recipe_for_every_pair():
    assert len(NAMES) >= 4 * 5
    assert {"js-gan.ring", "ns-gan.digits", "mle-gmm.two-moons"} <= set(api.list_recipes())
    assert api.list_recipes("js-gan.*") == [name for name in NAMES if name.startswith("js-gan.")]


def test_different_definitions_have_different_digests():
    recipes = [create_recipe("js-gan.ring", {"steps": steps}) for steps in (1, 2)] + [create_recipe("ns-gan.ring")]
    assert len({recipe.digest for recipe in recipes}) == 3


@pytest.mark.parametrize(
    ("override", "read"),
    [
        (
            {"divergence": "kl"},
            lambda r: [w.term.options["divergence"].name for t in r.turns for w in t.losses] == ["kl", "kl"],
        ),
        ({"generator.hidden": 256}, lambda r: r.players["generator"].network.options["hidden"] == 256),
        ({"generator.hidden": "256"}, lambda r: r.players["generator"].network.options["hidden"] == 256),
        ({"discriminator.depth": 1}, lambda r: r.players["discriminator"].network.options["depth"] == 1),
        ({"optimizer": "sgd"}, lambda r: {p.optimizer.name for p in r.players.values()} == {"sgd"}),
        ({"optimizer.lr": "1e-4"}, lambda r: {p.optimizer.options["lr"] for p in r.players.values()} == {1e-4}),
        ({"optimizer.lr": 1e-4}, lambda r: r.players["generator"].optimizer.options["beta1"] == 0.5),
        (
            {"optimizer": "sgd", "optimizer.momentum": 0.9},
            lambda r: r.players["generator"].optimizer.options["momentum"] == 0.9,
        ),
        ({"dataset.std": 0.1}, lambda r: r.dataset.options["std"] == 0.1),
        ({"dataset.modes": 5}, lambda r: r.dataset.options["modes"] == 5),
        ({"generator": "gmm"}, lambda r: r.players["generator"].network.options["components"] == 8),
        (
            {"generator": "gmm", "generator.components": 3},
            lambda r: r.players["generator"].network.options["components"] == 3,
        ),
        ({"k": "5"}, lambda r: r.turns[0].repeats == 5),
        (
            {"steps": "7", "batch_size": 9, "ema": 0.5, "evaluations": 2},
            lambda r: (r.steps, r.batch_size, r.ema) == (7, 9, 0.5),
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_an_override_reaches_its_place_and_the_json(override, read):
    recipe = create_recipe("js-gan.ring", override)
    assert read(recipe)
    assert recipe != create_recipe("js-gan.ring")
    assert recipe.overridden == override
    assert Recipe.parse(recipe.json()) == recipe


def test_networks_are_fitted_to_the_data():
    for name, shape in (("js-gan.ring", (2,)), ("js-gan.mixture-1d", (1,)), ("js-gan.digits", (1, 8, 8))):
        recipe = create_recipe(name)
        assert {p.network.options["shape"] for p in recipe.players.values()} == {shape}


@pytest.mark.parametrize(
    ("name", "override", "reason"),
    [
        ("js-gan.ring", {"step": 5}, "has no option 'step'; did you mean steps"),
        ("js-gan.ring", {"generator.hiden": 5}, "generator mlp has no option 'hiden'; did you mean hidden"),
        ("js-gan.ring", {"generator.hidden": 0}, "hidden=0 is not allowed; it takes int ≥ 1 ≤ 65536"),
        ("js-gan.ring", {"critic.hidden": 5}, "has no option 'critic.hidden'"),
        ("js-gan.ring", {"divergence": "lk"}, "no divergence is called 'lk'; .*kl"),
        ("js-gan.ring", {"divergence": 5}, "divergence=5 is not allowed"),
        ("js-gan.ring", {"generator": "gnn"}, "no generator is called 'gnn'; .*gmm"),
        ("js-gan.ring", {"dataset": "grid"}, "has no option 'dataset'"),
        ("js-gan.ring", {"dataset.noise": 1}, "dataset ring has no option 'noise'"),
        ("js-gan.ring", {"steps": 0}, "steps=0 is not allowed"),
        ("js-gan.ring", {"steps": "many"}, "steps='many' is not allowed"),
        ("mle-gmm.ring", {"discriminator.hidden": 5}, "has no option 'discriminator.hidden'"),
        ("js-gan.ring", {"optimizer.lr": "nan"}, "lr=.*is not allowed"),
        ("js-gan.rign", {}, "no dataset is called 'rign'; did you mean ring"),
        ("sj-gan.ring", {}, "no method is called 'sj-gan'; did you mean"),
        ("js-gan", {}, "recipes are named method.dataset"),
    ],
    ids=str,
)
def test_a_wrong_override_is_refused_with_what_is_right(name, override, reason):
    with pytest.raises(UsageError, match=reason):
        create_recipe(name, override)


def test_classes_are_those_of_the_data_where_they_are_left_to_them():
    for said, classes in ((None, 8), ("none", 8), ("3", None), (0, 0)):
        given = {"generator.classes": said}
        if classes is None:
            with pytest.raises(IncompatibleError, match=r"generator\.classes=3, but the data have 8 labels"):
                create_recipe("js-gan.ring", given)
        else:
            recipe = create_recipe("js-gan.ring", given)
            assert recipe.players["generator"].network.options["classes"] == classes
            assert Recipe.parse(recipe.json()) == recipe


def test_data_without_labels_are_none_to_read(adopt):
    adopt("dataset", Entry("cloud", f"{__name__}:Cloud"))
    assert create_recipe("js-gan.cloud").players["generator"].network.options["classes"] == 0
    with pytest.raises(IncompatibleError, match="mlp is to have as many classes as the data, which have none"):
        create_recipe("js-gan.cloud", {"generator.classes": None})


class Cloud(TwoMoons):
    """Two moons whose labels nobody knows."""

    classes = None

    def part(self, name):
        return Batch(super().part(name).x)


def test_what_takes_a_networks_place_is_left_to_the_data_as_it_was(adopt):
    adopt("method", Entry("labelled", f"{__name__}:labelled"))
    recipe = create_recipe("labelled.digits", {"discriminator": "fourier-mlp"})
    assert {p.network.options["classes"] for p in recipe.players.values()} == {10}
    with pytest.raises(IncompatibleError, match="needs a generator with the option classes, and gaussian has none"):
        create_recipe("labelled.digits", {"generator": "gaussian"})


def labelled() -> Method:
    """Both players read the label."""
    plain = registry().find("method", "js-gan").create({})
    players = {name: replace(p, network=part(name, "mlp", classes=None)) for name, p in plain.players.items()}
    return replace(plain, players=players)


def test_the_average_may_be_said_by_the_samples_until_it_halves():
    ema = create_recipe("js-gan.ring", {"ema_images": 12_800, "k": 2}).ema
    assert ema == pytest.approx(0.5 ** (2 * 128 / 12_800))
    assert ema ** (12_800 / 256) == pytest.approx(0.5)
    with pytest.raises(OptionError, match="ema and ema_images both say the same thing"):
        create_recipe("js-gan.ring", {"ema_images": 1_000, "ema": 0.5})


def test_an_image_generator_on_points_is_refused_with_the_reason(zoo):
    with pytest.raises(IncompatibleError, match=r"makes images \(channels, height, width\), the data are \(2,\)"):
        create_recipe("js-gan.ring", {"generator": "image"})
    recipe = create_recipe("js-gan.digits", {"generator": "image"})
    assert recipe.players["generator"].network.name == "image"


def test_likelihood_of_a_generator_without_density_is_refused_with_the_reason():
    with pytest.raises(
        IncompatibleError, match="maximum likelihood needs a generator with log_prob, and MLPGenerator has none"
    ):
        create_recipe("mle-gaussian.ring", {"generator": "mlp"})


@pytest.mark.parametrize("penalty", ["r1", "gradient-penalty"])
def test_a_gradient_penalty_on_batch_statistics_is_refused_with_the_reason(zoo, penalty):
    recipe = create_recipe("js-gan.ring", {"discriminator": "mixing"})
    loss = recipe.turns[0].losses + part("penalty", penalty)
    punished = copy.replace(recipe, turns=(Turn("discriminator", loss),)) if hasattr(copy, "replace") else None
    punished = punished or Recipe(**{**vars(recipe), "turns": (Turn("discriminator", loss),)})
    with pytest.raises(IncompatibleError, match=r"MixingDiscriminator has batch statistics \(BatchNorm1d\)"):
        punished.check()


class Pairs(Discriminator):
    """It judges two samples at a time."""

    def __init__(self, shape):
        super().__init__()
        self.line = nn.Linear(2 * math.prod(shape), 1)

    def forward(self, x, c=None):
        if len(x) % 2:
            raise IncompatibleError(f"a batch of {len(x)} is not divided by pairs")
        return Verdict(self.line(x.reshape(len(x) // 2, -1)).squeeze(1))


def test_a_batch_that_packs_do_not_divide_is_refused_with_the_reason(adopt):
    adopt("discriminator", Entry("pairs", f"{__name__}:Pairs", "two at a time", (SHAPE,)))
    for name in ("ns-gan.ring", "ns-gan.digits"):
        assert create_recipe(name, {"discriminator": "pairs", "batch_size": 6}).batch_size == 6
        with pytest.raises(IncompatibleError, match=f"{name}: a batch of 7 is not divided by pairs"):
            create_recipe(name, {"discriminator": "pairs", "batch_size": 7})


def test_whatever_a_discriminator_raises_when_it_is_tried_is_one_clear_refusal(adopt):
    adopt("discriminator", Entry("mixing", f"{__name__}:MixingDiscriminator", "points alone", (SHAPE,)))
    with pytest.raises(IncompatibleError, match=r"MixingDiscriminator does not take a batch of shape \(128, 1, 8, 8\)"):
        create_recipe("ns-gan.digits", {"discriminator": "mixing"})


def test_both_players_of_a_game_follow_one_schedule_if_any():
    assert {p.schedule for p in create_recipe("ns-gan.ring").players.values()} == {None}
    recipe = create_recipe("ns-gan.ring", {"schedule": "cosine", "schedule.end": 0.1})
    assert [p.schedule for p in recipe.players.values()] == [part("schedule", "cosine", end=0.1)] * 2
    assert Recipe.parse(recipe.json()) == recipe
    assert create_recipe("ns-gan.ring", {"schedule": "none"}).digest == create_recipe("ns-gan.ring").digest
    with pytest.raises(OptionError, match="schedule is none, it has no end; give schedule too"):
        create_recipe("ns-gan.ring", {"schedule.end": 0.1})


def test_a_turn_of_nobody_is_refused():
    recipe = create_recipe("mle-gaussian.ring")
    with pytest.raises(IncompatibleError, match="a turn is of 'critic'; players: generator"):
        Recipe(**{**vars(recipe), "turns": (Turn("critic", part("term", "likelihood")),)}).check()


def test_a_recipe_with_a_bare_callable_works_and_is_refused_for_export():
    def loss(round):
        return round.fake().x.square().mean()

    recipe = create_recipe("mle-gaussian.ring")
    own = Recipe(**{**vars(recipe), "turns": (Turn("generator", loss),)})
    assert own.check() is own
    with pytest.raises(ExportError, match="has no registered name"):
        own.json()


def mutations(data):
    """JSON of a recipe, each with one thing wrong."""
    for path, value in [
        (("format",), 2),
        (("format",), None),
        (("name",), "../../etc/passwd"),
        (("name",), "js-gan"),
        (("name",), 5),
        (("extra",), 1),
        (("steps",), -1),
        (("steps",), True),
        (("ema",), float("nan")),
        (("batch_size",), 10**400),
        (("dataset",), "ring"),
        (("dataset",), {"kind": "generator", "name": "gaussian", "options": {"shape": [2]}}),
        (("dataset", "name"), "os:system"),
        (("dataset", "options"), {"std": "inf"}),
        (("players",), [1]),
        (("players", "generator"), "mlp"),
        (("players", "generator", "network"), {"kind": "executor", "name": "local"}),
        (("players", "generator", "network", "target"), "os:system"),
        (("players", "generator", "optimizer", "options", "lr"), "1e999"),
        (("players", "generator", "schedule"), {"kind": "term", "name": "likelihood"}),
        (("turns",), 5),
        (("turns",), [None]),
        (("turns", 0, "losses"), []),
        (("turns", 0, "losses", 0, "every"), 0),
        (("turns", 0, "losses", 0, "weight"), "heavy"),
        (("turns", 0, "losses", 0, "term"), {"kind": "executor", "name": "local"}),
        (("turns", 0, "losses", 0, "term", "options", "divergence"), {"kind": "executor", "name": "local"}),
        (("turns", 0, "repeats"), 1.5),
        (("turns", 0, "project"), {"kind": "term", "name": "likelihood"}),
        (("simultaneous",), "perhaps"),
    ]:
        changed = json.loads(json.dumps(data))
        at = changed
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        yield pytest.param(changed, id=f"{'.'.join(map(str, path))}={value!r:.30}")
    for key in data:
        yield pytest.param({k: v for k, v in data.items() if k != key}, id=f"without {key}")
    for whole in (None, [], "js-gan.ring", 5):
        yield pytest.param(whole, id=repr(whole))


@pytest.mark.parametrize("data", [*mutations(create_recipe("js-gan.ring").json())])
def test_hostile_json_is_refused(data):
    with pytest.raises(GanzooError):
        Recipe.parse(data).check()


@pytest.fixture
def disc(adopt):
    """A dataset of a plugin, and its named recipes."""
    adopt("dataset", Entry("disc", "ganzoo.zoo.datasets:Ring", "a ring"))

    def name(method: str, expected: tuple[Expected, ...] = (), **overrides):
        adopt("recipe", RecipeEntry(f"{method}.disc", summary="named", overrides=overrides, expected=expected))

    return name


def test_a_named_recipe_brings_its_overrides_and_what_was_published(disc):
    disc("js-gan", (Expected("modes", 25.0),), steps=3)
    recipe = create_recipe("js-gan.disc")
    assert recipe.steps == 3
    assert recipe.expected == (Expected("modes", 25.0),)
    assert create_recipe("js-gan.disc", {"steps": 4}).steps == 4
    assert create_recipe("ganzoo/JS_GAN.acme/disc") == recipe


def test_replacing_a_network_drops_what_the_named_recipe_said_of_the_old_one(disc):
    disc("mle-gmm", **{"generator.floor": 2e-3})
    assert create_recipe("mle-gmm.disc").players["generator"].network.options["floor"] == 2e-3
    assert "floor" not in create_recipe("mle-gmm.disc", {"generator": "gaussian"}).players["generator"].network.options


def test_a_plugin_with_a_core_name_makes_recipes_of_its_own(adopt):
    adopt("dataset", Entry("ring", "ganzoo.zoo.datasets:Grid", "not the core's"))
    recipe = create_recipe("js-gan.acme/ring")
    assert recipe.name == "js-gan.acme/ring"
    assert type(recipe.dataset.build()).__name__ == "Grid"
    assert Recipe.parse(recipe.json()) == recipe
    assert "js-gan.acme/ring" in recipe_names()
    assert type(create_recipe("js-gan.ring").dataset.build()).__name__ == "Ring"


def test_create_makes_any_kind():
    assert api.create("dataset", "ring", std=0.02).modes.std[0] == pytest.approx(0.02)
    assert api.create("recipe", "js-gan.ring", steps=100).steps == 100
    assert api.create("suite", "default").recipes
    with pytest.raises(UnknownNameError, match="'datasat' is no kind; did you mean dataset"):
        api.create("datasat", "ring")
    with pytest.raises(OptionError):
        api.create("dataset", "ring", std=-1)


def test_papers_are_found_from_the_recipe():
    paper = create_recipe("ns-gan.ring").paper
    assert paper is not None
    assert paper.year == 2014

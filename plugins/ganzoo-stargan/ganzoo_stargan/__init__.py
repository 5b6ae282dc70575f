"""StarGAN and CycleGAN for ganzoo. This module is light: it declares entries and imports nothing that they point to."""

from __future__ import annotations

from typing import Any, Final

from ganzoo import Entry, Option, Paper, Part, RecipeEntry, SuiteEntry, hookimpl
from ganzoo_images import FLIP, LOGIT, SEED, WIDTH

CHOI: Final = Paper(
    "StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image Translation",
    "Yunjey Choi and Minje Choi and Munyoung Kim and Jung-Woo Ha and Sunghun Kim and Jaegul Choo",
    2018,
    "IEEE Conference on Computer Vision and Pattern Recognition",
    "https://arxiv.org/abs/1711.09020",
)
ZHU: Final = Paper(
    "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
    "Jun-Yan Zhu and Taesung Park and Phillip Isola and Alexei A. Efros",
    2017,
    "IEEE International Conference on Computer Vision",
    "https://arxiv.org/abs/1703.10593",
)

SHAPE: Final = Option("shape", int, low=1, high=4096, many=True, fit="shape", help="of one sample")
CLASSES: Final = Option(
    "classes", int, 0, low=0, high=100_000, optional=True, fit="classes", help="labels; none: as many as the data have"
)
#: Those of the recipe: of five colours in one shape, and of another shape.
GLASSES: Final = "hip-rose,square-black,square-blue,square-frog-green,square-red,square-yellow-saturated"


@hookimpl
def ganzoo_generators() -> list[Entry]:
    here = "ganzoo_stargan.networks"
    blocks = Option("blocks", int, 6, low=1, high=64, help="residual blocks of the smallest map")
    attention = Option("attention", bool, False, help="keep what of the source is to stay as it is")
    hidden = Option("hidden", int, 128, low=1, high=65_536, help="units in a hidden layer")
    depth = Option("depth", int, 2, low=1, high=64, help="hidden layers")
    return [
        Entry(
            "stargan",
            f"{here}:StarGenerator",
            "from an image and a label to an image of that label",
            (SHAPE, WIDTH, blocks, CLASSES, attention),
            CHOI,
        ),
        Entry(
            "cyclegan",
            f"{here}:CycleGenerator",
            "the same by a network for each label",
            (SHAPE, WIDTH, blocks, CLASSES, attention),
            ZHU,
        ),
        Entry(
            "point-translator",
            f"{here}:PointTranslator",
            "from a vector and a label to a vector of that label",
            (SHAPE, hidden, depth, CLASSES),
        ),
        Entry(
            "point-cyclegan",
            f"{here}:PointCycle",
            "the same by a network for each label",
            (SHAPE, hidden, depth, CLASSES),
        ),
    ]


@hookimpl
def ganzoo_discriminators() -> list[Entry]:
    here, options = "ganzoo_stargan.networks", (SHAPE, WIDTH, CLASSES)
    star, cycle = "a score for each patch, and class logits of the whole image", "a score for each patch, by label"
    return [
        Entry("stargan", f"{here}:PatchDiscriminator", star, options, CHOI),
        Entry("cyclegan", f"{here}:CycleDiscriminator", cycle, options, ZHU),
    ]


@hookimpl
def ganzoo_terms() -> list[Entry]:
    generator = Option("generator", str, "generator", help="which player")
    summary = "distance of samples from what comes back when they are translated there and back"
    stays = "distance of samples from what is made of them where they are to stay as they are"
    return [
        Entry("cycle", "ganzoo_stargan.terms:Cycle", summary, (generator,), ZHU),
        Entry("identity", "ganzoo_stargan.terms:Identity", stays, (generator,), ZHU),
    ]


@hookimpl
def ganzoo_methods() -> list[Entry]:
    here = "ganzoo_stargan.methods"
    cycle = Option("reconstruction", float, 10.0, low=0, help="weight of the distance from what comes back")
    stays = Option("identity", float, 0.0, low=0, help="weight of the distance from what is asked to stay as it is")
    falling = Option(
        "schedule",
        "schedule",
        Part("schedule", "linear", {"begin": 0.5}),
        optional=True,
        help="of both players' learning rates",
    )
    star = (
        Option("classification", float, 1.0, low=0, help="weight of the cross-entropy of labels"),
        cycle,
        stays,
        Option("penalty", float, 10.0, low=0, help="weight of the gradient penalty"),
        Option("k", int, 5, low=1, high=1_000, help="steps of the discriminator for one of the generator"),
        Option("optimizer", "optimizer", _adam(1e-4)),
        falling,
    )
    one, each = "one generator that translates between all labels, and back", "a generator for each label, and back"
    return [
        Entry("stargan", f"{here}:stargan", one, star, CHOI),
        Entry(
            "cyclegan",
            f"{here}:cyclegan",
            each,
            (cycle, stays, Option("optimizer", "optimizer", _adam(2e-4)), falling),
            ZHU,
        ),
    ]


def _adam(lr: float) -> Part:
    return Part("optimizer", "adam", {"lr": lr, "beta1": 0.5, "beta2": 0.999})


@hookimpl
def ganzoo_datasets() -> list[Entry]:
    here = "ganzoo_stargan.datasets"
    of = ("background", "body", "accessory", "head", "glasses")
    characters = (
        Option("source", str, None, optional=True, help="folder of image-data.json; default: $GANZOO_DATA/nouns"),
        Option("attribute", str, "glasses", choices=of, help="what the label is"),
        Option("labels", str, None, many=True, optional=True, help="those that there are to be; default: all"),
        Option("train", int, 20_000, low=100, high=1_000_000, help="characters of the train part"),
        FLIP,
        LOGIT,
        SEED,
    )
    size = Option("size", int, 28, choices=(28, 32), help="32 with a black border")
    return [
        Entry("nouns", f"{here}:nouns", "characters of five parts, 3 × 32 × 32, true translations known", characters),
        Entry(
            "coloured-mnist",
            f"{here}:coloured_mnist",
            "digits in six colours, 3 × 28 × 28, true translations known",
            (size, FLIP, LOGIT, SEED),
        ),
    ]


@hookimpl
def ganzoo_metrics() -> list[Entry]:
    here, extractor = "ganzoo_stargan.metrics", Option("extractor", "extractor", "reference", help="who judges")
    return [
        Entry(
            "domain-error",
            f"{here}:DomainError",
            "translations that a classifier does not take for what was asked for",
            (extractor,),
            CHOI,
        ),
        Entry("reconstruction", f"{here}:Reconstruction", "distance of samples from what comes back", paper=ZHU),
        Entry("true-distance", f"{here}:TrueDistance", "distance of translations from the true ones"),
        Entry("changed-outside", f"{here}:ChangedOutside", "pixels changed that the label has nothing to do with"),
    ]


@hookimpl
def ganzoo_recipes() -> list[RecipeEntry]:
    points: dict[str, Any] = {
        "discriminator": "mlp",
        "steps": 3_000,
        "batch_size": 128,
        "evaluations": 4,
        "optimizer.lr": 1e-3,
    }
    star = {**points, "generator": "point-translator", "discriminator.head": "classify"}
    faces = {
        "dataset.attribute": "Black_Hair,Blond_Hair,Brown_Hair,Male,Young",
        "dataset.size": 128,
        "dataset.flip": True,
    }
    return [
        RecipeEntry("stargan.ring", summary="points in the plane, eight labels", overrides=star),
        RecipeEntry("stargan.two-moons", summary="points in the plane, two labels", overrides=star),
        RecipeEntry(
            "cyclegan.two-moons",
            summary="points in the plane, from one moon to the other and back",
            overrides={**points, "generator": "point-cyclegan"},
        ),
        RecipeEntry(
            "stargan.nouns",
            summary="six glasses; all else is kept by attention",
            overrides={"dataset.labels": GLASSES, "generator.attention": True},
        ),
        RecipeEntry("stargan.celeba", summary="the paper's: five attributes at 128 × 128", overrides=faces),
    ]


@hookimpl
def ganzoo_suites() -> list[SuiteEntry]:
    points = ("stargan.ring", "stargan.two-moons", "cyclegan.two-moons")
    small: dict[str, Any] = {
        "generator.width": 16,
        "generator.blocks": 3,
        "discriminator.width": 16,
        "optimizer.lr": 2e-4,
        "steps": 6_000,
    }
    return [
        SuiteEntry("translation", summary="points in the plane, a minute or two a run", recipes=points, seeds=3),
        SuiteEntry(
            "nouns",
            summary="six glasses by narrow networks, half an hour to an hour a run on a core",
            recipes=("stargan.nouns",),
            seeds=3,
            overrides={"*": small},
        ),
    ]

"""Conditional GANs for ganzoo. This module is light: it declares entries and imports nothing that they point to."""

from __future__ import annotations

from typing import Any, Final

from ganzoo import Entry, Option, Paper, Part, RecipeEntry, SuiteEntry, hookimpl

MIRZA: Final = Paper(
    "Conditional Generative Adversarial Nets",
    "Mehdi Mirza and Simon Osindero",
    2014,
    "arXiv",
    "https://arxiv.org/abs/1411.1784",
)
ODENA: Final = Paper(
    "Conditional Image Synthesis with Auxiliary Classifier GANs",
    "Augustus Odena and Christopher Olah and Jonathon Shlens",
    2017,
    "International Conference on Machine Learning",
    "https://arxiv.org/abs/1610.09585",
)
MIYATO: Final = Paper(
    "cGANs with Projection Discriminator",
    "Takeru Miyato and Masanori Koyama",
    2018,
    "International Conference on Learning Representations",
    "https://arxiv.org/abs/1802.05637",
)

SCHEDULE: Final = Option("schedule", "schedule", None, optional=True, help="of both players' learning rates")


@hookimpl
def ganzoo_terms() -> list[Entry]:
    options = (
        Option("of", str, "real", choices=("real", "fake"), help="samples of the data, or of the generator"),
        Option("discriminator", str, "discriminator", help="which player"),
        Option("generator", str, "generator", help="which player"),
    )
    summary = "cross-entropy of a discriminator's class logits"
    return [Entry("classify", "ganzoo_conditional.terms:Classify", summary, options, ODENA)]


@hookimpl
def ganzoo_methods() -> list[Entry]:
    here = "ganzoo_conditional.methods"
    gan, hinge = Option("divergence", "divergence", "gan"), Option("divergence", "divergence", "hinge")
    weight = Option("weight", float, 1.0, low=0, help="of each cross-entropy beside the divergence")
    return [
        Entry(
            "cgan",
            f"{here}:cgan",
            "the original GAN, non-saturating; both networks read the label",
            (gan, _k(1), _adam(1e-3, 0.5, 0.999), SCHEDULE),
            MIRZA,
        ),
        Entry(
            "acgan",
            f"{here}:acgan",
            "the original GAN, non-saturating, with a discriminator that tells the label too",
            (gan, weight, _k(1), _adam(1e-3, 0.5, 0.999), SCHEDULE),
            ODENA,
        ),
        Entry(
            "projection-gan",
            f"{here}:projection_gan",
            "the hinge loss; the label's code is projected on the discriminator's features",
            (hinge, _k(5), _adam(2e-4, 0.0, 0.9), SCHEDULE),
            MIYATO,
        ),
    ]


@hookimpl
def ganzoo_metrics() -> list[Entry]:
    extractor = Option("extractor", "extractor", "reference", help="the classifier that judges")
    summary = "share of samples that a classifier takes for what was asked for"
    return [Entry("label-accuracy", "ganzoo_conditional.metrics:LabelAccuracy", summary, (extractor,))]


def _k(default: int) -> Option:
    return Option("k", int, default, low=1, high=1_000, help="steps of the discriminator for one of the generator")


def _adam(lr: float, beta1: float, beta2: float) -> Option:
    return Option("optimizer", "optimizer", Part("optimizer", "adam", {"lr": lr, "beta1": beta1, "beta2": beta2}))


@hookimpl
def ganzoo_recipes() -> list[RecipeEntry]:
    slow: dict[str, Any] = {"steps": 6_000, "evaluations": 4, "optimizer.lr": 2e-4}
    summary = "ten labels; at five times the rate samples of a label are less different"
    return [
        RecipeEntry("cgan.digits", summary="ten labels", overrides=slow),
        RecipeEntry("acgan.digits", summary=summary, overrides=slow),
        RecipeEntry("projection-gan.digits", summary="ten labels", overrides={"steps": 6_000, "evaluations": 4}),
    ]


@hookimpl
def ganzoo_suites() -> list[SuiteEntry]:
    recipes = tuple(f"{method}.digits" for method in ("cgan", "acgan", "projection-gan"))
    summary = "three conditional GANs on digits, about a minute a run on a core"
    return [SuiteEntry("conditional", summary=summary, recipes=recipes, seeds=3)]

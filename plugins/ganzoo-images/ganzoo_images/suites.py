"""Which recipes the benches of images train, and with what budget. Light, like the module that imports it."""

from __future__ import annotations

from typing import Any, Final

from ganzoo import RecipeEntry, SuiteEntry, hookimpl

DATASETS: Final = ("mnist", "fashion-mnist")
METHODS: Final = (
    "js-gan",
    "ns-gan",
    "wgan-gp",
    "sngan",
    "lsgan",
    "hinge-gan",
    "r3gan",
    "mle-gaussian",
    "mle-gmm",
    "mle-flow",
)

#: The same networks for all, and those of a published one where a method needs them.
NETWORKS: Final[dict[str, dict[str, Any]]] = {
    "*gan*.*": {"generator": "dcgan", "discriminator": "dcgan"},
    "wgan-gp.*": {"discriminator.batch_norm": False},
    "r3gan.*": {"discriminator.batch_norm": False},
    "sngan.*": {"discriminator": "sn-dcgan"},
}
ADAM: Final = {"optimizer.lr": 2e-4, "optimizer.beta1": 0.5}


@hookimpl
def ganzoo_recipes() -> list[RecipeEntry]:
    closed = {"generator.start": "moments", "optimizer.lr": 0.0, "steps": 1}
    return [
        RecipeEntry(f"mle-gaussian.{dataset}", summary="in closed form", overrides=closed)
        for dataset in ("mnist", "fashion-mnist", "kmnist", "cifar10")
    ]


@hookimpl
def ganzoo_suites() -> list[SuiteEntry]:
    recipes = tuple(f"{method}.{dataset}" for dataset in DATASETS for method in METHODS)
    small: dict[str, dict[str, Any]] = {
        "*": {"batch_size": 64, "evaluations": 4},
        "*gan*.*": {"generator.width": 16, "discriminator.width": 16, "steps": 4_000, **ADAM},
        # Five steps of the critic for one; so many of a narrow sn-dcgan leave the generator where it was.
        "wgan-gp.*": {"steps": 1_500, "optimizer.beta1": 0.0},
        "sngan.*": {"k": 1},
        "mle-gmm.*": {"steps": 100, "optimizer.lr": 1e-4, "generator.floor": 1e-5},
        "mle-flow.*": {"steps": 300},
    }
    whole: dict[str, dict[str, Any]] = {
        "*": {"batch_size": 64, "evaluations": 10},
        "*gan*.*": {"steps": 100_000, **ADAM},
        "wgan-gp.*": {"optimizer.beta1": 0.0},
        "sngan.*": {"optimizer.beta1": 0.0},
        "mle-gmm.*": {"steps": 5_000, "optimizer.lr": 1e-4, "generator.floor": 1e-5},
        "mle-flow.*": {"steps": 50_000},
    }
    return [
        SuiteEntry(
            "images-small",
            summary="ten methods on MNIST and Fashion-MNIST with narrow networks, about three minutes a run on a core",
            recipes=recipes,
            overrides=_merged(NETWORKS, small),
            seeds=3,
        ),
        SuiteEntry(
            "images",
            summary="the same with the published widths, for a GPU",
            recipes=recipes,
            overrides=_merged(NETWORKS, whole),
            seeds=3,
        ),
    ]


def _merged(*each: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Overrides by pattern, those of a pattern together."""
    patterns = dict.fromkeys(pattern for overrides in each for pattern in overrides)
    return {p: {k: v for overrides in each for k, v in overrides.get(p, {}).items()} for p in patterns}

"""The hooks a plugin may implement: one for each kind of entry, and three for the events of training.

A plugin is an installed distribution with an entry point in the group ``ganzoo`` that names a *light* module: one that
imports no torch. The module's functions carry ``@ganzoo.hookimpl``. Hook specifications only grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    from ganzoo.recipe import Recipe
    from ganzoo.registry import Entry, RecipeEntry, SuiteEntry

hookspec = pluggy.HookspecMarker("ganzoo")
hookimpl = pluggy.HookimplMarker("ganzoo")

#: The hook that fills each kind.
HOOKS: Final[Mapping[str, str]] = {
    "dataset": "ganzoo_datasets",
    "generator": "ganzoo_generators",
    "discriminator": "ganzoo_discriminators",
    "divergence": "ganzoo_divergences",
    "method": "ganzoo_methods",
    "metric": "ganzoo_metrics",
    "extractor": "ganzoo_extractors",
    "term": "ganzoo_terms",
    "penalty": "ganzoo_penalties",
    "schedule": "ganzoo_schedules",
    "optimizer": "ganzoo_optimizers",
    "projection": "ganzoo_projections",
    "pair": "ganzoo_pairs",
    "executor": "ganzoo_executors",
    "recipe": "ganzoo_recipes",
    "suite": "ganzoo_suites",
}


@hookspec
def ganzoo_datasets() -> Iterable[Entry]:
    """Targets make a `ganzoo.Dataset`."""
    return ()


@hookspec
def ganzoo_generators() -> Iterable[Entry]:
    """Targets make a `ganzoo.Generator`; an option with ``fit="shape"`` gets the dataset's shape."""
    return ()


@hookspec
def ganzoo_discriminators() -> Iterable[Entry]:
    """Targets make a `ganzoo.Discriminator`; an option with ``fit="shape"`` gets the dataset's shape."""
    return ()


@hookspec
def ganzoo_divergences() -> Iterable[Entry]:
    """Targets make a `ganzoo.Divergence`."""
    return ()


@hookspec
def ganzoo_methods() -> Iterable[Entry]:
    """Targets make a `ganzoo.Method`, from the method's options alone."""
    return ()


@hookspec
def ganzoo_metrics() -> Iterable[Entry]:
    """Targets make a `ganzoo.Metric`; one with an option ``extractor`` of that kind is called ``NAME:EXTRACTOR``."""
    return ()


@hookspec
def ganzoo_extractors() -> Iterable[Entry]:
    """Targets make a `ganzoo.Extractor`."""
    return ()


@hookspec
def ganzoo_terms() -> Iterable[Entry]:
    """Targets make a `ganzoo.Term`: a frozen dataclass called with the round."""
    return ()


@hookspec
def ganzoo_penalties() -> Iterable[Entry]:
    """Targets make a `ganzoo.Penalty`."""
    return ()


@hookspec
def ganzoo_schedules() -> Iterable[Entry]:
    """Targets make a `ganzoo.Schedule`."""
    return ()


@hookspec
def ganzoo_optimizers() -> Iterable[Entry]:
    """Targets make a `ganzoo.Optimizer`."""
    return ()


@hookspec
def ganzoo_projections() -> Iterable[Entry]:
    """Targets make a `ganzoo.Projection`: what is done to a player's parameters after each of its updates."""
    return ()


@hookspec
def ganzoo_pairs() -> Iterable[Entry]:
    """Targets make a `ganzoo.Pair`: two known distributions for `ganzoo measure --pair`."""
    return ()


@hookspec
def ganzoo_executors() -> Iterable[Entry]:
    """Targets make a `ganzoo.Executor`: where the runs of a bench are carried out."""
    return ()


@hookspec
def ganzoo_recipes() -> Iterable[RecipeEntry]:
    """Named recipes with overrides and published results of their own."""
    return ()


@hookspec
def ganzoo_suites() -> Iterable[SuiteEntry]:
    """Named lists of recipes to bench."""
    return ()


@hookspec
def ganzoo_started(recipe: Recipe, seed: int, folder: Path) -> None:
    """A run begins or goes on."""


@hookspec
def ganzoo_logged(recipe: Recipe, seed: int, record: Mapping[str, Any]) -> None:
    """A line was written to a run's log."""


@hookspec
def ganzoo_finished(recipe: Recipe, seed: int, folder: Path, status: str) -> None:
    """A run ended; ``status`` is ``finished``, ``diverged`` or ``interrupted``."""

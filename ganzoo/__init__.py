"""ganzoo: a plugin-based zoo of generative adversarial networks.

Public names are imported when they are first used, so that ``import ganzoo`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ganzoo.api import create as create
    from ganzoo.api import list_recipes as list_recipes
    from ganzoo.dataset import Batch as Batch
    from ganzoo.dataset import Dataset as Dataset
    from ganzoo.dataset import TractableDataset as TractableDataset
    from ganzoo.discriminator import Discriminator as Discriminator
    from ganzoo.discriminator import Verdict as Verdict
    from ganzoo.divergence import Divergence as Divergence
    from ganzoo.divergence import FDivergence as FDivergence
    from ganzoo.divergence import SampleDivergence as SampleDivergence
    from ganzoo.divergence import Scores as Scores
    from ganzoo.errors import GanzooError as GanzooError
    from ganzoo.executor import Executor as Executor
    from ganzoo.extractor import Extractor as Extractor
    from ganzoo.extractor import Features as Features
    from ganzoo.game import Draw as Draw
    from ganzoo.game import Round as Round
    from ganzoo.game import Turn as Turn
    from ganzoo.game import Weighted as Weighted
    from ganzoo.generator import Generator as Generator
    from ganzoo.generator import TractableGenerator as TractableGenerator
    from ganzoo.generator import Translator as Translator
    from ganzoo.hookspecs import hookimpl as hookimpl
    from ganzoo.metric import Evidence as Evidence
    from ganzoo.metric import Metric as Metric
    from ganzoo.metric import Score as Score
    from ganzoo.model import Model as Model
    from ganzoo.model import load as load
    from ganzoo.pair import Pair as Pair
    from ganzoo.part import Option as Option
    from ganzoo.part import Part as Part
    from ganzoo.penalties import Penalty as Penalty
    from ganzoo.penalties import input_gradient as input_gradient
    from ganzoo.recipe import Method as Method
    from ganzoo.recipe import Player as Player
    from ganzoo.recipe import Recipe as Recipe
    from ganzoo.registry import Entry as Entry
    from ganzoo.registry import Expected as Expected
    from ganzoo.registry import Paper as Paper
    from ganzoo.registry import RecipeEntry as RecipeEntry
    from ganzoo.registry import SuiteEntry as SuiteEntry
    from ganzoo.terms import Term as Term
    from ganzoo.train import Run as Run
    from ganzoo.update import Optimizer as Optimizer
    from ganzoo.update import Projection as Projection
    from ganzoo.update import Schedule as Schedule

_HOME = {
    "api": ("create", "list_recipes"),
    "dataset": ("Batch", "Dataset", "TractableDataset"),
    "discriminator": ("Discriminator", "Verdict"),
    "divergence": ("Divergence", "FDivergence", "SampleDivergence", "Scores"),
    "errors": ("GanzooError",),
    "executor": ("Executor",),
    "extractor": ("Extractor", "Features"),
    "game": ("Draw", "Round", "Turn", "Weighted"),
    "generator": ("Generator", "TractableGenerator", "Translator"),
    "hookspecs": ("hookimpl",),
    "metric": ("Evidence", "Metric", "Score"),
    "model": ("Model", "load"),
    "pair": ("Pair",),
    "penalties": ("Penalty", "input_gradient"),
    "recipe": ("Method", "Player", "Recipe"),
    "part": ("Option", "Part"),
    "registry": ("Entry", "Expected", "Paper", "RecipeEntry", "SuiteEntry"),
    "terms": ("Term",),
    "train": ("Run",),
    "update": ("Optimizer", "Projection", "Schedule"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = ["__version__", *sorted(_MODULE)]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'ganzoo' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"ganzoo.{_MODULE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

"""The few functions that most Python users need."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import Any

from ganzoo.errors import UnknownNameError, suggest
from ganzoo.part import KINDS, Part
from ganzoo.plugins import registry
from ganzoo.recipe import create_recipe, recipe_names


def list_recipes(pattern: str = "*") -> list[str]:
    """The names of all recipes, or of those that match a shell pattern: every method on every dataset."""
    return [name for name in recipe_names() if fnmatch(name, pattern)]


def create(kind: str, name: str, **options: Any) -> Any:
    """Make a registered thing: ``create("dataset", "ring", std=0.02)``, ``create("recipe", "js-gan.ring", steps=100)``.

    A dotted option of a recipe is written in a dictionary: ``create("recipe", "js-gan.ring", **{"generator.hidden":
    64})``.
    """
    if kind not in KINDS:
        raise UnknownNameError(f"{kind!r} is no kind; {suggest(kind, KINDS)}")
    if kind == "recipe":
        return create_recipe(name, options)
    if kind == "suite":
        return registry().find(kind, name)
    return Part(kind, name, options).build()

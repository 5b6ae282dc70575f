"""Recipes in files: a whole definition as JSON, or a name and overrides as TOML."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

from ganzoo.errors import OptionError, UsageError
from ganzoo.part import as_object
from ganzoo.recipe import Recipe, create_recipe


def read_recipe(path: Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe that a ``.json`` or ``.toml`` file describes, checked; `OptionError` where it is none.

    JSON is `Recipe.json`: every part spelt out, so ``overrides`` can change its budget only. TOML is the short form:
    what ``-o`` says on the command line, where a dot is a table::

        recipe = "js-gan.ring"
        steps = 500
        divergence = "js"

        [generator]
        hidden = 256
    """
    parse, make = SUFFIXES[path.suffix]
    try:
        data = parse(path.read_bytes().decode())
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{path} is no {path.suffix[1:].upper()}: {error}") from None
    try:
        return make(as_object(data, "a recipe"), overrides or {})
    except UsageError as error:
        raise type(error)(f"{path}: {error}") from None


def _definition(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> Recipe:
    return Recipe.parse({**data, **overrides}).check()


def _named(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> Recipe:
    name = data.get("recipe")
    if not isinstance(name, str):
        raise OptionError('it must say recipe = "METHOD.DATASET"')
    return create_recipe(name, {**_flat({key: value for key, value in data.items() if key != "recipe"}), **overrides})


def _flat(data: Mapping[str, Any]) -> dict[str, Any]:
    """Tables as dotted keys; a table's ``name`` is the part itself, as in ``-o generator=gmm``."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            table = cast("Mapping[str, Any]", value)
            flat |= {key if option == "name" else f"{key}.{option}": given for option, given in table.items()}
        else:
            flat[key] = value
    return flat


SUFFIXES: Final[Mapping[str, tuple[Callable[[str], Any], Callable[[Mapping[str, Any], Mapping[str, Any]], Recipe]]]] = {
    ".json": (json.loads, _definition),
    ".toml": (tomllib.loads, _named),
}

"""What several commands need."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ganzoo.recipe import Recipe

DEVICES = click.Choice(["auto", "cpu", "cuda", "mps"])


def option_engine(command: Callable[..., Any]) -> Callable[..., Any]:
    text = (
        "How seeds are trained: stack trains all of a recipe as one program, single one after the other; auto stacks "
        "several seeds where that is faster."
    )
    choices = click.Choice(["auto", "stack", "single"])
    return click.option("--engine", default="auto", show_default=True, type=choices, help=text)(command)


def option_o(command: Callable[..., Any]) -> Callable[..., Any]:
    text = (
        "Override an option, like divergence=js, generator.hidden=256, steps=500. May be repeated. "
        "A .json file takes steps, batch_size, ema and evaluations only."
    )
    return click.option("-o", "options", metavar="KEY=VALUE", multiple=True, help=text)(command)


def option_metric(command: Callable[..., Any]) -> Callable[..., Any]:
    text = (
        "Measure this too, which is measured on request only, or with another extractor, like fid or fd:NAME "
        "(`ganzoo list metrics`). May be repeated."
    )
    return click.option("--metric", "metrics", metavar="NAME", multiple=True, help=text)(command)


def recipe_of(name: str, options: tuple[str, ...]) -> Recipe:
    """What NAME means: METHOD.DATASET, a .toml file of such a name and overrides, or a .json file of a definition."""
    from ganzoo.recipe import create_recipe
    from ganzoo.recipe_file import SUFFIXES, read_recipe

    if Path(name).suffix in SUFFIXES:
        return read_recipe(Path(name), parsed(options))
    return create_recipe(name, parsed(options))


def parsed(options: tuple[str, ...]) -> dict[str, str]:
    for option in options:
        if "=" not in option:
            raise click.UsageError(f"-o takes KEY=VALUE, not {option!r}")
    return {key.strip(): value.strip() for key, _, value in (option.partition("=") for option in options)}


def quoted(words: list[str]) -> list[str]:
    import shlex

    return [shlex.quote(word) for word in words]


def plural(kind: str) -> str:
    return {"discriminator": "discriminators", "penalty": "penalties"}.get(kind, f"{kind}s")

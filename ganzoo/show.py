"""Entries and recipes in words."""

from __future__ import annotations

import json
from typing import Any

import click

from ganzoo.errors import UsageError
from ganzoo.part import Option, Part, to_json
from ganzoo.plugins import find_any
from ganzoo.recipe import BUDGET, SHORTCUTS, Recipe
from ganzoo.registry import Entry, Paper


def show_recipe(recipe: Recipe, as_json: bool, cite: bool) -> None:
    """The whole definition, the paper, and what was published."""
    if cite:
        _cite(recipe.name, [recipe.paper] if recipe.paper else [])
    elif as_json:
        click.echo(json.dumps(recipe.json(), indent=1))
    else:
        _print_recipe(recipe)


def _print_recipe(recipe: Recipe) -> None:
    click.secho(recipe.name, bold=True)
    click.echo(f"  dataset        {_text(recipe.dataset)}")
    for name, player in recipe.players.items():
        schedule = f", learning rate by {_text(player.schedule)}" if player.schedule else ""
        click.echo(f"  {name:14} {_text(player.network)}\n{'':17}{_text(player.optimizer)}{schedule}")
    for turn in recipe.turns:
        times = f" ×{turn.repeats}" if turn.repeats > 1 else ""
        after = f", then {_text(turn.project)}" if turn.project else ""
        losses = " + ".join(_weighted(w) for w in turn.losses)
        click.echo(f"  turn           {turn.player}{times} minimises {losses}{after}")
    click.echo(f"  order          {'simultaneous' if recipe.simultaneous else 'alternating'}")
    for option in BUDGET:
        click.echo(f"  {option.name:14} {getattr(recipe, option.name):<14g} {option.help}")
    for option in SHORTCUTS:
        if (value := getattr(recipe, option.name)) != option.default:
            click.echo(f"  {option.name:14} {value!s:<14} {option.help}")
    click.echo(f"  digest         {recipe.digest}")
    if paper := recipe.paper:
        click.echo(f"  paper          {_reference(paper)}")
    for expected in recipe.expected:
        error = f" ± {expected.error:g}" if expected.error is not None else ""
        click.echo(f"  published      {expected.metric} {expected.value:g}{error}: {expected.source}")


def show_entry(name: str, as_json: bool, cite: bool) -> None:
    """Every entry of that name, of whatever kind."""
    found = find_any(name)
    if cite:
        _cite(name, [entry.paper for entry in found if entry.paper])
    elif as_json:
        click.echo(json.dumps([_entry_json(entry) for entry in found], indent=1))
    else:
        _print_entries(found)


def _print_entries(found: list[Entry]) -> None:
    for entry in found:
        click.secho(f"{entry.kind} {entry.name}", bold=True)
        click.echo(f"  {entry.summary}\n  {entry.target}  from {entry.distribution} {entry.version}")
        for option in entry.options:
            click.echo(f"  -o {option.name:16} {_default(option):>16}  {option.accepts}. {option.help}".rstrip(" ."))
        if entry.paper:
            click.echo(f"  paper: {_reference(entry.paper)}")


def _entry_json(entry: Entry) -> dict[str, Any]:
    options = [
        {
            "name": o.name,
            "accepts": o.accepts,
            "default": None if o.default is ... else to_json(o.default),
            "help": o.help,
        }
        for o in entry.options
    ]
    return {
        "kind": entry.kind,
        "name": entry.name,
        "summary": entry.summary,
        "distribution": entry.distribution,
        "version": entry.version,
        "target": entry.target,
        "options": options,
        "paper": entry.paper.bibtex() if entry.paper else None,
    }


def _cite(name: str, papers: list[Paper]) -> None:
    if not papers:
        raise UsageError(f"{name} names no paper")
    for paper in dict.fromkeys(papers):
        click.echo(paper.bibtex())


def _reference(paper: Paper) -> str:
    return f"{paper.authors.replace(' and ', ', ')}: {paper.title} ({paper.year}). {paper.url}"


def _default(option: Option) -> str:
    if option.fit and option.default in (None, ...):
        return f"from {option.fit}"
    return "required" if option.default is ... else _text(option.default)


def _weighted(weighted: Any) -> str:
    factor = "" if weighted.weight == 1 else f"{_text(weighted.weight)} · "
    return f"{factor}{_text(weighted.term)}{f' every {weighted.every}' if weighted.every > 1 else ''}"


def _text(value: Any) -> str:
    """A part as it would be written: ``mlp(hidden=128, depth=2)``."""
    if not isinstance(value, Part):
        return str(value)
    options = ", ".join(f"{name}={_text(v)}" for name, v in value.options.items() if name != v)
    return f"{value.name}({options})" if options else value.name

"""Commands that look at what is registered."""

from __future__ import annotations

import json
from typing import Any

import click

from ganzoo.cli.shared import option_o, plural, recipe_of


@click.command("list", short_help="List what is registered.")
@click.argument("kind", required=False)
@click.argument("pattern", required=False)
@click.option("--pretrained", is_flag=True, help="List models on the Hugging Face Hub instead.")
@click.option("--org", help="With --pretrained: those of this user or organisation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(kind: str | None, pattern: str | None, pretrained: bool, org: str | None, as_json: bool) -> None:
    """List what is registered: recipes, methods, datasets, divergences…

    KIND is one of them, singular or plural; PATTERN is a shell pattern like 'js-*'. Without a KIND all kinds are
    listed. With --pretrained, the models that were published, whose names PATTERN is about.
    """
    from fnmatch import fnmatch

    if pretrained:
        if pattern is not None:
            raise click.UsageError("--pretrained takes one PATTERN, and no KIND")
        _list_pretrained(kind, org, as_json)
        return
    if org is not None:
        raise click.UsageError("--org goes with --pretrained")

    from ganzoo.errors import UnknownNameError, suggest
    from ganzoo.part import KINDS
    from ganzoo.plugins import registry
    from ganzoo.registry import normalise

    kinds_by_plural = {plural(name): name for name in KINDS}
    if kind is not None and pattern is None and normalise(kind) not in {*KINDS, *kinds_by_plural}:
        if not any(mark in kind for mark in "*?["):
            raise UnknownNameError(f"{kind!r} is no kind; {suggest(kind, [*kinds_by_plural])}. A pattern has a * in it")
        kind, pattern = None, kind
    if kind is not None and normalise(kind) not in {*KINDS, *kinds_by_plural}:
        raise UnknownNameError(f"{kind!r} is no kind; {suggest(kind, [*kinds_by_plural])}")
    kinds = [kinds_by_plural.get(normalise(kind), normalise(kind))] if kind else list(KINDS)
    found = {each: [row for row in _rows(registry(), each) if fnmatch(row["name"], pattern or "*")] for each in kinds}
    if as_json:
        click.echo(json.dumps([{"kind": each, **row} for each, rows in found.items() for row in rows], indent=1))
        return
    for each, rows in found.items():
        if not rows:
            continue
        if len(kinds) > 1:
            click.secho(plural(each), bold=True)
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            foreign = "" if row["distribution"] == "ganzoo" else f"  [{row['distribution']}]"
            click.echo(f"  {row['name']:{width}}  {row['summary']}{foreign}".rstrip())
    if not any(found.values()):
        click.echo(f"nothing matches {pattern!r}" if pattern else f"no {plural(kinds[0])} are registered", err=True)


def _list_pretrained(pattern: str | None, org: str | None, as_json: bool) -> None:
    from fnmatch import fnmatch

    from huggingface_hub.utils import logging

    from ganzoo import hub
    from ganzoo.hub_client import endpoint

    logging.set_verbosity_error()
    wanted = (pattern or "*").lower()
    models = [
        model
        for model in hub.search(org)
        if fnmatch(model["id"].lower(), wanted) or fnmatch(model["id"].lower().partition("/")[2], wanted)
    ]
    if as_json:
        click.echo(json.dumps(models, indent=1))
        return
    width = max((len(model["id"]) for model in models), default=0)
    for model in models:
        private = "  private" if model["private"] else ""
        when = (model["modified"] or "")[:10]
        click.echo(f"{model['id']:{width}}  {when}  {model['downloads'] or 0:,} downloads{private}".rstrip())
    if not models:
        what = f"matches {pattern!r}" if pattern else "was found"
        click.echo(f"no model of ganzoo's {what}{f' at {org}' if org else ''} on {endpoint()}", err=True)


def _rows(registry: Any, kind: str) -> list[dict[str, str]]:
    """What is listed of a kind. Recipes are every method on every dataset, whether or not an entry of their own
    exists; what one says of itself is added."""
    if kind != "recipe":
        return [
            {"name": name, "summary": entry.summary, "distribution": entry.distribution}
            for name in registry.names(kind)
            for entry in [registry.find(kind, name)]
        ]
    own = {name: registry.find("recipe", name).summary for name in registry.names("recipe")}
    rows: list[dict[str, str]] = []
    for method in registry.names("method"):
        for dataset in registry.names("dataset"):
            how, where = registry.find("method", method), registry.find("dataset", dataset)
            owner = next((e.distribution for e in (how, where) if e.distribution != "ganzoo"), "ganzoo")
            name = f"{method}.{dataset}"
            said = f"{how.summary}, on {where.summary}" + (f"; {own[name]}" if own.get(name) else "")
            rows.append({"name": name, "summary": said, "distribution": owner})
    return rows


@click.command(short_help="Show a recipe's definition, or an entry's options.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the definition as JSON (a file that `train` takes).")
@click.option("--cite", is_flag=True, help="Print the paper's BibTeX entry.")
@option_o
def show(name: str, as_json: bool, cite: bool, options: tuple[str, ...]) -> None:
    """Show a recipe's whole definition, or what an entry is and which options it takes.

    A recipe is METHOD.DATASET or a .json or .toml file, as in `train`.
    """
    from ganzoo.part import KINDS
    from ganzoo.registry import normalise
    from ganzoo.show import show_entry, show_recipe

    kinds = {word: plural(kind) for kind in KINDS for word in (kind, plural(kind))}
    if kind := kinds.get(normalise(name)):
        raise click.UsageError(
            f"{name} is a kind of entry: `ganzoo list {kind}` lists them, `ganzoo show NAME` shows one"
        )
    if "." in name:
        show_recipe(recipe_of(name, options), as_json, cite)
    elif options:
        raise click.UsageError("-o goes with a recipe, METHOD.DATASET")
    else:
        show_entry(name, as_json, cite)


@click.command(short_help="Hold entries, recipes and plugins to their contracts.")
@click.argument("names", nargs=-1)
def check(names: tuple[str, ...]) -> None:
    """Check entries against their contracts, and recipes by one tiny round on the CPU.

    NAME is an entry, a recipe, or an installed plugin with all that it registers. Without names, everything is checked.
    """
    from ganzoo.checking import check_all

    failed = check_all(names, lambda text: click.echo(text))
    if failed:
        raise SystemExit(1)

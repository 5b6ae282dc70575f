"""Commands for plugins. They work whatever the installed plugins do: none is loaded in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from ganzoo.cli.shared import plural
from ganzoo.errors import GanzooError

KINDS = ("divergence", "penalty", "term", "generator", "discriminator", "dataset", "metric", "method")


@click.command(short_help="Install plugins.")
@click.argument("specs", metavar="[SPEC]...", nargs=-1)
@click.option("-U", "--upgrade", is_flag=True, help="Upgrade what is named to its newest version.")
@click.option("-e", "--editable", "editables", metavar="PATH", multiple=True, help="Install a folder, editable.")
@click.option("--pre", is_flag=True, help="Take pre-releases too.")
@click.option("--force-reinstall", "force", is_flag=True, help="Install what is named again, even if it is there.")
@click.option("--no-cache-dir", "no_cache", is_flag=True, help="Use no cache of downloads.")
@click.option("--restore", is_flag=True, help="Bring back plugins that an upgrade of ganzoo dropped.")
def install(
    specs: tuple[str, ...],
    upgrade: bool,
    editables: tuple[str, ...],
    pre: bool,
    force: bool,
    no_cache: bool,
    restore: bool,
) -> None:
    """Install plugins into the environment that ganzoo runs in.

    SPEC is what pip takes: a name, 'name>=1.0', a folder, a wheel, git+https://…. ganzoo and torch stay as they are.
    """
    from ganzoo import install as installing
    from ganzoo.installer import Request

    if restore and (specs or editables):
        raise click.UsageError("--restore takes no SPEC: it knows what was installed")
    if not (restore or specs or editables):
        raise click.UsageError("say what to install, like `ganzoo install ganzoo-flows`")
    if restore:
        rows = installing.restore()
        if not rows:
            click.echo("Nothing to restore: all that was installed is there.")
    else:
        rows = installing.install(Request(specs, editables, upgrade, pre, force, cache=not no_cache))
    for row in rows:
        _print_row(row, "Installed ")


@click.command(short_help="Remove plugins.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def uninstall(names: tuple[str, ...], yes: bool) -> None:
    """Remove plugins from the environment that ganzoo runs in."""
    from ganzoo import install as installing

    found = installing.check_uninstall(names)
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody is there to be asked: say -y")
    if not yes and not click.confirm(f"Uninstall {', '.join(found)}?"):
        raise GanzooError("nothing was changed")
    installing.uninstall(names)
    click.echo(f"Uninstalled {', '.join(found)}")


@click.command(short_help="List installed plugins and whether they work.")
@click.option("--all", "every", is_flag=True, help="List the built-in plugin too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plugins(every: bool, as_json: bool) -> None:
    """List the installed plugins, whether they work, and what they register.

    GANZOO_LOAD_PLUGINS=a,b loads only these (empty: none); with GANZOO_STRICT_PLUGINS=1 a failing plugin is an error,
    here after the list.
    """
    import os

    from ganzoo.plugins import STRICT
    from ganzoo.survey import survey

    rows = [row for row in survey() if every or not row["core"]]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif not rows:
        click.echo("No plugins are installed but the built-in one (--all lists it). `ganzoo install NAME` adds one.")
    else:
        for row in rows:
            _print_row(row)
    if os.environ.get(STRICT) == "1" and any(row["status"] == "failed" for row in rows):
        raise SystemExit(1)


@click.command(short_help="Begin a plugin that passes its own tests.")
@click.argument("name")
@click.option("--kind", default="divergence", show_default=True, type=click.Choice(KINDS), help="What it registers.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Where its folder goes [default: here].")
def new(name: str, kind: str, out: Path) -> None:
    """Begin a plugin: a package that passes its own tests, in a folder of its own.

    NAME is what it registers: `hellinger` makes the package ganzoo-hellinger.
    """
    from ganzoo.scaffold import create_plugin

    made = create_plugin(name, kind, out)
    click.echo(f"Made {made.distribution} in {made.folder}:")
    for file in made.files:
        click.echo(f"  {file}")
    click.echo("Install it, test it, use it:")
    for command in made.commands:
        click.echo(f"  {command}")


def _title(row: Mapping[str, Any]) -> str:
    colour = {"ok": "green", "failed": "red", "blocked": "yellow"}[row["status"]]
    point = "" if row["core"] else f" ({row['entry_point']})"
    return f"{row['distribution']} {row['version']}{point}  {click.style(row['status'], fg=colour)}"


def _remarks(row: Mapping[str, Any]) -> Iterable[str]:
    if row["error"]:
        yield row["error"]
    if row["status"] == "failed":
        yield f"`ganzoo install -U {row['distribution']}` or `ganzoo uninstall {row['distribution']}`"
    if row["status"] == "ok" and not (row["entries"] or row["events"]):
        yield "it registers nothing: a hook carries @ganzoo.hookimpl and is called ganzoo_divergences, for one"
    if not row["met"]:
        from ganzoo import __version__

        yield f"it asks for ganzoo {row['requires']}, and this is {__version__}"
    if row["imports_torch"]:
        yield f"its light module imports torch, which makes every command slow ({row['seconds']:.1f} s)"


def _print_row(row: Mapping[str, Any], before: str = "") -> None:
    click.echo(f"{before}{_title(row)}")
    for remark in _remarks(row):
        click.echo(f"  {remark}")
    for kind, names in row["entries"].items():
        click.echo(f"  {plural(kind)}: {', '.join(names)}")
    if row["events"]:
        click.echo(f"  hears: {', '.join(row['events'])}")

"""The command line. Commands are thin: each imports what it needs when it runs, so that ``--help`` costs nothing."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ganzoo import __version__

if TYPE_CHECKING:
    from ganzoo.executor import Result
    from ganzoo.recipe import Recipe

DEVICES = click.Choice(["auto", "cpu", "cuda", "mps"])


class Group(click.Group):
    """Commands in the order in which they are written, which is the order in which one meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """A zoo of generative adversarial networks: train, compare, share and load them.

    \b
    ganzoo bench                   train and compare the default suite
    ganzoo train js-gan.ring       train one recipe, METHOD.DATASET
    ganzoo sample runs/js-gan.ring --out samples.png
    """


def option_o(command: Callable[..., Any]) -> Callable[..., Any]:
    text = "Override an option, like divergence=js, generator.hidden=256, steps=500. May be repeated."
    return click.option("-o", "options", metavar="KEY=VALUE", multiple=True, help=text)(command)


@cli.command("list")
@click.argument("kind", required=False)
@click.argument("pattern", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(kind: str | None, pattern: str | None, as_json: bool) -> None:
    """List what is registered: recipes, methods, datasets, divergences…

    KIND is one of them, singular or plural; PATTERN is a shell pattern like 'js-*'. Without a KIND all kinds are
    listed.
    """
    from fnmatch import fnmatch

    from ganzoo.errors import UnknownNameError, suggest
    from ganzoo.part import KINDS
    from ganzoo.plugins import registry
    from ganzoo.registry import normalise

    plural = {_plural(name): name for name in KINDS}
    if kind is not None and pattern is None and normalise(kind) not in {*KINDS, *plural}:
        if not any(mark in kind for mark in "*?["):
            raise UnknownNameError(f"{kind!r} is no kind; {suggest(kind, [*plural])}. A pattern has a * in it")
        kind, pattern = None, kind
    if kind is not None and normalise(kind) not in {*KINDS, *plural}:
        raise UnknownNameError(f"{kind!r} is no kind; {suggest(kind, [*plural])}")
    kinds = [plural.get(normalise(kind), normalise(kind))] if kind else list(KINDS)
    found = {each: [row for row in _rows(registry(), each) if fnmatch(row["name"], pattern or "*")] for each in kinds}
    if as_json:
        click.echo(json.dumps([{"kind": each, **row} for each, rows in found.items() for row in rows], indent=1))
        return
    for each, rows in found.items():
        if not rows:
            continue
        if len(kinds) > 1:
            click.secho(_plural(each), bold=True)
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            foreign = "" if row["distribution"] == "ganzoo" else f"  [{row['distribution']}]"
            click.echo(f"  {row['name']:{width}}  {row['summary']}{foreign}".rstrip())
    if not any(found.values()):
        click.echo(f"nothing matches {pattern!r}" if pattern else f"no {_plural(kinds[0])} are registered", err=True)


def _plural(kind: str) -> str:
    return {"discriminator": "discriminators", "penalty": "penalties"}.get(kind, f"{kind}s")


def _rows(registry: Any, kind: str) -> list[dict[str, str]]:
    """What is listed of a kind. Recipes are every method on every dataset, whether or not an entry of their own
    exists."""
    if kind != "recipe":
        return [
            {"name": name, "summary": entry.summary, "distribution": entry.distribution}
            for name in registry.names(kind)
            for entry in [registry.find(kind, name)]
        ]
    rows: list[dict[str, str]] = []
    for method in registry.names("method"):
        for dataset in registry.names("dataset"):
            how, where = registry.find("method", method), registry.find("dataset", dataset)
            owner = next((e.distribution for e in (how, where) if e.distribution != "ganzoo"), "ganzoo")
            rows.append(
                {"name": f"{method}.{dataset}", "summary": f"{how.summary}, on {where.summary}", "distribution": owner}
            )
    return rows


@cli.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the definition as JSON (a file that `train` takes).")
@click.option("--cite", is_flag=True, help="Print the paper's BibTeX entry.")
@option_o
def show(name: str, as_json: bool, cite: bool, options: tuple[str, ...]) -> None:
    """Show a recipe's whole definition, or what an entry is and which options it takes."""
    from ganzoo.show import show_entry, show_recipe

    if "." in name or name.endswith(".json"):
        show_recipe(_recipe(name, options), as_json, cite)
    elif options:
        raise click.UsageError("-o goes with a recipe, METHOD.DATASET")
    else:
        show_entry(name, as_json, cite)


@cli.command()
@click.argument("name")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1, 10_000), help="Train seeds 0 to N−1.")
@click.option("--steps", type=click.IntRange(1), help="Passes over all turns [default: the recipe's].")
@click.option("--device", default="auto", show_default=True, type=DEVICES)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to work in [default: runs/NAME].")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in the folder.")
@click.option(
    "--checkpoint-seconds", default=15.0, show_default=True, help="At least this long between two checkpoints."
)
@option_o
def train(
    name: str,
    seeds: int,
    steps: int | None,
    device: str,
    out: Path | None,
    resume: bool,
    checkpoint_seconds: float,
    options: tuple[str, ...],
) -> None:
    """Train a recipe: METHOD.DATASET, or a JSON file that `show --json` printed.

    Each seed gets a folder with its log, checkpoints, pictures, model and result. Ctrl-C stops with a checkpoint.
    """
    import torch

    from ganzoo.executor import Job, carry_out
    from ganzoo.progress import TrainProgress, print_scores

    torch.set_num_threads(1)  # small networks lose time to more; what does not fit this is for a GPU
    extra = (f"steps={steps}",) if steps is not None else ()
    recipe = _recipe(name, (*options, *extra))
    folder = out or Path("runs") / recipe.name
    results: list[Result] = []
    for seed in range(seeds):
        job = Job(recipe, seed, folder / f"seed-{seed}", device, checkpoint_seconds=checkpoint_seconds)
        try:
            with TrainProgress(job) as progress:
                result = carry_out(job, progress.listen, resume=resume)
        except KeyboardInterrupt:  # the second one, or one after the last step
            _stop_here()
        progress.report(result)
        if result["status"] == "interrupted":
            _stop_here()
        results.append(result)
    print_scores(recipe, results)
    if any(result["status"] == "diverged" for result in results):
        raise SystemExit(1)


def _stop_here() -> NoReturn:
    again = [arg for arg in sys.argv[1:] if arg != "--resume"]
    click.echo(f"Go on with: ganzoo {' '.join(_quoted(again))} --resume", err=True)
    raise SystemExit(130)


@cli.command()
@click.argument("names", metavar="[NAME|PATTERN|SUITE]...", nargs=-1)
@click.option("--suite", help="Suite to choose from, with its budgets [default: default].")
@click.option("--seeds", type=click.IntRange(1, 10_000), help="Seeds of each recipe [default: the suite's].")
@click.option("--jobs", type=click.IntRange(1, 1024), help="Runs at a time [default: one for each core].")
@click.option("--executor", default="local", show_default=True, help="Where runs are carried out.")
@click.option("--device", default="auto", show_default=True, type=DEVICES)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to work in [default: bench/SUITE].")
@click.option("--json", "as_json", is_flag=True, help="Print the leaderboard as JSON instead of as a table.")
def bench(
    names: tuple[str, ...],
    suite: str | None,
    seeds: int | None,
    jobs: int | None,
    executor: str,
    device: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Train and compare recipes over seeds; write a leaderboard, its page and the models.

    Without arguments it runs the default suite, about three minutes on two cores; `--suite full` gives each recipe its
    whole budget. The same command goes on where it was stopped. The exit code is 1 if any run failed.
    """
    from ganzoo import bench as benching
    from ganzoo.plugins import registry
    from ganzoo.progress import BenchProgress, cores

    todo = benching.plan(names, suite, seeds)
    folder = out or Path("bench") / todo.suite
    workers = jobs or cores()
    entry = registry().find("executor", executor)
    where = entry.create({"jobs": workers} if "jobs" in {option.name for option in entry.options} else {})
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill is an interruption too
    try:
        with BenchProgress(len(todo.recipes) * todo.seeds, quiet=as_json) as progress:
            board = benching.bench(
                todo,
                folder,
                where,
                device=device,
                workers=workers,
                listen=progress.listen,
                ended=progress.ended,
                found=progress.found,
            )
    except KeyboardInterrupt:
        click.echo(f"Stopped. The same command goes on where this one was; so far: {folder / 'index.html'}", err=True)
        raise SystemExit(130) from None
    count = benching.tally(board)
    if as_json:
        click.echo(json.dumps(board, indent=1))
    else:
        progress.report(board, folder)
    if count["failed"] or count["interrupted"]:
        raise SystemExit(1)


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-n", "n", default=64, show_default=True, type=click.IntRange(1, 100_000_000), help="How many samples.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same samples.")
@click.option("--label", type=int, help="The label to generate, where the generator reads labels.")
@click.option("--device", default="cpu", show_default=True, type=DEVICES)
@click.option(
    "--out",
    default="samples.png",
    show_default=True,
    type=click.Path(path_type=Path),
    help="A .png, .npz or .safetensors file.",
)
def sample(model: Path, n: int, seed: int, label: int | None, device: str, out: Path) -> None:
    """Draw samples from a model: its folder, or that of a run or of `train`."""
    from ganzoo.sampling import write_samples

    click.echo(write_samples(model, n, seed, label, device, out))


@cli.command()
@click.argument("names", nargs=-1)
def check(names: tuple[str, ...]) -> None:
    """Check entries against their contracts, and recipes by one tiny round on the CPU. Without names, everything."""
    from ganzoo.checking import check_all

    failed = check_all(names, lambda text: click.echo(text))
    if failed:
        raise SystemExit(1)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plugins(as_json: bool) -> None:
    """List the installed plugins, whether they work, and what they register."""
    from ganzoo.plugins import host

    rows: list[dict[str, Any]] = [
        {
            "distribution": plugin.distribution,
            "version": plugin.version,
            "entry_point": plugin.entry_point,
            "status": plugin.status,
            "error": plugin.error,
            "entries": {kind: [e.name for e in plugin.entries if e.kind == kind] for kind in _kinds(plugin.entries)},
        }
        for plugin in host().plugins
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        status = click.style(row["status"], fg="green" if row["status"] == "ok" else "red")
        click.echo(f"{row['distribution']} {row['version']}  {status}  {row['error']}".rstrip())
        for kind, names in row["entries"].items():
            click.echo(f"  {_plural(kind)}: {', '.join(names)}")


def _kinds(entries: Any) -> list[str]:
    return list(dict.fromkeys(entry.kind for entry in entries))


def _recipe(name: str, options: tuple[str, ...]) -> Recipe:
    from ganzoo.errors import OptionError
    from ganzoo.recipe import Recipe, create_recipe

    if name.endswith(".json"):
        budget = _parsed(options)
        try:
            data = json.loads(Path(name).read_bytes())
        except OSError as error:
            raise OptionError(f"{name} cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise OptionError(f"{name} is no JSON: {error}") from None
        try:
            return Recipe.parse({**data, **budget} if isinstance(data, dict) else data).check()
        except OptionError as error:
            raise OptionError(f"{name}: {error}") from None
    return create_recipe(name, _parsed(options))


def _parsed(options: tuple[str, ...]) -> dict[str, str]:
    for option in options:
        if "=" not in option:
            raise click.UsageError(f"-o takes KEY=VALUE, not {option!r}")
    return {key.strip(): value.strip() for key, _, value in (option.partition("=") for option in options)}


def _quoted(words: list[str]) -> list[str]:
    import shlex

    return [shlex.quote(word) for word in words]


def main() -> NoReturn:
    """The entry point: ganzoo's own errors are one line; anything else is a bug and says so."""
    debug = "--debug" in sys.argv[1:]
    sys.argv = [sys.argv[0], *(["--debug"] if debug else []), *(arg for arg in sys.argv[1:] if arg != "--debug")]
    if hasattr(sys.stdout, "reconfigure"):  # where a letter is not known, a question mark will do
        sys.stdout.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        code: Any = cli(standalone_mode=False, prog_name="ganzoo")
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except Exception as error:
        if debug:
            raise
        from ganzoo.errors import GanzooError

        if isinstance(error, GanzooError):
            click.echo(f"ganzoo: {error}", err=True)
            sys.exit(error.exit_code)
        click.echo(f"ganzoo: {type(error).__name__}: {error} (run again with --debug for the traceback)", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()

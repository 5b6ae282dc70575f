"""The command that trains and compares, and publishes what came of it."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganzoo.cli.hub import heard, print_comparison, published
from ganzoo.cli.shared import DEVICES, option_engine, option_metric, parsed

if TYPE_CHECKING:
    from ganzoo.bench import Plan
    from ganzoo.claims import Comparison
    from ganzoo.model import Model
    from ganzoo.publish import Sending


@click.command(short_help="Train and compare recipes over seeds.")
@click.argument("names", metavar="[NAME|PATTERN|SUITE]...", nargs=-1)
@click.option("--suite", help="Suite to choose from, with its budgets [default: default].")
@click.option("--seeds", type=click.IntRange(1, 10_000), help="Seeds of each recipe [default: the suite's].")
@click.option("--jobs", type=click.IntRange(1, 1024), help="Runs at a time [default: one for each core].")
@click.option("--executor", default="local", show_default=True, help="Where runs are carried out.")
@click.option("--device", default="auto", show_default=True, type=DEVICES)
@option_engine
@click.option("--out", type=click.Path(path_type=Path), help="Folder to work in [default: bench/SUITE].")
@click.option(
    "--measure",
    is_flag=True,
    help="Measure every generator by fresh critics of every divergence too (4 to 20 s a run, twice for some).",
)
@option_metric
@click.option(
    "-o",
    "options",
    metavar="KEY=VALUE",
    multiple=True,
    help="Override an option of every recipe, like steps=500; what the suite says of it gives way. May be repeated.",
)
@click.option("--from", "source", metavar="MODEL", help="Train this model's recipe again, and compare with its card.")
@click.option("--publish", "to", metavar="NAMESPACE", help="Publish models and leaderboard to the Hugging Face Hub.")
@click.option("--private", is_flag=True, help="With --publish: make new repositories private.")
@click.option("--create-pr", is_flag=True, help="With --publish: propose the changes in pull requests.")
@click.option("--tag", metavar="T", help="With --publish: tag the commits.")
@click.option("--dry-run", is_flag=True, help="With --publish: say what would be sent, and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the leaderboard as JSON instead of as a table.")
def bench(
    names: tuple[str, ...],
    suite: str | None,
    seeds: int | None,
    jobs: int | None,
    executor: str,
    device: str,
    engine: str,
    out: Path | None,
    measure: bool,
    metrics: tuple[str, ...],
    options: tuple[str, ...],
    source: str | None,
    to: str | None,
    private: bool,
    create_pr: bool,
    tag: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train and compare recipes over seeds; write a leaderboard, its page and the models.

    Without arguments it runs the default suite, about three minutes on two cores; `--suite full` gives each recipe its
    whole budget. The same command goes on where it was stopped. The exit code is 1 if any run failed.

    \b
    ganzoo bench 'js-gan.*' --seeds 3 --publish my-name     train, then publish
    ganzoo bench --from ORG/NAME                            does a published model come out again?
    """
    from ganzoo import bench as benching
    from ganzoo.plugins import registry
    from ganzoo.progress import BenchProgress, cores

    if to is None and (private or create_pr or tag or dry_run):
        raise click.UsageError("--private, --create-pr, --tag and --dry-run go with --publish NAMESPACE")
    if source is not None and (names or suite or measure or metrics or options):
        raise click.UsageError("--from MODEL says what to run and to measure; it takes none of that besides")
    how = _sending(to, private, create_pr, tag, dry_run) if to is not None else None
    model = _model_of(source) if source is not None else None
    asked: dict[str, Any] = {"measure": measure, "metrics": metrics, "overrides": parsed(options)}
    todo = _again(model, seeds) if model is not None else benching.plan(names, suite, seeds, **asked)
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
                engine=engine,
                workers=workers,
                listen=progress.listen,
                ended=progress.ended,
                found=progress.found,
            )
    except KeyboardInterrupt:
        click.echo(f"Stopped. The same command goes on where this one was; so far: {folder / 'index.html'}", err=True)
        raise SystemExit(130) from None
    count = benching.tally(board)
    compared = _compared(model, board) if model is not None and board["entries"] else []
    if as_json:
        more = {"comparison": [asdict(each) for each in compared]} if model is not None else {}
        click.echo(json.dumps({**board, **more}, indent=1))
    else:
        progress.report(board, folder)
        if model is not None:
            print_comparison(compared, str(model.origin))
    if to is not None and how is not None:
        from ganzoo import publishable

        published(publishable.of_bench(folder), to, how, quiet=as_json)
    if count["failed"] or count["interrupted"] or any(each.verdict == "differs" for each in compared):
        raise SystemExit(1)


def _sending(to: str, private: bool, create_pr: bool, tag: str | None, dry_run: bool) -> Sending:
    """How to publish; what cannot be is said before hours of training."""
    from ganzoo import publish as publishing

    if "/" in to:
        raise click.UsageError(f"--publish takes a NAMESPACE: a bench is several repositories, and {to} is one")
    how = publishing.Sending(private=private or None, create_pr=create_pr, tag=tag, dry_run=dry_run)
    publishing.check(to, how)
    return how


def _model_of(source: str) -> Model:
    from ganzoo import origin
    from ganzoo.model import open_model

    return open_model(origin.locate(source, optional=(origin.METRICS,), heard=heard))


def _again(model: Model, seeds: int | None) -> Plan:
    from ganzoo import claims

    return claims.plan_from(model, seeds)


def _compared(model: Model, board: dict[str, Any]) -> list[Comparison]:
    from ganzoo import claims

    return claims.compare(model, board)

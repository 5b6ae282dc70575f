"""Commands that share models: publish, download, and check what a model says of itself."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganzoo.cli.shared import DEVICES

if TYPE_CHECKING:
    from ganzoo.claims import Checked, Comparison
    from ganzoo.publish import Sending
    from ganzoo.publishable import Item

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


class Size(click.ParamType[int]):
    """A number of bytes, like 500MB or 2GB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip().lower().removesuffix("b")
        number, unit = (text[:-1], text[-1:]) if text[-1:] in set(UNITS) - {""} else (text, "")
        try:
            size = float(number) * UNITS[unit]
        except ValueError:
            self.fail(f"{value!r} is no size; say it like 500MB or 2GB", param, ctx)
        if not 0 <= size < 10**18:
            self.fail(f"{value!r} is no size; say it like 500MB or 2GB", param, ctx)
        return int(size)


def heard(what: str) -> None:
    """What goes on meanwhile, for whoever waits."""
    click.echo(f"ganzoo: {what}", err=True)


# Publishing


@click.command(short_help="Publish models and leaderboards to the Hugging Face Hub.")
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--to", required=True, metavar="NAMESPACE", help="A user or organisation; of one model also NAMESPACE/NAME."
)
@click.option("--private", is_flag=True, help="Make new repositories private.")
@click.option("--create-pr", is_flag=True, help="Propose the changes in a pull request.")
@click.option("--tag", metavar="T", help="Tag the commits that hold what was published.")
@click.option("--message", "-m", help="Commit message [default: Publish NAME with ganzoo].")
@click.option("--license", default="apache-2.0", show_default=True, help="The Hub's identifier of one, for new cards.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print what was published as JSON.")
def publish(
    folders: tuple[Path, ...],
    to: str,
    private: bool,
    create_pr: bool,
    tag: str | None,
    message: str | None,
    license: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Publish what DIR holds: a model, a run, what `train` left, or a bench with all its models and its leaderboard.

    Each model becomes NAMESPACE/METHOD.DATASET with its card, the leaderboard a static Space. What is there already is
    not sent again, so a command that was stopped can be given again. It takes a token: HF_TOKEN or `hf auth login`.
    """
    from ganzoo import publish as publishing
    from ganzoo import publishable

    with tempfile.TemporaryDirectory() as made:
        found = publishable.items(folders, Path(made))
        how = publishing.Sending(
            private=private or None,
            create_pr=create_pr,
            tag=tag,
            message=message,
            dry_run=dry_run,
            license=license,
        )
        published(found, to, how, as_json=as_json)


def published(found: Sequence[Item], to: str, how: Sending, *, as_json: bool = False, quiet: bool = False) -> None:
    """Publish, say for each what was done (on stderr if ``quiet``), and end with the code 1 if any could not be."""
    from huggingface_hub.utils import disable_progress_bars, logging

    from ganzoo import publish as publishing
    from ganzoo.errors import GanzooError

    logging.set_verbosity_error()  # what it tries again is said here
    if not sys.stderr.isatty():
        disable_progress_bars()
    results: list[tuple[str, publishing.Published | GanzooError]] = []
    for repo, done in publishing.publish(found, to, how, heard):
        results.append((repo, done))
        if isinstance(done, GanzooError):
            click.echo(f"ganzoo: {done}", err=True)
        elif not as_json:
            click.echo(str(done), err=quiet)
    failed = sum(isinstance(done, GanzooError) for _, done in results)
    if as_json:
        click.echo(publishing.as_json(results))
    elif len(results) > 1:
        counts = Counter("failed" if isinstance(done, GanzooError) else done.what for _, done in results)
        words = ", ".join(f"{count} {what}" for what, count in counts.items())
        click.echo(f"{len(results)} repositories: {words}", err=quiet)
    if failed:
        if not how.dry_run:
            click.echo("Once that is mended, the same command goes on where this one was.", err=True)
        raise SystemExit(1)


# Downloading


@click.command(short_help="Download a model from the Hugging Face Hub.")
@click.argument("models", metavar="ORG/NAME[@REV]...", nargs=-1, required=True)
@click.option("--revision", help="Branch, tag or commit [default: main].")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Copy the files here too.")
@click.option("--max-size", type=Size(), default="2GB", show_default=True, help="Download no more of a model.")
@click.option("--force", is_flag=True, help="Download again what is in the cache.")
def download(models: tuple[str, ...], revision: str | None, out: Path | None, max_size: int, force: bool) -> None:
    """Download models into the cache of the Hugging Face Hub, and print their folders.

    Only the files of a model are fetched, compared with the hashes that the Hub gives, and the weights with those in
    the model's configuration. HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE count.
    """
    from ganzoo import hub, origin
    from ganzoo.files import copy_or_remove

    if out is not None and len(models) > 1:
        raise click.UsageError("--out is the folder of one model")
    for model in models:
        reference = hub.Reference.parse(model, revision)
        if reference is None:
            raise click.UsageError(f"{model!r} is no model on the Hub: say ORG/NAME or ORG/NAME@REVISION")
        required = (origin.CONFIG, origin.WEIGHTS)
        optional = tuple(each for each in origin.FILES if each not in required)
        folder = hub.fetch(
            reference, required, optional, cache=hub.Cache(force_download=force), most=max_size, heard=heard
        )
        origin.check_sums(folder)
        if out is not None:
            for name in origin.FILES:  # nothing of another model stays there
                copy_or_remove(folder / name if (folder / name).exists() else None, out / name)
        click.echo(out or folder)


# Checking


@click.command(short_help="Compute the numbers of a model's card again.")
@click.argument("model")
@click.option(
    "--draws", default=20, show_default=True, type=click.IntRange(5, 1_000), help="Evaluations with fresh samples"
)
@click.option("--metric", "metrics", metavar="NAME", multiple=True, help="Compute this instead. May be repeated.")
@click.option("--out", type=click.Path(path_type=Path), help="With --metric: a folder for the pictures of metrics.")
@click.option("--device", default="cpu", show_default=True, type=DEVICES)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def evaluate(model: str, draws: int, metrics: tuple[str, ...], out: Path | None, device: str, as_json: bool) -> None:
    """Compute the numbers that MODEL's card states again, from its weights, and say of each whether it holds.

    MODEL is a folder or ORG/NAME[@REV]. The exit code is 1 if any number does not hold.

    With --metric it computes others, like fid, fd:NAME (with another extractor) or memorisation, beside what real data
    score: `ganzoo list metrics`.
    """
    if out is not None and not metrics:
        raise click.UsageError("--out goes with --metric")
    if metrics:
        _compute(model, metrics, out, device, as_json)
        return
    import torch

    from ganzoo import claims, origin
    from ganzoo.model import open_model
    from ganzoo.progress import counting

    torch.set_num_threads(1)  # as when it was measured
    wanted = (origin.METRICS, origin.CARD)
    found = open_model(origin.locate(model, optional=wanted, heard=heard), device)
    with counting("evaluations with fresh samples", draws) as heard_of:
        checked = claims.check(found, draws=draws, heard=heard_of)
    if as_json:
        click.echo(json.dumps(checked.json(), indent=1))
    else:
        _print_claims(checked)
    if not checked.good:
        raise SystemExit(1)


def _compute(model: str, names: tuple[str, ...], out: Path | None, device: str, as_json: bool) -> None:
    """Metrics of a model, and of real data in its place."""
    from ganzoo import evaluate, origin, pictures, progress
    from ganzoo.files import finite
    from ganzoo.model import open_model

    chosen = evaluate.metrics(names)  # before anything is fetched
    found = open_model(origin.locate(model, heard=heard), device)
    seed = found.config.get("seed")
    scores = evaluate.evaluate(found.generator, found.dataset, seed if isinstance(seed, int) else 0, chosen)
    floor = evaluate.floor(found.dataset, chosen)
    for name, score in scores.items():
        if out is not None and score.picture is not None:
            pictures.draw_rows(found.data, score.picture, out / f"{name.replace(':', '-')}.png", name)
    if as_json:
        said = {n: {"value": s.value, "how": s.how, "detail": dict(s.detail)} for n, s in scores.items()}
        real = {name: score.value for name, score in floor.items()}
        click.echo(json.dumps(finite({"model": found.name, "metrics": said, "real": real}), indent=1))
    else:
        progress.print_beside(found.name, chosen, scores, floor)
    if any(math.isnan(score.value) for score in scores.values()) or set(chosen) - set(scores):
        raise SystemExit(1)


def _print_claims(checked: Checked) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ganzoo.progress import WIDE
    from ganzoo.report import interval, number, plain

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("metric", no_wrap=True)  # it is asked for by its name
    for name in ("card", "again"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("fresh samples", justify="right")
    table.add_column("", no_wrap=True)
    console = Console(soft_wrap=True, highlight=False)
    wide = console.width >= WIDE  # else there is no room for what the card says of other seeds
    if wide:
        table.add_column("card, all seeds", justify="right", no_wrap=True)
    for claim in checked.claims:
        fresh = "" if claim.low is None or claim.high is None else f"{number(claim.low, 3)} … {number(claim.high, 3)}"
        mean, half = claim.over_seeds
        over = "" if mean is None else interval(mean, half)
        cells = [plain(claim.metric), number(claim.said), number(claim.again), fresh, claim.verdict, *[over] * wide]
        table.add_row(*(Text(cell, style="" if claim.good else "red") for cell in cells))
    console.print(f"{checked.model}, seed {checked.seed}, last step\n", style="bold", markup=False)
    console.print(table)
    for line in checked.contradictions:
        console.print(f"contradiction: {plain(line)}", style="red", markup=False)
    verdicts = Counter(claim.verdict for claim in checked.claims)
    false, unknown = verdicts["does not hold"] + len(checked.contradictions), verdicts["cannot be computed"]
    said = [f"{false} of the card's statements do not hold."] if false else []
    said += [f"{unknown} of its numbers cannot be computed here."] if unknown else []
    said = said or [f"All {len(checked.claims)} numbers hold."]
    console.print(
        f"{' '.join(said)} same: on the samples it was measured with it comes out again; holds: it lies where one more "
        f"evaluation with fresh samples would, judging by {checked.draws}; about 99 of 100 honest cards pass.",
        markup=False,
    )


def print_comparison(compared: Sequence[Comparison], name: str) -> None:
    """What was published beside what was found now."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ganzoo.report import interval, plain

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("metric", no_wrap=True)  # it is asked for by its name
    for column in ("published", "trained again", "difference"):
        table.add_column(column, justify="right")
    table.add_column("")
    for each in compared:
        ends = [f"{interval(mean, half)} ({n})" for mean, half, n in (each.published, each.again)]
        difference = interval(*each.difference) if each.difference else ""
        cells = [plain(each.metric), *ends, difference, each.verdict]
        table.add_row(*(Text(cell, style="red" if each.verdict == "differs" else "") for cell in cells))
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"\n{name} trained again, last step\n", style="bold", markup=False)
    console.print(table)
    console.print(
        "Mean ± 95 % interval (seeds). same: each seed gave its number again. differs: the 95 % interval of the "
        "difference (Welch's t) does not hold 0, as by chance once in twenty times; not told apart: it does.",
        markup=False,
    )

"""Commands that train, compare and sample."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from ganzoo.cli.shared import DEVICES, option_o, quoted, recipe_of

if TYPE_CHECKING:
    from ganzoo.executor import Result


@click.command(short_help="Train a recipe.")
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
    """Train a recipe: METHOD.DATASET, a .json file that `show --json` printed, or a .toml file of a name and overrides.

    Each seed gets a folder with its log, checkpoints, pictures, model and result. Ctrl-C stops with a checkpoint.
    """
    import torch

    from ganzoo.executor import Job, carry_out
    from ganzoo.progress import TrainProgress, print_scores

    torch.set_num_threads(1)  # small networks lose time to more; what does not fit this is for a GPU
    extra = (f"steps={steps}",) if steps is not None else ()
    recipe = recipe_of(name, (*options, *extra))
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
    click.echo(f"Go on with: ganzoo {' '.join(quoted(again))} --resume", err=True)
    raise SystemExit(130)


@click.command(short_help="Train and compare recipes over seeds.")
@click.argument("names", metavar="[NAME|PATTERN|SUITE]...", nargs=-1)
@click.option("--suite", help="Suite to choose from, with its budgets [default: default].")
@click.option("--seeds", type=click.IntRange(1, 10_000), help="Seeds of each recipe [default: the suite's].")
@click.option("--jobs", type=click.IntRange(1, 1024), help="Runs at a time [default: one for each core].")
@click.option("--executor", default="local", show_default=True, help="Where runs are carried out.")
@click.option("--device", default="auto", show_default=True, type=DEVICES)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to work in [default: bench/SUITE].")
@click.option(
    "--measure",
    is_flag=True,
    help="Measure every generator by fresh critics of every divergence too (4 to 20 s a run).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the leaderboard as JSON instead of as a table.")
def bench(
    names: tuple[str, ...],
    suite: str | None,
    seeds: int | None,
    jobs: int | None,
    executor: str,
    device: str,
    out: Path | None,
    measure: bool,
    as_json: bool,
) -> None:
    """Train and compare recipes over seeds; write a leaderboard, its page and the models.

    Without arguments it runs the default suite, about three minutes on two cores; `--suite full` gives each recipe its
    whole budget. The same command goes on where it was stopped. The exit code is 1 if any run failed.
    """
    from ganzoo import bench as benching
    from ganzoo.plugins import registry
    from ganzoo.progress import BenchProgress, cores

    todo = benching.plan(names, suite, seeds, measure=measure)
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


@click.command(short_help="Draw samples from a model.")
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

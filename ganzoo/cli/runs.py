"""Commands that train, compare and sample."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from ganzoo.cli.hub import heard
from ganzoo.cli.shared import DEVICES, option_engine, option_metric, option_o, quoted, recipe_of

if TYPE_CHECKING:
    from ganzoo.executor import Result

_GIVEN = click.core.ParameterSource.COMMANDLINE


@click.command(short_help="Train a recipe.")
@click.argument("name")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1, 10_000), help="Train seeds 0 to N−1.")
@click.option("--steps", type=click.IntRange(1), help="Passes over all turns [default: the recipe's].")
@click.option("--device", default="auto", show_default=True, type=DEVICES)
@option_engine
@click.option("--out", type=click.Path(path_type=Path), help="Folder to work in [default: runs/NAME].")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in the folder.")
@click.option(
    "--checkpoint-seconds", default=15.0, show_default=True, help="At least this long between two checkpoints."
)
@option_metric
@option_o
def train(
    name: str,
    seeds: int,
    steps: int | None,
    device: str,
    engine: str,
    out: Path | None,
    resume: bool,
    checkpoint_seconds: float,
    metrics: tuple[str, ...],
    options: tuple[str, ...],
) -> None:
    """Train a recipe: METHOD.DATASET, a .json file that `show --json` printed, or a .toml file of a name and overrides.

    Each seed gets a folder with its log, checkpoints, pictures, model and result. Ctrl-C stops with a checkpoint.
    """
    import torch

    from ganzoo import evaluate
    from ganzoo.executor import Job, carry_out, shares
    from ganzoo.progress import TrainProgress, print_scores

    torch.set_num_threads(1)  # small networks lose time to more; what does not fit this is for a GPU
    extra = (f"steps={steps}",) if steps is not None else ()
    recipe = recipe_of(name, (*options, *extra))
    folder = out or Path("runs") / recipe.name
    more = {"checkpoint_seconds": checkpoint_seconds, "engine": engine, "metrics": tuple(evaluate.metrics(metrics))}
    jobs = [Job(recipe, seed, folder / f"seed-{seed}", device, **more) for seed in range(seeds)]
    results: list[Result] = []
    for share in shares(jobs):
        try:
            with TrainProgress(share) as progress:
                for job, result in carry_out(share, progress.listen, resume=resume):
                    progress.report(job, result)
                    results.append(result)
        except KeyboardInterrupt:  # the second one, or one after the last step
            _stop_here()
        if any(result["status"] == "interrupted" for result in results):
            _stop_here()
    print_scores(recipe, results)
    if any(result["status"] != "finished" for result in results):
        raise SystemExit(1)


def _stop_here() -> NoReturn:
    again = [arg for arg in sys.argv[1:] if arg != "--resume"]
    click.echo(f"Go on with: ganzoo {' '.join(quoted(again))} --resume", err=True)
    raise SystemExit(130)


@click.command(short_help="Draw samples from a model.")
@click.argument("model")
@click.option("-n", "n", default=64, show_default=True, type=click.IntRange(1, 100_000_000), help="How many samples.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same samples.")
@click.option("--label", help="The label to generate, by name or number, where the generator reads labels.")
@click.option(
    "--source",
    "sources",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A picture to translate, or x in an .npz file. May be repeated.",
)
@click.option(
    "--to",
    "targets",
    metavar="LABEL",
    multiple=True,
    help="What to make of it: a label, glasses=round, or Smiling,Young=false. May be repeated.",
)
@click.option("--device", default="cpu", show_default=True, type=DEVICES)
@click.option(
    "--out",
    default="samples.png",
    show_default=True,
    type=click.Path(path_type=Path),
    help="A .png, .npz or .safetensors file.",
)
@click.pass_context
def sample(
    ctx: click.Context,
    model: str,
    n: int,
    seed: int,
    label: str | None,
    sources: tuple[Path, ...],
    targets: tuple[str, ...],
    device: str,
    out: Path,
) -> None:
    """Draw samples from MODEL: its folder, that of a run or of `train`, or ORG/NAME[@REV] on the Hugging Face Hub.

    They are written as they are made, so that there may be more than fits into memory.

    A model that translates takes a --source, and the labels --to which it is translated. One picture and one label give
    a picture of the same size, several a table of sources and labels.
    """
    from ganzoo.progress import counting
    from ganzoo.sampling import write_samples, write_translations

    if sources or targets:
        if not (sources and targets):
            raise click.UsageError("--source and --to go together: what to translate, and into what")
        given = [name for name in ("n", "seed", "label") if ctx.get_parameter_source(name) is _GIVEN]
        if out.exists() and any(out.samefile(source) for source in sources):
            raise click.UsageError(f"--out {out} is a --source too; write somewhere else")
        if given:
            raise click.UsageError(f"{'-n' if given[0] == 'n' else f'--{given[0]}'} does not go with --source")
        click.echo(write_translations(model, sources, targets, device, out, heard))
        return
    with counting("samples", n) as made:
        said = write_samples(model, n, seed, label, device, out, heard, made)
    click.echo(said)

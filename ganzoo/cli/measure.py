"""The command that measures how far a generator is from the data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ganzoo.cli.hub import heard as said
from ganzoo.cli.shared import DEVICES, parsed


@click.command(short_help="Measure how far a model is from the data, by fresh critics.")
@click.argument("model", required=False)
@click.option("--pair", metavar="NAME", help="Measure a known pair of distributions instead (`ganzoo list pairs`).")
@click.option(
    "--divergence",
    "divergences",
    metavar="NAME,…",
    multiple=True,
    default=("js",),
    show_default="js",
    help="What to measure; `all` for all that are registered. May be repeated.",
)
@click.option("--against", metavar="DATASET", help="Which data [default: what the model was trained on].")
@click.option("--critics", default=3, show_default=True, type=click.IntRange(1, 1_000), help="Critics to fit.")
@click.option("--steps", default=1_000, show_default=True, type=click.IntRange(1), help="Steps of a critic's fit.")
@click.option("--device", default="cpu", show_default=True, type=DEVICES)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for measure.json and critic.png [default: measure/…].",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option(
    "-o",
    "options",
    metavar="KEY=VALUE",
    multiple=True,
    help="critic=NAME, critic.hidden=256, alpha.alpha=0.3 (of a divergence), by=2 (of the pair). May be repeated.",
)
def measure(
    model: str | None,
    pair: str | None,
    divergences: tuple[str, ...],
    against: str | None,
    critics: int,
    steps: int,
    device: str,
    out: Path | None,
    as_json: bool,
    options: tuple[str, ...],
) -> None:
    """Measure how far MODEL is from the data: its folder, that of a run or of `train`, or ORG/NAME on the Hub.

    The generator is frozen, and fresh critics are fitted to one part of the data and of its samples; the estimate is
    read off other parts. Where densities are known, the true value stands beside it, and critic.png shows D beside D*.

    \b
    ganzoo measure runs/js-gan.ring --divergence js,kl
    ganzoo measure --pair shift -o by=2 --divergence all
    """
    import torch

    from ganzoo import measuring
    from ganzoo.meter import Settings

    if (model is None) == (pair is None):
        raise click.UsageError("give either a MODEL or a --pair")
    if out is not None:  # said before minutes of fitting
        there = next(
            path for path in (out, *out.absolute().parents) if path.exists() or path.is_symlink() or path == path.parent
        )
        if not there.is_dir():
            raise click.UsageError(f"--out {out}: {there} is a file")
    if pair is not None and against is not None:
        raise click.UsageError("--against goes with a MODEL, not with a --pair")
    torch.set_num_threads(1)  # as in training: small networks lose time to more
    given = parsed(options)
    if pair is not None:
        question = measuring.about_pair(pair, divergences, given)
    else:
        assert model is not None
        question = measuring.about_model(model, against, divergences, given, device, said)
    folder = out or Path("measure") / question.folder
    with _heard(as_json) as heard:
        settings = Settings(critics=critics, steps=steps, critic=question.critic)
        kept = measuring.answer(question, settings, device, folder, heard)
    if as_json:
        click.echo(json.dumps(kept, indent=1))
    else:
        _print(kept, folder)


@contextmanager
def _heard(quiet: bool) -> Iterator[Any]:
    """Says what is going on where there is a terminal to say it on."""
    from rich.console import Console

    console = Console(stderr=True, quiet=quiet)
    if not console.is_terminal:
        yield lambda what: None
        return
    with console.status("") as status:
        yield lambda what: status.update(what)


def _print(kept: dict[str, Any], folder: Path) -> None:
    from rich.console import Console

    from ganzoo import measuring

    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{kept['what']} against {kept['against']}\n", style="bold", markup=False)
    console.print(measuring.table(kept))
    console.print()
    for line in measuring.words(kept):
        console.print(line, markup=False)
    console.print(f"{folder / 'measure.json'}{', critic.png' if 'picture' in kept else ''}", markup=False)

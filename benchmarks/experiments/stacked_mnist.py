"""Modes of StackedMNIST with a relativistic game, with the original one, and with packs of samples.

Three random digits are the channels of an image: 1,000 modes. 26,000 samples are counted by a classifier of digits.
Huang et al. (2024), table 1, have R1 and R2 around the relativistic and around the original game; Lin et al. (2018),
table 4, packs of two. On a GPU these are R3GAN's networks and DCGAN's with a budget of minutes; on a CPU all are narrow
DCGANs and the budget is far below the published ones, so that only the ordering can be compared.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import torch
from _shared import Check, one_thread, rows, true

from ganzoo import Run, evaluate
from ganzoo.bench import interval
from ganzoo.part import Part
from ganzoo.recipe import create_recipe

FOLDER: Final = Path("bench") / "experiments"
METRICS: Final = ("stacked-modes:reference", "stacked-kl:reference")
SOURCE: Final = "R3GAN (2024), table 1; PacGAN (2018), table 4"
RELATIVISTIC: Final = "relativistic, R1 and R2"
ORIGINAL: Final = "original, R1 and R2"
PACKED: Final = "original, packs of 2"
#: Modes of 1,000, and KL in nats.
PUBLISHED: Final = {RELATIVISTIC: (1000, 0.0781), ORIGINAL: (693, 0.927), PACKED: (1000, 0.06)}

Overrides = dict[str, Any]


def _variants(device: str) -> dict[str, tuple[str, Overrides]]:
    """A recipe and its overrides by what it is called here."""
    if device == "cpu":
        budget: Overrides = {"batch_size": 64, "steps": 2_500, "evaluations": 2}
        narrow = {"generator": "dcgan", "generator.width": 32, "discriminator": "dcgan", "discriminator.width": 32}
        regularised = {**budget, **narrow, "discriminator.batch_norm": False, "gamma": 1.0, "optimizer.beta1": 0.0}
        method = "r3gan"
    else:
        budget = {"batch_size": 128, "steps": 30_000, "evaluations": 4}
        narrow = {"generator": "dcgan", "discriminator": "dcgan"}
        regularised, method = {**budget, "gamma": 1.0}, "r3gan-resnet"
    return {
        RELATIVISTIC: (f"{method}.stacked-mnist", regularised),
        ORIGINAL: (f"{method}.stacked-mnist", {**regularised, "divergence": "gan"}),
        PACKED: ("pacgan.stacked-mnist", {**budget, **narrow, "discriminator": "packed-dcgan"}),
    }


def run(seeds: int, jobs: int) -> dict[str, Any]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    variants = _variants(device)
    todo = [(name, seed, device) for name in variants for seed in range(seeds)]
    with ProcessPoolExecutor(jobs, get_context("spawn"), one_thread) as pool:
        found = list(pool.map(_one, *zip(*todo, strict=True)))
    entries = {name: _entry([each for each in found if each["variant"] == name]) for name in variants}
    dataset = Part("dataset", "stacked-mnist").resolved().build()
    real = evaluate.floor(dataset, evaluate.metrics(METRICS))
    return {
        "device": device,
        "seeds": list(range(seeds)),
        "published": PUBLISHED,
        "real_data": {metric: real[metric].value for metric in METRICS},
        "how": real[METRICS[0]].how,
        "recipes": {name: {"recipe": recipe, "overrides": own} for name, (recipe, own) in variants.items()},
        "entries": entries,
        "checks": _checks(entries, device),
    }


def _one(name: str, seed: int, device: str) -> dict[str, Any]:
    """Train one, or go on with it, and measure these metrics alone: others take longer than the training."""
    recipe, own = _variants(device)[name]
    folder = FOLDER / f"stacked-mnist-{device}" / name.replace(", ", "-").replace(" ", "-") / f"seed-{seed}"
    run = Run(create_recipe(recipe, own), seed, folder, device=device)
    outcome = run.train(resume=True)
    chosen = evaluate.metrics(METRICS)
    scores = {when: evaluate.evaluate(run.generator(when), run.dataset, seed, chosen) for when in ("last", "best")}
    return {
        "variant": name,
        "run": {"seed": seed, "status": outcome.status, "seconds": outcome.seconds, "best_step": outcome.best_step},
        "scores": {when: {metric: score.value for metric, score in of.items()} for when, of in scores.items()},
    }


def _entry(found: list[dict[str, Any]]) -> dict[str, Any]:
    values = {m: {w: [each["scores"][w].get(m) for each in found] for w in ("last", "best")} for m in METRICS}
    return {
        "runs": [each["run"] for each in found],
        **{m: {when: interval(of) for when, of in by_when.items()} for m, by_when in values.items()},
    }


def _checks(entries: dict[str, dict[str, Any]], device: str) -> list[Check]:
    modes, kl = METRICS
    means = {name: tuple(entry[metric]["last"]["mean"] for metric in METRICS) for name, entry in entries.items()}
    (more, less), (near, far) = zip(means[RELATIVISTIC], means[ORIGINAL], strict=True)
    ordering = [
        true(f"{modes}: the relativistic game has more", f"> {less}", more, more > less, SOURCE),
        true(f"{kl}: the relativistic game has less", f"< {far}", near, near < far, SOURCE),
    ]
    if device == "cpu":
        return ordering
    reached = [
        true(
            f"{name}: modes", f"{PUBLISHED[name][0]}", means[name][0], means[name][0] >= PUBLISHED[name][0] - 5, SOURCE
        )
        for name in (RELATIVISTIC, PACKED)
    ]
    return [*ordering, *reached]


def table(result: dict[str, Any]) -> str:
    head = (f"{result['device']}, {len(result['seeds'])} seeds, last step", "modes", "KL", "published", "published KL")
    body = [
        [name, *(_cell(entry[metric]["last"]) for metric in METRICS), *map(str, PUBLISHED[name])]
        for name, entry in result["entries"].items()
    ]
    body.append(["real data", *(f"{result['real_data'][metric]:.4g}" for metric in METRICS), "", ""])
    return rows(head, body)


def _cell(found: dict[str, Any]) -> str:
    if found["mean"] is None:
        return "—"
    return f"{found['mean']:.4g}" + (f" ± {found['half_width']:.2g}" if found["half_width"] is not None else "")

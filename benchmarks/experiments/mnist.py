"""Likelihoods that were published for MNIST: a Gaussian's in closed form, and Parzen windows around samples.

Papamakarios, Pavlakou & Murray (2017) fit a full-covariance Gaussian to the logits of dequantised digits, λ = 10⁻⁶.
Goodfellow et al. (2014) and Mirza & Osindero (2014) put a Gaussian around each of 10,000 samples. Perceptrons are
trained here with far smaller budgets than theirs, whose sizes and schedules were not all published.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from _shared import Check, close, rows, true

from ganzoo import bench, evaluate
from ganzoo.dataset import Dataset
from ganzoo.executor import LocalProcesses
from ganzoo.metric import Evidence
from ganzoo.part import Part
from ganzoo.recipe import create_recipe

FOLDER: Final = Path("bench") / "experiments"
CENTRES: Final = 10_000
GAUSSIAN: Final = ("mle-gaussian.mnist", {"dataset.logit": 1e-6})
MAF: Final = "MAF (2017), table 2"
#: Mean log-likelihoods in nats.
PUBLISHED: Final = {
    GAUSSIAN[0]: (-1366.9, 1.4, MAF),
    "ns-gan.mnist": (225.0, 2.0, "Goodfellow et al. (2014), table 1"),
    "cgan.mnist": (132.0, 1.8, "Mirza & Osindero (2014), table 1"),
}
#: What training images score in place of samples; no paper has it.
REAL: Final = 243.9
PERCEPTRONS: Final[dict[str, Any]] = {
    "generator.hidden": 512,
    "generator.noise": 64,
    "discriminator.hidden": 512,
    "batch_size": 64,
    "steps": 10_000,
    "evaluations": 4,
    "optimizer.lr": 2e-4,
}


def run(seeds: int, jobs: int) -> dict[str, Any]:
    (gaussian,) = _bench("gaussian", (create_recipe(*GAUSSIAN),), 1, jobs, ())
    nll = gaussian["metrics"]["nll"]["last"]["mean"]
    recipes = tuple(create_recipe(name, PERCEPTRONS) for name in ("ns-gan.mnist", "cgan.mnist"))
    entries = {entry["recipe"]: entry for entry in _bench("parzen", recipes, seeds, jobs, ("parzen",))}
    parzen = {
        name: {when: entry["metrics"]["parzen"][when] for when in ("last", "best")} for name, entry in entries.items()
    }
    real = _real()
    return {
        "seeds": list(range(seeds)),
        "published": PUBLISHED,
        "gaussian": -nll,
        "parzen": {**parzen, "training images": real},
        "overrides": PERCEPTRONS,
        "runs": {name: entry["runs"] for name, entry in entries.items()},
        "checks": [
            close("a Gaussian on logits", PUBLISHED[GAUSSIAN[0]][0], -nll, 3.0, MAF),
            close("Parzen windows around 10,000 training images", REAL, real, 2.0, "feasibility"),
            *(_reached(name, parzen[name]["last"]["mean"]) for name in parzen),
        ],
    }


def _bench(
    name: str, recipes: tuple[Any, ...], seeds: int, jobs: int, metrics: tuple[str, ...]
) -> list[dict[str, Any]]:
    todo = bench.Plan(name, recipes, seeds, metrics=tuple(evaluate.metrics(metrics)))
    folder = FOLDER / f"mnist-{name}"
    return bench.bench(todo, folder, LocalProcesses(jobs), device="cpu", workers=jobs)["entries"]


def _real() -> float:
    dataset: Dataset = Part("dataset", "mnist").resolved().build()
    fake, real = dataset.some("train", CENTRES), dataset.part("held-out")
    return evaluate.metrics(["parzen"])["parzen"](Evidence(dataset, fake, real)).value


def _reached(name: str, value: float) -> Check:
    published, error, source = PUBLISHED[name]
    return true(f"{name}: Parzen windows", f"≥ {published:g} ± {error:g}", value, value >= published - error, source)


def table(result: dict[str, Any]) -> str:
    body = [["Gaussian on logits", f"{result['gaussian']:.2f}", f"{PUBLISHED[GAUSSIAN[0]][0]:g} ± 1.4"]]
    for name, found in result["parzen"].items():
        if isinstance(found, float):
            body.append([f"Parzen, {name}", f"{found:.1f}", ""])
            continue
        last, half = found["last"]["mean"], found["last"]["half_width"]
        ours = f"{last:.1f}" + (f" ± {half:.1f}" if half is not None else "")
        body.append([f"Parzen, {name}", ours, f"{PUBLISHED[name][0]:g} ± {PUBLISHED[name][1]:g}"])
    return rows(("nats, last step", "measured", "published"), body)

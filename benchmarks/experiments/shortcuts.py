"""What the shortcuts that change the result cost in the metrics: a noise batch for two turns, and bfloat16.

Each recipe is trained over seeds as it is and with each shortcut, with its whole budget, and every metric that the
bench knows is measured at the last step, on held-out data. A shortcut passes where no metric is told apart from the
plain recipe for the worse: the difference of means over seeds is below its 95 % interval (Welch, unpaired, since a GAN
enlarges every change). Of so many comparisons some fall out by chance: one in forty.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, Final

import _shared

from ganzoo import bench, evaluate
from ganzoo.claims import welch
from ganzoo.executor import LocalProcesses
from ganzoo.recipe import create_recipe

RECIPES: Final = ("js-gan.mixture-1d", "ns-gan.grid", "r3gan.ring")
PLAIN: Final = "plain"
SHORTCUTS: Final[dict[str, dict[str, Any]]] = {
    PLAIN: {},
    "shared noise": {"shared_noise": True},
    "bfloat16": {"precision": "bfloat16"},
}
FOLDER: Final = Path("bench") / "experiments"
SOURCE: Final = "the same recipe without it"

Values = dict[str, list[float]]


def run(seeds: int, jobs: int) -> dict[str, Any]:
    found: dict[str, dict[str, Values]] = {name: {} for name in RECIPES}
    seconds: dict[str, dict[str, float]] = {name: {} for name in RECIPES}
    engines: set[str] = set()
    for shortcut, options in SHORTCUTS.items():
        recipes = tuple(create_recipe(name, options) for name in RECIPES)
        todo = bench.Plan(f"shortcuts, {shortcut}", recipes, seeds)
        folder = FOLDER / f"shortcuts-{shortcut.replace(' ', '-')}"
        board = bench.bench(todo, folder, LocalProcesses(jobs), device="cpu", workers=jobs)
        for entry in board["entries"]:
            found[entry["recipe"]][shortcut] = {k: v["last"]["values"] for k, v in entry["metrics"].items()}
            seconds[entry["recipe"]][shortcut] = sum(each["seconds"] or 0.0 for each in entry["runs"])
            engines |= {f"{each['engine']} of {each['together']}" for each in entry["runs"]}
    return {
        "seeds": list(range(seeds)),
        "engines": sorted(engines),
        "seconds": seconds,
        "measured": found,
        "checks": [check for recipe, by in found.items() for check in _checks(recipe, by)],
    }


def _checks(recipe: str, by: dict[str, Values]) -> list[_shared.Check]:
    checks: list[_shared.Check] = []
    for shortcut in [name for name in by if name != PLAIN]:
        for metric, plain in by[PLAIN].items():
            values = by[shortcut].get(metric, [])
            if None in (*plain, *values):
                checks.append(_shared.true(f"{recipe}, {metric} with {shortcut}", "numbers", values, False, SOURCE))
                continue
            worse = _worse(metric, plain, values)
            half = welch(plain, values)
            says = f"{statistics.fmean(plain):.4g}, no worse by {half:.2g}"
            got = f"{statistics.fmean(values):.4g}"
            checks.append(_shared.true(f"{recipe}, {metric} with {shortcut}", says, got, worse <= half, SOURCE))
    return checks


def _worse(metric: str, plain: list[float], values: list[float]) -> float:
    """By how much the mean is worse than that of the plain recipe."""
    change = statistics.fmean(values) - statistics.fmean(plain)
    return -change if evaluate.metrics([metric])[metric].better == "higher" else change


def table(result: dict[str, Any]) -> str:
    tables = []
    for recipe, by in result["measured"].items():
        names = list(by[PLAIN])
        body = [[shortcut, *(_cell(values[name]) for name in names)] for shortcut, values in by.items()]
        tables.append(_shared.rows([f"{recipe}, {len(result['seeds'])} seeds", *names], body))
    return "\n\n".join(tables)


def _cell(values: list[float]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or len(known) < 2:
        return "—"
    return f"{statistics.fmean(known):.4g} ± {statistics.stdev(known):.2g}"

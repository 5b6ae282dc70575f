"""The bench: many recipes, many seeds, one leaderboard.

Everything a bench learns is in its folder: ``runs/RECIPE/seed-N`` as training left it, ``models/RECIPE`` in the layout
of a Hub repository, ``leaderboard.json``, and ``index.html``, which shows it. The same command goes on where it was
stopped.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, cast

from scipy import special  # not scipy.stats, which takes a second to import

from ganzoo import evaluate
from ganzoo.card import write_card
from ganzoo.dataset import Dataset
from ganzoo.device import pick_device
from ganzoo.engine import AUTO
from ganzoo.errors import ExportError, ModelError, OptionError, UnknownNameError, suggest
from ganzoo.executor import Executor, Job, Result
from ganzoo.files import copy_file, finite, write_json
from ganzoo.folder import DEFINITION, definition_in, difference, held_in, locked
from ganzoo.origin import CONFIG, CRITIC, METRICS, SAMPLES, WEIGHTS
from ganzoo.part import Part, to_json
from ganzoo.plugins import registry
from ganzoo.provenance import environment
from ganzoo.recipe import Recipe, canonical_name, combined, create_recipe, recipe_names
from ganzoo.registry import SuiteEntry, normalise
from ganzoo.report import write_report

FORMAT: Final = 1
DEFAULT_SUITE: Final = "default"
POINTS: Final = 60  # of a curve in the report


@dataclass(frozen=True)
class Plan:
    """What a bench will run."""

    suite: str
    recipes: tuple[Recipe, ...]
    seeds: int
    measure: bool = False  # every divergence of every generator, by fresh critics
    chosen: tuple[int, ...] = ()  # which seeds, if not 0, 1, …
    metrics: tuple[str, ...] = ()  # besides those that are always measured
    asked: tuple[str, ...] = ()  # recipes by name or pattern; without any, the suite's

    @property
    def each_seed(self) -> Sequence[int]:
        return self.chosen or range(self.seeds)


def plan(
    names: Sequence[str] = (),
    suite: str | None = None,
    seeds: int | None = None,
    *,
    measure: bool = False,
    metrics: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
) -> Plan:
    """The recipes that ``names`` mean, each with the budget that the suite gives it, and with ``overrides``.

    A name is a suite, a recipe or a shell pattern. Without a suite among them, ``suite`` (or the default one) says
    which entries a pattern chooses from and what budget they get.
    """
    known = {normalise(name) for name in registry().names("suite")}
    suites = [name for name in names if normalise(name) in known]
    if len(suites) + (suite is not None) > 1:
        raise OptionError(f"one suite at a time, not {' and '.join([*suites, *([suite] if suite else [])])}")
    entry = cast(SuiteEntry, registry().find("suite", suite or next(iter(suites), DEFAULT_SUITE)))
    patterns = [name for name in names if name not in suites]
    chosen = [match for pattern in patterns for match in _matches(pattern, entry)] if patterns else list(entry.recipes)
    own = dict(overrides or {})
    recipes = tuple(create_recipe(name, combined(_budget(entry, name), own)) for name in dict.fromkeys(chosen))
    also = tuple(evaluate.metrics(metrics))
    return Plan(entry.name, recipes, seeds or entry.seeds, measure, metrics=also, asked=tuple(patterns))


def _matches(pattern: str, suite: SuiteEntry) -> list[str]:
    """The suite's recipes that a pattern means, or else any recipes; a name is a pattern that means itself."""
    if "." in pattern and not any(mark in pattern for mark in "*?["):
        return [canonical_name(pattern)]
    for names in (suite.recipes, recipe_names()):
        if found := [name for name in names if fnmatch(normalise(name), normalise(pattern))]:
            return found
    known = [*recipe_names(), *registry().names("suite")]
    raise UnknownNameError(f"no recipe or suite matches {pattern!r}; {suggest(pattern, known)}")


def _budget(suite: SuiteEntry, name: str) -> dict[str, Any]:
    """All overrides of the suite whose pattern fits, later ones over earlier ones."""
    return {
        key: value
        for pattern, given in suite.overrides.items()
        if fnmatch(name, pattern)
        for key, value in given.items()
    }


def jobs(todo: Plan, folder: Path, device: str, engine: str = AUTO) -> list[Job]:
    """One job a run, the first seeds of all recipes first; `OptionError` where the folder holds other definitions."""
    for recipe in todo.recipes:
        old = held_in(folder / "runs" / recipe.name / f"seed-{todo.each_seed[0]}")
        if old is not None and old["digest"] != recipe.digest:
            raise OptionError(
                f"{folder} holds {recipe.name} with another definition ({difference(old['recipe'], recipe.record())}). "
                "Choose another folder with --out"
            )
    first = {
        recipe.dataset.name: recipe for recipe in reversed(todo.recipes)
    }  # one of each dataset sees to its control
    return [
        Job(
            recipe,
            seed,
            folder / "runs" / recipe.name / f"seed-{seed}",
            device,
            draw=seed == todo.each_seed[0],
            patience=30.0,
            measure=todo.measure,
            metrics=todo.metrics,
            control=todo.measure and first[recipe.dataset.name] is recipe,
            engine=engine,
        )
        for seed in todo.each_seed
        for recipe in todo.recipes
    ]


def bench(
    todo: Plan,
    folder: Path,
    executor: Executor,
    *,
    device: str = "auto",
    engine: str = AUTO,
    workers: int = 1,
    listen: Callable[[Job, Mapping[str, Any]], None] = lambda job, record: None,
    ended: Callable[[Job, Result], None] = lambda job, result: None,
    found: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Run what has not been run, and write the leaderboard, also when interrupted. Returns the leaderboard.

    ``found`` hears how many runs were done before, ``listen`` the records of the others, ``ended`` their results.
    """
    with locked(folder):
        return _bench(todo, folder, executor, device, engine, workers, listen, ended, found)


def _bench(
    todo: Plan,
    folder: Path,
    executor: Executor,
    device: str,
    engine: str,
    workers: int,
    listen: Callable[[Job, Mapping[str, Any]], None],
    ended: Callable[[Job, Result], None],
    found: Callable[[int], None],
) -> dict[str, Any]:
    started, before = time.monotonic(), _before(folder)
    pick_device(device)  # what is not there is said once, and not by every run
    _keep_wider(before, todo, folder)
    everything = jobs(todo, folder, device, engine)
    done = {job: result for job in everything if (result := job.result())}
    results = dict(done)
    found(len(results))
    try:
        for job, result in executor.run([job for job in everything if job not in results], listen):
            results[job] = result
            ended(job, result)
    finally:
        # What is written depends on what was found alone, so that nothing changes where nothing was done.
        spent = time.monotonic() - started if len(done) < len(everything) else 0.0
        seconds = before.get("wall_seconds", 0.0) + spent
        # By seed and not as they ended; what ended unheard while all of it was stopped counts too.
        results = {job: result for job in everything if (result := results.get(job) or job.result())}
        board = leaderboard(todo, folder, results, seconds, workers, device)
        _show(board, folder)
    return board


def _before(folder: Path) -> dict[str, Any]:
    """The leaderboard that the folder holds; empty where there is none that can be read."""
    try:
        board = json.loads((folder / "leaderboard.json").read_bytes())
        return board if board["format"] == FORMAT and board["entries"] is not None else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _keep_wider(board: Mapping[str, Any], todo: Plan, folder: Path) -> None:
    """Raise `OptionError` where a leaderboard of more recipes would be replaced."""
    left_out = {entry["recipe"] for entry in board.get("entries", ())} - {recipe.name for recipe in todo.recipes}
    if left_out:
        raise OptionError(
            f"{folder} holds a leaderboard with {len(left_out)} recipes that this selection leaves out (like "
            f"{min(left_out)}), and would be replaced. Choose another folder with --out"
        )


def leaderboard(
    todo: Plan, folder: Path, results: Mapping[Job, Result], seconds: float, workers: int, device: str
) -> dict[str, Any]:
    """The whole comparison as JSON: every number with its values by seed, its interval, and how it was come by."""
    of_recipe = [(recipe, [(j, results[j]) for j in results if j.recipe is recipe]) for recipe in todo.recipes]
    named = _data_names(todo.recipes)
    entries = [_entry(recipe, named[recipe.name], folder, runs) for recipe, runs in of_recipe if runs]
    controls = {named[job.recipe.name]: [] for job in results}
    for job, result in results.items():
        controls[named[job.recipe.name]] += [result["control"]] if "control" in result else []
    used = {name for entry in entries for name in entry["metrics"]}
    ended = [str(result["when"]) for result in results.values() if result.get("when")]
    peaks = [result["peak_memory_mib"] for result in results.values() if "peak_memory_mib" in result]
    board = {
        "format": FORMAT,
        "created": max(ended, default=datetime.now(UTC).isoformat(timespec="seconds")),
        "suite": todo.suite,
        "asked": list(todo.asked),
        "seeds": todo.seeds,
        "environment": _environment([r["environment"] for r in results.values() if "environment" in r], device),
        "wall_seconds": round(seconds, 1),
        "jobs": workers,
        "peak_memory_mib": max(peaks, default=None),
        "metrics": {name: describe(name) for name in in_order(used)},
        "floors": {
            name: _floor(part.build(), used) for name, part in {named[r.name]: r.dataset for r in todo.recipes}.items()
        },
        "divergences": _divergences(list(results.values())),
        "controls": {dataset: _readings(found) for dataset, found in controls.items()},
        "entries": entries,
    }
    return finite(board)


def _data_names(recipes: Sequence[Recipe]) -> dict[str, str]:
    """What the dataset of each recipe is called: by its name, and where there is another of this name by its options
    too, as far as they are no defaults."""
    said = {recipe.name: json.dumps(recipe.dataset.json(), sort_keys=True) for recipe in recipes}
    names = {said[recipe.name]: recipe.dataset.name for recipe in recipes}
    shared = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {r.name: _with_options(r.dataset) if r.dataset.name in shared else r.dataset.name for r in recipes}


def _with_options(part: Part) -> str:
    usual = part.entry.parse({}, complete=True)
    said = {name: (to_json(value), to_json(usual[name])) for name, value in part.options.items()}
    own = [f"{name}={value}" for name, (value, default) in said.items() if value != default]
    return f"{part.name}({', '.join(own)})" if own else part.name


def _environment(of_runs: list[dict[str, Any]], device: str) -> dict[str, Any]:
    """That of the runs; where they were made under several, each value that occurred."""
    here = environment(pick_device(device))
    occurred = {key: dict.fromkeys(str(each[key]) for each in of_runs if each.get(key)) for key in here}
    return {key: value if key == "plugins" else ", ".join(occurred[key]) or value for key, value in here.items()}


def describe(name: str) -> dict[str, Any]:
    """A metric in words: unit, direction, summary."""
    (metric,) = evaluate.metrics([name]).values()
    return {"unit": metric.unit, "better": metric.better, "summary": evaluate.summary(name)}


def in_order(names: Collection[str]) -> list[str]:
    """Names of metrics in the order in which they are registered, those with an extractor that was asked for last."""
    known = evaluate.metric_names()
    return [*(name for name in known if name in names), *sorted(set(names) - set(known))]


def _divergences(results: list[Result]) -> dict[str, Any]:
    """What was measured by critics: units, and the most that each can be. A smaller lower bound is not better."""
    seen = {name: each for result in results for name, each in (result.get("divergences") or {}).items()}
    return {
        name: {
            "unit": seen[name].get("unit", ""),
            "better": "",
            "summary": registry().find("divergence", name).summary,
            "upper": seen[name].get("upper"),
        }
        for name in registry().names("divergence")
        if name in seen
    }


def _readings(found: list[Mapping[str, Any]]) -> dict[str, Any]:
    readings: dict[str, Any] = {}
    for name in (name for name in registry().names("divergence") if any(name in each for each in found)):
        of_name = [each[name] for each in found if name in each]
        how = next((each["how"] for each in of_name if "how" in each), "")
        errors = [f"failed: {each['error']}" for each in of_name if "error" in each]
        readings[name] = {"how": next(iter(errors), how), "last": interval([each["value"] for each in of_name])}
    return readings


def _floor(dataset: Dataset, names: Collection[str]) -> dict[str, Any]:
    floor = evaluate.floor(dataset, evaluate.metrics(in_order(names)))
    return {name: {"value": score.value, "how": score.how} for name, score in floor.items()}


def _entry(recipe: Recipe, dataset: str, folder: Path, runs: list[tuple[Job, Result]]) -> dict[str, Any]:
    keep = ("seed", "status", "step", "diverged_at", "best_step", "seconds", "steps_per_second", "error", "when")
    keep += ("engine", "together")
    paper = recipe.paper
    measured = [result["metrics"] for _, result in runs if result.get("metrics")]
    names = in_order({name for each in measured for name in each})
    return {
        "recipe": recipe.name,
        "method": recipe.method,
        "dataset": dataset,
        "digest": recipe.digest,
        "definition": recipe.record(),
        # What is as it always was is not said.
        **({"translates": True} if recipe.translates else {}),
        "overrides": dict(recipe.overridden),
        "paper": {**asdict(paper), "bibtex": paper.bibtex()} if paper else None,
        "expected": [asdict(each) for each in recipe.expected],
        "runs": [{**{key: result.get(key) for key in keep}, "seed": job.seed} for job, result in runs],
        "metrics": {name: _over_seeds([each[name] for each in measured if name in each]) for name in names},
        "divergences": _readings([result["divergences"] for _, result in runs if result.get("divergences")]),
        "curves": [_curves(job) for job, _ in runs],
        "needs": _needs(recipe),
        "pictures": _pictures(runs[0][0], folder),
        "model": f"models/{recipe.name}" if (runs[0][0].folder / "model").exists() else None,
    }


def _needs(recipe: Recipe) -> dict[str, str]:
    """The distributions that it takes, with their versions; none known where a part has no registered name."""
    with contextlib.suppress(ExportError):
        return {entry.distribution: entry.version for entry in recipe.entries()}
    return {}


def _over_seeds(scores: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "how": scores[0]["how"],
        **{which: interval([score[which] for score in scores]) for which in ("last", "best")},
    }


def interval(values: Iterable[float | None]) -> dict[str, Any]:
    """The mean over seeds and the half width of its 95 % interval, ``t_{.975, n−1} s/√n`` (Student's t); none for one
    seed."""
    values = list(values)
    known = [value for value in values if value is not None and math.isfinite(value)]
    n = len(known)
    if n < len(values) or not n:  # a mean over the seeds that happened to work would flatter
        return {"mean": None, "half_width": None, "values": values}
    mean = math.fsum(known) / n
    half = None
    if n > 1:
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / (n - 1))
        half = float(special.stdtrit(n - 1, 0.975)) * deviation / math.sqrt(n)
    return {"mean": mean, "half_width": half, "values": values}


def _curves(job: Job) -> dict[str, Any]:
    records: list[dict[str, Any]] = []
    with contextlib.suppress(OSError, ValueError):  # the last line may be torn
        for line in (job.folder / "log.jsonl").read_text().splitlines():
            records.append(json.loads(line))
    logged = [record for record in records if "losses" in record]
    thin = logged[:: max(1, len(logged) // POINTS)]
    names = dict.fromkeys(name for record in thin for name in (*record["losses"], *record.get("observed", {})))
    series = {name: [{**r["losses"], **r.get("observed", {})}.get(name) for r in thin] for name in names}
    judged = [record for record in logged if "validation" in record]
    validation = {"step": [r["step"] for r in judged], "value": [r["validation"] for r in judged]}
    return {"seed": job.seed, "step": [record["step"] for record in thin], "series": series, "validation": validation}


def _pictures(first: Job, folder: Path) -> dict[str, str]:
    there = sorted((first.folder / "pictures").glob("step-*.png"))
    named = {int(path.stem.removeprefix("step-")): path.relative_to(folder).as_posix() for path in there}
    wanted = {"start": 0, "during": first.recipe.steps // 2, "end": first.recipe.steps}
    return {which: named[step] for which, step in wanted.items() if step in named}


def _show(board: Mapping[str, Any], folder: Path) -> None:
    write_json(folder / "leaderboard.json", board)
    for entry in board["entries"]:
        if entry["model"]:
            run = folder / "runs" / entry["recipe"] / f"seed-{entry['runs'][0]['seed']}"
            model_folder(board, entry, folder, run / "model", folder / entry["model"])
    write_report(board, folder)


def model_folder(board: Mapping[str, Any], entry: Mapping[str, Any], folder: Path, model: Path, target: Path) -> None:
    """Put into ``target`` the first seed's model with its numbers, picture and card: what can be published."""
    for name in (CONFIG, WEIGHTS, CRITIC):
        if (model / name).exists():
            copy_file(model / name, target / name)
    if "end" in entry["pictures"]:
        copy_file(folder / entry["pictures"]["end"], target / SAMPLES)
    alone = only(board, entry)
    write_json(target / METRICS, alone)
    write_card(alone, target)


def only(board: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """The leaderboard of one entry, without what is drawn."""
    names = set(entry["metrics"])
    return {
        **{key: board[key] for key in ("format", "created", "suite", "seeds", "environment")},
        "metrics": {name: value for name, value in board["metrics"].items() if name in names},
        "floors": {entry["dataset"]: board["floors"].get(entry["dataset"], {})},
        "entries": [{key: value for key, value in entry.items() if key not in ("curves", "pictures", "model")}],
    }


def of_training(runs: Sequence[Path], target: Path) -> None:
    """Put into ``target`` what `model_folder` does, of the seeds of one recipe that were trained in these folders."""
    definitions = [definition_in(run / DEFINITION) for run in runs]
    recipe = Recipe.parse(definitions[0]["recipe"])
    jobs = [Job(recipe, held["seed"], run) for held, run in zip(definitions, runs, strict=True)]
    results = {job: result for job in jobs if (result := job.result())}
    if not results or not (jobs[0].folder / "model" / CONFIG).exists():
        raise ModelError(f"{jobs[0].folder} holds no finished run: there is no model to publish")
    seconds = math.fsum(result.get("seconds") or 0.0 for result in results.values())
    folder = jobs[0].folder.parent
    board = leaderboard(Plan("train", (recipe,), len(jobs)), folder, results, seconds, 1, "auto")
    # What was overridden is not written down by name, so the name alone would not train it again.
    entry = {**board["entries"][0], "overrides": None}
    model_folder(board, entry, folder, jobs[0].folder / "model", target)


def tally(board: Mapping[str, Any]) -> Counter[str]:
    """How many runs ended how."""
    return Counter(run["status"] for entry in board["entries"] for run in entry["runs"])

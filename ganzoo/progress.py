"""What the terminal shows: bars where there is one, plain lines elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from ganzoo import report
from ganzoo.bench import describe, interval, tally
from ganzoo.engine import COMPILED
from ganzoo.executor import Job, Result
from ganzoo.files import finite
from ganzoo.metric import Metric, Score
from ganzoo.part import Part
from ganzoo.recipe import Recipe

PLAIN_SECONDS = 5.0  # between two plain lines of one run
WIDE = 120  # columns of a terminal: in fewer, what is said of each number goes below the table


def cores() -> int:
    """Those this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _progress(console: Console, *columns: Any) -> Progress:
    left = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*left, *columns, console=console, disable=not console.is_terminal)


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, elsewhere a line now and then, for what takes long only where there is much of it."""
    console, said = Console(stderr=True), time.monotonic()
    with _progress(console) as bar:
        task = bar.add_task(what, total=total)

        def heard(done: int) -> None:
            nonlocal said
            bar.update(task, completed=done)
            if not console.is_terminal and time.monotonic() - said > PLAIN_SECONDS:
                said = time.monotonic()
                console.print(f"{what}: {done:,}/{total:,}", markup=False, highlight=False, soft_wrap=True)

        yield heard


class TrainProgress:
    """Runs of one recipe; where they take their steps together, the first of them stands for all."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs, self.console = list(jobs), Console(stderr=True)
        self._label = jobs[0].label if len(jobs) == 1 else f"{jobs[0].recipe.name}, {len(jobs)} seeds"
        self._how: Mapping[str, Any] = {}
        self.bar = _progress(self.console, TextColumn("{task.fields[text]}"))
        self._task: TaskID | None = None
        self._said = 0.0
        self._estimated = False
        self._live = self.jobs[:1]

    def __enter__(self) -> TrainProgress:
        self.bar.start()
        self._task = self.bar.add_task(self._label, total=self.jobs[0].recipe.steps, text="")
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def listen(self, job: Job, record: Mapping[str, Any]) -> None:
        if "warning" in record:
            self.console.print(f"warning: {record['warning']}", style="yellow", markup=False, soft_wrap=True)
        if "engine" in record:
            self._begin(job, record)
        if "diverged_at" in record and len(self._live) > 1:
            self._live.remove(job)
        if "losses" not in record or self._task is None or job is not self._live[0]:
            return
        self._estimated = self._estimated or "estimate" in record.get("observed", {})
        text = " ".join(f"{name} {_short(value)}" for name, value in _numbers(record).items())
        text = f"seed {job.seed}: {text}" if len(self._live) > 1 else text
        text += f" · {record['steps_per_second']:,.0f} steps/s"
        self.bar.update(self._task, completed=record["step"], text=text)
        last = record["step"] == record["steps"]
        if not self.console.is_terminal and (last or time.monotonic() - self._said > PLAIN_SECONDS):
            self._said = time.monotonic()
            left = (record["steps"] - record["step"]) / max(1e-9, record["steps_per_second"])
            end = "measuring" if last else f"{left:,.0f} s left"
            line = f"{self._label} step {record['step']:,}/{record['steps']:,} {text} · {end}"
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _begin(self, job: Job, how: Mapping[str, Any]) -> None:
        """A program begins: of one run, or of several, each of which says so."""
        if how["together"] == 1:
            self._live, self._label = [job], job.label
        elif self._how != how:
            self._live = [job]
        else:
            self._live.append(job)
        if self._task is not None:
            self.bar.update(self._task, description=self._label)
        if self._how != how and len(self.jobs) > 1:
            one = "one after the other" + (f": {how['why']}" if how["why"] else "")
            engine = how["engine"] + ", whose first step takes a while" * (how["engine"] == COMPILED)
            text = one if how["together"] == 1 else f"{how['together']} together, in one program ({engine})"
            self.console.print(f"{self.jobs[0].recipe.name}: {text}", markup=False, highlight=False, soft_wrap=True)
        self._how = how

    def report(self, job: Job, result: Result) -> None:
        where = "" if result["status"] == "failed" else f" · {job.folder}"  # what failed says where
        self.console.print(f"{job.label}: {_ending(result)}{where}", markup=False, highlight=False, soft_wrap=True)
        if self._estimated and result["status"] == "finished" and job is self.jobs[-1]:
            what = " and ".join(_criticised(job.recipe))
            self.console.print(
                f"The estimate is of {what}, by this run's own critic on training batches: always a little behind the "
                f"generator. Fresh critics on held-out data: ganzoo measure {job.folder}",
                style="dim",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def _criticised(recipe: Recipe) -> list[str]:
    """The divergences that the recipe's critics measure, with their units."""
    found: dict[str, str] = {}
    for weighted in (weighted for turn in recipe.turns for weighted in turn.losses):
        divergence = getattr(weighted.term, "options", {}).get("divergence")
        if isinstance(divergence, Part):
            found[divergence.name] = f"{divergence.name} ({divergence.build().unit})"
    return list(found.values()) or ["the game's divergence"]


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """By names as short as they may be: of terms that both players have, with the player's."""
    found = {**record["losses"], **record.get("observed", {})}
    last = [name.split("/")[-1] for name in found]
    return {
        short if last.count(short) == 1 else name: value
        for short, (name, value) in zip(last, found.items(), strict=True)
    }


def _short(value: float | None) -> str:
    return "—" if value is None else f"{value:.3g}"


def _ending(result: Result) -> str:
    if result["status"] == "diverged":
        return (
            f"diverged at step {result['diverged_at']:,}; its last good checkpoint, of step {result['step']:,}, is kept"
        )
    if result["status"] == "failed":
        return f"failed: {result.get('error')}"
    if result["status"] == "interrupted":
        return f"interrupted at step {result.get('step', 0):,}, with a checkpoint"
    return f"finished {result['step']:,} steps in {result['seconds']:.1f} s"


def print_scores(recipe: Recipe, results: list[Result]) -> None:
    """What was measured on the held-out part, over the seeds that were trained."""
    measured = [result["metrics"] for result in results if result.get("metrics")]
    if not measured:
        return
    rows: list[tuple[str, ...]] = []
    for name, first in measured[0].items():
        means = (interval([each[name][which] for each in measured]) for which in ("last", "best"))
        cells = (report.interval(mean["mean"], mean["half_width"]) for mean in means)
        known = describe(name)
        rows.append((name, *cells, _unit(known["unit"], known["better"]), first["how"]))
    title = f"{recipe.name} on held-out data, {len(measured)} seed{'s' * (len(measured) > 1)}"
    _print_measured(title, ("last", "best by validation"), rows)


def print_beside(
    name: str, chosen: Mapping[str, Metric], scores: Mapping[str, Score], floor: Mapping[str, Score]
) -> None:
    """What was measured of a model, beside what real data score."""
    rows: list[tuple[str, ...]] = []
    for each, metric in chosen.items():
        values = (finite(found[each].value) if each in found else None for found in (scores, floor))
        how = scores[each].how if each in scores else "does not apply to this model and its data"
        rows.append((each, *map(report.number, values), _unit(metric.unit, metric.better), how))
    _print_measured(f"{name} on held-out data", (name, "real data"), rows)


def _unit(unit: str, better: str) -> str:
    return f"{unit} {report.ARROWS[better]}"


def _print_measured(title: str, numbers: tuple[str, str], rows: Sequence[tuple[str, ...]]) -> None:
    """A metric's name, two numbers, their unit, and how it was measured: in a column of its own where there is room for
    it, else below the table."""
    console = Console(markup=False, highlight=False)
    wide = console.width >= WIDE
    table = Table(title=title, title_justify="left")
    for column in ("metric", *numbers, "unit", *["how"] * wide):
        # A metric is asked for by its name: it is never cut.
        side = "right" if column in numbers else "left"
        table.add_column(report.plain(column), justify=side, no_wrap=column == "metric", overflow="fold")
    for row in rows:
        table.add_row(*map(report.plain, row if wide else row[:-1]))
    console.print(table)
    if not wide:
        for how in dict.fromkeys(row[-1] for row in rows):
            console.print(report.plain(f"{', '.join(row[0] for row in rows if row[-1] == how)}: {how}"), style="dim")


class BenchProgress:
    """Many runs."""

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        self.total, self.done = total, 0
        self.console = Console(stderr=True, quiet=quiet)
        self.bar = _progress(self.console)
        self._all: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> BenchProgress:
        self.bar.start()
        self._all = self.bar.add_task("bench", total=self.total)
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def found(self, count: int) -> None:
        self.done = count
        if self._all is not None:
            self.bar.update(self._all, completed=count)
        if count:
            self.console.print(f"[{count}/{self.total}] runs were done before", highlight=False)

    def listen(self, job: Job, record: Mapping[str, Any]) -> None:
        if "warning" in record:
            self.console.print(f"warning: {job.label}: {record['warning']}", style="yellow", markup=False)
        if job.recipe.name not in self._tasks:
            self._tasks[job.recipe.name] = self.bar.add_task(job.recipe.name, total=job.recipe.steps)
        self.bar.update(self._tasks[job.recipe.name], completed=record.get("step", 0))

    def ended(self, job: Job, result: Result) -> None:
        self.done += 1
        if self._all is not None:
            self.bar.update(self._all, completed=self.done)
        if job.recipe.name in self._tasks:
            self.bar.remove_task(self._tasks.pop(job.recipe.name))
        bad = result["status"] != "finished"
        if bad or not self.console.is_terminal:
            line = f"[{self.done}/{self.total}] {job.label}: {_ending(result)}"
            self.console.print(line, style="red" if bad else None, markup=False, highlight=False, soft_wrap=True)

    def report(self, board: Mapping[str, Any], folder: Path) -> None:
        console = Console()
        console.print(report.terminal_table(board))
        counts = ", ".join(f"{count} {status}" for status, count in tally(board).items())
        console.print(
            f"{counts} in {board['wall_seconds']:.0f} s · {folder / 'index.html'}", highlight=False, soft_wrap=True
        )

"""A bench runs every entry once, survives whatever happens to it, and writes down all that it learnt."""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from processes import Ended, Forked, Fresh, Process, distribution, environment, forked, local
from scipy import stats

import ganzoo
from ganzoo import Entry, Metric, Option, Score, bench
from ganzoo.errors import OptionError, UnknownNameError
from ganzoo.executor import Job, carry_out
from ganzoo.recipe import create_recipe

TINY = {"steps": 20, "evaluations": 2}
NAMES = ("js-gan.ring", "js-gan.mixture-1d", "mle-gaussian.ring", "mle-gaussian.mixture-1d")


def tiny(*names: str, seeds: int = 2, **changes: Any) -> bench.Plan:
    planned = bench.plan(names or NAMES, seeds=seeds)
    return replace(planned, recipes=tuple(create_recipe(r.name, {**TINY, **changes}) for r in planned.recipes))


def files(folder: Path, pattern: str) -> dict[str, int]:
    """When each of them was last written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.glob(pattern)}


def numbers(board: dict[str, Any]) -> dict[str, Any]:
    """What a leaderboard says, but for clocks and dates."""
    return {entry["recipe"]: (entry["metrics"], [run["status"] for run in entry["runs"]]) for entry in board["entries"]}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A small bench in this process: its folder, leaderboard and the jobs that ended, in order."""
    folder, ended = tmp_path_factory.mktemp("bench"), []
    board = bench.bench(tiny(), folder, local(), device="cpu", workers=2, ended=lambda job, _: ended.append(job.label))
    return folder, board, ended


# What is planned


def test_the_default_suite_is_four_methods_on_four_datasets():
    todo = bench.plan()
    assert (todo.suite, todo.asked) == ("default", ())
    assert bench.plan(("full", "js-gan.ring")).asked == ("js-gan.ring",)
    assert todo.seeds == 5
    methods, datasets = (("js-gan", "ns-gan", "mle-gaussian", "mle-gmm"), ("ring", "grid", "mixture-1d", "digits"))
    assert {recipe.name for recipe in todo.recipes} == {f"{m}.{d}" for m in methods for d in datasets}


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("js-gan.ring",), ["js-gan.ring"]),
        (("js-gan.ring", "js-gan.ring"), ["js-gan.ring"]),
        (("mle-*.digits",), ["mle-gaussian.digits", "mle-gmm.digits"]),
        (("full", "mle-gmm.r*"), ["mle-gmm.ring"]),
        (("mle-gmm.two-moons",), ["mle-gmm.two-moons"]),
        (("*.two-moons",), ["js-gan.two-moons", "mle-gaussian.two-moons", "mle-gmm.two-moons", "ns-gan.two-moons"]),
    ],
)
def test_names_and_patterns_choose(names, wanted):
    assert sorted(recipe.name for recipe in bench.plan(names).recipes) == sorted(wanted)


def test_a_suite_gives_its_budget_and_full_gives_the_recipes_own():
    quick, full = bench.plan(("js-gan.ring",)), bench.plan(("full", "js-gan.ring"))
    assert quick.recipes[0].steps < full.recipes[0].steps == create_recipe("js-gan.ring").steps
    assert bench.plan(("js-gan.ring",), suite="full").recipes == full.recipes


@pytest.mark.parametrize("name", ["js-gan.rings", "jsgan", "wgan-*", "defualt"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(UnknownNameError, match=re.escape(name.partition(".")[2] or name)):
        bench.plan((name,))


def test_two_suites_are_refused():
    with pytest.raises(OptionError, match="one suite at a time"):
        bench.plan(("default", "full"))


def test_the_first_seeds_of_all_recipes_come_first(tmp_path):
    labels = [(job.seed, job.recipe.name) for job in bench.jobs(tiny(), tmp_path, "cpu")]
    assert labels == [(seed, name) for seed in (0, 1) for name in NAMES]


# Intervals


@pytest.mark.parametrize("values", [[1.0, 2.0], [3.5, 3.25, 9.0, -1.0, 0.125], [5.0] * 4, [1e9, 1e9 + 1, 1e9 + 2]])
def test_the_interval_is_students(values):
    found = bench.interval(values)
    n, mean = len(values), statistics.fmean(values)
    scale = statistics.stdev(values) / n**0.5
    low, high = stats.t.interval(0.95, n - 1, mean, scale) if scale else (mean, mean)
    assert found["mean"] == pytest.approx(mean)
    assert found["half_width"] == pytest.approx((high - low) / 2)
    assert found["values"] == values


@pytest.mark.parametrize(
    ("values", "mean"), [([2.0], 2.0), ([], None), ([1.0, None], None), ([1.0, float("nan")], None)]
)
def test_where_there_is_no_interval_there_is_none(values, mean):
    assert bench.interval(values)["mean"] == mean
    assert bench.interval(values)["half_width"] is None


# What is written


def test_the_leaderboard_holds_every_run_and_number(done):
    folder, board, ended = done
    text = (folder / "leaderboard.json").read_text()
    held = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert numbers(held) == numbers(board)
    assert [entry["recipe"] for entry in held["entries"]] == list(NAMES)
    assert sorted(ended) == sorted(f"{name} seed {seed}" for name in NAMES for seed in (0, 1))
    for entry in held["entries"]:
        assert [run["status"] for run in entry["runs"]] == ["finished"] * 2
        for name, metric in entry["metrics"].items():
            assert len(metric["last"]["values"]) == len(metric["best"]["values"]) == 2
            assert metric["last"] == bench.interval(metric["last"]["values"])
            assert held["metrics"][name]["better"] in ("lower", "higher")
        assert entry["dataset"] in held["floors"]
        assert ganzoo.Recipe.parse(entry["definition"]).digest == entry["digest"]
        assert {curve["seed"] for curve in entry["curves"]} == {0, 1}
    assert held["environment"]["torch"]
    assert held["wall_seconds"] > 0
    assert held["peak_memory_mib"] > 0


def test_numbers_of_the_leaderboard_are_those_of_the_runs(done):
    folder, board, _ = done
    for entry in board["entries"]:
        results = [
            json.loads((folder / "runs" / entry["recipe"] / f"seed-{seed}" / "result.json").read_text())
            for seed in (0, 1)
        ]
        for name, metric in entry["metrics"].items():
            assert metric["last"]["values"] == [result["metrics"][name]["last"] for result in results]


def test_each_entry_is_a_model_in_the_layout_of_a_repository(done):
    folder, board, _ = done
    for entry in board["entries"]:
        model = folder / entry["model"]
        names = {path.name for path in model.iterdir()}
        assert names >= {"config.json", "model.safetensors", "README.md", "metrics.json", "samples.png"}
        loaded = ganzoo.load(model)
        assert loaded.recipe.name == entry["recipe"]
        assert loaded.sample(3, seed=0).x.isfinite().all()
        assert entry["recipe"] in (model / "README.md").read_text(encoding="utf-8")
        assert all((folder / picture).exists() for picture in entry["pictures"].values())
        assert set(entry["pictures"]) == {"start", "during", "end"}


def test_the_page_is_there_and_the_first_seed_alone_is_drawn(done):
    folder, _, _ = done
    assert (folder / "index.html").read_text(encoding="utf-8").count("js-gan") > 1
    assert {path.split("/")[2] for path in files(folder, "runs/*/*/pictures/*")} == {"seed-0"}


# Again


def test_again_nothing_is_run_twice(done):
    folder, board, _ = done
    before, counts, seen = files(folder, "runs/**/*"), [], []
    again = bench.bench(
        tiny(), folder, local(), device="cpu", found=counts.append, ended=lambda job, _: seen.append(job.label)
    )
    assert files(folder, "runs/**/*") == before
    assert numbers(again) == numbers(board)
    assert counts == [8]
    assert seen == []
    assert again["wall_seconds"] >= board["wall_seconds"]


def test_more_seeds_are_added_to_what_is_there(done):
    """Only what is new is run: one seed more of each recipe."""
    folder, _, _ = done
    before = files(folder, "runs/*/seed-[01]/**/*")
    seen = set()
    todo = tiny(seeds=3)
    board = bench.bench(todo, folder, local(), device="cpu", listen=lambda job, _: seen.add(job.label))
    assert seen == {f"{recipe.name} seed 2" for recipe in todo.recipes}
    assert files(folder, "runs/*/seed-[01]/**/*") == before
    assert [run["seed"] for run in board["entries"][0]["runs"]] == [0, 1, 2]


def test_a_narrower_selection_does_not_replace_the_leaderboard(done):
    folder, _, _ = done
    before = files(folder, "**/*")
    with pytest.raises(OptionError, match=r"recipes that this selection leaves out \(like js-gan\.mixture-1d\)"):
        bench.bench(tiny("mle-gaussian.mixture-1d"), folder, local(), device="cpu")
    assert files(folder, "**/*") == before


def test_another_definition_in_the_folder_is_refused_saying_what_differs(done):
    folder, _, _ = done
    before = files(folder, "**/*")
    with pytest.raises(OptionError, match=r"js-gan\.ring with another definition \(steps: 20 there, 30 here\)"):
        bench.bench(tiny(steps=30), folder, local(), device="cpu")
    assert files(folder, "**/*") == before


def test_a_job_is_what_the_folder_holds_only_if_it_is_the_same(done):
    folder, _, _ = done
    held = folder / "runs" / "js-gan.ring" / "seed-0"
    recipe = create_recipe("js-gan.ring", TINY)
    assert Job(recipe, 0, held).result() is not None
    assert Job(recipe, 1, held).result() is None
    assert Job(create_recipe("js-gan.ring"), 0, held).result() is None


# The command


COMMAND = ("bench", "mle-gaussian.mixture-1d", "mle-gmm.mixture-1d", "--seeds", 2, "--jobs", 2, "--device", "cpu")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The command's own undisturbed bench: its folder and how it ended."""
    folder = tmp_path_factory.mktemp("whole")
    ended = forked(*COMMAND, "--out", "bench", cwd=folder)
    assert ended.code == 0, ended.err
    return folder / "bench", ended


def board_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "leaderboard.json").read_text())


def finished(folder: Path) -> dict[str, int]:
    return files(folder, "runs/*/*/result.json")


def assert_goes_on(folder: Path, whole: Path) -> Ended:
    """The same command finishes what is left, reruns nothing that was finished, and ends where the whole one did."""
    before = finished(folder)
    assert 0 < len(before) < 4, "nothing was finished, or everything: it was stopped at a bad moment"
    ended = forked(*COMMAND, "--out", "bench", "--json", cwd=folder.parent)
    assert ended.code == 0, ended.err
    after = finished(folder)
    assert len(after) == 4
    assert {path: after[path] for path in before} == before
    assert numbers(board_in(folder)) == numbers(board_in(whole))
    return ended


def test_the_command_prints_the_table(whole):
    _, ended = whole
    assert "mle-gaussian" in ended.out
    assert "energy" in ended.out
    assert "4 finished" in ended.out
    assert "bench/index.html" in ended.out
    assert "[4/4]" in ended.err
    assert "Traceback" not in ended.err


def one_is_finished(process: Process, folder: Path) -> None:
    process.until(lambda: len(finished(folder)) > 0)


@pytest.mark.slow
def test_killed_with_all_its_processes_it_goes_on(whole, tmp_path):
    folder = tmp_path / "bench"
    with Forked(*COMMAND, "--out", "bench", cwd=tmp_path) as process:
        one_is_finished(process, folder)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    ended = assert_goes_on(folder, whole[0])
    assert numbers(json.loads(ended.out)) == numbers(board_in(folder))  # with --json there is nothing else on stdout


@pytest.mark.slow
def test_killed_alone_its_children_end_and_it_goes_on(whole, tmp_path):
    folder = tmp_path / "bench"
    with Forked(*COMMAND, "--out", "bench", cwd=tmp_path) as process:
        one_is_finished(process, folder)
        process.kill()
    assert_goes_on(folder, whole[0])


@pytest.mark.slow
def test_ctrl_c_stops_and_publishes_what_is_known(tmp_path):
    folder = tmp_path / "bench"
    with Forked(*COMMAND, "--out", "bench", cwd=tmp_path) as process:
        one_is_finished(process, folder)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        began = time.monotonic()
        ended = process.wait()
    assert time.monotonic() - began < 10
    assert ended.code == 130
    assert "The same command goes on where this one was" in ended.err
    assert "Traceback" not in ended.err
    assert 0 < sum(len(entry["runs"]) for entry in board_in(folder)["entries"]) < 4
    assert (folder / "index.html").exists()


def test_ctrl_c_leaves_checkpoints_and_says_how_to_go_on(tmp_path):
    with Forked(*COMMAND, "--out", "bench", cwd=tmp_path) as process:
        process.until(lambda: list(tmp_path.glob("bench/runs/*/*/log.jsonl")))
        process.send(signal.SIGINT)
        ended = process.wait()
    assert ended.code == 130
    assert "The same command goes on" in ended.err
    assert "Traceback" not in ended.err
    kept = {path.stem for path in tmp_path.glob("bench/runs/*/*/checkpoints/*.json")}
    assert kept > {"step-000000000"}, "no run kept where it was"


# Entries that fail

PLUGIN = """
from ganzoo import Entry, Option, Part, SuiteEntry, hookimpl

@hookimpl
def ganzoo_generators():
    shape = Option("shape", int, many=True, fit="shape")
    return [Entry(name, f"acme_bad_targets:{name.title()}", "", (shape,)) for name in ("raising", "dying")]

@hookimpl
def ganzoo_methods():
    return [Entry(name, f"acme_bad_targets:{name}") for name in ("raising_method", "dying_method")]

@hookimpl
def ganzoo_suites():
    names = ("raising_method", "dying_method", "mle-gaussian")
    recipes = tuple(f"{name}.mixture-1d" for name in names)
    return [SuiteEntry("tiny", "", recipes=recipes, overrides={"*": {"steps": 20, "evaluations": 1}}, seeds=1)]
"""

TARGETS = """
import os
import torch
from torch import nn
from ganzoo import Generator, Method, Part, Player, Turn

class Bad(Generator):
    def __init__(self, shape):
        super().__init__()
        self.layer, self.calls = nn.Linear(1, 1), 0

    def source(self, n, rng, batch=None, label=None):
        return torch.randn(n, 1, generator=rng), None

    def forward(self, z, c=None):
        self.calls += 1
        if self.calls > 5:
            self.fail()
        return self.layer(z)

class Raising(Bad):
    def fail(self):
        raise RuntimeError("the sixth time is too much")

class Dying(Bad):
    def fail(self):
        os._exit(7)

def _method(name):
    adam = Part("optimizer", "adam")
    players = {
        "generator": Player(Part("generator", name), adam),
        "discriminator": Player(Part("discriminator", "mlp"), adam),
    }
    js = {"divergence": Part("divergence", "js")}
    turns = (
        Turn("discriminator", Part("term", "criticise", js)),
        Turn("generator", Part("term", "fool", {**js, "saturating": True})),
    )
    return Method(players, turns, batch_size=8)

def raising_method():
    return _method("raising")

def dying_method():
    return _method("dying")
"""


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("failed")
    plugins = distribution(folder / "plugins", "acme-bad", PLUGIN)
    (plugins / "acme_bad_targets.py").write_text(TARGETS)
    with Fresh("bench", "tiny", "--jobs", 2, "--device", "cpu", cwd=folder, env=environment(plugins)) as process:
        return folder / "bench" / "tiny", process.wait()


def test_entries_that_fail_are_reported_and_the_others_finish(failed):
    folder, ended = failed
    assert ended.code == 1
    runs = {entry["recipe"].split(".")[0]: entry["runs"][0] for entry in board_in(folder)["entries"]}
    assert {name: run["status"] for name, run in runs.items()} == {
        "raising_method": "failed",
        "dying_method": "failed",
        "mle-gaussian": "finished",
    }
    assert runs["raising_method"]["error"] == "RuntimeError: the sixth time is too much"
    assert "exit code 7" in runs["dying_method"]["error"]
    assert "the sixth time is too much" in ended.err
    assert "exit code 7" in ended.err
    assert "1 finished" in ended.out
    assert "2 failed" in ended.out
    assert ganzoo.load(folder / "models" / "mle-gaussian.mixture-1d").sample(2).x.shape == (2, 1)
    assert not (folder / "models" / "raising_method.mixture-1d").exists()
    assert (folder / "index.html").exists()


def test_a_bench_names_what_it_cannot_find(tmp_path):
    ended = forked("bench", "js-gan.rng", cwd=tmp_path)
    assert ended.code == 2
    assert "did you mean" in ended.err
    assert not list(tmp_path.glob("bench"))


# What fresh critics measure


def test_a_bench_measures_every_generator_and_goes_on_to_where_it_was_not_asked_before(tmp_path):
    names = ("js-gan.mixture-1d", "mle-gaussian.mixture-1d")
    plain = tiny(*names, seeds=1)
    first = bench.bench(plain, tmp_path, local(), device="cpu", workers=2)
    assert first["divergences"] == {}
    logs = files(tmp_path, "runs/*/*/log.jsonl")
    jobs = bench.jobs(replace(plain, measure=True), tmp_path, "cpu")
    assert [job.control for job in jobs] == [True, False]  # one of a dataset is enough
    board = bench.bench(replace(plain, measure=True), tmp_path, local(), device="cpu", workers=2)
    assert files(tmp_path, "runs/*/*/log.jsonl").keys() == logs.keys()
    assert numbers(board) == numbers(first)
    assert set(board["divergences"]) == {"js", "gan", "kl"}
    assert board["divergences"]["js"]["upper"] == pytest.approx(0.6931, abs=1e-4)
    assert abs(board["controls"]["mixture-1d"]["js"]["last"]["mean"]) < 0.02
    for entry in board["entries"]:
        js, gan = (entry["divergences"][name]["last"]["values"] for name in ("js", "gan"))
        assert 0 < js[0] < 0.6932
        assert gan[0] == pytest.approx(2 * js[0], rel=1e-3)
    page = (tmp_path / "index.html").read_text()
    assert "What fresh critics measure" in page
    again = bench.bench(replace(plain, measure=True), tmp_path, local(), device="cpu", workers=2)
    assert again["entries"][0]["divergences"] == board["entries"][0]["divergences"]
    kept = bench.bench(plain, tmp_path, local(), device="cpu", workers=2)  # not asked again: what is known stays
    assert kept["divergences"].keys() == board["divergences"].keys()


def test_a_divergence_that_fails_costs_only_itself(tmp_path, adopt):
    from ganzoo import meter, sides
    from ganzoo.part import Part
    from ganzoo.registry import Entry

    adopt("divergence", Entry("broken", "math:sqrt", "no divergence at all"))
    pair = Part("pair", "shift").build()
    both = (sides.of_density(side, sizes=(500, 100, 500)).draw(0) for side in (pair.p, pair.q))
    found = meter.matrix(*both, seed=0)
    assert "error" in found["broken"]
    assert found["js"]["value"] > 0


@dataclass(frozen=True)
class Counted(Metric):
    """Writes down each call; `late` fails where a file is missing, `never` applies to nothing."""

    name: str
    unit: ClassVar[str] = "calls"
    on_request: ClassVar[bool] = True

    def applies(self, evidence):
        return self.name != "never"

    def __call__(self, evidence):
        if self.name == "late" and not Path(os.environ["COUNTED"], "there").exists():
            raise RuntimeError("not at hand")
        return Score(1.0, "counted")


@pytest.fixture
def counted(tmp_path, adopt, monkeypatch):
    """Metrics on request: `one`, `two`, `late` and `never`."""
    monkeypatch.setenv("COUNTED", str(tmp_path))
    for name in ("one", "two", "late", "never"):
        option = Option("name", str, name)
        adopt("metric", Entry(name, f"{__name__}:Counted", "a metric on request", (option,)))


def test_what_is_asked_for_later_is_added_to_what_was_found(tmp_path, counted):
    plan = tiny("js-gan.mixture-1d", seeds=1)

    def ask(*names: str) -> dict[str, Any]:
        ((_, result),) = carry_out(bench.jobs(replace(plan, metrics=names), tmp_path / "bench", "cpu"))
        return result

    first = ask()
    ask("one")
    then = ask("two", "late", "never")
    kept = ("environment", "when", "peak_memory_mib", "seconds")
    assert {key: then[key] for key in kept} == {key: first[key] for key in kept}
    assert set(then["metrics"]) == {*first["metrics"], "one", "two", "late"}
    assert then["metrics"]["late"]["how"] == "failed: RuntimeError: not at hand"
    (tmp_path / "there").touch()
    again = ask("one", "late", "never")["metrics"]
    assert (again["late"]["last"], again["two"]["last"]) == (1.0, 1.0)
    assert {"one", "two", "late"} <= set(
        ganzoo.load(tmp_path / "bench/runs/js-gan.mixture-1d/seed-0").config["metrics"]
    )
    before = files(tmp_path, "bench/runs/*/*/result.json")
    ask("one", "late", "never")
    assert files(tmp_path, "bench/runs/*/*/result.json") == before  # nothing is open


def test_two_datasets_of_one_name_have_floors_of_their_own(tmp_path):
    recipes = (create_recipe("mle-gaussian.ring", TINY), create_recipe("js-gan.ring", {**TINY, "dataset.std": 0.2}))
    plan = replace(tiny("js-gan.ring", seeds=1), recipes=recipes)
    board = bench.bench(plan, tmp_path, local(), device="cpu", workers=1)
    assert [entry["dataset"] for entry in board["entries"]] == ["ring", "ring(std=0.2)"]
    near, far = (board["floors"][name]["nll"]["value"] for name in ("ring", "ring(std=0.2)"))
    assert far > near + 3

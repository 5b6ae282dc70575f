"""The command line: quick where nothing is computed, plain about what is wrong, and at home in any terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from processes import COMMAND, Fresh, command, distribution, environment, forked

import ganzoo
from ganzoo.recipe import Recipe, create_recipe

COMMANDS = ("list", "show", "train", "bench", "sample", "measure", "check", "plugins")

LIGHT = """
import sys
from ganzoo.cli import main
sys.argv = ["ganzoo", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {"torch", "numpy", "scipy", "sklearn", "matplotlib", "rich", "jinja2", "huggingface_hub"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    "line",
    ["--help", "--version", "-h", *(f"{name} --help" for name in COMMANDS), "list", "list datasets --json", "plugins"],
)
def test_what_computes_nothing_imports_nothing_heavy(line, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, *line.split()], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_help_loads_no_plugin(tmp_path):
    plugins = distribution(tmp_path / "plugins", "acme-loud", "print('imported')\nraise ImportError('too bad')\n")
    ended = command("--help", cwd=tmp_path, env=environment(plugins))
    assert ended.code == 0
    assert "imported" not in ended.out + ended.err
    assert "too bad" not in ended.out + ended.err
    assert "too bad" in command("list", cwd=tmp_path, env=environment(plugins)).err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, tmp_path):
    ended = forked(name, "--help", cwd=tmp_path)
    assert ended.code == 0
    assert ended.out.startswith(f"Usage: ganzoo {name}")
    assert "--help" in ended.out


def test_help_names_every_command_in_order(tmp_path):
    text = forked("--help", cwd=tmp_path).out
    places = [re.search(rf"^  {name}\b", text, re.MULTILINE) for name in COMMANDS]
    found = [place.start() for place in places if place]
    assert len(found) == len(COMMANDS)
    assert found == sorted(found)


def test_the_version_is_that_of_the_package(tmp_path):
    assert forked("--version", cwd=tmp_path).out == f"ganzoo {ganzoo.__version__}\n"


# Listing


def test_lists_as_json_hold_what_is_registered(tmp_path):
    rows = json.loads(forked("list", "--json", cwd=tmp_path).out)
    names = {(row["kind"], row["name"]) for row in rows}
    assert {("dataset", "ring"), ("divergence", "js"), ("recipe", "js-gan.ring"), ("suite", "default")} <= names
    assert all(row["distribution"] and row["summary"] for row in rows)
    (own,) = (row["summary"] for row in rows if row["name"] == "mle-gaussian.mixture-1d")
    assert own.endswith("; closed form known")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("datasets", "r*"), {"ring"}),
        (("dataset", "RING"), set()),
        (("methods", "mle-*"), {"mle-gaussian", "mle-gmm"}),
        (("penalties", "r1"), {"r1"}),
        (("recipes", "mle-gmm.*i*"), {"mle-gmm.ring", "mle-gmm.grid", "mle-gmm.mixture-1d", "mle-gmm.digits"}),
    ],
)
def test_a_list_is_narrowed_by_kind_and_pattern(words, wanted, tmp_path):
    ended = forked("list", *words, "--json", cwd=tmp_path)
    assert {row["name"] for row in json.loads(ended.out)} == wanted


def test_a_pattern_alone_looks_through_all_kinds(tmp_path):
    out = forked("list", "js*", cwd=tmp_path).out
    assert "divergences" in out
    assert "methods" in out
    assert "datasets" not in out


def test_plugins_are_listed_with_what_they_register(tmp_path):
    rows = json.loads(forked("plugins", "--all", "--json", cwd=tmp_path).out)
    core = next(row for row in rows if row["distribution"] == "ganzoo")
    assert core["status"] == "ok"
    assert "ring" in core["entries"]["dataset"]
    assert "ok" in forked("plugins", "--all", cwd=tmp_path).out


def test_plugins_that_fail_are_listed_with_the_cure(tmp_path):
    plugins = distribution(tmp_path / "plugins", "acme-loud", "print('imported')\nraise ImportError('too bad')\n")
    ended = command("plugins", cwd=tmp_path, env=environment(plugins))
    assert ended.code == 0
    assert ended.err == ""
    assert "acme-loud 1.0 (main)  failed\n  import: ImportError: too bad\n" in ended.out
    assert "`ganzoo uninstall acme-loud`" in ended.out
    assert "ganzoo 0" not in ended.out
    assert command("plugins", "--json", cwd=tmp_path, env=environment(plugins, GANZOO_STRICT_PLUGINS="1")).code == 1


# Showing


def test_a_recipe_is_shown_whole(tmp_path):
    out = forked("show", "js-gan.ring", "-o", "k=2", "-o", "generator.hidden=64", cwd=tmp_path).out
    assert "×2 minimises" in out
    assert "hidden=64" in out
    assert create_recipe("js-gan.ring", {"k": 2, "generator.hidden": 64}).digest in out
    assert "Generative Adversarial Nets (2014)" in out


def test_an_entry_is_shown_with_its_options(tmp_path):
    out = forked("show", "mlp", cwd=tmp_path).out
    assert "generator mlp" in out
    assert "discriminator mlp" in out
    assert "-o hidden" in out
    rows = json.loads(forked("show", "mlp", "--json", cwd=tmp_path).out)
    assert [row["kind"] for row in rows] == ["generator", "discriminator"]


def test_a_shown_definition_is_a_recipe_that_trains(tmp_path):
    out = forked("show", "js-gan.mixture-1d", "--json", "-o", "k=2", cwd=tmp_path).out
    (tmp_path / "my recipe.json").write_text(out)
    given = ("--steps", 4, "-o", "batch_size=16", "-o", "evaluations=1", "--device", "cpu", "--out", "run")
    ended = forked("train", "my recipe.json", *given, cwd=tmp_path)
    assert ended.code == 0, ended.err
    trained = Recipe.parse(json.loads((tmp_path / "run/seed-0/recipe.json").read_text())["recipe"])
    wanted = create_recipe("js-gan.mixture-1d", {"k": 2, "steps": 4, "batch_size": 16, "evaluations": 1})
    assert trained == wanted


TOML = """
recipe = "js-gan.mixture-1d"
k = 2

[generator]
hidden = 64

[optimizer]
name = "sgd"
lr = 0.5
"""


def test_a_toml_file_is_a_name_and_overrides(tmp_path):
    (tmp_path / "mine.toml").write_text(TOML)
    ended = forked("show", "mine.toml", "--json", "-o", "k=3", cwd=tmp_path)
    wanted = {"k": 3, "generator.hidden": 64, "optimizer": "sgd", "optimizer.lr": 0.5}
    assert Recipe.parse(json.loads(ended.out)) == create_recipe("js-gan.mixture-1d", wanted)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("k = 2", 'it must say recipe = "METHOD.DATASET"'),
        ('recipe = "js-gan.rign"', "did you mean ring"),
        ('recipe = "js-gan.ring"\n[generator]\nhidden = -1', "hidden=-1 is not allowed"),
        ('recipe = "js-gan.ring"\n[generator]\nhiden = 1', "no option 'hiden'; did you mean hidden"),
        ('recipe = "js-gan.ring"\n[os]\nsystem = "true"', "no option 'os.system'"),
        ('recipe = "js-gan.ring"\n[generator]\nname = "os:system"', "no generator is called 'os:system'"),
        ("recipe = ", "is no TOML"),
    ],
)
def test_a_bad_toml_file_is_refused_with_its_name(text, complaint, tmp_path):
    (tmp_path / "bad.toml").write_text(text)
    ended = forked("train", "bad.toml", cwd=tmp_path)
    assert ended.code == 2
    assert ended.err.startswith("ganzoo: bad.toml")
    assert complaint in ended.err


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"format": 1}', "\xff", "[" * 100_000])
def test_a_file_that_is_no_recipe_is_refused(text, tmp_path):
    (tmp_path / "bad.json").write_text(text, encoding="latin-1")
    ended = forked("train", "bad.json", cwd=tmp_path)
    assert ended.code == 2, ended.err
    assert ended.err.startswith("ganzoo: ")
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("name", ["js-gan.ring", "js-gan", "mle-gmm", "r1"])
def test_papers_are_cited_as_bibtex(name, tmp_path):
    ended = forked("show", name, "--cite", cwd=tmp_path)
    assert ended.code == 0
    assert re.fullmatch(r"@inproceedings\{\w+,\n(  \w+ = \{[^\n]+\},?\n)+\}\n", ended.out)


def test_what_has_no_paper_says_so(tmp_path):
    ended = forked("show", "sgd", "--cite", cwd=tmp_path)
    assert ended.code == 2
    assert "names no paper" in ended.err


# What is wrong, and whose fault it is


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("show js-gan.rong", "did you mean ring"),
        ("show jsgan.ring", "did you mean js-gan"),
        ("show jss", "did you mean js"),
        ("train js-gan.rnig", "did you mean ring"),
        ("train js-gan", "METHOD.DATASET|method.dataset"),
        ("train js-gan.ring -o hiden=3", "no option 'hiden'"),
        ("train js-gan.ring -o generator.hiden=3", "did you mean hidden"),
        ("train js-gan.ring -o generator.hidden=-3", r"takes int ≥ 1"),
        ("train js-gan.ring -o steps=many", "takes int"),
        ("train js-gan.ring -o steps", "KEY=VALUE"),
        ("train js-gan.ring --steps 0", "0 is not in the range"),
        ("train js-gan.ring --device abacus", "abacus"),
        ("train mle-gaussian.ring -o generator=mlp", "Likelihood|likelihood"),
        ("train missing.json", "cannot be read"),
        ("list datasetz", "did you mean datasets"),
        ("bench full default", "one suite at a time"),
        ("sample . --out x.gif", "written as"),
        ("check js-gann", "did you mean js-gan"),
        ("check js-gan.rng", "did you mean ring"),
        ("trian js-gan.ring", "No such command"),
        ("show js -o k=2", "goes with a recipe"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(line, says, tmp_path):
    ended = forked(*line.split(), cwd=tmp_path)
    assert ended.code == 2, ended
    assert re.search(says, ended.err)
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert [path.name for path in tmp_path.iterdir()] == [".output"], "it made something before it refused"


def test_what_went_wrong_is_exit_code_1(tmp_path):
    ended = forked("sample", "nowhere", cwd=tmp_path)
    assert ended.code == 1
    assert ended.err == "ganzoo: nowhere holds no model: there is no such folder\n"


@pytest.mark.parametrize("line", ["--debug show js-gan.rong", "show js-gan.rong --debug"])
def test_debug_shows_the_traceback_wherever_it_stands(line, tmp_path):
    ended = forked(*line.split(), cwd=tmp_path)
    assert ended.code != 0
    assert "Traceback (most recent call last)" in ended.err
    assert "UnknownNameError" in ended.err


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    ended = forked("train", "mle-gaussian.mixture-1d", "--steps", 2, "--out", "file", cwd=tmp_path)
    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert "file" in ended.err.splitlines()[-1]


# Checking


def test_check_says_a_line_for_each(tmp_path):
    ended = forked("check", "js-gan.ring", "js", cwd=tmp_path)
    assert ended.code == 0, ended.out
    assert "ok      recipe js-gan.ring" in ended.out
    assert "ok      divergence js" in ended.out
    assert "2 passed, 0 failed" in ended.out


# Terminals, pipes and paths


@pytest.mark.parametrize("line", ["list", "list --json", "show js-gan.ring", "--help"])
def test_a_closed_pipe_is_no_error(line, tmp_path):
    """As in `ganzoo list | head -1`, for any reader that stops early."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*COMMAND, *line.split()],
            cwd=tmp_path,
            env=environment(),
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(write)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert b"Error" not in done.stderr


PLAIN = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("line", ["list", "--help", "list dâtasets"])
def test_a_letter_that_the_terminal_lacks_is_no_error(line, encoding, tmp_path):
    env = environment(**{**PLAIN, "PYTHONIOENCODING": encoding})
    done = subprocess.run([*COMMAND, *line.split()], cwd=tmp_path, env=env, capture_output=True, check=False)
    assert done.returncode == (0 if line in ("list", "--help") else 2), done.stderr
    assert b"Error" not in done.stderr
    if line == "list" and encoding == "latin-1":
        assert "5 × 5 grid" in done.stdout.decode("latin-1")
        assert "Jensen?Shannon" in done.stdout.decode("latin-1")


def test_training_in_a_terminal_without_unicode(tmp_path):
    given = ("--steps", "3", "--device", "cpu", "-o", "evaluations=1", "--out", "ünï cödé")
    with Fresh("train", "mle-gaussian.mixture-1d", *given, cwd=tmp_path, env=environment(**PLAIN)) as process:
        ended = process.wait()
    assert ended.code == 0, ended.err
    assert "energy-distance" in ended.out
    assert (tmp_path / "ünï cödé" / "seed-0" / "result.json").exists()


def test_paths_may_hold_spaces_and_any_letter(tmp_path):
    folder = "mit Leerzeichen/и кириллица/'quoted' $HOME"
    given = ("--steps", 3, "--device", "cpu", "-o", "evaluations=1", "--out", folder)
    ended = forked("train", "mle-gaussian.mixture-1d", *given, cwd=tmp_path)
    assert ended.code == 0, ended.err
    ended = forked("sample", folder, "-n", 3, "--out", f"{folder}/é.npz", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert (tmp_path / folder / "é.npz").exists()


def test_markup_in_names_is_shown_as_it_is(tmp_path):
    given = ("--steps", 2, "--device", "cpu", "-o", "evaluations=1", "--out", "[red]x[/red][bold")
    ended = forked("train", "mle-gaussian.mixture-1d", *given, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "[red]x[/red][bold/seed-0" in ended.err

"""`ganzoo new`: every kind of plugin passes its own tests at once, is clean, and can be told from a broken one."""

import ast
import shlex
from pathlib import Path

import pytest
from workbench import Workbench

from ganzoo.cli.extend import KINDS as OFFERED
from ganzoo.errors import OptionError, UsageError
from ganzoo.scaffold import KINDS, create_plugin, requirement

LONGEST = "x" * 32 + "-spectra"  # one letter more is refused
#: For each kind, one mistake in the mathematics that the plugin's own tests must find.
MISTAKES = {
    "divergence": ("return log_ratio / 2", "return log_ratio"),
    "penalty": ("norm(dim=1) - 1)", "norm(dim=1) - 2)"),
    "term": ("centred.T @ centred / len(x)", "centred.T @ centred / len(x) ** 2"),
    "generator": ("nn.init.zeros_(self.second.weight)", "pass"),
    "discriminator": ("(self.label(c) * features).sum(1)", "self.label(c).sum(1)"),
    "dataset": ("self.modes.std[component, None] *", "2 * self.modes.std[component, None] *"),
    "metric": ("- 2 * cross", "- cross"),
    "method": ("gamma / 2", "0.01 / 2"),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A plugin of each kind, all of them installed."""
    desk = Workbench.make(tmp_path_factory.mktemp("scaffold"))
    for kind in KINDS:
        create_plugin(f"sparkle-{kind}", kind, desk.folder)
    done = desk.sh("pip install --no-deps " + " ".join(f"-e ./ganzoo-sparkle-{kind}" for kind in KINDS))
    assert done.code == 0, done.err
    return desk


@pytest.mark.slow
def test_from_nothing_to_a_trained_plugin_with_the_commands_that_it_prints(tmp_path):
    desk = Workbench.make(tmp_path)
    made = desk.sh("ganzoo new sparkle")
    assert made.code == 0, made.err
    commands = create_plugin("sparkle", parent=tmp_path / "again").commands
    for command in commands:
        here = command.replace(str(tmp_path / "again"), ".").replace("--steps 500", "--steps 5")
        done = desk.sh(here)
        assert done.code == 0, done.out + done.err


@pytest.mark.slow
def test_every_kind_passes_its_own_tests_at_once_and_with_a_mistake_its_own_mathematics_fails(desk):
    # One process, so that torch is imported once.
    run = "pytest -q --rootdir=. --import-mode=importlib --tb=short ganzoo-sparkle-*"
    done = desk.sh(run)
    assert done.code == 0, done.out + done.err
    own = f"{run} --tb=no -rA -k 'not test_it_keeps_its_contract and not test_it_loads'"
    assert desk.sh(own).code == 0
    for kind, (right, wrong) in MISTAKES.items():
        module = desk.folder / f"ganzoo-sparkle-{kind}" / f"ganzoo_sparkle_{kind}" / f"{kind}.py"
        assert module.read_text().count(right) == 1
        module.write_text(module.read_text().replace(right, wrong))
    lines = desk.sh(own).out.splitlines()
    failed = {line.partition("::")[0] for line in lines if line.startswith("FAILED ")}
    assert failed == {f"FAILED ganzoo-sparkle-{kind}/tests/test_plugin.py" for kind in KINDS}


@pytest.mark.slow
def test_the_command_that_uses_it_works_for_every_kind(desk):
    uses = [
        example.use.format(entry=f"sparkle-{kind}").replace("--steps 500", "--steps 2")
        for kind, example in KINDS.items()
    ]
    program = "\n".join(
        ["from ganzoo.cli import cli"] + [f"cli({use.split()[1:]}, standalone_mode=False)" for use in uses]
    )
    done = desk.sh(f"python -c {shlex.quote(program)}")
    assert done.code == 0, done.out + done.err
    assert done.out.count("on held-out data, 1 seed") == len(KINDS)
    assert "│ sparkle-metric " in done.out


@pytest.mark.parametrize("name", ["a", "r1-reg", LONGEST])
def test_the_code_is_clean_whatever_the_name(tmp_path, name):
    desk = Workbench.make(tmp_path)
    for kind in KINDS:
        create_plugin(name, kind, desk.folder / kind)
    done = desk.sh("for each in *; do ruff check $each && ruff format --check $each; done")
    assert done.code == 0, done.out + done.err


@pytest.mark.slow
def test_the_code_is_typed(desk):
    done = desk.sh("pyright --pythonpath $VIRTUAL_ENV/bin/python $(find . -name '*.py')")
    assert done.code == 0, done.out + done.err


def test_names_of_all_kinds_mean_the_same_plugin(tmp_path):
    for i, name in enumerate(["sparkle-dust", "ganzoo-sparkle-dust", "Ganzoo_Sparkle.Dust"]):
        made = create_plugin(name, "dataset", tmp_path / str(i))
        assert made.folder == tmp_path / str(i) / "ganzoo-sparkle-dust"
        assert made.distribution == "ganzoo-sparkle-dust"
    package = made.folder / "ganzoo_sparkle_dust"
    assert "class SparkleDust(TractableDataset):" in (package / "dataset.py").read_text()
    assert 'sparkle-dust = "ganzoo_sparkle_dust"' in (made.folder / "pyproject.toml").read_text()


def test_it_makes_what_it_says_and_nothing_else(tmp_path):
    made = create_plugin("sparkle", "method", tmp_path)
    found = {path.relative_to(made.folder) for path in made.folder.rglob("*") if path.is_file()}
    assert found == set(made.files)
    assert {*map(str, found)} == {
        ".github/workflows/test.yml",
        ".gitignore",
        "LICENSE",
        "README.md",
        "ganzoo_sparkle/__init__.py",
        "ganzoo_sparkle/method.py",
        "pyproject.toml",
        "tests/test_plugin.py",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["ganzoo-sparkle"]
    assert made.folder.stat().st_mode & 0o055 == 0o055
    workflow = (made.folder / ".github/workflows/test.yml").read_text()
    assert "python-version: ${{ matrix.python }}\n          cache: pip\n" in workflow
    for path in found:
        assert "{{" not in (made.folder / path).read_text().replace("${{ matrix", "")


def test_the_light_module_imports_ganzoo_alone(tmp_path):
    for kind in KINDS:
        made = create_plugin("sparkle", kind, tmp_path / kind)
        tree = ast.parse((made.folder / "ganzoo_sparkle" / "__init__.py").read_text())
        imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert [getattr(node, "module", None) for node in imports] == ["ganzoo"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "no name of a plugin"),
        ("-sparkle", "no name of a plugin"),
        ("sparkle-", "no name of a plugin"),
        ("../sparkle", "no name of a plugin"),
        ("spar kle", "no name of a plugin"),
        ("süß", "no name of a plugin"),
        ("ganzoo-", "no name of a plugin"),
        ("ganzoo", "is ganzoo itself"),
        ("Ganzoo-Ganzoo", "is ganzoo itself"),
        ("2d", "must begin with a letter"),
        ("test-it", "must begin with a letter, but not with 'test'"),
        (LONGEST + "x", "at most 40 letters"),
        ("none", "would be called None in Python"),
        ("tensor", "would be called Tensor in Python"),
        ("js", "there is a divergence 'js' already, of ganzoo 0."),
    ],
)
def test_names_that_cannot_be(tmp_path, name, message):
    with pytest.raises(UsageError, match=message):
        create_plugin(name, "divergence", tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_function_must_be_none_of_pythons_words(tmp_path):
    for name in ("lambda", "print", "part"):
        with pytest.raises(UsageError, match="in Python, which is taken"):
            create_plugin(name, "method", tmp_path)


def test_a_name_of_an_installed_plugin_or_package_is_refused(tmp_path, monkeypatch):
    from test_plugins import GOOD, install

    install(tmp_path, "acme", GOOD.format(name="Half_Moon"))
    install(tmp_path, "ganzoo-sparkle", GOOD.format(name="glitter"))
    (tmp_path / "ganzoo_other.py").touch()
    monkeypatch.delenv("GANZOO_LOAD_PLUGINS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    for name, message in (
        ("half-moon", "there is a dataset 'half-moon' already, of acme 1.2"),
        ("sparkle", "ganzoo-sparkle 1.2 is installed"),
        ("other", "a package 'ganzoo_other' is installed"),
    ):
        with pytest.raises(UsageError, match=message):
            create_plugin(name, "dataset", tmp_path / "out")
    assert create_plugin("half-moon", "metric", tmp_path / "out").folder.is_dir()  # another kind, another name


def test_the_method_that_comes_with_a_penalty_needs_a_free_name_too(tmp_path):
    for name in ("js", "ns"):
        with pytest.raises(UsageError, match=f"there is a method '{name}-gan' already"):
            create_plugin(name, "penalty", tmp_path)


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(OptionError, match="did you mean divergence"):
        create_plugin("sparkle", "divergense", tmp_path)


def test_nothing_is_overwritten(tmp_path):
    create_plugin("sparkle", parent=tmp_path)
    (tmp_path / "ganzoo-sparkle" / "README.md").write_text("mine")
    with pytest.raises(UsageError, match="ganzoo-sparkle exists"):
        create_plugin("sparkle", parent=tmp_path)
    assert (tmp_path / "ganzoo-sparkle" / "README.md").read_text() == "mine"
    (tmp_path / "ganzoo-glitter").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="ganzoo-glitter exists"):
        create_plugin("glitter", parent=tmp_path)


def test_where_it_cannot_write_it_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written: "):
        create_plugin("sparkle", parent=tmp_path / "file")


@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        ("0.1.0", "ganzoo>=0.1,<0.2"),
        ("1.12.3", "ganzoo>=1.12,<1.13"),
        ("0.2.0.dev1", "ganzoo>=0.2.0.dev1,<0.3"),
        ("0.2rc1", "ganzoo>=0.2rc1,<0.3"),
    ],
)
def test_it_asks_for_this_minor_version_of_ganzoo(version, wanted):
    assert requirement(version) == wanted


def test_the_command_line_offers_every_kind():
    assert sorted(OFFERED) == sorted(KINDS)


def test_the_commands_that_come_next_find_the_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for parent, path in (
        (Path(), "./ganzoo-x"),
        (Path("more"), "./more/ganzoo-x"),
        (Path("../there"), "../there/ganzoo-x"),
        (Path("a b"), "./a b/ganzoo-x"),
        (tmp_path, f"{tmp_path}/ganzoo-x"),
    ):
        install, test, _ = create_plugin("x", parent=parent).commands
        assert shlex.split(install)[-1] == f"{path}[test]"
        assert shlex.split(test)[-1] == path

"""Installed wheels in separate environments: a venv with pip, one of uv without pip, a tool of uv's, one of pipx's."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from environments import ROOT, UV, Environment, environment, project, wheel
from processes import Ended

pytestmark = pytest.mark.slow

HEAD = "import ganzoo\nfrom ganzoo import Entry, Option\n"
ONE = '@ganzoo.hookimpl\ndef ganzoo_datasets():\n    return [Entry("{0}", "{1}:Halo", "a halo of its own")]\n'
HALO = "from ganzoo.zoo.datasets import Ring\n\ndef Halo():\n    return Ring(radius=2.0)\n"


def hook(name: str, body: str) -> str:
    return f"{HEAD}@ganzoo.hookimpl\ndef {name}:\n    {body}\n"


#: A wheel for each way to fail: its light module, and what is said of it. Each is installed beside a good one.
FAILURES = {
    "import-error": ("import no_such_module", "failed in its import: ModuleNotFoundError"),
    "syntax-error": ("def broken(:", "failed in its import: SyntaxError"),
    "system-exit": ("raise SystemExit('goodbye')", "failed in its import: SystemExit: goodbye"),
    "base-exception": ("class Stop(BaseException): pass\nraise Stop('now')", "failed in its import: Stop: now"),
    "wrong-argument": (
        hook("ganzoo_datasets(shape)", "return []"),
        "failed in its registration: PluginValidationError",
    ),
    "unknown-hook": (
        hook("ganzoo_methds()", "return []"),
        "no hook is called ganzoo_methds; did you mean ganzoo_methods",
    ),
    "raising-hook": (hook("ganzoo_datasets()", "return 1 / 0"), "failed in its ganzoo_datasets: ZeroDivisionError"),
    "exiting-hook": (hook("ganzoo_metrics()", "raise SystemExit(0)"), "failed in its ganzoo_metrics: SystemExit: 0"),
    "no-list": (hook("ganzoo_datasets()", "return None"), "failed in its ganzoo_datasets: TypeError"),
    "no-entry": (hook("ganzoo_datasets()", "return ['ring']"), "must return Entry objects, not 'ring'"),
    "bad-name": (hook("ganzoo_datasets()", "return [Entry('a b', 'c:D')]"), "'a b' is no name"),
    "newer": (hook("ganzoo_samplers()", "return []"), "It asks for ganzoo >=9, and this is"),
    "newer-entry": (
        hook("ganzoo_datasets()", "return [Entry('a', 'b:C', flavour=1)]"),
        "TypeError: Entry.__init__() got",
    ),
}
#: These work as plugins; what they register does not, or is in somebody's way.
ENTRIES = {
    "missing-target": hook("ganzoo_datasets()", "return [Entry('gone', 'no_such_module:A', 'nothing')]"),
    "wrong-type": hook("ganzoo_datasets()", "return [Entry('wrong', 'json:JSONDecoder', 'no dataset')]"),
    "core-name": hook("ganzoo_datasets()", "return [Entry('grid', 'ganzoo.zoo.datasets:Ring', 'not the grid')]"),
    "twin-a": hook("ganzoo_datasets()", "return [Entry('twin', 'ganzoo.zoo.datasets:Ring', 'one')]"),
    "twin-b": hook("ganzoo_datasets()", "return [Entry('Twin', 'ganzoo.zoo.datasets:Grid', 'another')]"),
    "older": hook("ganzoo_logged(record)", "print('heard')"),
}
#: These take the process with them when they are imported.
DEADLY = {
    "ending": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "it killed the process (SIGKILL)"),
    "crashing": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "it killed the process (SIGSEGV)"),
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Sources and wheels: ``shelf("halo")`` is the wheel of ganzoo-halo."""
    folder = tmp_path_factory.mktemp("shelf")
    sources = {
        name: (source, ["ganzoo>=9"] if name == "newer" else ["ganzoo"]) for name, (source, _) in FAILURES.items()
    }
    sources |= {name: (source, ["ganzoo"]) for name, source in ENTRIES.items()}
    sources |= {name: (source, ["ganzoo"]) for name, (source, _) in DEADLY.items()}
    for name in ("halo", "ball"):
        sources[name] = (HEAD + ONE.format(name, f"ganzoo_{name}.data"), ["ganzoo>=0.1,<0.2"])
    sources["greedy"] = (HEAD, ["ganzoo", "torch==2.0.0"])
    sources["jealous"] = (HEAD, ["ganzoo==0.0.1"])
    found = {"core": wheel(ROOT, folder / "wheels")}
    for name, (source, requires) in sources.items():
        home = project(folder / "src", f"ganzoo-{name}", source, requires=requires, data=HALO)
        found[name] = wheel(home, folder / "wheels")
        found[f"{name} source"] = home
    found["plain"] = wheel(project(folder / "src", "plain", "", requires=[], plugin=False), folder / "wheels")
    found["silent"] = wheel(project(folder / "src", "ganzoo-silent", "", requires=["ganzoo"]), folder / "wheels")
    # What a resolver would find, were nothing kept.
    for name, version in (("torch", "2.0.0"), ("torch", "99.0"), ("ganzoo", "0.0.1")):
        stub = project(folder / f"{name}-{version}", name, "", version=version, requires=[], plugin=False)
        wheel(stub, folder / "stubs")
    bold = project(folder / "bold", "ganzoo-halo", "", version="2.0", requires=["ganzoo", "torch>=99"])
    wheel(bold, folder / "stubs")
    found["stubs"] = folder / "stubs"
    newer = project(
        folder / "newer", "ganzoo-halo", HEAD + ONE.format("halo", "ganzoo_halo.data"), version="1.1", data=HALO
    )
    found["newer halo"] = wheel(newer, folder / "wheels")
    return found.__getitem__


@pytest.fixture(scope="module")
def with_pip(tmp_path_factory, shelf) -> Environment:
    return environment(tmp_path_factory.mktemp("pip") / "venv", shelf("core"), pip=True)


@pytest.fixture(scope="module")
def with_uv(tmp_path_factory, shelf) -> Environment:
    return environment(tmp_path_factory.mktemp("uv") / "venv", shelf("core"), pip=False)


@pytest.fixture(params=["pip", "uv"])
def installed(request) -> Environment:
    """Both, without plugins."""
    found = request.getfixturevalue(f"with_{request.param}")
    clear(found)
    return found


def clear(found: Environment) -> None:
    found.drop(*(found.plugins() - {"ganzoo"}), "plain")
    shutil.rmtree(found.config / "ganzoo", ignore_errors=True)


def rows(found: Environment, **variables: str) -> dict[str, dict]:
    ended = found.ganzoo("plugins", "--all", "--json", **variables)
    assert ended.code == 0, ended.err
    return {row["distribution"]: row for row in json.loads(ended.out)}


def datasets(found: Environment) -> list[str]:
    ended = found.ganzoo("list", "datasets", "--json")
    assert ended.code == 0, ended.err
    return [row["name"] for row in json.loads(ended.out)]


#: The commands that it is given, one after another in one process, so that torch is imported once.
ONE_BY_ONE = """
import json, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from ganzoo.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["ganzoo", *words]
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        try:
            main()
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def shows(found: Environment, *datasets: str) -> list[Ended]:
    """What `ganzoo show` says of a recipe on each."""
    commands = json.dumps([["show", f"js-gan.{name}"] for name in datasets])
    ended = found.run(found.python, "-c", ONE_BY_ONE, commands)
    assert ended.code == 0, ended.err
    return [Ended(*json.loads(line)) for line in ended.out.splitlines()]


# Installing


def test_install_list_use_and_uninstall(installed, shelf):
    done = installed.ganzoo("install", shelf("halo"))
    assert done.code == 0, done.err
    assert "Installed ganzoo-halo 1.0 (main)  ok\n  datasets: halo\n" in done.out
    assert "already satisfied" not in done.out
    assert "halo" in datasets(installed)
    assert "ganzoo-halo 1.0 (main)  ok" in installed.ganzoo("plugins").out
    again = installed.ganzoo("install", "ganzoo-halo")
    assert again.code == 0, again.err
    assert "datasets: halo" in again.out
    assert installed.ganzoo("uninstall", "ganzoo-halo").code == 2  # nobody to ask
    assert "halo" in datasets(installed)
    done = installed.ganzoo("uninstall", "-y", "Ganzoo_Halo")
    assert done.code == 0, done.err
    assert "halo" not in datasets(installed)


def test_a_folder_is_installed_editable_and_as_it_is(installed, shelf):
    assert "datasets: ball" in installed.ganzoo("install", "-e", f"{shelf('ball source')}[extra]").out
    module = shelf("ball source") / "ganzoo_ball" / "__init__.py"
    before = module.read_text()
    module.write_text(before.replace('"ball"', '"sphere"'))
    assert "sphere" in datasets(installed)
    module.write_text(before)
    assert installed.ganzoo("install", "--force-reinstall", shelf("ball source")).code == 0
    module.write_text(before.replace('"ball"', '"sphere"'))
    assert "ball" in datasets(installed)
    module.write_text(before)


def test_a_wheel_is_named_by_its_file_alone(with_uv, shelf):
    clear(with_uv)
    shutil.copy(shelf("halo"), with_uv.config)  # where it runs
    assert "datasets: halo" in with_uv.ganzoo("install", shelf("halo").name).out


def test_a_folder_of_a_repository_of_git_is_installed(with_uv, shelf, tmp_path):
    clear(with_uv)
    assert with_uv.ganzoo("install", shelf("halo")).code == 0
    home = tmp_path / "a b (1), +c"
    shutil.copytree(shelf("ball source"), home / "plugins" / "ball")
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "one"], ["tag", "v1"]):
        subprocess.run(["git", *command], cwd=home, check=True, capture_output=True)
    done = with_uv.ganzoo("install", f"git+{home.as_uri()}@v1#subdirectory=plugins/ball")
    assert done.code == 0, done.err
    assert "datasets: ball" in done.out
    assert "datasets: halo" not in done.out
    assert with_uv.ganzoo("install", "-e", home / "plugins" / "ball").code == 0


def test_an_upgrade_takes_the_newer_one(installed, shelf):
    wheels = str(shelf("halo").parent)
    places = {**links(Path(wheels)), "UV_NO_INDEX": "1"}
    assert installed.ganzoo("install", "ganzoo-halo<1.1", **places).code == 0
    assert installed.ganzoo("install", "ganzoo-halo", **places).code == 0
    assert rows(installed)["ganzoo-halo"]["version"] == "1.0"
    done = installed.ganzoo("install", "-U", "ganzoo-halo", **places)
    assert done.code == 0, done.err
    assert rows(installed)["ganzoo-halo"]["version"] == "1.1"


@pytest.mark.parametrize("name", ["greedy", "jealous"])
def test_torch_and_ganzoo_are_not_replaced(installed, shelf, name):
    before = versions(installed)
    done = installed.ganzoo("install", shelf(name), **links(shelf("stubs")))
    assert done.code == 1
    assert re.search(r"It was told to keep ganzoo [\d.]+ and torch [\d.+a-z]+\. Nothing was changed\.", done.err)
    assert versions(installed) == before


@pytest.mark.parametrize("how", ["-U", "--force-reinstall"])
def test_nor_by_an_upgrade_or_a_reinstall(installed, shelf, how):
    assert installed.ganzoo("install", shelf("halo")).code == 0
    before = versions(installed)
    places = {name: f"{each} {shelf('halo').parent}" for name, each in links(shelf("stubs")).items()}
    places["UV_FIND_LINKS"] = places["UV_FIND_LINKS"].replace(" ", ",")
    installed.ganzoo("install", how, "ganzoo-halo", **{**places, "UV_NO_INDEX": "1"})
    after = versions(installed)
    assert after["torch"] == before["torch"]
    assert after["ganzoo"] == before["ganzoo"]
    assert after["ganzoo-halo"] == ("1.1" if how == "-U" else "1.0")
    assert installed.ganzoo("install", how, "torch", **places).code == 2


def versions(found: Environment) -> dict[str, str]:
    program = "import json; from ganzoo.installer import installed; print(json.dumps(installed()))"
    return json.loads(found.run(found.python, "-c", program).out)


def links(folder: Path) -> dict[str, str]:
    return {"PIP_FIND_LINKS": str(folder), "UV_FIND_LINKS": str(folder)}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("plain", "plain was installed, but it is no plugin: it has no entry point in the group 'ganzoo'"),
        ("silent", "ganzoo-silent 1.0 was installed, but its entry point main registers nothing"),
        ("raising-hook", "ganzoo-raising-hook 1.0 was installed, but fails in its ganzoo_datasets: ZeroDivisionError"),
        ("ending", "ganzoo-ending 1.0 was installed, but fails in its import: it killed the process (SIGKILL)"),
    ],
)
def test_what_registers_nothing_is_an_error_that_can_be_undone(with_uv, shelf, name, said):
    installed = with_uv
    clear(installed)
    done = installed.ganzoo("install", shelf(name))
    assert done.code == 1
    assert said in done.err
    (undo,) = re.findall(r"`ganzoo (uninstall [^`]+)` removes it", done.err)
    assert installed.ganzoo(*undo.split(), "-y").code == 0
    assert set(rows(installed)) == {"ganzoo"}


def test_what_was_dropped_is_restored(with_uv, shelf):
    installed = with_uv
    clear(installed)
    done = installed.ganzoo("install", "--restore")
    assert done.code == 2
    assert "there is nothing to restore" in done.err
    assert installed.ganzoo("install", shelf("halo"), "-e", shelf("ball source")).code == 0
    assert "Nothing to restore" in installed.ganzoo("install", "--restore").out
    installed.drop("ganzoo-halo", "ganzoo-ball")  # as an upgrade that makes the environment anew
    done = installed.ganzoo("install", "--restore")
    assert done.code == 0, done.err
    assert {"halo", "ball"} <= set(datasets(installed))
    assert installed.ganzoo("uninstall", "-y", "ganzoo-halo").code == 0
    assert "Nothing to restore" in installed.ganzoo("install", "--restore").out


def test_what_cannot_be_restored_is_named_after_the_rest(with_uv, shelf, tmp_path):
    clear(with_uv)
    copy = tmp_path / shelf("halo").name
    shutil.copy(shelf("halo"), copy)
    assert with_uv.ganzoo("install", copy, shelf("ball")).code == 0
    with_uv.drop("ganzoo-halo", "ganzoo-ball")
    copy.unlink()
    done = with_uv.ganzoo("install", "--restore")
    assert done.code == 1
    assert "not restored: ganzoo-halo" in done.err
    assert "ball" in datasets(with_uv)
    assert with_uv.ganzoo("uninstall", "-y", "ganzoo-ball", "ganzoo-halo").code == 0
    done = with_uv.ganzoo("install", "--restore")
    assert (done.code, "there is nothing to restore" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("install", "say what to install"),
        ("install --restore ganzoo-halo", "--restore takes no SPEC"),
        ("install torch", "torch is no plugin: upgrade it with what installed ganzoo"),
        ("uninstall -y setuptools", "setuptools is no plugin"),
        ("install ./nowhere", "'./nowhere' is neither a requirement"),
        ("install -e nowhere", "'nowhere' is neither a requirement"),
        ("uninstall -y numpy", "numpy is no plugin: ganzoo itself needs it"),
        ("uninstall -y ganzoo", "ganzoo is no plugin: ganzoo itself needs it"),
        ("uninstall -y ganzoo-nothing", "ganzoo-nothing is not installed"),
    ],
)
def test_what_cannot_be_asked_is_refused(with_uv, line, said):
    done = with_uv.ganzoo(*line.split())
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_python_of_the_operating_system_is_left_alone(with_uv):
    program = """
import sys, sysconfig, pathlib
from ganzoo import installer
sys.prefix = sys.base_prefix
sysconfig.get_path = lambda name: {folder!r}
installer.detect()
"""
    folder = with_uv.config / "stdlib"
    folder.mkdir(exist_ok=True)
    (folder / "EXTERNALLY-MANAGED").touch()
    done = with_uv.run(with_uv.python, "-c", program.format(folder=str(folder)))
    assert "belongs to the operating system" in done.err
    assert "uv tool install ganzoo" in done.err


def test_without_pip_and_uv_it_says_what_to_do(with_uv, shelf):
    done = with_uv.ganzoo("install", shelf("halo"), PATH="/nowhere")
    assert done.code == 1
    assert "neither pip in this environment" in done.err
    assert "ensurepip" in done.err


# Failing


def test_broken_plugins_cost_their_own_entries_and_one_line_each(installed, shelf):
    installed.take(shelf("halo"), *map(shelf, FAILURES))
    done = installed.ganzoo("list", "datasets")
    assert done.code == 0
    assert "halo" in done.out
    assert "ring" in done.out
    lines = done.err.splitlines()
    assert len(lines) == len(FAILURES)
    for name, (_, said) in FAILURES.items():
        (line,) = [line for line in lines if f" ganzoo-{name} 1.0 (entry point main) failed in its " in line]
        assert said in line
        assert line.endswith(f"`ganzoo install -U ganzoo-{name}` or `ganzoo uninstall ganzoo-{name}`")
    found = rows(installed)
    assert {name for name, row in found.items() if row["status"] == "failed"} == {f"ganzoo-{name}" for name in FAILURES}
    assert found["ganzoo-newer"]["met"] is False
    for command in ("--help", "plugins", "install --help"):
        done = installed.ganzoo(*command.split())
        assert (done.code, done.err) == (0, "")
    assert installed.ganzoo("list", GANZOO_STRICT_PLUGINS="1").code == 1
    assert installed.ganzoo("list", GANZOO_LOAD_PLUGINS="ganzoo-halo").err == ""
    done = installed.ganzoo("uninstall", "-y", *(f"ganzoo-{name}" for name in FAILURES))
    assert done.code == 0, done.err
    done = installed.ganzoo("list", "datasets")
    assert "halo" in done.out
    assert done.err == ""


def test_plugins_that_end_the_process_are_found_and_removed(with_uv, shelf):
    installed = with_uv
    clear(installed)
    installed.take(shelf("halo"), *map(shelf, DEADLY))
    assert installed.ganzoo("--help").code == 0
    assert installed.ganzoo("list").code != 0  # nothing can be done about that
    found = rows(installed)
    for name, (_, said) in DEADLY.items():
        assert said in found[f"ganzoo-{name}"]["error"]
    assert found["ganzoo-halo"]["status"] == "ok"
    assert installed.ganzoo("uninstall", "-y", *(f"ganzoo-{name}" for name in DEADLY)).code == 0
    assert "halo" in datasets(installed)


def test_entries_that_fail_cost_no_other(with_uv, shelf):
    installed = with_uv
    clear(installed)
    installed.take(shelf("halo"), *map(shelf, ENTRIES))
    names = datasets(installed)
    assert {"halo", "gone", "wrong", "grid", "ganzoo-core-name/grid", "ganzoo-twin-a/twin", "ganzoo-twin-b/Twin"} <= {
        *names
    }
    said = {
        "gone": "dataset gone of ganzoo-missing-target 1.0 (entry point main) failed in the import of its target",
        "wrong": "dataset wrong of ganzoo-wrong-type 1.0 (entry point main): its target json:JSONDecoder made a JSON",
        "twin": "several plugins register the dataset 'twin': say ganzoo-twin-a/twin or ganzoo-twin-b/Twin",
    }
    *failed, core, twin, halo = shows(installed, *said, "GRID", "ganzoo_twin_a/TWIN", "halo")
    for text, done in zip(said.values(), failed, strict=True):
        assert done.code in (1, 2)
        assert text in done.err
        assert len(done.err.splitlines()) == 1
    core, twin, halo = (done.out.splitlines()[1] for done in (core, twin, halo))
    assert core.split() == ["dataset", "grid(std=0.05,", "seed=0)"]
    assert twin.split() == ["dataset", "ganzoo-twin-a/twin"]
    assert halo.split() == ["dataset", "halo"]
    done = installed.ganzoo("train", "mle-gaussian.halo", "--steps", 2, "--out", installed.config / "run")
    assert done.code == 0, done.err
    assert "heard" in done.out  # by the plugin that was built when the hook had fewer arguments


# Tools


@pytest.fixture
def tool(tmp_path, shelf) -> Environment:
    """As `uv tool install` leaves it."""
    (tmp_path / "tools").mkdir()
    where = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    made = environment(tmp_path / "tools" / "ganzoo", shelf("core"), pip=False, config=tmp_path / "config", **where)
    options = f'[tool.options]\nfind-links = ["{shelf("stubs")}"]\nprerelease = "allow"\n'
    (made.prefix / "uv-receipt.toml").write_text(
        f'[tool]\nrequirements = [{{ name = "ganzoo", path = "{shelf("core")}" }}]\n'
        f'entrypoints = [{{ name = "ganzoo", install-path = "{tmp_path}/bin/ganzoo", from = "ganzoo" }}]\n\n{options}'
    )
    return made


def test_a_tool_of_uv_keeps_its_plugins_in_its_receipt(tool, shelf):
    assert tool.ganzoo("install", shelf("halo")).code == 0
    done = tool.ganzoo("install", shelf("ball"))
    assert done.code == 0, done.err
    assert f"--with {shelf('halo')}" in done.err  # what was there is repeated
    receipt = (tool.prefix / "uv-receipt.toml").read_text()
    assert "ganzoo_halo" in receipt
    assert "ganzoo_ball" in receipt
    assert 'prerelease = "allow"' in receipt
    assert "stubs" in receipt
    assert "constraints" not in receipt  # which would hold ganzoo at its version for ever
    assert {"halo", "ball"} <= set(datasets(tool))
    assert tool.ganzoo("uninstall", "-y", "ganzoo-halo").code == 0
    assert "ganzoo_halo" not in (tool.prefix / "uv-receipt.toml").read_text()
    assert "ball" in datasets(tool)
    # Installed again without its plugins, it gets them back from the list that is kept outside.
    assert tool.run(UV, "tool", "install", shelf("core")).code == 0
    assert "ball" not in datasets(tool)
    assert tool.ganzoo("install", "--restore").code == 0
    assert "ball" in datasets(tool)
    assert "ganzoo_ball" in (tool.prefix / "uv-receipt.toml").read_text()


PIPX = shutil.which("pipx", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


@pytest.mark.skipif(PIPX is None, reason="pipx is not installed")
def test_an_environment_of_pipx_gets_its_plugins_injected(tmp_path, shelf, with_uv):
    assert PIPX is not None
    script = '[project.scripts]\nganzoo = "ganzoo:main"\n\n[tool.hatch'
    stub = project(tmp_path / "stub", "ganzoo", "def main(): pass", version="0.1.0", requires=[], plugin=False)
    (stub / "pyproject.toml").write_text((stub / "pyproject.toml").read_text().replace("[tool.hatch", script))
    where = {"PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin"), "PIPX_DEFAULT_BACKEND": "uv"}
    path = f"{Path(UV).parent}{os.pathsep}{Path(PIPX).parent}{os.pathsep}/usr/bin:/bin"
    outside = {**os.environ, **where, "PATH": path, "UV_OFFLINE": "1"}
    subprocess.run([PIPX, "install", str(wheel(stub, tmp_path / "stub"))], env=outside, check=True, capture_output=True)
    prefix = tmp_path / "pipx" / "venvs" / "ganzoo"
    told = (prefix / "pipx_metadata.json").read_text()
    shutil.rmtree(prefix)
    tool = environment(prefix, shelf("core"), pip=False, config=tmp_path / "config", **where)
    tool = replace(tool, variables={**tool.variables, "PATH": path})
    (prefix / "pipx_metadata.json").write_text(told)
    done = tool.ganzoo("install", shelf("halo"))
    assert done.code == 0, done.err
    assert "ganzoo-halo" in json.loads((prefix / "pipx_metadata.json").read_text())["injected_packages"]
    assert "halo" in datasets(tool)
    assert tool.ganzoo("install", "-U", shelf("halo")).code == 0
    assert tool.ganzoo("install", shelf("newer halo")).code == 0
    assert rows(tool)["ganzoo-halo"]["version"] == "1.1"
    assert tool.ganzoo("install", shelf("greedy")).code == 1
    assert tool.ganzoo("uninstall", "-y", "ganzoo-halo").code == 0
    assert "halo" not in datasets(tool)

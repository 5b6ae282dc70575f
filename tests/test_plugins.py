"""Plugins in real distributions, real processes: a broken one costs only its own entries, and one line on stderr."""

import inspect
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import plugins_in

from ganzoo import hookspecs
from ganzoo.plugins import LOAD

LIST = """
import json, sys
from ganzoo.plugins import host, registry
found = {kind: registry().names(kind) for kind in ("dataset", "generator", "divergence")}
plugins = {p.distribution: [p.status, p.error, len(p.entries)] for p in host().plugins}
print(json.dumps({"names": found, "plugins": plugins, "torch": "torch" in sys.modules}))
"""

HEAD = "import ganzoo\nfrom ganzoo.registry import Entry\n"
GOOD = (
    HEAD
    + '@ganzoo.hookimpl\ndef ganzoo_datasets():\n    return [Entry("{name}", "ganzoo.zoo.datasets:Ring", "a ring")]\n'
)
CORE = {"digits", "grid", "mixture-1d", "ring", "two-moons"}

#: What a plugin's module says, and what the one line says of it.
BROKEN = {
    "interrupts": ("class Stop(BaseException): pass\nraise Stop('now')", "Stop: now"),
    "leaves": ("import os\nos._exit(0)", "PluginError: it called os._exit(0)"),
    "import-error": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "syntax-error": ("def broken(:", "SyntaxError"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "raises-at-import": ('raise RuntimeError("two\\nlines")', "RuntimeError: two lines"),
    "wrong-argument": (
        HEAD + "@ganzoo.hookimpl\ndef ganzoo_datasets(wrong):\n    return []\n",
        "{'wrong'} are declared in the hookimpl but can not be found in the hookspec",
    ),
    "unknown-hook": (
        HEAD + "@ganzoo.hookimpl\ndef ganzoo_datsets():\n    return []\n",
        "no hook is called ganzoo_datsets; did you mean ganzoo_datasets",
    ),
    "raises-in-hook": (HEAD + "@ganzoo.hookimpl\ndef ganzoo_datasets():\n    return 1 / 0\n", "ZeroDivisionError"),
    "returns-nothing": (HEAD + "@ganzoo.hookimpl\ndef ganzoo_datasets():\n    pass\n", "TypeError: 'NoneType'"),
    "returns-strings": (
        HEAD + '@ganzoo.hookimpl\ndef ganzoo_datasets():\n    return ["ring"]\n',
        "ganzoo_datasets must return Entry objects, not 'ring'",
    ),
    "wrong-entry": (
        HEAD + '@ganzoo.hookimpl\ndef ganzoo_recipes():\n    return [Entry("a", "b:C")]\n',
        "ganzoo_recipes must return RecipeEntry objects",
    ),
    "half": (
        GOOD.format(name="half") + "@ganzoo.hookimpl\ndef ganzoo_suites():\n    raise KeyError('half')\n",
        "failed in its ganzoo_suites: KeyError: 'half'",
    ),
    "nameless": (
        HEAD + '@ganzoo.hookimpl\ndef ganzoo_datasets():\n    return [Entry("fine", "a:B"), Entry(5, "a:B")]\n',
        "PluginError: ganzoo_datasets: 5 is no name",
    ),
}


def install(folder: Path, distribution: str, source: str, version: str = "1.2", requires: str = "ganzoo") -> None:
    """A distribution as pip would leave it: a module, and its metadata beside it."""
    module = "plugin_" + distribution.replace("-", "_").replace(".", "_")
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nRequires-Dist: {requires}\n"
    (info / "METADATA").write_text(metadata)
    (info / "entry_points.txt").write_text(f"[ganzoo]\nmain = {module}\n")


def run(folder: Path, program: str = LIST, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(folder), LOAD: ",".join(plugins_in(folder)), **environment}
    return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)


def listed(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_other_plugins_nothing_is_said_and_torch_is_not_imported(tmp_path):
    done = run(tmp_path)
    found = listed(done)
    assert set(found["names"]["dataset"]) == CORE
    assert found["torch"] is False
    assert done.stderr == ""


def test_a_good_plugin_adds_its_entries(tmp_path):
    install(tmp_path, "acme", GOOD.format(name="halo"))
    done = run(tmp_path)
    found = listed(done)
    assert set(found["names"]["dataset"]) == CORE | {"halo"}
    assert found["plugins"]["acme"] == ["ok", "", 1]
    assert found["torch"] is False
    assert done.stderr == ""


@pytest.mark.parametrize("which", BROKEN)
def test_a_broken_plugin_costs_its_own_entries_and_one_line(tmp_path, which):
    source, cause = BROKEN[which]
    install(tmp_path, "acme-broken", source, "3.1")
    install(tmp_path, "zeta", GOOD.format(name="halo"))
    done = run(tmp_path)
    found = listed(done)
    assert set(found["names"]["dataset"]) == CORE | {"halo"}
    assert found["plugins"]["acme-broken"][::2] == ["failed", 0]
    (line,) = done.stderr.splitlines()
    assert line.startswith("ganzoo: plugin acme-broken 3.1 (entry point main) failed in its ")
    assert cause in line
    assert line.endswith("left out; `ganzoo install -U acme-broken` or `ganzoo uninstall acme-broken`")


@pytest.mark.parametrize("which", ["import-error", "exits", "wrong-argument", "raises-in-hook"])
def test_in_strict_mode_it_raises(tmp_path, which):
    source, cause = BROKEN[which]
    install(tmp_path, "acme-broken", source, "3.1")
    done = run(tmp_path, GANZOO_STRICT_PLUGINS="1")
    assert done.returncode != 0
    assert "PluginError: plugin acme-broken 3.1 (entry point main) failed" in done.stderr
    assert cause in done.stderr


def test_a_failed_plugin_hears_of_no_training_event(tmp_path):
    source, _ = BROKEN["half"]
    install(
        tmp_path, "acme-broken", source + "@ganzoo.hookimpl\ndef ganzoo_logged(record):\n    print('heard', record)\n"
    )
    install(tmp_path, "zeta", HEAD + "@ganzoo.hookimpl\ndef ganzoo_logged(record):\n    print('zeta', record)\n")
    program = (
        "from ganzoo.plugins import host; host().announce('ganzoo_logged', recipe=None, seed=0, record={'step': 1})"
    )
    assert run(tmp_path, program).stdout == "zeta {'step': 1}\n"


def test_a_plugin_that_raises_at_an_event_does_not_end_the_run(tmp_path):
    install(tmp_path, "acme", HEAD + "@ganzoo.hookimpl\ndef ganzoo_logged(record):\n    raise ValueError('no')\n")
    program = "from ganzoo.plugins import host; host().announce('ganzoo_logged', record={})\n"
    program += "host().announce('ganzoo_logged', record={}); print('on')"
    done = run(tmp_path, program)
    assert done.stdout == "on\n"
    assert done.stderr == (
        "ganzoo: plugin acme 1.2 (entry point main) failed in its ganzoo_logged: ValueError: no. "
        "It hears of that no more; `ganzoo install -U acme` or `ganzoo uninstall acme`\n"
    )


def test_two_plugins_with_one_name_need_their_distribution(tmp_path):
    install(tmp_path, "acme", GOOD.format(name="halo"))
    install(tmp_path, "zeta.labs", GOOD.format(name="Halo"))
    found = listed(run(tmp_path))
    assert {"acme/halo", "zeta-labs/Halo"} <= set(found["names"]["dataset"])
    done = run(tmp_path, "from ganzoo.plugins import registry; registry().find('dataset', 'halo')")
    assert (
        "AmbiguousNameError: several plugins register the dataset 'halo': say acme/halo or zeta-labs/Halo"
        in done.stderr
    )
    named = ("acme/halo", "zeta-labs/halo")
    made = f"from ganzoo import api\nfor name in {named}: print(api.create('recipe', f'js-gan.{{name}}').name)"
    assert run(tmp_path, made).stdout == "js-gan.acme/halo\njs-gan.zeta-labs/Halo\n"


def test_a_core_name_cannot_be_taken_over(tmp_path):
    install(tmp_path, "acme", GOOD.format(name="grid"))
    found = listed(run(tmp_path))
    assert {"grid", "acme/grid"} <= set(found["names"]["dataset"])
    program = "from ganzoo.plugins import registry; print(*(registry().find('dataset', n).target for n in {}))"
    program = program.format(["grid", "acme/grid"])
    assert run(tmp_path, program).stdout == "ganzoo.zoo.datasets:Grid ganzoo.zoo.datasets:Ring\n"


def test_the_remains_of_an_uninstalled_plugin_do_no_harm(tmp_path):
    install(tmp_path, "acme", GOOD.format(name="halo"))
    (tmp_path / "plugin_acme-1.2.dist-info" / "METADATA").unlink()
    install(tmp_path, "zeta", GOOD.format(name="ball"))
    assert {*CORE, "ball"} <= set(listed(run(tmp_path))["names"]["dataset"])


def test_importing_ganzoo_and_its_host_imports_no_torch(tmp_path):
    program = "import sys, ganzoo.plugins, ganzoo.registry, ganzoo.zoo; print({'torch', 'numpy'} & {*sys.modules})"
    assert run(tmp_path, program).stdout == "set()\n"


def test_what_a_plugin_prints_does_not_get_into_what_a_command_prints(tmp_path):
    install(tmp_path, "acme", "print('hello')\n" + GOOD.format(name="halo"))
    done = run(tmp_path)
    assert "halo" in listed(done)["names"]["dataset"]
    assert done.stderr == "hello\n"


def test_only_named_plugins_are_loaded_where_the_variable_says_so(tmp_path):
    install(tmp_path, "acme", GOOD.format(name="halo"))
    install(tmp_path, "Zeta.Labs", GOOD.format(name="ball"))
    found = listed(run(tmp_path, GANZOO_LOAD_PLUGINS="zeta-labs"))
    assert set(found["names"]["dataset"]) == CORE | {"ball"}
    assert found["plugins"]["acme"] == ["blocked", "GANZOO_LOAD_PLUGINS does not name it", 0]
    assert set(listed(run(tmp_path, GANZOO_LOAD_PLUGINS=""))["names"]["dataset"]) == CORE
    done = run(tmp_path, GANZOO_LOAD_PLUGINS="acme, nobody")
    assert set(listed(done)["names"]["dataset"]) == CORE | {"halo"}
    assert done.stderr == "ganzoo: GANZOO_LOAD_PLUGINS names nobody, which is not installed\n"


def test_a_blocked_plugin_is_not_even_imported(tmp_path):
    install(tmp_path, "acme", "raise SystemExit(3)")
    done = run(tmp_path, GANZOO_LOAD_PLUGINS="")
    assert listed(done)["plugins"]["acme"][0] == "blocked"
    assert done.stderr == ""


def test_a_hook_of_a_newer_ganzoo_is_no_fault_where_it_is_marked_optional(tmp_path):
    newer = "@ganzoo.hookimpl{}\ndef ganzoo_samplers():\n    return []\n"
    install(tmp_path, "acme", GOOD.format(name="halo") + newer.format("(optionalhook=True)"))
    install(tmp_path, "zeta", GOOD.format(name="ball") + newer.format(""))
    found = listed(run(tmp_path))
    assert set(found["names"]["dataset"]) == CORE | {"halo"}
    assert found["plugins"]["zeta"][0] == "failed"


def test_a_plugin_for_another_ganzoo_says_which_where_it_fails(tmp_path):
    install(tmp_path, "acme", "from ganzoo import Sampler", requires="ganzoo>=9")
    done = run(tmp_path)
    assert "It asks for ganzoo >=9, and this is " in done.stderr


def test_a_target_that_fails_costs_its_own_entry(tmp_path):
    targets = {"gone": "no_such_module:A", "wrong": "json:JSONDecoder", "exits": "plugin_acme_exits:A"}
    entries = [f"Entry({n!r}, {t!r})" for n, t in {**targets, "halo": "ganzoo.zoo.datasets:Ring"}.items()]
    (tmp_path / "plugin_acme_exits.py").write_text("raise SystemExit(3)")
    install(tmp_path, "acme", HEAD + f"@ganzoo.hookimpl\ndef ganzoo_datasets():\n    return [{', '.join(entries)}]\n")
    program = """
from ganzoo.plugins import registry
for name in ("gone", "wrong", "exits", "halo"):
    try:
        print(type(registry().find("dataset", name).create({})).__name__)
    except Exception as error:
        print(type(error).__name__, error)
"""
    gone, wrong, exits, halo = run(tmp_path, program).stdout.splitlines()
    whose = "PluginError dataset {} of acme 1.2 (entry point main)"
    assert gone.startswith(
        whose.format("gone") + " failed in the import of its target no_such_module:A: ModuleNotFound"
    )
    assert wrong.startswith(whose.format("wrong") + ": its target json:JSONDecoder made a JSONDecoder, no Dataset")
    assert exits.startswith(
        whose.format("exits") + " failed in the import of its target plugin_acme_exits:A: SystemExit"
    )
    assert halo == "Ring"


# The survey: what plugins do in a process that they may take down


def surveyed(folder: Path, **environment: str) -> dict[str, dict]:
    program = "import json; from ganzoo.survey import survey; print(json.dumps(survey()))"
    done = run(folder, program, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return {row["distribution"]: row for row in json.loads(done.stdout) if row["status"] != "blocked"}


def test_the_survey_survives_plugins_that_end_their_process(tmp_path):
    install(tmp_path, "acme-ends", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    install(tmp_path, "acme-crashes", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    install(tmp_path, "zeta", GOOD.format(name="halo"))
    found = surveyed(tmp_path, GANZOO_STRICT_PLUGINS="1")
    assert found["acme-ends"]["error"] == "import: it killed the process (SIGKILL)"
    assert found["acme-crashes"]["error"] == "import: it killed the process (SIGSEGV)"
    assert found["acme-ends"]["status"] == found["acme-crashes"]["status"] == "failed"
    assert found["zeta"]["entries"] == {"dataset": ["halo"]}
    assert found["ganzoo"]["status"] == "ok"


def test_the_survey_runs_nothing_of_the_folder_that_it_is_called_in(tmp_path):
    (tmp_path / "random.py").write_text("raise SystemExit('taken for the module of that name')")
    program = "import os; from ganzoo.survey import survey; os.chdir({!r}); print(len(survey()))"
    (tmp_path / "path").mkdir()
    done = run(tmp_path / "path", program.format(str(tmp_path)))
    assert done.stderr == ""
    assert int(done.stdout) > 0


def test_the_survey_survives_a_plugin_that_never_comes_back(tmp_path):
    install(tmp_path, "acme", "import threading; threading.Event().wait()")
    done = run(tmp_path, "import json; from ganzoo.survey import survey; print(json.dumps(survey(seconds=2)))")
    rows = {row["distribution"]: row for row in json.loads(done.stdout)}
    assert rows["acme"]["error"] == "import: it was not done after 2 s"


def test_the_survey_does_not_wait_for_what_a_plugin_started(tmp_path):
    child = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    install(tmp_path, "acme", child + GOOD.format(name="halo"))
    began = time.monotonic()
    assert surveyed(tmp_path)["acme"]["status"] == "ok"
    assert time.monotonic() - began < 30


def test_one_distribution_registers_a_name_once_over_all_its_entry_points(tmp_path):
    install(tmp_path, "acme", GOOD.format(name="halo"))
    (tmp_path / "second.py").write_text(GOOD.format(name="Halo"))
    (tmp_path / "plugin_acme-1.2.dist-info" / "entry_points.txt").write_text(
        "[ganzoo]\nmain = plugin_acme\nmore = second\n"
    )
    done = run(tmp_path)
    assert "halo" in listed(done)["names"]["dataset"]
    assert "(entry point more) failed in its registration: PluginError: it registers more than once" in done.stderr


def test_the_survey_says_which_plugins_import_torch(tmp_path):
    install(tmp_path, "acme", "import torch\n" + GOOD.format(name="halo"))
    install(tmp_path, "beta", "import torch\n" + GOOD.format(name="ball"))
    install(tmp_path, "zeta", GOOD.format(name="disc"))
    found = surveyed(tmp_path)
    heavy = {name: row["imports_torch"] for name, row in found.items()}
    assert heavy == {"ganzoo": False, "acme": True, "beta": True, "zeta": False}


def test_the_survey_knows_a_plugin_that_only_listens(tmp_path):
    install(tmp_path, "acme", HEAD + "@ganzoo.hookimpl\ndef ganzoo_logged(record):\n    pass\n")
    row = surveyed(tmp_path)["acme"]
    assert (row["status"], row["entries"], row["events"]) == ("ok", {}, ["ganzoo_logged"])


def test_the_survey_says_whether_a_plugin_is_for_this_ganzoo(tmp_path):
    install(tmp_path, "acme", GOOD.format(name="halo"), requires="ganzoo>=0.1,<1")
    install(tmp_path, "beta", GOOD.format(name="ball"), requires="ganzoo>=9")
    install(tmp_path, "zeta", GOOD.format(name="disc"), requires="!!")
    found = surveyed(tmp_path)
    assert {name: (row["requires"], row["met"]) for name, row in found.items()} == {
        "ganzoo": ("", True),
        "acme": ("<1,>=0.1", True),
        "beta": (">=9", False),
        "zeta": ("", True),
    }


# Hook specifications only grow: a plugin that was written for this list goes on working

HOOKS_SO_FAR = {
    **dict.fromkeys(
        (
            "ganzoo_datasets",
            "ganzoo_generators",
            "ganzoo_discriminators",
            "ganzoo_divergences",
            "ganzoo_methods",
            "ganzoo_metrics",
            "ganzoo_terms",
            "ganzoo_penalties",
            "ganzoo_schedules",
            "ganzoo_optimizers",
            "ganzoo_projections",
            "ganzoo_executors",
            "ganzoo_recipes",
            "ganzoo_suites",
        ),
        frozenset[str](),
    ),
    "ganzoo_started": {"recipe", "seed", "folder"},
    "ganzoo_logged": {"recipe", "seed", "record"},
    "ganzoo_finished": {"recipe", "seed", "folder", "status"},
}


@pytest.mark.parametrize("hook", HOOKS_SO_FAR)
def test_a_hook_keeps_its_name_and_arguments(hook):
    assert HOOKS_SO_FAR[hook] <= {*inspect.signature(getattr(hookspecs, hook)).parameters}

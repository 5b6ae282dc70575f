"""An installed plugin against what a distribution has to keep to."""

from __future__ import annotations

from ganzoo.plugins import host, registry
from ganzoo.registry import Entry, Registry, canonical
from ganzoo.survey import Row, survey
from ganzoo.testing.common import expect


def entries_of(distribution: str) -> list[Entry]:
    """Everything that an installed distribution registers, to parametrise a test with::

    @pytest.mark.parametrize("entry", entries_of("ganzoo-flows"), ids=str)
    def test_it_keeps_its_contract(entry):
        check_entry(entry)
    """
    wanted = canonical(distribution)
    return [entry for plugin in host().plugins for entry in plugin.entries if canonical(entry.distribution) == wanted]


def check_plugin(distribution: str) -> None:
    """A distribution as an installed plugin: it loads, registers something, is light, says which ganzoo it is for, and
    takes no name that is the core's. What it registers is for `check_entry`.

    Loaded in a fresh process. Raises `ConformanceError`.
    """
    rows = [row for row in survey() if canonical(row["distribution"]) == canonical(distribution)]
    expect(
        bool(rows),
        f"plugin {distribution}: is not installed, or has no entry point in the group 'ganzoo'; "
        "after a change of its pyproject.toml install it again",
    )
    for row in rows:
        _check_row(row, f"plugin {row['distribution']} (entry point {row['entry_point']})")


def _check_row(row: Row, name: str) -> None:
    expect(row["status"] == "ok", f"{name}: {row['status']}: {row['error']}")
    expect(bool(row["entries"] or row["events"]), f"{name}: registers nothing")
    expect(
        not row["imports_torch"],
        f"{name}: its light module imports torch, which every command would wait for; entries name what needs torch as "
        "a target, 'package.module:Name', and the module of the target imports it",
    )
    expect(bool(row["requires"]), f"{name}: its metadata do not say which versions of ganzoo it works with")
    expect(row["met"], f"{name}: asks for ganzoo {row['requires']}, which is not the one that is installed")
    if not row["core"]:
        taken = [f"{kind} {each}" for kind, names in row["entries"].items() for each in names if _is_core(kind, each)]
        expect(not taken, f"{name}: takes names of the core, which wins: {', '.join(taken)}")


def _is_core(kind: str, name: str) -> bool:
    owner = registry().owner(kind, name)
    return owner is not None and owner.distribution == Registry.core

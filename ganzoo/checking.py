"""`ganzoo check`: the conformance kit, and one tiny round of a recipe, from the command line."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ganzoo.errors import DataError, GanzooError, IncompatibleError
from ganzoo.part import KINDS
from ganzoo.plugins import find_any, host, registry
from ganzoo.recipe import Recipe, canonical_name, create_recipe, recipe_names
from ganzoo.registry import Entry, canonical
from ganzoo.testing import check_engines, check_entry, check_plugin, check_recipe, entries_of
from ganzoo.testing.game import LARGEST
from ganzoo.train import Run


def check_all(names: Sequence[str], say: Callable[[str], None]) -> int:
    """Check entries, recipes and plugins by name, or everything; say a line for each. Returns how many failed."""
    checks = dict(check for name in names for check in _named(name)) if names else _everything()
    counts = {"ok": 0, "FAILED": 0, "unfit": 0, "skipped": 0}
    for label, check in checks.items():
        outcome, why = _outcome(check)
        counts[outcome] += 1
        say(f"{outcome:7} {label}{': ' if why else ''}{why}")
    unfit = f", {counts['unfit']} do not fit each other" if counts["unfit"] else ""
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    say(f"{counts['ok']} passed, {counts['FAILED']} failed{unfit}{skipped}")
    return counts["FAILED"]


Check = Callable[[], None]


class _UnfitError(Exception):
    """A method and a dataset that do not fit: no fault of either."""


class _LargeError(Exception):
    """A method and a dataset whose networks are too large to be checked unasked."""


def _outcome(check: Check) -> tuple[str, str]:
    try:
        check()
    except _UnfitError as error:
        return "unfit", str(error)
    except (DataError, _LargeError) as error:
        return "skipped", str(error)
    except (AssertionError, GanzooError) as error:
        return "FAILED", str(error)
    except Exception as error:  # what is checked is others' code
        return "FAILED", f"{type(error).__name__}: {error}"
    return "ok", ""


def _everything() -> dict[str, Check]:
    plugins = [_plugin(plugin.distribution) for plugin in host().plugins if plugin.status != "blocked"]
    entries = [_entry(entry) for kind in KINDS for entry in registry().all(kind)]
    return dict([*plugins, *entries, *map(_pair, recipe_names())])


def _named(name: str) -> list[tuple[str, Check]]:
    if "." in name:
        return [_recipe(canonical_name(name))]  # a misspelt name is no failed check
    if canonical(name) in {canonical(plugin.distribution) for plugin in host().plugins}:
        own = entries_of(name)
        brought = {registry().name(entry) for entry in own if entry.kind in ("method", "dataset")}
        pairs = [pair for pair in recipe_names() if brought & set(pair.split(".", 1))]
        return [_plugin(name), *map(_entry, own), *map(_pair, pairs)]
    return [_entry(entry) for entry in find_any(name)]


def _plugin(distribution: str) -> tuple[str, Check]:
    return f"plugin {distribution}", lambda: check_plugin(distribution)


def _entry(entry: Entry) -> tuple[str, Check]:
    name = registry().name(entry)
    return f"{entry.kind} {name}{' (entry)' if entry.kind == 'recipe' else ''}", lambda: check_entry(entry)


def _recipe(name: str) -> tuple[str, Check]:
    return f"recipe {name}", lambda: _tiny_round(_tiny(name))


def _pair(name: str) -> tuple[str, Check]:
    """As `_recipe`, of a pair that nobody promised would fit."""

    def check() -> None:
        try:
            recipe = _tiny(name)
        except IncompatibleError as error:
            raise _UnfitError(str(error)) from None
        if (size := recipe.size) > LARGEST:
            raise _LargeError(f"{size / 1e6:,.0f} million parameters; `ganzoo check {name}` checks it all the same")
        _tiny_round(recipe)

    return f"recipe {name}", check


def _tiny(name: str) -> Recipe:
    return create_recipe(name, {"steps": 2, "batch_size": 16, "evaluations": 1})


def _tiny_round(recipe: Recipe) -> None:
    """The recipe's contract in every engine, and two steps of it on the CPU."""
    check_recipe(recipe)
    check_engines(recipe)
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        outcome = Run(recipe, 0, Path(folder), device="cpu", draw=False).train()
    assert outcome.status == "finished", f"two steps of it end as {outcome.status}"

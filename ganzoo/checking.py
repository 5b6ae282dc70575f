"""`ganzoo check`: the conformance kit, and one tiny round of a recipe, from the command line."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ganzoo.errors import GanzooError
from ganzoo.part import KINDS
from ganzoo.plugins import find_any, registry
from ganzoo.recipe import canonical_name, create_recipe, recipe_names
from ganzoo.registry import Entry
from ganzoo.testing import check_entry, check_recipe
from ganzoo.train import Run


def check_all(names: Sequence[str], say: Callable[[str], None]) -> int:
    """Check entries and recipes by name, or everything; say a line for each. Returns how many failed."""
    checks = [check for name in names for check in _named(name)] if names else _everything()
    failed = 0
    for label, check in checks:
        try:
            check()
        except (AssertionError, GanzooError) as error:
            failed += 1
            say(f"FAILED  {label}: {error}")
        except Exception as error:  # what is checked is others' code
            failed += 1
            say(f"FAILED  {label}: {type(error).__name__}: {error}")
        else:
            say(f"ok      {label}")
    say(f"{len(checks) - failed} passed, {failed} failed")
    return failed


Check = tuple[str, Callable[[], None]]


def _everything() -> list[Check]:
    entries = [_entry(entry) for kind in KINDS for entry in registry().all(kind)]
    return entries + [_recipe(name) for name in recipe_names()]


def _named(name: str) -> list[Check]:
    if "." in name:
        return [_recipe(canonical_name(name))]  # a misspelt name is no failed check
    return [_entry(entry) for entry in find_any(name)]


def _entry(entry: Entry) -> Check:
    return f"{entry.kind} {entry.name}", lambda: check_entry(entry)


def _recipe(name: str) -> Check:
    return f"recipe {name}", lambda: _tiny_round(name)


def _tiny_round(name: str) -> None:
    """The recipe's contract, and two steps of it on the CPU."""
    recipe = create_recipe(name, {"steps": 2, "batch_size": 16, "evaluations": 1})
    check_recipe(recipe)
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        outcome = Run(recipe, 0, Path(folder), device="cpu", draw=False).train()
    assert outcome.status == "finished", f"two steps of it end as {outcome.status}"

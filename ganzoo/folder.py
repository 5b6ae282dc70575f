"""Folders that processes work in: one at a time, and on one definition."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import filelock

from ganzoo.errors import LockedError, OptionError, RunError
from ganzoo.files import write_json
from ganzoo.recipe import Recipe

DEFINITION = "recipe.json"
#: What a run leaves that has begun: of one that never came to that nothing is lost.
BEGUN = ("log.jsonl", "checkpoints")


@contextmanager
def locked(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Work alone in ``folder``, which is made if need be; wait ``patience`` seconds for whoever does.

    The lock is the operating system's: it ends with the process, however that ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # A singleton, so that whoever holds the lock may ask for it again.
        with filelock.FileLock(folder / ".lock", is_singleton=True).acquire(timeout=patience):
            yield
    except filelock.Timeout:
        raise LockedError(
            f"another process is working in {folder}; wait for it, or choose another folder with --out"
        ) from None


def claim(folder: Path, recipe: Recipe, seed: int, *, resume: bool) -> None:
    """Write down what is trained here, or see that it is what was: `OptionError` says what differs."""
    path = folder / DEFINITION
    if (held := held_in(folder)) is not None:
        if (held["seed"], held["digest"]) != (seed, recipe.digest):
            raise OptionError(
                f"{folder} holds another run: {held['recipe'].get('name')}, seed {held['seed']}, definition "
                f"{held['digest']} and not {recipe.digest} ({difference(held['recipe'], recipe.record())}). "
                "Choose another folder with --out"
            )
        if not resume:
            raise RunError(f"{folder} already holds this run. Go on with --resume, or choose another folder with --out")
    for leftover in folder.rglob(".*.tmp"):
        leftover.unlink(missing_ok=True)
    write_json(path, {"seed": seed, "digest": recipe.digest, "recipe": recipe.record()})


def held_in(folder: Path) -> dict[str, Any] | None:
    """The definition of the run in a folder, as `definition_in` reads it; none where none has begun."""
    begun = any((folder / name).exists() for name in BEGUN)
    return definition_in(folder / DEFINITION) if begun and (folder / DEFINITION).exists() else None


def definition_in(path: Path) -> dict[str, Any]:
    """What a run's ``recipe.json`` says: its seed, its recipe and the recipe's digest."""
    try:
        held = json.loads(path.read_bytes())
        return {key: held[key] for key in ("seed", "digest", "recipe")}
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} is damaged ({type(error).__name__}: {error}), and without it nobody knows what was trained here. "
            "Choose another folder with --out"
        ) from None


def difference(old: Any, new: Any, at: str = "") -> str:
    """Where two JSON documents first differ, and how."""
    if isinstance(old, dict) and isinstance(new, dict):
        old, new = cast("dict[str, Any]", old), cast("dict[str, Any]", new)
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                return difference(old.get(key), new.get(key), f"{at}.{key}" if at else key)
    if isinstance(old, list) and isinstance(new, list) and len(cast("list[Any]", old)) == len(cast("list[Any]", new)):
        for index, (a, b) in enumerate(zip(cast("list[Any]", old), cast("list[Any]", new), strict=True)):
            if a != b:
                return difference(a, b, f"{at}[{index}]")
    return f"{at}: {old!r:.60} there, {new!r:.60} here"

"""What there is to publish: a model, a run, what `ganzoo train` left, or a bench, as the files of repositories."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, final

from ganzoo.errors import ModelError, UsageError
from ganzoo.origin import CONFIG, FILES, METRICS, check_sums, read_config, read_json

Kind = Literal["model", "space"]
Json = dict[str, Any]

LEADERBOARD: Final = "leaderboard.json"
PAGE: Final = "index.html"


@final
@dataclass(frozen=True)
class Item:
    """What becomes one repository: files by name, and the one-entry leaderboard that a model's card is made from."""

    name: str
    files: Mapping[str, Path]
    kind: Kind = "model"
    board: Json = field(default_factory=dict[str, Any])
    title: str = ""


def items(folders: Sequence[Path], into: Path) -> list[Item]:
    """What the folders hold: of a bench all models and the leaderboard; else one model each.

    Files that have to be made are made in ``into``.

    Raises:
        ModelError: a folder holds nothing of the kind, or something that is damaged.
    """
    found: list[Item] = []
    for folder in folders:
        if (folder / LEADERBOARD).is_file():
            found += of_bench(folder)
        else:
            found.append(_of_folder(folder, into / str(len(found))))
    names = [item.name for item in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"two of the models are called {min(twice)}, and would be one repository: publish one of them")
    return found


def of_bench(folder: Path) -> list[Item]:
    """Every model of a bench, and its leaderboard."""
    board = _board(folder / LEADERBOARD)
    paths, inside = (
        [folder / str(e["model"]) for e in board["entries"] if e.get("model")],
        (folder / "models").resolve(),
    )
    for path in paths:
        if path.resolve() == inside or not path.resolve().is_relative_to(inside):
            raise ModelError(f"{folder / LEADERBOARD} names a model that is not among its models: {path}")
    models = [model_in(path) for path in paths]
    # After its folder, which is the suite's if nobody said otherwise: a selection does not take the suite's place.
    suite = re.sub(r"[^A-Za-z0-9]+", "-", folder.resolve().name).strip("-") or "bench"
    files = {name: folder / name for name in (PAGE, LEADERBOARD) if _ordinary(folder / name)}
    return [*models, Item(f"ganzoo-leaderboard-{suite}", files, "space", title=f"ganzoo leaderboard: {suite}")]


def model_in(folder: Path, board: Json | None = None) -> Item:
    """The model in its own folder, if it is whole."""
    config = read_config(folder)
    files = {name: folder / name for name in FILES if _ordinary(folder / name)}
    check_sums(folder)
    if board is None:
        board = _board(files[METRICS]) if METRICS in files else _from_config(config)
    return Item(repository_name(config["recipe"]["name"]), files, board=board)


def _ordinary(path: Path) -> bool:
    """Whether it is a file of this very folder: a link may lead to what nobody meant to publish."""
    if path.is_symlink() and path.resolve().parent != path.parent.resolve():
        raise UsageError(f"{path} is a link out of its folder, and is not published: put the file itself there")
    return path.is_file()


def repository_name(recipe: str) -> str:
    """A recipe's name as the Hub takes it."""
    return re.sub(r"-{2,}", "-", recipe.replace("/", "-"))


def _board(path: Path) -> Json:
    try:
        board = read_json(path)
        if board["format"] != 1 or not all("recipe" in entry for entry in board["entries"]):
            raise ValueError("it has another format")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(
            f"{path} is no leaderboard of this version of ganzoo: {type(error).__name__}: {error}"
        ) from None
    return board


def _of_folder(folder: Path, into: Path) -> Item:
    """A model's folder as it is; that of a run or of `ganzoo train` with a card of all its seeds."""
    if (folder / CONFIG).is_file():
        return model_in(folder)
    from ganzoo.bench import of_training

    runs = sorted((path.parent for path in folder.glob("seed-*/result.json")), key=lambda run: int(run.name[5:]))
    runs = runs or ([folder] if (folder / "result.json").is_file() else [])
    if not runs:
        raise ModelError(f"{folder} holds no model, no run and no bench: there is nothing to publish")
    of_training(runs, into)
    return model_in(into)


def _from_config(config: Json) -> Json:
    """The leaderboard of a model of which no more is known than its configuration says."""
    metrics = config.get("metrics") or {}
    recipe = config["recipe"]
    method, _, dataset = recipe["name"].partition(".")
    entry = {
        "recipe": recipe["name"],
        "method": method,
        "dataset": dataset,
        "digest": "",
        "definition": recipe,
        "translates": config.get("translates") is True,
        "paper": _paper(method),
        "needs": config.get("needs") or {},
        "changed": config.get("weights") == "changed after training",
        "runs": [{"seed": config.get("seed"), "status": "finished", "step": config.get("step")}],
        "metrics": {
            name: {"how": "", "last": {"mean": value, "half_width": None, "values": [value]}}
            for name, value in metrics.items()
        },
    }
    described: Json = {}
    if metrics:
        from ganzoo.bench import describe  # which imports torch

        described = {name: describe(name) for name in metrics}
    board = {"format": 1, "created": config.get("when"), "suite": None, "seeds": 1, "metrics": described, "floors": {}}
    return {**board, "environment": config.get("environment") or {}, "entries": [entry]}


def _paper(method: str) -> Json | None:
    from ganzoo.plugins import registry

    with suppress(UsageError):
        paper = registry().find("method", method).paper
        return {**asdict(paper), "bibtex": paper.bibtex()} if paper else None
    return None

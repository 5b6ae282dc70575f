"""Where a model is, and which files it has: a folder here, or a repository on the Hub, whose files are fetched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from ganzoo.errors import ModelError, OptionError
from ganzoo.files import sha256_of
from ganzoo.part import as_object
from ganzoo.registry import RECIPE_NAME

if TYPE_CHECKING:
    from ganzoo.hub import Cache, Heard, Reference

FORMAT: Final = 1
CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
CRITIC: Final = "discriminator.safetensors"
METRICS: Final = "metrics.json"
SAMPLES: Final = "samples.png"
CARD: Final = "README.md"

#: All that a model's folder may hold, and all that is ever fetched or sent.
FILES: Final = (CONFIG, WEIGHTS, CRITIC, METRICS, SAMPLES, CARD)
#: Bytes that a download may have, unless the user allows more.
MOST: Final = 2 * 10**9
#: No configuration comes near this size; a larger one is not read.
MOST_JSON: Final = 16 * 2**20


@final
@dataclass(frozen=True)
class Origin:
    """Where a model is: a folder, which for one from the Hub is that of its commit in the cache."""

    folder: Path
    reference: Reference | None = None
    cache: Cache | None = None
    most: int = MOST

    def __str__(self) -> str:
        return str(self.reference or self.folder)

    def file(self, name: str) -> Path:
        """Where a file of it is, fetched if need be; `ModelError` if it has none of that name."""
        found = self.find(name)
        if found is None:
            raise ModelError(f"{self} has no {name}")
        return found

    def find(self, name: str) -> Path | None:
        """The same; none if it has none of that name."""
        if self.reference is not None and not (self.folder / name).exists():
            self._fetch(name)
        return self.folder / name if (self.folder / name).is_file() else None

    def _fetch(self, name: str) -> None:
        """Have this file in the folder too, where the Hub has it; `HubError` where that cannot be known."""
        from ganzoo import hub

        assert self.reference is not None
        at, cache = hub.Reference(self.reference.repo, self.folder.name), self.cache or hub.Cache()
        if not cache.decided(at, name):
            cache = hub.Cache(cache.token, cache.cache_dir, local_files_only=cache.local_files_only)
            if cache.offline:
                raise hub.HubError(f"{at}: whether it has {name} is not known offline. Download it once while online")
            hub.fetch(at, (CONFIG,), (name,), cache=cache, most=self.most)


def locate(
    path: str | PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | PathLike[str] | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    max_bytes: int = MOST,
    optional: tuple[str, ...] = (),
    heard: Heard = lambda what: None,
) -> Origin:
    """Where the model is that ``path`` means: a folder that exists, else one on the Hub, which is fetched."""
    text = str(path)
    if Path(text).exists():
        if revision is not None:
            raise OptionError(
                f"{text} is a folder here, and has no revisions; revision={revision!r} goes with a model on the Hub"
            )
        if not Path(text).is_dir():
            raise ModelError(f"{text} is no folder, and a model is one")
        return Origin(_model_in(Path(text)))
    # A path is no name on the Hub, and the client need not be imported.
    if isinstance(path, PathLike) or text.startswith(("/", ".", "~")) or "/" not in text:
        return Origin(Path(text))
    from ganzoo import hub

    reference = hub.Reference.parse(text, revision)
    if reference is None:
        return Origin(Path(text))
    cache = hub.Cache(token, str(cache_dir) if cache_dir else None, force_download, local_files_only)
    try:
        folder = hub.fetch(reference, (CONFIG, WEIGHTS), optional, cache=cache, most=max_bytes, heard=heard)
    except hub.HubError as error:
        raise type(error)(f"{error} (and there is no folder {text} here)") from error
    return Origin(folder, reference, cache, max_bytes)


def _model_in(folder: Path) -> Path:
    for inner in (folder, folder / "model", folder / "seed-0" / "model"):
        if (inner / CONFIG).exists():
            return inner
    return folder


def check_sums(folder: Path) -> None:
    """Compare the weights in a folder with what its configuration says of them; `ModelError` where they differ."""
    sums = read_config(folder)["sha256"]
    for name in (WEIGHTS, *([CRITIC] if CRITIC in sums and (folder / CRITIC).exists() else [])):
        check_sum(folder / name, sums)


def check_sum(path: Path, sums: Mapping[str, Any]) -> None:
    """Compare a file of weights with what the configuration says of it; `ModelError` where they differ."""
    if not path.exists():
        raise ModelError(f"{path.parent} holds no model: {why_not(path.parent, path.name)}")
    if not path.is_file():
        raise ModelError(f"{path} is no ordinary file")
    if sha256_of(path) != sums.get(path.name):
        again = "; `ganzoo download ORG/NAME --force` fetches it again" if "snapshots" in path.parts else ""
        raise ModelError(f"{path} is damaged: its checksum is not the one in {CONFIG}{again}")


def read_config(folder: Path) -> dict[str, Any]:
    """What ``config.json`` says, with the fields that everything relies on; `ModelError` if it is not one."""
    path = folder / CONFIG
    try:
        config = dict(as_object(read_json(path), CONFIG))
        if config.get("format") != FORMAT:
            raise OptionError(f"it is not of a ganzoo model of format {FORMAT}; another ganzoo may have another format")
        for name in ("sha256", "generator", "recipe"):
            config[name] = as_object(config.get(name, {} if name != "recipe" else None), name)
        as_object(config["recipe"].get("dataset"), "the recipe's dataset")
        if not isinstance(config["recipe"].get("name"), str) or not RECIPE_NAME.fullmatch(config["recipe"]["name"]):
            raise OptionError("its recipe has no name, or one that is none")
    except FileNotFoundError:
        raise ModelError(f"{folder} holds no model: {why_not(folder, CONFIG)}") from None
    except (ValueError, OSError, OptionError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    return config


def read_json(path: Path) -> Any:
    """What an ordinary file of a sane size holds."""
    if path.exists() and not path.is_file():  # a pipe, say, or a device that never ends
        raise ValueError("it is no ordinary file")
    if path.stat().st_size > MOST_JSON:
        raise ValueError(f"it has more than {MOST_JSON:,} bytes")
    return json.loads(path.read_bytes())


def why_not(folder: Path, missing: str) -> str:
    if not folder.exists():
        return "there is no such folder"
    for result in (folder / "result.json", folder / "seed-0" / "result.json"):
        with suppress(OSError, ValueError, AttributeError):
            if (status := json.loads(result.read_bytes()).get("status")) != "finished":
                return f"its run {status}"
    return f"{missing} is missing"

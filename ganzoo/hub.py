"""Models on the Hugging Face Hub: fetching their files into the client's cache, and finding them.

Of a stranger's repository only files that are named are fetched; their sizes are known before and their contents
compared after.
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub import errors as hf
from huggingface_hub import hf_hub_download as hub_download
from huggingface_hub.utils import are_progress_bars_disabled, tqdm

import ganzoo
from ganzoo.errors import HubError
from ganzoo.files import sha256_of
from ganzoo.hub_client import (
    API,
    COMMIT,
    HASH,
    REPO,
    SHORT,
    Heard,
    Reference,
    endpoint,
    guard,
    persistently,
    plainly,
    reason,
    worth_waiting,
)

TAG: Final = "ganzoo"
#: More models than these are not listed: a server may have no end of them.
MOST_FOUND: Final = 10_000
#: How often a branch may move while it is fetched.
MOVES: Final = 3


# Fetching


@final
@dataclass(frozen=True)
class Cache:
    """How files are looked for: the keywords of `huggingface_hub.hf_hub_download` that people know."""

    token: str | bool | None = field(default=None, repr=False)
    cache_dir: str | Path | None = None
    force_download: bool = False
    local_files_only: bool = False

    def __reduce__(self) -> tuple[type[Cache], tuple[Any, ...]]:
        """A token does not travel."""
        return Cache, (None, self.cache_dir, self.force_download, self.local_files_only)

    @property
    def offline(self) -> bool:
        return self.local_files_only or constants.HF_HUB_OFFLINE

    def held(self, reference: Reference, name: str) -> Path | None:
        """The copy of a file that is in the cache."""
        found = try_to_load_from_cache(reference.repo, name, self.cache_dir, reference.revision)
        return Path(found) if isinstance(found, str) else None

    def decided(self, reference: Reference, name: str) -> bool:
        """Whether the cache knows the file, or knows that there is none."""
        return try_to_load_from_cache(reference.repo, name, self.cache_dir, reference.revision) is not None


@final
@dataclass(frozen=True)
class _Remote:
    """What a server says of a file before it is fetched."""

    commit: str
    etag: str
    size: int


def fetch(
    reference: Reference,
    required: Sequence[str],
    optional: Sequence[str] = (),
    *,
    cache: Cache,
    most: int,
    heard: Heard = lambda what: None,
) -> Path:
    """The folder in the client's cache that holds these files of one commit, and perhaps others.

    What is there already is not fetched again; for a commit (`Reference.pinned`) that is in the cache nobody is asked.
    Where the Hub cannot be reached, the copy that the cache has of a branch or a tag is used, and ``heard`` told so.

    Args:
        reference: which repository and revision; all files come from one commit of it.
        required: files that must be there.
        optional: files that are fetched if they are there.
        most: bytes that may be fetched, all files together.

    Raises:
        HubError: no such repository, revision or file; no right to it; more bytes than ``most``; the Hub does not
            answer; or what arrived is not what the Hub had said.
    """
    with plainly(str(reference)):
        if cache.offline:
            if cache.force_download:
                raise HubError(f"{reference}: it cannot be downloaded again offline")
            return _from_cache(reference, required, cache, "HF_HUB_OFFLINE is set, or only local files were asked for")
        if reference.pinned and not cache.force_download and _complete(reference, required, optional, cache):
            return _from_cache(reference, required, cache)
        for _ in range(MOVES):
            try:
                first = _first(reference, required, cache, heard)
            except _Unreachable as error:
                folder = _from_cache(reference, required, cache)
                heard(f"{reason(error.why)}: using the copy of {reference} in the cache, commit {folder.name[:12]}")
                return folder
            except hf.EntryNotFoundError as error:
                raise _no_model(reference, required[0]) from error
            at = Reference(reference.repo, first.commit)
            _fetch_missing(reference, at, {required[0]: first}, required, optional, cache, most, heard)
            if _remembered(reference, at, required[0], cache, heard):
                return _from_cache(at, required, cache)
    raise HubError(f"{reference}: it changes faster than it is downloaded; try again later")


def _no_model(reference: Reference, missing: str) -> HubError:
    return HubError(f"{reference}: it has no {missing}, so it is no model of ganzoo's")


class _Unreachable(Exception):
    def __init__(self, why: Exception) -> None:
        self.why = why


def _from_cache(reference: Reference, required: Sequence[str], cache: Cache, why: str = "it was taken away") -> Path:
    held = [cache.held(reference, name) for name in required]
    there = [path for path in held if path is not None]
    if len(there) < len(held):
        missing = next(name for name, path in zip(required, held, strict=True) if path is None)
        raise HubError(f"{reference}: its {missing} is not in the cache, and {why}. Download it once while online")
    return there[0].parent


def _complete(reference: Reference, required: Sequence[str], optional: Sequence[str], cache: Cache) -> bool:
    return all(cache.held(reference, n) for n in required) and all(cache.decided(reference, n) for n in optional)


def _first(reference: Reference, required: Sequence[str], cache: Cache, heard: Heard) -> _Remote:
    """What the reference means now. With a copy in the cache nobody waits for a Hub that is away."""
    held = not cache.force_download and _complete(reference, required, (), cache)
    delays = () if held else SHORT
    try:
        return persistently(lambda: _head(reference, required[0], cache), delays=delays, heard=heard)
    except Exception as error:
        if held and worth_waiting(error) is not None:
            raise _Unreachable(error) from error
        raise


def _remembered(asked: Reference, at: Reference, name: str, cache: Cache, heard: Heard) -> bool:
    """Have the cache know what a branch means, for when nobody can be asked; false if that is another commit by now."""
    held = cache.held(asked, name)
    if held is None or held.parent.name != at.revision:
        held = persistently(lambda: _download(asked, name, cache), heard=heard)
    return held.parent.name == at.revision


def _head(reference: Reference, name: str, cache: Cache) -> _Remote:
    guard()
    url = hf_hub_url(reference.repo, name, revision=reference.revision)
    said = get_hf_file_metadata(url, token=cache.token, library_name="ganzoo", library_version=ganzoo.__version__)
    commit, etag = str(said.commit_hash), str(said.etag)
    # Both become names in the cache, so nothing but a hash will do.
    if not COMMIT.fullmatch(commit) or not HASH.fullmatch(etag) or said.size is None or said.size < 0:
        raise HubError(
            f"{reference}: what {endpoint()} says of {name} is not what a Hub says: no commit, hash and size"
        )
    if reference.pinned and commit != reference.revision:
        raise HubError(f"{reference}: {endpoint()} has {name} of another commit, {commit}")
    return _Remote(commit, etag, said.size)


def _fetch_missing(
    asked: Reference,
    at: Reference,
    known: Mapping[str, _Remote],
    required: Sequence[str],
    optional: Sequence[str],
    cache: Cache,
    most: int,
    heard: Heard,
) -> None:
    todo: dict[str, _Remote] = {}
    for name in (*required, *optional):
        if not cache.force_download and cache.decided(at, name):
            continue
        try:
            todo[name] = known.get(name) or persistently(lambda name=name: _head(at, name, cache), heard=heard)
        except hf.EntryNotFoundError as error:
            if name in required:
                raise _no_model(asked, name) from error
            with suppress(hf.EntryNotFoundError):  # the client keeps in mind that this commit has none
                _download(at, name, cache)
    if (total := sum(remote.size for remote in todo.values())) > most:
        raise HubError(
            f"{asked} has {in_bytes(total)} to download, more than the {in_bytes(most)} that are allowed. Allow more "
            "with `ganzoo download --max-size`, or max_bytes= in Python"
        )
    for name, remote in todo.items():
        persistently(lambda name=name, remote=remote: _get(at, name, remote, cache), heard=heard)


def _download(reference: Reference, name: str, cache: Cache, **more: Any) -> Path:
    options: dict[str, Any] = {"token": cache.token, "cache_dir": cache.cache_dir, **more}
    return download(reference.repo, name, reference.revision, **options)


def download(repo: str, name: str, revision: str, **options: Any) -> Path:
    """What the client downloads into its cache."""
    guard()
    return Path(hub_download(repo, name, revision=revision, library_name="ganzoo", **options))


def _get(at: Reference, name: str, remote: _Remote, cache: Cache) -> None:
    """Fetch a file into the cache, and see that it is what the Hub says it is."""
    path = _download(at, name, cache, force_download=cache.force_download, tqdm_class=bar(name, remote.size))
    if path.parent.name != at.revision:
        raise HubError(f"{at.repo}: {endpoint()} has {name} of another commit than {at.revision}")
    if not _is(path, remote):
        target = path.resolve()
        for damaged in {path, target}:
            damaged.unlink(missing_ok=True)
        raise HubError(
            f"{at.repo}: {name} arrived damaged: its hash is not the one that {endpoint()} gives. It was not kept; the "
            "same command again downloads it again"
        )


def _is(path: Path, remote: _Remote) -> bool:
    """Whether a file has the hash that names it: sha256 where it is stored apart, else git's of the blob."""
    if path.stat().st_size != remote.size:
        return False
    return (sha256_of(path) if len(remote.etag) == 64 else git_hash(path)) == remote.etag


def git_hash(content: Path | bytes) -> str:
    """The name that git gives a blob: ``sha1("blob SIZE\\0" + content)``."""
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def bar(name: str, most: int) -> type[tqdm]:
    """A progress bar, where somebody looks, that also ends a download over HTTP which brings more than was said."""

    class Bar(tqdm):  # pyright: ignore[reportUntypedBaseClass, reportMissingTypeArgument]
        def __init__(self, *args: Any, **options: Any) -> None:
            hidden = are_progress_bars_disabled() or not sys.stderr.isatty()
            super().__init__(*args, **{**options, "disable": hidden or options.get("disable")})
            self.came = options.get("initial") or 0
            self.http = options.get("name") in (None, "huggingface_hub.http_get")  # others count other things

        def update(self, n: float | None = 1) -> bool | None:
            self.came += n or 0
            if self.http and self.came > most:
                raise HubError(f"more than {in_bytes(most)} of {name} arrive, and no more was announced or is allowed")
            return super().update(n)

    return Bar


def in_bytes(size: float) -> str:
    """A number of bytes as people say it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.4g} TB"


# Finding


def search(org: str | None, token: str | bool | None = None) -> list[dict[str, Any]]:
    """The models on the Hub that are ganzoo's, as plain data, the newest first: at most `MOST_FOUND` of them."""
    if constants.HF_HUB_OFFLINE:
        raise HubError("HF_HUB_OFFLINE is set: nobody can be asked what is on the Hub")
    with plainly(f"the models of {org}" if org else "the models on the Hub"):
        found = persistently(
            lambda: list(
                API.list_models(filter=TAG, author=org, token=token, full=True, sort="last_modified", limit=MOST_FOUND)
            ),
            delays=SHORT[:1],  # the client tries again by itself here
        )
    return [
        {
            "id": model.id,
            "downloads": model.downloads if isinstance(model.downloads, int) else None,
            "modified": model.last_modified.isoformat() if model.last_modified else None,
            "private": bool(model.private),
            "tags": [tag for tag in map(str, model.tags or ()) if tag != TAG and ":" not in tag],
        }
        for model in found
        if REPO.fullmatch(str(model.id)) and isinstance(model.tags or [], list)
    ]

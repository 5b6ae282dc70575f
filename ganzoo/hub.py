"""The Hugging Face Hub as ganzoo uses it: names of models there, fetching their files, finding them.

The client is `huggingface_hub`, with its cache and its variables (``HF_HOME``, ``HF_TOKEN``, ``HF_ENDPOINT``,
``HF_HUB_OFFLINE``). Added here is what a stranger's files need: only files that are named are fetched, their sizes are
known before and their contents compared after; and what a network needs: whatever fails by chance is tried again.
"""

from __future__ import annotations

import hashlib
import io
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, final

from huggingface_hub import (
    HfApi,
    constants,
    get_hf_file_metadata,
    get_session,
    get_token,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub import errors as hf
from huggingface_hub import hf_hub_download as hub_download
from huggingface_hub.utils import are_progress_bars_disabled, tqdm

import ganzoo
from ganzoo.errors import GanzooError, HubError, UsageError

T = TypeVar("T")
Heard = Callable[[str], None]

#: Seconds between tries, each a little longer by chance so that many clients do not come back together.
DELAYS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
#: Seconds after which nothing is begun again, and the longest that a server is obeyed which says when to come back.
PATIENCE: Final = 60.0
TAG: Final = "ganzoo"
#: More models than these are not listed: a server may have no end of them.
MOST_FOUND: Final = 10_000

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_HASH: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PIECE: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_REPO: Final = re.compile(rf"(?!.*(?:--|\.\.))(?=.{{3,96}}\Z){_PIECE}/{_PIECE}")
_REVISION: Final = re.compile(r"(?!.*\.\.)[\w][\w./+-]*")
_PREFIX: Final = "hf-hub:"
_AGAIN: Final = (408, 425, 429, 500, 502, 503, 504)
#: What the client raises where an answer is not made as it should be, or brings more than there is room for.
_NONSENSE: Final = (AttributeError, LookupError, MemoryError, RuntimeError, TypeError)
#: The root of the errors of the client's HTTP library, which is another one in other versions of the client.
_HTTPError: Final[type[Exception]] = hf.HfHubHTTPError.__bases__[0]

API: Final = HfApi(library_name="ganzoo", library_version=ganzoo.__version__)


# Names


@final
@dataclass(frozen=True)
class Reference:
    """A repository of models, and a branch, tag or commit of it."""

    repo: str
    revision: str = constants.DEFAULT_REVISION

    def __str__(self) -> str:
        return self.repo if self.revision == constants.DEFAULT_REVISION else f"{self.repo}@{self.revision}"

    @property
    def pinned(self) -> bool:
        """Whether it names a commit, which never changes."""
        return bool(_COMMIT.fullmatch(self.revision))

    @property
    def url(self) -> str:
        return f"{constants.ENDPOINT}/{self.repo}"

    @classmethod
    def parse(cls, text: str, revision: str | None = None) -> Reference | None:
        """What ``ORG/NAME``, ``ORG/NAME@REVISION`` or the same after ``hf-hub:`` means; none if it is no such name."""
        prefixed = text.startswith(_PREFIX)
        name, at, own = text.removeprefix(_PREFIX).partition("@")
        if not _REPO.fullmatch(name):
            if prefixed:
                raise UsageError(
                    f"{text!r:.120} names no model on the Hub: say hf-hub:ORG/NAME or hf-hub:ORG/NAME@REVISION"
                )
            return None
        if at and revision is not None and own != revision:
            raise UsageError(f"{text!r} and revision={revision!r} name two revisions; give one of them")
        wanted = own if at else revision
        if wanted is None:
            return cls(name)
        if not _REVISION.fullmatch(wanted):
            raise UsageError(f"{wanted!r:.120} is no revision: give a branch, a tag or a commit of {name}")
        return cls(name, wanted)


# What fails by chance


def persistently(do: Callable[[], T], *, delays: Sequence[float] = DELAYS, heard: Heard = lambda what: None) -> T:
    """What ``do`` returns, tried again after too many requests, a server's failure or a broken connection."""
    began = time.monotonic()
    for delay in (*delays, None):
        try:
            return do()
        except Exception as error:
            asked = _worth_waiting(error)
            if asked is None and isinstance(error, _NONSENSE):
                raise HubError(_reason(error)) from error
            if delay is None or asked is None or time.monotonic() - began > PATIENCE:
                raise
            wait = max(delay * random.uniform(1, 1.25), asked)
            heard(f"{_reason(error)}; trying again in {wait:.1f} s")
            time.sleep(wait)
    raise AssertionError


def _worth_waiting(error: BaseException) -> float | None:
    """The seconds that the server asks for, 0 where it does not say; none where trying again would change nothing."""
    response = getattr(error, "response", None)
    if response is not None:
        if response.status_code not in _AGAIN:
            return None
        asked = str(response.headers.get("Retry-After", ""))
        return min(float(asked), PATIENCE) if asked.isdecimal() else 0.0
    # The client's words for "not there, and cannot be asked for", and for a failed upload, have the reason in them.
    if isinstance(error, (hf.LocalEntryNotFoundError, RuntimeError)) and error.__cause__ is not None:
        return _worth_waiting(error.__cause__)
    # A file that ends early is an OSError of the client without a number.
    broken = isinstance(error, _HTTPError) or (isinstance(error, OSError) and "Consistency check" in str(error))
    return 0.0 if broken else None


@contextmanager
def plainly(what: str) -> Iterator[None]:
    """The client's errors as one line that says what was wrong and what to do about it, with no token in it."""
    try:
        yield
    except HubError as error:
        raise HubError(without_token(str(error) if what in str(error) else f"{what}: {error}")) from error
    except GanzooError:
        raise
    except hf.HFValidationError as error:
        raise UsageError(without_token(f"{what}: {error}")) from error
    except (_HTTPError, hf.EntryNotFoundError, hf.FileMetadataError, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.filename is not None:  # a full disk, a cache that may not be written
            raise
        raise HubError(without_token(f"{what}: {_reason(error)}")) from error
    except ValueError as error:  # the client's word for a card that the Hub refuses, or an answer that is no JSON
        raise HubError(without_token(f"{what}: {_one_line(error)}")) from error


def _reason(error: BaseException) -> str:
    if isinstance(error, hf.GatedRepoError):
        return "its owner asks for consent first: give it on its page, then set HF_TOKEN or run `hf auth login`"
    if isinstance(error, hf.RepositoryNotFoundError):
        hidden = "your token may not see it" if get_token() else "it is private: set HF_TOKEN or run `hf auth login`"
        return f"there is none of this name on {endpoint()}, or {hidden}"
    if isinstance(error, hf.RevisionNotFoundError):
        return "it has no such revision (branch, tag or commit)"
    if isinstance(error, hf.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, and it is not in the cache"
    if isinstance(error, (hf.LocalEntryNotFoundError, RuntimeError)) and error.__cause__ is not None:
        return _reason(error.__cause__)
    if isinstance(error, hf.LocalEntryNotFoundError):
        return "it is not in the cache"
    response = getattr(error, "response", None)
    if response is None:
        return f"{endpoint()} does not answer properly ({type(error).__name__}: {_one_line(error)})"
    said = _one_line(getattr(error, "server_message", None) or response.headers.get("X-Error-Message") or "")
    said = f" ({said})" if said else ""
    status = response.status_code
    if status == 401:
        return f"{endpoint()} does not accept the token{said}: set HF_TOKEN or run `hf auth login`"
    if status == 403:
        return f"the token may not do this{said}: it takes one with the right to write there"
    if status == 429:
        return f"{endpoint()} has had too many requests{said}"
    return f"{endpoint()} answered {status}{said}"


def endpoint() -> str:
    """The Hub's address, without a password that may be in it."""
    return re.sub(r"//[^/@]*@", "//", constants.ENDPOINT)


def without_token(text: str) -> str:
    """``text`` with nothing in it that is a token or looks like one."""
    for token in filter(None, (get_token(),)):
        text = text.replace(token, "hf_…")
    return re.sub(r"hf_[A-Za-z0-9]{8,}", "hf_…", text)


def _one_line(what: object) -> str:
    """Without line breaks and what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in str(what)).strip()[:300]


# Fetching


@final
@dataclass(frozen=True)
class Cache:
    """How files are looked for: the keywords of `huggingface_hub.hf_hub_download` that people know."""

    token: str | bool | None = None
    cache_dir: str | Path | None = None
    force_download: bool = False
    local_files_only: bool = False

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
            return _from_cache(reference, required, cache)
        if reference.pinned and not cache.force_download and _complete(reference, required, optional, cache):
            return _from_cache(reference, required, cache)
        try:
            first = _first(reference, required[0], cache, heard)
        except _Unreachable as error:
            folder = _from_cache(reference, required, cache)
            heard(f"{_reason(error.why)}: using the copy of {reference} in the cache, commit {folder.name[:12]}")
            return folder
        except hf.EntryNotFoundError as error:
            raise _no_model(reference, required[0]) from error
        at = Reference(reference.repo, first.commit)
        _fetch_missing(reference, at, {required[0]: first}, required, optional, cache, most, heard)
        return _from_cache(at, required, cache)


def _no_model(reference: Reference, missing: str) -> HubError:
    return HubError(f"{reference}: it has no {missing}, so it is no model of ganzoo's")


class _Unreachable(Exception):
    def __init__(self, why: Exception) -> None:
        self.why = why


def _from_cache(reference: Reference, required: Sequence[str], cache: Cache) -> Path:
    held = [cache.held(reference, name) for name in required]
    there = [path for path in held if path is not None]
    if len(there) < len(held):
        missing = next(name for name, path in zip(required, held, strict=True) if path is None)
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "only local files were asked for"
        raise HubError(f"{reference}: its {missing} is not in the cache, and {why}. Download it once while online")
    return there[0].parent


def _complete(reference: Reference, required: Sequence[str], optional: Sequence[str], cache: Cache) -> bool:
    return all(cache.held(reference, n) for n in required) and all(cache.decided(reference, n) for n in optional)


def _first(reference: Reference, name: str, cache: Cache, heard: Heard) -> _Remote:
    """What the reference means now. With a copy in the cache nobody waits for a Hub that is away."""
    held = not cache.force_download and cache.held(reference, name) is not None
    try:
        return persistently(lambda: _head(reference, name, cache), delays=() if held else DELAYS, heard=heard)
    except Exception as error:
        if held and _worth_waiting(error) is not None:
            raise _Unreachable(error) from error
        raise


def _head(reference: Reference, name: str, cache: Cache) -> _Remote:
    guard()
    url = hf_hub_url(reference.repo, name, revision=reference.revision)
    said = get_hf_file_metadata(url, token=cache.token, library_name="ganzoo", library_version=ganzoo.__version__)
    commit, etag = str(said.commit_hash), str(said.etag)
    # Both become names in the cache, so nothing but a hash will do.
    if not _COMMIT.fullmatch(commit) or not _HASH.fullmatch(etag) or said.size is None or said.size < 0:
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
    if (total := sum(remote.size for remote in todo.values())) > most:
        raise HubError(
            f"{asked} has {in_bytes(total)} to download, more than the {in_bytes(most)} that are allowed. Allow more "
            "with --max-size (max_bytes= in Python)"
        )
    for name, remote in todo.items():
        persistently(lambda name=name, remote=remote: _get(at, name, remote, cache), heard=heard)
    held = cache.held(asked, required[0])
    if held is None or held.parent.name != at.revision:  # the cache is told what a branch means, for later offline
        persistently(lambda: _download(asked, required[0], cache), heard=heard)


def _download(reference: Reference, name: str, cache: Cache, **more: Any) -> Path:
    options: dict[str, Any] = {"token": cache.token, "cache_dir": cache.cache_dir, **more}
    return download(reference.repo, name, reference.revision, **options)


def download(repo: str, name: str, revision: str, **options: Any) -> Path:
    """What the client downloads into its cache."""
    guard()
    return Path(hub_download(repo, name, revision=revision, library_name="ganzoo", **options))


def guard() -> None:
    """Have the client's session refuse answers whose commit or hash is a path: the client makes paths of them, and asks
    for them itself, whatever it was told before."""
    session = get_session()
    if _no_path not in session.event_hooks["response"]:
        session.event_hooks = {**session.event_hooks, "response": [_no_path, *session.event_hooks["response"]]}


def _no_path(response: Any) -> None:
    for name in ("X-Repo-Commit", "X-Linked-ETag", "ETag"):
        said = str(response.headers.get(name, "")).removeprefix("W/").strip('"')
        if not re.fullmatch(r"[\w.:+=-]*", said) or said.startswith("."):
            raise HubError(f"what {endpoint()} says is not what a Hub says: its {name} is no hash")


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


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_hash(content: Path | bytes) -> str:
    """The name that git gives a blob: ``sha1("blob SIZE\\0" + content)``."""
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def bar(name: str, most: int) -> type[tqdm]:
    """A progress bar that also ends a download which brings more than was said; shown where somebody looks."""

    class Bar(tqdm):  # pyright: ignore[reportUntypedBaseClass, reportMissingTypeArgument]
        def __init__(self, *args: Any, **options: Any) -> None:
            hidden = are_progress_bars_disabled() or not sys.stderr.isatty()
            super().__init__(*args, **{**options, "disable": hidden or options.get("disable")})
            self.came = options.get("initial") or 0

        def update(self, n: float | None = 1) -> bool | None:
            self.came += n or 0
            if self.came > most:
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
            )
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
        if _REPO.fullmatch(str(model.id)) and isinstance(model.tags or [], list)
    ]

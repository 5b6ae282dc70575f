"""The client of the Hugging Face Hub, with what it lacks: names, patience, plain words, and no trust in answers.

`huggingface_hub` talks to the Hub, by its own variables (``HF_HOME``, ``HF_TOKEN``, ``HF_ENDPOINT``,
``HF_HUB_OFFLINE``). It tries little again of what fails by chance, and makes paths of what a server says.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar, final

from huggingface_hub import HfApi, constants, get_session, get_token
from huggingface_hub import errors as hf

import ganzoo
from ganzoo.errors import GanzooError, HubError, UsageError

T = TypeVar("T")
Heard = Callable[[str], None]

#: Seconds between tries, each a little longer by chance so that many clients do not come back together.
DELAYS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
#: The same where somebody waits for an answer and a Hub that is away is likely to stay away.
SHORT: Final = (0.5, 1.0, 2.0)
#: Seconds after which nothing is begun again, and the longest that a server is obeyed which says when to come back.
PATIENCE: Final = 60.0

COMMIT: Final = re.compile(r"[0-9a-f]{40}")
HASH: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
REVISION: Final = re.compile(r"(?!.*\.\.)[\w][\w./+-]*")
_PIECE: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
REPO: Final = re.compile(rf"(?!.*(?:--|\.\.))(?=.{{3,96}}\Z){_PIECE}/{_PIECE}")
_PREFIX: Final = "hf-hub:"
_AGAIN: Final = (408, 425, 429, 500, 502, 503, 504)
#: What the client raises where an answer is not made as it should be, or brings more than there is room for.
_NONSENSE: Final = (AttributeError, LookupError, MemoryError, RuntimeError, TypeError)
#: The root of the errors of the client's HTTP library, which is another one in other versions of the client.
HTTPError: Final[type[Exception]] = hf.HfHubHTTPError.__bases__[0]

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
        return bool(COMMIT.fullmatch(self.revision))

    @classmethod
    def parse(cls, text: str, revision: str | None = None) -> Reference | None:
        """What ``ORG/NAME``, ``ORG/NAME@REVISION`` or the same after ``hf-hub:`` means; none if it is no such name."""
        prefixed = text.startswith(_PREFIX)
        name, at, own = text.removeprefix(_PREFIX).partition("@")
        if not REPO.fullmatch(name):
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
        if not REVISION.fullmatch(wanted):
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
            asked = worth_waiting(error)
            if delay is None or asked is None or time.monotonic() - began > PATIENCE:
                if isinstance(error, _NONSENSE):
                    raise HubError(reason(error)) from error
                raise
            wait = max(delay * random.uniform(1, 1.25), asked)
            heard(f"{reason(error)}; trying again in {wait:.1f} s")
            time.sleep(wait)
    raise AssertionError


def worth_waiting(error: BaseException) -> float | None:
    """The seconds that the server asks for, 0 where it does not say; none where trying again would change nothing."""
    response = getattr(error, "response", None)
    if response is not None:
        if response.status_code not in _AGAIN:
            return None
        asked = str(response.headers.get("Retry-After", ""))
        return min(float(asked), PATIENCE) if asked.isdecimal() else 0.0
    # The client's words for "not there, and cannot be asked for", and for a failed upload, have the reason in them.
    if isinstance(error, (hf.LocalEntryNotFoundError, RuntimeError)) and error.__cause__ is not None:
        return worth_waiting(error.__cause__)
    if isinstance(error, hf.OfflineModeIsEnabled):
        return None
    # A file that ends early is an OSError of the client without a number; hf_xet raises what Python has itself.
    early = isinstance(error, OSError) and "Consistency check" in str(error)
    broken = early or isinstance(error, (HTTPError, ConnectionError, TimeoutError)) or type(error) is RuntimeError
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
    except (HTTPError, hf.EntryNotFoundError, hf.FileMetadataError, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.filename is not None:  # a full disk, a cache that may not be written
            raise
        raise HubError(f"{what}: {reason(error)}") from error
    except ValueError as error:  # the client's word for a card that the Hub refuses, or an answer that is no JSON
        raise HubError(without_token(f"{what}: {one_line(error)}")) from error


def reason(error: BaseException) -> str:
    """What was wrong, in words, with no token in them."""
    return without_token(_reason(error))


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
        return reason(error.__cause__)
    if isinstance(error, hf.LocalEntryNotFoundError):
        return "it is not in the cache"
    response = getattr(error, "response", None)
    if response is None:
        return f"{endpoint()} does not answer properly ({type(error).__name__}: {one_line(error)})"
    said = one_line(getattr(error, "server_message", None) or response.headers.get("X-Error-Message") or "")
    said = f" ({said})" if said else ""
    status = response.status_code
    if status == 401:
        return f"{endpoint()} does not accept the token{said}: give another in HF_TOKEN or by `hf auth login`, or none"
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


def one_line(what: object) -> str:
    """Without line breaks and what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in str(what)).strip()[:300]


def guard() -> None:
    """Have the client's session refuse answers whose commit or hash is a path: the client makes paths of them, and asks
    for them itself, whatever it was told before."""
    session = get_session()
    if _no_path not in session.event_hooks["response"]:
        session.event_hooks = {**session.event_hooks, "response": [_no_path, *session.event_hooks["response"]]}


def _no_path(response: Any) -> None:
    for name in ("X-Repo-Commit", "X-Linked-ETag", "ETag"):
        said = str(response.headers.get(name, "")).removeprefix("W/").strip('"')
        if said.startswith(("/", ".", "~")) or ".." in said or "\\" in said or ":" in said[:3]:
            raise HubError(f"what {endpoint()} says is not what a Hub says: its {name} is no hash")

"""Publishing: models and leaderboards become repositories on the Hub.

What is sent is compared with what is there, so that a second time nothing is; each repository changes in one commit, or
not at all; and what fails by chance is tried again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, final

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, constants, get_token
from huggingface_hub import errors as hf
from jinja2 import TemplateError

from ganzoo import card, hub
from ganzoo.errors import GanzooError, HubError, ModelError, UsageError
from ganzoo.files import sha256, sha256_of
from ganzoo.hub import git_hash
from ganzoo.hub_client import API, COMMIT, DELAYS, REVISION, Heard, Reference, endpoint, persistently, plainly
from ganzoo.origin import CARD, CONFIG, FILES, METRICS, SAMPLES, WEIGHTS
from ganzoo.publishable import Item, Json, Kind, model_in

if TYPE_CHECKING:
    from ganzoo.model import Model

#: Bytes of a card on the Hub: a larger one is not one that people wrote, and is not read.
MOST_CARD: Final = 2**20
#: How often somebody else may change a repository in the moment in which we do.
RACES: Final = 3


@final
@dataclass(frozen=True)
class Sending:
    """How to publish.

    ``private`` counts where a repository is made, and is the owner's default where it is none; ``tag`` names the commit
    that holds all of it; ``license`` is one of the Hub's identifiers.
    """

    private: bool | None = None
    token: str | bool | None = field(default=None, repr=False)
    message: str | None = None
    create_pr: bool = False
    tag: str | None = None
    dry_run: bool = False
    license: str = "apache-2.0"


@final
@dataclass(frozen=True)
class Published:
    """What happened to a repository: what was sent, and the commit that holds all of it now."""

    repo: str
    kind: Kind
    what: Literal["created", "updated", "unchanged", "proposed", "would create", "would update", "would propose"]
    commit: str | None
    url: str
    sent: tuple[str, ...] = ()
    size: int = 0
    tag: str | None = None

    def __str__(self) -> str:
        at = f" at {self.commit[:12]}" if self.commit else ""
        files = f": {', '.join(self.sent)} ({hub.in_bytes(self.size)})" if self.sent else ""
        tag = f" (tag {self.tag})" if self.tag else ""
        return f"{self.what} {self.repo}{at}{tag}{files}  {self.url}"


def check(to: str, how: Sending) -> None:
    """Raise `UsageError` or `HubError` where nothing could ever be published in this way."""
    if how.tag and how.create_pr:
        raise UsageError("--tag names what is published, which --create-pr only proposes: give one of them")
    _repository(to if "/" in to else f"{to}/x")
    if how.tag is not None and not REVISION.fullmatch(how.tag):
        raise UsageError(f"{how.tag!r:.120} is no name of a tag")
    if not how.dry_run and constants.HF_HUB_OFFLINE:
        raise HubError("HF_HUB_OFFLINE is set: nothing can be published")
    if not how.dry_run and get_token() is None and not isinstance(how.token, str):
        raise HubError(f"publishing takes a token that may write to {to}: set HF_TOKEN or run `hf auth login`")


def _repository(name: str) -> str:
    reference = Reference.parse(name)
    if reference is None or str(reference) != name:
        raise UsageError(f"{name!r:.120} is no name of a repository: say NAMESPACE or NAMESPACE/NAME")
    return name


def destination(to: str, found: Sequence[Item]) -> list[str]:
    """The repositories that ``--to NAMESPACE`` (or, for one model, ``NAMESPACE/NAME``) means."""
    if "/" in to:
        if len(found) != 1:
            raise UsageError(f"{to} is one repository, and there are {len(found)} to publish: give a namespace alone")
        return [_repository(to)]
    return [_repository(f"{to}/{item.name}") for item in found]


def send(item: Item, repo: str, how: Sending, heard: Heard = lambda what: None) -> Published:
    """Make the repository hold what the item has. Nothing is sent that is there already."""
    with plainly(repo):
        for _ in range(RACES):
            try:
                return _send(item, repo, how, heard)
            except hf.HfHubHTTPError as error:
                if error.response.status_code != 412:
                    raise
                heard(f"{repo} changed in this moment; looking again")
    raise HubError(f"{repo}: somebody else keeps changing it; try again later")


def _send(item: Item, repo: str, how: Sending, heard: Heard) -> Published:
    there = _there(item, repo, how, heard)
    _may(there, repo, how)
    parent, held = (there.sha, _hashes(there)) if there is not None else (None, {})
    text = _card(item, repo, how, parent if CARD in held else None, heard)
    contents: dict[str, Path | bytes] = {**item.files, CARD: text}
    _no_token(contents, how)
    changed, gone = _difference(item, contents, held)
    sent, size = (*changed, *(f"−{name}" for name in gone)), sum(map(_size, changed.values()))
    url = f"{endpoint()}/{'spaces/' if item.kind == 'space' else ''}{repo}"

    def published(what: Any, commit: str | None, at: str = url) -> Published:
        return Published(repo, item.kind, what, commit, at, tuple(sent), size, how.tag)

    if how.dry_run:
        would = "propose" if how.create_pr else "create" if there is None else "update"
        return published(f"would {would}" if sent else "unchanged", parent)
    if there is None:
        persistently(lambda: _create(item, repo, how), heard=heard)
    elif not sent:
        _tag(item, repo, parent, how, heard)
        return published("unchanged", parent)
    heard(f"sending {', '.join(sent)} ({hub.in_bytes(size)}) to {repo}")
    made = _commit(item, repo, how, changed, gone, parent, heard)
    if how.create_pr:
        return published("proposed", made.oid, made.pr_url or url)
    _tag(item, repo, made.oid, how, heard)
    return published("created" if there is None else "updated", made.oid)


def _may(there: Any, repo: str, how: Sending) -> None:
    """Raise `HubError` where what is asked for does not go with what is there."""
    if there is not None and how.private and not there.private:
        raise HubError(f"{repo} is there already, and public: make it private on its page, or choose another name")
    if there is None and how.create_pr and not how.dry_run:
        raise HubError(f"{repo} is not there, so nothing can be proposed to it: publish without --create-pr")


def _difference(
    item: Item, contents: Mapping[str, Path | bytes], held: Mapping[str, str]
) -> tuple[dict[str, Path | bytes], list[str]]:
    """What has to be sent, and what has to go: all that is said there of other weights than these."""
    changed = {name: content for name, content in contents.items() if held.get(name) != _hash(content, held.get(name))}
    gone = [name for name in FILES if name in held and name not in contents and WEIGHTS in changed]
    return changed, gone if item.kind == "model" else []


def _commit(
    item: Item,
    repo: str,
    how: Sending,
    changed: Mapping[str, Path | bytes],
    gone: Sequence[str],
    parent: str | None,
    heard: Heard,
) -> Any:
    made = persistently(
        lambda: API.create_commit(
            repo,
            [
                *(CommitOperationAdd(name, str(c) if isinstance(c, Path) else c) for name, c in changed.items()),
                *(CommitOperationDelete(name) for name in gone),
            ],
            commit_message=how.message or f"Publish {item.name} with ganzoo",
            repo_type=item.kind,
            token=how.token,
            create_pr=how.create_pr,
            parent_commit=parent,
        ),
        delays=() if how.create_pr else DELAYS,  # one that was made and whose answer was lost would be made twice
        heard=heard,
    )
    if not COMMIT.fullmatch(str(made.oid)):
        raise HubError(f"{repo}: {endpoint()} took what was sent, and does not say at which commit it is")
    return made


def _there(item: Item, repo: str, how: Sending, heard: Heard) -> Any:
    """What the Hub says of the repository and its files; none where there is none that the token may see."""
    try:
        return persistently(
            lambda: API.repo_info(repo, repo_type=item.kind, files_metadata=True, token=how.token),
            delays=() if how.dry_run else DELAYS,
            heard=heard,
        )
    except hf.GatedRepoError:
        raise
    except hf.RepositoryNotFoundError:
        return None
    except Exception as error:
        if how.dry_run and (isinstance(error, hf.OfflineModeIsEnabled) or not hasattr(error, "response")):
            heard("the Hub cannot be asked what it has already")
            return None
        raise


def _create(item: Item, repo: str, how: Sending) -> None:
    sdk = "static" if item.kind == "space" else None
    API.create_repo(repo, repo_type=item.kind, private=how.private, space_sdk=sdk, exist_ok=True, token=how.token)


def _tag(item: Item, repo: str, commit: str | None, how: Sending, heard: Heard) -> None:
    if how.tag is None or commit is None:
        return
    refs = persistently(lambda: API.list_repo_refs(repo, repo_type=item.kind, token=how.token), heard=heard)
    held = {ref.name: ref.target_commit for ref in refs.tags}
    if held.get(how.tag, commit) != commit:
        raise HubError(
            f"{repo}: the files are published, at {commit[:12]}, but the tag {how.tag} names another commit, "
            f"{held[how.tag][:12]}, and stays there: choose another"
        )
    if how.tag not in held:
        tag = how.tag
        persistently(
            lambda: API.create_tag(repo, tag=tag, revision=commit, repo_type=item.kind, token=how.token, exist_ok=True),
            heard=heard,
        )


# Files


def _card(item: Item, repo: str, how: Sending, parent: str | None, heard: Heard) -> bytes:
    """The text of README.md, around what people wrote into the one on the Hub, or else into the one here."""
    here = item.files.get(CARD)
    old = here.read_text(encoding="utf-8", errors="replace") if here is not None else ""
    if parent is not None:
        remote = _remote_card(item, repo, how, parent)
        if card.own_words(remote) or item.kind == "space":
            if card.own_words(old) not in ("", card.own_words(remote)):
                heard(f"{repo}: its card there has words of its own, which stay; those in the {CARD} here are not sent")
            old = remote
        else:
            old = f"{_front(remote)}{card.split(old)[1]}"
    if item.kind == "space":
        return card.space(item.title, old).encode()
    try:
        made = {"samples": SAMPLES in item.files, "repo": repo, "license": how.license}
        return card.card(item.board, **made, old=old).encode()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, TemplateError) as error:
        why = f"{type(error).__name__}: {error}"
        raise ModelError(
            f"{item.name}: its {METRICS} or {CONFIG} is none that a card can be made from: {why}"
        ) from None


def _front(text: str) -> str:
    return text[: len(text) - len(card.split(text)[1])]


def _remote_card(item: Item, repo: str, how: Sending, commit: str) -> str:
    options: dict[str, Any] = {"repo_type": item.kind, "token": how.token, "tqdm_class": hub.bar(CARD, MOST_CARD)}
    path = persistently(lambda: hub.download(repo, CARD, commit, **options))
    return path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")


def _hashes(there: Any) -> dict[str, str]:
    """The hash of each file on the Hub: sha256 where it is stored apart, else git's of the blob."""
    return {
        file.rfilename: file.lfs.sha256 if file.lfs is not None else file.blob_id or "" for file in there.siblings or ()
    }


def _hash(content: Path | bytes, like: str | None) -> str:
    """Of the kind that ``like`` is."""
    if like is None:
        return "new"
    if len(like) == 64:
        return sha256(content) if isinstance(content, bytes) else sha256_of(content)
    return git_hash(content)


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _no_token(contents: Mapping[str, Path | bytes], how: Sending) -> None:
    """Refuse to publish a text that holds the very token that publishes it."""
    token = how.token if isinstance(how.token, str) else get_token()
    for name, content in contents.items():
        if token and not name.endswith((".safetensors", ".png")):
            data = content if isinstance(content, bytes) else content.read_bytes()
            if token.encode() in data:
                raise HubError(f"{name} holds your token, and is not published: take it out first")


# From Python


def push(model: Model, repo: str, how: Sending) -> Published:
    """Publish a model that is in memory, as ``ORG/NAME``, or as ``NAME`` of the token's own user."""
    if "/" not in repo:
        with plainly(repo):
            repo = f"{persistently(lambda: API.whoami(token=how.token))['name']}/{repo}"
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        item = model_in(Path(folder))
        check(repo, how)
        (where,) = destination(repo, [item])
        return send(item, where, how)


def publish(
    found: Sequence[Item], to: str, how: Sending, heard: Heard = lambda what: None
) -> Iterator[tuple[str, Published | GanzooError]]:
    """Publish each item, one after the other; one that fails does not keep the others from it."""
    check(to, how)
    for item, repo in zip(found, destination(to, found), strict=True):
        try:
            yield repo, send(item, repo, how, heard)
        except GanzooError as error:
            yield repo, error
        except OSError as error:  # a full disk, a file that may not be read
            yield repo, HubError(f"{repo}: {error.filename}: {error.strerror}")


def as_json(results: Sequence[tuple[str, Published | GanzooError]]) -> str:
    """What was published, for programs."""
    rows: list[Json] = [
        {"repo": repo, "error": str(done)}
        if isinstance(done, GanzooError)
        else {
            "repo": repo,
            "what": done.what,
            "commit": done.commit,
            "url": done.url,
            "sent": done.sent,
            "bytes": done.size,
        }
        for repo, done in results
    ]
    return json.dumps(rows, indent=1)

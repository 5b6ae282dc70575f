"""A Hugging Face Hub on this machine, in memory: what an unmodified `huggingface_hub` needs, over real HTTP.

It takes and gives what the real one does as far as the client can tell, and it can be made to fail on purpose: see
`Fault`. Everything that it holds is open to the tests, which may also change it: ``users``, ``repos``, ``requests``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import socket
import socketserver
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

import yaml  # it comes with huggingface-hub

WRITER = "hf_writerAcmeLoopbackTokenForTests"
READER = "hf_readerPlainLoopbackTokenForTests"
PIECE = 2**18  # bytes; so often it is noted how far a body is
LARGE = 1_000_000  # bytes; above this a file is kept as LFS, where there is any
OPEN = "Invalid username or password."  # what the Hub says to those without a token, whatever they asked for
KINDS = {"models": "model", "spaces": "space", "datasets": "dataset"}
ID = r"([^/]+(?:/[^/]+)?)"
PAGE = rf"(?:/(spaces|datasets))?/{ID}"  # where a repository is for people, and for git
HOUSEKEEPING = "/api/agent-harnesses"  # a list that each client fetches once in each home, whatever it is there for
FULL = ("sha", "lastModified", "siblings")  # what a list has only with ``full``
API = rf"/api/(models|spaces|datasets)/{ID}"

Reply = tuple[int, dict[str, str], Any]  # status, headers, and bytes or what JSON is made of


@dataclass(frozen=True)
class User:
    """Whom a token stands for. ``role`` is the token's: one that may only ``read`` may not write where its user may."""

    name: str
    role: Literal["read", "write"] = "write"
    orgs: tuple[str, ...] = ()

    def owns(self, repo_id: str) -> bool:
        return repo_id.split("/")[0] in (self.name, *self.orgs)


@dataclass(frozen=True)
class Blob:
    """A file's content, and whether git has it or only a pointer to it."""

    content: bytes
    lfs: bool = False

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def pointer(self) -> bytes:
        spec = "https://git-lfs.github.com/spec/v1"
        return f"version {spec}\noid sha256:{self.sha256}\nsize {len(self.content)}\n".encode()

    @cached_property
    def oid(self) -> str:
        """Git's name for what git has."""
        kept = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(kept) + kept).hexdigest()

    def said(self, sum_name: str) -> dict[str, Any]:
        """Its LFS part, in which the Hub has two names for one sum."""
        lfs = {sum_name: self.sha256, "size": len(self.content), "pointerSize": len(self.pointer)}
        return {"size": len(self.content), **({"lfs": lfs} if self.lfs else {})}


@dataclass(frozen=True)
class Commit:
    oid: str
    blobs: dict[str, Blob]
    message: str
    parent: str | None
    when: str

    @property
    def files(self) -> dict[str, bytes]:
        return {path: blob.content for path, blob in self.blobs.items()}

    @cached_property
    def card(self) -> dict[str, Any]:
        """The front matter of README.md, empty when there is none that can be read."""
        try:
            return front_matter(self.files.get("README.md", b"").decode(errors="replace"))
        except ValueError:
            return {}


@dataclass
class PullRequest:
    """Its first commit is the one of main that it starts from."""

    number: int
    title: str
    commits: list[Commit]


@dataclass
class Repo:
    """``commits`` are those of main, the first made by the Hub itself; a pull request has its own."""

    id: str
    type: str
    private: bool
    sdk: str | None = None
    commits: list[Commit] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    pull_requests: list[PullRequest] = field(default_factory=list)

    @property
    def main(self) -> str:
        return self.commits[-1].oid

    @property
    def branches(self) -> dict[str, list[Commit]]:
        return {"main": self.commits, **{f"refs/pr/{pull.number}": pull.commits for pull in self.pull_requests}}

    def at(self, revision: str) -> Commit | None:
        """What a branch, a tag or the name of a commit stands for."""
        branches = self.branches
        if revision in branches:
            return branches[revision][-1]
        oid = self.tags.get(revision, revision)
        return next((commit for branch in branches.values() for commit in branch if commit.oid == oid), None)

    @property
    def path(self) -> str:
        return ("" if self.type == "model" else f"/{self.type}s") + f"/{self.id}"


@dataclass
class Request:
    """What was asked, noted as soon as its head is in. ``path`` has the query. ``status`` None: it has no answer.

    ``received`` and ``sent`` are bytes of the bodies, and grow while these are under way.
    """

    method: str
    path: str
    token: str | None
    status: int | None = None
    received: int = 0
    sent: int = 0


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests whose "METHOD path?query" has ``match`` in it.

    ``status`` is answered in place of doing anything. ``drop_after`` bytes of what the request brings, or of the answer
    where it brings nothing, the connection is closed. With ``lose_answer`` the work is done and the connection closed.
    ``rewrite`` makes another answer of the right one; a Content-Length it sets is sent even where it is not true.
    Connections are closed as a process that ends closes them, or with ``reset`` as a machine that has lost its memory
    of them does: the client tells these apart.
    """

    match: str
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop_after: int | None = None
    lose_answer: bool = False
    rewrite: Callable[[int, dict[str, str], bytes], tuple[int, dict[str, str], bytes]] | None = None
    reset: bool = False


class Refused(Exception):
    def __init__(self, status: int, message: str, code: str | None = None, **more: Any) -> None:
        super().__init__(message)
        line = " ".join(message.split()).encode("ascii", "replace").decode()
        said = {"X-Error-Message": line} | ({"X-Error-Code": code} if code else {}) | more.pop("headers", {})
        self.reply: Reply = status, said, {"error": message, **more}


@dataclass(frozen=True)
class Asked:
    """A request as the routes see it."""

    user: User | None
    query: dict[str, list[str]]
    headers: Any
    body: bytes
    target: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)

    def flag(self, name: str) -> bool:
        return self.query.get(name, [""])[-1].lower() in ("1", "true")


def front_matter(text: str) -> dict[str, Any]:
    found = re.match(r"---\r?\n(.*?)\r?\n---\s*(\n|$)", text, re.DOTALL)
    try:
        card = yaml.safe_load(found[1]) if found else {}
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from error
    if not isinstance(card, dict):
        raise ValueError("not a mapping")
    return card


ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Reply]]] = []


def route(methods: str, pattern: str) -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
    def add(function: Callable[..., Reply]) -> Callable[..., Reply]:
        ROUTES.extend((method, re.compile(pattern), function) for method in methods.split())
        return function

    return add


class Hub:
    """The Hub, while in a ``with``. With ``mode="regular"`` it wants no LFS at all: content comes in the commit.

    ``broken`` are the tracebacks of its own mistakes: a test does not pass by them, for the end of the ``with`` raises.
    """

    def __init__(self, mode: Literal["lfs", "regular"] = "lfs", page_size: int = 100) -> None:
        self.mode = mode
        self.page_size = page_size
        self.users = {WRITER: User("acme", "write"), READER: User("reader", "read")}
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}  # what LFS holds, by sha256
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.broken: list[str] = []
        self.lock = threading.RLock()
        self.port = 0
        self.server: Server | None = None
        self.held: socket.socket | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, home: Path, token: str | None) -> dict[str, str]:
        """What a client's environment must have besides its own, which must have no other ``HF_…``."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            **({"HF_TOKEN": token} if token is not None else {}),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "HF_HUB_DISABLE_XET": "1",  # it asks for a service of its own, with nothing to fall back on
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        }

    def start(self) -> None:
        if self.server is not None:
            return
        if self.held:
            self.held.close()
        self.server = Server(self)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Die: nothing that is under way is finished. What was committed stays, and so does the port."""
        server = self.server
        if server is None:
            return
        server.shutdown()
        with self.lock:
            self.server = None
            server.server_close()
            self.held = socket.socket()  # bound and not listening: refused to clients, and to others that want a port
            self.held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.held.bind(("127.0.0.1", self.port))
            for connection in list(server.connections):
                server.cut(connection)

    def __enter__(self) -> Hub:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        if self.held:
            self.held.close()
        if self.broken and kind is None:
            raise AssertionError("the loopback Hub is broken:\n" + "\n".join(self.broken))

    def reset(self) -> None:
        """Forget the requests."""
        self.requests.clear()

    def put(
        self,
        repo_id: str,
        files: dict[str, bytes],
        private: bool = False,
        tag: str | None = None,
        type: str = "model",
    ) -> str:
        """Commit files to main, next to those there, with nobody asked; ``private`` counts if there is no such repo."""
        with self.lock:
            repo = self.repos.get((type, repo_id)) or self.create(repo_id, type, private)
            blobs = {path: Blob(content, self.large(path, len(content))) for path, content in files.items()}
            self.objects |= {blob.sha256: blob.content for blob in blobs.values() if blob.lfs}
            commit = self.commit(repo.commits, {**repo.commits[-1].blobs, **blobs}, "Put")
            if tag is not None:
                repo.tags[tag] = commit.oid
            return commit.oid

    def create(self, repo_id: str, type: str, private: bool, sdk: str | None = None) -> Repo:
        repo = self.repos[type, repo_id] = Repo(repo_id, type, private, sdk)
        self.commit(repo.commits, {".gitattributes": Blob(b"*.safetensors filter=lfs -text\n")}, "initial commit")
        return repo

    def commit(self, branch: list[Commit], blobs: dict[str, Blob], message: str) -> Commit:
        when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        branch.append(Commit(secrets.token_hex(20), blobs, message, branch[-1].oid if branch else None, when))
        return branch[-1]

    def large(self, path: str, size: int) -> bool:
        return self.mode == "lfs" and (path.endswith(".safetensors") or size > LARGE)

    # Who may do what

    def sees(self, user: User | None, repo: Repo) -> bool:
        return not repo.private or (user is not None and user.owns(repo.id))

    def find(self, asked: Asked, kind: str | None, repo_id: str) -> Repo:
        """A repository that may be read: whether one that may not is there is not to be known."""
        repo = self.repos.get((KINDS[kind or "models"], repo_id))
        if repo is None or not self.sees(asked.user, repo):
            raise Refused(404 if asked.user else 401, "Repository not found" if asked.user else OPEN, "RepoNotFound")
        return repo

    def writable(self, asked: Asked, kind: str | None, repo_id: str, proposing: bool = False) -> Repo:
        """A repository that may be written; a pull request may come from whoever may read."""
        repo = self.find(asked, kind, repo_id)
        if asked.user is None:
            raise Refused(401, OPEN, "RepoNotFound")
        self.check(asked.user, repo.id if not proposing else asked.user.name)
        return repo

    def check(self, user: User, repo_id: str) -> None:
        if user.role != "write":
            raise Refused(403, "You must provide a token with write access")
        if not user.owns(repo_id):
            raise Refused(403, f"You don't have the rights to write under the namespace {repo_id.split('/')[0]!r}")

    def revision(self, repo: Repo, revision: str) -> Commit:
        if (commit := repo.at(revision)) is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    # What is asked: people and repositories

    @route("GET", HOUSEKEEPING)
    def harnesses(self, asked: Asked) -> Reply:
        return 200, {}, {"standardEnvVars": [], "harnesses": {}}

    @route("GET", "/api/whoami-v2")
    def whoami(self, asked: Asked) -> Reply:
        if (user := asked.user) is None:
            raise Refused(401, OPEN)
        orgs = [{"type": "org", "name": name, "roleInOrg": "write"} for name in user.orgs]
        auth = {"type": "access_token", "accessToken": {"displayName": "tests", "role": user.role}}
        return 200, {}, {"type": "user", "id": user.name, "name": user.name, "orgs": orgs, "auth": auth}

    @route("POST", "/api/repos/create")
    def create_repo(self, asked: Asked) -> Reply:
        wanted = asked.json
        if asked.user is None:
            raise Refused(401, OPEN)
        repo_id = f"{wanted.get('organization') or asked.user.name}/{wanted['name']}"
        self.check(asked.user, repo_id)
        kind = wanted.get("type", "model")
        if (old := self.repos.get((kind, repo_id))) is not None:
            raise Refused(409, f"You already created this {kind} repo", url=self.endpoint + old.path)
        private = wanted.get("visibility") == "private" or wanted.get("private") is True
        repo = self.create(repo_id, kind, private, wanted.get("sdk"))
        return 200, {}, {"url": self.endpoint + repo.path, "name": repo_id, "id": repo_id}

    @route("DELETE", "/api/repos/delete")
    def delete_repo(self, asked: Asked) -> Reply:
        wanted = asked.json
        owner = wanted.get("organization") or (asked.user.name if asked.user else "")
        repo = self.writable(asked, wanted.get("type", "model") + "s", f"{owner}/{wanted['name']}")
        del self.repos[repo.type, repo.id]
        return 200, {}, {}

    @route("GET", "/api/(models|spaces|datasets)")
    def list_repos(self, asked: Asked, kind: str) -> Reply:
        """All that fit, in pages."""
        query = {name: values[-1] for name, values in asked.query.items()}
        tags = [tag for value in asked.query.get("filter", []) for tag in value.split(",")]
        found = []
        for repo in self.repos.values():
            info = self.info(repo, repo.commits[-1])
            if repo.type != KINDS[kind] or not self.sees(asked.user, repo):
                continue
            if query.get("author", info["author"]) != info["author"] or not set(tags) <= set(info["tags"]):
                continue
            if query.get("search", "").lower() in repo.id.lower():
                found.append(info)
        first, many = int(query.get("cursor", 0)), min(int(query.get("limit", self.page_size)), self.page_size)
        if (by := query.get("sort")) in ("createdAt", "lastModified"):
            found.sort(key=lambda info: info[by], reverse=True)
        unsaid = {"cardData", *(() if asked.flag("full") else FULL)} - {*query}
        page = [{key: said for key, said in info.items() if key not in unsaid} for info in found[first : first + many]]
        headers = {}
        if first + many < len(found):
            kept = [pair for pair in parse_qsl(urlsplit(asked.target).query) if pair[0] != "cursor"]
            following = urlencode([*kept, ("cursor", first + many)])
            headers["Link"] = f'<{self.endpoint}/api/{kind}?{following}>; rel="next"'
        return 200, headers, page

    def info(self, repo: Repo, commit: Commit, blobs: bool = False) -> dict[str, Any]:
        card = commit.card
        own = [card["library_name"]] if card.get("library_name") else []
        tags = said if isinstance(said := card.get("tags"), list) else []
        given = [*own, *tags, *([f"license:{card['license']}"] if card.get("license") else [])]
        siblings = [
            {"rfilename": path, **({"blobId": blob.oid, **blob.said("sha256")} if blobs else {})}
            for path, blob in sorted(commit.blobs.items())
        ]
        return {
            "id": repo.id,
            **({"modelId": repo.id} if repo.type == "model" else {}),
            **({"sdk": repo.sdk} if repo.type == "space" else {}),
            "author": repo.id.split("/")[0],
            "sha": commit.oid,
            "createdAt": repo.commits[0].when,
            "lastModified": commit.when,
            "private": repo.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": list(dict.fromkeys(map(str, [*given, "region:us"]))),
            **({"library_name": own[0]} if own else {}),
            **({"cardData": json.loads(json.dumps(card, default=str))} if card else {}),  # YAML has dates, JSON none
            "siblings": siblings,
        }

    @route("GET", rf"{API}(?:/revision/([^/]+))?")
    def repo_info(self, asked: Asked, kind: str, repo_id: str, revision: str | None) -> Reply:
        repo = self.find(asked, kind, repo_id)
        return 200, {}, self.info(repo, self.revision(repo, revision or "main"), asked.flag("blobs"))

    @route("GET", rf"{API}/refs")
    def refs(self, asked: Asked, kind: str, repo_id: str) -> Reply:
        repo = self.find(asked, kind, repo_id)
        said = {
            "branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": repo.main}],
            "tags": [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": oid} for tag, oid in repo.tags.items()],
            "converts": [],
        }
        if asked.flag("include_prs"):
            said["pullRequests"] = [
                {"name": str(pull.number), "ref": f"refs/pr/{pull.number}", "targetCommit": pull.commits[-1].oid}
                for pull in repo.pull_requests
            ]
        return 200, {}, said

    @route("POST", rf"{API}/tag/([^/]+)")
    def tag(self, asked: Asked, kind: str, repo_id: str, revision: str) -> Reply:
        repo = self.writable(asked, kind, repo_id)
        tag, commit = asked.json["tag"], self.revision(repo, revision)
        if tag in repo.tags:
            raise Refused(409, f"Tag {tag} already exists")
        repo.tags[tag] = commit.oid
        return 200, {}, {}

    # What is asked: files

    @route("GET", rf"{API}/tree/([^/]+)(?:/(.+))?")
    def tree(self, asked: Asked, kind: str, repo_id: str, revision: str, under: str | None) -> Reply:
        commit = self.revision(self.find(asked, kind, repo_id), revision)
        entries, before = self.entries(commit), f"{under.strip('/')}/" if under else ""
        inside = {path: entry for path, entry in entries.items() if path.startswith(before)}
        if under and not inside:
            raise Refused(404, f"{under} does not exist on {revision!r}", "EntryNotFound")
        deep = asked.flag("recursive")
        return 200, {}, [entry for path, entry in inside.items() if deep or "/" not in path[len(before) :]]

    def entries(self, commit: Commit) -> dict[str, dict[str, Any]]:
        """Files and folders by path. A folder's name is not what git would call it, and nobody compares it."""
        found: dict[str, dict[str, Any]] = {}
        for path, blob in sorted(commit.blobs.items()):
            for parent in reversed([str(parent) for parent in Path(path).parents][:-1]):
                oid = hashlib.sha1(f"{commit.oid}{parent}".encode()).hexdigest()
                found.setdefault(parent, {"type": "directory", "path": parent, "oid": oid, "size": 0})
            found[path] = {"type": "file", "path": path, "oid": blob.oid, **blob.said("oid")}
        return found

    @route("GET HEAD", rf"{PAGE}/resolve/([^/]+)/(.+)")
    def resolve(self, asked: Asked, kind: str | None, repo_id: str, revision: str, path: str) -> Reply:
        commit = self.revision(self.find(asked, kind, repo_id), revision)
        headers = {"X-Repo-Commit": commit.oid}
        if (blob := commit.blobs.get(path)) is None:
            raise Refused(404, "Entry not found", "EntryNotFound", headers=headers)
        size = len(blob.content)
        headers |= {"ETag": f'"{blob.sha256 if blob.lfs else blob.oid}"', "Accept-Ranges": "bytes"}
        headers |= {"Content-Type": "application/octet-stream"}
        if blob.lfs:
            headers |= {"X-Linked-ETag": f'"{blob.sha256}"', "X-Linked-Size": str(size)}
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.headers.get("Range", ""))
        if not wanted or wanted[0] == "bytes=-":
            return 200, headers, blob.content
        first, last = (int(end) if end else None for end in wanted.groups())
        if first is None:
            first, last = max(size - (last or 0), 0), None
        last = min(size if last is None else last + 1, size)
        if first >= last:
            raise Refused(416, "Range not satisfiable", headers={**headers, "Content-Range": f"bytes */{size}"})
        return 206, headers | {"Content-Range": f"bytes {first}-{last - 1}/{size}"}, blob.content[first:last]

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self, asked: Asked) -> Reply:
        try:
            card = front_matter(asked.json["content"])
        except ValueError as error:
            return 400, {}, {"errors": [{"message": str(error)}], "warnings": []}
        empty = [] if card else [{"message": "empty or missing yaml metadata in repo card"}]
        return 200, {}, {"errors": [], "warnings": empty}

    @route("POST", rf"{API}/preupload/([^/]+)")
    def preupload(self, asked: Asked, kind: str, repo_id: str, revision: str) -> Reply:
        """How each file is wanted. ``oid`` is what is there now: the client leaves out what has not changed."""
        repo = self.writable(asked, kind, repo_id, asked.flag("create_pr"))
        blobs, said = self.revision(repo, revision).blobs, []
        for file in asked.json["files"]:
            path, blob = file["path"], blobs.get(file["path"])
            now = {"oid": blob.sha256 if blob.lfs else blob.oid} if blob else {}
            how = "lfs" if self.large(path, file["size"]) else "regular"
            said.append({"path": path, "uploadMode": how, "shouldIgnore": False, **now})
        return 200, {}, {"files": said}

    @route("POST", rf"{PAGE}\.git/info/lfs/objects/batch")
    def batch(self, asked: Asked, kind: str | None, repo_id: str) -> Reply:
        wanted = asked.json
        repo = self.writable(asked, kind, repo_id, proposing="ref" not in wanted)  # one is named unless for a proposal
        said = []
        for one in wanted["objects"]:
            put = {"upload": {"href": f"{self.endpoint}/lfs/{one['oid']}"}}
            put["verify"] = {"href": f"{self.endpoint}{repo.path}.git/info/lfs/verify"}
            said.append({**one, **({"actions": put} if one["oid"] not in self.objects else {})})
        return 200, {"Content-Type": "application/vnd.git-lfs+json"}, {"transfer": "basic", "objects": said}

    @route("PUT", r"/lfs/([0-9a-f]{64})")
    def upload(self, asked: Asked, oid: str) -> Reply:
        if hashlib.sha256(asked.body).hexdigest() != oid:
            raise Refused(400, "The content does not have the sha256 it was announced with")
        self.objects[oid] = asked.body
        return 200, {"ETag": f'"{oid}"'}, b""

    @route("POST", rf"{PAGE}\.git/info/lfs/verify")
    def verify(self, asked: Asked, kind: str | None, repo_id: str) -> Reply:
        self.writable(asked, kind, repo_id, proposing=True)
        content = self.objects.get(asked.json["oid"])
        if content is None or len(content) != asked.json["size"]:
            raise Refused(404, "No such object of that size")
        return 200, {}, {}

    @route("POST", rf"{API}/commit/([^/]+)")
    def take_commit(self, asked: Asked, kind: str, repo_id: str, revision: str) -> Reply:
        proposing = asked.flag("create_pr")
        repo = self.writable(asked, kind, repo_id, proposing or revision != "main")
        branch = repo.branches.get(revision)
        if branch is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        header, *operations = [json.loads(line) for line in asked.body.splitlines() if line.strip()]
        if header["value"].get("parentCommit", branch[-1].oid) != branch[-1].oid:
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        blobs = dict(branch[-1].blobs)
        for operation in operations:
            self.apply(blobs, operation["key"], operation["value"])
        title = header["value"]["summary"]
        pull = self.propose(repo, title) if proposing else None
        branch = pull.commits if pull else branch
        commit = self.commit(branch, blobs, title)
        said: dict[str, Any] = {
            "success": True,
            "commitOid": commit.oid,
            "commitUrl": f"{self.endpoint}{repo.path}/commit/{commit.oid}",
        }
        if pull:
            url, ref = f"{self.endpoint}{repo.path}/discussions/{pull.number}", f"refs/pr/{pull.number}"
            said |= {"pullRequestUrl": url, "pullRequestNum": pull.number, "pullRequestRevision": ref}
        return 200, {}, said

    def propose(self, repo: Repo, title: str) -> PullRequest:
        repo.pull_requests.append(PullRequest(len(repo.pull_requests) + 1, title, [repo.commits[-1]]))
        return repo.pull_requests[-1]

    @route("POST", rf"{API}/discussions")
    def discuss(self, asked: Asked, kind: str, repo_id: str) -> Reply:
        """How the client opens a pull request before it commits to it, which it does for a folder where xet is on."""
        repo = self.writable(asked, kind, repo_id, proposing=True)
        if not asked.json["pullRequest"]:
            raise Refused(400, "Here people only propose")
        return 200, {}, {"num": self.propose(repo, asked.json["title"]).number}

    @route("GET", rf"{API}/discussions/(\d+)")
    def discussion(self, asked: Asked, kind: str, repo_id: str, number: str) -> Reply:
        repo = self.find(asked, kind, repo_id)
        pull = next((pull for pull in repo.pull_requests if pull.number == int(number)), None)
        if pull is None:
            raise Refused(404, "No such discussion")
        said = {"title": pull.title, "num": pull.number, "status": "draft", "createdAt": pull.commits[0].when}
        said |= {"isPullRequest": True, "changes": {"base": "refs/heads/main"}, "filesWithConflicts": False}
        return 200, {}, {**said, "repo": {"name": repo.id, "type": repo.type}, "events": []}

    def apply(self, blobs: dict[str, Blob], key: str, value: dict[str, Any]) -> None:
        path = value["path"]
        if key == "file":
            blobs[path] = Blob(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if value["oid"] not in self.objects:
                raise Refused(400, f"LFS pointer of {path} points to a file that was not uploaded")
            blobs[path] = Blob(self.objects[value["oid"]], lfs=True)
        else:
            folder = path.rstrip("/") + "/"
            gone = [old for old in blobs if (old.startswith(folder) if key == "deletedFolder" else old == path)]
            if not gone:
                raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
            for old in gone:
                del blobs[old]

    # How it is asked

    def fault(self, line: str) -> Fault | None:
        """The first that is meant for this request, with one time fewer left."""
        with self.lock:
            for fault in self.faults:
                if re.search(fault.match, line):
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                    return fault
        return None

    def answer(self, method: str, target: str, headers: Any, body: bytes, token: str | None) -> Reply:
        url = urlsplit(target)
        try:
            if token is not None and token not in self.users:
                raise Refused(401, "Invalid credentials in Authorization header")
            user = self.users[token] if token is not None else None
            asked = Asked(user, parse_qs(url.query), headers, body, target)
            for known, pattern, function in ROUTES:
                if known == method and (found := pattern.fullmatch(url.path)):
                    return function(self, asked, *(part and unquote(part) for part in found.groups()))
            raise Refused(404, f"There is no {method} {url.path} here")
        except Refused as refused:
            return refused.reply
        except Exception as error:
            self.broken.append(traceback.format_exc())
            return Refused(500, f"{type(error).__name__} in the loopback Hub").reply


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", hub.port), Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks the resolver for its own name, which can take long
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def cut(self, connection: socket.socket) -> None:
        """End a connection that a thread may be waiting on: shutting it down wakes the thread, which closes it."""
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it had ended by itself

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that end: tests end many."""
        if not isinstance(sys.exc_info()[1], OSError):
            self.hub.broken.append(traceback.format_exc())


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        pass

    def pieces(self) -> Iterable[int]:
        """The lengths of the parts that a body comes in."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            yield int(self.headers.get("Content-Length") or 0)
            return
        while length := int(self.rfile.readline().split(b";")[0], 16):
            yield length
            self.rfile.readline()
        self.rfile.readline()

    def body(self, noted: Request, most: int | None) -> bytes:
        """What the request brings, or its first ``most`` bytes."""
        parts = []
        for length in self.pieces():
            left = length if most is None else min(length, most - noted.received)
            while left:
                if not (part := self.rfile.read1(min(left, PIECE))):
                    raise ConnectionError("the client went away")  # half a body is no request
                parts.append(part)
                left -= len(part)
                noted.received += len(part)
            if noted.received == most:
                break
        return b"".join(parts)

    def work(self) -> None:
        hub = self.server.hub
        bearer = re.fullmatch(r"Bearer (.+)", self.headers.get("Authorization", ""))
        token = bearer[1] if bearer else None
        noted = Request(self.command, self.path, token)
        fault = Fault("")
        if self.path != HOUSEKEEPING:
            hub.requests.append(noted)
            fault = hub.fault(f"{self.command} {self.path}") or fault
        brings = "Transfer-Encoding" in self.headers or int(self.headers.get("Content-Length") or 0) > 0
        body = self.body(noted, fault.drop_after if brings else None)
        if brings and fault.drop_after is not None:
            return self.hang_up(fault)
        with hub.lock:
            if hub.server is not self.server:
                raise ConnectionError("stopped")  # before this could be done
            if fault.status is not None:
                status, headers, said = Refused(fault.status, "On purpose").reply
            else:
                status, headers, said = hub.answer(self.command, self.path, self.headers, body, token)
        headers = {"Content-Type": "application/json", **headers, **fault.headers}
        out = said if isinstance(said, bytes) else json.dumps(said).encode()
        if fault.rewrite:
            status, headers, out = fault.rewrite(status, headers, out)
        if fault.lose_answer:
            return self.hang_up(fault)
        noted.status = status  # before the client can know, and a test can look
        headers = {"Content-Length": str(len(out)), **headers}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            sending = memoryview(out)[: fault.drop_after]
            for start in range(0, len(sending), PIECE):
                noted.sent += self.wfile.write(sending[start : start + PIECE])
        if fault.drop_after is not None or (self.command != "HEAD" and headers["Content-Length"] != str(len(out))):
            self.hang_up(fault)
        return None

    def hang_up(self, fault: Fault) -> None:
        self.close_connection = True
        if fault.reset:
            time.sleep(0.05)  # what was sent gets there first, or it would be taken back
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = work

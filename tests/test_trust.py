"""Repositories and servers that mean harm, met by the real client over real HTTP.

Each is met by a process with a fresh home, which ends at once where it would write outside of that home, start another
program, open a pickle, or talk to another machine. Its memory and files may not grow far, and its waits are cut short.
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import re
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hubs import Client, files_of, make_model
from loopback import WRITER, Fault, Hub
from processes import Ended

from ganzoo.card import BEGIN, END
from ganzoo.files import sha256
from ganzoo.origin import CARD, CONFIG, CRITIC, METRICS, MOST_JSON, WEIGHTS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="holds a process to its memory as Linux does")

GUARD = """
import os, resource, sys, tempfile, time
import click.utils

home = os.path.realpath(os.environ["HF_HOME"])
os.makedirs(home + "/tmp", exist_ok=True)
tempfile.tempdir = home + "/tmp"
click.utils.should_strip_ansi = lambda *_: False  # as on a terminal, which obeys
RUNS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pickle.find_class")
PATHS = dict.fromkeys(("os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate"), (0,))
PATHS |= {"os.symlink": (1,), "os.rename": (0, 1), "os.link": (0, 1)}

def end(*why):
    os.write(2, repr(why).encode())
    os._exit(99)

def watch(event, args):
    if event in RUNS:
        end(event, args)
    if event == "socket.connect" and args[1][0] != "127.0.0.1":
        end(event, args[1])
    places = PATHS.get(event, (0,) if event == "open" and args[2] & 3 else ())
    if event in ("os.remove", "os.rmdir") and args[1] != -1:
        return  # in a folder that was looked at when it was opened
    for path in (args[place] for place in places if not isinstance(args[place], int)):
        path = os.path.realpath(os.fsdecode(path))
        if path.startswith(os.environ.get("COVERAGE_FILE", "/none")):
            continue
        if not path.startswith(home + "/") and path not in (home, "/dev/null"):
            end(event, path)

def sleep(seconds, really=time.sleep):
    if seconds > 90:
        end("waits", seconds)
    really(min(seconds, 0.01))

time.sleep = sleep
now = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (now + 2**30,) * 2)
resource.setrlimit(resource.RLIMIT_FSIZE, (2**26,) * 2)
sys.addaudithook(watch)
sys.argv = ["ganzoo", *sys.argv[3:]]
from ganzoo.cli import main
main()
"""

REPO = "evil/js-gan.ring"
EVIL = "../../../../../evil"  # from the folder of the blobs, where the client would make a path of it
Files = dict[str, bytes]
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as made:
        yield made


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Client:
    """Somebody with a key, in a folder below it."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_rsa").write_text("sentinel")
    return Client(hub, tmp_path / "deep" / "work", more={"HOME": str(tmp_path)})


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "js-gan.ring", generator_hidden=32, discriminator_hidden=32)


@pytest.fixture
def files(good: Path) -> Files:
    """A model to do harm to."""
    return files_of(good)


def tree(client: Client) -> dict[str, str | bytes]:
    """All that is around a client's home."""
    root, found = client.folder.parent.parent, dict[str, str | bytes]()
    own = (client.folder / client.home, client.folder / ".output")
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if Path(folder, name) not in own]
        for path in (Path(folder, name) for name in (*inner, *names)):
            link = path.is_symlink()
            found[str(path)] = os.readlink(path) if link else path.read_bytes() if path.is_file() else "no file"
    return found


def met(client: Client, *args: object, seconds: float = 20) -> Ended:
    """How a guarded client ends, which may neither change anything nor say anything that a terminal would obey."""
    before, began = tree(client), time.monotonic()
    ended = client("-c", GUARD, *args)
    assert time.monotonic() - began < seconds
    assert tree(client) == before
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", ended.out + ended.err), ended
    assert "Traceback" not in ended.err
    assert "--debug" not in ended.err, f"a mistake of our own: {ended.err}"
    assert len(ended.err) < 3000, ended.err
    return ended


def refused(client: Client, says: str, *args: object, **more: Any) -> Ended:
    ended = met(client, *args, **more)
    assert ended.code in (1, 2), ended
    assert says in ended.err, ended
    return ended


def asked(hub: Hub, method: str = "GET") -> list[str]:
    return [request.path for request in hub.requests if request.method == method]


SAMPLE = ("sample", REPO, "-n", 4, "--out", "samples.npz")

# Names


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("download", "evil/../x"),
        ("sample", "evil/../x"),
        ("download", "../../etc@main"),
        ("sample", "hf-hub:../../etc@main"),
        ("download", "hf-hub:/etc/passwd"),
        ("sample", "evil/x@../../v"),
        ("download", "evil/x@/etc/passwd"),
        ("sample", "evil/x@a/../../b"),
        ("download", "evil/x@v\n1"),
        ("sample", "evil/x@v\x00"),
        ("sample", "evil/x\x00@v"),
        ("download", "evil/x@\x1b[31mred"),
        ("sample", "evil\x1b[2J/x"),
        ("download", "evil--x/y"),
        ("sample", "file:///etc/passwd"),
        ("download", "evil/" + "x" * 300),
    ],
)
def test_names_that_lead_elsewhere_are_never_asked_for(command, name, client, hub):
    refused(client, "", command, name)
    assert hub.requests == []


# Servers


def headers(**more: str) -> Any:
    """The right answer, with other headers; an empty one is left out."""
    more = {name.replace("_", "-"): value for name, value in more.items()}

    def rewrite(status: int, held: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        return status, {k: v for k, v in {**held, **more}.items() if v or k not in more}, body

    return rewrite


def body(content: bytes, status: int = 200, **more: str) -> Any:
    return lambda _, held, __: (status, {**held, **more}, content)


def later(rewrite: Any) -> Any:
    """The right answer once: the client asks a second time before it downloads."""
    count = iter(range(10**6))
    return lambda *answer: answer if next(count) < 1 else rewrite(*answer)


def moved(location: str, **more: str) -> Any:
    return lambda _, held, __: (302, {**held, "Location": location, **more}, b"")


GONE = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": EVIL}
LIES: dict[str, tuple[str, Any, str]] = {
    "a commit that is a path": (CONFIG, headers(X_Repo_Commit=EVIL), "is no hash"),
    "a commit that is an absolute path": (CONFIG, headers(X_Repo_Commit="/tmp/evil"), "is no hash"),
    "a hash that is a path": (CONFIG, headers(ETag=f'"{EVIL}"'), "is no hash"),
    "a hash that is an absolute path": (CONFIG, headers(ETag='"/tmp/evil"'), "is no hash"),
    "a linked hash that is a path": (WEIGHTS, headers(X_Linked_ETag=f'"{EVIL}"'), "is no hash"),
    "no size": (CONFIG, moved("http://127.0.0.2:1/x"), "no commit, hash and size"),
    "a negative size": (WEIGHTS, headers(X_Linked_Size="-5"), "no commit, hash and size"),
    "a size that is no number": (CONFIG, headers(X_Linked_Size="1e9"), "no commit, hash and size"),
    "a size of many digits": (WEIGHTS, headers(X_Linked_Size="9" * 5000), ""),
    "a size above the cap": (WEIGHTS, headers(X_Linked_Size=str(10**18)), "--max-size"),
    "a file on this machine": (CONFIG, moved("file:///etc/passwd"), ""),
    "a loop": (CONFIG, moved("?"), ""),
    "a refusal that paints": (CONFIG, body(b"", 403, **{"X-Error-Message": "\x9b31m" + "x" * 5000}), "may not do this"),
    "come back in a year": (CONFIG, body(b"", 429, **{"Retry-After": str(10**9)}), "too many requests"),
    "a hash that is a path, the second time": (CONFIG, later(headers(ETag=f'"{EVIL}"')), "is no hash"),
    "an absolute hash, the second time": (WEIGHTS, later(headers(X_Linked_ETag='"/tmp/evil"')), "is no hash"),
    "a commit that is a path, the second time": (CONFIG, later(headers(X_Repo_Commit=EVIL)), "is no hash"),
    "gone, the second time": (CONFIG, later(body(b"", 404, **GONE)), "is no hash"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_lies_about_a_file(lie, client, hub, files):
    name, rewrite, says = LIES[lie]
    hub.put(REPO, files)
    hub.faults = [Fault(f"HEAD .*{name}", 10**6, rewrite=rewrite)]
    refused(client, says, *SAMPLE)
    assert not any(path.endswith(name) for path in asked(hub)), "it was downloaded all the same"


def test_a_server_that_has_another_commit_the_second_time_it_is_asked(client, hub, files):
    hub.put(REPO, files)
    hub.faults = [Fault(f"HEAD .*{CONFIG}", 10**6, rewrite=later(headers(X_Repo_Commit="a" * 40)))]
    refused(client, "another commit", *SAMPLE)


def test_a_server_that_sends_more_than_it_said_is_stopped(client, hub, files):
    hub.put(REPO, files)
    hub.faults = [Fault(f"GET .*{WEIGHTS}", 10**6, rewrite=body(bytes(200 * 2**20)))]
    refused(client, "no more was announced", *SAMPLE)
    assert sum(request.sent for request in hub.requests) < 50 * 2**20


BODIES: dict[str, tuple[str, Any, str]] = {
    "less than was said": (WEIGHTS, lambda s, h, b: (s, {**h, "Content-Length": str(len(b) - 9)}, b[:-9]), ""),
    "much less than was said": (WEIGHTS, headers(X_Linked_Size=str(10**9)), "does not answer properly"),
    "other weights as long": (WEIGHTS, lambda s, h, b: (s, h, b[:-1] + b"~"), "arrived damaged"),
    "another configuration as long": (CONFIG, lambda s, h, b: (s, h, b.replace(b"32", b"64")), "arrived damaged"),
    "a gzip bomb": (CONFIG, body(gzip.compress(bytes(2**29)), Content_Encoding="gzip"), "no more was announced"),
    "no gzip at all": (CONFIG, lambda s, h, b: (s, {**h, "Content-Encoding": "gzip"}, b), ""),
    "a redirect to a file": (CONFIG, moved("file:///etc/passwd"), ""),
    "a redirect to itself": (CONFIG, moved("?"), ""),
}


@pytest.mark.parametrize("answer", BODIES)
def test_a_server_that_sends_something_else(answer, client, hub, files):
    name, rewrite, says = BODIES[answer]
    hub.put(REPO, files)
    hub.faults = [Fault(f"{'HEAD' if 'much' in answer else 'GET'} .*{name}", 10**6, rewrite=rewrite)]
    refused(client, says, *SAMPLE)
    cached = client.cache / "models--evil--js-gan.ring"
    assert not [path for path in cached.glob("snapshots/*/*") if path.name == name], "it was kept"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_token_is_for_one_server(method, client, hub, files):
    """What another server has is taken only if it is the same, and that server is not told who asks."""
    hub.put(REPO, files)
    with Hub() as other:
        other.repos = hub.repos
        there = f"{other.endpoint}/{REPO}/resolve/main/{WEIGHTS}"
        hub.faults = [Fault(f"{method} .*{WEIGHTS}", 10**6, rewrite=moved(there))]
        met(client, "download", REPO)
        assert {request.token for request in hub.requests} == {WRITER}
        assert {request.token for request in other.requests} <= {None}


# Repositories


class Bomb:
    def __reduce__(self) -> Any:
        return (os.system, ("touch ../exploded",))


def pickled() -> bytes:
    return pickle.dumps(Bomb())


def test_only_what_a_model_has_is_fetched(client, hub, files):
    more = {"pytorch_model.bin": pickled(), "model.pkl": pickled(), "modeling.py": b"raise SystemExit(3)"}
    more |= {"setup.py": b"raise SystemExit(3)", "__init__.py": b"", "model.safetensors.index.json": b"{}"}
    hub.put(REPO, {**files, **more, "../../evil": b"x", "sub/config.json": b"{}"})
    assert met(client, "download", REPO).code == 0
    names = {request.path.rpartition("/")[2] for request in hub.requests}
    assert names == {CONFIG, WEIGHTS, CRITIC, METRICS, CARD, "samples.png"}


def config(change: Change) -> Callable[[Files], None]:
    def apply(files: Files) -> None:
        held = json.loads(files[CONFIG])
        change(held)
        files[CONFIG] = json.dumps(held).encode()

    return apply


def text(content: bytes) -> Callable[[Files], None]:
    return lambda files: files.update({CONFIG: content})


def option(**options: Any) -> Callable[[Files], None]:
    return config(lambda c: c["generator"]["options"].update(options))


def weights(change: Callable[[bytes], bytes]) -> Callable[[Files], None]:
    """Other weights, with the checksum that fits them."""

    def apply(files: Files) -> None:
        files[WEIGHTS] = change(files[WEIGHTS])
        config(lambda c: c["sha256"].update({WEIGHTS: sha256(files[WEIGHTS])}))(files)

    return apply


def header(change: Callable[[dict[str, Any]], Any]) -> Callable[[Files], None]:
    """The same numbers under another header."""

    def apply(data: bytes) -> bytes:
        size = struct.unpack("<Q", data[:8])[0]
        held = json.loads(data[8 : 8 + size])
        text = change(held)
        text = text if isinstance(text, bytes) else json.dumps(held).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + size :]

    return weights(apply)


def tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Files], None]:
    def apply(data: bytes) -> bytes:
        held = safetensors.torch.load(data)
        change(held)
        return safetensors.torch.save(held)

    return weights(apply)


BIAS = "body.0.bias"
PLUGIN = "spiral-net"


def plugin(needs: dict[str, Any]) -> Callable[[Files], None]:
    return config(lambda c: (c["generator"].update(name=PLUGIN), c.update(needs=needs)))


REPOSITORIES: dict[str, tuple[Callable[[Files], Any], str]] = {
    "no weights": (lambda f: f.pop(WEIGHTS), WEIGHTS),
    "no configuration": (lambda f: f.pop(CONFIG), CONFIG),
    "a pickle by the name of weights": (weights(lambda _: pickled()), "no safetensors file"),
    "a link by the name of weights": (weights(lambda _: b"../../../../../../.ssh/id_rsa"), "no safetensors file"),
    "truncated": (weights(lambda data: data[:-7]), "no safetensors file"),
    "a flipped bit in the header": (weights(lambda data: data[:9] + b"\xff" + data[10:]), "no safetensors file"),
    "weights of another checksum": (lambda f: f.update({WEIGHTS: f[WEIGHTS][:-1] + b"~"}), "damaged"),
    "a header of 2**63 bytes": (weights(lambda data: struct.pack("<Q", 2**63) + data[8:]), "no safetensors file"),
    "a header of 300 MB": (weights(lambda data: struct.pack("<Q", 3 * 10**8) + data[8:]), "no safetensors file"),
    "a nested header": (header(lambda _: b'{"a":' * 10**6), "no safetensors file"),
    "overlapping tensors": (header(lambda h: h["body.4.bias"].update(data_offsets=h[BIAS]["data_offsets"])), ""),
    "tensors beyond the end": (header(lambda h: h[BIAS].update(data_offsets=[10**12, 10**12 + 128])), ""),
    "a shape of many sizes": (header(lambda h: h[BIAS].update(shape=[1] * 10**5 + [32])), "does not fit"),
    "a type of half the size": (header(lambda h: h[BIAS].update(dtype="F16", shape=[64])), "does not fit"),
    "not a number": (tensors(lambda t: t[BIAS].fill_(float("nan"))), "not finite"),
    "a surplus tensor": (tensors(lambda t: t.update({"\x1b[31mred" * 1000: torch.ones(1)})), "does not fit"),
    "a configuration of 16 MiB": (text(b" " * (MOST_JSON + 1)), "bytes"),
    "nested lists": (text(b"[" * 10**6), "cannot be read"),
    "just nested enough": (option(hidden=json.loads("[" * 900 + "]" * 900)), "hidden"),
    "an integer of many digits": (text(b'{"format": ' + b"9" * 10**6 + b"}"), "cannot be read"),
    "not UTF-8": (text(b'{"format": "\xff\xfe\xfa"}'), "cannot be read"),
    "a key twice": (lambda f: text(f[CONFIG].rstrip()[:-1] + b', "generator": {"name": "os:system"}}')(f), "os:system"),
    "a name to import": (config(lambda c: c["generator"].update(name="os.system")), "os.system"),
    "a target": (config(lambda c: c["generator"].update(target="os:system")), "unknown fields"),
    "an entry of another kind": (config(lambda c: c["generator"].update(kind="dataset", name="ring")), "no generator"),
    "a long name": (config(lambda c: c["generator"].update(name="x" * 10**6)), "no generator"),
    "a long option": (option(**{"x" * 10**6: 1}), "no option"),
    "a long field": (config(lambda c: c["generator"].update({"\x1b[2J" * 10**5: 1})), "unknown fields"),
    "a long value": (option(hidden="x" * 10**6), "hidden"),
    "too wide": (option(hidden=10**18), "hidden"),
    "wider than a float": (option(hidden=10**400), "hidden"),
    "infinitely wide": (option(hidden=float("inf")), "hidden"),
    "too deep": (option(depth=10**9), "depth"),
    "10**18 parameters": (option(shape=[10**18]), ""),
    "10**18 parameters in many sizes": (option(shape=[10] * 18), ""),
    "a million sizes": (option(shape=[1] * 10**6), ""),
    "as large as is allowed": (option(hidden=65536, depth=64), "does not fit"),
    "a recipe that is a path": (config(lambda c: c["recipe"].update(name="../../../evil.ring")), "name"),
    "a recipe that paints": (config(lambda c: c["recipe"].update(name="\x1b[31mred.ring")), "name"),
    "a plugin that is missing": (plugin({"ganzoo-spiral": "1.0"}), "ganzoo install ganzoo-spiral"),
    "commands for plugins": (plugin({"x; rm -rf ~": "1", "--index-url=http://evil": "1", "-r": "1"}), PLUGIN),
    "a place for a plugin": (plugin({"spiral @ http://evil/x": "1", "git+http://evil/x": "1", "../evil": "1"}), PLUGIN),
    "a command for a version": (plugin({"ganzoo": "1; rm -rf ~ http://evil"}), PLUGIN),
    "ten thousand plugins": (plugin({f"plugin-{i}": "1" for i in range(10**4)}), "plugin-0"),
    "needs of another type": (plugin({"ganzoo": [{}] * 10}), PLUGIN),
}


@pytest.mark.parametrize("case", REPOSITORIES)
def test_a_repository_that_means_harm(case, client, hub, files):
    change, says = REPOSITORIES[case]
    change(files)
    hub.put(REPO, files)
    ended = refused(client, says, *SAMPLE)
    for bad in ("rm -rf", "http://evil", "--index-url", "evil/x", " -r"):
        assert bad not in ended.err, ended.err


# What a model says of itself


def said(board: Any, metrics: Any = None, seed: Any = 0, card: bytes | None = None) -> Callable[[Files], None]:
    """A model with numbers in its configuration, and a metrics.json."""

    def apply(files: Files) -> None:
        config(lambda c: c.update(metrics=metrics or {"energy-distance": 0.5}, seed=seed))(files)
        files[METRICS] = board if isinstance(board, bytes) else json.dumps(board).encode()
        if card is not None:
            files[CARD] = card

    return apply


def entry(**more: Any) -> dict[str, Any]:
    return {"format": 1, "entries": [more]}


def last(**more: Any) -> dict[str, Any]:
    return entry(metrics={"energy-distance": {"last": more}}, runs=[{"seed": 0}, {"seed": 1}])


FRONT = b"---\nmodel-index:\n- results:\n  - metrics:\n    - {type: energy-distance, value: %s}\n---\n"
MERGED = b"".join(b"m%d: &m%d {<<: [%s]}\n" % (i, i, b",".join([b"*m%d" % (i - 1)] * 9)) for i in range(1, 12))
BOMB = b"---\nm0: &m0 {a: 1}\n" + MERGED + b"---\n"
SAID: dict[str, tuple[Callable[[Files], None], str]] = {
    "not JSON": (said(b"\xff"), "cannot be read"),
    "nothing": (said(b"null"), "cannot be read"),
    "an entry that is none": (said({"entries": [7]}), "cannot be read"),
    "two entries": (said({"entries": [{}, {}]}), "cannot be read"),
    "nested": (said(b"[" * 10**6), "cannot be read"),
    "17 MB": (said(b" " * (MOST_JSON + 1)), "bytes"),
    "runs of another type": (said(entry(runs=[[1], "x", {"seed": {}}])), ""),
    "metrics that are a list": (said(entry(metrics=[1])), ""),
    "values that are a number": (said(last(values=5)), ""),
    "values that are text": (said(last(values="abc")), ""),
    "values of other types": (said(last(values=["x", [], {}], mean="m", half_width=[])), ""),
    "values beyond all bounds": (said(last(values=[1e308, -1e308], mean=10**400, half_width=10**400)), ""),
    "not a number": (said(last(values=[float("nan"), 1.0], mean=float("nan"), half_width=float("inf"))), ""),
    "a number of 400 digits": (said(entry(), {"energy-distance": 10**400}), ""),
    "numbers of another type": (said(entry(), {"energy-distance": [[]], "\x1b[31m": "\x1b[31m"}), ""),
    "numbers that are a list": (said(entry(), ["energy-distance"]), "states no numbers"),
    "a seed that is none": (said(entry(), seed={"a": 1}), "states no numbers"),
    "a card of merged keys": (said(last(values=[0.5]), card=BOMB), ""),
    "a nested card": (said(last(values=[0.5]), card=b"---\na: " + b"[" * 10**5 + b"\n---\n"), ""),
    "a card that paints": (said(last(values=[0.5]), card=FRONT % b'"\\e[31m"'), ""),
    "a card of 5 MB": (said(last(values=[0.5]), card=b"---\na: [" + b"1," * (5 * 2**19) + b"]\n---\n"), ""),
}


@pytest.mark.parametrize("case", SAID)
def test_a_model_that_says_strange_things_of_itself(case, client, hub, files):
    """Its numbers do not hold; that it says so is no mistake of ours."""
    change, says = SAID[case]
    change(files)
    hub.put(REPO, files)
    hub.repos["model", REPO].commits[-1].__dict__["card"] = {}  # the loopback Hub would read it
    ended = met(client, "evaluate", REPO, "--draws", 5)
    assert ended.code == 1, ended
    assert says in ended.err


def recipe(change: Change) -> Callable[[Files], None]:
    return config(lambda c: change(c["recipe"]))


NESTED = json.loads('{"options":{"divergence":' * 300 + "1" + "}}" * 300)
WIDE = {"shape": [2], "hidden": 10**18}
AGAIN: dict[str, tuple[Callable[[Files], None], str]] = {
    "steps without end": (recipe(lambda r: r.update(steps=10**18)), "steps"),
    "a batch that fits nowhere": (recipe(lambda r: r.update(batch_size=10**12)), "batch_size"),
    "repeats without end": (recipe(lambda r: r["turns"][0].update(repeats=10**9)), "repeats"),
    "a dataset to import": (recipe(lambda r: r["dataset"].update(name="os:system")), "os:system"),
    "a generator for a dataset": (recipe(lambda r: r.update(dataset=r["players"]["generator"]["network"])), "dataset"),
    "a target": (recipe(lambda r: r["players"]["generator"]["network"].update(target="os:system")), "target"),
    "a player of nobody": (recipe(lambda r: r["turns"][0].update(player="\x1b[31m")), "players"),
    "no turns": (recipe(lambda r: r.update(turns=[])), "turns"),
    "turns that are a number": (recipe(lambda r: r.update(turns=5)), "not well formed"),
    "terms that are text": (recipe(lambda r: r["turns"][0].update(losses="abc")), ""),
    "nested parts": (recipe(lambda r: r["turns"][0]["losses"][0].update(term=NESTED)), "part"),
    "a wide discriminator": (recipe(lambda r: r["players"]["discriminator"]["network"].update(options=WIDE)), "hidden"),
    "a million seeds": (said(entry(runs=[{}] * 10**6)), "runs"),
}


@pytest.mark.parametrize("case", AGAIN)
def test_a_recipe_that_is_not_trained_again(case, client, hub, files):
    change, says = AGAIN[case]
    change(files)
    hub.put(REPO, files)
    refused(client, says, "bench", "--from", REPO, "--jobs", 1)


# Publishing

MINE = "acme/js-gan.ring"
SCRIPT = "<script>alert(1)</script>"


OLD: dict[str, tuple[bytes, str]] = {
    "a script": (SCRIPT.encode(), SCRIPT),
    "a front matter that is broken": (b"---\na: [\n---\nMine.", "Mine."),
    "a front matter with objects": (b"---\na: !!python/object/apply:os.system [id]\n---\nMine.", "Mine."),
    "a front matter without end": (b"---\na: 1\nMine.", "Mine."),
    "merged keys": (BOMB + b"Mine.", "Mine."),
    "aliases": (b"---\na: &a [1]\nb: &b [*a, *a]\nc: [*b, *b]\n---\nMine.", "Mine."),
    "nested": (b"---\na: " + b"[" * 10**5 + b"\n---\nMine.", "Mine."),
    "a long front matter": (b"---\na: [" + b"1," * 400_000 + b"]\n---\nMine.", "Mine."),
    "other line ends": (b"---\r\na: 1\r\n---\r\nMine.\r\n", "Mine."),
    "not UTF-8": (b"Mine. \xff\xfe", "Mine."),
    "an end of nothing": (f"{END}\nMine.".encode(), "Mine."),
    "an end before the beginning": (f"Mine, {END} and {BEGIN} mine.".encode(), "mine."),
    "many beginnings": (b"<!-- ganzoo:begin " * 50_000 + b"Mine.", "Mine."),
}


@pytest.mark.parametrize("case", OLD)
def test_what_people_wrote_is_kept_whatever_it_is(case, client, hub, good):
    card, kept = OLD[case]
    hub.put(MINE, {CARD: card})
    hub.repos["model", MINE].commits[-1].__dict__["card"] = {}  # as above
    assert met(client, "publish", good, "--to", "acme").code == 0
    text = hub.repos["model", MINE].commits[-1].files[CARD].decode()
    assert kept in text
    assert text.startswith("---\nlibrary_name: ganzoo\n")
    assert text.rstrip().endswith(END)


def test_a_card_that_no_human_wrote_is_not_read(client, hub, good):
    hub.put(MINE, {CARD: b"x" * 2**21})
    refused(client, "1.05 MB of README.md", "publish", good, "--to", "acme")


def secret(folder: Path) -> None:
    (folder / CARD).symlink_to(folder.parent.parent.parent / ".ssh" / "id_rsa")


def pipe(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return make


def board(model: str) -> Callable[[Path], None]:
    """A bench that names such a model."""

    def make(folder: Path) -> None:
        (folder / "models").mkdir()
        entries = [{"recipe": "js-gan.ring", "model": model}]
        (folder / "leaderboard.json").write_text(json.dumps({"format": 1, "suite": "x", "entries": entries}))

    return make


HERE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a link out of it": (secret, "link out of its folder"),
    "weights that are a pipe": (pipe(WEIGHTS), "no ordinary file"),
    "a configuration that is a pipe": (pipe(CONFIG), "no model"),
    "metrics that are null": (lambda f: (f / METRICS).write_text("null"), "no leaderboard"),
    "metrics of two models": (lambda f: (f / METRICS).write_text('{"format": 1, "entries": []}'), ""),
    "metrics of nothing": (lambda f: (f / METRICS).write_text('{"format": 1, "entries": [{"recipe": 1}]}'), ""),
    "a token": (lambda f: (f / METRICS).write_text(json.dumps({"format": 1, "entries": [], "x": WRITER})), ""),
    "a token in the card": (lambda f: (f / CARD).write_text(f"Mine: {WRITER}"), "holds your token"),
    "a board of another folder": (board("../../../.ssh"), "not among its models"),
    "a board of itself": (board("models/.."), "not among its models"),
    "a board of numbers": (lambda f: (f / "leaderboard.json").write_text('{"format": 1, "entries": [7]}'), "no leader"),
}


@pytest.mark.parametrize("case", HERE)
def test_a_folder_that_is_not_to_be_published(case, client, hub, files):
    folder = client.folder / "mine"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    make, says = HERE[case]
    make(folder)
    refused(client, says, "publish", folder, "--to", "acme")
    assert not any(WRITER.encode() in c for r in hub.repos.values() for c in r.commits[-1].files.values())


def spoilt(change: Change) -> Any:
    """The right JSON, changed in place."""
    return lambda status, held, body: (status, held, (change(data := json.loads(body)), json.dumps(data).encode())[1])


def elsewhere(batch: dict[str, Any]) -> None:
    batch["objects"][0]["actions"]["upload"]["href"] = "file:///etc/passwd"


ANSWERS: dict[str, tuple[str, Any, str]] = {
    "of a repository, a list": ("GET /api/models/", body(b"[]"), ""),
    "of a repository, nested": ("GET /api/models/", body(b"[" * 10**6), ""),
    "of a repository, other files": ("GET /api/models/", spoilt(lambda d: d.update(siblings=[5])), ""),
    "of a hash that is a path": (f"HEAD .*{CARD}", headers(ETag=f'"{EVIL}"'), "is no hash"),
    "of a commit that is a path": (f"HEAD .*{CARD}", headers(X_Repo_Commit=EVIL), "is no hash"),
    "of uploads to a file": ("POST .*batch", spoilt(elsewhere), ""),
    "of uploads, nothing": ("POST .*batch", body(b"{}"), ""),
    "of a commit, nothing": ("POST .*/commit/", body(b"{}"), ""),
    "of a commit, another type": ("POST .*/commit/", spoilt(lambda d: d.update(commitOid=5)), "at which commit"),
    "of a commit that paints": ("POST .*/commit/", spoilt(lambda d: d.update(commitOid="\x1b[31m")), "at which commit"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_server_that_answers_strangely_what_is_published(answer, client, hub, good):
    match, rewrite, says = ANSWERS[answer]
    hub.put(MINE, {CARD: b"Mine."})
    hub.faults = [Fault(match, 10**6, rewrite=rewrite)]
    refused(client, says, "publish", good, "--to", "acme")


# Lists

ROW = {"id": "evil/x", "tags": ["ganzoo"], "downloads": 1, "private": False, "lastModified": "2026-01-01T00:00:00.000Z"}


def rows(*found: Any) -> Any:
    return body(json.dumps(found).encode())


LISTS: dict[str, tuple[Any, str]] = {
    "nothing": (body(b"null"), ""),
    "text": (body(b'"evil"'), ""),
    "numbers": (rows(1, 2), ""),
    "no JSON": (body(b"<html>"), ""),
    "nested": (body(b"[" * 10**6), ""),
    "no id": (rows({}), ""),
    "a time that is none": (rows({**ROW, "lastModified": "\x1b[31m"}), ""),
}


@pytest.mark.parametrize("case", LISTS)
def test_a_list_that_is_none(case, client, hub):
    rewrite, says = LISTS[case]
    hub.faults = [Fault("GET /api/models", 10**6, rewrite=rewrite)]
    refused(client, says, "list", "--pretrained")


def test_a_list_with_rows_that_are_none(client, hub):
    names = ["../../etc", "evil/\x1b[31mred", "\x1b]0;evil\x07/x", "evil/x\n", "evil--x/y", "e/" + "x" * 10**6, 5, None]
    strange = [{"tags": 5}, {"tags": ["\x1b[31m"]}, {"downloads": "\x1b[31m"}]
    found = rows(*({**ROW, "id": name} for name in names), *({**ROW, **more} for more in strange))
    hub.faults = [Fault("GET /api/models", 10**6, rewrite=found)]
    ended = met(client, "list", "--pretrained")
    assert (ended.code, ended.err) == (0, "")
    assert [line.split()[0] for line in ended.out.splitlines()] == ["evil/x", "evil/x"]


def test_a_list_that_never_ends(client, hub):
    again = {"Link": f'<{hub.endpoint}/api/models?again>; rel="next"'}
    hub.faults = [Fault("GET /api/models", 10**6, rewrite=body(json.dumps([ROW] * 1000).encode(), **again))]
    assert met(client, "list", "--pretrained").code == 0
    assert len(hub.requests) < 20

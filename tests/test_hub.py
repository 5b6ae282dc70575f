"""Publishing and loading with the unmodified client over real HTTP; each client is a process with a home of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from hubs import Client, files_of, make_model
from loopback import READER, Fault, Hub, User
from processes import forked

import ganzoo
from ganzoo import hub as hubs
from ganzoo.card import BEGIN, END, split
from ganzoo.claims import compare
from ganzoo.errors import UsageError
from ganzoo.files import sha256
from ganzoo.origin import CARD, CONFIG, CRITIC, FILES, METRICS, SAMPLES, WEIGHTS, Origin

RING = "acme/js-gan.ring"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as made:
        yield made


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Client:
    return Client(hub, tmp_path)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small one that was never trained."""
    return make_model(tmp_path_factory.mktemp("models") / "js-gan.ring", generator_hidden=32)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a small bench leaves: two models, of two seeds."""
    folder = tmp_path_factory.mktemp("bench")
    ended = forked("bench", "mle-gaussian.ring", "mle-gmm.mixture-1d", "--seeds", 2, "--jobs", 2, cwd=folder)
    assert ended.code == 0, ended.err
    return folder / "bench" / "default"


def made(hub: Hub, method: str = "POST") -> list[str]:
    return [request.path for request in hub.requests if request.method == method]


def on(hub: Hub, repo: str, kind: str = "model") -> dict[str, bytes]:
    return hub.repos[kind, repo].commits[-1].files


# Names


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("acme/x", "acme/x", "main"),
        ("acme/js-gan.ring@v1", "acme/js-gan.ring", "v1"),
        ("hf-hub:acme/x@refs/pr/1", "acme/x", "refs/pr/1"),
        ("acme/x@0123456789abcdef0123456789abcdef01234567", "acme/x", "0123456789abcdef0123456789abcdef01234567"),
    ],
)
def test_names_that_mean_a_model_on_the_hub(text, repo, revision):
    reference = hubs.Reference.parse(text)
    assert reference == hubs.Reference(repo, revision)
    assert hubs.Reference.parse(str(reference)) == reference


@pytest.mark.parametrize("text", ["x", "a/b/c", "/a/b", "a/", "a/..", "../b", "a--b/c", "a b/c", "a/b\n", "-a/b"])
def test_names_that_mean_none(text):
    assert hubs.Reference.parse(text) is None
    with pytest.raises(UsageError, match="names no model"):
        hubs.Reference.parse(f"hf-hub:{text}")


def test_two_revisions_are_one_too_many():
    with pytest.raises(UsageError, match="two revisions"):
        hubs.Reference.parse("a/b@v1", "v2")


# There and back


@pytest.mark.parametrize("mode", ["lfs", "regular"])
def test_fifty_megabytes_there_and_back(mode, tmp_path):
    """By branch, tag and commit; a second time nothing is sent, and nothing is asked for a commit in the cache."""
    big = make_model(tmp_path / "big", generator_hidden=3600, generator_depth=2)
    assert (big / WEIGHTS).stat().st_size > 50e6
    with Hub(mode=mode) as hub:
        client = Client(hub, tmp_path / "sender")
        assert "created acme/js-gan.ring at" in client.good("publish", big, "--to", "acme", "--tag", "v1")
        assert set(on(hub, RING)) == {CONFIG, WEIGHTS, CRITIC, CARD, ".gitattributes"}
        assert on(hub, RING)[WEIGHTS] == (big / WEIGHTS).read_bytes()
        commit = hub.repos["model", RING].main
        hub.reset()
        assert client.good("publish", big, "--to", "acme", "--tag", "v1").startswith(
            f"unchanged {RING} at {commit[:12]}"
        )
        assert made(hub) == made(hub, "PUT") == []
        other = Client(hub, tmp_path / "receiver", token=None)
        folders = [Path(other.good("download", f"{RING}{at}").strip()) for at in ("", "@v1", f"@{commit}")]
        assert set(folders) == {other.cache / "models--acme--js-gan.ring" / "snapshots" / commit}
        assert sha256((folders[0] / WEIGHTS).read_bytes()) == sha256((big / WEIGHTS).read_bytes())
        hub.reset()
        out = other.good("sample", f"{RING}@{commit}", "-n", 4, "--seed", 3, "--out", "x.safetensors")
        assert "4 samples of js-gan.ring" in out
        assert hub.requests == []
        forked("sample", big, "-n", 4, "--seed", 3, "--out", "y.safetensors", cwd=other.folder)
        assert (other.folder / "x.safetensors").read_bytes() == (other.folder / "y.safetensors").read_bytes()


def test_what_a_bench_publishes(bench, client, hub):
    out = client.good("publish", bench, "--to", "acme")
    assert "3 repositories: 3 created" in out
    files = on(hub, "acme/mle-gaussian.ring")
    assert set(files) == {CONFIG, WEIGHTS, METRICS, SAMPLES, CARD, ".gitattributes"}
    config = json.loads(files[CONFIG])
    assert config["needs"] == {"ganzoo": ganzoo.__version__}
    assert (config["seed"], config["step"]) == (0, config["recipe"]["steps"])
    assert config["sha256"] == {WEIGHTS: sha256(files[WEIGHTS])}
    front, body = split(files[CARD].decode())
    assert front["library_name"] == "ganzoo"
    assert front["datasets"] == ["ring"]
    assert front["pipeline_tag"] == "other"
    results = {m["type"]: m for m in front["model-index"][0]["results"][0]["metrics"]}
    entry = json.loads(files[METRICS])["entries"][0]
    assert results["kl"]["value"] == pytest.approx(entry["metrics"]["kl"]["last"]["mean"], rel=1e-5)
    assert results["kl"]["args"]["seeds"] == [0, 1]
    assert results["energy-distance"]["args"]["extractor"] == "none"
    assert "2,500 generated" in results["energy-distance"]["args"]["estimator"]
    assert 'ganzoo.load("acme/mle-gaussian.ring")' in body
    assert "ganzoo bench --from acme/mle-gaussian.ring" in body
    page = on(hub, "acme/ganzoo-leaderboard-default", "space")
    assert page["index.html"] == (bench / "index.html").read_bytes()
    assert page["leaderboard.json"] == (bench / "leaderboard.json").read_bytes()
    assert split(page[CARD].decode())[0]["sdk"] == "static"
    assert hub.repos["space", "acme/ganzoo-leaderboard-default"].sdk == "static"
    hub.reset()
    assert "3 repositories: 3 unchanged" in client.good("publish", bench, "--to", "acme")
    assert made(hub) == []
    # The bench itself, asked again, finds everything done and leaves what it had left.
    again = ("bench", "mle-gaussian.ring", "mle-gmm.mixture-1d", "--seeds", 2, "--jobs", 2)
    assert "3 unchanged" in client.good(*again, "--out", bench, "--publish", "acme")
    assert made(hub) == []


def test_a_dry_run_sends_nothing_and_needs_no_token(model, hub, tmp_path):
    client = Client(hub, tmp_path, token=None)
    assert "would create acme/js-gan.ring: config.json" in client.good("publish", model, "--to", "acme", "--dry-run")
    assert made(hub) == []
    assert hub.repos == {}
    hub.stop()
    ended = client("publish", model, "--to", "acme", "--dry-run")
    assert ended.code == 0, ended.err
    assert "cannot be asked" in ended.err


def test_what_was_trained_is_published_with_all_its_seeds(client, hub):
    assert client("train", "mle-gaussian.mixture-1d", "--steps", 10, "--seeds", 2, "--device", "cpu").code == 0
    for what in ("created", "unchanged"):
        assert client.good("publish", "runs/mle-gaussian.mixture-1d", "--to", "acme/mine", "--tag", "v1").startswith(
            what
        )
    files = on(hub, "acme/mine")
    assert set(files) >= {CONFIG, WEIGHTS, METRICS, SAMPLES, CARD}
    text = files[CARD].decode()
    assert "over 2 seeds" in text
    assert "ganzoo train" not in text  # 10 steps are not what the name alone would train
    client.good("publish", "runs/mle-gaussian.mixture-1d/seed-1", "--to", "acme/second")
    assert json.loads(on(hub, "acme/second")[CONFIG])["seed"] == 1
    assert "One seed" in on(hub, "acme/second")[CARD].decode()
    ended = client("bench", "--from", "acme/second", "--jobs", 1, "--json")
    assert ended.code == 0, ended.err
    board = json.loads(ended.out)
    assert [run["seed"] for run in board["entries"][0]["runs"]] == [1]
    assert {each["verdict"] for each in board["comparison"]} == {"same"}


def test_words_that_people_wrote_are_kept(model, client, hub):
    client.good("publish", model, "--to", "acme")
    first = on(hub, RING)[CARD].decode()
    front, _ = split(first)
    written = first.replace(BEGIN, f"Mine, before.\n\n{BEGIN}").rstrip() + "\n\nMine, after.\n"
    written = written.replace("license: apache-2.0", "license: mit\nlanguage: de")
    stale = written.replace("# js-gan.ring", "# js-gan.ring, as it was")
    hub.put(RING, {CARD: stale.replace("\n", "\r\n").encode()})
    assert "updated acme/js-gan.ring" in client.good("publish", model, "--to", "acme")
    now = on(hub, RING)[CARD].decode()
    assert split(now)[1] == split(written)[1]
    assert "as it was" not in now
    assert split(now)[0] == {**front, "license": "mit", "language": "de"}
    assert "unchanged" in client.good("publish", model, "--to", "acme")
    hub.put(RING, {CARD: b"Only mine."})
    client.good("publish", model, "--to", "acme")
    now = on(hub, RING)[CARD].decode()
    assert split(now)[1].strip().startswith(f"Only mine.\n\n{BEGIN}")
    assert now.rstrip().endswith(END)


def test_what_is_said_of_other_weights_goes(model, client, hub):
    client.good("publish", model, "--to", "acme")
    hub.put(RING, {SAMPLES: b"old", "notes.txt": b"mine"})
    assert "unchanged" in client.good("publish", model, "--to", "acme")
    out = client.good("publish", make_model(client.folder / "js-gan.ring", generator_hidden=16), "--to", "acme")
    assert "−samples.png" in out
    assert "notes.txt" in on(hub, RING)
    assert SAMPLES not in on(hub, RING)


def test_a_pull_request_leaves_main_alone(model, client, hub):
    client.good("publish", model, "--to", "acme")
    before = hub.repos["model", RING].main
    changed = make_model(client.folder / "js-gan.ring", generator_hidden=16)
    out = client.good("publish", changed, "--to", "acme", "--create-pr")
    assert out.startswith("proposed acme/js-gan.ring")
    assert "/discussions/1" in out
    assert hub.repos["model", RING].main == before
    assert len(hub.repos["model", RING].pull_requests) == 1
    hub.faults = [Fault("POST .*/commit/", lose_answer=True)]  # it was made, and is not made again
    assert client("publish", changed, "--to", "acme", "--create-pr").code == 1
    assert len(hub.repos["model", RING].pull_requests) == 2
    assert client("publish", changed, "--to", "acme/new", "--create-pr").code == 1
    assert ("model", "acme/new") not in hub.repos
    assert client("publish", changed, "--to", "acme", "--create-pr", "--tag", "v").code == 2


def test_a_tag_stays_where_it_is(model, client, hub):
    client.good("publish", model, "--to", "acme", "--tag", "v1")
    first = hub.repos["model", RING].main
    changed = make_model(client.folder / "js-gan.ring", generator_hidden=16)
    ended = client("publish", changed, "--to", "acme", "--tag", "v1")
    assert ended.code == 1
    assert "names another commit" in ended.err
    assert "are published" in ended.err
    assert client("publish", changed, "--to", "acme", "--tag", "a b").code == 2
    assert hub.repos["model", RING].tags == {"v1": first}
    assert json.loads(on(hub, RING)[CONFIG])["generator"]["options"]["hidden"] == 16


def test_one_that_fails_does_not_keep_the_others_from_it(bench, client, hub):
    hub.faults = [Fault(r"GET /api/models/acme/mle-gaussian\.ring", 1, 403)]
    ended = client("publish", bench, "--to", "acme", "--json")
    assert ended.code == 1
    rows = json.loads(ended.out)
    assert [("error" in row, row.get("what")) for row in rows] == [(True, None), (False, "created"), (False, "created")]
    assert "same command" in ended.err


# From Python


PYTHON = """
import json, torch, ganzoo
model = ganzoo.Model.from_pretrained({repo!r})
x = model.sample(3, seed=1).x
model.save_pretrained("saved")
again = ganzoo.load("saved")
assert torch.equal(again.sample(3, seed=1).x, x)
verdict = model.discriminator(x)
assert verdict.score.shape[0] == 3
assert not any(p.requires_grad for p in model.discriminator.parameters())
print(model.push_to_hub("acme/pushed", private=True).what)
with torch.no_grad():
    next(model.generator.parameters()).add_(1)
model.save_pretrained("changed", push_to_hub=True, repo_id="acme/changed")
print(ganzoo.load("hf-hub:acme/changed@main").config["weights"])
"""


def test_the_names_that_people_know(model, client, hub):
    client.good("publish", model, "--to", "acme")
    ended = client.python(PYTHON.format(repo=RING))
    assert ended.code == 0, ended.err
    assert ended.out.splitlines() == ["created", "changed after training"]
    assert hub.repos["model", "acme/pushed"].private
    same = {name: data for name, data in on(hub, "acme/pushed").items() if name in (CONFIG, WEIGHTS, CRITIC)}
    assert same == {name: data for name, data in on(hub, RING).items() if name in same}
    assert CRITIC not in on(hub, "acme/changed")


OFFLINE = """
import ganzoo, pickle
model = ganzoo.load("acme/full", local_files_only=True, token="hf_secretsecret")
assert "hf_secret" not in repr(model.origin) and b"hf_secret" not in pickle.dumps(model.origin)
try:
    model.push_to_hub("acme/full")
except ganzoo.GanzooError as error:
    print(error)
try:
    model.save_pretrained("x", private=True)
except ganzoo.GanzooError as error:
    print(error)
"""


def test_nothing_goes_that_could_not_be_looked_for(model, client, hub):
    hub.put("acme/full", {**files_of(model), SAMPLES: b"picture"})
    client.good("sample", "acme/full", "-n", 1, "--out", "x.npz")
    ended = client.python(OFFLINE)
    assert "is not known offline" in ended.out, ended.err
    assert "private needs push_to_hub=True" in ended.out
    assert SAMPLES in on(hub, "acme/full")


def test_a_name_alone_is_ones_own(model, client, hub):
    ended = client.python(f"import ganzoo; print(ganzoo.load({str(model)!r}).push_to_hub('mine').repo)")
    assert ended.out == "acme/mine\n", ended.err


def test_half_a_model_in_the_cache_and_a_hub_that_fails_once(model, client, hub):
    hub.put("acme/x", files_of(model))
    client.good("sample", "acme/x", "-n", 1, "--out", "x.npz")
    for path in client.cache.glob(f"*/snapshots/*/{WEIGHTS}"):
        path.unlink()
    hub.faults = [Fault("HEAD", 1, 503)]
    client.good("sample", "acme/x", "-n", 1, "--out", "x.npz")


def test_a_commit_without_a_discriminator_is_asked_for_once(client, hub):
    hub.put("acme/x", files_of(make_model(client.folder / "m", "mle-gaussian.ring")))
    at = f"acme/x@{hub.repos['model', 'acme/x'].main}"
    client.good("download", at)
    hub.reset()
    client.good("download", at)
    assert hub.requests == []


def test_a_folder_comes_before_the_hub(model, client, hub):
    shutil.copytree(model, client.folder / "acme" / "here")
    client.good("sample", "acme/here", "-n", 2, "--out", "x.npz")
    assert hub.requests == []
    ended = client("sample", "acme/gone", "-n", 2, "--out", "x.npz")
    assert ended.code == 1
    assert "there is none of this name" in ended.err
    assert "no folder acme/gone" in ended.err


# Finding


def test_what_is_on_the_hub_is_listed(hub, tmp_path):
    hub.page_size = 2
    card = b"---\nlibrary_name: ganzoo\ntags: [ganzoo]\n---\n"
    for name in ("acme/js-gan.ring", "acme/r3gan.grid", "other/js-gan.grid", "other/wgan.ring"):
        hub.put(name, {CARD: card})
    hub.put("acme/hidden.ring", {CARD: card}, private=True)
    hub.put("acme/not-ours", {CARD: b"---\ntags: [gpt]\n---\n"})
    client, stranger = Client(hub, tmp_path / "a"), Client(hub, tmp_path / "b", token=None)

    def names(who: Client, *args: str) -> set[str]:
        return {row["id"] for row in json.loads(who.good("list", "--pretrained", *args, "--json"))}

    everything = {"acme/js-gan.ring", "acme/r3gan.grid", "other/js-gan.grid", "other/wgan.ring"}
    assert names(stranger) == everything
    assert names(client) == {*everything, "acme/hidden.ring"}
    assert names(client, "js-*") == {"acme/js-gan.ring", "other/js-gan.grid"}
    assert names(client, "other/*") == names(client, "--org", "other") == {"other/js-gan.grid", "other/wgan.ring"}
    assert "private" in client.good("list", "--pretrained", "hidden*")
    nothing = client("list", "--pretrained", "x-*")
    assert (nothing.code, nothing.out) == (0, "")
    assert "no model of ganzoo's matches 'x-*'" in nothing.err
    assert client("list", "--org", "acme").code == 2
    assert client("list", "--pretrained", "a", "b").code == 2


# Who may


def test_who_may_read_what_is_private(model, hub, tmp_path):
    hub.put("acme/secret", files_of(model), private=True)
    who = {None: "hf auth login", READER: "your token may not see it", "hf_nobodyknowsthis": "token"}
    for token, says in who.items():
        ended = Client(hub, tmp_path / str(token), token=token)("download", "acme/secret")
        assert ended.code == 1
        assert says in ended.err
        assert "Traceback" not in ended.err
        assert str(token) not in ended.err
    Client(hub, tmp_path / "acme").good("download", "acme/secret")


@pytest.mark.parametrize(
    ("token", "to", "says"),
    [(None, "acme", "HF_TOKEN"), (READER, "reader", "may not do this"), ("hf_unknownunknown", "acme", "token")],
)
def test_who_may_not_publish(token, to, says, model, hub, tmp_path):
    ended = Client(hub, tmp_path, token=token)("publish", model, "--to", to)
    assert ended.code == 1
    assert says in ended.err
    assert "Traceback" not in ended.err
    assert hub.repos == {}


def test_a_token_that_may_only_read_what_is_there(model, client, hub):
    client.good("publish", model, "--to", "acme")
    hub.users[client.token or ""] = User("acme", "read")
    changed = make_model(client.folder / "js-gan.ring", generator_hidden=16)
    ended = client("publish", changed, "--to", "acme")
    assert ended.code == 1
    assert "may not do this" in ended.err


def test_a_private_repository_is_made_private_and_a_public_one_gets_nothing(model, client, hub):
    client.good("publish", model, "--to", "acme", "--private")
    assert hub.repos["model", RING].private
    hub.put("acme/open", {"x": b""})
    ended = client("publish", model, "--to", "acme/open", "--private")
    assert ended.code == 1
    assert "and public" in ended.err
    assert set(on(hub, "acme/open")) == {"x", ".gitattributes"}


def test_no_token_in_what_is_sent_or_said(model, client, hub):
    folder = client.folder / "js-gan.ring"
    shutil.copytree(model, folder)
    (folder / METRICS).write_text(json.dumps({"format": 1, "entries": [{"recipe": client.token}]}))
    ended = client("--debug", "publish", folder, "--to", "acme")
    assert ended.code == 1
    assert hub.repos == {} or METRICS not in on(hub, RING)
    hub.faults = [Fault("HEAD", 1, 403, {"X-Error-Message": f"your token {client.token} is bad"})]
    assert "hf_…" in client("download", RING).err


# Without the Hub


def test_without_the_hub_what_is_in_the_cache_serves(model, hub, tmp_path):
    hub.put("acme/x", files_of(model), tag="v1")
    client = Client(hub, tmp_path)
    client.good("download", "acme/x")
    offline = Client(hub, tmp_path, more={"HF_HUB_OFFLINE": "1"})
    empty = Client(hub, tmp_path, home="other", more={"HF_HUB_OFFLINE": "1"})
    hub.reset()
    assert "2 samples" in offline.good("sample", "acme/x", "-n", 2, "--out", "x.npz")
    for asked in (("sample", "acme/x@v1"), ("sample", "acme/y")):
        ended = offline(*asked)
        assert ended.code == 1
        assert "HF_HUB_OFFLINE" in ended.err
    assert "HF_HUB_OFFLINE" in empty("sample", "acme/x").err
    assert empty("list", "--pretrained").code == 1
    assert hub.requests == []
    hub.stop()
    ended = client("sample", "acme/x", "-n", 2, "--out", "y.npz")
    assert ended.code == 0, ended.err
    assert "using the copy of acme/x in the cache" in ended.err
    local = client.python("import ganzoo; ganzoo.load('acme/x', local_files_only=True); print('there')")
    assert local.out == "there\n"


def test_a_branch_in_the_cache_costs_one_request_and_follows_the_hub(model, hub, client):
    hub.put("acme/x", files_of(model))
    client.good("sample", "acme/x", "-n", 1, "--out", "a.npz")
    hub.reset()
    client.good("sample", "acme/x", "-n", 1, "--out", "a.npz")
    assert [request.method for request in hub.requests] == ["HEAD"]
    hub.put("acme/x", files_of(make_model(client.folder / "new", generator_hidden=16)))
    out = client.python("import ganzoo; print(ganzoo.load('acme/x').config['generator']['options']['hidden'])").out
    assert out == "16\n"


def test_what_is_damaged_in_the_cache_is_found_and_mended(model, hub, client):
    hub.put("acme/x", files_of(model))
    folder = Path(client.good("download", "acme/x").strip())
    blob = (folder / WEIGHTS).resolve()
    data = blob.read_bytes()
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    ended = client("sample", "acme/x")
    assert ended.code == 1
    assert "ganzoo download ORG/NAME --force" in ended.err
    client.good("download", "acme/x", "--force")
    assert blob.read_bytes() == data
    client.good("download", "acme/x", "--out", "copy")
    assert files_of(client.folder / "copy") == files_of(model)


def test_only_what_is_named_is_fetched_and_not_more_than_is_allowed(model, hub, client):
    hub.put("acme/x", {**files_of(model), "pytorch_model.bin": b"pickle", "evil.py": b"import os"})
    ended = client("download", "acme/x", "--max-size", "10kB")
    assert ended.code == 1
    assert "--max-size" in ended.err
    assert not any(request.method == "GET" for request in hub.requests)
    client.good("download", "acme/x")
    fetched = {request.path.rpartition("/")[2] for request in hub.requests if request.method in ("GET", "HEAD")}
    assert fetched <= set(FILES)


# Faults


WAYS = {  # each request of a publication, in its order
    "look": r"GET /api/models/acme/js-gan\.ring\?",
    "create": "POST /api/repos/create",
    "validate": "POST /api/validate-yaml",
    "preupload": "POST .*/preupload/",
    "batch": "POST .*/objects/batch",
    "put": r"PUT ",
    "commit": "POST .*/commit/",
    "refs": "GET .*/refs",
    "tag": "POST .*/tag/",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 429, "headers": {"Retry-After": "0"}},
        {"drop_after": 20, "reset": True},
        {"lose_answer": True},
    ],
    ids=["503", "429", "dropped", "lost"],
)
def test_whatever_fails_by_chance_is_tried_again(fault, model, client, hub):
    """Each kind of request fails once, and the command does what it was to do."""
    # Where a creation's answer is lost, what comes next finds the repository: the client takes that for granted.
    client.hurried = True
    hub.faults = [Fault(where, **fault) for where in WAYS.values()]
    out = client.good("publish", model, "--to", "acme", "--tag", "v1")
    assert out.startswith(("created", "updated", "unchanged"))
    assert hub.faults == []
    assert {name: on(hub, RING)[name] for name in (CONFIG, WEIGHTS, CRITIC)} == files_of(model)
    assert hub.repos["model", RING].tags == {"v1": hub.repos["model", RING].main}
    assert len(hub.repos["model", RING].commits) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 429},
        {"drop_after": 2_000},
        {"drop_after": 2_000, "reset": True},
        {"lose_answer": True},
    ],
    ids=["503", "429", "cut", "reset", "lost"],
)
def test_a_download_survives_what_fails_by_chance(fault, model, client, hub):
    hub.put("acme/x", files_of(model))
    hub.faults = [Fault(f"{method} .*{name}", **fault) for name in (CONFIG, WEIGHTS) for method in ("HEAD", "GET")]
    client.hurried = True
    client.good("download", "acme/x", "--out", "copy")
    assert files_of(client.folder / "copy") == files_of(model)


@pytest.mark.slow
def test_a_storm_passes(model, client, hub):
    hub.faults = [Fault("POST .*/commit/", 3, 503), Fault("POST /api/repos/create", 3, 429)]
    assert "created" in client.good("publish", model, "--to", "acme")
    client.hurried = True  # the same again, for what is read
    hub.faults = [Fault("GET .*/resolve/", 3, 503)]
    client.good("download", RING)
    hub.faults = [Fault("HEAD", 100, 500)]
    other = Client(hub, client.folder, home="other")
    with other.starts("download", RING) as process:
        process.until(lambda: "trying again" in process.err.read_text())
    assert "answered 500" in process.err.read_text()


@pytest.mark.slow
def test_the_server_dies_in_the_middle_of_an_upload(client, hub):
    big = make_model(client.folder / "big", generator_hidden=3600, generator_depth=2)
    with client.starts("publish", big, "--to", "acme") as process:
        process.until(lambda: any(r.method == "PUT" and r.received > 1e6 for r in hub.requests))
        hub.stop()
        hub.start()
        ended = process.wait()
    assert ended.code == 0, ended.err
    assert on(hub, RING)[WEIGHTS] == (big / WEIGHTS).read_bytes()


@pytest.mark.slow
def test_killed_in_the_middle_the_same_command_finishes(client, hub):
    """What had arrived is not sent again."""
    big = make_model(client.folder / "big", generator_hidden=3600, generator_depth=2)
    # The smaller of two files has arrived when the process is killed in the larger one.
    with client.starts("publish", big, "--to", "acme") as process:
        process.until(lambda: any(r.method == "PUT" and r.received > 1e6 for r in hub.requests))
        process.kill()
    assert WEIGHTS not in on(hub, RING)
    arrived = set(hub.objects)
    hub.reset()
    client.good("publish", big, "--to", "acme")
    assert on(hub, RING)[WEIGHTS] == (big / WEIGHTS).read_bytes()
    sent = [path.rpartition("/")[2] for path in made(hub, "PUT")]
    assert not arrived & set(sent)


@pytest.mark.slow
def test_a_download_that_is_cut_off_is_finished_by_the_same_command(client, hub):
    big = make_model(client.folder / "big", generator_hidden=3600, generator_depth=2)
    hub.put("acme/x", files_of(big))
    with client.starts("download", "acme/x") as process:
        process.until(lambda: any(r.method == "GET" and r.sent > 1e6 for r in hub.requests))
        process.kill()
        hub.stop()
    ended = client("sample", f"acme/x@{hub.repos['model', 'acme/x'].main}", "--out", "x.npz")
    assert ended.code == 1, "half a model was used"
    hub.start()
    client.good("download", "acme/x", "--out", "copy")
    assert files_of(client.folder / "copy") == files_of(big)


def test_somebody_else_publishes_at_the_same_moment(model, client, hub):
    """The card is made anew from what is there then, so that no words are lost."""
    client.good("publish", model, "--to", "acme")
    changed = make_model(client.folder / "js-gan.ring", generator_hidden=16)

    def race(status: int, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        hub.put(RING, {CARD: on(hub, RING)[CARD] + b"\nWritten in this moment.\n"})
        return status, headers, body

    hub.faults = [Fault("POST .*/preupload/", rewrite=race)]
    client.good("publish", changed, "--to", "acme")
    assert "Written in this moment." in on(hub, RING)[CARD].decode()
    assert json.loads(on(hub, RING)[CONFIG])["generator"]["options"]["hidden"] == 16


# What a model says of itself


@pytest.fixture
def published(bench: Path, client: Client, hub: Hub) -> Client:
    client.good("publish", bench / "models" / "mle-gmm.mixture-1d", "--to", "acme/x")
    return client


def change(hub: Hub, name: str, old: str, new: str) -> None:
    text = on(hub, "acme/x")[name].decode()
    assert old in text
    hub.put("acme/x", {name: text.replace(old, new, 1).encode()})


def test_a_seed_that_gives_another_number_where_the_others_are_the_same_differs():
    metric = {"last": {"values": [1.0, 2.0]}}
    runs = [{"seed": 0, "status": "finished"}, {"seed": 1, "status": "finished"}]
    now = {"runs": runs, "metrics": dict.fromkeys("abc", metric)}

    class Said:
        config: ClassVar = {"metrics": {"a": 1.0, "b": 1.0, "c": 60.0}, "seed": 0}
        origin = Origin(Path("nowhere"))

    verdicts = {each.metric: each.verdict for each in compare(Said(), {"entries": [now]})}  # pyright: ignore
    assert verdicts == {"a": "same", "b": "same", "c": "differs"}


def test_a_card_that_holds(published):
    ended = published("evaluate", "acme/x", "--json", "--draws", 5)
    assert ended.code == 0, ended.err
    checked = json.loads(ended.out)
    assert checked["holds"]
    assert {claim["verdict"] for claim in checked["claims"]} == {"same"}
    assert "All " in published.good("evaluate", "acme/x", "--draws", 5)


def test_a_card_that_does_not_hold(published, hub):
    value = json.loads(on(hub, "acme/x")[CONFIG])["metrics"]["energy-distance"]
    change(hub, CONFIG, json.dumps(value), json.dumps(value / 100 - 1))
    ended = published("evaluate", "acme/x", "--json", "--draws", 5)
    assert ended.code == 1
    checked = json.loads(ended.out)
    verdicts = {claim["metric"]: claim["verdict"] for claim in checked["claims"]}
    assert verdicts.pop("energy-distance") == "does not hold"
    assert set(verdicts.values()) == {"same"}
    assert len(checked["contradictions"]) == 1


def test_a_card_that_contradicts_its_own_files(published, hub):
    front, _ = split(on(hub, "acme/x")[CARD].decode())
    value = front["model-index"][0]["results"][0]["metrics"][0]["value"]
    change(hub, CARD, f"value: {value}", "value: 0.125")
    ended = published("evaluate", "acme/x", "--draws", 5)
    assert ended.code == 1
    assert "contradiction: " in ended.out
    assert "0.125" in ended.out


def test_a_table_or_a_mean_that_its_numbers_do_not_give(published, hub):
    text = on(hub, "acme/x")[CARD].decode()
    row = next(line for line in text.splitlines() if line.startswith("| energy-distance"))
    board = json.loads(on(hub, "acme/x")[METRICS])
    board["entries"][0]["metrics"]["kl"]["last"]["mean"] = 1e-9
    for name, content in ((CARD, text.replace(row, row.replace("|", "| 0.000001 |", 1))), (METRICS, json.dumps(board))):
        before = on(hub, "acme/x")[name]
        hub.put("acme/x", {name: content.encode()})
        ended = published("evaluate", "acme/x", "--draws", 5)
        assert ended.code == 1
        assert "contradiction: " in ended.out
        hub.put("acme/x", {name: before})


def test_what_cannot_be_computed_here_is_not_called_false(published, hub):
    change(hub, CONFIG, '"metrics": {', '"metrics": {"metric-of-a-plugin": 1.0, ')
    board = json.loads(on(hub, "acme/x")[METRICS])
    board["entries"][0]["metrics"]["metric-of-a-plugin"] = {"how": "", "last": {"mean": 1.0, "values": [1.0, 1.0]}}
    board["entries"][0]["metrics"]["metric-of-a-plugin"]["last"]["half_width"] = 0.0
    board["metrics"]["metric-of-a-plugin"] = {"unit": "", "better": "lower", "summary": ""}
    hub.put("acme/x", {METRICS: json.dumps(board).encode()})
    ended = published("evaluate", "acme/x", "--draws", 5)
    assert ended.code == 1
    assert "1 of its numbers cannot be computed here" in ended.out


def test_other_weights_than_those_that_were_measured_do_not_hold(published, hub, tmp_path):
    other = make_model(tmp_path / "other", "mle-gmm.mixture-1d")
    files = files_of(other)
    config = json.loads(on(hub, "acme/x")[CONFIG]) | {"sha256": json.loads(files[CONFIG])["sha256"]}
    hub.put("acme/x", {WEIGHTS: files[WEIGHTS], CONFIG: json.dumps(config).encode()})
    ended = published("evaluate", "acme/x", "--json", "--draws", 5)
    assert ended.code == 1
    assert "does not hold" in {claim["verdict"] for claim in json.loads(ended.out)["claims"]}


@pytest.mark.slow
def test_a_published_model_is_trained_again(published):
    out = published.good("bench", "--from", "acme/x", "--jobs", 2, "--out", "again")
    assert "acme/x trained again" in out
    table = out.partition("trained again, last step")[2]
    assert "same" in table
    assert "differs" not in table.partition("Mean ±")[0]
    ended = published("bench", "--from", "acme/x", "mle-gmm.ring")
    assert ended.code == 2


@pytest.mark.slow
def test_a_bench_publishes_what_it_trained(client, hub):
    args = ("bench", "mle-gaussian.mixture-1d", "--seeds", 1, "--jobs", 1, "--publish", "acme")
    out = client.good(*args, "--dry-run")
    assert "would create acme/mle-gaussian.mixture-1d" in out
    assert hub.repos == {}
    out = client.good(*args, "--tag", "v1", "--private")
    assert "2 repositories: 2 created" in out
    assert {repo.private for repo in hub.repos.values()} == {True}
    assert {len(repo.tags) for repo in hub.repos.values()} == {1}
    json.loads(client.good(*args, "--json"))
    assert Client(hub, client.folder, token=None)("bench", "mle-gaussian.ring", "--publish", "acme").code == 1
    assert client("bench", "mle-gaussian.ring", "--tag", "v1").code == 2


def test_xet_is_not_there_and_is_said_so(model, hub, tmp_path):
    """Where the Hub stores files in another way than this machine can send them, that is a clear error."""
    client = Client(hub, tmp_path, more={"HF_HUB_DISABLE_XET": "0"}, hurried=True)
    ended = client("publish", model, "--to", "acme")
    assert "Traceback" not in ended.err
    hub.mode = "regular"
    client.good("publish", model, "--to", "acme")

"""A model that translates is published, downloaded, evaluated, resumed and used like any other, by real processes.

It is that of the plugin ganzoo-stargan on points in the plane.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hubs import Client
from loopback import Hub
from processes import same
from test_resume import kill_after

from ganzoo.origin import CARD, CONFIG, CRITIC, WEIGHTS

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ganzoo_stargan") is None, reason="the plugin ganzoo-stargan is not installed"
)
PLUGINS = "ganzoo-stargan,ganzoo-conditional,ganzoo-images,ganzoo-divergences,ganzoo-flows"
TRAIN = ("train", "stargan.ring", "--steps", "200", "--checkpoint-seconds", "0", "--device", "cpu")


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as made:
        yield made


@pytest.fixture(scope="module")
def author(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """Somebody who has trained a model."""
    client = Client(hub, tmp_path_factory.mktemp("author"), more={"GANZOO_LOAD_PLUGINS": PLUGINS})
    client.good(*TRAIN, "--out", "run")
    return client


@pytest.fixture(scope="module")
def reader(author: Client, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """Somebody else, after it was published."""
    assert "created" in author.good("publish", "run", "--to", "acme")
    return Client(author.hub, tmp_path_factory.mktemp("reader"), more=author.more)


def test_it_is_killed_and_resumed_and_ends_with_the_same_bits(author: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GANZOO_LOAD_PLUGINS", PLUGINS)
    for seconds in (3.0, 2.5, 3.5):
        kill_after((*TRAIN, "--out", "killed", "--resume"), author.folder, seconds)
    author.good(*TRAIN, "--out", "killed", "--resume")
    one, other = (author.folder / run / "seed-0" / "model" for run in ("run", "killed"))
    assert same(one, other, (WEIGHTS, CRITIC))


def test_it_is_downloaded_and_its_card_holds(reader: Client):
    reader.good("download", "acme/stargan.ring", "--out", "copy")
    assert {WEIGHTS, CRITIC, CONFIG, CARD} <= {path.name for path in (reader.folder / "copy").iterdir()}
    card = (reader.folder / "copy" / CARD).read_text()
    assert "made = model.translate(x, label=0)" in card
    assert "ganzoo sample acme/stargan.ring --source points.npz --to LABEL --out made.npz" in card
    assert "model.sample(" not in card
    ended = reader("evaluate", "acme/stargan.ring", "--draws", 5)
    assert ended.code == 0, ended.out + ended.err
    for metric in ("label-accuracy:reference", "domain-error:reference", "reconstruction", "energy-distance"):
        assert metric in ended.out


def test_what_it_translates_is_the_same_here_and_there(author: Client, reader: Client):
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    for client, model in ((author, "run"), (reader, "acme/stargan.ring")):
        np.savez(client.folder / "points.npz", x=x)
        client.good("sample", model, "--source", "points.npz", "--to", "3", "--to", "0", "--out", "made.npz")
    one, other = (np.load(client.folder / "made.npz") for client in (author, reader))
    assert np.array_equal(one["x"], other["x"])
    assert one["x"].shape == (10, 2)
    assert one["label"].tolist() == [3, 0] * 5
    code = (
        "import numpy as np, torch, ganzoo; model = ganzoo.load('acme/stargan.ring'); "
        "print(model.translate(torch.from_numpy(np.load('points.npz')['x']), 3).tolist())"
    )
    ended = reader.python(code)
    assert ended.code == 0, ended.err
    assert np.array_equal(np.array(json.loads(ended.out), np.float32), one["x"][::2])


def test_how_far_it_is_from_the_data_is_measured(reader: Client):
    out = reader.good("measure", "acme/stargan.ring", "--critics", 1, "--steps", 30, "--json")
    assert json.loads(out)["what"] == "stargan.ring"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--source", "points.npz", "--to", "9"), "has no label '9'; labels are numbers from 0 to 7"),
        (("--source", "points.npz", "--to", "glasses=round"), "has no label 'glasses=round'"),
        (("--source", "points.npz"), "--source and --to go together"),
        (("--to", "3"), "--source and --to go together"),
        (("--source", "nothing.npz", "--to", "3"), "'nothing.npz' does not exist"),
        (("--source", "wide.npz", "--to", "3"), r"takes samples (n, 2), not (5, 3)"),
        (("--source", "nan.npz", "--to", "3"), "takes samples of finite numbers"),
        (("--source", "empty.npz", "--to", "3"), "cannot be read as an .npz archive with an array x"),
        (("--source", "points.npz", "--to", "3", "--label", "2"), "--label does not go with --source"),
        (("--source", "points.npz", "--to", "3", "--out", "made.gif"), "samples are written as .png"),
        (("--source", "points.npz", "--to", "3", "--out", "points.npz"), "--out points.npz is a --source too"),
        (
            ("--source", "whole.npz", "--to", "3"),
            "takes samples of floating-point numbers (data units), not torch.int64",
        ),
        (("--source", "damaged.npz", "--to", "3"), "damaged.npz cannot be read as an .npz archive"),
        ((), "`ganzoo sample MODEL --source FILE --to LABEL`, FILE an .npz archive of x"),
    ],
)
def test_what_cannot_be_done_is_said(author: Client, arguments: tuple[str, ...], said: str):
    np.savez(author.folder / "points.npz", x=np.zeros((5, 2), np.float32))
    np.savez(author.folder / "wide.npz", x=np.zeros((5, 3), np.float32))
    np.savez(author.folder / "nan.npz", x=np.full((5, 2), np.nan, np.float32))
    np.savez(author.folder / "whole.npz", x=np.zeros((5, 2), np.int64))
    np.savez_compressed(author.folder / "damaged.npz", x=np.random.default_rng(0).normal(size=(500, 2)))
    content = bytearray((author.folder / "damaged.npz").read_bytes())
    content[len(content) // 2] ^= 255
    (author.folder / "damaged.npz").write_bytes(content)
    (author.folder / "empty.npz").write_bytes(b"")
    ended = author("sample", "run", *arguments)
    assert ended.code == (1 if {"wide.npz", "empty.npz", "nan.npz", "whole.npz", "damaged.npz"} & set(arguments) else 2)
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_another_clients_model_says_which_plugin_it_needs(author: Client, reader: Client, tmp_path: Path):
    bare = Client(author.hub, tmp_path, more={"GANZOO_LOAD_PLUGINS": ""})
    ended = bare("sample", "acme/stargan.ring")
    assert ended.code == 2
    assert "point-translator" in ended.err

"""Datasets of a Hub on this machine, over real HTTP, by clients that are processes of their own."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import levels
from PIL import Image

#: The core's own tests have a Hub. They are not there where this plugin is tested from its wheel.
LOOPBACK = Path(__file__).parents[3] / "tests" / "loopback.py"
pytestmark = pytest.mark.skipif(
    not LOOPBACK.is_file(), reason="the tests of ganzoo itself are not here, with their Hub"
)

READ = """
import json, sys
from ganzoo.dataset import PARTS
from ganzoo.errors import GanzooError
from ganzoo.part import Part

def read(options):
    try:
        data = Part("dataset", "images", options).build()
        parts = [data.stored(part) for part in PARTS]
    except GanzooError as error:
        return f"{type(error).__name__}: {error}"
    return {
        "shape": data.shape, "labels": data.labels, "rows": [len(part.x) for part in parts],
        "sums": sorted(int(x.long().sum()) for part in parts for x in part.x), "provenance": data.provenance,
    }

print(json.dumps([read(options) for options in json.loads(sys.argv[1])]))
"""


def table(n: int, seed: int, side: int = 8) -> bytes:
    """A Parquet file with images, as ``datasets`` writes it for the Hub."""
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    pictures = [Image.fromarray(image) for image in levels(n, side, side, seed=seed)]
    file = io.BytesIO()
    datasets.Dataset.from_dict({"image": pictures, "label": [i % 2 for i in range(n)]}, features).to_parquet(file)
    return file.getvalue()


def sums(*tables: tuple[int, int]) -> list[int]:
    return sorted(int(image.astype(np.int64).sum()) for n, seed in tables for image in levels(n, 8, 8, seed=seed))


@pytest.fixture
def hub() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("loopback", LOOPBACK)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault("loopback", importlib.util.module_from_spec(spec))
    if not hasattr(module, "Hub"):
        spec.loader.exec_module(module)
    with module.Hub() as hub:
        yield hub


class Client:
    """Somebody with a cache of the Hub's files and one of images, which are empty at first."""

    def __init__(self, hub: Any, folder: Path) -> None:
        self.hub, self.folder = hub, folder

    def run(self, *words: str, **more: str) -> tuple[int, str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "GANZOO_DATA"))}
        mine = {"GANZOO_CACHE": str(self.folder / "cache"), "COLUMNS": "240", "OMP_NUM_THREADS": "1"}
        env = {**own, **self.hub.environment(self.folder / "home", None), **mine, **more}
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout, done.stderr

    def reads(self, *sources: str | dict[str, Any], **more: str) -> list[Any]:
        """What one process finds in each of them, or the error that it meets."""
        options = [{"source": source} if isinstance(source, str) else source for source in sources]
        code, out, err = self.run("-c", READ, json.dumps(options), **more)
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def client(hub: Any, tmp_path: Path) -> Client:
    return Client(hub, tmp_path)


@pytest.fixture
def pets(hub: Any) -> str:
    """The commit of the first of two versions, tagged v1."""
    files = {"data/train-00000-of-00001.parquet": table(30, 0), "data/test-00000-of-00001.parquet": table(10, 1)}
    first = hub.put("acme/pets", files, type="dataset", tag="v1")
    hub.put("acme/pets", {"data/train-00000-of-00001.parquet": table(20, 2)}, type="dataset")
    return first


def test_a_revision_is_pinned_to_its_commit(hub: Any, client: Client, pets: str):
    (tagged,) = client.reads("hf:acme/pets@v1")
    assert tagged["shape"] == [1, 8, 8]
    assert tagged["labels"] == ["cat", "dog"]
    assert tagged["rows"] == [27, 3, 10]
    assert tagged["sums"] == sums((30, 0), (10, 1))
    assert tagged["provenance"]["revision"] == pets
    files = [asked.path for asked in hub.requests if "/resolve/" in asked.path]
    assert files
    assert all(f"/resolve/{pets}/" in path for path in files), "every file is asked for at the commit"
    newest, same = client.reads("hf:acme/pets", f"hf:acme/pets@{pets}")
    assert newest["sums"] == sums((20, 2), (10, 1))
    assert newest["provenance"]["revision"] != pets
    assert same == tagged


def test_what_was_read_once_needs_no_hub(hub: Any, client: Client, pets: str):
    found = client.reads(f"hf:acme/pets@{pets}")
    hub.reset()
    assert client.reads(f"hf:acme/pets@{pets}") == found
    assert hub.requests == [], "nobody was asked"
    hub.stop()
    assert client.reads(f"hf:acme/pets@{pets}", HF_HUB_OFFLINE="1") == found


def test_a_hub_that_is_away(hub: Any, client: Client, pets: str):
    hub.stop()
    (said,) = client.reads("hf:acme/pets")
    for words in ("hf:acme/pets cannot be read", hub.endpoint, "does not answer properly", "HF_HUB_OFFLINE=1"):
        assert words in said
    (said,) = client.reads("hf:acme/pets@v1", HF_HUB_OFFLINE="1")
    for words in ("hf:acme/pets@v1", "HF_HUB_OFFLINE is set", "-o dataset.source=FOLDER", "unset HF_HUB_OFFLINE"):
        assert words in said
    assert not [path for path in (client.folder / "cache" / "images").iterdir() if path.is_dir()]


def test_what_is_not_there(client: Client, pets: str):
    columns, config = ({"source": "hf:acme/pets", **options} for options in ({"label_column": "kind"}, {"config": "s"}))
    none, revision, column, other = client.reads("hf:acme/none", "hf:acme/pets@v9", columns, config)
    assert "DataError: hf:acme/none cannot be read: there is none of this name" in none
    assert "it has no such revision" in revision
    assert column.startswith("OptionError")
    assert "has no column 'kind'" in column
    assert other.startswith("OptionError")
    assert "say which with -o dataset.config=…" in other


def test_a_file_that_is_away(hub: Any, client: Client, pets: str):
    from loopback import Fault

    hub.faults.append(Fault("GET .*test-00000.*parquet", times=100, status=404))
    (said,) = client.reads("hf:acme/pets")
    assert "DataError: test of hf:acme/pets cannot be read" in said
    hub.faults.clear()
    (found,) = client.reads("hf:acme/pets")
    assert found["rows"] == [18, 2, 10]


def test_it_trains_and_the_model_says_what_on(hub: Any, client: Client, pets: str):
    words = ["-m", "ganzoo", "train", "dcgan.images", "-o", "dataset.source=hf:acme/pets@v1", "--steps", "2"]
    words += ["-o", "generator.width=8", "-o", "discriminator.width=8", "--out", "run"]
    code, _, err = client.run(*words)
    assert code == 0, err
    (config,) = (json.loads(path.read_text()) for path in (client.folder / "run").rglob("model/config.json"))
    assert config["data"]["provenance"]["revision"] == pets
    assert config["data"]["labels"] == ["cat", "dog"]


def test_files_that_were_downloaded_are_read_at_another_size_without_a_hub(hub: Any, client: Client):
    """They are downloaded where the dataset says how large they are, and kept by ``datasets``."""
    content = table(30, 0)
    split = {"name": "train", "num_bytes": 4_000, "num_examples": 30}
    about = {"download_size": len(content), "dataset_size": 4_000, "splits": [split]}
    feature = {"names": {"0": "cat", "1": "dog"}}
    columns = [{"name": "image", "dtype": "image"}, {"name": "label", "dtype": {"class_label": feature}}]
    card = f"---\ndataset_info: {json.dumps({'features': columns, **about})}\n---\n"
    files = {"data/train-00000-of-00001.parquet": content, "README.md": card.encode()}
    commit = hub.put("acme/pets", files, type="dataset")
    assert client.reads(f"hf:acme/pets@{commit}")[0]["shape"] == [1, 8, 8]
    hub.stop()
    (found,) = client.reads({"source": f"hf:acme/pets@{commit}", "size": 4}, HF_HUB_OFFLINE="1")
    assert found["shape"] == [1, 4, 4]
    assert found["provenance"]["revision"] == commit

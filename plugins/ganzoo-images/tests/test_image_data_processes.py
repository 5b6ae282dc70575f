"""The cache of decoded images between real processes, and what the command line says of bad images."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import folders, levels, save
from PIL import Image

SECONDS = 120
#: Builds a dataset once a file called "go" is there, and prints what it found.
READ = """
import json, sys, time
from pathlib import Path
from ganzoo.dataset import PARTS
from ganzoo.part import Part
import ganzoo_images.data.images
Path(sys.argv[1]).touch()
while not Path("go").exists():
    time.sleep(0.001)
data = Part("dataset", "images", json.loads(sys.argv[2])).build()
parts = [data.stored(part).x for part in PARTS]
print(json.dumps([[len(x) for x in parts], sum(int(x.long().sum()) for x in parts), data.provenance["sha256"]]))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where processes work; they may go ahead."""
    (tmp_path / "go").touch()
    return tmp_path


def environment(home: Path, **more: str) -> dict[str, str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "GANZOO_DATA"))}
    return {**known, "GANZOO_CACHE": str(home / "cache"), "COLUMNS": "240", "OMP_NUM_THREADS": "1", **more}


def started(*words: object, home: Path, **more: Any) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *map(str, words)], cwd=home, env=environment(home), **pipes, **more)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def reads(home: Path, name: str = "ready", **options: Any) -> subprocess.Popen[str]:
    return started("-c", READ, name, json.dumps(options), home=home)


def read(home: Path, **options: Any) -> tuple[list[Any], str]:
    """What a process finds, and what it says."""
    code, out, err = ended(reads(home, **options))
    assert code == 0, err
    return json.loads(out), err


def kept(home: Path) -> Path:
    """The one folder in the cache."""
    (found,) = (path for path in (home / "cache" / "images").iterdir() if path.is_dir())
    return found


def many(home: Path, n: int = 3_000) -> str:
    """Images that take some time to decode at another size."""
    np.savez(home / "many.npz", x=levels(n, 16, 16), y=np.arange(n) % 3)
    return "many.npz"


# The cache


def test_two_processes_at_once_decode_once(home: Path):
    (home / "go").unlink()
    options = {"source": many(home), "size": 48}
    both = [reads(home, name, **options) for name in ("one", "two")]
    deadline = time.monotonic() + SECONDS
    while not ((home / "one").exists() and (home / "two").exists()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (home / "go").touch()
    (code, out, err), (other_code, other_out, other_err) = map(ended, both)
    assert (code, other_code) == (0, 0), err + other_err
    assert json.loads(out) == json.loads(other_out)
    assert json.loads(out)[0] == [2_400, 300, 300]
    assert (err + other_err).count("decoding") == 1
    found, said = read(home, **options)
    assert found == json.loads(out)
    assert said == ""


def test_a_process_killed_in_the_middle_leaves_what_the_next_one_makes_again(home: Path):
    options = {"source": many(home), "size": 128}
    process, images = reads(home, **options), home / "cache" / "images"
    deadline = time.monotonic() + SECONDS
    while not any(path.stat().st_size for path in images.glob(".many-*/*.raw")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    assert ended(process)[0] == -signal.SIGKILL
    (leftover,) = (path for path in images.iterdir() if path.is_dir())
    assert leftover.name.startswith(".many-"), "it was killed in the middle"
    found, said = read(home, **options)
    assert "decoding" in said
    assert found[0] == [2_400, 300, 300]
    assert not leftover.exists()
    assert [path.name for path in kept(home).iterdir() if path.suffix == ".raw"] == []
    assert read(home, **options) == (found, "")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGE: list[tuple[Any, str]] = [
    (lambda folder: flipped(folder / "x-train.npy"), "x-train.npy is not as it was written"),
    (lambda folder: os.truncate(folder / "x-held-out.npy", 200), "x-held-out.npy is not as it was written"),
    (lambda folder: (folder / "meta.json").write_text("{"), "is damaged"),
]


def test_what_is_damaged_is_made_again(home: Path):
    options = {"source": str(folders(home / "pets"))}
    found, _ = read(home, **options)
    for damage, said in DAMAGE:
        damage(kept(home))
        again, heard = read(home, **options)
        assert again == found
        assert said in heard
        assert "made again" in heard


def test_other_files_are_other_images(home: Path):
    root = folders(home / "pets")
    before, _ = read(home, source=str(root))
    save(root / "cat" / "00.png", levels(8, 8, seed=3))
    after, said = read(home, source=str(root))
    assert "decoding" in said
    assert after[2] != before[2]


def test_a_disk_that_is_full(home: Path):
    """As full as a limit on the size of files makes it."""
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n{READ}"
    options = json.dumps({"source": many(home), "size": 48})
    code, _, err = ended(started("-c", limited, "ready", options, home=home))
    assert code == 1
    assert "DataError" in err
    assert "have GANZOO_CACHE name a larger folder" in err
    assert not [path for path in (home / "cache" / "images").iterdir() if path.is_dir()]


# The command line


def _corrupt(root: Path) -> None:
    folders(root)
    (root / "cat" / "05.png").write_bytes((root / "cat" / "04.png").read_bytes()[:40])


def _mixed(root: Path) -> None:
    folders(root)
    save(root / "cat" / "05.png", levels(9, 8))


def _label_out_of_range(root: Path) -> None:
    import datasets

    labels = [0, 1, -1] * 20
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    pictures = [Image.fromarray(levels(8, 8, seed=i)) for i in range(len(labels))]
    root.mkdir()
    datasets.Dataset.from_dict({"image": pictures, "label": labels}, features).to_parquet(root / "x.parquet")


def _empty_split(root: Path) -> None:
    root.mkdir()
    np.savez(root / "x.npz", x_train=levels(20, 8, 8), x_test=levels(0, 8, 8))


@pytest.mark.parametrize(
    ("make", "options", "code", "said"),
    [
        (_corrupt, (), 1, ("cat/05.png cannot be read as an image", "replace it, or take it away")),
        (_mixed, (), 1, ("cat/05.png is 8 × 9", "-o dataset.size=64")),
        (Path.mkdir, (), 1, ("bad has no images",)),
        (_empty_split, (), 1, ("the split 'test' has no images", "leave it out")),
        (_label_out_of_range, (), 2, ("the label -1 of image 2", "none of 2 classes, cat, dog", "label_column=none")),
        (_empty_split, ("-o", "dataset.image_column=picture"), 2, ("has no array called picture", "x_train, x_test")),
    ],
    ids=["corrupt", "mixed sizes", "no images", "empty split", "label out of range", "column"],
)
def test_bad_images_on_the_command_line(make: Any, options: Any, code: int, said: tuple[str, ...], home: Path):
    make(home / "bad")
    words = ("-m", "ganzoo", "train", "dcgan.images", "-o", "dataset.source=bad", *options, "--steps", "1")
    status, _, err = ended(started(*words, home=home))
    assert status == code, err
    for words in said:
        assert words in err
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("ganzoo: ") and "decoding" not in line]
    assert len(lines) == 1, "one line says it"


def test_images_of_every_depth_train(home: Path):
    """16 bits, transparent and grey images in one folder, with the option that their mixture takes; without it they
    are refused, as those of several sizes are."""
    root = folders(home / "pets")
    deep = np.linspace(0, 65_535, 64).reshape(8, 8).astype(np.uint16)
    save(root / "cat" / "deep.png", Image.fromarray(deep))
    save(root / "dog" / "clear.png", Image.fromarray(levels(8, 8, 4)))
    words = ["-m", "ganzoo", "train", "dcgan.images", "-o", "dataset.source=pets", "-o", "dataset.channels=3"]
    words += ["-o", "generator.width=8", "-o", "discriminator.width=8", "--steps", "2"]
    code, _, err = ended(started(*words, home=home))
    assert code == 0, err

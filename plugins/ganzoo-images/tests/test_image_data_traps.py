"""Sources that are not what they seem: files that name others, shards, links in circles, labels that are none."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import build, folders, idx, levels, mosaic, save
from PIL import Image

from ganzoo.errors import DataError, OptionError
from ganzoo_images.data.frame import Frame
from ganzoo_images.data.tables import _belongs


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def images_in(data: Any) -> int:
    return sum(len(data.stored(part).x) for part in ("train", "validation", "held-out"))


def table(path: Path, column: list[Any]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Features, Value
    from datasets import Image as Column

    features = Features({"image": Column(), "label": Value("int64")})
    rows = pa.table({"image": pa.array(column), "label": [i % 2 for i in range(len(column))]})
    pq.write_table(rows.replace_schema_metadata(features.arrow_schema.metadata), path)
    return path


def png(x: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(x).save(file, format="PNG")
    return file.getvalue()


def test_a_table_does_not_say_which_files_are_opened(tmp_path: Path):
    secret = save(tmp_path / "secret.png", levels(8, 8))
    for path in (str(secret), f"file://{secret}", "http://127.0.0.1:9/x.png"):
        rows = [{"bytes": png(x), "path": None} for x in levels(39, 8, 8)] + [{"bytes": None, "path": path}]
        source = table(tmp_path / "train.parquet", rows)
        with pytest.raises(DataError, match=r"row 39 .* in place of an image. A table may not say"):
            build(source=source).part("train")


@pytest.mark.parametrize(
    ("path", "good"),
    [
        ("hf://datasets/acme/pets@0123/a/b.png", True),
        ("zip://b.png::hf://datasets/acme/pets@0123/a.zip", True),
        ("hf://datasets/acme/pets@4567/b.png", False),
        ("hf://datasets/acme/others@0123/b.png", False),
        ("hf://datasets/acme/pets@0123/../others@0123/b.png", False),
        ("http://127.0.0.1/hf://datasets/acme/pets@0123/b.png", False),
        ("simplecache::hf://datasets/acme/pets@0123/b.png", False),
        ("zip://b.png::file:///etc/a.zip", False),
        ("/etc/passwd", False),
    ],
)
def test_files_of_a_hub_are_those_of_the_commit(path: str, good: bool):
    assert _belongs(path, "hf://datasets/acme/pets@0123/") is good


def test_only_known_formats_are_decoded_whatever_a_file_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pillow starts Ghostscript for what looks like PostScript."""
    ran = tmp_path / "ran"
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(DataError, match="cannot be read as an image"):
        Frame().levels(eps, "cat.png")
    assert not ran.exists()


def test_other_columns_of_an_archive_are_other_data(tmp_path: Path):
    a, b = levels(40, 8, 8), levels(40, 8, 8, seed=1)
    np.savez(tmp_path / "x.npz", a=a, b=b, y=np.arange(40) % 2, z=np.arange(40) % 4)
    one = build(source=tmp_path / "x.npz", image_column="a", label_column="y")
    other = build(source=tmp_path / "x.npz", image_column="b", label_column="z")
    assert (one.classes, other.classes) == (2, 4)
    rows = {row.tobytes() for row in b}
    assert all(x.numpy().tobytes() in rows for x in other.stored("train").x)


def test_shards_of_a_split_are_read_one_after_another(tmp_path: Path):
    for i in range(3):
        np.savez(tmp_path / f"part-{i}.npz", x=levels(20, 8, 8, seed=i), y=np.arange(20) % 2)
    assert images_in(build(source=tmp_path)) == 60


def test_labels_of_a_mosaic_that_change_are_seen(tmp_path: Path):
    x = levels(40, 8, 8, 3)
    mosaic(tmp_path / "train.png", x, [i % 2 for i in range(40)], 8)
    assert build(source=tmp_path).classes == 2
    mosaic(tmp_path / "train.png", x, [i % 4 for i in range(40)], 8)
    assert build(source=tmp_path).classes == 4


def test_a_label_beside_each_image_makes_no_mosaics(tmp_path: Path):
    for i in range(40):
        save(tmp_path / f"{i:02}.png", levels(8, 8, seed=i))
        (tmp_path / f"{i:02}.json").write_text('{"labels": [3]}')
    assert images_in(build(source=tmp_path)) == 40


def test_a_link_that_leads_back_is_not_followed(tmp_path: Path):
    root = folders(tmp_path / "pets")
    (root / "cat" / "up").symlink_to(root)
    (root / "other").symlink_to(root / "dog")  # a link to elsewhere is
    data = build(source=root)
    assert data.labels == ("cat", "dog", "other")
    assert images_in(data) == 60


def test_folders_that_are_numbers_are_classes_of_that_number(tmp_path: Path):
    data = build(source=folders(tmp_path / "x", [str(k) for k in range(12)], n=5))
    assert data.labels == tuple(map(str, range(12)))


def test_a_split_is_not_two_parts(tmp_path: Path):
    for split in ("train", "test"):
        folders(tmp_path / "x" / split)
    with pytest.raises(OptionError, match="the split 'train' cannot be two parts"):
        build(source=tmp_path / "x", test_split="train")
    with pytest.raises(OptionError, match="the split 'test' cannot be two parts"):
        build(source=tmp_path / "x", validation_split="test", test_split="test")


def test_two_datasets_in_one_folder_are_told_apart(tmp_path: Path):
    for name in ("letters", "digits"):
        idx(tmp_path / f"{name}-train-images-idx3-ubyte", levels(40, 8, 8))
        idx(tmp_path / f"{name}-train-labels-idx1-ubyte", (np.arange(40) % 2).astype(np.uint8))
    with pytest.raises(DataError, match="are both the train split"):
        build(source=tmp_path)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (
            {"x": levels(40, 8, 8), "y": np.eye(4)[np.arange(40) % 4]},
            r"y has the shape \(40, 4\) .* one number for each",
        ),
        ({"x": np.array(3)}, r"x has the shape \(\); images are"),
    ],
)
def test_shapes_that_fit_nothing_are_said(arrays: dict[str, np.ndarray], said: str, tmp_path: Path):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=said):
        build(source=tmp_path / "x.npz").part("train")


def test_a_column_that_holds_no_labels_is_not_taken_for_one(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for labels in ([[1, 2]] * 40, [0.5] * 40):
        rows = {"image": pa.array([png(x) for x in levels(40, 8, 8)]), "labels": pa.array(labels)}
        pq.write_table(pa.table(rows), tmp_path / "train.parquet")
        assert build(source=tmp_path / "train.parquet").classes is None

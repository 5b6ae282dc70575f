"""Images in files of every kind, and what is said of those that are not as they should be."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_files import build, folders, idx, levels, mosaic, save
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ganzoo.dataset import PARTS
from ganzoo.errors import DataError, GanzooError, OptionError
from ganzoo_images.data.frame import Frame


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def rows(data: Any) -> list[bytes]:
    """All images, in no order."""
    return sorted(x.numpy().tobytes() for part in PARTS for x in data.stored(part).x)


def png(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


# One image


def framed(image: Image.Image | bytes, **options: Any) -> np.ndarray:
    return Frame(**options).levels(image if isinstance(image, bytes) else png(image), "x.png")


def test_grey_and_colour_stay_as_they_are():
    grey, colour = levels(5, 7), levels(5, 7, 3)
    assert np.array_equal(framed(Image.fromarray(grey))[0], grey)
    assert np.array_equal(framed(Image.fromarray(colour)), colour.transpose(2, 0, 1))
    assert np.array_equal(framed(Image.fromarray(grey), channels=3), np.stack([grey] * 3))
    assert framed(Image.fromarray(colour), channels=1).shape == (1, 5, 7)


def test_sixteen_bits_become_eight():
    deep = np.array([[0, 128, 129, 257, 65535, 65278]], np.uint16)
    assert framed(Image.fromarray(deep)).tolist() == [[[0, 0, 1, 1, 255, 254]]]
    assert Frame().levels(deep, "x").tolist() == [[[0, 0, 1, 1, 255, 254]]]
    assert framed(Image.fromarray(np.array([[False, True]]))).tolist() == [[[0, 255]]]


def test_what_is_transparent_lies_on_white():
    image = Image.new("RGBA", (2, 1), (10, 20, 30, 255))
    image.putpixel((0, 0), (10, 20, 30, 0))
    assert framed(image)[:, 0].T.tolist() == [[255, 255, 255], [10, 20, 30]]
    grey = Image.new("LA", (1, 1), (100, 0))
    assert framed(grey).tolist() == [[[255]]]
    palette = Image.new("P", (1, 1), 3)
    palette.putpalette([*range(30)])
    assert framed(palette)[:, 0, 0].tolist() == [9, 10, 11]
    assert framed(png(palette, transparency=3))[:, 0, 0].tolist() == [255, 255, 255]


def test_images_are_turned_as_their_exif_says():
    image = Image.fromarray(levels(3, 5))
    exif = image.getexif()
    exif[0x0112] = 6
    assert np.array_equal(framed(png(image, exif=exif))[0], np.rot90(np.asarray(image), -1))


def test_the_first_frame_of_an_animation():
    first, second = Image.new("L", (4, 4), 10), Image.new("L", (4, 4), 200)
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=[second])
    assert set(Frame(channels=1).levels(file.getvalue(), "x").flatten()) == {10}


def test_cropped_in_the_middle_and_resized_without_aliases():
    wide = np.zeros((8, 16), np.uint8)
    wide[:, 4:12] = 100
    assert (framed(Image.fromarray(wide), crop=0) == 100).all()
    assert framed(Image.fromarray(wide), crop=4).shape == (1, 4, 4)
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    assert abs(framed(Image.fromarray(stripes), size=8).astype(int) - 127)[..., 1:-1].max() <= 2
    assert Frame(size=8).levels(stripes, "x").shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("image", "options", "said"),
    [
        (b"not an image", {}, "x.png cannot be read as an image"),
        (png(Image.new("L", (64, 64)))[:-30], {}, "x.png cannot be read as an image"),
        (b"", {}, "x.png cannot be read as an image"),
        (png(Image.new("L", (6, 4))), {"size": 8}, "x.png is 6 × 4; say -o dataset.crop=0"),
        (png(Image.new("L", (6, 4))), {"crop": 5}, "too small for -o dataset.crop=5"),
        (np.zeros((2, 2)), {}, "float64"),
        (np.zeros((2, 2, 5), np.uint8), {}, "of 1 to 4 channels"),
        (np.zeros(4, np.uint8), {}, "shape"),
    ],
)
def test_what_cannot_be_an_image_is_named(image: Any, options: dict[str, int], said: str):
    with pytest.raises(DataError) as caught:
        Frame(**options).levels(image, "x.png")
    assert said in str(caught.value)


def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match="decompression bomb"):
        framed(Image.new("L", (8, 8)))


def test_numbers_in_files_are_refused(tmp_path: Path):
    save(tmp_path / "x.tif", Image.new("F", (4, 4), 0.5))
    with pytest.raises(DataError, match="floating-point"):
        Frame().levels(tmp_path / "x.tif", "x.tif")
    with pytest.raises(DataError, match="32 bits"):
        Frame().levels(save(tmp_path / "y.tif", Image.new("I", (4, 4), 2**20)), "y.tif")


# Sources that hold the same images


@pytest.fixture
def same(tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    return levels(40, 8, 8, 3), np.arange(40) % 4


def as_folder(root: Path, x: np.ndarray, y: np.ndarray) -> Path:
    for i, image in enumerate(x):
        save(root / str(y[i]) / f"{i}.png", image)
    return root


def as_zip(root: Path, x: np.ndarray, y: np.ndarray) -> Path:
    root.mkdir()
    with zipfile.ZipFile(root / "all.zip", "w") as archive:
        archive.writestr("__MACOSX/._0.png", b"rubbish")
        for i, image in enumerate(x):
            archive.writestr(f"all/{y[i]}/{i}.png", png(Image.fromarray(image)))
    return root / "all.zip"


def as_npz(root: Path, x: np.ndarray, y: np.ndarray) -> Path:
    root.mkdir()
    np.savez(root / "all.npz", images=x.transpose(0, 3, 1, 2), labels=y[:, None])
    return root / "all.npz"


def as_keras(root: Path, x: np.ndarray, y: np.ndarray) -> Path:
    root.mkdir()
    np.savez(root / "all.npz", x_train=x[:30], y_train=y[:30], x_test=x[30:], y_test=y[30:])
    return root


def as_idx(root: Path, x: np.ndarray, y: np.ndarray) -> Path:
    idx(root / "train-labels-idx1-ubyte", y.astype(np.uint8))
    return idx(root / "train-images-idx4-ubyte.gz", x).parent


def as_mosaic(root: Path, x: np.ndarray, y: np.ndarray) -> Path:
    return mosaic(root / "tiles.png", x, y.tolist(), 10)


def as_parquet(root: Path, x: np.ndarray, y: np.ndarray) -> Path:
    import pyarrow
    from pyarrow import parquet

    root.mkdir()
    files = [{"bytes": png(Image.fromarray(image)), "path": f"{i}.png"} for i, image in enumerate(x)]
    for name, part in (("train", slice(30)), ("test", slice(30, None))):
        table = pyarrow.table({"picture": [file["bytes"] for file in files[part]], "label": y[part]})
        parquet.write_table(table, root / f"{name}-00000-of-00001.parquet")
    return root


@pytest.mark.parametrize("make", [as_folder, as_zip, as_npz, as_keras, as_idx, as_mosaic, as_parquet])
def test_every_kind_of_source_has_the_same_images(make: Any, same: tuple[np.ndarray, np.ndarray], tmp_path: Path):
    x, y = same
    source = make(tmp_path / "source", x, y)
    data = build(source=source)
    assert (data.shape, data.labels) == ((3, 8, 8), ("0", "1", "2", "3"))
    assert rows(data) == sorted(image.transpose(2, 0, 1).tobytes() for image in x)
    label_of = {image.transpose(2, 0, 1).tobytes(): label for image, label in zip(x, y, strict=True)}
    for part in PARTS:
        images, labels = data.stored(part)
        assert labels.dtype == torch.int64
        assert [label_of[image.numpy().tobytes()] for image in images] == labels.tolist()
    without = build(source=source, label_column=None)
    assert without.classes is None
    assert without.part("train").label is None
    assert json.loads(json.dumps(dict(data.provenance))) == data.provenance


def test_a_folder_without_folders_has_no_labels(tmp_path: Path):
    folders(tmp_path, [""], n=30)
    data = build(source=tmp_path)
    assert (data.classes, data.labels, data.stored("train").label) == (None, (), None)


def test_columns_by_name(tmp_path: Path):
    import pyarrow
    from pyarrow import parquet

    content = [png(Image.fromarray(levels(4, 4, seed=i))) for i in range(30)]
    kind = ["big" if i % 3 else "small" for i in range(30)]
    table = {"a": content, "b": content[::-1], "kind": kind, "old": [i % 2 == 0 for i in range(30)], "x": [0.5] * 30}
    file = tmp_path / "some.parquet"
    parquet.write_table(pyarrow.table(table), file)
    assert build(source=file).classes is None
    assert build(source=file, image_column="b", label_column="kind").labels == ("big", "small")
    assert build(source=file, label_column="old").labels == ("false", "true")
    for options, said in (
        ({"image_column": "c"}, "has no column 'c'; known: a, b, kind, old, x"),
        ({"image_column": "kind"}, "the column 'kind' holds Value('string'), not images"),
        ({"label_column": "knd"}, "has no column 'knd'"),
        ({"label_column": "x"}, "the column 'x' holds Value('float64'), not labels"),
        ({"split": "training"}, "has no split 'training'; did you mean train?"),
    ):
        with pytest.raises(OptionError) as caught:
            build(source=file, **options)
        assert said in str(caught.value)


def test_tables_of_images_with_names_of_classes(tmp_path: Path):
    import datasets

    def write(path: Path, labels: list[int]) -> Path:
        files = [{"bytes": png(Image.fromarray(levels(4, 4, seed=i))), "path": f"{i}.png"} for i in range(len(labels))]
        features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
        table = datasets.Dataset.from_dict({"image": files, "label": labels}, features=datasets.Features(features))
        table.to_parquet(path)
        return path

    data = build(source=write(tmp_path / "good.parquet", [0, 1] * 20))
    assert data.labels == ("cat", "dog")
    with pytest.raises(
        OptionError, match=r"the label -1 of image 2 of the split 'train' is none of 2 classes, cat, dog"
    ):
        build(source=write(tmp_path / "bad.parquet", [0, 1, -1] * 20))


# Bad input


def _mixed_sizes(root: Path) -> None:
    folders(root)
    save(root / "cat" / "05.png", levels(9, 8))


def _mixed_colours(root: Path) -> None:
    folders(root)
    save(root / "dog" / "05.png", levels(8, 8, 3))


def _corrupt(root: Path) -> None:
    folders(root)
    (root / "cat" / "05.png").write_bytes(png(Image.new("L", (8, 8)))[:40])


def _empty(root: Path) -> None:
    root.mkdir()
    (root / "notes.txt").write_text("none here")


def _pickles(root: Path) -> None:
    root.mkdir()
    (root / "data_batch_1").write_bytes(b"\x80\x02.")


def _stray(root: Path) -> None:
    folders(root)
    save(root / "stray.png", levels(8, 8))


def _empty_split(root: Path) -> None:
    root.mkdir()
    np.savez(root / "x.npz", x_train=levels(20, 8, 8), x_test=levels(0, 8, 8))


def _too_many_labels(root: Path) -> None:
    root.mkdir()
    np.savez(root / "x.npz", x=levels(20, 8, 8), y=np.zeros(21, int))


def _objects(root: Path) -> None:
    root.mkdir()
    np.savez(root / "x.npz", x=np.array([{}, {}]))


def _no_npz(root: Path) -> None:
    root.mkdir()
    (root / "x.npz").write_bytes(b"PK")


def _short_idx(root: Path) -> None:
    file = idx(root / "train-images-idx3-ubyte", levels(20, 8, 8))
    file.write_bytes(file.read_bytes()[:-1])


def _torn_gzip(root: Path) -> None:
    file = idx(root / "train-images-idx3-ubyte.gz", levels(20, 8, 8))
    file.write_bytes(file.read_bytes()[:-200])


def _unseen_label(root: Path) -> None:
    for name, label in (("train", [0, 1] * 10), ("test", [0, 2] * 10)):
        idx(root / f"{name}-images-idx3-ubyte", levels(20, 8, 8))
        idx(root / f"{name}-labels-idx1-ubyte", np.array(label, np.uint8))


def _torn_parquet(root: Path) -> None:
    as_parquet(root, levels(40, 8, 8, 3), np.arange(40) % 4)
    file = root / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-50])


def _corrupt_row(root: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    root.mkdir()
    parquet.write_table(pyarrow.table({"image": [b"rubbish"] * 20}), root / "x.parquet")


def _odd_mosaic(root: Path) -> None:
    mosaic(root / "x.png", levels(20, 8, 8, 3), range(20), 10)
    (root / "x.json").write_text(json.dumps({"labels": [*range(19)]}))


def _few(root: Path) -> None:
    folders(root, n=1)


@pytest.mark.parametrize(
    ("make", "said", "also"),
    [
        (_mixed_sizes, ("cat/00.png is 8 × 8", "cat/05.png is 8 × 9", "-o dataset.size=64"), {"size": 8, "crop": 0}),
        (_mixed_colours, ("cat/00.png is grey", "dog/05.png is in colour", "-o dataset.channels=3"), {"channels": 3}),
        (_corrupt, ("cat/05.png cannot be read as an image", "replace it"), None),
        (_empty, ("has no images (it holds notes.txt)", ".png"), None),
        (_pickles, ("pickles", "never read"), None),
        (_stray, ("stray.png lies in no folder", "label_column=none"), {"label_column": None}),
        (_empty_split, ("the split 'test' has no images",), None),
        (_too_many_labels, ("(21,)", "20 images"), {"label_column": "z"}),
        (_objects, ("x.npz", "cannot be read"), None),
        (_no_npz, ("x.npz cannot be read as an .npz archive",), None),
        (_short_idx, ("train-images-idx3-ubyte has 1279 bytes for the shape (20, 8, 8)",), None),
        (_torn_gzip, ("train-images-idx3-ubyte.gz cannot be unpacked",), None),
        (
            _unseen_label,
            ("the label 2 of image 1 of the split 'test' is none of 2 classes, 0, 1",),
            {"label_column": None},
        ),
        (_torn_parquet, ("cannot be read", "try again"), None),
        (_corrupt_row, ("row 0 of train of", "x.parquet cannot be read as an image"), None),
        (_odd_mosaic, ("not 19 square tiles",), None),
        (_few, ("2 images of 2 classes are too few",), None),
    ],
)
def test_bad_input_is_named_with_its_cure(
    make: Any, said: tuple[str, ...], also: dict[str, Any] | None, tmp_path: Path, cache: Path
):
    """``also``: the options that it says to take; with these it is read, or the next thing is said."""
    make(tmp_path / "bad")
    with pytest.raises(GanzooError) as caught:
        build(source=tmp_path / "bad")
    for words in said:
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not [path for path in (cache / "images").glob("*") if path.is_dir()], "nothing half is left"
    if also and "label_column" not in also:
        build(source=tmp_path / "bad", **also)
    elif also and also["label_column"] is None:
        assert build(source=tmp_path / "bad", **also).classes is None


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({}, DataError, "images needs a source: say -o dataset.source=FOLDER"),
        ({"source": "nowhere"}, DataError, "nowhere is not there"),
        ({"source": "hf:mnist"}, OptionError, "names no dataset on the Hub"),
        ({"source": "hf:../etc"}, OptionError, "names no dataset on the Hub"),
        ({"source": "odd.bin"}, OptionError, "is of no known kind"),
        ({"source": "pets", "label_column": "kind"}, OptionError, "has no columns such as 'kind'"),
        ({"source": "pets", "split": "test"}, OptionError, "pets has no split 'test'; known: train"),
        ({"source": "x.npz", "image_column": "z"}, OptionError, "has no array called z; it has x"),
        ({"source": "x.npz", "label_column": "z"}, OptionError, "has no array 'z'; it has x"),
    ],
)
def test_what_cannot_be_asked_for(
    options: dict[str, str], error: type[Exception], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folders(tmp_path / "pets")
    (tmp_path / "odd.bin").write_bytes(b"?")
    np.savez(tmp_path / "x.npz", x=levels(20, 8, 8))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        build(**options)
    assert said in str(caught.value)


def test_a_preset_that_is_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GANZOO_DATA", str(tmp_path))
    folders(tmp_path / "mnist", list("0123456789"))
    data = build("mnist")
    with pytest.raises(DataError, match=r"00.png is of shape \(1, 8, 8\), and mnist is of \(1, 28, 28\)"):
        data.stored("train")
    assert build("mnist", size=16).stored("train").x.shape == (160, 1, 16, 16)


def test_text_in_a_file_is_no_harm(tmp_path: Path):
    info = PngInfo()
    info.add_text("Comment", "x" * 2_000)
    assert framed(png(Image.fromarray(levels(4, 4)), pnginfo=info)).shape == (1, 4, 4)

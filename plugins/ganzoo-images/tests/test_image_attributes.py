"""Images with several attributes: of a CSV file beside a folder or an archive, of the columns of a table."""

import zipfile

import numpy as np
import pytest
import torch
from image_files import build, levels, save
from PIL import Image

from ganzoo.errors import DataError, OptionError
from ganzoo.testing import check_dataset

HEAD = "image_id,Smiling,Young,Male"


def folder(root, n=60, name="{:03}.png"):
    """Image i is all of the level i."""
    for i in range(n):
        save(root / name.format(i), np.full((8, 8), i, np.uint8))
    return root


def code(i: int) -> list[int]:
    return [i % 2, int(i % 3 == 0), int(i < 30)]


def table(path, n=60, head=HEAD, name="{:03}.png", no="-1"):
    lines = [",".join([name.format(i), *("1" if each else no for each in code(i))]) for i in range(n)]
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def pairs(data) -> list[tuple[int, list[int]]]:
    """Level and label of all images."""
    parts = [data.stored(part) for part in ("train", "validation", "held-out")]
    return sorted((int(x.max()), label.tolist()) for part in parts for x, label in zip(*part, strict=True))


@pytest.mark.parametrize("no", ["-1", "0", "false", "No"])
def test_the_columns_of_a_csv_file_are_attributes(tmp_path, no):
    source, file = folder(tmp_path / "faces"), table(tmp_path / "attributes.csv", no=no)
    data = build(source=source, label_file=file)
    assert (data.classes, data.labels, data.several) == (3, ("Smiling", "Young", "Male"), True)
    assert pairs(data) == [(i, code(i)) for i in range(60)]
    assert data.part("train").label.dtype == torch.int64
    assert data.described().several
    assert data.provenance["parts"]["held-out"].startswith("a tenth of")
    assert "class" not in data.provenance["parts"]["held-out"]
    check_dataset(lambda: build(source=source, label_file=file))


def test_some_of_them_can_be_chosen_in_any_order(tmp_path):
    source, file = folder(tmp_path / "faces"), table(tmp_path / "attributes.csv")
    data = build(source=source, label_file=file, label_column="Male, Smiling")
    assert data.labels == ("Male", "Smiling")
    assert pairs(data) == [(i, [code(i)[2], code(i)[0]]) for i in range(60)]


def test_one_alone_is_a_label_of_any_kind(tmp_path):
    source, file = folder(tmp_path / "faces"), tmp_path / "breeds.csv"
    file.write_text("file,breed\n" + "".join(f"{i:03}.png,{'cat' if i % 2 else 'dog'}\n" for i in range(60)))
    data = build(source=source, label_file=file)
    assert (data.labels, data.several, data.attribute) == (("cat", "dog"), False, "breed")
    assert data.provenance["parts"]["held-out"].startswith("a tenth of every class of")
    assert pairs(data) == [(i, (i + 1) % 2) for i in range(60)]


@pytest.mark.parametrize(("yes", "no"), [("1", "-1"), ("1", "0"), ("True", "False"), ("yes", "no")])
def test_one_alone_that_says_nothing_else_is_an_attribute(tmp_path, yes, no):
    source, file = folder(tmp_path / "faces"), tmp_path / "smiles.csv"
    file.write_text("file,Smiling\n" + "".join(f"{i:03}.png,{yes if i % 2 else no}\n" for i in range(60)))
    data = build(source=source, label_file=file)
    assert (data.labels, data.several, data.attribute) == (("false", "true"), False, "Smiling")
    assert pairs(data) == [(i, i % 2) for i in range(60)]
    file.write_text(file.read_text().replace(f"001.png,{yes}", "001.png,"))
    with pytest.raises(DataError, match="line 3: Smiling is empty"):
        build(source=source, label_file=file)


def test_files_may_be_named_without_their_folder_and_lie_in_an_archive(tmp_path):
    source, file = folder(tmp_path / "faces" / "img_align"), table(tmp_path / "attributes.csv")
    whole = pairs(build(source=tmp_path / "faces", label_file=file))
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for path in source.iterdir():
            archive.write(path, f"img_align/{path.name}")
    assert pairs(build(source=tmp_path / "faces.zip", label_file=file)) == whole == [(i, code(i)) for i in range(60)]


def test_an_image_is_not_named_in_two_ways(tmp_path):
    folder(tmp_path / "faces" / "img_align")
    file = table(tmp_path / "attributes.csv")
    change(file, "001.png", "img_align/000.png")
    with pytest.raises(DataError, match=r"names img_align/000.png twice, also as img_align/000.png"):
        build(source=tmp_path / "faces", label_file=file)


def test_spaces_around_what_stands_in_a_table_mean_nothing(tmp_path):
    source, file = folder(tmp_path / "faces"), table(tmp_path / "attributes.csv")
    file.write_text(file.read_text().replace(",", " , "))
    data = build(source=source, label_file=file, label_column="Young,Male,Young")
    assert data.labels == ("Young", "Male")
    assert pairs(data) == [(i, code(i)[1:]) for i in range(60)]


def test_another_table_gives_other_labels(tmp_path):
    source, file = folder(tmp_path / "faces"), table(tmp_path / "attributes.csv")
    build(source=source, label_file=file)
    file.write_text(file.read_text().replace("000.png,-1", "000.png,1"))
    assert pairs(build(source=source, label_file=file))[0] == (0, [1, 1, 1])


def change(file, old, new):
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ("000.png", "gone.png", DataError, r"names 1 image that is not in .*: gone.png. .* are called 000.png, 001"),
        ("000.png,-1,1,1\n", "", DataError, r"has no line for 1 of the images of .*faces: 000.png"),
        ("001.png", "000.png", DataError, r"line 3, names 000.png again"),
        ("000.png,-1", "000.png,", DataError, r"csv, line 2: Smiling is empty; write"),
        (f"{HEAD}\n", "", DataError, r"has several columns '1'; its first line is to name"),
        ("Young", "", DataError, r"csv: column 3 of the first line has no name"),
        ("Young", "Smiling", DataError, r"has several columns 'Smiling'; its first line is to name"),
        ("000.png,-1,1,1", "000.png,-1,1", DataError, r"line 2, has 3 columns, and the head has 4"),
        ("000.png,-1", "000.png,maybe", OptionError, r"csv, line 2: Smiling is 'maybe'; an attribute is 1 or 0"),
    ],
)
def test_a_table_that_does_not_fit_its_images_is_refused(tmp_path, old, new, error, said):
    source, file = folder(tmp_path / "faces"), table(tmp_path / "attributes.csv")
    change(file, old, new)
    with pytest.raises(error, match=said):
        build(source=source, label_file=file)


def test_what_cannot_be_a_table_is_refused(tmp_path):
    source, file = folder(tmp_path / "faces"), tmp_path / "attributes.csv"
    with pytest.raises(DataError, match=r"attributes.csv is not there"):
        build(source=source, label_file=file)
    for content, said in (
        (b"", r"cannot be read as a CSV file \(it is empty\)"),
        (b"\xff\xfe\0", "cannot be read"),
        (b"a\n", "one col"),
    ):
        file.write_bytes(content)
        with pytest.raises(DataError, match=said):
            build(source=source, label_file=file)
    table(file)
    with pytest.raises(OptionError, match=r"has no column 'Smling'; did you mean Smiling"):
        build(source=source, label_file=file, label_column="Smling")
    with pytest.raises(OptionError, match=r"goes with a folder of images"):
        build(source=file, label_file=file)
    with pytest.raises(OptionError, match=r"label_file=.* goes with images in a folder"):
        build(source="hf:acme/faces", label_file=file)
    with pytest.raises(OptionError, match=r"has no columns such as 'Smiling,Young'.*or of a CSV file"):
        build(source=source, label_column="Smiling,Young")


def test_the_columns_of_a_parquet_file_are_attributes(tmp_path):
    import datasets

    pictures = [Image.fromarray(np.full((8, 8), i, np.uint8)) for i in range(60)]
    columns = {name: [bool(code(i)[k]) for i in range(60)] for k, name in enumerate(("Smiling", "Young", "Male"))}
    features = datasets.Features({"image": datasets.Image(), **dict.fromkeys(columns, datasets.Value("bool"))})
    datasets.Dataset.from_dict({"image": pictures, **columns}, features).to_parquet(tmp_path / "faces.parquet")
    data = build(source=tmp_path / "faces.parquet", label_column="Smiling,Young,Male")
    assert data.several
    assert pairs(data) == [(i, code(i)) for i in range(60)]
    assert not build(source=tmp_path / "faces.parquet", label_column="Male").several
    for nothing in ("", ","):
        with pytest.raises(OptionError, match="names no column; say none"):
            build(source=tmp_path / "faces.parquet", label_column=nothing)
    with pytest.raises(OptionError, match=r"no column 'Mle'"):
        build(source=tmp_path / "faces.parquet", label_column="Smiling,Mle")
    with pytest.raises(OptionError, match=r"'image' holds Image.*not labels"):
        build(source=tmp_path / "faces.parquet", label_column="Smiling,image")


def test_the_names_of_its_classes_say_whether_an_image_has_an_attribute(tmp_path):
    import datasets

    pictures = [Image.fromarray(np.full((8, 8), i, np.uint8)) for i in range(60)]
    columns = {"Smiling": [i % 2 for i in range(60)], "Young": [1 - code(i)[1] for i in range(60)]}
    features = {"Smiling": datasets.ClassLabel(names=["no", "yes"]), "Young": datasets.ClassLabel(names=["yes", "no"])}
    whole = datasets.Features({"image": datasets.Image(), **features})
    datasets.Dataset.from_dict({"image": pictures, **columns}, whole).to_parquet(tmp_path / "faces.parquet")
    data = build(source=tmp_path / "faces.parquet", label_column="Smiling,Young")
    assert pairs(data) == [(i, code(i)[:2]) for i in range(60)]
    whole["Young"] = datasets.ClassLabel(names=["old", "young"])
    datasets.Dataset.from_dict({"image": pictures, **columns}, whole).to_parquet(tmp_path / "more.parquet")
    with pytest.raises(OptionError, match="Young of image 0 is 'old'; an attribute is 1 or 0"):
        build(source=tmp_path / "more.parquet", label_column="Smiling,Young")


def test_celeba_in_a_folder_has_the_attributes_of_the_file_beside_it(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_DATA", str(tmp_path))
    for i in range(60):
        save(tmp_path / "celeba" / "img_align_celeba" / f"{i:03}.jpg", levels(218, 178, 3, seed=i))
    table(tmp_path / "celeba" / "list_attr_celeba.csv", name="{:03}.jpg")
    data = build("celeba", attribute="Smiling,Male", size=16)
    assert (data.shape, data.labels, data.classes, data.several) == ((3, 16, 16), ("Smiling", "Male"), 2, True)
    label = torch.cat([data.part(part).label for part in ("train", "validation", "held-out")])
    assert label.sum(0).tolist() == [30, 30]
    one = build("celeba", attribute="Smiling", size=16)
    assert (one.labels, one.several, one.part("train").label.shape[1:]) == (("false", "true"), False, ())
    assert (one.attribute, data.attribute) == ("Smiling", "")
    assert sum(int(one.part(part).label.sum()) for part in ("train", "validation", "held-out")) == 30

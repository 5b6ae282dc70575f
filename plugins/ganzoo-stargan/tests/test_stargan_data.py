"""Characters against a renderer, digits against their grey levels; files that are none."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from characters import data, encoded, written

from ganzoo import Part
from ganzoo.errors import DataError, OptionError
from ganzoo_stargan.datasets import ATTRIBUTES, FILE, HUES, Parts, coloured_mnist, nouns

#: Real data: in ``GANZOO_DATA``, or in ``shared/data`` beside the repository.
BESIDE = [folder / "shared" / "data" for folder in Path(__file__).resolve().parents]
NAMED = [Path(os.environ["GANZOO_DATA"])] if os.environ.get("GANZOO_DATA") else []
ROOT = next((folder for folder in (*NAMED, *BESIDE) if folder.is_dir()), BESIDE[0])
ART, DIGITS = ROOT / "nouns", ROOT / "mnist"


def levels(x):
    """Of samples ``(k + u)/128 − 1``."""
    return ((x + 1) * 128).floor().byte()


@pytest.fixture
def source(tmp_path):
    return str(written(tmp_path / "nouns"))


def test_a_character_is_its_parts_one_over_another(source):
    parts = Parts.read(Path(source) / FILE)
    (x,) = parts.drawn(np.array([[1, 0, 1, 2, 2]]))
    colours = {(0, 0): "e1d7d5", (22, 20): "ff0000", (26, 10): "00ff00", (6, 8): "0000ff", (9, 9): "0000ff"}
    for (row, column), colour in colours.items():
        assert bytes(x[:, row, column]).hex() == colour
    assert bytes(x[:, 8, 8]).hex() == "0000ff"  # through the glasses' first pixel the head is seen


@pytest.mark.skipif(not ART.is_dir(), reason=f"the art of the Nouns is not in {ART}")
def test_they_are_drawn_pixel_for_pixel_as_by_another_renderer(monkeypatch):
    monkeypatch.syspath_prepend(str(ART))
    import render  # pyright: ignore[reportMissingImports]

    sys.modules.pop("render")
    images, chosen = render.sample(500, np.random.default_rng(0))
    assert render.ORDER == ATTRIBUTES
    assert np.array_equal(Parts.read(ART / FILE).drawn(chosen), images.transpose(0, 3, 1, 2))


def test_the_label_is_the_attribute_that_is_asked_for(source):
    dataset = nouns(source, "head", train=300)
    assert (dataset.shape, dataset.labels, dataset.classes) == ((3, 32, 32), ("cat", "dog", "owl"), 3)
    assert dataset.attribute == dataset.described().attribute == "head"
    x, label = dataset.part("train")
    assert x.shape == (300, 3, 32, 32)
    assert label is not None
    colours = levels(x)[:, :, 5, 10]
    wanted = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]])
    assert torch.equal(colours, wanted[label].byte())


def test_labels_are_those_that_are_wanted_in_that_order(source):
    dataset = nouns(source, labels=("blue", "red"), train=300)
    x, label = dataset.part("train")
    assert label is not None
    assert dataset.labels == ("blue", "red")
    wanted = torch.tensor([[0, 0, 255], [255, 0, 0]])
    assert torch.equal(levels(x)[:, :, 10, 20], wanted[label].byte())


def test_the_true_translation_differs_in_the_attributes_area_alone(source):
    dataset = nouns(source, train=300)
    x, label = dataset.some("held-out", 50)
    assert label is not None
    for each in range(3):
        truth = dataset.translated("held-out", 50, each)
        assert truth is not None
        changed = (truth != x).any(1)
        assert torch.equal(changed.flatten(1).any(1), label != each)
        outside = torch.ones(32, 32, dtype=torch.bool)
        outside[8:12, 8:24] = False
        assert not (changed & outside).any()


def test_the_same_options_give_the_same_characters_and_another_seed_gives_others(source):
    one, again, other = (nouns(source, train=200, seed=seed).part("train").x for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels": ("rde",)}, "no glasses is called 'rde'; did you mean red"),
        ({"labels": ("red",)}, "it takes two or more"),
        ({"labels": ("red", "red")}, "each once"),
    ],
)
def test_labels_that_there_are_not_are_refused(source, options, said):
    with pytest.raises(OptionError, match=said):
        nouns(source, **options)


@pytest.mark.parametrize(
    "changed",
    [
        {"images": {}},
        {"palette": ["", "ff00"]},
        {"palette": ["", "ff0000"]},
        {"bgcolors": []},
        {"images": {**data()["images"], "glasses": [{"filename": "glasses-red", "data": "0x00zz"}]}},
        {"images": {**data()["images"], "glasses": [{"filename": "glasses-red", "data": encoded((8, 40, 12, 8), 1)}]}},
        {"images": {**data()["images"], "glasses": "none"}},
    ],
)
def test_another_file_is_no_characters(tmp_path, changed):
    with pytest.raises(DataError, match=r"image-data.json is no file of a character's parts .*say -o dataset.source="):
        nouns(str(written(tmp_path, **changed)))


def test_where_there_is_no_file_it_says_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"cannot be read \(No such file or directory\); say -o dataset.source=FOLDER"):
        nouns(str(tmp_path))
    monkeypatch.delenv("GANZOO_DATA", raising=False)
    with pytest.raises(DataError, match=r"nouns needs their parts: say -o dataset.source=FOLDER"):
        Part("dataset", "nouns").build()
    monkeypatch.setenv("GANZOO_DATA", str(tmp_path))
    written(tmp_path / "nouns")
    assert Part("dataset", "nouns").build().classes == 3
    (tmp_path / "nouns" / FILE).write_text(json.dumps([1]))
    with pytest.raises(DataError, match="is no file of a character's parts"):
        Part("dataset", "nouns").build()


@pytest.mark.skipif(not DIGITS.is_dir(), reason=f"MNIST is not in {DIGITS}")
def test_coloured_digits_are_digits_in_a_colour(monkeypatch, tmp_path):
    monkeypatch.setenv("GANZOO_DATA", str(ROOT))
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path))
    plain, dataset = Part("dataset", "mnist").build(), coloured_mnist(size=32)
    assert (dataset.shape, dataset.labels, dataset.attribute) == ((3, 32, 32), HUES, "colour")
    grey, found = plain.stored("held-out").x, dataset.stored("held-out")
    assert found.label is not None
    assert torch.equal(found.x[:, :, 2:30, 2:30].amax(1, keepdim=True), grey)
    assert not found.x[:, :, :2].any()
    shares = found.label.bincount(minlength=6) / len(grey)
    assert (shares - 1 / 6).abs().max() < 0.02
    red, yellow = (dataset.translated("held-out", 20, HUES.index(hue)) for hue in ("red", "yellow"))
    assert red is not None
    assert yellow is not None
    assert torch.equal(levels(red)[:, 0, 2:30, 2:30], grey[:20, 0])
    assert not levels(red)[:, 1:].any()
    assert torch.equal(levels(yellow)[:, 1], levels(red)[:, 0])


def test_what_is_mirrored_in_training_is_translated_as_it_is(source):
    plain, flipped = (nouns(source, train=200, flip=flip) for flip in (False, True))
    for label in range(3):
        one, other = (data.translated("held-out", 20, label) for data in (plain, flipped))
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)

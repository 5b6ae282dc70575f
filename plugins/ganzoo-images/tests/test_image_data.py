"""Image datasets as samples: what they are, which parts they have, and what a model says of them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import REAL, build, folders, idx, levels, needs_real_data

from ganzoo.dataset import PARTS, Description
from ganzoo.errors import DataError, OptionError
from ganzoo.recipe import create_recipe


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANZOO_DATA", raising=False)
    return tmp_path / "cache"


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Bytes to samples


def test_samples_are_levels_with_uniform_noise():
    data = build("shapes")
    stored = data.stored("train")
    assert stored.x.dtype == torch.uint8
    x = data.decoded(stored, rng()).x
    assert x.dtype == torch.float32
    u = (x.double() + 1) * 128 - stored.x
    assert float(u.min()) > -1e-5
    assert float(u.max()) < 1 + 1e-5
    assert float(u.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(u.var()) == pytest.approx(1 / 12, abs=0.002)
    assert not torch.equal(x, data.decoded(stored, rng(1)).x)
    assert data.limits == (-1, 1)


def test_a_part_has_noise_of_its_own_that_stays():
    data = build("shapes")
    for part in PARTS:
        assert torch.equal(data.part(part).x, build("shapes").part(part).x)
        assert ((data.part(part).x + 1) * 128 - data.stored(part).x - 0.5).abs().max() < 0.50002
    assert torch.equal(data.some("train", 7).label, data.stored("train").label[:7])


def test_logits_are_the_protocol_of_maf():
    data = build("shapes", logit=0.05)
    level, x = data.stored("train").x.double(), data.part("train").x.double()
    u = (x.sigmoid() - 0.05) / 0.9 * 256 - level
    assert float(u.min()) > -1e-3
    assert float(u.max()) < 1 + 1e-3
    assert data.limits == pytest.approx((math.log(0.05 / 0.95), math.log(0.95 / 0.05)))
    assert "λ = 0.05" in data.unit


@pytest.mark.parametrize("logit", [1e-6, 1e-7, 0.4])
def test_logits_are_finite(logit: float, tmp_path: Path):
    image = np.stack([np.zeros((8, 8), np.uint8), np.full((8, 8), 255, np.uint8)] * 40)
    idx(tmp_path / "train-images-idx3-ubyte", image)
    x = build(source=tmp_path, logit=logit).part("train").x
    assert x.isfinite().all()


def test_a_smaller_lambda_than_float32_has_is_refused():
    with pytest.raises(OptionError, match="float32"):
        build("shapes", logit=1e-9)


def test_pictures_show_intensities_not_logits():
    """Black, half and white come out as 0, ½ and 1 on either scale, also by a description that a model has."""
    plain, logit = build("shapes"), build("shapes", logit=1e-6)
    for data in (plain, Description.parse(json.loads(json.dumps(plain.described().json())))):
        assert torch.allclose(data.shown(torch.tensor([-1.5, -1.0, 0.0, 1.0])), torch.tensor([0.0, 0.0, 0.5, 1.0]))
    level = logit.stored("held-out").x.float()
    for data in (logit, Description.parse(json.loads(json.dumps(logit.described().json())))):
        assert (data.shown(logit.part("held-out").x) * 256 - level - 0.5).abs().max() < 0.6


def test_half_of_what_is_trained_on_is_mirrored():
    data = build("shapes", flip=True)
    stored = data.stored("train")
    x = (data.decoded(stored, rng()).x + 1) * 128 - 0.5
    mirrored, plain = (((x - y).abs() < 0.50002).flatten(1).all(1) for y in (stored.x.flip(-1), stored.x))
    assert (plain | mirrored).all()
    assert float(mirrored.float().mean()) == pytest.approx(0.5, abs=0.04)
    assert torch.equal(data.part("train").x, build("shapes").part("train").x), "a part is as it is"


def test_nothing_that_is_measured_on_is_mirrored():
    data, plain = build("shapes", flip=True), build("shapes")
    for part in PARTS:
        assert torch.equal(data.some(part, 300).x, plain.some(part, 300).x)
    stored = data.stored("train")
    assert torch.equal(data.plain(stored, rng()).x, plain.decoded(stored, rng()).x)


# Parts


def test_a_tenth_of_every_class_validates_and_is_held_out(tmp_path: Path):
    data = build(source=folders(tmp_path / "pets", ("cat", "dog", "eel")))
    assert data.labels == ("cat", "dog", "eel")
    assert data.classes == 3
    found = {part: sorted(int(x[0, 0, 0]) for x in data.stored(part).x) for part in PARTS}
    assert [len(each) for each in found.values()] == [48, 6, 6]
    assert sorted(x for each in found.values() for x in each) == [100 * k + i for k in range(3) for i in range(20)]
    for part, many in zip(PARTS, (16, 2, 2), strict=True):
        label = data.stored(part).label
        assert label.bincount().tolist() == [many] * 3
        assert torch.equal(label, data.stored(part).x[:, 0, 0, 0].long() // 100), "labels stay with their images"
    assert data.stored("train").label.diff().ne(0).sum() > 20, "rows are not in the order of their classes"
    other = build(source=tmp_path / "pets", seed=1)
    assert not torch.equal(other.stored("train").x, data.stored("train").x)


def test_splits_by_their_usual_names(tmp_path: Path):
    for name, n in (("training", 20), ("val", 5), ("test", 7)):
        folders(tmp_path / name, n=n)
    data = build(source=tmp_path)
    assert [len(data.stored(part).x) for part in PARTS] == [40, 10, 14]
    assert data.labels == ("cat", "dog")
    assert data.provenance["parts"]["validation"].startswith("val,")


def test_every_class_is_trained_on(tmp_path: Path):
    root = folders(tmp_path / "many", [f"c{i:02}" for i in range(30)], n=2)
    folders(root, ["rare"], n=1)
    data = build(source=root)
    assert data.stored("train").label.unique().numel() == data.classes == 31


def test_the_last_rows_validate_where_a_dataset_has_an_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    x, y = levels(120, 28, 28), (np.arange(120) % 10).astype(np.uint8)
    for part, n in (("train", 120), ("t10k", 30)):
        idx(tmp_path / "mnist" / f"{part}-images-idx3-ubyte.gz", x[:n])
        idx(tmp_path / "mnist" / f"{part}-labels-idx1-ubyte.gz", y[:n])
    monkeypatch.setenv("GANZOO_DATA", str(tmp_path))
    data = build("mnist")
    assert torch.equal(data.stored("train").x[:, 0], torch.from_numpy(x[:100]))
    assert torch.equal(data.stored("validation").x[:, 0], torch.from_numpy(x[100:]))
    assert torch.equal(data.stored("held-out").label, torch.from_numpy(y[:30]).long())
    assert data.provenance["parts"] == {
        "train": "the rest of train",
        "validation": "the last 1/6 of train",
        "held-out": "test",
    }


# Presets


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("mnist", (1, 28, 28), 10),
        ("fashion-mnist", (1, 28, 28), 10),
        ("kmnist", (1, 28, 28), 10),
        ("cifar10", (3, 32, 32), 10),
        ("celeba", (3, 64, 64), None),
        ("ffhq-64", (3, 64, 64), None),
        ("stacked-mnist", (3, 28, 28), 1_000),
    ],
)
def test_what_a_preset_is_like_is_known_without_it(name: str, shape: tuple[int, ...], classes: int | None, cache: Path):
    data = build(name)
    assert (data.shape, data.classes) == (shape, classes)
    assert len(data.labels) == (classes or 0)
    assert create_recipe(f"dcgan.{name}").players["generator"].network.options["shape"] == shape
    assert not cache.exists(), "nothing was fetched or made"
    with pytest.raises(DataError, match=r"cannot be read.*\$GANZOO_DATA.*HF_HUB_OFFLINE"):
        data.stored("train")
    assert not any(path.is_dir() for path in (cache / "images").iterdir()), "nothing half is left"


def test_an_attribute_of_celeba_is_its_label():
    data = build("celeba", attribute="Smiling", size=32)
    assert (data.shape, data.labels) == ((3, 32, 32), ("false", "true"))


@needs_real_data
def test_mnist_is_mnist(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GANZOO_DATA", str(REAL))
    data = build("mnist")
    assert [len(data.stored(part).x) for part in PARTS] == [50_000, 10_000, 10_000]
    train = torch.cat([data.stored("train").x, data.stored("validation").x]).double() / 255
    assert float(train.mean()) == pytest.approx(0.1307, abs=5e-5)
    assert float(train.std()) == pytest.approx(0.3081, abs=5e-5)
    assert data.stored("train").label[:5].tolist() == [5, 0, 4, 1, 9]
    assert len(data.provenance["sha256"]) == 64
    assert json.loads(json.dumps(data.described().json()))["provenance"] == data.provenance
    assert build("mnist").provenance == data.provenance, "also where nothing was read yet"
    small = build("mnist", size=14).stored("held-out").x
    assert small.shape == (10_000, 1, 14, 14)
    assert float(small.double().mean()) == pytest.approx(float(data.stored("held-out").x.double().mean()), rel=0.06)


@needs_real_data
def test_a_part_of_cifar_10_is_what_was_published(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GANZOO_DATA", str(REAL))
    data = build("cifar10")
    x, label = data.stored("held-out")
    assert x.shape == (10_000, 3, 32, 32)
    assert label.bincount().tolist() == [1_000] * 10
    assert [data.labels[i] for i in label[:4]] == ["cat", "ship", "ship", "airplane"]
    both = torch.cat([data.stored("train").x, data.stored("validation").x]).double() / 255
    assert both.mean((0, 2, 3)).tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=0.003)


@needs_real_data
def test_omniglot_in_its_archive():
    archive = REAL / "omniglot" / "images_background_small1.zip"
    data = build(source=archive, size=32)
    assert (data.shape, data.classes) == ((1, 32, 32), 136)
    assert data.labels[0] == "Balinese/character01"
    assert build(source=archive, size=32, level=1).labels == ("Balinese", "Early_Aramaic", "Greek", "Korean", "Latin")
    assert build(source=archive, size=32, label_column=None).classes is None


@needs_real_data
def test_stacked_mnist_is_three_digits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GANZOO_DATA", str(REAL))
    digits, data = build("mnist"), build("stacked-mnist", train=5_000, size=32)
    assert [len(data.stored(part).x) for part in PARTS] == [5_000, 26_000, 26_000]
    for part in PARTS:
        known = {x.numpy().tobytes(): int(y) for x, y in zip(*digits.stored(part), strict=True)}
        x, label = data.stored(part)
        assert not x[..., :2, :].any()
        for image, number in zip(x[:300, :, 2:-2, 2:-2], label[:300], strict=True):
            a, b, c = (known[channel.numpy().tobytes()] for channel in image)
            assert 100 * a + 10 * b + c == int(number)
    assert data.labels[7] == "007"
    assert data.stored("held-out").label.unique().numel() > 990


@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_differ_and_can_be_told_apart(channels: int):
    data = build("shapes", channels=channels, size=28)
    assert data.shape == (channels, 28, 28)
    (x, label), (held_out, wanted) = data.stored("train"), data.stored("held-out")
    assert label.bincount().tolist() == [334, 334, 333, 333, 333, 333]
    assert len({image.numpy().tobytes() for image in torch.cat([x, held_out])}) == 2_500
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(1).fit(_outline(x), label)
    assert classifier.score(_outline(held_out), wanted) > 0.75


def _outline(x: torch.Tensor) -> torch.Tensor:
    """Without place and brightness: the strongest frequencies."""
    grey = x.float().mean(1)
    return torch.nn.functional.normalize(torch.fft.fft2(grey).abs()[:, :10, :10].flatten(1)[:, 1:])

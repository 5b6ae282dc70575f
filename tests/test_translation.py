"""Generators that start from samples: where these come from, what is asked of them, and pictures in and out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import ganzoo
from ganzoo import Batch, Evidence, Generator, Metric, Score, Translator, pictures, sides
from ganzoo.dataset import Dataset, Description, PartName
from ganzoo.errors import DataError, IncompatibleError, OptionError
from ganzoo.evaluate import (
    _as_often,
    _by_label,
    asked,
    drawn,
    evaluate,
    floor,
    metrics,
    origin,
    sample,
    translate,
    translations,
    validation,
)
from ganzoo.inference import folded
from ganzoo.model import Model
from ganzoo.seeds import derive


class Turned(Translator):
    """A point of the ring of eight turned to another label: as far around the circle as labels are apart."""

    shape = (2,)

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        assert c is not None
        now = (torch.atan2(z[:, 1], z[:, 0]) / (2 * torch.pi) * 8).round()
        angle = (c - now) * 2 * torch.pi / 8
        cos, sin = angle.cos(), angle.sin()
        return self.scale * torch.stack([cos * z[:, 0] - sin * z[:, 1], sin * z[:, 0] + cos * z[:, 1]], 1)


RING: Dataset = ganzoo.create("dataset", "ring")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_it_starts_from_the_batch_and_is_asked_for_its_labels_in_another_order():
    batch = Batch(torch.randn(100, 2), torch.arange(100))
    z, c = Turned().source(100, rng(), batch)
    assert z is batch.x
    assert c is not None
    assert not torch.equal(c, batch.label)
    assert torch.equal(c.sort().values, batch.label)
    wanted = torch.zeros(100, dtype=torch.long)
    assert Turned().source(100, rng(), batch, wanted)[1] is wanted


def test_without_samples_or_their_labels_it_cannot_start():
    batch = Batch(torch.randn(3, 2))
    for given in (None, batch.take(slice(2))):
        with pytest.raises(IncompatibleError, match="Turned starts from samples: it needs as many"):
            Turned().source(3, rng(), given)
    with pytest.raises(IncompatibleError, match="the data have none"):
        Turned().source(3, rng(), batch)


class Copied(Turned):
    """Its source, whatever was asked for."""

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return self.scale * z


def test_what_is_copied_is_as_near_to_the_data_as_other_real_samples_are_and_no_nearer():
    chosen = {name: metric for name, metric in metrics().items() if not metric.on_request}
    copied, floored = evaluate(Copied(), RING, 0, chosen), floor(RING, chosen)
    assert {"energy-distance", "sliced-wasserstein"} <= set(copied)
    for name in copied.keys() & floored.keys() - {"label-accuracy:reference", "nll"}:
        assert copied[name].value == floored[name].value, name


def test_snapshots_are_compared_by_whether_they_make_what_was_asked_for():
    wanted = metrics(["energy-distance"])["energy-distance"]
    start = RING.some("validation", wanted.samples)
    one, other = start.take(slice(1_250)), start.take(slice(1_250, None))
    for generator in (Copied(), Turned()):
        made = sample(generator, 1_250, derive(0, "validation"), None, one)
        assert made.label is not None
        assert other.label is not None
        by_hand, total = 0.0, 0
        for c in range(8):
            mine, theirs = Batch(made.x[made.label == c]), Batch(other.x[other.label == c])
            n = min(len(mine.x), len(theirs.x))
            by_hand, total = by_hand + n * wanted(Evidence(RING, mine, theirs)).value, total + n
        assert validation(generator, RING, 0) == pytest.approx(by_hand / total)
    assert validation(Copied(), RING, 0) > 1  # its sources, whatever was asked for


def test_of_several_labels_samples_are_compared_with_and_without_each():
    x = torch.arange(5.0)[:, None]
    label = torch.tensor([[1, 0], [1, 0], [0, 0], [0, 0], [0, 1]])
    pairs = list(_by_label(Batch(x, label), Batch(10 * x, label)))
    assert [(one.x.flatten().tolist(), other.x.flatten().tolist()) for one, other in pairs] == [
        ([2, 3, 4], [20, 30, 40]),  # without the first, and with it
        ([0, 1], [0, 10]),
        ([0, 1, 2, 3], [0, 10, 20, 30]),  # without the second, which hardly any have
    ]


def test_it_starts_from_the_samples_of_a_part():
    for part in ("held-out", "validation"):
        start = origin(Turned(), RING, 500, part, 0)
        assert start is not None
        assert torch.equal(start.x, RING.part(part).x[:500])
    assert origin(ganzoo.create("generator", "mlp", shape=(2,)), RING, 5, "held-out", 0) is None
    assert validation(Turned(), RING, 0) < 0.01


def test_of_more_than_a_part_has_there_are_fresh_ones_where_the_density_is_known():
    start = origin(Turned(), RING, 20_000, "held-out", 3)
    assert start is not None
    assert len(start.x) == len(start.x.unique(dim=0)) == 20_000
    draw = sides.of_generator(Turned(), RING).draw(0)
    assert [len(part) for part in draw] == list(sides.SIZES)
    assert (RING.log_prob(draw.read) > -10).all()  # pyright: ignore[reportAttributeAccessIssue]


class Few(Dataset):
    """What can be drawn from no more: 60 points of the ring."""

    shape, classes = (2,), 8

    def part(self, name: PartName) -> Batch:
        return RING.part(name).take(slice(60))


def test_the_halves_of_what_starts_from_samples_share_none():
    halves = sides.of_generator(Copied(), Few()).halves(0)
    for one, other in zip(*halves, strict=True):
        assert len(one) == len(other) == 30
        assert len(torch.cat([one, other]).unique(dim=0)) == 60


class Seen(Metric):
    """What a metric is shown."""

    unit = ""

    def __init__(self) -> None:
        self.evidence: list[Evidence] = []

    def applies(self, evidence: Evidence) -> bool:
        self.evidence.append(evidence)
        return True

    def __call__(self, evidence: Evidence) -> Score:
        return Score(0.0, "looked")


def test_metrics_see_what_it_made_of_other_samples_and_can_ask_it_for_more():
    seen = Seen()
    evaluate(Turned(), RING, 0, {"seen": seen})
    (evidence,) = seen.evidence
    fake = evidence.fake
    assert evidence.translate is not None
    assert fake.label is not None
    assert torch.equal(evidence.real.x, RING.part("held-out").x)
    assert torch.equal(evidence.translate(RING.some("validation", len(fake.x)).x, fake.label), fake.x)
    modes = RING.modes.centres[fake.label]  # pyright: ignore[reportAttributeAccessIssue]
    assert ((fake.x - modes).norm(dim=1) < 0.06).all()


class Next(Turned):
    """It is asked for the label after a sample's own."""

    def wants(self, own: Tensor, rng: torch.Generator) -> Tensor:
        return (own + 1) % 8


def test_it_is_measured_on_what_it_was_trained_to_make():
    seen, start = Seen(), RING.some("validation", 500)
    assert start.label is not None
    assert torch.equal(Next().source(500, rng(), start)[1], (start.label + 1) % 8)  # pyright: ignore[reportArgumentType]
    evaluate(Next(), RING, 0, {"seen": seen})
    fake = seen.evidence[0].fake
    assert fake.label is not None
    made = (Turned()(start.x, (start.label + 1) % 8)).tolist()  # of a source, the label after its own
    assert sum(x in made for x in fake.x.tolist()) > 400
    wanted = RING.part("train").label.bincount() / 100_000  # pyright: ignore[reportOptionalMemberAccess]
    assert torch.allclose(fake.label.bincount() / len(fake.x), wanted, atol=2 / len(fake.x))


def test_of_several_labels_all_that_was_made_is_measured():
    class Attributes(Dataset):
        shape, classes, several = (2,), 8, True

        def part(self, name: PartName) -> Batch:
            x, label = RING.part(name)
            assert label is not None
            return Batch(x, torch.nn.functional.one_hot(label, 8))

    class Flipped(Copied):
        def wants(self, own: Tensor, rng: torch.Generator) -> Tensor:
            return 1 - own

    data = Attributes()
    made = drawn(Flipped(), data, 500, 0, data.some("validation", 500))
    assert torch.equal(made.x, RING.some("validation", 500).x)


def test_labels_come_as_often_as_in_the_data_whatever_is_asked_for():
    label, wanted = torch.tensor([0] * 90 + [1] * 10), torch.tensor([0] * 10 + [1] * 90)
    rows = _as_often(label, wanted)
    assert label[rows].bincount().tolist() == [1, 10]
    assert torch.equal(rows, rows.sort().values)
    assert len(_as_often(label, label)) == 100
    assert len(_as_often(torch.zeros(5, dtype=torch.long), wanted)) == 5


def test_metrics_of_other_generators_see_none():
    seen = Seen()
    evaluate(ganzoo.create("generator", "mlp", shape=(2,)), RING, 0, {"seen": seen})
    assert seen.evidence[0].translate is None


def test_samples_do_not_depend_on_how_many_are_made_at_once(monkeypatch):
    start = RING.part("held-out").take(slice(100))
    whole = sample(Turned(), 100, 0, start.label, start)
    monkeypatch.setattr("ganzoo.evaluate.CHUNK", 33)
    monkeypatch.setattr("ganzoo.evaluate.IMAGES", 7)
    assert torch.equal(sample(Turned(), 100, 0, start.label, start).x, whole.x)
    assert start.label is not None
    assert torch.equal(translate(Turned(), start.x, start.label), whole.x)


def test_a_table_of_translations_has_the_sources_first():
    shown = translations(Turned(), RING)
    assert shown.x.shape == (8, 9, 2)
    assert shown.names == ("source", *"01234567")
    assert torch.equal(shown.x[:, 0], RING.part("held-out").x[:8])


def test_of_several_labels_one_at_a_time_is_changed():
    own = torch.tensor([[0, 1, 1], [1, 0, 0]])
    assert asked(own, 1).tolist() == [[0, 0, 1], [1, 1, 0]]
    assert asked(torch.tensor([2, 0]), 1).tolist() == [1, 1]


def test_it_is_not_folded_since_there_is_nothing_to_try_it_on():
    assert isinstance(folded(Turned()), Turned)


# Models


def model(generator: Generator, **said: object) -> Model:
    about = replace(RING.described(), **said)  # pyright: ignore[reportArgumentType]
    return Model(generator, {"recipe": {"name": "turned.ring"}, "data": about.json()})


def test_a_model_translates():
    turned = model(Turned())
    x = RING.part("held-out").x[:10]
    for label in (3, "3", torch.full((10,), 3), [3] * 10, ["3"] * 10, np.full(10, 3), np.int64(3)):
        made = turned.translate(x.double(), label)
        assert (torch.atan2(made[:, 1], made[:, 0]) / (2 * torch.pi) * 8).round().tolist() == [3.0] * 10


def test_what_starts_from_samples_is_not_sampled_and_the_other_way_around():
    with pytest.raises(IncompatibleError, match="starts from samples: say translate"):
        model(Turned()).sample(3)
    with pytest.raises(IncompatibleError, match="its MLPGenerator starts from noise"):
        model(ganzoo.create("generator", "mlp", shape=(2,), classes=8)).translate(torch.zeros(1, 2), 0)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.zeros(1, 3), r"takes samples \(n, 2\), not \(1, 3\)"),
        (torch.zeros(0, 2), r"takes samples \(n, 2\), not \(0, 2\)"),
        (torch.zeros(1, 2, dtype=torch.uint8), r"takes samples of floating-point numbers \(.*\), not torch.uint8"),
        (torch.tensor([[0.0, math.nan]]), "takes samples of finite numbers"),
    ],
)
def test_other_samples_are_refused(x, said):
    with pytest.raises(OptionError, match=said):
        model(Turned()).translate(x, 0)


@pytest.mark.parametrize(
    "label", [8, -1, 1.5, True, None, [0, 1, 2], torch.tensor([0.0, 1.0]), torch.tensor([0, 8]), [["0"], ["1"]], ["0"]]
)
def test_other_labels_are_refused(label):
    with pytest.raises(OptionError, match="label must be one of 0 to 7, its name, or one for each of 2, not "):
        model(Turned()).numbers(2, label)


def test_each_of_several_samples_can_have_a_name_of_its_own():
    named = model(Turned(), labels=("round", "square", *"234567"), attribute="glasses")
    assert named.numbers(3, ["square", "glasses=round", 5]).tolist() == [1, 0, 5]
    with pytest.raises(OptionError, match="has no label 'oval'"):
        named.numbers(2, ["round", "oval"])
    assert several().numbers(2, ["Smiling", "Young,Male"]).tolist() == [[1, 0, 0], [0, 1, 1]]


def test_a_label_can_be_said_with_what_it_is_of():
    named = model(Turned(), labels=("round", "square", *"234567"), attribute="glasses")
    for label in ("square", "glasses=square", "Glasses = 1".replace(" ", ""), "1"):
        assert named.numbers(2, label).tolist() == [1, 1]
    with pytest.raises(OptionError, match="labels are of glasses, not of 'hat'"):
        named.numbers(1, "hat=square")
    with pytest.raises(OptionError, match="has no label 'oval'"):
        named.numbers(1, "glasses=oval")
    with pytest.raises(OptionError, match="glasses is what labels are of; known: 2, 3"):
        named.numbers(1, "glasses")


def test_an_attribute_that_samples_have_or_not_is_asked_for_by_its_name():
    faces = model(Turned(), classes=2, labels=("false", "true"), attribute="Smiling")
    for label, number in (("Smiling", 1), ("smiling=true", 1), ("Smiling=false", 0), ("false", 0)):
        assert faces.numbers(1, label).tolist() == [number]


def test_levels_are_not_taken_for_samples():
    drawn = model(Turned(), shape=(3, 2, 2), limits=(-1.0, 1.0))
    assert drawn.taken(torch.full((1, 3, 2, 2), 1.01)).max() == pytest.approx(1.01)
    with pytest.raises(OptionError, match="takes images from -1 to 1, not from 255 to 255"):
        drawn.taken(torch.full((1, 3, 2, 2), 255.0))


def several() -> Model:
    generator = ganzoo.create("generator", "mlp", shape=(2,), classes=3)
    return model(generator, classes=3, labels=("Smiling", "Young", "Male"), several=True)


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("Smiling", [1, 0, 0]),
        ("Smiling,Male", [1, 0, 1]),
        ("1, 0, 1", [1, 0, 1]),
        ("0,0,0", [0, 0, 0]),
        ("0,2", [1, 0, 1]),
        ("smiling=false, Young=true", [0, 1, 0]),
        ("", [0, 0, 0]),
        ("2", [0, 0, 1]),
        (1, [0, 1, 0]),
        (torch.tensor([0, 1, 1]), [0, 1, 1]),
        (torch.tensor([[0, 1, 1], [0, 1, 1]]), [0, 1, 1]),
    ],
)
def test_several_labels_are_those_that_are_named(label, code):
    assert several().numbers(2, label).tolist() == [code, code]
    assert several().sample(2, seed=0, label=label).x.shape == (2, 2)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("Smling", r"has no label 'Smling'; did you mean Smiling\?"),
        ("Smiling=maybe", "it takes bool"),
        ("Smiling,Young,smiling=false", "says smiling twice"),
        ("3", "has no label '3'"),
        ("-1", "has no label '-1'"),
        (torch.tensor([0, 2, 1]), "label must be 3 of 0 and 1"),
        (torch.tensor([0, 1]), "label must be 3 of 0 and 1"),
        (True, "label must be 3 of 0 and 1"),
        (3, "has no label '3'"),
    ],
)
def test_other_codes_are_refused(label, said):
    with pytest.raises(ganzoo.GanzooError, match=said):
        several().numbers(2, label)


def test_several_labels_that_nobody_asks_for_are_a_function_of_the_seed():
    a, b, c = (several().sample(64, seed=seed) for seed in (0, 0, 1))
    assert a.label is not None
    assert c.label is not None
    assert torch.equal(a.label, b.label)
    assert not torch.equal(a.label, c.label)
    assert set(a.label.sum(1).tolist()) == {0, 1, 2, 3}


# Descriptions and pictures


GREY = Description((1, 8, 8))
COLOUR = Description((3, 4, 6), unit="levels", limits=(-1.0, 1.0))
LOGIT = Description((1, 8, 8), limits=(-4.0, 4.0), scale="logit")


@pytest.mark.parametrize("about", [GREY, COLOUR, LOGIT])
def test_intensities_are_shown_of_the_values_that_they_have(about):
    intensity = torch.linspace(0, 1, 11)
    torch.testing.assert_close(about.shown(about.valued(intensity)), intensity, atol=1e-6, rtol=0)


def test_a_description_says_what_is_new_about_it_and_nothing_else():
    assert "several" not in GREY.json()
    assert "attribute" not in GREY.json()
    said = replace(COLOUR, several=True, attribute="glasses", classes=2)
    assert Description.parse(said.json()) == said
    assert Description.parse(GREY.json()) == GREY


@pytest.mark.parametrize("about", [GREY, COLOUR, LOGIT])
def test_a_picture_goes_through_a_file_level_for_level(about, tmp_path):
    level = torch.randint(256, about.shape, generator=rng())
    x = about.valued((level + 0.5) / 256)
    pictures.write(about, x, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (about.shape[2], about.shape[1])
        assert np.array_equal(np.atleast_3d(np.asarray(image)), level.permute(1, 2, 0).numpy())
    torch.testing.assert_close(pictures.read(about, tmp_path / "x.png"), x, atol=1e-5, rtol=1e-5)


def test_what_is_transparent_lies_on_white(tmp_path):
    Image.new("RGBA", (6, 4), (255, 0, 0, 0)).save(tmp_path / "x.png")
    assert (COLOUR.shown(pictures.read(COLOUR, tmp_path / "x.png")) > 0.99).all()


def test_grey_pictures_of_all_kinds_are_the_same(tmp_path):
    level = torch.randint(256, (8, 8), generator=rng()).to(torch.uint8).numpy()
    kinds = {
        "L": Image.fromarray(level),
        "sixteen bits": Image.fromarray(level.astype(np.uint16) * 257),
        "alpha": Image.merge("LA", [Image.fromarray(level), Image.new("L", (8, 8), 255)]),
    }
    for name, image in kinds.items():
        image.save(tmp_path / f"{name}.png")
        shown = GREY.shown(pictures.read(GREY, tmp_path / f"{name}.png"))
        assert np.array_equal((shown[0] * 256).floor().numpy(), level), name


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (Image.new("RGB", (8, 8)), r"is 8 × 8 and in colour, and images here are 6 × 4 and in colour"),
        (Image.new("L", (6, 4)), r"is 6 × 4 and grey, and images here are 6 × 4 and in colour: resize or convert"),
    ],
)
def test_a_picture_of_another_size_or_kind_is_refused(image, said, tmp_path):
    image.save(tmp_path / "x.png")
    with pytest.raises(DataError, match=said):
        pictures.read(COLOUR, tmp_path / "x.png")


def test_no_picture_and_no_postscript_is_read(tmp_path):
    for name, content in (("a.png", b"nothing"), ("b.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name} cannot be read as an image \(of no known kind\)"):
            pictures.read(COLOUR, tmp_path / name)


def test_a_photograph_is_turned_as_it_was_taken(tmp_path):
    image = Image.new("RGB", (4, 6), "black")
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    image.save(tmp_path / "x.png", exif=exif)
    shown = COLOUR.shown(pictures.read(COLOUR, tmp_path / "x.png"))
    assert (shown[:, 0, 5] > 0.99).all()
    assert shown.gt(0.99).sum() == 3

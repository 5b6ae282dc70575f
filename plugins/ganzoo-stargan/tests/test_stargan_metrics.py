"""Metrics of translations, of data whose every pixel is known."""

from dataclasses import replace

import pytest
import torch
from characters import written
from torch import Tensor

from ganzoo import Batch, Evidence, Extractor, Features, create
from ganzoo.errors import IncompatibleError
from ganzoo.evaluate import evaluate, metrics
from ganzoo_stargan.datasets import nouns
from ganzoo_stargan.metrics import ChangedOutside, DomainError, Reconstruction, TrueDistance

N = 60
#: Where the glasses are, but for their first pixel.
AREA = torch.zeros(32, 32, dtype=torch.bool)
AREA[8:12, 8:24] = True
AREA[8, 8] = False
COLOURS = torch.tensor([[1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return nouns(str(written(tmp_path_factory.mktemp("nouns"))), train=300)


def right(x: Tensor, c: Tensor) -> Tensor:
    """The true translation but for the noise of dequantised levels."""
    painted = COLOURS[c][:, :, None, None].expand_as(x)
    return torch.where(AREA, painted, x)


def identity(x: Tensor, c: Tensor) -> Tensor:
    return x


def black(x: Tensor, c: Tensor) -> Tensor:
    return torch.full_like(x, -1.0)


def evidence(dataset, translate) -> Evidence:
    start = dataset.some("held-out", N)
    label = start.label.roll(1)
    return Evidence(dataset, Batch(translate(start.x, label), label), start, translate=translate)


def truths(dataset) -> list[Tensor]:
    return [dataset.translated("held-out", N, label) for label in range(3)]


def test_the_distance_from_the_truth_is_that_of_all_translations_into_another_label(dataset):
    start = dataset.some("held-out", N)
    by_hand = {"identity": [], "black": []}
    for label, truth in enumerate(truths(dataset)):
        other = start.label != label
        by_hand["identity"].append((truth - start.x)[other].abs().flatten(1).mean(1))
        by_hand["black"].append((truth + 1)[other].abs().flatten(1).mean(1))
    for translate, name in ((identity, "identity"), (black, "black")):
        score = TrueDistance(N)(evidence(dataset, translate))
        assert score.value == pytest.approx(float(torch.cat(by_hand[name]).double().mean()))
        assert score.how.startswith(f"{2 * N} translations; the identity has 0.")
    score = TrueDistance(N)(evidence(dataset, right))
    assert score.value < 1 / 128 * float(AREA.double().mean())
    assert score.detail["baselines"]["identity"] == pytest.approx(float(torch.cat(by_hand["identity"]).double().mean()))
    assert score.detail["in the attribute's area"]["identity"] > 1
    assert score.detail["in the attribute's area"]["model"] < 1 / 128
    assert score.picture is not None
    assert score.picture.shape == (3, 3, 3, 32, 32)


def test_the_constant_is_the_median_of_the_labels_own_samples(dataset):
    train, start = dataset.some("train", 5_000), dataset.some("held-out", N)
    errors = []
    for label, truth in enumerate(truths(dataset)):
        median = train.x[train.label == label].median(0).values
        errors.append((truth - median)[start.label != label].abs().flatten(1).mean(1))
    found = TrueDistance(N)(evidence(dataset, black)).detail["baselines"]["constant"]
    assert found == pytest.approx(float(torch.cat(errors).double().mean()))


def test_of_a_label_that_no_train_sample_has_the_constant_is_that_of_all(dataset):
    class Fewer:
        """The same but for red ones to learn from."""

        def __getattr__(self, name):
            return getattr(dataset, name)

        def some(self, name, n) -> Batch:
            x, label = dataset.some(name, n)
            return Batch(x[label > 0], label[label > 0]) if name == "train" else Batch(x, label)

    assert TrueDistance(N)(replace(evidence(dataset, black), dataset=Fewer())).detail["baselines"]["constant"] > 0  # pyright: ignore


def test_outside_of_the_attributes_area_nothing_is_to_change(dataset):
    assert ChangedOutside(N)(evidence(dataset, right)).value == 0
    assert ChangedOutside(N)(evidence(dataset, identity)).value == 0

    def noisy(x: Tensor, c: Tensor) -> Tensor:
        out = right(x, c).clone()
        out[:, 0, 0, :10] = -1.0  # ten pixels of the ground
        out[:, :, 31] += 0.04  # less than counts
        return out

    outside = int((~AREA).sum())
    assert ChangedOutside(N)(evidence(dataset, noisy)).value == pytest.approx(100 * 10 / outside)


def test_what_comes_back_is_compared_with_its_source(dataset):
    assert Reconstruction(N)(evidence(dataset, identity)).value == 0
    assert Reconstruction(N)(evidence(dataset, right)).value < 1e-3
    score = Reconstruction(N)(evidence(dataset, black))
    start = dataset.some("held-out", N)
    assert score.value == pytest.approx(float((start.x + 1).abs().mean()))
    median = dataset.some("train", 5_000).x.median(0).values
    assert score.detail["baselines"] == {
        "identity": 0.0,
        "constant": pytest.approx(float((start.x - median).abs().mean())),
    }


class Glasses(Extractor):
    """Tells the colour of the glasses from a pixel of them."""

    def applies(self, dataset) -> bool:
        return True

    def on(self, dataset) -> Features:
        return Features("glasses", "ab" * 32, "nothing", lambda x: (x[:, :, 10, 20], x[:, :, 10, 20]))


def test_the_error_of_domains_is_the_share_that_is_not_taken_for_them(dataset):
    assert DomainError(Glasses(), N)(evidence(dataset, right)).value == 0
    assert DomainError(Glasses(), N)(evidence(dataset, identity)).value == 100

    def half(x: Tensor, c: Tensor) -> Tensor:
        return right(x, torch.where(c == 1, 2, c))

    score = DomainError(Glasses(), N)(evidence(dataset, half))
    assert score.detail["error by label"] == {"red": 0, "green": 100, "blue": 0}
    assert 0 < score.value < 100


def test_of_several_labels_the_one_that_was_changed_counts():
    class Two:
        classes, labels, shape, several = 2, ("a", "b"), (2,), True

        def some(self, name, n) -> Batch:
            return start

    x = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    start = Batch(x, (x > 0).long())

    def first(x: Tensor, c: Tensor) -> Tensor:
        return torch.stack([2.0 * c[:, 0] - 1, x[:, 1]], 1)

    class Signs(Extractor):
        def applies(self, dataset) -> bool:
            return True

        def on(self, dataset) -> Features:
            return Features("signs", "ab" * 32, "nothing", lambda x: (x, x))

    score = DomainError(Signs())(Evidence(Two(), start, start, translate=first))  # pyright: ignore
    assert score.detail["error by label"] == {"a": 0.0, "b": 100.0}
    assert score.value == 50


def test_they_apply_where_something_is_translated_and_the_truth_is_known(dataset):
    whole = evidence(dataset, right)
    ring = create("dataset", "ring")
    start = ring.some("held-out", 5)
    points = Evidence(ring, start, start, translate=identity)
    for metric in (TrueDistance(), ChangedOutside()):
        assert metric.applies(whole)
        assert not metric.applies(points)
    for metric in (Reconstruction(), DomainError(Glasses())):
        assert metric.applies(points)
        assert not metric.applies(replace(points, translate=None))


def test_a_classifier_of_other_labels_is_refused(dataset):
    class Other(Glasses):
        def on(self, dataset) -> Features:
            return Features("other", "ab" * 32, "nothing", lambda x: (x.flatten(1), x[:, :2, 0, 0]))

    with pytest.raises(IncompatibleError, match="other does not classify by the labels"):
        DomainError(Other())(evidence(dataset, right))


def test_what_does_not_depend_on_the_samples_drawn_says_so(dataset):
    generator = create("generator", "stargan", shape=dataset.shape, width=4, blocks=1, classes=3)
    chosen = {name: metric for name, metric in metrics().items() if not metric.sampled}
    assert set(chosen) == {"nll", "domain-error:reference", "reconstruction", "true-distance", "changed-outside"}
    chosen["domain-error:reference"] = replace(chosen["domain-error:reference"], extractor=Glasses())
    one, other = (evaluate(generator, dataset, seed, chosen) for seed in (0, 1))
    assert {name: score.value for name, score in one.items()} == {name: score.value for name, score in other.items()}

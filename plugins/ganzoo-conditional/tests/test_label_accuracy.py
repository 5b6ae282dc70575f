"""The share of samples that are what was asked for."""

from dataclasses import dataclass

import pytest
import torch

from ganzoo import Batch, Dataset, Evidence, Extractor, Features, create
from ganzoo.errors import IncompatibleError
from ganzoo.evaluate import floor, metrics
from ganzoo_conditional.metrics import LabelAccuracy


class Signs(Dataset):
    """One number; its sign is its label."""

    shape, classes, labels = (1,), 2, ("minus", "plus")

    def part(self, name):
        x = torch.tensor([[-1.0], [-2.0], [3.0], [4.0]])
        return Batch(x, (x[:, 0] > 0).long())


@dataclass(frozen=True)
class Sign(Extractor):
    """Features are the samples; logits, if wanted, are right."""

    classes: int = 2

    def on(self, dataset):
        def network(x):
            logits = torch.cat([-x, x, *[x - 100] * (self.classes - 2)], 1)
            return x, logits if self.classes else None

        return Features("sign", "ab" * 32, "nothing", network)


def evidence(x, label, dataset=None):
    dataset = dataset or Signs()
    x = torch.tensor(x)[:, None]
    return Evidence(dataset, Batch(x, None if label is None else torch.tensor(label)), dataset.part("held-out"))


def test_it_counts_what_the_classifier_says():
    score = LabelAccuracy(Sign())(evidence([-1.0, -1.0, 2.0, 5.0], [0, 1, 1, 1]))
    assert score.value == pytest.approx(75)
    assert score.detail["accuracy by label"] == {"minus": 100.0, "plus": pytest.approx(200 / 3)}
    assert {**score.detail, "accuracy by label": None} == {
        "accuracy by label": None,
        "extractor": "sign",
        "sha256": "ab" * 32,
        "split": "nothing",
        "samples": 4,
    }
    assert score.how == "4 samples, sign abababab (nothing)"


def test_a_label_that_was_not_asked_for_has_no_accuracy():
    score = LabelAccuracy(Sign())(evidence([-1.0, 1.0], [0, 0]))
    assert score.detail["accuracy by label"] == {"minus": 50.0, "plus": None}


def test_it_applies_where_labels_were_asked_for_and_classified():
    metric = LabelAccuracy(Sign())
    assert metric.applies(evidence([1.0], [1]))
    assert not metric.applies(evidence([1.0], None))
    for classes in (0, 3):
        with pytest.raises(IncompatibleError, match="sign does not classify by the 2 labels"):
            LabelAccuracy(Sign(classes))(evidence([1.0], [1]))


def test_real_digits_score_what_the_reference_gets_right():
    found = metrics(["label-accuracy:reference"])
    score = floor(create("dataset", "digits"), found)["label-accuracy:reference"]
    assert 95 < score.value <= 100
    assert sorted(score.detail["accuracy by label"]) == sorted(map(str, range(10)))
    assert score.detail["extractor"] == "reference"

"""Features, and the reference classifier: kept, known by its hash, trained once by several processes, and of use."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch

from ganzoo import Batch, Extractor, Features, create
from ganzoo.dataset import Dataset
from ganzoo.errors import IncompatibleError
from ganzoo.files import cache_folder
from ganzoo.reference import Classifier, Reference, accuracy, train
from ganzoo.testing import ConformanceError, check_extractor


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield cache_folder() / "reference"


@pytest.fixture(scope="module")
def digits():
    return create("dataset", "digits")


def test_the_reference_knows_real_digits(digits, cache):
    features = Reference().on(digits)
    x, label = digits.part("held-out")
    rows, logits = features(x)
    assert rows.shape == (len(x), 64)
    assert float((logits.argmax(1) == label).float().mean()) > 0.95
    assert re.fullmatch(r"reference [0-9a-f]{8} \(train part, 9\d\.\d\d % right on .*\)", str(features))
    assert [path.suffix for path in sorted(cache.iterdir())] == [".lock", ".safetensors"]


def test_it_is_a_function_of_the_data_and_the_seed(digits):
    again, other = train(digits, seed=0), train(digits, seed=1)
    kept = Reference().on(create("dataset", "digits")).network
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), kept.state_dict().values(), strict=True))
    assert accuracy(other, digits.part("held-out")) > 0.95
    assert not torch.equal(other.head.weight, again.head.weight)


FIND = """
import torch; torch.set_num_threads({threads})
from ganzoo import create
from ganzoo.reference import Reference
print(Reference().on(create("dataset", "two-moons")).sha256)
"""


@pytest.mark.slow
def test_processes_that_start_together_train_one_whatever_their_threads(tmp_path):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", FIND.format(threads=threads)],
            env={**os.environ, "GANZOO_CACHE": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for threads in (1, 2, 3)
    ]
    said = [each.communicate(timeout=300) for each in started]
    assert len({out for out, _ in said}) == 1
    assert sorted("training the reference" in err for _, err in said) == [False, False, True]


def test_what_is_damaged_is_made_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path))
    data = create("dataset", "two-moons", seed=3)
    first = Reference().on(data).sha256
    (path,) = tmp_path.glob("reference/*.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    assert Reference().on(create("dataset", "two-moons", seed=3)).sha256 == first
    assert capsys.readouterr().err.count("training the reference classifier") == 2


@pytest.mark.parametrize("shape", [(2,), (5, 3), (1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 64, 48), (4, 5, 5)], ids=str)
def test_the_classifier_takes_any_shape(shape):
    features, logits = Classifier(shape, 7)(torch.randn(4, *shape))
    assert features.shape == (4, 64)
    assert logits.shape == (4, 7)


class _Unlabelled(Dataset):
    shape = (2,)

    def part(self, name):
        return Batch(torch.zeros(4, 2))


def test_it_needs_labels():
    assert not Reference().applies(_Unlabelled())
    with pytest.raises(IncompatibleError, match="has no labels"):
        train(_Unlabelled())


def test_features_are_computed_once_while_samples_live_and_again_when_they_change():
    calls = []

    def network(x):
        calls.append(len(x))
        return x.flatten(1) * 2, None

    features, x = Features("twice", "0" * 64, "nothing", network), torch.ones(1200, 2)
    assert torch.equal(features(x)[0], 2 * x)
    features(x)
    assert calls == [500, 500, 200]
    x.add_(1)
    assert torch.equal(features(x)[0], torch.full((1200, 2), 4.0))
    features(torch.ones(1, 2))
    assert calls == [500, 500, 200] * 2 + [1]
    assert features(x)[1] is None


@dataclass(frozen=True)
class _Batchwise(Extractor):
    """Against the contract: samples see each other."""

    def on(self, dataset):
        return Features("batchwise", "0" * 64, "nothing", lambda x: (x.flatten(1) - x.flatten(1).mean(0), None))


@dataclass(frozen=True)
class _Nameless(Extractor):
    def on(self, dataset):
        return Features("nameless", "", "nothing", lambda x: (x.flatten(1), None))


@pytest.mark.parametrize(("extractor", "why"), [(_Batchwise(), "beside it"), (_Nameless(), "sha256")])
def test_conformance_tells_what_is_wrong(extractor, why):
    with pytest.raises(ConformanceError, match=why):
        check_extractor(extractor)

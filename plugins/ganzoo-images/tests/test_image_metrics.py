"""Metrics of images: closed forms, naive loops, ladders of what real data can be made worse by, published figures."""

import math
import sys
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
import torch
from image_files import REAL, idx, needs_real_data
from sklearn.neighbors import KernelDensity

from ganzoo import Batch, Evidence, Extractor, Features, create, evaluate
from ganzoo.distances import frechet
from ganzoo_images.metrics.features import classifier_score, kernel_distance
from ganzoo_images.metrics.neighbours import nearer, nearest
from ganzoo_images.metrics.parzen import log_likelihood
from ganzoo_images.metrics.stacked import occupancy


@dataclass(frozen=True)
class Projected(Extractor):
    """A fixed random projection of pixels to 16 features, of which the first ten stand for logits."""

    def on(self, dataset):
        weight = torch.randn(math.prod(dataset.shape), 16, generator=torch.Generator().manual_seed(0))

        def network(x):
            features = x.flatten(1) @ weight
            return features, features[:, :10]

        return Features("projected", "0" * 64, "nothing", network)


def metric(name, extractor=None, **options):
    return create("metric", name, **({"extractor": extractor} if extractor else {}), **options)


@pytest.fixture(scope="module")
def digits():
    return create("dataset", "digits")


def evidence(dataset, fake, **more):
    return Evidence(dataset, fake, dataset.part("held-out"), **more)


# What each is


def test_each_says_what_it_was_made_with(digits):
    held = evidence(digits, digits.part("validation"))
    for name in ("fd", "kd", "cs", "precision", "recall", "density", "coverage", "memorisation"):
        score = metric(name, Projected())(held)
        assert score.how == "359 held-out, 359 generated; projected 00000000 (nothing)"
        assert {"extractor", "sha256", "split"} <= score.detail.keys()


def test_the_frechet_distance_is_that_of_features_and_by_label(digits):
    fake = digits.part("validation")
    score = metric("fd", Projected())(evidence(digits, fake))
    features = Projected().on(digits)
    real = features(digits.part("held-out").x)[0]
    assert score.value == pytest.approx(frechet(real, features(fake.x)[0]))
    assert "by label" not in score.detail  # 36 of each say nothing of a covariance
    many = Batch(fake.x.repeat(4, 1, 1, 1), fake.label.repeat(4))
    held = Evidence(digits, many, many)
    by_label = metric("fd", Projected())(held).detail["by label"]
    assert set(by_label) == set("0123456789")
    assert max(map(abs, by_label.values())) < 1e-3


def test_the_kernel_distance_is_the_mean_over_pairs():
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 5, generator=rng, dtype=torch.float64) for n in (12, 9))

    def k(a, b):
        return float((a @ b / 5 + 1) ** 3)

    within = sum(k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / (12 * 11)
    within += sum(k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / (9 * 8)
    between = sum(k(a, b) for a in x for b in y) / (12 * 9)
    assert kernel_distance(x, y) == pytest.approx(within - 2 * between, rel=1e-10)


def test_the_kernel_distance_does_not_depend_on_the_scale_of_features(digits):
    @dataclass(frozen=True)
    class Scaled(Extractor):
        def on(self, dataset):
            inner = Projected().on(dataset).network
            return Features("scaled", "1" * 64, "nothing", lambda x: (100 * inner(x)[0] + 7, None))

    fake = Batch(digits.part("validation").x + 0.1)
    one, other = (metric("kd", e)(evidence(digits, fake)).value for e in (Projected(), Scaled()))
    assert one == pytest.approx(other, rel=1e-3)
    assert one > 0.01


def test_the_classifier_score_is_between_one_and_the_classes():
    sure = 1e3 * torch.eye(7, dtype=torch.float64).repeat(10, 1)
    assert float(classifier_score(sure)) == pytest.approx(7)
    assert float(classifier_score(torch.zeros(70, 7))) == pytest.approx(1)
    half = torch.tensor([[math.log(0.75), math.log(0.25)], [math.log(0.25), math.log(0.75)]])
    kl = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(classifier_score(half)) == pytest.approx(math.exp(kl), rel=1e-6)


def test_shares_of_nearer_pairs_count_ties_half():
    a, b = torch.tensor([1.0, 2.0, 5.0]), torch.tensor([2.0, 3.0])
    pairs = [(x < y) + 0.5 * (x == y) for x in a.tolist() for y in b.tolist()]
    assert nearer(a, b) == pytest.approx(sum(pairs) / 6)
    x, y = torch.randn(10, 3), torch.randn(20, 3)
    distance, index = nearest(x, y, 2)
    wanted = torch.cdist(x, y).sort(1)
    assert torch.equal(index, wanted.indices[:, :2])
    assert torch.allclose(distance, wanted.values[:, :2])


def test_memorisation_tells_copies_and_shows_what_they_are_copies_of(digits):
    train = digits.part("train").x
    fresh = metric("memorisation", Projected())(evidence(digits, digits.part("validation")))
    copies = metric("memorisation", Projected())(evidence(digits, Batch(train[:359])))
    away = metric("memorisation", Projected())(evidence(digits, Batch(train[:359] + 5)))
    assert 40 < fresh.value < 60
    assert copies.value == 100
    assert away.value < 1
    assert copies.picture.shape == (8, 8, 1, 8, 8)
    assert torch.equal(copies.picture[:, 0], copies.picture[:, 1])


@pytest.mark.parametrize("flip", [False, True])
def test_memorisation_tells_mirrored_copies_where_these_are_trained_on(flip):
    shapes = create("dataset", "shapes", flip=flip)
    x = shapes.part("train").x[:400]
    copies, mirrored = (metric("memorisation", Projected())(evidence(shapes, Batch(y))) for y in (x, x.flip(-1)))
    assert copies.value == 100
    assert mirrored.value == 100 if flip else mirrored.value < 60
    for score in (copies, mirrored) if flip else (copies,):
        assert torch.allclose(score.picture[:, 0], score.picture[:, 1], atol=0.02)  # but for the noise of a level


def test_windows_are_the_kernel_density_of_sklearn():
    rng = torch.Generator().manual_seed(0)
    x, centres = (torch.rand(n, 6, generator=rng, dtype=torch.float64) for n in (700, 40))
    wanted = KernelDensity(bandwidth=0.2).fit(centres.numpy()).score_samples(x.numpy())
    assert log_likelihood(x, centres, 0.2).numpy() == pytest.approx(wanted, rel=1e-9)


def test_windows_tell_real_images_from_noise(digits):
    good = metric("parzen")(evidence(digits, digits.part("validation")))
    bad = metric("parzen")(evidence(digits, Batch(torch.rand(359, 1, 8, 8))))
    assert good.value > bad.value + 10
    assert "standard error" in good.how


def test_modes_are_numbers_of_three_digits():
    def network(x):
        return x.flatten(1), torch.nn.functional.one_hot(x.flatten(1)[:, 0].long(), 10).float()

    x = torch.tensor([[1.0, 2, 3], [1, 2, 3], [9, 9, 9], [0, 0, 0]])[:, :, None, None]
    counts = occupancy(Features("first pixel", "2" * 64, "nothing", network), x)
    assert counts.nonzero().flatten().tolist() == [0, 123, 999]
    assert counts[123] == 2
    kl = metric("stacked-kl", Projected())
    assert metric("stacked-modes", Projected()).of(counts) == 3
    assert kl.of(torch.ones(1000)) == pytest.approx(0, abs=1e-12)
    assert kl.of(torch.nn.functional.one_hot(torch.tensor(5), 1000)) == pytest.approx(math.log(1000))


@dataclass(frozen=True)
class Brightness(Extractor):
    """Reads the digits of `bright_digits`: how bright the left half is, on the scale of the dataset it is asked for."""

    def on(self, dataset):
        def network(x):
            digit = (10 * dataset.shown(x)[..., :14].mean((1, 2, 3))).floor().long().clamp(0, 9)
            return x.flatten(1), torch.nn.functional.one_hot(digit, 10).float()

        return Features("brightness", "4" * 64, "nothing", network)


@pytest.fixture(scope="module")
def bright_digits(tmp_path_factory):
    """A folder with files of MNIST whose digit k is a left half of 10k + 5 per cent of white beside a black one."""
    digit = np.arange(600, dtype=np.uint8) % 10
    x = np.zeros((600, 28, 28), np.uint8)
    x[:, :, :14] = (25.6 * digit + 12.8).astype(np.uint8)[:, None, None]
    folder = tmp_path_factory.mktemp("bright")
    for part in ("train", "t10k"):
        idx(folder / "mnist" / f"{part}-images-idx3-ubyte", x)
        idx(folder / "mnist" / f"{part}-labels-idx1-ubyte", digit)
    return folder


@pytest.mark.parametrize("options", [{}, {"logit": 1e-6}, {"flip": True}], ids=str)
def test_real_digits_are_read_as_what_they_are_however_they_are_shown(bright_digits, options, monkeypatch):
    monkeypatch.setenv("GANZOO_DATA", str(bright_digits))
    monkeypatch.setenv("GANZOO_CACHE", str(bright_digits / "cache"))
    dataset = create("dataset", "stacked-mnist", train=1_000, **options)
    real = dataset.some("validation", 3_000)
    counts = torch.bincount(real.label, minlength=1_000)
    for name in ("stacked-modes", "stacked-kl"):
        tried = metric(name, Brightness())
        assert tried(Evidence(dataset, real, real)).value == tried.of(counts)


# Ladders: what is worse scores worse, with a classifier that is trained here


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        if REAL is not None:
            patch.setenv("GANZOO_DATA", str(REAL))
        yield


RISING = ("fd", "kd")
FALLING = ("precision", "density")


def ladder(name, dataset, fakes):
    return [evaluate.metrics([name])[f"{name}:reference"](evidence(dataset, fake)).value for fake in fakes]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shapes", pytest.param("mnist", marks=needs_real_data)])
def test_what_is_made_worse_step_by_step_scores_worse(name, reference):
    dataset = create("dataset", name)
    noise_makes_everything_worse(dataset)
    missing_classes_are_seen_one_by_one(dataset)


def noise_makes_everything_worse(dataset):
    x, noise = dataset.some("validation", 2_000).x, torch.Generator().manual_seed(0)
    drawn = torch.randn(x.shape, generator=noise)
    fakes = [Batch(x + scale * drawn) for scale in (0.0, 0.2, 0.4, 0.8)]
    for each in (*RISING, *FALLING):
        values = ladder(each, dataset, fakes)
        assert values == sorted(values, reverse=each in FALLING), (each, values)


def missing_classes_are_seen_one_by_one(dataset):
    x, label = dataset.some("validation", 4_000)
    fakes = [Batch(x[label >= missing][:350]) for missing in (0, 1, 2, 4)]
    assert {len(fake.x) for fake in fakes} <= set(range(150, 351))
    for each, falling in (("fd", False), ("recall", True), ("coverage", True), ("cs", True)):
        values = ladder(each, dataset, fakes)
        assert values == sorted(values, reverse=falling), (each, values)


@needs_real_data
@pytest.mark.slow
def test_real_digits_have_all_modes_evenly(reference):
    dataset = create("dataset", "stacked-mnist", train=1_000, logit=1e-6, flip=True)
    modes, kl = evaluate.floor(dataset, evaluate.metrics(["stacked-modes", "stacked-kl"])).values()
    assert modes.value == 1_000
    assert kl.value < 0.03


# Published figures, on real files


@dataclass(frozen=True)
class LeNet(Extractor):
    """The network of Berard et al. (2020), with what their code shows it: levels, bilinear to 32 × 32, in [−1, 1]."""

    def on(self, dataset):
        network = lenet()

        def features(x):
            levels = ((x + 1) * 128).floor().clamp(0, 255)
            shown = torch.nn.functional.interpolate(levels / 255, (32, 32), mode="bilinear", antialias=True) * 2 - 1
            found = network.features(shown)
            return found, network.fc3(found)

        return Features("lenet", "3" * 64, "MNIST's train split", features)


@lru_cache
def lenet():
    from safetensors.torch import load_file

    assert REAL is not None
    folder = REAL / "metric_networks"
    sys.path.insert(0, str(folder))
    try:
        from nets import LeNet as Network
    finally:
        sys.path.remove(str(folder))
    network = Network()
    network.load_state_dict(load_file(folder / "mnist_lenet_facebookresearch.safetensors"))
    return network.eval().requires_grad_(False)


@needs_real_data
@pytest.mark.slow
def test_a_published_network_gives_its_published_figures(reference):
    """99.36 % of the test split, Fréchet distance .589 between the splits, Inception score's formula 9.900."""
    mnist = create("dataset", "mnist")
    held, train = mnist.part("held-out"), mnist.part("train")
    validation = mnist.part("validation")
    whole = Batch(torch.cat([train.x, validation.x]))
    logits = LeNet().on(mnist)(held.x)[1]
    assert float((logits.argmax(1) == held.label).double().mean()) == pytest.approx(0.9936, abs=1e-4)
    assert metric("fd", LeNet())(Evidence(mnist, held, whole)).value == pytest.approx(0.589, abs=1e-3)
    assert float(classifier_score(logits.double())) == pytest.approx(9.900, abs=1e-3)


@needs_real_data
@pytest.mark.slow
def test_ten_thousand_training_images_have_the_likelihood_that_was_found_feasible(reference):
    mnist = create("dataset", "mnist")
    score = metric("parzen")(evidence(mnist, mnist.some("train", 10_000)))
    assert score.value == pytest.approx(243.9, abs=2)

"""The built-in extractor: a small classifier of the data, so that features need no download.

It is trained by one fixed recipe on the train part, kept, and known by the hash of its weights: numbers that were made
with it are comparable where the hash is the same. Another machine may round otherwise, and train another one.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, final

import filelock
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ganzoo.dataset import Batch, Dataset
from ganzoo.errors import IncompatibleError
from ganzoo.extractor import Extractor, Features
from ganzoo.files import atomic_write, cache_folder, sha256
from ganzoo.heads import classification, right
from ganzoo.seeds import derive

#: Part of the name under which classifiers are kept: raise it where anything below changes.
VERSION: Final = 1
STEPS: Final = 1_200
BATCH: Final = 128
RATE: Final = 3e-3
WIDTH: Final = 16
WIDEST: Final = 64
FEATURES: Final = 64
#: Rows of the validation part that its accuracy is measured on.
TESTED: Final = 10_000
#: Between two lines that say how far it is.
SECONDS: Final = 10.0


@final
class Classifier(nn.Module):
    """``x (n, *shape)`` to 64 features and the logits of ``classes``: convolutions that halve an image to less than 8
    pixels a side, or two layers of a perceptron."""

    mean: Tensor
    std: Tensor

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        body = _convolutions(*shape) if len(shape) == 3 else _perceptron(*shape)
        self.body = nn.Sequential(*body, nn.ReLU())
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body((x - self.mean) / self.std)
        return features, self.head(features)


def _convolutions(channels: int, height: int, width: int) -> Iterator[nn.Module]:
    wide = WIDTH
    while min(height, width) >= 8:
        yield from (nn.Conv2d(channels, wide, 3, padding=1), nn.BatchNorm2d(wide), nn.ReLU(), nn.MaxPool2d(2))
        channels, height, width, wide = wide, height // 2, width // 2, min(2 * wide, WIDEST)
    yield from (nn.Flatten(), nn.Linear(channels * height * width, FEATURES))


def _perceptron(*shape: int) -> Iterator[nn.Module]:
    inputs = torch.Size(shape).numel()
    yield from (nn.Flatten(), nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
    yield nn.Linear(128, FEATURES)


def train(dataset: Dataset, seed: int = 0) -> Classifier:
    """The recipe: Adam on the cross-entropy, for 1,200 batches of 128 of the train part, along one cycle of rates.

    Samples are decoded afresh for each batch, as generators see them.
    """
    data, rng = dataset.stored("train"), torch.Generator().manual_seed(derive(seed, "reference"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "reference weights"))
        network = Classifier(dataset.shape, _classes(dataset))
    some = dataset.some("train", TESTED).x
    network.mean.copy_(some.mean())
    network.std.copy_(some.std().clamp_min(1e-6))
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS)
    said = time.monotonic()
    for step in range(STEPS):
        if time.monotonic() - said > SECONDS:
            said = time.monotonic()
            _say(f"the reference classifier: step {step:,}/{STEPS:,}")
        x, label = dataset.decoded(data.take(torch.randint(len(data.x), (BATCH,), generator=rng)), rng)
        assert label is not None
        loss = classification(network(x)[1], label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


@torch.no_grad()
def accuracy(network: Classifier, data: Batch) -> float:
    """The share of labels that are told right."""
    assert data.label is not None
    logits = torch.cat([network(piece)[1] for piece in data.x.split(500)])
    return float(right(logits, data.label).float().mean())


def _classes(dataset: Dataset) -> int:
    if dataset.classes is None:
        raise IncompatibleError("the reference extractor is a classifier, and the dataset has no labels")
    return dataset.classes


@final
@dataclass(frozen=True)
class Reference(Extractor):
    """The features before the last layer of a small classifier that was trained on the dataset's train part.

    It is kept in the cache, and trained once for all processes that want it.
    """

    seed: int = 0

    def applies(self, dataset: Dataset) -> bool:
        return dataset.classes is not None

    def on(self, dataset: Dataset) -> Features:
        return _features(dataset, self.seed)


@lru_cache(maxsize=8)
def _features(dataset: Dataset, seed: int) -> Features:
    path = cache_folder() / "reference" / f"{_key(dataset, seed)}.safetensors"
    if (found := _read(path, dataset)) is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_suffix(".lock")):
            if (found := _read(path, dataset)) is None:
                _write(path, dataset, seed)
                found = _read(path, dataset)
    assert found is not None
    network, correct = found
    split = f"train part, {100 * float(correct):.2f} % right on the validation part"
    return Features("reference", sha256(path.read_bytes()), split, network)


def _key(dataset: Dataset, seed: int) -> str:
    """Names what a classifier depends on: the recipe, and what the train part is."""
    label = dataset.stored("train").label
    assert label is not None
    said = dataset.described().json()  # of data that were read: before, less may be known
    content = hashlib.sha256(dataset.some("train", TESTED).x.numpy().tobytes())
    content.update(label.numpy().tobytes())
    recipe = {"version": VERSION, "seed": seed, "data": said, "content": content.hexdigest()}
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def _write(path: Path, dataset: Dataset, seed: int) -> None:
    _classes(dataset)
    _say("training the reference classifier of these data, once")
    with _reproducible():
        network = train(dataset, seed)
        correct = accuracy(network, dataset.some("validation", TESTED))
    state = {name: t.contiguous() for name, t in network.state_dict().items()}
    atomic_write(path, safetensors.torch.save(state, {"accuracy": str(correct)}))


def _say(what: str) -> None:
    print(f"ganzoo: {what}", file=sys.stderr, flush=True)


@contextmanager
def _reproducible() -> Iterator[None]:
    """The order of sums depends on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _read(path: Path, dataset: Dataset) -> tuple[Classifier, str] | None:
    """What is kept there; none where there is nothing, or something else."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            correct = file.metadata()["accuracy"]
        with torch.random.fork_rng(devices=[]):
            network = Classifier(dataset.shape, _classes(dataset))
        network.load_state_dict(weights)
        return network.eval().requires_grad_(False), str(float(correct))
    except (OSError, safetensors.SafetensorError, RuntimeError, LookupError, TypeError, ValueError):
        return None

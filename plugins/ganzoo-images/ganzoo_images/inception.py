"""FID, KID and the Inception score: what papers on images report, from the features of one published network.

That is Inception v3 as it was trained for ImageNet in 2015, in the port of `torch-fidelity`, whose features are those
of the original code in TensorFlow. `torchmetrics` computes the numbers. Both come with ``pip install
'ganzoo-images[fid]'``; the weights are fetched when they are first asked for.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import sys
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from http.client import HTTPException
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, final
from urllib.error import HTTPError
from urllib.request import urlopen

import filelock
import torch
from torch import Tensor, nn

from ganzoo.dataset import Dataset, Description
from ganzoo.device import pick_device
from ganzoo.errors import DataError
from ganzoo.extractor import Extractor, Features
from ganzoo.files import cache_folder, sha256, writing
from ganzoo.metric import Evidence, Metric, Score

#: Where `torch-fidelity` itself fetches the weights. They are 95,628,359 bytes, under the Apache licence 2.0.
URL: Final = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
#: Of that file, which has its first digits in its name.
SHA256: Final = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
#: Names a file to use in place of the one that would be fetched.
FILE: Final = "GANZOO_INCEPTION"
FEATURES: Final = 2_048
#: Generated samples that papers measure on. There are fewer where the data's own parts have fewer.
SAMPLES: Final = 50_000
#: Images at once: at 299 × 299 each takes some 10 MB.
CHUNK: Final = 50
#: Seconds without a byte after which a server is given up.
TIMEOUT: Final = 30.0
PIECE: Final = 2**20
INSTALL: Final = "pip install 'ganzoo-images[fid]'"


# Features


@final
@dataclass(frozen=True)
class Inception(Extractor):
    """The 2,048 features before the last layer, and its 1,008 logits without their bias, of images grey or RGB.

    Samples are turned back into levels 0…255, grey ones into three equal channels, and resized to 299 × 299 by the
    bilinear filter of TensorFlow 1, not antialiased, as in the code of FID's authors.

    ``sha256`` is that of the weights. A file of any other is refused unread.
    """

    url: str = URL
    sha256: str = SHA256

    def applies(self, dataset: Dataset) -> bool:
        return len(dataset.shape) == 3 and dataset.shape[0] in (1, 3)

    def on(self, dataset: Dataset) -> Features:
        """Raises `DataError` where a library or the weights are missing."""
        load = _libraries()
        network = _network(load, self._path(), self.sha256)
        split = "fitted on ImageNet, images resized to 299 × 299 by TensorFlow 1's bilinear filter"
        return Features("inception", self.sha256, split, partial(_seen, network, dataset.described()))

    def _path(self) -> Path:
        if named := os.environ.get(FILE):
            return Path(named).expanduser()
        path = cache_folder() / "inception" / f"{self.sha256}.pth"
        if not path.exists():
            _fetch(self.url, path, self.sha256)
        return path


def _seen(network: nn.Module, data: Description, x: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits of samples ``x (n, c, h, w)``, where the network lives."""
    device = next(network.parameters()).device
    outputs = [network(levels(data, piece).to(device)) for piece in x.split(CHUNK)]
    features, logits = (torch.cat(each).cpu() for each in zip(*outputs, strict=True))
    return features, logits


def levels(data: Description, x: Tensor) -> Tensor:
    """What samples are levels of: ``(n, 3, h, w)`` uint8. Of dequantised data that is where they came from."""
    found = (256 * data.shown(x)).floor().clamp(0, 255).to(torch.uint8)
    return found.expand(-1, 3, -1, -1)


@lru_cache(maxsize=1)
def _network(make: Any, path: Path, expected: str) -> nn.Module:
    content = _checked(path, expected)
    try:
        weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        # torch-fidelity reads a file without that precaution, so it is given one that was written here.
        safe = io.BytesIO()
        torch.save(weights, safe)
        safe.seek(0)
        with torch.random.fork_rng(devices=[]):  # of the weights that it has before it reads any
            network: nn.Module = make("inception-v3-compat", [str(FEATURES), "logits_unbiased"], safe)
    except Exception as error:  # of unpickling, and of weights that are of another network
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} holds no weights of Inception ({reason}); {_cure(path)}") from error
    return network.to(pick_device("auto"))


def _checked(path: Path, expected: str) -> bytes:
    """The file's content, if it is what it should be."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; {_cure(path)}") from error
    if (found := sha256(content)) != expected:
        raise DataError(
            f"{path} has {len(content):,} bytes with the sha256 {found}, and Inception's weights have {expected}; "
            f"nothing was read from it; {_cure(path)}"
        )
    return content


def _cure(path: Path) -> str:
    if os.environ.get(FILE):
        return f"have {FILE} name a copy of {URL}, or unset it"
    return f"take {path} away, and it is fetched again"


def _fetch(url: str, path: Path, expected: str) -> None:
    """Have the file at ``path``, whole and as it was published, or not at all; by one process, while others wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_suffix(".lock")):
        if path.exists():
            return
        print(f"ganzoo: fetching {url} into {path}, once", file=sys.stderr, flush=True)
        try:
            _download(url, path, expected)
        except (OSError, HTTPException) as error:
            full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
            cure = "make room, or have GANZOO_CACHE name another folder" if full else _elsewhere(path)
            reason = error if isinstance(error, HTTPError) else getattr(error, "reason", error)
            raise DataError(f"{url} cannot be fetched into {path}: {reason}; {cure}") from error


def _elsewhere(path: Path) -> str:
    return f"try again, or fetch it on another machine and have {FILE} name it, or put it at {path}"


def _download(url: str, path: Path, expected: str) -> None:
    digest, size = hashlib.sha256(), 0
    with urlopen(url, timeout=TIMEOUT) as answer, writing(path) as file:
        while piece := answer.read(PIECE):
            digest.update(piece)
            size += len(piece)
            file.write(piece)
        if digest.hexdigest() != expected:
            raise DataError(
                f"{url} gave {size:,} bytes with the sha256 {digest.hexdigest()}, and Inception's weights have "
                f"{expected}; nothing was kept; {_elsewhere(path)}"
            )


def _libraries() -> Any:
    """What makes the network."""
    try:
        import_module("torchmetrics.image.fid")
        return import_module("torch_fidelity").FeatureExtractorInceptionV3
    except ImportError as error:
        raise DataError(f"FID, KID and IS need torchmetrics and torch-fidelity ({error}): {INSTALL}") from error
    except RuntimeError as error:  # what torchvision says where it was built for another torch
        raise DataError(
            f"torchmetrics and torch-fidelity cannot be loaded ({error}): have torchvision from where torch "
            f"{version('torch')} is from, of the version that goes with it"
        ) from error


# Numbers


class _Given(nn.Identity):
    """In place of the network of `torchmetrics`: features that were computed already."""

    num_features = FEATURES


class InceptionMetric(Metric):
    """On the features of generated samples and of the held-out part.

    There are at most as many generated samples as the validation part has, and as the held-out part has: the smaller of
    them sets the bias, so numbers compare where ``how`` says the same.
    """

    extractor: Inception
    samples: int = SAMPLES
    unit: ClassVar[str] = "Inception's features"
    on_request: ClassVar[bool] = True

    def applies(self, evidence: Evidence) -> bool:
        return self.extractor.applies(evidence.dataset)

    def __call__(self, evidence: Evidence) -> Score:
        features = self.extractor.on(evidence.dataset)
        with _quietly(evidence.seed):
            value, detail = self.computed(features, evidence)
        counts = {"generated": min(len(evidence.fake.x), self.samples), "held-out": len(evidence.real.x)}
        many = ", ".join(f"{n:,} {side}" for side, n in counts.items())
        how = f"{many}; torchmetrics {version('torchmetrics')}, {features}"
        return Score(value, how, {**detail, **counts, "sha256": features.sha256})

    def fake(self, features: Features, evidence: Evidence) -> tuple[Tensor, Tensor | None]:
        x = evidence.fake.x
        return features(x if len(x) <= self.samples else x[: self.samples])

    @abstractmethod
    def computed(self, features: Features, evidence: Evidence) -> tuple[float, dict[str, Any]]:
        """The value, and what else is to be said of it."""


@contextmanager
def _quietly(seed: int) -> Iterator[None]:
    """`torchmetrics` draws from the global generator, and warns of the memory that it takes."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(seed)
        warnings.simplefilter("ignore")
        yield


def _compared(metric: Any, features: Features, of: InceptionMetric, evidence: Evidence) -> Any:
    metric.update(features(evidence.real.x)[0], real=True)
    metric.update(of.fake(features, evidence)[0], real=False)
    return metric.compute()


@final
@dataclass(frozen=True)
class FID(InceptionMetric):
    """``‖μ − μ'‖² + tr(Σ + Σ' − 2 (Σ Σ')^½)`` of two Gaussians fitted to features: Heusel et al. (2017).

    Few samples raise it, by units at a few thousand: the floor shows by how much.
    """

    extractor: Inception = Inception()
    samples: int = SAMPLES

    def computed(self, features: Features, evidence: Evidence) -> tuple[float, dict[str, Any]]:
        metric = import_module("torchmetrics.image.fid").FrechetInceptionDistance(feature=_Given())
        return float(_compared(metric, features, self, evidence)), {}


@final
@dataclass(frozen=True)
class KID(InceptionMetric):
    """The unbiased squared MMD of features with the kernel ``(x·y/d + 1)³``: Bińkowski et al. (2018).

    The mean over ``subsets`` of 1,000 samples of each side, as published. Features are not standardised, so that the
    number compares with others'; it may be slightly negative.
    """

    extractor: Inception = Inception()
    samples: int = SAMPLES
    subsets: int = 100
    size: int = 1_000

    def computed(self, features: Features, evidence: Evidence) -> tuple[float, dict[str, Any]]:
        size = min(self.size, self.samples, len(evidence.real.x), len(evidence.fake.x))
        kernel = import_module("torchmetrics.image.kid").KernelInceptionDistance
        metric = kernel(feature=_Given(), subsets=self.subsets, subset_size=size)
        mean, std = _compared(metric, features, self, evidence)
        return float(mean), {"std": float(std), "subsets": self.subsets, "subset size": size}


@final
@dataclass(frozen=True)
class IS(InceptionMetric):
    """``exp E KL(p(y|x) ‖ p(y))`` of the network's 1,008 classes: Salimans et al. (2016).

    The mean over ten tenths of the generated samples. Real data are not asked: it measures how sure of different
    classes of ImageNet the network is, and says little of data that are not like these.
    """

    extractor: Inception = Inception()
    samples: int = SAMPLES
    unit: ClassVar[str] = "classes"
    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def computed(self, features: Features, evidence: Evidence) -> tuple[float, dict[str, Any]]:
        metric = import_module("torchmetrics.image.inception").InceptionScore(feature=nn.Identity())
        metric.update(self.fake(features, evidence)[1])
        mean, std = metric.compute()
        return float(mean), {"std": float(std)}

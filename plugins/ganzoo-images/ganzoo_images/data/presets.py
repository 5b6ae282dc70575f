"""Image datasets that papers report on. Their shape and classes are known without them.

Each looks for ``$GANZOO_DATA/NAME`` first, in any form that *images* reads, and asks the Hub else, at a commit where
one is given here. Where there is no validation split, the last rows of the train split are it, as in the literature.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from ganzoo_images.data.decoding import Decoding
from ganzoo_images.data.frame import Frame
from ganzoo_images.data.images import Images, lazily, listed_in, local
from ganzoo_images.data.sources import AUTO, TRUTH, Source, columns
from ganzoo_images.data.splits import Rule
from ganzoo_images.data.tables import Hub


@final
@dataclass(frozen=True)
class Preset:
    """What is known of a published dataset. ``last`` of so many rows of the train split are for validation."""

    name: str
    repo: str
    revision: str | None
    shape: tuple[int, int, int]
    labels: tuple[str, ...] = ()
    last: tuple[int, int] = (1, 10)
    config: str | None = None
    image: str | None = None
    label: str | None = None
    crop: int | None = None

    @property
    def folder(self) -> Path | None:
        """Where its files lie, if they do."""
        root = os.environ.get("GANZOO_DATA")
        folder = Path(root).expanduser() / self.name if root else None
        return folder if folder and folder.exists() else None

    def source(self, attribute: str | None) -> Source:
        if folder := self.folder:
            if attribute and (table := folder / ATTRIBUTES).is_file():
                return listed_in(folder, table, attribute)
            return local(folder, None, AUTO if self.labels else attribute, 1 if self.labels else 0)
        cure = f"put the files into $GANZOO_DATA/{self.name}, or use images with -o dataset.source=FOLDER"
        return Hub(self.repo, self.revision, self.config, self.image, attribute or self.label, cure)

    def images(self, size: int | None, flip: bool, logit: float, seed: int, attribute: str | None = None) -> Images:
        return lazily(self.decoding(size, seed, attribute), flip, logit, seed, columns(attribute))

    def decoding(self, size: int | None = None, seed: int = 0, attribute: str | None = None) -> Decoding:
        """With every image resized to ``size``; by default as published, or as usual where it is cut out."""
        channels, side, _ = self.shape
        side = size or side
        frame = Frame(side if side != self.shape[1] or self.crop else None, self.crop, channels)
        named = columns(attribute)
        labels = named if len(named) > 1 else TRUTH if named else self.labels
        rule = Rule(seed=seed, last=self.last)
        shape = channels, side, side
        return Decoding(self.name, self.source(attribute), frame, rule, labels, shape, labelled=bool(labels))


#: CelebA's attributes as the file that goes around with its images has them.
ATTRIBUTES: Final = "list_attr_celeba.csv"
DIGITS: Final = tuple("0123456789")
FASHION: Final = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
KUZUSHIJI: Final = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
OBJECTS: Final = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

MNIST: Final = Preset(
    "mnist",
    "ylecun/mnist",
    "77f3279092a1c1579b2250db8eafed0ad422088c",
    (1, 28, 28),
    DIGITS,
    (1, 6),
    "mnist",
    "image",
    "label",
)
FASHION_MNIST: Final = Preset(
    "fashion-mnist",
    "zalando-datasets/fashion_mnist",
    "531be5e2ccc9dba0c201ad3ae567a4f3d16ecdd2",
    (1, 28, 28),
    FASHION,
    (1, 6),
    "fashion_mnist",
    "image",
    "label",
)
KMNIST: Final = Preset("kmnist", "tanganke/kmnist", None, (1, 28, 28), KUZUSHIJI, (1, 6), None, "image", "label")
CIFAR10: Final = Preset(
    "cifar10",
    "uoft-cs/cifar10",
    "0b2714987fa478483af9968de7c934580d0bb9a2",
    (3, 32, 32),
    OBJECTS,
    (1, 10),
    "plain_text",
    "img",
    "label",
)
CELEBA: Final = Preset(
    "celeba",
    "flwrlabs/celeba",
    "2d738f56e0e7f925ea36ae7c808ea925264aacec",
    (3, 64, 64),
    (),
    (1, 10),
    "img_align+identity+attr",
    "image",
    None,
    crop=178,
)
FFHQ_64: Final = Preset("ffhq-64", "Dmini/FFHQ-64x64", None, (3, 64, 64), (), (1, 7), None, "image", None)


def mnist(size: int | None = None, flip: bool = False, logit: float = 0.0, seed: int = 0) -> Images:
    """MNIST (LeCun, Bottou, Bengio & Haffner, 1998): 50,000, 10,000 and 10,000 digits, 1 × 28 × 28."""
    return MNIST.images(size, flip, logit, seed)


def fashion_mnist(size: int | None = None, flip: bool = False, logit: float = 0.0, seed: int = 0) -> Images:
    """Fashion-MNIST (Xiao, Rasul & Vollgraf, 2017): 50,000, 10,000 and 10,000 articles, 1 × 28 × 28."""
    return FASHION_MNIST.images(size, flip, logit, seed)


def kmnist(size: int | None = None, flip: bool = False, logit: float = 0.0, seed: int = 0) -> Images:
    """Kuzushiji-MNIST (Clanuwat et al., 2018): 50,000, 10,000 and 10,000 characters, 1 × 28 × 28."""
    return KMNIST.images(size, flip, logit, seed)


def cifar10(size: int | None = None, flip: bool = False, logit: float = 0.0, seed: int = 0) -> Images:
    """CIFAR-10 (Krizhevsky, 2009): 45,000, 5,000 and 10,000 photographs, 3 × 32 × 32."""
    return CIFAR10.images(size, flip, logit, seed)


def celeba(
    attribute: str | None = None, size: int | None = None, flip: bool = False, logit: float = 0.0, seed: int = 0
) -> Images:
    """CelebA (Liu, Luo, Wang & Tang, 2015), aligned, in its official parts: 162,770, 19,867 and 19,962 faces, their
    central 178 × 178 pixels resized. ``attribute`` (``Smiling``, …) is the label, if any; of several (``Smiling,Male``)
    a face can have any."""
    return CELEBA.images(size, flip, logit, seed, attribute)


def ffhq_64(size: int | None = None, flip: bool = False, logit: float = 0.0, seed: int = 0) -> Images:
    """FFHQ (Karras, Laine & Aila, 2019) at 64 × 64: 70,000 faces, a tenth each for validation and held out."""
    return FFHQ_64.images(size, flip, logit, seed)

"""The dataset *images*, of any source, and what all image datasets share: bytes in, dequantised samples out."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor

from ganzoo.dataset import PARTS, Batch, Dataset, PartName
from ganzoo.errors import DataError, OptionError
from ganzoo_images.data.decoding import Decoding, Levels, opened
from ganzoo_images.data.files import Folder, Idx, Mosaic, Npz, Zip, listed
from ganzoo_images.data.frame import Frame
from ganzoo_images.data.listed import Listed
from ganzoo_images.data.sources import AUTO, Source, columns
from ganzoo_images.data.splits import Rule
from ganzoo_images.data.tables import Hub, Parquet

HUB: Final = "hf:"
#: The levels of the first so many images of a part as they would be with another label.
Truth = Callable[[PartName, int, int], Tensor]
#: Of λ, so that 1 − λ is not 1.
SMALLEST: Final = 1e-7


@final
class Images(Dataset):
    """Images whose pixels have levels ``k ∈ {0…255}``, kept as bytes, as samples ``x = (k + u)/128 − 1``.

    ``u ∼ U[0, 1)`` is drawn anew for each batch that is trained on, and once for `part`, so that the data have a
    density (Theis, van den Oord & Bethge, 2016). With ``flip`` what is trained on is mirrored left to right with
    probability ½, and what numbers are measured on is not. With ``logit = λ > 0``, ``x = logit(λ + (1 − 2λ)(k +
    u)/256)``, as in MAF (Papamakarios, Pavlakou & Murray, 2017): likelihoods of it compare with those published for
    flows.
    """

    def __init__(
        self,
        levels: Callable[[], Levels],
        shape: tuple[int, ...],
        labels: tuple[str, ...] = (),
        about: Mapping[str, Any] | None = None,
        flip: bool = False,
        logit: float = 0.0,
        seed: int = 0,
        *,
        attribute: str = "",
        several: bool = False,
        truth: Truth | None = None,
    ) -> None:
        self.shape, self.labels, self.classes = shape, labels, len(labels) or None
        self.attribute, self.several, self._truth = attribute, several, truth
        self.flip, self.logit, self.seed = flip, logit, seed
        self.unit = "levels dequantised to (k + u)/128 − 1"
        self.limits = (-1.0, 1.0)
        if logit:
            if logit < SMALLEST:
                raise OptionError(
                    f"logit={logit:g} is not allowed; it takes 0, or from {SMALLEST:g} on: float32 ends there"
                )
            self.unit = f"logit(λ + (1 − 2λ)(k + u)/256), λ = {logit:g}, of levels k"
            self.limits = (math.log(logit / (1 - logit)), math.log((1 - logit) / logit))
            self.scale = "logit"
        self.provenance = self._said(about or {})
        self._read = levels

    def _said(self, about: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**about, "flip": self.flip}

    @cached_property
    def _levels(self) -> Levels:
        levels = self._read()
        self.provenance = self._said(levels.about)
        return levels

    def part(self, name: PartName) -> Batch:
        x, label = self.stored(name)
        rng = torch.Generator().manual_seed(1_000 * self.seed + PARTS.index(name))
        return Batch(self._dequantised(x, rng), label)

    def stored(self, name: PartName) -> Batch:
        return self._levels.parts[name]

    def decoded(self, stored: Batch, rng: torch.Generator) -> Batch:
        x = stored.x
        if self.flip:
            mirrored = torch.rand(len(x), 1, 1, 1, generator=rng, device=x.device) < 0.5
            x = torch.where(mirrored, x.flip(-1), x)
        return self.plain(Batch(x, stored.label), rng)

    def plain(self, stored: Batch, rng: torch.Generator) -> Batch:
        return Batch(self._dequantised(stored.x, rng), stored.label)

    def translated(self, name: PartName, n: int, label: int) -> Tensor | None:
        if self._truth is None:
            return None
        return self.plain(Batch(self._truth(name, n, label)), torch.Generator().manual_seed(0)).x

    def _dequantised(self, levels: Tensor, rng: torch.Generator) -> Tensor:
        x = torch.rand(levels.shape, generator=rng, device=levels.device).add_(levels)
        if not self.logit:
            return x.div_(128).sub_(1)
        return x.mul_((1 - 2 * self.logit) / 256).add_(self.logit).logit_()


def images(
    source: str | None = None,
    split: str | None = None,
    test_split: str | None = None,
    validation_split: str | None = None,
    image_column: str | None = None,
    label_column: str | None = AUTO,
    label_file: str | None = None,
    config: str | None = None,
    level: int | None = None,
    size: int | None = None,
    crop: int | None = None,
    channels: int | None = None,
    flip: bool = False,
    logit: float = 0.0,
    seed: int = 0,
) -> Images:
    """Images from anywhere, decoded at once where that was not done before: their shape is to be known.

    Raises:
        DataError: no source; or it cannot be read, has no images, or images that do not go together.
        OptionError: a split, column or config that it does not have.
    """
    if source is None:
        raise DataError("images needs a source: say -o dataset.source=FOLDER, a file, or hf:ORG/NAME")
    if source.startswith(HUB):
        if label_file is not None:
            raise OptionError(f"label_file={label_file} goes with images in a folder; {source} has columns")
        found = hub(source, config, image_column, label_column)
    elif label_file is not None:
        found = listed_in(Path(source).expanduser(), Path(label_file).expanduser(), label_column)
    else:
        found = local(Path(source).expanduser(), image_column, label_column, level)
    rule = Rule(split, validation_split, test_split, seed)
    frame, labelled = Frame(size, crop, channels), label_column is not None
    kept = Decoding(found.name, found, frame, rule, labelled=labelled).kept()
    levels = opened(kept)
    named = found.attributes() if isinstance(found, Listed) and labelled else columns(label_column)
    of = {"several": True} if levels.several else _of(named)
    return Images(lambda: levels, levels.shape, levels.labels, levels.about, flip, logit, seed, **of)


def lazily(decoding: Decoding, flip: bool, logit: float, seed: int, attributes: Sequence[str] = ()) -> Images:
    """The same where shape and classes are known, and nothing is to be read before samples are wanted."""
    assert decoding.shape is not None
    kept = decoding.kept()
    shape, classes = decoding.shape, decoding.classes
    return Images(lambda: opened(kept), shape, classes, kept.about(), flip, logit, seed, **_of(attributes))


def _of(attributes: Sequence[str]) -> dict[str, Any]:
    """What labels are of: one attribute, or several that an image has or has not."""
    return {"attribute": attributes[0]} if len(attributes) == 1 else {"several": len(attributes) > 1}


def listed_in(path: Path, table: Path, label: str | None) -> Listed:
    """Images at ``path`` with labels in a CSV file.

    Raises:
        DataError: one of them is not there.
        OptionError: images lie there in another form.
    """
    path = Path(os.path.abspath(path))
    for each in (path, table):
        if not each.exists():
            raise DataError(f"{each} is not there; give a folder of images and a CSV file of their labels")
    if path.is_file() and path.suffix != ".zip":
        raise OptionError(f"label_file={table} goes with a folder of images or a .zip of one, not with {path}")
    tree = Folder(path, 0) if path.is_dir() else Zip(path, 0)
    return Listed(tree, Path(os.path.abspath(table)), columns(label))


def hub(source: str, config: str | None, image: str | None, label: str | None) -> Hub:
    """What ``hf:ORG/NAME`` or ``hf:ORG/NAME@REVISION`` means."""
    from ganzoo.hub_client import REPO, REVISION

    repo, at, revision = source.removeprefix(HUB).partition("@")
    if not REPO.fullmatch(repo) or (at and not REVISION.fullmatch(revision)):
        raise OptionError(f"{source!r:.120} names no dataset on the Hub: say hf:ORG/NAME or hf:ORG/NAME@REVISION")
    return Hub(repo, revision or None, config, image, label)


def local(path: Path, image: str | None, label: str | None, level: int | None) -> Source:
    """What lies at ``path``, by what it looks like."""
    path = Path(os.path.abspath(path))
    if not path.exists():
        raise DataError(f"{path} is not there; give a folder or a file of images, or hf:ORG/NAME")
    source = _of_folder(path, image, label, level) if path.is_dir() else _of_file(path, image, label, level)
    named = [column for column in (image, label) if column not in (None, AUTO)]
    if named and not isinstance(source, (Npz, Parquet)):
        raise OptionError(
            f"{path} has no columns such as {named[0]!r}; those are of .npz, .parquet and the Hub, or of a CSV file: "
            "-o dataset.label_file=…"
        )
    return source


def _of_file(path: Path, image: str | None, label: str | None, level: int | None) -> Source:
    if path.suffix == ".npz":
        return Npz(path, [path], image, label)
    if path.suffix == ".parquet":
        return Parquet(path, [path], image, label)
    if path.suffix == ".zip":
        return Zip(path, 0 if label is None else level)
    if "-ubyte" in path.name:
        return Idx(path, [path])
    if listed(path) is not None:
        return Mosaic(path, [path])
    raise OptionError(
        f"{path} is of no known kind. A source is a folder of images, a .zip of one, .npz, .parquet, an idx file "
        "(…-idx3-ubyte), a mosaic with its .json, or hf:ORG/NAME"
    )


def _of_folder(path: Path, image: str | None, label: str | None, level: int | None) -> Source:
    if found := Idx.within(path):
        return Idx(path, found)
    if found := sorted(path.rglob("*.parquet")):
        return Parquet(path, found, image, label)
    if found := sorted(path.glob("*.npz")):
        return Npz(path, found, image, label)
    if found := Mosaic.within(path):
        return Mosaic(path, found)
    if any(path.glob("data_batch_*")) or any(path.glob("*.pkl")):
        raise DataError(
            f"{path} holds Python pickles, which can run any code and are never read. Save the images as .npz or .png, "
            "or fetch them from the Hub (hf:uoft-cs/cifar10)"
        )
    return Folder(path, 0 if label is None else level)

"""Images in files: folders, zip archives, idx, npz and mosaics."""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any, Final, final

import numpy as np
from PIL import Image

from ganzoo.errors import DataError, OptionError
from ganzoo.image_file import formats
from ganzoo_images.data.sources import AUTO, Json, Row, Source, Split, named_in, stamp, standard

SUFFIXES: Final = frozenset(
    f".{end}" for end in ("png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "jp2", "avif", "tga")
)
_IDX: Final = re.compile(r"(?P<split>.*?)[-_.]?images[-_.]idx[234]-ubyte(\.gz)?")
_UNREADABLE: Final = (OSError, EOFError, zlib.error, ValueError, KeyError, zipfile.BadZipFile)


class _Tree(Source):
    """Files in folders: these are the labels, but for what all have in common, and for splits at the top.

    ``level`` is how many folders a label is made of; none: all that there are.
    """

    mixed = False

    def __init__(self, root: Path, level: int | None) -> None:
        self.root, self.level, self.name = root, level, root.stem

    def splits(self) -> Mapping[str, Split]:
        files = self.listed()
        if not files:
            raise DataError(f"{self.root} has no images ({self._instead()}); known are {', '.join(sorted(SUFFIXES))}")
        parents = [PurePosixPath(file).parent.parts for file in files]
        shared = _shared(parents)
        rest = [parts[shared:] for parts in parents]
        apart = all(parts and standard(parts[0]) for parts in rest)
        found: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        for file, parts in zip(files, rest, strict=True):
            name, below = (parts[0], parts[1:]) if apart else ("train", parts)
            found.setdefault(name, []).append((file, below[: self.level]))
        return {name: Split(partial(self._rows, rows)) for name, rows in found.items()}

    def _rows(self, files: Sequence[tuple[str, tuple[str, ...]]]) -> Iterator[Row]:
        labelled = next((file for file, label in files if label), None)
        for file, label in files:
            if labelled and not label:
                raise DataError(
                    f"{self.root / file} lies in no folder, and {self.root / labelled} does. Folders are the labels: "
                    "put every image into one, or say -o dataset.label_column=none"
                )
            yield Row(str(self.root / file), self.read(file), "/".join(label) or None)

    @abstractmethod
    def listed(self) -> list[str]:
        """The files of images relative to the root, in the order of their names."""

    @abstractmethod
    def read(self, file: str) -> Path | bytes: ...

    def _instead(self) -> str:
        return "nothing is there"

    def about(self) -> Json:
        return {"images in folders": self.root.name}


def _shared(parents: Sequence[tuple[str, ...]]) -> int:
    """How many folders at the top all have in common."""
    first, last = min(parents), max(parents)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


@final
class Folder(_Tree):
    """A folder of images, or of folders of images."""

    def listed(self) -> list[str]:
        found: list[str] = []
        for folder, folders, files in os.walk(self.root, followlinks=True):
            here = Path(folder).relative_to(self.root)
            found += [(here / file).as_posix() for file in files]
            folders[:] = [each for each in folders if not _leads_back(folder, each)]
        return sorted(filter(_is_image, found))

    def read(self, file: str) -> Path:
        return self.root / file

    def identity(self) -> Json:
        return {
            "folder": str(self.root),
            "level": self.level,
            "files": [stamp(self.root / file, self.root) for file in self.listed()],
        }

    def _instead(self) -> str:
        others = sorted(path.name for path in self.root.iterdir())
        return f"it holds {', '.join(others[:4])}{', …' if len(others) > 4 else ''}" if others else "it is empty"


def _leads_back(folder: str, name: str) -> bool:
    """A link to the folder that it is in, or to one above."""
    return os.path.realpath(folder).startswith(os.path.realpath(os.path.join(folder, name)))


@final
class Zip(_Tree):
    """The same in a zip archive."""

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.root)
        except _UNREADABLE as error:
            raise DataError(f"{self.root} cannot be read as a zip archive ({error}); fetch it again") from error

    def listed(self) -> list[str]:
        return sorted(filter(_is_image, self._archive.namelist()))

    def read(self, file: str) -> bytes:
        try:
            return self._archive.read(file)
        except (*_UNREADABLE, RuntimeError, NotImplementedError) as error:  # a password, a compression of its own
            raise DataError(f"{self.root / file} cannot be read ({error})") from error

    def identity(self) -> Json:
        return {"zip": stamp(self.root), "level": self.level}


class _Files(Source):
    """Files that hold many images each."""

    def __init__(self, root: Path, files: Sequence[Path]) -> None:
        self.files, self.name = sorted(files), root.stem.removesuffix(".npz")

    def identity(self) -> Json:
        return {type(self).__name__.lower(): [stamp(path) for path in self.files]}

    def about(self) -> Json:
        return {"files": [path.name for path in self.files]}


class _Arrays(_Files):
    """The same, for one split each."""

    def splits(self) -> Mapping[str, Split]:
        found: dict[str, list[Path]] = {}
        for path in self.files:
            found.setdefault(named_in(path.name) or "train", []).append(path)
        return {name: Split(partial(self._rows, paths)) for name, paths in found.items()}

    def _rows(self, paths: Sequence[Path]) -> Iterator[Row]:
        for path in paths:
            images, labels = self.arrays(path)
            if labels is not None and len(labels) != len(images):
                raise DataError(f"{path} has {len(images)} images and {len(labels)} labels; fetch it again")
            for i, image in enumerate(images):
                yield Row(f"image {i} of {path}", image, None if labels is None else labels[i].item())

    @abstractmethod
    def arrays(self, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
        """Images ``(n, h, w)`` or ``(n, h, w, c)``, and their labels ``(n,)``."""


@final
class Idx(_Arrays):
    """MNIST's format: ``NAME-images-idx3-ubyte``, labels beside it, each perhaps with ``.gz``."""

    @staticmethod
    def within(folder: Path) -> list[Path]:
        found = sorted(path for path in folder.iterdir() if _IDX.fullmatch(path.name))
        return [path for path in found if not (path.suffix == ".gz" and path.with_suffix("") in found)]

    def identity(self) -> Json:
        beside = (_labels_of(path) for path in self.files)
        return {**super().identity(), "labels": [stamp(path) for path in beside if path]}

    def splits(self) -> Mapping[str, Split]:
        kinds = [named_in(path.name) or "train" for path in self.files]
        for kind in kinds:
            if kinds.count(kind) > 1:
                both = " and ".join(path.name for path, each in zip(self.files, kinds, strict=True) if each == kind)
                raise DataError(
                    f"{both} are both the {kind} split; name one of them, or have a folder for each dataset"
                )
        return super().splits()

    def arrays(self, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
        labels = _labels_of(path)
        return _idx(path), None if labels is None else _idx(labels)


def _labels_of(path: Path) -> Path | None:
    name = re.sub(r"idx\d", "idx1", path.name.replace("images", "labels")).removesuffix(".gz")
    return next((p for p in (path.with_name(name), path.with_name(f"{name}.gz")) if p.is_file()), None)


def _idx(path: Path) -> np.ndarray:
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except _UNREADABLE as error:
        raise DataError(f"{path} cannot be unpacked ({error}); fetch it again") from error
    kind, axes = (data[2], data[3]) if len(data) > 3 and data[:2] == b"\0\0" else (None, 0)
    if kind != 8 or not 1 <= axes <= 4 or len(data) < 4 + 4 * axes:
        raise DataError(f"{path} is no idx file of unsigned bytes; fetch it again")
    shape = tuple(int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes))
    levels = np.frombuffer(data, np.uint8, offset=4 + 4 * axes)
    if len(levels) != math.prod(shape):
        raise DataError(f"{path} has {len(levels)} bytes for the shape {shape} that it announces; fetch it again")
    return levels.reshape(shape)


@final
class Npz(_Files):
    """numpy's archives, for all splits or for one each. Pickled objects are not read.

    The arrays of a split are called ``x``, ``images``, … and ``y``, ``labels``, …, with the split's name before or
    after where there are several (``x_train``, ``train_images``); a lone array needs no name.
    """

    IMAGES: Final = ("x", "images", "image", "imgs", "data", "arr_0")
    LABELS: Final = ("y", "labels", "label", "targets")

    def __init__(self, root: Path, files: Sequence[Path], image: str | None, label: str | None) -> None:
        super().__init__(root, files)
        self.image = (image,) if image else self.IMAGES
        self.label = self.LABELS if label in (None, AUTO) else (label,)

    def identity(self) -> Json:
        return {**super().identity(), "image": self.image, "label": self.label}

    def splits(self) -> Mapping[str, Split]:
        found: dict[str, list[tuple[Path, str, str | None]]] = {}
        for path in self.files:
            for split, (image, label) in self._pairs(path, self._names(path)).items():
                found.setdefault(split, []).append((path, image, label))
        return {split: Split(partial(self._all, each)) for split, each in found.items()}

    def _all(self, each: Sequence[tuple[Path, str, str | None]]) -> Iterator[Row]:
        for path, image, label in each:
            yield from self._split(path, image, label)

    def _pairs(self, path: Path, names: Sequence[str]) -> dict[str, tuple[str, str | None]]:
        pairs: dict[str, tuple[str, str | None]] = {}
        for split in ("train", "training", "validation", "valid", "val", "test", ""):
            image = self._find(names, self.image, split)
            if image:
                label = self._find(names, self.label, split)
                if not label and self.label is not self.LABELS:
                    raise OptionError(f"{path} has no array {self.label[0]!r}; it has {', '.join(names)}")
                pairs.setdefault(split or named_in(path.name) or "train", (image, label))
        if not pairs and len(names) == 1 and self.image is self.IMAGES:
            pairs[named_in(path.name) or "train"] = names[0], None
        if not pairs:
            raise OptionError(
                f"{path} has no array called {' or '.join(self.image)}; it has {', '.join(names) or 'none'}. "
                "Say -o dataset.image_column=NAME"
            )
        return pairs

    @staticmethod
    def _find(names: Sequence[str], known: Sequence[str], split: str) -> str | None:
        tried = (f"{a}_{b}" for name in known for a, b in ((split, name), (name, split))) if split else known
        return next((name for name in tried if name in names), None)

    def _names(self, path: Path) -> list[str]:
        with self._loaded(path) as arrays:
            return list(arrays.files)

    @staticmethod
    def _loaded(path: Path) -> Any:
        try:
            found = np.load(path, allow_pickle=False)
            assert isinstance(found, np.lib.npyio.NpzFile)
        except (*_UNREADABLE, AssertionError) as error:
            raise DataError(f"{path} cannot be read as an .npz archive ({error}); fetch it again") from error
        return found

    def _split(self, path: Path, image: str, label: str | None) -> Iterator[Row]:
        with self._loaded(path) as arrays:
            try:
                images, labels = arrays[image], None if label is None else arrays[label]
            except _UNREADABLE as error:  # among them objects, which would be unpickled
                raise DataError(f"{path}: {image!r} cannot be read ({error})") from error
        if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 2, 3, 4):
            images = images.transpose(0, 2, 3, 1)
        if images.ndim < 3:
            raise DataError(
                f"{path}: {image} has the shape {images.shape}; images are (n, h, w) or (n, h, w, channels)"
            )
        if labels is not None and labels.shape not in ((len(images),), (len(images), 1)):
            raise DataError(
                f"{path}: {label} has the shape {labels.shape} for the {len(images)} images of {image}; give one "
                "number for each"
            )
        for i, levels in enumerate(images):
            yield Row(f"image {i} of {image} in {path}", levels, None if labels is None else labels[i].item())


@final
class Mosaic(_Arrays):
    """Images that are square tiles of a picture, left to right and top to bottom, with ``{"labels": […]}`` in a
    ``.json`` or ``.json.gz`` of the same name."""

    @staticmethod
    def within(folder: Path) -> list[Path]:
        """Those of a folder in which every image is one; a single label beside each makes none of them."""
        found = [path for path in sorted(folder.iterdir()) if _is_image(path.name)]
        labels = [listed(path) if _beside(path) else None for path in found]
        whole = all(each is not None for each in labels) and any(len(each) > 1 for each in labels if each is not None)
        return found if whole else []

    def identity(self) -> Json:
        return {**super().identity(), "labels": [stamp(beside) for path in self.files if (beside := _beside(path))]}

    def arrays(self, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
        labels = listed(path)
        if labels is None:
            raise DataError(f"{_beside(path)} does not list the labels of {path.name}; it is {{'labels': […]}}")
        try:
            with Image.open(path, formats=formats()) as image:
                picture = np.asarray(image)
        except Exception as error:
            raise DataError(f"{path} cannot be read as an image ({error}); fetch it again") from error
        return _tiles(picture, len(labels), path), labels


def _beside(path: Path) -> Path | None:
    return next((p for end in (".json", ".json.gz") if (p := path.with_name(path.stem + end)).is_file()), None)


def listed(path: Path) -> np.ndarray | None:
    """The labels of a mosaic; none where its JSON is about something else."""
    beside = _beside(path)
    try:
        text = beside.read_bytes() if beside else b""
        labels = np.array(json.loads(gzip.decompress(text) if text[:2] == b"\x1f\x8b" else text)["labels"])
    except (*_UNREADABLE, TypeError, LookupError):
        return None
    return labels if labels.ndim == 1 and labels.dtype.kind in "iuU" else None


def _tiles(picture: np.ndarray, n: int, path: Path) -> np.ndarray:
    height, width = picture.shape[:2]
    side = math.isqrt(height * width // n) if n else 0
    if not side or side * side * n != height * width or height % side or width % side:
        raise DataError(f"{path} is {width} × {height}, which is not {n} square tiles, one for each of its labels")
    tiles = picture.reshape(height // side, side, width // side, side, -1).swapaxes(1, 2)
    return tiles.reshape(n, side, side, -1)

"""From a source to the three parts of a dataset, as arrays in the cache."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from ganzoo.dataset import PARTS, Batch, PartName
from ganzoo.errors import DataError, OptionError
from ganzoo_images.data.cache import Json, Kept
from ganzoo_images.data.frame import Frame
from ganzoo_images.data.sources import TRUTH, Label, Row, Source, Split, no_truth, truth
from ganzoo_images.data.splits import Index, Rule

#: Of images that are copied at once.
BYTES: Final = 2**26
#: Images that a thread decodes at once.
PIECE: Final = 16


@final
@dataclass(frozen=True)
class Levels:
    """Decoded images: ``x (n, c, h, w)`` uint8 and labels of each part, ``(n,)`` int64 or with ``several`` ``(n,
    labels)`` of 0 and 1; and what is known of them."""

    parts: Mapping[PartName, Batch]
    shape: tuple[int, ...]
    labels: tuple[str, ...]
    about: Mapping[str, Any]
    several: bool = False


@final
@dataclass(frozen=True)
class Decoding:
    """All that arrays in the cache follow from.

    ``classes`` and ``shape`` are what the source is known to have, where that is known beforehand. Labels that are not
    ``labelled`` are left out.
    """

    name: str
    source: Source
    frame: Frame
    rule: Rule
    classes: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None
    labelled: bool = True

    def kept(self) -> Kept:
        definition = {
            "source": self.source.identity(),
            "frame": vars(self.frame),
            "rule": vars(self.rule),
            "classes": self.classes,
            "labelled": self.labelled,
        }
        return Kept(self.name, definition, self.fill, self.source.about())

    def fill(self, folder: Path) -> Json:
        """Write ``x-PART.npy`` and ``y-PART.npy``, and say what they are."""
        found = self.source.splits()
        splits = self.rule.named(found, self.name)
        decoded = {name: _decode(found[name], self.frame, folder, name) for name in dict.fromkeys(splits.values())}
        shape = _one_shape(decoded)
        if self.shape is not None and shape != self.shape:
            raise DataError(
                f"{next(iter(decoded.values())).first} is of shape {shape}, and {self.name} is of {self.shape}; "
                "replace the files, or read them with the dataset images"
            )
        labels = {n: split.labels if self.labelled else [None] * len(split.labels) for n, split in decoded.items()}
        train = found[splits["train"]]
        names, several = self.classes or train.labels, train.several and self.labelled
        if several:
            numbers = {split: _codes(each, names, f"{self.name}, split {split!r}") for split, each in labels.items()}
            labels = {split: [None] * len(each) for split, each in labels.items()}  # parts are not taken by them
        else:
            numbers, names = _numbered(labels, splits["train"], names, self.name)
        index = self.rule.parts(splits, labels, self.source.mixed)
        _write(folder, index, decoded, numbers, shape)
        rows = {part: len(index[part][1]) for part in PARTS}
        about = {"parts": self.rule.said(splits, labels, self.source.mixed), "images": rows, **self.frame.json()}
        return {"shape": shape, "labels": names, "several": several, "about": self.source.about() | about}


def opened(kept: Kept) -> Levels:
    """What is in the cache, made if need be."""
    arrays, known = kept.open()
    parts: dict[PartName, Batch] = {part: Batch(arrays[f"x-{part}"], arrays.get(f"y-{part}")) for part in PARTS}
    labels = tuple(known["labels"])
    return Levels(parts, tuple(known["shape"]), labels, known["about"], known.get("several", False))


# From rows to bytes


@dataclass(frozen=True)
class _Decoded:
    """A split's images in a file, one after another, and their labels. ``first`` says where the first one was."""

    file: Path
    shape: tuple[int, ...]
    labels: Sequence[Label]
    first: str

    def images(self) -> np.ndarray:
        return np.memmap(self.file, np.uint8, "r", shape=(len(self.labels), *self.shape))


def _decode(split: Split, frame: Frame, folder: Path, name: str) -> _Decoded:
    labels: list[Label] = []
    first: tuple[str, tuple[int, ...]] | None = None
    file = folder / f"{len(list(folder.iterdir()))}.raw"
    with file.open("wb") as out:
        for row, levels in _framed(split.rows(), frame):
            first = first or (row.where, levels.shape)
            if levels.shape != first[1]:
                raise _mixed(first, (row.where, levels.shape))
            labels.append(row.label)
            out.write(levels.tobytes())
    if first is None:
        raise DataError(f"the split {name!r} has no images; name another one, or leave it out of the source")
    return _Decoded(file, first[1], labels, first[0])


def _framed(rows: Iterable[Row], frame: Frame) -> Iterator[tuple[Row, np.ndarray]]:
    """Each row with its levels, a few threads ahead: decoders let go of the interpreter."""

    def framed(rows: Sequence[Row]) -> list[np.ndarray]:
        return [frame.levels(row.image, row.where) for row in rows]

    threads = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[tuple[list[Row], Future[list[np.ndarray]]]] = deque()
        for piece in _pieces(rows):
            ahead.append((piece, pool.submit(framed, piece)))
            if len(ahead) > threads + 1:  # images may be large: few are held
                yield from _done(*ahead.popleft())
        while ahead:
            yield from _done(*ahead.popleft())


def _done(piece: list[Row], levels: Future[list[np.ndarray]]) -> Iterator[tuple[Row, np.ndarray]]:
    return zip(piece, levels.result(), strict=True)


def _pieces(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rows = iter(rows)
    while piece := list(islice(rows, PIECE)):
        yield piece


def _mixed(one: tuple[str, tuple[int, ...]], other: tuple[str, tuple[int, ...]]) -> DataError:
    if one[1][1:] != other[1][1:]:
        sizes = [f"{where} is {shape[2]} × {shape[1]}" for where, shape in (one, other)]
        return DataError(
            f"{sizes[0]} and {sizes[1]}; images are of one size. Say -o dataset.size=64, with -o dataset.crop=0 where "
            "they are not square"
        )
    kinds = [f"{where} is {'grey' if shape[0] == 1 else 'in colour'}" for where, shape in (one, other)]
    return DataError(f"{kinds[0]} and {kinds[1]}; say -o dataset.channels=3, or 1 to have all grey")


def _one_shape(decoded: Mapping[str, _Decoded]) -> tuple[int, ...]:
    one, *others = decoded.values()
    for other in others:
        if other.shape != one.shape:
            raise _mixed((one.first, one.shape), (other.first, other.shape))
    return one.shape


# From labels to numbers


def _numbered(
    labels: Mapping[str, Sequence[Label]], train: str, names: tuple[str, ...], what: str
) -> tuple[dict[str, np.ndarray] | None, tuple[str, ...]]:
    """The labels of each split as numbers from 0 on, and what these are called; nothing where there are none."""
    given = [label is not None for each in labels.values() for label in each]
    if not any(given):
        return None, ()
    if not all(given):
        raise DataError(f"{what}: some images have no label; label them, or say -o dataset.label_column=none")
    if names:
        known: dict[Label, int] = {key: i for i in range(len(names)) for key in (i, str(i))}
        known |= {name: i for i, name in enumerate(names)}
    else:
        found = sorted(set(labels[train]), key=_order(set(labels[train])))
        known, names = {label: i for i, label in enumerate(found)}, tuple(map(_called, found))
    numbers: dict[str, np.ndarray] = {}
    for split, each in labels.items():
        found = [truth(label) if names == TRUTH else known.get(label) for label in each]
        if wrong := next(((i, label) for i, label in enumerate(each) if found[i] is None), None):
            many = f"{len(names)} classes, {', '.join(names[:12])}{', …' if len(names) > 12 else ''}"
            raise OptionError(
                f"{what}: the label {wrong[1]!r} of image {wrong[0]} of the split {split!r} is none of {many}. Correct "
                "it, name another split, or say -o dataset.label_column=none"
            )
        numbers[split] = np.array(found, dtype=np.int64)
    return numbers, names


def _codes(labels: Sequence[Label], names: tuple[str, ...], what: str) -> np.ndarray:
    """``(n, names)`` of 0 and 1."""
    codes = np.zeros((len(labels), len(names)), np.int64)
    for row, label in enumerate(labels):
        values: Any = label
        for column, value in enumerate(values):
            known = truth(value)
            if known is None:
                raise OptionError(f"{what}: {names[column]} of image {row} is {no_truth(value)}")
            codes[row, column] = known
    return codes


def _order(labels: Collection[Label]) -> Callable[[Any], Any]:
    """Numbers come before names; names that are all numbers are in their order, so that class 2 is called 2."""
    if all(isinstance(label, str) and label.isdecimal() for label in labels):
        return lambda label: (int(label), label)
    return lambda label: (isinstance(label, str), label)


def _called(label: Label) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)


def write_levels(path: Path, shape: tuple[int, ...], chunks: Iterable[np.ndarray]) -> None:
    """An .npy file piece by piece. Not through a mapping: where the disk is full, that kills the process."""
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
            file.write(chunk.tobytes())


def _write(
    folder: Path,
    index: Index,
    decoded: Mapping[str, _Decoded],
    numbers: Mapping[str, np.ndarray] | None,
    shape: tuple[int, ...],
) -> None:
    for part, (split, rows) in index.items():
        if not len(rows):
            raise DataError(f"no images are left for the part {part!r} of the split {split!r}; give more")
        images = decoded[split].images()
        many = max(1, BYTES // math.prod(shape))
        chunks = (images[rows[start : start + many]] for start in range(0, len(rows), many))
        write_levels(folder / f"x-{part}.npy", (len(rows), *shape), chunks)
        if numbers is not None:
            np.save(folder / f"y-{part}.npy", numbers[split][rows])
    for split in decoded.values():
        split.file.unlink()

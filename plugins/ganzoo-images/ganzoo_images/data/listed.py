"""Images in a folder or an archive whose labels stand in a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import final

from ganzoo.errors import DataError, OptionError, suggest
from ganzoo_images.data.files import Folder, Zip
from ganzoo_images.data.sources import Json, Label, Row, Source, Split, stamp


@final
class Listed(Source):
    """Images of a ``tree`` without labels of its own, and a CSV file: a head, then a line for each image with its file
    in the first column and its labels in the others.

    ``columns`` are those that count, by default all; several are attributes that an image has or has not. A file is
    named as it lies in the folder, or by its last name where no two have the same.
    """

    def __init__(self, tree: Folder | Zip, table: Path, columns: Sequence[str] = ()) -> None:
        self.tree, self.table, self.columns = tree, table, tuple(columns)
        self.name, self.mixed = tree.name, tree.mixed

    def identity(self) -> Json:
        return {**self.tree.identity(), "labels in": stamp(self.table), "columns": self.columns}

    def about(self) -> Json:
        return {**self.tree.about(), "labels in": self.table.name}

    def splits(self) -> Mapping[str, Split]:
        names, lines = self._read()
        labels = self._of_files(lines)
        several = names if len(names) > 1 else ()
        return {
            split: Split(partial(self._rows, found, labels), several, several=bool(several))
            for split, found in self.tree.splits().items()
        }

    def _rows(self, split: Split, labels: Mapping[str, Label]) -> Iterator[Row]:
        for where, image, _ in split.rows():
            yield Row(where, image, labels[PurePosixPath(where).relative_to(self.tree.root.as_posix()).as_posix()])

    def _read(self) -> tuple[tuple[str, ...], dict[str, Label]]:
        """The columns that count, and by the file's name what stands there."""
        try:
            with self.table.open(newline="", encoding="utf-8-sig") as file:
                head, *lines = csv.reader(file)
        except (OSError, ValueError, csv.Error) as error:
            raise DataError(f"{self.table} cannot be read as a CSV file ({error}); give one with a head") from error
        for name in self.columns:
            if name not in head[1:]:
                raise OptionError(f"{self.table} has no column {name!r}; {suggest(name, head[1:])}")
        chosen = [head.index(name) for name in self.columns] or [*range(1, len(head))]
        if not chosen:
            raise DataError(f"{self.table} has one column; it takes a file's name and its labels")
        found: dict[str, Label] = {}
        for number, line in enumerate(lines, 2):
            if len(line) != len(head):
                if not line:
                    continue
                raise DataError(f"{self.table}, line {number}, has {len(line)} columns, and the head has {len(head)}")
            if line[0] in found:
                raise DataError(f"{self.table}, line {number}, names {line[0]} again; name each image once")
            values = tuple(line[column].strip() for column in chosen)
            found[line[0]] = values if len(values) > 1 else values[0]
        return tuple(head[column] for column in chosen), found

    def _of_files(self, lines: Mapping[str, Label]) -> dict[str, Label]:
        """The label of each file. `DataError` where the table and the folder do not go together."""
        files = self.tree.listed()
        last = [PurePosixPath(file).name for file in files]
        short = dict(zip(last, files, strict=True)) if len(set(last)) == len(last) else {}
        known = {**short, **{file: file for file in files}}
        if missing := [name for name in lines if name not in known]:
            raise DataError(
                f"{self.table} names {len(missing):,} images that are not in {self.tree.root}: {_some(missing)}. Bring "
                "them, or take their lines away"
            )
        labels = {known[name]: label for name, label in lines.items()}
        if left := [file for file in files if file not in labels]:
            raise DataError(
                f"{self.table} has no line for {len(left):,} images of {self.tree.root}: {_some(left)}. Write them, or "
                "take the images away"
            )
        return labels


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")

"""Images in a folder or an archive whose labels stand in a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import final

from ganzoo.errors import DataError, OptionError, suggest
from ganzoo_images.data.files import Folder, Zip
from ganzoo_images.data.sources import TRUTH, Json, Label, Row, Source, Split, no_truth, stamp, truth


@final
class Listed(Source):
    """Images of a ``tree`` without labels of its own, and a CSV file: a head, then a line for each image with its file
    in the first column and its labels in the others.

    ``columns`` are those that count, by default all; several are attributes that an image has or has not, and so is one
    alone that says nothing else, as 1 and −1 do. A file is
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
        several = len(names) > 1
        attribute = not several and {truth(label) for label in lines.values()} == {0, 1}
        called = names if several else TRUTH if attribute else ()
        return {
            split: Split(partial(self._rows, found, labels), called, several)
            for split, found in self.tree.splits().items()
        }

    def _rows(self, split: Split, labels: Mapping[str, Label]) -> Iterator[Row]:
        for where, image, _ in split.rows():
            yield Row(where, image, labels[PurePosixPath(where).relative_to(self.tree.root.as_posix()).as_posix()])

    def attributes(self) -> tuple[str, ...]:
        """What the labels are of: the names of the columns that count."""
        return self._read()[0]

    def _read(self) -> tuple[tuple[str, ...], dict[str, Label]]:
        """The columns that count, and by the file's name what stands there."""
        try:
            with self.table.open(newline="", encoding="utf-8-sig") as file:
                rows = [[cell.strip() for cell in line] for line in csv.reader(file)]
            if not rows:
                raise ValueError("it is empty")
        except (OSError, ValueError, csv.Error) as error:
            raise DataError(f"{self.table} cannot be read as a CSV file ({error}); give one with a head") from error
        head, *lines = rows
        if "" in head[1:]:
            raise DataError(f"{self.table}: column {head.index('', 1) + 1} of the first line has no name")
        if twice := next((name for name in head[1:] if head.count(name) > 1), None):
            raise DataError(f"{self.table} has several columns {twice!r}; its first line is to name each once")
        for name in self.columns:
            if name not in head[1:]:
                raise OptionError(f"{self.table} has no column {name!r}; {suggest(name, head[1:])}")
        chosen = [head.index(name) for name in self.columns] or [*range(1, len(head))]
        if not chosen:
            raise DataError(f"{self.table} has one column; it takes a file's name and its labels, with commas between")
        found: dict[str, Label] = {}
        for number, line in enumerate(lines, 2):
            if len(line) != len(head):
                if not line:
                    continue
                raise DataError(f"{self.table}, line {number}, has {len(line)} columns, and the head has {len(head)}")
            if line[0] in found:
                raise DataError(f"{self.table}, line {number}, names {line[0]} again; name each image once")
            values = tuple(line[column] for column in chosen)
            for column, value in zip(chosen, values, strict=True):
                where = f"{self.table}, line {number}: {head[column]}"
                if not value:
                    raise DataError(f"{where} is empty; write what it is")
                if len(values) > 1 and truth(value) is None:
                    raise OptionError(f"{where} is {no_truth(value)}")
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
                f"{self.table} names {_images(missing)} not in {self.tree.root}: {_some(missing)}. Bring what is "
                f"missing, or take these lines away. Files there are called {_some(files)}"
            )
        labels: dict[str, Label] = {}
        for name, label in lines.items():
            if known[name] in labels:
                raise DataError(f"{self.table} names {known[name]} twice, also as {name}; name each image once")
            labels[known[name]] = label
        if left := [file for file in files if file not in labels]:
            raise DataError(
                f"{self.table} has no line for {len(left):,} of the images of {self.tree.root}: {_some(left)}. Write "
                "what is missing, or take these images away."
            )
        return labels


def _images(names: Sequence[str]) -> str:
    return "1 image that is" if len(names) == 1 else f"{len(names):,} images that are"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")

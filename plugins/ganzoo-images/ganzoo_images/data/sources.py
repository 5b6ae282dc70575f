"""Where images come from: rows of named splits, whatever the files are."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from ganzoo.errors import OptionError
from ganzoo_images.data.frame import Data

Json = dict[str, Any]
Label = int | str | bool | tuple[int | str | bool, ...] | None

#: The value of an option that says which column holds the labels: find it.
AUTO: Final = "auto"
#: The names that splits go by.
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "t10k"),
}


class Row(NamedTuple):
    """An image as it was found, where that was, and its label; one each for several attributes."""

    where: str
    image: Data
    label: Label = None


@dataclass(frozen=True)
class Split:
    """Rows in the source's order, read anew at each call. ``labels`` are the names of the classes that its labels
    number, where the source says; with ``several`` those of the attributes that an image has or has not."""

    rows: Callable[[], Iterator[Row]]
    labels: tuple[str, ...] = ()
    several: bool = False


class Source(ABC):
    """Images with or without labels, in one or more splits.

    Attributes: ``name``, in the cache's; ``mixed``, whether the order of its rows has nothing to do with their labels,
    which is so for what was published in one order and not for folders.
    """

    name: str
    mixed: bool = True

    @abstractmethod
    def identity(self) -> Json:
        """What tells its content from any other, without reading that: sizes and times of files, a revision."""

    @abstractmethod
    def splits(self) -> Mapping[str, Split]:
        """By name, as the source calls them. `DataError` where there is nothing."""

    def about(self) -> Json:
        """For a model's config: what it is, wherever it lay."""
        return {}


def columns(label: str | None) -> tuple[str, ...]:
    """The columns that an option names, one or several with commas between; none where they are to be found."""
    if label is None or label == AUTO:
        return ()
    if not (found := tuple(dict.fromkeys(filter(None, map(str.strip, label.split(",")))))):
        raise OptionError(f"label_column={label!r} names no column; say none to go without labels")
    return found


#: What the labels are called that say whether an image has an attribute.
TRUTH: Final = ("false", "true")
#: What says that an image has an attribute, and that it has not.
TRUTHS: Final[Mapping[Any, int]] = {
    **dict.fromkeys((1, "1", "true", "yes"), 1),
    **dict.fromkeys((0, -1, "0", "-1", "false", "no"), 0),
}


def truth(value: Any) -> int | None:
    """1 or 0; none where it says neither."""
    return TRUTHS.get(value.lower() if isinstance(value, str) else value)


def no_truth(value: Any) -> str:
    """What is wrong with it."""
    return (
        f"{value!r}; an attribute is 1 or 0, 1 or -1, true or false. Of labels of other kinds name one alone with "
        "-o dataset.label_column=…"
    )


def stamp(path: Path, root: Path | None = None) -> list[Any]:
    """What changes with a file's content, mostly: its name, size and time."""
    status = path.stat()
    return [str(path.relative_to(root) if root else path), status.st_size, status.st_mtime_ns]


def standard(name: str) -> str | None:
    """What a split's name means; none if it is not one of those that everybody uses."""
    return next((kind for kind, names in NAMES.items() if name.lower() in names), None)


def named_in(text: str) -> str | None:
    """The split that a file's name speaks of."""
    return next((found for word in re.split(r"[^A-Za-z0-9]+", text) if (found := standard(word))), None)

"""Images in tables: datasets of the Hub, and Parquet files, through the library ``datasets``.

No code of theirs is run: it has not been able to since version 4.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, final

from ganzoo.errors import DataError, GanzooError, OptionError, suggest
from ganzoo_images.data.sources import AUTO, Json, Row, Source, Split, columns, named_in, stamp

IMAGES: Final = ("image", "img", "images", "picture", "jpg", "png", "webp")
LABELS: Final = ("label", "labels", "class", "fine_label", "target", "y", "cls")


@final
class Parquet(Source):
    """Parquet files, for all splits or for one each."""

    def __init__(self, root: Path, files: Sequence[Path], image: str | None, label: str | None) -> None:
        self.files, self.columns, self.name = sorted(files), (image, label), root.stem

    def identity(self) -> Json:
        return {"parquet": [stamp(path) for path in self.files], "columns": self.columns}

    def about(self) -> Json:
        return {"files": [path.name for path in self.files]}

    def splits(self) -> Mapping[str, Split]:
        from datasets import load_dataset

        found: dict[str, list[str]] = {}
        for path in self.files:
            found.setdefault(named_in(path.name) or "train", []).append(str(path))
        what = str(self.files[0].parent if len(self.files) > 1 else self.files[0])
        with _plainly(what, "fetch or write the file again"):
            tables = load_dataset("parquet", data_files=found, streaming=True)
        return _splits(tables, *self.columns, what)


@final
class Hub(Source):
    """A dataset of the Hub: ``ORG/NAME`` at a revision.

    It is downloaded by ``datasets`` where it fits into half of the free space beside what is made of it, and read as a
    stream else. A revision that is no commit is looked up when the images are first read, and the commit written down.
    """

    def __init__(
        self, repo: str, revision: str | None, config: str | None, image: str | None, label: str | None, cure: str = ""
    ) -> None:
        self.repo, self.revision, self.config, self.columns = repo, revision, config, (image, label)
        self.name = repo.split("/")[-1]
        self.commit = revision if revision and _is_commit(revision) else None
        self.cure = cure or "give a folder with the same images as -o dataset.source=FOLDER"

    def identity(self) -> Json:
        return {"hub": self.repo, "revision": self.revision, "config": self.config, "columns": self.columns}

    def about(self) -> Json:
        return {"hub": self.repo, "revision": self.commit or self.revision, "config": self.config}

    def splits(self) -> Mapping[str, Split]:
        from huggingface_hub import constants

        what = f"hf:{self.repo}{f'@{self.revision}' if self.revision else ''}"
        offline = constants.HF_HUB_OFFLINE
        before = "unset HF_HUB_OFFLINE" if offline else "have HF_HUB_OFFLINE=1 if it was fetched before"
        with _plainly(what, f"{self.cure}, or {before}"):
            self._look_up()
            builder = self._builder(what)
            tables = _downloaded(builder) if _fits(builder) else builder.as_streaming_dataset()
        return _splits(tables, *self.columns, what, f"hf://datasets/{self.repo}@{self.commit}/")

    def _look_up(self) -> None:
        """What commit the revision is. A commit is looked up too: ``datasets`` would wait long for a Hub that is not
        there."""
        from huggingface_hub import HfApi, constants

        from ganzoo.hub_client import guard

        guard()
        if self.commit is None or not constants.HF_HUB_OFFLINE:
            found = HfApi().dataset_info(self.repo, revision=self.revision).sha
            if found is None or self.commit not in (None, found):
                raise DataError(f"hf:{self.repo} is at {found}, asked for {self.commit}; the Hub's answer is not sound")
            self.commit = found

    def _builder(self, what: str) -> Any:
        from datasets import load_dataset_builder

        try:
            builder = load_dataset_builder(self.repo, self.config, revision=self.commit)
        except ValueError as error:
            if "BuilderConfig" in str(error) or "Config name" in str(error):
                raise OptionError(
                    f"{what}: {' '.join(str(error).split())}; say which with -o dataset.config=…"
                ) from error
            raise
        # Where it is refused, it takes what it finds in its cache, or in a folder of that name, whatever the revision.
        if builder.hash != self.commit:
            raise DataError(
                f"{what} cannot be had at the commit {self.commit}: `datasets` finds {builder.hash} instead, in its "
                f"cache or in a folder ./{self.repo}; take that away"
            )
        return builder


def _is_commit(revision: str) -> bool:
    return len(revision) == 40 and set(revision) <= set("0123456789abcdef")


def _fits(builder: Any) -> bool:
    """Whether the files and the copy that ``datasets`` makes of them leave half of the free space."""
    from datasets import config

    sizes = builder.info.download_size, builder.info.dataset_size
    folder = Path(config.HF_DATASETS_CACHE)
    while not folder.exists():
        folder = folder.parent
    return None not in sizes and 2 * sum(sizes) < shutil.disk_usage(folder).free


def _downloaded(builder: Any) -> Any:
    builder.download_and_prepare()
    return builder.as_dataset()


@contextmanager
def _plainly(what: str, cure: str) -> Iterator[None]:
    """What the libraries raise, as one line."""
    try:
        yield
    except GanzooError:
        raise
    except Exception as error:  # of four libraries: datasets, huggingface_hub, fsspec and pyarrow
        if isinstance(error, OSError) and error.filename is not None and not isinstance(error, FileNotFoundError):
            raise  # a full disk, a folder that may not be written
        raise DataError(f"{what} cannot be read: {_reason(error)}; {cure}") from error


def _reason(error: BaseException) -> str:
    from huggingface_hub import errors as hf

    from ganzoo.hub_client import HTTPError, one_line, reason, without_token

    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    of_hub = (HTTPError, hf.OfflineModeIsEnabled, hf.LocalEntryNotFoundError)
    known = next((cause for cause in causes if isinstance(cause, of_hub)), None)
    said = reason(known) if known else without_token(one_line(error) or type(error).__name__)
    return said.rstrip(". ")


def _splits(
    tables: Mapping[Any, Any], image: str | None, label: str | None, what: str, repo: str | None = None
) -> Mapping[str, Split]:
    """``repo`` is the address below which a row may name the file of its image."""
    from datasets import ClassLabel

    features = next(iter(tables.values())).features
    if not features:
        raise DataError(f"{what} does not say which columns it has; give one that holds Parquet files or images")
    image_column = _image_column(features, image, what)
    found = _label_columns(features, label, what)
    several = len(found) > 1
    feature = features[found[0]] if found else None
    names = found if several else tuple(feature.names) if isinstance(feature, ClassLabel) else ()
    # Of one label the numbers are those of its names; of an attribute the names say whether an image has it.
    said = {name: features[name].names for name in found if several and isinstance(features[name], ClassLabel)}
    return {
        str(name): Split(partial(_rows, table, image_column, found, said, f"{name} of {what}", repo), names, several)
        for name, table in tables.items()
    }


def _image_column(features: Mapping[str, Any], wanted: str | None, what: str) -> str:
    from datasets import Image, Value

    fit = [name for name, feature in features.items() if isinstance(feature, Image)]
    fit += [name for name, feature in features.items() if feature in (Value("binary"), Value("large_binary"))]
    if wanted is not None:
        _known(features, wanted, what)
        if wanted not in fit:
            raise OptionError(f"{what}: the column {wanted!r} holds {features[wanted]}, not images")
        return wanted
    chosen = next((name for name in (*IMAGES, *fit) if name in fit), None)
    if chosen is None:
        raise OptionError(f"{what} has no column of images; its columns are {', '.join(features)}")
    return chosen


def _label_columns(features: Mapping[str, Any], wanted: str | None, what: str) -> tuple[str, ...]:
    """One, none, or those of several attributes."""
    from datasets import ClassLabel, Value

    def fits(feature: Any) -> bool:
        kinds = ("int", "uint", "bool", "string", "large_string")
        return isinstance(feature, ClassLabel) or (isinstance(feature, Value) and feature.dtype.startswith(kinds))

    if wanted == AUTO:
        named = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
        usual = (name for name in LABELS if name in features and fits(features[name]))
        return tuple(named) if len(named) == 1 else tuple(islice(usual, 1))
    found = columns(wanted)
    for name in found:
        _known(features, name, what)
        if not fits(features[name]):
            raise OptionError(f"{what}: the column {name!r} holds {features[name]}, not labels")
    return found


def _known(features: Mapping[str, Any], wanted: str, what: str) -> None:
    if wanted not in features:
        raise OptionError(f"{what} has no column {wanted!r}; {suggest(wanted, features)}")


def _rows(
    table: Any, image: str, labels: tuple[str, ...], said: Mapping[str, Sequence[str]], what: str, repo: str | None
) -> Iterator[Row]:
    from datasets import Image

    table = table.select_columns([image, *labels])
    if isinstance(table.features[image], Image):
        table = table.cast_column(image, Image(decode=False))
    with _plainly(what, "try again, and look at the file if it stays so"):
        for i, row in enumerate(table):
            content, path = _content(row[image], repo, f"row {i} of {what}")
            found = tuple(_word(row[label], said.get(label)) for label in labels)
            label = found if len(found) > 1 else found[0] if found else None
            yield Row(f"row {i} of {what}{f' ({path})' if path else ''}", content, label)


def _word(value: Any, names: Sequence[str] | None) -> Any:
    return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value


def _content(value: Any, repo: str | None, where: str) -> tuple[bytes, str]:
    """The bytes of an image's file, and what that is called."""
    if not isinstance(value, dict):
        return value or b"", ""
    path, content = value.get("path") or "", value.get("bytes")
    if content is None and path:
        import fsspec

        if repo is None or not _belongs(path, repo):
            raise DataError(
                f"{where} names {path!r:.200} in place of an image. A table may not say which files are opened: save "
                "the bytes of its images in it"
            )
        url: Any = fsspec.open(path, "rb")
        with url as file:
            content = file.read()
    return content or b"", Path(path).name


def _belongs(path: str, repo: str) -> bool:
    """Whether a file is of the repository at this commit, perhaps in an archive there, or was fetched by `datasets`."""
    from datasets import config
    from huggingface_hub import constants

    *inner, outer = path.split("::")
    if any(not each.startswith(("zip://", "tar://", "gzip://", "bz2://", "xz://", "zstd://")) for each in inner):
        return False
    if "://" in outer:
        return outer.startswith(repo) and ".." not in outer.split("/")
    fetched = (config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, constants.HF_HUB_CACHE)
    return any(Path(os.path.realpath(outer)).is_relative_to(os.path.realpath(folder)) for folder in fetched)

"""Writing files so that whoever reads them finds the old content or the new one, never half of it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

#: The folder of what can be made or fetched again, in place of the user's cache folder.
CACHE: Final = "GANZOO_CACHE"


def atomic_write(path: Path, data: bytes) -> None:
    """Write to a temporary file beside ``path``, flush it to the disk, and rename it into place."""
    with writing(path) as file:
        file.write(data)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """The same for what is written piece by piece: in place when the block ends, nowhere if it raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # a full disk, say: half a file would only make it fuller
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the rename itself has to reach the disk too
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content, whole or not at all, and nothing where it is there already."""
    if target.is_file() and sha256_of(target) == sha256_of(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def copy_or_remove(source: Path | None, target: Path) -> None:
    """Have ``target`` be what ``source`` is: there with that content, or not there."""
    if source is None:
        target.unlink(missing_ok=True)
    else:
        copy_file(source, target)


def write_json(path: Path, data: Any) -> None:
    atomic_write(path, (json.dumps(finite(data), indent=1, allow_nan=False) + "\n").encode())


def finite(data: Any) -> Any:
    """The same with every number that JSON has no word for replaced by none."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: finite(value) for key, value in data.items()}
    return [finite(item) for item in data] if isinstance(data, (list, tuple)) else data


def cache_folder() -> Path:
    """Where what can be made again is kept: `CACHE`, or ``ganzoo`` in the user's cache folder."""
    if own := os.environ.get(CACHE):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ganzoo"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_of(path: Path) -> str:
    """The same of a file, which need not fit into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

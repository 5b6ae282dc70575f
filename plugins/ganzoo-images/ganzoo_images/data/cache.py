"""Arrays that are made once and mapped into memory by every process that wants them.

A folder of the cache is there whole or not at all: it is filled under another name and renamed. One process fills it,
others wait. Files are known by size and sha256; what is damaged is made again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, final

import filelock
import numpy as np
import torch
from torch import Tensor

from ganzoo.errors import DataError
from ganzoo.files import cache_folder, sha256_of, write_json

Json = dict[str, Any]

FORMAT: Final = 2
META: Final = "meta.json"
#: Bytes up to which a process compares the sha256 of what it opens, once; beyond, only with ``GANZOO_VERIFY=1``.
SMALL: Final = 2**30

_seen: Final[set[tuple[Path, int]]] = set()


@final
@dataclass(frozen=True)
class Kept:
    """A folder of the cache: ``definition``, as JSON, is all that its content depends on.

    ``fill`` writes the arrays ``*.npy`` into a folder that it is given, and returns what else is to be known of them:
    under ``about`` what a model's config says, to which the sha256 of their content is added.
    """

    name: str
    definition: Mapping[str, Any]
    fill: Callable[[Path], Json]
    expected: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @cached_property
    def key(self) -> str:
        """The hash of what it is defined by, which may be long: a line for each of very many files."""
        text = json.dumps({"format": FORMAT, **self.definition}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def folder(self) -> Path:
        name = re.sub(r"[^\w.-]+", "-", self.name).strip("-.") or "images"
        return cache_folder() / "images" / f"{name}-{self.key[:16]}"

    def said(self) -> Json | None:
        """What is known of the arrays; none where there are none yet, or what there is is no such folder."""
        try:
            meta = json.loads((self.folder / META).read_text())
            return meta if isinstance(meta["files"], dict) and isinstance(meta["known"], dict) else None
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def about(self) -> Mapping[str, Any]:
        """What a model's config says of it; where it is not made yet, what is ``expected``."""
        meta = self.said()
        return self.expected if meta is None else meta["known"]["about"]

    def open(self) -> tuple[dict[str, Tensor], Json]:
        """The arrays by name, mapped into memory, and what is known of them; made if need be."""
        try:
            if self._fault() is None:
                return self._mapped()
        except OSError:  # another process is just making it again
            pass
        with _alone(self.folder):
            if (fault := self._fault()) is not None:
                self._make(fault)
            return self._mapped()

    def _mapped(self) -> tuple[dict[str, Tensor], Json]:
        meta = self.said()
        if meta is None:
            raise FileNotFoundError(self.folder / META)
        # Copy-on-write: torch knows no tensor that may not be written, and the file stays as it is.
        arrays = {name: np.load(self.folder / f"{name}.npy", mmap_mode="c") for name in meta["files"]}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}, meta["known"]

    def _fault(self) -> str | None:
        """What is wrong with it, nothing where it is not there; none if it is as it was made, which is looked at once
        in a process."""
        if (meta := self.said()) is None:
            return f"{self.folder} is damaged" if self.folder.exists() else ""
        files = {self.folder / f"{name}.npy": fact for name, fact in meta["files"].items()}
        key = self.folder, (self.folder / META).stat().st_mtime_ns
        wrong = [path for path, fact in files.items() if not path.is_file() or path.stat().st_size != fact["size"]]
        total = sum(fact["size"] for fact in files.values())
        if not wrong and key not in _seen and (total <= SMALL or os.environ.get("GANZOO_VERIFY") == "1"):
            wrong = [path for path, fact in files.items() if sha256_of(path) != fact["sha256"]]
        if wrong:
            return f"{wrong[0]} is not as it was written"
        _seen.add(key)
        return None

    def _make(self, fault: str) -> None:
        if fault:
            print(f"ganzoo: {fault}; it is made again", file=sys.stderr)
        for leftover in self.folder.parent.glob(f".{self.folder.name}.*"):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        temporary = self.folder.with_name(f".{self.folder.name}.{os.getpid()}")
        try:
            temporary.mkdir(parents=True)
            print(f"ganzoo: decoding {self.name} into {self.folder}, once", file=sys.stderr)
            known = self.fill(temporary)
            files = {path.stem: path for path in sorted(temporary.glob("*.npy"))}
            facts = {n: {"size": path.stat().st_size, "sha256": sha256_of(path)} for n, path in files.items()}
            known["about"]["sha256"] = _content(facts)
            write_json(temporary / META, {"format": FORMAT, "definition": self.key, "files": facts, "known": known})
            for path in files.values():
                _to_disk(path)
            shutil.rmtree(self.folder, ignore_errors=True)
            os.replace(temporary, self.folder)
        except BaseException as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise DataError(
                    f"{self.folder.parent}: {error.strerror}; make room, or have GANZOO_CACHE name a larger folder"
                ) from error
            raise


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; the lock is the operating system's and ends with its process."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_name(f"{folder.name}.lock")):
        yield


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _content(files: Mapping[str, Mapping[str, Any]]) -> str:
    """One sha256 for all arrays."""
    text = "".join(f"{name} {files[name]['sha256']}\n" for name in sorted(files))
    return hashlib.sha256(text.encode()).hexdigest()

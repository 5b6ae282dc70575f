"""Samples of a model, into a file, as they are made: there may be more than fits into memory."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
import torch
from torch import Tensor

from ganzoo import model as models
from ganzoo import pictures
from ganzoo.dataset import Batch
from ganzoo.errors import DataError, OptionError
from ganzoo.files import writing
from ganzoo.model import Model
from ganzoo.origin import locate

if TYPE_CHECKING:
    from ganzoo.hub import Heard

#: Told how many samples there are by now.
Made = Callable[[int], None]

#: A picture shows a few samples, or a cloud of some thousands: more would only be drawn over each other.
PICTURED: Final = 100_000


def write_samples(
    path: str,
    n: int,
    seed: int,
    label: str | None,
    device: str,
    out: Path,
    heard: Heard,
    made: Made = lambda count: None,
) -> str:
    """Draw ``n`` samples and write them; the file's ending says how. Returns what was done, in words."""
    writers = {".png": _png, ".npz": _npz, ".safetensors": _safetensors}
    if out.suffix not in writers:
        raise OptionError(f"--out {out}: samples are written as {', '.join(writers)}")
    if out.suffix == ".png" and n > PICTURED:
        raise OptionError(f"-n {n}: a picture shows at most {PICTURED:,} samples; --out samples.npz takes all of them")
    model = models.open_model(locate(path, heard=heard), device)
    chunks = _counted(model.samples(n, seed=seed, label=label), made)
    shape = writers[out.suffix](model, chunks, n, out)
    return f"{n:,} samples of {model.name} (seed {seed}), shape {shape}: {out}"


def write_translations(
    path: str, sources: Sequence[Path], labels: Sequence[str], device: str, out: Path, heard: Heard
) -> str:
    """Make samples of each label of each source, and write them: one of one source as a picture of its own size,
    several as rows of sources and columns of labels, or as a file of samples. Returns what was done, in words."""
    writers = {".npz": _npz, ".safetensors": _safetensors}
    if out.suffix not in (".png", *writers):
        raise OptionError(f"--out {out}: samples are written as .png, {', '.join(writers)}")
    model = models.open_model(locate(path, heard=heard), device)
    model.require_translator()
    x = torch.cat([_source(model, source) for source in sources])
    made = [model.translate(x, label) for label in labels]
    grid = torch.stack(made, 1)
    image = len(model.data.shape) == 3
    if out.suffix != ".png":
        c = torch.stack([model.numbers(len(x), label) for label in labels], 1)
        writers[out.suffix](model, iter([Batch(grid.flatten(0, 1), c.flatten(0, 1))]), len(x) * len(labels), out)
    elif image and grid.shape[:2] == (1, 1):
        pictures.write(model.data, grid[0, 0], out)
    elif image:
        pictures.draw_rows(model.data, torch.cat([x[:, None], grid], 1), out, model.name, ("source", *labels))
    else:
        pictures.draw(model.dataset, grid.flatten(0, 1), out, model.name)
    what = f"{len(x):,} source{'s' if len(x) > 1 else ''} as {', '.join(label or 'none' for label in labels)}"
    return f"{what} by {model.name}, shape {tuple(grid.shape[2:])}: {out}"


def _source(model: Model, path: Path) -> Tensor:
    """The samples in a file: an image, or what `write_samples` writes into an archive of arrays."""
    if path.suffix != ".npz":
        if len(model.data.shape) != 3:
            raise OptionError(f"{path}: {model.name} is not of images; give samples as x in an .npz archive")
        return pictures.read(model.data, path)[None]
    try:
        with np.load(path, allow_pickle=False) as arrays:
            x = torch.from_numpy(arrays["x"])
    except Exception as error:  # a damaged archive fails in many ways
        raise DataError(f"{path} cannot be read as an .npz archive with an array x ({error})") from error
    try:
        return model.taken(x)
    except OptionError as error:
        raise DataError(f"{path}: {error}") from None


def _counted(chunks: Iterator[Batch], made: Made) -> Iterator[Batch]:
    count = 0
    for chunk in chunks:
        yield chunk
        count += len(chunk.x)
        made(count)


def _png(model: Model, chunks: Iterator[Batch], n: int, out: Path) -> tuple[int, ...]:
    x = torch.cat([chunk.x for chunk in chunks])
    # An image is drawn without its dataset, which may be large and elsewhere.
    pictures.draw(model.data if len(model.data.shape) == 3 else model.dataset, x, out, model.name)
    return tuple(x.shape)


def _npz(model: Model, chunks: Iterator[Batch], n: int, out: Path) -> tuple[int, ...]:
    """An archive of ``x.npy`` and, where there are any, ``label.npy``, as `numpy.savez` makes it."""
    first, labels = next(chunks), list[Tensor]()
    with writing(out) as file, zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        with archive.open(zipfile.ZipInfo("x.npy"), "w", force_zip64=True) as array:
            _head(array, n, first.x)
            _pour(array, first, chunks, labels)
        if labels:
            with archive.open(zipfile.ZipInfo("label.npy"), "w", force_zip64=True) as array:
                _head(array, n, labels[0])
                array.writelines(_bytes(label) for label in labels)
    return (n, *first.x.shape[1:])


def _safetensors(model: Model, chunks: Iterator[Batch], n: int, out: Path) -> tuple[int, ...]:
    """The format's header says where each tensor lies, before any of them is there: x first, then the labels."""
    first, labels = next(chunks), list[Tensor]()
    header: dict[str, Any] = {}
    end = 0
    for name, t in (("x", first.x), ("label", first.label)):
        if t is not None:
            begin, end = end, end + n * t[:1].nbytes
            dtype = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}[t.dtype]
            header[name] = {"dtype": dtype, "shape": [n, *t.shape[1:]], "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with writing(out) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        _pour(file, first, chunks, labels)
        file.writelines(_bytes(label) for label in labels)
    return (n, *first.x.shape[1:])


def _head(file: Any, n: int, like: Tensor) -> None:
    descr = np.lib.format.dtype_to_descr(like.numpy().dtype)
    np.lib.format.write_array_header_2_0(file, {"descr": descr, "fortran_order": False, "shape": (n, *like.shape[1:])})


def _pour(file: BinaryIO | Any, first: Batch, rest: Iterator[Batch], labels: list[Tensor]) -> None:
    """Write all samples; labels are small, and kept for later."""
    for chunk in chain([first], rest):
        file.write(_bytes(chunk.x))
        if chunk.label is not None:
            labels.append(chunk.label)


def _bytes(t: Tensor) -> bytes:
    return t.contiguous().numpy().tobytes()

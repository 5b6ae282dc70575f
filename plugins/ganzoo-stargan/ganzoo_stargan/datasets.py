"""Images of which the true translation is known: each is made of parts, and can be made again with one of them
changed."""

from __future__ import annotations

import colorsys
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor

from ganzoo.dataset import PARTS, Batch, PartName
from ganzoo.errors import DataError, OptionError, suggest
from ganzoo_images.data.cache import Json, Kept
from ganzoo_images.data.decoding import Levels, opened, write_levels
from ganzoo_images.data.images import Images
from ganzoo_images.data.presets import MNIST

FILE: Final = "image-data.json"
SIDE: Final = 32
#: What a character is made of, from the ground up, and what its file calls them.
LAYERS: Final = {"body": "bodies", "accessory": "accessories", "head": "heads", "glasses": "glasses"}
ATTRIBUTES: Final = ("background", *LAYERS)
#: Images that are put together at once.
CHUNK: Final = 2_000
#: Samples of the other parts.
OTHERS: Final = {"validation": 2_000, "held-out": 2_000}


@final
@dataclass(frozen=True, eq=False)
class Parts:
    """What characters are put together of: ``pictures`` by attribute, ``(k, 32, 32)`` numbers of colours, 0 where there
    is none, with their names; grounds and the palette are colours ``(k, 3)``, levels 0…255."""

    pictures: Mapping[str, np.ndarray]
    names: Mapping[str, tuple[str, ...]]
    grounds: np.ndarray
    palette: np.ndarray

    @classmethod
    def read(cls, path: Path) -> Parts:
        """The parts in ``image-data.json`` of the Nouns.

        Raises:
            DataError: it is not there, or something else.
        """
        try:
            data = json.loads(path.read_text())
            pictures = {a: [_picture(each["data"]) for each in data["images"][key]] for a, key in LAYERS.items()}
            names = {a: tuple(_named(each["filename"]) for each in data["images"][key]) for a, key in LAYERS.items()}
            grounds, palette = (np.stack([_colour(c) for c in data[key]]) for key in ("bgcolors", "palette"))
            whole = {a: np.stack(each) for a, each in pictures.items()}
            if max(int(each.max()) for each in whole.values()) >= len(palette):
                raise ValueError("a picture has a colour that the palette has not")
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); {_cure()}") from error
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{path} is no file of a character's parts ({error}); {_cure()}") from error
        return cls(whole, {"background": tuple(data["bgcolors"]), **names}, grounds, palette)

    def drawn(self, chosen: np.ndarray) -> np.ndarray:
        """Levels ``(n, 3, 32, 32)`` of characters, ``chosen (n, 5)`` the numbers of their parts."""
        x = np.broadcast_to(self.grounds[chosen[:, 0], None, None], (len(chosen), SIDE, SIDE, 3)).copy()
        for column, attribute in enumerate(LAYERS, 1):
            picture = self.pictures[attribute][chosen[:, column]]
            x[picture > 0] = self.palette[picture[picture > 0]]
        return x.transpose(0, 3, 1, 2)


def _picture(text: str) -> np.ndarray:
    """Numbers of colours ``(32, 32)``: four bounds after a byte that says nothing here, then rows of the rectangle
    within as pairs of a length and a colour."""
    _, top, right, _, left, *runs = bytes.fromhex(text.removeprefix("0x"))
    length, colour = np.array(runs, np.uint8).reshape(-1, 2).T
    whole = np.zeros((SIDE, SIDE), np.uint8)
    flat, width = np.repeat(colour, length), right - left
    if width > 0 and len(flat):
        rows = flat[: len(flat) // width * width].reshape(-1, width)
        whole[top : top + len(rows), left:right] = rows
    return whole


def _colour(text: str) -> np.ndarray:
    """Levels; an empty one, which is never drawn, is black."""
    return np.frombuffer(bytes.fromhex(text or "000000"), np.uint8)


def _named(file: str) -> str:
    """``square-red`` of ``glasses-square-red``."""
    return file.partition("-")[2] or file


def _cure() -> str:
    return f"say -o dataset.source=FOLDER of {FILE} of the Nouns, or put it into $GANZOO_DATA/nouns"


@final
@dataclass(frozen=True, eq=False)
class _Nouns:
    """Characters by chance: which parts each sample of a part of the data is made of, and its drawing."""

    parts: Parts
    column: int
    kept: tuple[int, ...]
    counts: Mapping[str, int]
    about: Mapping[str, Any]
    labels: tuple[str, ...]
    seed: int

    def chosen(self, name: PartName) -> np.ndarray:
        """``(n, 5)``; of the attribute, numbers of the labels."""
        rng, n = np.random.default_rng([self.seed, PARTS.index(name)]), self.counts[name]
        sizes = [len(self.parts.names[attribute]) for attribute in ATTRIBUTES]
        sizes[self.column] = len(self.kept)
        return np.stack([rng.integers(size, size=n) for size in sizes], 1)

    def drawn(self, chosen: np.ndarray) -> Tensor:
        chosen = chosen.copy()
        chosen[:, self.column] = np.array(self.kept)[chosen[:, self.column]]
        pieces = [self.parts.drawn(chosen[start : start + CHUNK]) for start in range(0, len(chosen), CHUNK)]
        return torch.from_numpy(np.concatenate(pieces))

    @cached_property
    def levels(self) -> Levels:
        parts: dict[PartName, Batch] = {}
        for name in PARTS:
            chosen = self.chosen(name)
            parts[name] = Batch(self.drawn(chosen), torch.from_numpy(chosen[:, self.column].copy()))
        return Levels(parts, (3, SIDE, SIDE), self.labels, self.about)

    def truth(self, name: PartName, n: int, label: int) -> Tensor:
        chosen = self.chosen(name)[:n]
        chosen[:, self.column] = label
        return self.drawn(chosen)


def nouns(
    source: str | None = None,
    attribute: str = "glasses",
    labels: tuple[str, ...] | None = None,
    train: int = 20_000,
    flip: bool = False,
    logit: float = 0.0,
    seed: int = 0,
) -> Images:
    """Nouns, 3 × 32 × 32: characters put together of five parts, each chosen by ``seed`` evenly and by itself; the
    label is one of them, ``attribute``. The art is in the public domain.

    ``labels`` are those that there are to be (default: all). Characters of the other parts are 2,000 each.

    Raises:
        DataError: the file of their parts is not there.
        OptionError: labels that it does not have.
    """
    path = _file(source)
    parts = Parts.read(path)
    known = parts.names[attribute]
    wanted = labels or known
    for label in wanted:
        if label not in known:
            raise OptionError(f"nouns: no {attribute} is called {label!r}; {suggest(label, known)}")
    if len(wanted) < 2 or len(set(wanted)) < len(wanted):
        raise OptionError(f"nouns: labels={','.join(wanted)} is not allowed; it takes two or more, each once")
    counts = {"train": train, **OTHERS}
    about = {
        "characters of": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "images": counts,
        "seed": seed,
    }
    kept = tuple(known.index(label) for label in wanted)
    made = _Nouns(parts, ATTRIBUTES.index(attribute), kept, counts, about, tuple(wanted), seed)
    shape = (3, SIDE, SIDE)
    return Images(
        lambda: made.levels, shape, made.labels, about, flip, logit, seed, attribute=attribute, truth=made.truth
    )


def _file(source: str | None) -> Path:
    root = os.environ.get("GANZOO_DATA")
    if source is None and root is None:
        raise DataError(f"nouns needs their parts: {_cure()}")
    path = Path(source).expanduser() if source is not None else Path(root or "").expanduser() / "nouns"
    return path / FILE if path.is_dir() else path


#: Six hues at full saturation, 60° apart.
HUES: Final = ("red", "yellow", "green", "cyan", "blue", "magenta")


def coloured_mnist(size: int = 28, flip: bool = False, logit: float = 0.0, seed: int = 0) -> Images:
    """Digits of MNIST in one of six colours, 3 × 28 × 28: a grey level k becomes k times the colour, which is the label
    and drawn by ``seed``, whatever the digit. At ``size`` 32 they have a border of two black pixels."""
    digits = MNIST.decoding().kept()
    definition = {"coloured": digits.folder.name, "hues": HUES, "size": size, "seed": seed}
    kept = Kept("coloured-mnist", definition, partial(_fill, digits, size, seed), {"coloured": digits.about()})

    def truth(name: PartName, n: int, label: int) -> Tensor:
        x = opened(digits).parts[name].x[:n].numpy()
        return torch.from_numpy(_coloured(x, np.full(len(x), label), size))

    shape = (3, size, size)
    return Images(lambda: opened(kept), shape, HUES, kept.about(), flip, logit, seed, attribute="colour", truth=truth)


def _fill(digits: Kept, size: int, seed: int, folder: Path) -> Json:
    levels = opened(digits)
    rows: dict[str, int] = {}
    for part in PARTS:
        x = levels.parts[part].x.numpy()
        label = np.random.default_rng([seed, PARTS.index(part)]).integers(len(HUES), size=len(x))
        pieces = ((x[start : start + CHUNK], label[start : start + CHUNK]) for start in range(0, len(x), CHUNK))
        chunks = (_coloured(levels, of, size) for levels, of in pieces)
        write_levels(folder / f"x-{part}.npy", (len(x), 3, size, size), chunks)
        np.save(folder / f"y-{part}.npy", label)
        rows[part] = len(x)
    about = {"coloured": dict(levels.about), "images": rows, "padding": (size - 28) // 2}
    return {"shape": (3, size, size), "labels": list(HUES), "about": about}


def _coloured(x: np.ndarray, label: np.ndarray, size: int) -> np.ndarray:
    """Levels ``(n, 3, size, size)`` of grey ones ``(n, 1, 28, 28)``."""
    colours = np.array([colorsys.hsv_to_rgb(i / len(HUES), 1, 1) for i in range(len(HUES))])
    made = (x * colours[label][:, :, None, None]).round().astype(np.uint8)
    border = (size - x.shape[-1]) // 2
    return np.pad(made, ((0, 0), (0, 0), (border, border), (border, border)))

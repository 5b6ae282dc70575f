"""Image datasets that are made: of other images, or of nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch

from ganzoo.dataset import PARTS, Batch, PartName
from ganzoo_images.data.cache import Json, Kept
from ganzoo_images.data.decoding import Levels, opened, write_levels
from ganzoo_images.data.images import Images
from ganzoo_images.data.presets import MNIST

#: Samples of the other parts: PacGAN counts the modes of 26,000.
STACKED: Final = {"validation": 26_000, "held-out": 26_000}
SHAPES: Final = {"train": 2_000, "validation": 500, "held-out": 500}
CHUNK: Final = 4_096
KINDS: Final = ("disc", "ring", "square", "frame", "cross", "stripes")


def stacked_mnist(
    train: int = 128_000, size: int = 28, flip: bool = False, logit: float = 0.0, seed: int = 0
) -> Images:
    """Three digits of MNIST as the channels of an image, 1,000 modes: Metz et al. (2017), with the 128,000 samples of
    Lin et al. (2018).

    A sample's digits are drawn by ``seed`` from the same part of `mnist`; its label is 100a + 10b + c. At ``size`` 32
    it has a border of two black pixels.
    """
    digits = MNIST.decoding().kept()
    counts = {"train": train, **STACKED}
    definition = {"stacked": digits.folder.name, "images": counts, "size": size, "seed": seed}
    kept = Kept("stacked-mnist", definition, partial(_stack, digits, counts, size, seed))
    labels = tuple(f"{label:03}" for label in range(1_000))
    return Images(lambda: opened(kept), (3, size, size), labels, kept.about(), flip, logit, seed)


def _stack(digits: Kept, counts: Mapping[str, int], size: int, seed: int, folder: Path) -> Json:
    levels = opened(digits)
    for part in PARTS:
        x, label = levels.parts[part]
        assert label is not None
        rows = np.random.default_rng([seed, PARTS.index(part)]).integers(len(x), size=(counts[part], 3))
        chunks = _stacked(x.numpy(), rows, (size - x.shape[-1]) // 2)
        write_levels(folder / f"x-{part}.npy", (len(rows), 3, size, size), chunks)
        np.save(folder / f"y-{part}.npy", label.numpy()[rows] @ np.array([100, 10, 1]))
    labels = [f"{label:03}" for label in range(1_000)]
    about = {"three of": dict(levels.about), "images": dict(counts), "padding": (size - 28) // 2}
    return {"shape": (3, size, size), "labels": labels, "about": about}


def _stacked(x: np.ndarray, rows: np.ndarray, border: int) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), CHUNK):
        chunk = x[rows[start : start + CHUNK], 0]
        yield np.pad(chunk, ((0, 0), (0, 0), (border, border), (border, border)))


def shapes(size: int = 16, channels: int = 1, flip: bool = False, logit: float = 0.0, seed: int = 0) -> Images:
    """2,000, 500 and 500 drawings of six shapes, anywhere, of any size, brightness and, with three channels, colour.

    Drawn by ``seed`` from nothing but these options. Intensities are 8-bit levels of shapes antialiased over a pixel,
    on a dark ground with noise of a few levels.
    """
    about: Json = {"drawn": "six shapes", "images": dict(SHAPES), "seed": seed}
    levels = partial(_drawn, size, channels, seed, about)
    return Images(levels, (channels, size, size), KINDS, about, flip, logit, seed)


def _drawn(size: int, channels: int, seed: int, about: Json) -> Levels:
    parts: dict[PartName, Batch] = {}
    for part in PARTS:
        rng = np.random.default_rng([seed, PARTS.index(part)])
        label = rng.permutation(np.arange(SHAPES[part]) % len(KINDS))
        parts[part] = Batch(torch.from_numpy(_shapes(label, size, channels, rng)), torch.from_numpy(label))
    return Levels(parts, (channels, size, size), KINDS, about)


def _shapes(label: np.ndarray, size: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    """Levels ``(n, channels, size, size)``."""
    n = len(label)
    radius = rng.uniform(0.2, 0.4, (n, 1, 1)) * size
    x, y = (rng.uniform(radius, size - radius, (n, 1, 1)) for _ in range(2))
    grid = np.arange(size) + 0.5
    inside = _depth(label[:, None, None], grid[None, None] - x, grid[None, :, None] - y, radius)
    cover = np.clip(inside + 0.5, 0, 1)[:, None]
    colour = rng.uniform(0.4, 1.0, (n, channels, 1, 1))
    ground = rng.uniform(0.0, 0.2, (n, channels, 1, 1))
    light = 255 * (ground + cover * (colour - ground)) + rng.normal(0, 3, (n, channels, size, size))
    return np.clip(light.round(), 0, 255).astype(np.uint8)


def _depth(label: np.ndarray, x: np.ndarray, y: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """How many pixels a point lies inside the shape, negative outside; ``x`` and ``y`` are seen from its centre."""
    width = np.maximum(radius / 3, 1.0)
    round_, square = radius - np.hypot(x, y), radius - np.maximum(abs(x), abs(y))
    cross = np.minimum(square, width / 2 - np.minimum(abs(x), abs(y)))
    stripes = np.minimum(square, width / 2 - abs((y + radius) % (2 * width) - width))
    depths = (round_, np.minimum(round_, width - round_), square, np.minimum(square, width - square), cross, stripes)
    return np.select([label == kind for kind in range(len(KINDS))], depths)

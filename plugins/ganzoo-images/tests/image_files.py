"""Small image files to test with, and the real ones where they are at hand."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganzoo.part import Part


def real_data() -> Path | None:
    """MNIST and others: in ``GANZOO_DATA``, or in ``shared/data`` beside the repository."""
    beside = [folder / "shared" / "data" for folder in Path(__file__).resolve().parents]
    named = [Path(os.environ["GANZOO_DATA"])] if os.environ.get("GANZOO_DATA") else []
    return next((folder for folder in (*named, *beside) if (folder / "mnist").is_dir()), None)


REAL = real_data()
needs_real_data = pytest.mark.skipif(REAL is None, reason="no GANZOO_DATA, and no ../shared/data with mnist in it")


def build(name: str = "images", **options: Any) -> Any:
    """A dataset as a recipe builds it."""
    return Part("dataset", name, {k: str(v) if isinstance(v, Path) else v for k, v in options.items()}).build()


def levels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, image: np.ndarray | Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **options)
    return path


def folders(root: Path, names: Sequence[str] = ("cat", "dog"), n: int = 20, side: int = 8) -> Path:
    """``root/NAME/00.png``: each image has one level, that of its class and its number, so that it is known again."""
    for k, name in enumerate(names):
        for i in range(n):
            save(root / name / f"{i:02}.png", np.full((side, side), (100 * k + i) % 256, np.uint8))
    return root


def idx(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    data = head + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def mosaic(path: Path, images: np.ndarray, labels: Sequence[int], columns: int) -> Path:
    """``images (n, side, side, 3)`` as tiles of one picture, with their labels beside it."""
    rows = images.reshape(-1, columns, *images.shape[1:]).swapaxes(1, 2)
    picture = rows.reshape(rows.shape[0] * rows.shape[1], -1, images.shape[3])
    save(path, picture)
    path.with_suffix(".json").write_text(json.dumps({"labels": [*labels]}))
    return path

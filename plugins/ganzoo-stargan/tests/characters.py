"""A file of a character's parts as small as can be, so that tests need no art."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PALETTE = ("", "ff0000", "00ff00", "0000ff", "ffff00", "808080")
#: Of each attribute: names, and the rectangle (top, right, bottom, left) that all its parts fill, one colour each.
PARTS = {
    "bodies": (("body-plain", "body-bright"), (20, 28, 32, 4)),
    "accessories": (("accessory-a", "accessory-b"), (24, 12, 28, 8)),
    "heads": (("head-cat", "head-dog", "head-owl"), (4, 26, 20, 6)),
    "glasses": (("glasses-red", "glasses-green", "glasses-blue"), (8, 24, 12, 8)),
}


def data() -> dict[str, Any]:
    images = {
        kind: [{"filename": name, "data": encoded(bounds, 1 + i)} for i, name in enumerate(names)]
        for kind, (names, bounds) in PARTS.items()
    }
    return {"bgcolors": ["d5d7e1", "e1d7d5"], "palette": list(PALETTE), "images": images}


def encoded(bounds: tuple[int, int, int, int], colour: int) -> str:
    """A rectangle of one colour, but for its first pixel, through which the ground is seen."""
    top, right, bottom, left = bounds
    area = (bottom - top) * (right - left) - 1
    runs = [1, 0]
    while area:
        run = min(area, 200)
        runs += [run, colour]
        area -= run
    return "0x" + bytes([0, top, right, bottom, left, *runs]).hex()


def written(folder: Path, **changed: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "image-data.json").write_text(json.dumps({**data(), **changed}))
    return folder

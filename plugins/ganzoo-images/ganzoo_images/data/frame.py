"""One image of any kind to levels 0…255 of the size and the channels that were asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from PIL import Image

from ganzoo.errors import DataError
from ganzoo.image_file import decoded, from_sixteen, opaque

#: What an image may come as: a file, its content, or an array ``(h, w)`` or ``(h, w, c)``.
Data = Path | bytes | np.ndarray

_MODES: Final = {1: "L", 3: "RGB"}


@final
@dataclass(frozen=True)
class Frame:
    """What is done to an image before it is kept, in this order.

    It is turned as its EXIF says, made grey or RGB of 8 bits, and laid on white: see `ganzoo.image_file.decoded`. With
    ``crop`` the central square of that side is cut out, of the largest that fits for 0. With ``size`` it is resized to
    that side by Lanczos' filter, antialiased. With ``channels`` it is made grey (ITU-R 601-2 luma) or RGB.
    """

    size: int | None = None
    crop: int | None = None
    channels: int | None = None

    def levels(self, data: Data, where: str) -> np.ndarray:
        """Levels ``(c, h, w)``, uint8. `DataError` names ``where`` the image is."""
        if isinstance(data, np.ndarray) and self._is_done(data):
            return data[None] if data.ndim == 2 else data.transpose(2, 0, 1)
        image = self._resized(self._cropped(_opened(data, where), where), where)
        if self.channels is not None:
            image = image.convert(_MODES[self.channels])
        levels = np.asarray(image)
        return levels[None] if levels.ndim == 2 else levels.transpose(2, 0, 1)

    def _is_done(self, levels: np.ndarray) -> bool:
        """Nothing is to be done to what may be one of very many."""
        if levels.dtype != np.uint8 or levels.ndim not in (2, 3):
            return False
        channels = 1 if levels.ndim == 2 else levels.shape[2]
        same = self.size in (None, levels.shape[0]) and (self.size is None or levels.shape[0] == levels.shape[1])
        return channels in (1, 3) and same and self.crop is None and self.channels in (None, channels)

    def _cropped(self, image: Image.Image, where: str) -> Image.Image:
        if self.crop is None:
            return image
        width, height = image.size
        side = self.crop or min(width, height)
        if side > min(width, height):
            raise DataError(f"{where} is {width} × {height}, too small for -o dataset.crop={side}; take a smaller crop")
        left, top = (width - side) // 2, (height - side) // 2
        return image.crop((left, top, left + side, top + side))

    def _resized(self, image: Image.Image, where: str) -> Image.Image:
        if self.size is None or image.size == (self.size, self.size):
            return image
        width, height = image.size
        if width != height:
            raise DataError(f"{where} is {width} × {height}; say -o dataset.crop=0 to take the square in its middle")
        return image.resize((self.size, self.size), Image.Resampling.LANCZOS)

    def json(self) -> dict[str, Any]:
        """What a model's config says of it."""
        resize = {"size": self.size, "resize": "PIL Lanczos, antialiased"} if self.size else {}
        return resize | {key: value for key in ("crop", "channels") if (value := getattr(self, key)) is not None}


def _opened(data: Data, where: str) -> Image.Image:
    """Grey or RGB, 8 bits."""
    if isinstance(data, np.ndarray):
        return opaque(_of_array(data, where))
    try:
        content = data.read_bytes() if isinstance(data, Path) else data
    except OSError as error:
        raise DataError(f"{where} cannot be read ({error.strerror}); replace it, or take it away") from error
    return decoded(content, where)


def _of_array(levels: np.ndarray, where: str) -> Image.Image:
    if levels.dtype == np.uint16:
        levels = from_sixteen(levels)
    if levels.dtype == np.bool_:
        levels = levels.astype(np.uint8) * 255
    if levels.dtype != np.uint8:
        raise DataError(
            f"{where} is of {levels.dtype}; levels 0…255 as uint8 are taken. For numbers in [0, 1] save "
            "(255 * x).round().astype('uint8')"
        )
    if levels.ndim == 3 and levels.shape[2] == 1:
        levels = levels[..., 0]
    if levels.ndim not in (2, 3) or (levels.ndim == 3 and levels.shape[2] not in (2, 3, 4)):
        raise DataError(f"{where} has shape {levels.shape}; an image is (h, w) or (h, w, channels), of 1 to 4 channels")
    return Image.fromarray(np.ascontiguousarray(levels))

"""One image of any kind to levels 0…255 of the size and the channels that were asked for."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from PIL import Image, ImageOps

from ganzoo.errors import DataError

#: What an image may come as: a file, its content, or an array ``(h, w)`` or ``(h, w, c)``.
Data = Path | bytes | np.ndarray

#: What is decoded. Pillow knows more, by their content whatever a file is called, and starts programs for some.
FORMATS: Final = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA")

_SIXTEEN: Final = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_MODES: Final = {1: "L", 3: "RGB"}


@cache
def formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@final
@dataclass(frozen=True)
class Frame:
    """What is done to an image before it is kept, in this order.

    It is turned as its EXIF says; of an animation the first frame is taken. Grey levels of 16 bits are divided by 257
    and rounded; of coloured ones the decoder keeps the upper 8. What is transparent is laid on white. With ``crop`` the
    central square of that side is cut out, of the largest that fits for 0. With ``size`` it is resized to that side by
    Lanczos' filter, antialiased. With ``channels`` it is made grey (ITU-R 601-2 luma) or RGB.
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
        return _opaque(_of_array(data, where))
    try:
        content = io.BytesIO(data.read_bytes() if isinstance(data, Path) else data)
        with Image.open(content, formats=formats()) as image:
            image.load()
            return _opaque(_eight_bits(ImageOps.exif_transpose(image), where))
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{where}: {error} Make it smaller, or leave it out") from error
    except Exception as error:  # decoders raise whatever they stumble over
        raise DataError(f"{where} cannot be read as an image ({error}); replace it, or take it away") from error


def _of_array(levels: np.ndarray, where: str) -> Image.Image:
    if levels.dtype == np.uint16:
        levels = _from_sixteen(levels)
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


def _eight_bits(image: Image.Image, where: str) -> Image.Image:
    if image.mode == "F":
        raise DataError(f"{where} holds floating-point numbers; save it with 8 or 16 bits a channel")
    if image.mode not in _SIXTEEN:
        return image
    levels = np.asarray(image).astype(np.int64)
    if levels.min() < 0 or levels.max() >= 2**16:
        raise DataError(f"{where} has levels of 32 bits; save it with 8 or 16 bits a channel")
    return Image.fromarray(_from_sixteen(levels))


def _from_sixteen(levels: np.ndarray) -> np.ndarray:
    return ((levels.astype(np.int64) + 128) // 257).astype(np.uint8)


def _opaque(image: Image.Image) -> Image.Image:
    """Without alpha and palette: ``L`` where it has no colour, else ``RGB``."""
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == mode else image.convert(mode)

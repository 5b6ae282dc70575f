"""An image of whatever kind, as grey or RGB of 8 bits: one rule for what is trained on and what is translated."""

from __future__ import annotations

import io
from functools import cache
from typing import Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ganzoo.errors import DataError

#: What is decoded. Pillow knows more, by their content whatever a file is called, and starts programs for some.
FORMATS: Final = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA")

_SIXTEEN: Final = ("I;16", "I;16L", "I;16B", "I;16N", "I")


@cache
def formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def decoded(content: bytes, where: str) -> Image.Image:
    """The image in a file's content, mode ``L`` where it has no colour, else ``RGB``.

    It is turned as its EXIF says; of an animation the first frame is taken. Grey levels of 16 bits are divided by 257
    and rounded; of coloured ones the decoder keeps the upper 8. What is transparent is laid on white.

    Raises:
        DataError: there is no image, or one of other numbers. It names ``where``.
    """
    try:
        with Image.open(io.BytesIO(content), formats=formats()) as image:
            image.load()
            return opaque(_eight_bits(ImageOps.exif_transpose(image), where))
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{where}: {error} Make it smaller, or leave it out") from error
    except Exception as error:  # decoders raise whatever they stumble over
        why = "of no known kind" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"{where} cannot be read as an image ({why}); replace it, or take it away") from error


def opaque(image: Image.Image) -> Image.Image:
    """Without alpha and palette: ``L`` where it has no colour, else ``RGB``."""
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == mode else image.convert(mode)


def from_sixteen(levels: np.ndarray) -> np.ndarray:
    """Levels of 16 bits as uint8."""
    return ((levels.astype(np.int64) + 128) // 257).astype(np.uint8)


def _eight_bits(image: Image.Image, where: str) -> Image.Image:
    if image.mode == "F":
        raise DataError(f"{where} holds floating-point numbers; save it with 8 or 16 bits a channel")
    if image.mode not in _SIXTEEN:
        return image
    levels = np.asarray(image).astype(np.int64)
    if levels.min() < 0 or levels.max() >= 2**16:
        raise DataError(f"{where} has levels of 32 bits; save it with 8 or 16 bits a channel")
    return Image.fromarray(from_sixteen(levels))

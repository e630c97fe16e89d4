"""The upper part of a JPEG image, decoded without the rest, and crops of it: the same pixels for less time.

The height in the file's header is lowered, so that the decoder stops there. A baseline file's rows stand in their order
and depend on at most one row below, of which some more are decoded than are asked for.
"""

from __future__ import annotations

import math

import numpy as np
import simplejpeg

from h36m_toolbox.frames.crops import Box, cropped_image

_BASELINE = {0xC0, 0xC1}
_FRAME_MARKERS = {0xC0, 0xC1, 0xC2, 0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)}
_BLOCK_ROWS = 16
_SPARE_ROWS = 2  # chroma of the last row is interpolated with the row below
_CUT_SHORT = "extraneous bytes before marker 0xd9"  # what the decoder finds behind the last row wanted


def decoded_rgb(jpeg: bytes, rows: int | None = None) -> np.ndarray:
    """(height, width, 3) uint8 RGB, of which at least the first `rows` are there and as in the whole image.

    None asks for all. Raises ValueError for a damaged file: a truncated one always; of what was changed in its middle
    the decoder notices less than when it reads the whole.
    """
    place, height, width = _frame_header(jpeg) if rows is not None else (0, 0, 0)
    wanted = -(-((rows or 0) + _SPARE_ROWS) // _BLOCK_ROWS) * _BLOCK_ROWS
    if not place or wanted >= height:
        return np.asarray(simplejpeg.decode_jpeg(jpeg, "RGB"))
    cut = b"".join((jpeg[:place], wanted.to_bytes(2, "big"), jpeg[place + 2 :]))
    image = np.empty((wanted, width, 3), np.uint8)
    try:
        simplejpeg.decode_jpeg(cut, "RGB", buffer=image)
    except ValueError as error:
        if _CUT_SHORT not in str(error):
            raise
    return image


def crop_of_jpeg(jpeg: bytes, box: Box, size: tuple[int, int]) -> np.ndarray:
    """What a box (left, top, right, bottom px) shows of an image file, (height, width, 3) uint8 RGB.

    Byte for byte `cropped_image` of the whole image, in `size` (width, height) px. Raises as `decoded_rgb`.
    """
    nothing_below_is_seen = max(1, math.ceil(box[3]) + 1)
    return cropped_image(decoded_rgb(jpeg, nothing_below_is_seen), box, size)


def _frame_header(jpeg: bytes) -> tuple[int, int, int]:
    """Where a baseline file says its height, the height and the width; zeros for other files."""
    position = 2
    while position + 9 <= len(jpeg) and jpeg[position] == 0xFF:
        marker = jpeg[position + 1]
        if marker in _FRAME_MARKERS:
            height, width = (int.from_bytes(jpeg[start : start + 2], "big") for start in (position + 5, position + 7))
            return (position + 5, height, width) if marker in _BASELINE else (0, 0, 0)
        position += 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
    return 0, 0, 0

"""Images without any loss, small and quick to read: what zstd leaves of differences of colours and rows.

Beside red, green and blue as they are (zstd: 88 kB a crop of 192x256 px of textured footage, PNG: 68) planes that hold
each row's difference from the row above take 51 kB, and are back in a fifth of the time of a PNG.
"""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa

CODEC = "red-green, green, blue-green; rows as differences from the row above; modulo 256; zstd"


def packed_pixels(image: np.ndarray) -> bytes:
    """An image (height, width, 3), uint8 RGB, as `CODEC` says."""
    red, green, blue = cv2.split(image)
    planes = np.stack([red - green, green, blue - green])
    planes[:, 1:] -= planes[:, :-1].copy()
    return bytes(pa.Codec("zstd", 1).compress(planes, asbytes=True))


def unpacked_pixels(packed: bytes, width: int, height: int) -> np.ndarray:
    """The image (height, width, 3), uint8 RGB, again; ValueError for bytes that are none of this size."""
    try:
        buffer = pa.Codec("zstd").decompress(packed, 3 * height * width)
        planes = np.frombuffer(buffer, np.uint8).reshape(3, height, width).copy()
    except OSError as error:
        raise ValueError(str(error)) from error
    step = 1
    while step < height:  # sums of 1, 2, 4, ... rows: some eight passes, where row after row takes twice as long
        planes[:, step:] += planes[:, :-step].copy()
        step *= 2
    planes[[0, 2]] += planes[1]
    return np.asarray(cv2.merge(list(planes)), np.uint8)

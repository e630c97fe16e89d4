"""Segment masks as the original keeps them: MATLAB 7.3, a cell array `Masks` with a filled rectangle a video frame."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from h36m_toolbox.storage.hdf5_files import hdf5_written_whole

_MARGIN_PX = 25.0  # between the outermost joint and the edge of the body
_CHUNKS = 4  # a mask is stored in


def write_synthetic_masks(path: Path, pixels: np.ndarray, frames: int, size: tuple[int, int]) -> None:
    """Masks of `frames` video frames of an image of `size` (width, height), px, around poses (poses, joints, 2), px.

    Frames beyond the poses repeat the last. A rectangle is cut at the edges of the image and never thinner than 2 px.
    """
    with hdf5_written_whole(path) as file:
        places = []
        for number, (left, top, right, bottom) in enumerate(_boxes(pixels, size).tolist()):
            mask = np.zeros(size, np.uint8)  # MATLAB counts down the columns: stored transposed
            mask[left:right, top:bottom] = 1
            chunks = (-(-size[0] // _CHUNKS), size[1])
            stored = file.create_dataset(
                f"#refs#/m{number:04d}", data=mask, chunks=chunks, compression="gzip", compression_opts=1
            )
            stored.attrs["MATLAB_class"] = np.bytes_(b"logical")
            stored.attrs["MATLAB_int_decode"] = np.int32(1)
            places.append(stored.ref)
        places += [places[-1]] * (frames - len(places))
        cell = np.array(places[:frames], h5py.ref_dtype)[:, None]
        file.create_dataset("Masks", data=cell, dtype=h5py.ref_dtype).attrs["MATLAB_class"] = np.bytes_(b"cell")


def _boxes(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """left, top, right, bottom (poses, 4), whole px, the last two exclusive."""
    least = np.floor(pixels.min(axis=1) - _MARGIN_PX).clip(0, np.array(size) - 2)
    most = np.ceil(pixels.max(axis=1) + _MARGIN_PX).clip(least + 2, size)
    return np.concatenate([least, most], axis=1).astype(np.int64)

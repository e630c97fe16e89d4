"""What the records of H36M-Toolbox's and Context-Aware PoseFormer's pickles hold, sequence after sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import Sequence, sequences
from h36m_toolbox.skeletons import H36M_17
from h36m_toolbox.storage.pickled_records import pickled_records

MM_PER_M = np.float32(1000)
Records = list[Mapping[str, Any]]
ColumnOf = Callable[[Records, Sequence], np.ndarray]


def pickled_sequences(
    path: Path, columns: Mapping[str, ColumnOf]
) -> Iterator[tuple[Sequence, np.ndarray, dict[str, np.ndarray]]]:
    """Sequence, frames (n,) from 0 and the columns' arrays, (n, ...) each, without holding more than a sequence.

    Raises H36MError for records of another form.
    """
    known = {(s.subject_number, s.action_id, s.subaction, s.camera_index): s for s in sequences()}

    def sequence_of(record: Mapping[str, Any]) -> Sequence:
        return known[record["subject"], record["action"], record["subaction"], record["camera_id"]]

    try:
        for sequence, group in groupby(pickled_records(path), sequence_of):
            rows = list(group)
            frames = np.array([row["image_id"] - 1 for row in rows], np.int32)
            yield sequence, frames, {name: of(rows, sequence) for name, of in columns.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise H36MError(
            f"{path}: its records are not those of the format ({type(error).__name__}: {error}); expected a list of "
            "dicts with image_id, joints_2d..., joints_3d..."
        ) from error


def as_stored(key: str) -> ColumnOf:
    """(n, 17, dims), as the records have it."""
    return lambda records, _: _stacked(records, key)


def millimetres(key: str) -> ColumnOf:
    """(n, 17, 3) of metres."""
    return lambda records, _: _stacked(records, key) * MM_PER_M


def pair(key: str) -> ColumnOf:
    """(n, 2), as the records have it: the tuples `center` and `scale`."""

    def pairs(records: Records, _: Sequence) -> np.ndarray:
        array = np.array([record[key] for record in records])
        if array.dtype.kind != "f" or array.shape[1:] != (2,):
            raise ValueError(f"{key} is {array.dtype} {array.shape[1:]}, not two numbers")
        return array

    return pairs


def screen_pixels(key: str) -> ColumnOf:
    """Pixels of x * 2 / w - 1 and y * 2 / w - h / w; the image's size is the calibration's, checked with the crop."""

    def pixels(records: Records, sequence: Sequence) -> np.ndarray:
        width, height = h36m_camera(sequence.subject, sequence.camera).size
        found = (_stacked(records, key) + np.array([1, height / width])) * (width / 2)
        centers = np.array([record["center"] for record in records])
        widths = np.array([record["scale"][0] for record in records]) * 200
        crop = _stacked(records, f"{key}_crop")
        seen = centers[:, None] + (crop - (95.5, 127.5)) * ((widths - 1) / 191)[:, None, None]
        if np.abs(found - seen).max() > 0.25:
            raise ValueError(f"{sequence} was normalised by another size than {width} x {height}")
        return found

    return pixels


def _stacked(records: Records, key: str) -> np.ndarray:
    array = np.stack([record[key] for record in records])
    if array.dtype.kind != "f" or array.ndim != 3 or array.shape[1] != len(H36M_17):
        raise ValueError(f"{key} is {array.dtype} {array.shape[1:]}, not 17 joints")
    return array

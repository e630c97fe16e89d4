"""The crops of learnable triangulation and ContextPose: boxes of the multi-view label table, of undistorted frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.crops.making import SequenceBoxes
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.multiview import label_table_path
from h36m_toolbox.frames.crops import Box
from h36m_toolbox.frames.stores import Frames
from h36m_toolbox.frames.undistortion import undistort_map
from h36m_toolbox.sequences import SUBJECTS
from h36m_toolbox.views.crops import CROP_SIZE
from h36m_toolbox.views.labels import read_label_table
from h36m_toolbox.views.samples import person_crop, view_crop_store

VIEW_CROPS = view_crop_store(CROP_SIZE)


def boxes_of_label_table(
    data: Path, subjects: tuple[str, ...] = SUBJECTS, path: Path | None = None
) -> list[SequenceBoxes]:
    """The boxes of these subjects' views in DATA's multi-view label table or the one at `path`.

    Raises H36MError where there is no such table or it has none of them.
    """
    labels = read_label_table(path or label_table_path(data))
    found = []
    for view, rows in labels.rows_of_views():
        if view.subject in subjects:
            ordered = rows[np.argsort(labels.frames[rows], kind="stable")]
            boxes = labels.boxes[ordered, view.camera_index].astype(np.float64)
            found.append(SequenceBoxes(view, labels.frames[ordered], boxes))
    if not found:
        raise H36MError(f"{labels.path}: has no boxes of {', '.join(subjects)}; make it with those subjects")
    return found


def cutter(frames: Frames) -> Callable[[int, Box], np.ndarray]:
    """What cuts these frames, distorted or not: from a frame (from 0) and its box to (384, 384, 3) uint8 RGB."""
    maps = None
    if not frames.store.undistorted:
        maps = undistort_map(h36m_camera(frames.sequence.subject, frames.sequence.camera))

    def cut(frame: int, box: Box) -> np.ndarray:
        return person_crop(frames, frame, np.array(box, np.int64), CROP_SIZE, maps)

    return cut

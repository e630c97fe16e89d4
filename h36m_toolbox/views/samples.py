"""Views of instants as multi-view models see them: undistorted frames of DATA, cut and resized, with cameras.

Frames come undistorted from the store that `h36m extract --undistort` fills, or from whole ones, undistorted as they
are read: the official way stores a second, recompressed copy of the data set, which this saves.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.stores import Frames, FrameStore, making, open_frames, stored_frames
from h36m_toolbox.frames.undistortion import UndistortMap, undistort_map, undistorted
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.views.crops import (
    CROP_SIZE,
    cut,
    intrinsics_of_cut,
    intrinsics_of_resized,
    projection,
    resized,
    scaled_boxes,
)
from h36m_toolbox.views.labels import MultiviewLabels

# Where frames are looked for, in this order: undistorted ones first, as they are the official input.
STORES = tuple(FrameStore(layout, lens) for lens in (True, False) for layout in ("toolbox", "h36m-fetch"))
_SHOWN = 3


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class View:
    """One person in one view: pixels, and the camera that maps world mm to them."""

    image: np.ndarray  # (size, size, 3) uint8, blue green red
    projection: np.ndarray  # (3, 4) float32


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class ViewInput:
    """What a multi-view network gets of one sample."""

    images: np.ndarray  # (views, size, size, 3) uint8, blue green red
    projections: np.ndarray  # (views, 3, 4) float32, world mm to px
    base_point: np.ndarray | None  # (3,) float32, world, mm


def person_view(
    image: np.ndarray, box: np.ndarray, camera: np.void, size: int = CROP_SIZE, box_scale: float = 1.0
) -> View:
    """What a box (4,) of the label table shows of an undistorted frame (height, width, 3) uint8, blue green red.

    `camera` is of `multiview_format.CAMERA_DTYPE`, and belongs to the whole frame.
    """
    (grown,) = scaled_boxes(box[None], box_scale)
    piece = cut(image, grown)
    intrinsics = intrinsics_of_cut(camera["K"], grown)
    intrinsics = intrinsics_of_resized(intrinsics, (piece.shape[1], piece.shape[0]), (size, size))
    return View(resized(piece, size, size), projection(intrinsics, camera["R"], camera["t"]))


@dataclass(frozen=True, eq=False)
class ViewReader:
    """Reads views of a label table's instants; from several threads at once, if wanted. Made by `view_reader`."""

    labels: MultiviewLabels
    frames: Mapping[Sequence, Frames]
    size: int
    box_scale: float
    _maps: dict[tuple[str, str], UndistortMap] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def view(self, instant: int, camera: int) -> View:
        """What camera number `camera` of `sequences.CAMERA_IDS` sees at an instant of the labels.

        Raises H36MError for a damaged frame and for one of another size than the camera's.
        """
        sequence = self.labels.recording(instant).views[camera]
        image = self._frame(self.frames[sequence], self.labels.frame(instant))
        calibration = self.labels.calibrations[self.labels.subjects[instant], camera]
        return person_view(image, self.labels.boxes[instant, camera], calibration, self.size, self.box_scale)

    def _frame(self, frames: Frames, number: int) -> np.ndarray:
        """A frame without distortion, (height, width, 3), blue green red."""
        with self._lock if frames.pack else nullcontext():  # a shard keeps what it read last
            image = np.ascontiguousarray(frames.image(number)[..., ::-1])
        if frames.store.undistorted:
            return image
        key = (frames.sequence.subject, frames.sequence.camera)
        with self._lock:
            if key not in self._maps:
                self._maps[key] = undistort_map(h36m_camera(*key))
        return undistorted(image, self._maps[key])


def view_reader(data: Path, labels: MultiviewLabels, size: int = CROP_SIZE, box_scale: float = 1.0) -> ViewReader:
    """A reader of all views that the labels have a box for.

    Raises H36MError, with the command that makes them, where frames are missing; nothing is read but file names.
    """
    opened: dict[Sequence, Frames] = {}
    missing: list[str] = []
    for view, rows in labels.rows_of_views():
        wanted: set[int] = set(labels.frames[rows].tolist())
        best = wanted
        for store in STORES:
            lacking = wanted - set(stored_frames(data, view, store))
            if not lacking:
                opened[view] = open_frames(data, view, store)
                break
            best = min(best, lacking, key=len)
        else:
            missing.append(f"{view} ({len(best)} of {len(wanted)}, the first is frame {min(best)})")
    if missing:
        more = f" and {len(missing) - _SHOWN} more sequences" if len(missing) > _SHOWN else ""
        raise H36MError(
            f"{data}: frames are missing (counted from 0): {', '.join(missing[:_SHOWN])}{more}; "
            f"{making(data, FrameStore(undistorted=True))}, or without --undistort to have them undistorted as they "
            f"are read; {labels.path} asks for them"
        )
    return ViewReader(labels, opened, size, box_scale)

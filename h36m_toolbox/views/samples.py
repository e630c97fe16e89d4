"""Views of instants as multi-view models see them: undistorted frames of DATA, cut and resized, with cameras.

Frames come undistorted from the store that `h36m extract --undistort` fills, or from whole ones, undistorted as they
are read: the official way stores a second, recompressed copy of the data set, which this saves. Where `h36m crops` has
cut them already, what it kept is read, the same byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.crops.reading import open_crops, source_of
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.lossless_shards import LosslessCrops
from h36m_toolbox.frames.stores import Frames, FrameStore, making, open_frames, stored_frames
from h36m_toolbox.frames.undistortion import UndistortMap, undistort_map, undistorted_part
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
_NOTHING = np.zeros((0, 0, 3), np.uint8)


def view_crop_store(size: int) -> FrameStore:
    """Where crops of `size` x `size` px are kept without loss."""
    return FrameStore(undistorted=True, crop=f"views-{size}x{size}", lossless=True)


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
    return View(resized(cut(image, grown), size, size), _projection_of_crop(grown, camera, size))


def _projection_of_crop(box: np.ndarray, camera: np.void, size: int) -> np.ndarray:
    left, top, right, bottom = map(int, box)
    intrinsics = intrinsics_of_cut(camera["K"], box)
    intrinsics = intrinsics_of_resized(intrinsics, (right - left, bottom - top), (size, size))
    return projection(intrinsics, camera["R"], camera["t"])


def person_crop(frames: Frames, number: int, box: np.ndarray, size: int, maps: UndistortMap | None) -> np.ndarray:
    """What a box (4,), whole px, shows of a frame (from 0) without distortion: (size, size, 3) uint8 RGB.

    `maps` None: the store has the frame undistorted. Only what the box sees is decoded or undistorted. Raises H36MError
    for a damaged frame and for one of another size than the map's.
    """
    return _crop_of(_seen_image(frames, number, box, maps), box, size, maps)


def _seen_image(frames: Frames, number: int, box: np.ndarray, maps: UndistortMap | None) -> np.ndarray:
    """A frame (from 0); of one that is undistorted already perhaps only what is above the box's lower edge."""
    return frames.image(number, max(1, int(box[3])) if maps is None else None)


def _crop_of(image: np.ndarray, box: np.ndarray, size: int, maps: UndistortMap | None) -> np.ndarray:
    if maps is None:
        return resized(cut(image, box), size, size)
    height, width = maps.fraction.shape
    low = np.clip(box[:2], 0, (width, height))
    high = np.clip(box[2:], low, (width, height))
    rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
    seen = undistorted_part(image, maps, rows, columns) if (low < high).all() else _NOTHING
    return resized(cut(seen, box - np.tile(low, 2)), size, size)


@dataclass(frozen=True, eq=False)
class ViewReader:
    """Reads views of a label table's instants; from several threads at once, if wanted. Made by `view_reader`."""

    labels: MultiviewLabels
    frames: Mapping[Sequence, Frames]  # of what is not among the crops
    crops: Mapping[Sequence, LosslessCrops]
    size: int
    box_scale: float
    _maps: dict[tuple[str, str], UndistortMap] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)
    _packed: Lock = field(default_factory=Lock, repr=False)

    def view(self, instant: int, camera: int) -> View:
        """What camera number `camera` of `sequences.CAMERA_IDS` sees at an instant of the labels.

        Raises H36MError for a damaged frame and for one of another size than the camera's.
        """
        sequence, frame = self.labels.recording(instant).views[camera], self.labels.frame(instant)
        calibration = self.labels.calibrations[self.labels.subjects[instant], camera]
        (box,) = scaled_boxes(self.labels.boxes[instant, camera][None], self.box_scale)
        crops = self.crops.get(sequence)
        if crops is not None and frame in crops:
            image = crops.image(frame, box)
        else:
            image = self._cut(self.frames[sequence], frame, box)
        return View(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _projection_of_crop(box, calibration, self.size))

    def _cut(self, frames: Frames, number: int, box: np.ndarray) -> np.ndarray:
        maps = None if frames.store.undistorted else self._map(frames.sequence)
        with self._packed if frames.pack else nullcontext():  # a shard keeps what it read last
            image = _seen_image(frames, number, box, maps)
        return _crop_of(image, box, self.size, maps)

    def _map(self, sequence: Sequence) -> UndistortMap:
        key = (sequence.subject, sequence.camera)
        with self._lock:
            if key not in self._maps:
                self._maps[key] = undistort_map(h36m_camera(*key))
            return self._maps[key]


def view_reader(data: Path, labels: MultiviewLabels, size: int = CROP_SIZE, box_scale: float = 1.0) -> ViewReader:
    """A reader of all views that the labels have a box for.

    Raises H36MError, with the command that makes them, where frames are missing; nothing is read but file names and the
    tables of lossless crops.
    """
    opened: dict[Sequence, Frames] = {}
    crops: dict[Sequence, LosslessCrops] = {}
    missing: list[str] = []
    for view, rows in labels.rows_of_views():
        wanted: set[int] = set(labels.frames[rows].tolist())
        lacking: dict[FrameStore, set[int]] = {}
        for each in STORES:
            lacking[each] = wanted - set(stored_frames(data, view, each))
            if not lacking[each]:
                break
        store = next((each for each, frames in lacking.items() if not frames), None)
        kept = open_crops(data, view, view_crop_store(size), STORES, store) if box_scale == 1.0 else None
        if kept is not None:
            crops[view], source = kept, store or source_of(kept, STORES)
            lacking = {source: lacking[source] - set(kept.frames)}
            wanted -= set(kept.frames)
        best = min(lacking, key=lambda each: len(lacking[each]))
        if lacking[best]:
            missing.append(f"{view} ({len(lacking[best])} of {len(rows)}, the first is frame {min(lacking[best])})")
        elif wanted:
            opened[view] = open_frames(data, view, best)
    if missing:
        more = f" and {len(missing) - _SHOWN} more sequences" if len(missing) > _SHOWN else ""
        raise H36MError(
            f"{data}: frames are missing (counted from 0): {', '.join(missing[:_SHOWN])}{more}; "
            f"{making(data, FrameStore(undistorted=True))}, or without --undistort to have them undistorted as they "
            f"are read; {labels.path} asks for them"
        )
    return ViewReader(labels, opened, crops, size, box_scale)

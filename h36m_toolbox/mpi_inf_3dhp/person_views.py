"""The test set as models of one view see it: a square around the person, cut from the frame, with its camera.

The world is turned so that z points up, as Human3.6M's does: the test set's own has y up. Boxes are squares around the
true joints, grown by `BOX_MARGIN` on every side, since Human3.6M's come from masks, which reach beyond joints. Frames
are taken as they are: the annotations' pixels are projected without the lens, also those of TS5 and TS6, whose
calibration has one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import simplejpeg

from h36m_toolbox.cameras import Camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.multiview import CAMERA_DTYPE
from h36m_toolbox.frames.crops import squared_boxes
from h36m_toolbox.mpi_inf_3dhp.annotations import TestAnnotations
from h36m_toolbox.mpi_inf_3dhp.frames import frame_path
from h36m_toolbox.mpi_inf_3dhp.labels import read_test_cameras
from h36m_toolbox.mpi_inf_3dhp.sequences import image_size
from h36m_toolbox.skeletons import MPI_INF_3DHP_17
from h36m_toolbox.views.crops import CROP_SIZE
from h36m_toolbox.views.samples import ViewInput, person_view

BOX_MARGIN = 0.1  # of the longer side of the joints' box
_Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # of a world with y up
_PELVIS = MPI_INF_3DHP_17.joints.index(MPI_INF_3DHP_17.root)


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class PersonViews:
    """The valid frames of all sequences, one after the other; images are read when they are asked for."""

    data: Path
    sequences: tuple[str, ...]  # of each row
    frames: np.ndarray  # (rows,), from 0
    boxes: np.ndarray  # (rows, 4) left, top, right, bottom, whole px
    pelvis: np.ndarray  # (rows, 3), world, mm: the true one, of annot3
    cameras: dict[str, Camera]  # of each sequence, world z up
    size: int

    def __len__(self) -> int:
        return len(self.sequences)

    def load(self, row: int) -> ViewInput:
        """A row's image, camera and pelvis; H36MError for a damaged frame and one of another size."""
        sequence = self.sequences[row]
        image = read_frame(frame_path(self.data, "images", sequence, int(self.frames[row])), image_size(sequence))
        view = person_view(image, self.boxes[row], _record(self.cameras[sequence]), self.size)
        return ViewInput(view.image[None], view.projection[None], self.pelvis[row].astype(np.float32))

    def in_camera(self, world: np.ndarray, rows: slice) -> np.ndarray:
        """World poses (n, joints, 3), mm, of these rows in their cameras' frames."""
        names = np.asarray(self.sequences[rows], object)
        poses = np.empty(world.shape)
        for name in dict.fromkeys(names.tolist()):
            poses[names == name] = self.cameras[name].world_to_camera(world[names == name].astype(np.float64))
        return poses


def person_views(data: Path, truth: list[TestAnnotations], size: int = CROP_SIZE) -> PersonViews:
    """The views of DATA's test set, as images of `size` px; nothing is read but the labels' cameras.

    Raises H36MError, with the command that makes them, where cameras or frames are missing.
    """
    cameras = {name: _with_z_up(camera) for name, camera in read_test_cameras(data).items()}
    lacking = [sequence.sequence for sequence in truth if sequence.sequence not in cameras]
    if lacking:
        raise H36MError(
            f"{data}: the labels have no camera of {', '.join(lacking)}; keep test_util/camera_calibration of the test "
            f"set beside its sequences and run `h36m labels RAW --out {data}` again"
        )
    check_frames(data, "images", truth)
    frames = [np.flatnonzero(sequence.valid) for sequence in truth]
    names = [sequence.sequence for sequence, chosen in zip(truth, frames, strict=True) for _ in chosen]
    pelvis = [
        cameras[sequence.sequence].camera_to_world(sequence.camera[chosen, _PELVIS])
        for sequence, chosen in zip(truth, frames, strict=True)
    ]
    boxes = [person_boxes(sequence.image[chosen]) for sequence, chosen in zip(truth, frames, strict=True)]
    return PersonViews(
        data=data,
        sequences=tuple(names),
        frames=np.concatenate(frames),
        boxes=np.concatenate(boxes),
        pelvis=np.concatenate(pelvis),
        cameras=cameras,
        size=size,
    )


def person_boxes(joints: np.ndarray) -> np.ndarray:
    """Squares left, top, right, bottom (frames, 4), whole px, around joints (frames, joints, 2), px, with a margin."""
    low, high = joints.min(axis=1), joints.max(axis=1)
    margin = BOX_MARGIN * (high - low).max(axis=1, keepdims=True)
    top_left_bottom_right = np.concatenate([(low - margin)[:, ::-1], (high + margin)[:, ::-1]], axis=1)
    return squared_boxes(np.rint(top_left_bottom_right).astype(np.int64))[:, [1, 0, 3, 2]]


def check_frames(data: Path, store: str, truth: list[TestAnnotations]) -> None:
    """An H36MError, with the command that makes them, where DATA lacks a valid frame in "images" or "crops"."""
    missing = [
        path
        for sequence in truth
        for frame in np.flatnonzero(sequence.valid)
        if not (path := frame_path(data, store, sequence.sequence, int(frame))).is_file()
    ]
    if missing:
        crop = "" if store == "images" else " --crop poseformer"
        raise H36MError(
            f"{missing[0]}: no such file, nor {len(missing) - 1:,} more of the test set's valid frames; make them with "
            f"`h36m extract RAW --out {data}{crop}`"
        )


def read_frame(path: Path, size: tuple[int, int]) -> np.ndarray:
    """A JPEG file (height, width, 3), blue green red; H36MError where it is damaged or not of `size`."""
    try:
        image = np.asarray(simplejpeg.decode_jpeg(path.read_bytes(), "BGR"))
    except (OSError, ValueError) as error:
        raise H36MError(f"{path}: cannot be read as a JPEG file ({error}); extract the frames again") from error
    if image.shape[1::-1] != size:
        raise H36MError(
            f"{path}: is {image.shape[1]} x {image.shape[0]} px, expected {size[0]} x {size[1]}; the annotations are "
            "for the original's images"
        )
    return image


def _with_z_up(camera: Camera) -> Camera:
    return replace(camera, rotation=camera.rotation @ _Z_UP.T, center=_Z_UP @ camera.center)


def _record(camera: Camera) -> np.void:
    """As the multi-view label table has it: float32."""
    records = np.zeros(1, CAMERA_DTYPE)
    records["K"], records["R"] = camera.intrinsics, camera.rotation
    records["t"] = -records["R"] @ camera.center[:, None]
    record: np.void = records[0]
    return record

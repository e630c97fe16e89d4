"""The frames of MPI-INF-3DHP's test set as Context-Aware PoseFormer's variant for it sees them.

Facts from github.com/QitaoZhao/ContextAware-PoseFormer: true 2D poses, crops around the pelvis of `univ_annot3` by one
table of intrinsics (`mpi_inf_3dhp.crops`), poses in mm, joints in the evaluation's order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from h36m_toolbox.formats.poseformer import screen_normalised_float32
from h36m_toolbox.frames.crops import POSEFORMER_SIZE
from h36m_toolbox.models.poseformer_data import PoseFormerRows
from h36m_toolbox.mpi_inf_3dhp.annotations import TestAnnotations
from h36m_toolbox.mpi_inf_3dhp.crops import crop_affines, crop_camera_of_test_set, crop_coordinates, crop_image
from h36m_toolbox.mpi_inf_3dhp.frames import frame_path
from h36m_toolbox.mpi_inf_3dhp.person_views import check_frames, read_frame
from h36m_toolbox.mpi_inf_3dhp.sequences import image_size
from h36m_toolbox.skeletons import MPI_INF_3DHP_17

_PELVIS = MPI_INF_3DHP_17.joints.index(MPI_INF_3DHP_17.root)


class TestCrops:
    """The valid frames of all sequences, one after the other: rows, and their crops when they are asked for.

    Crops come from those that `h36m extract --crop poseformer` has put into DATA, which are compressed twice, as
    officially, or are cut from whole frames. Raises H36MError, with the command that makes them, for missing frames.
    """

    __test__ = False

    def __init__(self, data: Path, truth: list[TestAnnotations], stored: bool = True) -> None:
        check_frames(data, "crops" if stored else "images", truth)
        self._data, self._stored = data, stored
        self._places = [
            (sequence.sequence, int(frame)) for sequence in truth for frame in np.flatnonzero(sequence.valid)
        ]
        self._affines = np.concatenate([_affines(sequence) for sequence in truth])
        self.rows = rows_of_test_set(truth)

    def crop(self, key: int, box: np.ndarray) -> np.ndarray:
        """(256, 192, 3) uint8 RGB of a row; H36MError where its file is damaged or of another size."""
        sequence, frame = self._places[key]
        if self._stored:
            found = read_frame(frame_path(self._data, "crops", sequence, frame), POSEFORMER_SIZE)
        else:
            whole = read_frame(frame_path(self._data, "images", sequence, frame), image_size(sequence))
            found = crop_image(whole, self._affines[key])
        return np.ascontiguousarray(found[..., ::-1])


def without_root(poses: np.ndarray) -> np.ndarray:
    """Poses (rows, 17, 3) with the predicted pelvis set to 0, as officially at test time."""
    changed = poses.copy()
    changed[:, _PELVIS] = 0
    return changed


def _affines(sequence: TestAnnotations) -> np.ndarray:
    return crop_affines(crop_camera_of_test_set(sequence.sequence), sequence.universal[sequence.valid])


def rows_of_test_set(truth: list[TestAnnotations]) -> PoseFormerRows:
    """The valid frames of all sequences, one after the other, keyed by their place; targets in mm."""
    screen, crops, targets, boxes = [], [], [], []
    for sequence in truth:
        affine, pixels = _affines(sequence), sequence.image[sequence.valid]
        screen.append(screen_normalised_float32(pixels.astype(np.float32), *image_size(sequence.sequence)))
        crops.append(crop_coordinates(affine, pixels))
        targets.append(sequence.universal[sequence.valid] - sequence.universal[sequence.valid][:, [_PELVIS]])
        low = -affine[..., 2] / affine[:, [0], [0]]
        boxes.append(np.concatenate([low, low + np.array(POSEFORMER_SIZE) / affine[:, [0], [0]]], axis=1))
    return PoseFormerRows(
        keys=np.arange(sum(map(len, targets))),
        boxes=np.concatenate(boxes),
        joints_2d=np.concatenate(screen).astype(np.float32),
        joints_crop=np.concatenate(crops).astype(np.float32),
        targets=np.concatenate(targets).astype(np.float32),
    )

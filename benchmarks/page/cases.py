"""The frames that a report shows: where a run is worst, and what it usually does; as pictures and for turning in 3D."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import simplejpeg

from h36m_toolbox.benchmarks.evaluator import TARGET_COLUMN, ruled_poses
from h36m_toolbox.benchmarks.frame_scores import PER_FRAME, SequenceScores
from h36m_toolbox.benchmarks.pictures.drawing import PAPER, VIVID, Paint, draw_pose_2d, spectator
from h36m_toolbox.benchmarks.pictures.frames import frames_of_data
from h36m_toolbox.benchmarks.pictures.panels import window_of
from h36m_toolbox.benchmarks.predictions import PREDICTION_COLUMN, Predictions
from h36m_toolbox.benchmarks.protocols import Protocol
from h36m_toolbox.cameras import Camera, h36m_camera
from h36m_toolbox.pose_tables import pose_array, pose_field, row_keys, sequence_code
from h36m_toolbox.sequences import Recording, Sequence
from h36m_toolbox.skeletons import SKELETONS, Skeleton, skeleton_of

WORST, MEDIAN = 4, 4  # at most so many cases of each kind
PICTURE_PX, SCENE_PX = 420, 300
_JPEG_QUALITY = 82
_SLACK_PX = 2  # two cameras' videos are 1002 px high, the other two's 1000
_MIN_EXTENT_MM, _MAX_EXTENT_MM = 1500, 3000
_TURN_DEGREES = 50  # errors in depth show from the side
_FLOOR_MM, _GRID_MM = 800, 400
_GHOST = Paint(left=(166, 206, 232), right=(250, 205, 150), middle=(196, 196, 202), edge=(255, 255, 255))


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Case:
    """One scored frame: both poses as the protocol compares them, put at the subject's place in the camera's frame."""

    sequence: Sequence
    frame: int
    worst: bool  # or of median error
    error_mm: float
    aligned_mm: float  # after the protocol's alignment; NaN without one
    joint_errors_mm: np.ndarray  # (joints,)
    skeleton: Skeleton
    root: np.ndarray  # (3,), the true root, mm
    target: np.ndarray  # (joints, 3), mm
    predicted: np.ndarray  # (joints, 3), mm

    @property
    def camera(self) -> Camera:
        """The calibrated camera that saw it."""
        return h36m_camera(self.sequence.subject, self.sequence.camera)

    @property
    def worst_joint(self) -> str:
        """The joint with the largest error."""
        return self.skeleton.joints[int(self.joint_errors_mm.argmax())]


@dataclass(frozen=True, eq=False)
class Scene3D:
    """Poses (joints, 3) in mm in a world whose z is up and whose floor, lines (n, 2, 3), is at z = 0; and a `view`."""

    target: np.ndarray
    predicted: np.ndarray
    bones: tuple[tuple[int, int, str], ...]  # (parent, child, side)
    floor: np.ndarray
    view: Camera  # of SCENE_PX x SCENE_PX px


def cases_of(
    scores: Items[SequenceScores], predictions: Predictions, labels: pa.Table, protocol: Protocol
) -> tuple[Case, ...]:
    """The worst frames, then those nearest to the median, by MPJPE; of each kind no two of one recording."""
    median = float(np.median(np.concatenate([score.values[0] for score in scores])))
    worst = _chosen(scores, lambda errors: errors, WORST)
    usual = _chosen(scores, lambda errors: -np.abs(errors - median), MEDIAN)
    label_keys, predicted_keys = row_keys(labels), row_keys(predictions.table)
    target_skeleton = pose_field(labels.schema, TARGET_COLUMN).skeleton
    cases = []
    for is_worst, (score, place) in [*((True, one) for one in worst), *((False, one) for one in usual)]:
        key = sequence_code(score.sequence) << 32 | int(score.numbers[place])
        target = _pose_at(labels, TARGET_COLUMN, label_keys, key)
        predicted = _pose_at(predictions.table, PREDICTION_COLUMN, predicted_keys, key)
        root = target_skeleton.select(target[0], (protocol.root_joint,))[0]
        shift = 0 if protocol.needs_absolute else root
        cases.append(
            Case(
                sequence=score.sequence,
                frame=int(score.numbers[place]),
                worst=is_worst,
                error_mm=float(score.values[PER_FRAME.index("mpjpe"), place]),
                aligned_mm=float(score.values[PER_FRAME.index("p_mpjpe"), place]),
                joint_errors_mm=score.joints[0, :, place].copy(),  # a view would keep the whole sequence
                skeleton=_skeleton_over(protocol.joints),
                root=root,
                target=ruled_poses(target, target_skeleton, protocol, protocol.target_root)[0] + shift,
                predicted=ruled_poses(predicted, predictions.skeleton, protocol, protocol.predicted_root)[0] + shift,
            )
        )
    return tuple(cases)


def picture(case: Case, data: Path) -> tuple[bytes, bool]:
    """A JPEG of the frame around the subject with both poses over it, and whether DATA has the frame.

    Where it has not, or not in the camera's size, the poses are on plain ground. Raises H36MError for a damaged image.
    """
    camera = case.camera
    source = frames_of_data(data, case.sequence)
    image = next(source.read([case.frame]))
    fits = image is not None and np.abs(np.subtract(image.shape[1::-1], camera.size)).max() <= _SLACK_PX
    project = camera.project_linear if source.undistorted else camera.project
    target, predicted = (_in_front(project, pose) for pose in (case.target, case.predicted))
    window = window_of(target[np.isfinite(target).all(axis=1)], camera, PICTURE_PX, full_frame=False)
    panel = np.full((PICTURE_PX, PICTURE_PX, 3), PAPER, np.uint8)
    if image is not None and fits:
        window.paste(panel, image)
    draw_pose_2d(panel, window.placed(target), case.skeleton, _GHOST)
    draw_pose_2d(panel, window.placed(predicted), case.skeleton, VIVID)
    return simplejpeg.encode_jpeg(panel, _JPEG_QUALITY, colorsubsampling="420"), bool(fits)


def scene(case: Case) -> Scene3D:
    """Both poses above the middle of a floor, seen from the filming camera's side, turned by 50 degrees."""
    camera = case.camera
    below = camera.camera_to_world(case.root) * (1, 1, 0)
    target, predicted = (camera.camera_to_world(pose) - below for pose in (case.target, case.predicted))
    both = np.concatenate([target, predicted])
    reach = max(both[:, 2].max(), 2 * np.abs(both[:, :2]).max())
    extent = float(np.clip(reach, _MIN_EXTENT_MM, _MAX_EXTENT_MM))
    bones = tuple((parent, child, _side(case.skeleton, child)) for parent, child in case.skeleton.bones)
    return Scene3D(target, predicted, bones, _floor(), spectator(camera, _TURN_DEGREES, extent, SCENE_PX))


def _skeleton_over(joints: tuple[str, ...]) -> Skeleton:
    """The bones of the known skeleton that has these joints, whatever their order."""
    known = next((one for one in SKELETONS.values() if set(one.joints) == set(joints)), None) or skeleton_of(joints)
    order = [known.joints.index(joint) for joint in joints]
    parents = tuple(order.index(known.parents[joint]) if known.parents[joint] >= 0 else -1 for joint in order)
    return Skeleton(known.name, joints, parents, known.mirror_pairs)


def _chosen(
    scores: Items[SequenceScores], rank: Callable[[np.ndarray], np.ndarray], count: int
) -> list[tuple[SequenceScores, int]]:
    """The sequences, one a recording, whose best frame ranks highest, with its place."""
    best = []
    for score in scores:
        if score.frames:
            ranks = rank(score.values[0])
            place = int(ranks.argmax())
            best.append((float(ranks[place]), score, place))
    best.sort(key=lambda found: -found[0])
    seen: dict[Recording, tuple[SequenceScores, int]] = {}
    for _, score, place in best:
        seen.setdefault(score.sequence.recording, (score, place))
    return list(seen.values())[:count]


def _pose_at(table: pa.Table, column: str, keys: np.ndarray, key: int) -> np.ndarray:
    """The pose (1, joints, 3) in the first row of this key, float64."""
    return pose_array(table.slice(int((keys == key).argmax()), 1), column).astype(np.float64)


def _in_front(project: Callable[[np.ndarray], np.ndarray], pose: np.ndarray) -> np.ndarray:
    """Pixels (joints, 2) of a pose in the camera's frame; NaN behind the camera, where nothing is to be drawn."""
    return project(np.where(pose[:, 2:] > 0, pose, np.nan))


def _side(skeleton: Skeleton, joint: int) -> str:
    return "left" if joint in skeleton.left else "right" if joint in skeleton.right else "middle"


def _floor() -> np.ndarray:
    places = range(-_FLOOR_MM, _FLOOR_MM + 1, _GRID_MM)
    along = [[[at, -_FLOOR_MM, 0], [at, _FLOOR_MM, 0]] for at in places]
    return np.array(along + [[[-_FLOOR_MM, at, 0], [_FLOOR_MM, at, 0]] for at in places], float)

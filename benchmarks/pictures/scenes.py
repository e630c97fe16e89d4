"""What is to be drawn: a recording's labelled poses as one or several cameras see them, and a model's predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from h36m_toolbox.benchmarks import metrics
from h36m_toolbox.benchmarks.predictions import PREDICTION_COLUMN, Predictions, read_predictions
from h36m_toolbox.cameras import Camera, h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.labels import label_sequences, labels_path
from h36m_toolbox.pose_tables import pose_array, sequence_code, sequence_codes, sequence_of_code
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, SPLITS, Recording, Sequence
from h36m_toolbox.skeletons import H36M_17, Skeleton

_COLUMNS = ["joints_2d", "joints_3d_world"]
_NAMED = 8  # sequences that a message lists


@dataclass(frozen=True)
class Selection:
    """Which frames: the first `skip` left out, then every `downsample`-th, at most `limit` of them; or `only` one."""

    skip: int = 0
    downsample: int = 1
    limit: int | None = None
    only: int | None = None

    def of(self, frames: np.ndarray) -> np.ndarray:
        """The selected ones of these frame numbers (n,), ascending."""
        if self.only is not None:
            return frames[frames == self.only]
        return frames[self.skip :: self.downsample][: self.limit]


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Predicted:
    """A model's poses for the frames of a scene."""

    model: str
    skeleton: Skeleton
    poses: np.ndarray  # (views, frames, joints, 3), mm, pelvis at the origin, axes of the world
    errors_mm: np.ndarray  # (views, frames), mean distance of common joints, pelvis on pelvis


@dataclass(frozen=True, eq=False)
class Scene:
    """Poses of the selected frames of one recording, 17 joints of `skeletons.H36M_17`."""

    sequences: tuple[Sequence, ...]
    cameras: tuple[Camera, ...]
    frames: np.ndarray  # (frames,), from 0
    pixels: np.ndarray  # (views, frames, 17, 2), px
    world: np.ndarray  # (frames, 17, 3), mm
    predicted: Predicted | None

    @property
    def recording(self) -> Recording:
        """What was recorded, whatever the camera."""
        return self.sequences[0].recording


def read_scene(
    data: Path, recording: Recording, cameras: tuple[str, ...], selection: Selection, predictions: Path | None = None
) -> Scene:
    """The selected frames of a recording from the label table of DATA, with those of a predictions file.

    With several cameras, frames that every view has; with predictions, frames that are predicted. Raises H36MError for
    a recording or camera that the data set or the table does not have, a missing or damaged file, predictions of other
    sequences or of joints that the labels lack, and a selection without a frame.
    """
    sequences = tuple(_checked(recording.view(camera)) for camera in cameras)
    views = [h36m_camera(sequence.subject, sequence.camera) for sequence in sequences]
    tables = _label_tables(data, sequences)
    frames = _common([table.column("frame").to_numpy() for table in tables])
    made = read_predictions(predictions) if predictions else None
    found = [_rows_of(made, sequence) for sequence in sequences] if made else []
    frames = _common([frames, *(table.column("frame").to_numpy() for table in found)])
    place = f"{predictions or data}: {recording_name(recording)}"
    if not len(frames):
        raise H36MError(f"{place} has no frame that is labelled in every view asked for and predicted")
    selected = selection.of(frames)
    if not len(selected):
        left = f"frame {selection.only}" if selection.only is not None else f"frame after the first {selection.skip}"
        raise H36MError(f"{place} has no {left}; it has {len(frames)}, from {frames[0]} to {frames[-1]}")
    frames = selected
    world = _poses_at(tables[0], "joints_3d_world", frames)
    return Scene(
        sequences,
        tuple(views),
        frames,
        np.stack([_poses_at(table, "joints_2d", frames) for table in tables]),
        world,
        _predicted(made, found, views, frames, world) if made else None,
    )


def recording_name(recording: Recording) -> str:
    """A recording in words: "S9 Walking 1"."""
    return f"{recording.subject} {recording.action} {recording.subaction}"


def _checked(sequence: Sequence) -> Sequence:
    if sequence.action not in ACTIONS:
        raise H36MError(f"Human3.6M has no action {sequence.action}; actions are {', '.join(ACTIONS)}")
    if sequence.camera not in CAMERA_IDS:
        raise H36MError(f"Human3.6M has no camera {sequence.camera}; cameras are {', '.join(CAMERA_IDS)}")
    return sequence


def _label_tables(data: Path, wanted: tuple[Sequence, ...]) -> list[pa.Table]:
    subject = wanted[0].subject
    split = next((name for name, subjects in SPLITS.items() if subject in subjects), None)
    if split is None:
        raise H36MError(f"Human3.6M has no poses of {subject}; subjects are {', '.join(sum(SPLITS.values(), ()))}")
    found: dict[Sequence, pa.Table] = {}
    seen: list[Sequence] = []
    for sequence, table in label_sequences(data, split, _COLUMNS):
        seen.append(sequence)
        if sequence in wanted:
            found[sequence] = table
            if len(found) == len(wanted):
                break
    for sequence in wanted:
        if sequence not in found:
            of_subject = [other for other in seen if other.subject == subject]
            names = [f"{recording_name(other.recording)} {other.camera}" for other in of_subject or seen]
            raise H36MError(f"{labels_path(data, split)}: no labels of {sequence}; it has {_listed(names) or 'none'}")
    return [found[sequence] for sequence in wanted]


def _rows_of(predictions: Predictions, sequence: Sequence) -> pa.Table:
    codes = sequence_codes(predictions.table)
    mine = np.flatnonzero(codes == sequence_code(sequence))
    if not len(mine):
        names = [str(sequence_of_code(int(code))) for code in np.unique(codes)]
        raise H36MError(f"{predictions.path}: no prediction of {sequence}; it has {_listed(names)}")
    return predictions.table.take(mine)


def _listed(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _common(numbers: list[np.ndarray]) -> np.ndarray:
    common = np.unique(numbers[0])
    for other in numbers[1:]:
        common = np.intersect1d(common, other)
    return common


def _poses_at(table: pa.Table, column: str, frames: np.ndarray) -> np.ndarray:
    numbers = table.column("frame").to_numpy()
    order = np.argsort(numbers, kind="stable")
    rows = order[np.searchsorted(numbers[order], frames)]
    return pose_array(table, column)[rows].astype(np.float64)


def _predicted(
    made: Predictions, tables: list[pa.Table], cameras: list[Camera], frames: np.ndarray, world: np.ndarray
) -> Predicted:
    skeleton = made.skeleton
    common = tuple(joint for joint in skeleton.joints if joint in H36M_17.joints)
    if not {"LHip", "RHip"} <= set(common):
        raise H36MError(
            f"{made.path}: poses of {skeleton.name} have no hips, so they cannot be placed on the true ones"
        )
    in_camera = np.stack([_poses_at(table, PREDICTION_COLUMN, frames) for table in tables])
    relative = in_camera - _pelvis(in_camera, skeleton)
    poses = np.stack([view @ camera.rotation for view, camera in zip(relative, cameras, strict=True)])
    target = H36M_17.select(world - _pelvis(world, H36M_17, "Hip" in common), common)
    errors = metrics.mpjpe(skeleton.select(poses, common), np.broadcast_to(target, (len(cameras), *target.shape)))
    return Predicted(made.provenance.model, skeleton, poses, errors)


def _pelvis(poses: np.ndarray, skeleton: Skeleton, is_joint: bool = True) -> np.ndarray:
    """The pelvis (..., 1, 3), or halfway between the hips where it is no joint."""
    if is_joint and "Hip" in skeleton.joints:
        return skeleton.select(poses, ("Hip",))
    return skeleton.select(poses, ("LHip", "RHip")).mean(axis=-2, keepdims=True)

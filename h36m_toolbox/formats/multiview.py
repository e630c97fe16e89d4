"""Learnable triangulation's labels, which ContextPose reads too: boxes of every mask, and a table of instants.

`DATA/labels/multiview/bboxes-Human36M-GT.npy` and `human36m-multiview-labels-GTbboxes.npy`. Format: dataprep facts as
observed in karfly/learnable-triangulation-pytorch, mvn/datasets/human36m_preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.h36m_fetch import video_problem
from h36m_toolbox.frames.crops import squared_boxes
from h36m_toolbox.jobs import map_in_order
from h36m_toolbox.poses import PoseFiles, SequencePoses
from h36m_toolbox.raw.archive import Kind, RawArchive
from h36m_toolbox.raw.masks import read_mask_boxes
from h36m_toolbox.selection import TEST_STEP, kept_by_h36m_fetch
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, SUBACTIONS, SUBJECTS, Recording, Sequence
from h36m_toolbox.skeletons import H36M_32, MULTIVIEW_17
from h36m_toolbox.storage.pickle_stream import write_object_npy

BOXES_NAME = "bboxes-Human36M-GT.npy"
LABELS_NAME = "human36m-multiview-labels-GTbboxes.npy"

ACTION_NAMES = tuple(f"{action}-{subaction}" for action in ACTIONS for subaction in SUBACTIONS)

CAMERA_DTYPE = np.dtype(
    [("R", np.float32, (3, 3)), ("t", np.float32, (3, 1)), ("K", np.float32, (3, 3)), ("dist", np.float32, (5,))]
)
ROW_DTYPE = np.dtype(
    [
        ("subject_idx", np.int8),
        ("action_idx", np.int8),
        ("frame_idx", np.int16),  # from 0
        ("keypoints", np.float32, (len(MULTIVIEW_17), 3)),  # world, mm
        ("bbox_by_camera_tlbr", np.int16, (len(CAMERA_IDS), 4)),  # top, left, bottom, right; all 0: no such view
    ]
)


def label_table_path(data: Path) -> Path:
    """Where `h36m labels --format multiview` writes the label table."""
    return data / "labels" / "multiview" / LABELS_NAME


def camera_array() -> np.ndarray:
    """The calibration (subjects, cameras) of `CAMERA_DTYPE`: x_camera = R x_world + t, mm; dist is k1 k2 p1 p2 k3."""
    array = np.zeros((len(SUBJECTS), len(CAMERA_IDS)), CAMERA_DTYPE)
    for i, subject in enumerate(SUBJECTS):
        for j, name in enumerate(CAMERA_IDS):
            camera = h36m_camera(subject, name)
            array["R"][i, j] = camera.rotation
            array["t"][i, j] = -array["R"][i, j] @ camera.center[:, None]  # R as rounded: equal to the last bit
            array["K"][i, j] = camera.intrinsics
            array["dist"][i, j] = [*camera.radial[:2], *camera.tangential, camera.radial[2]]
    return array


@dataclass(frozen=True)
class MultiviewReport:
    """What one of the two files holds: rows are boxes or instants, sequences the views with a box.

    `missing`: views that have boxes for none or only some of a recording's instants, and why.
    """

    path: Path
    sequences: int
    rows: int
    missing: dict[str, str]
    damaged: tuple[str, ...]

    def differences(self) -> list[str]:
        """One line for each view without a box."""
        return [f"{name}: {why}" for name, why in self.missing.items()]


@dataclass(frozen=True)
class _Job:
    recording: Recording
    files: tuple[PoseFiles, ...]
    masks: dict[str, Path]  # by camera


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class RecordingLabels:
    """What one recording adds to the two files, and what it lacks."""

    recording: Recording
    boxes: dict[str, np.ndarray]  # camera -> (masks, 4), top left bottom right, px int32
    rows: np.ndarray  # (instants,) ROW_DTYPE
    missing: dict[str, str]  # view -> why it has no box
    damaged_masks: tuple[str, ...]
    damaged_poses: tuple[str, ...]


def write_multiview(
    archive: RawArchive,
    files: list[PoseFiles],
    data: Path,
    test_step: int = TEST_STEP,
    jobs: int = 1,
    progress: Callable[[Sequence], None] | None = None,
) -> dict[str, MultiviewReport]:
    """Write both files below `DATA/labels/multiview`; their reports by "boxes" and "labels".

    An instant is a row: those that h36m-fetch keeps (test subjects: every `test_step`-th frame) in the recording's
    first view. As in the official scripts a view is missing, its box all 0, where h36m-fetch fails on it: its pose
    files differ in length, or its video is unreadable or ends before a selected frame, as far as `DATA/images` tells.
    Archives of masks are unpacked below `DATA/raw`. Raises H36MError where a subject has no masks and for a `test_step`
    below 1.
    """
    if test_step < 1:
        raise H36MError(f"the step between test frames must be 1 or more; got {test_step}")
    work = _jobs(archive, files, data)
    boxes: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    tables = [np.zeros(0, ROW_DTYPE)]
    missing: dict[str, str] = {}
    damaged_masks: list[str] = []
    damaged_poses: list[str] = []
    for labels in map_in_order(partial(_labels_of_job, data, test_step), work, jobs):
        if labels.boxes:
            boxes.setdefault(labels.recording.subject, {})[_action_name(labels.recording)] = labels.boxes
        tables.append(labels.rows)
        missing.update(labels.missing)
        damaged_masks.extend(labels.damaged_masks)
        damaged_poses.extend(labels.damaged_poses)
        if progress:
            for view in labels.recording.views:
                progress(view)
    table = np.concatenate(tables)
    folder = data / "labels" / "multiview"
    write_object_npy(folder / BOXES_NAME, boxes)
    write_object_npy(folder / LABELS_NAME, _labels_file(table))
    counts = [len(rows) for actions in boxes.values() for views in actions.values() for rows in views.values()]
    views_with_box = sum(int((rows["bbox_by_camera_tlbr"] != 0).any(axis=(0, 2)).sum()) for rows in tables)
    return {
        "boxes": MultiviewReport(folder / BOXES_NAME, len(counts), sum(counts), {}, tuple(damaged_masks)),
        "labels": MultiviewReport(folder / LABELS_NAME, views_with_box, len(table), missing, tuple(damaged_poses)),
    }


def _labels_file(table: np.ndarray) -> dict[str, object]:
    return {
        "subject_names": list(SUBJECTS),
        "camera_names": list(CAMERA_IDS),
        "action_names": list(ACTION_NAMES),
        "cameras": camera_array(),
        "table": table,
    }


def _action_name(recording: Recording) -> str:
    return f"{recording.action}-{recording.subaction}"


def _jobs(archive: RawArchive, files: list[PoseFiles], data: Path) -> list[_Job]:
    subjects = tuple(dict.fromkeys(item.sequence.subject for item in files))
    archive = archive.unpacked((Kind.MASK,), data / "raw", subjects)
    by_recording: dict[Recording, list[PoseFiles]] = {}
    for item in files:
        by_recording.setdefault(item.sequence.recording, []).append(item)
    work = [
        _Job(
            recording,
            tuple(items),
            {view.camera: archive.path(view, Kind.MASK) for view in recording.views if archive.has(view, Kind.MASK)},
        )
        for recording, items in by_recording.items()
    ]
    with_masks = {job.recording.subject for job in work if job.masks}
    lacking = [f"{Kind.MASK.archive_name}_{subject}.tgz" for subject in subjects if subject not in with_masks]
    if lacking:
        raise H36MError(
            f"{archive.root}: no segment masks ({Kind.MASK.archive_name}_S*.tgz), from which multiview takes its "
            f"boxes; get {', '.join(lacking)} from the official site"
        )
    return work


def _labels_of_job(data: Path, test_step: int, job: _Job) -> RecordingLabels:
    boxes: dict[str, np.ndarray] = {}
    damaged_masks, damaged_poses = [], []
    for camera, path in job.masks.items():
        try:
            boxes[camera] = read_mask_boxes(path)
        except H36MError as error:
            damaged_masks.append(str(error))
    views: list[SequencePoses] = []
    missing: dict[str, str] = {}
    for files in job.files:
        try:
            poses = files.read()
        except H36MError as error:
            damaged_poses.append(str(error))
            continue
        reason = _why_missing(poses, data, test_step)
        if reason:
            missing[str(files.sequence)] = reason
        else:
            views.append(poses)
    rows = recording_rows(views, boxes, test_step)
    lost = len(_kept_frames(views[0], test_step)) - len(rows) if views else 0
    if lost:
        name = f"{job.recording.subject}/{job.recording.stem}"
        missing[name] = f"{lost} instants left out, the world poses end at {len(views[0].world)} frames"
    for poses in views:
        without = np.count_nonzero(~rows["bbox_by_camera_tlbr"][:, poses.sequence.camera_index].any(axis=1))
        if without:
            missing[str(poses.sequence)] = f"{without} of {len(rows)} instants without a mask, their box is 0 0 0 0"
    return RecordingLabels(job.recording, boxes, rows, missing, tuple(damaged_masks), tuple(damaged_poses))


def _why_missing(poses: SequencePoses, data: Path, test_step: int) -> str:
    """Why h36m-fetch fails on a view; "" where it does not."""
    lengths = {name: poses.lengths[name] for name in ("universal", "camera", "image")}
    if len(set(lengths.values())) > 1:
        return f"missing view, its pose files differ in length: {', '.join(f'{k} {n}' for k, n in lengths.items())}"
    kept = _kept_frames(poses, test_step)
    problem = video_problem(data, poses.sequence, int(kept[-1])) if len(kept) else "it has no poses"
    return f"missing view, {problem}" if problem else ""


def _kept_frames(poses: SequencePoses, test_step: int) -> np.ndarray:
    return np.flatnonzero(kept_by_h36m_fetch(poses.sequence.subject, poses.universal_poses(), test_step))


def recording_rows(views: list[SequencePoses], boxes: dict[str, np.ndarray], test_step: int = TEST_STEP) -> np.ndarray:
    """The rows (instants,) of `ROW_DTYPE` of one recording from its views and their boxes (masks, 4) by camera."""
    if not views:
        return np.zeros(0, ROW_DTYPE)
    first = views[0]
    kept = _kept_frames(first, test_step)
    kept = kept[kept < len(first.world)]
    rows = np.zeros(len(kept), ROW_DTYPE)
    rows["subject_idx"] = SUBJECTS.index(first.sequence.subject)
    rows["action_idx"] = ACTION_NAMES.index(_action_name(first.sequence.recording))
    rows["frame_idx"] = kept
    rows["keypoints"] = H36M_32.select(first.world[kept], MULTIVIEW_17.joints)
    for view in views:
        of_view = boxes.get(view.sequence.camera, np.zeros((0, 4), np.int32))
        framed = kept[kept < len(of_view)]
        rows["bbox_by_camera_tlbr"][: len(framed), view.sequence.camera_index] = squared_boxes(of_view[framed])
    return rows

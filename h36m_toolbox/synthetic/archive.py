"""A synthetic Human3.6M in the original's own files and folders, as `tar -x` of the official archives leaves them.

Invented motion, filmed by the data set's real cameras: for trying `h36m` without the licence, for tests, and for
measuring speed at full size. What the files hold is said at `write_synthetic_archive`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.jobs import map_in_order
from h36m_toolbox.known_bad import S11_DIRECTIONS, UNREADABLE_VIDEOS
from h36m_toolbox.raw.cdf import write_pose_cdf
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, SUBACTIONS, SUBJECTS, Recording, Sequence, recordings
from h36m_toolbox.synthetic.detections import (
    CPN,
    CPN_FILE,
    HOURGLASS,
    HOURGLASS_FILE,
    add_hourglass,
    detected,
    hourglass_tar,
    write_cpn,
)
from h36m_toolbox.synthetic.masks import write_synthetic_masks
from h36m_toolbox.synthetic.motion import poses_in_camera, synthetic_motion
from h36m_toolbox.synthetic.video import write_synthetic_video

# In the real set cameras 1 and 4 film one or two frames longer than there are poses, cameras 2 and 3 a few more.
_EXTRA_FRAMES = dict(zip(CAMERA_IDS, (1, 3, 4, 2), strict=True))


@dataclass(frozen=True)
class SyntheticPlan:
    """What to invent. `frames` poses a recording; None takes the data set's own lengths, of poses and of videos."""

    subjects: tuple[str, ...]
    actions: tuple[str, ...]
    subactions: tuple[int, ...] = SUBACTIONS
    cameras: tuple[str, ...] = CAMERA_IDS
    frames: int | None = None
    videos: bool = True
    detections: bool = True
    masks: bool = False
    seed: int = 0

    @property
    def recordings(self) -> list[Recording]:
        """The recordings of the plan, in H36M-Toolbox's loop order."""
        return recordings(self.subjects, self.actions, self.subactions)

    def pose_frames(self, recording: Recording) -> int:
        """Poses of one recording."""
        return recording.pose_frames if self.frames is None else self.frames

    def video_frames(self, sequence: Sequence) -> int:
        """Frames of one view's video and CPN detections; more than its poses."""
        return sequence.video_frames if self.frames is None else self.frames + _EXTRA_FRAMES[sequence.camera]


@dataclass(frozen=True)
class SyntheticReport:
    """What `write_synthetic_archive` wrote."""

    root: Path
    recordings: int
    poses: int  # over all views
    videos: int
    video_frames: int
    files: int
    size_bytes: int


# Every action, so that no protocol finds one missing; short, so that filming takes half a minute on two cores.
DEMO_PLAN = SyntheticPlan(subjects=("S1", "S9", "S11"), actions=ACTIONS, frames=12, masks=True)


def full_size_plan(detections: bool = False) -> SyntheticPlan:
    """All 7 subjects and 30 recordings at the real lengths: 2,110,396 poses over the views, no videos."""
    return SyntheticPlan(SUBJECTS, ACTIONS, frames=None, videos=False, detections=detections)


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class _Written:
    """One recording's files, and its detections by view, which go into files that many recordings share."""

    files: tuple[Path, ...]
    cpn: tuple[np.ndarray, ...]
    hourglass: tuple[np.ndarray, ...]


def plan_of_size(size: str, **changes: Any) -> SyntheticPlan:
    """The plan called "demo" or "full" with fields of SyntheticPlan changed; an H36MError for any other name."""
    plans = {"demo": DEMO_PLAN, "full": full_size_plan()}
    if size not in plans:
        raise H36MError(f"no synthetic archive of size {size}; sizes are {', '.join(plans)}")
    return replace(plans[size], **changes)


def write_synthetic_archive(
    root: Path, plan: SyntheticPlan, jobs: int = 1, progress: Callable[[Recording], None] | None = None
) -> SyntheticReport:
    """Write a synthetic archive below `root`, on `jobs` processes; `progress` is called after each recording.

    Below `root/S1/MyPoseFeatures`, CDF files, float32, 32 joints: `D3_Positions/<stem>.cdf` (world, mm), and by camera
    `D3_Positions_mono` (camera frame, mm), `D3_Positions_mono_universal` (camera frame, common bone lengths, mm),
    `D2_Positions` (px, lens distortion included). `root/S1/Videos/<stem>.<camera>.mp4` where the plan wants videos,
    `root/S1/MySegmentsMat/ground_truth_bb/<stem>.<camera>.mat` where it wants masks.
    `root/detections` holds CPN and stacked-hourglass detections of all four cameras where it wants detections; those of
    CPN are kept in memory until the end (300 MB at full size).

    The same plan gives the same bytes whatever `jobs` (with the same versions of PyAV, zlib and HDF5). An interrupted
    run can be run again: every file arrives whole, and files that are there are written again. Raises H36MError for a
    plan with a recording or camera that the data set does not have, no frames, or for a `root` that is a file.
    """
    _check(root, plan, jobs)
    folder = root / "detections"
    positions: dict[str, dict[str, list[np.ndarray]]] = {subject: {} for subject in plan.subjects}
    files: list[Path] = []
    with ExitStack() as stack:
        tar = stack.enter_context(hourglass_tar(folder / HOURGLASS_FILE)) if plan.detections else None
        results = map_in_order(partial(_write_recording, root, plan), plan.recordings, jobs)
        for recording, written in zip(plan.recordings, results, strict=True):
            files += written.files
            if tar is not None:
                for view, poses in zip(recording.views, written.hourglass, strict=True):
                    if view not in UNREADABLE_VIDEOS:
                        add_hourglass(tar, view, poses)
                if recording != S11_DIRECTIONS:
                    positions[recording.subject][recording.canonical_name] = list(written.cpn)
            if progress is not None:
                progress(recording)
    if plan.detections:
        write_cpn(folder / CPN_FILE, positions)
        files += [folder / HOURGLASS_FILE, folder / CPN_FILE]
    views = [recording.view(camera) for recording in plan.recordings for camera in plan.cameras]
    return SyntheticReport(
        root=root,
        recordings=len(plan.recordings),
        poses=sum(plan.pose_frames(view.recording) for view in views),
        videos=len(views) if plan.videos else 0,
        video_frames=sum(plan.video_frames(view) for view in views) if plan.videos else 0,
        files=len(files),
        size_bytes=sum(path.stat().st_size for path in files),
    )


def _check(root: Path, plan: SyntheticPlan, jobs: int) -> None:
    if root.exists() and not root.is_dir():
        raise H36MError(f"{root}: is a file; name a folder to write the synthetic archive to")
    if jobs < 1:
        raise H36MError(f"jobs is {jobs}; it must be 1 or more")
    if plan.frames is not None and plan.frames < 1:
        raise H36MError(
            f"the plan has {plan.frames} frames a recording; it needs 1 or more, or None for the real lengths"
        )
    if not plan.recordings or not plan.cameras:
        raise H36MError("the plan is empty: it needs at least one subject, action, sub-action and camera")
    without_poses = [subject for subject in plan.subjects if subject not in SUBJECTS]
    if without_poses:
        raise H36MError(
            f"Human3.6M has no poses of {', '.join(without_poses)}; subjects with poses are {', '.join(SUBJECTS)}"
        )
    for subject, camera in product(plan.subjects, plan.cameras):
        h36m_camera(subject, camera)
    for recording in plan.recordings:
        _ = recording.stem  # an H36MError where the data set has no such recording


def _write_recording(root: Path, plan: SyntheticPlan, recording: Recording) -> _Written:
    stem = recording.stem
    features, videos = root / recording.subject / "MyPoseFeatures", root / recording.subject / "Videos"
    masks = root / recording.subject / "MySegmentsMat" / "ground_truth_bb"
    motion = synthetic_motion(recording, plan.pose_frames(recording), plan.seed)
    arrays = {features / "D3_Positions" / f"{stem}.cdf": motion.world}
    cpn, hourglass, films = [], [], []
    for view in recording.views:
        if view.camera not in plan.cameras and not plan.detections:
            continue
        poses = poses_in_camera(motion, h36m_camera(view.subject, view.camera))
        if plan.detections:
            frames = plan.video_frames(view)
            cpn.append(detected(CPN, view, poses.image, frames, plan.seed))
            hourglass.append(detected(HOURGLASS, view, poses.image, frames, plan.seed))
        if view.camera in plan.cameras:
            name = f"{stem}.{view.camera}"
            arrays[features / "D3_Positions_mono" / f"{name}.cdf"] = poses.camera
            arrays[features / "D3_Positions_mono_universal" / f"{name}.cdf"] = poses.universal
            arrays[features / "D2_Positions" / f"{name}.cdf"] = poses.image
            if plan.videos:
                films.append(videos / f"{name}.mp4")
                write_synthetic_video(films[-1], view, motion, plan.video_frames(view))
            if plan.masks:
                films.append(masks / f"{name}.mat")
                size = h36m_camera(view.subject, view.camera).size
                write_synthetic_masks(films[-1], poses.image, plan.video_frames(view), size)
    for path, values in arrays.items():
        write_pose_cdf(path, values)
    return _Written((*arrays, *films), tuple(cpn), tuple(hourglass))

"""h36m-fetch's `processed/S1/Walking-1/annot.h5`: the selected frames of a recording, its views one after the other.

Format: dataprep facts as observed in anibali/h36m-fetch, process_all.py; ContextPose and learnable triangulation read
the same tree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.manifests import read_manifest
from h36m_toolbox.frames.stores import stored_frames
from h36m_toolbox.jobs import map_in_order
from h36m_toolbox.known_bad import UNREADABLE_VIDEOS
from h36m_toolbox.poses import PoseFiles
from h36m_toolbox.selection import TEST_STEP, kept_by_h36m_fetch
from h36m_toolbox.sequences import Recording, Sequence
from h36m_toolbox.storage.hdf5_files import hdf5_written_whole


@dataclass(frozen=True)
class FetchReport:
    """What lies below `path`: `sequences` are views, `rows` their selected frames.

    `skipped`: views left out as h36m-fetch leaves them out, and why. `damaged`: views with an unreadable pose file.
    """

    path: Path
    sequences: int
    rows: int
    skipped: dict[str, str] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()

    def differences(self) -> list[str]:
        """One line for each view that is left out."""
        return [f"{name}: left out, as h36m-fetch leaves it out: {why}" for name, why in self.skipped.items()]


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class ViewAnnotations:
    """What `annot.h5` holds of one view: `frames` (n,) count from 0, 32 joints, float32, mm and px.

    `intrinsics` and `universal_intrinsics` (4,): focal x, centre x, focal y, centre y, px, fitted to every frame.
    """

    sequence: Sequence
    frames: np.ndarray
    image: np.ndarray  # (n, 32, 2)
    camera: np.ndarray  # (n, 32, 3)
    universal: np.ndarray  # (n, 32, 3)
    intrinsics: np.ndarray
    universal_intrinsics: np.ndarray


def fitted_intrinsics(pixels: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Least-squares focal x, centre x, focal y, centre y (4,), px float32, of a pinhole without distortion.

    u Z = fx X + cx Z, and v, Y likewise, over all `pixels` (frames, joints, 2) and camera-frame `points` (frames,
    joints, 3). Not the calibration: lens distortion, and for universal poses another skeleton, go into the fit.
    """
    x, y, z = np.moveaxis(points.reshape(-1, 3).astype(np.float64), -1, 0)
    u, v = np.moveaxis(pixels.reshape(-1, 2).astype(np.float64), -1, 0)
    fits = [
        np.linalg.lstsq(np.stack([across, z], axis=1), measured * z, rcond=None)[0]
        for across, measured in ((x, u), (y, v))
    ]
    return np.concatenate(fits).astype(np.float32)


def write_h36m_fetch(
    files: list[PoseFiles],
    data: Path,
    test_step: int = TEST_STEP,
    jobs: int = 1,
    progress: Callable[[Sequence], None] | None = None,
) -> FetchReport:
    """Write `DATA/labels/h36m-fetch/processed/<subject>/<Action>-<subaction>/annot.h5`, a file a recording.

    Frames are those h36m-fetch selects, test subjects every `test_step`-th. Like there a view is left out whose pose
    files differ in length, or whose video is unreadable or ends before a selected frame, as far as `DATA/images` and
    its manifests tell; no image is needed. Damaged pose files are left out and reported. Raises H36MError for a
    `test_step` below 1.
    """
    if test_step < 1:
        raise H36MError(f"the test subjects' frame step must be 1 or more; got {test_step}")
    work = [tuple(views) for _, views in groupby(files, lambda item: item.sequence.recording)]
    outcomes: list[_Outcome] = []
    for made in map_in_order(partial(_write_recording, data, test_step), work, jobs):
        outcomes += made
        if progress:
            for outcome in made:
                progress(outcome.sequence)
    written = [outcome for outcome in outcomes if outcome.rows]
    return FetchReport(
        processed_folder(data),
        len(written),
        sum(outcome.rows for outcome in written),
        {str(outcome.sequence): outcome.skipped for outcome in outcomes if outcome.skipped},
        tuple(outcome.damage for outcome in outcomes if outcome.damage),
    )


def processed_folder(data: Path) -> Path:
    """Where the tree of annotations lies in a DATA folder."""
    return data / "labels" / "h36m-fetch" / "processed"


@dataclass(frozen=True)
class _Outcome:
    sequence: Sequence
    rows: int = 0
    skipped: str = ""
    damage: str = ""


def _write_recording(data: Path, test_step: int, views: tuple[PoseFiles, ...]) -> list[_Outcome]:
    annotated: list[ViewAnnotations] = []
    outcomes = []
    for files in views:
        made = _annotations(files, data, test_step)
        if isinstance(made, ViewAnnotations):
            annotated.append(made)
            outcomes.append(_Outcome(files.sequence, rows=len(made.frames)))
        else:
            outcomes.append(made)
    recording = views[0].sequence.recording
    path = _annotation_path(data, recording)
    if annotated:
        _write_annotations(path, annotated)
    else:
        path.unlink(missing_ok=True)  # of an earlier run
    return outcomes


def _annotation_path(data: Path, recording: Recording) -> Path:
    return processed_folder(data) / recording.subject / f"{recording.action}-{recording.subaction}" / "annot.h5"


def _annotations(files: PoseFiles, data: Path, test_step: int) -> ViewAnnotations | _Outcome:
    sequence = files.sequence
    try:
        image, camera, universal = files.read_image(), files.read_camera(), files.read_universal()
    except H36MError as error:
        return _Outcome(sequence, damage=str(error))
    lengths = {"D2": len(image), "D3 mono": len(camera), "D3 mono universal": len(universal)}
    if len(set(lengths.values())) > 1:
        unequal = ", ".join(f"{name} {count}" for name, count in lengths.items())
        return _Outcome(sequence, skipped=f"its pose files have different lengths ({unequal})")
    frames = np.flatnonzero(kept_by_h36m_fetch(sequence.subject, universal, test_step))
    if len(frames) == 0:
        return _Outcome(sequence, skipped="it has no poses")
    problem = video_problem(data, sequence, int(frames[-1]))
    if problem:
        return _Outcome(sequence, skipped=problem)
    return ViewAnnotations(
        sequence,
        frames,
        image[frames],
        camera[frames],
        universal[frames],
        fitted_intrinsics(image, camera),
        fitted_intrinsics(image, universal),
    )


def video_problem(data: Path, sequence: Sequence, last: int) -> str:
    """Why h36m-fetch would get no image of frame `last` (from 0), as far as is known; "" if nothing speaks against."""
    manifest = read_manifest(data, sequence)
    if manifest:
        short = manifest.decoded_frames <= last
        return f"its video gives {manifest.decoded_frames} frames, frame {last} is selected" if short else ""
    images = stored_frames(data, sequence)
    if not images and (data / "images" / sequence.folder).is_dir():
        return f"{data / 'images' / sequence.folder} is empty, its video gave no frame"
    if not images and sequence in UNREADABLE_VIDEOS:
        return "its video is unreadable in the official release"
    return ""


def _write_annotations(path: Path, views: list[ViewAnnotations]) -> None:
    sequence = views[0].sequence
    counts = [len(view.frames) for view in views]
    rows = sum(counts)
    with hdf5_written_whole(path) as file:
        file["pose/2d"] = np.concatenate([view.image for view in views])
        file["pose/3d"] = np.concatenate([view.camera for view in views])
        file["pose/3d-univ"] = np.concatenate([view.universal for view in views])
        file["frame"] = np.concatenate([view.frames for view in views]).astype(np.int64) + 1
        file["camera"] = np.repeat(np.array([int(view.sequence.camera) for view in views], np.int64), counts)
        file["subject"] = np.full(rows, sequence.subject_number, np.int64)
        file["action"] = np.full(rows, sequence.action_id, np.int64)
        file["subaction"] = np.full(rows, sequence.subaction, np.int64)
        for view in views:
            file[f"intrinsics/{view.sequence.camera}"] = view.intrinsics
            file[f"intrinsics-univ/{view.sequence.camera}"] = view.universal_intrinsics

"""mmpose's `annotation_body3d/`: `cameras.pkl` and, per frame rate, an npz file a split and the training statistics.

Metres and pixels, all float64. Format: dataprep facts as observed in open-mmlab/mmpose 0.x,
tools/dataset/preprocess_h36m.py, whose arithmetic is kept step by step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.cameras import h36m_cameras
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.mmpose_images import mmpose_image_name, read_view_images
from h36m_toolbox.frames.crops import MMPOSE_MARGIN, joint_centers_and_sides
from h36m_toolbox.frames.manifests import read_manifest
from h36m_toolbox.jobs import map_in_order
from h36m_toolbox.known_bad import UNREADABLE_VIDEOS
from h36m_toolbox.poses import PoseFiles
from h36m_toolbox.sequences import CAMERA_IDS, FPS, SPLITS, Sequence
from h36m_toolbox.skeletons import H36M_17, H36M_32
from h36m_toolbox.storage.npz_stream import StreamedArray, write_npz
from h36m_toolbox.storage.pickle_stream import write_pickled_value

RATES = (1, 5)  # 50 and 10 frames a second, the two that mmpose's configurations name
NPZ_NAMES = {"train": "h36m_train.npz", "val": "h36m_test.npz"}
_SCALE_PX = 200


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class _View:
    """What goes into a file of one sequence; `lengths` are of its files at 50 Hz, before anything is cut."""

    sequence: Sequence
    image: np.ndarray  # (rows, 17, 2), px, float32
    camera: np.ndarray  # (rows, 17, 3), mm, float32
    named: range  # frames that have an image name, from 0 at 50 Hz
    lengths: dict[str, int]

    def every(self, rate: int) -> _View:
        return replace(self, image=self.image[::rate], camera=self.camera[::rate], named=self.named[::rate])

    @property
    def poses(self) -> int:
        return min(self.lengths["D2"], self.lengths["D3 mono"])


@dataclass(frozen=True)
class MmposeReport:
    """What one npz file holds, and where lengths disagree (in frames at 50 Hz, whatever the rate).

    `cut`: sequences whose files or video differ in length, with each length. `without_video`: sequences left out
    because their video has no frame, with their poses. `names` is less than `rows` only if asked for.
    """

    path: Path
    sequences: int
    rows: int
    names: int
    cut: dict[str, dict[str, int]]
    without_video: dict[str, int]
    damaged: tuple[str, ...]

    def differences(self) -> list[str]:
        """One line for each sequence that was cut or left out, and one if names and rows are misaligned."""
        lines = []
        for name, lengths in self.cut.items():
            found = ", ".join(f"{kind} {count}" for kind, count in lengths.items() if kind != "kept")
            lines.append(f"{name}: cut to {lengths['kept']} frames, it has {found}")
        lines += [
            f"{name}: left out, its video has no frame for its {poses} poses"
            for name, poses in self.without_video.items()
        ]
        if self.names != self.rows:
            lines.append(f"{self.path}: {self.names} image names for {self.rows} rows, misaligned as officially")
        return lines


def write_mmpose(
    files: list[PoseFiles],
    data: Path,
    rates: tuple[int, ...] = RATES,
    misaligned_as_official: bool = False,
    jobs: int = 1,
    progress: Callable[[Sequence], None] | None = None,
) -> dict[str, MmposeReport | None]:
    """Write `DATA/labels/mmpose/annotation_body3d/`: a report a rate and split ("fps50/train"), None where it is empty.

    Each `rate`-th frame from the first goes into `fps{50 // rate}/h36m_{train,test}.npz`: `imgname` (rows,), `center`
    (rows, 2) px, `scale` (rows,) box side / 200 px, `part` (rows, 17, 3) px and 1, `S` (rows, 17, 4) camera frame in
    metres and 1; beside them `joint{2d,3d}{,_rel}_stats.pkl`, mean and population std of the training rows.

    Frames are counted on the D2 file; a shorter 3D file or video cuts them. A view whose video has no frame (the one
    that is unreadable as distributed, or 0 in the manifest of its frames) is left out. With `misaligned_as_official` it
    is as in the official script: frames without a video lack their names but keep their rows, so that every later
    name belongs to another row (548,819 names and 550,644 rows in the real test file).

    Poses of a split are held in memory (340 bytes a row and view at 50 Hz). Raises H36MError for a rate that does not
    divide 50.
    """
    for rate in rates:
        if rate < 1 or FPS % rate:
            raise H36MError(f"mmpose labels: a step of {rate} frames does not divide {FPS}; take 1, 2, 5, 10, 25 or 50")
    folder = data / "labels" / "mmpose" / "annotation_body3d"
    write_pickled_value(folder / "cameras.pkl", mmpose_cameras())
    reports: dict[str, MmposeReport | None] = {}
    for split, subjects in SPLITS.items():
        work = [item for item in files if item.sequence.subject in subjects]
        views, damaged = _read_views(work, data, misaligned_as_official, jobs, progress)
        for rate in rates:
            name = f"fps{FPS // rate}"
            if not work:
                reports[f"{name}/{split}"] = None
                continue
            reports[f"{name}/{split}"] = _write_split(folder / name / NPZ_NAMES[split], views, rate, damaged)
            if split == "train" and any(len(view.image) for view in views):
                _write_statistics(folder / name, views, rate)
    return reports


def mmpose_cameras() -> dict[tuple[str, str], dict[str, Any]]:
    """`cameras.pkl`: R camera to world, T the camera's centre in metres, c f k p as columns, px; all 44 cameras."""
    return {
        (subject, camera_id): {
            "R": camera.rotation.T,
            "T": camera.center[:, None] / 1000,
            "c": camera.principal[:, None],
            "f": camera.focal[:, None],
            "k": camera.radial[:, None],
            "p": camera.tangential[:, None],
            "w": camera.size[0],
            "h": camera.size[1],
            "name": f"camera{CAMERA_IDS.index(camera_id) + 1}",
            "id": camera_id,
        }
        for (subject, camera_id), camera in h36m_cameras().items()
    }


def _read_views(
    work: list[PoseFiles],
    data: Path,
    misaligned: bool,
    jobs: int,
    progress: Callable[[Sequence], None] | None,
) -> tuple[list[_View], tuple[str, ...]]:
    views, damaged = [], []
    for item, result in zip(work, map_in_order(partial(_read_view, data, misaligned), work, jobs), strict=True):
        if isinstance(result, str):
            damaged.append(result)
        else:
            views.append(result)
        if progress:
            progress(item.sequence)
    return views, tuple(damaged)


def _read_view(data: Path, misaligned: bool, files: PoseFiles) -> _View | str:
    try:
        image, camera = files.read_image(), files.read_camera()
    except H36MError as error:
        return str(error)
    lengths = {"D2": len(image), "D3 mono": len(camera)}
    kept = min(lengths.values())
    video = _video_frames(data, files.sequence, kept)
    if video is not None:
        lengths["video"] = video
    named = min(lengths.values())
    if not misaligned:
        kept = named
    joints_2d, joints_3d = (H36M_32.select(array[:kept], H36M_17.joints) for array in (image, camera))
    return _View(files.sequence, joints_2d, joints_3d, range(named), lengths)


def _video_frames(data: Path, sequence: Sequence, poses: int) -> int | None:
    """Frames of a view's video as far as they are known, from mmpose's images or from the extraction."""
    if sequence in UNREADABLE_VIDEOS:
        return 0
    images = read_view_images(data, sequence)
    if images and images.source == "decode" and images.decoded_frames < poses:
        return images.decoded_frames  # decoding stops at the last pose, so a larger number tells nothing
    manifest = read_manifest(data, sequence)
    return manifest.decoded_frames if manifest else None


def _write_split(path: Path, views: list[_View], rate: int, damaged: tuple[str, ...]) -> MmposeReport:
    parts = [view.every(rate) for view in views if len(view.image)]
    rows, names = sum(len(part.image) for part in parts), sum(len(part.named) for part in parts)
    # a text array is as wide as its longest name
    width = max((len(mmpose_image_name(part.sequence, 0)) for part in parts if part.named), default=1)
    number, text = np.dtype(np.float64), np.dtype(f"<U{width}")
    write_npz(
        path,
        [
            StreamedArray("imgname", text, (names,), (_image_names(part, text) for part in parts)),
            StreamedArray("center", number, (rows, 2), (joint_centers_and_sides(part.image)[0] for part in parts)),
            StreamedArray("scale", number, (rows,), (_scales(part.image) for part in parts)),
            StreamedArray("part", number, (rows, 17, 3), (_with_ones(part.image) for part in parts)),
            StreamedArray("S", number, (rows, 17, 4), (_with_ones(_metres(part.camera)) for part in parts)),
        ],
    )
    without_video = {str(view.sequence): view.poses for view in views if not len(view.image)}
    return MmposeReport(path, len(parts), rows, names, _cuts(views), without_video, damaged)


def _cuts(views: list[_View]) -> dict[str, dict[str, int]]:
    """Sequences that lost poses; a video that goes on after the poses is the rule."""
    return {
        str(view.sequence): {**view.lengths, "kept": len(view.image)}
        for view in views
        if 0 < len(view.image) < max(view.lengths["D2"], view.lengths["D3 mono"])
    }


def _image_names(view: _View, text: np.dtype) -> np.ndarray:
    return np.array([mmpose_image_name(view.sequence, frame) for frame in view.named], text)


def _scales(image: np.ndarray) -> np.ndarray:
    return joint_centers_and_sides(image)[1] * MMPOSE_MARGIN / _SCALE_PX


def _metres(poses: np.ndarray) -> np.ndarray:
    """Divided in float32, as the official script does."""
    return poses / np.float32(1000)


def _with_ones(poses: np.ndarray) -> np.ndarray:
    """Joints (frames, 17, dims) as float64 (frames, 17, dims + 1), the last number 1: visible."""
    joined = np.ones((*poses.shape[:2], poses.shape[2] + 1))
    joined[..., :-1] = poses
    return joined


def _write_statistics(folder: Path, views: list[_View], rate: int) -> None:
    sampled = [view.every(rate) for view in views]
    statistics: dict[str, Callable[[_View], np.ndarray]] = {
        "joint2d_stats": _joints_2d,
        "joint2d_rel_stats": lambda view: _from_root(_joints_2d(view)),
        "joint3d_stats": _joints_3d,
        "joint3d_rel_stats": lambda view: _from_root(_joints_3d(view)),
    }
    for name, joints_of in statistics.items():
        write_pickled_value(folder / f"{name}.pkl", _mean_and_std(sampled, joints_of))


def _joints_2d(view: _View) -> np.ndarray:
    return view.image.astype(np.float64)


def _joints_3d(view: _View) -> np.ndarray:
    return _metres(view.camera).astype(np.float64)


def _from_root(joints: np.ndarray) -> np.ndarray:
    """Joints (rows, 17, dims) as (rows, 16, dims), the root at the origin and left out."""
    return joints[:, 1:] - joints[:, :1]


def _mean_and_std(views: list[_View], joints_of: Callable[[_View], np.ndarray]) -> dict[str, np.ndarray]:
    """Mean and population std over all rows, (joints, dims) each; in two passes, so that nothing cancels."""
    rows = sum(len(view.image) for view in views)
    mean = np.sum([joints_of(view).sum(axis=0) for view in views], axis=0) / rows
    squares = np.sum([np.square(joints_of(view) - mean).sum(axis=0) for view in views], axis=0)
    return {"mean": mean, "std": np.sqrt(squares / rows)}

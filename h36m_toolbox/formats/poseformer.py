"""Context-Aware PoseFormer's `h36m_train.pkl` and `h36m_validation.pkl`.

The Toolbox's loop, names, boxes and ids; camera-frame metres, screen-normalised 2D of ground truth and CPN, and both in
the coordinates of a 192 x 256 crop. Format: dataprep facts as observed in the project's generate_labels_h36m.py.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.detections.bundles import read_sequence_detections
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.toolbox import (
    PICKLE_NAMES,
    TOOLBOX_17,
    ImageFrames,
    PickleReport,
    camera_record,
    frames_with_images,
    id_fields,
    image_column,
    stream_records,
)
from h36m_toolbox.frames.crops import box_geometry, poseformer_coordinates
from h36m_toolbox.frames.manifests import read_manifest
from h36m_toolbox.frames.videos import video_size
from h36m_toolbox.known_bad import S11_DIRECTIONS
from h36m_toolbox.poses import PoseFiles, SequencePoses
from h36m_toolbox.raw.archive import Kind, RawArchive
from h36m_toolbox.sequences import SPLITS, Sequence, sequences
from h36m_toolbox.skeletons import H36M_17, H36M_32
from h36m_toolbox.storage.pickled_rows import Column, Rows


def screen_normalised_float32(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pixels (..., 2) float32 as x * 2 / w - 1, y * 2 / w - h / w: quotient in float32, difference in float64."""
    return pixels * np.float32(2) / np.float32(width) - np.array([1, height / width])


def poseformer_rows(
    poses: SequencePoses, cpn: np.ndarray, size: tuple[int, int], images: ImageFrames, video_id: int
) -> Rows:
    """The records of one sequence; `cpn` (frames, 17, 2) px in VideoPose3D's joint order, `size` of the images."""
    sequence = poses.sequence
    camera = h36m_camera(sequence.subject, sequence.camera)
    n = min(len(poses.camera), len(poses.image), len(cpn))
    frames = images.upto(n)
    in_camera = H36M_32.select(poses.camera[:n], TOOLBOX_17)[frames]
    joints_2d = H36M_32.select(poses.image[:n], TOOLBOX_17)[frames]
    geometry = box_geometry(camera, in_camera[:, 0])
    detected = cpn[frames]
    return Rows(
        len(frames),
        {
            "image": image_column(sequence, frames),
            "joints_2d_gt": Column(screen_normalised_float32(joints_2d, *size)),
            "joints_2d_cpn": Column(screen_normalised_float32(detected, *size)),
            "joints_3d": Column(in_camera / np.float32(1000)),
            "joints_vis": Column(np.ones((len(frames), 17, 3))),
            **id_fields(sequence, frames, video_id),
            "camera": camera_record(camera),
            "nposes": n,
            "center": Column(geometry.centers, as_tuple=True),
            "scale": Column(geometry.scales, as_tuple=True),
            "box": Column(geometry.boxes),
            "joints_2d_gt_crop": Column(poseformer_coordinates(joints_2d, geometry)),
            "joints_2d_cpn_crop": Column(poseformer_coordinates(detected, geometry)),
        },
    )


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class _Job:
    files: PoseFiles
    video_id: int
    cpn: np.ndarray
    size: tuple[int, int]


def write_poseformer_pickle(
    archive: RawArchive,
    files: list[PoseFiles],
    data: Path,
    split: str,
    detections: str = "cpn",
    without_images: bool = False,
    jobs: int = 1,
    progress: Callable[[Sequence], None] | None = None,
) -> PickleReport | None:
    """Write `DATA/labels/poseformer/h36m_{train,validation}.pkl`; None where no sequence of the split is there.

    As in the official script a recording without CPN detections is skipped before the running `video_id` counts it.
    """
    by_sequence = {item.sequence: item.joints_2d for item in read_sequence_detections(data, detections)}
    if not all(cpn.shape[1:] == (len(H36M_17), 2) for cpn in by_sequence.values()):
        raise H36MError(
            f"detections {detections} are not 17 joints in Human3.6M's order, as Context-Aware PoseFormer needs"
        )
    numbers = _video_ids({item.sequence for item in files}, set(by_sequence))
    work = [
        _Job(item, numbers[item.sequence], by_sequence[item.sequence], _image_size(archive, data, item.sequence))
        for item in files
        if item.sequence.subject in SPLITS[split] and item.sequence in by_sequence
    ]
    path = data / "labels" / "poseformer" / PICKLE_NAMES[split]
    return stream_records(partial(_rows_of_job, data, without_images), work, path, jobs, progress)


def _video_ids(posed: set[Sequence], detected: set[Sequence]) -> dict[Sequence, int]:
    """Running numbers over the whole data set's loop, without the recordings that have poses but no detections.

    Recordings that a partial data set lacks are counted, but for the one that no published detections have.
    """
    with_detections = {sequence.recording for sequence in detected}
    skipped = ({sequence.recording for sequence in posed} | {S11_DIRECTIONS}) - with_detections
    counted = [sequence for sequence in sequences() if sequence.recording not in skipped]
    return {sequence: number for number, sequence in enumerate(counted)}


def _image_size(archive: RawArchive, data: Path, sequence: Sequence) -> tuple[int, int]:
    """Width and height from the extraction's manifest, else the video's header, else the calibration."""
    manifest = read_manifest(data, sequence)
    if manifest and manifest.images:
        return manifest.width, manifest.height
    if archive.has(sequence, Kind.VIDEO):
        with suppress(H36MError):  # a video that cannot be read has no image of another size
            return video_size(archive.path(sequence, Kind.VIDEO))
    return h36m_camera(sequence.subject, sequence.camera).size


def _rows_of_job(data: Path, without_images: bool, poses: SequencePoses, job: _Job) -> Rows:
    images = frames_with_images(data, poses.sequence, without_images)
    return poseformer_rows(poses, job.cpn, job.size, images, job.video_id)

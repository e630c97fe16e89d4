"""H36M-Toolbox's `h36m_train.pkl` and `h36m_validation.pkl`: a list with one dict a frame and view.

Also the loop that Context-Aware PoseFormer's pickles share. Format: dataprep facts as observed in
CHUNYUWANG/H36M-Toolbox, generate_labels.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from h36m_toolbox.cameras import Camera, h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.crops import box_geometry
from h36m_toolbox.frames.stores import WHOLE_FRAMES, stored_frames
from h36m_toolbox.jobs import map_in_order
from h36m_toolbox.poses import PoseFiles, SequencePoses
from h36m_toolbox.sequences import SPLITS, Sequence, sequences
from h36m_toolbox.skeletons import H36M_17, H36M_32
from h36m_toolbox.storage.pickle_stream import PickledPart, write_pickled_list
from h36m_toolbox.storage.pickled_rows import Column, Rows, pickled_rows

# The Toolbox takes joint 16 where others take 13: the same position under another number.
TOOLBOX_17 = tuple("LCollar" if joint == "Thorax" else joint for joint in H36M_17.joints)

PICKLE_NAMES = {"train": "h36m_train.pkl", "val": "h36m_validation.pkl"}


def camera_record(camera: Camera) -> dict[str, np.ndarray]:
    """The `camera` dict of a record: R world to camera, T the centre in world mm, fx fy cx cy of one element each."""
    return {
        "R": camera.rotation,
        "T": camera.center[:, None],
        "fx": camera.focal[:1],
        "fy": camera.focal[1:],
        "cx": camera.principal[:1],
        "cy": camera.principal[1:],
        "k": camera.radial[:, None],
        "p": camera.tangential[:, None],
    }


@dataclass(frozen=True)
class ImageFrames:
    """Frames (from 0) of a sequence that have an image; None: every frame counts as having one."""

    frames: tuple[int, ...] | None

    def upto(self, count: int) -> list[int]:
        """Those below `count`."""
        return list(range(count)) if self.frames is None else [frame for frame in self.frames if frame < count]


def frames_with_images(data: Path, sequence: Sequence, without_images: bool) -> ImageFrames:
    """What `data/images` holds of a sequence, loose or packed, or every frame for a pickle without images."""
    return ImageFrames(None if without_images else stored_frames(data, sequence))


def toolbox_rows(poses: SequencePoses, images: ImageFrames, video_id: int) -> Rows:
    """The records of one sequence: frames that the universal 3D and the 2D poses have and that have an image."""
    sequence = poses.sequence
    camera = h36m_camera(sequence.subject, sequence.camera)
    universal_32 = poses.universal_poses()
    n = min(len(universal_32), len(poses.image), len(poses.camera))
    frames = images.upto(n)
    joints_2d, universal, in_camera = (
        H36M_32.select(array[:n], TOOLBOX_17)[frames] for array in (poses.image, universal_32, poses.camera)
    )
    geometry = box_geometry(camera, in_camera[:, 0])
    return Rows(
        len(frames),
        {
            "image": image_column(sequence, frames),
            "joints_2d": Column(joints_2d),
            "joints_3d": Column(universal),
            "joints_3d_camera": Column(in_camera),
            "joints_vis": Column(np.ones((len(frames), 17, 3))),
            **id_fields(sequence, frames, video_id),
            "camera": camera_record(camera),
            "center": Column(geometry.centers, as_tuple=True),
            "scale": Column(geometry.scales, as_tuple=True),
            "box": Column(geometry.boxes),
        },
    )


def image_column(sequence: Sequence, frames: list[int]) -> Column:
    """`image`: the file of each frame (from 0) below the folder of images."""
    folder = sequence.folder
    names = [f"{folder}/{WHOLE_FRAMES.file_name(sequence, frame)}" for frame in frames]
    return Column(np.array(names, np.bytes_))


def id_fields(sequence: Sequence, frames: list[int], video_id: int) -> dict[str, Any]:
    """The identifying keys of the records, in the order of the official dicts; `image_id` counts from 1."""
    return {
        "video_id": video_id,
        "image_id": Column(np.array(frames, np.int32) + 1),
        "subject": sequence.subject_number,
        "action": sequence.action_id,
        "subaction": sequence.subaction,
        "camera_id": sequence.camera_index,
        "source": "h36m",
    }


class _WithFiles(Protocol):
    @property
    def files(self) -> PoseFiles: ...


Job = TypeVar("Job", bound=_WithFiles)


@dataclass(frozen=True)
class _Job:
    files: PoseFiles
    video_id: int


@dataclass(frozen=True)
class PickleReport:
    """What was written for one split: rows are records; sequences lack images or could not be read."""

    path: Path
    rows: int
    sequences: int
    without_image: dict[str, int] = field(default_factory=dict)  # sequence -> poses left out for want of an image
    damaged: tuple[str, ...] = ()

    def differences(self) -> list[str]:
        """One line for each sequence that has poses without an image."""
        return [f"{name}: {count} poses left out, they have no image" for name, count in self.without_image.items()]


def write_toolbox_pickle(
    files: list[PoseFiles],
    data: Path,
    split: str,
    without_images: bool = False,
    jobs: int = 1,
    progress: Callable[[Sequence], None] | None = None,
) -> PickleReport | None:
    """Write `DATA/labels/toolbox/h36m_{train,validation}.pkl`; None where no sequence of the split is there.

    As in the official script a pose without an image file has no record; such poses are counted in the report.
    """
    numbers = {sequence: number for number, sequence in enumerate(sequences())}
    work = [_Job(item, numbers[item.sequence]) for item in files if item.sequence.subject in SPLITS[split]]
    path = data / "labels" / "toolbox" / PICKLE_NAMES[split]
    return stream_records(partial(_rows_of_job, data, without_images), work, path, jobs, progress)


def _rows_of_job(data: Path, without_images: bool, poses: SequencePoses, job: _Job) -> Rows:
    return toolbox_rows(poses, frames_with_images(data, poses.sequence, without_images), job.video_id)


def stream_records(
    make: Callable[[SequencePoses, Job], Rows],
    work: list[Job],
    path: Path,
    jobs: int,
    progress: Callable[[Sequence], None] | None,
) -> PickleReport | None:
    """Write the records of every job as one pickled list, a part a sequence; None where there is nothing to do.

    `make` turns a job and its poses, read here, into records. A sequence that cannot be read is left out and reported.
    """
    if not work:
        return None
    without_image: dict[str, int] = {}
    damaged: list[str] = []
    done = 0

    def parts() -> Iterator[PickledPart]:
        nonlocal done
        for made in map_in_order(partial(_made, make), work, jobs):
            if made.without_image:
                without_image[str(made.sequence)] = made.without_image
            damaged.extend([made.damage] if made.damage else [])
            done += bool(made.part.count)
            if progress:
                progress(made.sequence)
            yield made.part

    count = write_pickled_list(path, parts())
    return PickleReport(path, count, done, without_image, tuple(damaged))


@dataclass(frozen=True)
class _Made:
    """The pickled records of one sequence, how many of its poses have none, or what went wrong."""

    sequence: Sequence
    part: PickledPart
    without_image: int = 0
    damage: str = ""


def _made(make: Callable[[SequencePoses, Job], Rows], job: Job) -> _Made:
    try:
        poses = job.files.read()
    except H36MError as error:
        return _Made(job.files.sequence, PickledPart(0, b""), damage=str(error))
    part = pickled_rows(make(poses, job))
    return _Made(poses.sequence, part, poses.frames - part.count)

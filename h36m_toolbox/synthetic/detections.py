"""Invented 2D detections: projected synthetic joints with the errors of a detector, in the two public file formats.

CPN: VideoPose3D's `data_2d_h36m_cpn_ft_h36m_dbb.npz`, one array a view as long as the *video*, no S11 Directions 2.
Stacked hourglass: the fine-tuned detections' tar, one HDF5 file a view, without the view whose video is unreadable.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from h36m_toolbox.sequences import Sequence
from h36m_toolbox.skeletons import H36M_17, H36M_32, SH_16, Skeleton
from h36m_toolbox.storage.files import written_whole

CPN_FILE = "data_2d_h36m_cpn_ft_h36m_dbb.npz"
HOURGLASS_FILE = "stacked_hourglass_fined_tuned_240.tar.gz"
_HOURGLASS_FOLDER = "StackedHourglassFineTuned240"
_BLUR_FRAMES = 5  # a detector errs alike in frames that look alike
_OUTLIER_PX = 45.0


@dataclass(frozen=True)
class Detector:
    """How one detector errs."""

    name: str
    skeleton: Skeleton
    seed: int
    error_px: float  # standard deviation along each axis of the best-seen joints
    outliers: float  # share of joints found somewhere else


CPN = Detector("cpn", H36M_17, seed=1, error_px=2.2, outliers=0.004)
HOURGLASS = Detector("sh", SH_16, seed=2, error_px=3.4, outliers=0.01)
_HARDER = {"Foot": 1.5, "Wrist": 1.8, "Elbow": 1.4, "Knee": 1.2}  # extremities are found less well


def detected(detector: Detector, sequence: Sequence, image: np.ndarray, frames: int, seed: int) -> np.ndarray:
    """Detections (frames, joints, 2) px, float32, of joints projected to `image` (poses, 32, 2), last pose held."""
    key = (sequence.subject_number, sequence.action_id, sequence.subaction, sequence.camera_index)
    rng = np.random.default_rng([seed, *key, detector.seed])
    held = np.minimum(np.arange(frames), len(image) - 1)
    joints = H36M_32.select(image[held], detector.skeleton.joints)
    spread = detector.error_px * np.array([_HARDER.get(joint[1:], 1.0) for joint in detector.skeleton.joints])
    white = rng.normal(size=(frames + _BLUR_FRAMES - 1, *joints.shape[1:]))
    sums = np.cumsum(np.concatenate([np.zeros_like(white[:1]), white]), axis=0)
    slow = (sums[_BLUR_FRAMES:] - sums[:-_BLUR_FRAMES]) / np.sqrt(_BLUR_FRAMES)
    jumps = (rng.random(joints.shape[:2]) < detector.outliers)[..., None] * rng.normal(0, _OUTLIER_PX, joints.shape)
    return (joints + spread[:, None] * slow + jumps).astype(np.float32)


def write_cpn(path: Path, positions: Mapping[str, Mapping[str, list[np.ndarray]]]) -> None:
    """Write VideoPose3D's npz: `positions[subject][canonical name]` lists arrays (frames, 17, 2), px, by camera."""
    # A pickle remembers which objects are one and the same, and arrays from another process bring their own dtype.
    same_dtype = {
        subject: {name: [view.view(np.float32) for view in views] for name, views in recordings.items()}
        for subject, recordings in positions.items()
    }
    metadata = {
        "layout_name": "h36m",
        "num_joints": len(H36M_17),
        "keypoints_symmetry": [list(H36M_17.left), list(H36M_17.right)],
    }
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            positions_2d=np.array(same_dtype, dtype=object),
            metadata=np.array(metadata, dtype=object),
        )


@contextmanager
def hourglass_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """A tar.gz to add views to with `add_hourglass`; equal content gives equal bytes; arrives whole or not at all."""
    with (
        written_whole(path) as temporary,
        temporary.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        yield tar


def add_hourglass(tar: tarfile.TarFile, sequence: Sequence, poses: np.ndarray) -> None:
    """Add one view's detections (frames, 16, 2), px, in SH_16 order, as an HDF5 file with the dataset `poses`."""
    stem = sequence.recording.canonical_name.replace(" ", "_")
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("poses", data=poses, track_times=False)
    member = tarfile.TarInfo(f"{sequence.subject}/{_HOURGLASS_FOLDER}/{stem}.{sequence.camera}.h5")
    member.size = content.getbuffer().nbytes
    content.seek(0)
    tar.addfile(member, content)

"""Limb-length statistics of the training set, as ContextPose reads them: `mean_and_std_limb_length.h5`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pyarrow.compute as pc

from h36m_toolbox.errors import H36MError
from h36m_toolbox.labels import label_sequences, labels_path
from h36m_toolbox.pose_tables import pose_array, pose_field
from h36m_toolbox.sequences import TRAIN_SUBJECTS, Recording
from h36m_toolbox.storage.files import written_whole
from h36m_toolbox.storage.hdf5_files import hdf5_written_whole

# ContextPose's limbs, in its order: (0,1) (1,2) (2,6) (5,4) (4,3) (3,6) (6,7) (7,8) (8,16) (9,16) (8,12) (11,12)
# (10,11) (8,13) (13,14) (14,15) of the multi-view 17 joints.
LIMBS = (
    *(("RFoot", "RKnee"), ("RKnee", "RHip"), ("RHip", "Hip"), ("LFoot", "LKnee"), ("LKnee", "LHip"), ("LHip", "Hip")),
    *(("Hip", "Spine"), ("Spine", "Thorax"), ("Thorax", "Neck/Nose"), ("Head", "Neck/Nose")),
    *(("Thorax", "RShoulder"), ("RElbow", "RShoulder"), ("RWrist", "RElbow")),
    *(("Thorax", "LShoulder"), ("LShoulder", "LElbow"), ("LElbow", "LWrist")),
)

SELECTIONS = ("h36m-fetch", "all")


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class LimbStatistics:
    """Mean and population standard deviation of each limb of `LIMBS`, mm, float64, over `poses` instants."""

    mean: np.ndarray  # (16,)
    std: np.ndarray  # (16,)
    poses: int


def limb_lengths(poses: np.ndarray, joints: tuple[str, ...]) -> np.ndarray:
    """Lengths (frames, 16) of the limbs of poses (frames, joints, 3) whose joints are named, in the poses' unit."""
    starts, ends = ([joints.index(limb[end]) for limb in LIMBS] for end in (0, 1))
    return np.linalg.norm(poses[:, starts].astype(np.float64) - poses[:, ends], axis=-1)


def limb_statistics(lengths: np.ndarray) -> LimbStatistics:
    """Statistics of lengths (frames, 16)."""
    return LimbStatistics(lengths.mean(axis=0), lengths.std(axis=0), len(lengths))


def training_limb_lengths(data: Path, selection: str = "h36m-fetch") -> dict[str, np.ndarray]:
    """Limb lengths (instants, 16), mm, by training subject, from the world poses of DATA's labels.

    An instant counts once, not once a view. `h36m-fetch`: the instants which that tool keeps in the recording's first
    view, as in ContextPose; `all`: every instant.
    """
    if selection not in SELECTIONS:
        raise H36MError(f"no selection {selection}; there are {', '.join(SELECTIONS)}")
    by_subject: dict[str, list[np.ndarray]] = {}
    seen: set[Recording] = set()
    for sequence, rows in label_sequences(data, "train", ["joints_3d_world", "in_h36m_fetch"]):
        if sequence.recording in seen:
            continue
        seen.add(sequence.recording)
        if selection == "h36m-fetch":
            if rows.column("in_h36m_fetch").null_count:
                raise H36MError(
                    f"{sequence} has no universal poses, by which h36m-fetch selects: get their archive and make the "
                    "labels again, or take every instant with `h36m stats --select all`"
                )
            rows = rows.filter(pc.field("in_h36m_fetch"))
        joints = pose_field(rows.schema, "joints_3d_world").skeleton.joints
        lengths = limb_lengths(pose_array(rows, "joints_3d_world"), joints)
        by_subject.setdefault(sequence.subject, []).append(lengths)
    if not by_subject:
        raise H36MError(
            f"{labels_path(data, 'train')}: has no training subject ({', '.join(TRAIN_SUBJECTS)}), on which the "
            "statistics are taken; make the labels again with at least one"
        )
    return {subject: np.concatenate(parts) for subject, parts in by_subject.items()}


def statistics_table(by_subject: dict[str, np.ndarray]) -> str:
    """Mean and standard deviation in mm of every limb, a column a subject and one for all, as Markdown."""
    columns = {subject: limb_statistics(lengths) for subject, lengths in _with_all(by_subject).items()}
    heads = [f"{subject} ({values.poses:,} poses)" for subject, values in columns.items()]
    lines = [f"| limb, mm | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for i, limb in enumerate(LIMBS):
        cells = [f"{values.mean[i]:.2f} ± {values.std[i]:.2f}" for values in columns.values()]
        lines.append(f"| {'-'.join(limb)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def statistics_path(data: Path) -> Path:
    """Where the statistics lie in a DATA folder."""
    return data / "stats" / "mean_and_std_limb_length.h5"


def read_limb_statistics(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """`mean` and `std` (limbs,), mm, float64, of an h5 file, ours or an official one, which may have more limbs.

    Raises H36MError where it is missing, damaged or holds something else.
    """
    if not path.is_file():
        raise H36MError(f"{path}: no such file; write limb-length statistics with `h36m stats DATA`")
    try:
        with h5py.File(path, "r") as file:
            mean, std = (np.asarray(file[name], np.float64) for name in ("mean", "std"))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise H36MError(f"{path}: cannot be read ({error}); expected HDF5 with mean and std; `h36m stats`") from error
    if mean.ndim != 1 or mean.shape != std.shape or len(mean) < len(LIMBS):
        raise H36MError(
            f"{path}: mean {mean.shape} and std {std.shape}; expected as many of both, {len(LIMBS)} or more, as `h36m "
            "stats DATA` writes them"
        )
    if not (np.isfinite(mean) & np.isfinite(std) & (std >= 0)).all():
        raise H36MError(f"{path}: mean and std must be finite and std not negative; write it again with `h36m stats`")
    return mean, std


def write_limb_statistics(data: Path, by_subject: dict[str, np.ndarray]) -> tuple[Path, Path]:
    """Write ContextPose's h5 (`mean`, `std`) and a table per subject and limb below `DATA/stats`; their paths."""
    columns = {subject: limb_statistics(lengths) for subject, lengths in _with_all(by_subject).items()}
    statistics = statistics_path(data)
    with hdf5_written_whole(statistics) as file:
        file["mean"] = columns["all"].mean
        file["std"] = columns["all"].std
    table = data / "stats" / "limb_lengths.csv"
    with written_whole(table) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["subject", "limb", "mean_mm", "std_mm", "poses"])
        for subject, values in columns.items():
            for limb, mean, std in zip(LIMBS, values.mean, values.std, strict=True):
                writer.writerow([subject, "-".join(limb), f"{mean:.4f}", f"{std:.4f}", values.poses])
    return statistics, table


def _with_all(by_subject: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**by_subject, "all": np.concatenate(list(by_subject.values()))}

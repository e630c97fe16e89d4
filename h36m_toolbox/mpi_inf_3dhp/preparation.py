"""MPI-INF-3DHP to labels in the formats there are of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from h36m_toolbox.errors import H36MError
from h36m_toolbox.jobs import Jobs
from h36m_toolbox.mpi_inf_3dhp.archive import Archive
from h36m_toolbox.mpi_inf_3dhp.labels import write_labels
from h36m_toolbox.mpi_inf_3dhp.lifting_npz import lifting_npz_path, write_lifting_npz
from h36m_toolbox.mpi_inf_3dhp.sequences import SPLITS, cameras_of

FORMATS = ("parquet", "lifting")


@dataclass(frozen=True)
class LabelChoice:
    """`cameras` (a set's name or numbers) and `every` (n-th frame) of the training table; `crops` of the npz files."""

    cameras: str = "vnect"
    every: int = 1
    crops: str = "corrected"


@dataclass(frozen=True)
class Written:
    """What was written, in words, and whether something was damaged and left out."""

    lines: tuple[str, ...]
    damaged: bool


def write_format(
    format_: str,
    archive: Archive,
    data: Path,
    choice: LabelChoice | None = None,
    jobs: Jobs = 1,
    progress: Callable[[str], None] | None = None,
) -> Written:
    """Write one format of both splits, as far as they are there, below `DATA/mpi-inf-3dhp/labels`.

    Raises H36MError for a format that there is not of this data set.
    """
    choice = choice or LabelChoice()
    if format_ not in FORMATS:
        raise H36MError(
            f"{archive.root} is MPI-INF-3DHP, of which there is no {format_}; there are {', '.join(FORMATS)}"
        )
    lines: list[str] = []
    damaged = False
    for split in SPLITS:
        if not (archive.train if split == "train" else archive.test):
            continue
        if format_ == "parquet":
            cameras = cameras_of(choice.cameras)
            report = write_labels(archive, data, split, cameras, choice.every, jobs, progress)
            lines += report.lines() if report else []
            damaged = damaged or bool(report and report.damaged)
        else:
            path = lifting_npz_path(data, split)
            count = write_lifting_npz(archive, path, split, choice.crops, jobs, progress)
            lines.append(f"wrote {path}: {count} sequences")
    return Written(tuple(lines), damaged)

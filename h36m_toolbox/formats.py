"""The label formats by name: each a pure function of the same records, written below `DATA/labels/<format>/`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from h36m_toolbox.archive import POSE_KINDS, Kind, RawArchive
from h36m_toolbox.detections import detections_path
from h36m_toolbox.errors import H36MError
from h36m_toolbox.files import written_whole
from h36m_toolbox.h36m_fetch_format import write_h36m_fetch
from h36m_toolbox.labels import write_labels
from h36m_toolbox.mmpose_format import write_mmpose
from h36m_toolbox.multiview_format import write_multiview
from h36m_toolbox.poseformer_format import write_poseformer_pickle
from h36m_toolbox.poses import PoseFiles
from h36m_toolbox.sequences import SPLITS, Sequence
from h36m_toolbox.toolbox_format import write_toolbox_pickle
from h36m_toolbox.videopose3d_format import write_videopose3d


class Written(Protocol):
    """What every format tells of a file it wrote."""

    @property
    def path(self) -> Path: ...
    @property
    def sequences(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def damaged(self) -> tuple[str, ...]:
        """Sequences left out because a file could not be read, with the reason."""
        ...

    def differences(self) -> list[str]:
        """One line for each sequence that was cut or lacks something."""
        ...


@dataclass(frozen=True)
class FormatJob:
    """What a format is made from, and how."""

    archive: RawArchive
    files: list[PoseFiles]  # sequences that have every kind of pose file
    data: Path
    without_images: bool
    jobs: int
    progress: Callable[[Sequence], None] | None


@dataclass(frozen=True)
class LabelFormat:
    """How a format is written, a report a file, the raw files it needs, and what has to be in DATA before."""

    write: Callable[[FormatJob], dict[str, Written | None]]
    kinds: tuple[Kind, ...] = POSE_KINDS
    lists_images: bool = False
    detections: str = ""


def _parquet(job: FormatJob) -> dict[str, Written | None]:
    return {split: write_labels(job.files, job.data, split, job.jobs, job.progress) for split in SPLITS}


def _toolbox(job: FormatJob) -> dict[str, Written | None]:
    return {
        split: write_toolbox_pickle(job.files, job.data, split, job.without_images, job.jobs, job.progress)
        for split in SPLITS
    }


def _poseformer(job: FormatJob) -> dict[str, Written | None]:
    return {
        split: write_poseformer_pickle(
            job.archive, job.files, job.data, split, "cpn", job.without_images, job.jobs, job.progress
        )
        for split in SPLITS
    }


def _videopose3d(job: FormatJob) -> dict[str, Written | None]:
    return {**write_videopose3d(job.archive, job.data, job.jobs, job.progress)}


def _h36m_fetch(job: FormatJob) -> dict[str, Written | None]:
    return {"processed": write_h36m_fetch(job.files, job.data, jobs=job.jobs, progress=job.progress)}


def _multiview(job: FormatJob) -> dict[str, Written | None]:
    return {**write_multiview(job.archive, job.files, job.data, jobs=job.jobs, progress=job.progress)}


def _mmpose(job: FormatJob) -> dict[str, Written | None]:
    return {**write_mmpose(job.files, job.data, jobs=job.jobs, progress=job.progress)}


FORMATS = {
    "parquet": LabelFormat(_parquet),
    "toolbox": LabelFormat(_toolbox, lists_images=True),
    "poseformer": LabelFormat(_poseformer, lists_images=True, detections="cpn"),
    "videopose3d": LabelFormat(_videopose3d, kinds=(Kind.WORLD,)),
    "h36m-fetch": LabelFormat(_h36m_fetch),
    "multiview": LabelFormat(_multiview),
    "mmpose": LabelFormat(_mmpose),
}


@dataclass(frozen=True)
class FormatReport:
    """What a format's files hold, and the sequences that lack a pose file and are therefore in none."""

    format: str
    files: dict[str, Written]
    incomplete: dict[str, tuple[str, ...]]

    @property
    def damaged(self) -> bool:
        """Whether a file could not be read and its sequence is left out."""
        return any(written.damaged for written in self.files.values())

    def lines(self) -> list[str]:
        """What to tell a user: everything left out or cut, then what was written."""
        lines = [f"{name}: left out, it lacks {', '.join(kinds)}" for name, kinds in self.incomplete.items()]
        for written in self.files.values():
            lines += [f"left out: {damage}" for damage in written.damaged]
            lines += written.differences()
            lines.append(f"{written.sequences} sequences, {written.rows:,} rows in {written.path}")
        return lines


def write_format(
    format_: str,
    archive: RawArchive,
    data: Path,
    without_images: bool = False,
    jobs: int = 1,
    progress: Callable[[Sequence], None] | None = None,
) -> FormatReport:
    """Write one format, with `report.json` beside its files.

    `toolbox` and `poseformer` hold only poses whose image is in `DATA/images`, as the official scripts do, unless
    `without_images`; `poseformer` needs `DATA/detections/cpn.parquet`. Raises H36MError where these are missing.
    """
    _check_inputs(format_, data, without_images)
    kinds = FORMATS[format_].kinds
    incomplete = {
        str(sequence): tuple(kind.value for kind in lacking) for sequence, lacking in archive.incomplete(kinds).items()
    }
    if not archive.sequences(kinds):
        lines = [f"\n  {name} lacks {', '.join(lacking)}" for name, lacking in list(incomplete.items())[:5]]
        raise H36MError(
            f"{archive.root}: no sequence has all of {', '.join(kind.value for kind in kinds)}{''.join(lines)}"
        )
    files = [archive.pose_files(sequence) for sequence in archive.sequences(POSE_KINDS)]
    written = FORMATS[format_].write(FormatJob(archive, files, data, without_images, jobs, progress))
    report = FormatReport(format_, {name: made for name, made in written.items() if made is not None}, incomplete)
    with written_whole(data / "labels" / format_ / "report.json") as path:
        path.write_text(json.dumps(asdict(report), indent=1, default=str))
    return report


def _check_inputs(format_: str, data: Path, without_images: bool) -> None:
    if format_ not in FORMATS:
        raise H36MError(f"no label format {format_}; there are {', '.join(FORMATS)}")
    if FORMATS[format_].lists_images and not without_images and not (data / "images").is_dir():
        raise H36MError(
            f"{data / 'images'}: no frames, and {format_} lists only poses that have one; run `h36m extract RAW "
            f"--out {data}` first, or ask for records of every pose with --without-images"
        )
    detections = FORMATS[format_].detections
    if detections and not detections_path(data, detections).is_file():
        raise H36MError(
            f"{detections_path(data, detections)}: no {detections.upper()} detections, which {format_} needs; bundle "
            f"them first with `h36m detections RAW --out {data} --{detections} FILE`"
        )

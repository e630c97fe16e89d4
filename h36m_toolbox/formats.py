"""The label formats by name: each a pure function of the same records, written below `DATA/labels/<format>/`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from h36m_toolbox.archive import POSE_KINDS, RawArchive
from h36m_toolbox.detections import detections_path
from h36m_toolbox.errors import H36MError
from h36m_toolbox.files import written_whole
from h36m_toolbox.labels import LabelReport, write_labels
from h36m_toolbox.poseformer_format import write_poseformer_pickle
from h36m_toolbox.poses import PoseFiles
from h36m_toolbox.sequences import SPLITS, Sequence
from h36m_toolbox.toolbox_format import PickleReport, write_toolbox_pickle

FORMATS = ("parquet", "toolbox", "poseformer")


@dataclass(frozen=True)
class FormatReport:
    """What one format's files hold, by split, and the sequences that lack a pose file and are therefore in none."""

    format: str
    splits: dict[str, LabelReport | PickleReport]
    incomplete: dict[str, tuple[str, ...]]

    @property
    def damaged(self) -> bool:
        """Whether a file could not be read and its sequence is left out."""
        return any(report.damaged for report in self.splits.values())

    def lines(self) -> list[str]:
        """What to tell a user: everything left out or cut, then what was written."""
        lines = [f"{name}: left out, it lacks {', '.join(kinds)}" for name, kinds in self.incomplete.items()]
        for report in self.splits.values():
            lines += [f"left out: {damage}" for damage in report.damaged]
            lines += report.differences()
            lines.append(f"{report.sequences} sequences, {report.rows:,} rows in {report.path}")
        return lines


def write_format(
    format_: str,
    archive: RawArchive,
    data: Path,
    without_images: bool = False,
    jobs: int = 1,
    progress: Callable[[Sequence], None] | None = None,
) -> FormatReport:
    """Write one format for both splits, with `report.json` beside the files.

    `toolbox` and `poseformer` hold only poses whose image is in `DATA/images`, as the official scripts do, unless
    `without_images`; `poseformer` needs `DATA/detections/cpn.parquet`. Raises H36MError where these are missing.
    """
    files = [archive.pose_files(sequence) for sequence in archive.sequences(POSE_KINDS)]
    incomplete = {
        str(sequence): tuple(kind.value for kind in lacking)
        for sequence, lacking in archive.incomplete(POSE_KINDS).items()
    }
    if not files:
        lines = [f"\n  {name} lacks {', '.join(kinds)}" for name, kinds in list(incomplete.items())[:5]]
        raise H36MError(
            f"{archive.root}: no sequence has all of {', '.join(kind.value for kind in POSE_KINDS)}{''.join(lines)}"
        )
    _check_inputs(format_, data, without_images)
    splits = {}
    for split in SPLITS:
        written = _write_split(format_, archive, files, data, split, without_images, jobs, progress)
        if written:
            splits[split] = written
    report = FormatReport(format_, splits, incomplete)
    with written_whole(data / "labels" / format_ / "report.json") as path:
        path.write_text(json.dumps(asdict(report), indent=1, default=str))
    return report


def _check_inputs(format_: str, data: Path, without_images: bool) -> None:
    if format_ not in FORMATS:
        raise H36MError(f"no label format {format_}; there are {', '.join(FORMATS)}")
    if format_ != "parquet" and not without_images and not (data / "images").is_dir():
        raise H36MError(
            f"{data / 'images'}: no frames, and {format_} lists only poses that have one; run `h36m extract RAW "
            f"--out {data}` first, or ask for records of every pose with --without-images"
        )
    if format_ == "poseformer" and not detections_path(data, "cpn").is_file():
        raise H36MError(
            f"{detections_path(data, 'cpn')}: no CPN detections, which poseformer needs; bundle them first with "
            f"`h36m detections RAW --out {data} --cpn data_2d_h36m_cpn_ft_h36m_dbb.npz`"
        )


def _write_split(
    format_: str,
    archive: RawArchive,
    files: list[PoseFiles],
    data: Path,
    split: str,
    without_images: bool,
    jobs: int,
    progress: Callable[[Sequence], None] | None,
) -> LabelReport | PickleReport | None:
    if format_ == "toolbox":
        return write_toolbox_pickle(files, data, split, without_images, jobs, progress)
    if format_ == "poseformer":
        return write_poseformer_pickle(archive, files, data, split, "cpn", without_images, jobs, progress)
    return write_labels(files, data, split, jobs, progress)

"""The steps from a RAW folder to a DATA folder, as the command line runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from h36m_toolbox.archive import POSE_KINDS, Kind, RawArchive, Tarball
from h36m_toolbox.cdf import read_pose_cdf
from h36m_toolbox.detections import (
    GROUND_TRUTH,
    DetectionReport,
    ground_truth_detections,
    open_detections,
    write_detections,
)
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, SUBJECTS, Sequence
from h36m_toolbox.tarballs import Unpacked


def open_raw(
    raw: Path,
    data: Path,
    kinds: tuple[Kind, ...],
    subjects: tuple[str, ...] = SUBJECTS,
    progress: Callable[[Tarball, Unpacked], None] | None = None,
) -> RawArchive:
    """The raw files of these kinds; tarballs are unpacked once, below `DATA/raw`."""
    archive = RawArchive.open(raw)
    if archive.tarballs:
        archive = archive.unpacked(kinds, data / "raw", subjects, progress)
    if archive.damaged and not archive.files:
        raise H36MError("\n".join(archive.damaged))
    return archive


def videos_to_extract(
    archive: RawArchive,
    subjects: tuple[str, ...] = SUBJECTS,
    actions: tuple[str, ...] = ACTIONS,
    cameras: tuple[str, ...] = CAMERA_IDS,
) -> dict[Sequence, Path]:
    """The videos among those asked for, in the data set's loop order; H36MError where there is none."""
    for asked, known in ((subjects, SUBJECTS), (actions, ACTIONS), (cameras, CAMERA_IDS)):
        unknown = [word for word in asked if word not in known]
        if unknown:
            raise H36MError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    videos = {
        sequence: archive.path(sequence, Kind.VIDEO)
        for sequence in archive.sequences([Kind.VIDEO])
        if sequence.subject in subjects and sequence.action in actions and sequence.camera in cameras
    }
    if not videos:
        raise H36MError(f"{archive.root}: no video of what was asked for; get Videos_S*.tgz from the official site")
    return videos


def bundle_detections(
    archive: RawArchive, data: Path, sources: dict[str, Path], progress: Callable[[Sequence], None] | None = None
) -> dict[str, DetectionReport]:
    """Bundle ground truth (where world poses are there) and every named detections file; reports by name."""
    lengths = {
        sequence: len(read_pose_cdf(archive.path(sequence, Kind.CAMERA), 3))
        for sequence in archive.sequences(POSE_KINDS)
    }
    reports = {}
    if archive.sequences([Kind.WORLD]):
        reports["gt"] = write_detections(data, GROUND_TRUTH, ground_truth_detections(archive), lengths, progress)
    for name, path in sources.items():
        source, detected = open_detections(name, path)
        reports[name] = write_detections(data, source, detected, lengths, progress)
    return reports

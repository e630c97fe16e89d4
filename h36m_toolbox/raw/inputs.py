"""What a job works on: the raw files it needs, unpacked, and the videos that were asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from h36m_toolbox.errors import H36MError
from h36m_toolbox.raw.archive import Kind, RawArchive, Tarball
from h36m_toolbox.raw.tarballs import Unpacked
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, SUBJECTS, Sequence


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

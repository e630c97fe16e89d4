"""What is there, missing, damaged or known to be bad in a RAW or a DATA folder, told in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from h36m_toolbox.archive import POSE_KINDS, Kind, RawArchive
from h36m_toolbox.cdf import read_pose_cdf
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames import read_manifest
from h36m_toolbox.known_bad import DISPLACED_RECORDINGS, UNREADABLE_VIDEOS
from h36m_toolbox.labels import labels_path
from h36m_toolbox.sequences import SPLITS, SUBJECTS, Recording, recordings, sequence_of_folder, sequences

# Poses of all views in the real data set, from its metadata and several papers.
OFFICIAL_ROWS = {"train": 1_559_752, "val": 550_644}


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's table: `level` is "ok", "note" (partial, known or unusual) or "problem"."""

    level: str
    where: str
    what: str


def examine(folder: Path) -> list[Finding]:
    """Findings about a DATA folder (one with labels, images or detections) or a RAW one."""
    prepared = any((folder / part).is_dir() for part in ("labels", "images"))
    if prepared or any((folder / "detections").glob("*.parquet")):
        return examine_data(folder)
    return examine_raw(RawArchive.open(folder))


def examine_raw(archive: RawArchive) -> list[Finding]:
    """Findings about raw files: completeness by subject and kind, damaged files, lengths unlike the official ones."""
    findings = [Finding("problem", "archives", line) for line in archive.damaged]
    findings += [
        Finding("note", "files", f"{path}: not a name of the data set; ignored") for path in archive.unrecognised
    ]
    for subject in SUBJECTS:
        findings += _subject_findings(archive, subject)
    for recording in recordings():
        findings += _world_findings(archive, recording)
    return findings


def _subject_findings(archive: RawArchive, subject: str) -> list[Finding]:
    packed = {tarball.kind for tarball in archive.tarballs if tarball.subject == subject}
    counts = {}
    for kind in (*POSE_KINDS, Kind.VIDEO):
        counts[kind] = sum(file.kind is kind and file.recording.subject == subject for file in archive.files)
    if not packed and not any(counts.values()):
        return [Finding("note", subject, "nothing of this subject is here")]
    findings = []
    for kind, count in counts.items():
        expected = len(recordings((subject,))) * (4 if kind.per_camera else 1)
        what = f"{kind.value}: {count} of {expected} files"
        if kind in packed:
            what += ", and its archive" if count else " unpacked, archive present"
        level = "ok" if count == expected or kind in packed else "note"
        findings.append(Finding(level, subject, what))
    for sequence in UNREADABLE_VIDEOS:
        if sequence.subject == subject and archive.has(sequence, Kind.VIDEO):
            findings.append(Finding("note", str(sequence), "its video cannot be decoded in the official release"))
    return findings


def _world_findings(archive: RawArchive, recording: Recording) -> list[Finding]:
    view = recording.views[0]
    if not archive.has(view, Kind.WORLD):
        return []
    where = f"{recording.subject}/{recording.stem}"
    try:
        frames = len(read_pose_cdf(archive.path(view, Kind.WORLD), 3))
    except H36MError as error:
        return [Finding("problem", where, str(error))]
    findings = []
    if frames != recording.pose_frames:
        findings.append(Finding("note", where, f"{frames} poses; the official release has {recording.pose_frames}"))
    if recording in DISPLACED_RECORDINGS:
        findings.append(Finding("note", where, "ground truth is displaced against the images in the official release"))
    lacking = {
        kind.value: sum(not archive.has(sequence, kind) for sequence in recording.views)
        for kind in POSE_KINDS
        if kind.per_camera
    }
    if any(lacking.values()) and not archive.tarballs:
        what = ", ".join(f"{count} views without {kind}" for kind, count in lacking.items() if count)
        findings.append(Finding("problem", where, f"{what}: no labels can be made for them"))
    return findings


def examine_data(data: Path) -> list[Finding]:
    """Findings about a prepared folder: labels against the official counts, images against manifests, detections."""
    findings = []
    for split in SPLITS:
        findings.append(_labels_finding(data, split))
    findings += _image_findings(data)
    for path in sorted((data / "detections").glob("*.parquet")):
        try:
            findings.append(Finding("ok", "detections", f"{path.stem}: {pq.read_metadata(path).num_rows:,} rows"))
        except (pa.ArrowException, OSError) as error:
            findings.append(Finding("problem", "detections", f"{path}: cannot be read ({error}); bundle them again"))
    return findings


def _labels_finding(data: Path, split: str) -> Finding:
    path = labels_path(data, split)
    if not path.is_file():
        return Finding("note", "labels", f"{split}: none; run `h36m labels RAW --out {data}`")
    try:
        rows = pq.read_metadata(path).num_rows
    except (pa.ArrowException, OSError) as error:
        return Finding("problem", "labels", f"{path}: cannot be read ({error}); make it again")
    official = OFFICIAL_ROWS[split]
    return Finding("ok" if rows == official else "note", "labels", f"{split}: {rows:,} rows of {official:,}")


def _image_findings(data: Path) -> list[Finding]:
    images = data / "images"
    if not images.is_dir():
        return [Finding("note", "images", f"none; run `h36m extract RAW --out {data}`")]
    folders = {path.name for path in images.iterdir() if path.is_dir() and not path.name.startswith(".")}
    findings = []
    for name in sorted(folders):
        sequence = sequence_of_folder(name)
        if sequence is None:
            findings.append(Finding("note", "images", f"{name}: not the name of a sequence; ignored"))
            continue
        manifest = read_manifest(data, sequence)
        if manifest is None:
            findings.append(Finding("note", "images", f"{name}: without a manifest, so made by another tool"))
        elif manifest.problem:
            findings.append(Finding("note", "images", f"{name}: {manifest.problem}"))
    unfinished = len(list(images.glob(".*.partial")))
    if unfinished:
        findings.append(Finding("problem", "images", f"{unfinished} unfinished folders; run `h36m extract` again"))
    findings.append(Finding("ok", "images", f"{len(folders)} sequences of {len(sequences())}"))
    return findings

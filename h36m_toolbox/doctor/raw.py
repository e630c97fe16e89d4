"""RAW examined: completeness by subject and kind, damaged files, lengths unlike the official ones, archives."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

from h36m_toolbox.doctor.examination import Examination, Finding, some
from h36m_toolbox.download.index import OfficialArchive
from h36m_toolbox.errors import H36MError
from h36m_toolbox.known_bad import DISPLACED_RECORDINGS, UNREADABLE_VIDEOS
from h36m_toolbox.poses import pose_file_frames
from h36m_toolbox.raw.archive import POSE_KINDS, Kind, RawArchive, RawFile, Tarball
from h36m_toolbox.raw.media_headers import mask_count, video_header_frames
from h36m_toolbox.raw.metadata_xml import metadata_differences
from h36m_toolbox.raw.tarballs import member_names
from h36m_toolbox.sequences import OFFICIAL_POSES, SPLITS, SUBJECTS, Sequence, recordings

_KINDS = (*POSE_KINDS, Kind.VIDEO, Kind.MASK)
_READERS = 8  # files opened at a time: what takes time on a network disk is waiting

Lengths = dict[RawFile, int | str]  # frames, or what is wrong with the file


def examine_raw(archive: RawArchive, checksums: bool = False) -> Examination:
    """Findings about raw files from their headers; archives are read from end to end only for their `checksums`."""
    lengths = _lengths(archive)
    rows = {subject: _cells(archive, lengths, subject) for subject in SUBJECTS}
    findings = [Finding("problem", "archives", line) for line in archive.damaged]
    findings += [
        Finding("note", "files", f"{path}: not a name of the data set; ignored") for path in archive.unrecognised
    ]
    findings += _metadata_findings(archive)
    if checksums:
        findings += _checksum_findings(archive)
    for subject in SUBJECTS:
        if not any(rows[subject]):
            findings.append(Finding("note", subject, "nothing of this subject is here"))
            continue
        for kind in _KINDS:
            findings += _kind_findings(archive, lengths, subject, kind)
        findings += _sequence_findings(archive, lengths, subject)
        findings += _known_findings(archive, subject)
    findings += _count_findings(lengths, archive.posed_sequences())
    return Examination(archive.root, (*(kind.value for kind in _KINDS), "poses"), rows, tuple(findings))


def _lengths(archive: RawArchive) -> Lengths:
    files = [file for file in archive.files if file.recording.subject in SUBJECTS]
    with ThreadPoolExecutor(_READERS) as pool:
        return dict(zip(files, pool.map(lambda file: _length(file, archive.files[file]), files), strict=True))


def _count_findings(lengths: Lengths, posed: list[Sequence]) -> Iterator[Finding]:
    for split, official in OFFICIAL_POSES.items():
        count = sum(_pose_length(lengths, view) for view in posed if view.subject in SPLITS[split])
        if count:
            level = "ok" if count == official else "note"
            yield Finding(level, "poses", f"{split}: {count:,} of {official:,} over all views")


def _length(file: RawFile, path: Path) -> int | str:
    try:
        if file.kind is Kind.VIDEO:
            return video_header_frames(path)
        if file.kind is Kind.MASK:
            return mask_count(path)
        return pose_file_frames(path, 2 if file.kind is Kind.IMAGE else 3)
    except H36MError as error:
        return str(error)


def _expected_files(subject: str, kind: Kind) -> list[RawFile]:
    if kind.per_camera:
        return [
            RawFile(kind, recording, view.camera) for recording in recordings((subject,)) for view in recording.views
        ]
    return [RawFile(kind, recording, "") for recording in recordings((subject,))]


def _official_length(file: RawFile) -> int:
    if file.kind in POSE_KINDS:
        return file.recording.pose_frames
    return file.recording.view(file.camera).video_frames


def _name(file: RawFile) -> str:
    return f"{file.recording.stem}.{file.camera}" if file.camera else file.recording.stem


def _packed(archive: RawArchive, subject: str) -> set[Kind]:
    return {tarball.kind for tarball in archive.tarballs if tarball.subject == subject}


def _cells(archive: RawArchive, lengths: Lengths, subject: str) -> tuple[str, ...]:
    cells = []
    for kind in _KINDS:
        expected = _expected_files(subject, kind)
        there = [lengths[file] for file in expected if file in lengths]
        damaged = sum(isinstance(length, str) for length in there)
        parts = [f"{len(there)}/{len(expected)}"] if there else []
        parts += [f"{damaged} damaged"] if damaged else []
        parts += ["archive"] if kind in _packed(archive, subject) else []
        cells.append(", ".join(parts))
    poses = sum(
        _pose_length(lengths, sequence) for sequence in archive.posed_sequences() if sequence.subject == subject
    )
    official = sum(4 * recording.pose_frames for recording in recordings((subject,)))
    return (*cells, f"{poses:,} of {official:,}" if poses else "")


def _pose_length(lengths: Lengths, view: Sequence) -> int:
    """Poses of a view, from its own file or the recording's; 0 where these are damaged."""
    own, shared = (
        lengths.get(file)
        for file in (RawFile(Kind.CAMERA, view.recording, view.camera), RawFile(Kind.WORLD, view.recording, ""))
    )
    return next((length for length in (own, shared) if isinstance(length, int)), 0)


def _kind_findings(archive: RawArchive, lengths: Lengths, subject: str, kind: Kind) -> Iterator[Finding]:
    expected = _expected_files(subject, kind)
    there = {file: lengths[file] for file in expected if file in lengths}
    for file, length in there.items():
        if isinstance(length, str):
            known = kind is Kind.VIDEO and file.recording.view(file.camera) in UNREADABLE_VIDEOS
            yield Finding("note" if known else "problem", f"{subject}/{_name(file)}", length)
    unusual = [
        f"{_name(file)}: {length} {_unit(kind)}; the official release has {_official_length(file)}"
        for file, length in there.items()
        if isinstance(length, int) and length != _official_length(file)
    ]
    where = f"{subject} {kind.value}"
    if unusual:
        yield Finding("note", where, some(unusual))
    absent = [_name(file) for file in expected if file not in there]
    if kind in _packed(archive, subject):
        return
    if absent and (there or kind in POSE_KINDS):
        which = f"; lacks {some(absent)}" if there else ""
        yield Finding("note", where, f"{len(there)} of {len(expected)} files{_consequence(kind)}{which}")


def _unit(kind: Kind) -> str:
    return {Kind.VIDEO: "frames", Kind.MASK: "masks"}.get(kind, "poses")


def _consequence(kind: Kind) -> str:
    """What becomes of sequences that lack a kind of file."""
    if kind is Kind.UNIVERSAL:
        return ", cannot be derived: null in the labels"
    return ", the others are derived where one of the 3D kinds is there" if kind in POSE_KINDS else ""


def _sequence_findings(archive: RawArchive, lengths: Lengths, subject: str) -> Iterator[Finding]:
    """What files of one view say of each other."""
    unequal, short, without = [], [], []
    posed = set(archive.posed_sequences())
    for view in (view for recording in recordings((subject,)) for view in recording.views):
        files = {kind: RawFile(kind, view.recording, view.camera if kind.per_camera else "") for kind in _KINDS}
        found = {kind: length for kind, file in files.items() if isinstance(length := lengths.get(file), int)}
        poses = {kind: length for kind, length in found.items() if kind in POSE_KINDS}
        if len(set(poses.values())) > 1:
            unequal.append(f"{view}: {', '.join(f'{kind.value} {length}' for kind, length in poses.items())}")
        if poses and found.get(Kind.VIDEO, max(poses.values())) < min(poses.values()):
            short.append(f"{view}: {found[Kind.VIDEO]} frames for {min(poses.values())} poses")
        if view not in posed and any(files[kind] in lengths for kind in POSE_KINDS):
            without.append(str(view))
    if unequal:
        yield Finding("note", subject, f"pose files of unequal length are cut to the shortest: {some(unequal)}")
    if short:
        yield Finding("note", subject, f"videos shorter than the poses: {some(short)}")
    if without and not {Kind.WORLD, Kind.CAMERA} & _packed(archive, subject):
        what = f"neither {Kind.WORLD.value} nor {Kind.CAMERA.value}, so no labels can be made"
        yield Finding("problem", subject, f"{what}: {some(without)}")


def _known_findings(archive: RawArchive, subject: str) -> Iterator[Finding]:
    for sequence in UNREADABLE_VIDEOS:
        if sequence.subject == subject and archive.has(sequence, Kind.VIDEO):
            what = "known: archives older than September 2020 hold a video of this view that cannot be decoded"
            yield Finding("note", str(sequence), what)
    for recording in DISPLACED_RECORDINGS:
        if recording.subject == subject and any(archive.has(recording.views[0], kind) for kind in POSE_KINDS):
            what = "known: ground truth is displaced against the images in the official release, and ends early"
            yield Finding("note", f"{subject}/{recording.stem}", what)
    cameras = archive.cameras_of(subject)
    absent = [view.camera for view in recordings((subject,))[0].views if view.camera not in cameras]
    if absent:
        yield Finding("note", subject, f"no pose files of camera {', '.join(absent)}; these views are left out")


def _metadata_findings(archive: RawArchive) -> list[Finding]:
    if archive.metadata is None:
        return []
    where = archive.metadata.name
    try:
        differences = metadata_differences(archive.metadata)
    except H36MError as error:
        return [Finding("problem", where, str(error))]
    told = [Finding("problem", where, f"differs from the built-in tables: {line}") for line in differences]
    return told or [Finding("ok", where, f"{archive.metadata}: as the built-in tables")]


def _checksum_findings(archive: RawArchive) -> Iterator[Finding]:
    for path, contents in groupby(archive.tarballs, lambda tarball: tarball.path):
        yield _checksum_finding(next(contents), path)


def _checksum_finding(tarball: Tarball, path: Path) -> Finding:
    try:
        files = Counter(Path(name).suffix for name in member_names(path)).total()
    except H36MError as error:
        return Finding("problem", path.name, str(error))
    official = OfficialArchive(tarball.kind, tarball.subject)
    if path.suffix == ".zip" or not official.md5s:
        return Finding("note", path.name, f"whole, {files} files; no checksum is published")
    found = _md5_of(path)
    if found in official.md5s:
        return Finding("ok", path.name, f"whole, md5 as published for {official.file_name}")
    known = " or ".join(official.md5s)
    return Finding(
        "problem", path.name, f"{path}: md5 {found}; published for {official.file_name} is {known}: download it again"
    )


def _md5_of(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

"""What of MPI-INF-3DHP is there, missing or damaged: headers, texts and counts against the official ones."""

from __future__ import annotations

from collections.abc import Iterator

from h36m_toolbox.doctor.examination import Examination, Finding, some
from h36m_toolbox.errors import H36MError
from h36m_toolbox.mpi_inf_3dhp.annotations import read_camera_numbers, read_test_annotations
from h36m_toolbox.mpi_inf_3dhp.archive import Archive, TestSequence, TrainSequence
from h36m_toolbox.mpi_inf_3dhp.calibration import read_test_camera, read_train_cameras
from h36m_toolbox.mpi_inf_3dhp.sequences import (
    CAMERA_SETS,
    TEST_FRAMES,
    TEST_VALID_FRAMES,
    TRAIN_RECORDINGS,
    image_size,
)
from h36m_toolbox.raw.media_headers import video_header_frames

_COLUMNS = ("annotations", "calibration", "videos", "images")


def examine_archive(archive: Archive) -> Examination:
    """Every sequence below a folder; of training annotations the header alone is read."""
    rows: dict[str, tuple[str, ...]] = {}
    findings: list[Finding] = []
    inspected = [(item.name, _train_sequence(item)) for item in archive.train]
    inspected += [(item.name, _test_sequence(item)) for item in archive.test]
    for name, (cells, found) in inspected:
        rows[name] = cells
        findings += [Finding(level, name, what) for level, what in found]
    findings += [Finding("note", "copies", f"{folder} is not used") for folder in archive.repeated]
    findings += [Finding("note", "set", text) for text in _absent(archive)]
    if not findings:
        findings.append(Finding("ok", "set", "MPI-INF-3DHP, complete"))
    return Examination(archive.root, _COLUMNS, rows, tuple(findings))


def _absent(archive: Archive) -> Iterator[str]:
    for title, present, all_names in (
        ("training", {item.name for item in archive.train}, tuple(TRAIN_RECORDINGS)),
        ("test", {item.name for item in archive.test}, tuple(TEST_FRAMES)),
    ):
        absent = [name for name in all_names if name not in present]
        if absent:
            yield f"{len(absent)} of {len(all_names)} {title} sequences are not here: {some(absent)}"


def _train_sequence(sequence: TrainSequence) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    findings: list[tuple[str, str]] = []
    annotated = calibrated = ""
    try:
        annotated = f"{len(read_camera_numbers(sequence.annotations))} cameras"
    except H36MError as error:
        findings.append(("problem", str(error)))
    try:
        calibrated = f"{len(read_train_cameras(sequence.calibration))} cameras"
    except H36MError as error:
        findings.append(("problem", str(error)))
    expected = TRAIN_RECORDINGS[sequence.name].frames
    lengths = {}
    for camera, path in sequence.videos.items():
        try:
            lengths[camera] = video_header_frames(path)
        except H36MError as error:
            findings.append(("problem", str(error)))
    other = [f"camera {camera} has {length:,}" for camera, length in lengths.items() if length != expected]
    if other:
        findings.append(("note", f"videos of another length than the official {expected:,} frames: {some(other)}"))
    absent = [str(camera) for camera in CAMERA_SETS["vnect"] if camera not in sequence.videos]
    if absent:
        findings.append(("note", f"no video of camera {', '.join(absent)} of the usual eight"))
    findings += [("note", f"{path.name} is not unpacked: unzip it in imageSequence") for path in sequence.zips]
    return (annotated, calibrated, str(len(sequence.videos) or ""), ""), findings


def _test_sequence(sequence: TestSequence) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    findings: list[tuple[str, str]] = []
    annotated = calibrated = ""
    rows, images = None, 0
    try:
        found = read_test_annotations(sequence.annotations, sequence.name)
        rows, valid = len(found.valid), int(found.valid.sum())
        annotated = f"{rows:,} frames, {valid:,} valid"
        official = (TEST_FRAMES[sequence.name], TEST_VALID_FRAMES[sequence.name])
        if (rows, valid) != official:
            findings.append(("note", f"{annotated}; officially {official[0]:,}, {official[1]:,} valid"))
    except H36MError as error:
        findings.append(("problem", str(error)))
    try:
        read_test_camera(sequence.calibration, image_size(sequence.name))
        calibrated = "yes"
    except H36MError as error:
        findings.append(("note", str(error)))
    if sequence.images.is_dir():
        images = sum(1 for _ in sequence.images.glob("img_*.jpg"))
    if not images:
        findings.append(("note", "no images"))
    elif rows is not None and images != rows:
        findings.append(("problem", f"{images:,} images for {rows:,} annotated frames; unpack the test set again"))
    return (annotated, calibrated, "", f"{images:,}" if images else ""), findings

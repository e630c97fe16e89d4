"""Stacked-hourglass detections as Martinez et al. store them: an archive of h5 files, one a sequence."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import h5py
import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.raw.tarballs import is_tarball
from h36m_toolbox.sequences import CAMERA_IDS, SUBJECTS, Sequence, recording_of_stem, sequences
from h36m_toolbox.skeletons import SH_16, Skeleton
from h36m_toolbox.storage.safe_pickle import ZIP_DAMAGE


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class DetectedSequence:
    """Detections of one sequence: (frames, joints, 2), px float32; confidences (frames, joints), 0 or more, if told."""

    sequence: Sequence
    joints_2d: np.ndarray
    confidences: np.ndarray | None = None


@dataclass(frozen=True)
class DetectionSource:
    """Where detections come from: name in DATA, file and its hash ("" for ground truth), joints in the file's order.

    `notes` are what a user should know about the reading, such as columns that are not used. `step`: the rows of a
    sequence are its every n-th frame, from frame 0. `confident`: every sequence tells its confidences.
    """

    name: str
    file: str
    sha256: str
    skeleton: Skeleton
    notes: tuple[str, ...] = ()
    step: int = 1
    confident: bool = False


def in_loop_order(found: dict[Sequence, np.ndarray]) -> Iterator[DetectedSequence]:
    """Detections as the data set's loops meet them: subject, action, sub-action, camera."""
    for sequence in sequences():
        if sequence in found:
            yield DetectedSequence(sequence, found[sequence])


def read_hourglass(path: Path) -> Iterator[DetectedSequence]:
    """Stacked-hourglass detections (SH_16, px) of a tar.gz of h5 files or of Martinez et al.'s `h36m.zip`.

    Sequences come in the loop order of the data set, labelled subjects only. Raises H36MError for an archive that is
    damaged or holds no detections or several sets of them; in a zip, for a damaged member when it is its turn.
    """
    if is_tarball(path):
        return in_loop_order(_read_hourglass_tar(path))
    return _read_hourglass_zip(path, _hourglass_zip_members(path))


def _read_hourglass_tar(path: Path) -> dict[Sequence, np.ndarray]:
    """Martinez et al.'s tar of h5 files, `S1/StackedHourglass*/Walking_1.54138969.h5`."""
    found: dict[Sequence, np.ndarray] = {}
    names = []
    try:
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                sequence = _hourglass_sequence(member.name) if member.isfile() else None
                content = tar.extractfile(member) if sequence else None
                if sequence and content:
                    names.append(member.name)
                    found[sequence] = _read_hourglass(content.read(), f"{path}: {member.name}")
    except (tarfile.TarError, EOFError, OSError, TypeError, ValueError, zlib.error) as error:
        raise H36MError(f"{path}: truncated or no tar archive ({error}); download it again") from error
    _check_hourglass_names(path, names)
    return found


_HDF5_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError)  # what h5py makes of damage
_MOST_DEFLATED = 1100  # bytes that one byte of a compressed stream can stand for, and a little more


def _hourglass_zip_members(path: Path) -> dict[Sequence, str]:
    """The detections inside Martinez et al.'s `h36m.zip`: `h36m/S1/StackedHourglass/Walking_1.54138969.h5`."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if _hourglass_sequence(name)]
    except ZIP_DAMAGE as error:
        raise H36MError(f"{path}: truncated or no zip archive ({error}); get it again") from error
    _check_hourglass_names(path, names)
    return {sequence: name for name in names if (sequence := _hourglass_sequence(name))}


def _read_hourglass_zip(path: Path, members: dict[Sequence, str]) -> Iterator[DetectedSequence]:
    with zipfile.ZipFile(path) as archive:
        for sequence in sequences():
            if sequence in members:
                try:
                    content = archive.read(members[sequence])
                except ZIP_DAMAGE as error:
                    raise H36MError(f"{path}: {members[sequence]} is damaged ({error}); get it again") from error
                yield DetectedSequence(sequence, _read_hourglass(content, f"{path}: {members[sequence]}"))


def _check_hourglass_names(path: Path, names: Iterable[str]) -> None:
    """One set of detections, no more: two sets differ in their folder and would hide each other."""
    folders = sorted({PurePosixPath(name).parts[-2] for name in names})
    if not folders:
        raise H36MError(f"{path}: no S1/StackedHourglass*/<sequence>.<camera>.h5 inside; is it the right file?")
    if len(folders) > 1:
        raise H36MError(f"{path}: holds {' and '.join(folders)}; expected one of them: pack each for itself")


def _hourglass_sequence(name: str) -> Sequence | None:
    parts = PurePosixPath(name).parts
    if len(parts) < 3 or not parts[-2].startswith("StackedHourglass") or not parts[-1].endswith(".h5"):
        return None
    stem, _, camera = parts[-1].removesuffix(".h5").rpartition(".")
    recording = recording_of_stem(parts[-3], stem)
    return recording.view(camera) if recording and camera in CAMERA_IDS and recording.subject in SUBJECTS else None


def _read_hourglass(content: bytes, what: str) -> np.ndarray:
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            stored = file["poses"]
            if not isinstance(stored, h5py.Dataset) or stored.shape[1:] != (len(SH_16), 2) or stored.dtype.kind != "f":
                raise H36MError(f"{what}: poses are {stored}; expected floats (frames, 16, 2) in pixels")
            if stored.nbytes > _MOST_DEFLATED * len(content):
                raise H36MError(f"{what}: announces {len(stored):,} frames in {len(content):,} bytes; get it again")
            return np.asarray(stored).astype(np.float32)
    except _HDF5_DAMAGE as error:
        raise H36MError(f"{what}: no HDF5 file with a dataset `poses` ({error})") from error

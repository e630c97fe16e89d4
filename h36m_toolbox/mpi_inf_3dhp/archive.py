"""Finding MPI-INF-3DHP on disk: training and test sequences below a folder, however it was unpacked."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from h36m_toolbox.errors import H36MError
from h36m_toolbox.mpi_inf_3dhp.sequences import TEST_SEQUENCES, TRAIN_RECORDINGS

TRAIN_ANNOTATIONS = "annot.mat"
TEST_ANNOTATIONS = "annot_data.mat"
CALIBRATION = "camera.calibration"
IMAGES = "imageSequence"
_CALIBRATIONS = {
    **dict.fromkeys(("TS1", "TS2", "TS3", "TS4"), "ts1-4cameras.calib"),
    **dict.fromkeys(("TS5", "TS6"), "ts5-6cameras.calib"),
}
_VIDEO = re.compile(r"video_(\d{1,2})\.avi")
_OWN_FOLDER = re.compile(r"S[1-8]|Seq[12]|TS[1-6]|mpi_inf_3dhp.*|train|test")
_ANY_NAME_LEVELS = 1  # how deep the set may lie below folders with names of the user's own


@dataclass(frozen=True)
class TrainSequence:
    """The files of one training sequence, such as "S1/Seq2"; zips that the publisher's script would unpack too."""

    name: str
    folder: Path
    videos: dict[int, Path]  # by camera
    zips: tuple[Path, ...]

    @property
    def annotations(self) -> Path:
        return self.folder / TRAIN_ANNOTATIONS

    @property
    def calibration(self) -> Path:
        return self.folder / CALIBRATION


@dataclass(frozen=True)
class TestSequence:
    """The files of one test sequence, TS1 to TS6; `images` need not exist."""

    __test__ = False

    name: str
    folder: Path

    @property
    def annotations(self) -> Path:
        return self.folder / TEST_ANNOTATIONS

    @property
    def images(self) -> Path:
        return self.folder / IMAGES

    @property
    def calibration(self) -> Path:
        return self.folder.parent / "test_util" / "camera_calibration" / _CALIBRATIONS[self.name]


@dataclass(frozen=True)
class Archive:
    """What of MPI-INF-3DHP lies below `root`, in the data set's order; `repeated`: further copies, not used."""

    root: Path
    train: tuple[TrainSequence, ...]
    test: tuple[TestSequence, ...]
    repeated: tuple[Path, ...] = ()


def open_archive(root: Path) -> Archive:
    """The sequences below a folder: the whole set, one part of it, the test set at either depth, or one sequence.

    Raises H36MError where there is none.
    """
    archive = find_archive(root)
    if archive is None:
        raise H36MError(
            f"{root}: no sequence of MPI-INF-3DHP; expected S1/Seq1/{TRAIN_ANNOTATIONS} and the like of the training "
            f"set or TS1/{TEST_ANNOTATIONS} and the like of the test set, in it or one folder below"
        )
    return archive


def find_archive(root: Path) -> Archive | None:
    """As `open_archive`; None where there is no sequence. Folders of frames are never listed."""
    found: dict[str, Path] = {}
    repeated = []
    for folder in _folders(root):
        name = _sequence_name(folder)
        if name and name in found:
            repeated.append(folder)
        elif name:
            found[name] = folder
    if not found:
        return None
    train = tuple(_train_sequence(name, found[name]) for name in TRAIN_RECORDINGS if name in found)
    test = tuple(TestSequence(name, found[name]) for name in TEST_SEQUENCES if name in found)
    return Archive(root, train, test, tuple(repeated))


def _folders(root: Path) -> list[Path]:
    """Folders that may be a sequence, the shallow ones first."""
    level, folders = [root], [root]
    for depth in range(_ANY_NAME_LEVELS + 3):
        below = [Path(entry.path) for folder in level for entry in _listed(folder) if entry.is_dir()]
        level = [folder for folder in below if depth < _ANY_NAME_LEVELS or _OWN_FOLDER.fullmatch(folder.name)]
        level = [folder for folder in level if folder.name != IMAGES]
        folders += level
    return folders


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    if not folder.is_dir() or _sequence_name(folder):
        return []
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _sequence_name(folder: Path) -> str | None:
    """ "S1/Seq1" or "TS1" for a folder that is one by its name and its annotations."""
    place = folder.absolute()
    if place.name in TEST_SEQUENCES and (folder / TEST_ANNOTATIONS).is_file():
        return place.name
    name = f"{place.parent.name}/{place.name}"
    return name if name in TRAIN_RECORDINGS and (folder / TRAIN_ANNOTATIONS).is_file() else None


def _train_sequence(name: str, folder: Path) -> TrainSequence:
    images = folder / IMAGES
    videos = {
        int(match[1]): path for path in images.glob("video_*.avi") if (match := _VIDEO.fullmatch(path.name)) is not None
    }
    zips = (*sorted(folder.glob("*.zip")), *sorted(images.glob("*.zip")))
    return TrainSequence(name, folder, dict(sorted(videos.items())), zips)

"""Human3.6M as people have it on disk: recognised, never configured.

Layouts: the downloaded `.tgz` archives, the unpacked original (`S1/MyPoseFeatures/D3_Positions/...`, `S1/Videos/...`),
h36m-fetch's `extracted/` (`S1/Poses_D3_Positions_mono/...`) and Martinez et al.'s `h36m.zip`, packed or unpacked
(`S1/MyPoses/3D_positions/...`: world poses only), each at any depth below the folder given, also mixed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import groupby, islice
from pathlib import Path, PurePosixPath

from h36m_toolbox.errors import H36MError
from h36m_toolbox.poses import PoseFiles, SequencePoses
from h36m_toolbox.raw.tarballs import Unpacked, is_compressed, is_tarball, is_zip, member_names, unpack
from h36m_toolbox.sequences import CAMERA_IDS, SUBJECTS, Recording, Sequence, recording_of_stem, sequences


class Kind(str, Enum):
    """What a raw file holds; the value is its folder in the original."""

    WORLD = "D3_Positions"
    CAMERA = "D3_Positions_mono"
    UNIVERSAL = "D3_Positions_mono_universal"
    IMAGE = "D2_Positions"
    VIDEO = "Videos"
    MASK = "ground_truth_bb"

    @property
    def per_camera(self) -> bool:
        """Whether there is one file per view, not one per recording."""
        return self is not Kind.WORLD

    @property
    def archive_name(self) -> str:
        """How h36m-fetch and H36M-Toolbox call a subject's archive of this kind, without `_S1.tgz`."""
        if self is Kind.MASK:
            return "Segments_mat_gt_bb"
        return self.value if self is Kind.VIDEO else f"Poses_{self.value}"

    @property
    def parent(self) -> str:
        """The folder between a subject's and this kind's in the original; "" for none."""
        return {Kind.VIDEO: "", Kind.MASK: "MySegmentsMat"}.get(self, "MyPoseFeatures")

    @property
    def suffix(self) -> str:
        """How the names of the files end."""
        return {Kind.VIDEO: ".mp4", Kind.MASK: ".mat"}.get(self, ".cdf")


POSE_KINDS = (Kind.WORLD, Kind.CAMERA, Kind.UNIVERSAL, Kind.IMAGE)
_VIEW_POSE_KINDS = (Kind.CAMERA, Kind.UNIVERSAL, Kind.IMAGE)

_PLACE = re.compile(
    r"(?:^|/)(?P<subject>[Ss]\d+)/(?:MyPoseFeatures/|MySegmentsMat/|MyPoses/|Poses_)?"
    r"(?P<kind>D2_Positions|D3_Positions_mono_universal|D3_Positions_mono|D3_Positions|3D_positions|Videos"
    r"|ground_truth_bb|Segments_mat_gt_bb)/(?P<file>[^/]+)$"
)
_H5_FOLDER, _H5_SUFFIX = "3D_positions", ".h5"  # of h36m.zip, for world poses
METADATA_NAME = "metadata.xml"
_VIEW_FILE = re.compile(r"(?P<stem>.+)\.(?P<camera>\d{8})\.(?:cdf|mp4|mat)")
_SUFFIXES = tuple({kind.suffix: None for kind in Kind})
_OUTPUT_FOLDERS = {
    "images",
    "labels",
    "processed",
    "detections",
    "imageSequence",
    "runs",
    "manifests",
    "stats",
    "pelvis",
}
_OUTPUT_PREFIXES = ("images-", "imageSequence-", ".")
# What is never looked into for an archive under a strange name
_OUTPUT_SUFFIXES = {".jpg", ".png", ".npz", ".npy", ".pkl", ".parquet", ".json", ".csv", ".txt", ".xml"}


@dataclass(frozen=True)
class RawFile:
    """What one path of the archive is; `camera` is "" for a world pose file."""

    kind: Kind
    recording: Recording
    camera: str


def recognise(path: str) -> RawFile | None:
    """What a raw file is, from its path in any layout; None for `_ALL` takes and everything unknown."""
    place = _PLACE.search(path)
    if place is None:
        return None
    kind, suffix = _kind_of(place["kind"]), _suffix_of(place["kind"])
    if not place["file"].endswith(suffix):
        return None
    if kind.per_camera:
        view = _VIEW_FILE.fullmatch(place["file"])
        stem, camera = (view["stem"], view["camera"]) if view else ("", "")
        if camera not in CAMERA_IDS:
            return None
    else:
        stem, camera = place["file"].removesuffix(suffix), ""
    recording = recording_of_stem(place["subject"].upper(), stem)
    return None if recording is None else RawFile(kind, recording, camera)


def original_place(file: RawFile) -> Path:
    """Where the unpacked original keeps a file, relative to its root."""
    name = f"{file.recording.stem}.{file.camera}" if file.camera else file.recording.stem
    return Path(file.recording.subject, file.kind.parent, file.kind.value, name + file.kind.suffix)


def _kind_of(folder: str) -> Kind:
    """The kind whose files a folder holds: named as in the original, by h36m-fetch after the archive, by Martinez."""
    others = {Kind.MASK.archive_name: Kind.MASK, _H5_FOLDER: Kind.WORLD}
    return others[folder] if folder in others else Kind(folder)


def _suffix_of(folder: str) -> str:
    return _H5_SUFFIX if folder == _H5_FOLDER else _kind_of(folder).suffix


@dataclass(frozen=True)
class Tarball:
    """One kind and subject that a downloaded archive holds: a `.tgz` holds one, `h36m.zip` one a subject."""

    path: Path
    kind: Kind
    subject: str


@dataclass(frozen=True)
class RawArchive:
    """The raw files found below one folder. Open with `RawArchive.open`."""

    root: Path
    files: dict[RawFile, Path]
    tarballs: tuple[Tarball, ...] = ()
    damaged: tuple[str, ...] = ()  # what is wrong with tarballs that cannot be read
    unrecognised: tuple[Path, ...] = field(default=())  # pose files and videos whose names the data set does not have
    metadata: Path | None = None  # the user's own metadata.xml, if there is one

    @classmethod
    def open(cls, root: Path) -> RawArchive:
        """Look through `root`, a folder or one archive; H36MError where nothing of Human3.6M is there."""
        root = Path(root)
        if not root.exists():
            raise H36MError(f"{root}: no such folder; give the folder that holds the Human3.6M archives or S1, S5, ...")
        files: dict[RawFile, Path] = {}
        copies: dict[RawFile, Path] = {}  # of world poses, from h36m.zip
        tarballs: list[Tarball] = []
        damaged: list[str] = []
        unrecognised: list[Path] = []
        metadata: list[Path] = []
        for path in _walk(root) if root.is_dir() else [root]:
            if path.name == METADATA_NAME:
                metadata.append(path)
            elif path.suffix in (*_SUFFIXES, _H5_SUFFIX):
                # the folder given may itself be the S1 of the path
                found = recognise(f"{root.resolve().name}/{path.relative_to(root).as_posix()}")
                if found:
                    (copies if path.suffix == _H5_SUFFIX else files).setdefault(found, path)
                elif _should_be_known(path):
                    unrecognised.append(path)
            else:
                try:
                    tarballs += _recognise_packed(path)
                except H36MError as error:
                    damaged.append(str(error))
        files = {**copies, **files}
        if not files and not tarballs:
            seen = damaged + [f"{path}: not a name of the data set" for path in unrecognised]
            raise H36MError(
                f"{root}: no Human3.6M here; expected Poses_*.tgz and Videos_*.tgz archives, S1/MyPoseFeatures/... "
                f"and S1/Videos/..., or S1/Poses_D3_Positions/..." + "".join(f"\n  {line}" for line in seen[:5])
            )
        nearest = min(metadata, key=lambda path: len(path.parts), default=None)
        return cls(root, files, tuple(tarballs), tuple(damaged), tuple(unrecognised), nearest)

    def has(self, sequence: Sequence, kind: Kind) -> bool:
        """Whether the file of this kind is there, unpacked."""
        return _key(sequence, kind) in self.files

    def sequences(self, kinds: Iterable[Kind]) -> list[Sequence]:
        """Sequences that have every one of these kinds, in H36M-Toolbox's loop order."""
        wanted = tuple(kinds)
        return [sequence for sequence in sequences() if all(self.has(sequence, kind) for kind in wanted)]

    def path(self, sequence: Sequence, kind: Kind) -> Path:
        """The file of one sequence; an H36MError names the archive that is missing."""
        key = _key(sequence, kind)
        if key not in self.files:
            raise H36MError(
                f"{self.root}: {sequence} has no {kind.value} file ({original_place(key)}); "
                f"get {kind.archive_name}_{sequence.subject}.tgz from the official site"
            )
        return self.files[key]

    def posed_sequences(self, needed: Iterable[Kind] = ()) -> list[Sequence]:
        """Sequences whose poses are there or can be derived, and which have the files `needed`, in loop order.

        World or camera-frame poses are enough. Where a subject has files of some cameras only, its other cameras are
        not derived: the user chose these; where it has none, all four are.
        """
        kinds, views = tuple(needed), {subject: set(self.cameras_of(subject)) for subject in SUBJECTS}
        return [
            sequence
            for sequence in sequences()
            if sequence.camera in views[sequence.subject]
            and (self.has(sequence, Kind.WORLD) or self.has(sequence, Kind.CAMERA))
            and all(self.has(sequence, kind) for kind in kinds)
        ]

    def cameras_of(self, subject: str) -> tuple[str, ...]:
        """Cameras of which there are pose files; all four where there are none, as for world poses alone."""
        found = {
            file.camera for file in self.files if file.recording.subject == subject and file.kind in _VIEW_POSE_KINDS
        }
        return tuple(camera for camera in CAMERA_IDS if camera in found) or CAMERA_IDS

    def pose_files(self, sequence: Sequence) -> PoseFiles:
        """The pose files of one sequence; an H36MError names the archive to get where nothing can be derived."""
        if not self.has(sequence, Kind.CAMERA):
            self.path(sequence, Kind.WORLD)
        return PoseFiles(sequence, *(self.files.get(_key(sequence, kind)) for kind in POSE_KINDS))

    def read_poses(self, sequence: Sequence) -> SequencePoses:
        """The poses of one sequence, derived where they are not there; an H36MError names a damaged file."""
        return self.pose_files(sequence).read()

    def unpacked(
        self,
        kinds: Iterable[Kind],
        into: Path,
        subjects: Iterable[str] = SUBJECTS,
        progress: Callable[[Tarball, Unpacked], None] | None = None,
    ) -> RawArchive:
        """This archive with the tarballs of `kinds` unpacked below `into`, as the original's folders.

        Nothing is unpacked for a kind and subject that already lies beside the tarballs, nor from h36m.zip what a .tgz
        holds, and files that an earlier call unpacked are kept.
        """
        wanted = set(kinds), set(subjects)
        present = {(file.kind, file.recording.subject) for file in self.files}
        files = dict(self.files)
        asked = [
            tarball
            for tarball in self.tarballs
            if tarball.kind in wanted[0]
            and tarball.subject in wanted[1]
            and (tarball.kind, tarball.subject) not in present
        ]
        originals = {(tarball.kind, tarball.subject) for tarball in asked if not is_zip(tarball.path)}
        asked = [
            tarball for tarball in asked if not is_zip(tarball.path) or (tarball.kind, tarball.subject) not in originals
        ]
        for path, contents in groupby(asked, lambda tarball: tarball.path):
            result = unpack(path, into, _place_of_member)
            if progress:
                progress(next(contents), result)
        if into.is_dir():
            for path in _walk(into):
                found = recognise(path.relative_to(into).as_posix())
                if found and found.kind in wanted[0]:
                    files.setdefault(found, path)
        return replace(self, files=files)


def _key(sequence: Sequence, kind: Kind) -> RawFile:
    return RawFile(kind, sequence.recording, sequence.camera if kind.per_camera else "")


def _walk(root: Path) -> Iterable[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(
            name for name in subfolders if name not in _OUTPUT_FOLDERS and not name.startswith(_OUTPUT_PREFIXES)
        )
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(folder) / name


def _place_of_member(name: str) -> Path | None:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return Path(name)  # left for `unpack` to refuse
    found = recognise(name)
    if found is not None and name.endswith(_H5_SUFFIX):
        return Path(found.recording.subject, "MyPoses", _H5_FOLDER, PurePosixPath(name).name)
    return None if found is None else original_place(found)


def _should_be_known(path: Path) -> bool:
    """Whether a name the data set does not have is worth telling: MATLAB and HDF5 files may be anything."""
    if path.suffix == _H5_SUFFIX:
        return path.parent.name == _H5_FOLDER
    return path.suffix != ".mat" and not path.name.startswith("_ALL")


def _recognise_packed(path: Path) -> list[Tarball]:
    """What an archive holds, nothing for any other file; H36MError for one that is damaged."""
    if is_zip(path):
        places = (place for name in member_names(path) if (place := _PLACE.search(name)))
        found = dict.fromkeys((_kind_of(place["kind"]), place["subject"].upper()) for place in places)
        return [Tarball(path, kind, subject) for kind, subject in found if kind is Kind.WORLD]
    named = is_tarball(path)
    if not named and (path.suffix in _OUTPUT_SUFFIXES or not is_compressed(path)):
        return []
    try:
        # an archive holds one kind; mask archives are not searched to their end
        for name in islice(member_names(path), 20):
            place = _PLACE.search(name)
            if place is not None:
                return [Tarball(path, _kind_of(place["kind"]), place["subject"].upper())]
    except H36MError:
        if named:  # by content alone it may be any compressed file
            raise
    return []

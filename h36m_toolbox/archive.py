"""Human3.6M as people have it on disk: recognised, never configured.

Layouts: the downloaded `.tgz` archives, the unpacked original (`S1/MyPoseFeatures/D3_Positions/...`, `S1/Videos/...`)
and h36m-fetch's `extracted/` (`S1/Poses_D3_Positions_mono/...`), each at any depth below the folder given, also mixed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from pathlib import Path, PurePosixPath

from h36m_toolbox.errors import H36MError
from h36m_toolbox.poses import PoseFiles, SequencePoses
from h36m_toolbox.sequences import CAMERA_IDS, SUBJECTS, Recording, Sequence, recording_of_stem, sequences
from h36m_toolbox.tarballs import Unpacked, is_tarball, member_names, unpack


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

_PLACE = re.compile(
    r"(?:^|/)(?P<subject>S\d+)/(?:MyPoseFeatures/|MySegmentsMat/|Poses_)?"
    r"(?P<kind>D2_Positions|D3_Positions_mono_universal|D3_Positions_mono|D3_Positions|Videos"
    r"|ground_truth_bb|Segments_mat_gt_bb)/(?P<file>[^/]+)$"
)
_VIEW_FILE = re.compile(r"(?P<stem>.+)\.(?P<camera>\d{8})\.(?:cdf|mp4|mat)")
_SUFFIXES = tuple({kind.suffix: None for kind in Kind})
_OUTPUT_FOLDERS = {"images", "labels", "processed", "detections", "imageSequence", "runs"}


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
    kind = _kind_of(place["kind"])
    if not place["file"].endswith(kind.suffix):
        return None
    if kind.per_camera:
        view = _VIEW_FILE.fullmatch(place["file"])
        stem, camera = (view["stem"], view["camera"]) if view else ("", "")
        if camera not in CAMERA_IDS:
            return None
    else:
        stem, camera = place["file"].removesuffix(kind.suffix), ""
    recording = recording_of_stem(place["subject"], stem)
    return None if recording is None else RawFile(kind, recording, camera)


def original_place(file: RawFile) -> Path:
    """Where the unpacked original keeps a file, relative to its root."""
    name = f"{file.recording.stem}.{file.camera}" if file.camera else file.recording.stem
    return Path(file.recording.subject, file.kind.parent, file.kind.value, name + file.kind.suffix)


def _kind_of(folder: str) -> Kind:
    """The kind whose files a folder holds: named as in the original, or by h36m-fetch after the archive."""
    return Kind.MASK if folder == Kind.MASK.archive_name else Kind(folder)


@dataclass(frozen=True)
class Tarball:
    """One downloaded archive: which kind and subject it holds."""

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

    @classmethod
    def open(cls, root: Path) -> RawArchive:
        """Look through `root`; H36MError if it does not exist or holds nothing of Human3.6M."""
        root = Path(root)
        if not root.is_dir():
            raise H36MError(f"{root}: no such folder; give the folder that holds the Human3.6M archives or S1, S5, ...")
        files: dict[RawFile, Path] = {}
        tarballs: list[Tarball] = []
        damaged: list[str] = []
        unrecognised: list[Path] = []
        for path in _walk(root):
            if is_tarball(path):
                try:
                    tarball = _recognise_tarball(path)
                except H36MError as error:
                    damaged.append(str(error))
                else:
                    tarballs += [tarball] if tarball else []
            elif path.suffix in _SUFFIXES:
                # the folder given may itself be the S1 of the path
                found = recognise(f"{root.resolve().name}/{path.relative_to(root).as_posix()}")
                if found:
                    files.setdefault(found, path)
                elif not path.name.startswith("_ALL") and path.suffix != ".mat":  # MATLAB writes many others
                    unrecognised.append(path)
        if not files and not tarballs:
            seen = damaged + [f"{path}: not a name of the data set" for path in unrecognised]
            raise H36MError(
                f"{root}: no Human3.6M here; expected Poses_*.tgz and Videos_*.tgz archives, S1/MyPoseFeatures/... "
                f"and S1/Videos/..., or S1/Poses_D3_Positions/..." + "".join(f"\n  {line}" for line in seen[:5])
            )
        return cls(root, files, tuple(tarballs), tuple(damaged), tuple(unrecognised))

    def has(self, sequence: Sequence, kind: Kind) -> bool:
        """Whether the file of this kind is there, unpacked."""
        return _key(sequence, kind) in self.files

    def sequences(self, kinds: Iterable[Kind]) -> list[Sequence]:
        """Sequences that have every one of these kinds, in H36M-Toolbox's loop order."""
        wanted = tuple(kinds)
        return [sequence for sequence in sequences() if all(self.has(sequence, kind) for kind in wanted)]

    def incomplete(self, kinds: tuple[Kind, ...]) -> dict[Sequence, tuple[Kind, ...]]:
        """Sequences that have some of these kinds but not all, and what they lack."""
        lacking = {sequence: tuple(kind for kind in kinds if not self.has(sequence, kind)) for sequence in sequences()}
        return {sequence: absent for sequence, absent in lacking.items() if 0 < len(absent) < len(kinds)}

    def path(self, sequence: Sequence, kind: Kind) -> Path:
        """The file of one sequence; an H36MError names the archive that is missing."""
        key = _key(sequence, kind)
        if key not in self.files:
            raise H36MError(
                f"{self.root}: {sequence} has no {kind.value} file ({original_place(key)}); "
                f"get {kind.archive_name}_{sequence.subject}.tgz from the official site"
            )
        return self.files[key]

    def pose_files(self, sequence: Sequence) -> PoseFiles:
        """The four pose files of one sequence; an H36MError names the archive of a missing one."""
        return PoseFiles(sequence, *(self.path(sequence, kind) for kind in POSE_KINDS))

    def read_poses(self, sequence: Sequence) -> SequencePoses:
        """The poses of one sequence in all four frames; an H36MError names a missing or damaged file."""
        return self.pose_files(sequence).read()

    def unpacked(
        self,
        kinds: Iterable[Kind],
        into: Path,
        subjects: Iterable[str] = SUBJECTS,
        progress: Callable[[Tarball, Unpacked], None] | None = None,
    ) -> RawArchive:
        """This archive with the tarballs of `kinds` unpacked below `into`, as the original's folders.

        Nothing is unpacked for a kind and subject that already lies beside the tarballs, and files that an earlier
        call unpacked are kept.
        """
        wanted = set(kinds), set(subjects)
        present = {(file.kind, file.recording.subject) for file in self.files}
        files = dict(self.files)
        for tarball in self.tarballs:
            if tarball.kind not in wanted[0] or tarball.subject not in wanted[1]:
                continue
            if (tarball.kind, tarball.subject) in present:
                continue
            result = unpack(tarball.path, into, lambda name: _place_of_member(name))
            if progress:
                progress(tarball, result)
        if into.is_dir():
            for path in _walk(into):
                found = recognise(path.relative_to(into).as_posix())
                if found and found.kind in wanted[0]:
                    files.setdefault(found, path)
        return RawArchive(self.root, files, self.tarballs, self.damaged, self.unrecognised)


def _key(sequence: Sequence, kind: Kind) -> RawFile:
    return RawFile(kind, sequence.recording, sequence.camera if kind.per_camera else "")


def _walk(root: Path) -> Iterable[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if name not in _OUTPUT_FOLDERS and not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(folder) / name


def _place_of_member(name: str) -> Path | None:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return Path(name)  # left for `unpack` to refuse
    found = recognise(name)
    return None if found is None else original_place(found)


def _recognise_tarball(path: Path) -> Tarball | None:
    for name in islice(
        member_names(path), 20
    ):  # an archive holds one kind; mask archives are not searched to their end
        place = _PLACE.search(name)
        if place is not None:
            return Tarball(path, _kind_of(place["kind"]), place["subject"])
    return None

"""Which sequences Human3.6M has, what their files are called and how long they are.

A *recording* is one subject doing one action once, seen by four cameras; a *sequence* is one camera's view of it and
the unit of work everywhere. Stems and frame counts come from the data set's metadata file: pose frames are
floor(motion-capture frames / 4), which reproduces every published total.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from h36m_toolbox.errors import H36MError

HUMAN36M = "human3.6m"  # the data set, where another is named beside it
TRAIN_SUBJECTS = ("S1", "S5", "S6", "S7", "S8")
TEST_SUBJECTS = ("S9", "S11")
SUBJECTS = TRAIN_SUBJECTS + TEST_SUBJECTS
SPLITS = {"train": TRAIN_SUBJECTS, "val": TEST_SUBJECTS}

CAMERA_IDS = ("54138969", "55011271", "58860488", "60457274")

# Action 1 of the archive is the calibration take `_ALL`, which has no poses.
ACTION_IDS = {
    name: action_id
    for action_id, name in enumerate(
        (
            *("Directions", "Discussion", "Eating", "Greeting", "Phoning", "Posing", "Purchases", "Sitting"),
            *("SittingDown", "Smoking", "TakingPhoto", "Waiting", "Walking", "WalkingDog", "WalkingTogether"),
        ),
        start=2,
    )
}
ACTIONS = tuple(ACTION_IDS)
SUBACTIONS = (1, 2)
FPS = 50

# Poses of all views of a split; H36M-Toolbox's pickles and several papers have as many.
OFFICIAL_POSES = {"train": 1_559_752, "val": 550_644}


@dataclass(frozen=True)
class Recording:
    """One subject doing one action once: `subject` "S1", `action` "TakingPhoto" (metadata name), `subaction` 1 or 2."""

    subject: str
    action: str
    subaction: int

    @property
    def stem(self) -> str:
        """File name without camera and suffix, as in the raw archive: "TakingPhoto 1" for S1, "Photo 1" elsewhere."""
        return _metadata_row(self).stem

    @property
    def canonical_name(self) -> str:
        """The name VideoPose3D and its detections use: the stem with Photo and WalkDog for every subject."""
        return canonical_name(self.stem)

    @property
    def pose_frames(self) -> int:
        """Poses of this recording in the real data set, at 50 Hz."""
        return _metadata_row(self).pose_frames

    def view(self, camera: str) -> Sequence:
        """This recording as one camera sees it."""
        return Sequence(self.subject, self.action, self.subaction, camera)

    @property
    def views(self) -> tuple[Sequence, ...]:
        """The four sequences of this recording, in camera order."""
        return tuple(self.view(camera) for camera in CAMERA_IDS)


@dataclass(frozen=True)
class Sequence:
    """One camera's view of one recording; `camera` is the id in the file names, such as "54138969"."""

    subject: str
    action: str
    subaction: int
    camera: str

    @property
    def recording(self) -> Recording:
        """What was recorded, whatever the camera."""
        return Recording(self.subject, self.action, self.subaction)

    @property
    def subject_number(self) -> int:
        """11 for "S11"."""
        return int(self.subject[1:])

    @property
    def action_id(self) -> int:
        """2 (Directions) to 16 (WalkingTogether)."""
        return ACTION_IDS[self.action]

    @property
    def camera_index(self) -> int:
        """0 to 3."""
        return CAMERA_IDS.index(self.camera)

    @property
    def folder(self) -> str:
        """H36M-Toolbox's name, such as s_01_act_02_subact_01_ca_01; its camera number counts from 1."""
        take = f"s_{self.subject_number:02d}_act_{self.action_id:02d}_subact_{self.subaction:02d}"
        return f"{take}_ca_{self.camera_index + 1:02d}"

    @property
    def video_frames(self) -> int:
        """Frames of this view's video in the real data set; more than its poses."""
        return _metadata_row(self.recording).video_frames[self.camera_index]

    def __str__(self) -> str:
        return f"{self.subject}/{self.recording.stem}.{self.camera}"


@dataclass(frozen=True)
class _Metadata:
    stem: str
    pose_frames: int
    video_frames: tuple[int, ...]  # by camera


@cache
def _metadata() -> dict[Recording, _Metadata]:
    text = files("h36m_toolbox").joinpath("metadata/sequences.csv").read_text()
    return {
        Recording(row["subject"], row["action"], int(row["subaction"])): _Metadata(
            stem=row["stem"],
            pose_frames=int(row["pose_frames"]),
            video_frames=tuple(int(row[f"video_frames_{camera}"]) for camera in CAMERA_IDS),
        )
        for row in csv.DictReader(text.splitlines())
    }


def _metadata_row(recording: Recording) -> _Metadata:
    if recording not in _metadata():
        raise H36MError(
            f"Human3.6M has no recording {recording.subject} {recording.action} {recording.subaction}; "
            f"subjects are {', '.join(SUBJECTS)}, actions {', '.join(ACTIONS)}, sub-actions 1 and 2"
        )
    return _metadata()[recording]


def recordings(
    subjects: tuple[str, ...] = SUBJECTS, actions: tuple[str, ...] = ACTIONS, subactions: tuple[int, ...] = SUBACTIONS
) -> list[Recording]:
    """Recordings of the real data set in H36M-Toolbox's loop order: subject, action id, sub-action."""
    return [Recording(s, a, b) for s in subjects for a in actions for b in subactions]


def sequences(
    subjects: tuple[str, ...] = SUBJECTS,
    actions: tuple[str, ...] = ACTIONS,
    subactions: tuple[int, ...] = SUBACTIONS,
    cameras: tuple[str, ...] = CAMERA_IDS,
) -> list[Sequence]:
    """Sequences of the real data set in H36M-Toolbox's loop order: subject, action id, sub-action, camera."""
    return [recording.view(camera) for recording in recordings(subjects, actions, subactions) for camera in cameras]


@cache
def _recordings_by_stem() -> dict[tuple[str, str], Recording]:
    by_stem: dict[tuple[str, str], Recording] = {}
    for recording, row in _metadata().items():
        by_stem[recording.subject, row.stem] = recording
        by_stem[recording.subject, canonical_name(row.stem)] = recording
    return by_stem


def recording_of_stem(subject: str, stem: str) -> Recording | None:
    """The recording behind a file stem, raw ("TakingPhoto 1"), canonical ("Photo 1") or with "_" for the blank."""
    return _recordings_by_stem().get((subject, stem.replace("_", " ")))


def canonical_name(stem: str) -> str:
    """VideoPose3D's renaming of S1's two odd action names."""
    return stem.replace("TakingPhoto", "Photo").replace("WalkingDog", "WalkDog")


_FOLDER = re.compile(r"s_(\d\d)_act_(\d\d)_subact_(\d\d)_ca_(\d\d)")


def sequence_of_folder(folder: str) -> Sequence | None:
    """The sequence behind one of H36M-Toolbox's folder names, None for any other name."""
    match = _FOLDER.fullmatch(folder)
    if match is None:
        return None
    subject, action_id, subaction, camera = (int(part) for part in match.groups())
    names = {number: name for name, number in ACTION_IDS.items()}
    if action_id not in names or subaction not in SUBACTIONS or not 1 <= camera <= len(CAMERA_IDS):
        return None
    return Sequence(f"S{subject}", names[action_id], subaction, CAMERA_IDS[camera - 1])

"""Evaluation protocols as data: every switch that moves a number, and who reports with it.

Two figures may be compared only under the same protocol and version. A name says what the protocol does; "Protocol 1"
has four meanings in print and is no name here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import Enum

from h36m_toolbox.errors import H36MError
from h36m_toolbox.known_bad import DISPLACED_RECORDINGS, S11_DIRECTIONS
from h36m_toolbox.sequences import CAMERA_IDS, TEST_SUBJECTS, Recording, recordings
from h36m_toolbox.skeletons import H36M_16, H36M_17

# Ground truth displaced against the images; kept, dropped and shifted by -200 mm (PosePile) are all in use.
DAMAGED_S9 = DISPLACED_RECORDINGS


class RootRule(Enum):
    """What happens to the root before anything is measured."""

    SUBTRACT = "root subtracted from every joint"
    ZERO_ROW_ONLY = "root row set to 0, the other rows unchanged"
    KEEP = "as it is"


class Alignment(Enum):
    """How each pose is fitted to its target for the second figure."""

    SIMILARITY = "rotation, scale and translation per pose"
    RIGID = "rotation and translation per pose"
    NONE = "none"


class Mean(Enum):
    """What the headline averages over."""

    ACTION = "frames within an action, then actions"
    FRAME = "all frames"


class Damaged(Enum):
    """What happens to the recordings with displaced ground truth, `DAMAGED_S9`."""

    KEEP = "kept"
    DROP = "dropped"
    REPORT_BOTH = "kept in the headline, figures without them beside it"


@dataclass(frozen=True)
class Dropped:
    """A recording that is not scored, all four views, and why."""

    recording: Recording
    reason: str


@dataclass(frozen=True)
class Protocol:
    """Which frames and joints are scored, what is done to them and how errors are averaged. All lengths are mm."""

    name: str
    version: int
    source: str
    subjects: tuple[str, ...]
    cameras: tuple[str, ...]
    frame_step: int  # every n-th frame of a sequence, from frame 0
    complete_instants_only: bool  # score a frame only if every camera of the protocol has it
    joints: tuple[str, ...]
    root_joint: str
    predicted_root: RootRule
    target_root: RootRule
    alignment: Alignment
    mean: Mean
    damaged_s9: Damaged
    dropped: tuple[Dropped, ...]
    batch_remainder: (
        int  # of the n poses of an action the last n mod this are dropped, in order of the keys; 1 drops none
    )
    unit: str = "mm"

    @property
    def dropped_recordings(self) -> frozenset[Recording]:
        """Every recording that is not scored, damaged ones included where the protocol drops them."""
        damaged = DAMAGED_S9 if self.damaged_s9 is Damaged.DROP else ()
        return frozenset((*(drop.recording for drop in self.dropped), *damaged))

    @property
    def official_frames(self) -> int:
        """Frames the protocol covers in the real data set, where every pose has a label."""
        frames_by_action: dict[str, int] = {}
        for recording in recordings(self.subjects):
            if recording not in self.dropped_recordings:
                frames = len(self.cameras) * len(range(0, recording.pose_frames, self.frame_step))
                frames_by_action[recording.action] = frames_by_action.get(recording.action, 0) + frames
        return sum(frames - frames % self.batch_remainder for frames in frames_by_action.values())

    def for_subjects(self, *subjects: str) -> Protocol:
        """The same switches on other subjects, under a name of its own: `semgcn@S8` never ranks with `semgcn`."""
        return replace(self, name=f"{self.name}@{'+'.join(subjects)}", subjects=subjects)

    def describe(self) -> dict[str, str]:
        """Every switch in words, in a fixed order, for reports."""
        return {field.name: _in_words(getattr(self, field.name)) for field in fields(self)}


def _in_words(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Dropped):
        recording = value.recording
        return f"{recording.subject} {recording.action} {recording.subaction} ({value.reason})"
    if isinstance(value, tuple):
        return ", ".join(map(_in_words, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


_NO_DETECTIONS = Dropped(S11_DIRECTIONS, "one video unreadable, absent from the usual 2D and 3D files")

VIDEOPOSE3D = Protocol(
    name="videopose3d",
    version=1,
    source="Pavllo et al. 2019, facebookresearch/VideoPose3D, and the lifters that use its data files",
    subjects=TEST_SUBJECTS,
    cameras=CAMERA_IDS,
    frame_step=1,
    complete_instants_only=False,
    joints=H36M_17.joints,
    root_joint="Hip",
    predicted_root=RootRule.KEEP,  # the network's root output counts as an error of joint 0
    target_root=RootRule.SUBTRACT,
    alignment=Alignment.SIMILARITY,
    mean=Mean.ACTION,
    damaged_s9=Damaged.KEEP,
    dropped=(_NO_DETECTIONS,),
    batch_remainder=1,
)

# The program subtracts row 0 in place: row 0 is overwritten first, so the other rows stay as predicted.
SEMGCN = replace(
    VIDEOPOSE3D,
    name="semgcn",
    source="Zhao et al. 2019, garyzhao/SemGCN, with its in-place centring that zeroes the root row only",
    joints=H36M_16.joints,
    predicted_root=RootRule.ZERO_ROW_ONLY,
)

SEMGCN_CENTRED = replace(
    SEMGCN,
    name="semgcn-centred",
    source="garyzhao/SemGCN's frames and joints with the predicted root subtracted from every joint; nobody reports it",
    predicted_root=RootRule.SUBTRACT,
)

MARTINEZ = replace(
    VIDEOPOSE3D,
    name="martinez",
    source="Martinez et al. 2017, una-dinosauria/3d-pose-baseline (TensorFlow), whole batches of 64 only",
    predicted_root=RootRule.SUBTRACT,
    dropped=(),
    batch_remainder=64,
)

MARTINEZ_ALL_FRAMES = replace(
    MARTINEZ,
    name="martinez-all-frames",
    source="weigq/3d_pose_baseline_pytorch: as 3d-pose-baseline, no pose dropped",
    batch_remainder=1,
)

STRICT = replace(
    VIDEOPOSE3D,
    name="strict",
    source="h36m: the root never counts, only instants that every view has, damaged recordings reported both ways",
    complete_instants_only=True,
    predicted_root=RootRule.SUBTRACT,
    damaged_s9=Damaged.REPORT_BOTH,
)

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol for protocol in (VIDEOPOSE3D, SEMGCN, SEMGCN_CENTRED, MARTINEZ, MARTINEZ_ALL_FRAMES, STRICT)
}


def protocol_named(name: str) -> Protocol:
    """The protocol of this name; an H36MError lists the known ones."""
    if name not in PROTOCOLS:
        raise H36MError(f"no protocol is called {name!r}; known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def protocols_as_text() -> str:
    """Every protocol with every switch, for a reader."""
    return "\n\n".join(
        "\n".join(f"{switch:24} {value}" for switch, value in protocol.describe().items())
        for protocol in PROTOCOLS.values()
    )

"""Evaluation protocols as data: every switch that moves a number, and who reports with it.

Two figures may be compared only under the same protocol and version, on the same frames. A name says what the protocol
does; "Protocol 1" has four meanings in print and is no name here. docs/protocols.md has a paragraph on each.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import Enum

from h36m_toolbox.benchmarks.switches import (
    AfterFit,
    Alignment,
    Damaged,
    Dropped,
    ExactHits,
    Frames,
    Mean,
    Midpoint,
    RootRule,
    Samples,
    Velocity,
    every_nth,
)
from h36m_toolbox.errors import H36MError
from h36m_toolbox.known_bad import DISPLACED_RECORDINGS, S11_DIRECTIONS, UNREADABLE_VIDEOS
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, TEST_SUBJECTS, Recording, Sequence
from h36m_toolbox.skeletons import H36M_16, H36M_17, MULTIVIEW_17

# Ground truth displaced against the images; kept, dropped and shifted by -200 mm (PosePile) are all in use.
DAMAGED_S9 = DISPLACED_RECORDINGS


@dataclass(frozen=True)
class Protocol:
    """Which frames and joints are scored, what is done to them and how errors are averaged. All lengths are mm."""

    name: str
    version: int
    source: str
    subjects: tuple[str, ...]
    actions: tuple[str, ...]
    cameras: tuple[str, ...]
    frames: Frames
    samples: Samples
    complete_instants_only: bool  # score a frame only if every camera of the protocol has it
    joints: tuple[str, ...]
    root_joint: str  # need not be scored
    predicted_root: RootRule
    target_root: RootRule
    alignment: Alignment
    fitted_joints: tuple[str, ...]  # what the alignment is fitted on
    midpoints: tuple[Midpoint, ...]
    after_fit: AfterFit
    velocity: Velocity
    exact_hits: ExactHits
    mean: Mean
    damaged_s9: Damaged
    dropped: tuple[Dropped, ...]
    batch_remainder: (
        int  # of the n poses of an action the last n mod this are dropped, in order of the keys; 1 drops none
    )
    decimals: int  # of the errors, as the program prints them
    remark: str
    unit: str = "mm"

    @property
    def dropped_recordings(self) -> frozenset[Recording]:
        """Every recording that is not scored, damaged ones included where the protocol drops them."""
        damaged = DAMAGED_S9 if self.damaged_s9 is Damaged.DROP else ()
        return frozenset((*(drop.what for drop in self.dropped if isinstance(drop.what, Recording)), *damaged))

    @property
    def dropped_views(self) -> frozenset[Sequence]:
        """Single views that are not scored."""
        return frozenset(drop.what for drop in self.dropped if isinstance(drop.what, Sequence))

    @property
    def needs_absolute(self) -> bool:
        """Whether predictions must be in the camera frame, not relative to their root."""
        return RootRule.KEEP is self.predicted_root is self.target_root

    def covers(self, sequence: Sequence) -> bool:
        """Whether frames of this sequence are scored."""
        return (
            sequence.subject in self.subjects
            and sequence.action in self.actions
            and sequence.camera in self.cameras
            and sequence.recording not in self.dropped_recordings
            and sequence not in self.dropped_views
        )

    def for_subjects(self, *subjects: str) -> Protocol:
        """The same switches on other subjects, under a name of its own: `semgcn@S8` never ranks with `semgcn`.

        Raises H36MError where the protocol's frames are defined for the test subjects only.
        """
        if self.frames.test_subjects_only and not set(subjects) <= set(TEST_SUBJECTS):
            raise H36MError(
                f"protocol {self.name} on {', '.join(subjects)}: its frames are {self.frames}; of training subjects "
                "that selection needs the 32 joints of the raw poses, so choose another protocol"
            )
        return replace(self, name=f"{self.name}@{'+'.join(subjects)}", subjects=subjects)

    def describe(self) -> dict[str, str]:
        """Every switch in words, in a fixed order, for reports."""
        return {field.name: _in_words(getattr(self, field.name)) for field in fields(self)}


def _in_words(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return ", ".join(map(_in_words, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


_NO_DETECTIONS = Dropped(S11_DIRECTIONS, "one video unreadable, absent from the usual 2D and 3D files")
_NO_VIDEO = tuple(Dropped(view, "video unreadable") for view in UNREADABLE_VIDEOS)
_H36M_FETCH = Frames(
    "h36m-fetch's selection, for test subjects every 64th frame from frame 0", step=64, test_subjects_only=True
)

VIDEOPOSE3D = Protocol(
    name="videopose3d",
    version=1,
    source="Pavllo et al. 2019, facebookresearch/VideoPose3D, and the lifters that use its data files",
    subjects=TEST_SUBJECTS,
    actions=ACTIONS,
    cameras=CAMERA_IDS,
    frames=every_nth(1),
    samples=Samples.VIEWS,
    complete_instants_only=False,
    joints=H36M_17.joints,
    root_joint="Hip",
    predicted_root=RootRule.KEEP,  # the network's root output counts as an error of joint 0
    target_root=RootRule.SUBTRACT,
    alignment=Alignment.SIMILARITY,
    fitted_joints=H36M_17.joints,
    midpoints=(),
    after_fit=AfterFit.MEASURE,
    velocity=Velocity.WITHIN_VIDEOS,
    exact_hits=ExactHits.SCORED,
    mean=Mean.ACTION,
    damaged_s9=Damaged.KEEP,
    dropped=(_NO_DETECTIONS,),
    batch_remainder=1,
    decimals=1,
    remark="none",
)

# The program subtracts row 0 in place: row 0 is overwritten first, so the other rows stay as predicted.
SEMGCN = replace(
    VIDEOPOSE3D,
    name="semgcn",
    source="Zhao et al. 2019, garyzhao/SemGCN, with its in-place centring that zeroes the root row only",
    joints=H36M_16.joints,
    fitted_joints=H36M_16.joints,
    predicted_root=RootRule.ZERO_ROW_ONLY,
    decimals=2,
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
    decimals=2,
)

MARTINEZ_ALL_FRAMES = replace(
    MARTINEZ,
    name="martinez-all-frames",
    source="weigq/3d_pose_baseline_pytorch: as 3d-pose-baseline, no pose dropped",
    batch_remainder=1,
)

CA_POSEFORMER = replace(
    VIDEOPOSE3D,
    name="ca-poseformer",
    source="Zhao et al. 2023, QitaoZhao/ContextAware-PoseFormer, trials of an action pooled by their frames",
    velocity=Velocity.ACROSS_VIDEOS,
    remark="scored with the flip test; detections and images decide which frames exist",
)

CONTEXTPOSE = replace(
    VIDEOPOSE3D,
    name="contextpose",
    source="Ma et al. 2021, ShirleyMaxx/ContextPose-PyTorch-release, each view a sample; its average is of frames",
    frames=_H36M_FETCH,
    joints=MULTIVIEW_17.joints,
    fitted_joints=MULTIVIEW_17.joints,
    predicted_root=RootRule.SUBTRACT,
    alignment=Alignment.NONE,
    mean=Mean.FRAME,
    damaged_s9=Damaged.REPORT_BOTH,
    dropped=_NO_VIDEO,
    decimals=2,
    remark="the published figure uses boxes from the ground truth and a pelvis from four cameras",
)

LEARNABLE_TRIANGULATION_RELATIVE = replace(
    CONTEXTPOSE,
    name="learnable-triangulation-relative",
    source="Iskakov et al. 2019, karfly/learnable-triangulation-pytorch, relative to the pelvis, mean of frames",
    samples=Samples.INSTANTS,
    dropped=(),
    remark="one pose an instant from all cameras; which camera's frame a prediction is stored in makes no difference",
)

LEARNABLE_TRIANGULATION_ABSOLUTE = replace(
    LEARNABLE_TRIANGULATION_RELATIVE,
    name="learnable-triangulation-absolute",
    source="Iskakov et al. 2019, karfly/learnable-triangulation-pytorch, absolute positions, mean of frames",
    predicted_root=RootRule.KEEP,
    target_root=RootRule.KEEP,
    damaged_s9=Damaged.DROP,
)

_SHOULDER_CENTRE = Midpoint("ShoulderCentre", ("LShoulder", "RShoulder"))

INTEGRAL = replace(
    VIDEOPOSE3D,
    name="integral",
    source="Sun et al. 2018, JimmySuen/integral-human-pose: 17j and 17j_align, the root's zero is one of the 17",
    frames=Frames("random frames frozen in the authors' caches and not published", published=False),
    predicted_root=RootRule.SUBTRACT,
    alignment=Alignment.RIGID,
    fitted_joints=(*H36M_17.joints, _SHOULDER_CENTRE.joint),
    midpoints=(_SHOULDER_CENTRE,),
    after_fit=AfterFit.REROOT,
    mean=Mean.FRAME,
    dropped=(),
    decimals=2,
    remark="image-space predictions are projected back with the true pelvis depth before they come here",
)

CHALLENGE_2018 = replace(
    INTEGRAL,
    name="challenge-2018",
    source="ECCV 2018 challenge as JimmySuen/integral-human-pose scores it (evalNetChallenge)",
    subjects=(),
    cameras=(),
    frames=Frames("the 19,312 images of CHALL_H80K Val in the order of their numbers, none of S9 or S11"),
    target_root=RootRule.KEEP,
    after_fit=AfterFit.MEASURE,
    remark="predictions are scaled to a bone length of 4502.881 mm, summed over the 18 joints' parents, beforehand",
)

EVERY_64TH = replace(
    VIDEOPOSE3D,
    name="every-64th",
    source='Sun et al. 2017 and followers, "protocol 2" in h36m-fetch: every 64th frame, mean of frames',
    frames=every_nth(64),
    predicted_root=RootRule.SUBTRACT,
    mean=Mean.FRAME,
    dropped=_NO_VIDEO,
)

_LSP_14 = tuple(joint for joint in H36M_17.joints if joint not in ("Hip", "Spine", "Neck/Nose"))

FRONTAL_CAMERA = replace(
    VIDEOPOSE3D,
    name="frontal-camera",
    source='Kanazawa et al. 2018 (HMR) and mesh recovery after it, their "P2": the frontal camera, 14 joints',
    cameras=("60457274",),
    frames=every_nth(5),
    joints=_LSP_14,
    fitted_joints=_LSP_14,
    predicted_root=RootRule.SUBTRACT,
    mean=Mean.FRAME,
    dropped=(),
    remark="the second figure, after alignment, is the one that is published",
)

MOTIONBERT = replace(
    VIDEOPOSE3D,
    name="motionbert",
    source="Zhu et al. 2023, Walter0807/MotionBERT, and MotionAGFormer, PoseMamba, TCPFormer after it",
    predicted_root=RootRule.SUBTRACT,
    exact_hits=ExactHits.SKIPPED,
    damaged_s9=Damaged.DROP,
    dropped=(),
    decimals=2,
    remark="predictions in image space are multiplied frame by frame with a factor from the ground truth (2.5d_factor) "
    "and overlapping clips averaged per frame beforehand; then the report must say: scaled with ground truth",
)

STRICT = replace(
    VIDEOPOSE3D,
    name="strict",
    source="h36m: the root never counts, only instants that every view has, damaged recordings reported both ways",
    complete_instants_only=True,
    predicted_root=RootRule.SUBTRACT,
    damaged_s9=Damaged.REPORT_BOTH,
    decimals=2,
)

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        *(VIDEOPOSE3D, SEMGCN, SEMGCN_CENTRED, MARTINEZ, MARTINEZ_ALL_FRAMES, CA_POSEFORMER, CONTEXTPOSE),
        *(LEARNABLE_TRIANGULATION_RELATIVE, LEARNABLE_TRIANGULATION_ABSOLUTE, INTEGRAL, CHALLENGE_2018),
        *(EVERY_64TH, FRONTAL_CAMERA, MOTIONBERT, STRICT),
    )
}


_OTHER_FAMILY = "mpi-inf-3dhp"  # protocols of `mpi_inf_3dhp.protocols`, with other switches


def protocol_named(name: str) -> Protocol:
    """The protocol of this name; an H36MError lists the known ones."""
    if name.startswith(_OTHER_FAMILY):
        raise H36MError(
            f"protocol {name} is of MPI-INF-3DHP, which `h36m bench --dataset {_OTHER_FAMILY}` and `h36m eval` score; "
            "its runs have their tables in their folders, the commands for runs of Human3.6M do not show them"
        )
    if name not in PROTOCOLS:
        raise H36MError(f"no protocol is called {name!r}; known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]

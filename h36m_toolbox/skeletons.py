"""Joint names, parents, mirror pairs and the order of joints in each convention of the field.

The joint numbers of the 32-joint skeleton are those of the `Pose` variable in Human3.6M's CDF files.
Everything else asks for joints by name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from h36m_toolbox.errors import H36MError


@dataclass(frozen=True)
class Skeleton:
    """Names, parents and mirror pairs of one joint convention.

    `parents[i]` is the index of joint i's parent, -1 for the root. `mirror_pairs` are (left, right) joint names.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    mirror_pairs: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def root(self) -> str:
        """Name of the joint without a parent."""
        return self.joints[self.parents.index(-1)]

    @property
    def left(self) -> tuple[int, ...]:
        """Indices of the left joints, in the order of `mirror_pairs`."""
        return tuple(self.joints.index(left) for left, _ in self.mirror_pairs)

    @property
    def right(self) -> tuple[int, ...]:
        """Indices of the right joints, in the order of `mirror_pairs`."""
        return tuple(self.joints.index(right) for _, right in self.mirror_pairs)

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) index pairs, in the order of the children."""
        return tuple((parent, child) for child, parent in enumerate(self.parents) if parent >= 0)

    def indices(self, joints: tuple[str, ...]) -> list[int]:
        """Where `joints` stand in this skeleton; an H36MError names those it lacks."""
        missing = [joint for joint in joints if joint not in self.joints]
        if missing:
            raise H36MError(f"skeleton {self.name} has no joint {', '.join(missing)}; it has {', '.join(self.joints)}")
        return [self.joints.index(joint) for joint in joints]

    def select(self, poses: np.ndarray, joints: tuple[str, ...]) -> np.ndarray:
        """Poses (..., joints, dims) of this skeleton restricted to `joints`, in that order."""
        if poses.shape[-2] != len(self):
            raise H36MError(f"skeleton {self.name} has {len(self)} joints, the poses have {poses.shape[-2]}")
        return poses[..., self.indices(joints), :]


_LIMBS = ("Hip", "Knee", "Foot", "Shoulder", "Elbow", "Wrist")
_MIRROR_PAIRS = tuple((f"L{limb}", f"R{limb}") for limb in _LIMBS)

# Names for the joints of the 32 that nobody scores are ours: LCollar and RCollar lie on Thorax, LHand on LWrist, ...
_H36M_32_JOINTS = (
    *("Hip", "RHip", "RKnee", "RFoot", "RToeBase", "RToeEnd", "LHip", "LKnee", "LFoot", "LToeBase", "LToeEnd"),
    *("SpineBase", "Spine", "Thorax", "Neck/Nose", "Head"),
    *("LCollar", "LShoulder", "LElbow", "LWrist", "LHand", "LThumb", "LHandEnd", "LHandSite"),
    *("RCollar", "RShoulder", "RElbow", "RWrist", "RHand", "RThumb", "RHandEnd", "RHandSite"),
)

H36M_32 = Skeleton(
    name="h36m-32",
    joints=_H36M_32_JOINTS,
    parents=(
        *(-1, 0, 1, 2, 3, 4, 0, 6, 7, 8, 9, 0, 11, 12, 13, 14),
        *(12, 16, 17, 18, 19, 20, 19, 22, 12, 24, 25, 26, 27, 28, 27, 30),
    ),
    mirror_pairs=(
        *_MIRROR_PAIRS,
        *((f"L{end}", f"R{end}") for end in ("ToeBase", "ToeEnd", "Collar", "Hand", "Thumb", "HandEnd", "HandSite")),
    ),
)

# VideoPose3D, mmpose and 3d-pose-baseline: raw joints 0 1 2 3 6 7 8 12 13 14 15 17 18 19 25 26 27. The shoulders hang
# on the thorax, as VideoPose3D rewires them after removing the collars.
H36M_17 = Skeleton(
    name="h36m-17",
    joints=(
        *("Hip", "RHip", "RKnee", "RFoot", "LHip", "LKnee", "LFoot", "Spine", "Thorax", "Neck/Nose", "Head"),
        *("LShoulder", "LElbow", "LWrist", "RShoulder", "RElbow", "RWrist"),
    ),
    parents=(-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),
    mirror_pairs=_MIRROR_PAIRS,
)

# SemGCN: the 17 without Neck/Nose.
H36M_16 = Skeleton(
    name="h36m-16",
    joints=tuple(joint for joint in H36M_17.joints if joint != "Neck/Nose"),
    parents=(-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 8, 10, 11, 8, 13, 14),
    mirror_pairs=_MIRROR_PAIRS,
)

# Stacked-hourglass detections (MPII order), named by the joints that Martinez et al. and SemGCN match them to.
SH_16 = Skeleton(
    name="sh-16",
    joints=(
        *("RFoot", "RKnee", "RHip", "LHip", "LKnee", "LFoot", "Hip", "Spine", "Thorax", "Head"),
        *("RWrist", "RElbow", "RShoulder", "LShoulder", "LElbow", "LWrist"),
    ),
    parents=(1, 2, 6, 6, 3, 4, -1, 6, 7, 8, 11, 12, 8, 8, 13, 14),
    mirror_pairs=_MIRROR_PAIRS,
)

# Learnable triangulation and ContextPose: MPII-like order, the neck last.
MULTIVIEW_17 = Skeleton(
    name="multiview-17",
    joints=(*SH_16.joints, "Neck/Nose"),
    parents=(1, 2, 6, 6, 3, 4, -1, 6, 7, 16, 11, 12, 8, 8, 13, 14, 8),
    mirror_pairs=_MIRROR_PAIRS,
)

# The LSP order of mesh recovery's evaluations (Kanazawa et al. 2018): no pelvis, the neck's foot is ours Thorax.
LSP_14 = Skeleton(
    name="lsp-14",
    joints=(
        *("RFoot", "RKnee", "RHip", "LHip", "LKnee", "LFoot"),
        *("RWrist", "RElbow", "RShoulder", "LShoulder", "LElbow", "LWrist", "Thorax", "Head"),
    ),
    parents=(1, 2, 12, 12, 3, 4, 7, 8, 12, 12, 9, 10, -1, 12),
    mirror_pairs=_MIRROR_PAIRS,
)

# Integral regression: the 17 and, on which neck, nose and shoulders hang, the point halfway between the shoulders.
INTEGRAL_18 = Skeleton(
    name="integral-18",
    joints=(*H36M_17.joints, "ShoulderCentre"),
    parents=(-1, 0, 1, 2, 0, 4, 5, 0, 17, 17, 8, 17, 11, 12, 17, 14, 15, 0),
    mirror_pairs=_MIRROR_PAIRS,
)

# One point an instant: where volumetric models centre their volume.
PELVIS = Skeleton(name="pelvis", joints=("Hip",), parents=(-1,), mirror_pairs=())

# MPI-INF-3DHP (Mehta et al. 2017), in the order and under the names of its annotation files.
_SIDED = ("clavicle", "shoulder", "elbow", "wrist", "hand", "hip", "knee", "ankle", "foot", "toe")
MPI_INF_3DHP_28 = Skeleton(
    name="mpi-inf-3dhp-28",
    joints=(
        *("spine3", "spine4", "spine2", "spine", "pelvis", "neck", "head", "head_top"),
        *("left_clavicle", "left_shoulder", "left_elbow", "left_wrist", "left_hand"),
        *("right_clavicle", "right_shoulder", "right_elbow", "right_wrist", "right_hand"),
        *("left_hip", "left_knee", "left_ankle", "left_foot", "left_toe"),
        *("right_hip", "right_knee", "right_ankle", "right_foot", "right_toe"),
    ),
    parents=(
        *(2, 0, 3, 4, -1, 1, 5, 6),
        *(5, 8, 9, 10, 11),
        *(5, 13, 14, 15, 16),
        *(4, 18, 19, 20, 21),
        *(4, 23, 24, 25, 26),
    ),
    mirror_pairs=tuple((f"left_{joint}", f"right_{joint}") for joint in _SIDED),
)

# The 17 of them that its test set holds and its evaluation scores.
MPI_INF_3DHP_17 = Skeleton(
    name="mpi-inf-3dhp-17",
    joints=(
        *("head_top", "neck", "right_shoulder", "right_elbow", "right_wrist"),
        *("left_shoulder", "left_elbow", "left_wrist", "right_hip", "right_knee", "right_ankle"),
        *("left_hip", "left_knee", "left_ankle", "pelvis", "spine", "head"),
    ),
    parents=(1, 15, 1, 2, 3, 1, 5, 6, 14, 8, 9, 14, 11, 12, -1, 14, 1),
    mirror_pairs=tuple(
        (f"left_{limb}", f"right_{limb}") for limb in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    ),
)

# Which joint of MPI-INF-3DHP stands for which of Human3.6M's 17. Spine, Thorax, Neck/Nose and Head are other points of
# the body there: figures across the two data sets hold that difference.
MPI_INF_3DHP_OF_H36M = {
    **{"Hip": "pelvis", "Spine": "spine", "Thorax": "neck", "Neck/Nose": "head", "Head": "head_top"},
    **{
        f"{side[0].upper()}{joint}": f"{side}_{other}"
        for side in ("left", "right")
        for joint, other in zip(_LIMBS, ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"), strict=True)
    },
}

# What predictions and detections of Human3.6M may come in.
SKELETONS = {
    skeleton.name: skeleton
    for skeleton in (H36M_32, H36M_17, H36M_16, SH_16, MULTIVIEW_17, LSP_14, INTEGRAL_18, PELVIS)
}


def skeleton_of(joints: tuple[str, ...]) -> Skeleton:
    """The known skeleton with exactly these joint names in this order; an H36MError lists the known ones."""
    for skeleton in SKELETONS.values():
        if skeleton.joints == joints:
            return skeleton
    raise H36MError(f"no known skeleton has the joints {', '.join(joints)}; known: {', '.join(SKELETONS)}")

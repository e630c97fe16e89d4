"""Invented human motion on Human3.6M's 32-joint skeleton: smooth joint angles and forward kinematics.

Nothing is measured from the data set. Body frame: x to the subject's right, y forward, z up. World frame: z up, floor
at z = 0, mm. Angles are tuples (flexion, abduction, twist) in degrees: flexion moves a limb as it bends in life (knees
backwards, elbows forwards, the trunk forwards), abduction away from the midline, twist inwards about the bone itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from h36m_toolbox.cameras import Camera
from h36m_toolbox.sequences import ACTION_IDS, FPS, Recording
from h36m_toolbox.skeletons import H36M_32
from h36m_toolbox.synthetic.actions import BASE_POSTURE, BASE_SWAY, STYLES, ActionStyle

# The joint's place from its parent's in the body frame, arms hanging, mm: a common adult of about 1.75 m.
_CENTRE_BONES_MM = {
    "Spine": (0, 0, 235),
    "Thorax": (0, 0, 255),
    "Neck/Nose": (0, 55, 105),
    "Head": (0, -35, 110),
}
_RIGHT_BONES_MM = {
    "Hip": (130, 0, 0),
    "Knee": (0, 0, -440),
    "Foot": (0, 0, -445),
    "ToeBase": (15, 145, -60),
    "ToeEnd": (0, 75, 0),
    "Collar": (0, 0, 255),
    "Shoulder": (172, 0, -25),
    "Elbow": (0, 0, -280),
    "Wrist": (0, 0, -250),
    "Thumb": (-15, 60, -70),
    "HandEnd": (0, 0, -100),
}
# How far above the floor a joint's centre lies when that part of the body rests on it, mm.
_CLEARANCE_MM = {"Hip": 100, "Knee": 60, "Foot": 80, "ToeBase": 20, "ToeEnd": 20, "HandEnd": 20}
_HINGES = ("RKnee", "LKnee", "RElbow", "LElbow")
_BENDS_BACKWARDS = ("Hip", "SpineBase", "Spine", "Thorax", "Neck/Nose", "RKnee", "LKnee")  # about -x in the body frame

# All four cameras of every subject see a standing person within this ellipse of the floor.
_STAGE_CENTER_MM = np.array([100.0, 450.0])
_STAGE_RADII_MM = np.array([900.0, 1050.0])
_STRIDE_MM = 1150.0  # two steps


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Motion:
    """What one recording's subject does, before any camera."""

    world: np.ndarray  # (frames, 32, 3), world, mm
    universal: (
        np.ndarray
    )  # (frames, 32, 3), the common skeleton in the same posture, world axes, root at the origin, mm
    universal_scale: float  # size of the common skeleton over the subject's
    seat: np.ndarray | None  # (3,), middle of the stool's top, world, mm


@dataclass(frozen=True, eq=False)
class CameraPoses:
    """One recording as one camera sees it, 32 joints."""

    camera: np.ndarray  # (frames, 32, 3), camera frame, mm
    universal: np.ndarray  # (frames, 32, 3), camera frame, common bone lengths, at a correspondingly scaled depth, mm
    image: np.ndarray  # (frames, 32, 2), px, lens distortion included


def synthetic_motion(recording: Recording, frames: int, seed: int = 0) -> Motion:
    """`frames` poses at 50 Hz; the same for the same arguments, and a prefix of any longer run."""
    rng = np.random.default_rng([seed, int(recording.subject[1:]), ACTION_IDS[recording.action], recording.subaction])
    style = STYLES[recording.action]
    seconds = np.arange(frames) / FPS
    path, heading = _path(rng, style, seconds)
    angles = _angles(rng, style, seconds, path)
    rotations = _rotations(angles, heading)
    offsets = subject_bones(recording.subject, seed)
    pose = forward_kinematics(rotations, offsets)
    root = _grounded_root(pose, path, planted=style.speed_mm_s == 0)
    common = universal_bones()
    return Motion(
        world=pose + root[:, None],
        universal=forward_kinematics(rotations, common),
        universal_scale=float(np.linalg.norm(common, axis=1).sum() / np.linalg.norm(offsets, axis=1).sum()),
        seat=np.array([*root[:, :2].mean(axis=0), root[:, 2].min() - 95.0]) if style.seated else None,
    )


def poses_in_camera(motion: Motion, camera: Camera) -> CameraPoses:
    """The motion in the camera frame, on the common skeleton, and as distorted pixels."""
    in_camera = camera.world_to_camera(motion.world)
    return CameraPoses(
        camera=in_camera,
        universal=motion.universal @ camera.rotation.T + motion.universal_scale * in_camera[:, :1],
        image=camera.project(in_camera),
    )


def universal_bones() -> np.ndarray:
    """(32, 3): each joint's place from its parent's in the body frame, mm, of the common skeleton."""
    left = {f"L{name}": (-x, y, z) for name, (x, y, z) in _RIGHT_BONES_MM.items()}
    right = {f"R{name}": offset for name, offset in _RIGHT_BONES_MM.items()}
    bones = {**_CENTRE_BONES_MM, **left, **right}
    return np.array([bones.get(joint, (0, 0, 0)) for joint in H36M_32.joints], np.float64)


def subject_bones(subject: str, seed: int = 0) -> np.ndarray:
    """(32, 3): as `universal_bones`, with the lengths of one subject; left and right are equally long."""
    rng = np.random.default_rng([seed, int(subject[1:])])
    stature = rng.uniform(0.94, 1.05)
    names = (*_CENTRE_BONES_MM, *_RIGHT_BONES_MM)
    factors = dict(zip(names, stature * rng.uniform(0.97, 1.03, len(names)), strict=True))
    factors["Collar"] = factors["Thorax"]  # the collars lie on the thorax
    sided = [joint if joint in factors and joint != "Hip" else joint[1:] for joint in H36M_32.joints]
    return universal_bones() * np.array([factors.get(name, 1.0) for name in sided])[:, None]


def forward_kinematics(rotations: dict[int, np.ndarray], offsets: np.ndarray) -> np.ndarray:
    """Joint places (frames, 32, 3), root at the origin; world `rotations` (frames, 3, 3) by joint, `offsets` (32, 3).

    A joint without a rotation of its own has its nearest ancestor's.
    """
    pose = np.zeros((len(rotations[0]), len(H36M_32), 3))
    turned = dict(rotations)
    for parent, child in H36M_32.bones:
        turned.setdefault(child, turned[parent])
        pose[:, child] = pose[:, parent] + turned[parent] @ offsets[child]
    return pose


def _rotations(angles: np.ndarray, heading: np.ndarray) -> dict[int, np.ndarray]:
    """World rotations (frames, 3, 3) of the joints that bend; `angles` (frames, 32, 3) and `heading` (frames,), rad."""
    bends = [i for i in range(len(H36M_32)) if angles[:, i].any()]
    signs = np.ones((len(H36M_32), 3))
    for i, joint in enumerate(H36M_32.joints):
        left = joint.startswith("L")
        signs[i] = (-1 if joint in _BENDS_BACKWARDS else 1, 1 if left else -1, -1 if left else 1)
    local = dict(zip(bends, np.moveaxis(_matrices(angles[:, bends] * signs[bends]), 1, 0), strict=True))
    cos, sin, zero = np.cos(heading), np.sin(heading), np.zeros_like(heading)
    facing = np.stack([cos, -sin, zero, sin, cos, zero, zero, zero, zero + 1], axis=-1).reshape(-1, 3, 3)
    world = {0: facing @ local[0] if 0 in local else facing}
    ancestor = {0: 0}
    for parent, child in H36M_32.bones:
        ancestor[child] = child if child in local else ancestor[parent]
        if child in local:
            world[child] = world[ancestor[parent]] @ local[child]
    return world


def _matrices(angles: np.ndarray) -> np.ndarray:
    """Ry(abduction) Rx(flexion) Rz(twist), (..., 3, 3), from radians (..., 3): flexion, abduction, twist."""
    ca, cb, cc = np.moveaxis(np.cos(angles), -1, 0)
    sa, sb, sc = np.moveaxis(np.sin(angles), -1, 0)
    rows = [cb * cc + sb * sa * sc, sb * sa * cc - cb * sc, sb * ca]
    rows += [ca * sc, ca * cc, -sa]
    rows += [cb * sa * sc - sb * cc, sb * sc + cb * sa * cc, cb * ca]
    return np.stack(rows, axis=-1).reshape(*angles.shape[:-1], 3, 3)


def _waves(rng: np.random.Generator, seconds: np.ndarray, count: int, tempo: float) -> np.ndarray:
    """`count` smooth signals (frames, count) within [-1, 1]: sums of three slow sinusoids."""
    weights = rng.dirichlet(np.ones(3), count)
    hertz = rng.uniform(0.1, 0.6, (count, 3)) * tempo
    phases = rng.uniform(0, 2 * np.pi, (count, 3))
    signals = np.zeros((len(seconds), count))
    for k in range(3):
        signals += weights[:, k] * np.sin(2 * np.pi * hertz[:, k] * seconds[:, None] + phases[:, k])
    return signals


def _path(rng: np.random.Generator, style: ActionStyle, seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the subject is on the floor (frames, 2), mm, and the heading (frames,), radians from +y towards -x."""
    wander = _waves(rng, seconds, 3, tempo=0.25)
    start, turn, facing = rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0]), rng.uniform(-np.pi, np.pi)
    reach = np.sqrt(rng.uniform(0, 0.3))
    if style.speed_mm_s == 0:
        spot = _STAGE_CENTER_MM + reach * _STAGE_RADII_MM * (np.cos(start), np.sin(start))
        return spot + 15 * wander[:, :2], facing + style.turn_rad * wander[:, 2]
    angle = start + turn * style.speed_mm_s / _STAGE_RADII_MM.mean() * seconds + 0.15 * wander[:, 0]
    radii = _STAGE_RADII_MM * (0.9 + 0.1 * wander[:, 1:2])
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    path = _STAGE_CENTER_MM + radii * circle
    tangent = turn * np.stack([-circle[:, 1], circle[:, 0]], axis=1) * _STAGE_RADII_MM
    return path, np.unwrap(np.arctan2(-tangent[:, 0], tangent[:, 1]))


def _angles(rng: np.random.Generator, style: ActionStyle, seconds: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Joint angles (frames, 32, 3), radians: posture, sway about it, and the gait of those who walk."""
    mean, sway = (
        np.array([{**base, **own}.get(joint, (0.0, 0.0, 0.0)) for joint in H36M_32.joints], np.float64)
        for base, own in ((BASE_POSTURE, style.posture), (BASE_SWAY, style.sway))
    )
    mean += 0.4 * sway * rng.uniform(-1, 1, mean.shape)
    hinges = H36M_32.indices(_HINGES)
    mean[hinges, 0] = np.clip(mean[hinges, 0], sway[hinges, 0] + 2, 145 - sway[hinges, 0])
    angles = mean + sway * _waves(rng, seconds, mean.size, style.tempo).reshape(-1, *mean.shape)
    phase = rng.uniform(0, 2 * np.pi)
    if style.speed_mm_s > 0:
        steps = np.linalg.norm(np.diff(path, axis=0, prepend=path[:1]), axis=1)
        _add_gait(angles, phase + 2 * np.pi * np.cumsum(steps) / _STRIDE_MM, style)
    else:
        _flatten_feet(angles)
    return np.radians(angles)


def _add_gait(angles: np.ndarray, phase: np.ndarray, style: ActionStyle) -> None:
    """Add one gait cycle (2 pi of `phase`, right heel strikes at 0) to `angles` (frames, 32, 3), degrees, in place."""
    at = {joint: i for i, joint in enumerate(H36M_32.joints)}
    for side, own in (("R", phase), ("L", phase + np.pi)):
        angles[:, at[f"{side}Hip"], 0] += 4 + 19 * np.cos(own)
        angles[:, at[f"{side}Knee"], 0] += 46 * _pulse(own, 1.42 * np.pi) + 8 * _pulse(own, 0.3 * np.pi)
        angles[:, at[f"{side}Foot"], 0] += 8 * _pulse(own, 0.8 * np.pi) - 16 * _pulse(own, 1.12 * np.pi)
        swing = 0.0 if side in style.busy_arms else 1.0
        angles[:, at[f"{side}Shoulder"], 0] -= swing * 20 * np.cos(own)
        angles[:, at[f"{side}Elbow"], 0] += swing * 9 * (1 - np.cos(own))
    angles[:, at["Hip"], 1] += 2.5 * np.sin(phase)
    angles[:, at["Hip"], 2] += 5 * np.cos(phase)
    angles[:, at["SpineBase"], 2] -= 9 * np.cos(phase)


def _flatten_feet(angles: np.ndarray) -> None:
    """Bend the ankles of `angles` (frames, 32, 3), degrees, in place so that the soles lie level."""
    at = {joint: i for i, joint in enumerate(H36M_32.joints)}
    for side in "RL":
        shank = angles[:, at[f"{side}Hip"], 0] - angles[:, at[f"{side}Knee"], 0] - angles[:, at["Hip"], 0]
        angles[:, at[f"{side}Foot"], 0] = np.clip(-shank, -40, 25)


def _pulse(phase: np.ndarray, peak: float) -> np.ndarray:
    return np.exp(1.8 * (np.cos(phase - peak) - 1))


def _grounded_root(pose: np.ndarray, path: np.ndarray, planted: bool) -> np.ndarray:
    """Root places (frames, 3), world, mm: the lowest part of the body rests on the floor, planted feet stay put."""
    resting = [i for i, joint in enumerate(H36M_32.joints) if joint[1:] in _CLEARANCE_MM]
    needed = np.array([_CLEARANCE_MM[H36M_32.joints[i][1:]] for i in resting]) - pose[:, resting, 2]
    highest = needed.max(axis=1, keepdims=True)
    softness = 6.0  # mm; a hard maximum would jerk where the support changes from one foot to the other
    height = highest[:, 0] + softness * np.log(np.exp((needed - highest) / softness).sum(axis=1))
    feet = pose[:, H36M_32.indices(("RFoot", "LFoot")), :2].mean(axis=1)
    return np.column_stack([path - feet if planted else path, height])
